//! The spawner process: reads a request, forks a shim, answers when the shim has started or failed.
//!
//! **Invariant:** it has one thread. **Invariant:** a shim keeps nothing of it but the pipe for its one answer. It ends
//! when its daemon closes the socket; its shims do not.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, pipe2, setsid};

use super::{MESSAGE_BYTES_MAX, SpawnRequest, StartAnswer};
use crate::shim::{self, Starter};
use crate::sys::descriptors;
use crate::sys::process::{self, Disposition, Forked};

/// Longest wait for a shim to hold lock and claim; it only has to write a few small files.
const START_WAIT: Duration = Duration::from_secs(10);

/// Failure of the spawner process.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error("failed to take over the socket on standard input")]
    Socket(#[source] io::Error),
    #[error("failed to prepare signals")]
    Signals(#[source] Errno),
    #[error("failed to raise the limit of descriptors")]
    Limit(#[source] Errno),
    #[error("failed to read a request")]
    Read(#[source] io::Error),
    #[error("failed to write an answer")]
    Write(#[source] io::Error),
}

/// Serves the daemon at the other end of standard input until it closes.
pub(crate) fn serve() -> Result<(), ServeError> {
    let socket = io::stdin().as_fd().try_clone_to_owned().map_err(ServeError::Socket)?;
    let mut socket = BufReader::new(UnixStream::from(socket));
    // A session of its own, so that keys pressed in the daemon's terminal do not end runs. It fails only for a process
    // that already leads one.
    match setsid() {
        Ok(_) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(ServeError::Signals(errno)),
    }
    // Shims pass descriptors, and the kernel refuses that to a user of whom more are on their way than the sender may
    // have open: a run could keep every other one from starting. So the limit is above that of any run.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).map_err(ServeError::Limit)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).map_err(ServeError::Limit)?;
    // Nobody waits for a shim; the kernel forgets it when it ends.
    process::set_disposition(Signal::SIGCHLD, Disposition::Ignore).map_err(ServeError::Signals)?;
    loop {
        let mut line = Vec::new();
        let got = (&mut socket).take(MESSAGE_BYTES_MAX).read_until(b'\n', &mut line).map_err(ServeError::Read)?;
        if got == 0 {
            return Ok(());
        }
        let answer = match serde_json::from_slice(&line) {
            Ok(request) => start(&request),
            Err(error) => StartAnswer::Failed { reason: format!("request is not understood: {error}") },
        };
        let mut line = serde_json::to_vec(&answer).map_err(|error| ServeError::Write(error.into()))?;
        line.push(b'\n');
        socket.get_mut().write_all(&line).map_err(ServeError::Write)?;
    }
}

fn start(request: &SpawnRequest) -> StartAnswer {
    let failed = |what: &str, errno: Errno| StartAnswer::Failed { reason: format!("{what}: {}", errno.desc()) };
    let (answer, report) = match pipe2(OFlag::O_CLOEXEC) {
        Ok(pipe) => pipe,
        Err(errno) => return failed("failed to make a pipe", errno),
    };
    match process::fork(CloneFlags::empty()) {
        Ok(Forked::Child) => {
            let ran = std::panic::catch_unwind(|| become_shim(request, report));
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
fn become_shim(request: &SpawnRequest, report: OwnedFd) -> i32 {
    let settled = descriptors::close_all_but(&[report.as_fd()]).and_then(|()| {
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
    match shim::run(&request.run_dir, Starter::Spawner(File::from(report))) {
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
