//! The ledger: what runs hold of what all of them share, and whether more fits.
//!
//! Memory, processors, disk and semaphores are counted alike: a total, amounts that are held, and what is free.

use std::collections::BTreeMap;

use orch_proto::id::{RunId, TaskId};

use crate::entity::Asks;

/// Something that runs share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// In bytes.
    Memory,
    /// In thousandths of a processor.
    Cpu,
    /// In bytes.
    Disk,
    /// In units.
    Semaphore(String),
}

/// How much of each a run takes.
pub(super) type Amounts = Vec<(Resource, u64)>;

/// What there is for all runs together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// In bytes; none where nothing bounds it.
    pub memory_bytes: Option<u64>,
    /// What a run counts for that asks for no memory of its own, in bytes.
    pub run_memory_bytes: u64,
    /// In thousandths of a processor; none where nobody knows.
    pub cpu_millis: Option<u64>,
    /// In bytes; none where nobody knows.
    pub disk_bytes: Option<u64>,
    /// Units of the semaphores that the configuration names. All others have one.
    pub semaphores: BTreeMap<String, u32>,
}

impl Totals {
    /// How much there is; none is without bound.
    pub(super) fn of(&self, resource: &Resource) -> Option<u64> {
        match resource {
            Resource::Memory => self.memory_bytes,
            Resource::Cpu => self.cpu_millis,
            Resource::Disk => self.disk_bytes,
            Resource::Semaphore(name) => Some(self.semaphores.get(name).copied().unwrap_or(1).into()),
        }
    }

    /// What a run takes that asks for this.
    pub(super) fn amounts(&self, asks: &Asks) -> Amounts {
        // One run always fits into the memory that there is.
        let by_itself = self.memory_bytes.map(|total| self.run_memory_bytes.min(total));
        let memory = asks.memory_bytes.or(by_itself).map(|bytes| (Resource::Memory, bytes));
        let cpu = asks.cpu_millis.map(|millis| (Resource::Cpu, millis));
        let disk = asks.disk_bytes.map(|bytes| (Resource::Disk, bytes));
        let semaphores = asks.semaphores.iter();
        let semaphores = semaphores.map(|(name, units)| (Resource::Semaphore(name.clone()), u64::from(*units)));
        memory.into_iter().chain(cpu).chain(disk).chain(semaphores).collect()
    }
}

/// Who holds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holder {
    Run(RunId),
    /// It was chosen and is not under way yet.
    Chosen(TaskId),
    /// The checks that are chosen at this moment.
    Checks,
    /// Those that were chosen before and are on their way.
    ChecksOnTheirWay,
    /// Runs that stand still beyond those whose usual memory the host lends.
    StandingStill,
}

/// What is held.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    totals: Totals,
    held: BTreeMap<Resource, u64>,
    /// What each asked for, and how often.
    holders: BTreeMap<Holder, (Asks, u64)>,
}

impl Ledger {
    /// What there is from now on; what is held is counted anew by it.
    pub(super) fn set_totals(&mut self, totals: Totals) {
        self.totals = totals;
        self.held.clear();
        let counted: Vec<_> = self.holders.values().map(|(asks, times)| (self.totals.amounts(asks), *times)).collect();
        counted.into_iter().for_each(|(amounts, times)| self.add(amounts, times));
    }

    pub(super) const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Somebody takes what is asked for, that often.
    pub(super) fn hold(&mut self, holder: Holder, asks: &Asks, times: u64) {
        self.release(holder);
        self.holders.insert(holder, (asks.clone(), times));
        self.add(self.totals.amounts(asks), times);
    }

    /// Somebody gives back what was taken; answers of what there is more now.
    pub(super) fn release(&mut self, holder: Holder) -> Vec<Resource> {
        let Some((asks, times)) = self.holders.remove(&holder) else { return Vec::new() };
        let amounts = self.totals.amounts(&asks);
        for (resource, amount) in &amounts {
            if let Some(held) = self.held.get_mut(resource) {
                *held = held.saturating_sub(amount.saturating_mul(times));
                if *held == 0 {
                    self.held.remove(resource);
                }
            }
        }
        amounts.into_iter().map(|(resource, _)| resource).collect()
    }

    /// What is free; none is without bound.
    pub(super) fn free(&self, resource: &Resource) -> Option<u64> {
        let held = self.held.get(resource).copied().unwrap_or(0);
        self.totals.of(resource).map(|total| total.saturating_sub(held))
    }

    /// Whether that much more fits.
    pub(super) fn fits(&self, resource: &Resource, amount: u64) -> bool {
        self.free(resource).is_none_or(|free| amount <= free)
    }

    fn add(&mut self, amounts: Amounts, times: u64) {
        for (resource, amount) in amounts {
            let held = self.held.entry(resource).or_insert(0);
            *held = held.saturating_add(amount.saturating_mul(times));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::ids::sample_id;

    use super::*;

    #[test]
    fn what_is_held_is_not_free_until_it_is_given_back() {
        let mut ledger = Ledger::default();
        let totals = Totals { memory_bytes: Some(10), run_memory_bytes: 4, ..Totals::default() };
        ledger.set_totals(totals.clone());
        let semaphore = Resource::Semaphore("db".into());
        let asks = Asks { memory_bytes: Some(6), semaphores: [("db".into(), 1)].into(), ..Asks::default() };
        let (run, chosen) = (Holder::Run(sample_id(1)), Holder::Chosen(sample_id(2)));
        ledger.hold(run, &asks, 1);
        assert!(ledger.fits(&Resource::Memory, 4) && !ledger.fits(&Resource::Memory, 5));
        assert!(!ledger.fits(&semaphore, 1), "one that nobody configured is a mutex");
        assert!(ledger.fits(&Resource::Cpu, u64::MAX), "nobody knows how much there is");
        ledger.hold(chosen, &Asks::default(), 1);
        assert_eq!(ledger.free(&Resource::Memory), Some(0));
        // Held twice by the same is held once.
        ledger.hold(chosen, &Asks::default(), 1);
        assert_eq!(ledger.free(&Resource::Memory), Some(0));
        ledger.set_totals(Totals { run_memory_bytes: 1, semaphores: [("db".into(), 3)].into(), ..totals });
        assert_eq!((ledger.free(&Resource::Memory), ledger.free(&semaphore)), (Some(3), Some(2)));
        assert_eq!(ledger.release(run), [Resource::Memory, semaphore.clone()]);
        assert_eq!((ledger.free(&Resource::Memory), ledger.free(&semaphore)), (Some(9), Some(3)));
        assert!(ledger.release(run).is_empty());
    }

    #[test]
    fn one_run_always_fits_by_itself() {
        let totals = Totals { memory_bytes: Some(3), run_memory_bytes: 4, ..Totals::default() };
        assert_eq!(totals.amounts(&Asks::default()), [(Resource::Memory, 3)]);
        assert!(Totals::default().amounts(&Asks::default()).is_empty());
    }
}
