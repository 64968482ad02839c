//! Checksums that a client may name, and the digests that a finished body has.

use super::ETag;

/// The checksum algorithms of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ChecksumAlgorithm {
    /// CRC-32 (ISO-HDLC).
    Crc32 = 1,
    /// CRC-32C (Castagnoli).
    Crc32c = 2,
    /// CRC-64/NVME.
    Crc64Nvme = 3,
    /// SHA-1.
    Sha1 = 4,
    /// SHA-256.
    Sha256 = 5,
}

impl ChecksumAlgorithm {
    /// All of them, in the order of their numbers on disk.
    pub const ALL: [Self; 5] =
        [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// Length of a value, in bytes.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// The algorithm with this number on disk.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| *algorithm as u8 == number)
    }
}

/// What a multipart artifact's checksum was computed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ChecksumKind {
    /// Over all bytes.
    FullObject = 0,
    /// Over the checksums of the parts.
    Composite = 1,
}

/// A checksum value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// How it was computed.
    pub algorithm: ChecksumAlgorithm,
    /// Over the whole or over the parts.
    pub kind: ChecksumKind,
    bytes: [u8; 32],
}

impl Checksum {
    /// A checksum from its raw big-endian bytes; `None` if the length does not fit.
    #[must_use]
    pub fn new(algorithm: ChecksumAlgorithm, kind: ChecksumKind, value: &[u8]) -> Option<Self> {
        if value.len() != algorithm.length() {
            return None;
        }
        let mut bytes = [0; 32];
        bytes[..value.len()].copy_from_slice(value);
        Some(Self { algorithm, kind, bytes })
    }

    /// The raw value, big-endian.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.bytes[..self.algorithm.length()]
    }
}

/// What is known of a body once its last byte was read and every promise about it was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// The entity tag.
    pub etag: ETag,
    /// The checksum to store with it, if the client named one (or the server's default).
    pub checksum: Option<Checksum>,
}
