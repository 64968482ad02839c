//! Encoding a frame of the log: a batch of 64 records with bodies of 4 KiB, table, checksums and header.

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use vaultaire::shard::log::NewRecord;
use vaultaire::shard::log::format::{
    FRAME_HEADER, FrameHeader, FrameType, RECORD_ENTRY, encode_record, padded,
};
use vaultaire_benches::noise;

const RECORDS: u32 = 64;
const BODY: usize = 4096;
const META: usize = 120;

fn bench(criterion: &mut Criterion) {
    let records: Vec<NewRecord> = (0..RECORDS)
        .map(|number| NewRecord {
            shard: 7,
            kind: 1,
            sequence: number.into(),
            meta: Bytes::from(noise(META)),
            body: Bytes::from(noise(BODY)),
        })
        .collect();
    let entry_bytes = RECORD_ENTRY + META;
    let table_length = records.len() * entry_bytes;
    let payload_length = table_length + records.len() * BODY;
    let mut frame = vec![0; padded(FRAME_HEADER + payload_length)];
    let mut group = criterion.benchmark_group("frame");
    group.throughput(Throughput::Elements(RECORDS.into()));
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            let payload = &mut frame[FRAME_HEADER..FRAME_HEADER + payload_length];
            let (table, bodies) = payload.split_at_mut(table_length);
            for (record, entry) in records.iter().zip(table.chunks_exact_mut(entry_bytes)) {
                encode_record(record, entry);
            }
            for (record, place) in records.iter().zip(bodies.chunks_exact_mut(BODY)) {
                place.copy_from_slice(&record.body);
            }
            let header = FrameHeader {
                kind: FrameType::Batch,
                segment: 9,
                epoch: 1,
                offset: 4096,
                batch: 5,
                committed: 4,
                records: RECORDS,
                table_length: u32::try_from(table_length).expect("small"),
                payload_length: u32::try_from(payload_length).expect("small"),
                previous_crc: 0,
                payload_crc: crc_fast::crc32_iscsi(payload),
            };
            header.encode(3, &mut frame)
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
