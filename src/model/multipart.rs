//! Multipart uploads.

use std::fmt;

use super::{ByteRange, Checksum, ChecksumAlgorithm, ChecksumKind, ETag, Metadata};

/// Identifies an upload; unguessable, 32 lower-case hexadecimal digits on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(pub u128);

impl UploadId {
    /// Reads the text form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        plain.then(|| u128::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an upload was created with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadInfo {
    /// Metadata of the artifact to be.
    pub metadata: Metadata,
    /// The checksum that its parts carry, if one was named.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    /// When it was created, milliseconds since the epoch.
    pub created_ms: i64,
}

/// A stored part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartInfo {
    /// 1 to 10,000.
    pub number: u16,
    /// Number of bytes.
    pub size: u64,
    /// Entity tag of the part.
    pub etag: ETag,
    /// Its checksum.
    pub checksum: Option<Checksum>,
    /// When it was stored, milliseconds since the epoch.
    pub modified_ms: i64,
}

/// A part as named in a completion, in the client's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompletePart {
    /// 1 to 10,000, ascending.
    pub number: u16,
    /// Must be the stored part's.
    pub etag: ETag,
    /// If given, must be the stored part's.
    pub checksum: Option<Checksum>,
}

/// Which parts of an upload or of a completed artifact to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartQuery {
    /// Only parts with a higher number.
    pub after: u16,
    /// At most this many.
    pub limit: usize,
}

/// A part of a completed artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartSpan {
    /// The bytes that it gave.
    pub range: ByteRange,
    /// Its own checksum, over these bytes.
    pub checksum: Option<Checksum>,
}

impl PartSpan {
    /// Those that `query` asks for of the parts with these sizes and checksums, which are
    /// numbered from 1 in their order.
    #[must_use]
    pub fn select(
        parts: impl Iterator<Item = (u64, Option<Checksum>)>,
        query: PartQuery,
    ) -> Vec<Self> {
        let spans = parts.scan(0, |offset, (length, checksum)| {
            let range = ByteRange { offset: *offset, length };
            *offset = range.end();
            Some(Self { range, checksum })
        });
        spans.skip(usize::from(query.after)).take(query.limit).collect()
    }
}

/// One page of an upload's parts, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartPage {
    /// The upload.
    pub upload: UploadInfo,
    /// Its parts.
    pub parts: Vec<PartInfo>,
    /// Whether more follow.
    pub truncated: bool,
}

/// Which uploads of a container to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadQuery {
    /// Only keys that begin with this.
    pub prefix: String,
    /// Rolls keys up as in a listing of artifacts; empty for none.
    pub delimiter: String,
    /// Only keys after this; with an upload id, also later uploads of this very key.
    pub after: Option<(String, Option<UploadId>)>,
    /// At most this many, rolled-up prefixes counted.
    pub limit: usize,
}

/// One entry of an upload listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadEntry {
    /// An upload in progress.
    Upload {
        /// The key it will write.
        key: String,
        /// Its id.
        id: UploadId,
        /// What it was created with.
        info: UploadInfo,
    },
    /// A rolled-up prefix.
    Prefix(String),
}

/// One page of uploads, by key, then by time of creation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadPage {
    /// The entries.
    pub entries: Vec<UploadEntry>,
    /// Whether more follow.
    pub truncated: bool,
}
