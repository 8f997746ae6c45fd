//! The output of steps on its way into the log.
//!
//! One pipe per stream of each step, so that a process left over from one step is never taken for the next.

use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{pipe2, read};

use crate::clock::unix_us;
use crate::log::{LineCutter, LogWriter, Stream};
use crate::redact::{Patterns, Redactor};

/// How long an incomplete line waits for its end before it is shown.
const PARTIAL_WAIT: Duration = Duration::from_millis(500);
/// Most bytes taken from one stream before the others have their turn.
const TURN_BYTES_MAX: usize = 1 << 20;
const BUFFER_BYTES: usize = 64 << 10;
/// What is read first.
const LITTLE_BYTES: usize = 4 << 10;

/// Where output goes besides the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Echo {
    Nothing,
    /// To the standard streams of the shim, as it is.
    Stdio,
}

/// The shim's end of one stream.
#[derive(Debug)]
pub(super) struct StepStream {
    pipe: OwnedFd,
    /// Between the pipe and everybody who reads; `None` in a run without secrets.
    redactor: Option<Redactor>,
    /// What has come out of it.
    clear: Vec<u8>,
    cutter: LineCutter,
    stream: Stream,
    partial_since: Option<Instant>,
}

/// Whether more can come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Open {
        /// What came, in bytes.
        taken: usize,
    },
    Ended,
}

/// A pipe whose reading end does not block: reading end, writing end.
pub(super) fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
    // Only this end: whether the other blocks is seen by the job.
    fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((ours, theirs))
}

impl StepStream {
    /// The stream of the step with index `step` that is read from `pipe`.
    pub(super) fn new(pipe: OwnedFd, stream: Stream, step: u16, redactor: Option<Redactor>) -> Self {
        let cutter = LineCutter::new(stream, step);
        Self { pipe, redactor, clear: Vec::new(), cutter, stream, partial_since: None }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Takes other values out of what is read from now on, the first of which are those of before.
    pub(super) fn conceal(&mut self, patterns: &Arc<Patterns>) {
        match &mut self.redactor {
            Some(redactor) => redactor.change(patterns),
            None => self.redactor = Some(Redactor::new(patterns)),
        }
    }

    /// Moves what is there into the log, a bounded amount of it.
    pub(super) fn drain(&mut self, now: Instant, log: &mut LogWriter, echo: Echo) -> Progress {
        // Most steps write little, and most turns are about something else: for that the large one need not be cleared.
        let (mut little, mut much) = ([0; LITTLE_BYTES], Vec::new());
        let mut taken = 0;
        while taken < TURN_BYTES_MAX {
            let buffer = if taken < LITTLE_BYTES { little.as_mut_slice() } else { much.as_mut_slice() };
            match read(&self.pipe, buffer) {
                Ok(0) => return Progress::Ended,
                Ok(count) => {
                    let bytes = match &mut self.redactor {
                        Some(redactor) => {
                            self.clear.clear();
                            redactor.feed(&buffer[..count], &mut self.clear);
                            self.clear.as_slice()
                        }
                        None => &buffer[..count],
                    };
                    self.cutter.feed(bytes, unix_us(), log);
                    show(self.stream, bytes, echo);
                    taken += count;
                    if taken >= LITTLE_BYTES && much.is_empty() {
                        much.resize(BUFFER_BYTES, 0);
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                // A pipe has no other errors; an end that cannot be read has ended.
                Err(_) => return Progress::Ended,
            }
        }
        self.partial_since = match (self.cutter.has_partial(), taken) {
            (false, _) => None,
            (true, 0) => self.partial_since,
            (true, _) => Some(now),
        };
        Progress::Open { taken }
    }

    /// When the incomplete line is to be shown.
    pub(super) fn partial_deadline(&self) -> Option<Instant> {
        self.partial_since.and_then(|since| since.checked_add(PARTIAL_WAIT))
    }

    /// Shows the incomplete line when it has waited long enough, but nothing of what may be the beginning of a secret.
    pub(super) fn show_partial(&mut self, now: Instant, log: &mut LogWriter) {
        if self.partial_deadline().is_some_and(|deadline| deadline <= now) {
            self.cutter.flush_partial(unix_us(), log);
            self.partial_since = None;
        }
    }

    /// Ends the stream in the log.
    pub(super) fn finish(mut self, log: &mut LogWriter, echo: Echo) {
        if let Some(redactor) = self.redactor.take() {
            self.clear.clear();
            redactor.finish(&mut self.clear);
            self.cutter.feed(&self.clear, unix_us(), log);
            show(self.stream, &self.clear, echo);
        }
        self.cutter.finish(unix_us(), log);
    }
}

/// Shows the bytes to the person who started the run; one who has gone misses nothing that the log does not have.
fn show(stream: Stream, bytes: &[u8], echo: Echo) {
    if echo == Echo::Nothing {
        return;
    }
    let written = match stream {
        Stream::Stdout => std::io::stdout().write_all(bytes).and_then(|()| std::io::stdout().flush()),
        Stream::Stderr | Stream::Control => std::io::stderr().write_all(bytes),
    };
    drop(written);
}
