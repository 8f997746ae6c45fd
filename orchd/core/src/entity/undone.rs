//! What an undo puts back, part by part: the parts that the operation changed, as they were before it.
//!
//! The events carry the values, so that a replay of the log needs to look for nothing.

use std::collections::BTreeMap;

use orch_proto::Timestamp;
use orch_proto::id::{ApprovalId, PlanId, TaskId};
use serde::{Deserialize, Serialize};

use super::budget::{Budget, BudgetKey};
use super::dependency::Condition;
use super::patience::{Overdue, Patience};
use super::project::{Pause, Share};
use super::task::is_never;
use super::task_spec::TaskSpec;
use super::terms::Terms;
use super::{ApplyError, Project, Task};
use crate::recipe::{Glob, Step};
use crate::state::run::FailureClass;
use crate::state::task::{TaskState, TaskStep};

/// A part of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum TaskPart {
    Spec {
        spec: Box<TaskSpec>,
    },
    /// What it waits for in another task; nothing: it does not depend on it.
    Edge {
        depends_on: TaskId,
        condition: Option<Condition>,
    },
    Terms {
        terms: Box<Terms>,
    },
    Priority {
        priority: u8,
    },
    /// Its place among those of its priority.
    Rank {
        rank: i64,
    },
    Approval {
        approval: Option<ApprovalId>,
    },
    /// How often it failed since a person queued it.
    Tries {
        failures: u32,
        losses: u32,
        #[serde(default, skip_serializing_if = "is_never")]
        host_losses: u32,
        #[serde(default, skip_serializing_if = "is_never")]
        conflicts: u32,
        last_failure: Option<String>,
        alike: Option<(FailureClass, String, u32)>,
    },
    /// The plan that it belongs to.
    Plan {
        plan: Option<(PlanId, String)>,
    },
    /// Its state, and what is known and was asked about that. Comes after the terms, which may end what was asked.
    State {
        state: TaskState,
        overdue: Option<Overdue>,
        question: Option<ApprovalId>,
    },
}

/// A part of a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum ProjectPart {
    Share {
        share: Share,
    },
    Pause {
        pause: Option<Pause>,
    },
    Patience {
        patience: Patience,
    },
    /// One of its budgets; nothing: there is none.
    Budget {
        key: BudgetKey,
        budget: Option<Budget>,
    },
    /// What an approved plan brought.
    Blueprint {
        blueprint: Option<(String, BTreeMap<String, String>)>,
        gates: Option<Vec<Step>>,
        protected_paths: Vec<Glob>,
    },
}

impl Task {
    /// Has a part be what it was.
    pub(super) fn put_back(&mut self, part: &TaskPart, at: Timestamp) -> Result<(), ApplyError> {
        match part {
            TaskPart::Spec { spec } => self.spec = (**spec).clone(),
            TaskPart::Edge { depends_on, condition } => {
                self.conditions.remove(depends_on);
                match condition {
                    Some(condition) => {
                        self.depends_on.insert(*depends_on);
                        if !condition.is_default() {
                            self.conditions.insert(*depends_on, *condition);
                        }
                    }
                    None => {
                        self.depends_on.remove(depends_on);
                    }
                }
            }
            TaskPart::Terms { terms } => self.set_terms(terms),
            TaskPart::Priority { priority } => self.priority = *priority,
            TaskPart::Rank { rank } => self.rank = *rank,
            TaskPart::Approval { approval } => self.approval = *approval,
            TaskPart::Tries { failures, losses, host_losses, conflicts, last_failure, alike } => {
                (self.failures, self.losses) = (*failures, *losses);
                (self.host_losses, self.conflicts) = (*host_losses, *conflicts);
                self.last_failure.clone_from(last_failure);
                self.alike.clone_from(alike);
            }
            TaskPart::Plan { plan } => self.plan.clone_from(plan),
            TaskPart::State { state, overdue, question } => {
                self.state = TaskState::next(Some(&self.state), &TaskStep::Undone { to: state.clone() })?;
                // It is there anew: what it waited before, it waited elsewhere.
                self.since = at;
                (self.overdue, self.question) = (*overdue, *question);
            }
        }
        Ok(())
    }
}

impl Project {
    /// Has a part be what it was.
    pub(super) fn put_back(&mut self, part: &ProjectPart, at: Timestamp) {
        match part {
            ProjectPart::Share { share } => self.share = *share,
            ProjectPart::Pause { pause } => {
                if self.pause.is_some() && pause.is_none() {
                    // What could not begin in the meantime has not waited for it.
                    self.resumed_at = Some(at);
                }
                self.pause.clone_from(pause);
            }
            ProjectPart::Patience { patience } => self.patience = *patience,
            ProjectPart::Budget { key, budget } => {
                self.budgets.retain(|known| known.key != *key);
                self.budgets.extend(budget);
                self.budgets.sort_by_key(|budget| budget.key);
            }
            ProjectPart::Blueprint { blueprint, gates, protected_paths } => {
                self.blueprint.clone_from(blueprint);
                self.blueprint_gates.clone_from(gates);
                self.protected_paths.clone_from(protected_paths);
            }
        }
    }
}
