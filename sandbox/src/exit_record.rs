//! The exit record: how a run ended, written once by the shim as `exit.json`.
//!
//! Plain data. This record, not an exit status that somebody waited for, is the truth about a run.

use serde::{Deserialize, Serialize};

use crate::level::{GuaranteeKind, Level, LevelReport};
use crate::limit::{Excess, LimitKind, span_text};

/// Version of the run directory format, of which this record is a part.
pub const FORMAT_VERSION: u32 = 1;

/// How a run ended. Times are Unix time in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// [`FORMAT_VERSION`] of the writer.
    pub version: u32,
    /// The attempt that this record is about.
    pub fence: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Every step of the spec, in its order.
    pub steps: Vec<StepResult>,
    /// When the shim claimed the run.
    pub started_at_us: u64,
    /// When this record was made.
    pub finished_at_us: u64,
    /// Boot of the host in which the run took place.
    pub boot_id: String,
    /// What the probes inside found; `None` when the run ended before they ran.
    pub level: Option<LevelReport>,
    /// Size of the log file, in bytes.
    pub log_bytes: u64,
    /// Payload that came after `log_bytes_max` and was dropped, in bytes.
    pub dropped_bytes: u64,
    /// Time from the claim of the sandbox to the execution of the first program, in nanoseconds; with a sandbox that was
    /// prepared ahead that is all it costs. `None` when no program was executed.
    pub claim_to_exec_ns: Option<u64>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// Every step succeeded.
    Succeeded,
    /// A step failed; the first one that did.
    StepFailed {
        /// Name of the step.
        step: String,
        /// How it failed.
        failure: StepFailure,
    },
    /// A step's own time or the run's wall time ran out.
    TimedOut {
        /// The step that was running, if one was.
        step: Option<String>,
    },
    /// A step was silent for longer than `idle_ms` allows, and was killed.
    NoOutput {
        /// The step.
        step: String,
        /// The bound, in milliseconds.
        idle_ms: u64,
    },
    /// The run used more than a limit of the whole run allows, and was killed.
    LimitExceeded {
        /// Which limit, its bound and what was found.
        excess: Excess,
        /// The step that was running, if one was.
        step: Option<String>,
    },
    /// The run was cancelled through its control socket or a signal to the shim.
    Cancelled,
    /// The sandbox could not be built; no step ran.
    SetupFailed {
        /// What failed, with its cause.
        message: String,
        /// What a person can do about it; empty when nothing is known.
        hint: String,
        /// Which part of the construction, for example `mount-workspace`.
        step: String,
    },
    /// The sandbox holds less than the spec requires; no step ran.
    LevelRefused {
        /// The level that the spec asks for.
        required: Level,
        /// The level that was reached.
        reached: Level,
        /// What is missing for the required level.
        missing: Vec<GuaranteeKind>,
        /// What a person can do about it.
        fix: String,
    },
    /// Something outside the job went wrong, for example pid 1 of the run was killed. An infrastructure loss.
    ShimError {
        /// What went wrong.
        message: String,
    },
}

/// How one step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepResult {
    /// Name of the step.
    pub name: String,
    /// How it ended.
    pub status: StepStatus,
    /// When it was started.
    pub started_at_us: Option<u64>,
    /// When its process ended.
    pub finished_at_us: Option<u64>,
}

/// How one step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StepStatus {
    /// Exit code 0.
    Succeeded,
    /// Anything else that the step did itself.
    Failed {
        /// How it failed.
        failure: StepFailure,
    },
    /// Killed because its time or the run's ran out, or because it was silent for too long.
    TimedOut,
    /// Killed because the run used more than a limit allows.
    LimitExceeded {
        /// Which limit.
        limit: LimitKind,
    },
    /// Killed because the run was cancelled.
    Cancelled,
    /// Killed, or never finished, because the sandbox went away.
    Lost,
    /// Never started.
    NotRun,
}

/// How a step failed by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StepFailure {
    /// It exited with this code, which is not 0.
    ExitCode {
        /// 1-255.
        code: i32,
    },
    /// A signal ended it.
    Signal {
        /// Number of the signal.
        signal: i32,
    },
    /// Its program could not be executed.
    Exec {
        /// What failed, with its cause.
        message: String,
    },
}

impl std::fmt::Display for StepFailure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ExitCode { code } => write!(out, "exit code {code}"),
            Self::Signal { signal } => write!(out, "signal {signal}"),
            Self::Exec { message } => out.write_str(message),
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Succeeded => out.write_str("succeeded"),
            Self::StepFailed { step, failure } => write!(out, "step `{step}` failed: {failure}"),
            Self::TimedOut { step: Some(step) } => write!(out, "timed out in step `{step}`"),
            Self::TimedOut { step: None } => out.write_str("timed out"),
            Self::NoOutput { step, idle_ms } => {
                write!(out, "timed out in step `{step}`: no output for {}", span_text(*idle_ms))
            }
            Self::LimitExceeded { excess, step: Some(step) } => write!(out, "{excess} in step `{step}`"),
            Self::LimitExceeded { excess, step: None } => write!(out, "{excess}"),
            Self::Cancelled => out.write_str("cancelled"),
            Self::SetupFailed { message, step, .. } => write!(out, "sandbox setup failed at `{step}`: {message}"),
            Self::LevelRefused { required, reached, missing, .. } => {
                write!(out, "isolation level {required} is required, {reached} was reached; missing:")?;
                missing
                    .iter()
                    .enumerate()
                    .try_for_each(|(index, kind)| write!(out, "{} {kind}", if index == 0 { "" } else { "," }))
            }
            Self::ShimError { message } => write!(out, "sandbox lost: {message}"),
        }
    }
}
