//! Shares the lanes of a kernel among the MD5s of one thread.
//!
//! Whoever has bytes queues them. One of those that wait gives the other tasks turns, in which they may do the same, for
//! as long as each turn brings more of them and lanes are left. Then it works for all: passes over the first in the
//! queue, each as long as the shortest of them, until its turn is over. Nobody waits for company that is not there: alone
//! in the queue, a stream is hashed by itself.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::Md5;
use super::kernel::{BLOCK, Kernel, LANES_MAX, State};

/// Fewer bytes are not worth a turn.
const BYTES_MIN: usize = 1 << 10;

/// Blocks of each stream in one turn: about 100 us of work.
const TURN_BLOCKS: usize = 512;

/// Turns without company after which a piece that needs no more than one asks for none.
const LONELY_TURNS: u32 = 4;

/// One in so many of those asks nevertheless.
const LONELY_PIECES: u32 = 16;

thread_local! {
    static LANES: Lanes = Lanes::new();
}

/// Adds the `range` of `bytes` to `md5`, together with whatever else is being added on this thread. `yield_now` lets
/// the thread's other tasks run once.
///
/// # Cancel safety
/// Dropping the future drops the MD5 and the bytes. It must be polled when it is woken or dropped: others may depend
/// on it.
///
/// # Panics
/// If the range does not lie within the bytes.
pub async fn update_together<B: AsRef<[u8]> + 'static>(
    mut md5: Md5,
    bytes: B,
    range: Range<usize>,
    yield_now: impl AsyncFn(),
) -> (Md5, B) {
    let slice = &bytes.as_ref()[range.clone()];
    let begun = md5.begun().min(slice.len());
    let is_short = slice.len() <= TURN_BLOCKS * BLOCK;
    if slice.len() < BYTES_MIN || is_short && LANES.with(Lanes::is_lonely) {
        md5.update(slice);
        return (md5, bytes);
    }
    md5.update(&slice[..begun]);
    let job = Rc::new(Job {
        md5: RefCell::new(md5),
        next: Cell::new(range.start + begun),
        end: range.end,
        waker: RefCell::new(None),
        bytes,
    });
    let queued: Rc<Job<dyn AsRef<[u8]>>> = job.clone();
    LANES.with(|lanes| lanes.queue.borrow_mut().push_back(Rc::clone(&queued)));
    let waiting = Waiting(queued);
    while !waiting.done().await {
        let mut company = 0;
        while let Some(more) = LANES.with(|lanes| lanes.company_beyond(company)) {
            company = more;
            yield_now().await;
        }
        LANES.with(Lanes::note_company);
        LANES.with(Lanes::turn);
    }
    drop(waiting);
    // The queue has let go of what is done.
    match Rc::try_unwrap(job) {
        Ok(job) => (job.md5.into_inner(), job.bytes),
        Err(_) => unreachable!("a finished job is in no queue"),
    }
}

/// Bytes on their way into an MD5.
struct Job<B: ?Sized> {
    md5: RefCell<Md5>,
    /// The first byte that was not added yet.
    next: Cell<usize>,
    end: usize,
    /// There once somebody waits.
    waker: RefCell<Option<Waker>>,
    bytes: B,
}

type AnyJob = Job<dyn AsRef<[u8]>>;

impl AnyJob {
    fn rest(&self) -> &[u8] {
        &self.bytes.as_ref()[self.next.get()..self.end]
    }

    fn is_done(&self) -> bool {
        self.next.get() == self.end
    }

    /// Adds the next bytes without company.
    fn add(&self, count: usize) {
        self.md5.borrow_mut().update(&self.rest()[..count]);
        self.next.set(self.next.get() + count);
    }

    /// Adds what is less than a block.
    fn end(&self) {
        if self.rest().len() < BLOCK {
            self.add(self.rest().len());
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

/// A job in the queue, for as long as somebody waits for it.
struct Waiting(Rc<AnyJob>);

impl Waiting {
    /// Waits until the job is done or it is this one's turn to work for all; whether it is done.
    async fn done(&self) -> bool {
        poll_fn(|context| {
            let job = &self.0;
            if job.is_done() {
                return Poll::Ready(true);
            }
            LANES.with(|lanes| {
                let mut waker = job.waker.borrow_mut();
                match &mut *waker {
                    Some(waker) => waker.clone_from(context.waker()),
                    None => *waker = Some(context.waker().clone()),
                }
                if lanes.leads(job) { Poll::Ready(false) } else { Poll::Pending }
            })
        })
        .await
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // The thread may be ending, and its lanes gone before its tasks.
        let _ = LANES.try_with(|lanes| lanes.leave(&self.0));
    }
}

/// What is to be hashed on one thread.
struct Lanes {
    kernel: Option<Kernel>,
    /// Each with a block or more to go, the oldest first.
    queue: RefCell<VecDeque<Rc<AnyJob>>>,
    /// Whose waiter does the work; it will be polled.
    leader: RefCell<Option<Rc<AnyJob>>>,
    /// Turns without company, and pieces that then asked for none, since there was company.
    lonely: Cell<u32>,
}

impl Lanes {
    fn new() -> Self {
        let works = |kernel: &Kernel| kernel.is_supported() && computes_right(*kernel);
        let kernel = Kernel::ALL.into_iter().find(works);
        Self { kernel, queue: RefCell::default(), leader: RefCell::default(), lonely: Cell::new(0) }
    }

    /// Whether this job's waiter is the one to work; it is if there is none.
    fn leads(&self, job: &Rc<AnyJob>) -> bool {
        let mut leader = self.leader.borrow_mut();
        Rc::ptr_eq(leader.get_or_insert_with(|| Rc::clone(job)), job)
    }

    /// Whether a short piece should not ask for company; counts it.
    fn is_lonely(&self) -> bool {
        let lonely = self.lonely.get();
        if lonely < LONELY_TURNS || !self.queue.borrow().is_empty() {
            return false;
        }
        self.lonely.set(lonely.wrapping_add(1));
        !lonely.is_multiple_of(LONELY_PIECES)
    }

    /// Takes notice of whether the turns that were given brought company.
    fn note_company(&self) {
        let had_company = self.queue.borrow().len() > 1;
        self.lonely.set(if had_company { 0 } else { self.lonely.get().wrapping_add(1) });
    }

    /// How many wait, if those are more than `known` and lanes are left for others.
    fn company_beyond(&self, known: usize) -> Option<usize> {
        let waiting = self.queue.borrow().len();
        let lanes = self.kernel.map_or(1, Kernel::lanes);
        (known < waiting && known < lanes).then_some(waiting)
    }

    fn is_leader(&self, job: &Rc<AnyJob>) -> bool {
        self.leader.borrow().as_ref().is_some_and(|leader| Rc::ptr_eq(leader, job))
    }

    /// Forgets a job; if it led, another does.
    fn leave(&self, job: &Rc<AnyJob>) {
        if !job.is_done() {
            self.queue.borrow_mut().retain(|other| !Rc::ptr_eq(other, job));
        }
        if !self.is_leader(job) {
            return;
        }
        let next = self.queue.borrow().front().cloned();
        // One that does not wait yet will find that it leads.
        if let Some(next) = &next {
            next.wake();
        }
        *self.leader.borrow_mut() = next;
    }

    /// Works for all.
    fn turn(&self) {
        let mut left = TURN_BLOCKS;
        while left > 0 {
            let blocks = self.pass(left);
            if blocks == 0 {
                return;
            }
            left -= blocks;
            self.queue.borrow_mut().retain(|job| {
                let done = job.is_done();
                if done && !self.is_leader(job) {
                    job.wake();
                }
                !done
            });
        }
    }

    /// Takes the first in the queue over at most so many blocks; returns over how many.
    fn pass(&self, most: usize) -> usize {
        let queue = self.queue.borrow();
        let count = lanes_for(self.kernel, queue.len());
        let rests = queue.iter().take(count).map(|job| job.rest().len() / BLOCK);
        let Some(blocks) = rests.min().map(|blocks| blocks.min(most)) else { return 0 };
        let bytes = blocks * BLOCK;
        match self.kernel {
            Some(kernel) if count > 1 => {
                let mut states = [State::default(); LANES_MAX];
                let mut inputs = [&[][..]; LANES_MAX];
                for (lane, job) in queue.iter().take(count).enumerate() {
                    states[lane] = job.md5.borrow().state();
                    inputs[lane] = &job.rest()[..bytes];
                }
                kernel.run(&mut states[..count], &inputs[..count]);
                for (job, state) in queue.iter().zip(states).take(count) {
                    job.md5.borrow_mut().advance(state, bytes);
                    job.next.set(job.next.get() + bytes);
                }
            }
            _ => queue.iter().take(count).for_each(|job| job.add(bytes)),
        }
        queue.iter().take(count).for_each(|job| job.end());
        blocks
    }
}

/// How many of so many streams are best hashed at once. A few more than fill one register wait for the next pass:
/// two are slower than one.
fn lanes_for(kernel: Option<Kernel>, waiting: usize) -> usize {
    let Some(kernel) = kernel else { return waiting.min(1) };
    let register = kernel.register();
    if waiting < register + register / 2 {
        waiting.min(register)
    } else {
        waiting.min(kernel.lanes())
    }
}

/// Whether the kernel agrees with AWS-LC here, on every lane.
fn computes_right(kernel: Kernel) -> bool {
    [kernel.register(), kernel.lanes()].into_iter().all(|count| {
        let inputs: Vec<Vec<u8>> =
            (0u8..).take(count).map(|lane| pattern(lane, 2 * BLOCK)).collect();
        let mut states = vec![Md5::default().state(); count];
        let slices: Vec<&[u8]> = inputs.iter().map(|input| &input[..]).collect();
        kernel.run(&mut states, &slices);
        let right = inputs.iter().zip(&states).all(|(input, state)| {
            let mut md5 = Md5::default();
            md5.update(input);
            md5.state() == *state
        });
        if !right {
            tracing::error!(
                ?kernel,
                "this processor's vector instructions compute a wrong MD5: not used"
            );
        }
        right
    })
}

/// Bytes that differ from lane to lane and from place to place.
fn pattern(lane: u8, length: usize) -> Vec<u8> {
    let start = u32::from(lane).wrapping_mul(0x9e37_79b9) | 1;
    let next = |last: &u32| Some(last.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let numbers = std::iter::successors(Some(start), next);
    numbers.map(|number| number.to_be_bytes()[0]).take(length).collect()
}

#[cfg(test)]
mod tests;
