//! Multipart uploads from creation to completion, and everything that may be wrong on the way.

use crate::driver::{
    BodyError, Completion, Driver, DriverError, OpenArtifact, UploadSpec, composite_etag,
};
use crate::model::{
    ByteRange, Checksum, ChecksumAlgorithm, ChecksumKind, CompletePart, ETag, MetadataBuilder,
    MetadataField, PartInfo, PartQuery, PartSpan, UploadId, WriteCondition, WriteReceipt,
};

use super::source::{checksum_of, checksum_value, etag_of};
use super::{Bench, TestSource, noise, refused};

const MIB: usize = 1 << 20;

/// Multipart uploads.
pub async fn multipart<D: Driver>(driver: &D) {
    let bench = Bench::new(driver, "multipart").await;
    Box::pin(from_beginning_to_end(&bench)).await;
    Box::pin(many_parts(&bench)).await;
    Box::pin(replaced_and_unused_parts(&bench)).await;
    Box::pin(refused_completions(&bench)).await;
    Box::pin(conditions(&bench)).await;
    Box::pin(repeated_completion(&bench)).await;
    Box::pin(missing_uploads(&bench)).await;
    Box::pin(failing_parts(&bench)).await;
    Box::pin(checksums(&bench)).await;
}

/// A completion of these parts without further demands.
pub(super) fn plainly(parts: &[CompletePart]) -> Completion<'_> {
    let condition = WriteCondition::None;
    Completion { parts, condition, checksum: None, size: None, part_size_min: 0 }
}

impl<D: Driver> Bench<'_, D> {
    async fn try_part(
        &self,
        key: &str,
        upload: UploadId,
        number: u16,
        source: &mut TestSource,
    ) -> Result<PartInfo, DriverError> {
        self.driver.put_part(&self.ctx, self.target(key), upload, number, source).await
    }

    /// Stores a part and returns how a completion names it.
    pub(super) async fn part(
        &self,
        key: &str,
        upload: UploadId,
        number: u16,
        bytes: &[u8],
    ) -> CompletePart {
        let stored = self.try_part(key, upload, number, &mut TestSource::new(bytes)).await;
        let info = stored.unwrap_or_else(|error| panic!("part {number} of {key:?}: {error}"));
        assert_eq!((info.number, info.size), (number, bytes.len() as u64));
        assert_eq!(info.etag, etag_of(bytes));
        CompletePart { number, etag: info.etag, checksum: None }
    }

    pub(super) async fn complete(
        &self,
        key: &str,
        upload: UploadId,
        completion: &Completion<'_>,
    ) -> Result<WriteReceipt, DriverError> {
        self.driver.complete_upload(&self.ctx, self.target(key), upload, completion).await
    }

    /// Checks that an upload is gone.
    pub(super) async fn expect_no_upload(&self, key: &str, upload: UploadId) {
        let target = self.target(key);
        let head = self.driver.head_upload(&self.ctx, target, upload).await;
        refused!(head, DriverError::NoSuchUpload);
        let query = PartQuery { after: 0, limit: 1 };
        let listed = self.driver.list_parts(&self.ctx, target, upload, query).await;
        refused!(listed, DriverError::NoSuchUpload);
    }

    /// The numbers of an upload's parts.
    async fn part_numbers(&self, key: &str, upload: UploadId) -> Vec<u16> {
        let query = PartQuery { after: 0, limit: 10_000 };
        let page = self.driver.list_parts(&self.ctx, self.target(key), upload, query).await;
        page.expect("the parts").parts.iter().map(|part| part.number).collect()
    }
}

async fn from_beginning_to_end<D: Driver>(bench: &Bench<'_, D>) {
    let mut metadata = MetadataBuilder::default();
    assert!(metadata.push(MetadataField::User("made"), "from parts"));
    let metadata = metadata.finish();
    let spec = UploadSpec { metadata: metadata.clone(), checksum: None };
    let (driver, ctx, target) = (bench.driver, &bench.ctx, bench.target("whole"));
    let upload = driver.create_upload(ctx, target, spec).await.expect("create");
    let info = driver.head_upload(ctx, target, upload).await.expect("head");
    assert_eq!((&info.metadata, info.checksum), (&metadata, None));
    assert!(info.created_ms > 0, "created after 1970");

    let bodies = [noise(1, 5 * MIB), noise(2, 5 * MIB + 4097), noise(3, 70_000), noise(4, 1)];
    let mut parts = Vec::new();
    for number in [3, 1, 4, 2] {
        let body = &bodies[usize::from(number) - 1];
        parts.push(bench.part("whole", upload, number, body).await);
        bench.expect_none("whole").await;
    }
    parts.sort_unstable_by_key(|part| part.number);
    let whole = bodies.concat();
    let completion = Completion { size: Some(whole.len() as u64), ..plainly(&parts) };
    let receipt = bench.complete("whole", upload, &completion).await.expect("complete");
    assert_eq!(receipt.size, whole.len() as u64);
    assert_eq!(receipt.etag, composite_etag(parts.iter().map(|part| part.etag)));
    assert_eq!(receipt.etag.parts, 4);

    let open = bench.open("whole").await;
    assert_eq!((open.info().etag, open.info().modified_ms), (receipt.etag, receipt.modified_ms));
    assert_eq!(open.info().metadata, metadata);
    assert_eq!(open.part_count(), Some(4));
    let mut offset = 0;
    for (body, number) in bodies.iter().zip(1..) {
        let range = ByteRange { offset, length: body.len() as u64 };
        let checksum = parts[usize::from(number) - 1].checksum;
        let span = PartSpan { range, checksum };
        assert_eq!(open.part(ctx, number).await.expect("part"), Some(span));
        let read = bench.read("whole", range.offset, range.length).await;
        assert!(read == *body, "part {number} differs");
        offset = range.end();
    }
    assert_eq!(open.part(ctx, 5).await.expect("part"), None);
    assert_eq!(open.part(ctx, 0).await.expect("part"), None);
    let middle = open.parts(ctx, PartQuery { after: 1, limit: 2 }).await.expect("parts");
    let lengths: Vec<_> = middle.iter().map(|part| part.range.length).collect();
    assert_eq!(lengths, [bodies[1].len() as u64, bodies[2].len() as u64]);
    assert!(open.parts(ctx, PartQuery { after: 4, limit: 9 }).await.expect("parts").is_empty());
    bench.expect("whole", &whole).await;
    let (start, end) = (5 * MIB - 3, 10 * MIB + 4097 + 70_001);
    let read = bench.read("whole", start as u64, (end - start) as u64).await;
    assert!(read == whole[start..end], "a range over all parts");
    bench.expect_no_upload("whole", upload).await;
}

/// More parts than fit beside a key.
async fn many_parts<D: Driver>(bench: &Bench<'_, D>) {
    let upload = bench.begin("many").await;
    let body = |number: u16| noise(u64::from(number), 1 + usize::from(number) % 700);
    let numbers: Vec<u16> = (1..=300).collect();
    let mut parts = Vec::new();
    for some in numbers.chunks(50) {
        let store = |number: u16| {
            Box::pin(async move { bench.part("many", upload, number, &body(number)).await })
        };
        parts.extend(futures_util::future::join_all(some.iter().copied().map(store)).await);
    }
    assert_eq!(bench.part_numbers("many", upload).await, numbers);
    let mut paged = Vec::new();
    loop {
        let query = PartQuery { after: paged.last().copied().unwrap_or(0), limit: 128 };
        let page = bench.driver.list_parts(&bench.ctx, bench.target("many"), upload, query).await;
        let page = page.expect("a page");
        assert!(page.parts.len() <= 128, "a page keeps to its limit");
        paged.extend(page.parts.iter().map(|part| part.number));
        if !page.truncated {
            break;
        }
    }
    assert_eq!(paged, numbers);
    bench.complete("many", upload, &plainly(&parts)).await.expect("complete");
    let whole: Vec<u8> = numbers.iter().flat_map(|number| body(*number)).collect();
    bench.expect("many", &whole).await;
    let open = bench.open("many").await;
    assert_eq!(open.part_count(), Some(300));
    let last = open.part(&bench.ctx, 300).await.expect("part").expect("the last part");
    assert_eq!(last.range.end(), whole.len() as u64);
    assert_eq!(last.range.length, body(300).len() as u64);
}

async fn replaced_and_unused_parts<D: Driver>(bench: &Bench<'_, D>) {
    let upload = bench.begin("replaced").await;
    let old = bench.part("replaced", upload, 7, b"old").await;
    bench.part("replaced", upload, 9, &noise(9, 100_000)).await;
    let first = bench.part("replaced", upload, 2, b"first").await;
    let new = bench.part("replaced", upload, 7, &noise(7, 50_000)).await;
    let last = bench.part("replaced", upload, 10_000, b"").await;
    assert_eq!(bench.part_numbers("replaced", upload).await, [2, 7, 9, 10_000]);
    let stale = [first, old, last];
    refused!(
        bench.complete("replaced", upload, &plainly(&stale)).await,
        DriverError::InvalidPart(7)
    );
    let parts = [first, new, last];
    bench.complete("replaced", upload, &plainly(&parts)).await.expect("complete");
    bench.expect("replaced", &[b"first".as_slice(), &noise(7, 50_000)].concat()).await;
    assert_eq!(bench.open("replaced").await.part_count(), Some(3));

    let upload = bench.begin("replaced").await;
    let empty = bench.part("replaced", upload, 1, b"").await;
    let receipt = bench.complete("replaced", upload, &plainly(&[empty])).await.expect("complete");
    assert_eq!((receipt.size, receipt.etag.parts), (0, 1));
    bench.expect("replaced", b"").await;
}

async fn refused_completions<D: Driver>(bench: &Bench<'_, D>) {
    bench.put("refused", b"before").await;
    let upload = bench.begin("refused").await;
    let one = bench.part("refused", upload, 1, &noise(1, 2000)).await;
    let two = bench.part("refused", upload, 2, &noise(2, 999)).await;
    let three = bench.part("refused", upload, 3, b"end").await;
    let complete =
        async |parts: &[CompletePart]| bench.complete("refused", upload, &plainly(parts)).await;
    assert!(complete(&[]).await.is_err(), "a completion names parts");
    refused!(complete(&[two, one]).await, DriverError::InvalidPartOrder);
    refused!(complete(&[one, one]).await, DriverError::InvalidPartOrder);
    let missing = CompletePart { number: 4, ..one };
    refused!(complete(&[one, missing]).await, DriverError::InvalidPart(4));
    let other = CompletePart { etag: ETag { hash: [1; 16], parts: 0 }, ..two };
    refused!(complete(&[one, other, three]).await, DriverError::InvalidPart(2));
    let other = Some(checksum_of(ChecksumAlgorithm::Crc32, b"other"));
    let other = CompletePart { checksum: other, ..two };
    refused!(complete(&[one, other, three]).await, DriverError::InvalidPart(2));

    let all = [one, two, three];
    let at_least = Completion { part_size_min: 1000, ..plainly(&all) };
    refused!(
        bench.complete("refused", upload, &at_least).await,
        DriverError::PartTooSmall { number: 2, size: 999, size_min: 1000 }
    );
    for size in [0, 3001, 3003] {
        let declared = Completion { size: Some(size), ..plainly(&all) };
        let completed = bench.complete("refused", upload, &declared).await;
        refused!(completed, DriverError::CompletionMismatch);
    }
    let declared = checksum_of(ChecksumAlgorithm::Crc64Nvme, b"something else");
    let declared = Completion { checksum: Some(declared), ..plainly(&all) };
    let completed = bench.complete("refused", upload, &declared).await;
    refused!(completed, DriverError::CompletionMismatch);

    bench.expect("refused", b"before").await;
    let fewer = [one, three];
    let fine = Completion { part_size_min: 2000, size: Some(2003), ..plainly(&fewer) };
    bench.complete("refused", upload, &fine).await.expect("nothing of this ended the upload");
    bench.expect("refused", &[&noise(1, 2000)[..], b"end"].concat()).await;
}

async fn conditions<D: Driver>(bench: &Bench<'_, D>) {
    if !bench.driver.capabilities().conditional_writes {
        return;
    }
    let upload = bench.begin("conditional").await;
    let parts = [bench.part("conditional", upload, 1, b"parts").await];
    let under = |condition| Completion { condition, ..plainly(&parts) };
    refused!(
        bench.complete("conditional", upload, &under(WriteCondition::Present)).await,
        DriverError::NoSuchArtifact
    );
    let current = bench.put("conditional", b"plain").await.etag;
    let other = WriteCondition::Matches(ETag { hash: [1; 16], parts: 0 });
    for condition in [WriteCondition::Absent, other] {
        refused!(
            bench.complete("conditional", upload, &under(condition)).await,
            DriverError::PreconditionFailed
        );
        bench.expect("conditional", b"plain").await;
    }
    let matching = under(WriteCondition::Matches(current));
    let receipt = bench.complete("conditional", upload, &matching).await.expect("matches");
    bench.expect("conditional", b"parts").await;

    let uploads = [bench.begin("raced").await, bench.begin("raced").await];
    for upload in uploads {
        bench.part("raced", upload, 1, b"parts").await;
    }
    let race = uploads.map(|upload| {
        let absent = under(WriteCondition::Absent);
        async move { bench.complete("raced", upload, &absent).await }
    });
    let won = futures_util::future::join_all(race.map(Box::pin)).await;
    let won: Vec<_> = won.into_iter().filter_map(Result::ok).collect();
    assert_eq!(won.len(), 1, "one completion wins");
    assert_eq!(won[0].etag, receipt.etag);
}

async fn repeated_completion<D: Driver>(bench: &Bench<'_, D>) {
    let upload = bench.begin("repeated").await;
    let parts = [bench.part("repeated", upload, 1, b"parts").await];
    let completion = Completion { condition: WriteCondition::Absent, ..plainly(&parts) };
    let first = bench.complete("repeated", upload, &completion).await.expect("complete");
    for _ in 0..2 {
        let again = bench.complete("repeated", upload, &completion).await;
        assert_eq!(again.expect("the same answer"), first);
    }
    bench.expect_no_upload("repeated", upload).await;
    bench.put("repeated", b"newer").await;
    let late = bench.complete("repeated", upload, &completion).await;
    refused!(late, DriverError::NoSuchUpload);
    bench.expect("repeated", b"newer").await;
    bench.delete_if("repeated", WriteCondition::None).await.expect("delete");
    let late = bench.complete("repeated", upload, &completion).await;
    refused!(late, DriverError::NoSuchUpload);
    bench.expect_none("repeated").await;
}

async fn missing_uploads<D: Driver>(bench: &Bench<'_, D>) {
    let aborted = bench.begin("aborted").await;
    let parts = [bench.part("aborted", aborted, 1, &noise(1, 200_000)).await];
    let target = bench.target("aborted");
    bench.driver.abort_upload(&bench.ctx, target, aborted).await.expect("abort");
    let live = bench.begin("live").await;
    let cases = [("aborted", aborted), ("aborted", live), ("live", UploadId(12)), ("x", live)];
    for (key, upload) in cases {
        bench.expect_no_upload(key, upload).await;
        let part = bench.try_part(key, upload, 1, &mut TestSource::new(b"late")).await;
        refused!(part, DriverError::NoSuchUpload);
        let completed = bench.complete(key, upload, &plainly(&parts)).await;
        refused!(completed, DriverError::NoSuchUpload);
        let abort = bench.driver.abort_upload(&bench.ctx, bench.target(key), upload).await;
        refused!(abort, DriverError::NoSuchUpload);
    }
    bench.expect_none("aborted").await;
    assert!(bench.part_numbers("live", live).await.is_empty());
    bench.driver.abort_upload(&bench.ctx, bench.target("live"), live).await.expect("abort");
}

async fn failing_parts<D: Driver>(bench: &Bench<'_, D>) {
    let upload = bench.begin("failing").await;
    for size in [100, 300_000] {
        let plain = TestSource::new(&noise(1, size));
        let sources = [
            plain.clone().failing_at(size / 2, BodyError::Disconnected),
            plain.undeclared().refusing(BodyError::Sha256Mismatch),
        ];
        for mut source in sources {
            let mut again = source.clone();
            let fresh = bench.try_part("failing", upload, 1, &mut source).await;
            refused!(fresh, DriverError::Body(BodyError::Disconnected | BodyError::Sha256Mismatch));
            bench.part("failing", upload, 2, b"kept").await;
            refused!(bench.try_part("failing", upload, 2, &mut again).await, DriverError::Body(_));
            assert_eq!(bench.part_numbers("failing", upload).await, [2]);
        }
    }
    let kept = CompletePart { number: 2, etag: etag_of(b"kept"), checksum: None };
    bench.complete("failing", upload, &plainly(&[kept])).await.expect("complete");
    bench.expect("failing", b"kept").await;
}

async fn checksums<D: Driver>(bench: &Bench<'_, D>) {
    use ChecksumAlgorithm::{Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
    use ChecksumKind::{Composite, FullObject};
    let named = [
        (Crc32, FullObject),
        (Crc32c, FullObject),
        (Crc64Nvme, FullObject),
        (Crc32, Composite),
        (Crc32c, Composite),
        (Sha1, Composite),
        (Sha256, Composite),
    ];
    for (algorithm, kind) in named {
        Box::pin(checksum_of_parts(bench, algorithm, kind)).await;
    }
    Box::pin(unnamed_checksum(bench)).await;
}

/// Without a checksum named at its beginning, the whole has a CRC-64/NVME if all parts have one.
async fn unnamed_checksum<D: Driver>(bench: &Bench<'_, D>) {
    let key = "checksum-unnamed";
    let (nvme, other) = (ChecksumAlgorithm::Crc64Nvme, ChecksumAlgorithm::Crc32);
    let expected = checksum_of(nvme, b"onetwo");
    for (second, expected) in [(Some(nvme), Some(expected)), (Some(other), None), (None, None)] {
        let upload = bench.begin(key).await;
        let mut parts = Vec::new();
        for (number, body, algorithm) in [(1, b"one", Some(nvme)), (2, b"two", second)] {
            let plain = TestSource::new(body);
            let mut source = match algorithm {
                Some(algorithm) => plain.with_checksum(algorithm),
                None => plain,
            };
            let info = bench.try_part(key, upload, number, &mut source).await.expect("part");
            parts.push(CompletePart { number, etag: info.etag, checksum: None });
        }
        let receipt = bench.complete(key, upload, &plainly(&parts)).await.expect("complete");
        assert_eq!(receipt.checksum, expected, "the second part with {second:?}");
    }
}

async fn checksum_of_parts<D: Driver>(
    bench: &Bench<'_, D>,
    algorithm: ChecksumAlgorithm,
    kind: ChecksumKind,
) {
    let key = format!("checksum-{algorithm:?}-{kind:?}");
    let spec = UploadSpec { checksum: Some((algorithm, kind)), ..UploadSpec::default() };
    let upload = bench.driver.create_upload(&bench.ctx, bench.target(&key), spec).await;
    let upload = upload.expect("create");
    let bodies = [noise(1, 100_000), noise(2, 70_001), noise(3, 5), Vec::new()];
    let mut parts = Vec::new();
    for (body, number) in bodies.iter().zip(1..) {
        let mut source = TestSource::new(body).with_checksum(algorithm);
        let info = bench.try_part(&key, upload, number, &mut source).await.expect("part");
        assert_eq!(info.checksum, source.digests().checksum);
        parts.push(CompletePart { number, etag: info.etag, checksum: info.checksum });
    }
    let values: Vec<u8> =
        bodies.iter().flat_map(|body| checksum_of(algorithm, body).value().to_vec()).collect();
    let expected: Checksum = match kind {
        ChecksumKind::FullObject => checksum_of(algorithm, &bodies.concat()),
        ChecksumKind::Composite => checksum_value(algorithm, kind, &values),
    };
    let wrong = checksum_value(algorithm, kind, b"wrong");
    let declared = Completion { checksum: Some(wrong), ..plainly(&parts) };
    refused!(bench.complete(&key, upload, &declared).await, DriverError::CompletionMismatch);
    let declared = Completion { checksum: Some(expected), ..plainly(&parts) };
    let receipt = bench.complete(&key, upload, &declared).await.expect("complete");
    assert_eq!(receipt.checksum, Some(expected), "{key}");
    assert_eq!(bench.open(&key).await.info().checksum, Some(expected), "{key}");
}
