//! The control socket: accepts, reads one request per line, answers.
//!
//! Knows requests and answers, not what they do. **Invariant:** only the shim's own user and root are heard.
//! **Invariant:** nothing here blocks, and what one client can occupy is bounded: a line, and one descriptor that came with it,
//! which goes with the line. Requests of one client are answered in their order, so those behind one that has to wait do, too.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use crate::control::{Answer, MESSAGE_BYTES_MAX, NOT_UNDERSTOOD, Request, socket_path};
use crate::run_dir::CONTROL_FILE;
use crate::sys::channel;

/// Most clients at once; further ones are turned away.
const CLIENTS_MAX: usize = 16;

/// The listening socket and its clients.
#[derive(Debug)]
pub(super) struct ControlServer {
    listener: UnixListener,
    clients: Vec<Client>,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    received: Vec<u8>,
    /// What came with the line that is not whole yet.
    descriptor: Option<OwnedFd>,
    /// What it has asked and cannot be answered yet.
    waiting: Option<Request>,
}

/// What a request is answered with.
#[derive(Debug)]
pub(super) enum Served<'a> {
    Now(Answer),
    /// A copy of the descriptor comes with it.
    With(Answer, BorrowedFd<'a>),
    /// It is asked again when anything has happened.
    Later,
}

/// What came of reading from a client.
enum Heard {
    Line(Vec<u8>),
    Nothing,
    Gone,
}

/// What came of reading once.
enum Read {
    More,
    Nothing,
    Gone,
}

impl ControlServer {
    /// Listens in the run directory `dir`.
    pub(super) fn listen(dir: &File) -> io::Result<Self> {
        match unlinkat(dir, CONTROL_FILE, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        let listener = UnixListener::bind(socket_path(dir))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, clients: Vec::new() })
    }

    /// Every descriptor to wait on: the listener first, then the clients.
    pub(super) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        std::iter::once(self.listener.as_fd()).chain(self.clients.iter().map(|client| client.stream.as_fd())).collect()
    }

    /// Serves whoever is ready; `answer` decides each request, with the descriptor that came with it.
    pub(super) fn serve<'a>(&mut self, mut answer: impl FnMut(&Request, Option<OwnedFd>) -> Served<'a>) {
        self.accept();
        self.clients.retain_mut(|client| client.serve(&mut answer));
    }

    fn accept(&mut self) {
        // Any error here is that of one connection, or none is waiting.
        while let Ok((stream, _)) = self.listener.accept() {
            let allowed = getsockopt(&stream, PeerCredentials)
                .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw());
            if allowed && self.clients.len() < CLIENTS_MAX && stream.set_nonblocking(true).is_ok() {
                self.clients.push(Client { stream, received: Vec::new(), descriptor: None, waiting: None });
            }
        }
    }
}

impl Client {
    /// Answers what it asks; `false` when it has gone.
    fn serve<'a>(&mut self, answer: &mut impl FnMut(&Request, Option<OwnedFd>) -> Served<'a>) -> bool {
        loop {
            let (request, descriptor) = match self.waiting.take() {
                Some(request) => (Ok(request), None),
                None => match self.hear() {
                    Heard::Line(line) => (serde_json::from_slice::<Request>(&line), self.descriptor.take()),
                    Heard::Nothing => return true,
                    Heard::Gone => return false,
                },
            };
            let served = match &request {
                Ok(request) => answer(request, descriptor),
                Err(error) => Served::Now(Answer::Refused { reason: format!("{NOT_UNDERSTOOD}: {error}") }),
            };
            let said = match served {
                Served::Now(answer) => self.say(&answer, &[]),
                Served::With(answer, descriptor) => self.say(&answer, &[descriptor]),
                Served::Later => {
                    self.waiting = request.ok();
                    return self.is_there();
                }
            };
            if said.is_err() {
                return false;
            }
        }
    }

    /// Takes in what it has sent, so that it does not stay readable while it waits; `false` when it has gone.
    fn is_there(&mut self) -> bool {
        loop {
            match self.read() {
                Read::More => {}
                Read::Nothing => return true,
                Read::Gone => return false,
            }
        }
    }

    fn hear(&mut self) -> Heard {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let rest = self.received.split_off(end + 1);
                return Heard::Line(std::mem::replace(&mut self.received, rest));
            }
            match self.read() {
                Read::More => {}
                Read::Nothing => return Heard::Nothing,
                Read::Gone => return Heard::Gone,
            }
        }
    }

    fn read(&mut self) -> Read {
        let mut buffer = [0; 1024];
        if self.received.len() as u64 > MESSAGE_BYTES_MAX {
            return Read::Gone;
        }
        match channel::receive(self.stream.as_fd(), &mut buffer) {
            Ok((0, _)) => Read::Gone,
            Ok((count, descriptors)) => {
                self.received.extend_from_slice(&buffer[..count]);
                // No request has more than one.
                if let Ok([descriptor]) = <[OwnedFd; 1]>::try_from(descriptors) {
                    self.descriptor = Some(descriptor);
                }
                Read::More
            }
            Err(Errno::EAGAIN) => Read::Nothing,
            Err(_) => Read::Gone,
        }
    }

    /// Answers; a client that does not read its answers is dropped by the error of a full socket. An answer is far smaller
    /// than what the kernel sends in one piece.
    fn say(&self, answer: &Answer, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut line = serde_json::to_vec(answer)?;
        line.push(b'\n');
        channel::send(self.stream.as_fd(), &line, descriptors).map_err(io::Error::from)
    }
}
