//! An agent program as a child: its lines come out, ours go in, and it ends.

use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

use super::lines::{Line, Lines};
use crate::clock::{Countdown, within};

/// Messages to the agent that it has not read yet.
const UNREAD_MAX: usize = 64;
/// How long what an agent printed is read when it has ended and something that it left behind could print on.
const LEFTOVER: Duration = Duration::from_secs(1);

/// An agent program at work. Its standard error is ours.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    /// Its process group, with all that it starts and does not move elsewhere.
    group: Option<Pid>,
    lines: Lines<ChildStdout>,
    /// None: its input has ended.
    input: Option<mpsc::Sender<Vec<u8>>>,
    /// When it ended by itself, for how long its output is still read.
    leftover: Option<Countdown>,
}

impl Program {
    /// Starts `command`, whose first word is the program. Of a line of its output no more than so many bytes are held.
    pub(super) fn start(command: &[OsString], line_bytes_max: usize) -> io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        // A group of its own, so that a signal to ours lets us say good-bye to it first.
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let group = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let (input, messages) = mpsc::channel(UNREAD_MAX);
        // Beside reading: an agent may write for as long as it likes before it reads.
        tokio::spawn(write(stdin, messages));
        Ok(Self { child, group, lines: Lines::new(stdout, line_bytes_max), input: Some(input), leftover: None })
    }

    /// Its next line; none when no more comes. Giving up while waiting loses nothing.
    pub(super) async fn line(&mut self) -> io::Result<Option<Line>> {
        loop {
            if let Some(left) = &mut self.leftover {
                if left.left().is_zero() {
                    return Ok(None);
                }
                return left.wait(self.lines.next()).await.unwrap_or(Ok(None));
            }
            tokio::select! {
                biased;
                line = self.lines.next() => return line,
                _ = self.child.wait() => self.leftover = Some(Countdown::of(LEFTOVER)),
            }
        }
    }

    /// Hands it a line, and waits while it has too many unread. One that reads no more is told by its end.
    pub(super) async fn say(&mut self, line: Vec<u8>) {
        if let Some(input) = &self.input
            && input.send(line).await.is_err()
        {
            self.input = None;
        }
    }

    /// Ends its input.
    pub(super) fn hush(&mut self) {
        self.input = None;
    }

    /// How it ended; none when it did not, within `patience`.
    pub(super) async fn ended(&mut self, patience: Duration) -> Option<ExitStatus> {
        within(patience, self.child.wait()).await?.ok()
    }

    /// Ends it, and what it left behind in its group: asks first, and kills when that did nothing for `patience`.
    pub(super) async fn end(&mut self, patience: Duration) {
        let Some(group) = self.group else { return };
        if self.child.id().is_some() && killpg(group, Signal::SIGTERM).is_ok() {
            self.ended(patience).await;
        }
        // No other group has this number as long as somebody is in it.
        if killpg(group, Signal::SIGKILL).is_ok() {
            self.ended(patience).await;
        }
    }
}

/// Writes messages as they come. Ends when none comes any more, or the agent reads none any more.
async fn write(mut stdin: ChildStdin, mut messages: mpsc::Receiver<Vec<u8>>) {
    while let Some(message) = messages.recv().await {
        if stdin.write_all(&message).await.is_err() {
            return;
        }
    }
}
