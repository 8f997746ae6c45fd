//! What is to be otherwise in something that is said already: what a person leaves out stays as it is.

use std::collections::BTreeMap;

use orch_proto::Timestamp;

use crate::entity::{Join, Patience, Terms, Timeout};

/// What is to be otherwise in what is said of time-outs. The inner `None` takes away what was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PatienceChange {
    pub queue: Option<Option<Timeout>>,
    pub silence: Option<Option<Timeout>>,
}

impl PatienceChange {
    /// What is said after it.
    #[must_use]
    pub fn applied(&self, before: Patience) -> Patience {
        Patience { queue: self.queue.unwrap_or(before.queue), silence: self.silence.unwrap_or(before.silence) }
    }
}

/// What is to be otherwise in the terms of a task. The inner `None`, a bound of 0 and no semaphores take away what was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TermsChange {
    pub join: Option<Join>,
    pub not_before: Option<Option<Timestamp>>,
    pub deadline: Option<Option<Timestamp>>,
    pub memory_bytes: Option<u64>,
    pub cpu_millis: Option<u64>,
    pub disk_bytes: Option<u64>,
    pub semaphores: Option<BTreeMap<String, u32>>,
    pub patience: PatienceChange,
    pub run_ms: Option<u64>,
}

impl TermsChange {
    /// The terms after it.
    #[must_use]
    pub fn applied(&self, before: &Terms) -> Terms {
        let bound = |new: Option<u64>, old| new.map_or(old, |bound| (bound > 0).then_some(bound));
        let mut terms = before.clone();
        terms.join = self.join.unwrap_or(terms.join);
        terms.not_before = self.not_before.unwrap_or(terms.not_before);
        terms.deadline = self.deadline.unwrap_or(terms.deadline);
        terms.asks.memory_bytes = bound(self.memory_bytes, terms.asks.memory_bytes);
        terms.asks.cpu_millis = bound(self.cpu_millis, terms.asks.cpu_millis);
        terms.asks.disk_bytes = bound(self.disk_bytes, terms.asks.disk_bytes);
        if let Some(semaphores) = &self.semaphores {
            terms.asks.semaphores.clone_from(semaphores);
        }
        terms.patience = self.patience.applied(terms.patience);
        terms.run_ms = bound(self.run_ms, terms.run_ms);
        terms
    }
}
