use super::super::LogEnd;
use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn segment() -> SegmentHeader {
    SegmentHeader {
        segment: (3 << 32) | 9,
        log: LogId { start: 3, core: 7 },
        position: 2,
        previous_segment: (3 << 32) | 8,
        first_batch: 41,
        previous_crc: 0xdead_beef,
        salt: 0x0123_4567_89ab_cdef,
    }
}

fn frame() -> FrameHeader {
    FrameHeader {
        kind: FrameType::Batch,
        segment: segment().segment,
        epoch: 3,
        offset: 8192,
        batch: 42,
        committed: 41,
        records: 2,
        table_length: 100,
        payload_length: 5000,
        previous_crc: 5,
        payload_crc: 6,
    }
}

#[test]
fn segment_header_survives_one_bad_copy() {
    let mut block = [0; BLOCK];
    segment().encode(&mut block);
    assert_eq!(SegmentHeader::decode(&block), Some(segment()));
    block[20] ^= 1;
    assert_eq!(SegmentHeader::decode(&block), Some(segment()));
    block[2048 + 511] ^= 1;
    assert_eq!(SegmentHeader::decode(&block), None);
    assert!(!is_unused(segment().segment, &block), "damaged is not unused");
}

#[test]
fn unused_is_told_from_used() {
    let id = segment().segment;
    let mut start = vec![0; 2 * BLOCK];
    assert!(is_unused(id, &start));
    assert!(is_unused(id, &[]), "cut short while it was written ahead");
    frame().encode(0, &mut start[BLOCK..]);
    assert!(!is_unused(id, &start), "its header has rotted away");
    assert!(is_unused(id + 1, &start), "a recycled file");
    segment().encode(&mut start[..BLOCK]);
    assert!(!is_unused(id, &start));
    assert!(is_unused(id + 1, &start), "renamed, its header still the old one");
}

#[test]
fn frame_header_is_bound_to_its_place() {
    let mut bytes = [0; FRAME_HEADER];
    let crc = frame().encode(segment().salt, &mut bytes);
    assert_eq!(FrameHeader::decode(&bytes, &segment(), 8192), Some((frame(), crc)));
    assert_eq!(frame().frame_length(), 8192);
    assert_eq!(FrameHeader::decode(&bytes, &segment(), 12288), None, "misdirected");
    let recycled = SegmentHeader { segment: 1, ..segment() };
    assert_eq!(FrameHeader::decode(&bytes, &recycled, 8192), None, "stale");
    let forged = SegmentHeader { salt: 0, ..segment() };
    assert_eq!(FrameHeader::decode(&bytes, &forged, 8192), None, "made without the salt");
    for at in 0..FRAME_HEADER {
        let mut damaged = bytes;
        damaged[at] ^= 0x40;
        assert_eq!(FrameHeader::decode(&damaged, &segment(), 8192), None, "byte {at}");
    }
}

#[test]
fn trailer_is_bound_to_its_segment() {
    let trailer =
        Trailer { segment: segment().segment, seal_offset: 4096, seal_length: 8192, seal_crc: 77 };
    let mut block = [1; BLOCK];
    trailer.encode(segment().salt, &mut block);
    assert_eq!(Trailer::decode(&block, &segment()), Some(trailer));
    assert_eq!(Trailer::decode(&block, &SegmentHeader { segment: 1, ..segment() }), None);
    block[17] ^= 1;
    assert_eq!(Trailer::decode(&block, &segment()), None);
}

#[test]
fn ends_and_keys_round_trip() {
    let end = LogEnd { log: LogId { start: 9, core: 3 }, segment: 11, offset: 4096, batch: 12 };
    let mut table = Vec::new();
    encode_end(&end, &mut table);
    encode_end(&LogEnd { batch: 13, ..end }, &mut table);
    assert_eq!(decode_ends(&table), [end, LogEnd { batch: 13, ..end }]);

    let header = FrameHeader { table_length: 64, ..frame() };
    let mut keys = Vec::new();
    encode_keys(&header, 99, &table, &mut keys);
    encode_keys(&FrameHeader { table_length: 0, batch: 43, ..header }, 98, &[], &mut keys);
    let mut rest = &keys[..];
    let first = decode_keys(&mut rest).unwrap();
    assert_eq!((first.offset, first.kind, first.records), (8192, FrameType::Batch, 2));
    assert_eq!((first.batch, first.table), (42, &table[..]));
    assert_eq!(decode_keys(&mut rest).unwrap().batch, 43);
    assert!(rest.is_empty());
    for cut in 1..keys.len() {
        let mut rest = &keys[..cut];
        while decode_keys(&mut rest).is_some() {}
        assert!(rest.len() < KEYS_ENTRY + 64, "a cut never reads beyond the end");
    }
}

proptest! {
    #[test]
    fn records_round_trip(
        shard: u8, kind: u8, sequence: u64,
        meta in proptest::collection::vec(any::<u8>(), 0..300),
        body_length in 0_usize..5000,
    ) {
        let body = Bytes::from(vec![1; body_length]);
        let record = NewRecord { shard, kind, sequence, meta: meta.clone().into(), body };
        let mut table = vec![0xee; RECORD_ENTRY + meta.len()];
        encode_record(&record, &mut table);
        let mut rest = &table[..];
        let found = decode_record(&mut rest).unwrap();
        prop_assert!(rest.is_empty());
        prop_assert_eq!((found.shard, found.kind, found.sequence), (shard, kind, sequence));
        prop_assert_eq!(found.meta, &meta[..]);
        prop_assert_eq!(found.body_length as usize, body_length);
    }

    #[test]
    fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4200)) {
        let mut rest = &bytes[..];
        while decode_record(&mut rest).is_some() {}
        let mut rest = &bytes[..];
        while decode_keys(&mut rest).is_some() {}
        let _ = decode_ends(&bytes);
        let _ = is_unused(1, &bytes);
        prop_assert_eq!(SegmentHeader::decode(&bytes), None);
        prop_assert_eq!(FrameHeader::decode(&bytes, &segment(), 4096), None);
        prop_assert_eq!(Trailer::decode(&bytes, &segment()), None);
    }
}
