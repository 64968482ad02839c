//! A request's body as the driver takes it: framing stripped, every promise checked.

use super::super::error::{Code, S3Error};
use super::checksums::{ChecksumPlan, Promises, checksum_suffix};
use super::chunked::{Decoder, Trailer};
use super::{Identity, Payload};
use crate::context::{Context, Interrupted};
use crate::driver::{BodyError, Buffer, Source};
use crate::engine::digest::Digester;
use crate::http::{Body, RequestHead};
use crate::model::{ChecksumAlgorithm, Digests, ETagHash};
use crate::runtime::yield_now;
use crate::stdx::sha256::Sha256;

/// The checksum that is stored where the client names none, as S3 has it.
const DEFAULT_CHECKSUM: ChecksumAlgorithm = ChecksumAlgorithm::Crc64Nvme;

/// Bytes that are received before they are hashed, at most: they stay in the second-level cache meanwhile.
const RECEIVED_MAX: usize = 128 << 10;

/// Takes one body.
pub struct BodySource<'b, B> {
    body: &'b mut B,
    decoder: Option<Decoder>,
    size: Option<u64>,
    limit: u64,
    received: u64,
    at_end: bool,
    /// The promised SHA-256, and that of what was received; not where the digester has it anyway.
    signed: Option<([u8; 32], Option<Sha256>)>,
    promises: Promises,
    stored: ChecksumAlgorithm,
    etag: ETagHash,
    digester: Option<Digester>,
}

impl<'b, B: Body> BodySource<'b, B> {
    /// The body of an artifact or part, of at most `limit` bytes. Nothing of it is read.
    ///
    /// # Errors
    /// The answer to give instead, when the head contradicts itself, makes a promise that cannot
    /// be checked, or announces more than `limit`.
    pub fn new(
        head: &RequestHead<'_>,
        identity: &Identity,
        body: &'b mut B,
        limit: u64,
        want: ChecksumPlan,
    ) -> Result<Self, S3Error> {
        let framed = head.headers.has("content-length") || head.headers.has("transfer-encoding");
        if head.method == "PUT" && !framed {
            return Err(Code::MissingContentLength.into());
        }
        Self::build(head, identity, body, limit, want)
    }

    /// The body of a document, of at most `limit` bytes, which may be absent.
    ///
    /// # Errors
    /// As [`BodySource::new`].
    pub fn document(
        head: &RequestHead<'_>,
        identity: &Identity,
        body: &'b mut B,
        limit: u64,
    ) -> Result<Self, S3Error> {
        Self::build(head, identity, body, limit, ChecksumPlan::default())
    }

    fn build(
        head: &RequestHead<'_>,
        identity: &Identity,
        body: &'b mut B,
        limit: u64,
        want: ChecksumPlan,
    ) -> Result<Self, S3Error> {
        let (streaming, trailers) = match &identity.payload {
            Payload::Unsigned | Payload::Signed(_) => (false, false),
            Payload::StreamingSigned { trailer, .. } => (true, *trailer),
            Payload::StreamingUnsignedTrailer => (true, true),
        };
        let promises = Promises::read(head, trailers)?;
        let size = if streaming { Some(decoded_length(head)?) } else { body.length() };
        if size.is_some_and(|size| size > limit) {
            return Err(S3Error::from(Code::EntityTooLarge)
                .with("ProposedSize", size.unwrap_or_default().to_string())
                .with("MaxSizeAllowed", limit.to_string()));
        }
        let stored = stored_algorithm(&promises, want)?;
        let trailer = if trailers { Trailer::Fields(promises.trailer) } else { Trailer::None };
        let decoder = match &identity.payload {
            Payload::StreamingSigned { seed, .. } => Some(Some(seed.as_ref().clone())),
            Payload::StreamingUnsignedTrailer => Some(None),
            _ => None,
        };
        let signed = match identity.payload {
            Payload::Signed(sha256) => {
                let own = stored != ChecksumAlgorithm::Sha256;
                Some((sha256, own.then(Sha256::default)))
            }
            _ => None,
        };
        Ok(Self {
            body,
            decoder: decoder.map(|signer| Decoder::new(signer, trailer, size.unwrap_or_default())),
            size,
            limit,
            received: 0,
            at_end: false,
            signed,
            promises,
            stored,
            etag: want.etag,
            digester: Some(Digester::for_etag(want.etag, stored, promises.md5.is_some())),
        })
    }

    /// Reads what has arrived, and checks that it is not too much or too little; nothing is hashed.
    async fn receive(&mut self, ctx: &Context, buffer: &mut [u8]) -> Result<usize, BodyError> {
        if self.at_end || buffer.is_empty() {
            return Ok(0);
        }
        if ctx.cancellation().is_cancelled() {
            return Err(Interrupted::Cancelled.into());
        }
        let filled = match &mut self.decoder {
            Some(decoder) => decoder.read(self.body, buffer).await?,
            None => self.body.read(buffer).await?,
        };
        self.at_end = filled == 0;
        self.received += filled as u64;
        if self.received > self.size.unwrap_or(self.limit) {
            return Err(match self.size {
                Some(_) => BodyError::Malformed("the body is longer than was declared"),
                None => BodyError::TooLarge,
            });
        }
        if self.at_end && self.size.is_some_and(|size| self.received < size) {
            return Err(BodyError::Truncated);
        }
        Ok(filled)
    }

    /// Hashes, while they are warm, bytes that were received; all but the MD5.
    fn hash(&mut self, bytes: &[u8]) {
        if let Some((_, Some(hash))) = &mut self.signed {
            hash.update(bytes);
        }
        if let Some(digester) = &mut self.digester {
            digester.update_checksums(bytes);
        }
    }

    /// Receives and hashes, all but the MD5, until the buffer is full or the body ends; returns how far that was.
    async fn receive_all(
        &mut self,
        ctx: &Context,
        buffer: &mut [u8],
        arrived: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, BodyError> {
        let (mut end, mut checked) = (0, 0);
        let received = loop {
            if end == buffer.len() {
                break Ok(end);
            }
            let most = buffer.len().min(end + RECEIVED_MAX);
            match self.receive(ctx, &mut buffer[end..most]).await {
                Ok(0) => break Ok(end),
                Ok(filled) => {
                    let bytes = &buffer[end..end + filled];
                    self.hash(bytes);
                    arrived(bytes);
                    end += filled;
                }
                Err(error) => break Err(error),
            }
            if self.decoder.as_ref().is_some_and(Decoder::wants_check) {
                self.check(&buffer[checked..end]).await?;
                checked = end;
            }
        };
        // A wrong signature comes before whatever is wrong behind it.
        self.check(&buffer[checked..end]).await?;
        received
    }

    /// Checks the signatures of what was received since the last time.
    async fn check(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        match &mut self.decoder {
            Some(decoder) => decoder.check(bytes, yield_now).await,
            None => Ok(()),
        }
    }

    fn verify(&mut self) -> Result<Digests, BodyError> {
        let digester = self.digester.take().ok_or(BodyError::Malformed("finished twice"))?;
        let values = digester.finish();
        let etag = values.etag(self.etag, self.received);
        let checksum = values.checksum(self.stored);
        if let Some((promised, own)) = self.signed.take() {
            let right = match own {
                Some(hash) => hash.finish() == promised,
                None => checksum.is_some_and(|checksum| checksum.value() == promised),
            };
            if !right {
                return Err(BodyError::Sha256Mismatch);
            }
        }
        if self.promises.md5.is_some() && self.promises.md5 != values.md5 {
            return Err(BodyError::Md5Mismatch);
        }
        let trailer = self.decoder.as_ref().and_then(Decoder::checksum);
        let promised = self.promises.checksum.or(trailer);
        if promised.is_some() && promised != checksum {
            return Err(BodyError::ChecksumMismatch(self.stored));
        }
        let etag = etag.ok_or(BodyError::Malformed("finished after a read that was given up"))?;
        Ok(Digests { etag, checksum })
    }
}

impl<B: Body> Source for BodySource<'_, B> {
    fn size(&self) -> Option<u64> {
        self.size
    }

    async fn read(&mut self, ctx: &Context, buffer: &mut [u8]) -> Result<usize, BodyError> {
        let received = self.receive(ctx, buffer).await;
        let filled = *received.as_ref().unwrap_or(&0);
        let bytes = &buffer[..filled];
        self.check(bytes).await?;
        received?;
        if let Some((_, Some(hash))) = &mut self.signed {
            hash.update(bytes);
        }
        if let Some(digester) = &mut self.digester {
            digester.update(bytes);
        }
        Ok(filled)
    }

    async fn fill<Memory: Buffer>(
        &mut self,
        ctx: &Context,
        mut buffer: Memory,
        start: usize,
        arrived: &mut dyn FnMut(&[u8]),
    ) -> (Result<usize, BodyError>, Memory) {
        let filled = match self.receive_all(ctx, &mut buffer.as_mut()[start..], arrived).await {
            Ok(filled) => filled,
            Err(error) => return (Err(error), buffer),
        };
        if let Some(digester) = &mut self.digester {
            buffer = digester.update_md5(buffer, start..start + filled, yield_now).await;
        }
        (Ok(filled), buffer)
    }

    async fn finish(&mut self, ctx: &Context) -> Result<Digests, BodyError> {
        // A caller that knows the size may stop there; the framing after it counts all the same.
        let received = self.receive(ctx, &mut [0]).await;
        if received.as_ref().is_ok_and(|&more| more > 0) {
            return Err(BodyError::Malformed("finished before the end of the body"));
        }
        self.check(&[]).await?;
        received?;
        self.verify()
    }
}

/// `x-amz-decoded-content-length`, which an aws-chunked body needs.
fn decoded_length(head: &RequestHead<'_>) -> Result<u64, S3Error> {
    let text = head.headers.get("x-amz-decoded-content-length").ok_or_else(|| {
        S3Error::new(
            Code::MissingContentLength,
            "You must provide the x-amz-decoded-content-length HTTP header with an aws-chunked body.",
        )
    })?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().ok_or_else(|| {
        S3Error::new(Code::InvalidArgument, "x-amz-decoded-content-length is not a number.")
            .with("ArgumentName", "x-amz-decoded-content-length")
            .with("ArgumentValue", text)
    })
}

/// The algorithm to compute: the client's, which must be the upload's if that has one.
fn stored_algorithm(promises: &Promises, want: ChecksumPlan) -> Result<ChecksumAlgorithm, S3Error> {
    match (promises.algorithm(), want.required) {
        (Some(given), Some(required)) if given != required => {
            let [given, required] = [given, required].map(checksum_suffix);
            Err(S3Error::new(
                Code::InvalidRequest,
                format!(
                    "Checksum Type mismatch occurred, expected checksum Type: {required}, actual checksum Type: {given}"
                ),
            ))
        }
        (given, required) => Ok(given.or(required).unwrap_or(DEFAULT_CHECKSUM)),
    }
}
