//! What no single state machine sees and must hold after every command.

use std::collections::{BTreeMap, BTreeSet};

use orch_proto::EntityKind;
use orch_proto::id::ProjectId;

use super::session;
use crate::entity::{
    Approval, ApprovalSubject, Asked, BudgetState, Change, Entity, InfoRequest, OwnWait, Plan, Project, Requirements,
    Run, RunPause, RunPurpose, Task, Vision,
};
use crate::graph::Graph;
use crate::state::approval::ApprovalState;
use crate::state::change::ChangeState;
use crate::state::document::DocumentState;
use crate::state::project::ProjectState;
use crate::state::step::StepState;
use crate::state::task::TaskState;
use crate::view::{Filter, ReadError, View};

/// What does not hold, in words; empty when all is well.
///
/// # Errors
/// When the state cannot be read.
pub fn violations(view: &impl View) -> Result<Vec<String>, ReadError> {
    let mut found = Vec::new();
    let projects: Vec<Project> = view.list(&Filter::default())?;
    for project in &projects {
        tasks(view, project.id, &mut found)?;
        documents(view, project.id, &mut found)?;
        archived(view, project, &mut found)?;
        questions(view, project.id, &mut found)?;
        waits(view, project.id, &mut found)?;
        numbers::<Vision>(view, project.id, &mut found)?;
        numbers::<Requirements>(view, project.id, &mut found)?;
        numbers::<Plan>(view, project.id, &mut found)?;
        numbers::<Task>(view, project.id, &mut found)?;
        numbers::<Run>(view, project.id, &mut found)?;
        numbers::<Approval>(view, project.id, &mut found)?;
        numbers::<Change>(view, project.id, &mut found)?;
        numbers::<InfoRequest>(view, project.id, &mut found)?;
    }
    let slugs: BTreeSet<&str> = projects.iter().map(|project| project.slug.as_str()).collect();
    if slugs.len() != projects.len() {
        found.push("two projects have one name".into());
    }
    Ok(found)
}

fn tasks(view: &impl View, project: ProjectId, found: &mut Vec<String>) -> Result<(), ReadError> {
    let mut graph = Graph::new();
    for task in view.list::<Task>(&Filter::of(project))? {
        let name = format!("T-{} ({})", task.number, task.state.label());
        let runs: Vec<Run> = view.list(&Filter::under(task.id))?;
        let open: Vec<&Run> = runs.iter().filter(|run| run.is_open()).collect();
        if open.len() > 1 {
            found.push(format!("{name} has {} open runs", open.len()));
        }
        let mut steps = runs.iter().filter(|run| !run.is_open()).flat_map(|run| &run.steps);
        if steps.any(|step| matches!(step.state, StepState::Pending | StepState::Running { .. })) {
            found.push(format!("a step of {name} goes on in a run that is over"));
        }
        for run in runs.iter().filter(|run| run.is_open() && !run.removed.is_empty()) {
            found.push(format!("something of R-{} is gone, and it is under way", run.number));
        }
        if !runs.is_sorted_by(|earlier, later| earlier.fence < later.fence) {
            found.push(format!("the fences of {name} do not grow"));
        }
        session::check(&runs, found);
        let changes: Vec<Change> = view.list(&Filter::under(task.id))?;
        let open_changes = changes.iter().filter(|change| change.is_open()).count();
        if open_changes > usize::from(matches!(task.state, TaskState::InReview { .. })) {
            found.push(format!("{name} has {open_changes} open changes"));
        }
        match &task.state {
            TaskState::Running { run }
                if !open.iter().any(|open| open.id == *run && open.purpose == RunPurpose::Work) =>
            {
                found.push(format!("the run of {name} is not open"));
            }
            TaskState::InReview { change } if !changes.iter().any(|open| open.id == *change && open.is_open()) => {
                found.push(format!("the change of {name} is not open"));
            }
            _ => {}
        }
        for change in &changes {
            if let ChangeState::Checking { run, .. } = &change.state
                && !open.iter().any(|open| open.id == *run)
            {
                found.push(format!("C-{} is checked by a run that is over", change.number));
            }
        }
        // What is done waits for nothing any more.
        let waits_for = task.depends_on.iter().filter(|_| !matches!(task.state, TaskState::Done { .. }));
        waits_for.for_each(|needed| graph.edge(task.id, *needed));
    }
    if let Err(cycle) = graph.analyse(|_| 1) {
        found.push(format!("tasks wait in a circle: {cycle}"));
    }
    Ok(())
}

/// Nothing goes on in an archived project but a merge whose intent is on record, and runs that were told to end.
fn archived(view: &impl View, project: &Project, found: &mut Vec<String>) -> Result<(), ReadError> {
    if project.state != ProjectState::Archived {
        return Ok(());
    }
    let open = Filter::of(project.id).open();
    let changes: Vec<Change> = view.list(&open)?;
    let merging = |id| changes.iter().any(|it| it.id == id && matches!(it.state, ChangeState::Queued { .. }));
    for change in changes.iter().filter(|change| !merging(change.id)) {
        found.push(format!("C-{} is open in an archived project", change.number));
    }
    for task in view.list::<Task>(&open)? {
        if !matches!(task.state, TaskState::InReview { change } if merging(change)) {
            found.push(format!("T-{} is {} in an archived project", task.number, task.state.label()));
        }
    }
    for run in view.list::<Run>(&open)?.iter().filter(|run| run.cancel_requested.is_none()) {
        found.push(format!("R-{} goes on in an archived project", run.number));
    }
    for approval in view.list::<Approval>(&open)? {
        found.push(format!("A-{} waits in an archived project", approval.number));
    }
    for info in view.list::<InfoRequest>(&open)? {
        found.push(format!("I-{} waits in an archived project", info.number));
    }
    Ok(())
}

fn documents(view: &impl View, project: ProjectId, found: &mut Vec<String>) -> Result<(), ReadError> {
    let requirements = view.list::<Requirements>(&Filter::of(project))?;
    let plans = view.list::<Plan>(&Filter::of(project))?;
    let states = [
        (EntityKind::Requirements, requirements.iter().map(|it| (it.state, it.approval)).collect::<Vec<_>>()),
        (EntityKind::Plan, plans.iter().map(|it| (it.state, it.approval)).collect()),
    ];
    for (kind, versions) in states {
        for state in [DocumentState::Proposed, DocumentState::Approved] {
            let count = versions.iter().filter(|(at, _)| *at == state).count();
            if count > 1 {
                found.push(format!("{count} versions of the {kind} are {}", state.label()));
            }
        }
        for (state, asked) in versions {
            let Some(asked) = asked else { continue };
            let answer = view.get::<Approval>(asked)?.map(|approval| approval.state);
            let fits = match state {
                DocumentState::Draft => false,
                DocumentState::Proposed => matches!(answer, Some(ApprovalState::Pending { .. })),
                DocumentState::Approved => matches!(answer, Some(ApprovalState::Granted { .. })),
                DocumentState::Rejected => {
                    matches!(answer, Some(ApprovalState::Denied { .. } | ApprovalState::Expired))
                }
                DocumentState::Superseded => !matches!(answer, None | Some(ApprovalState::Pending { .. })),
            };
            if !fits {
                found.push(format!("a version of the {kind} is {}, its approval {answer:?}", state.label()));
            }
        }
    }
    Ok(())
}

/// A question that waits is about something that its answer can still change.
fn questions(view: &impl View, project: ProjectId, found: &mut Vec<String>) -> Result<(), ReadError> {
    for approval in view.list::<Approval>(&Filter::of(project).open())? {
        let is_alive = match approval.subject {
            ApprovalSubject::Requirements { id } => {
                view.get::<Requirements>(id)?.is_some_and(|it| it.state == DocumentState::Proposed)
            }
            ApprovalSubject::Plan { id } => view.get::<Plan>(id)?.is_some_and(|it| it.state == DocumentState::Proposed),
            ApprovalSubject::Task { id } => view.get::<Task>(id)?.is_some_and(|it| {
                it.approval == Some(approval.id)
                    && !matches!(it.state, TaskState::Cancelled { .. } | TaskState::Done { .. })
            }),
            ApprovalSubject::Change { id } => view.get::<Change>(id)?.is_some_and(|it| it.is_open()),
            ApprovalSubject::Wait { id } => view
                .get::<Task>(id)?
                .is_some_and(|it| it.question == Some(approval.id) && matches!(it.state, TaskState::Approved { .. })),
            ApprovalSubject::Failure { id } => view
                .get::<Task>(id)?
                .is_some_and(|it| it.question == Some(approval.id) && matches!(it.state, TaskState::Failed { .. })),
            ApprovalSubject::Silence { id } => view.get::<Run>(id)?.is_some_and(|it| {
                it.is_open() && it.silence.is_some_and(|silence| silence.question == Some(approval.id))
            }),
            ApprovalSubject::Spending { id } => {
                view.get::<Run>(id)?.is_some_and(|it| it.is_open() && it.models.question == Some(approval.id))
            }
            ApprovalSubject::Action { id } => view.get::<Run>(id)?.is_some_and(|it| it.is_open()),
            ApprovalSubject::Budget { id } => view.get::<Project>(id)?.is_some_and(|it| {
                let asks = BudgetState::Spent { question: approval.id };
                it.is_open() && it.budgets.iter().any(|budget| budget.state == asks)
            }),
        };
        if approval.is_open() && !is_alive {
            found.push(format!("A-{} waits for an answer about what is over", approval.number));
        }
    }
    Ok(())
}

/// A run waits exactly as long as there is something that it waits for, unless it is to end; what waits is of a run that lives.
fn waits(view: &impl View, project: ProjectId, found: &mut Vec<String>) -> Result<(), ReadError> {
    for run in view.list::<Run>(&Filter::of(project).open())? {
        let infos: Vec<InfoRequest> = view.list(&Filter::under(run.id).open())?;
        let mut actions: Vec<Approval> = view.list(&Filter::under(run.id).open())?;
        actions.retain(|asked| matches!(asked.subject, ApprovalSubject::Action { .. }));
        let has_asked = !infos.is_empty() || !actions.is_empty();
        if run.state.is_waiting() != has_asked && run.cancel_requested.is_none() {
            found.push(format!("R-{} is {}, and {}", run.number, run.state.label(), infos.len() + actions.len()));
        }
        // One that asked under an earlier version has no list of it.
        let ids: Vec<String> = run.channel.asked.iter().map(Asked::id).collect();
        let open = infos.iter().map(|it| it.id.to_string()).chain(actions.iter().map(|it| it.id.to_string()));
        if !ids.is_empty() && !open.into_iter().all(|id| ids.contains(&id)) {
            found.push(format!("R-{} waits for what it has not asked by its list", run.number));
        }
        let own_wait = run.pause.as_ref().and_then(RunPause::own_wait);
        if own_wait == Some(OwnWait::Answer) && !run.state.is_waiting() {
            found.push(format!("R-{} stands still for an answer that it does not wait for", run.number));
        }
    }
    for info in view.list::<InfoRequest>(&Filter::of(project).open())? {
        let Some(run) = info.run else { continue };
        if view.get::<Run>(run)?.is_none_or(|run| !run.is_open()) {
            found.push(format!("I-{} waits for a run that is over", info.number));
        }
    }
    Ok(())
}

fn numbers<E: Entity>(view: &impl View, project: ProjectId, found: &mut Vec<String>) -> Result<(), ReadError> {
    let mut seen: BTreeMap<u32, E::Id> = BTreeMap::new();
    for thing in view.list::<E>(&Filter::of(project))? {
        if let Some(other) = seen.insert(thing.number(), thing.id()) {
            found.push(format!("{other} and {} are both {}", thing.id(), E::KIND.short(thing.number())));
        }
    }
    Ok(())
}
