//! What a machine must give for a story to be told: where it does not, the story is skipped, but never in CI.

use crate::tell;

/// Whether a story can be told here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    Met,
    /// What is missing, in a line.
    Missing(String),
}

impl Requirement {
    /// Whether to go on. Says why not.
    ///
    /// # Errors
    /// In CI, where everything has to be there.
    pub fn holds(&self) -> anyhow::Result<bool> {
        match self {
            Self::Met => Ok(true),
            Self::Missing(what) => {
                anyhow::ensure!(!std::env::var("CI").is_ok_and(|ci| ci == "true"), "missing in CI: {what}");
                tell(&format!("SKIPPED: {what}"));
                Ok(false)
            }
        }
    }
}
