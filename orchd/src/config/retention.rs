//! How long things are kept: `[retention]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest time that can be named, in days.
const DAYS_MAX: u32 = 36_500;
/// Days for which things are kept unless configured.
const COMMANDS_DAYS: u32 = 7;
const RUNS_DAYS: u32 = 30;
const LOGS_DAYS: u32 = 90;
const BLOBS_DAYS: u32 = 90;
const REFS_DAYS: u32 = 90;

/// How long things are kept, in days after the run that they are of was over. Evidence of merges and of what people decided
/// is kept for as long as `evidence` says, whatever the others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetentionConfig {
    /// What commands came to, so that the same one again gets the same answer.
    pub(crate) commands: Duration,
    /// Directories of runs, without their logs.
    pub(crate) runs: Kept,
    pub(crate) logs: Kept,
    /// Artifacts, and blobs that nothing names.
    pub(crate) blobs: Kept,
    /// Refs of results that were not merged.
    pub(crate) refs: Kept,
    /// For ever if it is none.
    pub(crate) evidence: Option<Kept>,
}

/// A setting that says how long something is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    key: &'static str,
    days: u32,
}

impl Kept {
    pub(crate) const fn new(key: &'static str, days: u32) -> Self {
        Self { key, days }
    }

    /// How long that is, in milliseconds.
    pub(crate) fn ms(self) -> u64 {
        u64::from(self.days) * DAY.as_secs() * 1_000
    }

    /// The setting as it is written, as `retention.logs_days = 90`.
    pub(crate) fn policy(self) -> String {
        format!("retention.{} = {}", self.key, self.days)
    }
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RetentionSection {
    commands_days: Option<u32>,
    runs_days: Option<u32>,
    logs_days: Option<u32>,
    blobs_days: Option<u32>,
    refs_days: Option<u32>,
    evidence_days: Option<u32>,
}

impl RetentionSection {
    /// Checks the numbers; the error is what is wrong with which key.
    pub(super) fn checked(&self) -> Result<RetentionConfig, (&'static str, String)> {
        let commands = self.commands_days.unwrap_or(COMMANDS_DAYS);
        if !(1..=DAYS_MAX).contains(&commands) {
            return Err(("retention.commands_days", format!("must be 1 to {DAYS_MAX}")));
        }
        let at_most = |(key, days): (&'static str, Option<u32>)| match days {
            Some(days) if days > DAYS_MAX => Err((key, format!("must be 0 to {DAYS_MAX}"))),
            _ => Ok(()),
        };
        [
            ("retention.runs_days", self.runs_days),
            ("retention.logs_days", self.logs_days),
            ("retention.blobs_days", self.blobs_days),
            ("retention.refs_days", self.refs_days),
            ("retention.evidence_days", self.evidence_days),
        ]
        .into_iter()
        .try_for_each(at_most)?;
        Ok(RetentionConfig {
            commands: DAY * commands,
            runs: Kept::new("runs_days", self.runs_days.unwrap_or(RUNS_DAYS)),
            logs: Kept::new("logs_days", self.logs_days.unwrap_or(LOGS_DAYS)),
            blobs: Kept::new("blobs_days", self.blobs_days.unwrap_or(BLOBS_DAYS)),
            refs: Kept::new("refs_days", self.refs_days.unwrap_or(REFS_DAYS)),
            evidence: self.evidence_days.map(|days| Kept::new("evidence_days", days)),
        })
    }
}

impl From<RetentionConfig> for RetentionSection {
    fn from(config: RetentionConfig) -> Self {
        let commands = config.commands.as_secs() / DAY.as_secs();
        Self {
            commands_days: Some(u32::try_from(commands).unwrap_or(DAYS_MAX)),
            runs_days: Some(config.runs.days),
            logs_days: Some(config.logs.days),
            blobs_days: Some(config.blobs.days),
            refs_days: Some(config.refs.days),
            evidence_days: config.evidence.map(|kept| kept.days),
        }
    }
}
