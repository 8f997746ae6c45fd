//! What open tasks need of the host, each kept once, and what the host has of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_proto::id::{ProjectId, RunId};

use super::book::{Book, Node};
use super::facts::{Phase, Wants};
use super::ledger::{Demand, Resource};
use super::limits::Limits;
use super::staff::Doer;
use crate::entity::Asks;

/// What open tasks need, with how many need it.
#[derive(Debug, Default)]
pub(super) struct Needs {
    wants: BTreeMap<Arc<Wants>, usize>,
    /// Programs and secrets in them, with in how many.
    tools: BTreeMap<String, usize>,
    secrets: BTreeMap<String, usize>,
}

impl Needs {
    /// The kept one of what is alike, for one more task.
    pub(super) fn add(&mut self, wants: &Arc<Wants>) -> Arc<Wants> {
        if let Some((kept, _)) = self.wants.get_key_value(wants) {
            let kept = Arc::clone(kept);
            self.wants.entry(Arc::clone(&kept)).and_modify(|count| *count += 1);
            return kept;
        }
        wants.tools.iter().for_each(|tool| *self.tools.entry(tool.clone()).or_insert(0) += 1);
        wants.secrets.iter().for_each(|secret| *self.secrets.entry(secret.clone()).or_insert(0) += 1);
        self.wants.insert(Arc::clone(wants), 1);
        Arc::clone(wants)
    }

    /// One task less needs this.
    pub(super) fn remove(&mut self, wants: &Arc<Wants>) {
        let Some(count) = self.wants.get_mut(wants) else { return };
        *count -= 1;
        if *count == 0 {
            self.wants.remove(wants);
            wants.tools.iter().for_each(|tool| count_less(&mut self.tools, tool));
            wants.secrets.iter().for_each(|secret| count_less(&mut self.secrets, secret));
        }
    }
}

fn count_less(counts: &mut BTreeMap<String, usize>, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count -= 1;
        if *count == 0 {
            counts.remove(name);
        }
    }
}

impl Book {
    /// What the host and the configuration allow from now on. Tasks are looked at again only for what is otherwise: space on
    /// the disk comes and goes all the time.
    pub fn set_limits(&mut self, limits: Limits) {
        if self.limits == limits {
            return;
        }
        let before = std::mem::replace(&mut self.limits, limits);
        if before.totals != self.limits.totals {
            self.ledger.set_totals(self.limits.totals.clone());
        }
        let freezes_otherwise = before.freezes != self.limits.freezes;
        if freezes_otherwise {
            self.to_open.extend(self.projects.keys());
        }
        self.count_standing_still();
        if before.hold_ms != self.limits.hold_ms {
            self.hold_again();
        }
        // Without a window that was over a wait began earlier.
        if before.patience.queue != self.limits.patience.queue || freezes_otherwise {
            self.watch_again(None);
        }
        if before.lacks_otherwise(&self.limits) {
            let (limits, projects) = (&self.limits, &self.projects);
            let slug = |id: ProjectId| projects.get(&id).map_or("", |project| project.slug.as_str());
            for project in self.lanes.set_lacks(|project, wants| limits.lacks(slug(project), wants)) {
                self.reseat(project);
            }
        } else if before.totals.disk_bytes != self.limits.totals.disk_bytes {
            self.wake([Resource::Disk]);
        }
    }

    /// What the host and the configuration allow.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Programs that open tasks need.
    pub fn wanted_tools(&self) -> impl Iterator<Item = &str> {
        self.needs.tools.keys().map(String::as_str)
    }

    /// Secrets that open tasks name.
    pub fn wanted_secrets(&self) -> impl Iterator<Item = &str> {
        self.needs.secrets.keys().map(String::as_str)
    }

    /// How many tasks in the queue need an agent that is not there.
    #[must_use]
    pub fn without_agent(&self) -> usize {
        let lacks = |node: &Node| {
            let capability = node.facts.wants.capability.as_ref();
            matches!(node.facts.phase, Phase::Queued { .. })
                && capability.is_some_and(|capability| !self.limits.capabilities.contains(capability))
        };
        self.tasks.values().filter(|node| lacks(node)).count()
    }

    /// Runs under way that asked for a part of the disk, with how much, when a task waits for some of it: then it is worth knowing
    /// how much of theirs they have written.
    #[must_use]
    pub fn disk_in_demand(&self) -> BTreeMap<RunId, u64> {
        if self.waits_for_disk() { self.ledger.disk_holders().collect() } else { BTreeMap::new() }
    }

    /// Whether a task waits for a part of the disk.
    #[must_use]
    pub fn waits_for_disk(&self) -> bool {
        self.lanes.has_waiting(&Resource::Disk)
    }

    /// What a run of a project's task takes that needs this.
    pub(super) fn demand(&self, project: ProjectId, wants: &Wants) -> Demand {
        let doer = wants.capability.as_ref().map(|asked| self.limits.totals.staff.doer(self.slug(project), asked));
        self.demand_of_run(project, wants.asks.clone(), doer.unwrap_or_default())
    }

    /// What a run of a project takes that asks for this and is done by that.
    pub(super) fn demand_of_run(&self, project: ProjectId, asks: Asks, doer: Doer) -> Demand {
        Demand { asks, doer, project: self.slug(project).to_owned() }
    }

    pub(super) fn slug(&self, project: ProjectId) -> &str {
        self.projects.get(&project).map_or("", |project| project.slug.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn programs_are_named_once_however_many_tasks_need_them() {
        let needs_of = |memory: u64, tool: &str| {
            let mut wants = Wants { tools: BTreeSet::from([tool.to_owned()]), ..Wants::default() };
            wants.asks.memory_bytes = Some(memory);
            Arc::new(wants)
        };
        let mut needs = Needs::default();
        let all: Vec<_> = (0..4).map(|memory| needs.add(&needs_of(memory, "cargo"))).collect();
        assert!(Arc::ptr_eq(&needs.add(&needs_of(0, "cargo")), &all[0]));
        needs.add(&needs_of(0, "npm"));
        assert_eq!(needs.tools, BTreeMap::from([("cargo".to_owned(), 4), ("npm".to_owned(), 1)]));
        all.iter().for_each(|wants| needs.remove(wants));
        assert_eq!(needs.tools.get("cargo"), Some(&1), "one of the first was needed twice");
        needs.remove(&all[0]);
        assert_eq!(needs.tools.keys().collect::<Vec<_>>(), ["npm"]);
        needs.remove(&all[0]);
    }
}
