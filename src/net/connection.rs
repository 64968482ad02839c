//! One connection: head, handler, answer, event, and again.

use std::net::TcpStream;
use std::pin::pin;
use std::rc::Rc;

use super::frontend::{Frontend, Measured, refusal_outline};
use super::incoming::{Incoming, Stash, Unread};
use super::pulse::{Phase, Stop};
use super::send::{SendError, send};
use super::transport::{Gone, Transport};
use super::{Answer, Handler};
use crate::context::{Monotonic, Stage};
use crate::driver::DriverError;
use crate::event::Outcome;
use crate::http::head::{self, FieldSpace, HeadEnd, HeadError, Message};
use crate::http::response::{DeclaredLength, render_head};
use crate::http::{Response, ResponseBody};
use crate::io::Clock;
use crate::io::clock::SystemClock;
use crate::s3::error::Code;

/// Bytes received at once when a request begins; kept with the connection.
const INPUT_BYTES: usize = 8 << 10;
/// The most of an unwanted body that is read so that the connection can go on.
const DISCARD_MAX: u64 = 256 << 10;
/// The longest body of an answer that is sent together with others.
const SMALL_MAX: u64 = 32 << 10;

/// What a connection keeps between requests.
struct Buffers {
    /// Received and not used: a head, and what came with it.
    input: Vec<u8>,
    stash: Stash,
    /// The head of the answer.
    output: Vec<u8>,
}

/// Whether the connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The next request; the present one ended then.
    Next(Monotonic),
    /// It ends; the client has sent nothing that was not read.
    Close,
    /// It ends, but the client may still be sending: see that it gets the answer.
    Linger,
}

/// Serves requests until either side has enough.
pub async fn serve<H: Handler>(frontend: &Frontend<H>, transport: Transport) {
    let pulse = transport.pulse().clone();
    let work = pin!(serve_all(frontend, transport));
    pulse.timed(work).await;
}

async fn serve_all<H: Handler>(frontend: &Frontend<H>, mut transport: Transport) {
    let mut idle_since = SystemClock.now();
    let mut buffers = Buffers {
        input: Vec::with_capacity(INPUT_BYTES),
        stash: Stash::default(),
        output: Vec::with_capacity(512),
    };
    loop {
        let begun = match next_head(frontend, &mut transport, &mut buffers.input, idle_since).await
        {
            Ok(begun) => begun,
            Err(Unserved::Quiet) => return,
            Err(Unserved::Broken(began)) => {
                let ctx = frontend.context(&transport, began);
                let outline = refusal_outline(Outcome::ClientAbort, "");
                frontend.report(&ctx, &transport, &outline, &Measured::unanswered(began));
                return;
            }
            Err(Unserved::Refused(began, code)) => {
                refuse(frontend, &transport, began, code).await;
                return linger(&transport, &mut buffers.input).await;
            }
        };
        transport.pulse().begin_account(begun.began);
        let then = exchange(frontend, &transport, &mut buffers, begun).await;
        transport.pulse().end_account();
        match then {
            Then::Next(now) => idle_since = now,
            Then::Close => return,
            Then::Linger => return linger(&transport, &mut buffers.input).await,
        }
    }
}

/// Answers a connection that is one too many with 503, and closes it.
pub(super) fn turn_away<H: Handler>(frontend: &Rc<Frontend<H>>, stream: TcpStream) {
    let Some(watched) = frontend.admit_refused() else { return };
    let frontend = frontend.clone();
    crate::runtime::spawn(async move {
        let Ok(stream) = monoio::net::TcpStream::from_std(stream) else { return };
        let transport = frontend.transport(stream, &watched);
        refuse(&frontend, &transport, SystemClock.now(), Code::SlowDown).await;
        linger(&transport, &mut Vec::new()).await;
    });
}

/// Why there is no head to serve.
enum Unserved {
    /// No request had begun.
    Quiet,
    /// The client went away in the middle of a head.
    Broken(Monotonic),
    /// What came is refused.
    Refused(Monotonic, Code),
}

/// When a request began.
#[derive(Clone, Copy)]
struct Begun {
    /// Its first byte was seen.
    began: Monotonic,
    /// Its head was whole.
    complete: Monotonic,
}

/// Receives until `input` begins with a whole head, or with what is surely none.
async fn next_head<H: Handler>(
    frontend: &Frontend<H>,
    transport: &mut Transport,
    input: &mut Vec<u8>,
    mut idle_since: Monotonic,
) -> Result<Begun, Unserved> {
    let pulse = transport.pulse().clone();
    pulse.set_deadline(Monotonic::NEVER);
    skip_empty_lines(input);
    while input.is_empty() {
        if frontend.is_draining() {
            return Err(Unserved::Quiet);
        }
        pulse.enter(Phase::Idle, idle_since);
        let received = transport.first_bytes(std::mem::take(input)).await;
        *input = received.map_err(|_| Unserved::Quiet)?;
        if input.is_empty() {
            return Err(Unserved::Quiet);
        }
        skip_empty_lines(input);
        if input.is_empty() {
            idle_since = SystemClock.now();
        }
    }
    let began = SystemClock.now();
    pulse.enter(Phase::Head, began);
    let mut end = HeadEnd::default();
    if end.found(input) {
        return Ok(Begun { began, complete: began });
    }
    loop {
        let received = input.len();
        if received >= frontend.limits.head_bytes {
            return Err(Unserved::Refused(began, refusal_code(HeadError::TooLong)));
        }
        // Nothing good can come of it, so there is no need to wait for its end.
        let mut space = FieldSpace::new();
        if received < INPUT_BYTES
            && let Err(error) = head::parse(input, &mut space, frontend.limits.headers)
        {
            return Err(Unserved::Refused(began, refusal_code(error)));
        }
        let room = received.saturating_mul(2).max(INPUT_BYTES).min(frontend.limits.head_bytes);
        input.resize(room, 0);
        let result = transport.receive(&mut input[received..]).await;
        input.truncate(received + result.unwrap_or(0));
        match result {
            Ok(0) | Err(Gone::Client | Gone::File) => return Err(Unserved::Broken(began)),
            Ok(_) if end.found(input) => return Ok(Begun { began, complete: SystemClock.now() }),
            Ok(_) => {}
            Err(Gone::Stopped(Stop::Aborted)) => return Err(Unserved::Broken(began)),
            Err(Gone::Stopped(_)) => return Err(Unserved::Refused(began, Code::RequestTimeout)),
        }
    }
}

/// Empty lines before a request are ignored (RFC 9112, section 2.2).
fn skip_empty_lines(input: &mut Vec<u8>) {
    let skip = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    if skip > 0 {
        input.drain(..skip);
    }
}

fn refusal_code(error: HeadError) -> Code {
    match error {
        HeadError::TooLong | HeadError::TooManyFields => Code::RequestHeaderSectionTooLarge,
        HeadError::TransferCoding => Code::NotImplemented,
        HeadError::Malformed("the request target") => Code::InvalidURI,
        HeadError::Version | HeadError::Malformed(_) => Code::InvalidRequest,
    }
}

/// Serves the request whose head `buffers.input` begins with.
async fn exchange<H: Handler>(
    frontend: &Frontend<H>,
    transport: &Transport,
    buffers: &mut Buffers,
    Begun { began, complete }: Begun,
) -> Then {
    let Buffers { input, stash, output } = buffers;
    let ctx = frontend.context(transport, began);
    ctx.trace().mark(began);
    if complete != began {
        ctx.trace().lap(Stage::Wait, complete);
    }
    let mut space = FieldSpace::new();
    let message = match head::parse(input, &mut space, frontend.limits.headers) {
        Ok(Some(message)) if message.length <= frontend.limits.head_bytes => message,
        Ok(Some(_)) => {
            let code = refusal_code(HeadError::TooLong);
            refuse(frontend, transport, began, code).await;
            return Then::Linger;
        }
        Ok(None) => {
            // Its end was seen, but the parser is of another opinion.
            refuse(frontend, transport, began, Code::InvalidRequest).await;
            return Then::Linger;
        }
        Err(error) => {
            refuse(frontend, transport, began, refusal_code(error)).await;
            return Then::Linger;
        }
    };
    let parsed = SystemClock.now();
    ctx.trace().lap(Stage::Parse, parsed);

    transport.pulse().enter(Phase::Body, parsed);
    let early = &input[message.length..];
    let mut body =
        Incoming::new(transport, early, stash, message.framing, message.expects_continue);
    let answer = {
        let work = pin!(frontend.handler.serve(ctx, &message.head, &mut body));
        transport.attend(work).await
    };
    let unread = body.unread(DISCARD_MAX);
    let close =
        answer.response.close || message.close || frontend.is_draining() || unread == Unread::Lost;
    let (sent, mut ended) = respond(
        frontend,
        transport,
        output,
        &message,
        answer,
        close,
        Received { began, bytes: body.received() },
    )
    .await;

    if !sent || transport.has_left() {
        return Then::Close;
    }
    if close {
        let quiet = unread == Unread::Nothing && !body.is_followed();
        return if quiet { Then::Close } else { Then::Linger };
    }
    if unread == Unread::Some {
        transport.pulse().enter(Phase::Linger, SystemClock.now());
        if !body.discard(DISCARD_MAX).await {
            return Then::Linger;
        }
        ended = SystemClock.now();
    }
    let left = body.early_left();
    keep_rest(input, left, stash);
    Then::Next(ended)
}

/// Leaves in `input` what belongs to the next request: its last `left` bytes, and the stash's rest.
fn keep_rest(input: &mut Vec<u8>, left: usize, stash: &mut Stash) {
    input.drain(..input.len() - left);
    input.extend_from_slice(stash.rest());
    stash.clear();
    if input.is_empty() && input.capacity() > INPUT_BYTES {
        *input = Vec::with_capacity(INPUT_BYTES);
    }
}

/// What was received of a request.
struct Received {
    began: Monotonic,
    bytes: u64,
}

/// Sends an answer and reports it; whether it was sent to its end, and when.
async fn respond<H: Handler>(
    frontend: &Frontend<H>,
    transport: &Transport,
    output: &mut Vec<u8>,
    message: &Message<'_>,
    answer: Answer<H::Reader>,
    close: bool,
    received: Received,
) -> (bool, Monotonic) {
    let Answer { ctx, response, mut outline } = answer;
    let send_began = SystemClock.now();
    transport.pulse().enter(Phase::Send, send_began);
    let Response { mut status, headers, body, .. } = response;
    let head_only = message.head.method == "HEAD" || matches!(status, 204 | 304);
    let mut head_length = render(frontend, output, status, &headers, &body, close, send_began);
    if is_small(&body) {
        frontend.choir().join().await;
    }
    let before = transport.sent();
    let mut result = send(&ctx, transport, output, body, head_only).await;

    if let Err(SendError::Unstarted(error)) = result {
        // Nothing was sent, so the client can be told.
        let (outcome, code) = failure(&error);
        (outline.outcome, outline.error_code) = (outcome, code.name());
        let refusal = frontend.handler.refuse(ctx.request_id(), code);
        status = refusal.status;
        let now = SystemClock.now();
        head_length = render(frontend, output, status, &refusal.headers, &refusal.body, true, now);
        result = match send(&ctx, transport, output, refusal.body, false).await {
            Ok(()) => Err(SendError::Cut(error)),
            Err(error) => Err(error),
        };
    } else if let Err(error) = &result {
        outline.outcome = match error {
            SendError::Cut(error) => failure(error).0,
            SendError::Gone(Gone::File) | SendError::Unstarted(_) => Outcome::ServerError,
            SendError::Gone(Gone::Stopped(Stop::Aborted)) => Outcome::Refused,
            SendError::Gone(_) => Outcome::ClientAbort,
        };
    }
    if transport.has_left() {
        outline.outcome = Outcome::ClientAbort;
    }

    let sent = transport.sent() - before;
    let ended = frontend.report(
        &ctx,
        transport,
        &outline,
        &Measured {
            began: received.began,
            send_began,
            status: if sent == 0 { 0 } else { status },
            bytes_in: received.bytes,
            bytes_out: sent.saturating_sub(head_length),
        },
    );
    (result.is_ok(), ended)
}

/// Whether waking the client is much of what it costs to send this.
fn is_small<R>(body: &ResponseBody<R>) -> bool {
    match body {
        ResponseBody::Empty | ResponseBody::Declared(_) => true,
        ResponseBody::Bytes(bytes) => bytes.len() as u64 <= SMALL_MAX,
        ResponseBody::Stream { length, .. } => *length <= SMALL_MAX,
    }
}

fn failure(error: &DriverError) -> (Outcome, Code) {
    match error {
        DriverError::Overloaded => (Outcome::Refused, Code::SlowDown),
        DriverError::Interrupted(_) => (Outcome::Refused, Code::ServiceUnavailable),
        _ => (Outcome::ServerError, Code::InternalError),
    }
}

/// Renders the head of an answer and returns its length.
fn render<H: Handler>(
    frontend: &Frontend<H>,
    output: &mut Vec<u8>,
    status: u16,
    headers: &crate::http::HeaderBlock,
    body: &ResponseBody<H::Reader>,
    close: bool,
    now: Monotonic,
) -> u64 {
    let length = DeclaredLength::of(status, body);
    frontend.date.with(frontend.wall_ms(now), |date| {
        render_head(output, status, headers, length, date, close);
    });
    output.len() as u64
}

/// Refuses what never became a request, and reports it. The connection ends after it.
async fn refuse<H: Handler>(
    frontend: &Frontend<H>,
    transport: &Transport,
    began: Monotonic,
    code: Code,
) {
    let ctx = frontend.context(transport, began);
    let send_began = SystemClock.now();
    transport.pulse().enter(Phase::Send, send_began);
    let Response { status, headers, body, .. } = frontend.handler.refuse(ctx.request_id(), code);
    let mut output = Vec::with_capacity(512);
    let head_length = render(frontend, &mut output, status, &headers, &body, true, send_began);
    let before = transport.sent();
    let result = send(&ctx, transport, &output, body, false).await;
    let outcome = match (result, status) {
        (Err(_), _) => Outcome::ClientAbort,
        (Ok(()), 503) => Outcome::Refused,
        (Ok(()), _) => Outcome::ClientError,
    };
    let sent = transport.sent() - before;
    let measured = Measured {
        began,
        send_began,
        status: if sent == 0 { 0 } else { status },
        bytes_in: 0,
        bytes_out: sent.saturating_sub(head_length),
    };
    frontend.report(&ctx, transport, &refusal_outline(outcome, code.name()), &measured);
}

/// Ends a connection whose client may still be sending: closing it now would answer those bytes
/// with a reset, which can destroy the answer before the client has read it.
async fn linger(transport: &Transport, scratch: &mut Vec<u8>) {
    transport.finish_sending();
    transport.pulse().enter(Phase::Linger, SystemClock.now());
    scratch.resize(INPUT_BYTES, 0);
    while let Ok(count) = transport.receive(scratch).await {
        if count == 0 {
            return;
        }
    }
}

impl Measured {
    fn unanswered(began: Monotonic) -> Self {
        Self { began, send_began: SystemClock.now(), status: 0, bytes_in: 0, bytes_out: 0 }
    }
}

#[cfg(test)]
mod tests;
