//! Mixed work on a server, every change of which is in the ledger before it is asked for.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::client::{Answer, Client};
use crate::ledger::{CONTAINER, Content, Draw, Ledger, body, matches, target};

/// Keys of each worker: few, so that they are overwritten and deleted often.
const KEYS: usize = 16;
/// A part that is not the last has this size at least.
const PART_BYTES_MIN: usize = 5 << 20;
/// Larger bodies lie in files of their own.
const EXTENT_BYTES_MAX: usize = 8 << 20;

/// What the workers and the one who cuts tell each other.
#[derive(Default)]
pub(crate) struct Progress {
    /// Set before the cut begins: an answer that comes later counts for nothing.
    cutting: AtomicBool,
    /// Changes that were acknowledged.
    acknowledged: AtomicU64,
    /// Workers that met an unknown outcome and stopped.
    stopped: AtomicU64,
    /// What was wrong while the server ran.
    wrong: Mutex<Vec<String>>,
}

impl Progress {
    /// Waits until so many changes were acknowledged, or every one of `workers` has stopped.
    pub(crate) fn wait_for(&self, changes: u64, workers: usize) {
        let patience = Instant::now() + Duration::from_secs(120);
        while self.acknowledged() < changes
            && self.stopped.load(Ordering::SeqCst) < workers as u64
            && Instant::now() < patience
        {
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// From here on answers count for nothing.
    pub(crate) fn begin_cut(&self) {
        self.cutting.store(true, Ordering::SeqCst);
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    fn is_cut(&self) -> bool {
        self.cutting.load(Ordering::SeqCst)
    }

    fn note(&self, text: String) {
        self.wrong.lock().unwrap().push(text);
    }
}

/// Creates the container; it may exist.
pub(crate) fn create_container(client: &mut Client) {
    let answer = client.send("PUT", &format!("/{CONTAINER}"), &[], &[]).expect("an answer");
    assert!(matches!(answer.status, 200 | 409), "{}", answer.text());
}

/// Sends mixed work with one thread for each ledger while `cut` runs, which must [begin the cut](Progress::begin_cut);
/// returns the number of changes that were acknowledged before it.
///
/// # Panics
/// If an answer before the cut was wrong.
pub(crate) fn run(
    address: &str,
    ledgers: &mut [Ledger],
    seed: u64,
    cut: impl FnOnce(&Progress),
) -> u64 {
    let progress = Progress::default();
    std::thread::scope(|scope| {
        for (index, ledger) in ledgers.iter_mut().enumerate() {
            let progress = &progress;
            let draw = Draw(seed ^ (index as u64) << 48);
            let client = Client::new(address);
            scope.spawn(move || Worker { client, ledger, index, draw, progress }.work());
        }
        cut(&progress);
        progress.begin_cut();
    });
    let wrong = progress.wrong.lock().unwrap();
    assert!(wrong.is_empty(), "wrong answers under load: {wrong:#?}");
    progress.acknowledged()
}

struct Worker<'a> {
    client: Client,
    ledger: &'a mut Ledger,
    index: usize,
    draw: Draw,
    progress: &'a Progress,
}

/// How a change ended.
enum Outcome {
    Known,
    Unknown,
}

impl Worker<'_> {
    fn work(mut self) {
        while !self.progress.is_cut() {
            let key = format!("w{}/k{}", self.index, self.draw.below(KEYS));
            let outcome = match self.draw.below(100) {
                0..40 => {
                    let size = self.draw.below(20_000);
                    self.put(&key, size)
                }
                40..58 => {
                    let size = 33_000 + self.draw.below(300_000);
                    self.put(&key, size)
                }
                58..60 => {
                    let size = EXTENT_BYTES_MAX + self.draw.below(200_000);
                    self.put(&key, size)
                }
                60..68 => self.put_if_absent(&key),
                68..80 => self.delete(&key),
                80..81 => self.multipart(&key),
                81..83 => self.copy(&key),
                _ => self.get(&key),
            };
            if matches!(outcome, Outcome::Unknown) {
                break;
            }
        }
        self.progress.stopped.fetch_add(1, Ordering::SeqCst);
    }

    fn new_content(&mut self, size: usize) -> Content {
        Content::Bytes { seed: self.draw.next(), size }
    }

    /// Books the answer to a change of `key` that [`Ledger::ask`] has noted.
    fn settle(&mut self, key: &str, answer: std::io::Result<Answer>, good: u16) -> Outcome {
        let is_cut = self.progress.is_cut();
        // A connection that broke: the cut, or a server that is of no use any more.
        let Ok(answer) = answer else { return Outcome::Unknown };
        match answer.status {
            // After the cut began nothing that is said counts.
            _ if is_cut => Outcome::Unknown,
            status if status == good => {
                self.ledger.settle(key);
                self.progress.acknowledged.fetch_add(1, Ordering::SeqCst);
                Outcome::Known
            }
            // Refused in so many words: it has not happened.
            503 | 507 => {
                self.ledger.refuse(key);
                Outcome::Known
            }
            500 => Outcome::Unknown,
            status => {
                self.progress.note(format!("{key}: status {status}, {}", answer.text()));
                Outcome::Unknown
            }
        }
    }

    fn put(&mut self, key: &str, size: usize) -> Outcome {
        let content = self.new_content(size);
        let Content::Bytes { seed, size } = content else { return Outcome::Known };
        self.ledger.ask(key, content);
        let answer = self.client.send("PUT", &target(key), &[], &body(seed, size));
        self.settle(key, answer, 200)
    }

    fn put_if_absent(&mut self, key: &str) -> Outcome {
        let size = self.draw.below(5_000);
        let content = self.new_content(size);
        let Content::Bytes { seed, size } = content else { return Outcome::Known };
        let exists = self.ledger.acknowledged(key) != Content::Absent;
        self.ledger.ask(key, content);
        let headers = [("if-none-match", "*")];
        let answer = self.client.send("PUT", &target(key), &headers, &body(seed, size));
        if exists && answer.as_ref().is_ok_and(|answer| answer.status == 412) {
            self.ledger.refuse(key);
            return Outcome::Known;
        }
        if exists && answer.as_ref().is_ok_and(|answer| answer.status == 200) {
            self.progress.note(format!("{key}: written though it exists"));
        }
        self.settle(key, answer, 200)
    }

    fn delete(&mut self, key: &str) -> Outcome {
        self.ledger.ask(key, Content::Absent);
        let answer = self.client.send("DELETE", &target(key), &[], &[]);
        self.settle(key, answer, 204)
    }

    fn copy(&mut self, key: &str) -> Outcome {
        let from = format!("w{}/k{}", self.index, self.draw.below(KEYS));
        let content = self.ledger.acknowledged(&from);
        if content == Content::Absent || from == key {
            return Outcome::Known;
        }
        self.ledger.ask(key, content);
        let source = target(&from);
        let headers = [("x-amz-copy-source", source.as_str())];
        let answer = self.client.send("PUT", &target(key), &headers, &[]);
        self.settle(key, answer, 200)
    }

    fn get(&mut self, key: &str) -> Outcome {
        let owed = self.ledger.acknowledged(key);
        match self.client.send("GET", &target(key), &[], &[]) {
            Ok(answer) if matches(&answer, owed) => Outcome::Known,
            Ok(answer) if self.progress.is_cut() && answer.status >= 500 => Outcome::Unknown,
            Ok(answer) => {
                self.progress.note(format!(
                    "{key}: read status {} and {} bytes, owed {owed:?}",
                    answer.status,
                    answer.body.len()
                ));
                Outcome::Unknown
            }
            Err(_) => Outcome::Unknown,
        }
    }

    /// Two parts; one upload in three is left half done, for the next start to clear away.
    fn multipart(&mut self, key: &str) -> Outcome {
        let size = PART_BYTES_MIN + self.draw.below(300_000);
        let content = self.new_content(size);
        let Content::Bytes { seed, size } = content else { return Outcome::Known };
        let bytes = body(seed, size);
        let path = target(key);
        let Ok(answer) = self.client.send("POST", &format!("{path}?uploads="), &[], &[]) else {
            return Outcome::Unknown;
        };
        let Some(upload) = answer.element("UploadId") else {
            return if matches!(answer.status, 503 | 507) {
                Outcome::Known
            } else {
                Outcome::Unknown
            };
        };
        let mut document = String::from("<CompleteMultipartUpload>");
        for (number, part) in (1..).zip([&bytes[..PART_BYTES_MIN], &bytes[PART_BYTES_MIN..]]) {
            let place = format!("{path}?partNumber={number}&uploadId={upload}");
            let tag = match self.client.send("PUT", &place, &[], part) {
                Ok(answer) if answer.status == 200 => answer.etag,
                Ok(answer) if matches!(answer.status, 503 | 507) => return Outcome::Known,
                _ => return Outcome::Unknown,
            };
            document.push_str(&format!(
                "<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"
            ));
        }
        document.push_str("</CompleteMultipartUpload>");
        if self.draw.below(3) == 0 {
            return Outcome::Known;
        }
        self.ledger.ask(key, content);
        let place = format!("{path}?uploadId={upload}");
        let answer = self.client.send("POST", &place, &[], document.as_bytes());
        // A 200 whose body is an error has not completed anything.
        if answer
            .as_ref()
            .is_ok_and(|answer| answer.text().contains("<Error>") && answer.status == 200)
        {
            return Outcome::Unknown;
        }
        self.settle(key, answer, 200)
    }
}
