//! Signalling and collecting every process of a run.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

use super::Ended;
use crate::spec::Isolation;
use crate::watch::descendants;

/// How the processes of the run are found.
#[derive(Debug, Clone, Copy)]
pub(super) enum Family {
    /// They are all that a pid namespace holds.
    Namespace,
    /// They descend from this process, to which orphans return.
    Descendants,
}

impl Family {
    pub(super) fn of(isolation: Isolation) -> Self {
        match isolation {
            Isolation::Sandboxed => Self::Namespace,
            Isolation::None => Self::Descendants,
        }
    }

    /// Signals every process of the run but this one.
    pub(super) fn signal(self, signal: Signal) -> Result<(), Errno> {
        match self {
            // One call reaches all at once: none can fork in between.
            Self::Namespace => ignore_gone(kill(Pid::from_raw(-1), signal)),
            Self::Descendants => descendants(getpid()).into_iter().try_for_each(|pid| ignore_gone(kill(pid, signal))),
        }
    }
}

/// Whether to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    No,
    ForOne,
}

/// The next child that has ended; `None` when there is none, or none yet if not waiting.
pub(super) fn next(wait: Wait) -> Result<Option<(Pid, Ended)>, Errno> {
    let flags = match wait {
        Wait::No => WaitPidFlag::WNOHANG | WaitPidFlag::__WALL,
        Wait::ForOne => WaitPidFlag::__WALL,
    };
    loop {
        match waitpid(None, Some(flags)) {
            Ok(WaitStatus::Exited(pid, code)) => return Ok(Some((pid, Ended::Exited { code }))),
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                return Ok(Some((pid, Ended::Signalled { signal: signal as i32 })));
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(None),
            // Stops are not asked for, and an interrupted wait is no news.
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn ignore_gone(sent: Result<(), Errno>) -> Result<(), Errno> {
    match sent {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno),
    }
}
