//! Parsing a request head: a signed GET, and a PUT as an SDK sends it.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use vaultaire::http::head::{FieldSpace, parse};
use vaultaire_benches::signed_head;

fn bench(criterion: &mut Criterion) {
    let (get, _) = signed_head("GET", "/load/ab/000000000042", "", "UNSIGNED-PAYLOAD", &[], None);
    let agent = "aws-sdk-rust/1.3 ua/2.1 api/s3/1.1 os/linux lang/rust/1.90";
    let fields = [
        ("x-amz-decoded-content-length", "4096"),
        ("x-amz-meta-one", "first value"),
        ("x-amz-meta-two", "second value"),
        ("x-amz-sdk-checksum-algorithm", "CRC32"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
        ("x-amz-user-agent", agent),
    ];
    let content = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
    let (put, _) = signed_head("PUT", "/load/ab/000000000042", "", content, &fields, Some(4142));
    let mut group = criterion.benchmark_group("head");
    for (name, head) in [("get", &get), ("put", &put)] {
        group.throughput(Throughput::Bytes(head.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut space = FieldSpace::new();
                let message = parse(black_box(head), &mut space, 64).expect("well formed");
                message.expect("whole").length
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
