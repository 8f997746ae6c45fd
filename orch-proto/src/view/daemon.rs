//! The daemon itself.

use serde::{Deserialize, Serialize};

use crate::id::InstanceId;
use crate::request::Role;
use crate::time::Timestamp;
use crate::view::IsolationView;

/// The daemon at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    pub version: String,
    pub instance: InstanceId,
    pub pid: u32,
    pub state_directory: String,
    pub started_at: Timestamp,
    pub now: Timestamp,
    /// Newest event.
    pub seq: u64,
    /// Who the caller is and what role it has.
    pub user: String,
    pub role: Role,
    pub projects: u32,
    pub tasks_queued: u32,
    /// Those of the queue that cannot start at present because no agent that could do them is configured.
    pub tasks_without_agent: u32,
    pub runs_active: u32,
    pub approvals_pending: u32,
    /// Questions of runs that nobody has answered.
    #[serde(default)]
    pub questions_pending: u32,
    pub tasks_failed: u32,
    /// Runs that may be under way at once.
    pub runs_max: u32,
    /// Isolation that this host gives, 0 to 4, and that runs need by default.
    pub isolation_level: u8,
    pub isolation_required: u8,
    /// The state cannot be written, so that nothing new begins; none when it can.
    pub outage: Option<OutageView>,
    /// Conditions that a person should know of: full disk, draining, missing tools.
    pub warnings: Vec<String>,
}

/// The state cannot be written. It is tried again all the time; what runs goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutageView {
    /// When the first write failed.
    pub since: Timestamp,
    /// For want of space.
    pub is_full: bool,
}

/// Result of one check of `doctor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckResult {
    Ok,
    Warning,
    Failed,
}

/// One check of `doctor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorCheck {
    pub name: String,
    pub result: CheckResult,
    pub detail: String,
    /// The exact fix.
    pub fix: Option<String>,
}

/// What came of one attack on the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseResult {
    /// It was refused as it must be.
    Held,
    /// It worked: no run starts.
    Open,
    /// It was not tried; the detail says why.
    Skipped,
}

/// One attack that is tried in a run at the daemon's start and by `doctor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseView {
    /// Its number in the threat model, as `N20`.
    pub id: String,
    /// What is tried.
    pub what: String,
    pub result: CaseResult,
    /// What was seen.
    pub detail: String,
}

/// A secret that the daemon has. The value is nowhere in the contract but on its way in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretView {
    pub name: String,
    /// `stored`, or `credential` of the daemon's service.
    pub source: String,
    pub size_bytes: u64,
    pub changed_at: Timestamp,
}

/// What the host gives and what it lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorReport {
    pub checks: Vec<DoctorCheck>,
    /// What a run found inside; without one every guarantee is absent.
    #[serde(default)]
    pub isolation: IsolationView,
    #[serde(default)]
    pub cases: Vec<CaseView>,
    pub isolation_level: u8,
    pub isolation_required: u8,
}
