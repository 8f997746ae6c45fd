//! What a request touches, and what it changes at once.

use orch_proto::request::{Planner, Request, Touched};
use orch_proto::view::*;
use orch_proto::{EntityKind, ErrorCode, Ref, RpcError};

use super::State;
use crate::fmt::samples;

pub(super) fn touched(state: &mut State, request: &Request) -> Result<Vec<Touched>, RpcError> {
    let named = |kind: EntityKind, name: &Ref| Touched { kind, id: name.0.clone(), name: name.0.clone() };
    let touched = match request {
        Request::ProjectCreate { name, .. } => {
            state.projects.push(ProjectView { name: name.clone(), ..samples::project() });
            vec![named(EntityKind::Project, &Ref::from(name.as_str()))]
        }
        // As the daemon does it: what says the same already is touched and stays as it is.
        Request::RequirementsPropose { project, planner: Planner::Model { name }, .. } => {
            let planning = PlanningView { model: name.clone(), ..samples::planning() };
            state.projects.iter_mut().for_each(|known| known.planning = Some(planning.clone()));
            vec![named(EntityKind::Project, project)]
        }
        Request::RequirementsPropose { project, planner: Planner::Agent { name }, .. } => {
            let (agent, model) = (Some(name.clone()), String::new());
            let planning = PlanningView { agent, model, turns: 3, ..samples::planning() };
            state.projects.iter_mut().for_each(|known| known.planning = Some(planning.clone()));
            vec![named(EntityKind::Project, project)]
        }
        Request::RequirementsPropose { project, .. } => {
            if state.requirements.is_empty() {
                state.requirements.push(samples::requirements());
                set_versions(state);
            }
            let newest = state.requirements.last().map_or(1, |reqs| reqs.version);
            vec![named(EntityKind::Requirements, &Ref(format!("{project}/Q-{newest}")))]
        }
        Request::PlanPropose { project, .. } => {
            if state.plans.is_empty() {
                state.plans.push(samples::plan());
                set_versions(state);
            }
            let newest = state.plans.last().map_or(1, |plan| plan.version);
            vec![named(EntityKind::Plan, &Ref(format!("{project}/P-{newest}")))]
        }
        Request::RequirementsEdit { project, base_version, .. } => {
            vec![named(EntityKind::Requirements, &Ref(format!("{project}/Q-{}", base_version + 1)))]
        }
        Request::TaskQueue { tasks } => tasks.iter().map(|task| named(EntityKind::Task, task)).collect(),
        Request::TaskCancel { task, .. } | Request::TaskHold { task, .. } => vec![named(EntityKind::Task, task)],
        // As many as one request ends; the others with the next.
        Request::ProjectCancel { .. } => {
            let ended = state.tasks.iter_mut().filter(|task| task.state == TaskState::Approved).take(2);
            let ended = ended.map(|task| {
                task.state = TaskState::Cancelled;
                named(EntityKind::Task, &Ref(task.name.clone()))
            });
            ended.collect()
        }
        Request::ApprovalDecide { approval, .. } | Request::QuestionAnswer { approval, .. } => {
            vec![named(EntityKind::Approval, approval)]
        }
        Request::VisionSubmit { project, .. } => vec![named(EntityKind::Vision, project)],
        _ => vec![],
    };
    match touched.iter().find(|touched| state.refused.contains(&touched.name)) {
        Some(refused) => Err(RpcError::new(ErrorCode::Conflict, format!("`{}` cannot be changed now", refused.name))),
        None => Ok(touched),
    }
}

/// The project says which versions are the newest.
fn set_versions(state: &mut State) {
    for project in &mut state.projects {
        project.requirements_version = state.requirements.last().map(|reqs| reqs.version);
        project.plan_version = state.plans.last().map(|plan| plan.version);
    }
}
