//! The control socket: accepts, reads one request per line, answers.
//!
//! Knows requests and answers, not what they do. **Invariant:** only the shim's own user and root are heard.
//! **Invariant:** nothing here blocks, and what one client can occupy is bounded.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use crate::control::{Answer, MESSAGE_BYTES_MAX, Request, socket_path};
use crate::run_dir::CONTROL_FILE;

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
}

/// What came of reading from a client.
enum Heard {
    Line(Vec<u8>),
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

    /// Serves whoever is ready; `answer` decides each request.
    pub(super) fn serve(&mut self, mut answer: impl FnMut(Request) -> Answer) {
        self.accept();
        self.clients.retain_mut(|client| {
            loop {
                match client.hear() {
                    Heard::Line(line) => {
                        let answered = match serde_json::from_slice(&line) {
                            Ok(request) => answer(request),
                            Err(error) => Answer::Refused { reason: format!("not understood: {error}") },
                        };
                        if client.say(&answered).is_err() {
                            return false;
                        }
                    }
                    Heard::Nothing => return true,
                    Heard::Gone => return false,
                }
            }
        });
    }

    fn accept(&mut self) {
        // Any error here is that of one connection, or none is waiting.
        while let Ok((stream, _)) = self.listener.accept() {
            let allowed = getsockopt(&stream, PeerCredentials)
                .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw());
            if allowed && self.clients.len() < CLIENTS_MAX && stream.set_nonblocking(true).is_ok() {
                self.clients.push(Client { stream, received: Vec::new() });
            }
        }
    }
}

impl Client {
    fn hear(&mut self) -> Heard {
        let mut buffer = [0; 1024];
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let rest = self.received.split_off(end + 1);
                return Heard::Line(std::mem::replace(&mut self.received, rest));
            }
            if self.received.len() as u64 > MESSAGE_BYTES_MAX {
                return Heard::Gone;
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Heard::Gone,
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Heard::Nothing,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Heard::Gone,
            }
        }
    }

    /// Answers; a client that does not read its answers is dropped by the error of a full socket.
    fn say(&mut self, answer: &Answer) -> io::Result<()> {
        let mut line = serde_json::to_vec(answer)?;
        line.push(b'\n');
        self.stream.write_all(&line)
    }
}
