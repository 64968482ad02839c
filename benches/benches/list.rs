//! A whole LIST of 1,000 keys above the memory driver: signature, listing and XML.

use std::rc::Rc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::FutureExt;
use vaultaire::context::{Cancellation, Context, Monotonic, RequestId};
use vaultaire::driver::memory::MemoryDriver;
use vaultaire::engine::{AnyDriver, DriverRules, Engine};
use vaultaire::http::ResponseBody;
use vaultaire::http::head::{FieldSpace, parse};
use vaultaire::io::Clock;
use vaultaire::io::budget::Budget;
use vaultaire::model::TenantId;
use vaultaire::s3::{Reply, Service, ServiceConfig};
use vaultaire_benches::{Memory, NOW_MS, REGION, signed_head, tenants};

const KEYS: usize = 1000;

/// Stands still.
#[derive(Clone)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Monotonic {
        Monotonic(0)
    }

    fn wall_ms(&self) -> i64 {
        NOW_MS
    }

    async fn sleep(&self, _duration: Duration) {}
}

fn serve(service: &Service, head: &[u8], body: &[u8]) -> Reply {
    let mut space = FieldSpace::new();
    let message = parse(head, &mut space, 64).expect("well formed").expect("whole");
    let never = Monotonic::NEVER;
    let ctx = Context::new(TenantId::DEFAULT, RequestId(1), never, Cancellation::default());
    let mut body = Memory::new(body);
    service.serve(ctx, &message.head, &mut body).now_or_never().expect("never waits")
}

fn bench(criterion: &mut Criterion) {
    let driver = AnyDriver::Memory(MemoryDriver::with_clock(Still));
    let rules = DriverRules::new(vec![("memory".to_owned(), driver)], vec![]);
    let config = ServiceConfig {
        region: REGION.to_owned(),
        domains: vec![],
        tenants: tenants(),
        body_bytes_max: 1 << 30,
    };
    let budget = Budget::new(256 << 20);
    let service = Service::new(config, Rc::new(Engine::new(rules)), budget, Still);
    let put = |path: &str, body: &[u8]| {
        let content = "UNSIGNED-PAYLOAD";
        let (head, _) = signed_head("PUT", path, "", content, &[], Some(body.len()));
        assert_eq!(serve(&service, &head, body).response.status, 200);
    };
    put("/load", b"");
    for number in 0..KEYS {
        put(&format!("/load/{:02x}/{number:012}", number % 256), b"body");
    }
    let query = "list-type=2&max-keys=1000";
    let (head, _) = signed_head("GET", "/load", query, "UNSIGNED-PAYLOAD", &[], None);
    let mut group = criterion.benchmark_group("list");
    group.throughput(Throughput::Elements(KEYS as u64));
    group.bench_function("1,000 keys as XML", |bencher| {
        bencher.iter(|| {
            let reply = serve(&service, &head, b"");
            let ResponseBody::Bytes(bytes) = reply.response.body else { panic!("a document") };
            assert!(bytes.len() > 100 * KEYS);
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
