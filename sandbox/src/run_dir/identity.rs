//! Which process a shim is: by number, start time and boot, so that no other process can be taken for it.

use std::os::fd::AsFd as _;
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::small_file;
use crate::sys::process;

/// Which process the shim of a run is or was. For people and logs; [`inspect`](super::inspect) believes the lock
/// and not this when it says that somebody lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShimIdentity {
    /// Format version of the run directory.
    pub version: u32,
    /// Attempt that it runs.
    pub fence: u64,
    /// Process id in the host's pid namespace.
    pub pid: i32,
    /// Start time of the process in clock ticks since boot.
    pub start_ticks: u64,
    /// Boot of the host.
    pub boot_id: String,
}

impl ShimIdentity {
    /// Whether this very process lives. One that is only not reaped yet does not.
    pub(super) fn lives(&self) -> bool {
        self.boot_id == boot_id() && lives(self.pid, self.start_ticks)
    }

    /// Kills it; whether it lived.
    pub(super) fn kill(&self) -> Result<bool, Errno> {
        let pidfd = match process::open_pidfd(Pid::from_raw(self.pid)) {
            Ok(pidfd) => pidfd,
            Err(Errno::ESRCH) => return Ok(false),
            Err(errno) => return Err(errno),
        };
        // Whoever has the number now is behind the descriptor, whatever becomes of the number.
        if !self.lives() {
            return Ok(false);
        }
        match process::signal_pidfd(pidfd.as_fd(), Signal::SIGKILL) {
            Ok(()) => Ok(true),
            Err(Errno::ESRCH) => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}

/// Which boot of the host this is.
pub(crate) fn boot_id() -> String {
    let id = small_file::text("/proc/sys/kernel/random/boot_id", 64).unwrap_or_default();
    id.trim().to_owned()
}

/// Start time of this process in clock ticks since boot; 0 when `/proc` does not say.
pub(crate) fn start_ticks() -> u64 {
    /// Of whom it was asked last: the answer is another one in a child.
    static KNOWN: Mutex<(i32, u64)> = Mutex::new((0, 0));
    let pid = nix::unistd::getpid().as_raw();
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if known.0 != pid {
        *known = (pid, stat_of(pid).map_or(0, |(ticks, _)| ticks));
    }
    known.1
}

/// Whether the process with this number that was started then lives. One that is only not reaped yet does not.
pub(crate) fn lives(pid: i32, start_ticks: u64) -> bool {
    stat_of(pid).is_some_and(|(ticks, lives)| lives && ticks == start_ticks)
}

/// Start time of a process in clock ticks since boot, and whether it has not ended.
fn stat_of(pid: i32) -> Option<(u64, bool)> {
    let stat = small_file::text(format!("/proc/{pid}/stat"), 4096).ok()?;
    // The name in parentheses can hold anything; what follows it is field 3 on, and the start time is field 22.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    let ticks = fields.nth(18)?.parse().ok()?;
    Some((ticks, !matches!(state, "Z" | "X" | "x")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> ShimIdentity {
        let pid = nix::unistd::getpid().as_raw();
        ShimIdentity { version: 1, fence: 1, pid, start_ticks: start_ticks(), boot_id: boot_id() }
    }

    #[test]
    fn a_process_is_known_by_more_than_its_number() {
        assert!(own().start_ticks > 0 && own().lives());
        let others = [
            ShimIdentity { start_ticks: own().start_ticks + 1, ..own() },
            ShimIdentity { boot_id: "another".into(), ..own() },
            ShimIdentity { pid: i32::MAX, ..own() },
        ];
        for other in others {
            assert!(!other.lives(), "{other:?}");
            assert_eq!(other.kill(), Ok(false), "{other:?}");
        }
    }
}
