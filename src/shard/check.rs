//! Looks at every byte of a data folder at rest: superblock, log, extents, own files, and whether all of them are
//! referred to. Changes nothing, unless it is told to note what is damaged, or that what is lost is accepted.
//!
//! It stands on the logs, for they are the truth; what is derived from them is looked at too, and told apart, and asked
//! for log segments that are missing. Of each key it keeps some 50 bytes in memory.

mod bytes;
mod index;
mod missing;
mod survey;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::path::Path;

use self::survey::{Owner, Survey};
use super::integrity::{Integrity, Progress};
#[cfg(any(test, feature = "testing"))]
use super::log::Layout;
use super::log::replay::{Listing, ReplayError, SegmentRef, find_segments};
use super::log::salt_of;
use super::log::verify::{Flaw, FlawKind, verify_segment};
use super::losses::Loss;
#[cfg(any(test, feature = "testing"))]
use super::volume;
use super::volume::{Inspected, VolumeError};
#[cfg(any(test, feature = "testing"))]
use crate::io::folder::Folder;
use crate::io::folder::SystemFolder;
use crate::io::{Clock, Disk};

/// Why a folder could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It is in use, is none, or has no superblock that can be believed.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// It cannot be read.
    #[error("the data folder cannot be read: {0}")]
    Io(#[from] io::Error),
}

impl From<ReplayError> for CheckError {
    fn from(error: ReplayError) -> Self {
        Self::Io(io::Error::other(error.to_string()))
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Stored bytes are not what was written.
    Damaged,
    /// What is derived from the logs is damaged: the next start builds it again.
    Derived,
    /// Nothing refers to it: the next start removes it, or it is not ours.
    Unreferenced,
    /// Of no consequence, but worth knowing.
    Note,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file, by its path in the data folder.
    pub file: String,
    /// What is wrong, and where.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Damaged => "damaged",
            Severity::Derived => "index",
            Severity::Unreferenced => "unreferenced",
            Severity::Note => "note",
        };
        write!(f, "{severity}: {}: {}", self.file, self.what)
    }
}

/// What was looked at, and how much of it is bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Log segments.
    pub log_segments: u64,
    /// Frames in them.
    pub frames: u64,
    /// Records in these.
    pub records: u64,
    /// Extents that are referred to.
    pub extents: u64,
    /// Files of one artifact each that are referred to.
    pub own_files: u64,
    /// Bytes of both.
    pub bytes: u64,
    /// Runs of the index.
    pub runs: u64,
    /// Checkpoints of shards.
    pub checkpoints: u64,
    /// Findings of damage.
    pub damaged: u64,
    /// Findings of damage in what is derived from the logs.
    pub derived: u64,
    /// Findings of what nothing refers to.
    pub unreferenced: u64,
    /// Artifacts and parts that are noted as damaged, where that was asked for.
    pub noted: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { log_segments, frames, records, extents, own_files, bytes, .. } = self;
        let Self { runs, checkpoints, damaged, derived, unreferenced, noted, .. } = self;
        write!(
            f,
            "{log_segments} log segments with {frames} frames and {records} records, {extents} extents and \
             {own_files} own files with {bytes} bytes, {runs} runs and {checkpoints} checkpoints: {damaged} damaged, \
             {unreferenced} unreferenced"
        )?;
        if *derived > 0 {
            write!(f, ", {derived} of the index, which the next start builds again")?;
        }
        if *noted > 0 { write!(f, ", {noted} noted") } else { Ok(()) }
    }
}

/// What a check may change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Note which artifacts are damaged, so that reads of them fail at once.
    pub note: bool,
    /// Have the next start accept what logs have lost: it keeps house as if that had never been written, and so
    /// removes data that only lost records name.
    pub accept_loss: bool,
}

/// A check under way.
struct Check<'a, D: Disk> {
    disk: &'a D,
    folder: &'a Inspected,
    notes: Integrity,
    say: &'a mut dyn FnMut(Finding),
    summary: Summary,
}

/// Locks a data folder for a [`check`]. Blocks.
///
/// # Errors
/// [`CheckError::Volume`], also while a server uses it.
pub fn open(root: &Path) -> Result<AtRest, CheckError> {
    Ok(AtRest(Inspected::open(&SystemFolder, root)?))
}

/// The same for a folder of a simulation.
///
/// # Errors
/// [`CheckError::Volume`].
#[cfg(any(test, feature = "testing"))]
pub fn open_on(folder: &impl Folder, root: &Path) -> Result<AtRest, CheckError> {
    Ok(AtRest(Inspected::open(folder, root)?))
}

/// A data folder that no server uses.
#[derive(Debug)]
pub struct AtRest(Inspected);

/// Checks a data folder and tells each finding to `say`. Nothing but the wanted changes is made, and these are durable on
/// return.
///
/// # Errors
/// [`CheckError`] if it could not be looked at as a whole; then nothing was changed.
pub async fn check<D: Disk>(
    disk: &D,
    clock: &impl Clock,
    folder: &AtRest,
    changes: Changes,
    say: &mut dyn FnMut(Finding),
) -> Result<Summary, CheckError> {
    let folder = &folder.0;
    let notes = Integrity::default();
    let progress = notes.load(disk, &folder.layout).await?;
    let mut check = Check { disk, folder, notes, say, summary: Summary::default() };
    for (file, number) in &folder.bad_copies {
        check.find(Severity::Damaged, file, format!("copy {number} of the superblock"));
    }
    let salt = salt_of(folder.uuid);
    let Listing { mut segments, lost } = find_segments(disk, &folder.layout, Some(salt)).await?;
    let there: BTreeSet<u64> =
        segments.iter().map(|one| one.segment).chain(lost.iter().copied()).collect();
    for segment in lost {
        let what = "no whole header and no whole frame: nothing of it can be read";
        check.find_lost(Loss::Segment(segment), what.into());
    }
    let (checkpoints, durable) = check.index_folder(&there).await?;
    durable.tell(&mut segments);
    let mut survey = Survey::new();
    for segment in &segments {
        check.log_segment(segment, &segments, salt, &mut survey).await?;
    }
    check.log_folder(&segments).await?;
    check.missing(&there, &checkpoints, &survey).await?;
    let claims = survey.live();
    let bad = check.bytes(&claims).await?;
    check.data_folder(&claims).await?;
    let names = check.names(&segments, &survey, &bad).await?;
    for one in &bad {
        let name = names.get(&one.claim.owner).map_or("something", String::as_str);
        check.find(Severity::Damaged, &one.file, format!("{}: {name}", one.what));
        if changes.note && check.notes.note(one.claim.location, &one.blocks, clock.wall_ms()) {
            check.summary.noted += 1;
        }
    }
    let Check { notes, summary, .. } = check;
    if changes.accept_loss {
        notes.losses().accept_next();
    }
    if changes.accept_loss || summary.noted > 0 {
        let progress = Progress { began_ms: 0, next: 0, ..progress };
        notes.save(disk, &folder.layout, progress).await?;
    }
    Ok(summary)
}

/// Has the next start accept what logs have lost, as a check does that is told to: for simulations.
///
/// # Errors
/// As the disk says, and for a folder that a check refuses because no two copies of its superblock agree; then nothing is
/// accepted.
#[cfg(any(test, feature = "testing"))]
pub async fn accept_loss<D: Disk + Folder>(disk: &D, root: &Path) -> io::Result<()> {
    if !volume::is_agreed(disk, root).map_err(io::Error::other)? {
        return Err(io::Error::other("it has no superblock"));
    }
    let (notes, layout) = (Integrity::default(), Layout { root: root.to_path_buf() });
    let progress = notes.load(disk, &layout).await?;
    notes.losses().accept_next();
    notes.save(disk, &layout, progress).await
}

impl<D: Disk> Check<'_, D> {
    fn find(&mut self, severity: Severity, file: &str, what: String) {
        match severity {
            Severity::Damaged => self.summary.damaged += 1,
            Severity::Derived => self.summary.derived += 1,
            Severity::Unreferenced => self.summary.unreferenced += 1,
            Severity::Note => {}
        }
        (self.say)(Finding { severity, file: file.to_owned(), what });
    }

    /// Finds something lost in a log segment, which is no damage any more once it was accepted.
    fn find_lost(&mut self, loss: Loss, what: String) {
        let (_, segment, _) = loss.encode();
        let file = log_file(segment);
        if self.notes.losses().were_accepted(loss) {
            self.find(Severity::Note, &file, format!("{what} (accepted as lost)"));
        } else {
            self.find(Severity::Damaged, &file, what);
        }
    }

    async fn log_segment(
        &mut self,
        segment: &SegmentRef,
        all: &[SegmentRef],
        salt: u64,
        survey: &mut Survey,
    ) -> Result<(), CheckError> {
        let mut wrong = Vec::new();
        let mut visit = |record: super::log::ReplayedRecord<'_>, body: &[u8]| {
            let place = record.place;
            if let Err(what) = survey.add(record, body) {
                wrong.push((place.offset, what));
            }
        };
        let found = verify_segment(self.disk, segment, all, &mut visit).await?;
        self.summary.log_segments += 1;
        self.summary.frames += found.frames;
        self.summary.records += found.records;
        let file = log_file(segment.segment);
        if segment.header.salt != salt {
            self.find(Severity::Damaged, &file, "it belongs to another data folder".into());
        }
        for (offset, what) in wrong {
            self.find(Severity::Damaged, &file, format!("offset {offset}: {what}"));
        }
        for flaw in found.flaws {
            let Flaw { offset, kind } = flaw;
            let what = match kind {
                FlawKind::Frames { batch } => format!("committed frames, the first batch {batch}"),
                FlawKind::Header => "the header; its frames are read all the same".into(),
                FlawKind::Footer => "the footer; its frames are read instead".into(),
                FlawKind::Keys => "the keys beside it; its frames are read instead".into(),
                FlawKind::Padding => "padding that is not zero; nobody reads it".into(),
            };
            let what = format!("offset {offset}: {what}");
            match flaw.loss_of(segment.segment) {
                Some(loss) => self.find_lost(loss, what),
                None => self.find(Severity::Damaged, &file, what),
            }
        }
        for Flaw { offset, kind } in found.torn {
            let part = match kind {
                FlawKind::Header => "header",
                FlawKind::Padding => "padding",
                _ => "footer",
            };
            let what = format!("offset {offset}: the {part} is not whole, as after a crash");
            self.find(Severity::Note, &file, what);
        }
        if !found.sealed && segment.end.is_none() {
            let what = format!("not sealed; it ends at offset {}, as after a crash", found.end);
            self.find(Severity::Note, &file, what);
        }
        Ok(())
    }

    /// Files of the log's folder that belong to no segment.
    async fn log_folder(&mut self, segments: &[SegmentRef]) -> Result<(), CheckError> {
        let mut entries = self.disk.list_directory(&self.folder.layout.log()).await?;
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        for entry in entries {
            let (stem, kind) = entry.name.split_once('.').unwrap_or((&entry.name, ""));
            let id = u64::from_str_radix(stem, 16).ok().filter(|_| stem.len() == 16);
            let known = id.is_some_and(|id| segments.iter().any(|segment| segment.segment == id));
            let file = format!("log/{}", entry.name);
            match (id, kind) {
                (Some(_), "log" | "keys") if known => {}
                // Read and found lost, or written ahead and never used.
                (Some(_), "log") => {
                    self.find(Severity::Note, &file, "no part of any log".into());
                }
                (Some(_), "keys") => {
                    self.find(Severity::Unreferenced, &file, "its log segment is gone".into());
                }
                _ => self.find(Severity::Unreferenced, &file, "none of ours".into()),
            }
        }
        Ok(())
    }

    /// The names of those whose bytes are damaged.
    async fn names(
        &mut self,
        segments: &[SegmentRef],
        survey: &Survey,
        bad: &[bytes::Bad],
    ) -> Result<HashMap<Owner, String>, CheckError> {
        let mut names: HashMap<Owner, String> =
            bad.iter().map(|one| (one.claim.owner, String::new())).collect();
        if names.is_empty() {
            return Ok(names);
        }
        for segment in segments {
            let mut visit = |record: super::log::ReplayedRecord<'_>, _: &[u8]| {
                let Some((stem, _)) = super::record::decode_meta(record.meta) else { return };
                if let Some(name) = names.get_mut(&survey.owner(record.shard, stem))
                    && name.is_empty()
                {
                    *name = survey.name(record.shard, stem);
                }
            };
            verify_segment(self.disk, segment, segments, &mut visit).await?;
        }
        Ok(names)
    }
}

fn log_file(segment: u64) -> String {
    format!("log/{segment:016x}.log")
}

#[cfg(test)]
mod tests;
