//! Names of tenants, containers and artifacts.

use std::fmt;

/// A tenant, numbered at start from the configuration. Every index key begins with it or
/// with something derived from it, so one tenant's names can never be reached from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(pub u32);

impl TenantId {
    /// The single tenant of an installation that names none.
    pub const DEFAULT: Self = Self(0);
}

/// Why a name was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Container names follow the general-purpose naming rules of S3.
    #[error("the container name is not valid")]
    InvalidContainer,
    /// Keys are at most 1,024 bytes of UTF-8.
    #[error("the key is longer than 1024 bytes")]
    KeyTooLong,
    /// Keys have at least one byte.
    #[error("the key is empty")]
    KeyEmpty,
    /// U+0000 cannot be listed in XML and is refused.
    #[error("the key contains U+0000")]
    KeyHasNul,
}

/// A container's name: 3 to 63 bytes of lower-case letters, digits, dots and hyphens.
///
/// Held inline, so that routing a request allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContainerName {
    len: u8,
    bytes: [u8; Self::LENGTH_MAX],
}

impl ContainerName {
    /// Longest name, in bytes.
    pub const LENGTH_MAX: usize = 63;

    /// Validates `name` against the naming rules of general-purpose containers
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>).
    ///
    /// # Errors
    /// [`NameError::InvalidContainer`] if a rule is broken.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let raw = name.as_bytes();
        let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let valid = (3..=Self::LENGTH_MAX).contains(&raw.len())
            && raw.iter().all(|&b| edge(b) || b == b'.' || b == b'-')
            && edge(raw[0])
            && edge(raw[raw.len() - 1])
            && !raw.windows(2).any(|pair| pair == b"..")
            && name.parse::<std::net::Ipv4Addr>().is_err();
        if !valid {
            return Err(NameError::InvalidContainer);
        }
        let mut bytes = [0; Self::LENGTH_MAX];
        bytes[..raw.len()].copy_from_slice(raw);
        Ok(Self { len: u8::try_from(raw.len()).map_err(|_| NameError::InvalidContainer)?, bytes })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The name as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl PartialOrd for ContainerName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ContainerName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// An artifact's key: 1 to 1,024 bytes of UTF-8 without U+0000. Keys are opaque: `..`, `//`
/// and a leading slash mean nothing and are kept as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactKey<'a>(&'a str);

impl<'a> ArtifactKey<'a> {
    /// Longest key, in bytes.
    pub const LENGTH_MAX: usize = 1024;

    /// Validates `key`.
    ///
    /// # Errors
    /// A [`NameError`] that says which rule is broken.
    pub fn new(key: &'a str) -> Result<Self, NameError> {
        if key.is_empty() {
            Err(NameError::KeyEmpty)
        } else if key.len() > Self::LENGTH_MAX {
            Err(NameError::KeyTooLong)
        } else if memchr::memchr(0, key.as_bytes()).is_some() {
            Err(NameError::KeyHasNul)
        } else {
            Ok(Self(key))
        }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    /// The key as bytes; keys sort by these.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for ArtifactKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_rules_hold() {
        for good in ["abc", "a-b.c", "0ab", &"a".repeat(63)] {
            assert!(ContainerName::new(good).is_ok(), "{good}");
        }
        for bad in ["ab", "Abc", "a_b", "-ab", "ab-", "a..b", "192.168.1.1", &"a".repeat(64), ""] {
            assert_eq!(ContainerName::new(bad), Err(NameError::InvalidContainer), "{bad}");
        }
    }

    #[test]
    fn keys_are_opaque_but_bounded() {
        for good in ["..", "a//b", "/", "🦀", &"k".repeat(1024)] {
            assert!(ArtifactKey::new(good).is_ok(), "{good}");
        }
        assert_eq!(ArtifactKey::new(""), Err(NameError::KeyEmpty));
        assert_eq!(ArtifactKey::new("a\0"), Err(NameError::KeyHasNul));
        assert_eq!(ArtifactKey::new(&"k".repeat(1025)), Err(NameError::KeyTooLong));
    }
}
