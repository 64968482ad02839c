//! Connections and sockets: from an accepted stream to answers, one event each.
//!
//! [`listener`] accepts and hands each connection to the least loaded core; [`connection`] reads
//! requests and gives them to a [`Handler`]; [`send`] moves its answers to the socket. Nothing here
//! knows what a request means.

mod choir;
pub mod connection;
pub mod frontend;
pub mod incoming;
pub mod listener;
pub mod pulse;
pub mod send;
pub mod transport;

use crate::context::{Context, RequestId};
use crate::driver::Reader;
use crate::engine::AnyReader;
use crate::http::{Body, RequestHead, Response};
use crate::s3::error::Code;
use crate::s3::{self, Service};

/// A handler's answer to one request.
pub use crate::s3::Reply as Answer;

/// What requests are for.
pub trait Handler: 'static {
    /// Yields the bytes of artifacts.
    type Reader: Reader;

    /// Answers a request. Never panics and always answers; what it leaves unread of the body is
    /// thrown away or closes the connection.
    fn serve<B: Body>(
        &self,
        ctx: Context,
        head: &RequestHead<'_>,
        body: &mut B,
    ) -> impl Future<Output = Answer<Self::Reader>>;

    /// Renders the refusal of a request that never reached [`serve`](Self::serve), or whose answer
    /// could not be sent. The connection closes after it.
    fn refuse(&self, request_id: RequestId, code: Code) -> Response<Self::Reader>;
}

impl Handler for Service {
    type Reader = AnyReader;

    // As it is: a future around it would move it, some ten KiB, into its own place.
    fn serve<B: Body>(
        &self,
        ctx: Context,
        head: &RequestHead<'_>,
        body: &mut B,
    ) -> impl Future<Output = Answer<AnyReader>> {
        Self::serve(self, ctx, head, body)
    }

    fn refuse(&self, request_id: RequestId, code: Code) -> Response<AnyReader> {
        s3::refuse(request_id, code, true)
    }
}
