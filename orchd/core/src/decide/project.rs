//! Projects and their Visions.

use orch_proto::EntityKind;
use orch_proto::id::{ProjectId, VisionId};

use super::{
    Context, DecideError, TITLE_CHARS_MAX, approval, channel, conflict, conflict_with_hint, document, info, pause,
    plan, planning, task, title,
};
use crate::command::Command;
use crate::entity::{
    Approval, ApprovalSubject, Change, InfoRequest, Project, ProjectEvent, RepositorySource, Share, Task, Vision,
    VisionEvent, WEIGHT_MAX,
};
use crate::recipe::Glob;
use crate::state::change::ChangeState;
use crate::state::project::ProjectState;
use crate::toolchain::Toolchain;
use crate::view::{Filter, View};

/// Longest slug, in characters. It becomes part of paths and host names.
pub const SLUG_CHARS_MAX: usize = 40;

/// Why everything in an archived project ended.
pub(super) const ARCHIVED: &str = "the project is archived";

pub(super) fn create<V: View>(
    cx: &mut Context<'_, V>,
    slug: &str,
    source: &RepositorySource,
    protected_paths: &[Glob],
) -> Result<(), DecideError> {
    check_slug(slug)?;
    if let Some(found) = cx.view.project_by_slug(slug)? {
        return again(cx, &found, source, protected_paths);
    }
    let id: ProjectId = cx.draw();
    let number = cx.number(EntityKind::Project, None)?;
    let event = ProjectEvent::Created {
        number,
        slug: slug.to_owned(),
        source: source.clone(),
        protected_paths: protected_paths.to_vec(),
    };
    let pause = pause::of_all(cx)?;
    cx.emit((id, event));
    if let Some(pause) = pause {
        cx.note("everything is paused, and so is this project");
        cx.emit((id, ProjectEvent::Paused { pause }));
    }
    cx.touch(EntityKind::Project, id);
    Ok(())
}

/// A project whose repository could not be made does not use its name up: the cause may have passed.
fn again<V: View>(
    cx: &mut Context<'_, V>,
    found: &Project,
    source: &RepositorySource,
    protected_paths: &[Glob],
) -> Result<(), DecideError> {
    if !matches!(found.state, ProjectState::Failed { .. }) {
        return Err(DecideError::Exists { kind: EntityKind::Project, name: found.slug.clone() });
    }
    let event = ProjectEvent::Retried { source: source.clone(), protected_paths: protected_paths.to_vec() };
    cx.emit((found.id, event));
    cx.touch(EntityKind::Project, found.id);
    cx.note(format!("project `{}` had no repository; it is prepared anew", found.slug));
    Ok(())
}

pub(super) fn prepare<V: View>(
    cx: &mut Context<'_, V>,
    id: ProjectId,
    default_branch: &str,
    head: Option<&String>,
    toolchains: &[Toolchain],
) -> Result<(), DecideError> {
    cx.get::<Project>(id)?;
    let event = ProjectEvent::Prepared {
        default_branch: default_branch.to_owned(),
        head: head.cloned(),
        toolchains: toolchains.to_vec(),
    };
    cx.emit((id, event));
    cx.touch(EntityKind::Project, id);
    Ok(())
}

pub(super) fn fail<V: View>(cx: &mut Context<'_, V>, id: ProjectId, reason: &str) -> Result<(), DecideError> {
    cx.get::<Project>(id)?;
    cx.emit((id, ProjectEvent::PreparationFailed { reason: reason.to_owned() }));
    cx.touch(EntityKind::Project, id);
    Ok(())
}

pub(super) fn archive<V: View>(cx: &mut Context<'_, V>, id: ProjectId) -> Result<(), DecideError> {
    let project: Project = cx.get(id)?;
    if project.state == ProjectState::Archived {
        cx.note("the project is archived already");
        return Ok(());
    }
    end_all(cx, id)?;
    cx.emit((id, ProjectEvent::Archived));
    cx.touch(EntityKind::Project, id);
    Ok(())
}

/// Says what a project may have of the host. What is under way goes on.
pub(super) fn set_share<V: View>(cx: &mut Context<'_, V>, command: &Command) -> Result<(), DecideError> {
    let Command::SetShare { project: id, weight, runs_max, runs_per_day } = command else { return Ok(()) };
    let (id, weight, runs_max, runs_per_day) = (*id, *weight, *runs_max, *runs_per_day);
    let project: Project = cx.get(id)?;
    in_use(&project)?;
    cx.touch(EntityKind::Project, id);
    if weight.is_some_and(|weight| weight == 0 || weight > WEIGHT_MAX) {
        return Err(DecideError::Invalid { field: "weight", problem: format!("must be 1 to {WEIGHT_MAX}") });
    }
    let bound = |new: Option<u32>, old| new.map_or(old, |bound| (bound > 0).then_some(bound));
    let share = Share {
        weight: weight.unwrap_or(project.share.weight),
        runs_max: bound(runs_max, project.share.runs_max),
        runs_per_day: bound(runs_per_day, project.share.runs_per_day),
    };
    if share == project.share {
        cx.note("it is so already");
    } else {
        cx.emit((id, ProjectEvent::ShareSet { share }));
    }
    Ok(())
}

/// Ends all that is under way in a project. Only a merge whose intent is on record is let finish: its branch may have
/// moved already.
fn end_all<V: View>(cx: &mut Context<'_, V>, id: ProjectId) -> Result<(), DecideError> {
    for task in cx.view.list::<Task>(&Filter::of(id).open())? {
        let merging = cx.view.list::<Change>(&Filter::under(task.id).open())?;
        match merging.iter().find(|change| matches!(change.state, ChangeState::Queued { .. })) {
            Some(change) => cx.note(format!("C-{} is being merged at this moment and is let finish", change.number)),
            None => task::end(cx, &task, ARCHIVED)?,
        }
    }
    planning::end(cx, id, ARCHIVED)?;
    document::withdraw(cx, id, ARCHIVED)?;
    plan::withdraw(cx, id, ARCHIVED)?;
    for asked in cx.view.list::<Approval>(&Filter::of(id).open())? {
        // The others were withdrawn with what they ask about; a task that failed may still have its question.
        let is_left = match asked.subject {
            ApprovalSubject::Task { id } => cx.get::<Task>(id)?.state.is_final(),
            ApprovalSubject::Silence { .. }
            | ApprovalSubject::Failure { .. }
            | ApprovalSubject::Action { .. }
            | ApprovalSubject::Budget { .. }
            | ApprovalSubject::Spending { .. } => true,
            ApprovalSubject::Requirements { .. }
            | ApprovalSubject::Plan { .. }
            | ApprovalSubject::Change { .. }
            | ApprovalSubject::Wait { .. } => false,
        };
        if is_left {
            approval::void(cx, asked.id, ARCHIVED)?;
        }
    }
    for asked in cx.view.list::<InfoRequest>(&Filter::of(id).open())? {
        if let Some(run) = asked.run {
            channel::withdraw(cx, run, ARCHIVED)?;
        }
    }
    info::withdraw_of_planner(cx, id, ARCHIVED)?;
    Ok(())
}

pub(super) fn submit_vision<V: View>(cx: &mut Context<'_, V>, command: &Command) -> Result<(), DecideError> {
    let Command::SubmitVision { project, title: vision_title, file_name, text, size_bytes, blueprint } = command else {
        return Err(conflict("not a Vision"));
    };
    in_use(&cx.get::<Project>(*project)?)?;
    if let Some(newest) = cx.view.last::<Vision>(*project)?
        && (newest.text, &newest.blueprint) == (*text, blueprint)
    {
        cx.note(format!("vision version {} has the same text; nothing changes", newest.version));
        cx.touch(EntityKind::Vision, newest.id);
        return Ok(());
    }
    let id: VisionId = cx.draw();
    let version = cx.number(EntityKind::Vision, Some(*project))?;
    let event = VisionEvent::Submitted {
        project: *project,
        version,
        title: title("title", &vision_title.chars().take(TITLE_CHARS_MAX).collect::<String>())?,
        file_name: file_name.clone(),
        text: *text,
        size_bytes: *size_bytes,
        blueprint: blueprint.clone(),
    };
    cx.emit((id, event));
    cx.touch(EntityKind::Vision, id);
    Ok(())
}

/// Nothing new may be made in a project that is archived or has no repository.
pub(super) fn in_use(project: &Project) -> Result<(), DecideError> {
    match &project.state {
        ProjectState::Preparing | ProjectState::Ready => Ok(()),
        ProjectState::Archived => Err(conflict(format!("project `{}` is archived", project.slug))),
        ProjectState::Failed { reason } => Err(conflict_with_hint(
            format!("project `{}` has no repository: {reason}", project.slug),
            "mend the cause, then create the project again with `orchctl project create`",
        )),
    }
}

fn check_slug(slug: &str) -> Result<(), DecideError> {
    let shape = slug.starts_with(|first: char| first.is_ascii_lowercase())
        && slug.ends_with(|last: char| last.is_ascii_lowercase() || last.is_ascii_digit())
        && slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if shape && slug.len() <= SLUG_CHARS_MAX {
        return Ok(());
    }
    Err(DecideError::Invalid {
        field: "project name",
        problem: format!("must be 1 to {SLUG_CHARS_MAX} lower-case letters, digits and `-`, beginning with a letter"),
    })
}
