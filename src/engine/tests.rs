//! Tests of the engine over the memory driver, and over one that fails.

use bytes::Bytes;

use super::*;
use crate::config::ContainerRule;
use crate::context::Context;
use crate::driver::conformance::{TestSource, block_on};
use crate::driver::fault::{Call, FaultDriver, Faults, When};
use crate::driver::memory::MemoryDriver;
use crate::driver::{Chunk, Completion, DriverError, Reader, Target, UploadSpec, WriteSpec};
use crate::model::{
    ArtifactKey, ByteRange, ChecksumAlgorithm, ChecksumKind, CompletePart, ContainerName,
    ContainerQuery, ETagMatch, Metadata, MetadataBuilder, MetadataField, RangeRequest,
    ReadConditions, TenantId, UploadId, WriteCondition,
};

/// An engine with one container, whose driver fails as it is told.
struct Bench {
    engine: Engine,
    faults: Faults,
    ctx: Context,
    container: ContainerName,
}

fn name(name: &str) -> ContainerName {
    ContainerName::new(name).unwrap()
}

fn engine_over(drivers: Vec<(&str, AnyDriver)>, rules: &[(&str, &str)]) -> Engine {
    let drivers = drivers.into_iter().map(|(name, driver)| (name.to_owned(), driver)).collect();
    let rule = |(prefix, driver): &(&str, &str)| ContainerRule {
        prefix: (*prefix).to_owned(),
        driver: (*driver).to_owned(),
    };
    Engine::new(DriverRules::new(drivers, rules.iter().map(rule).collect()))
}

impl Bench {
    async fn new() -> Self {
        let faults = Faults::default();
        let driver = AnyDriver::Fault(FaultDriver::new(MemoryDriver::new(), faults.clone()));
        let engine = engine_over(vec![("only", driver)], &[]);
        let ctx = Context::internal(TenantId::DEFAULT);
        let container = name("container");
        engine.create_container(&ctx, &container).await.unwrap();
        Self { engine, faults, ctx, container }
    }

    fn target<'a>(&'a self, key: &'a str) -> Target<'a> {
        Target { container: &self.container, key: ArtifactKey::new(key).unwrap() }
    }

    async fn put(&self, key: &str, spec: WriteSpec, source: TestSource) {
        let mut source = source;
        self.engine.put(&self.ctx, self.target(key), spec, &mut source).await.unwrap();
    }

    async fn get(&self, key: &str, selection: Selection) -> Result<Vec<u8>, EngineError> {
        let conditions = ReadConditions::default();
        let mut opened =
            self.engine.get(&self.ctx, self.target(key), &conditions, selection).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = opened.reader.next(&self.ctx).await? {
            let Chunk::Memory(piece) = chunk else { panic!("the model keeps no files") };
            bytes.extend_from_slice(&piece);
        }
        assert_eq!(bytes.len() as u64, opened.range.length);
        Ok(bytes)
    }

    fn copy<'a>(&'a self, from: &'a str, to: &'a str) -> CopyRequest<'a> {
        CopyRequest {
            source: self.target(from),
            source_conditions: ReadConditions::default(),
            destination: self.target(to),
            metadata: CopyMetadata::Keep,
            condition: WriteCondition::None,
            checksum: None,
        }
    }

    fn copy_part<'a>(
        &'a self,
        from: &'a str,
        to: &'a str,
        upload: UploadId,
    ) -> CopyPartRequest<'a> {
        CopyPartRequest {
            source: self.target(from),
            source_conditions: ReadConditions::default(),
            range: None,
            destination: self.target(to),
            upload,
            number: 1,
        }
    }
}

fn described(text: &str) -> WriteSpec {
    let mut builder = MetadataBuilder::default();
    assert!(builder.push(MetadataField::User("text"), text));
    WriteSpec { metadata: builder.finish(), ..WriteSpec::default() }
}

fn long() -> Vec<u8> {
    (0..60_000_u32).flat_map(u32::to_le_bytes).collect()
}

macro_rules! refused {
    ($result:expr, $pattern:pat) => {
        match $result {
            Err($pattern) => {}
            other => panic!("expected {}, got {other:?}", stringify!($pattern)),
        }
    };
}

#[test]
fn a_selection_is_read_and_described() {
    block_on(async {
        let bench = Bench::new().await;
        let bytes = long();
        bench.put("key", described("x"), TestSource::new(&bytes)).await;
        bench.put("empty", WriteSpec::default(), TestSource::new(b"")).await;
        let range = |range| Selection::Range(range);
        let middle = range(RangeRequest::Between(65_000, 70_000));
        assert_eq!(bench.get("key", Selection::Whole).await.unwrap(), bytes);
        assert_eq!(bench.get("key", middle).await.unwrap(), bytes[65_000..=70_000]);
        assert_eq!(bench.get("key", Selection::Part(1)).await.unwrap(), bytes);
        assert_eq!(bench.get("empty", Selection::Whole).await.unwrap(), b"");
        assert_eq!(bench.get("empty", Selection::Part(1)).await.unwrap(), b"");
        refused!(bench.get("key", Selection::Part(2)).await, EngineError::NoSuchPart);
        refused!(
            bench.get("key", range(RangeRequest::From(240_000))).await,
            EngineError::RangeNotSatisfiable { size: 240_000 }
        );
        refused!(
            bench.get("empty", range(RangeRequest::From(0))).await,
            EngineError::RangeNotSatisfiable { size: 0 }
        );
        refused!(
            bench.get("missing", Selection::Whole).await,
            EngineError::Driver(DriverError::NoSuchArtifact)
        );

        let conditions = ReadConditions::default();
        let head = bench.engine.head(&bench.ctx, bench.target("key"), &conditions, middle).await;
        let head = head.unwrap();
        assert_eq!(head.range, ByteRange { offset: 65_000, length: 5001 });
        assert!(head.partial && head.part_count.is_none());
        assert_eq!(head.info.metadata.get(MetadataField::User("text")), Some("x"));
        let whole =
            bench.engine.head(&bench.ctx, bench.target("key"), &conditions, Selection::Whole);
        assert!(!whole.await.unwrap().partial);
    });
}

#[test]
fn conditions_come_before_the_selection() {
    block_on(async {
        let bench = Bench::new().await;
        let source = TestSource::new(b"bytes");
        let tag = source.digests().etag;
        bench.put("key", WriteSpec::default(), source).await;
        let beyond = Selection::Range(RangeRequest::From(99));
        let ask = async |conditions: ReadConditions| {
            let target = bench.target("key");
            bench.engine.get(&bench.ctx, target, &conditions, beyond).await.map(drop)
        };
        let tags = |tags: &[_]| Some(ETagMatch::Tags(tags.to_vec()));
        let held = ReadConditions { if_none_match: tags(&[tag]), ..Default::default() };
        match ask(held).await {
            Err(EngineError::NotModified(info)) => assert_eq!(info.etag, tag),
            other => panic!("{other:?}"),
        }
        let other = ReadConditions { if_match: tags(&[]), ..Default::default() };
        refused!(ask(other).await, EngineError::PreconditionFailed);
        let same = ReadConditions { if_match: tags(&[tag]), ..Default::default() };
        refused!(ask(same).await, EngineError::RangeNotSatisfiable { size: 5 });
    });
}

#[test]
fn a_copy_has_bytes_metadata_and_checksum() {
    block_on(async {
        let bench = Bench::new().await;
        let bytes = long();
        let source = TestSource::new(&bytes).with_checksum(ChecksumAlgorithm::Sha1);
        let digests = source.digests();
        bench.put("from", described("from"), source).await;
        let receipt = bench.engine.copy(&bench.ctx, bench.copy("from", "to")).await.unwrap();
        assert_eq!((receipt.etag, receipt.checksum), (digests.etag, digests.checksum));
        assert_eq!(bench.get("to", Selection::Whole).await.unwrap(), bytes);

        let elsewhere = name("elsewhere");
        bench.engine.create_container(&bench.ctx, &elsewhere).await.unwrap();
        let destination = Target { container: &elsewhere, ..bench.target("to") };
        let request = CopyRequest {
            destination,
            metadata: CopyMetadata::Replace(Metadata::default()),
            checksum: Some(ChecksumAlgorithm::Crc32c),
            ..bench.copy("from", "to")
        };
        let receipt = bench.engine.copy(&bench.ctx, request).await.unwrap();
        let checksum = TestSource::new(&bytes).with_checksum(ChecksumAlgorithm::Crc32c);
        assert_eq!(receipt.checksum, checksum.digests().checksum);
        let conditions = ReadConditions::default();
        let head = bench.engine.head(&bench.ctx, destination, &conditions, Selection::Whole);
        assert_eq!(head.await.unwrap().info.metadata, Metadata::default());

        bench.put("plain", WriteSpec::default(), TestSource::new(b"plain")).await;
        let receipt = bench.engine.copy(&bench.ctx, bench.copy("plain", "to")).await.unwrap();
        let checksum = receipt.checksum.unwrap();
        assert_eq!(
            (checksum.algorithm, checksum.kind),
            (ChecksumAlgorithm::Crc64Nvme, ChecksumKind::FullObject)
        );
    });
}

#[test]
fn a_copy_onto_itself_replaces_the_metadata() {
    block_on(async {
        let bench = Bench::new().await;
        bench.put("key", described("old"), TestSource::new(&long())).await;
        let metadata = CopyMetadata::Replace(described("new").metadata);
        let request = CopyRequest { metadata, ..bench.copy("key", "key") };
        bench.engine.copy(&bench.ctx, request).await.unwrap();
        assert_eq!(bench.get("key", Selection::Whole).await.unwrap(), long());
        let conditions = ReadConditions::default();
        let head =
            bench.engine.head(&bench.ctx, bench.target("key"), &conditions, Selection::Whole);
        let info = head.await.unwrap().info;
        assert_eq!(info.metadata.get(MetadataField::User("text")), Some("new"));
    });
}

#[test]
fn a_copy_says_whose_fault_it_was() {
    block_on(async {
        let bench = Bench::new().await;
        bench.put("from", WriteSpec::default(), TestSource::new(&long())).await;
        bench.put("to", WriteSpec::default(), TestSource::new(b"before")).await;
        let copy = async |request| bench.engine.copy(&bench.ctx, request).await;
        refused!(copy(bench.copy("missing", "to")).await, EngineError::CopySourceMissing);
        let elsewhere = name("elsewhere");
        let source = Target { container: &elsewhere, ..bench.target("from") };
        refused!(
            copy(CopyRequest { source, ..bench.copy("from", "to") }).await,
            EngineError::Driver(DriverError::NoSuchContainer)
        );
        let held = ReadConditions { if_none_match: Some(ETagMatch::Any), ..Default::default() };
        let request = CopyRequest { source_conditions: held, ..bench.copy("from", "to") };
        refused!(copy(request).await, EngineError::PreconditionFailed);
        let request = CopyRequest { condition: WriteCondition::Absent, ..bench.copy("from", "to") };
        refused!(copy(request).await, EngineError::Driver(DriverError::PreconditionFailed));
        bench.faults.fail_after(Call::Next, When::Before, 2, DriverError::Corrupt);
        let failed = copy(bench.copy("from", "to")).await;
        refused!(failed, EngineError::Driver(DriverError::Corrupt));
        bench.faults.fail_next(Call::Put, When::Before, DriverError::Full);
        let failed = copy(bench.copy("from", "to")).await;
        refused!(failed, EngineError::Driver(DriverError::Full));
        assert_eq!(bench.get("to", Selection::Whole).await.unwrap(), b"before");
    });
}

#[test]
fn a_part_may_be_copied_from_a_range() {
    block_on(async {
        let bench = Bench::new().await;
        let bytes = long();
        bench.put("from", WriteSpec::default(), TestSource::new(&bytes)).await;
        let checksum = Some((ChecksumAlgorithm::Sha256, ChecksumKind::Composite));
        let spec = UploadSpec { checksum, ..UploadSpec::default() };
        let upload =
            bench.engine.create_upload(&bench.ctx, bench.target("to"), spec).await.unwrap();
        let copy_part = async |number, range| {
            let plain = bench.copy_part("from", "to", upload);
            let request = CopyPartRequest { number, range, ..plain };
            bench.engine.copy_part(&bench.ctx, request).await
        };
        let first = copy_part(1, Some((100, 200_000))).await.unwrap();
        assert_eq!(first.size, 199_901);
        assert_eq!(first.checksum.unwrap().algorithm, ChecksumAlgorithm::Sha256);
        let second = copy_part(2, None).await.unwrap();
        for range in [(5, 4), (0, 240_000), (240_000, 240_001)] {
            let beyond = copy_part(3, Some(range)).await;
            refused!(beyond, EngineError::RangeNotSatisfiable { size: 240_000 });
        }
        let request = bench.copy_part("missing", "to", upload);
        let missing = bench.engine.copy_part(&bench.ctx, request).await;
        refused!(missing, EngineError::CopySourceMissing);
        let request = bench.copy_part("from", "other", upload);
        let other = bench.engine.copy_part(&bench.ctx, request).await;
        refused!(other, EngineError::Driver(DriverError::NoSuchUpload));

        let parts = [first, second].map(|part| CompletePart {
            number: part.number,
            etag: part.etag,
            checksum: part.checksum,
        });
        let completion = Completion {
            parts: &parts,
            condition: WriteCondition::None,
            checksum: None,
            size: None,
            part_size_min: 0,
        };
        let target = bench.target("to");
        bench.engine.complete_upload(&bench.ctx, target, upload, &completion).await.unwrap();
        let whole = [&bytes[100..=200_000], &bytes].concat();
        assert_eq!(bench.get("to", Selection::Whole).await.unwrap(), whole);
        assert_eq!(bench.get("to", Selection::Part(2)).await.unwrap(), bytes);
    });
}

#[test]
fn a_failure_after_the_commit_leaves_the_outcome_unknown() {
    block_on(async {
        let bench = Bench::new().await;
        bench.faults.fail_next(Call::Put, When::After, DriverError::Poisoned);
        let spec = WriteSpec::default();
        let mut source = TestSource::new(b"bytes");
        let put = bench.engine.put(&bench.ctx, bench.target("key"), spec, &mut source).await;
        refused!(put, EngineError::Driver(DriverError::Poisoned));
        assert_eq!(bench.get("key", Selection::Whole).await.unwrap(), b"bytes");
        bench.faults.fail_always(Call::Open, When::Before, DriverError::Overloaded);
        for _ in 0..3 {
            let get = bench.get("key", Selection::Whole).await;
            refused!(get, EngineError::Driver(DriverError::Overloaded));
        }
        bench.faults.clear();
        assert_eq!(bench.get("key", Selection::Whole).await.unwrap(), Bytes::from("bytes"));
    });
}

#[test]
fn containers_of_all_drivers_are_listed_in_order() {
    block_on(async {
        let ctx = Context::internal(TenantId::DEFAULT);
        let (one, two) = (MemoryDriver::new(), MemoryDriver::new());
        let drivers = || {
            let (one, two) = (AnyDriver::Memory(one.clone()), AnyDriver::Memory(two.clone()));
            vec![("one", one), ("two", two)]
        };
        let engine = engine_over(drivers(), &[("m-", "two"), ("m", "one"), ("z", "two")]);
        let names = ["a-1", "m-1", "m-2", "mm-1", "n-1", "z-1", "m-3"];
        for container in names {
            engine.create_container(&ctx, &name(container)).await.unwrap();
        }
        let listed = async |engine: &Engine, limit: usize| {
            let mut query = ContainerQuery { limit, ..ContainerQuery::default() };
            let mut names = Vec::new();
            loop {
                let page = engine.list_containers(&ctx, &query).await.unwrap();
                assert!(page.containers.len() <= limit);
                names.extend(page.containers.iter().map(|info| info.name.to_string()));
                if !page.truncated {
                    return names;
                }
                query.after = names.last().cloned();
            }
        };
        for limit in [1, 2, 3, 7, 1000] {
            let expected = ["a-1", "m-1", "m-2", "m-3", "mm-1", "n-1", "z-1"];
            assert_eq!(listed(&engine, limit).await, expected, "limit {limit}");
        }
        // Under other rules, what lies with a driver that is no longer chosen is out of reach.
        let engine = engine_over(drivers(), &[("m", "one"), ("z", "two")]);
        for limit in [1, 2, 1000] {
            let expected = ["a-1", "mm-1", "n-1", "z-1"];
            assert_eq!(listed(&engine, limit).await, expected, "limit {limit}");
        }
        refused!(
            engine.head_container(&ctx, &name("m-1")).await,
            EngineError::Driver(DriverError::NoSuchContainer)
        );
    });
}

#[test]
fn health_is_that_of_the_worst_driver() {
    let ctx = Context::internal(TenantId::DEFAULT);
    let faults = Faults::default();
    let faulty = AnyDriver::Fault(FaultDriver::new(MemoryDriver::new(), faults.clone()));
    let sound = AnyDriver::Memory(MemoryDriver::new());
    let engine = engine_over(vec![("a", sound.clone()), ("b", faulty), ("c", sound)], &[]);
    for health in [Health::Ready, Health::ReadOnly, Health::Unavailable] {
        faults.set_health(health);
        assert_eq!(engine.health(&ctx), health);
    }
}

#[test]
#[should_panic(expected = "a rule names the driver")]
fn a_rule_for_no_driver_is_refused() {
    let driver = AnyDriver::Memory(MemoryDriver::new());
    let _ = engine_over(vec![("one", driver)], &[("", "two")]);
}
