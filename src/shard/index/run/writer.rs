//! Writing a run.

use std::io;
use std::path::Path;

use super::footer::Footer;
use super::{
    Run, RunError, RunPart, STEM_MAX, VALUE_MAX, Version, block, blocks, bloom, seeded_crc,
};
use crate::io::buffer::{ALIGNMENT, AlignedBuffer};
use crate::io::{Disk, DiskFile, OpenOptions};
use crate::shard::log::Place;

/// Bytes that are written at once. No more: while it gets memory that it had not used before, the core does nothing else.
const PIECE: usize = 256 << 10;

/// Bytes for which there is room at first: most runs are of small tables.
const PIECE_FIRST: usize = 64 << 10;

/// Writes one run, stem after stem. A writer that is dropped before [`RunWriter::finish`] leaves a file that is no
/// run: the caller removes it.
pub(crate) struct RunWriter<F> {
    file: F,
    piece: AlignedBuffer,
    /// Where the piece will lie.
    offset: u64,
    block: block::Builder,
    /// The first stem of the block, and the stem before it.
    first: Vec<u8>,
    before: Vec<u8>,
    blocks: blocks::Builder,
    bloom: bloom::Bloom,
    footer: Footer,
}

impl<F: DiskFile> RunWriter<F> {
    /// Creates the file; there must be none. `stems` is how many are expected: with more the bloom filter gets worse.
    ///
    /// # Errors
    /// As the disk says.
    pub(crate) async fn create<D: Disk<File = F>>(
        disk: &D,
        path: &Path,
        id: u64,
        shard: u8,
        stems: u64,
    ) -> io::Result<Self> {
        let options =
            OpenOptions { write: true, create_new: true, direct: true, durable_writes: false };
        let file = disk.open(path, options).await?;
        Ok(Self {
            file,
            piece: AlignedBuffer::with_capacity(PIECE_FIRST),
            offset: 0,
            block: block::Builder::new(),
            first: Vec::new(),
            before: Vec::new(),
            blocks: blocks::Builder::default(),
            bloom: bloom::Bloom::for_stems(stems),
            footer: Footer { run: id, shard, ..Footer::default() },
        })
    }

    /// Appends a version; its stem is greater than all before. Waits for the disk about once in a [`PIECE`].
    ///
    /// # Errors
    /// As the disk says; `InvalidInput` for a stem out of order, and for what is longer than [`STEM_MAX`] or
    /// [`VALUE_MAX`]. After an error the run is of no use.
    pub(crate) async fn push(
        &mut self,
        stem: &[u8],
        sequence: u64,
        place: Place,
        value: &[u8],
    ) -> io::Result<()> {
        let last = self.block.last();
        let in_order = self.footer.entries == 0 || last < stem;
        if !in_order || stem.is_empty() || stem.len() > STEM_MAX || value.len() > VALUE_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if !self.block.has_room(stem, value) {
            self.finish_block().await?;
        }
        if self.block.is_empty() {
            self.before.clear();
            self.before.extend_from_slice(self.block.last());
            self.first.clear();
            self.first.extend_from_slice(stem);
        }
        let version = Version { stem, sequence, place, value };
        self.block.push(&version);
        self.bloom.insert(bloom::hash(stem));
        self.footer.entries += 1;
        self.footer.tombstones += u64::from(version.is_tombstone());
        self.footer.sequence_max = self.footer.sequence_max.max(sequence);
        Ok(())
    }

    /// Number of versions so far.
    pub(crate) fn entries(&self) -> u64 {
        self.footer.entries
    }

    /// Writes what is left. On return the bytes are durable, but not yet the name: the caller syncs the directory.
    ///
    /// # Errors
    /// As the disk says. Then the run is of no use, whatever a later read shows.
    pub(crate) async fn finish(self) -> Result<Run, RunError> {
        let file = self.file.clone();
        let run = self.finish_fleeting().await?;
        file.sync().await?;
        Ok(run)
    }

    /// The same for a run that is of no use after a crash: nothing of it is durable.
    ///
    /// # Errors
    /// As the disk says.
    pub(crate) async fn finish_fleeting(mut self) -> Result<Run, RunError> {
        if !self.block.is_empty() {
            self.finish_block().await?;
        }
        let (id, count) = (self.footer.run, self.blocks.count());
        self.footer.blocks = count;
        self.footer.bloom_blocks = u32::try_from(self.bloom.len()).unwrap_or(u32::MAX);
        self.footer.bloom_offset = self.position();
        self.footer.bloom_crc = self.write_section(u64::from(count), self.bloom.bytes()).await?;

        self.footer.index_offset = self.position();
        let blocks = std::mem::take(&mut self.blocks).finish(self.block.last());
        let section = blocks.clone();
        self.footer.index_crc = self.write_section(u64::from(count) + 1, section).await?;

        self.footer.footer_offset = self.position();
        let page = self.footer.encode();
        self.write(&page).await?;
        self.write_piece().await?;
        let blocks = blocks::Blocks::decode(&blocks, count)
            .ok_or(RunError::Damaged { run: id, part: RunPart::Index })?;
        Ok(Run { id, footer: self.footer, bloom: self.bloom, blocks })
    }

    async fn finish_block(&mut self) -> io::Result<()> {
        let block = self.block.finish(self.footer.run, self.blocks.count());
        self.blocks.push(block.len(), &self.before, &self.first);
        self.write(&block).await
    }

    /// Writes a section with zeros up to a page; returns its checksum.
    async fn write_section(&mut self, number: u64, mut bytes: Vec<u8>) -> io::Result<u32> {
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        self.write(&bytes).await?;
        Ok(seeded_crc(self.footer.run, number, &bytes))
    }

    /// Where the next byte will lie.
    fn position(&self) -> u64 {
        self.offset + self.piece.len() as u64
    }

    /// Appends bytes, whole pages of them.
    async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(PIECE - self.piece.len()));
            self.make_room(now.len());
            self.piece.extend_from_slice(now);
            bytes = rest;
            if self.piece.len() == PIECE {
                self.write_piece().await?;
            }
        }
        Ok(())
    }

    /// Lets the piece hold so many more bytes, up to [`PIECE`].
    fn make_room(&mut self, more: usize) {
        if self.piece.len() + more > self.piece.capacity() {
            let mut larger = AlignedBuffer::with_capacity(PIECE);
            larger.extend_from_slice(&self.piece);
            self.piece = larger;
        }
    }

    async fn write_piece(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, AlignedBuffer::dangling());
        let length = piece.len() as u64;
        let (written, piece) = self.file.write_at(piece, self.offset).await;
        self.piece = piece;
        self.piece.set_length(0);
        written?;
        self.offset += length;
        Ok(())
    }
}
