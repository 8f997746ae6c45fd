//! What the demo claims, each with what was seen.

use serde::Serialize;

/// One claim and its evidence.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    pub(super) claim: &'static str,
    pub(super) holds: bool,
    pub(super) evidence: String,
}

/// All claims so far.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(super) struct Checks(pub(super) Vec<Check>);

impl Checks {
    /// Notes a claim.
    pub(super) fn note(&mut self, claim: &'static str, holds: bool, evidence: impl Into<String>) {
        self.0.push(Check { claim, holds, evidence: evidence.into() });
    }

    /// How many claims do not hold.
    pub(super) fn failed(&self) -> usize {
        self.0.iter().filter(|check| !check.holds).count()
    }
}
