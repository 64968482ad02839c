//! The format document says what the code does.

use bytes::Bytes;

use super::log::format::{
    BLOCK, END_ENTRY, FRAME_HEADER, FrameHeader, FrameType, KEYS_ENTRY, RECORD_ENTRY,
    SegmentHeader, Trailer, encode_end, encode_keys, encode_record,
};
use super::log::{LogEnd, LogId, NewRecord};

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
}
