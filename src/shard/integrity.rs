//! What is known to be damaged, and how far the scrub has come: notes that survive a restart.
//!
//! ```text
//! file      header (64) │ entry │ entry │ … │ zeros up to a multiple of 4096
//! header    magic 8 │ version 4 │ entries 4 │ pass began, ms 8 │ next log segment 8 │ passes 8 │
//!           CRC32C of the entries 4 │ flags 4 (1: the next start accepts what logs have lost) │ zeros 12 │
//!           CRC32C of the 60 bytes before 4
//! entry     kind 1 (1 inline, 2 extent, 3 own file) │ zeros 7 │ id 8 │ first block 8 │ blocks 8 │ found, ms 8
//!           kind 1 (4 to 8, a loss that was accepted; 9, one that no index tells of any more) │ zeros 7 │
//!           log segment 8 │ offset 8 │ zeros 16
//! ```
//!
//! All integers are little-endian. The file is replaced whole. It is derived: what it says is found again by the
//! next pass of the scrub, so a damaged one is only reported; what was accepted as lost must then be accepted again. A
//! note never frees or changes what it is about; it lets a read fail before its first byte instead of in the middle. It
//! ends when a whole pass has not met the damage, since what it was about is gone by then.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;

use super::extent::BLOCK;
use super::index::value::Location;
use super::log::Layout;
use super::losses::{Accepted, Losses};
use crate::io::buffer::{ALIGNMENT, AlignedBuffer};
use crate::io::{Disk, DiskFile, OpenOptions};
use crate::model::ByteRange;
use crate::runtime;

const MAGIC: [u8; 8] = *b"VLTINTEG";
const VERSION: u32 = 1;
const HEADER: usize = 64;
const ENTRY: usize = 40;
/// Most entries that are kept; a folder with more needs more than notes.
const ENTRIES_MAX: usize = 100_000;
/// Suspects that wait; more are met again.
const SUSPECTS_MAX: usize = 256;

/// Bytes that may be damaged: what their checksum was compared with did not agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Suspect {
    pub(crate) location: Location,
    pub(crate) size: u64,
}

/// Whose bytes: a kind of location and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Subject {
    kind: u8,
    id: u64,
}

impl Subject {
    pub(crate) fn of(location: Location) -> Self {
        match location {
            Location::Inline { id, .. } => Self { kind: 1, id },
            Location::Extent { id, .. } => Self { kind: 2, id },
            Location::OwnFile { id } => Self { kind: 3, id },
        }
    }
}

/// How far the scrub has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// When the pass began, milliseconds since the epoch; 0 if none is under way.
    pub(crate) began_ms: i64,
    /// The log segment that comes next.
    pub(crate) next: u64,
    /// Passes that were finished.
    pub(crate) passes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Note {
    blocks: Vec<Range<u64>>,
    found_ms: i64,
    /// Met in this pass.
    met: bool,
}

/// The notes of a data folder, shared by all cores; written by one.
#[derive(Debug)]
pub(crate) struct Integrity {
    notes: Mutex<HashMap<Subject, Note>>,
    /// Their number, so that nobody locks while there are none.
    count: AtomicUsize,
    suspects: ArrayQueue<Suspect>,
    bytes_scrubbed: AtomicU64,
    passes: AtomicU64,
    flaws: AtomicU64,
    losses: Losses,
    /// Somebody is writing the file.
    saving: AtomicBool,
}

impl Default for Integrity {
    fn default() -> Self {
        Self {
            notes: Mutex::default(),
            count: AtomicUsize::new(0),
            suspects: ArrayQueue::new(SUSPECTS_MAX),
            bytes_scrubbed: AtomicU64::new(0),
            passes: AtomicU64::new(0),
            flaws: AtomicU64::new(0),
            losses: Losses::default(),
            saving: AtomicBool::new(false),
        }
    }
}

impl Integrity {
    /// Whether a read of this range would meet bytes that are known to be damaged.
    pub(crate) fn is_damaged(&self, location: Location, range: ByteRange) -> bool {
        if self.count.load(Ordering::Acquire) == 0 || range.length == 0 {
            return false;
        }
        let first = range.offset / BLOCK as u64;
        let end = range.end().div_ceil(BLOCK as u64);
        let notes = self.lock();
        notes.get(&Subject::of(location)).is_some_and(|note| {
            note.blocks.iter().any(|blocks| blocks.start < end && first < blocks.end)
        })
    }

    /// Has somebody look at bytes whose checksum did not agree.
    pub(crate) fn suspect(&self, location: Location, size: u64) {
        // Those that find no room are met again.
        let _ = self.suspects.push(Suspect { location, size });
    }

    pub(crate) fn next_suspect(&self) -> Option<Suspect> {
        self.suspects.pop()
    }

    /// Notes damaged blocks; whether that is news.
    pub(crate) fn note(&self, location: Location, blocks: &[Range<u64>], now_ms: i64) -> bool {
        let mut notes = self.lock();
        if notes.len() >= ENTRIES_MAX {
            return false;
        }
        let fresh = Note { blocks: blocks.to_vec(), found_ms: now_ms, met: true };
        let news = match notes.get_mut(&Subject::of(location)) {
            Some(known) if known.blocks == fresh.blocks => {
                known.met = true;
                false
            }
            Some(known) => {
                *known = Note { found_ms: known.found_ms, ..fresh };
                true
            }
            None => notes.insert(Subject::of(location), fresh).is_none(),
        };
        self.count.store(notes.len(), Ordering::Release);
        news
    }

    /// A pass begins: nothing has been met in it.
    pub(crate) fn begin_pass(&self) {
        self.lock().values_mut().for_each(|note| note.met = false);
    }

    /// A whole pass is over: forgets what it has not met. Whether there was such a note.
    pub(crate) fn end_pass(&self) -> bool {
        let mut notes = self.lock();
        let before = notes.len();
        notes.retain(|_, note| note.met);
        self.count.store(notes.len(), Ordering::Release);
        self.passes.fetch_add(1, Ordering::Relaxed);
        notes.len() < before
    }

    /// What is accepted as lost.
    pub(crate) fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Counts bytes that were read and verified.
    pub(crate) fn scrubbed(&self, bytes: u64) {
        self.bytes_scrubbed.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Sets how many places of the log are damaged.
    pub(crate) fn set_log_flaws(&self, flaws: u64) {
        self.flaws.store(flaws, Ordering::Relaxed);
    }

    /// Artifacts and parts that are known to be damaged, and damaged places of the log.
    pub(crate) fn damaged(&self) -> u64 {
        self.count.load(Ordering::Acquire) as u64 + self.flaws.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes_scrubbed(&self) -> u64 {
        self.bytes_scrubbed.load(Ordering::Relaxed)
    }

    pub(crate) fn passes(&self) -> u64 {
        self.passes.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Subject, Note>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the notes of earlier starts. What is not whole is reported and forgotten.
    ///
    /// # Errors
    /// As the disk says.
    pub(crate) async fn load<D: Disk>(&self, disk: &D, layout: &Layout) -> io::Result<Progress> {
        let file = match disk.open(&path(layout), OpenOptions::default()).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Progress::default()),
            file => file?,
        };
        let length = usize::try_from(file.length().await?).map_err(io::Error::other)?;
        let length_max = HEADER + ENTRY * 3 * ENTRIES_MAX;
        let mut buffer = AlignedBuffer::with_capacity(length.min(length_max));
        buffer.set_length(length.min(length_max));
        let (read, buffer) = file.read_at(buffer, 0).await;
        let Some((progress, notes, accepted)) = decode(&buffer[..read?]) else {
            tracing::error!("the notes of what is damaged cannot be read; the scrub begins anew");
            return Ok(Progress::default());
        };
        self.count.store(notes.len(), Ordering::Release);
        self.passes.store(progress.passes, Ordering::Relaxed);
        *self.lock() = notes;
        self.losses.set(accepted);
        Ok(progress)
    }

    /// Has all that was accepted as lost be news again; durable on return.
    ///
    /// # Errors
    /// As the disk says; then it is accepted still.
    pub(crate) async fn forget_losses<D: Disk>(&self, disk: &D, layout: &Layout) -> io::Result<()> {
        let before = self.losses.get();
        if !self.losses.forget() {
            return Ok(());
        }
        let forgotten = async {
            let progress = Self::default().load(disk, layout).await?;
            self.save(disk, layout, progress).await
        };
        let forgotten = forgotten.await;
        if forgotten.is_err() {
            self.losses.set(before);
        }
        forgotten
    }

    /// Writes the notes; durable on return. Waits for others that do.
    ///
    /// # Errors
    /// As the disk says; then the old ones stand.
    pub(crate) async fn save<D: Disk>(
        &self,
        disk: &D,
        layout: &Layout,
        progress: Progress,
    ) -> io::Result<()> {
        while self.saving.swap(true, Ordering::AcqRel) {
            runtime::sleep(Duration::from_millis(1)).await;
        }
        let _saving = Saving(&self.saving);
        self.write(disk, layout, progress).await
    }

    async fn write<D: Disk>(
        &self,
        disk: &D,
        layout: &Layout,
        progress: Progress,
    ) -> io::Result<()> {
        let bytes = encode(progress, &self.lock(), &self.losses.get());
        let mut buffer = AlignedBuffer::with_capacity(bytes.len());
        buffer.extend_from_slice(&bytes);
        buffer.pad();
        let (path, temporary) = (path(layout), path(layout).with_extension("tmp"));
        disk.remove_if_there(&temporary).await?;
        let options = OpenOptions { write: true, create_new: true, ..OpenOptions::default() };
        let file = disk.open(&temporary, options).await?;
        file.write_at(buffer, 0).await.0?;
        file.sync().await?;
        disk.rename(&temporary, &path).await?;
        disk.sync_directory(&layout.root).await
    }
}

/// The file is being written, for as long as this lives.
struct Saving<'a>(&'a AtomicBool);

impl Drop for Saving<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// The file of the notes.
pub(crate) fn path(layout: &Layout) -> PathBuf {
    layout.root.join("integrity")
}

fn encode(progress: Progress, notes: &HashMap<Subject, Note>, accepted: &Accepted) -> Vec<u8> {
    let mut entries = Vec::new();
    let mut count = 0_u32;
    let mut sorted: Vec<_> = notes.iter().collect();
    sorted.sort_unstable_by_key(|(subject, _)| **subject);
    for (subject, note) in sorted {
        for blocks in &note.blocks {
            if count as usize >= 2 * ENTRIES_MAX {
                break;
            }
            count += 1;
            entries.extend_from_slice(&[subject.kind, 0, 0, 0, 0, 0, 0, 0]);
            for number in [subject.id, blocks.start, blocks.end - blocks.start] {
                entries.extend_from_slice(&number.to_le_bytes());
            }
            entries.extend_from_slice(&note.found_ms.to_le_bytes());
        }
    }
    for (kind, segment, offset) in accepted.entries() {
        count += 1;
        entries.extend_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
        for number in [segment, u64::from(offset), 0, 0] {
            entries.extend_from_slice(&number.to_le_bytes());
        }
    }
    let mut out = Vec::with_capacity((HEADER + entries.len()).next_multiple_of(ALIGNMENT));
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&progress.began_ms.to_le_bytes());
    out.extend_from_slice(&progress.next.to_le_bytes());
    out.extend_from_slice(&progress.passes.to_le_bytes());
    out.extend_from_slice(&crc_fast::crc32_iscsi(&entries).to_le_bytes());
    out.extend_from_slice(&u32::from(accepted.next).to_le_bytes());
    out.resize(HEADER - 4, 0);
    out.extend_from_slice(&crc_fast::crc32_iscsi(&out).to_le_bytes());
    out.extend_from_slice(&entries);
    out
}

fn decode(bytes: &[u8]) -> Option<(Progress, HashMap<Subject, Note>, Accepted)> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let u32_at = |at: usize| Some(u32::from_le_bytes(*header.get(at..)?.first_chunk()?));
    let u64_of =
        |bytes: &[u8], at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let whole = header[..8] == MAGIC
        && u32_at(8)? == VERSION
        && u32_at(HEADER - 4)? == crc_fast::crc32_iscsi(&header[..HEADER - 4]);
    let entries = rest.get(..u32_at(12)? as usize * ENTRY)?;
    if !whole || u32_at(40)? != crc_fast::crc32_iscsi(entries) {
        return None;
    }
    let progress = Progress {
        began_ms: u64_of(header, 16)?.cast_signed(),
        next: u64_of(header, 24)?,
        passes: u64_of(header, 32)?,
    };
    let mut notes: HashMap<Subject, Note> = HashMap::new();
    let mut accepted = Accepted { next: u32_at(44)? & 1 == 1, ..Accepted::default() };
    for entry in entries.chunks_exact(ENTRY) {
        let subject = Subject { kind: entry[0], id: u64_of(entry, 8)? };
        let offset = u32::try_from(u64_of(entry, 16)?).unwrap_or(u32::MAX);
        if accepted.take_entry(subject.kind, subject.id, offset) {
            continue;
        }
        let (first, count) = (u64_of(entry, 16)?, u64_of(entry, 24)?);
        let found_ms = u64_of(entry, 32)?.cast_signed();
        // Not met yet in the pass that goes on, unless it is the one that found it.
        let met = progress.began_ms != 0 && found_ms >= progress.began_ms;
        let note = notes.entry(subject).or_insert(Note { blocks: Vec::new(), found_ms, met });
        note.blocks.push(first..first.checked_add(count)?);
    }
    Some((progress, notes, accepted))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::io::sim::SimDisk;
    use crate::io::testing::drive;
    use crate::shard::losses::Loss;

    const OWN: Location = Location::OwnFile { id: 9 };

    fn range(offset: u64, length: u64) -> ByteRange {
        ByteRange { offset, length }
    }

    #[test]
    fn notes_survive_a_power_cut_and_damage_of_the_file_is_no_disaster() {
        let (disk, layout) = (SimDisk::new(), Layout { root: PathBuf::from("/d") });
        let block = BLOCK as u64;
        let progress = Progress { began_ms: 5, next: 3, passes: 2 };
        drive(async {
            let notes = Integrity::default();
            assert!(notes.note(OWN, &[2..3, 7..9], 6));
            assert!(!notes.note(OWN, &[2..3, 7..9], 8), "no news");
            notes.save(&disk, &layout, progress).await.unwrap();
            notes.losses().accept_next();
            let losses = [
                Loss::Frames { segment: 1, offset: 2 },
                Loss::Segment(3),
                Loss::Missing(4),
                Loss::Parts { segment: 5, offset: u32::MAX },
                Loss::Records(u64::MAX),
            ];
            assert!(losses.iter().all(|loss| notes.losses().accepts(*loss)));
            let gone = BTreeSet::from([6]);
            notes.losses().set(Accepted { gone, ..notes.losses().get() });
            notes.save(&disk, &layout, progress).await.unwrap();
            disk.power_cut(|_| 0);
            let again = Integrity::default();
            assert_eq!(again.load(&disk, &layout).await.unwrap(), progress);
            assert_eq!(again.losses().get(), notes.losses().get());
            for damaged in [range(2 * block, 1), range(0, 3 * block), range(9 * block - 1, 100)] {
                assert!(again.is_damaged(OWN, damaged), "{damaged:?}");
            }
            for intact in [range(0, 2 * block), range(3 * block, 4 * block), range(9 * block, 1)] {
                assert!(!again.is_damaged(OWN, intact), "{intact:?}");
            }
            let other = Location::Extent { segment: 1, offset: 0, id: 9 };
            assert!(!again.is_damaged(other, range(0, 10 * block)));
            disk.flip(&path(&layout), 70, 1).unwrap();
            let lost = Integrity::default();
            assert_eq!(lost.load(&disk, &layout).await.unwrap(), Progress::default());
            assert_eq!(lost.damaged(), 0);
        });
    }

    #[test]
    fn a_note_ends_when_a_whole_pass_has_not_met_its_damage() {
        let notes = Integrity::default();
        let first = std::slice::from_ref(&(0..1));
        notes.note(OWN, first, 1);
        notes.begin_pass();
        notes.note(OWN, first, 2);
        assert!(!notes.end_pass());
        assert_eq!(notes.damaged(), 1);
        notes.begin_pass();
        assert!(notes.end_pass());
        assert!(!notes.is_damaged(OWN, range(0, 1)));
    }
}
