//! Limits of a whole run: which one was exceeded, and the ceilings of all runs together.
//!
//! Plain data. How limits are kept is with `cgroup` and `watch`.

use serde::{Deserialize, Serialize};

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// Memory of all processes of the run with its temporary files.
    Memory,
    /// Disk space of workspace and results.
    Disk,
    /// Memory of all runs together, or of the host: it was used up, and a process of this run had the most.
    HostMemory,
    /// Free space of the file system that the run writes to: it was growing when too little was left for everybody else.
    DiskFree,
    /// Free files of that file system, each of which needs an inode: it made some when too few were left for everybody else.
    FilesFree,
}

/// The free space that a file system must have is never more than this part of it; of its files this part must be free.
pub const FREE_PART: u64 = 20;

/// A limit that a run has exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Excess {
    /// Which one.
    pub limit: LimitKind,
    /// The bound, in bytes, or a number of files; 0 when it is not the run's own.
    pub allowed: u64,
    /// What was found, in bytes, or a number of files; 0 when that is not known. When the kernel keeps the limit, it is never more than the bound,
    /// and it may be less when the run kept the rest from being counted.
    pub found: u64,
}

/// Ceilings of all runs together and of what they leave to the host; `None` sets none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ceilings {
    /// Memory of all runs together, in bytes. Needs a cgroup.
    pub memory_bytes: Option<u64>,
    /// Processor time of all runs together, in thousandths of one processor. Needs a cgroup.
    pub cpu_millis: Option<u64>,
    /// Processes and threads of all runs together. Needs a cgroup.
    pub processes: Option<u64>,
    /// Free space that runs leave on the file system of their workspace, in bytes, but never more than 5 % of it.
    pub disk_free_bytes: Option<u64>,
}

impl std::fmt::Display for Excess {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (allowed, found) = (bytes_text(self.allowed), bytes_text(self.found));
        match self.limit {
            LimitKind::Memory | LimitKind::Disk => {
                let name = if self.limit == LimitKind::Memory { "memory" } else { "disk" };
                write!(out, "{name} limit of {allowed} exceeded")?;
                if self.found > self.allowed { write!(out, ": {found} in use") } else { Ok(()) }
            }
            LimitKind::HostMemory => out.write_str(
                "the memory of the host or that of all runs together was used up, and this run had the most",
            ),
            LimitKind::DiskFree => {
                write!(
                    out,
                    "the disk is nearly full: {found} are free, {allowed} must be left, and the run was growing"
                )
            }
            LimitKind::FilesFree => write!(
                out,
                "the disk has nearly no room for further files: {} are free, {} must be left, and the run was growing",
                self.found, self.allowed
            ),
        }
    }
}

/// A size as people read it: `512 bytes`, `1 GiB`, `1.2 GiB`. Rounded down.
pub(crate) fn bytes_text(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let Some((unit, name)) = UNITS.into_iter().find(|(unit, _)| bytes >= *unit) else {
        return format!("{bytes} bytes");
    };
    let (whole, tenth) = (bytes / unit, bytes % unit / (unit / 10));
    // The last tenth is a little larger than the others.
    match tenth.min(9) {
        0 => format!("{whole} {name}"),
        tenth => format!("{whole}.{tenth} {name}"),
    }
}

/// A time as people read it: `10 min`, `90 s`, `1500 ms`.
pub(crate) fn span_text(ms: u64) -> String {
    match ms {
        ms if ms > 0 && ms.is_multiple_of(60_000) => format!("{} min", ms / 60_000),
        ms if ms > 0 && ms.is_multiple_of(1_000) => format!("{} s", ms / 1_000),
        ms => format!("{ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        let sizes = [0, 1023, 1024, 1536, (1 << 20) - 1, 1 << 30, 1280 << 20, u64::MAX];
        let texts = sizes.map(bytes_text);
        assert_eq!(
            texts,
            ["0 bytes", "1023 bytes", "1 KiB", "1.5 KiB", "1023.9 KiB", "1 GiB", "1.2 GiB", "16777215.9 TiB"]
        );
        assert_eq!([0, 999, 1_500, 2_000, 600_000].map(span_text), ["0 ms", "999 ms", "1500 ms", "2 s", "10 min"]);
    }
}
