//! MD5 of one stream, and of several that share the lanes of one kernel.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use vaultaire::runtime::core::{Backend, BlockingPool, block_on};
use vaultaire::runtime::yield_now;
use vaultaire::stdx::md5::{Md5, digest, update_together};
use vaultaire_benches::noise;

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("md5");
    for length in [4 << 10, 1 << 20] {
        let bytes = noise(length);
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(format!("one stream, {length} bytes"), |bencher| {
            bencher.iter(|| digest(black_box(&bytes)));
        });
    }
    let length = 1 << 20;
    let bytes = Bytes::from(noise(length));
    for streams in [2, 4, 8, 16] {
        group.throughput(Throughput::Bytes((streams * length) as u64));
        group.bench_function(format!("{streams} streams, {length} bytes each"), |bencher| {
            bencher.iter_custom(|rounds| {
                block_on(Backend::Uring, &BlockingPool::new(1), async {
                    let began = std::time::Instant::now();
                    for _ in 0..rounds {
                        let all = (0..streams).map(|_| {
                            update_together(Md5::default(), bytes.clone(), 0..length, yield_now)
                        });
                        for (md5, _) in join_all(all).await {
                            black_box(md5.finish());
                        }
                    }
                    began.elapsed()
                })
                .expect("an executor")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
