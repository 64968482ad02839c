//! When requests begin.
//!
//! In open loop the times are fixed beforehand. A connection that is free takes the next of them, late or not, and
//! latency counts from that time: what a stalled server delays is seen in every request behind it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::args::{Args, Arrivals};
use crate::keys::Draw;

/// Hands out the times of one thread.
pub(crate) struct Pace {
    end: Instant,
    open: Option<Open>,
}

struct Open {
    next: Cell<Instant>,
    gap: Duration,
    arrivals: Arrivals,
    draw: RefCell<Draw>,
    waiting: Rc<Waiting>,
}

impl Pace {
    /// A request begins when there is a connection for it, until `end`.
    pub(crate) fn closed(end: Instant) -> Self {
        Self { end, open: None }
    }

    /// Of thread number `thread`, from `begin` to `end`.
    pub(crate) fn new(
        args: &Args,
        thread: usize,
        begin: Instant,
        end: Instant,
    ) -> Result<Self, String> {
        let Some(rate) = args.rate else { return Ok(Self::closed(end)) };
        let gap =
            Duration::try_from_secs_f64(f64::from(u32::try_from(args.threads).unwrap_or(1)) / rate)
                .map_err(|_| format!("no rate: {rate}"))?;
        let shift = gap.mul_f64(f64::from(u32::try_from(thread).unwrap_or(0)))
            / u32::try_from(args.threads).unwrap_or(1);
        let waiting = Rc::new(Waiting::default());
        monoio::spawn(wake_in_time(waiting.clone()));
        let open = Open {
            next: Cell::new(begin + shift),
            gap,
            arrivals: args.arrivals,
            draw: RefCell::new(Draw::new(args, 0x7061_6365 + thread as u64)),
            waiting,
        };
        Ok(Self { end, open: Some(open) })
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(crate) fn end(&self) -> Instant {
        self.end
    }

    /// Waits for the time of the next request and returns it; `None` when all is over.
    pub(crate) async fn next(&self) -> Option<Instant> {
        let Some(open) = &self.open else {
            let now = Instant::now();
            return (now < self.end).then_some(now);
        };
        let time = open.next.get();
        if time >= self.end {
            return None;
        }
        let gap = match open.arrivals {
            Arrivals::Even => open.gap,
            Arrivals::Poisson => open.gap.mul_f64(-(1.0 - open.draw.borrow_mut().unit()).ln()),
        };
        open.next.set(time + gap);
        if time > Instant::now() {
            open.waiting.until(time).await;
        }
        Some(time)
    }
}

/// Those who wait for their time, in its order.
#[derive(Default)]
struct Waiting {
    queue: RefCell<VecDeque<(Instant, oneshot::Sender<()>)>>,
    /// The waker of times, while there is nobody to wake.
    idle: RefCell<Option<oneshot::Sender<()>>>,
}

impl Waiting {
    async fn until(&self, time: Instant) {
        let (sender, receiver) = oneshot::channel();
        self.queue.borrow_mut().push_back((time, sender));
        if let Some(idle) = self.idle.borrow_mut().take() {
            let _ = idle.send(());
        }
        let _ = receiver.await;
    }
}

/// Wakes each at its time. The executor's own timers know whole milliseconds only, so this asks the kernel's.
async fn wake_in_time(waiting: Rc<Waiting>) {
    let Ok(timer) = Timer::new() else { return };
    loop {
        let first = waiting.queue.borrow().front().map(|(time, _)| *time);
        let Some(time) = first else {
            let (sender, receiver) = oneshot::channel();
            *waiting.idle.borrow_mut() = Some(sender);
            let _ = receiver.await;
            continue;
        };
        let wait = time.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            if let Some((_, sender)) = waiting.queue.borrow_mut().pop_front() {
                let _ = sender.send(());
            }
        } else if timer.sleep(wait).await.is_err() {
            // Without it nobody would be woken: let them go, late times are seen in the figures.
            waiting.queue.borrow_mut().clear();
        }
    }
}

struct Timer {
    fd: OwnedFd,
    file: monoio::fs::File,
}

impl Timer {
    fn new() -> std::io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        let file = monoio::fs::File::from_std(std::fs::File::from(fd.try_clone()?))?;
        Ok(Self { fd, file })
    }

    async fn sleep(&self, wait: Duration) -> std::io::Result<()> {
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        };
        let setting = Itimerspec { it_interval: none, it_value: value };
        timerfd_settime(self.fd.as_fd(), TimerfdTimerFlags::empty(), &setting)?;
        let (read, _) = self.file.read_at(vec![0; 8], 0).await;
        read.map(drop)
    }
}
