//! Appends batches of records to this core's log.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use super::admission::{Admission, Room};
pub use super::batch::{
    BATCH_BYTES_MAX, BATCH_RECORDS_MAX, LogError, LogOptions, Urgency, encoded_length,
};
use super::batch::{Shape, offset_u32, with_room};
use super::format::{
    self, BLOCK, FRAME_HEADER, FrameHeader, FrameType, RECORD_ENTRY, SegmentHeader,
};
use super::probe;
pub use super::probe::SyncMethod;
pub use super::retire::Retirer;
use super::seal::{Keys, SealJob};
use super::segments::{self, Segments};
use super::{Appended, LogEnd, LogId, LogPoint, NewRecord, Place};
use crate::io::Disk;
use crate::io::buffer::AlignedBuffer;
use crate::io::clock::SystemClock;
use crate::shard::planted::{self, Bug};
use crate::shard::volume::Volume;

/// Writes one core's log.
///
/// Everything on the segment being written is durable up to the end of the last frame: appends go
/// one after the other. Drop it, or [seal](LogWriter::seal) it, on the core that opened it.
pub struct LogWriter<D: Disk> {
    segments: Rc<Segments<D>>,
    log: LogId,
    salt: u64,
    current: Current<D::File>,
    /// Absent while an append is under way: one that was dropped has left the file in doubt.
    frame: Option<AlignedBuffer>,
    last_batch: u64,
    previous_crc: u32,
    sealed: bool,
}

/// The segment being written.
struct Current<F> {
    file: F,
    segment: u64,
    position: u32,
    /// Where the next frame goes.
    end: u64,
    /// What its footer will hold.
    keys: Keys,
}

impl<D: Disk> LogWriter<D> {
    /// Creates this core's log of this start. Its first frame, which is durable on return, names the
    /// ends of older logs. Fails as the disk does.
    pub async fn open(
        disk: D,
        volume: Arc<Volume>,
        core: u16,
        ends: Vec<LogEnd>,
        options: LogOptions,
    ) -> io::Result<Self> {
        let method = match options.sync_method {
            Some(method) => method,
            None => {
                let folder = volume.layout().log();
                probe::choose(&disk, &SystemClock, &folder, core).await?
            }
        };
        tracing::debug!(core, ?method, "log opened");
        let log = LogId { start: volume.start(), core };
        let salt = super::salt_of(volume.uuid());
        let segments = Segments::new(disk, volume, method, options.segment_length);
        let first = segments.take_spare().await?;
        let current = Current {
            file: first.file,
            segment: first.segment,
            position: 0,
            end: BLOCK as u64,
            keys: Keys::default(),
        };
        let frame = AlignedBuffer::with_capacity(BLOCK);
        let mut writer = Self {
            segments,
            log,
            salt,
            current,
            frame: None,
            last_batch: 0,
            previous_crc: 0,
            sealed: false,
        };
        let frame = writer.write_segment_header(frame, 0).await?;
        writer.frame = Some(frame);
        writer.write_start(&ends).await?;
        Ok(writer)
    }

    /// The work that should not keep appends waiting: sealing full segments, writing the next one
    /// ahead. To be spawned once on the writer's core; ends after the writer is sealed or dropped.
    /// Without it the same work happens inside [`LogWriter::append`].
    pub fn background(&self) -> impl Future<Output = ()> + 'static + use<D> {
        segments::work(Rc::clone(&self.segments))
    }

    /// Writes one frame with these records, in order; all are durable on return.
    ///
    /// # Errors
    /// See [`LogError`].
    ///
    /// # Cancel safety
    /// None: a dropped append poisons the writer.
    pub async fn append(&mut self, records: &[NewRecord]) -> Result<Appended, LogError> {
        self.append_with(records, Urgency::Normal).await
    }

    /// As [`LogWriter::append`], saying how badly it is needed.
    ///
    /// # Errors
    /// See [`LogError`].
    ///
    /// # Cancel safety
    /// None: a dropped append poisons the writer.
    pub async fn append_with(
        &mut self,
        records: &[NewRecord],
        urgency: Urgency,
    ) -> Result<Appended, LogError> {
        self.check()?;
        let shape = Shape::of(records).ok_or(LogError::TooLarge)?;
        let room = self.make_room(shape, urgency).await;
        if urgency > Urgency::Normal && matches!(room, Err(LogError::Full)) {
            self.segments.set_needy(true);
        }
        room?;
        let Some(frame) = self.frame.take() else {
            return Err(self.poisoned("an append was abandoned"));
        };
        let (header, crc, frame, places) = self.encode(frame, records, shape);
        let frame = self.write_frame(frame, &header, crc).await?;
        self.frame = Some(frame);
        self.last_batch = header.batch;
        let (frame_length, padding) = (shape.frame_length() as u64, shape.padding() as u64);
        Ok(Appended { batch: header.batch, places, frame_length, padding })
    }

    /// Sees to it that a batch fits into the segment being written.
    async fn make_room(&mut self, shape: Shape, urgency: Urgency) -> Result<(), LogError> {
        let mut admission = self.admit(shape, urgency);
        if matches!(admission, Admission::Full) {
            self.segments.retry().await;
            admission = self.admit(shape, urgency);
        }
        match admission {
            Admission::Fits => Ok(()),
            Admission::NextSegment => self.next_segment(urgency).await,
            Admission::Full => Err(LogError::Full),
        }
    }

    /// Whether an [`Urgency::Normal`] batch of so many bytes would find room now.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        let bytes = u32::try_from(bytes.min(BATCH_BYTES_MAX)).unwrap_or(u32::MAX);
        let shape = Shape { records: 0, table_length: bytes, payload_length: bytes };
        self.check().is_ok() && !matches!(self.admit(shape, Urgency::Normal), Admission::Full)
    }

    /// Whether the next segment is ready, which is written now if the disk has room for it.
    pub(crate) async fn has_next_segment(&self) -> bool {
        self.segments.retry().await;
        self.check().is_ok() && self.segments.reserve().0 > 0
    }

    /// Whether a write or sync has failed.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.frame.is_none() || self.segments.is_poisoned()
    }

    /// [`Bug::PublishBeforeSync`]: where the next batch will lie, if that is known.
    pub(crate) fn places_ahead(&self, records: &[NewRecord]) -> Option<Vec<Place>> {
        let shape = Shape::of(records)?;
        let fits = matches!(self.admit(shape, Urgency::Last), Admission::Fits);
        fits.then(|| shape.places(self.current.segment, self.current.end, records))
    }

    /// The segment being written. It may not be retired.
    #[must_use]
    pub fn current_segment(&self) -> u64 {
        self.current.segment
    }

    /// Up to where this log is durable.
    pub(crate) fn point(&self) -> LogPoint {
        LogPoint { segment: self.current.segment, offset: offset_u32(self.current.end) }
    }

    /// The position in this log of the segment being written.
    #[must_use]
    pub fn position(&self) -> u32 {
        self.current.position
    }

    /// How appends become durable.
    #[must_use]
    pub fn sync_method(&self) -> SyncMethod {
        self.segments.method
    }

    /// Ends the log in good order: the keys of its last segment are written and durable on return.
    /// Nothing can be appended afterwards.
    ///
    /// # Errors
    /// [`LogError::Poisoned`].
    pub async fn seal(&mut self) -> Result<(), LogError> {
        if self.sealed {
            return Ok(());
        }
        self.check()?;
        self.sealed = true;
        self.segments.close().await;
        if let Some(reason) = self.segments.poisoned() {
            return Err(LogError::Poisoned(reason));
        }
        let job = self.seal_job(true);
        let result = self.segments.seal(job).await;
        result.map_err(|error| self.poison(&error))
    }

    /// Takes back what was opened, of which nobody knows yet: the file is removed. Where that fails, the next start finds
    /// a log without records.
    pub async fn abandon(self) {
        self.segments.close().await;
        let path = self.segments.volume.layout().segment_path(self.current.segment);
        if let Err(error) = self.segments.disk.remove(&path).await {
            tracing::warn!(path = %path.display(), %error, "an empty log stays");
        }
    }

    /// Whoever takes dead segments away, while appends go on.
    #[must_use]
    pub fn retirer(&self) -> Retirer<D> {
        Retirer(Rc::downgrade(&self.segments))
    }

    fn check(&self) -> Result<(), LogError> {
        if let Some(reason) = self.segments.poisoned() {
            Err(LogError::Poisoned(reason))
        } else if self.sealed {
            Err(LogError::Poisoned("the log is sealed".into()))
        } else if self.frame.is_none() {
            Err(self.poisoned("an append was abandoned"))
        } else {
            Ok(())
        }
    }

    fn poison(&self, error: &io::Error) -> LogError {
        self.segments.poison(error);
        LogError::Poisoned(error.to_string())
    }

    fn poisoned(&self, reason: &'static str) -> LogError {
        self.poison(&io::Error::other(reason))
    }

    fn admit(&self, shape: Shape, urgency: Urgency) -> Admission {
        let (spares, starved) = self.segments.reserve();
        let Current { end, keys, .. } = &self.current;
        let room =
            Room { length: self.segments.length, end: *end, keys: keys.len(), spares, starved };
        room.admit(shape, urgency)
    }

    async fn next_segment(&mut self, urgency: Urgency) -> Result<(), LogError> {
        let spare = match self.segments.take_spare().await {
            Ok(spare) => spare,
            // A failed write to a file that held nothing yet; without it there is no going on.
            Err(error) if !self.segments.reserve().1 => return Err(self.poison(&error)),
            Err(_) => {
                tracing::warn!(?urgency, "no room for another log segment");
                return Err(LogError::Full);
            }
        };
        let Some(frame) = self.frame.take() else {
            return Err(self.poisoned("an append was abandoned"));
        };
        let job = self.seal_job(false);
        let previous = self.current.segment;
        self.current = Current {
            file: spare.file,
            segment: spare.segment,
            position: self.current.position + 1,
            end: BLOCK as u64,
            keys: Keys::default(),
        };
        let frame = self
            .write_segment_header(frame, previous)
            .await
            .map_err(|error| self.poison(&error))?;
        self.frame = Some(frame);
        self.segments.seal_later(job).await;
        self.check()
    }

    fn seal_job(&mut self, cut: bool) -> SealJob<D::File> {
        let header = FrameHeader {
            previous_crc: self.previous_crc,
            ..self.header(FrameType::Seal, self.last_batch, self.last_batch)
        };
        SealJob {
            file: self.current.file.clone(),
            header,
            salt: self.salt,
            keys: std::mem::take(&mut self.current.keys),
            length: self.segments.length,
            cut,
        }
    }

    /// A header for the next frame, its lengths and payload still to be filled in.
    fn header(&self, kind: FrameType, batch: u64, committed: u64) -> FrameHeader {
        FrameHeader {
            kind,
            segment: self.current.segment,
            epoch: self.log.start,
            offset: offset_u32(self.current.end),
            batch,
            committed,
            records: 0,
            table_length: 0,
            payload_length: 0,
            previous_crc: self.previous_crc,
            payload_crc: 0,
        }
    }

    async fn write_segment_header(
        &self,
        mut block: AlignedBuffer,
        previous_segment: u64,
    ) -> io::Result<AlignedBuffer> {
        let header = SegmentHeader {
            segment: self.current.segment,
            log: self.log,
            position: self.current.position,
            previous_segment,
            first_batch: self.last_batch + 1,
            previous_crc: self.previous_crc,
            salt: self.salt,
        };
        block.set_length(BLOCK);
        header.encode(&mut block);
        let (result, block) = self.segments.write_durably(&self.current.file, block, 0).await;
        result.map(|()| block)
    }

    async fn write_start(&mut self, ends: &[LogEnd]) -> io::Result<()> {
        let ends = if planted::is(Bug::EndNotNamed) { &[] } else { ends };
        let mut table = Vec::with_capacity(ends.len() * format::END_ENTRY);
        ends.iter().for_each(|end| format::encode_end(end, &mut table));
        let Some(mut frame) = self.frame.take() else { return Ok(()) };
        if table.len() > BATCH_BYTES_MAX {
            return Err(io::Error::other("too many unsealed log segments"));
        }
        frame = with_room(frame, FRAME_HEADER + table.len());
        let length = u32::try_from(table.len()).map_err(io::Error::other)?;
        let header = FrameHeader {
            records: u32::try_from(ends.len()).map_err(io::Error::other)?,
            table_length: length,
            payload_length: length,
            payload_crc: crc_fast::crc32_iscsi(&table),
            ..self.header(FrameType::Start, 0, 0)
        };
        frame.set_length(FRAME_HEADER);
        let crc = header.encode(self.salt, &mut frame);
        frame.extend_from_slice(&table);
        frame.pad();
        let frame = self.write_frame(frame, &header, crc).await.map_err(io::Error::other)?;
        self.frame = Some(frame);
        Ok(())
    }

    /// Lays a batch out in the frame buffer.
    fn encode(
        &self,
        mut frame: AlignedBuffer,
        records: &[NewRecord],
        shape: Shape,
    ) -> (FrameHeader, u32, AlignedBuffer, Vec<Place>) {
        let bodies_start = FRAME_HEADER + shape.table_length as usize;
        let end = FRAME_HEADER + shape.payload_length as usize;
        frame = with_room(frame, end);
        frame.set_length(end);
        let places = shape.places(self.current.segment, self.current.end, records);
        let (mut entry_at, mut body_at) = (FRAME_HEADER, bodies_start);
        for record in records {
            format::encode_record(record, &mut frame[entry_at..bodies_start]);
            entry_at += RECORD_ENTRY + record.meta.len();
            frame[body_at..body_at + record.body.len()].copy_from_slice(&record.body);
            body_at += record.body.len();
        }
        debug_assert_eq!((entry_at, body_at), (bodies_start, end), "the table and bodies fill it");
        let header = FrameHeader {
            records: shape.records,
            table_length: shape.table_length,
            payload_length: shape.payload_length,
            payload_crc: crc_fast::crc32_iscsi(&frame[FRAME_HEADER..]),
            ..self.header(FrameType::Batch, self.last_batch + 1, self.last_batch)
        };
        let crc = header.encode(self.salt, &mut frame);
        frame.pad();
        (header, crc, frame, places)
    }

    /// Writes a frame and makes it durable, then counts it in.
    async fn write_frame(
        &mut self,
        frame: AlignedBuffer,
        header: &FrameHeader,
        crc: u32,
    ) -> Result<AlignedBuffer, LogError> {
        let place = self.current.end;
        let Current { file, segment, .. } = &self.current;
        let (mut result, frame) = self.segments.write_durably(file, frame, place).await;
        if planted::is(Bug::CacheBelieved) && result.is_err() {
            let path = self.segments.volume.layout().segment_path(*segment);
            if planted::cache_holds(&self.segments.disk, &path, &frame, place).await {
                result = Ok(());
            }
        }
        result.map_err(|error| self.poison(&error))?;
        let table = &frame[FRAME_HEADER..FRAME_HEADER + header.table_length as usize];
        self.current.keys.push(header, crc, table);
        self.current.end += frame.len() as u64;
        self.previous_crc = crc;
        Ok(frame)
    }
}

impl<D: Disk> Drop for LogWriter<D> {
    fn drop(&mut self) {
        self.segments.end();
    }
}
