//! Leaving an event in a core's ring, the aggregator draining it.

use criterion::{Criterion, criterion_group, criterion_main};
use vaultaire::context::{RequestId, STAGES};
use vaultaire::event::{Operation, Outcome, Record, rings};
use vaultaire::model::TenantId;

const CAPACITY: usize = 4096;

fn bench(criterion: &mut Criterion) {
    let record = Record {
        ended_ms: 1,
        request_id: RequestId(1),
        tenant: TenantId::DEFAULT,
        operation: Operation::Get,
        outcome: Outcome::Ok,
        core: 0,
        status: 200,
        error_code: "",
        container_hash: 1,
        key_hash: 2,
        bytes_in: 0,
        bytes_out: 4096,
        range_offset: 0,
        range_length: 4096,
        total_ns: 7000,
        stages_ns: [100; STAGES],
        cpu_ns: 0,
        batch_id: 0,
        queue_depth: 0,
        cache_hit: true,
    };
    let (emitters, mut collector) = rings(1, CAPACITY);
    let mut group = criterion.benchmark_group("event");
    let mut left = 0;
    group.bench_function("emit and drain", |bencher| {
        bencher.iter(|| {
            emitters[0].emit(record);
            left += 1;
            if left == CAPACITY / 2 {
                collector.drain(drop);
                left = 0;
            }
        });
    });
    assert_eq!(collector.dropped(), 0);
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
