//! Changes whose merge does not go on because of the host or the repository, for people to see.
//!
//! Only what is known at the moment: the next try tells whether it is still so, also after a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use orch_core::entity::{Change, Project};
use orch_proto::id::ChangeId;

/// How long a change is left alone after a try that failed. Others of its queue, and other queues, go on meanwhile.
pub const TRY_AGAIN: Duration = Duration::from_secs(5);

/// The changes, each with what is the matter.
#[derive(Debug, Default)]
pub struct Troubles(Mutex<BTreeMap<ChangeId, Trouble>>);

#[derive(Debug)]
struct Trouble {
    text: String,
    since: Instant,
}

impl Troubles {
    /// Says that a try failed at `now`.
    pub fn met(&self, change: &Change, project: &Project, reason: &str, now: Instant) {
        let text = format!("C-{} of `{}` cannot go on: {reason}", change.number, project.slug);
        self.note(change.id, text, now);
    }

    fn note(&self, change: ChangeId, text: String, now: Instant) {
        let before = self.with(|all| all.insert(change, Trouble { text: text.clone(), since: now }));
        // It is tried again and again; the log has it once.
        if before.is_none_or(|before| before.text != text) {
            tracing::error!(%change, text, "a change stands still; trying again");
        }
    }

    /// Says that a try succeeded.
    pub fn over(&self, change: ChangeId) {
        self.with(|all| all.remove(&change));
    }

    /// Forgets changes that are not open any more.
    pub fn keep(&self, is_open: impl Fn(&ChangeId) -> bool) {
        self.with(|all| all.retain(|change, _| is_open(change)));
    }

    /// Whether the change is left alone at `now`.
    #[must_use]
    pub fn rests(&self, change: ChangeId, now: Instant) -> bool {
        self.with(|all| {
            all.get(&change).is_some_and(|trouble| now.saturating_duration_since(trouble.since) < TRY_AGAIN)
        })
    }

    /// The changes that are left alone at `now`.
    #[must_use]
    pub fn resting(&self, now: Instant) -> BTreeSet<ChangeId> {
        let rests = |trouble: &Trouble| now.saturating_duration_since(trouble.since) < TRY_AGAIN;
        self.with(|all| all.iter().filter(|(_, trouble)| rests(trouble)).map(|(change, _)| *change).collect())
    }

    /// When to look again, if there is any trouble.
    #[must_use]
    pub fn again(&self) -> Option<Duration> {
        self.with(|all| (!all.is_empty()).then_some(TRY_AGAIN))
    }

    /// What is the matter, one line each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.with(|all| all.values().map(|trouble| trouble.text.clone()).collect())
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<ChangeId, Trouble>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use orch_core::ids::sample_id;

    use super::*;

    #[test]
    fn a_change_rests_after_a_failure_and_is_told_until_it_goes_on() {
        let troubles = Troubles::default();
        let (change, now) = (sample_id(1), Instant::now());
        assert!(!troubles.rests(change, now) && troubles.again().is_none());
        troubles.note(change, "C-1 of `shop` cannot go on: gone".into(), now);
        assert!(troubles.rests(change, now) && !troubles.rests(change, now + TRY_AGAIN));
        assert_eq!(troubles.lines(), ["C-1 of `shop` cannot go on: gone"]);
        assert_eq!(troubles.again(), Some(TRY_AGAIN));
        // Tried again it rests again.
        troubles.note(change, "C-1 of `shop` cannot go on: gone".into(), now + TRY_AGAIN);
        assert!(troubles.rests(change, now + TRY_AGAIN));
        troubles.keep(|open| *open == change);
        assert_eq!(troubles.lines().len(), 1);
        troubles.over(change);
        assert_eq!(troubles.lines(), Vec::<String>::new());
        troubles.note(change, "again".into(), now);
        troubles.keep(|_| false);
        assert!(troubles.again().is_none());
    }
}
