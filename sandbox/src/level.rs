//! Isolation levels and the report that says which guarantees a run really has.
//!
//! Knows guarantees and levels, not how one is probed. **Invariant:** a level is computed from probe evidence only,
//! never from what the sandbox tried to set up. **Invariant:** a guarantee that no probe spoke about is absent.

use serde::{Deserialize, Serialize};

/// How much isolation a run has; a higher level holds everything that a lower one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Level {
    /// 0: a plain child process.
    None,
    /// 1: landlock only, host processes visible.
    Landlock,
    /// 2: all namespaces, but landlock or the system call filter is missing.
    Namespaces,
    /// 3: namespaces, landlock, system call filter; memory and processor limits are per process.
    Full,
    /// 4: level 3 with limits for the whole run by a delegated cgroup v2.
    FullWithLimits,
}

/// A number that names no level.
#[derive(Debug, thiserror::Error)]
#[error("isolation level is between 0 and 4: {0}")]
pub struct UnknownLevel(u8);

impl TryFrom<u8> for Level {
    type Error = UnknownLevel;

    fn try_from(number: u8) -> Result<Self, UnknownLevel> {
        match number {
            0 => Ok(Self::None),
            1 => Ok(Self::Landlock),
            2 => Ok(Self::Namespaces),
            3 => Ok(Self::Full),
            4 => Ok(Self::FullWithLimits),
            _ => Err(UnknownLevel(number)),
        }
    }
}

impl From<Level> for u8 {
    fn from(level: Level) -> Self {
        match level {
            Level::None => 0,
            Level::Landlock => 1,
            Level::Namespaces => 2,
            Level::Full => 3,
            Level::FullWithLimits => 4,
        }
    }
}

impl Level {
    /// The next level that a sandbox can be built for; `None` above the highest. Level 1 is none of them: it is what is
    /// left of a sandbox whose namespaces do not hold.
    pub fn next(self) -> Option<Self> {
        match self {
            Self::None | Self::Landlock => Some(Self::Namespaces),
            Self::Namespaces => Some(Self::Full),
            Self::Full => Some(Self::FullWithLimits),
            Self::FullWithLimits => None,
        }
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self {
            Self::None => "none",
            Self::Landlock => "landlock",
            Self::Namespaces => "namespaces",
            Self::Full => "full",
            Self::FullWithLimits => "full with limits",
        };
        write!(out, "{} ({name})", u8::from(*self))
    }
}

/// What a run can rely on. The order is the order of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuaranteeKind {
    /// Nothing of the host is visible but what the spec names.
    FilesystemView,
    /// The system directories cannot be written and cannot be made writable.
    ReadOnlySystem,
    /// Only the six harmless device nodes exist.
    Devices,
    /// No process outside the run can be seen.
    Processes,
    /// Pid 1 of the run gives away neither memory, environment nor descriptors, and no process of the run leaves its
    /// memory in a dump.
    InitSealed,
    /// No network but a loopback of the run's own.
    Network,
    /// Socket families that reach past namespaces are refused.
    SocketFamilies,
    /// No nested user namespace, which would open kernel surface.
    NestedNamespaces,
    /// No capability is left in any set.
    Capabilities,
    /// No program gains privilege by being executed.
    NoNewPrivileges,
    /// The system call filter is active.
    SyscallFilter,
    /// Landlock refuses what no rule allows.
    Landlock,
    /// The number of processes of the whole run is bounded.
    ProcessLimit,
    /// Memory of the whole run is bounded.
    MemoryLimit,
    /// Processor time of the whole run is bounded.
    CpuLimit,
    /// Disk space of the whole run is bounded.
    DiskLimit,
}

impl GuaranteeKind {
    /// Every kind, in the order of the report.
    pub const ALL: [Self; 16] = [
        Self::FilesystemView,
        Self::ReadOnlySystem,
        Self::Devices,
        Self::Processes,
        Self::InitSealed,
        Self::Network,
        Self::SocketFamilies,
        Self::NestedNamespaces,
        Self::Capabilities,
        Self::NoNewPrivileges,
        Self::SyscallFilter,
        Self::Landlock,
        Self::ProcessLimit,
        Self::MemoryLimit,
        Self::CpuLimit,
        Self::DiskLimit,
    ];

    /// The kind with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.to_string() == name)
    }

    /// Whether it bounds what a run can use.
    pub(crate) fn is_limit(self) -> bool {
        LIMIT_LAYER.contains(&self)
    }
}

impl std::fmt::Display for GuaranteeKind {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::FilesystemView => "filesystem view",
            Self::ReadOnlySystem => "read-only system",
            Self::Devices => "devices",
            Self::Processes => "processes",
            Self::InitSealed => "init sealed",
            Self::Network => "network",
            Self::SocketFamilies => "socket families",
            Self::NestedNamespaces => "nested namespaces",
            Self::Capabilities => "capabilities",
            Self::NoNewPrivileges => "no new privileges",
            Self::SyscallFilter => "system call filter",
            Self::Landlock => "landlock",
            Self::ProcessLimit => "process limit",
            Self::MemoryLimit => "memory limit",
            Self::CpuLimit => "cpu limit",
            Self::DiskLimit => "disk limit",
        })
    }
}

/// How far one guarantee holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strength {
    /// A probe inside the run tried to break it and was refused.
    Enforced,
    /// It holds in part; `how` says in which.
    Degraded,
    /// It does not hold.
    Absent,
}

/// One guarantee with its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guarantee {
    /// Which one.
    pub kind: GuaranteeKind,
    /// How far it holds.
    pub strength: Strength,
    /// The mechanism behind it.
    pub how: String,
    /// What the probe did and saw.
    pub evidence: String,
}

/// The level that a run reached, with the evidence for each guarantee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelReport {
    /// The level that all guarantees together make.
    pub level: Level,
    /// Every guarantee, in the order of [`GuaranteeKind`].
    pub guarantees: Vec<Guarantee>,
}

/// What every level below 3 is missing if it is not enforced; all of them together make level 2.
const NAMESPACE_LAYER: [GuaranteeKind; 8] = [
    GuaranteeKind::FilesystemView,
    GuaranteeKind::ReadOnlySystem,
    GuaranteeKind::Devices,
    GuaranteeKind::Processes,
    GuaranteeKind::InitSealed,
    GuaranteeKind::Network,
    GuaranteeKind::Capabilities,
    GuaranteeKind::NoNewPrivileges,
];

/// What level 3 adds to level 2.
const FILTER_LAYER: [GuaranteeKind; 4] = [
    GuaranteeKind::SocketFamilies,
    GuaranteeKind::NestedNamespaces,
    GuaranteeKind::SyscallFilter,
    GuaranteeKind::Landlock,
];

/// What level 4 adds to level 3.
const LIMIT_LAYER: [GuaranteeKind; 3] =
    [GuaranteeKind::ProcessLimit, GuaranteeKind::MemoryLimit, GuaranteeKind::CpuLimit];

impl LevelReport {
    /// The report where nothing could run: every guarantee is absent, for the reason `evidence`.
    pub fn nothing(evidence: &str) -> Self {
        let absent = |kind| Guarantee {
            kind,
            strength: Strength::Absent,
            how: "nothing".to_owned(),
            evidence: evidence.to_owned(),
        };
        Self::new(GuaranteeKind::ALL.map(absent).to_vec())
    }

    /// Computes the level from the guarantees; those that are not named count as absent.
    pub fn new(mut guarantees: Vec<Guarantee>) -> Self {
        guarantees.sort_by_key(|guarantee| guarantee.kind);
        let holds = |kinds: &[GuaranteeKind]| {
            kinds
                .iter()
                .all(|kind| guarantees.iter().any(|found| found.kind == *kind && found.strength == Strength::Enforced))
        };
        let level = if !holds(&NAMESPACE_LAYER) {
            if holds(&[GuaranteeKind::Landlock, GuaranteeKind::NoNewPrivileges]) {
                Level::Landlock
            } else {
                Level::None
            }
        } else if !holds(&FILTER_LAYER) {
            Level::Namespaces
        } else if !holds(&LIMIT_LAYER) {
            Level::Full
        } else {
            Level::FullWithLimits
        };
        Self { level, guarantees }
    }

    /// The guarantees that `required` needs and that are not enforced, in report order.
    pub fn missing_for(&self, required: Level) -> Vec<GuaranteeKind> {
        let mut needed: Vec<GuaranteeKind> = Vec::new();
        if required == Level::Landlock {
            needed.extend([GuaranteeKind::NoNewPrivileges, GuaranteeKind::Landlock]);
        }
        if required >= Level::Namespaces {
            needed.extend(NAMESPACE_LAYER);
        }
        if required >= Level::Full {
            needed.extend(FILTER_LAYER);
        }
        if required >= Level::FullWithLimits {
            needed.extend(LIMIT_LAYER);
        }
        needed.sort();
        needed.retain(|kind| {
            !self.guarantees.iter().any(|found| found.kind == *kind && found.strength == Strength::Enforced)
        });
        needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(kinds: &[GuaranteeKind]) -> LevelReport {
        let enforced = |kind: &GuaranteeKind| Guarantee {
            kind: *kind,
            strength: Strength::Enforced,
            how: String::new(),
            evidence: String::new(),
        };
        LevelReport::new(kinds.iter().map(enforced).collect())
    }

    #[test]
    fn level_is_the_weakest_complete_layer() {
        let mut kinds = NAMESPACE_LAYER.to_vec();
        assert_eq!(report(&[]).level, Level::None);
        assert_eq!(report(&kinds).level, Level::Namespaces);
        kinds.extend(FILTER_LAYER);
        assert_eq!(report(&kinds).level, Level::Full);
        kinds.extend(LIMIT_LAYER);
        assert_eq!(report(&kinds).level, Level::FullWithLimits);
        kinds.retain(|kind| *kind != GuaranteeKind::Network);
        assert_eq!(report(&kinds).level, Level::Landlock);
    }

    #[test]
    fn kinds_are_complete_ordered_and_found_by_name() {
        assert!(GuaranteeKind::ALL.is_sorted());
        for kind in GuaranteeKind::ALL {
            assert_eq!(GuaranteeKind::named(&kind.to_string()), Some(kind));
        }
        assert_eq!(GuaranteeKind::named("limits"), None);
    }

    #[test]
    fn missing_names_what_the_required_level_lacks() {
        let full = report(&[NAMESPACE_LAYER.as_slice(), FILTER_LAYER.as_slice()].concat());
        assert_eq!(full.missing_for(Level::Full), []);
        assert_eq!(full.missing_for(Level::FullWithLimits), LIMIT_LAYER);
    }
}
