//! The index behind the local driver: looking a key up and listing 1,000, among 100,000 keys.

use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use vaultaire::context::Context;
use vaultaire::driver::local::{LocalDriver, LocalVolume};
use vaultaire::driver::{BodyError, Driver, OpenArtifact, Source, Target, WriteSpec};
use vaultaire::io::budget::Budget;
use vaultaire::model::{ArtifactKey, ContainerName, Digests, ETag, ListQuery, TenantId};
use vaultaire::runtime::core::{Backend, BlockingPool, block_on};

const KEYS: usize = 100_000;
const PAGE: usize = 1000;

/// One byte.
struct Byte(bool);

impl Source for Byte {
    fn size(&self) -> Option<u64> {
        Some(1)
    }

    async fn read(&mut self, _ctx: &Context, buffer: &mut [u8]) -> Result<usize, BodyError> {
        let left = !std::mem::replace(&mut self.0, true);
        buffer[0] = 1;
        Ok(left.into())
    }

    async fn finish(&mut self, _ctx: &Context) -> Result<Digests, BodyError> {
        Ok(Digests { etag: ETag { hash: [7; 16], parts: 0 }, checksum: None })
    }
}

fn name(number: usize) -> String {
    format!("{:02x}/{number:012}", number.wrapping_mul(0x9E37_79B9) >> 8 & 255)
}

async fn fill(driver: &LocalDriver, ctx: &Context, container: &ContainerName) {
    driver.create_container(ctx, container).await.expect("created");
    stream::iter(0..KEYS)
        .for_each_concurrent(256, |number| async move {
            let text = name(number);
            let key = ArtifactKey::new(&text).expect("a key");
            let target = Target { container, key };
            let put = driver.put(ctx, target, WriteSpec::default(), &mut Byte(false)).await;
            put.expect("put");
        })
        .await;
}

fn bench(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let volume = LocalVolume::open(folder.path(), 1, Budget::new(256 << 20)).expect("opened");
    let container = ContainerName::new("container").expect("a name");
    let ctx = Context::internal(TenantId::DEFAULT);
    block_on(Backend::Uring, &BlockingPool::new(2), async {
        let driver = LocalDriver::start(volume, 0).await.expect("started");
        fill(&driver, &ctx, &container).await;
        let mut group = criterion.benchmark_group("index");
        let mut number = 0;
        // Nothing that is measured waits, so it may be polled outside of the executor's own loop.
        group.bench_function("get", |bencher| {
            bencher.iter_custom(|rounds| {
                let began = Instant::now();
                for _ in 0..rounds {
                    number = (number + 7919) % KEYS;
                    let text = name(number);
                    let key = ArtifactKey::new(&text).expect("a key");
                    let target = Target { container: &container, key };
                    let open = now(driver.open(&ctx, target));
                    assert_eq!(open.expect("it is there").info().size, 1);
                }
                began.elapsed()
            });
        });
        group.throughput(Throughput::Elements(PAGE as u64));
        for (what, delimiter) in [("scan", ""), ("scan with a delimiter", "/")] {
            group.bench_function(what, |bencher| {
                bencher.iter(|| {
                    let query = ListQuery {
                        delimiter: delimiter.to_owned(),
                        after: (delimiter.is_empty()).then(|| name(4242)),
                        limit: PAGE,
                        ..ListQuery::default()
                    };
                    let page = now(driver.list(&ctx, &container, &query)).expect("listed");
                    assert_eq!(page.entries.len(), if delimiter.is_empty() { PAGE } else { 256 });
                });
            });
        }
        group.finish();
        join_all([driver.shutdown()]).await;
    })
    .expect("an executor");
}

fn now<T>(future: impl Future<Output = T>) -> T {
    use futures_util::FutureExt;
    future.now_or_never().expect("the index waits for nothing")
}

criterion_group!(benches, bench);
criterion_main!(benches);
