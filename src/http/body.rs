//! Framing of request bodies: chunks (RFC 9112, section 7.1). A length needs no code.

use crate::driver::BodyError;

/// Longest line with a chunk's size and its extensions, in bytes.
const SIZE_LINE_MAX: u16 = 256;
/// Most bytes of trailer fields. They are skipped: nothing of S3's lies there.
const TRAILERS_MAX: u16 = 8 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the digits of a size; whether there was one.
    Size { digits: bool },
    /// In a chunk's extensions, up to the end of the line.
    Extension,
    /// After the CR of a size line.
    SizeEnd,
    /// In a chunk's bytes.
    Data,
    /// Before the CR after a chunk's bytes.
    DataCr,
    /// Before the LF after a chunk's bytes.
    DataLf,
    /// At the beginning of a trailer line.
    TrailerStart,
    /// In a trailer line.
    Trailer,
    /// After the CR of the last, empty line.
    LastLf,
    /// At the end.
    Done,
}

/// Decodes chunked framing, whatever pieces it arrives in. The data itself never passes through.
///
/// Call [`frame`](Self::frame) with what has arrived until [`data_left`](Self::data_left) is not 0,
/// move up to that many bytes, tell [`took`](Self::took), and begin again until [`is_done`](Self::is_done).
#[derive(Clone, Debug)]
pub struct ChunkDecoder {
    state: State,
    /// The size being read, then bytes left in the chunk.
    left: u64,
    /// Bytes of the present line, or of all trailers.
    line: u16,
}

impl Default for ChunkDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl ChunkDecoder {
    /// At the beginning of a body.
    #[must_use]
    pub fn new() -> Self {
        Self { state: State::Size { digits: false }, left: 0, line: 0 }
    }

    /// Data bytes that come next, before more framing.
    #[must_use]
    pub fn data_left(&self) -> u64 {
        if self.state == State::Data { self.left } else { 0 }
    }

    /// Whether the body is at its end.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Passes over data bytes.
    ///
    /// # Panics
    /// If there are fewer in the chunk.
    pub fn took(&mut self, count: u64) {
        assert!(count <= self.data_left(), "data within the chunk");
        self.left -= count;
        if self.left == 0 && self.state == State::Data {
            self.state = State::DataCr;
        }
    }

    /// Passes over framing at the beginning of `input` and returns its length: up to data, up to
    /// the end of the body, or all of `input`.
    ///
    /// # Errors
    /// [`BodyError::Malformed`].
    pub fn frame(&mut self, input: &[u8]) -> Result<usize, BodyError> {
        for (position, &byte) in input.iter().enumerate() {
            if matches!(self.state, State::Data | State::Done) {
                return Ok(position);
            }
            self.state = self.after(byte)?;
        }
        Ok(input.len())
    }

    fn after(&mut self, byte: u8) -> Result<State, BodyError> {
        self.line += 1;
        match (self.state, byte) {
            (State::Size { .. }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                if self.left >> 60 != 0 {
                    return Err(BodyError::Malformed("a chunk is too large"));
                }
                self.left = self.left << 4 | digit;
                self.bounded(SIZE_LINE_MAX, State::Size { digits: true })
            }
            (State::Size { digits: true }, b';' | b' ' | b'\t') => Ok(State::Extension),
            (State::Size { digits: true } | State::Extension, b'\r') => Ok(State::SizeEnd),
            (State::Extension, b'\n') | (State::Size { .. }, _) => {
                Err(BodyError::Malformed("a chunk's size"))
            }
            (State::Extension, _) => self.bounded(SIZE_LINE_MAX, State::Extension),
            (State::SizeEnd, b'\n') => {
                self.line = 0;
                Ok(if self.left == 0 { State::TrailerStart } else { State::Data })
            }
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => {
                self.line = 0;
                Ok(State::Size { digits: false })
            }
            (State::TrailerStart, b'\r') => Ok(State::LastLf),
            (State::Trailer, b'\n') => Ok(State::TrailerStart),
            (State::TrailerStart | State::Trailer, _) => self.bounded(TRAILERS_MAX, State::Trailer),
            (State::LastLf, b'\n') => Ok(State::Done),
            _ => Err(BodyError::Malformed("a chunk's framing")),
        }
    }

    fn bounded(&self, limit: u16, state: State) -> Result<State, BodyError> {
        if self.line > limit { Err(BodyError::Malformed("a line is too long")) } else { Ok(state) }
    }
}

#[cfg(test)]
mod tests;
