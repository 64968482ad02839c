//! Listing of artifacts and of containers: ordered by UTF-8 bytes, in pages.

use super::{ArtifactInfo, ContainerInfo};

/// Which keys to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Only keys that begin with this.
    pub prefix: String,
    /// Keys that share what follows the prefix up to and with this are rolled into one entry;
    /// empty for none.
    pub delimiter: String,
    /// Only entries strictly after this: a key, or a rolled-up prefix (then all keys under it are skipped).
    pub after: Option<String>,
    /// At most this many entries, rolled-up ones counted.
    pub limit: usize,
}

/// One entry of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListEntry {
    /// An artifact. Its metadata is left empty: a listing does not read it.
    Artifact(String, ArtifactInfo),
    /// A rolled-up prefix, ending with the delimiter.
    Prefix(String),
}

impl ListEntry {
    /// The key or the prefix; entries are ordered by it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Artifact(key, _) => key,
            Self::Prefix(prefix) => prefix,
        }
    }
}

/// One page of a listing, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    /// The entries; the last one's name is the next page's `after`.
    pub entries: Vec<ListEntry>,
    /// Whether more follow.
    pub truncated: bool,
}

/// Which containers to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerQuery {
    /// Only names that begin with this.
    pub prefix: String,
    /// Only names strictly after this.
    pub after: Option<String>,
    /// At most this many.
    pub limit: usize,
}

/// One page of containers, in order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerPage {
    /// The containers.
    pub containers: Vec<ContainerInfo>,
    /// Whether more follow.
    pub truncated: bool,
}
