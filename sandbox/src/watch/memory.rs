//! The memory of a whole run, summed up from outside.
//!
//! Counted: private memory of every process, with what is swapped out; shared memory and temporary files, mapped or not;
//! memory files (`memfd_create`) and deleted temporary files that only a descriptor holds. Not counted: page cache, which
//! the kernel takes back by itself, memory of the kernel for the run, System V shared memory that nobody maps, and memory
//! files of a process that hides its descriptors.
//!
//! First cheaply and too much: pages that several processes share count for each. Only when that is over the bound, the
//! kernel is asked for each process's share, which costs it a walk over all pages.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;

use nix::sys::stat::fstat;
use nix::sys::statfs::fstatfs;
use nix::unistd::Pid;

use super::descendants;
use crate::spec::HOME_INSIDE;

/// The temporary file systems of a run. Init hands out a descriptor of each, by which they can be asked from outside.
pub(crate) const TMPFS_INSIDE: [&str; 3] = ["/tmp", "/dev/shm", HOME_INSIDE];
/// Most descriptors that one look goes through, of all processes together.
const DESCRIPTORS_MAX: usize = 16 << 10;
/// Unit of `st_blocks`, in bytes, whatever the file system.
const BLOCK_BYTES: u64 = 512;

/// Sums up the memory of one run.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    init: Pid,
    tmpfs: Vec<OwnedFd>,
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
        Self { init, tmpfs }
    }

    /// What the run uses, in bytes. Exact only as far as needed to tell whether it is more than `bound`.
    pub(crate) fn used(&self, bound: u64) -> u64 {
        let mut family = descendants(self.init);
        family.push(self.init);
        let files = self.temporary_files() + self.memory_files(&family);
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

    /// Files without a name that no temporary file system of the run counts.
    fn memory_files(&self, family: &[Pid]) -> u64 {
        let counted: Vec<u64> = self.tmpfs.iter().filter_map(|fs| fstat(fs).ok()).map(|stat| stat.st_dev).collect();
        let mut found = BTreeMap::new();
        let mut left = DESCRIPTORS_MAX;
        for pid in family {
            let Ok(listing) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
            for entry in listing.flatten() {
                let Some(rest) = left.checked_sub(1) else { return found.values().sum() };
                left = rest;
                let is_memory = std::fs::read_link(entry.path()).is_ok_and(|target| {
                    let name = target.as_os_str().as_encoded_bytes();
                    name.starts_with(b"/memfd:") || name.starts_with(b"/dev/zero (deleted)")
                });
                if is_memory
                    && let Ok(file) = std::fs::metadata(entry.path())
                    && !counted.contains(&file.dev())
                {
                    found.insert((file.dev(), file.ino()), file.blocks().saturating_mul(BLOCK_BYTES));
                }
            }
        }
        found.values().sum()
    }
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
