//! Tenants and their access keys.

use crate::model::TenantId;

/// One access key.
#[derive(Clone)]
pub struct Credential {
    /// Names the key on the wire.
    pub access_key_id: String,
    /// Shared with the client; never logged.
    pub secret: String,
    /// Whose it is.
    pub tenant: TenantId,
}

/// All tenants; the same on every core.
#[derive(Clone, Default)]
pub struct Tenants {
    credentials: Vec<Credential>,
}

impl Tenants {
    /// The tenants with these credentials.
    #[must_use]
    pub fn new(credentials: Vec<Credential>) -> Self {
        Self { credentials }
    }

    /// The credential with this access key id.
    #[must_use]
    pub fn credential(&self, access_key_id: &str) -> Option<&Credential> {
        self.credentials.iter().find(|credential| credential.access_key_id == access_key_id)
    }
}
