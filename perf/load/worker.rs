//! The loop of one connection.

use std::cell::RefCell;
use std::fmt::Write;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::args::{Args, Operation};
use crate::body::{Block, Body, Hashes, Piece};
use crate::client::{Answer, Connection, Sink};
use crate::keys::{self, Draw};
use crate::mix::Verb;
use crate::pace::Pace;
use crate::report::Report;
use crate::sign::{self, Head, Signer};

/// Errors after which a connection gives up.
const ERRORS_MAX: u64 = 20;

/// What the threads share.
#[derive(Default)]
pub(crate) struct Shared {
    next_key: AtomicU64,
    requests: AtomicU64,
    pub(crate) operations: AtomicU64,
    pub(crate) errors: AtomicU64,
    /// Set when a connection has given up: the figures would be those of another load.
    is_broken: AtomicBool,
}

/// What the connections of a thread share.
pub(crate) struct Thread<'a> {
    pub(crate) args: &'a Args,
    pub(crate) shared: &'a Shared,
    /// Writes every key once instead of the operation.
    pub(crate) fills: bool,
    /// What comes earlier is warm-up and not counted.
    pub(crate) measure_from: Instant,
    pub(crate) block: Block,
    pub(crate) pace: Pace,
    pub(crate) hashes: RefCell<Hashes>,
}

impl Thread<'_> {
    /// Whether a request counts. In open loop: if it was meant to begin in the measured time, however late it was
    /// answered. In closed loop: if it was answered in that time, as its throughput is that of the answers.
    fn counts(&self, begin: Instant, ended: Instant) -> bool {
        if self.pace.is_open() {
            begin >= self.measure_from
        } else {
            (self.measure_from..=self.pace.end()).contains(&ended)
        }
    }
}

/// One connection and what it needs for requests.
pub(crate) struct Worker<'a> {
    thread: &'a Thread<'a>,
    connection: Connection,
    draw: Draw,
    signer: Signer,
    pub(crate) report: Report,
    /// Put by this connection in a mix, and to be deleted by it.
    own_keys: Vec<u64>,
    path: String,
    query: String,
    out: Vec<u8>,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(thread: &'a Thread<'a>, index: usize) -> Result<Self, String> {
        Ok(Self {
            thread,
            connection: Connection::open(thread.args.endpoint)?,
            draw: Draw::new(thread.args, index as u64 + 1),
            signer: Signer::new(thread.args),
            report: Report::default(),
            own_keys: Vec::new(),
            path: String::new(),
            query: String::new(),
            out: Vec::with_capacity(128 << 10),
        })
    }

    /// Sends until the time is over or no key is left.
    pub(crate) async fn run(&mut self) -> Result<(), String> {
        let shared = self.thread.shared;
        while let Some(begin) = self.thread.pace.next().await {
            let most = self.thread.args.requests.filter(|_| !self.thread.fills);
            if most.is_some_and(|most| shared.requests.fetch_add(1, Ordering::Relaxed) >= most)
                || shared.is_broken.load(Ordering::Relaxed)
            {
                return Ok(());
            }
            if begin >= self.thread.measure_from && self.thread.pace.is_open() {
                self.report.began_late(begin.elapsed());
            }
            match self.operation(begin).await {
                Ok(Some(operations)) => {
                    let ended = Instant::now();
                    if self.thread.counts(begin, ended) {
                        self.report.done(operations, ended.duration_since(begin));
                    }
                    shared.operations.fetch_add(operations, Ordering::Relaxed);
                }
                Ok(None) => return Ok(()),
                Err(error) => {
                    shared.errors.fetch_add(1, Ordering::Relaxed);
                    self.report.fail(error);
                    if self.report.errors >= ERRORS_MAX {
                        shared.is_broken.store(true, Ordering::Relaxed);
                        return Ok(());
                    }
                    self.connection.renew()?;
                }
            }
        }
        Ok(())
    }

    /// Sends one operation, and tells for how many it counts; `None` when no key is left.
    async fn operation(&mut self, begin: Instant) -> Result<Option<u64>, String> {
        let args = self.thread.args;
        if self.thread.fills {
            let Some(key) = self.next_key() else { return Ok(None) };
            self.put(key, begin).await?;
            return Ok(Some(1));
        }
        match args.operation {
            Operation::Fill | Operation::Put => {
                let key = self.draw.key();
                self.put(key, begin).await?;
            }
            Operation::Get | Operation::Head => {
                let key = if args.once { self.next_key() } else { Some(self.draw.key()) };
                let Some(key) = key else { return Ok(None) };
                if args.operation == Operation::Get {
                    self.get(key, begin).await?;
                } else {
                    self.head(key, begin).await?;
                }
            }
            Operation::List => self.list(begin).await?,
            Operation::Delete => {
                let Some(key) = self.next_key() else { return Ok(None) };
                self.delete(key, begin).await?;
            }
            Operation::DeleteMany => return self.delete_many(begin).await,
            Operation::Multipart => self.multipart(begin).await?,
            Operation::Mixed => match args.mix.pick(self.draw.next_u64()) {
                Verb::Put => {
                    // Keys of its own, so that what is read is there until the end.
                    let key = args.keys + self.draw.next_u64() % 1_000_000_000;
                    self.put(key, begin).await?;
                    self.own_keys.push(key);
                }
                Verb::Delete => match self.own_keys.pop() {
                    Some(key) => self.delete(key, begin).await?,
                    None => {
                        let key = self.draw.key();
                        self.head(key, begin).await?;
                    }
                },
                Verb::List => self.list(begin).await?,
                verb => {
                    let key = self.draw.key();
                    if verb == Verb::Head {
                        self.head(key, begin).await?;
                    } else {
                        self.get(key, begin).await?;
                    }
                }
            },
        }
        Ok(Some(1))
    }

    fn next_key(&self) -> Option<u64> {
        let key = self.thread.shared.next_key.fetch_add(1, Ordering::Relaxed);
        (key < self.thread.args.keys).then_some(key)
    }

    async fn put(&mut self, key: u64, begin: Instant) -> Result<(), String> {
        self.name(key);
        let bytes = self.thread.block.body(key, self.thread.args.sizes.of(key));
        let body = Body::new(self.thread.args.payload, bytes);
        self.exchange(Verb::Put, begin, body, Sink::Drop).await.map(drop)
    }

    async fn get(&mut self, key: u64, begin: Instant) -> Result<(), String> {
        self.name(key);
        let args = self.thread.args;
        let sink = if args.verify {
            Sink::Compare(self.thread.block.body(key, args.sizes.of(key)))
        } else {
            Sink::Drop
        };
        self.exchange(Verb::Get, begin, Body::none(), sink).await.map(drop)
    }

    async fn head(&mut self, key: u64, begin: Instant) -> Result<(), String> {
        self.name(key);
        self.exchange(Verb::Head, begin, Body::none(), Sink::Absent).await.map(drop)
    }

    async fn delete(&mut self, key: u64, begin: Instant) -> Result<(), String> {
        self.name(key);
        self.exchange(Verb::Delete, begin, Body::none(), Sink::Drop).await.map(drop)
    }

    async fn list(&mut self, begin: Instant) -> Result<(), String> {
        self.container();
        let args = self.thread.args;
        if let Some(delimiter) = args.delimiter {
            let _ = write!(
                self.query,
                "delimiter=%{:02X}&list-type=2&max-keys={}",
                u32::from(delimiter),
                args.page
            );
        } else {
            let _ = write!(self.query, "list-type=2&max-keys={}&start-after=", args.page);
            let mut after = String::new();
            keys::name(&mut after, self.draw.key());
            self.query.push_str(&after.replace('/', "%2F"));
        }
        self.exchange(Verb::List, begin, Body::none(), Sink::Drop).await.map(drop)
    }

    async fn delete_many(&mut self, begin: Instant) -> Result<Option<u64>, String> {
        let args = self.thread.args;
        let first = self.thread.shared.next_key.fetch_add(args.batch, Ordering::Relaxed);
        let keys = first..args.keys.min(first + args.batch);
        if keys.is_empty() {
            return Ok(None);
        }
        let count = keys.end - keys.start;
        let mut text = String::from("<Delete><Quiet>true</Quiet>");
        for key in keys {
            text.push_str("<Object><Key>");
            keys::name(&mut text, key);
            text.push_str("</Key></Object>");
        }
        text.push_str("</Delete>");
        self.container();
        self.query.push_str("delete=");
        let answer = self.document(Verb::DeleteMany, begin, text.as_bytes()).await?;
        if memchr::memmem::find(&answer.body, b"<Error>").is_some() {
            return Err(format!("delete-many: {}", excerpt(&answer.body)));
        }
        Ok(Some(count))
    }

    async fn multipart(&mut self, begin: Instant) -> Result<(), String> {
        let args = self.thread.args;
        let key = self.draw.key();
        self.name(key);
        self.query.push_str("uploads=");
        let answer = self.document(Verb::Create, begin, &[]).await?;
        let upload = between(&answer.body, "<UploadId>", "</UploadId>").ok_or("no upload id")?;
        let size = args.sizes.of(key);
        let mut list = String::from("<CompleteMultipartUpload>");
        for part in 1..=args.parts {
            self.name(key);
            let _ = write!(self.query, "partNumber={part}&uploadId={}", escape(&upload));
            let bytes = self.thread.block.body(key + part, size);
            let body = Body::new(args.payload, bytes);
            let answer = self.exchange(Verb::Part, Instant::now(), body, Sink::Keep).await?;
            let _ = write!(
                list,
                "<Part><PartNumber>{part}</PartNumber><ETag>{}</ETag></Part>",
                answer.etag
            );
        }
        list.push_str("</CompleteMultipartUpload>");
        self.name(key);
        let _ = write!(self.query, "uploadId={}", escape(&upload));
        let answer = self.document(Verb::Complete, Instant::now(), list.as_bytes()).await?;
        // Complete may answer 200 and yet have failed.
        if memchr::memmem::find(&answer.body, b"<Error>").is_some() {
            return Err(format!("complete-upload: {}", excerpt(&answer.body)));
        }
        Ok(())
    }

    fn name(&mut self, key: u64) {
        self.container();
        self.path.push('/');
        keys::name(&mut self.path, key);
    }

    fn container(&mut self) {
        self.query.clear();
        self.path.clear();
        self.path.push('/');
        self.path.push_str(&self.thread.args.bucket);
    }

    /// Sends a small document, signed, and keeps the answer.
    async fn document(
        &mut self,
        verb: Verb,
        begin: Instant,
        bytes: &[u8],
    ) -> Result<Answer, String> {
        let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, bytes);
        let sum = u32::try_from(sum).unwrap_or(0).to_be_bytes();
        let sum = base64_simd::STANDARD.encode_to_string(sum);
        let fields = [("x-amz-checksum-crc32", sum.as_str())];
        let hash = sign::sha256(bytes);
        let head = Head {
            method: verb.method(),
            path: &self.path,
            query: &self.query,
            content: &hash,
            fields: if verb == Verb::DeleteMany { &fields } else { &[] },
            length: bytes.len(),
        };
        self.signer.head(&mut self.out, &head);
        self.out.extend_from_slice(bytes);
        let length = bytes.len() as u64;
        self.connection.send(&mut self.out).await.map_err(|error| name_error(verb, error))?;
        self.answer(verb, begin, Sink::Keep, length).await
    }

    async fn exchange(
        &mut self,
        verb: Verb,
        begin: Instant,
        mut body: Body,
        sink: Sink,
    ) -> Result<Answer, String> {
        {
            let mut hashes = self.thread.hashes.borrow_mut();
            let mut digits = itoa::Buffer::new();
            let fields = body.fields(digits.format(body.length()));
            let head = Head {
                method: verb.method(),
                path: &self.path,
                query: &self.query,
                content: body.content(&mut hashes),
                fields: &fields,
                length: body.encoded_length(),
            };
            self.out.clear();
            self.signer.head(&mut self.out, &head);
        }
        loop {
            let piece = {
                let mut hashes = self.thread.hashes.borrow_mut();
                body.next(&mut self.out, &mut self.signer, &mut hashes)
            };
            let sent = match piece {
                None => break,
                Some(Piece::Buffer) => self.connection.send(&mut self.out).await,
                Some(Piece::Static(bytes)) => self.connection.send_static(bytes).await,
            };
            sent.map_err(|error| name_error(verb, error))?;
        }
        self.answer(verb, begin, sink, body.length() as u64).await
    }

    async fn answer(
        &mut self,
        verb: Verb,
        begin: Instant,
        sink: Sink,
        sent_bytes: u64,
    ) -> Result<Answer, String> {
        let received = self.connection.receive(sink).await;
        let answer = received.map_err(|error| name_error(verb, error))?;
        if answer.status != verb.expected() {
            let said = excerpt(&answer.body);
            return Err(format!("{}: status {} {said}", verb.name(), answer.status));
        }
        let ended = Instant::now();
        if self.thread.counts(begin, ended) {
            let latency = ended.duration_since(begin);
            self.report.answered(verb, latency, sent_bytes + answer.body_bytes);
        }
        Ok(answer)
    }
}

fn name_error(verb: Verb, error: String) -> String {
    format!("{}: {error}", verb.name())
}

/// Creates the container; that it exists is fine.
pub(crate) async fn create_container(args: &Args) -> Result<(), String> {
    let mut connection = Connection::open(args.endpoint)?;
    let mut out = Vec::new();
    let path = format!("/{}", args.bucket);
    let content = sign::sha256(&[]);
    let head =
        Head { method: "PUT", path: &path, query: "", content: &content, fields: &[], length: 0 };
    Signer::new(args).head(&mut out, &head);
    connection.send(&mut out).await?;
    let answer = connection.receive(Sink::Keep).await?;
    match answer.status {
        200 | 409 => Ok(()),
        status => Err(format!("creating the bucket: status {status} {}", excerpt(&answer.body))),
    }
}

fn between(text: &[u8], before: &str, after: &str) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found.to_owned())
}

/// The canonical form of a value in a query.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            other => {
                let _ = write!(escaped, "%{other:02X}");
            }
        }
    }
    escaped
}

fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned()
}

/// Runs the connections of a thread to their end.
pub(crate) async fn run_all(thread: &Thread<'_>, indexes: impl Iterator<Item = usize>) -> Report {
    let report = Rc::new(RefCell::new(Report::default()));
    let loops = indexes.map(|index| {
        let report = report.clone();
        async move {
            let fail = |error| {
                thread.shared.errors.fetch_add(1, Ordering::Relaxed);
                thread.shared.is_broken.store(true, Ordering::Relaxed);
                report.borrow_mut().fail(error);
            };
            match Worker::new(thread, index) {
                Ok(mut worker) => {
                    if let Err(error) = worker.run().await {
                        fail(error);
                    }
                    report.borrow_mut().join(std::mem::take(&mut worker.report));
                }
                Err(error) => fail(error),
            }
        }
    });
    futures_util::future::join_all(loops).await;
    report.take()
}
