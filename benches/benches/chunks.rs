//! Taking 1 MiB of signed chunks apart, every signature and every promise checked: the whole of a PUT's body but the disk.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::FutureExt;
use vaultaire::context::Context;
use vaultaire::driver::Source;
use vaultaire::http::head::{FieldSpace, parse};
use vaultaire::model::TenantId;
use vaultaire::s3::auth::{Authenticator, BodySource, ChecksumPlan};
use vaultaire_benches::{Memory, NOW_MS, REGION, chunked_put, noise, tenants};

const LENGTH: usize = 1 << 20;

fn bench(criterion: &mut Criterion) {
    let authenticator = Authenticator::new(tenants(), REGION);
    let (head, body) = chunked_put("/load/key", &noise(LENGTH));
    let mut space = FieldSpace::new();
    let message = parse(&head, &mut space, 64).expect("well formed").expect("whole");
    let identity = authenticator.authenticate(&message.head, NOW_MS).expect("well signed");
    let ctx = Context::internal(TenantId::DEFAULT);
    let mut buffer = vec![0; 256 << 10];
    let mut group = criterion.benchmark_group("chunks");
    group.throughput(Throughput::Bytes(LENGTH as u64));
    group.bench_function("signed", |bencher| {
        bencher.iter(|| {
            let mut body = Memory::new(&body);
            let plan = ChecksumPlan::default();
            let mut source =
                BodySource::new(&message.head, &identity, &mut body, 1 << 30, plan).ok()?;
            let all = async {
                while source.read(&ctx, &mut buffer).await.expect("no error") > 0 {}
                source.finish(&ctx).await.expect("well signed")
            };
            Some(all.now_or_never().expect("never waits"))
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
