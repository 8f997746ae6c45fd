//! What is counted of a project, and of everything.

use std::collections::BTreeMap;

use super::open::Stage;
use super::rates::Rates;
use super::samples::Samples;

/// What is counted of a project, or of everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// How long tasks were in each state that they left.
    pub in_state: BTreeMap<Stage, Samples>,
    /// From ready to started.
    pub queued: Samples,
    /// From a question to its answer.
    pub answered: Samples,
    /// From the first failed attempt of a task to its success, when no person had to ask for it.
    pub retried: Samples,
    /// From the failure of a task to its success, when a person had it tried again.
    pub mended: Samples,
    /// From the first change that the merge queue of a project did not take to the next merge.
    pub merging_again: Samples,
    /// By the word for what failed.
    pub failures: BTreeMap<&'static str, Failures>,
    /// Attempts that ended, and those that succeeded.
    pub attempts: u64,
    pub succeeded: u64,
    pub rates: Rates,
}

/// What became of failures of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    pub ended: u64,
    /// Another attempt followed by itself.
    pub retried: u64,
    /// The task failed.
    pub given_up: u64,
}

impl Figures {
    pub(super) fn failed(&mut self, class: &'static str) -> &mut Failures {
        self.failures.entry(class).or_default()
    }
}
