//! Calls on sockets that never block: they do what can be done at once and say so.
//!
//! Nothing here keeps memory of the caller beyond the call, so a slow peer cannot hold any.
#![expect(unsafe_code, reason = "monoio's stream lends its descriptor only as a number")]

use std::io::{self, IoSlice};
use std::net::{TcpListener, TcpStream as StdStream};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use monoio::net::TcpStream;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketFlags, sockopt};

/// The descriptor of a stream.
#[must_use]
pub fn descriptor(stream: &TcpStream) -> BorrowedFd<'_> {
    // SAFETY: the stream owns the descriptor and closes it when it is dropped, so it is open for
    // as long as the borrow.
    unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) }
}

fn or_later<T>(result: rustix::io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Takes the next connection, or `None` if there is none. The stream is non-blocking.
///
/// # Errors
/// As accept4(2).
pub fn accept(listener: &TcpListener) -> io::Result<Option<StdStream>> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let accepted = retry_on_intr(|| rustix::net::accept_with(listener, flags));
    Ok(or_later(accepted)?.map(|fd: OwnedFd| StdStream::from(fd)))
}

/// Receives what has arrived into the beginning of `buffer`: `None` if nothing has, 0 at the end
/// of the stream.
///
/// # Errors
/// As recv(2).
pub fn receive(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    let received =
        retry_on_intr(|| rustix::net::recv(descriptor(stream), &mut *buffer, RecvFlags::DONTWAIT));
    Ok(or_later(received)?.map(|(count, _)| count))
}

/// Whether the peer has ended the stream and all that it sent was received, or the connection is broken.
#[must_use]
pub fn has_left(stream: &TcpStream) -> bool {
    let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
    let looked = retry_on_intr(|| rustix::net::recv(descriptor(stream), &mut [0_u8][..], flags));
    match looked {
        Ok((_, count)) => count == 0,
        Err(error) => error != Errno::AGAIN,
    }
}

/// Sends the beginning of `pieces`, or `None` if the socket takes nothing now. With `more`, the kernel may wait for
/// what follows before it fills a packet.
///
/// # Errors
/// As sendmsg(2).
pub fn send(stream: &TcpStream, pieces: &[IoSlice<'_>], more: bool) -> io::Result<Option<usize>> {
    let mut flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    flags.set(SendFlags::MORE, more);
    let mut control = SendAncillaryBuffer::default();
    or_later(retry_on_intr(|| {
        rustix::net::sendmsg(descriptor(stream), pieces, &mut control, flags)
    }))
}

/// Sends from a file's page cache; 0 only if the file ends at `offset`. The stream must be
/// non-blocking. Blocks where the pages are not resident, so keep `length` small.
///
/// # Errors
/// As sendfile(2).
pub fn send_file(
    stream: &TcpStream,
    file: &OwnedFd,
    offset: u64,
    length: usize,
) -> io::Result<Option<usize>> {
    or_later(retry_on_intr(|| {
        let mut position = offset;
        rustix::fs::sendfile(descriptor(stream), file, Some(&mut position), length)
    }))
}

/// Takes the pacing off a connection of this machine with itself. Where BBR is the system's choice, the kernel spreads
/// what is sent by a timer, so as not to fill queues on the way. Here are none, and the timer costs more than the sending.
pub fn unpace_if_local(stream: &StdStream) {
    let (Ok(peer), Ok(own)) = (stream.peer_addr(), stream.local_addr()) else { return };
    let is_local = peer.ip() == own.ip() || peer.ip().is_loopback();
    if is_local && sockopt::tcp_congestion(stream).is_ok_and(|name| name.starts_with("bbr")) {
        // Every kernel has it. Where it cannot be chosen, the connection is slower.
        let _ = sockopt::set_tcp_congestion(stream, "reno");
    }
}

/// Holds back what does not fill a packet, for up to 200 ms, or sends it (TCP_CORK of tcp(7)).
pub fn hold_back(stream: &TcpStream, hold: bool) {
    // It saves packets; where that is not possible, nothing is lost.
    let _ = sockopt::set_tcp_cork(descriptor(stream), hold);
}

/// Says to the peer that nothing more comes; it may still send.
pub fn finish_sending(stream: &TcpStream) {
    // A peer that is gone already needs no goodbye.
    let _ = rustix::net::shutdown(descriptor(stream), Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_paced_within_this_machine() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        if let Err(error) = sockopt::set_tcp_congestion(&listener, "bbr") {
            eprintln!("SKIPPED: this kernel has no bbr that could be taken off: {error}");
            return;
        }
        let _client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let stream = listener.accept().unwrap().0;
        assert_eq!(sockopt::tcp_congestion(&stream).unwrap(), "bbr");
        unpace_if_local(&stream);
        assert_eq!(sockopt::tcp_congestion(&stream).unwrap(), "reno");
    }
}
