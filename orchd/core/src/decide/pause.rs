//! Pauses: of projects, in which nothing begins, and of runs, whose processes stand still.

use orch_proto::id::{ProjectId, RunId};
use orch_proto::{EntityKind, Timestamp};

use super::{Context, DecideError, conflict, project, text};
use crate::command::Command;
use crate::entity::{Entity as _, Pause, Project, ProjectEvent, Run, RunEvent, RunPause};
use crate::state::project::ProjectState;
use crate::view::{Filter, View};

/// Pauses projects or lets them go on.
pub(super) fn steer<V: View>(cx: &mut Context<'_, V>, command: &Command) -> Result<(), DecideError> {
    match command {
        Command::PauseProjects { projects: named, reason, until, with_runs } => {
            projects(cx, named, (reason, *until), *with_runs)
        }
        Command::ResumeProjects { projects } => resume_projects(cx, projects),
        _ => Err(conflict("no pause of projects")),
    }
}

/// Pauses projects: those that are named, or all that are in use.
fn projects<V: View>(
    cx: &mut Context<'_, V>,
    named: &[ProjectId],
    (reason, until): (&str, Option<Timestamp>),
    with_runs: bool,
) -> Result<(), DecideError> {
    let reason = text("reason", reason)?;
    if let Some(until) = until.filter(|until| *until <= cx.now) {
        return Err(DecideError::Invalid { field: "end of the pause", problem: format!("{until} is over") });
    }
    for found in wanted(cx, named)? {
        cx.touch(EntityKind::Project, found.id);
        // What says more of one project takes nothing from the pause of all.
        let before = found.pause.as_ref().filter(|pause| pause.lasts(cx.now));
        let is_of_all = named.is_empty() || before.is_some_and(|pause| pause.is_of_all);
        let pause = Pause { reason: reason.to_owned(), until, is_of_all };
        if found.pause.as_ref() == Some(&pause) {
            cx.note(format!("project `{}` is paused so already", found.slug));
        } else {
            cx.emit((found.id, ProjectEvent::Paused { pause }));
        }
        if with_runs {
            for run in cx.view.list::<Run>(&Filter::of(found.id).open())? {
                // What a person paused by itself is not resumed with the project.
                if run
                    .pause
                    .as_ref()
                    .is_none_or(|pause| pause.with_project || pause.is_the_runs_own() || !pause.lasts(cx.now))
                {
                    let pause = RunPause::asked(reason, true, until).over(run.pause.as_ref());
                    // What is so already is no event, and nothing to take back.
                    if run.pause.as_ref() != Some(&pause) {
                        cx.emit((run.id, RunEvent::PauseRequested { pause }));
                    }
                }
            }
        }
    }
    Ok(())
}

/// Lets projects go on, with the runs that were paused with them.
fn resume_projects<V: View>(cx: &mut Context<'_, V>, named: &[ProjectId]) -> Result<(), DecideError> {
    for found in wanted(cx, named)? {
        cx.touch(EntityKind::Project, found.id);
        if found.pause.is_some() {
            cx.emit((found.id, ProjectEvent::WentOn));
        } else {
            cx.note(format!("project `{}` is not paused", found.slug));
        }
        for run in cx.view.list::<Run>(&Filter::of(found.id).open())? {
            if run.pause.is_some_and(|pause| pause.with_project) {
                cx.emit((run.id, RunEvent::ResumeRequested));
            }
        }
    }
    Ok(())
}

/// The pause that a project which is made now begins with: as long as all there are were paused at once, it is, too.
pub(super) fn of_all<V: View>(cx: &Context<'_, V>) -> Result<Option<Pause>, DecideError> {
    let in_use: Vec<Project> = cx.view.list(&Filter::default().open())?;
    let of_all = |project: Project| project.pause.filter(|pause| pause.is_of_all && pause.lasts(cx.now));
    let pauses: Option<Vec<Pause>> = in_use.into_iter().map(of_all).collect();
    Ok(pauses.and_then(|mut pauses| pauses.pop()))
}

/// The same for single runs.
pub(super) fn of_run<V: View>(cx: &mut Context<'_, V>, command: &Command) -> Result<(), DecideError> {
    match command {
        Command::PauseRun { run, reason } => pause_run(cx, *run, reason),
        Command::ResumeRun { run } => resume_run(cx, *run),
        Command::RecallRun { run } => recall(cx, *run),
        _ => Err(conflict("no pause of a run")),
    }
}

fn pause_run<V: View>(cx: &mut Context<'_, V>, id: RunId, reason: &str) -> Result<(), DecideError> {
    let run: Run = open_run(cx, id)?;
    if run.pause.as_ref().is_some_and(|pause| pause.is_wanted(cx.now)) {
        cx.note("it is paused already");
        return Ok(());
    }
    let pause = RunPause::asked(text("reason", reason)?, false, None).over(run.pause.as_ref());
    cx.emit((id, RunEvent::PauseRequested { pause }));
    Ok(())
}

fn resume_run<V: View>(cx: &mut Context<'_, V>, id: RunId) -> Result<(), DecideError> {
    let run: Run = open_run(cx, id)?;
    if run.pause.is_none() {
        cx.note("it is not paused");
        return Ok(());
    }
    cx.emit((id, RunEvent::ResumeRequested));
    Ok(())
}

/// Lets a run go on that has its answer, now that there is a place for it.
fn recall<V: View>(cx: &mut Context<'_, V>, id: RunId) -> Result<(), DecideError> {
    let run: Run = open_run(cx, id)?;
    let wants_place = run.pause.as_ref().and_then(RunPause::wants_place);
    if wants_place.is_none_or(|(_, from)| from.is_some_and(|from| cx.now < from)) {
        return Err(conflict(format!("R-{} does not wait for a place", run.number)));
    }
    if run.pause.is_some_and(|pause| pause.beneath.is_some()) {
        // The pause that a person wanted until then is over first.
        cx.emit((id, RunEvent::ResumeRequested));
    }
    cx.emit((id, RunEvent::ResumeRequested));
    Ok(())
}

/// Refuses what would begin something of a project that is paused.
pub(super) fn may_begin<V: View>(cx: &Context<'_, V>, project: &Project) -> Result<(), DecideError> {
    match project.pause.as_ref().filter(|pause| pause.lasts(cx.now)) {
        Some(_) => Err(conflict(format!("project `{}` is paused", project.slug))),
        None => Ok(()),
    }
}

fn open_run<V: View>(cx: &mut Context<'_, V>, id: RunId) -> Result<Run, DecideError> {
    let run: Run = cx.get(id)?;
    cx.touch(EntityKind::Run, id);
    if run.is_open() {
        return Ok(run);
    }
    Err(conflict(format!("R-{} is {} already", run.number, run.state.label())))
}

fn wanted<V: View>(cx: &Context<'_, V>, named: &[ProjectId]) -> Result<Vec<Project>, DecideError> {
    if !named.is_empty() {
        let projects = named.iter().map(|id| cx.get::<Project>(*id)).collect::<Result<Vec<_>, _>>()?;
        projects.iter().try_for_each(project::in_use)?;
        return Ok(projects);
    }
    let open: Vec<Project> = cx.view.list(&Filter::default().open())?;
    if open.is_empty() {
        return Err(conflict("there is no project in use"));
    }
    Ok(open.into_iter().filter(|project| project.state != ProjectState::Archived).collect())
}
