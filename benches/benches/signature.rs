//! Checking the SigV4 signature of a head that was parsed.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use vaultaire::http::head::{FieldSpace, parse};
use vaultaire::s3::auth::Authenticator;
use vaultaire_benches::{NOW_MS, REGION, signed_head, tenants};

fn bench(criterion: &mut Criterion) {
    let authenticator = Authenticator::new(tenants(), REGION);
    let list = "list-type=2&max-keys=1000&prefix=ab%2F&start-after=ab%2F000000000042";
    let mut group = criterion.benchmark_group("signature");
    for (name, path, query) in [("get", "/load/ab/000000000042", ""), ("list", "/load", list)] {
        let (bytes, _) = signed_head("GET", path, query, "UNSIGNED-PAYLOAD", &[], None);
        let mut space = FieldSpace::new();
        let message = parse(&bytes, &mut space, 64).expect("well formed").expect("whole");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                authenticator.authenticate(black_box(&message.head), NOW_MS).expect("well signed")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
