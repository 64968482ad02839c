//! Takes aws-chunked apart: `size[;chunk-signature=…]\r\n data \r\n`, a last chunk of size 0, and
//! trailer fields.
//!
//! Data go from the body straight into the caller's buffer; only what was read along with a line
//! of the framing is copied. Signatures are not checked on the way, but when [`Decoder::check`] is called, so nothing
//! may be committed before the end was reached and all was checked.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html> and
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>.

use super::checksums::{checksum_suffix, parse_value};
use super::signer::ChunkSigner;
use super::unchecked::Unchecked;
use crate::driver::BodyError;
use crate::http::Body;
use crate::model::{Checksum, ChecksumAlgorithm};

/// Bytes read ahead at most.
const AHEAD_BYTES: usize = 2048;

/// Longest line of the framing, its end included; a signed one of AWS has 102 bytes.
const LINE_BYTES_MAX: usize = 1024;

/// Most lines after the last chunk, empty ones included.
const TRAILER_LINES_MAX: usize = 16;

const SIGNATURE_EXTENSION: &[u8] = b"chunk-signature=";
const TRAILER_SIGNATURE: &[u8] = b"x-amz-trailer-signature";

/// What is signed.
struct Signed {
    unchecked: Unchecked,
    /// The signature of the chunk whose data pass.
    given: [u8; 64],
}

/// What may follow the last chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trailer {
    /// Nothing.
    None,
    /// Fields: the checksum, if one was announced.
    Fields(Option<ChecksumAlgorithm>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before a chunk's first line.
    ChunkHeader,
    /// This many bytes of the chunk's data are to come.
    Data(u64),
    /// Before the end of line after a chunk's data.
    DataEnd,
    /// After the last chunk's first line.
    Trailer,
    /// After everything.
    End,
    /// An error was returned.
    Failed,
}

/// Decodes one body.
pub(super) struct Decoder {
    state: State,
    signed: Option<Signed>,
    trailer: Trailer,
    checksum: Option<Checksum>,
    /// Of the declared decoded length, what is to come.
    remaining: u64,
    ahead: Box<[u8; AHEAD_BYTES]>,
    ahead_start: usize,
    ahead_end: usize,
}

impl Decoder {
    /// For a body that decodes to exactly `length` bytes.
    pub(super) fn new(signer: Option<ChunkSigner>, trailer: Trailer, length: u64) -> Self {
        let signed =
            signer.map(|signer| Signed { unchecked: Unchecked::new(signer), given: [0; 64] });
        Self {
            state: State::ChunkHeader,
            signed,
            trailer,
            checksum: None,
            remaining: length,
            ahead: Box::new([0; AHEAD_BYTES]),
            ahead_start: 0,
            ahead_end: 0,
        }
    }

    /// The checksum of the trailer, once the end was reached.
    pub(super) fn checksum(&self) -> Option<Checksum> {
        self.checksum
    }

    /// Whether so much is to be checked that it should be now.
    pub(super) fn wants_check(&self) -> bool {
        self.signed.as_ref().is_some_and(|signed| signed.unchecked.is_much())
    }

    /// Checks the signatures of all that was read; `bytes` are those that were read since the last time. `yield_now` lets
    /// the core's other tasks run once.
    ///
    /// # Errors
    /// [`BodyError::SignatureMismatch`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves the decoder unusable.
    pub(super) async fn check(
        &mut self,
        bytes: &[u8],
        yield_now: impl AsyncFn(),
    ) -> Result<(), BodyError> {
        match &mut self.signed {
            Some(signed) => signed.unchecked.check(bytes, yield_now).await,
            None => Ok(()),
        }
    }

    /// Decodes into the beginning of `buffer`, which is not empty; 0 at the end, when all was
    /// there.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the decoder unusable.
    pub(super) async fn read<B: Body>(
        &mut self,
        body: &mut B,
        buffer: &mut [u8],
    ) -> Result<usize, BodyError> {
        let state = std::mem::replace(&mut self.state, State::Failed);
        let result = self.advance(state, body, buffer).await;
        if let Ok((_, next)) = &result {
            self.state = *next;
        }
        result.map(|(filled, _)| filled)
    }

    async fn advance<B: Body>(
        &mut self,
        mut state: State,
        body: &mut B,
        buffer: &mut [u8],
    ) -> Result<(usize, State), BodyError> {
        loop {
            state = match state {
                State::ChunkHeader => self.chunk_header(body).await?,
                State::Data(0) => {
                    self.end_chunk();
                    State::DataEnd
                }
                State::Data(left) => {
                    let filled = self.data(left, body, buffer).await?;
                    return Ok((filled, State::Data(left - filled as u64)));
                }
                State::DataEnd => {
                    let (start, end) = self.line(body).await?;
                    if &self.ahead[start..end] != b"\r\n" {
                        return Err(BodyError::Malformed(
                            "a chunk's data do not end where it says",
                        ));
                    }
                    State::ChunkHeader
                }
                State::Trailer => {
                    self.trailer(body).await?;
                    State::End
                }
                State::End => return Ok((0, State::End)),
                State::Failed => return Err(BodyError::Malformed("read on after an error")),
            }
        }
    }

    async fn chunk_header<B: Body>(&mut self, body: &mut B) -> Result<State, BodyError> {
        let (start, end) = self.line(body).await?;
        let line = self.ahead[start..end]
            .strip_suffix(b"\r\n")
            .ok_or(BodyError::Malformed("a chunk's header does not end in CR LF"))?;
        let mut parts = line.split(|&byte| byte == b';');
        let size = parts
            .next()
            .and_then(chunk_size)
            .ok_or(BodyError::Malformed("a chunk's size is not a hexadecimal number"))?;
        if let Some(signed) = &mut self.signed {
            let given = parts.find_map(|part| part.strip_prefix(SIGNATURE_EXTENSION));
            signed.given = given
                .and_then(|given| given.try_into().ok())
                .ok_or(BodyError::SignatureMismatch)?;
        }
        self.remaining = self.remaining.checked_sub(size).ok_or(BodyError::Malformed(
            "the chunks have more bytes than x-amz-decoded-content-length",
        ))?;
        if size > 0 {
            return Ok(State::Data(size));
        }
        self.end_chunk();
        if self.remaining > 0 {
            return Err(BodyError::Truncated);
        }
        Ok(State::Trailer)
    }

    async fn data<B: Body>(
        &mut self,
        left: u64,
        body: &mut B,
        buffer: &mut [u8],
    ) -> Result<usize, BodyError> {
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let ahead = self.ahead_end - self.ahead_start;
        let filled = if ahead > 0 {
            let copied = wanted.min(ahead);
            let from = self.ahead_start..self.ahead_start + copied;
            buffer[..copied].copy_from_slice(&self.ahead[from]);
            self.ahead_start += copied;
            copied
        } else {
            body.read(&mut buffer[..wanted]).await?
        };
        if filled == 0 {
            return Err(BodyError::Truncated);
        }
        if let Some(signed) = &mut self.signed {
            signed.unchecked.pass(filled);
        }
        Ok(filled)
    }

    fn end_chunk(&mut self) {
        if let Some(signed) = &mut self.signed {
            signed.unchecked.end(signed.given);
        }
    }

    /// Reads everything after the last chunk. Clients differ in the empty lines here, and in how
    /// the fields' lines end; the end of the body is what counts.
    async fn trailer<B: Body>(&mut self, body: &mut B) -> Result<(), BodyError> {
        let mut fields = Vec::new();
        let mut signature = None;
        for _ in 0..TRAILER_LINES_MAX {
            let Some((start, end)) = self.next_line(body).await? else {
                return self.check_trailer(&fields, signature);
            };
            let line = trim(&self.ahead[start..end], b" \t\r\n");
            if line.is_empty() {
                continue;
            }
            let colon = memchr::memchr(b':', line)
                .ok_or(BodyError::Malformed("a trailer field has no colon"))?;
            let (name, value) = (trim(&line[..colon], b" \t"), trim(&line[colon + 1..], b" \t"));
            if signature.is_some() {
                return Err(BodyError::Malformed("a trailer field follows the signature"));
            }
            if self.signed.is_some() && name.eq_ignore_ascii_case(TRAILER_SIGNATURE) {
                let given = value.try_into().map_err(|_| BodyError::SignatureMismatch)?;
                signature = Some(given);
                continue;
            }
            fields.extend(name.iter().map(u8::to_ascii_lowercase));
            fields.push(b':');
            fields.extend_from_slice(value);
            fields.push(b'\n');
            let checksum = self.announced(name, value)?;
            if self.checksum.replace(checksum).is_some() {
                return Err(BodyError::Malformed("a trailer field is given twice"));
            }
        }
        Err(BodyError::Malformed("the trailer has too many lines"))
    }

    /// Reads the only trailer field there may be.
    fn announced(&self, name: &[u8], value: &[u8]) -> Result<Checksum, BodyError> {
        let Trailer::Fields(Some(algorithm)) = self.trailer else {
            return Err(BodyError::Malformed("a trailer field was not announced"));
        };
        let (start, suffix) =
            name.split_at_checked(b"x-amz-checksum-".len()).unwrap_or((name, b""));
        if !start.eq_ignore_ascii_case(b"x-amz-checksum-")
            || !suffix.eq_ignore_ascii_case(checksum_suffix(algorithm).as_bytes())
        {
            return Err(BodyError::Malformed("a trailer field was not announced"));
        }
        std::str::from_utf8(value)
            .ok()
            .and_then(|value| parse_value(algorithm, value))
            .ok_or(BodyError::Malformed("the trailer's checksum is not valid"))
    }

    fn check_trailer(
        &mut self,
        fields: &[u8],
        signature: Option<[u8; 64]>,
    ) -> Result<(), BodyError> {
        if matches!(self.trailer, Trailer::Fields(Some(_))) && self.checksum.is_none() {
            return Err(BodyError::Malformed("the announced trailer field is missing"));
        }
        match (&mut self.signed, self.trailer, signature) {
            (Some(signed), Trailer::Fields(_), Some(given)) => {
                signed.unchecked.end_trailer(fields, given);
                Ok(())
            }
            // Without fields there is nothing that a signature would cover.
            (Some(_), Trailer::Fields(Some(_)), None) => Err(BodyError::SignatureMismatch),
            (Some(_), Trailer::None, Some(_)) => {
                Err(BodyError::Malformed("a trailer field was not announced"))
            }
            _ => Ok(()),
        }
    }

    /// The next line with its end, as a range of `ahead`.
    async fn line<B: Body>(&mut self, body: &mut B) -> Result<(usize, usize), BodyError> {
        let (start, end) = self.next_line(body).await?.ok_or(BodyError::Truncated)?;
        if self.ahead[end - 1] == b'\n' { Ok((start, end)) } else { Err(BodyError::Truncated) }
    }

    /// The next line, or what there is before the end of the body; `None` at the end.
    async fn next_line<B: Body>(
        &mut self,
        body: &mut B,
    ) -> Result<Option<(usize, usize)>, BodyError> {
        let mut searched = 0;
        loop {
            let ahead = &self.ahead[self.ahead_start..self.ahead_end];
            let found = memchr::memchr(b'\n', &ahead[searched..]).map(|at| searched + at + 1);
            searched = ahead.len();
            if found.unwrap_or(searched) > LINE_BYTES_MAX {
                return Err(BodyError::Malformed("a line of the chunked framing is too long"));
            }
            if let Some(length) = found {
                return Ok(Some(self.take(length)));
            }
            self.ahead.copy_within(self.ahead_start..self.ahead_end, 0);
            (self.ahead_start, self.ahead_end) = (0, searched);
            let filled = body.read(&mut self.ahead[searched..]).await?;
            if filled == 0 {
                return Ok((searched > 0).then(|| self.take(searched)));
            }
            self.ahead_end += filled;
        }
    }

    fn take(&mut self, length: usize) -> (usize, usize) {
        let start = self.ahead_start;
        self.ahead_start += length;
        (start, self.ahead_start)
    }
}

/// `text` without any of `blanks` at its ends.
fn trim<'a>(text: &'a [u8], blanks: &[u8]) -> &'a [u8] {
    let is_text = |byte: &u8| !blanks.contains(byte);
    let start = text.iter().position(is_text).unwrap_or(text.len());
    let end = text.iter().rposition(is_text).map_or(start, |last| last + 1);
    &text[start..end]
}

/// Reads a chunk's size: 1 to 16 hexadecimal digits.
fn chunk_size(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits
        .iter()
        .try_fold(0, |size, &byte| Some(size << 4 | u64::from(crate::stdx::hex::digit(byte)?)))
}
