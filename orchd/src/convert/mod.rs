//! From the core's entities to the views of the contract (invariant I7). Reads, never writes.

mod audit;
pub(crate) mod budget;
mod change;
mod eta;
mod isolation;
pub(crate) mod patience;
mod plan;
mod project;
mod requirements;
mod run;
mod stats;
mod task;
pub(crate) mod terms;
mod wait;

use orch_core::entity::{Entity, Project};
use orch_core::view::{ReadError, View};
use orch_proto::EntityKind;
use orch_proto::id::ProjectId;

pub(crate) use audit::{event_text, event_view};
pub(crate) use change::{approval_view, change_view};
pub(crate) use eta::{Outlook, Room};
pub(crate) use isolation::isolation_view;
pub(crate) use plan::plan_view;
pub(crate) use project::{project_view, vision_view};
pub(crate) use requirements::{requirements_diff, requirements_view, trace_view};
pub(crate) use run::{RunPlace, run_view};
pub(crate) use stats::stats_view;
pub(crate) use task::{state_label as task_state_label, task_view};

/// Name of a project, or its id while it cannot be found.
fn slug(view: &impl View, project: ProjectId) -> Result<String, ReadError> {
    Ok(view.get::<Project>(project)?.map_or_else(|| project.to_string(), |project| project.slug))
}

/// What people call a thing: `shop/T-12`.
pub(crate) fn name_of<E: Entity>(view: &impl View, entity: &E) -> Result<String, ReadError> {
    let slug = slug(view, entity.project())?;
    Ok(if E::KIND == EntityKind::Project { slug } else { format!("{slug}/{}", E::KIND.short(entity.number())) })
}

/// What people call the thing with this id; the id itself when there is none.
fn name_by_id<E: Entity>(view: &impl View, id: E::Id) -> Result<String, ReadError> {
    match view.get::<E>(id)? {
        Some(entity) => name_of(view, &entity),
        None => Ok(id.to_string()),
    }
}
