//! Signalling and collecting every process of a run: in a pid namespace of its own, in which this process is the first.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

use super::Ended;

/// Most rounds of stopping at once, in which nothing else is done. One is enough unless processes of the run wake each other at
/// that very moment; whoever asked for it asks again.
const STOP_ROUNDS_MAX: usize = 100;

/// Stops every process of this pid namespace but this one. Whether all of them were seen to stand still.
///
/// Whoever is inside a call when it is told to stop finishes the call first, and that may be the one that lets all the
/// others go on. So this looks whether anybody still runs, and tries again.
pub(super) fn stop_all() -> Result<bool, Errno> {
    for _ in 0..STOP_ROUNDS_MAX {
        signal_all(Signal::SIGSTOP)?;
        std::thread::yield_now();
        if !anybody_runs() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Signals every process of this pid namespace but this one. One call reaches all at once: none can fork in between.
pub(super) fn signal_all(signal: Signal) -> Result<(), Errno> {
    ignore_gone(kill(Pid::from_raw(-1), signal))
}

/// Whether to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    No,
    ForOne,
}

/// What there is to know of children.
#[derive(Debug)]
pub(crate) enum Next {
    /// This one has ended.
    Ended(Pid, Ended),
    /// There are some, and none has ended.
    NoneYet,
    /// There is none.
    NoChild,
}

/// Collects the next child that has ended.
pub(crate) fn next(wait: Wait) -> Result<Next, Errno> {
    let flags = match wait {
        Wait::No => WaitPidFlag::WNOHANG | WaitPidFlag::__WALL,
        Wait::ForOne => WaitPidFlag::__WALL,
    };
    loop {
        match waitpid(None, Some(flags)) {
            Ok(WaitStatus::Exited(pid, code)) => return Ok(Next::Ended(pid, Ended::Exited { code })),
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                return Ok(Next::Ended(pid, Ended::Signalled { signal: signal as i32 }));
            }
            Ok(WaitStatus::StillAlive) => return Ok(Next::NoneYet),
            Err(Errno::ECHILD) => return Ok(Next::NoChild),
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

/// Whether a thread of this pid namespace, besides this process, runs or could be woken to.
fn anybody_runs() -> bool {
    let own = getpid().to_string();
    // Of what cannot be seen nobody says that it stands still.
    let Ok(processes) = std::fs::read_dir("/proc") else { return true };
    let others = processes.flatten().filter(|entry| {
        let name = entry.file_name();
        name.to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()) && name != own)
    });
    let threads = others.flat_map(|entry| std::fs::read_dir(entry.path().join("task")).into_iter().flatten().flatten());
    let states = threads.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    // The name in parentheses can hold anything; the state follows it. What waits for a disk or for its own child stops
    // before it comes back.
    states
        .filter_map(|stat| stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()))
        .any(|state| matches!(state, 'R' | 'S'))
}
