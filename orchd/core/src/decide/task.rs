//! Tasks: making them by hand, steering them, ending them.

use std::collections::BTreeSet;

use orch_proto::id::{ApprovalId, ProjectId, RunId, TaskId};
use orch_proto::{EntityKind, TASKS_CANCELLED_MAX, Timestamp};

use super::approval::{self, Question};
use super::bounds::{self, NAMED_MAX, QUEUED_MAX};
use super::{Context, DecideError, conflict, conflict_with_hint, dependency, project, question, terms, text, title};
use crate::command::{Command, NewTask};
use crate::entity::{
    Approval, ApprovalEvent, ApprovalSubject, Change, Project, Run, RunEvent, RunPurpose, Task, TaskEvent, TaskSpec,
    Terms, Work,
};
use crate::state::approval::ApprovalState;
use crate::state::change::ChangeState;
use crate::state::task::TaskState;
use crate::view::{Filter, View};

/// Highest priority; 0 is the lowest.
pub const PRIORITY_MAX: u8 = 9;

pub(super) fn create<V: View>(cx: &mut Context<'_, V>, new: &NewTask) -> Result<(), DecideError> {
    let found: Project = cx.get(new.project)?;
    project::in_use(&found)?;
    check_priority(new.priority)?;
    let task_title = title("title", &new.title)?;
    bounds::spec(&new.spec, None)?;
    bounds::count("dependencies", new.depends_on.len(), NAMED_MAX)?;
    terms::check(cx, &new.terms)?;
    for needed in new.depends_on.keys() {
        dependency::same_project(&cx.get::<Task>(*needed)?, new.project)?;
    }
    let id: TaskId = cx.draw();
    let number = cx.number(EntityKind::Task, Some(new.project))?;
    cx.touch(EntityKind::Task, id);
    let asked = if new.needs_approval {
        Some(ask_to_start(cx, new.project, id, (number, &task_title), &new.spec)?)
    } else {
        None
    };
    let event = TaskEvent::Created {
        project: new.project,
        number,
        plan: None,
        title: task_title,
        spec: Box::new(new.spec.clone()),
        depends_on: new.depends_on.keys().copied().collect(),
        conditions: new
            .depends_on
            .iter()
            .filter(|(_, condition)| !condition.is_default())
            .map(|(id, how)| (*id, *how))
            .collect(),
        terms: Box::new(new.terms.clone()),
        priority: new.priority,
        approval: asked,
    };
    cx.emit((id, event));
    if new.queue {
        cx.emit((id, TaskEvent::Queued));
    }
    Ok(())
}

/// Changes what a task does. An approval of what it did before says nothing about what it does now, and one that is
/// needed now may not have been before.
pub(super) fn edit<V: View>(
    cx: &mut Context<'_, V>,
    id: TaskId,
    spec: &TaskSpec,
    needs_approval: bool,
) -> Result<(), DecideError> {
    let task: Task = cx.get(id)?;
    bounds::spec(spec, Some(&task.spec))?;
    cx.touch(EntityKind::Task, id);
    // What is given may need an approval that it did not need when nobody was asked.
    let asks = task.approval.is_none() && needs_approval;
    if task.spec == *spec && !asks {
        cx.note("the edit changes nothing");
        return Ok(());
    }
    project::in_use(&cx.get::<Project>(task.project)?)?;
    if matches!(task.state, TaskState::Running { .. } | TaskState::InReview { .. } | TaskState::Done { .. }) {
        return Err(conflict_with_hint(
            format!("T-{} is {} and cannot be changed", task.number, task.state.label()),
            "cancel it first, or make a new task",
        ));
    }
    if task.spec != *spec {
        cx.emit((id, TaskEvent::Respecified { spec: Box::new(spec.clone()) }));
    }
    if let Some(asked) = task.approval {
        approval::withdraw(cx, asked, "the task was changed")?;
    }
    if task.approval.is_some() || needs_approval {
        ask_about_edit(cx, &task, spec)?;
    }
    Ok(())
}

/// Asks whether a task that was changed may start. A cancelled one asks when it is tried again, since an answer now could
/// change nothing: until then its question is there and void.
fn ask_about_edit<V: View>(cx: &mut Context<'_, V>, task: &Task, spec: &TaskSpec) -> Result<(), DecideError> {
    let is_cancelled = matches!(task.state, TaskState::Cancelled { .. });
    if is_cancelled && task.approval.is_some() {
        return Ok(());
    }
    let asked = ask_to_start(cx, task.project, task.id, (task.number, &task.title), spec)?;
    cx.emit((task.id, TaskEvent::ApprovalAsked { approval: asked }));
    if is_cancelled {
        let reason = "the task is cancelled; it asks when it is tried again".to_owned();
        cx.emit((asked, ApprovalEvent::Voided { reason }));
    }
    Ok(())
}

pub(super) fn queue<V: View>(cx: &mut Context<'_, V>, tasks: &[TaskId]) -> Result<(), DecideError> {
    bounds::count("tasks", tasks.len(), QUEUED_MAX)?;
    for id in tasks.iter().collect::<BTreeSet<_>>() {
        let task: Task = cx.get(*id)?;
        cx.touch(EntityKind::Task, task.id);
        if matches!(task.state, TaskState::Proposed) {
            cx.emit((task.id, TaskEvent::Queued));
        } else {
            cx.note(format!("T-{} is {} already", task.number, task.state.label()));
        }
    }
    Ok(())
}

pub(super) fn prioritize<V: View>(cx: &mut Context<'_, V>, id: TaskId, priority: u8) -> Result<(), DecideError> {
    check_priority(priority)?;
    let task: Task = cx.get(id)?;
    if task.priority != priority {
        cx.emit((id, TaskEvent::Prioritized { priority }));
    }
    cx.touch(EntityKind::Task, id);
    Ok(())
}

/// Holds a task back, or lets it go on.
pub(super) fn steer<V: View>(cx: &mut Context<'_, V>, command: &Command) -> Result<(), DecideError> {
    match command {
        Command::HoldTask { task, reason } => hold(cx, *task, reason),
        Command::ReleaseTask { task } => release(cx, *task),
        _ => Err(conflict("no word about holding a task")),
    }
}

fn hold<V: View>(cx: &mut Context<'_, V>, id: TaskId, reason: &str) -> Result<(), DecideError> {
    let task: Task = cx.get(id)?;
    cx.touch(EntityKind::Task, id);
    match task.state {
        TaskState::Paused { .. } => {
            cx.note("it is held already");
            return Ok(());
        }
        TaskState::Running { .. } => {
            let (message, hint) = ("is running", "cancel its run first, or wait for its end");
            return Err(conflict_with_hint(format!("T-{} {message} and cannot be held", task.number), hint));
        }
        _ => {}
    }
    question::end_of_state(cx, &task, "the task was held")?;
    cx.emit((id, TaskEvent::Held { reason: text("reason", reason)?.to_owned() }));
    Ok(())
}

fn release<V: View>(cx: &mut Context<'_, V>, id: TaskId) -> Result<(), DecideError> {
    cx.get::<Task>(id)?;
    cx.emit((id, TaskEvent::Released));
    cx.touch(EntityKind::Task, id);
    Ok(())
}

pub(super) fn cancel<V: View>(cx: &mut Context<'_, V>, id: TaskId, reason: &str) -> Result<(), DecideError> {
    let task: Task = cx.get(id)?;
    cx.touch(EntityKind::Task, id);
    if matches!(task.state, TaskState::Cancelled { .. }) {
        cx.note("it is cancelled already");
        return Ok(());
    }
    end(cx, &task, text("reason", reason)?)
}

/// Cancels tasks that are not over, but for those that are being merged at this moment: they are let finish.
pub(super) fn cancel_all<V: View>(cx: &mut Context<'_, V>, ids: &[TaskId], reason: &str) -> Result<(), DecideError> {
    bounds::count("tasks", ids.len(), TASKS_CANCELLED_MAX)?;
    let reason = text("reason", reason)?;
    let mut seen = BTreeSet::new();
    for id in ids.iter().filter(|id| seen.insert(**id)) {
        let task: Task = cx.get(*id)?;
        if task.state.is_final() {
            cx.note(format!("T-{} is {} already", task.number, task.state.label()));
            continue;
        }
        let open = cx.view.list::<Change>(&Filter::under(task.id).open())?;
        if let Some(change) = open.iter().find(|change| matches!(change.state, ChangeState::Queued { .. })) {
            cx.note(format!(
                "C-{} of T-{} is being merged at this moment and is let finish",
                change.number, task.number
            ));
            continue;
        }
        cx.touch(EntityKind::Task, task.id);
        end(cx, &task, reason)?;
    }
    if ids.is_empty() {
        cx.note("there is no task that is not over");
    }
    Ok(())
}

/// Has a task tried again, which is named by itself or by its newest run.
pub(super) fn again<V: View>(cx: &mut Context<'_, V>, command: &Command) -> Result<(), DecideError> {
    match command {
        Command::RetryTask { task, anew, not_before, priority } => retry(cx, *task, *anew, (*not_before, *priority)),
        Command::RetryRun { run, anew, not_before, priority } => retry_run(cx, *run, *anew, (*not_before, *priority)),
        _ => Err(conflict("nothing that is to be tried again")),
    }
}

/// Has the task of a run tried again, as which it is queued.
fn retry_run<V: View>(
    cx: &mut Context<'_, V>,
    id: RunId,
    anew: bool,
    how: (Option<Timestamp>, Option<u8>),
) -> Result<(), DecideError> {
    let run: Run = cx.get(id)?;
    let name = format!("R-{}", run.number);
    let task: Task = cx.get(run.task)?;
    if let RunPurpose::Gate { change } = run.purpose {
        let change: Change = cx.get(change)?;
        return Err(conflict_with_hint(
            format!("{name} runs the gates of C-{} and is no attempt at T-{}", change.number, task.number),
            format!("have the task tried again with `orchctl task retry T-{}` when it failed", task.number),
        ));
    }
    if task.last_run != Some(id) {
        let newest = task.last_run.map(|last| cx.get::<Run>(last)).transpose()?;
        let newest = newest.map_or_else(String::new, |newest| format!(": that is R-{}", newest.number));
        return Err(conflict_with_hint(
            format!("{name} is not the newest attempt at T-{}{newest}", task.number),
            format!("name the newest, or the task: `orchctl task retry T-{}`", task.number),
        ));
    }
    retry(cx, task.id, anew, how)?;
    cx.touch(EntityKind::Run, id);
    Ok(())
}

/// Has a task tried again; with `anew` also one that is under way, whose run is ended and not taken any more.
pub(super) fn retry<V: View>(
    cx: &mut Context<'_, V>,
    id: TaskId,
    anew: bool,
    (not_before, priority): (Option<Timestamp>, Option<u8>),
) -> Result<(), DecideError> {
    let task: Task = cx.get(id)?;
    cx.touch(EntityKind::Task, id);
    project::in_use(&cx.get::<Project>(task.project)?)?;
    let terms = Terms { not_before: not_before.or(task.terms.not_before), ..task.terms.clone() };
    if let Some(deadline) = terms.deadline.filter(|deadline| *deadline <= cx.now) {
        return Err(conflict_with_hint(
            format!("the deadline of T-{}, {deadline}, is over", task.number),
            format!("give it another with `orchctl task set T-{} --deadline WHEN`, or `none`", task.number),
        ));
    }
    match task.state {
        TaskState::Failed { .. } | TaskState::Cancelled { .. } => {
            question::end_of_state(cx, &task, "the task is tried again")?;
            cx.emit((id, TaskEvent::Reopened));
        }
        TaskState::Running { .. } if anew => {
            for run in cx.view.list::<Run>(&Filter::under(id).open())? {
                if run.cancel_requested.is_none() {
                    cx.emit((run.id, RunEvent::CancelRequested { reason: "the task is tried anew".into() }));
                }
            }
            cx.emit((id, TaskEvent::Requeued));
        }
        TaskState::Running { .. } => {
            let message = format!("T-{} is running and not failed", task.number);
            let hint = "have its run ended and the task tried anew with `orchctl task retry --running`";
            return Err(conflict_with_hint(message, hint));
        }
        _ => {
            return Err(conflict_with_hint(
                format!("T-{} is {} and not failed", task.number, task.state.label()),
                "only a failed or cancelled task can be tried again",
            ));
        }
    }
    if terms != task.terms {
        terms::check(cx, &terms)?;
        cx.emit((id, TaskEvent::TermsSet { terms: Box::new(terms) }));
    }
    if let Some(priority) = priority.filter(|priority| *priority != task.priority) {
        check_priority(priority)?;
        cx.emit((id, TaskEvent::Prioritized { priority }));
    }
    if let Some(asked) = task.approval
        && !matches!(cx.get::<Approval>(asked)?.state, ApprovalState::Pending { .. } | ApprovalState::Granted { .. })
    {
        let asked = ask_to_start(cx, task.project, id, (task.number, &task.title), &task.spec)?;
        cx.emit((id, TaskEvent::ApprovalAsked { approval: asked }));
    }
    Ok(())
}

fn ask_to_start<V: View>(
    cx: &mut Context<'_, V>,
    project: ProjectId,
    task: TaskId,
    (number, title): (u32, &str),
    spec: &TaskSpec,
) -> Result<ApprovalId, DecideError> {
    let mut details = vec![format!("work: {}", spec.work.label())];
    let access = spec.work.access().lines();
    let rule = if access.is_empty() {
        "the task was made with `needs approval`"
    } else {
        "the task is given network or secrets, or was made with `needs approval`"
    };
    details.extend(access);
    if let Work::Steps { steps, .. } = &spec.work {
        approval::list(&mut details, steps.iter().map(|step| format!("{}: {}", step.name, step.run.trim())));
    }
    let question = Question {
        project,
        subject: ApprovalSubject::Task { id: task },
        action: format!("start task T-{number} {title}"),
        details,
        rule,
        digest: approval::task_digest(project, title, spec),
        choices: Vec::new(),
    };
    let asked = approval::ask(cx, question)?;
    cx.touch(EntityKind::Approval, asked);
    Ok(asked)
}

/// Cancels a task with everything that hangs on it: its run is asked to end, its change is closed, its questions are
/// withdrawn.
pub(super) fn end<V: View>(cx: &mut Context<'_, V>, task: &Task, reason: &str) -> Result<(), DecideError> {
    for change in cx.view.list::<Change>(&Filter::under(task.id).open())? {
        if matches!(change.state, ChangeState::Queued { .. }) {
            return Err(conflict_with_hint(
                format!("T-{} is being merged at this moment", task.number),
                "wait a moment and look again; a merged change is undone by a new task that reverts it",
            ));
        }
        super::change::close_open(cx, &change, reason)?;
    }
    for run in cx.view.list::<Run>(&Filter::under(task.id).open())? {
        if run.cancel_requested.is_none() {
            cx.emit((run.id, RunEvent::CancelRequested { reason: reason.to_owned() }));
        }
    }
    if let Some(asked) = task.approval {
        approval::void(cx, asked, "the task was cancelled")?;
    }
    question::end_of_state(cx, task, "the task was cancelled")?;
    cx.emit((task.id, TaskEvent::Cancelled { reason: reason.to_owned() }));
    Ok(())
}

fn check_priority(priority: u8) -> Result<(), DecideError> {
    if priority <= PRIORITY_MAX {
        return Ok(());
    }
    Err(DecideError::Invalid { field: "priority", problem: format!("must be 0 to {PRIORITY_MAX}") })
}
