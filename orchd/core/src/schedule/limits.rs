//! What the host and the configuration allow.

use std::collections::{BTreeMap, BTreeSet};

use super::explain::Wait;
use super::facts::Wants;
use super::freeze::Freeze;
use super::ledger::{Demand, Resource, Totals};
use crate::entity::Patience;

/// What the host and the configuration allow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Runs at once, gates included.
    pub runs_max: u32,
    /// What all runs share.
    pub totals: Totals,
    /// Capabilities that a configured agent has.
    pub capabilities: BTreeSet<String>,
    /// Programs that were looked for and are not there, with the command that installs each.
    pub missing_tools: BTreeMap<String, String>,
    /// Agents whose program is a tool that is not there, with its name and the command that installs it.
    pub missing_programs: BTreeMap<String, (String, String)>,
    /// Secrets that tasks name and that nobody has set.
    pub missing_secrets: BTreeSet<String>,
    /// Isolation that the host gives, and that runs need.
    pub level: u8,
    pub level_required: u8,
    /// What to do about a level that is too low.
    pub level_fix: String,
    /// Times in which nothing of some projects begins.
    pub freezes: Vec<Freeze>,
    /// How long tasks may wait where nobody said so of them or their project.
    pub patience: Patience,
    /// How long nothing begins because of a grant, so that it can be taken back, in milliseconds; 0: it begins at once.
    pub hold_ms: u64,
    /// The disk is nearly full, and what begins now would be killed for that.
    pub shortage: Option<Shortage>,
    /// The daemon starts nothing new: it drains or cannot write.
    pub paused: Option<String>,
}

/// What the disk that runs write to lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// In bytes: what is free, and what has to be before something begins.
    Space { free: u64, needed: u64 },
    /// The same in files that can be made.
    Files { free: u64, needed: u64 },
}

impl Limits {
    /// Whether nothing at all may start.
    pub(super) const fn forbid(&self) -> bool {
        // Checks run what is in a change, so they need what tasks need.
        self.paused.is_some() || self.shortage.is_some() || self.level < self.level_required
    }

    /// Whether what tasks need and the host has not may be otherwise within `other`. What is free of the disk is not a part of that.
    pub(super) fn lacks_otherwise(&self, other: &Self) -> bool {
        let (own, others) = (&self.totals, &other.totals);
        let totals = |totals: &Totals| (totals.memory_bytes, totals.run_memory_bytes, totals.cpu_millis);
        self.capabilities != other.capabilities
            || self.missing_tools != other.missing_tools
            || self.missing_programs != other.missing_programs
            || self.missing_secrets != other.missing_secrets
            || totals(own) != totals(others)
            || own.most_of(&Resource::Disk) != others.most_of(&Resource::Disk)
            || own.semaphores != others.semaphores
            || own.staff != others.staff
    }

    /// What such tasks of a project need and the host has not.
    pub(super) fn lacks(&self, project: &str, wants: &Wants) -> Vec<Wait> {
        let agent = wants.capability.iter().filter(|capability| !self.capabilities.contains(*capability));
        let secrets = wants.secrets.iter().filter(|secret| self.missing_secrets.contains(*secret));
        let tools = wants.tools.iter().filter_map(|tool| self.missing_tools.get_key_value(tool));
        let agent = agent.map(|capability| Wait::Agent { capability: capability.clone() });
        let program = wants.capability.iter().filter_map(|capability| {
            let doer = self.totals.staff.doer(project, capability).agent?;
            let (name, fix) = self.missing_programs.get(&doer)?;
            Some(Wait::Tool { name: name.clone(), fix: fix.clone() })
        });
        let secrets = secrets.map(|name| Wait::Secret { name: name.clone() });
        let tools = tools.map(|(name, fix)| Wait::Tool { name: name.clone(), fix: fix.clone() });
        let demand = Demand { asks: wants.asks.clone(), ..Demand::usual() };
        let too_much = self.totals.amounts(&demand).into_iter().filter_map(|(resource, asked)| {
            let total = self.totals.most_of(&resource).filter(|total| asked > *total)?;
            Some(Wait::TooMuch { resource, asked, total })
        });
        agent.chain(program).chain(secrets).chain(tools).chain(too_much).collect()
    }

    /// That the host gives less isolation than runs need, and that its disk is nearly full.
    pub(super) fn weakness(&self) -> impl Iterator<Item = Wait> {
        let level = (self.level < self.level_required).then(|| Wait::Isolation {
            level: self.level,
            required: self.level_required,
            fix: self.level_fix.clone(),
        });
        level.into_iter().chain(self.shortage.map(Wait::Shortage))
    }
}
