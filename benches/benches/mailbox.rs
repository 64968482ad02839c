//! Messages to another core: sent and received on one thread, and across two threads with 32 in flight.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use vaultaire::shard::bench::{mail_across, mail_here};

const MESSAGES: u64 = 10_000;

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mailbox");
    group.throughput(Throughput::Elements(MESSAGES));
    group.bench_function("one thread", |bencher| bencher.iter(|| mail_here(MESSAGES)));
    group.bench_function("two threads, 32 in flight", |bencher| {
        bencher.iter(|| mail_across(MESSAGES, 32));
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
