//! Talking to a living shim through the control socket of its run directory.
//!
//! One JSON object per line, one answer per request, on a stream socket that answers its own user and root only. The
//! socket is reached through the descriptor of the directory, so a path of any length works. A listener comes as a
//! descriptor with its answer, and values of secrets go as one with their request: they are in no message.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt::AcceptConn};
use serde::{Deserialize, Serialize};

use crate::run_dir::CONTROL_FILE;
use crate::secrets::{Secrets, TransferError};
use crate::sys::channel;

/// Longest request or answer, in bytes.
pub(crate) const MESSAGE_BYTES_MAX: u64 = 4 << 10;
/// Longest wait for an answer. A shim answers between two polls, so this only ends waiting for a broken one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for a listener: longer than a shim gives its sandbox to be built.
const LISTENER_TIMEOUT: Duration = Duration::from_secs(70);
/// Longest wait until values are taken out of a log. All spellings of large ones are many.
const CONCEAL_TIMEOUT: Duration = Duration::from_secs(20);
/// What the reason of a shim begins with that does not know a request.
pub(crate) const NOT_UNDERSTOOD: &str = "not understood";

/// What a client asks of a shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    Cancel,
    Pause,
    Resume,
    Status,
    /// Answered when the listener is there.
    TakeListener {
        name: String,
    },
    /// Comes with the descriptor of sealed secrets, whose values are not to be in the log from the answer on.
    Conceal,
}

/// What a shim answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Answer {
    Done,
    Status(RunStatus),
    /// It comes with this.
    Listener,
    Refused {
        reason: String,
    },
}

/// Where a living run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunStatus {
    /// The attempt.
    pub fence: u64,
    /// What it does.
    pub activity: Activity,
    /// Whether its processes are to stand still, and its time-outs do.
    pub paused: bool,
    /// Whether all its processes were seen to stand still since. False from shims of versions that did not look.
    #[serde(default)]
    pub at_rest: bool,
    /// Index of the step that runs.
    pub step: Option<u16>,
    /// Size of the log so far, in bytes.
    pub log_bytes: u64,
    /// Payload dropped so far, in bytes.
    pub dropped_bytes: u64,
    /// How long nothing was heard of it, in milliseconds: since a step began or wrote something, pauses left out. None from
    /// shims of versions that did not know.
    #[serde(default)]
    pub silent_ms: Option<u64>,
}

/// What a living run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// Builds the sandbox and probes it.
    Starting,
    /// Executes setup or main steps.
    Running,
    /// Kills what is left, executes the always steps, writes the record.
    Finishing,
}

/// Failure to talk to a shim.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// No shim listens: the run has ended or never started.
    #[error("no shim is running in `{}`", dir.display())]
    NotRunning {
        /// The run directory.
        dir: PathBuf,
    },
    /// The socket cannot be reached.
    #[error("failed to connect to the control socket")]
    Connect(#[source] io::Error),
    /// Sending or receiving failed or took too long.
    #[error("failed to talk over the control socket")]
    Exchange(#[source] io::Error),
    /// The answer is not understood.
    #[error("failed to understand the answer of the shim")]
    Decode(#[source] serde_json::Error),
    /// The answer is one to something else.
    #[error("the answer of the shim does not fit the request")]
    Unexpected,
    /// The shim is of a version that knew no such request.
    #[error("the shim is of a version that cannot do this")]
    Unknown,
    /// The values cannot be handed over.
    #[error("failed to hand the values of secrets over")]
    Seal(#[source] TransferError),
    /// The shim says no.
    #[error("refused by the shim: {reason}")]
    Refused {
        /// Its reason.
        reason: String,
    },
}

/// Cancels the run: kills all its processes, then runs the `Always` steps. A second call skips those, too.
///
/// Returns when the shim has accepted it; the exit record says when it is over.
///
/// # Errors
/// When no shim listens or it does not answer.
pub fn cancel(dir: &Path) -> Result<(), ControlError> {
    expect_done(dir, Request::Cancel)
}

/// Stops all processes of the run and its timers.
///
/// Returns when the shim has accepted it; the log and the [`status`] say when all of them stand still.
///
/// # Errors
/// When no shim listens, it does not answer, or the run has no steps to stop now.
pub fn pause(dir: &Path) -> Result<(), ControlError> {
    expect_done(dir, Request::Pause)
}

/// Lets a paused run go on. Harmless when it is not paused.
///
/// # Errors
/// When no shim listens or it does not answer.
pub fn resume(dir: &Path) -> Result<(), ControlError> {
    expect_done(dir, Request::Resume)
}

/// Asks where the run is.
///
/// # Errors
/// When no shim listens or it does not answer.
pub fn status(dir: &Path) -> Result<RunStatus, ControlError> {
    match exchange(dir, &Request::Status, None)? {
        Answer::Status(status) => Ok(status),
        Answer::Refused { reason } => Err(ControlError::Refused { reason }),
        Answer::Done | Answer::Listener => Err(ControlError::Unexpected),
    }
}

/// Has the shim take these values, too, out of what the steps write and ask the network for, from when this returns on. What was
/// written before stays as it is. For values that a run is given while it lives; a name may stand for more than one value, and a
/// value that is taken out already is nothing new.
///
/// # Errors
/// When no shim listens, it does not answer, it is of a version that cannot do this ([`ControlError::Unknown`]), or it holds as
/// many values as it may: then nothing has changed.
pub fn conceal(dir: &Path, values: &Secrets) -> Result<(), ControlError> {
    let sealed = values.seal().map_err(ControlError::Seal)?;
    match exchange(dir, &Request::Conceal, Some((sealed.as_fd(), CONCEAL_TIMEOUT)))? {
        Answer::Done => Ok(()),
        Answer::Refused { reason } if reason.starts_with(NOT_UNDERSTOOD) => Err(ControlError::Unknown),
        Answer::Refused { reason } => Err(ControlError::Refused { reason }),
        Answer::Status(_) | Answer::Listener => Err(ControlError::Unexpected),
    }
}

/// Takes a copy of the listener `name` of the run, to serve it. Waits while the sandbox is being built.
///
/// Any number of copies can be taken, one after another or at once; each connection goes to one of them, and those that
/// wait in the socket (about 1,000) are found by whoever comes next. The socket does not block, which all copies share.
/// When the run has ended, accepting fails with `InvalidInput`; when its shim was killed, only [`watch`] tells. Peers are
/// processes of this run and nobody else. Drop the copy with the run: it keeps the run's network namespace.
///
/// # Errors
/// When no shim listens, the run has no such listener, or it ended before it had.
pub fn take_listener(dir: &Path, name: &str) -> Result<TcpListener, ControlError> {
    let not_running = || ControlError::NotRunning { dir: dir.to_owned() };
    let stream = ask(dir, &Request::TakeListener { name: name.to_owned() }, None, LISTENER_TIMEOUT)?;
    let (mut answer, mut descriptors) = (Vec::new(), Vec::new());
    let mut buffer = [0; 1024];
    while !answer.ends_with(b"\n") && answer.len() as u64 <= MESSAGE_BYTES_MAX {
        match channel::receive(stream.as_fd(), &mut buffer) {
            // The run ended first.
            Ok((0, _)) => return Err(not_running()),
            Ok((len, received)) => {
                answer.extend_from_slice(&buffer[..len]);
                descriptors.extend(received);
            }
            Err(errno) => return Err(broken(dir, errno.into())),
        }
    }
    match (serde_json::from_slice(&answer).map_err(ControlError::Decode)?, descriptors.pop()) {
        (Answer::Listener, Some(listener)) => match getsockopt(&listener, AcceptConn) {
            Ok(true) => Ok(listener.into()),
            // The run has ended since.
            Ok(false) => Err(not_running()),
            Err(errno) => Err(ControlError::Exchange(errno.into())),
        },
        (Answer::Refused { reason }, _) => Err(ControlError::Refused { reason }),
        (Answer::Listener | Answer::Done | Answer::Status(_), _) => Err(ControlError::Unexpected),
    }
}

/// A connection that ends when the shim does, after the exit record was written: wait for it to become readable, then
/// [`inspect`](crate::run_dir::inspect). Costs one descriptor and no process; nothing is ever sent on it.
///
/// # Errors
/// When no shim listens; then there is nothing to wait for.
pub fn watch(dir: &Path) -> Result<UnixStream, ControlError> {
    connect(dir)
}

fn expect_done(dir: &Path, request: Request) -> Result<(), ControlError> {
    match exchange(dir, &request, None)? {
        Answer::Done | Answer::Status(_) => Ok(()),
        Answer::Refused { reason } => Err(ControlError::Refused { reason }),
        Answer::Listener => Err(ControlError::Unexpected),
    }
}

/// Sends `request`, with a copy of `descriptor`; the answer is to be read from the stream within `wait`.
fn ask(
    dir: &Path,
    request: &Request,
    descriptor: Option<BorrowedFd<'_>>,
    wait: Duration,
) -> Result<UnixStream, ControlError> {
    let mut stream = connect(dir)?;
    let mut line = serde_json::to_vec(request).map_err(ControlError::Decode)?;
    line.push(b'\n');
    stream
        .set_read_timeout(Some(wait))
        .and_then(|()| stream.set_write_timeout(Some(ANSWER_TIMEOUT)))
        .and_then(|()| match descriptor {
            Some(descriptor) => send_with(&stream, &line, descriptor),
            None => stream.write_all(&line),
        })
        .map_err(|error| broken(dir, error))?;
    Ok(stream)
}

/// Sends a line in one piece, which is far smaller than what the kernel takes at once.
fn send_with(stream: &UnixStream, line: &[u8], descriptor: BorrowedFd<'_>) -> io::Result<()> {
    loop {
        match channel::send(stream.as_fd(), line, &[descriptor]) {
            Err(Errno::EINTR) => {}
            sent => return sent.map_err(io::Error::from),
        }
    }
}

/// What a broken exchange means: a shim that ends closes connections that it has not looked at.
fn broken(dir: &Path, error: io::Error) -> ControlError {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ControlError::NotRunning { dir: dir.to_owned() },
        _ => ControlError::Exchange(error),
    }
}

/// Asks, if need be with a descriptor and a wait of its own, and reads the answer.
fn exchange(dir: &Path, request: &Request, with: Option<(BorrowedFd<'_>, Duration)>) -> Result<Answer, ControlError> {
    let not_running = || ControlError::NotRunning { dir: dir.to_owned() };
    let (descriptor, wait) = with.map_or((None, ANSWER_TIMEOUT), |(descriptor, wait)| (Some(descriptor), wait));
    let stream = ask(dir, request, descriptor, wait)?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(MESSAGE_BYTES_MAX))
        .read_until(b'\n', &mut answer)
        .map_err(|error| broken(dir, error))?;
    if answer.is_empty() {
        // The shim ended between accepting the connection and answering.
        return Err(not_running());
    }
    serde_json::from_slice(&answer).map_err(ControlError::Decode)
}

fn connect(dir: &Path) -> Result<UnixStream, ControlError> {
    let not_running = || ControlError::NotRunning { dir: dir.to_owned() };
    let handle = match File::open(dir) {
        Ok(handle) => handle,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(not_running()),
        Err(error) => return Err(ControlError::Connect(error)),
    };
    match UnixStream::connect(socket_path(&handle)) {
        Ok(stream) => Ok(stream),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Err(not_running())
        }
        Err(error) => Err(ControlError::Connect(error)),
    }
}

/// A path to the control socket that is short whatever the path of the directory is.
pub(crate) fn socket_path(dir: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{CONTROL_FILE}", dir.as_raw_fd()))
}
