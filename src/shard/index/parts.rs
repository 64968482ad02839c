//! The list of the parts that an artifact was completed from: the body of its record.
//!
//! ```text
//! each part: number u16 | size u64 | ETag 16 + 2 | checksum as in a value | location u8, and
//!   1: segment u64, offset u32, id u64, crc32c u32    (in the log)
//!   2: segment u64, offset u64, id u64                (in a data segment)
//!   3: file id u64
//! ```

use super::value::{Decoder, Location, encode_checksum, encode_etag};
use crate::model::{Checksum, ETag};
use crate::shard::log::Place;

/// Most parts of an upload.
pub(crate) const PARTS_MAX: u16 = 10_000;

/// A part, as an artifact keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) number: u16,
    pub(crate) size: u64,
    pub(crate) etag: ETag,
    pub(crate) checksum: Option<Checksum>,
    pub(crate) location: Location,
}

/// The encoded list.
pub(crate) fn encode(parts: &[Part]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.len() * 80);
    for part in parts {
        out.extend_from_slice(&part.number.to_le_bytes());
        out.extend_from_slice(&part.size.to_le_bytes());
        encode_etag(&mut out, part.etag);
        encode_checksum(&mut out, part.checksum);
        match part.location {
            Location::Inline { place, id, crc } => {
                out.push(1);
                out.extend_from_slice(&place.segment.to_le_bytes());
                out.extend_from_slice(&place.offset.to_le_bytes());
                out.extend_from_slice(&id.to_le_bytes());
                out.extend_from_slice(&crc.to_le_bytes());
            }
            Location::Extent { segment, offset, id } => {
                out.push(2);
                for number in [segment, offset, id] {
                    out.extend_from_slice(&number.to_le_bytes());
                }
            }
            Location::OwnFile { id } => {
                out.push(3);
                out.extend_from_slice(&id.to_le_bytes());
            }
        }
    }
    out
}

/// Reads a list; `None` if it is malformed.
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<Part>> {
    let mut rest = Decoder(bytes);
    let mut parts = Vec::new();
    while !rest.0.is_empty() {
        let (number, size) = (rest.u16()?, rest.u64()?);
        let (etag, checksum) = (rest.etag()?, rest.checksum()?);
        let location = match rest.u8()? {
            1 => {
                let (segment, offset) = (rest.u64()?, rest.u32()?);
                let length = u32::try_from(size).ok()?;
                let place = Place { segment, offset, length };
                Location::Inline { place, id: rest.u64()?, crc: rest.u32()? }
            }
            2 => Location::Extent { segment: rest.u64()?, offset: rest.u64()?, id: rest.u64()? },
            3 => Location::OwnFile { id: rest.u64()? },
            _ => return None,
        };
        parts.push(Part { number, size, etag, checksum, location });
    }
    Some(parts)
}
