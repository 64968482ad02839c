//! HTTP/1.1 messages (RFC 9112): heads, body framing, responses. No sockets here, and nothing of S3.

pub mod body;
pub mod head;
pub mod response;

pub use head::{Headers, RequestHead};
pub use response::{HeaderBlock, Response, ResponseBody};

use crate::driver::BodyError;

/// A request's body with its transfer framing removed.
pub trait Body {
    /// Its length, if Content-Length gave it. A chunked body has none; no body has length 0.
    fn length(&self) -> Option<u64>;

    /// Fills the beginning of `buffer`; 0 at the end. The first call answers `Expect: 100-continue`.
    /// Waits without holding kernel resources on `buffer`, which may be any memory.
    ///
    /// # Errors
    /// [`BodyError::Truncated`], [`BodyError::Disconnected`], [`BodyError::TooSlow`] or
    /// [`BodyError::Malformed`]. The connection is closed afterwards.
    fn read(&mut self, buffer: &mut [u8]) -> impl Future<Output = Result<usize, BodyError>>;
}
