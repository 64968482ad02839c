//! Against real sockets on the loopback, which copies what is lent when it is delivered, not when it is sent.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream as StdStream};

use super::*;
use crate::io::pool::{BufferPool, PooledBuffer};
use crate::io::testing::{connect_small, pattern, run, until};

const PIECE: usize = 256 << 10;

fn budget() -> Budget {
    Budget::new(64 << 20)
}

fn lender(policy: ZeroCopy, budget: &Budget) -> Lender {
    Lender::new(Terms::new(policy, budget.clone(), 1))
}

/// A connection, whose client takes in little before it reads.
fn connect() -> (TcpStream, StdStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = connect_small(listener.local_addr().unwrap());
    let server = listener.accept().unwrap().0;
    server.set_nonblocking(true).unwrap();
    (TcpStream::from_std(server).unwrap(), client)
}

fn pooled(pool: &BufferPool, bytes: &[u8]) -> Bytes {
    let mut buffer = pool.take(bytes.len()).unwrap();
    buffer.extend_from_slice(bytes);
    Bytes::from_owner(buffer)
}

fn read(client: &mut StdStream, length: usize) -> Vec<u8> {
    let mut received = vec![0; length];
    client.read_exact(&mut received).unwrap();
    received
}

/// Lends a piece until the socket takes no more, from its beginning each time; all that it took, in order.
fn lend(lender: &Lender, stream: &TcpStream, account: &Rc<Account>, pool: &BufferPool) -> Vec<u8> {
    let pattern = pattern(PIECE);
    let mut sent = Vec::new();
    loop {
        match lender.send(stream, account, &pooled(pool, &pattern), false).unwrap() {
            Lent::Sent(count) => sent.extend_from_slice(&pattern[..count]),
            Lent::Full => return sent,
            Lent::Declined => panic!("all is lent"),
        }
    }
}

/// Takes memory from the pool, as much as a socket is ever given, and writes something else into it.
fn overwrite(pool: &BufferPool) -> Vec<PooledBuffer> {
    let taken = (0..40).map(|_| {
        let mut buffer = pool.take(PIECE).unwrap();
        buffer.set_length(PIECE);
        buffer.fill(0xEE);
        buffer
    });
    taken.collect()
}

#[test]
fn memory_is_kept_until_the_client_has_all_of_it_though_the_connection_ended() {
    run(async {
        let (budget, account) = (budget(), Rc::default());
        let (lender, pool) = (lender(ZeroCopy::Always, &budget), BufferPool::new(budget.clone()));
        let (stream, mut client) = connect();
        let sent = lend(&lender, &stream, &account, &pool);
        socket::finish_sending(&stream);
        drop(stream);
        lender.collect();
        assert!(lender.lent.get() > 0, "the client has read nothing");

        // What is not lent is somebody else's now.
        let _others = overwrite(&pool);
        assert!(read(&mut client, sent.len()) == sent);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        until("all is given back", || {
            lender.collect();
            lender.lent.get() == 0
        });
        assert_eq!(lender.loans.borrow().len(), 0);
    });
}

#[test]
fn a_device_that_copies_is_found_out() {
    run(async {
        let budget = budget();
        let lender = lender(ZeroCopy::Auto, &budget);
        let piece = Bytes::from(pattern(PIECE));
        let first: Rc<Account> = Rc::default();
        let (stream, mut client) = connect();
        let Lent::Sent(sent) = lender.send(&stream, &first, &piece, false).unwrap() else {
            panic!("the first piece is lent")
        };
        assert_eq!(first.0.get(), Device::OnTrial);
        let next = lender.send(&stream, &first, &piece, false).unwrap();
        assert_eq!(next, Lent::Declined, "nothing is known yet");
        assert!(piece.starts_with(&read(&mut client, sent)));
        until("the report came", || {
            lender.collect();
            first.0.get() != Device::OnTrial
        });
        assert_eq!(first.0.get(), Device::Copies);

        // Those that follow believe it, for a while.
        for _ in 0..DOUBTS {
            let next = Account::default();
            assert!(!lender.accepts(&next, PIECE));
            assert!(!lender.accepts(&next, PIECE), "it has not been doubted twice");
        }
        assert!(lender.accepts(&Account::default(), PIECE));
    });
}

/// No device here is one, so the report is made up.
#[test]
fn to_a_device_that_does_not_copy_all_is_lent_until_it_does() {
    let lender = lender(ZeroCopy::Auto, &budget());
    let account: Rc<Account> = Rc::default();
    let report = |copied| {
        let bytes = Bytes::from_static(b"some");
        lender.lent.set(lender.lent.get() + bytes.len() as u64);
        let loan = Loan { bytes, account: Rc::clone(&account), used: false };
        let slot = lender.loans.borrow_mut().insert(loan);
        lender.begun(slot);
        lender.end(slot, Some(copied));
    };
    lender.doubts.set(1);
    report(false);
    assert_eq!((account.0.get(), lender.doubts.get()), (Device::Lends, 0));
    assert!(lender.accepts(&account, PIECE) && lender.accepts(&account, PIECE));
    report(true);
    assert_eq!((account.0.get(), lender.doubts.get()), (Device::Copies, DOUBTS));
    assert!(!lender.accepts(&account, PIECE));
}

#[test]
fn a_send_that_failed_says_nothing_about_the_device() {
    run(async {
        let budget = budget();
        let (lender, pool) = (lender(ZeroCopy::Always, &budget), BufferPool::new(budget.clone()));
        let (stream, _client) = connect();
        lend(&lender, &stream, &Rc::default(), &pool);
        let account = Rc::default();
        let piece = Bytes::from(pattern(PIECE));
        let before = lender.lent.get();
        assert_eq!(lender.send(&stream, &account, &piece, false).unwrap(), Lent::Full);
        until("it is given back", || {
            lender.collect();
            lender.lent.get() <= before
        });
        assert_eq!(account.0.get(), Device::Unknown);
    });
}

#[test]
fn what_others_need_is_not_lent() {
    run(async {
        let budget = budget();
        let account = Rc::default();
        let lender = lender(ZeroCopy::Always, &budget);
        let eighth = usize::try_from(budget.total() / SHARE).unwrap();
        assert!(lender.accepts(&account, eighth));
        assert!(!lender.accepts(&account, eighth + 1));
        assert!(!lender.accepts(&account, LEAST - 1));

        let (stream, _client) = connect();
        let large = Bytes::from(vec![7; eighth - LEAST + 1]);
        assert!(matches!(lender.send(&stream, &account, &large, false).unwrap(), Lent::Sent(_)));
        assert!(
            !lender.accepts(&account, LEAST),
            "lent is the whole piece, not what was sent of it"
        );
    });
}

#[test]
fn a_connection_that_is_gone_is_an_error_and_keeps_nothing() {
    run(async {
        let budget = budget();
        let lender = lender(ZeroCopy::Always, &budget);
        let (stream, mut client) = connect();
        client.write_all(b"unread").unwrap();
        socket::finish_sending(&stream);
        let piece = Bytes::from(pattern(PIECE));
        let error = lender.send(&stream, &Rc::default(), &piece, false).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPIPE));
        until("it is given back", || {
            lender.collect();
            piece.is_unique()
        });
    });
}

#[test]
fn one_that_never_lends_makes_no_ring() {
    run(async {
        let budget = budget();
        let lender = lender(ZeroCopy::Never, &budget);
        let (stream, _client) = connect();
        let piece = Bytes::from(pattern(PIECE));
        let sent = lender.send(&stream, &Rc::default(), &piece, false).unwrap();
        assert_eq!(sent, Lent::Declined);
        assert!(lender.ring.borrow().is_none());
    });
}

#[test]
fn a_lender_that_ends_gives_nothing_back_that_is_still_sent() {
    run(async {
        let budget = budget();
        let pool = BufferPool::new(budget.clone());
        let (stream, mut client) = connect();
        let sent = lend(&lender(ZeroCopy::Always, &budget), &stream, &Rc::default(), &pool);
        drop(stream);
        let _others = overwrite(&pool);
        assert!(read(&mut client, sent.len()) == sent);
    });
}
