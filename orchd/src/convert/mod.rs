//! From the core's entities to the views of the contract (invariant I7). Reads, never writes.

mod audit;
pub(crate) mod budget;
mod change;
mod eta;
pub(crate) mod info;
mod isolation;
pub(crate) mod patience;
mod plan;
mod planning;
mod project;
mod requirements;
mod run;
mod stats;
mod task;
pub(crate) mod terms;
mod wait;

use orch_core::entity::Project;
use orch_core::names::name_by_id;
pub(crate) use orch_core::names::name_of;
use orch_core::view::{ReadError, View};
use orch_proto::id::ProjectId;

pub(crate) use audit::{event_text, event_view};
pub(crate) use change::{approval_view, change_view};
pub(crate) use eta::{Outlook, Room};
pub(crate) use info::info_request_view;
pub(crate) use isolation::isolation_view;
pub(crate) use plan::plan_view;
pub(crate) use project::{project_view, vision_view};
pub(crate) use requirements::{requirements_diff, requirements_view, trace_view};
pub(crate) use run::{RunPlace, run_view};
pub(crate) use stats::stats_view;
pub(crate) use task::{messages, state_label as task_state_label, task_view};

/// Name of a project, or its id while it cannot be found.
fn slug(view: &impl View, project: ProjectId) -> Result<String, ReadError> {
    Ok(view.get::<Project>(project)?.map_or_else(|| project.to_string(), |project| project.slug))
}
