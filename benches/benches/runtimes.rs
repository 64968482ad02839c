//! The same keep-alive server of 4 KiB from memory on monoio, as the server sets it up, and on glommio.
//!
//! What is measured is the CPU of the server's thread for each request, as everywhere in this project: the wall clock
//! would measure the client as well. The server has core 0, the client core 1.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_lite::io::{AsyncReadExt, AsyncWriteExt};

const BODY: usize = 4096;
const CONNECTIONS: usize = 32;
const REQUEST: &[u8] = b"GET /load/ab/000000000042 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";

/// Where a server listens and which thread it is.
type Started = (SocketAddr, rustix::thread::Pid);

fn answer() -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + BODY, b'x');
    answer
}

/// Whether a request was understood.
fn is_request(bytes: &[u8]) -> bool {
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut request = httparse::Request::new(&mut fields);
    request.parse(bytes).is_ok_and(|parsed| parsed.is_complete())
}

fn pin(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    // On a machine with one core both run there.
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

fn on_monoio(started: Sender<Started>) {
    use monoio::io::{AsyncReadRent, AsyncWriteRentExt};

    pin(0);
    let mut builder = io_uring06::IoUring::builder();
    builder.setup_coop_taskrun();
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .with_entries(1024)
        .uring_builder(builder)
        .build()
        .expect("io_uring");
    runtime.block_on(async {
        let listener = monoio::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        started.send((address, rustix::thread::gettid())).expect("somebody waits");
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.set_nodelay(true).expect("nodelay");
            monoio::spawn(async move {
                let (mut buffer, mut out) = (Vec::with_capacity(4096), answer());
                loop {
                    let (read, returned) = stream.read(buffer).await;
                    buffer = returned;
                    if !read.is_ok_and(|count| is_request(&buffer[..count])) {
                        return;
                    }
                    let (sent, returned) = stream.write_all(out).await;
                    out = returned;
                    if sent.is_err() {
                        return;
                    }
                }
            });
        }
    });
}

fn on_glommio(started: Sender<Started>) {
    use glommio::{LocalExecutorBuilder, Placement};

    let executor = LocalExecutorBuilder::new(Placement::Fixed(0)).make().expect("an executor");
    executor.run(async {
        let listener = glommio::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        started.send((address, rustix::thread::gettid())).expect("somebody waits");
        while let Ok(mut stream) = listener.accept().await {
            stream.set_nodelay(true).expect("nodelay");
            let serving = glommio::spawn_local(async move {
                let (mut buffer, out) = ([0; 4096], answer());
                loop {
                    let read = stream.read(&mut buffer).await;
                    if !read.is_ok_and(|count| is_request(&buffer[..count])) {
                        return;
                    }
                    if stream.write_all(&out).await.is_err() {
                        return;
                    }
                }
            });
            serving.detach();
        }
    });
}

/// CPU of a thread of this process so far.
fn cpu(thread: rustix::thread::Pid) -> Duration {
    let path = format!("/proc/self/task/{}/schedstat", thread.as_raw_nonzero());
    let text = std::fs::read_to_string(path).expect("the thread runs");
    let ns = text.split(' ').next().and_then(|ns| ns.parse().ok());
    Duration::from_nanos(ns.expect("a number"))
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("runtimes, server CPU for each request");
    group.throughput(Throughput::Elements(1));
    group.measurement_time(Duration::from_secs(10));
    for (name, serve) in [
        ("monoio", on_monoio as fn(Sender<Started>)),
        ("glommio", on_glommio as fn(Sender<Started>)),
    ] {
        let (started, wait) = channel();
        // They serve until the process ends.
        std::thread::spawn(move || serve(started));
        let (address, thread) = wait.recv().expect("it starts");
        pin(1);
        let mut streams: Vec<TcpStream> = (0..CONNECTIONS)
            .map(|_| {
                let stream = TcpStream::connect(address).expect("connected");
                stream.set_nodelay(true).expect("nodelay");
                stream
            })
            .collect();
        let mut received = vec![0; answer().len()];
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                let before = cpu(thread);
                let mut left = rounds;
                while left > 0 {
                    let now = streams.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    for stream in &mut streams[..now] {
                        stream.write_all(REQUEST).expect("sent");
                    }
                    for stream in &mut streams[..now] {
                        stream.read_exact(&mut received).expect("answered");
                    }
                    left -= now as u64;
                }
                cpu(thread) - before
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
