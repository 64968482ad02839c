//! Bodies of all sizes in and out again, ranges, metadata, and writes that must leave no trace.

use crate::driver::{BodyError, Driver, DriverError, OpenArtifact, Reader, WriteSpec};
use crate::model::{
    ByteRange, ChecksumAlgorithm, Metadata, MetadataBuilder, MetadataField, PartSpan,
    WriteCondition,
};

use super::{Bench, TestSource, append, drain, noise, refused};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Sizes around every border that a driver may have.
const SIZES: [usize; 13] = [
    0,
    1,
    4096,
    32 * KIB - 1,
    32 * KIB,
    32 * KIB + 1,
    64 * KIB - 1,
    64 * KIB,
    64 * KIB + 1,
    MIB,
    8 * MIB - 1,
    8 * MIB,
    8 * MIB + 1,
];

/// One size of every storage class: within the log, in an extent, in a file of its own.
const CLASSES: [usize; 3] = [10 * KIB, 300 * KIB, 9 * MIB];

/// Bodies.
pub async fn bodies<D: Driver>(driver: &D) {
    let bench = Bench::new(driver, "bodies").await;
    Box::pin(round_trips(&bench)).await;
    Box::pin(ranges(&bench)).await;
    Box::pin(older_version(&bench)).await;
    Box::pin(failing_sources(&bench)).await;
    metadata(&bench).await;
    checksums(&bench).await;
    odd_keys(&bench).await;
}

async fn round_trips<D: Driver>(bench: &Bench<'_, D>) {
    for size in SIZES {
        let bytes = noise(size as u64, size);
        let smooth = TestSource::new(&bytes);
        let odd = TestSource::new(&bytes).undeclared().in_pieces(&[1, 4095, 70_001, 13, 32_768]);
        let odd_declared = TestSource::new(&bytes).in_pieces(&[4097, 999_983]);
        let stutter = TestSource::new(&bytes).undeclared().hesitant();
        for (nth, mut source) in [smooth, odd, odd_declared, stutter].into_iter().enumerate() {
            let key = format!("size-{size}-{nth}");
            let written = bench.try_put(&key, WriteSpec::default(), &mut source).await;
            let receipt = written.unwrap_or_else(|error| panic!("put {key}: {error}"));
            assert_eq!(receipt.size, size as u64, "size of {key}");
            assert_eq!(receipt.etag, source.digests().etag, "tag of {key}");
            described(bench, &key, &receipt).await;
            bench.expect(&key, &bytes).await;
        }
    }
}

/// What is known of an artifact written in one piece agrees with what its writer was told.
async fn described<D: Driver>(
    bench: &Bench<'_, D>,
    key: &str,
    receipt: &crate::model::WriteReceipt,
) {
    let open = bench.open(key).await;
    let info = open.info();
    assert_eq!(
        (info.size, info.etag, info.modified_ms, info.checksum),
        (receipt.size, receipt.etag, receipt.modified_ms, receipt.checksum),
        "description of {key}"
    );
    assert!(info.modified_ms > 0, "written after 1970");
    assert_eq!(open.part_count(), None, "{key} was written in one piece");
    let whole = PartSpan { range: ByteRange::whole(info.size), checksum: info.checksum };
    assert_eq!(open.part(&bench.ctx, 1).await.expect("part 1"), Some(whole));
    assert_eq!(open.part(&bench.ctx, 2).await.expect("part 2"), None);
}

async fn ranges<D: Driver>(bench: &Bench<'_, D>) {
    for size in [20 * KIB, 200_003, MIB + 5, 8 * MIB + 70_001] {
        let bytes = noise(77, size);
        let key = format!("ranges-{size}");
        bench.put(&key, &bytes).await;
        let borders = [0, 1, 4095, 4096, 65_535, 65_536, 65_537, 131_072, MIB, 8 * MIB, size - 1];
        for start in borders.into_iter().filter(|start| *start < size) {
            for length in [1, 2, 4096, 65_536, 70_000, 2 * MIB, size] {
                let end = (start + length).min(size);
                let read = bench.read(&key, start as u64, (end - start) as u64).await;
                assert!(read == bytes[start..end], "bytes {start}..{end} of {key} differ");
            }
        }
    }
}

/// What was opened can be read to its end whatever happens to its key.
async fn older_version<D: Driver>(bench: &Bench<'_, D>) {
    for size in CLASSES {
        let (old, new) = (noise(1, size), noise(2, size / 2 + 7));
        let key = format!("overwritten-{size}");
        bench.put(&key, &old).await;
        let begun = bench.open(&key).await;
        let only_opened = bench.open(&key).await;
        let whole = ByteRange::whole(size as u64);
        let mut reader = begun.read(&bench.ctx, whole).await.expect("read");
        let first = reader.next(&bench.ctx).await.expect("a chunk").expect("not at the end");
        bench.put(&key, &new).await;
        bench.expect(&key, &new).await;
        bench.delete_if(&key, WriteCondition::None).await.expect("delete");
        bench.put(&key, b"third").await;

        let mut read = Vec::new();
        append(&mut read, &first);
        read.extend(drain(&bench.ctx, &mut reader).await);
        assert!(read == old, "the older version of {key}, begun");
        assert_eq!(only_opened.info().size, size as u64);
        let mut reader = only_opened.read(&bench.ctx, whole).await.expect("read");
        assert!(drain(&bench.ctx, &mut reader).await == old, "the older version of {key}, opened");
        bench.expect(&key, b"third").await;
    }
}

async fn failing_sources<D: Driver>(bench: &Bench<'_, D>) {
    for size in CLASSES {
        let bytes = noise(3, size);
        let plain = TestSource::new(&bytes);
        let broken = [
            plain.clone().failing_at(0, BodyError::Disconnected),
            plain.clone().failing_at(size / 2, BodyError::Truncated),
            plain.clone().failing_at(size, BodyError::Malformed("no end")).undeclared(),
            plain.clone().refusing(BodyError::Md5Mismatch),
            plain.clone().refusing(BodyError::ChecksumMismatch(ChecksumAlgorithm::Crc32)),
            plain.undeclared().in_pieces(&[65_537]).refusing(BodyError::SignatureMismatch),
        ];
        for mut source in broken {
            let (fresh, kept) = (format!("broken-{size}"), format!("kept-{size}"));
            let mut again = source.clone();
            let spec = WriteSpec::default;
            refused!(
                bench.try_put(&fresh, spec(), &mut source).await,
                DriverError::Body(
                    BodyError::Disconnected
                        | BodyError::Truncated
                        | BodyError::Malformed("no end")
                        | BodyError::Md5Mismatch
                        | BodyError::ChecksumMismatch(ChecksumAlgorithm::Crc32)
                        | BodyError::SignatureMismatch
                )
            );
            bench.expect_none(&fresh).await;
            let receipt = bench.put(&kept, b"kept").await;
            refused!(bench.try_put(&kept, spec(), &mut again).await, DriverError::Body(_));
            bench.expect(&kept, b"kept").await;
            described(bench, &kept, &receipt).await;
        }
    }
}

async fn metadata<D: Driver>(bench: &Bench<'_, D>) {
    let mut blocks = vec![Metadata::default()];
    for bytes in [1, 1000, 8 * KIB] {
        let mut builder = MetadataBuilder::default();
        assert!(builder.push(MetadataField::ContentType, "text/plain; charset=utf-8"));
        assert!(builder.push(MetadataField::User("größe"), &"ü".repeat(bytes / 2)));
        assert!(builder.push(MetadataField::User(""), "nameless"));
        assert!(builder.push(MetadataField::Expires, ""));
        blocks.push(builder.finish());
    }
    for size in [0, 5, 300 * KIB] {
        for block in &blocks {
            let spec = WriteSpec { metadata: block.clone(), ..WriteSpec::default() };
            let mut source = TestSource::new(&noise(4, size));
            bench.try_put("metadata", spec, &mut source).await.expect("put");
            assert_eq!(bench.open("metadata").await.info().metadata, *block);
        }
    }
    bench.put("metadata", b"").await;
    let plain = bench.open("metadata").await.info().metadata.clone();
    assert_eq!(plain, Metadata::default(), "metadata goes with its version");
}

async fn checksums<D: Driver>(bench: &Bench<'_, D>) {
    for algorithm in ChecksumAlgorithm::ALL {
        for size in [0, 9, 100 * KIB] {
            let mut source = TestSource::new(&noise(5, size)).with_checksum(algorithm);
            let written = bench.try_put("checksum", WriteSpec::default(), &mut source).await;
            let receipt = written.expect("put");
            assert_eq!(receipt.checksum, source.digests().checksum);
            described(bench, "checksum", &receipt).await;
        }
    }
}

/// Keys are opaque.
async fn odd_keys<D: Driver>(bench: &Bench<'_, D>) {
    let long = "k".repeat(1024);
    let long_unicode = "語".repeat(341);
    let keys = ["/", "//", ".", "..", "../x", "a//b", "a/./b", "🦀", "\u{1}\u{7f}", " ", "a b+c%"];
    let keys = keys.into_iter().chain([long.as_str(), &long_unicode]);
    for key in keys.clone() {
        bench.put(key, key.as_bytes()).await;
    }
    for key in keys {
        bench.expect(key, key.as_bytes()).await;
        bench.delete_if(key, WriteCondition::None).await.expect("delete");
        bench.expect_none(key).await;
    }
}
