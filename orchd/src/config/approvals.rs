//! What happens to answers: `[approvals]`.

use serde::{Deserialize, Serialize};

/// How long nothing begins because of a grant, in milliseconds, when nobody says so.
const HOLD_MS: u64 = 3_000;
/// Longest such time, in milliseconds.
const HOLD_MS_MAX: u64 = 60 * 60 * 1_000;

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ApprovalsSection {
    /// How long nothing begins because of a grant, so that it can be taken back; 0: it begins at once.
    hold_ms: Option<u64>,
}

impl ApprovalsSection {
    /// The time, in milliseconds; the error is what is wrong with which key.
    pub(super) fn checked(self) -> Result<u64, (&'static str, String)> {
        match self.hold_ms.unwrap_or(HOLD_MS) {
            hold_ms if hold_ms > HOLD_MS_MAX => Err(("approvals.hold_ms", "is longer than an hour".into())),
            hold_ms => Ok(hold_ms),
        }
    }
}

impl From<u64> for ApprovalsSection {
    fn from(hold_ms: u64) -> Self {
        Self { hold_ms: Some(hold_ms) }
    }
}
