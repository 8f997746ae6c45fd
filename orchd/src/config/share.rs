//! How much of the host all runs together may use, and what that makes for one of them. Pure but for asking the host.

use orch_sandbox::limit::Ceilings;

/// Parts of the host for all runs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Of the memory, in percent.
    pub(crate) memory_percent: u8,
    /// Of all processors, in percent.
    pub(crate) cpu_percent: u8,
    /// Free space that runs leave on a disk, in bytes.
    pub(crate) disk_free_bytes: u64,
}

/// What the host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HostSize {
    /// Memory in bytes; none when the host does not say.
    pub(super) memory_bytes: Option<u64>,
    pub(super) processors: u32,
}

/// What one run has of memory and processors unless the configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunShare {
    pub(super) memory_bytes: Option<u64>,
    pub(super) cpu_millis: u64,
}

/// Least memory that a run has by itself, in bytes, if the host has that much for runs.
const RUN_MEMORY_MIN: u64 = 2 << 30;
/// Memory is given in whole units of this many bytes, which is what the configuration counts in.
const MEMORY_UNIT: u64 = 1 << 20;

impl HostSize {
    /// Asks the host.
    pub(super) fn measure() -> Self {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let total_kb = text
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        let processors =
            std::thread::available_parallelism().map_or(2, |count| u32::try_from(count.get()).unwrap_or(2));
        Self { memory_bytes: total_kb.map(|kb| kb.saturating_mul(1024)), processors }
    }
}

impl Shares {
    /// Ceilings of all runs together on a host of this size.
    pub(super) fn ceilings(self, host: HostSize) -> Ceilings {
        let memory = host.memory_bytes.map(|bytes| bytes / 100 * u64::from(self.memory_percent));
        Ceilings {
            memory_bytes: memory.map(|bytes| bytes / MEMORY_UNIT * MEMORY_UNIT),
            cpu_millis: Some((u64::from(host.processors) * 10 * u64::from(self.cpu_percent)).max(1)),
            processes: None,
            disk_free_bytes: Some(self.disk_free_bytes),
        }
    }

    /// What is left for one run when `runs_max` of them share the ceilings. Memory that is promised twice is nobody's;
    /// processors are lent to whoever wants them.
    pub(super) fn of_one_run(self, host: HostSize, runs_max: u32) -> RunShare {
        let ceilings = self.ceilings(host);
        let memory = ceilings.memory_bytes.map(|all| {
            let equal = all / u64::from(runs_max.max(1));
            equal.max(RUN_MEMORY_MIN.min(all)) / MEMORY_UNIT * MEMORY_UNIT
        });
        RunShare { memory_bytes: memory.filter(|bytes| *bytes > 0), cpu_millis: ceilings.cpu_millis.unwrap_or(1_000) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_hosts_run_less_at_once_and_large_ones_share_equally() {
        let shares = Shares { memory_percent: 80, cpu_percent: 90, disk_free_bytes: 1 };
        let of = |gigabytes: u64, runs_max| {
            let host = HostSize { memory_bytes: Some(gigabytes << 30), processors: 4 };
            shares.of_one_run(host, runs_max).memory_bytes.unwrap() >> 20
        };
        assert_eq!([of(64, 8), of(8, 8), of(1, 8)], [6_553, 2_048, 819]);
        let host = HostSize { memory_bytes: None, processors: 4 };
        assert_eq!(shares.of_one_run(host, 8), RunShare { memory_bytes: None, cpu_millis: 3_600 });
    }
}
