//! Uploads that never end: their bytes go, and they stop nobody else.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::client::read_answer;
use crate::ledger::{body, list, target};
use crate::load::create_container;
use crate::server::{Options, Server};

const PATIENCE: Duration = Duration::from_secs(60);

fn files(data: &Path) -> Vec<(String, u64)> {
    std::fs::read_dir(data.join("data"))
        .unwrap()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let length = entry.metadata().ok()?.len();
            Some((entry.file_name().into_string().ok()?, length))
        })
        .collect()
}

/// Sends the head of a PUT and so many of its bytes.
fn begin_put(server: &Server, key: &str, size: usize, sent: usize) -> TcpStream {
    let head = server.client().head("PUT", &target(key), &[], size);
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body(size as u64, size)[..sent]).unwrap();
    stream
}

#[test]
fn what_an_upload_left_half_written_is_gone_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut server = Server::start(&data, &Options::default());
    create_container(&mut server.client());
    let half_done = [
        begin_put(&server, "own-file", 20 << 20, 12 << 20),
        begin_put(&server, "extent", 4 << 20, 3 << 20),
        begin_put(&server, "inline", 20_000, 10_000),
    ];
    let patience = Instant::now() + PATIENCE;
    while files(&data).len() < 2 {
        assert!(Instant::now() < patience, "the bytes do not arrive: {:?}", files(&data));
        std::thread::yield_now();
    }
    server.kill_and_wait();
    drop(half_done);
    let server = Server::start(&data, &Options::default());
    assert_eq!(files(&data), [], "half-written bytes stay");
    assert_eq!(list(&mut server.client()), Ok(Vec::new()), "something half-written is seen");
    for key in ["own-file", "extent", "inline"] {
        let answer = server.client().send("GET", &target(key), &[], &[]).unwrap();
        assert_eq!(answer.status, 404);
    }
}

#[test]
#[ignore = "takes twenty seconds"]
fn a_thousand_clients_that_send_a_byte_a_second_stop_nobody() {
    const CLIENTS: usize = 1_000;
    const SECONDS: u64 = 15;
    // Each has two ends of a connection here or there.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if limit.maximum.is_some_and(|maximum| maximum < CLIENTS as u64 + 200) {
        println!("SKIPPED: this machine allows too few open files, {:?}", limit.maximum);
        return;
    }
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"), &Options::default());
    create_container(&mut server.client());
    let mut slow: Vec<TcpStream> = (0..CLIENTS)
        .map(|n| {
            let size = [20_000, 1 << 20, 20 << 20][n % 3];
            begin_put(&server, &format!("slow-{n}"), size, 1)
        })
        .collect();
    let begin = Instant::now();
    let (mut quick, mut worst) = (0_u64, Duration::ZERO);
    let mut client = server.client();
    for second in 1..=SECONDS {
        for stream in &mut slow {
            stream.write_all(b"x").expect("a slow client is not cut off");
        }
        while begin.elapsed() < Duration::from_secs(second) {
            let size = [4_096, 1 << 20, 9 << 20][usize::try_from(quick % 3).unwrap()];
            let bytes = body(quick, size);
            let began = Instant::now();
            let put = client.send("PUT", &target("quick"), &[], &bytes).expect("an answer");
            assert_eq!(put.status, 200, "{}", put.text());
            let got = client.send("GET", &target("quick"), &[], &[]).expect("an answer");
            assert!(got.status == 200 && got.body == bytes);
            worst = worst.max(began.elapsed());
            quick += 1;
        }
    }
    println!(
        "{CLIENTS} slow clients: {quick} others served in {SECONDS} s, the slowest in {worst:?}; \
         peak resident {} KiB",
        server.memory_kib("VmHWM")
    );
    assert!(quick > 0);
    assert!(server.memory_kib("VmHWM") < 400 << 10, "the budget does not hold");
    // They were not forgotten either.
    let size = 20_000;
    let bytes = body(size as u64, size);
    let sent = 1 + usize::try_from(SECONDS).unwrap();
    let stream = &mut slow[0];
    stream.write_all(&bytes[sent..]).unwrap();
    let (answer, _) = read_answer(stream, false).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}
