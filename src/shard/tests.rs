//! The format document says what the code does.

use bytes::Bytes;

use super::index::checkpoint::{Accounts, CheckpointBuilder, Mark, ShardSet};
use super::index::run::{self, Version};
use super::index::value::PartList;
use super::log::format::{
    BLOCK, END_ENTRY, FRAME_HEADER, FrameHeader, FrameType, KEYS_ENTRY, RECORD_ENTRY,
    SegmentHeader, Trailer, encode_end, encode_keys, encode_record,
};
use super::log::{LogEnd, LogId, LogPoint, NewRecord, Place};
use crate::model::UploadId;

const DOCUMENT: &str = include_str!("FORMAT.md");

/// A row of a table: where, how many bytes, what.
type Row = (usize, usize, &'static str);

/// The rows of the table under the heading that begins so, which must also give its whole length.
fn table(heading: &str, length: usize) -> Vec<Row> {
    let heading = format!("\n### {heading}");
    let (_, section) = DOCUMENT.split_once(heading.as_str()).expect("such a heading");
    let title = section.lines().next().expect("a title");
    assert!(title.contains(&format!(" {length} bytes")), "{heading}{title}");
    let section = section.split_once("\n#").map_or(section, |(section, _)| section);
    let row = |line: &'static str| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let (at, bytes) = (cells.next()?.parse().ok()?, cells.next()?.parse().ok()?);
        Some((at, bytes, cells.next()?))
    };
    let rows: Vec<Row> = section.lines().filter_map(row).collect();
    let mut end = 0;
    for &(at, bytes, what) in &rows {
        assert_eq!(at, end, "{heading}: {what}");
        end = at + bytes;
    }
    assert_eq!(end, length, "{heading}");
    rows
}

/// Compares encoded bytes with the table, by the names in it. What is reserved must be zero.
fn compare(heading: &str, encoded: &[u8], fields: &[(&str, u64)]) {
    let rows = table(heading, encoded.len());
    let number = |&(at, bytes, _): &Row| {
        encoded[at..at + bytes].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    };
    for (name, expected) in fields {
        let named = format!("`{name}`");
        let mut found = rows.iter().filter(|(_, _, what)| what.contains(&named));
        let row = found.next().unwrap_or_else(|| panic!("{heading} has no {name}"));
        assert_eq!(number(row), *expected, "{heading}: {name}");
        assert_eq!(found.next(), None, "{heading}: {name} is there twice");
    }
    for (at, bytes, _) in rows.iter().filter(|(_, _, what)| *what == "reserved |") {
        assert!(encoded[*at..at + bytes].iter().all(|byte| *byte == 0), "{heading}: {at}");
    }
}

const LOG: LogId = LogId { start: 0x0102_0304, core: 0x0506 };

#[test]
fn headers_and_trailers_are_as_the_format_document_says() {
    let segment = SegmentHeader {
        segment: 0x1112_1314_1516_1718,
        log: LOG,
        position: 0x2122_2324,
        previous_segment: 0x3132_3334_3536_3738,
        first_batch: 0x4142_4344_4546_4748,
        previous_crc: 0x5152_5354,
        salt: 0x6162_6364_6566_6768,
    };
    let mut block = vec![1; BLOCK];
    segment.encode(&mut block);
    let fields = [
        ("SEGMENT_MAGIC", u64::from_le_bytes(*b"VAULTSEG")),
        ("VERSION", 1),
        ("log.core", u64::from(LOG.core)),
        ("segment", segment.segment),
        ("log.start", u64::from(LOG.start)),
        ("position", u64::from(segment.position)),
        ("previous_segment", segment.previous_segment),
        ("first_batch", segment.first_batch),
        ("previous_crc", u64::from(segment.previous_crc)),
        ("salt", segment.salt),
    ];
    compare("Segment header", &block[..512], &fields);
    assert_eq!(block[..512], block[2048..2560], "the second copy");

    let frame = FrameHeader {
        kind: FrameType::Seal,
        segment: 0x1112_1314_1516_1718,
        epoch: 0x2122_2324,
        offset: 0x3132_3000,
        batch: 0x4142_4344_4546_4748,
        committed: 0x5152_5354_5556_5758,
        records: 0x6162_6364,
        table_length: 0x0072_7374,
        payload_length: 0x0102_8384,
        previous_crc: 0x9192_9394,
        payload_crc: 0xa1a2_a3a4,
    };
    let mut bytes = [1; FRAME_HEADER];
    let crc = frame.encode(7, &mut bytes);
    let fields = [
        ("FRAME_MAGIC", u64::from(u32::from_le_bytes(*b"VLTF"))),
        ("VERSION", 1),
        ("kind", 3),
        ("segment", frame.segment),
        ("epoch", u64::from(frame.epoch)),
        ("offset", u64::from(frame.offset)),
        ("batch", frame.batch),
        ("committed", frame.committed),
        ("records", u64::from(frame.records)),
        ("table_length", u64::from(frame.table_length)),
        ("payload_length", u64::from(frame.payload_length)),
        ("frame_length", frame.frame_length() as u64),
        ("previous_crc", u64::from(frame.previous_crc)),
        ("payload_crc", u64::from(frame.payload_crc)),
    ];
    compare("Frame header", &bytes, &fields);

    let mut keys = Vec::new();
    encode_keys(&frame, crc, b"", &mut keys);
    let fields = [
        ("offset", u64::from(frame.offset)),
        ("kind", 3),
        ("records", u64::from(frame.records)),
        ("table_length", u64::from(frame.table_length)),
        ("batch", frame.batch),
    ];
    assert_eq!(keys.len(), KEYS_ENTRY);
    compare("Frame among the keys", &keys, &fields);

    let trailer = Trailer {
        segment: 0x1112_1314_1516_1718,
        seal_offset: 0x2122_2324,
        seal_length: 0x3132_3334,
        seal_crc: 0x4142_4344,
    };
    trailer.encode(7, &mut block);
    let fields = [
        ("TRAILER_MAGIC", u64::from(u32::from_le_bytes(*b"VLTT"))),
        ("VERSION", 1),
        ("segment", trailer.segment),
        ("seal_offset", u64::from(trailer.seal_offset)),
        ("seal_length", u64::from(trailer.seal_length)),
        ("seal_crc", u64::from(trailer.seal_crc)),
    ];
    compare("Trailer", &block[..32], &fields);
}

#[test]
fn entries_of_tables_are_as_the_format_document_says() {
    let end = LogEnd {
        log: LOG,
        segment: 0x1112_1314_1516_1718,
        offset: 0x2122_2324,
        batch: 0x3132_3334_3536_3738,
    };
    let mut bytes = Vec::new();
    encode_end(&end, &mut bytes);
    let fields = [
        ("log.start", u64::from(LOG.start)),
        ("log.core", u64::from(LOG.core)),
        ("segment", end.segment),
        ("offset", u64::from(end.offset)),
        ("batch", end.batch),
    ];
    assert_eq!(bytes.len(), END_ENTRY);
    compare("End of a log", &bytes, &fields);

    let record = NewRecord {
        shard: 0x11,
        kind: 2,
        sequence: 0x2122_2324_2526_2728,
        meta: Bytes::from(vec![1; 0x0304]),
        body: Bytes::from(vec![1; 0x0506]),
    };
    let mut bytes = vec![1; RECORD_ENTRY + record.meta.len()];
    encode_record(&record, &mut bytes);
    let fields = [
        ("shard", 0x11),
        ("kind", 2),
        ("meta", 0x0304),
        ("sequence", record.sequence),
        ("body_length", 0x0506),
    ];
    compare("Record", &bytes[..RECORD_ENTRY], &fields);
    table("Copy of the superblock", 4096);
    table("Head of `integrity`", 64);
    table("Entry of `integrity`", 40);
    table("Entry of `integrity` for a loss that was accepted", 40);
}

const POINT: LogPoint = LogPoint { segment: 0x0102_0304_0506_0708, offset: 0x1112_1314 };
const PLACE: Place =
    Place { segment: 0x4142_4344_4546_4748, offset: 0x5152_5354, length: 0x6162_6364 };

const OF_PLACE: [(&str, u64); 3] = [
    ("place.segment", PLACE.segment),
    ("place.offset", PLACE.offset as u64),
    ("place.length", PLACE.length as u64),
];

#[test]
fn runs_are_as_the_format_document_says() {
    let footer = run::footer::Footer {
        run: 0x1112_1314_1516_1718,
        shard: 0x21,
        entries: 0x3132_3334_3536_3738,
        tombstones: 0x4142_4344_4546_4748,
        sequence_max: 0x5152_5354_5556_5758,
        blocks: 0x6162_6364,
        bloom_blocks: 0x7172_7374,
        bloom_offset: 0x8182_8384_8586_8788,
        index_offset: 0x9192_9394_9596_9798,
        footer_offset: 0xa1a2_a3a4_a5a6_a7a8,
        bloom_crc: 0xb1b2_b3b4,
        index_crc: 0xc1c2_c3c4,
    };
    let fields = [
        ("MAGIC", u64::from_le_bytes(*b"VLTTRUN1")),
        ("VERSION", 1),
        ("shard", 0x21),
        ("run", footer.run),
        ("entries", footer.entries),
        ("tombstones", footer.tombstones),
        ("sequence_max", footer.sequence_max),
        ("bloom_offset", footer.bloom_offset),
        ("index_offset", footer.index_offset),
        ("footer_offset", footer.footer_offset),
        ("blocks", u64::from(footer.blocks)),
        ("bloom_blocks", u64::from(footer.bloom_blocks)),
        ("bloom_crc", u64::from(footer.bloom_crc)),
        ("index_crc", u64::from(footer.index_crc)),
    ];
    compare("Footer of a run", &footer.encode(), &fields);

    let mut block = run::block::Builder::new();
    let sequence = 0x1112_1314_1516_1718;
    block.push(&Version { stem: b"stem/a", sequence: 1, place: PLACE, value: b"" });
    block.push(&Version { stem: b"stem/bcd", sequence, place: PLACE, value: b"value" });
    let bytes = block.finish(3, 4);
    let first = 16 + 30 + "stem/a".len();
    let second = first + 30 + "bcd".len() + "value".len();
    let fields = [("length", second as u64 + 2), ("entries", 2), ("restarts", 1)];
    compare("Block of a run", &bytes[..16], &fields);
    assert_eq!(bytes[second..second + 2], 16_u16.to_le_bytes());
    let numbered = [&3_u64.to_le_bytes()[..], &4_u64.to_le_bytes(), &bytes[4..]].concat();
    assert_eq!(bytes[..4], crc_fast::crc32_iscsi(&numbered).to_le_bytes());
    let mut fields = vec![("shared", 5), ("unshared", 3), ("value", 5), ("sequence", sequence)];
    fields.extend(OF_PLACE);
    compare("Entry of a block", &bytes[first..first + 30], &fields);
    assert_eq!(bytes[first + 30..second], *b"bcdvalue");
}

#[test]
fn checkpoints_and_marks_are_as_the_format_document_says() {
    let upload = UploadId(u128::MAX << 64 | 0x0102_0304_0506_0708);
    let list = PartList { place: PLACE, crc: 0x2122_2324, count: 0x3132, upload };
    let mut accounts = Accounts::default();
    for (into, count) in
        [(&mut accounts.records, 2), (&mut accounts.bytes, 3), (&mut accounts.own_files, 4)]
    {
        into.extend((1..=count).map(|number| (number, 1)));
    }
    accounts.add_composite(list, 7);
    let sequence = 0x1112_1314_1516_1718;
    let mut builder = CheckpointBuilder::new(0x21, sequence, Some(POINT), &[9], &accounts);
    let entry = Version { stem: b"stem", sequence, place: PLACE, value: b"value" };
    for _ in 0..5 {
        builder.resident(&entry);
    }
    let bytes = builder.finish();
    let runs = 64 + 12;
    assert_eq!(bytes[64..runs - 4], POINT.segment.to_le_bytes());
    assert_eq!(bytes[runs - 4..runs], POINT.offset.to_le_bytes());
    let lists = runs + 8 + 16 * (2 + 3 + 4);
    let resident = lists + 48;
    assert_eq!(bytes.len(), resident + 5 * (28 + 9));
    let fields = [
        ("MAGIC", u64::from_le_bytes(*b"VLTCHKP1")),
        ("VERSION", 1),
        ("shard", 0x21),
        ("point", 1),
        ("sequence", sequence),
        ("runs", 1),
        ("records", 2),
        ("bytes", 3),
        ("own_files", 4),
        ("composites", 1),
        ("resident", 5),
        ("length", bytes.len() as u64 - 64),
    ];
    compare("Head of a checkpoint", &bytes[..64], &fields);
    let mut fields = vec![("crc", u64::from(list.crc)), ("count", 0x3132), ("held", 7)];
    fields.extend(OF_PLACE);
    compare("List of parts in a checkpoint", &bytes[lists..resident], &fields);
    assert_eq!(bytes[lists + 24..lists + 40], upload.0.to_le_bytes());
    let mut fields = vec![("stem", 4), ("value", 5), ("sequence", sequence)];
    fields.extend(OF_PLACE);
    compare("Resident entry", &bytes[resident..resident + 28], &fields);
    assert_eq!(bytes[resident + 28..resident + 37], *b"stemvalue");

    let mut shards = ShardSet::default();
    shards.insert(0);
    shards.insert(250);
    let mark = Mark {
        log: LOG,
        cores: 0x1112,
        position: 0x2122_2324,
        covers_earlier: true,
        shards,
        written: vec![(1, 2), (3, 4)],
    };
    let bytes = mark.encode();
    let fields = [
        ("MAGIC", u64::from_le_bytes(*b"VLTMARK1")),
        ("VERSION", 1),
        ("log.core", u64::from(LOG.core)),
        ("cores", 0x1112),
        ("log.start", u64::from(LOG.start)),
        ("position", 0x2122_2324),
        ("covers_earlier", 1),
        ("written", 2),
    ];
    compare("Head of a mark", &bytes[..96], &fields);
    assert_eq!((bytes[32], bytes[32 + 250 / 8]), (1, 1 << (250 % 8)));
    let words: Vec<u64> =
        bytes[96..].as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    assert_eq!(words, [1, 2, 3, 4]);
}
