//! From requirements to epics, stories and tasks.
//!
//! Pure and deterministic. It must not know how a task is run: it names what does it and what comes before.
//! Invariants are those of `ProposedPlan`; `propose_plan` checks them on what it returns.

mod agent;
mod baseline;
mod blueprint;
mod capability;
pub(super) mod graph;
pub(super) mod keyword;
mod model;
mod slug;
pub(super) mod tree;

pub use model::{
    BlueprintOutline, BlueprintTask, Epic, PLAN_TASKS_MAX, PlanError, PlanInput, PlannedTask, ProposedPlan, Story,
    TaskKind, ToolchainAction, ToolchainOutline,
};

use std::collections::BTreeSet;

use super::model::RequirementKey;
use tree::Tree;

/// Proposes a plan for the requirements of `input`.
///
/// With a blueprint its tasks come first, and requirements that none of them serves become agent tasks; without one the
/// repository's own build, test and lint come first, then one task per requirement, then a verification of the whole.
///
/// # Errors
/// `PlanError` for a blueprint whose tasks are contradictory, for requirements that share an id, and for too many tasks.
pub fn propose_plan(input: &PlanInput<'_>) -> Result<ProposedPlan, PlanError> {
    let mut seen: BTreeSet<&RequirementKey> = BTreeSet::new();
    for requirement in input.requirements {
        if !seen.insert(&requirement.id) {
            return Err(PlanError::DuplicateRequirement { id: requirement.id.clone() });
        }
    }
    let mut tree = Tree::default();
    match input.blueprint {
        Some(outline) => blueprint::plan(input, outline, &mut tree)?,
        None => baseline::plan(input, &mut tree),
    }
    if input.requirements.is_empty() {
        tree.warnings
            .push("there are no requirements: the plan holds only what the repository or blueprint brings".to_owned());
    }
    let plan = tree.finish();
    let count = plan.tasks().count();
    if count > PLAN_TASKS_MAX {
        return Err(PlanError::TooManyTasks { count, max: PLAN_TASKS_MAX });
    }
    graph::check_acyclic(plan.tasks().map(|task| (task.key.as_str(), task.needs.as_slice())))?;
    let served: BTreeSet<&RequirementKey> = plan.tasks().flat_map(|task| &task.requirements).collect();
    assert!(served.len() >= seen.len(), "{} of {} requirements are served by a task", served.len(), seen.len());
    Ok(plan)
}
