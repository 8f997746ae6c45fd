//! What of a spec must be known before a sandbox can be prepared for it.
//!
//! Two specs of the same shape can use the same prepared sandbox; everything else of a spec is given to it at the claim.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{CheckedSpec, Egress, Isolation, ListenerSpec, ReadOnlyMount, SyscallProfile};
use crate::level::Level;

/// The shape of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    pub(crate) workspace_at: PathBuf,
    pub(crate) has_out: bool,
    pub(crate) mounts: Vec<ReadOnlyMount>,
    pub(crate) tmp_bytes: u64,
    pub(crate) processes: u64,
    pub(crate) bounds_memory: bool,
    pub(crate) required_level: Level,
    pub(crate) isolation: Isolation,
    pub(crate) egress: Egress,
    pub(crate) listeners: Vec<ListenerSpec>,
    pub(crate) syscalls: SyscallProfile,
}

impl Shape {
    /// Whether every address is the run's own loopback, where the proxy catches what it serves.
    pub(crate) fn is_caught(&self) -> bool {
        matches!(&self.egress, Egress::Allow(policy) if policy.transparent)
    }

    /// Address of the name server inside. Only where connections are caught does somebody answer; elsewhere names are the
    /// business of the proxy.
    pub(crate) fn name_server(&self) -> Option<&'static str> {
        self.is_caught().then_some("127.0.0.1")
    }

    /// That of `spec`.
    pub(crate) fn of(spec: &CheckedSpec) -> Self {
        Self {
            workspace_at: spec.workspace_at.clone(),
            has_out: spec.out.is_some(),
            mounts: spec.mounts.clone(),
            tmp_bytes: spec.limits.tmp_bytes,
            processes: spec.limits.processes,
            bounds_memory: spec.limits.memory_bytes.is_some(),
            required_level: spec.required_level,
            isolation: spec.isolation,
            egress: spec.egress.clone(),
            listeners: spec.listeners.clone(),
            syscalls: spec.syscalls,
        }
    }
}
