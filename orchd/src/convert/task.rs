//! Tasks, with why they wait.

use std::collections::BTreeMap;

use orch_core::entity::{Approval, Change, Entity as _, Message, Run, Task};
use orch_core::schedule::Wait;
use orch_core::state::change::ChangeState;
use orch_core::state::step::StepState;
use orch_core::state::task::TaskState as State;
use orch_core::view::{ReadError, View};
use orch_proto::EntityKind;
use orch_proto::id::RunId;
use orch_proto::view::{MessageView, ReplyView, TaskState, TaskView, WaitView};

use super::wait::wait_view;
use super::{name_by_id, patience, slug, terms};

/// A task, with why it does not start. How long it takes is added by who knows the history.
pub(crate) fn task_view(view: &impl View, task: &Task, waits: &[Wait]) -> Result<TaskView, ReadError> {
    let change = task.last_change.map(|id| view.get::<Change>(id)).transpose()?.flatten();
    let run_id = telling_run(task, change.as_ref());
    let run = run_id.map(|id| view.get::<Run>(id)).transpose()?.flatten();
    let project = slug(view, task.project)?;
    let mut depends_on = Vec::with_capacity(task.depends_on.len());
    let mut conditions = BTreeMap::new();
    for id in &task.depends_on {
        let name = match view.get::<Task>(*id)? {
            Some(needed) => EntityKind::Task.short(needed.number),
            None => id.to_string(),
        };
        conditions.extend(task.conditions.get(id).map(|how| (name.clone(), terms::condition(*how))));
        depends_on.push(name);
    }
    let approval = approval_of(task, change.as_ref()).map(|id| view.get::<Approval>(id)).transpose()?.flatten();
    // What is answered is waited for no more.
    let approval = approval.filter(Approval::is_open).map(|approval| approval.id);
    let name = format!("{project}/{}", EntityKind::Task.short(task.number));
    let in_review = review_wait(view, change.as_ref())?;
    let late = patience::waits(view, task, run.as_ref())?;
    let only_a_place = wait_for_a_place(waits);
    let waits = late.into_iter().chain(in_review).chain(waits.iter().map(|wait| wait_view(&name, wait))).collect();
    Ok(TaskView {
        id: task.id,
        number: task.number,
        name,
        project,
        key: task.plan.as_ref().map(|(_, key)| key.clone()),
        title: task.title.clone(),
        state: state(&task.state),
        ready: matches!(task.state, State::Approved { .. }) && only_a_place,
        waits,
        work: task.spec.work.label(),
        depends_on,
        conditions,
        terms: terms::view(&task.terms),
        requirements: task.spec.requirements.iter().map(ToString::to_string).collect(),
        acceptance: task.spec.acceptance.clone(),
        priority: task.priority,
        moved: match task.rank {
            0 => None,
            ..0 => Some("ahead".into()),
            1.. => Some("back".into()),
        },
        attempts: task.attempts,
        // A person may have asked for more than the policy gives.
        attempts_max: (task.spec.retries.max_retries + 1).max(task.attempts),
        last_failure: task.last_failure.clone(),
        cancelled_because: match &task.state {
            State::Cancelled { reason } => Some(reason.clone()),
            _ => None,
        },
        run: run_id,
        run_name: run.as_ref().map(|run| EntityKind::Run.short(run.number)),
        step: run.as_ref().filter(|run| run.is_open()).and_then(current_step),
        change: task.last_change,
        change_name: change.as_ref().map(|change| EntityKind::Change.short(change.number)),
        approval,
        approval_name: approval.map(|id| name_by_id::<Approval>(view, id)).transpose()?,
        commit: change.and_then(|change| match change.state {
            ChangeState::Merged { commit } => Some(commit),
            _ => None,
        }),
        estimate_minutes: task.spec.estimate_minutes,
        eta: None,
        created_at: task.created_at,
        since: task.since,
        tools: task.tools.iter().map(|(name, source)| format!("{name} ({source})")).collect(),
        messages: Vec::new(),
    })
}

/// What people said to a task.
pub(crate) fn messages(view: &impl View, task: &Task) -> Result<Vec<MessageView>, ReadError> {
    let message = |said: &Message| {
        let run = said.run.map(|id| name_by_id::<Run>(view, id)).transpose()?;
        let (from, text) = (said.name.clone(), said.text.clone());
        let reply = said.reply.as_ref().map(|reply| ReplyView { text: reply.text.clone(), at: reply.at });
        Ok(MessageView { number: said.number, from, text, at: said.at, run, told_at: said.told_at, reply })
    };
    task.thread.iter().map(message).collect()
}

/// Whether a task that waits so would start if there were a place for it.
fn wait_for_a_place(waits: &[Wait]) -> bool {
    waits.iter().all(|wait| {
        matches!(
            wait,
            Wait::Capacity { .. }
                | Wait::Resource { .. }
                | Wait::Reserved { .. }
                | Wait::Paused { .. }
                | Wait::ProjectRuns { .. }
                | Wait::Quota { .. }
        )
    })
}

/// The newest run of the task, or that of the gates which its result did not pass: who wants to know more looks there.
fn telling_run(task: &Task, change: Option<&Change>) -> Option<RunId> {
    let has_failed = matches!(task.state, State::Failed { .. } | State::Approved { .. });
    let rejected = change.filter(|change| has_failed && Some(change.run) == task.last_run && !change.state.is_open());
    rejected.and_then(|change| change.checks.last().copied()).or(task.last_run)
}

/// State of a task.
pub(super) const fn state(state: &State) -> TaskState {
    match state {
        State::Proposed => TaskState::Proposed,
        State::Approved { .. } => TaskState::Approved,
        State::Running { .. } => TaskState::Running,
        State::InReview { .. } => TaskState::InReview,
        State::Done { .. } => TaskState::Done,
        State::Failed { .. } => TaskState::Failed,
        State::Cancelled { .. } => TaskState::Cancelled,
        State::Paused { .. } => TaskState::Paused,
    }
}

/// The core's word for a state.
pub(crate) const fn state_label(state: TaskState) -> &'static str {
    match state {
        TaskState::Proposed => "proposed",
        TaskState::Approved => "approved",
        TaskState::Running => "running",
        TaskState::InReview => "in_review",
        TaskState::Done => "done",
        TaskState::Failed => "failed",
        TaskState::Cancelled => "cancelled",
        TaskState::Paused => "paused",
    }
}

/// The approval that the task waits for at the moment.
fn approval_of(task: &Task, change: Option<&Change>) -> Option<orch_proto::id::ApprovalId> {
    match task.state {
        State::InReview { .. } => change.and_then(|change| change.approval),
        State::Proposed | State::Approved { .. } | State::Paused { .. } => task.approval,
        State::Running { .. } | State::Done { .. } | State::Failed { .. } | State::Cancelled { .. } => None,
    }
}

/// What a task in review waits for.
fn review_wait(view: &impl View, change: Option<&Change>) -> Result<Option<WaitView>, ReadError> {
    let Some(change) = change.filter(|change| change.state.is_open()) else { return Ok(None) };
    let name = EntityKind::Change.short(change.number);
    if let Some(id) = change.approval
        && let Some(approval) = view.get::<Approval>(id)?
        && approval.is_open()
    {
        let asked = EntityKind::Approval.short(approval.number);
        return Ok(Some(WaitView {
            code: "approval".into(),
            text: format!("{name} waits for {asked}: {}", approval.rule),
            hint: Some(format!("orchctl approval get {asked}")),
        }));
    }
    let text = match &change.state {
        ChangeState::Checking { .. } => format!("{name}: the gates run on the merged tree"),
        ChangeState::Queued { .. } => format!("{name} is being merged"),
        _ => format!("{name} waits for its turn in the merge queue"),
    };
    Ok(Some(WaitView { code: "merge".into(), text, hint: None }))
}

fn current_step(run: &Run) -> Option<(u32, u32, String)> {
    let at = run.steps.iter().position(|step| matches!(step.state, StepState::Running { .. }))?;
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Some((number(at + 1), number(run.steps.len()), run.steps[at].name.clone()))
}

#[cfg(test)]
mod tests {
    use orch_core::ids::sample_id;

    use super::*;

    #[test]
    fn states_have_the_words_of_the_core() {
        let all = [
            State::Proposed,
            State::Approved { not_before: None },
            State::Running { run: sample_id(1) },
            State::InReview { change: sample_id(1) },
            State::Done { change: None },
            State::Failed { reason: String::new() },
            State::Cancelled { reason: String::new() },
            State::Paused { reason: String::new() },
        ];
        for found in all {
            assert_eq!(state_label(state(&found)), found.label());
        }
    }
}
