//! The access key that is generated when none is configured, and kept in the data folder.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use serde::Deserialize;

use crate::engine::tenant::Credential;
use crate::model::TenantId;

/// Its name in the data folder.
const FILE: &str = "credentials.toml";
/// No letter that is taken for a digit.
const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// Why there is no access key.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The file cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// The file holds something else.
    #[error("{}: {error}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: toml::de::Error,
    },
    /// No random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    access_key_id: String,
    secret_access_key: String,
}

/// A new access key for the default tenant.
///
/// # Errors
/// If the system gives no random numbers.
pub(super) fn generate() -> Result<Credential, CredentialError> {
    // 80 bits name it, 200 bits are secret.
    Ok(Credential {
        access_key_id: format!("VLT{}", letters::<16>()?),
        secret: letters::<40>()?,
        tenant: TenantId::DEFAULT,
    })
}

fn letters<const N: usize>() -> Result<String, CredentialError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| CredentialError::Random)?;
    // 256 is a multiple of 32, so every letter is as likely as the others.
    Ok(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}

/// The access key that `folder` keeps, or a new one that it keeps from now on; and whether it is new.
///
/// # Errors
/// [`CredentialError`].
pub(super) fn load_or_generate(folder: &Path) -> Result<(Credential, bool), CredentialError> {
    let path = folder.join(FILE);
    let io_error = |error| CredentialError::Io { path: path.clone(), error };
    let mut file = match OpenOptions::new().read(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let credential = generate()?;
            store(folder, &path, &credential).map_err(io_error)?;
            return Ok((credential, true));
        }
        Err(error) => return Err(io_error(error)),
    };
    if file.metadata().map_err(io_error)?.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others may read the secret key; it should have mode 0600");
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(io_error)?;
    let stored: Stored = toml::from_str(&text)
        .map_err(|error| CredentialError::Malformed { path: path.clone(), error })?;
    let credential = Credential {
        access_key_id: stored.access_key_id,
        secret: stored.secret_access_key,
        tenant: TenantId::DEFAULT,
    };
    Ok((credential, false))
}

/// Written whole and synced before it has its name, so that a crash leaves all of it or nothing.
fn store(folder: &Path, path: &Path, credential: &Credential) -> io::Result<()> {
    let unfinished = path.with_extension("toml.new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    // Both are made of letters and digits, so they need no escapes.
    write!(
        file,
        "# Generated at the first start. Remove this file to get a new key.\n\
         access_key_id = \"{}\"\nsecret_access_key = \"{}\"\n",
        credential.access_key_id, credential.secret
    )?;
    file.sync_all()?;
    rustix::fs::rename(&unfinished, path)?;
    OpenOptions::new().read(true).open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_generated_once_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let (first, new) = load_or_generate(folder.path()).unwrap();
        assert!(new);
        assert_eq!((first.access_key_id.len(), first.secret.len()), (19, 40));
        let mode = std::fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (second, new) = load_or_generate(folder.path()).unwrap();
        assert!(!new);
        assert_eq!(second.access_key_id, first.access_key_id);
        assert_eq!(second.secret, first.secret);
    }

    #[test]
    fn keys_differ() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        assert_ne!(one.access_key_id, other.access_key_id);
        assert_ne!(one.secret, other.secret);
    }

    #[test]
    fn a_damaged_file_is_an_error_and_not_a_new_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let mut file = OpenOptions::new().write(true).create_new(true).open(&path).unwrap();
        file.write_all(b"access_key_id = \"A\"\n").unwrap();
        let error = load_or_generate(folder.path()).err().unwrap();
        assert!(error.to_string().contains(FILE), "{error}");
        assert!(error.to_string().contains("secret_access_key"), "{error}");
    }
}
