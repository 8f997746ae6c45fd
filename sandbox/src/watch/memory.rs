//! The memory of a whole run, summed up from outside.
//!
//! Counted: private memory of every process, with what is swapped out; shared memory and temporary files, mapped or not;
//! memory files (`memfd_create`) and deleted temporary files that only a descriptor holds. Not counted: page cache, which
//! the kernel takes back by itself, memory of the kernel for the run, System V shared memory that nobody maps, and memory
//! files of a process that hides its descriptors.
//!
//! First cheaply and too much: pages that several processes share count for each. Only when that is over the bound, the
//! kernel is asked for each process's share, which costs it a walk over all pages.

use std::os::fd::OwnedFd;

use nix::sys::stat::fstat;
use nix::sys::statfs::fstatfs;
use nix::unistd::Pid;

use super::descendants;
use super::unnamed::unnamed;
use crate::spec::HOME_INSIDE;

/// The temporary file systems of a run. Init hands out a descriptor of each, by which they can be asked from outside.
pub(crate) const TMPFS_INSIDE: [&str; 3] = ["/tmp", "/dev/shm", HOME_INSIDE];

/// Sums up the memory of one run.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    init: Pid,
    tmpfs: Vec<OwnedFd>,
    devices: Vec<u64>,
}

/// What the processes of a run have, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Mapped {
    private: u64,
    shared: u64,
}

impl MemoryWatch {
    /// Watches the run of `init`, whose temporary file systems are reached by `tmpfs`.
    pub(crate) fn new(init: Pid, tmpfs: Vec<OwnedFd>) -> Self {
        let devices = devices_of(&tmpfs);
        Self { init, tmpfs, devices }
    }

    /// What the run uses, in bytes. Exact only as far as needed to tell whether it is more than `bound`.
    pub(crate) fn used(&self, bound: u64) -> u64 {
        let mut family = descendants(self.init);
        family.push(self.init);
        let files = self.temporary_files() + unnamed(&family, &self.devices).memory;
        let cheap = sum(&family, mapped_by_status);
        let most = cheap.private + cheap.shared + files;
        if most <= bound {
            return most;
        }
        let shares = sum(&family, |pid| mapped_by_shares(pid).or_else(|| mapped_by_status(pid)));
        // What is mapped of temporary files is also in `files`.
        shares.private + shares.shared.max(files)
    }

    fn temporary_files(&self) -> u64 {
        let used = |fs: &OwnedFd| {
            let found = fstatfs(fs).ok()?;
            let block_bytes = u64::try_from(found.block_size()).unwrap_or_default();
            Some(found.blocks().saturating_sub(found.blocks_free()).saturating_mul(block_bytes))
        };
        self.tmpfs.iter().filter_map(used).sum()
    }
}

/// The devices of file systems.
pub(crate) fn devices_of(systems: &[OwnedFd]) -> Vec<u64> {
    systems.iter().filter_map(|system| fstat(system).ok()).map(|stat| stat.st_dev).collect()
}

fn sum(family: &[Pid], mapped: impl Fn(Pid) -> Option<Mapped>) -> Mapped {
    // A process that has ended in between has nothing.
    family.iter().filter_map(|pid| mapped(*pid)).fold(Mapped::default(), |sum, found| Mapped {
        private: sum.private.saturating_add(found.private),
        shared: sum.shared.saturating_add(found.shared),
    })
}

/// Everything that is mapped, readable for everybody.
fn mapped_by_status(pid: Pid) -> Option<Mapped> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Mapped {
        private: kilobytes(&text, "RssAnon:")?.saturating_add(kilobytes(&text, "VmSwap:").unwrap_or_default()),
        shared: kilobytes(&text, "RssShmem:")?,
    })
}

/// The share of what is mapped; `None` where the kernel does not say, or not to us.
fn mapped_by_shares(pid: Pid) -> Option<Mapped> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    Some(Mapped {
        private: kilobytes(&text, "Pss_Anon:")?.saturating_add(kilobytes(&text, "SwapPss:").unwrap_or_default()),
        shared: kilobytes(&text, "Pss_Shmem:")?,
    })
}

/// The value of a line like `RssAnon:     12 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_understood() {
        let status = "Name:\tx\nRssAnon:\t    1024 kB\nRssFile:\t 9 kB\nRssShmem:\t       4 kB\nVmSwap:\t 1 kB\n";
        assert_eq!(kilobytes(status, "RssAnon:"), Some(1 << 20));
        assert_eq!(kilobytes(status, "VmSwap:"), Some(1024));
        assert_eq!(kilobytes(status, "VmLck:"), None);
        assert_eq!(kilobytes("RssAnon: x kB", "RssAnon:"), None);
    }

    /// This very process has some memory, and asking for its share works.
    #[test]
    fn the_own_process_has_memory() {
        let own = nix::unistd::getpid();
        let (all, share) = (mapped_by_status(own).unwrap(), mapped_by_shares(own).unwrap());
        assert!(all.private > 0);
        assert!(share.private > 0);
    }
}
