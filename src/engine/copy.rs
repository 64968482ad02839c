//! Copies: the source's bytes are read, hashed as they pass, and written like any other body.
//!
//! The source is held open first, so an artifact can be copied onto itself.

use crate::context::Context;
use crate::driver::{
    BodyError, Buffer, Chunk, Driver, DriverError, OpenArtifact, Reader, Source, Target, WriteSpec,
};
use crate::model::{
    ByteRange, ChecksumAlgorithm, Digests, ETagHash, Metadata, PartInfo, ReadConditions,
    ReadVerdict, UploadId, WriteCondition, WriteReceipt,
};
use crate::runtime::yield_now;

use super::digest::Digester;
use super::put::allowed;
use super::{AnyOpen, Engine, EngineError};

/// Most bytes that one request may copy.
pub const COPY_BYTES_MAX: u64 = 5 << 30;

/// Most bytes of a file that are read at once.
const PIECE_BYTES: usize = 256 << 10;

/// Metadata of a copy.
#[derive(Clone, Debug)]
pub enum CopyMetadata {
    /// The source's.
    Keep,
    /// This.
    Replace(Metadata),
}

/// What to copy.
#[derive(Debug)]
pub struct CopyRequest<'a> {
    /// From.
    pub source: Target<'a>,
    /// What must hold of the source.
    pub source_conditions: ReadConditions,
    /// To.
    pub destination: Target<'a>,
    /// Metadata of the copy.
    pub metadata: CopyMetadata,
    /// What must hold of the destination at commit.
    pub condition: WriteCondition,
    /// The checksum to compute for the copy; `None` keeps the source's algorithm, or CRC-64/NVME.
    pub checksum: Option<ChecksumAlgorithm>,
}

/// What to copy into a part.
#[derive(Debug)]
pub struct CopyPartRequest<'a> {
    /// From.
    pub source: Target<'a>,
    /// What must hold of the source.
    pub source_conditions: ReadConditions,
    /// First and last byte of the source, both inclusive and both within it; `None` for all.
    pub range: Option<(u64, u64)>,
    /// The artifact to be.
    pub destination: Target<'a>,
    /// Its upload.
    pub upload: UploadId,
    /// Number of the part, 1 to 10,000.
    pub number: u16,
}

impl Engine {
    /// Copies an artifact; durable on return. A copy onto itself replaces its metadata.
    ///
    /// # Errors
    /// [`EngineError::CopySourceMissing`], [`EngineError::CopySourceTooLarge`],
    /// [`EngineError::PreconditionFailed`] for the source's conditions, or the drivers'.
    pub async fn copy(
        &self,
        ctx: &Context,
        request: CopyRequest<'_>,
    ) -> Result<WriteReceipt, EngineError> {
        let destination = self.drivers.driver(request.destination.container);
        allowed(destination, request.condition)?;
        let open = self.open_source(ctx, request.source, &request.source_conditions).await?;
        let info = open.info();
        let metadata = match request.metadata {
            CopyMetadata::Keep => info.metadata.clone(),
            CopyMetadata::Replace(metadata) => metadata,
        };
        let kept = info.checksum.map(|checksum| checksum.algorithm);
        let algorithm = request.checksum.or(kept).unwrap_or(ChecksumAlgorithm::Crc64Nvme);
        let range = ByteRange::whole(info.size);
        let mut source = CopySource::new(ctx, open, range, self.etag, algorithm).await?;
        let spec = WriteSpec { metadata, condition: request.condition };
        let result = destination.put(ctx, request.destination, spec, &mut source).await;
        result.map_err(|error| source.cause(error))
    }

    /// Copies an artifact, or a range of one, into a part of an upload; durable on return.
    ///
    /// # Errors
    /// As [`Engine::copy`], and [`EngineError::RangeNotSatisfiable`] if the range is not within
    /// the source.
    pub async fn copy_part(
        &self,
        ctx: &Context,
        request: CopyPartRequest<'_>,
    ) -> Result<PartInfo, EngineError> {
        let CopyPartRequest { destination: target, upload, number, .. } = request;
        let destination = self.drivers.driver(target.container);
        let named = destination.head_upload(ctx, target, upload).await?.checksum;
        let open = self.open_source(ctx, request.source, &request.source_conditions).await?;
        let size = open.info().size;
        let range = match request.range {
            None => ByteRange::whole(size),
            Some((first, last)) if first <= last && last < size => {
                ByteRange { offset: first, length: last - first + 1 }
            }
            Some(_) => return Err(EngineError::RangeNotSatisfiable { size }),
        };
        let algorithm = named.map_or(ChecksumAlgorithm::Crc64Nvme, |(algorithm, _)| algorithm);
        let mut source = CopySource::new(ctx, open, range, self.etag, algorithm).await?;
        let result = destination.put_part(ctx, target, upload, number, &mut source).await;
        result.map_err(|error| source.cause(error))
    }

    /// Holds the source of a copy open, if its conditions allow.
    async fn open_source(
        &self,
        ctx: &Context,
        source: Target<'_>,
        conditions: &ReadConditions,
    ) -> Result<AnyOpen, EngineError> {
        let open = match self.drivers.driver(source.container).open(ctx, source).await {
            Err(DriverError::NoSuchArtifact) => return Err(EngineError::CopySourceMissing),
            opened => opened?,
        };
        match conditions.evaluate(open.info()) {
            ReadVerdict::Proceed => Ok(open),
            // A copy has no body to leave out: both verdicts are a failed precondition.
            ReadVerdict::NotModified | ReadVerdict::Failed => Err(EngineError::PreconditionFailed),
        }
    }
}

/// A body that comes from another artifact.
struct CopySource<R> {
    reader: R,
    size: u64,
    taken: u64,
    /// What was read and not yet taken; memory.
    pending: bytes::Bytes,
    /// What is still to be read of a file.
    file: Option<FileRange>,
    etag: ETagHash,
    algorithm: ChecksumAlgorithm,
    digester: Option<Digester>,
    /// Why the source could not be read on.
    failure: Option<DriverError>,
}

/// A range of a file that a driver handed out.
struct FileRange {
    file: std::sync::Arc<std::os::fd::OwnedFd>,
    offset: u64,
    length: u64,
}

impl<R: Reader> CopySource<R> {
    async fn new<O: OpenArtifact<Reader = R>>(
        ctx: &Context,
        open: O,
        range: ByteRange,
        etag: ETagHash,
        algorithm: ChecksumAlgorithm,
    ) -> Result<Self, EngineError> {
        if range.length > COPY_BYTES_MAX {
            return Err(EngineError::CopySourceTooLarge);
        }
        Ok(Self {
            reader: open.read(ctx, range).await?,
            size: range.length,
            taken: 0,
            pending: bytes::Bytes::new(),
            file: None,
            etag,
            algorithm,
            digester: Some(Digester::for_etag(etag, algorithm, false)),
            failure: None,
        })
    }

    /// The error to report: what ailed the source, if that is why the write failed.
    fn cause(&mut self, error: DriverError) -> EngineError {
        match error {
            DriverError::Body(BodyError::CopySource) => self.failure.take().unwrap_or(error).into(),
            _ => error.into(),
        }
    }

    /// Moves the next bytes into `buffer`; nothing is hashed.
    async fn receive(&mut self, ctx: &Context, buffer: &mut [u8]) -> Result<usize, BodyError> {
        if let Err(error) = self.advance(ctx).await {
            let told = match &error {
                DriverError::Interrupted(interrupted) => BodyError::Interrupted(*interrupted),
                _ => BodyError::CopySource,
            };
            self.failure = Some(error);
            return Err(told);
        }
        let length = self.pending.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.pending.split_to(length));
        self.taken += length as u64;
        Ok(length)
    }

    /// Gets the next bytes into `pending`; they are empty at the end.
    async fn advance(&mut self, ctx: &Context) -> Result<(), DriverError> {
        while self.pending.is_empty() {
            if let Some(range) = self.file.take_if(|range| range.length > 0) {
                let (piece, rest) = read_file(range).await?;
                self.pending = piece;
                self.file = Some(rest);
                continue;
            }
            match self.reader.next(ctx).await? {
                None => break,
                Some(Chunk::Memory(bytes)) => self.pending = bytes,
                Some(Chunk::File { file, offset, length }) => {
                    self.file = Some(FileRange { file, offset, length });
                }
            }
        }
        Ok(())
    }
}

/// Reads a piece of a file on the blocking pool, and gives back what is left of the range.
async fn read_file(range: FileRange) -> Result<(bytes::Bytes, FileRange), DriverError> {
    crate::runtime::unblock(move || {
        let length = usize::try_from(range.length).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let mut piece = vec![0; length];
        let read = rustix::io::pread(&*range.file, &mut piece, range.offset)
            .map_err(|error| DriverError::from(std::io::Error::from(error)))?;
        if read == 0 {
            return Err(DriverError::Corrupt);
        }
        piece.truncate(read);
        let read = read as u64;
        let rest = FileRange { offset: range.offset + read, length: range.length - read, ..range };
        Ok((piece.into(), rest))
    })
    .await
}

impl<R: Reader> Source for CopySource<R> {
    fn size(&self) -> Option<u64> {
        Some(self.size)
    }

    async fn read(&mut self, ctx: &Context, buffer: &mut [u8]) -> Result<usize, BodyError> {
        let length = self.receive(ctx, buffer).await?;
        if let Some(digester) = &mut self.digester {
            digester.update(&buffer[..length]);
        }
        Ok(length)
    }

    async fn fill<B: Buffer>(
        &mut self,
        ctx: &Context,
        mut buffer: B,
        start: usize,
        arrived: &mut dyn FnMut(&[u8]),
    ) -> (Result<usize, BodyError>, B) {
        let mut end = start;
        while end < buffer.as_ref().len() {
            match self.receive(ctx, &mut buffer.as_mut()[end..]).await {
                Ok(0) => break,
                Ok(length) => {
                    let bytes = &buffer.as_ref()[end..end + length];
                    if let Some(digester) = &mut self.digester {
                        digester.update_checksums(bytes);
                    }
                    arrived(bytes);
                    end += length;
                }
                Err(error) => return (Err(error), buffer),
            }
        }
        if let Some(digester) = &mut self.digester {
            buffer = digester.update_md5(buffer, start..end, yield_now).await;
        }
        (Ok(end - start), buffer)
    }

    async fn finish(&mut self, _ctx: &Context) -> Result<Digests, BodyError> {
        let values = self.digester.take().map(Digester::finish).unwrap_or_default();
        let checksum = values.checksum(self.algorithm);
        match values.etag(self.etag, self.size) {
            Some(etag) if self.taken == self.size => Ok(Digests { etag, checksum }),
            // The reader ended short of what was opened.
            _ => {
                self.failure = Some(DriverError::Corrupt);
                Err(BodyError::CopySource)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io::Write;
    use std::sync::Arc;

    use super::*;
    use crate::driver::conformance::block_on;
    use crate::model::{ArtifactInfo, PartQuery, PartSpan, TenantId};

    /// An artifact of these chunks.
    struct Chunks(VecDeque<Chunk>, ArtifactInfo);

    impl Chunks {
        fn new(chunks: Vec<Chunk>) -> Self {
            let info = ArtifactInfo {
                size: chunks.iter().map(Chunk::len).sum(),
                etag: crate::model::ETag { hash: [0; 16], parts: 0 },
                modified_ms: 0,
                metadata: Metadata::default(),
                checksum: None,
            };
            Self(chunks.into(), info)
        }
    }

    impl OpenArtifact for Chunks {
        type Reader = Self;

        fn info(&self) -> &ArtifactInfo {
            &self.1
        }

        fn part_count(&self) -> Option<u16> {
            None
        }

        async fn parts(&self, _: &Context, _: PartQuery) -> Result<Vec<PartSpan>, DriverError> {
            Ok(Vec::new())
        }

        async fn read(self, _: &Context, _: ByteRange) -> Result<Self, DriverError> {
            Ok(self)
        }
    }

    impl Reader for Chunks {
        async fn next(&mut self, _: &Context) -> Result<Option<Chunk>, DriverError> {
            Ok(self.0.pop_front())
        }
    }

    fn context() -> Context {
        Context::internal(TenantId::DEFAULT)
    }

    async fn take(source: &mut CopySource<Chunks>, piece: usize) -> Result<Vec<u8>, BodyError> {
        let mut taken = Vec::new();
        let mut buffer = vec![0; piece];
        loop {
            match source.read(&context(), &mut buffer).await? {
                0 => return Ok(taken),
                read => taken.extend_from_slice(&buffer[..read]),
            }
        }
    }

    #[test]
    fn memory_and_files_are_copied_alike() {
        let bytes: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let file = Arc::new(std::os::fd::OwnedFd::from(file));
        let (start, end) = (1000, 2_000_001);
        let chunks = vec![
            Chunk::Memory(bytes::Bytes::copy_from_slice(&bytes[..start])),
            Chunk::File { file, offset: start as u64, length: (end - start) as u64 },
            Chunk::Memory(bytes::Bytes::copy_from_slice(&bytes[end..])),
        ];
        let whole = ByteRange::whole(bytes.len() as u64);
        crate::io::testing::run(async {
            for piece in [100_003, 64 << 10, 4 << 20] {
                let open = Chunks::new(chunks.clone());
                let algorithm = ChecksumAlgorithm::Sha256;
                let copy = CopySource::new(&context(), open, whole, ETagHash::Md5, algorithm).await;
                let mut copy = copy.unwrap();
                assert!(take(&mut copy, piece).await.unwrap() == bytes, "pieces of {piece}");
                let digests = copy.finish(&context()).await.unwrap();
                assert_eq!(digests.etag.hash, crate::stdx::md5::digest(&bytes));
                let sha = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
                assert_eq!(digests.checksum.unwrap().value(), sha.as_ref());
            }
        });
    }

    #[test]
    fn a_file_that_is_cut_short_is_damage() {
        let file = Arc::new(std::os::fd::OwnedFd::from(tempfile::tempfile().unwrap()));
        let open = Chunks::new(vec![Chunk::File { file, offset: 0, length: 10 }]);
        crate::io::testing::run(async {
            let algorithm = ChecksumAlgorithm::Crc32;
            let copy =
                CopySource::new(&context(), open, ByteRange::whole(10), ETagHash::Md5, algorithm)
                    .await;
            let mut copy = copy.unwrap();
            let error = take(&mut copy, 64).await.unwrap_err();
            assert_eq!(error, BodyError::CopySource);
            let cause = copy.cause(error.into());
            assert!(matches!(cause, EngineError::Driver(DriverError::Corrupt)), "{cause:?}");
        });
    }

    #[test]
    fn what_ends_early_or_is_too_large_is_not_copied() {
        block_on(async {
            let algorithm = ChecksumAlgorithm::Crc32;
            let short = Chunks::new(vec![Chunk::Memory("short".into())]);
            let copy =
                CopySource::new(&context(), short, ByteRange::whole(6), ETagHash::Md5, algorithm)
                    .await;
            let mut copy = copy.unwrap();
            assert_eq!(take(&mut copy, 64).await.unwrap(), b"short");
            assert_eq!(copy.finish(&context()).await, Err(BodyError::CopySource));

            for (size, fits) in [(COPY_BYTES_MAX, true), (COPY_BYTES_MAX + 1, false)] {
                let range = ByteRange { offset: 7, length: size };
                let open = Chunks::new(Vec::new());
                let copy = CopySource::new(&context(), open, range, ETagHash::Md5, algorithm).await;
                assert_eq!(copy.is_ok(), fits, "{size} bytes");
            }
        });
    }
}
