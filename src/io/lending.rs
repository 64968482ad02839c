//! Sends from memory without copying it: SEND_ZC of io_uring(7), on a ring of this core's own.
//!
//! The memory is lent to the kernel until it says that nothing will be read there any more, which is when the client has
//! acknowledged the bytes. Until then it is kept here, whatever becomes of the connection: were it given to somebody else,
//! this client would be sent what they write there.
//!
//! Not every device sends from memory that is not the kernel's own. For one that does not, as the loopback, the bytes are
//! copied all the same, at more cost than by a plain send. The kernel reports that with the end of each loan, so a
//! connection lends one piece, copies until it has heard about it, and then does what the report says.
#![expect(unsafe_code, reason = "lends memory to the kernel")]

use std::cell::{Cell, RefCell};
use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::rc::Rc;

use bytes::Bytes;
use io_uring06::{IoUring, cqueue, opcode, squeue, types};
use monoio::net::TcpStream;
use slab::Slab;

use super::budget::Budget;
use super::socket;
use crate::config::ZeroCopy;

/// The least that is lent, in bytes: for less, the bookkeeping costs more than a copy.
pub const LEAST: usize = 64 << 10;

/// Most loans at a time.
const LOANS: u32 = 256;

/// Room for the completions of all loans: there are up to two for each.
const COMPLETIONS: u32 = 2 * LOANS;

/// This part of the budget may be lent, by all cores together. What is lent to a slow client helps nobody else.
const SHARE: u64 = 8;

/// Connections that copy without a trial after one whose device turned out to copy: most likely theirs is the same.
const DOUBTS: u32 = 63;

/// Of io_uring(7), asked of a send and found in completions; the crate does not name them.
const REPORT_USAGE: u16 = 1 << 3;
const IS_NOTICE: u32 = 1 << 3;
const WAS_COPIED: u32 = 1 << 31;

/// What is known of the device behind a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Device {
    #[default]
    Unknown,
    /// A piece was lent, and there is no report yet.
    OnTrial,
    Lends,
    Copies,
}

/// One connection's experience with lending.
#[derive(Debug, Default)]
pub struct Account(Cell<Device>);

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lent {
    /// So many of its bytes will be sent, or were.
    Sent(usize),
    /// The socket takes nothing now.
    Full,
    /// It is not for lending: send it by copying.
    Declined,
}

/// On which terms every core lends.
#[derive(Clone)]
pub struct Terms {
    policy: ZeroCopy,
    budget: Budget,
    /// Most bytes that a core lends at a time.
    most: u64,
}

impl Terms {
    /// The terms of so many cores that share `budget`.
    #[must_use]
    pub fn new(policy: ZeroCopy, budget: Budget, cores: usize) -> Self {
        let most = budget.total() / SHARE / cores.max(1) as u64;
        Self { policy, budget, most }
    }
}

/// Lends memory to the kernel for one core's connections.
pub struct Lender {
    terms: Terms,
    lent: Cell<u64>,
    doubts: Cell<u32>,
    ring: RefCell<Option<IoUring>>,
    /// Nothing is lent any more, but what was lent is still waited for.
    closed: Cell<bool>,
    loans: RefCell<Slab<Loan>>,
}

struct Loan {
    bytes: Bytes,
    account: Rc<Account>,
    /// Whether any of it went to the socket. If none did, the kernel reports a copy that there was not.
    used: bool,
}

impl Lender {
    /// A lender that has lent nothing. Its ring is made when it first does.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        Self {
            closed: Cell::new(terms.policy == ZeroCopy::Never),
            terms,
            lent: Cell::new(0),
            doubts: Cell::new(0),
            ring: RefCell::new(None),
            loans: RefCell::default(),
        }
    }

    /// Whether a piece of so many bytes would be lent to this connection.
    #[must_use]
    pub fn accepts(&self, account: &Account, length: usize) -> bool {
        if self.closed.get() || length < LEAST {
            return false;
        }
        self.collect();
        let fits = self.lent.get() + length as u64 <= self.terms.most
            && self.loans.borrow().len() < LOANS as usize;
        if !fits || self.terms.budget.is_contended() {
            return false;
        }
        match account.0.get() {
            Device::Lends => true,
            _ if self.terms.policy == ZeroCopy::Always => true,
            Device::OnTrial | Device::Copies => false,
            Device::Unknown if self.doubts.get() == 0 => true,
            Device::Unknown => {
                self.doubts.set(self.doubts.get() - 1);
                account.0.set(Device::Copies);
                false
            }
        }
    }

    /// Sends the beginning of `bytes`, which are kept until the kernel needs them no more. Never blocks. With `more`, the
    /// kernel may wait for what follows before it fills a packet.
    ///
    /// # Errors
    /// As send(2): the connection is of no more use.
    pub fn send(
        &self,
        stream: &TcpStream,
        account: &Rc<Account>,
        bytes: &Bytes,
        more: bool,
    ) -> io::Result<Lent> {
        if !self.accepts(account, bytes.len()) || !self.open() {
            return Ok(Lent::Declined);
        }
        let loan = Loan { bytes: bytes.clone(), account: Rc::clone(account), used: false };
        let slot = self.loans.borrow_mut().insert(loan);
        self.lent.set(self.lent.get() + bytes.len() as u64);
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | if more { libc::MSG_MORE } else { 0 };
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let descriptor = types::Fd(socket::descriptor(stream).as_raw_fd());
        let entry = opcode::SendZc::new(descriptor, bytes.as_ptr(), length)
            .flags(flags)
            .zc_flags(REPORT_USAGE)
            .build()
            .user_data(slot as u64);
        // What was asked not to wait has its result when the call returns.
        let result = self.submit(&entry).and_then(|()| self.complete());
        let Some(result) = result else {
            // It may still be sent, or sent twice if it was copied now.
            self.close("a send was not taken");
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        };
        match usize::try_from(result) {
            Ok(count) => Ok(Lent::Sent(count)),
            Err(_) => self.refused(account, -result),
        }
    }

    fn submit(&self, entry: &squeue::Entry) -> Option<()> {
        let mut ring = self.ring.borrow_mut();
        let ring = ring.as_mut()?;
        // SAFETY: the memory is kept in `loans` until the kernel has reported that it is done with it, and a lender that
        // is dropped before that leaks it. The descriptor is open for as long as the call.
        unsafe { ring.submission().push(entry).ok()? };
        matches!(ring.submit(), Ok(1)).then_some(())
    }

    /// What to do about a send that failed.
    fn refused(&self, account: &Account, error: i32) -> io::Result<Lent> {
        match error {
            libc::EAGAIN => Ok(Lent::Full),
            // Too much memory is pinned for what this process may.
            libc::ENOBUFS | libc::ENOMEM | libc::EINTR => Ok(Lent::Declined),
            libc::EOPNOTSUPP => {
                account.0.set(Device::Copies);
                Ok(Lent::Declined)
            }
            libc::EINVAL => {
                self.close("this kernel cannot");
                Ok(Lent::Declined)
            }
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// Takes back what the kernel is done with. Makes no system call. To be called now and then: memory that nobody lends
    /// any more of is not given back otherwise.
    pub fn collect(&self) {
        self.complete();
    }

    /// Learns of what has happened; the result of the last send, if it is part of that.
    fn complete(&self) -> Option<i32> {
        let mut result = None;
        let mut ring = self.ring.borrow_mut();
        for completion in ring.as_mut()?.completion() {
            let Ok(slot) = usize::try_from(completion.user_data()) else { continue };
            if completion.flags() & IS_NOTICE != 0 {
                let copied = completion.result().cast_unsigned() & WAS_COPIED != 0;
                self.end(slot, Some(copied));
                continue;
            }
            result = Some(completion.result());
            if !cqueue::more(completion.flags()) {
                self.end(slot, None);
            } else if completion.result() > 0 {
                self.begun(slot);
            }
        }
        result
    }

    /// Notes that some of a loan went to the socket.
    fn begun(&self, slot: usize) {
        let mut loans = self.loans.borrow_mut();
        let Some(loan) = loans.get_mut(slot) else { return };
        loan.used = true;
        if loan.account.0.get() == Device::Unknown {
            loan.account.0.set(Device::OnTrial);
        }
    }

    /// Ends a loan, and learns from the report.
    fn end(&self, slot: usize, copied: Option<bool>) {
        let Some(loan) = self.loans.borrow_mut().try_remove(slot) else { return };
        self.lent.set(self.lent.get() - loan.bytes.len() as u64);
        match copied.filter(|_| loan.used) {
            Some(true) => {
                loan.account.0.set(Device::Copies);
                self.doubts.set(DOUBTS);
            }
            Some(false) => {
                loan.account.0.set(Device::Lends);
                self.doubts.set(0);
            }
            None => {}
        }
    }

    /// Whether there is a ring; makes it if there is none.
    fn open(&self) -> bool {
        let mut ring = self.ring.borrow_mut();
        if ring.is_none() {
            // Whoever is told of a completion by a signal between two system calls loses time, and nobody waits for one.
            match IoUring::builder().setup_coop_taskrun().setup_cqsize(COMPLETIONS).build(8) {
                Ok(made) => *ring = Some(made),
                Err(error) => self.close(&error.to_string()),
            }
        }
        ring.is_some()
    }

    fn close(&self, why: &str) {
        tracing::info!(why, "answers are sent by copying from now on");
        self.closed.set(true);
    }
}

impl Drop for Lender {
    fn drop(&mut self) {
        self.collect();
        // The kernel may still send from there.
        self.loans.get_mut().drain().for_each(|loan| mem::forget(loan.bytes));
    }
}

#[cfg(test)]
mod tests;
