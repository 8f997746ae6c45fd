//! Terms of a task: when it may begin and what its runs are to have of the host, beside its place in the graph.

use std::collections::BTreeMap;

use orch_proto::Timestamp;
use serde::{Deserialize, Serialize};

use super::dependency::Join;
use super::patience::Patience;

/// Most semaphores that one task uses.
pub const SEMAPHORES_MAX: usize = 16;
/// Most units of one semaphore that a task uses.
pub const UNITS_MAX: u32 = 1_000_000;
/// Longest time that a task gives its runs, in milliseconds: a week.
pub const RUN_MS_MAX: u64 = 7 * 24 * 60 * 60 * 1_000;
/// Longest name of a semaphore, in bytes.
pub const SEMAPHORE_BYTES_MAX: usize = 64;

/// On which terms a task is scheduled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    #[serde(default, skip_serializing_if = "Join::is_default")]
    pub join: Join,
    /// No attempt begins before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// No attempt begins from then on, and one that is under way is ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Asks::is_nothing")]
    pub asks: Asks,
    /// How long it may wait, and its runs be silent.
    #[serde(default, skip_serializing_if = "Patience::is_default")]
    pub patience: Patience,
    /// How long a run of it may take, in milliseconds, in place of what its recipe or the configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_ms: Option<u64>,
}

/// What a run is to have of what all runs share.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Asks {
    /// Bytes of memory in place of what a run has by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processor time that is kept for it, in thousandths of a processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u64>,
    /// Bytes of disk in place of what a run has by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// Units of named semaphores, over all projects. One that the configuration does not name has one unit: a mutex.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub semaphores: BTreeMap<String, u32>,
}

impl Terms {
    /// Whether nobody has said anything.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Asks {
    /// Whether it asks for nothing of its own.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}
