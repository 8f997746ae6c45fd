//! What a task is about: who or what does the work, what it is given, how its failures are retried.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::planner::RequirementKey;
use crate::recipe::{Access, Glob, Isolation, Step};

/// What a task is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    pub work: Work,
    pub requirements: Vec<RequirementKey>,
    pub acceptance: Vec<String>,
    pub retries: RetryPolicy,
    /// Low and high, in minutes.
    pub estimate_minutes: Option<(u32, u32)>,
    pub risk: Option<String>,
    /// How long a run of it may take, in milliseconds, as its recipe says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// Who or what does the work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Work {
    /// Known steps.
    Steps {
        /// Where they come from, for people: `blueprint web-api/scaffold`, `cargo test`, `recipe build.yaml`.
        source: String,
        steps: Vec<Step>,
        /// For all steps; a step's own win.
        env: BTreeMap<String, String>,
        /// Programs that must be there.
        tools: Vec<String>,
        /// Blueprint whose files the steps read.
        blueprint: Option<String>,
        /// Files to keep, beside those of the steps.
        artifacts: Vec<Glob>,
        /// What the steps change is proposed for a merge. Otherwise the work only looks: it builds, tests, lints.
        keeps_changes: bool,
        /// What its runs are given beyond their workspace.
        #[serde(default, skip_serializing_if = "Access::is_nothing")]
        access: Access,
        /// The workspace starts without the project's files.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        starts_empty: bool,
        /// What holds the steps.
        #[serde(default, skip_serializing_if = "Isolation::is_sandbox")]
        isolation: Isolation,
    },
    /// An agent that has the capability.
    Agent { capability: String },
}

/// How failures are retried. Infrastructure losses are retried in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts after the first.
    pub max_retries: u32,
    /// Wait before the first retry; it doubles with each.
    pub backoff_base_ms: u64,
    /// Largest random addition.
    pub backoff_jitter_ms: u64,
}

/// Longest wait between retries, whatever the policy says, in milliseconds.
pub const BACKOFF_MS_MAX: u64 = 60 * 60 * 1_000;

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_retries: 2, backoff_base_ms: 500, backoff_jitter_ms: 250 }
    }
}

impl RetryPolicy {
    /// Wait before the retry after `failures` failures, without jitter.
    #[must_use]
    pub fn backoff_ms(&self, failures: u32) -> u64 {
        let doublings = failures.saturating_sub(1).min(32);
        self.backoff_base_ms.saturating_mul(1 << doublings).min(BACKOFF_MS_MAX)
    }
}

impl Work {
    /// What does the work, for people.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Steps { source, .. } => source.clone(),
            Self::Agent { capability } => format!("agent {capability}"),
        }
    }

    /// What its runs are given beyond their workspace.
    #[must_use]
    pub fn access(&self) -> Access {
        match self {
            Self::Steps { access, .. } => access.clone(),
            Self::Agent { .. } => Access { channel: true, ..Access::default() },
        }
    }

    /// Whether its runs need nothing of the project's files.
    #[must_use]
    pub const fn starts_empty(&self) -> bool {
        matches!(self, Self::Steps { starts_empty: true, .. })
    }

    /// What holds the steps of its runs.
    #[must_use]
    pub const fn isolation(&self) -> Isolation {
        match self {
            Self::Steps { isolation, .. } => *isolation,
            Self::Agent { .. } => Isolation::Sandbox,
        }
    }

    /// Whether what the work changes is proposed for a merge.
    #[must_use]
    pub const fn keeps_changes(&self) -> bool {
        match self {
            Self::Steps { keeps_changes, .. } => *keeps_changes,
            Self::Agent { .. } => true,
        }
    }
}
