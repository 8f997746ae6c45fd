//! Undo: an operation of a person is taken back where nothing was built on it.
//!
//! What the operation changed of a thing has to be as it left it; then it becomes as it was before. What is otherwise
//! since, somebody decided or something began, and the whole undo is refused. An undo is an operation like others: taken
//! back itself, what it undid is done again.

mod asked;
mod project;
mod task;
mod words;

use std::collections::BTreeMap;

use orch_proto::EntityKind;
use orch_proto::id::{ApprovalId, ChangeId, PlanId, ProjectId, RequirementsId, TaskId};

use super::{Context, DecideError, conflict, conflict_with_hint, project as projects};
use crate::actor::Actor;
use crate::entity::{
    ApplyError, Approval, ApprovalSubject, Change, Entity, Meta, Plan, Project, Requirements, Run, RunPurpose, Task,
};
use crate::event::Event;
use crate::undo::{Operation, Past};
use crate::view::View;

/// Most runs of a project that are looked at to see what began since.
const BEGUN_MAX: usize = 256;
/// Most lines that say what is taken back.
const LINES_MAX: usize = 20;

/// What there will be after the undo, as far as it is decided.
struct Back<'a> {
    operation: &'a Operation,
    projects: BTreeMap<ProjectId, Project>,
    requirements: BTreeMap<RequirementsId, Requirements>,
    plans: BTreeMap<PlanId, Plan>,
    tasks: BTreeMap<TaskId, Task>,
    changes: BTreeMap<ChangeId, Change>,
    approvals: BTreeMap<ApprovalId, Approval>,
    /// Questions that wait for an answer again.
    asked: Vec<ApprovalId>,
    lines: Vec<String>,
}

/// Takes an operation back.
pub(super) fn undo<V: View>(cx: &mut Context<'_, V>, operation: &Operation) -> Result<(), DecideError> {
    let number = operation.seq;
    if !matches!(operation.actor, Actor::User { .. }) {
        return Err(conflict(format!(
            "event {number} is of the daemon itself; only what a person decided is taken back"
        )));
    }
    if let Some((why, instead)) = lasting(operation) {
        return Err(conflict_with_hint(format!("event {number} cannot be taken back: {why}"), instead));
    }
    for id in operation.things.iter().filter_map(Past::project) {
        projects::in_use(&cx.get::<Project>(id)?)?;
    }
    let mut back = Back {
        operation,
        projects: BTreeMap::new(),
        requirements: BTreeMap::new(),
        plans: BTreeMap::new(),
        tasks: BTreeMap::new(),
        changes: BTreeMap::new(),
        approvals: BTreeMap::new(),
        asked: Vec::new(),
        lines: Vec::new(),
    };
    // What was asked about a thing comes after it: that is how it is told.
    let is_about = |thing: &&Past| matches!(thing, Past::Approval(_) | Past::Change(_));
    let (about, things): (Vec<&Past>, Vec<&Past>) = operation.things.iter().partition(is_about);
    for thing in things.into_iter().chain(about) {
        match thing {
            Past::Project(was) => project::project(cx, &mut back, was)?,
            Past::Run(was) => project::run(cx, &mut back, was)?,
            Past::Requirements(was) => asked::requirements(cx, &mut back, was)?,
            Past::Plan(was) => asked::plan(cx, &mut back, was)?,
            Past::Approval(was) => asked::approval(cx, &mut back, was)?,
            Past::Change(was) => asked::change(cx, &mut back, was)?,
            Past::Task(was) => task::task(cx, &mut back, was)?,
        }
    }
    asked::alive(cx, &back)?;
    asked::fits(cx, &back)?;
    task::no_circles(cx, &back)?;
    if cx.decided.events.is_empty() {
        return Err(conflict(format!("event {number} changed nothing that is left to be taken back")));
    }
    let left = back.lines.len().saturating_sub(LINES_MAX);
    back.lines.truncate(LINES_MAX);
    back.lines.into_iter().for_each(|line| cx.note(line));
    if left > 0 {
        cx.note(format!("and {left} more"));
    }
    Ok(())
}

/// Whether an operation can never be taken back, whatever came after it.
#[must_use]
pub fn is_irrevocable(operation: &Operation) -> bool {
    lasting(operation).is_some()
}

/// Why an operation cannot be taken back, and what can be done instead; none where it can.
fn lasting(operation: &Operation) -> Option<(&'static str, &'static str)> {
    let is_of_run = |thing: &Past| match thing {
        Past::Approval(was) => {
            was.after.as_ref().is_some_and(|asked| matches!(asked.subject, ApprovalSubject::Action { .. }))
        }
        _ => false,
    };
    let told = || operation.things.iter().any(is_of_run).then_some(words::TOLD);
    operation.events.iter().find_map(words::irrevocable).or_else(told)
}

/// Lets the undo happen to a thing; answers what it is then.
fn happen<V: View, E: Entity>(cx: &mut Context<'_, V>, now: E, event: E::Event) -> Result<E, DecideError>
where
    Event: From<(E::Id, E::Event)>,
{
    let (id, meta) = (now.id(), Meta { at: cx.now, actor: cx.actor });
    let after = E::apply(Some(now), id, &event, meta).map_err(|error| match error {
        ApplyError::Illegal(illegal) => DecideError::Illegal(illegal),
        other => conflict(other.to_string()),
    })?;
    cx.emit((id, event));
    cx.touch(E::KIND, id);
    Ok(after)
}

/// Whether a part is to be put back, which the operation changed and nobody since. `None` in the log that this was not so.
fn is_to_be<T: PartialEq>(
    what: impl FnOnce() -> String,
    (before, after): (&T, &T),
    now: &T,
) -> Result<bool, DecideError> {
    match (before == after, now == after) {
        (true, _) => Ok(false),
        (false, true) => Ok(true),
        (false, false) => Err(is_another(&what())),
    }
}

fn is_another(what: &str) -> DecideError {
    conflict_with_hint(
        format!("{what} is another since then"),
        "what somebody decided after it is not taken back with it; decide anew instead",
    )
}

/// Refuses when a run of the project, a check of a change included, began since the operation.
fn nothing_began<V: View>(cx: &Context<'_, V>, back: &Back<'_>, project: &Project) -> Result<(), DecideError> {
    match cx.view.last::<Run>(project.id)?.filter(|run| run.queued_at >= back.operation.at) {
        Some(run) => Err(has_begun(run.number)),
        None => Ok(()),
    }
}

fn has_begun(number: u32) -> DecideError {
    conflict_with_hint(
        format!("R-{number} has begun since then"),
        format!("end it with `orchctl run cancel R-{number}` if it is not to go on"),
    )
}

/// Calls `judge` with each attempt that began in the project since the operation, the newest first, and its task.
fn each_begun<V: View>(
    cx: &Context<'_, V>,
    back: &Back<'_>,
    project: ProjectId,
    mut judge: impl FnMut(&Run, &Task) -> Result<(), DecideError>,
) -> Result<(), DecideError> {
    let last = cx.view.last_number(EntityKind::Run, Some(project))?;
    for (looked_at, number) in (1..=last).rev().enumerate() {
        let Some(run) = cx.view.numbered::<Run>(project, number)? else { continue };
        if run.queued_at < back.operation.at {
            break;
        }
        if looked_at >= BEGUN_MAX {
            return Err(conflict(format!("more than {BEGUN_MAX} runs of the project have begun since then")));
        }
        if run.purpose == RunPurpose::Work {
            judge(&run, &cx.get::<Task>(run.task)?)?;
        }
    }
    Ok(())
}
