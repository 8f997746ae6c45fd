//! Why a task waits: every reason, with numbers.

use std::cmp::Ordering;

use orch_proto::Timestamp;
use orch_proto::id::{ApprovalId, TaskId};

use super::book::{Book, Node};
use super::facts::Phase;
use super::lanes::{Order, Place};
use super::ledger::Resource;
use super::limits::Shortage;
use super::turns::Full;
use crate::entity::{Condition, Join, Period, Verdict};

/// Most tasks that are counted as going before another.
pub const AHEAD_MAX: usize = 1_000;

/// Why a task does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    Proposed,
    Held {
        reason: String,
    },
    /// Of several dependencies that many are as they have to be.
    Dependencies {
        holding: usize,
        of: usize,
        join: Join,
    },
    /// One that is not as it has to be. It is `hopeless` when that will not change by itself.
    Dependency {
        task: TaskId,
        name: String,
        state: &'static str,
        condition: Condition,
        hopeless: bool,
    },
    Approval {
        approval: ApprovalId,
        name: String,
        state: &'static str,
    },
    /// What it waited for was granted a moment ago, and is held for so long yet.
    Granted {
        name: String,
        ms: u64,
    },
    Agent {
        capability: String,
    },
    Tool {
        name: String,
        fix: String,
    },
    Secret {
        name: String,
    },
    Isolation {
        level: u8,
        required: u8,
        fix: String,
    },
    /// The disk is nearly full: nothing begins.
    Shortage(Shortage),
    Backoff {
        ms: u64,
    },
    Project {
        name: String,
        state: &'static str,
    },
    /// A person wants nothing of its project to begin.
    ProjectPaused {
        name: String,
        reason: String,
        until: Option<Timestamp>,
    },
    /// A freeze window: nothing of its project begins.
    Frozen {
        name: String,
        reason: String,
        until: Timestamp,
    },
    /// `ahead` tasks would start before it: [`AHEAD_MAX`] says so many or more.
    Capacity {
        running: u32,
        max: u32,
        ahead: u32,
    },
    /// It asks for more than is free of what all runs share. Of an agent or a role that is the runs that it may have at once.
    Resource {
        resource: Resource,
        asked: u64,
        free: u64,
        total: u64,
    },
    /// It asks for something that is kept for a task that goes before it.
    Reserved {
        resource: Resource,
        name: String,
    },
    /// Memory is kept for the gates of a change, which need so much and have so much.
    Kept {
        change: String,
        needs: u64,
        free: u64,
    },
    /// It asks for more than there is.
    TooMuch {
        resource: Resource,
        asked: u64,
        total: u64,
    },
    /// Its deadline is over.
    Expired {
        at: Timestamp,
    },
    /// It is not to begin before.
    NotBefore {
        at: Timestamp,
        ms: u64,
    },
    /// Its project has as many runs as it may.
    ProjectRuns {
        running: u32,
        max: u32,
    },
    /// As many attempts of its project were started today as may be.
    Quota {
        started: u32,
        max: u32,
        resets_ms: u64,
    },
    /// Nothing is left of a budget of its project.
    Budget {
        name: String,
        period: Period,
        /// `120 of 120 minutes`.
        amounts: String,
        /// Time until it is renewed by itself, if it is.
        renews_ms: Option<u64>,
    },
    Paused {
        reason: String,
    },
    /// An earlier run of it, which was given up, has not ended yet.
    Run {
        name: String,
    },
}

impl Book {
    /// Why a task does not run, in the order in which it has to be over: first what is said of the task and its project, then what it
    /// needs that is not there, then what keeps all from beginning, and only for one that is ready, what is taken. Empty when it is under
    /// way or over, or would start at once.
    pub fn waits(&mut self, task: TaskId, now: Timestamp) -> Vec<Wait> {
        let now = self.advance(now);
        let Some(node) = self.tasks.get(&task) else { return Vec::new() };
        if matches!(node.facts.phase, Phase::UnderWay | Phase::Over { .. }) {
            return Vec::new();
        }
        let mut waits = self.blockers(node, now);
        if !waits.is_empty() {
            return waits;
        }
        if let Some(reason) = &self.limits.paused {
            waits.push(Wait::Paused { reason: reason.clone() });
        } else if let Some(place) = node.place {
            waits.extend(self.spent_budgets(node.facts.project, now));
            waits.extend(self.turns.full(node.facts.project).map(|full| match full {
                Full::Runs { running, max } => Wait::ProjectRuns { running, max },
                Full::Day { started, max, ends_at } => {
                    Wait::Quota { started, max, resets_ms: ends_at.ms_since(now).max(1) }
                }
            }));
            waits.extend(self.resources(place, now));
            waits.extend(self.no_place(node, place));
        }
        waits
    }

    /// What keeps a task from being ready, or all from beginning.
    fn blockers(&self, node: &Node, now: Timestamp) -> Vec<Wait> {
        let mut waits = Vec::new();
        match &node.facts.phase {
            Phase::Proposed => waits.push(Wait::Proposed),
            Phase::Held { reason } => waits.push(Wait::Held { reason: reason.clone() }),
            Phase::Queued { .. } | Phase::UnderWay | Phase::Over { .. } => {}
        }
        let future = |at: &Timestamp| *at > now;
        let backoff = node.facts.backoff().filter(|backoff| backoff.lasts(now));
        waits.extend(backoff.map(|backoff| Wait::Backoff { ms: backoff.until.ms_since(now).max(1) }));
        let not_before = node.facts.not_before.filter(future);
        waits.extend(not_before.map(|at| Wait::NotBefore { at, ms: at.ms_since(now).max(1) }));
        waits.extend(node.facts.deadline.filter(|at| *at <= now).map(|at| Wait::Expired { at }));
        let project = self.projects.get(&node.facts.project).filter(|project| !project.is_ready);
        waits.extend(project.map(|project| Wait::Project { name: project.slug.clone(), state: project.label }));
        let own = self.projects.get(&node.facts.project).filter(|project| project.is_ready);
        waits.extend(own.and_then(|project| self.closed(project, now)));
        waits.extend(self.dependencies(node));
        waits.extend(node.facts.approval.and_then(|id| self.approval(id, now)));
        waits.extend(self.held_plan(&node.facts, now));
        let under_way = self.under_way.get(&node.facts.id).into_iter().flat_map(|runs| runs.values());
        waits.extend(under_way.map(|number| Wait::Run { name: format!("R-{number}") }));
        waits.extend(self.limits.lacks(self.slug(node.facts.project), &node.facts.wants));
        waits.extend(self.limits.weakness());
        waits
    }

    /// The dependencies that keep it from being ready; where one is enough, they are alternatives.
    fn dependencies(&self, node: &Node) -> Vec<Wait> {
        if node.judge() == Verdict::Holds {
            return Vec::new();
        }
        let of = node.facts.needs.len();
        let waits = node.facts.needs.iter().filter_map(|(id, condition)| self.dependency(*id, *condition));
        let mut waits: Vec<Wait> = waits.collect();
        if of > 1 {
            waits.insert(0, Wait::Dependencies { holding: node.holding, of, join: node.facts.join });
        }
        waits
    }

    fn dependency(&self, id: TaskId, condition: Condition) -> Option<Wait> {
        let Some(needed) = self.tasks.get(&id) else {
            let (name, state) = (id.to_string(), "absent");
            return Some(Wait::Dependency { task: id, name, state, condition, hopeless: true });
        };
        (condition.judge(needed.standing()) != Verdict::Holds).then(|| Wait::Dependency {
            task: id,
            name: format!("T-{}", needed.facts.number),
            state: needed.facts.label,
            condition,
            hopeless: !needed.is_open(),
        })
    }

    fn approval(&self, id: ApprovalId, now: Timestamp) -> Option<Wait> {
        match self.approvals.get(&id) {
            None => Some(Wait::Approval { approval: id, name: id.to_string(), state: "absent" }),
            Some(asked) if asked.is_granted => self.held_grant(asked, now),
            Some(asked) => {
                Some(Wait::Approval { approval: id, name: format!("A-{}", asked.number), state: asked.label })
            }
        }
    }

    /// That all places are taken.
    fn no_place(&self, node: &Node, place: Place) -> Option<Wait> {
        let running = u32::try_from(self.turns.running()).unwrap_or(u32::MAX);
        (running >= self.limits.runs_max).then(|| Wait::Capacity {
            running,
            max: self.limits.runs_max,
            ahead: self.ahead(node, place.order),
        })
    }

    /// What it asks for and cannot have now.
    fn resources(&self, place: Place, now: Timestamp) -> Vec<Wait> {
        let Some((project, wants, level)) = self.lanes.wants(place.lane) else { return Vec::new() };
        let amounts = self.ledger.totals().amounts(&self.demand(project, wants)).into_iter();
        let waits = amounts.filter_map(|(resource, asked)| {
            if !self.ledger.fits(&resource, asked) {
                let (free, total) = (self.ledger.free(&resource)?, self.ledger.totals().of(&resource)?);
                return Some(Wait::Resource { resource, asked, free, total });
            }
            if let Some(kept) = self.kept_from(&resource, asked, now) {
                return Some(kept);
            }
            let first = self.reserved_for(&resource, level)?;
            let node = self.tasks.get(&first)?;
            let project = self.projects.get(&node.facts.project).map_or("", |project| project.slug.as_str());
            Some(Wait::Reserved { resource, name: format!("{project}/T-{}", node.facts.number) })
        });
        waits.collect()
    }

    /// The first task that goes before all of this level and has to wait for the resource, whether it was come to or not.
    fn reserved_for(&self, resource: &Resource, level: u8) -> Option<TaskId> {
        let above = self.lanes.above(level).filter(|(project, ..)| self.turns.has_turn(*project));
        let waiting = above.filter(|(project, _, wants)| {
            let mut amounts = self.ledger.totals().amounts(&self.demand(*project, wants)).into_iter();
            amounts.any(|(asked, amount)| asked == *resource && !self.ledger.fits(&asked, amount))
        });
        waiting.map(|(_, head, _)| head).min().map(|(_, order)| order.id)
    }

    /// Tasks of its project that go before it, and all of higher priority of others.
    fn ahead(&self, node: &Node, own: Order) -> u32 {
        let own_level = self.lanes.classes.level(node.facts.class());
        let mut ahead = 0;
        for (project, level, ready) in self.lanes.startable() {
            let left = AHEAD_MAX - ahead;
            ahead += match level.cmp(&own_level) {
                Ordering::Greater => ready.len().min(left),
                Ordering::Equal if project == node.facts.project => ready.range(..own).take(left).count(),
                Ordering::Equal | Ordering::Less => 0,
            };
        }
        u32::try_from(ahead).unwrap_or(u32::MAX)
    }
}
