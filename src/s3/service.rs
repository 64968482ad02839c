//! One core's end of the wire: from a request's head and body to a response.

use std::cell::OnceCell;
use std::pin::pin;
use std::rc::Rc;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use crate::context::{Context, Monotonic, RequestId, Stage};
use crate::driver::BodyError;
use crate::engine::tenant::Tenants;
use crate::engine::{AnyReader, Engine};
use crate::event::{Operation, Outcome};
use crate::http::{Body, RequestHead, Response};
use crate::io::Clock;
use crate::io::budget::{Budget, Exhausted, Reservation};
use crate::model::ByteRange;

use super::auth::Authenticator;
use super::call::{Answer, Call};
use super::error::{Code, Place, S3Error, outcome, render};
use super::query::Query;
use super::route::{self, Route};
use super::{HOST_ID_LINE, dispatch, name};

/// An unread rest of a body that is still worth reading to keep the connection.
const REST_BYTES_MAX: u64 = 64 << 10;

/// What a [`Service`] serves.
#[derive(Clone)]
pub struct ServiceConfig {
    /// The region that signatures name.
    pub region: String,
    /// Host names under which buckets are addressed as `bucket.NAME`.
    pub domains: Vec<String>,
    /// Who may ask.
    pub tenants: Tenants,
    /// Largest body of one PUT or part.
    pub body_bytes_max: u64,
}

/// Serves S3 on one core.
pub struct Service {
    pub(crate) config: ServiceConfig,
    pub(crate) engine: Rc<Engine>,
    budget: Budget,
    authenticator: Authenticator,
    now: Box<dyn Fn() -> Monotonic>,
    wall_ms: Box<dyn Fn() -> i64>,
    wait_for_memory: Box<WaitForMemory>,
}

/// Waits for so much memory, until when at most.
type WaitForMemory =
    dyn Fn(u64, Monotonic) -> LocalBoxFuture<'static, Result<Reservation, Exhausted>>;

/// A response, and what its event tells of the request.
#[derive(Debug)]
pub struct Reply<R = AnyReader> {
    /// The request's context, from then on with the tenant.
    pub ctx: Context,
    /// What to send.
    pub response: Response<R>,
    /// What to tell.
    pub outline: Outline,
}

/// What an event tells of a request, once it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline {
    /// What was asked for.
    pub operation: Operation,
    /// How it ended, as far as the response; sending may still fail.
    pub outcome: Outcome,
    /// The code of the error; empty for none.
    pub error_code: &'static str,
    /// Hash of the bucket's name; 0 for none.
    pub container_hash: u64,
    /// Hash of the key; 0 for none.
    pub key_hash: u64,
    /// The range that is read.
    pub range: Option<ByteRange>,
}

impl Service {
    /// A service over this core's engine, with the budget that pays for documents.
    #[must_use]
    pub fn new(
        config: ServiceConfig,
        engine: Rc<Engine>,
        budget: Budget,
        clock: impl Clock,
    ) -> Self {
        let (wall, timer, payer) = (clock.clone(), clock.clone(), budget.clone());
        Self {
            authenticator: Authenticator::new(config.tenants.clone(), config.region.clone()),
            config,
            engine,
            budget,
            now: Box::new(move || clock.now()),
            wall_ms: Box::new(move || wall.wall_ms()),
            wait_for_memory: Box::new(move |bytes, deadline| {
                let (payer, timer) = (payer.clone(), timer.clone());
                async move { payer.reserve_until(bytes, deadline, &timer).await }.boxed_local()
            }),
        }
    }

    /// Memory for a document, which is waited for like that for any other bytes.
    ///
    /// # Errors
    /// `SlowDown` if none became free in time.
    pub(crate) async fn reserve(
        &self,
        ctx: &Context,
        bytes: usize,
    ) -> Result<Reservation, S3Error> {
        let bytes = bytes as u64;
        if let Some(room) = self.budget.try_reserve(bytes) {
            return Ok(room);
        }
        let waited = (self.wait_for_memory)(bytes, ctx.deadline()).await;
        waited.map_err(|Exhausted| Code::SlowDown.into())
    }

    /// Makes `room` no less than so many bytes.
    ///
    /// # Errors
    /// As [`Service::reserve`].
    pub(crate) async fn grow(
        &self,
        ctx: &Context,
        room: &mut Option<Reservation>,
        bytes: usize,
    ) -> Result<(), S3Error> {
        let held = room.as_ref().map_or(0, Reservation::bytes);
        let missing = bytes.saturating_sub(usize::try_from(held).unwrap_or(usize::MAX));
        if missing > 0 {
            let more = self.reserve(ctx, missing).await?;
            match room {
                Some(room) => room.merge(more),
                None => *room = Some(more),
            }
        }
        Ok(())
    }

    /// Answers a request: authenticates it (from the last mark of the context's trace on), and then does what it asks
    /// for, or gives it up where it waits when the context is cancelled. Bytes of an object are
    /// not read yet when this returns; everything else is done.
    ///
    /// # Cancel safety
    /// Dropping the future leaves what the driver's operations leave.
    pub async fn serve<B: Body>(
        &self,
        mut ctx: Context,
        head: &RequestHead<'_>,
        body: &mut B,
    ) -> Reply {
        let mut body = Metered::new(body);
        let identity = self.authenticator.authenticate(head, (self.wall_ms)());
        ctx.trace().lap(Stage::Auth, (self.now)());
        let query = Query::parse(head.query);
        let parsed = query.and_then(|query| {
            let route = route::route(head, &query, &self.config.domains)?;
            Ok((query, route))
        });
        let mut outline = Outline {
            operation: Operation::Unknown,
            outcome: Outcome::Ok,
            error_code: "",
            container_hash: 0,
            key_hash: 0,
            range: None,
        };
        let mut place =
            Place { resource: head.path, headless: head.method == "HEAD", ..Place::default() };

        let call;
        let result = match (identity, parsed) {
            (Err(error), parsed) => {
                if let Ok((_, route)) = &parsed {
                    outline.know(route);
                }
                Err(error)
            }
            (Ok(_), Err(error)) => Err(error),
            (Ok(identity), Ok((query, route))) => {
                outline.know(&route);
                ctx = ctx.with_tenant(identity.tenant);
                let owner_id = OnceCell::new();
                call = Call { head, query, route, identity, service: self, owner_id };
                place.bucket = &call.route.bucket;
                place.key = &call.route.key;
                match call.check() {
                    Ok(()) => {
                        let work = pin!(dispatch(&ctx, &call, &mut body));
                        ctx.cancellation().guard(work).await.unwrap_or_else(|gone| Err(gone.into()))
                    }
                    Err(error) => Err(error),
                }
            }
        };
        let mut response = match result {
            Ok(answer) => outline.answered(answer),
            Err(error) => {
                outline.failed(error.code);
                render(&error, &ctx.request_id().to_string(), place)
            }
        };
        identify(&mut response, ctx.request_id());
        response.close = body.is_stuck(head);
        Reply { ctx, response, outline }
    }
}

impl Outline {
    fn know(&mut self, route: &Route<'_>) {
        self.operation = route.verb.operation();
        self.container_hash = name::hash(&route.bucket);
        self.key_hash = name::hash(&route.key);
    }

    fn answered(&mut self, answer: Answer) -> Response<AnyReader> {
        let Answer { status, headers, body, range } = answer;
        self.range = range;
        Response { status, headers, body, close: false }
    }

    fn failed(&mut self, code: Code) {
        self.outcome = outcome(code);
        self.error_code = code.name();
    }
}

/// The answer to what did not become a request: a malformed head, a timeout, a full server.
#[must_use]
pub fn refuse(request_id: RequestId, code: Code, close: bool) -> Response<AnyReader> {
    let error = S3Error::from(code);
    let mut response = render(&error, &request_id.to_string(), Place::default());
    identify(&mut response, request_id);
    response.close = close;
    response
}

fn identify(response: &mut Response<AnyReader>, request_id: RequestId) {
    response.headers.push_with("x-amz-request-id", |out| out.extend_from_slice(&request_id.text()));
    response.headers.push_rendered(HOST_ID_LINE);
}

/// A body that knows how much of it was read.
struct Metered<'b, B> {
    body: &'b mut B,
    read: u64,
    ended: bool,
    failed: bool,
}

impl<'b, B: Body> Metered<'b, B> {
    fn new(body: &'b mut B) -> Self {
        Self { body, read: 0, ended: false, failed: false }
    }

    /// Whether the connection cannot go on, because too much of the body is still to come, or
    /// because nobody knows whether it will: a client that asked whether to continue may send it
    /// or not.
    fn is_stuck(&self, head: &RequestHead<'_>) -> bool {
        let rest = self.body.length().map(|length| length.saturating_sub(self.read));
        if self.ended || rest == Some(0) {
            return false;
        }
        let unasked = self.read == 0 && head.headers.has("expect");
        self.failed || unasked || rest.is_none_or(|rest| rest > REST_BYTES_MAX)
    }
}

impl<B: Body> Body for Metered<'_, B> {
    fn length(&self) -> Option<u64> {
        self.body.length()
    }

    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, BodyError> {
        let result = self.body.read(buffer).await;
        match &result {
            Ok(0) => self.ended |= !buffer.is_empty(),
            Ok(count) => self.read += *count as u64,
            Err(_) => self.failed = true,
        }
        result
    }
}
