//! The processes that a spawner has started, and those that came to it because their shim died.
//!
//! A shim ends what its run has started before it ends itself. One that is killed does not: then what it was the parent of
//! becomes a child of the spawner, which has not started it and so knows what it is. In a sandbox that is its first process,
//! which the kernel ends, too, and with it all others; without isolation it is whatever the steps had started. **Invariant:** when
//! a run is asked for, everything that a shim of this spawner has left before is killed. **Invariant:** nothing that the spawner
//! has started is.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::unistd::{Pid, getpid};

use crate::cli::EXIT_INTERNAL;
use crate::init::reap::{self, Next, Wait};
use crate::init::{self, Ended};
use crate::watch::{children_of, descendants};

/// Longest time that anybody is kept waiting by what is being killed. It does nothing more then but finish a call of the kernel in
/// which it hangs.
const ORPHANS_WAIT: Duration = Duration::from_secs(2);
/// How often it is looked for meanwhile, though nobody has ended.
const ORPHANS_LOOK: Duration = Duration::from_millis(10);

/// The children of this process.
#[derive(Debug)]
pub(super) struct Children {
    signals: SignalFd,
    /// Those that it has started.
    own: BTreeSet<Pid>,
    /// Whether one of them was killed or has failed, and may have left something.
    has_orphans: bool,
}

impl Children {
    /// Begins to hear of children. Only what is told by [`add`](Self::add) is known.
    pub(super) fn new() -> Result<Self, Errno> {
        Ok(Self { signals: init::child_signals()?, own: BTreeSet::new(), has_orphans: false })
    }

    /// Readable when children have ended.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }

    /// Takes note of one that this process has started.
    pub(super) fn add(&mut self, pid: Pid) {
        self.own.insert(pid);
    }

    /// Collects those that have ended, and kills what they have left when they were killed. Whether that was so.
    pub(super) fn reap(&mut self) -> bool {
        // Another look is taken whenever it is readable again.
        while matches!(self.signals.read_signal(), Ok(Some(_))) {}
        self.collect();
        let had_orphans = self.has_orphans;
        self.end_orphans();
        had_orphans
    }

    fn collect(&mut self) {
        while let Ok(Next::Ended(pid, ended)) = reap::next(Wait::No) {
            // What is not its own ends as it does because it was killed here, or is a sandbox that its shim did not wait for.
            self.has_orphans |= self.own.remove(&pid) && !is_orderly(&ended);
        }
    }

    /// Kills everything that is not its own, until nothing of it is left. The child of one comes here when that ends.
    fn end_orphans(&mut self) {
        let deadline = Instant::now() + ORPHANS_WAIT;
        while self.has_orphans {
            let orphans: Vec<Pid> = children_of(getpid()).into_iter().filter(|pid| !self.own.contains(pid)).collect();
            // What is left after so long is looked for again with the next that leaves something.
            self.has_orphans = !orphans.is_empty() && Instant::now() < deadline;
            for pid in orphans.iter().flat_map(|pid| std::iter::once(*pid).chain(descendants(*pid))) {
                // It has ended in between, or has become another user's, which only root can kill.
                kill(pid, Signal::SIGKILL).unwrap_or_default();
            }
            if !self.has_orphans {
                return;
            }
            let mut fds = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            let rest = PollTimeout::try_from(ORPHANS_LOOK).unwrap_or(PollTimeout::ZERO);
            poll(&mut fds, rest).map(drop).unwrap_or_default();
            while matches!(self.signals.read_signal(), Ok(Some(_))) {}
            self.collect();
        }
    }
}

/// Whether a shim that ended like this has ended by itself, and so what it had started.
fn is_orderly(ended: &Ended) -> bool {
    matches!(ended, Ended::Exited { code } if *code != EXIT_INTERNAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_done_where_nobody_has_ended() {
        let mut children =
            Children { signals: init::child_signals().unwrap(), own: BTreeSet::new(), has_orphans: false };
        children.add(Pid::from_raw(i32::MAX));
        children.end_orphans();
        assert_eq!(children.own.len(), 1);
    }
}
