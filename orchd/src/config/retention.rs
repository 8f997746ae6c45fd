//! How long things are kept: `[retention]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest time that can be named, in days.
const DAYS_MAX: u32 = 36_500;
/// Days for which commands are remembered unless configured.
const COMMANDS_DAYS: u32 = 7;

/// How long things are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetentionConfig {
    /// What commands came to, so that the same one again gets the same answer.
    pub(crate) commands: Duration,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RetentionSection {
    commands_days: Option<u32>,
}

impl RetentionSection {
    /// Checks the numbers; the error is what is wrong with which key.
    pub(super) fn checked(&self) -> Result<RetentionConfig, (&'static str, String)> {
        let days = self.commands_days.unwrap_or(COMMANDS_DAYS);
        if !(1..=DAYS_MAX).contains(&days) {
            return Err(("retention.commands_days", format!("must be 1 to {DAYS_MAX}")));
        }
        Ok(RetentionConfig { commands: DAY * days })
    }
}

impl From<RetentionConfig> for RetentionSection {
    fn from(config: RetentionConfig) -> Self {
        let days = config.commands.as_secs() / DAY.as_secs();
        Self { commands_days: Some(u32::try_from(days).unwrap_or(DAYS_MAX)) }
    }
}
