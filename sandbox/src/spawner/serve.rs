//! The spawner process: reads a request, forks a shim, answers when the shim has started or failed.
//!
//! **Invariant:** it has one thread. **Invariant:** a shim keeps nothing of it but the pipe for its one answer. It ends
//! when its daemon closes the socket; its shims do not.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, pipe2, setsid};

use super::{MESSAGE_BYTES_MAX, SpawnRequest, StartAnswer};
use crate::secrets::SealedSecrets;
use crate::shim::{self, Starter};
use crate::sys::process::{self, Disposition, Forked};
use crate::sys::{channel, descriptors};

/// Longest wait for a shim to hold lock and claim; it only has to write a few small files.
const START_WAIT: Duration = Duration::from_secs(10);

/// Failure of the spawner process.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error("failed to take over the socket on standard input")]
    Socket(#[source] io::Error),
    #[error("failed to protect the spawner")]
    Protect(#[source] Errno),
    #[error("failed to prepare signals")]
    Signals(#[source] Errno),
    #[error("failed to read a request")]
    Read(#[source] io::Error),
    #[error("failed to write an answer")]
    Write(#[source] io::Error),
}

/// Serves the daemon at the other end of standard input until it closes.
pub(crate) fn serve() -> Result<(), ServeError> {
    let socket = io::stdin().as_fd().try_clone_to_owned().map_err(ServeError::Socket)?;
    let mut socket = UnixStream::from(socket);
    // Descriptors of secrets pass through here; other processes of the same user must not take them.
    prctl::set_dumpable(false).map_err(ServeError::Protect)?;
    // A session of its own, so that keys pressed in the daemon's terminal do not end runs. It fails only for a process
    // that already leads one.
    match setsid() {
        Ok(_) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(ServeError::Signals(errno)),
    }
    // Nobody waits for a shim; the kernel forgets it when it ends.
    process::set_disposition(Signal::SIGCHLD, Disposition::Ignore).map_err(ServeError::Signals)?;
    loop {
        let (line, secrets) = read_request(&socket).map_err(|errno| ServeError::Read(errno.into()))?;
        if line.is_empty() {
            return Ok(());
        }
        let answer = match serde_json::from_slice(&line) {
            Ok(request) => start(&request, secrets.as_ref()),
            Err(error) => StartAnswer::Failed { reason: format!("request is not understood: {error}") },
        };
        let mut line = serde_json::to_vec(&answer).map_err(|error| ServeError::Write(error.into()))?;
        line.push(b'\n');
        socket.write_all(&line).map_err(ServeError::Write)?;
    }
}

/// The next request, with its secrets if it has any; empty at the end. The daemon waits for the answer before it sends
/// another, so nothing follows the line.
fn read_request(socket: &UnixStream) -> Result<(Vec<u8>, Option<SealedSecrets>), Errno> {
    let (mut line, mut secrets) = (Vec::new(), None);
    let mut buffer = [0; 4096];
    while line.last() != Some(&b'\n') && (line.len() as u64) < MESSAGE_BYTES_MAX {
        match channel::receive(socket.as_fd(), &mut buffer) {
            Ok((0, _)) => break,
            Ok((count, descriptors)) => {
                line.extend_from_slice(&buffer[..count]);
                secrets = descriptors.into_iter().next().map(SealedSecrets::from).or(secrets);
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok((line, secrets))
}

fn start(request: &SpawnRequest, secrets: Option<&SealedSecrets>) -> StartAnswer {
    let failed = |what: &str, errno: Errno| StartAnswer::Failed { reason: format!("{what}: {}", errno.desc()) };
    let (answer, report) = match pipe2(OFlag::O_CLOEXEC) {
        Ok(pipe) => pipe,
        Err(errno) => return failed("failed to make a pipe", errno),
    };
    match process::fork(CloneFlags::empty()) {
        Ok(Forked::Child) => {
            let ran = std::panic::catch_unwind(|| become_shim(request, secrets, report));
            process::exit_now(ran.unwrap_or(crate::cli::EXIT_INTERNAL))
        }
        Ok(Forked::Parent { pid: _, pidfd }) => {
            drop(report);
            match read_answer(&answer) {
                Ok(answer) => answer,
                Err(error) => {
                    // It may still be on its way; without an answer the caller must not believe that it is not.
                    let killed = process::signal_pidfd(pidfd.as_fd(), Signal::SIGKILL);
                    StartAnswer::Failed { reason: format!("shim did not answer: {error}; killed: {killed:?}") }
                }
            }
        }
        Err(errno) => failed("failed to fork", errno),
    }
}

/// Leaves everything of the spawner behind and runs the run.
fn become_shim(request: &SpawnRequest, secrets: Option<&SealedSecrets>, report: OwnedFd) -> i32 {
    let keep: Vec<_> = secrets.map(SealedSecrets::as_fd).into_iter().chain([report.as_fd()]).collect();
    let settled = descriptors::close_all_but(&keep).and_then(|()| {
        let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        dup2_stderr(&null)?;
        setsid()?;
        process::set_disposition(Signal::SIGCHLD, Disposition::Default)
    });
    if settled.is_err() {
        return crate::cli::EXIT_INTERNAL;
    }
    match shim::run(&request.run_dir, Starter::Spawner(File::from(report)), secrets) {
        Ok(_) => 0,
        Err(_) => crate::cli::EXIT_FENCED,
    }
}

fn read_answer(pipe: &OwnedFd) -> io::Result<StartAnswer> {
    let deadline = Instant::now() + START_WAIT;
    let mut line = Vec::new();
    let mut buffer = [0; 4096];
    while !line.contains(&b'\n') {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        match nix::unistd::read(pipe, &mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => line.extend_from_slice(&buffer[..count]),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(serde_json::from_slice(&line)?)
}
