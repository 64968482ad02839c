//! A real socket on loopback, a scripted handler behind it, and clients that misbehave.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use super::super::Answer;
use super::super::listener::{Lobby, bind};
use super::*;
use crate::config::{Limits, ZeroCopy};
use crate::context::{Context, RequestId};
use crate::driver::{BodyError, Chunk, Reader};
use crate::event::ring::Collector;
use crate::event::{Operation, Record, rings};
use crate::http::{Body, HeaderBlock, RequestHead};
use crate::io::budget::Budget;
use crate::io::lending::{LEAST, Terms};
use crate::io::testing::{connect_small, pattern, until};
use crate::runtime;
use crate::runtime::core::{Backend, BlockingPool, block_on};
use crate::s3::Outline;

/// Yields prepared chunks, and an error where there is one; then it ends, or waits for ever.
struct Script(std::vec::IntoIter<Result<Chunk, DriverError>>, bool);

impl Reader for Script {
    async fn next(&mut self, _: &Context) -> Result<Option<Chunk>, DriverError> {
        match self.0.next() {
            None if self.1 => std::future::pending().await,
            chunk => chunk.transpose(),
        }
    }
}

/// Does what the path says.
struct Scripted {
    file: Arc<OwnedFd>,
    held: Arc<()>,
}

const FILE_BYTES: usize = 3 << 20;
/// As little as is lent: a socket takes it at once.
const LARGE_BYTES: usize = LEAST;

/// Bytes, and a mark by which is seen that they are still somewhere.
struct Held(Vec<u8>, #[expect(dead_code, reason = "it is counted")] Arc<()>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Scripted {
    fn new(held: Arc<()>) -> Self {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&pattern(FILE_BYTES)).unwrap();
        Self { file: Arc::new(file.into()), held }
    }

    fn stream(&self, chunks: Vec<Result<Chunk, DriverError>>, length: u64) -> ResponseBody<Script> {
        ResponseBody::Stream { reader: Script(chunks.into_iter(), false), length }
    }
}

fn memory(bytes: &'static [u8]) -> Result<Chunk, DriverError> {
    Ok(Chunk::Memory(Bytes::from_static(bytes)))
}

async fn read_all<B: Body>(body: &mut B) -> Result<Vec<u8>, BodyError> {
    let mut all = Vec::new();
    let mut piece = [0; 1000];
    loop {
        match body.read(&mut piece).await? {
            0 => return Ok(all),
            count => all.extend_from_slice(&piece[..count]),
        }
    }
}

impl Handler for Scripted {
    type Reader = Script;

    async fn serve<B: Body>(
        &self,
        ctx: Context,
        head: &RequestHead<'_>,
        body: &mut B,
    ) -> Answer<Script> {
        let mut status = 200;
        let mut outcome = Outcome::Ok;
        let mut close = false;
        let body = match head.path {
            "/echo" => match read_all(body).await {
                Ok(bytes) => ResponseBody::Bytes(bytes.into()),
                Err(error) => {
                    (status, outcome, close) = (400, Outcome::ClientError, true);
                    ResponseBody::Bytes(format!("{error:?}").into())
                }
            },
            "/ignore" => ResponseBody::Bytes(Bytes::from_static(b"ignored")),
            "/nothing" => {
                status = 204;
                ResponseBody::Empty
            }
            "/declared" => ResponseBody::Declared(77),
            "/chunks" => self.stream(vec![memory(b"one "), memory(b"two")], 7),
            "/forever" => {
                let never = std::pin::pin!(std::future::pending::<()>());
                assert!(ctx.cancellation().guard(never).await.is_err());
                ResponseBody::Empty
            }
            "/stall" => {
                let chunks = if head.query == "late" { vec![memory(b"one ")] } else { vec![] };
                ResponseBody::Stream { reader: Script(chunks.into_iter(), true), length: 7 }
            }
            "/empty" => self.stream(vec![], 0),
            "/file" => self.stream(
                vec![
                    Ok(Chunk::File { file: self.file.clone(), offset: 7, length: 2 << 20 }),
                    memory(b"tail"),
                ],
                (2 << 20) + 4,
            ),
            "/large" => {
                let large = Held(pattern(LARGE_BYTES), self.held.clone());
                let chunks = vec![memory(b"head"), Ok(Chunk::Memory(Bytes::from_owner(large)))];
                self.stream(chunks, 4 + LARGE_BYTES as u64)
            }
            "/unstarted" => self.stream(vec![Err(DriverError::Corrupt)], 7),
            "/cut" => self.stream(vec![memory(b"one "), Err(DriverError::Corrupt)], 7),
            "/short" => self.stream(vec![memory(b"one ")], 7),
            "/wait" => {
                runtime::sleep(Duration::from_millis(150)).await;
                ResponseBody::Empty
            }
            other => panic!("no script for {other}"),
        };
        let outline = Outline {
            operation: Operation::Get,
            outcome,
            error_code: "",
            container_hash: 0,
            key_hash: 0,
            range: None,
        };
        let mut headers = HeaderBlock::default();
        headers.push("X-Length", &format!("{:?}", head.headers.get("content-length")));
        Answer { ctx, response: Response { status, headers, body, close }, outline }
    }

    fn refuse(&self, _: RequestId, code: Code) -> Response<Script> {
        Response {
            status: code.status(),
            headers: HeaderBlock::default(),
            body: ResponseBody::Bytes(Bytes::from_static(code.name().as_bytes())),
            close: true,
        }
    }
}

struct Server {
    address: SocketAddr,
    collector: Mutex<Collector>,
    held: Arc<()>,
    stop: Option<futures_channel::oneshot::Sender<Duration>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(limits: Limits) -> Self {
        Self::start_on(limits, Backend::Uring, ZeroCopy::Auto)
    }

    fn start_on(limits: Limits, backend: Backend, zero_copy: ZeroCopy) -> Self {
        let (address, mut listeners) = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let (mut emitters, collector) = rings(1, 1024);
        let lobby = Arc::new(Lobby::new(1, limits.connections));
        let (stop, stopped) = futures_channel::oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let held = Arc::new(());
        let marked = held.clone();
        let thread = std::thread::Builder::new().spawn(move || {
            block_on(backend, &BlockingPool::new(1), async {
                let emitter = emitters.remove(0);
                let terms = Terms::new(zero_copy, Budget::new(64 << 20), 1);
                let (handler, spin) = (Scripted::new(marked), Duration::ZERO);
                let frontend = Frontend::new(0, handler, limits, lobby, emitter, spin, terms);
                frontend.open(listeners.remove(0)).unwrap();
                ready.send(()).unwrap();
                let patience = stopped.await.unwrap();
                frontend.close();
                frontend.drained(patience).await;
            })
            .unwrap();
        });
        is_ready.recv().unwrap();
        let collector = Mutex::new(collector);
        Self { address, collector, held, stop: Some(stop), thread: Some(thread.unwrap()) }
    }

    fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Client { stream, received: Vec::new() }
    }

    /// A client that takes in little before it reads.
    fn connect_small(&self) -> Client {
        Client { stream: connect_small(self.address), received: Vec::new() }
    }

    /// The record of the next request to end.
    fn record(&self) -> Record {
        let mut next = None;
        until("a request ends", || {
            self.collector.lock().unwrap().drain(|record| next = Some(record));
            next.is_some()
        });
        next.unwrap()
    }

    fn stop(&mut self, patience: Duration) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(patience);
            self.thread.take().unwrap().join().unwrap();
        }
    }

    /// The records of all requests, after stopping.
    fn records(mut self) -> Vec<Record> {
        self.stop(Duration::from_secs(10));
        let mut records = Vec::new();
        self.collector.lock().unwrap().drain(|record| records.push(record));
        records
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn closes(&self) -> bool {
        self.head.contains("\r\nConnection: close\r\n")
    }
}

impl Client {
    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    fn more(&mut self) -> usize {
        let mut piece = [0; 64 << 10];
        let count = self.stream.read(&mut piece).unwrap();
        self.received.extend_from_slice(&piece[..count]);
        count
    }

    fn head(&mut self) -> Reply {
        let end = loop {
            if let Some(at) = self.received.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            assert_ne!(self.more(), 0, "closed before an answer");
        };
        let head = String::from_utf8(self.received.drain(..end).collect()).unwrap();
        let status = head[9..12].parse().unwrap();
        Reply { status, head, body: Vec::new() }
    }

    /// The next answer, with its body.
    fn reply(&mut self) -> Reply {
        let mut reply = self.head();
        let length = reply.head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length = length.map_or(0, |length| length.parse().unwrap());
        while self.received.len() < length {
            assert_ne!(self.more(), 0, "closed within a body");
        }
        reply.body = self.received.drain(..length).collect();
        reply
    }

    fn request(&mut self, request: impl AsRef<[u8]>) -> Reply {
        self.send(request);
        self.reply()
    }

    /// Everything up to the server's close.
    fn rest(&mut self) -> Vec<u8> {
        while self.more() > 0 {}
        std::mem::take(&mut self.received)
    }

    fn is_closed(&mut self) -> bool {
        self.rest().is_empty()
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")
}

fn put(path: &str, body: &str) -> String {
    format!("PUT {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn requests_follow_each_other_on_one_connection() {
    for backend in [Backend::Uring, Backend::Legacy] {
        let server = Server::start_on(Limits::default(), backend, ZeroCopy::Auto);
        let mut client = server.connect();
        for text in ["", "a", "hello"] {
            let reply = client.request(put("/echo", text));
            assert_eq!((reply.status, reply.text()), (200, text));
            assert!(!reply.closes());
        }
        let records = server.records();
        assert_eq!(records.len(), 3);
        assert_eq!((records[2].bytes_in, records[2].bytes_out, records[2].status), (5, 5, 200));
        assert_ne!(records[0].request_id, records[1].request_id);
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    let chunked = "PUT /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n";
    let all = [&put("/echo", "first"), chunked, "\r\n", &get("/chunks"), &put("/ignore", "unread")]
        .concat()
        + &put("/echo", "last");
    client.send(all);
    let texts: Vec<_> = (0..5).map(|_| client.reply().text().to_owned()).collect();
    assert_eq!(texts, ["first", "abcde", "one two", "ignored", "last"]);
}

#[test]
fn the_pieces_that_requests_arrive_in_do_not_matter() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    client.stream.set_nodelay(true).unwrap();
    let chunked = "PUT /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n0\r\n\r\n";
    for byte in [&put("/echo", "xyz"), chunked, &get("/chunks")].concat().bytes() {
        client.send([byte]);
    }
    let texts: Vec<_> = (0..3).map(|_| client.reply().text().to_owned()).collect();
    assert_eq!(texts, ["xyz", "abc", "one two"]);
}

#[test]
fn large_bodies_in_and_out() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    let body = pattern(5 << 20);
    let head = format!("PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
    client.send(head);
    client.send(&body);
    assert!(client.reply().body == body);

    let mut chunked =
        b"PUT /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(70_001) {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    client.send(&chunked);
    assert!(client.reply().body == body);

    let reply = client.request(get("/file"));
    let file = pattern(FILE_BYTES);
    assert!(reply.body[..2 << 20] == file[7..(2 << 20) + 7]);
    assert_eq!(&reply.body[2 << 20..], b"tail");
}

#[test]
fn large_memory_is_lent_to_the_kernel_until_the_client_has_it() {
    let server = Server::start_on(Limits::default(), Backend::Uring, ZeroCopy::Always);
    let mut client = server.connect_small();
    for _ in 0..2 {
        client.send(get("/large"));
        let record = server.record();
        assert_eq!((record.outcome, record.bytes_out), (Outcome::Ok, 4 + LARGE_BYTES as u64));
        assert!(Arc::strong_count(&server.held) > 2, "the client has not read it");
        let body = client.reply().body;
        assert_eq!(body[..4], *b"head");
        assert!(body[4..] == pattern(LARGE_BYTES));
        until("it is given back", || Arc::strong_count(&server.held) == 2);
    }
}

#[test]
fn continue_is_said_when_the_body_is_wanted_and_not_before() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    let head = "PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    client.send(head);
    assert_eq!(client.head().head, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.request("hello").text(), "hello");
    // A client that does not wait is not told either.
    assert_eq!(client.request([head, "hello"].concat()).text(), "hello");
    // Not wanted: the answer comes at once, and the connection cannot go on.
    let reply = client.request(head.replace("/echo", "/ignore"));
    assert_eq!(reply.text(), "ignored");
    assert!(reply.closes());
    assert!(client.is_closed());
}

#[test]
fn a_head_answer_has_no_body() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    for (path, length) in [("/declared", 77), ("/ignore", 7), ("/chunks", 7), ("/empty", 0)] {
        client.send(get(path).replace("GET", "HEAD"));
        let head = client.head().head;
        assert!(head.contains(&format!("\r\nContent-Length: {length}\r\n")), "{head}");
    }
    let nothing = client.request(get("/nothing"));
    assert_eq!(nothing.status, 204);
    assert!(!nothing.head.contains("Content-Length"));
    assert_eq!(client.request(get("/chunks")).text(), "one two");
}

#[test]
fn what_is_malformed_is_refused_and_the_connection_closed() {
    let server = Server::start(Limits::default());
    for (request, status, text) in [
        (
            "PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            "InvalidRequest",
        ),
        ("GET /echo HTTP/1.1\r\n\r\n", 400, "InvalidRequest"),
        ("GET /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "InvalidRequest"),
        ("GET /echo HTTP/3.0\r\nHost: a\r\n\r\n", 400, "InvalidRequest"),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "InvalidURI"),
        ("\x16\x03\x01\x02\x00\x01\x00\x01", 400, "InvalidRequest"),
        ("PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "NotImplemented"),
    ] {
        let mut client = server.connect();
        // What follows must not be taken for a request.
        let reply = client.request([request, &get("/chunks")].concat());
        assert_eq!((reply.status, reply.text()), (status, text), "{request:?}");
        assert!(reply.closes());
        assert!(client.is_closed(), "{request:?}");
    }
    let records = server.records();
    assert_eq!(records.len(), 7);
    assert!(
        records.iter().all(|record| record.operation == Operation::Unknown
            && record.outcome == Outcome::ClientError)
    );
}

#[test]
fn a_header_of_a_mebibyte_is_refused_and_others_are_served_on() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    let mut other = client.stream.try_clone().unwrap();
    let writer = std::thread::scope(|scope| {
        // The server may close before it has read it all; the answer must arrive all the same.
        scope.spawn(move || {
            let _ = other.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nX: ");
            let _ = other.write_all(&[b'a'; 1 << 20]);
        });
        client.reply()
    });
    assert_eq!((writer.status, writer.text()), (400, "RequestHeaderSectionTooLarge"));
    assert_eq!(server.connect().request(get("/chunks")).text(), "one two");
}

#[test]
fn heads_up_to_the_limit_are_served() {
    let limits = Limits { head_bytes: 20 << 10, headers: 40, ..Limits::default() };
    let server = Server::start(limits);
    let mut client = server.connect();
    let long = format!("GET /chunks HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "a".repeat(19 << 10));
    assert_eq!(client.request(&long).text(), "one two");
    assert_eq!(client.request(get("/chunks")).text(), "one two");
    let fields =
        |count| format!("GET /chunks HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(count));
    assert_eq!(client.request(fields(39)).text(), "one two");
    assert_eq!(client.request(fields(40)).text(), "RequestHeaderSectionTooLarge");
}

#[test]
fn a_body_cut_short_is_told_apart_from_a_whole_one() {
    let server = Server::start(Limits::default());
    for request in [
        "PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nshort",
        "PUT /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nshort",
        "PUT /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
    ] {
        let mut client = server.connect();
        client.send(request);
        client.stream.shutdown(Shutdown::Write).unwrap();
        let reply = client.reply();
        assert_eq!((reply.status, reply.text()), (400, "Truncated"));
        assert!(client.is_closed());
    }
}

#[test]
fn malformed_chunks_end_the_connection() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    let head = "PUT /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let reply = client.request(head.to_owned() + "5\r\nhelloGET");
    assert!(reply.text().starts_with("Malformed"), "{}", reply.text());
    assert!(client.is_closed());
}

#[test]
fn an_artifact_that_cannot_be_read_ends_in_an_error_or_a_cut() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    let reply = client.request(get("/unstarted"));
    assert_eq!((reply.status, reply.text()), (500, "InternalError"));
    assert!(client.is_closed());
    for path in ["/cut", "/short"] {
        let mut client = server.connect();
        client.send(get(path));
        assert_eq!(client.head().status, 200);
        assert_eq!(client.rest(), b"one ");
    }
    let records = server.records();
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|record| record.outcome == Outcome::ServerError));
    assert_eq!((records[0].status, records[0].error_code), (500, "InternalError"));
    assert_eq!((records[1].status, records[1].bytes_out), (200, 4));
}

#[test]
fn an_unwanted_body_is_skipped_if_small_and_closes_the_connection_if_large() {
    let server = Server::start(Limits::default());
    let mut client = server.connect();
    let small = "x".repeat(200 << 10);
    assert_eq!(client.request(put("/ignore", &small)).text(), "ignored");
    assert_eq!(client.request(get("/chunks")).text(), "one two");
    let chunked = "PUT /ignore HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(client.request(chunked.to_owned() + "3\r\nabc\r\n0\r\n\r\n").text(), "ignored");
    assert_eq!(client.request(get("/chunks")).text(), "one two");
    let large = "x".repeat(8 << 20);
    let reply = client.request(put("/ignore", &large));
    assert_eq!(reply.text(), "ignored");
    assert!(reply.closes());
    assert!(client.is_closed());
}

#[test]
fn slow_clients_are_sent_away() {
    let short = Duration::from_millis(80);
    let limits = Limits { head: short, body_idle: short, idle: short, ..Limits::default() };
    let server = Server::start(limits);
    let mut silent = server.connect();
    assert!(silent.is_closed());
    let mut head = server.connect();
    assert_eq!(head.request("GET /echo HTT").text(), "RequestTimeout");
    let mut body = server.connect();
    let reply = body.request("PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nshort");
    assert_eq!(reply.text(), "TooSlow");
    assert!(body.is_closed());
    let outcomes: Vec<_> = server.records().iter().map(|record| record.outcome).collect();
    assert_eq!(outcomes, [Outcome::ClientError, Outcome::ClientError]);
}

#[test]
fn a_trickle_is_sent_away_though_it_never_pauses_long() {
    let limits =
        Limits { body_idle: Duration::from_millis(100), client_rate: 10_000, ..Limits::default() };
    let server = Server::start(limits);
    let mut client = server.connect();
    client.send("PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n");
    let mut writer = client.stream.try_clone().unwrap();
    let trickle = std::thread::Builder::new().spawn(move || {
        // The pace is what is tested; the answer below does not wait for a time.
        while writer.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    assert_eq!(client.reply().text(), "TooSlow");
    client.stream.shutdown(Shutdown::Both).unwrap();
    trickle.unwrap().join().unwrap();
}

#[test]
fn a_client_that_does_not_read_is_given_up() {
    let limits = Limits { body_idle: Duration::from_millis(80), ..Limits::default() };
    let server = Server::start(limits);
    let mut client = server.connect();
    let requests = get("/file").repeat(40);
    client.send(requests);
    // Nothing is read: at some point the server can send no more.
    let mut aborted = false;
    until("it is given up", || {
        server.collector.lock().unwrap().drain(|record| {
            aborted |= record.outcome == Outcome::ClientAbort;
        });
        aborted
    });
}

#[test]
fn a_request_has_its_time() {
    let limits = Limits { request: Duration::from_millis(100), ..Limits::default() };
    let server = Server::start(limits);
    let mut client = server.connect();
    let reply = client.request("PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nshort");
    assert_eq!(reply.text(), "Interrupted(DeadlineExceeded)");
}

#[test]
fn one_connection_too_many_is_told_so() {
    let server = Server::start(Limits { connections: 2, ..Limits::default() });
    let mut first = server.connect();
    let mut second = server.connect();
    assert_eq!(first.request(get("/chunks")).text(), "one two");
    assert_eq!(second.request(get("/chunks")).text(), "one two");
    let mut third = server.connect();
    let reply = third.reply();
    assert_eq!((reply.status, reply.text()), (503, "SlowDown"));
    assert!(third.is_closed());
    drop(first);
    // Its place is free once the server has seen it go.
    let served = (0..1000).any(|_| server.connect().request(get("/chunks")).status == 200);
    assert!(served);
    let refused = server.records().iter().filter(|record| record.status == 503).count();
    assert!(refused >= 1);
}

#[test]
fn draining_finishes_requests_and_closes_idle_connections() {
    let mut server = Server::start(Limits::default());
    let mut idle = server.connect();
    assert_eq!(idle.request(get("/chunks")).text(), "one two");
    let mut busy = server.connect();
    busy.send("PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(busy.head().status, 100);
    let _ = server.stop.take().unwrap().send(Duration::from_secs(20));
    assert!(idle.is_closed());
    let reply = busy.request("hello");
    assert_eq!(reply.text(), "hello");
    assert!(reply.closes());
    assert!(busy.is_closed());
    server.thread.take().unwrap().join().unwrap();
    assert!(TcpStream::connect(server.address).is_err());
}

#[test]
fn draining_has_an_end() {
    let mut server = Server::start(Limits::default());
    let mut stuck = server.connect();
    stuck
        .send("PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(stuck.head().status, 100);
    server.stop(Duration::from_millis(50));
    let records = server.records();
    assert_eq!(records.len(), 1);
}

#[test]
fn a_client_that_leaves_while_its_request_waits_is_noticed() {
    for request in ["/forever", "/stall", "/stall?late"] {
        let limits = Limits { head: Duration::from_millis(80), ..Limits::default() };
        let server = Server::start(limits);
        let mut client = server.connect();
        client.send(get(request));
        drop(client);
        let deadline = SystemClock.now().after(Duration::from_secs(20));
        let mut noticed = None;
        while noticed.is_none() && SystemClock.now() < deadline {
            server.collector.lock().unwrap().drain(|record| noticed = Some(record.outcome));
            std::thread::yield_now();
        }
        assert_eq!(noticed, Some(Outcome::ClientAbort), "{request}");
    }
}

#[test]
fn a_request_is_charged_for_its_turns_and_not_for_its_waits() {
    let server = Server::start(Limits::default());
    assert_eq!(server.connect().request(get("/wait")).status, 200);
    let records = server.records();
    assert!(records[0].cpu_ns > 0);
    assert!(records[0].cpu_ns < records[0].total_ns, "{:?}", records[0]);
}
