//! Memory that is kept for gates. Those at the front of a merge queue go first; when there is no room for them, what comes after
//! them takes only what they can do without.
//!
//! That is what leaves room for the gates as soon as the one run under way that holds most is over. So they wait no longer than for
//! that run, however much goes by, and one that holds nearly everything for hours keeps nobody else from the rest.

use std::collections::BTreeSet;

use orch_proto::Timestamp;
use orch_proto::id::ChangeId;

use super::book::Book;
use super::explain::Wait;
use super::ledger::{Demand, Resource};

/// Gates that there is no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    change: ChangeId,
    /// Memory that they take, in bytes.
    need: u64,
    /// Most that a single run holds, in bytes.
    largest: u64,
}

impl Kept {
    /// Whether something that takes so much may go by while so much is free.
    const fn lets_by(&self, amount: u64, free: u64) -> bool {
        amount == 0 || amount.saturating_add(self.need) <= free.saturating_add(self.largest)
    }
}

impl Book {
    /// The gates that begin now in that many places, and the first for which there is no room.
    pub(super) fn checks(
        &self,
        now: Timestamp,
        rests: &BTreeSet<ChangeId>,
        places: usize,
    ) -> (Vec<ChangeId>, Option<Kept>) {
        if places == 0 {
            return (Vec::new(), None);
        }
        let mut checks = self.queues.to_check(now, |change| rests.contains(&change.id) || self.holds_back(change));
        checks.retain(|change| !self.on_their_way.contains(change));
        checks.truncate(places);
        let need = self.memory_of_checks();
        let free = need.and_then(|_| self.ledger.free(&Resource::Memory));
        let Some((need, free)) = need.filter(|need| *need > 0).zip(free) else { return (checks, None) };
        let fitting = usize::try_from(free / need).unwrap_or(usize::MAX).min(checks.len());
        // Those that begin now are over at some time, too.
        let largest = self.ledger.largest_memory().max(if fitting > 0 { need } else { 0 });
        let kept = checks.get(fitting).map(|change| Kept { change: *change, need, largest });
        checks.truncate(fitting);
        (checks, kept)
    }

    /// Keeps room for gates from now on. What was kept before and is not any more is for whoever waits for it.
    pub(super) fn keep(&mut self, kept: Option<Kept>) {
        let before = std::mem::replace(&mut self.kept, kept);
        if before.is_some() && before != kept {
            self.wake([Resource::Memory]);
        }
    }

    /// Whether so much of a resource is kept for gates.
    pub(super) fn is_kept(&self, resource: &Resource, amount: u64) -> bool {
        let free = self.ledger.free(resource).filter(|_| *resource == Resource::Memory);
        self.kept.zip(free).is_some_and(|(kept, free)| !kept.lets_by(amount, free))
    }

    /// The same as it would be if one chose now and no change was left alone for a moment, with whose gates these are.
    pub(super) fn kept_from(&self, resource: &Resource, amount: u64, now: Timestamp) -> Option<Wait> {
        let free = self.ledger.free(resource).filter(|_| *resource == Resource::Memory)?;
        let (checks, kept) = self.checks(now, &BTreeSet::new(), self.places());
        let begins = self.memory_of_checks()?.saturating_mul(checks.len() as u64);
        let free = free.saturating_sub(begins);
        let kept = kept.filter(|kept| !kept.lets_by(amount, free))?;
        let change = self.queues.change(kept.change)?;
        let project = self.projects.get(&change.project).map_or("", |project| project.slug.as_str());
        Some(Wait::Kept { change: format!("{project}/C-{}", change.number), needs: kept.need, free })
    }

    /// Memory that gates take, in bytes; none where nothing bounds it.
    fn memory_of_checks(&self) -> Option<u64> {
        let amounts = self.ledger.totals().amounts(&Demand::usual());
        amounts.into_iter().find_map(|(resource, amount)| (resource == Resource::Memory).then_some(amount))
    }
}

#[cfg(test)]
mod tests {
    use crate::ids::sample_id;

    use super::*;

    #[test]
    fn what_goes_by_leaves_room_for_when_the_largest_is_over() {
        let kept = Kept { change: sample_id(1), need: 2_048, largest: 11_264 };
        assert!(kept.lets_by(256, 1_024) && kept.lets_by(1_024, 1_024));
        let kept = Kept { largest: 1_024, ..kept };
        assert!(!kept.lets_by(1, 1_024), "two have to be over, and might never be at the same time");
        assert!(kept.lets_by(0, 0), "what takes nothing is in nobody's way");
    }
}
