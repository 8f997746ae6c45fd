//! The choice: what to start now. Costs the same however much waits.

use std::collections::BTreeSet;

use orch_proto::Timestamp;
use orch_proto::id::{ChangeId, TaskId};

use super::book::Book;
use super::lanes::Order;

/// One thing to start, and why it and not another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub action: Action,
    pub reason: String,
}

/// What can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// An attempt at a task.
    Run(TaskId),
    /// The gates of a change, which is at the front of its project's merge queue.
    Check(ChangeId),
}

impl Book {
    /// Chooses what to start now. What is chosen counts as under way from here on, until it is put, or given back by
    /// [`Self::give_back`]. `rests` are changes that are left alone for a moment.
    pub fn choose(&mut self, now: Timestamp, rests: &BTreeSet<ChangeId>) -> Vec<Decision> {
        self.advance(now);
        let under_way = self.turns.running() + self.chosen.len();
        let free = (self.limits.places() as usize).saturating_sub(under_way);
        if self.limits.forbid() || free == 0 {
            return Vec::new();
        }
        let checks = self.queues.to_check(now, |change| rests.contains(&change)).into_iter().take(free);
        let mut decisions: Vec<Decision> = checks
            .map(|change| Decision { action: Action::Check(change), reason: "front of the merge queue".into() })
            .collect();
        while decisions.len() < free {
            let Some(decision) = self.next() else { break };
            decisions.push(decision);
        }
        decisions
    }

    /// When to choose again though nothing happened: the next retry that becomes due, of a task or of gates, or the next
    /// day for a project that has used up this one.
    #[must_use]
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let task = self.timers.first().map(|(at, _)| *at);
        task.into_iter().chain(self.queues.next_due(now)).chain(self.turns.next_day()).min()
    }

    /// The task that goes first, taken out.
    fn next(&mut self) -> Option<Decision> {
        let (project, (level, order)) = self.turns.first()?;
        let reason = self.reason(level.0, &order);
        self.choose_one(order.id, project);
        Some(Decision { action: Action::Run(order.id), reason })
    }

    fn reason(&self, level: u8, order: &Order) -> String {
        let Some(node) = self.tasks.get(&order.id) else { return String::new() };
        let (priority, project) = (node.facts.priority, node.facts.project);
        let age =
            if level > priority { format!(", {level} since nothing of it started for long") } else { String::new() };
        format!(
            "priority {priority}{age}; {} of its project running, {} min used lately; {} min of work behind it; {} ready \
             after it",
            self.turns.of_project(project),
            self.turns.used_ms(project).div_ceil(60_000),
            order.tail.0,
            self.lanes.ready().saturating_sub(1)
        )
    }
}
