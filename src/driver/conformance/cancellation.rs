//! Operations that nobody waits for.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use crate::context::{Cancellation, Context, Interrupted, Monotonic, RequestId};
use crate::driver::{BodyError, Driver, DriverError, OpenArtifact, Reader, WriteSpec};
use crate::model::{ByteRange, TenantId};

use super::{Bench, TestSource, noise, refused};

/// Cancellation, deadlines, and dropped futures.
pub async fn cancellation<D: Driver>(driver: &D) {
    let bench = Bench::new(driver, "cancellation").await;
    for size in [10_000, 300_000, 9 << 20] {
        let bytes = noise(1, size);
        Box::pin(midway(&bench, &bytes)).await;
        Box::pin(dropped(&bench, &bytes)).await;
        Box::pin(reading(&bench, &bytes)).await;
    }
    out_of_time(&bench).await;
    // The driver is none the worse for it.
    bench.put("after", b"after").await;
    bench.expect("after", b"after").await;
}

fn cancellable() -> (Context, Cancellation) {
    let cancellation = Cancellation::default();
    let ctx = Context::new(TenantId::DEFAULT, RequestId(1), Monotonic::NEVER, cancellation.clone());
    (ctx, cancellation)
}

/// A write that is cancelled while its body is taken leaves no trace.
async fn midway<D: Driver>(bench: &Bench<'_, D>, bytes: &[u8]) {
    let (ctx, cancellation) = cancellable();
    let source = TestSource::new(bytes).in_pieces(&[4096]);
    let mut source = source.cancelling_at(bytes.len() / 2, cancellation);
    let spec = WriteSpec::default();
    refused!(
        bench.driver.put(&ctx, bench.target("cancelled"), spec, &mut source).await,
        DriverError::Interrupted(Interrupted::Cancelled)
            | DriverError::Body(BodyError::Interrupted(Interrupted::Cancelled))
    );
    let needless = source.taken() - bytes.len() / 2;
    assert!(needless <= 2 << 20, "{needless} bytes were taken for nobody");
    bench.expect_none("cancelled").await;
    let upload = bench.begin("cancelled").await;
    let (ctx, cancellation) = cancellable();
    let source = TestSource::new(bytes).in_pieces(&[4096]);
    let mut source = source.cancelling_at(bytes.len() / 2, cancellation);
    let part = bench.driver.put_part(&ctx, bench.target("cancelled"), upload, 1, &mut source);
    refused!(
        part.await,
        DriverError::Interrupted(Interrupted::Cancelled)
            | DriverError::Body(BodyError::Interrupted(Interrupted::Cancelled))
    );
    let target = bench.target("cancelled");
    let query = crate::model::PartQuery { after: 0, limit: 10 };
    let page = bench.driver.list_parts(&bench.ctx, target, upload, query).await.expect("list");
    assert!(page.parts.is_empty(), "a cancelled part is not stored");
    bench.driver.abort_upload(&bench.ctx, target, upload).await.expect("abort");
}

/// A write whose future is dropped while it waits for its body leaves no trace.
async fn dropped<D: Driver>(bench: &Bench<'_, D>, bytes: &[u8]) {
    let reached = Rc::new(Cell::new(false));
    let mut source = TestSource::new(bytes).stalling_at(bytes.len() - 1, reached.clone());
    {
        let spec = WriteSpec::default();
        let write = bench.driver.put(&bench.ctx, bench.target("dropped"), spec, &mut source);
        let mut write = pin!(write);
        std::future::poll_fn(|polling| match write.as_mut().poll(polling) {
            Poll::Ready(_) => panic!("a write ended before its body did"),
            Poll::Pending if reached.get() => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        })
        .await;
    }
    bench.expect_none("dropped").await;
    bench.put("dropped", bytes).await;
    bench.expect("dropped", bytes).await;
    bench.delete_if("dropped", crate::model::WriteCondition::None).await.expect("delete");
}

async fn reading<D: Driver>(bench: &Bench<'_, D>, bytes: &[u8]) {
    bench.put("read", bytes).await;
    let (ctx, cancellation) = cancellable();
    let open = bench.driver.open(&ctx, bench.target("read")).await.expect("open");
    let whole = ByteRange::whole(bytes.len() as u64);
    let mut reader = open.read(&ctx, whole).await.expect("read");
    cancellation.cancel();
    refused!(reader.next(&ctx).await, DriverError::Interrupted(Interrupted::Cancelled));
}

async fn out_of_time<D: Driver>(bench: &Bench<'_, D>) {
    let late =
        |deadline| Context::new(TenantId::DEFAULT, RequestId(2), deadline, Cancellation::default());
    let ctx = late(Monotonic(0));
    let spec = WriteSpec::default();
    let mut source = TestSource::new(b"late");
    refused!(
        bench.driver.put(&ctx, bench.target("late"), spec, &mut source).await,
        DriverError::Interrupted(Interrupted::DeadlineExceeded)
            | DriverError::Body(BodyError::Interrupted(Interrupted::DeadlineExceeded))
    );
    bench.expect_none("late").await;
}
