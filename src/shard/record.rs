//! What the log's records mean here: each sets or removes one key of the index.
//!
//! `meta` is the length of the stem (u16 LE), the stem, and the value. A removal has no value.

use bytes::Bytes;

/// What a record does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Set = 1,
    Remove = 2,
}

impl Kind {
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Set),
            2 => Some(Self::Remove),
            _ => None,
        }
    }
}

/// The meta of a record, and where the value begins in it.
pub(crate) fn encode_meta(stem: &[u8], value: &[u8]) -> (Bytes, usize) {
    let mut meta = Vec::with_capacity(2 + stem.len() + value.len());
    // Stems are far shorter than 64 KiB: names are bounded.
    meta.extend_from_slice(&u16::try_from(stem.len()).unwrap_or(u16::MAX).to_le_bytes());
    meta.extend_from_slice(stem);
    let value_start = meta.len();
    meta.extend_from_slice(value);
    (meta.into(), value_start)
}

/// The stem and the value; `None` if the meta is malformed.
pub(crate) fn decode_meta(meta: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = meta.split_first_chunk::<2>()?;
    let (stem, value) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    (!stem.is_empty()).then_some((stem, value))
}
