use std::io::Read;
use std::net::TcpStream;
use std::sync::mpsc;

use super::*;
use crate::event::testing::{check_exposition, record};
use crate::event::{Emitter, Operation, Outcome, rings};

/// A log that hands over what is written.
struct Lines(mpsc::Sender<String>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn started(
    capacity: usize,
    state: AdminState,
) -> (Vec<Emitter>, mpsc::Receiver<String>, AggregatorHandle) {
    let (emitters, collector) = rings(2, capacity);
    let (sender, receiver) = mpsc::channel();
    let listener = admin::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let log: Box<dyn Write + Send> = Box::new(Lines(sender));
    let handle = start_with(collector, listener, Arc::new(state), Some(log)).unwrap();
    (emitters, receiver, handle)
}

fn scrape(handle: &AggregatorHandle) -> String {
    let mut stream = TcpStream::connect(handle.admin_address()).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    body.to_owned()
}

#[test]
fn an_emitted_record_is_on_metrics_and_in_the_log() {
    let state = AdminState::new(2)
        .with_gauge("connections", "Open connections.", || 3)
        .with_counter("disk_syncs_total", "Syncs.", || 9);
    let (emitters, lines, handle) = started(256, state);
    for operation in Operation::ALL {
        for outcome in Outcome::ALL {
            emitters[1].emit(record(operation, outcome));
        }
    }
    // A line is written after its record was counted.
    let mut missing = Operation::ALL.len() * Outcome::ALL.len();
    while missing > 0 {
        missing -= lines.recv().unwrap().lines().count();
    }
    let text = scrape(&handle);
    check_exposition(&text);
    for operation in Operation::ALL {
        for outcome in Outcome::ALL {
            let (operation, outcome) = (operation.name(), outcome.name());
            let sample = format!(
                "\nvaultaire_requests_total{{operation=\"{operation}\",outcome=\"{outcome}\"}} 1\n"
            );
            assert!(text.contains(&sample), "{sample}");
        }
    }
    for sample in [
        "vaultaire_connections 3",
        "vaultaire_disk_syncs_total 9",
        "vaultaire_ready 0",
        "vaultaire_events_dropped_total 0",
    ] {
        assert!(text.contains(&format!("\n{sample}\n")), "{sample}: {text}");
    }
    handle.shutdown();
}

#[test]
fn what_was_emitted_before_the_stop_is_not_lost() {
    let (emitters, lines, handle) = started(4096, AdminState::new(2));
    for _ in 0..2000 {
        emitters[0].emit(record(Operation::Get, Outcome::Ok));
        emitters[1].emit(record(Operation::Put, Outcome::Ok));
    }
    let shared = handle.shared.clone();
    handle.shutdown();
    let count: usize = lines.try_iter().map(|lines| lines.lines().count()).sum();
    assert_eq!(count, 4000);
    assert!(shared.expose().contains("\nvaultaire_events_total 4000\n"));
}

#[test]
fn losses_are_counted() {
    let (emitters, collector) = rings(1, 2);
    for _ in 0..5 {
        emitters[0].emit(record(Operation::Get, Outcome::Ok));
    }
    let listener = admin::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let handle = start_with(collector, listener, Arc::new(AdminState::new(1)), None).unwrap();
    let shared = handle.shared.clone();
    handle.shutdown();
    let text = shared.expose();
    assert!(text.contains("\nvaultaire_events_dropped_total 3\n"), "{text}");
    assert!(text.contains("\nvaultaire_events_total 2\n"), "{text}");
}

#[test]
fn it_is_nicer_than_whoever_started_it_and_not_more_than_that() {
    let nice = || rustix::process::getpriority_process(None).unwrap();
    let thread = Builder::new().spawn(move || {
        let before = nice();
        yield_to_executors();
        (before, nice())
    });
    let (before, after) = thread.unwrap().join().unwrap();
    assert_eq!(after, (before + NICER).min(19));
}
