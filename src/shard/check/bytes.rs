//! The bytes outside the log: every extent and own file that is referred to, and the files that are not.

use std::collections::HashSet;
use std::io;
use std::ops::Range;

use super::survey::Claim;
use super::{Check, CheckError, Severity};
use crate::io::buffer::AlignedBuffer;
use crate::io::{Disk, OpenOptions};
use crate::shard::data::{self, FileName};
use crate::shard::extent::{BLOCK, block_count, extent_length};
use crate::shard::index::value::Location;
use crate::shard::verify::{Extent, PIECE, verify};

/// Damaged bytes that something refers to.
pub(super) struct Bad {
    pub(super) claim: Claim,
    pub(super) file: String,
    pub(super) what: String,
    pub(super) blocks: Vec<Range<u64>>,
}

/// Where the bytes of a claim lie; `None` for those in the log.
fn place(claim: &Claim) -> Option<(FileName, u64, u64)> {
    match claim.location {
        Location::Inline { .. } => None,
        Location::Extent { segment, offset, id } => Some((FileName::Segment(segment), offset, id)),
        Location::OwnFile { id } => Some((FileName::OwnFile(id), 0, id)),
    }
}

fn file_name(name: FileName) -> String {
    match name {
        FileName::Segment(id) => format!("data/{id:016x}.segment"),
        FileName::OwnFile(id) => format!("data/{id:016x}.artifact"),
    }
}

fn number(name: FileName) -> (u8, u64) {
    match name {
        FileName::Segment(id) => (0, id),
        FileName::OwnFile(id) => (1, id),
    }
}

impl<D: Disk> Check<'_, D> {
    /// Verifies what is referred to, file by file and in the order of its place.
    pub(super) async fn bytes(&mut self, claims: &[Claim]) -> Result<Vec<Bad>, CheckError> {
        let mut placed: Vec<(FileName, u64, u64, &Claim)> = claims
            .iter()
            .filter_map(|claim| place(claim).map(|(name, base, id)| (name, base, id, claim)))
            .collect();
        placed.sort_by_key(|(name, base, ..)| (number(*name), *base));
        let mut bad = Vec::new();
        let longest = placed.iter().map(|(.., claim)| extent_length(claim.size)).max();
        let longest = longest.and_then(|length| usize::try_from(length).ok()).unwrap_or(PIECE);
        let mut buffer = AlignedBuffer::with_capacity(PIECE.min(longest));
        let mut open: Option<(FileName, io::Result<D::File>)> = None;
        let mut behind = 0;
        for (name, base, id, claim) in placed {
            if open.as_ref().is_none_or(|(known, _)| *known != name) {
                let path = data::path(&self.folder.layout, name);
                let options = OpenOptions { direct: true, ..OpenOptions::default() };
                open = Some((name, self.disk.open(&path, options).await));
                behind = 0;
            }
            match name {
                FileName::Segment(_) => self.summary.extents += 1,
                FileName::OwnFile(_) => self.summary.own_files += 1,
            }
            self.summary.bytes += claim.size;
            let whole = 0..block_count(claim.size);
            let mut report = |blocks: Vec<Range<u64>>, what: String| {
                bad.push(Bad { claim: *claim, file: file_name(name), what, blocks });
            };
            let file = match &open {
                Some((_, Ok(file))) => file.clone(),
                Some((_, Err(error))) if error.kind() == io::ErrorKind::NotFound => {
                    report(vec![whole], "it is missing".into());
                    continue;
                }
                Some((_, Err(error))) => {
                    let error = io::Error::new(error.kind(), error.to_string());
                    return Err(error.into());
                }
                None => continue,
            };
            if base < behind {
                report(vec![whole], format!("the extent at {base} reaches into the one before it"));
                continue;
            }
            behind = base + extent_length(claim.size);
            let extent = Extent { base, id, size: claim.size };
            let (damage, back) = verify(&file, extent, buffer, &mut async |_| ()).await;
            buffer = back;
            if damage.padding && damage.is_none() {
                let what =
                    format!("the extent at {base}: padding that is not zero; nobody reads it");
                self.find(Severity::Damaged, &file_name(name), what);
            }
            if !damage.is_none() {
                let what = describe(base, claim.size, &damage.blocks);
                bad.push(Bad { claim: *claim, file: file_name(name), what, blocks: damage.blocks });
            }
        }
        Ok(bad)
    }

    /// Files that nothing refers to.
    pub(super) async fn data_folder(&mut self, claims: &[Claim]) -> Result<(), CheckError> {
        let used: HashSet<(u8, u64)> =
            claims.iter().filter_map(place).map(|(name, ..)| number(name)).collect();
        let mut entries = self.disk.list_directory(&self.folder.layout.data()).await?;
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        for entry in entries {
            let file = format!("data/{}", entry.name);
            match data::parse_name(&entry.name) {
                Some(name) if used.contains(&number(name)) => {}
                Some(_) => {
                    let what = format!("{} bytes that nothing refers to", entry.length);
                    self.find(Severity::Unreferenced, &file, what);
                }
                None => self.find(Severity::Unreferenced, &file, "none of ours".into()),
            }
        }
        Ok(())
    }
}

/// Says which bytes of an extent are damaged.
fn describe(base: u64, size: u64, blocks: &[Range<u64>]) -> String {
    let ranges: Vec<String> = blocks
        .iter()
        .map(|blocks| {
            let end = (blocks.end * BLOCK as u64).min(size);
            format!("{} to {}", blocks.start * BLOCK as u64, end.saturating_sub(1))
        })
        .collect();
    format!("the extent at {base} of {size} bytes: bytes {}", ranges.join(", "))
}
