//! The group of one run.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{AccessFlags, Pid, UnlinkatFlags, faccessat, unlinkat};

use super::files::{directory, field, read, wait_for, write, write_if_there};
use super::subtree::Controllers;

/// Length of the period in which processor time is counted, in microseconds; the kernel's own default.
const CPU_PERIOD_US: u64 = 100_000;
/// Shortest time per period that the kernel accepts, in microseconds.
const CPU_QUOTA_MIN_US: u64 = 1_000;
/// Tries to make a group that a sweep takes away in the moment before it is locked.
const MAKE_TRIES: usize = 5;
/// Longest wait for the end of what is left in a group that nobody wants.
const DROP_WAIT: Duration = Duration::from_secs(2);

/// What one run may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Memory with page cache and temporary files, in bytes.
    pub(crate) memory_bytes: Option<u64>,
    /// Processes and threads, init among them if there is one.
    pub(crate) processes: Option<u64>,
    /// Processor time, in thousandths of one processor.
    pub(crate) cpu_millis: Option<u64>,
}

/// What the kernel says that a group is bounded by; `None` where it says nothing or `max`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ReadBack {
    pub(crate) memory_max: Option<u64>,
    pub(crate) pids_max: Option<u64>,
    /// Quota and period as the file has them.
    pub(crate) cpu_max: Option<String>,
}

/// What the kernel has counted about memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MemoryEvents {
    /// How often the bound of this group itself was reached and nothing could be freed.
    pub(crate) out_of_memory: u64,
    /// Processes of this group that were killed for lack of memory, here or anywhere above.
    pub(crate) killed: u64,
    /// Most memory that was in use, in bytes; 0 before Linux 5.19.
    pub(crate) peak_bytes: u64,
}

/// The group of one run; the process that made it keeps it by a lock. Dropping it ends whatever is left in it, so a forked
/// copy must not be dropped: that would also free the lock for all.
#[derive(Debug)]
pub(crate) struct RunGroup {
    /// The lock is on the open directory, so it ends with the last process that has it open.
    dir: Flock<OwnedFd>,
    runs: OwnedFd,
    name: String,
    controllers: Controllers,
    is_removed: bool,
}

impl Drop for RunGroup {
    fn drop(&mut self) {
        if self.is_removed {
            return;
        }
        // Of a sandbox that was given up before anybody claimed it, or while it was built.
        let deadline = Instant::now() + DROP_WAIT;
        // What cannot be removed now is removed by a sweep.
        end(self.dir.as_fd(), (self.runs.as_fd(), &self.name), deadline).unwrap_or_default();
    }
}

impl RunGroup {
    pub(super) fn make(runs: BorrowedFd<'_>, name: &str, controllers: Controllers) -> Result<Self, Errno> {
        let parent = runs.try_clone_to_owned().map_err(|error| super::files::errno_of(&error))?;
        for _ in 0..MAKE_TRIES {
            match mkdirat(runs, name, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
            let dir = match directory(runs, name) {
                Ok(dir) => dir,
                Err(Errno::ENOENT) => continue,
                Err(errno) => return Err(errno),
            };
            // Nobody but a sweep has this name, too, and that has soon done with it.
            let dir = Flock::lock(dir, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
            // A sweep may have removed it before the lock was there.
            if faccessat(&*dir, "cgroup.procs", AccessFlags::F_OK, AtFlags::empty()).is_ok() {
                return Ok(Self { dir, runs: parent, name: name.to_owned(), controllers, is_removed: false });
            }
        }
        Err(Errno::EAGAIN)
    }

    /// For `CLONE_INTO_CGROUP`: a process that is born into the group was never outside of it.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Moves a process into the group, where it cannot be born there (before Linux 5.7).
    pub(crate) fn attach(&self, pid: Pid) -> Result<(), Errno> {
        write(self.dir.as_fd(), "cgroup.procs", &pid.to_string())
    }

    /// The same for whoever starts processes in it later on; holds no lock.
    pub(crate) fn place(&self) -> Result<OwnedFd, Errno> {
        openat(&*self.dir, ".", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
    }

    pub(crate) fn controllers(&self) -> Controllers {
        self.controllers
    }

    /// Sets what the run may use, as far as there are controllers. May be called again, also while processes live here.
    /// Processor and disk time are shared in equal parts between runs by the kernel's default weights.
    pub(crate) fn limit(&self, bounds: &Bounds) -> Result<(), Errno> {
        let dir = self.dir.as_fd();
        let number = |bound: Option<u64>| bound.map_or_else(|| "max".to_owned(), |bound| bound.to_string());
        if self.controllers.memory {
            // Without this first, a run could reach its bound in swap space on the way.
            write_if_there(dir, "memory.swap.max", "0")?;
            write(dir, "memory.max", &number(bounds.memory_bytes))?;
        }
        if self.controllers.pids {
            write(dir, "pids.max", &number(bounds.processes))?;
        }
        if self.controllers.cpu {
            write_if_there(dir, "cpu.max", &cpu_quota(bounds.cpu_millis))?;
        }
        Ok(())
    }

    /// Asks the kernel what it keeps.
    pub(crate) fn read_back(&self) -> ReadBack {
        let text = |name: &str| read(self.dir.as_fd(), name).ok().map(|text| text.trim().to_owned());
        let number = |name: &str| text(name)?.parse().ok();
        ReadBack {
            memory_max: number("memory.max"),
            pids_max: number("pids.max"),
            cpu_max: text("cpu.max").filter(|quota| !quota.starts_with("max")),
        }
    }

    /// What has happened about memory; nothing without that controller.
    pub(crate) fn memory_events(&self) -> MemoryEvents {
        let Ok(text) = read(self.dir.as_fd(), "memory.events") else { return MemoryEvents::default() };
        let peak = read(self.dir.as_fd(), "memory.peak").ok().and_then(|peak| peak.trim().parse().ok());
        MemoryEvents {
            out_of_memory: field(&text, "oom").unwrap_or_default(),
            killed: field(&text, "oom_kill").unwrap_or_default(),
            peak_bytes: peak.unwrap_or_default(),
        }
    }

    /// Stops every process of the group; none can fork, react or be woken by anything but a kill. Each stands still as soon as
    /// it comes back from what it does in the kernel.
    pub(crate) fn freeze(&self) -> Result<(), Errno> {
        write(self.dir.as_fd(), "cgroup.freeze", "1")
    }

    /// Whether all processes of the group stand still, as the kernel says.
    pub(crate) fn is_frozen(&self) -> Result<bool, Errno> {
        Ok(field(&read(self.dir.as_fd(), "cgroup.events")?, "frozen") == Some(1))
    }

    /// Lets them go on.
    pub(crate) fn thaw(&self) -> Result<(), Errno> {
        write(self.dir.as_fd(), "cgroup.freeze", "0")
    }

    /// Kills every process of the group, init among them if there is one, also while it is frozen. `ENOENT` before Linux 5.14.
    pub(crate) fn kill(&self) -> Result<(), Errno> {
        write(self.dir.as_fd(), "cgroup.kill", "1")
    }

    /// Waits until no process is left; whether that is so.
    pub(crate) fn wait_empty(&self, deadline: Instant) -> Result<bool, Errno> {
        wait_for(self.dir.as_fd(), "populated", 0, deadline)
    }

    /// Removes the group, which must be empty.
    pub(crate) fn remove(mut self) -> Result<(), Errno> {
        let removed = unlinkat(&self.runs, self.name.as_str(), UnlinkatFlags::RemoveDir);
        self.is_removed = removed.is_ok();
        removed
    }
}

/// Moves this process into the group at `place`. Allocates nothing.
pub(crate) fn enter(place: BorrowedFd<'_>) -> Result<(), Errno> {
    write(place, "cgroup.procs", "0")
}

/// The text of `cpu.max`.
pub(super) fn cpu_quota(millis: Option<u64>) -> String {
    match millis {
        None => format!("max {CPU_PERIOD_US}"),
        Some(millis) => {
            let quota = millis.saturating_mul(CPU_PERIOD_US / 1_000).max(CPU_QUOTA_MIN_US);
            format!("{quota} {CPU_PERIOD_US}")
        }
    }
}

/// Kills and removes the group `name` in `runs` unless a shim keeps it.
pub(super) fn remove_left_over(runs: BorrowedFd<'_>, name: &str, deadline: Instant) -> Result<(), Errno> {
    let dir = directory(runs, name)?;
    let dir = match Flock::lock(dir, FlockArg::LockExclusiveNonblock) {
        Ok(dir) => dir,
        Err((_, Errno::EAGAIN)) => return Ok(()),
        Err((_, errno)) => return Err(errno),
    };
    // Nobody answers for what lives in there: its shim, which kept the group, is gone.
    end(dir.as_fd(), (runs, name), deadline)
}

/// Kills what is in the group `dir`, and removes it, which has this name in that group.
fn end(dir: BorrowedFd<'_>, (runs, name): (BorrowedFd<'_>, &str), deadline: Instant) -> Result<(), Errno> {
    match write(dir, "cgroup.kill", "1") {
        // Before Linux 5.14 init sees that its shim is gone.
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno),
    }
    if wait_for(dir, "populated", 0, deadline)? {
        unlinkat(runs, name, UnlinkatFlags::RemoveDir)
    } else {
        Err(Errno::EBUSY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_what_the_kernel_takes() {
        assert_eq!(cpu_quota(None), "max 100000");
        assert_eq!(cpu_quota(Some(1_500)), "150000 100000");
        assert_eq!(cpu_quota(Some(1)), "1000 100000");
    }
}
