//! The ledger: what runs hold of what all of them share, and whether more fits.
//!
//! Memory, processors, disk, semaphores, and the runs that an agent or a role may have at once are counted alike: a total, amounts
//! that are held, and what is free.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_proto::id::{RunId, TaskId};

use super::staff::{Doer, Staff};
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
    /// Runs of an agent, by its name.
    Agent(String),
    /// Runs of a role, by its name; one of a project is an [`super::own_role`].
    Role(String),
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
    /// What is free of the disk for runs, with what runs that asked for a part of it have written of that, in bytes; none where nobody
    /// knows. Others write, too, so that it changes.
    pub disk_bytes: Option<u64>,
    /// What would be for runs of an empty disk, in bytes; none where nobody knows.
    pub disk_size_bytes: Option<u64>,
    /// Units of the semaphores that the configuration names. All others have one.
    pub semaphores: BTreeMap<String, u32>,
    /// Agents and roles, with the runs that each may have at once.
    pub staff: Arc<Staff>,
}

/// What a run takes of what all share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Demand {
    pub(super) asks: Asks,
    pub(super) doer: Doer,
    /// Its project's name, which says whose role it is.
    pub(super) project: String,
}

impl Demand {
    /// That of a run which asks for nothing, and which nobody does.
    pub(super) fn usual() -> Self {
        Self::default()
    }
}

impl Totals {
    /// How much there is; none is without bound.
    pub(super) fn of(&self, resource: &Resource) -> Option<u64> {
        match resource {
            Resource::Memory => self.memory_bytes,
            Resource::Cpu => self.cpu_millis,
            Resource::Disk => self.disk_bytes,
            Resource::Semaphore(name) => Some(self.semaphores.get(name).copied().unwrap_or(1).into()),
            Resource::Agent(name) => self.staff.agent_max(name),
            Resource::Role(name) => self.staff.role_max(name),
        }
    }

    /// How much there can be at best: of the disk more than there is while others use it.
    pub(super) fn most_of(&self, resource: &Resource) -> Option<u64> {
        match resource {
            Resource::Disk => self.disk_size_bytes.max(self.disk_bytes),
            _ => self.of(resource),
        }
    }

    /// What a run takes that asks for this.
    pub(super) fn amounts(&self, demand: &Demand) -> Amounts {
        let Demand { asks, doer, project } = demand;
        // One run always fits into the memory that there is.
        let by_itself = self.memory_bytes.map(|total| self.run_memory_bytes.min(total));
        let memory = asks.memory_bytes.or(by_itself).map(|bytes| (Resource::Memory, bytes));
        let cpu = asks.cpu_millis.map(|millis| (Resource::Cpu, millis));
        let disk = asks.disk_bytes.map(|bytes| (Resource::Disk, bytes));
        let semaphores = asks.semaphores.iter();
        let semaphores = semaphores.map(|(name, units)| (Resource::Semaphore(name.clone()), u64::from(*units)));
        let agent = doer.agent.as_ref().map(|agent| Resource::Agent(agent.clone()));
        let role = doer.role.as_ref().map(|role| Resource::Role(self.staff.role(project, role)));
        let staff = agent.into_iter().chain(role).filter(|who| self.of(who).is_some()).map(|who| (who, 1));
        memory.into_iter().chain(cpu).chain(disk).chain(semaphores).chain(staff).collect()
    }
}

/// Who holds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holder {
    Run(RunId),
    /// It was chosen and is not under way yet.
    Chosen(TaskId),
    /// It stands still, and was chosen to go on: what it takes beyond what it held all the time.
    Recalled(RunId),
    /// The checks that are chosen at this moment.
    Checks,
    /// Those that were chosen before and are on their way.
    ChecksOnTheirWay,
    /// Runs that stand still beyond those whose usual memory the host lends.
    StandingStill,
}

impl Holder {
    /// Whether it gives back all that it holds at some time, at once.
    const fn is_run(self) -> bool {
        matches!(self, Self::Run(_) | Self::Chosen(_))
    }
}

/// What is held.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    totals: Totals,
    held: BTreeMap<Resource, u64>,
    /// What each asked for, and how often.
    holders: BTreeMap<Holder, (Demand, u64)>,
    /// How much memory single runs hold, with how many hold as much.
    memories: BTreeMap<u64, usize>,
}

impl Ledger {
    /// What there is from now on; what is held is counted anew by it.
    pub(super) fn set_totals(&mut self, totals: Totals) {
        self.totals = totals;
        self.held.clear();
        self.memories.clear();
        let count =
            |(holder, (demand, times)): (&Holder, &(Demand, u64))| (*holder, self.totals.amounts(demand), *times);
        let counted: Vec<_> = self.holders.iter().map(count).collect();
        counted.into_iter().for_each(|(holder, amounts, times)| self.add(holder, amounts, times));
    }

    pub(super) const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Somebody takes what is asked for, that often.
    pub(super) fn hold(&mut self, holder: Holder, demand: Demand, times: u64) {
        self.release(holder);
        let amounts = self.totals.amounts(&demand);
        self.holders.insert(holder, (demand, times));
        self.add(holder, amounts, times);
    }

    /// Somebody gives back what was taken; answers of what there is more now.
    pub(super) fn release(&mut self, holder: Holder) -> Vec<Resource> {
        let Some((demand, times)) = self.holders.remove(&holder) else { return Vec::new() };
        let amounts = self.totals.amounts(&demand);
        for (resource, amount) in &amounts {
            if let Some(held) = self.held.get_mut(resource) {
                *held = held.saturating_sub(amount.saturating_mul(times));
                if *held == 0 {
                    self.held.remove(resource);
                }
            }
            if holder.is_run()
                && *resource == Resource::Memory
                && let Some(count) = self.memories.get_mut(amount)
            {
                *count -= 1;
                if *count == 0 {
                    self.memories.remove(amount);
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

    /// Most memory that a single run holds, in bytes.
    pub(super) fn largest_memory(&self) -> u64 {
        self.memories.last_key_value().map_or(0, |(bytes, _)| *bytes)
    }

    /// Runs that hold a part of the disk.
    pub(super) fn disk_holders(&self) -> impl Iterator<Item = (RunId, u64)> {
        self.holders.iter().filter_map(|(holder, (demand, _))| match holder {
            Holder::Run(run) => Some((*run, demand.asks.disk_bytes?)),
            _ => None,
        })
    }

    fn add(&mut self, holder: Holder, amounts: Amounts, times: u64) {
        for (resource, amount) in amounts {
            if holder.is_run() && resource == Resource::Memory {
                *self.memories.entry(amount).or_insert(0) += 1;
            }
            let held = self.held.entry(resource).or_insert(0);
            *held = held.saturating_add(amount.saturating_mul(times));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::ids::sample_id;

    use super::*;

    fn demand(asks: Asks) -> Demand {
        Demand { asks, ..Demand::usual() }
    }

    #[test]
    fn what_is_held_is_not_free_until_it_is_given_back() {
        let mut ledger = Ledger::default();
        let totals = Totals { memory_bytes: Some(10), run_memory_bytes: 4, ..Totals::default() };
        ledger.set_totals(totals.clone());
        let semaphore = Resource::Semaphore("db".into());
        let asks = Asks { memory_bytes: Some(6), semaphores: [("db".into(), 1)].into(), ..Asks::default() };
        let (run, chosen) = (Holder::Run(sample_id(1)), Holder::Chosen(sample_id(2)));
        ledger.hold(run, demand(asks), 1);
        assert!(ledger.fits(&Resource::Memory, 4) && !ledger.fits(&Resource::Memory, 5));
        assert!(!ledger.fits(&semaphore, 1), "one that nobody configured is a mutex");
        assert!(ledger.fits(&Resource::Cpu, u64::MAX), "nobody knows how much there is");
        ledger.hold(chosen, Demand::usual(), 1);
        assert_eq!((ledger.free(&Resource::Memory), ledger.largest_memory()), (Some(0), 6));
        // Held twice by the same is held once.
        ledger.hold(chosen, Demand::usual(), 1);
        assert_eq!(ledger.free(&Resource::Memory), Some(0));
        ledger.set_totals(Totals { run_memory_bytes: 1, semaphores: [("db".into(), 3)].into(), ..totals });
        assert_eq!((ledger.free(&Resource::Memory), ledger.free(&semaphore)), (Some(3), Some(2)));
        assert_eq!(ledger.release(run), [Resource::Memory, semaphore.clone()]);
        assert_eq!((ledger.free(&Resource::Memory), ledger.free(&semaphore)), (Some(9), Some(3)));
        assert!(ledger.release(run).is_empty());
        assert_eq!(ledger.largest_memory(), 1);
        ledger.hold(Holder::Checks, Demand::usual(), 2);
        ledger.release(chosen);
        assert_eq!(ledger.largest_memory(), 0, "what is chosen at this moment is no run");
    }

    #[test]
    fn one_run_always_fits_by_itself() {
        let totals = Totals { memory_bytes: Some(3), run_memory_bytes: 4, ..Totals::default() };
        assert_eq!(totals.amounts(&Demand::usual()), [(Resource::Memory, 3)]);
        assert!(Totals::default().amounts(&Demand::usual()).is_empty());
    }

    #[test]
    fn agents_and_roles_with_a_bound_are_counted_by_runs() {
        let staff = Staff {
            agents_max: [("codex".to_owned(), 1)].into(),
            roles_max: [("shop/qa".to_owned(), Some(2)), ("qa".to_owned(), None)].into(),
            ..Staff::default()
        };
        let mut ledger = Ledger::default();
        ledger.set_totals(Totals { staff: Arc::new(staff), ..Totals::default() });
        let of = |project: &str, agent: &str| Demand {
            doer: Doer { agent: Some(agent.to_owned()), role: Some("qa".to_owned()) },
            project: project.to_owned(),
            ..Demand::usual()
        };
        let (codex, qa) = (Resource::Agent("codex".into()), Resource::Role("shop/qa".into()));
        ledger.hold(Holder::Run(sample_id(1)), of("shop", "claude"), 1);
        assert_eq!((ledger.free(&codex), ledger.free(&qa)), (Some(1), Some(1)));
        ledger.hold(Holder::Run(sample_id(2)), of("other", "codex"), 1);
        assert_eq!((ledger.free(&codex), ledger.free(&qa)), (Some(0), Some(1)));
        assert!(ledger.fits(&Resource::Agent("claude".into()), 1), "nothing bounds it");
    }

    #[test]
    fn of_a_disk_there_can_be_more_than_there_is() {
        let totals = Totals { disk_bytes: Some(1), disk_size_bytes: Some(9), ..Totals::default() };
        assert_eq!((totals.of(&Resource::Disk), totals.most_of(&Resource::Disk)), (Some(1), Some(9)));
        assert_eq!(totals.most_of(&Resource::Memory), None);
    }
}
