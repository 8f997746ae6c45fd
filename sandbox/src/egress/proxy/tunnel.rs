//! Passes bytes between a client and the place that it asked for, once the client has shown that it means that place.
//!
//! Until the first bytes of the client are judged nothing of it is passed on. TLS must name the place. What is not TLS is
//! passed on where the port is open for anything; it is refused at port 443.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags};

use super::IDLE_WAIT;
use super::peer::{Peer, wait};
use crate::egress::HostName;
use crate::egress::record::DenyReason;
use crate::egress::wire::tls::{HANDSHAKE, HELLO_BYTES_MAX, Hello, read_hello};

/// Bytes that a flow can hold at first.
const FLOW_BYTES: usize = 32 << 10;
/// Bytes that a flow can hold when they come fast.
const FLOW_BYTES_MAX: usize = 256 << 10;

/// What the client may begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// TLS that names the place, and nothing else.
    Tls,
    /// TLS that names the place, or something that is not TLS.
    Anything,
}

/// How a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Both sides are done, or one has gone.
    Closed,
    /// The client began with something that is refused.
    Refused(DenyReason),
}

/// Passes bytes until both sides are done. `name` is the host that the client asked for.
pub(super) fn pass(client: &mut Peer, upstream: &mut Peer, name: &HostName, opening: Opening) -> Ended {
    let mut tunnel = Tunnel {
        up: Flow::starting_with(client.take(client.held().len())),
        down: Flow::starting_with(upstream.take(upstream.held().len())),
        judged: false,
    };
    let ended = tunnel.run(client.stream(), upstream.stream(), name, opening);
    client.count(tunnel.up.read_bytes, tunnel.down.sent_bytes);
    upstream.count(tunnel.down.read_bytes, tunnel.up.sent_bytes);
    ended
}

/// Judges the first bytes of a client; `None` when more are needed.
fn judge(bytes: &[u8], name: &HostName, opening: Opening) -> Result<Option<()>, DenyReason> {
    match (bytes.first(), opening) {
        (None, _) => Ok(None),
        (Some(&HANDSHAKE), _) => match read_hello(bytes)? {
            Hello::Partial => Ok(None),
            Hello::Name(said) if said == *name => Ok(Some(())),
            Hello::Name(_) => Err(DenyReason::NameMismatch),
        },
        (Some(_), Opening::Anything) => Ok(Some(())),
        (Some(_), Opening::Tls) => Err(DenyReason::NotTls),
    }
}

#[derive(Debug)]
struct Tunnel {
    up: Flow,
    down: Flow,
    judged: bool,
}

impl Tunnel {
    fn run(&mut self, client: &TcpStream, upstream: &TcpStream, name: &HostName, opening: Opening) -> Ended {
        loop {
            if !self.judged {
                match judge(self.up.waiting(), name, opening) {
                    Ok(judged) => self.judged = judged.is_some(),
                    Err(reason) => return Ended::Refused(reason),
                }
            }
            let moved = self.move_bytes(client, upstream);
            let over = self.up.over() && self.down.over();
            // A client that ends before it has begun will not begin any more.
            if moved.is_err() || over || (!self.judged && self.up.ended) {
                return Ended::Closed;
            }
            match self.wait(client, upstream, opening) {
                Ok((from_client, from_upstream)) => {
                    let client_read = if from_client { self.up.read(client) } else { Ok(()) };
                    let upstream_read = if from_upstream { self.down.read(upstream) } else { Ok(()) };
                    if client_read.and(upstream_read).is_err() {
                        return Ended::Closed;
                    }
                }
                Err(_) => return Ended::Closed,
            }
        }
    }

    fn move_bytes(&mut self, client: &TcpStream, upstream: &TcpStream) -> io::Result<()> {
        if self.judged {
            self.up.write(upstream)?;
        }
        self.down.write(client)
    }

    /// Waits until something can be moved; says which sides can be read.
    fn wait(&self, client: &TcpStream, upstream: &TcpStream, opening: Opening) -> io::Result<(bool, bool)> {
        use std::os::fd::AsFd as _;
        let most_unjudged = if self.judged { 0 } else { HELLO_BYTES_MAX };
        let client_in = !self.up.ended && self.up.waiting().len() <= most_unjudged;
        // Where only TLS is spoken the client speaks first.
        let held_back = !self.judged && opening == Opening::Tls;
        let upstream_in = !self.down.ended && self.down.waiting().is_empty() && !held_back;
        let client_out = !self.down.waiting().is_empty();
        let upstream_out = self.judged && !self.up.waiting().is_empty();
        let flags = |input, output| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::POLLIN, input);
            flags.set(PollFlags::POLLOUT, output);
            flags
        };
        // A side of which nothing is wanted is left out: the kernel would tell of its end again and again.
        let wanted: Vec<_> = [(client, flags(client_in, client_out)), (upstream, flags(upstream_in, upstream_out))]
            .into_iter()
            .filter(|(_, flags)| !flags.is_empty())
            .collect();
        let mut fds: Vec<_> = wanted.iter().map(|(stream, flags)| PollFd::new(stream.as_fd(), *flags)).collect();
        wait(&mut fds, Instant::now() + IDLE_WAIT)?;
        let ready = |stream: &TcpStream| {
            let mut both = wanted.iter().zip(&fds);
            // An end and an error are found by reading.
            let read = PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR;
            both.any(|((wanted, _), fd)| {
                std::ptr::eq(*wanted, stream) && fd.revents().is_none_or(|flags| flags.intersects(read))
            })
        };
        Ok((client_in && ready(client), upstream_in && ready(upstream)))
    }
}

/// Bytes on their way in one direction.
#[derive(Debug)]
struct Flow {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// The source has ended.
    ended: bool,
    /// The sink was told so.
    told: bool,
    read_bytes: u64,
    sent_bytes: u64,
}

impl Flow {
    fn starting_with(bytes: Vec<u8>) -> Self {
        let end = bytes.len();
        Self { bytes, start: 0, end, ended: false, told: false, read_bytes: 0, sent_bytes: 0 }
    }

    fn waiting(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    fn over(&self) -> bool {
        self.told
    }

    /// Reads once.
    fn read(&mut self, mut source: &TcpStream) -> io::Result<()> {
        use io::Read as _;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.bytes.len() < FLOW_BYTES || self.end == self.bytes.len() {
            let more = (2 * self.bytes.len()).clamp(FLOW_BYTES, FLOW_BYTES_MAX);
            self.bytes.resize(more.max(self.bytes.len()), 0);
        }
        match source.read(&mut self.bytes[self.end..]) {
            Ok(0) => self.ended = true,
            Ok(count) => {
                self.end += count;
                self.read_bytes += count as u64;
                // It came as fast as it could be taken.
                if self.end == self.bytes.len() && self.bytes.len() < FLOW_BYTES_MAX {
                    self.bytes.resize((4 * self.bytes.len()).min(FLOW_BYTES_MAX), 0);
                }
            }
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Writes what can be written, and the end after it.
    fn write(&mut self, mut sink: &TcpStream) -> io::Result<()> {
        use io::Write as _;
        while self.start < self.end {
            match sink.write(&self.bytes[self.start..self.end]) {
                Ok(count) => {
                    self.start += count;
                    self.sent_bytes += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if self.ended && !self.told {
            self.told = true;
            sink.shutdown(Shutdown::Write)?;
        }
        Ok(())
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::super::super::wire::tls::tests::{hello, sni};
    use super::*;

    /// N9 and what is not TLS, at a port for TLS and at another one.
    #[test]
    fn first_bytes_are_judged() {
        let name: HostName = "a.example".parse().unwrap();
        let good = hello(&[sni(b"A.example")], 100);
        let other = hello(&[sni(b"b.example")], 100);
        for opening in [Opening::Tls, Opening::Anything] {
            assert_eq!(judge(b"", &name, opening), Ok(None));
            assert_eq!(judge(&good[..20], &name, opening), Ok(None));
            assert_eq!(judge(&good, &name, opening), Ok(Some(())));
            assert_eq!(judge(&other, &name, opening), Err(DenyReason::NameMismatch));
            assert_eq!(judge(&hello(&[], 100), &name, opening), Err(DenyReason::NameMissing));
        }
        assert_eq!(judge(b"SSH-2.0", &name, Opening::Anything), Ok(Some(())));
        assert_eq!(judge(b"GET / ", &name, Opening::Tls), Err(DenyReason::NotTls));
    }
}
