use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Wake, Waker};

use super::*;
use crate::context::Monotonic;

/// A clock whose sleeps never end.
#[derive(Clone)]
struct Frozen;

impl Clock for Frozen {
    fn now(&self) -> Monotonic {
        Monotonic(0)
    }

    fn wall_ms(&self) -> i64 {
        0
    }

    async fn sleep(&self, _duration: Duration) {
        std::future::pending::<()>().await;
    }
}

/// A clock whose sleeps are over at once.
#[derive(Clone)]
struct Hasty;

impl Clock for Hasty {
    fn now(&self) -> Monotonic {
        Monotonic(0)
    }

    fn wall_ms(&self) -> i64 {
        0
    }

    async fn sleep(&self, _duration: Duration) {}
}

#[derive(Default)]
struct CountingWaker(AtomicU64);

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll<F: Future + ?Sized>(
    future: &mut Pin<Box<F>>,
    waker: &Arc<CountingWaker>,
) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(waker))))
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn never_exceeds_the_total() {
    let budget = Budget::new(100);
    let first = budget.try_reserve(60).unwrap();
    assert!(budget.try_reserve(41).is_none());
    let second = budget.try_reserve(40).unwrap();
    assert_eq!(budget.in_use(), 100);
    drop(first);
    assert_eq!(budget.in_use(), 40);
    drop(second);
    assert_eq!(budget.in_use(), 0);
    assert!(budget.try_reserve(u64::MAX).is_none());
}

#[test]
fn parts_add_up() {
    let budget = Budget::new(100);
    let mut whole = budget.try_reserve(90).unwrap();
    let part = whole.split(30);
    assert_eq!((whole.bytes(), part.bytes(), budget.in_use()), (60, 30, 90));
    whole.shrink_to(50);
    assert_eq!(budget.in_use(), 80);
    whole.merge(part);
    assert_eq!((whole.bytes(), budget.in_use()), (80, 80));
    drop(whole);
    assert_eq!(budget.in_use(), 0);
}

#[test]
fn waiters_are_served_in_order_and_not_overtaken() {
    let budget = Budget::new(100);
    let held = budget.try_reserve(100).unwrap();
    let (large_waker, small_waker) = (Arc::default(), Arc::default());
    let mut large = Box::pin(budget.reserve(80, MINUTE, &Frozen));
    assert!(poll(&mut large, &large_waker).is_pending());
    let mut small = Box::pin(budget.reserve(10, MINUTE, &Frozen));
    assert!(poll(&mut small, &small_waker).is_pending());

    let mut held = held;
    held.shrink_to(70);
    // 30 are free, enough for the small one, but it is not its turn.
    assert!(poll(&mut small, &small_waker).is_pending());
    assert!(budget.try_reserve(1).is_none(), "newcomers do not overtake");

    drop(held);
    assert_eq!(large_waker.0.load(Ordering::SeqCst), 1);
    assert_eq!(small_waker.0.load(Ordering::SeqCst), 1);
    let (Poll::Ready(Ok(large)), Poll::Ready(Ok(small))) =
        (poll(&mut large, &large_waker), poll(&mut small, &small_waker))
    else {
        panic!("both are served")
    };
    assert_eq!(large.bytes() + small.bytes(), budget.in_use());
}

#[test]
fn giving_up_lets_the_next_one_in() {
    let budget = Budget::new(100);
    let held = budget.try_reserve(50).unwrap();
    let (first_waker, second_waker) = (Arc::default(), Arc::default());
    let mut first = Box::pin(budget.reserve(60, MINUTE, &Frozen));
    assert!(poll(&mut first, &first_waker).is_pending());
    let mut second = Box::pin(budget.reserve(50, MINUTE, &Frozen));
    assert!(poll(&mut second, &second_waker).is_pending());
    drop(first);
    assert_eq!(second_waker.0.load(Ordering::SeqCst), 1);
    assert!(matches!(poll(&mut second, &second_waker), Poll::Ready(Ok(_))));
    drop((second, held));
    assert_eq!(budget.in_use(), 0);
}

#[test]
fn granted_and_dropped_is_given_back() {
    let budget = Budget::new(100);
    let held = budget.try_reserve(100).unwrap();
    let waker = Arc::default();
    let mut waiting = Box::pin(budget.reserve(70, MINUTE, &Frozen));
    assert!(poll(&mut waiting, &waker).is_pending());
    drop(held);
    assert_eq!(budget.in_use(), 70, "granted before it is polled");
    drop(waiting);
    assert_eq!(budget.in_use(), 0);
}

#[test]
fn patience_ends_and_the_impossible_is_refused_at_once() {
    let budget = Budget::new(100);
    let held = budget.try_reserve(100).unwrap();
    let waker = Arc::default();
    let mut hasty = Box::pin(budget.reserve(1, MINUTE, &Hasty));
    assert!(matches!(poll(&mut hasty, &waker), Poll::Ready(Err(Exhausted))));
    let mut huge = Box::pin(budget.reserve(101, MINUTE, &Frozen));
    assert!(matches!(poll(&mut huge, &waker), Poll::Ready(Err(Exhausted))));
    drop((hasty, huge, held));
    assert!(!budget.is_contended());
    assert!(budget.try_reserve(100).is_some());
}

struct Hoard(Mutex<Vec<Reservation>>);

impl Shrink for Hoard {
    fn shrink(&self, _bytes: u64) {
        let freed = lock(&self.0).pop();
        drop(freed);
    }
}

#[test]
fn caches_give_way_before_anybody_waits() {
    let budget = Budget::new(100);
    let hoard = Arc::new(Hoard(Mutex::default()));
    let weak: Weak<Hoard> = Arc::downgrade(&hoard);
    budget.register_cache(weak);
    lock(&hoard.0).push(budget.try_reserve(80).unwrap());
    let wanted = budget.try_reserve(50).unwrap();
    assert_eq!(budget.in_use(), wanted.bytes());
}

#[test]
fn threads_wake_one_another() {
    let budget = Budget::new(8);
    let peak = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..500 {
                    let bytes = 1 + round % 8;
                    let waker = ThreadWaker(std::thread::current());
                    let waker = Waker::from(Arc::new(waker));
                    let mut future = Box::pin(budget.reserve(bytes, MINUTE, &Frozen));
                    let reservation = loop {
                        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                            Poll::Ready(outcome) => break outcome.unwrap(),
                            Poll::Pending => std::thread::park(),
                        }
                    };
                    peak.fetch_max(budget.in_use(), Ordering::Relaxed);
                    drop(reservation);
                }
            });
        }
    });
    assert_eq!(budget.in_use(), 0);
    assert!(peak.load(Ordering::Relaxed) <= 8);
}

struct ThreadWaker(std::thread::Thread);

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
