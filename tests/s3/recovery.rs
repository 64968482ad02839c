//! kill -9 in the middle of work: what was acknowledged is there, nothing half-written is seen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_sdk_s3::primitives::ByteStream;

use crate::harness::{Server, noise};

/// The seed of the last acknowledged write of each key, and of all writes ever begun on it.
#[derive(Default)]
struct Ledger {
    acknowledged: BTreeMap<String, u64>,
    begun: BTreeMap<String, Vec<u64>>,
}

const SIZES: [usize; 4] = [100, 20_000, 200_000, 9 << 20];

fn body(seed: u64) -> Vec<u8> {
    noise(seed, SIZES[usize::try_from(seed % 4).unwrap()])
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_survive_kill_9() {
    let mut server = Server::start();
    server.client().create_bucket().bucket("box").send().await.expect("created");
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    for round in 0_u64..3 {
        let writers: Vec<_> = (0_u64..8)
            .map(|writer| {
                let client = server.client();
                let ledger = ledger.clone();
                tokio::spawn(async move {
                    for step in 0_u64.. {
                        let seed = round << 32 | writer << 24 | step;
                        // One writer per key, so the last acknowledgement is the newest.
                        let key = format!("w{writer}/{}", step % 5);
                        ledger.lock().unwrap().begun.entry(key.clone()).or_default().push(seed);
                        let put = client.put_object().bucket("box").key(&key);
                        match put.body(ByteStream::from(body(seed))).send().await {
                            Ok(_) => ledger.lock().unwrap().acknowledged.insert(key, seed),
                            Err(_) => return,
                        };
                    }
                })
            })
            .collect();
        loop {
            if ledger.lock().unwrap().acknowledged.len() >= 30 {
                break;
            }
            tokio::task::yield_now().await;
        }
        server = server.crash_and_restart();
        for writer in writers {
            writer.abort();
            let _ = writer.await;
        }
        let client = server.client();
        let (acknowledged, begun) = {
            let ledger = ledger.lock().unwrap();
            (ledger.acknowledged.clone(), ledger.begun.clone())
        };
        let page = client.list_objects_v2().bucket("box").send().await.expect("listed");
        let listed: Vec<_> = page.contents().iter().filter_map(|o| o.key()).collect();
        for key in acknowledged.keys() {
            assert!(listed.contains(&key.as_str()), "{key} was lost");
        }
        for key in listed {
            let found = client.get_object().bucket("box").key(key).send().await.expect("found");
            let bytes = found.body.collect().await.expect("whole").to_vec();
            // The acknowledged write, or a later one whose answer the crash cut off.
            let floor = acknowledged.get(key).copied().unwrap_or(0);
            let fits = begun[key].iter().any(|&seed| seed >= floor && body(seed) == bytes);
            assert!(fits, "{key} holds what was never written after {floor:x}");
        }
    }
}

#[tokio::test]
async fn an_orderly_stop_keeps_everything() {
    let mut server = Server::start();
    let client = server.client();
    client.create_bucket().bucket("box").send().await.expect("created");
    for seed in 0..12 {
        let put = client.put_object().bucket("box").key(format!("{seed}"));
        put.body(ByteStream::from(body(seed))).send().await.expect("stored");
    }
    assert_eq!(server.terminate(), Some(0), "{}", server.log());
    let server = Server::start_on(server.folder.clone(), &[]);
    for seed in 0..12 {
        let client = server.client();
        let found = client.get_object().bucket("box").key(format!("{seed}")).send();
        let bytes = found.await.expect("found").body.collect().await.expect("whole").to_vec();
        assert!(bytes == body(seed), "{seed}");
    }
}

#[tokio::test]
async fn a_server_of_another_core_count_reads_the_same_folder() {
    let mut server = Server::start();
    let client = server.client();
    for n in 0..8 {
        client.create_bucket().bucket(format!("box-{n}")).send().await.expect("created");
        let put = client.put_object().bucket(format!("box-{n}")).key("k");
        put.body(ByteStream::from(body(n))).send().await.expect("stored");
    }
    assert_eq!(server.terminate(), Some(0), "{}", server.log());
    let one = Server::start_on(server.folder.clone(), &["--cores", "0"]);
    for n in 0..8 {
        let client = one.client();
        let found = client.get_object().bucket(format!("box-{n}")).key("k").send();
        let bytes = found.await.expect("found").body.collect().await.expect("whole").to_vec();
        assert!(bytes == body(n), "box-{n}");
    }
}
