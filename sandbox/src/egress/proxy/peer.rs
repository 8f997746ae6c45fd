//! One end of a connection: bytes that have arrived and wait to be read, and sending with a deadline.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};

/// Bytes that are read at once at first.
const READ_BYTES: usize = 16 << 10;
/// Bytes that are read at once when they come fast.
const READ_BYTES_MAX: usize = 128 << 10;
/// Most bytes, and longest time, that a refused request may still take until its answer is read.
const DRAIN_BYTES_MAX: usize = 1 << 20;
const DRAIN_WAIT: Duration = Duration::from_secs(2);

/// One end of a connection.
#[derive(Debug)]
pub(super) struct Peer {
    stream: TcpStream,
    held: Vec<u8>,
    read_at_once: usize,
    read_bytes: u64,
    sent_bytes: u64,
}

impl Peer {
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, held: Vec::new(), read_at_once: READ_BYTES, read_bytes: 0, sent_bytes: 0 })
    }

    /// What has arrived and was not taken.
    pub(super) fn held(&self) -> &[u8] {
        &self.held
    }

    /// Takes the first `count` bytes of what has arrived.
    pub(super) fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.held.split_off(count);
        std::mem::replace(&mut self.held, rest)
    }

    /// Forgets the first `count` bytes of what has arrived.
    pub(super) fn discard(&mut self, count: usize) {
        self.held.drain(..count);
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Bytes that this end has sent.
    pub(super) fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// Bytes that were sent to this end.
    pub(super) fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Counts bytes that went past this.
    pub(super) fn count(&mut self, read_bytes: u64, sent_bytes: u64) {
        self.read_bytes += read_bytes;
        self.sent_bytes += sent_bytes;
    }

    /// Waits for more; 0 is the end.
    pub(super) fn fill(&mut self, deadline: Instant) -> io::Result<usize> {
        let before = self.held.len();
        loop {
            self.held.resize(before + self.read_at_once, 0);
            let got = self.stream.read(&mut self.held[before..]);
            self.held.truncate(before + *got.as_ref().unwrap_or(&0));
            match got {
                Ok(count) => {
                    if count == self.read_at_once {
                        self.read_at_once = (2 * count).min(READ_BYTES_MAX);
                    }
                    self.read_bytes += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait(&mut [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)], deadline)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends everything; fails when nothing is taken for `stall`.
    pub(super) fn send(&mut self, mut bytes: &[u8], stall: Duration) -> io::Result<()> {
        while !bytes.is_empty() {
            match (&self.stream).write(bytes) {
                Ok(count) => {
                    self.sent_bytes += count as u64;
                    bytes = &bytes[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let deadline = Instant::now() + stall;
                    wait(&mut [PollFd::new(self.stream.as_fd(), PollFlags::POLLOUT)], deadline)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether this end neither closed nor sent anything that was not asked for.
    pub(super) fn is_quiet(&self) -> bool {
        let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
        self.held.is_empty() && poll(&mut fds, PollTimeout::ZERO) == Ok(0)
    }

    /// Closes so that the other side sees a reset and not an end.
    pub(super) fn reset(self) {
        let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
        match setsockopt(&self.stream, sockopt::Linger, &at_once) {
            // If it cannot be set, an ordinary close is left, which refuses as well.
            Ok(()) | Err(_) => {}
        }
    }

    /// Closes after an answer to something that was not read to its end: closed at once, the kernel would reset the
    /// connection, and the answer with it.
    pub(super) fn close_after_answer(mut self) {
        let deadline = Instant::now() + DRAIN_WAIT;
        let mut drained = 0;
        if self.stream.shutdown(Shutdown::Write).is_ok() {
            while drained < DRAIN_BYTES_MAX {
                self.held.clear();
                match self.fill(deadline) {
                    Ok(count) if count > 0 => drained += count,
                    Ok(_) | Err(_) => return,
                }
            }
        }
    }
}

/// Waits until one of `fds` is ready.
pub(super) fn wait(fds: &mut [PollFd<'_>], deadline: Instant) -> io::Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // Rounded up, so that the last wait does not become a spin.
        let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(fds, timeout) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}
