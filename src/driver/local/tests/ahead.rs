//! Large artifacts are read ahead.

use std::time::Duration;

use super::full::live;
use super::*;
use crate::io::sim::SimDisk;

const PIECE: u64 = 1 << 20;
const PIECES: u64 = 9;

#[test]
fn four_pieces_are_in_flight_also_when_the_next_one_has_arrived_already() {
    let disk = SimDisk::new();
    let reads = disk.clone();
    live(&disk, true, async move |driver, clock| {
        let container = name("box");
        driver.create_container(&ctx(), &container).await.unwrap();
        let target = Target { container: &container, key: key("long") };
        let size = PIECES * PIECE;
        let source = &mut Given::new(body(usize::try_from(size).unwrap(), 1));
        driver.put(&ctx(), target, WriteSpec::default(), source).await.unwrap();

        let open = driver.open(&ctx(), target).await.unwrap();
        let mut reader = open.read(&ctx(), ByteRange::whole(size)).await.unwrap();
        let before = reads.reads();
        for number in 1..=PIECES {
            let Some(Chunk::Memory(bytes)) = reader.next(&ctx()).await.unwrap() else {
                panic!("piece {number} is missing")
            };
            assert_eq!(bytes.len() as u64, PIECE);
            let table = 1;
            assert_eq!(reads.reads() - before - table, PIECES.min(number + 3), "at {number}");
            // While it is sent, what is in flight arrives.
            Clock::sleep(&clock, Duration::from_secs(1)).await;
        }
        assert!(reader.next(&ctx()).await.unwrap().is_none());
    });
}
