//! The checkpoint of one virtual shard.

use std::io;
use std::ops::Range;

use super::{Accounts, CheckpointError, Derived, read_whole, replace};
use crate::io::Disk;
use crate::model::UploadId;
use crate::shard::index::run::Version;
use crate::shard::index::value::{Decoder, PartList};
use crate::shard::log::{Layout, LogPoint, Place};

pub(crate) const MAGIC: &[u8; 8] = b"VLTCHKP1";
pub(crate) const VERSION: u32 = 1;
pub(crate) const HEADER: usize = 64;

/// Puts a checkpoint together.
#[derive(Debug)]
pub(crate) struct CheckpointBuilder {
    shard: u8,
    bytes: Vec<u8>,
    resident: u32,
}

impl CheckpointBuilder {
    /// Of a shard: all its records up to `sequence` are in these runs, named newest first, or will be among the
    /// resident entries. `accounts` is what the visible entries of the runs hold. `point` is where its log was then.
    pub(crate) fn new(
        shard: u8,
        sequence: u64,
        point: Option<LogPoint>,
        runs: &[u64],
        accounts: &Accounts,
    ) -> Self {
        let mut bytes = Vec::with_capacity(4096);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[shard, u8::from(point.is_some()), 0, 0]);
        bytes.extend_from_slice(&sequence.to_le_bytes());
        let Accounts { records, bytes: held, own_files, composites } = accounts;
        for count in [runs.len(), records.len(), held.len(), own_files.len(), composites.len()] {
            bytes.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
        }
        bytes.resize(HEADER, 0);
        if let Some(LogPoint { segment, offset }) = point {
            bytes.extend_from_slice(&segment.to_le_bytes());
            bytes.extend_from_slice(&offset.to_le_bytes());
        }
        for run in runs {
            bytes.extend_from_slice(&run.to_le_bytes());
        }
        for (key, count) in records.iter().chain(held).chain(own_files) {
            bytes.extend_from_slice(&key.to_le_bytes());
            bytes.extend_from_slice(&count.to_le_bytes());
        }
        for (list, held) in composites.values() {
            encode_composite(list, *held, &mut bytes);
        }
        Self { shard, bytes, resident: 0 }
    }

    /// Adds an entry that is not in a run. They come in the order of their stems.
    pub(crate) fn resident(&mut self, version: &Version<'_>) {
        encode_resident(version, &mut self.bytes);
        self.resident += 1;
    }

    /// The bytes of the file.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let length = (self.bytes.len() - HEADER) as u64;
        let crc = crc_fast::crc32_iscsi(&self.bytes[HEADER..]);
        self.bytes[44..48].copy_from_slice(&self.resident.to_le_bytes());
        self.bytes[48..56].copy_from_slice(&length.to_le_bytes());
        self.bytes[56..60].copy_from_slice(&crc.to_le_bytes());
        let crc = crc_fast::crc32_iscsi(&self.bytes[..HEADER - 4]);
        self.bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        self.bytes
    }

    /// Replaces the checkpoint of the shard. On return its bytes are durable; the caller syncs the directory.
    ///
    /// # Errors
    /// As the disk says. Then nothing is known of what a later start reads: the old one or this.
    pub(crate) async fn write<D: Disk>(self, disk: &D, layout: &Layout) -> io::Result<()> {
        let path = Derived::Checkpoint(self.shard).path(layout);
        replace(disk, &path, &self.finish()).await
    }
}

/// An entry of the lists of parts.
pub(crate) fn encode_composite(list: &PartList, held: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&list.place.segment.to_le_bytes());
    out.extend_from_slice(&list.place.offset.to_le_bytes());
    out.extend_from_slice(&list.place.length.to_le_bytes());
    out.extend_from_slice(&list.crc.to_le_bytes());
    out.extend_from_slice(&list.count.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&list.upload.0.to_le_bytes());
    out.extend_from_slice(&held.to_le_bytes());
}

/// A resident entry.
pub(crate) fn encode_resident(version: &Version<'_>, out: &mut Vec<u8>) {
    // Both come from records, whose meta is bounded.
    for bytes in [version.stem, version.value] {
        debug_assert!(bytes.len() <= usize::from(u16::MAX), "a record holds no more");
        out.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes());
    }
    out.extend_from_slice(&version.sequence.to_le_bytes());
    out.extend_from_slice(&version.place.segment.to_le_bytes());
    out.extend_from_slice(&version.place.offset.to_le_bytes());
    out.extend_from_slice(&version.place.length.to_le_bytes());
    out.extend_from_slice(version.stem);
    out.extend_from_slice(version.value);
}

/// A checkpoint that was read.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    pub(crate) shard: u8,
    /// All records of the shard up to this one are in the runs or resident.
    pub(crate) sequence: u64,
    /// Up to where its log was durable then, if that is known.
    pub(crate) point: Option<LogPoint>,
    /// The newest first.
    pub(crate) runs: Vec<u64>,
    /// What the visible entries of the runs hold.
    pub(crate) accounts: Accounts,
    bytes: Vec<u8>,
    resident: Range<usize>,
}

impl Checkpoint {
    /// Reads the bytes of a file; `None` if they are damaged or of another version. What follows is not looked at.
    pub(crate) fn decode(mut bytes: Vec<u8>) -> Option<Self> {
        let (header, rest) = bytes.split_at_checked(HEADER)?;
        let mut head = Decoder(header);
        let is_ours = head.take::<8>()? == *MAGIC && head.u32()? == VERSION;
        let [shard, has_point, ..] = head.take::<4>()?;
        let sequence = head.u64()?;
        let [runs, records, held, own_files, composites, listed] =
            [head.u32()?, head.u32()?, head.u32()?, head.u32()?, head.u32()?, head.u32()?];
        let length = usize::try_from(head.u64()?).ok()?;
        let body = rest.get(..length)?;
        let is_whole = is_ours
            && head.u32()? == crc_fast::crc32_iscsi(body)
            && head.u32()? == crc_fast::crc32_iscsi(&header[..HEADER - 4]);
        is_whole.then_some(())?;

        let mut body = Decoder(body);
        let point = match has_point {
            0 => None,
            _ => Some(LogPoint { segment: body.u64()?, offset: body.u32()? }),
        };
        let runs = (0..runs).map(|_| body.u64()).collect::<Option<_>>()?;
        let mut accounts = Accounts::default();
        for (count, into) in [
            (records, &mut accounts.records),
            (held, &mut accounts.bytes),
            (own_files, &mut accounts.own_files),
        ] {
            for _ in 0..count {
                into.insert(body.u64()?, body.u64()?);
            }
        }
        for _ in 0..composites {
            let (list, count) = composite(&mut body)?;
            accounts.add_composite(list, count);
        }
        let start = HEADER + length - body.0.len();
        for _ in 0..listed {
            resident(&mut body)?;
        }
        body.0.is_empty().then_some(())?;
        let resident = start..HEADER + length;
        bytes.truncate(resident.end);
        Some(Self { shard, sequence, point, runs, accounts, bytes, resident })
    }

    /// The entries that are not in a run, in the order of their stems.
    pub(crate) fn resident(&self) -> impl Iterator<Item = Version<'_>> {
        let mut rest = Decoder(self.bytes.get(self.resident.clone()).unwrap_or_default());
        std::iter::from_fn(move || resident(&mut rest))
    }

    /// Reads the checkpoint of a shard; `None` if there is none.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub(crate) async fn read<D: Disk>(
        disk: &D,
        layout: &Layout,
        shard: u8,
    ) -> Result<Option<Self>, CheckpointError> {
        let path = Derived::Checkpoint(shard).path(layout);
        let Some(bytes) = read_whole(disk, &path).await? else { return Ok(None) };
        match Self::decode(bytes).filter(|checkpoint| checkpoint.shard == shard) {
            Some(checkpoint) => Ok(Some(checkpoint)),
            None => Err(CheckpointError::Damaged(path)),
        }
    }
}

fn place(rest: &mut Decoder<'_>) -> Option<Place> {
    Some(Place { segment: rest.u64()?, offset: rest.u32()?, length: rest.u32()? })
}

fn composite(rest: &mut Decoder<'_>) -> Option<(PartList, u64)> {
    let (place, crc, count) = (place(rest)?, rest.u32()?, rest.u16()?);
    rest.take::<2>()?;
    let upload = UploadId(rest.u128()?);
    Some((PartList { place, crc, count, upload }, rest.u64()?))
}

fn resident<'a>(rest: &mut Decoder<'a>) -> Option<Version<'a>> {
    let (stem, value) = (usize::from(rest.u16()?), usize::from(rest.u16()?));
    let (sequence, place) = (rest.u64()?, place(rest)?);
    Some(Version { stem: rest.slice(stem)?, sequence, place, value: rest.slice(value)? })
}
