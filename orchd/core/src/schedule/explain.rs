//! Why a task waits: every reason, with numbers.

use std::cmp::Ordering;

use orch_proto::Timestamp;
use orch_proto::id::{ApprovalId, TaskId};

use super::book::{Book, Node};
use super::facts::Phase;
use super::lanes::{Order, Place};
use super::limits::MemoryBudget;
use super::turns::Full;

/// Most tasks that are counted as going before another.
pub const AHEAD_MAX: usize = 1_000;

/// Why a task does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    Proposed,
    Held {
        reason: String,
    },
    /// Not Done yet.
    Dependency {
        task: TaskId,
        name: String,
        state: &'static str,
        hopeless: bool,
    },
    Approval {
        approval: ApprovalId,
        name: String,
        state: &'static str,
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
    Backoff {
        ms: u64,
    },
    Project {
        name: String,
        state: &'static str,
    },
    /// `ahead` tasks would start before it: [`AHEAD_MAX`] says so many or more.
    Capacity {
        running: u32,
        max: u32,
        ahead: u32,
    },
    /// Another run would not fit into the memory that all of them may have.
    Memory {
        running: u32,
        budget: MemoryBudget,
        ahead: u32,
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
    Paused {
        reason: String,
    },
    /// An earlier run of it, which was given up, has not ended yet.
    Run {
        name: String,
    },
}

impl Book {
    /// Why a task does not run, the most telling first. Empty when it is under way or over, or would start at once.
    pub fn waits(&mut self, task: TaskId, now: Timestamp) -> Vec<Wait> {
        self.advance(now);
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
            waits.extend(self.turns.full(node.facts.project).map(|full| match full {
                Full::Runs { running, max } => Wait::ProjectRuns { running, max },
                Full::Day { started, max, ends_at } => {
                    Wait::Quota { started, max, resets_ms: ends_at.ms_since(now).max(1) }
                }
            }));
            waits.extend(self.no_place(node, place));
        }
        waits
    }

    /// What keeps a task from being ready.
    fn blockers(&self, node: &Node, now: Timestamp) -> Vec<Wait> {
        let mut waits = Vec::new();
        match &node.facts.phase {
            Phase::Proposed => waits.push(Wait::Proposed),
            Phase::Held { reason } => waits.push(Wait::Held { reason: reason.clone() }),
            Phase::Queued { .. } | Phase::UnderWay | Phase::Over { .. } => {}
        }
        waits.extend(node.due.map(|at| Wait::Backoff { ms: at.ms_since(now).max(1) }));
        let project = self.projects.get(&node.facts.project).filter(|project| !project.is_ready);
        waits.extend(project.map(|project| Wait::Project { name: project.slug.clone(), state: project.label }));
        waits.extend(node.facts.needs.iter().filter_map(|needed| self.dependency(*needed)));
        waits.extend(node.facts.approval.and_then(|id| self.approval(id)));
        waits.extend(self.limits.lacks(&node.facts.wants));
        waits.extend(self.limits.weakness());
        let under_way = self.under_way.get(&node.facts.id).into_iter().flat_map(|runs| runs.values());
        waits.extend(under_way.map(|number| Wait::Run { name: format!("R-{number}") }));
        waits
    }

    fn dependency(&self, id: TaskId) -> Option<Wait> {
        let Some(needed) = self.tasks.get(&id) else {
            return Some(Wait::Dependency { task: id, name: id.to_string(), state: "absent", hopeless: true });
        };
        (!needed.is_done()).then(|| Wait::Dependency {
            task: id,
            name: format!("T-{}", needed.facts.number),
            state: needed.facts.label,
            hopeless: !needed.is_open(),
        })
    }

    fn approval(&self, id: ApprovalId) -> Option<Wait> {
        match self.approvals.get(&id) {
            None => Some(Wait::Approval { approval: id, name: id.to_string(), state: "absent" }),
            Some(asked) if asked.is_granted => None,
            Some(asked) => {
                Some(Wait::Approval { approval: id, name: format!("A-{}", asked.number), state: asked.label })
            }
        }
    }

    /// That all places are taken.
    fn no_place(&self, node: &Node, place: Place) -> Option<Wait> {
        let running = u32::try_from(self.turns.running()).unwrap_or(u32::MAX);
        if running < self.limits.places() {
            return None;
        }
        let ahead = self.ahead(node, place.order);
        Some(match self.limits.memory {
            Some(budget) if running < self.limits.runs_max => Wait::Memory { running, budget, ahead },
            _ => Wait::Capacity { running, max: self.limits.runs_max, ahead },
        })
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
