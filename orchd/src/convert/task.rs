//! Tasks, with why they wait.

use orch_core::entity::{Approval, Change, Entity as _, Run, Task};
use orch_core::schedule::{AHEAD_MAX, MemoryBudget, Wait};
use orch_core::state::change::ChangeState;
use orch_core::state::step::StepState;
use orch_core::state::task::TaskState as State;
use orch_core::view::{ReadError, View};
use orch_proto::EntityKind;
use orch_proto::id::RunId;
use orch_proto::view::{TaskState, TaskView, WaitView};

use super::{name_by_id, slug};

/// A task, with why it does not start.
pub(crate) fn task_view(view: &impl View, task: &Task, waits: &[Wait]) -> Result<TaskView, ReadError> {
    let change = task.last_change.map(|id| view.get::<Change>(id)).transpose()?.flatten();
    let run_id = telling_run(task, change.as_ref());
    let run = run_id.map(|id| view.get::<Run>(id)).transpose()?.flatten();
    let project = slug(view, task.project)?;
    let mut depends_on = Vec::with_capacity(task.depends_on.len());
    for id in &task.depends_on {
        depends_on.push(match view.get::<Task>(*id)? {
            Some(needed) => EntityKind::Task.short(needed.number),
            None => id.to_string(),
        });
    }
    let only_a_place = waits.iter().all(|wait| {
        matches!(
            wait,
            Wait::Capacity { .. }
                | Wait::Memory { .. }
                | Wait::Paused { .. }
                | Wait::ProjectRuns { .. }
                | Wait::Quota { .. }
        )
    });
    let approval = approval_of(task, change.as_ref()).map(|id| view.get::<Approval>(id)).transpose()?.flatten();
    // What is answered is waited for no more.
    let approval = approval.filter(Approval::is_open).map(|approval| approval.id);
    let name = format!("{project}/{}", EntityKind::Task.short(task.number));
    let in_review = review_wait(view, change.as_ref())?;
    let waits = in_review.into_iter().chain(waits.iter().map(|wait| wait_view(&name, wait))).collect();
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
        requirements: task.spec.requirements.iter().map(ToString::to_string).collect(),
        acceptance: task.spec.acceptance.clone(),
        priority: task.priority,
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
        created_at: task.created_at,
        since: task.since,
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

/// A reason in words. What can be done about it names the task.
fn wait_view(task: &str, wait: &Wait) -> WaitView {
    let (code, text, hint): (&str, String, Option<String>) = match wait {
        Wait::Proposed => (
            "proposed",
            "it is not in the queue".into(),
            Some(format!("put it there with `orchctl task queue {task}`")),
        ),
        Wait::Held { reason } if reason.is_empty() => {
            ("held", "held by a person".into(), Some(format!("orchctl task release {task}")))
        }
        Wait::Held { reason } => {
            ("held", format!("held by a person: {reason}"), Some(format!("orchctl task release {task}")))
        }
        Wait::Dependency { name, state, hopeless: true, .. } => (
            "dependency",
            format!("waits for {name}, which is {state}"),
            Some(format!("try {name} again with `orchctl task retry {name}`, or unlink it")),
        ),
        Wait::Dependency { name, state, .. } => ("dependency", format!("waits for {name}, which is {state}"), None),
        Wait::Approval { name, state, .. } => (
            "approval",
            format!("waits for approval {name}, which is {state}"),
            Some(format!("orchctl approval get {name}")),
        ),
        Wait::Agent { capability } => (
            "agent",
            format!("needs an agent with the capability `{capability}`, and none is configured"),
            Some(format!(
                "give the task steps with `orchctl task edit {task} --recipe FILE`; agents are not part of this version"
            )),
        ),
        Wait::Tool { name, fix } => ("tool", format!("needs `{name}`, which is not installed"), Some(fix.clone())),
        Wait::Secret { name } => (
            "secret",
            format!("needs the secret `{name}`, which is not set"),
            Some(format!("orchctl secret set {name}")),
        ),
        Wait::Isolation { level, required, fix } => (
            "isolation",
            format!("the host gives isolation level {level}, and {required} is required"),
            Some(fix.clone()),
        ),
        Wait::Backoff { ms } => ("backoff", format!("next try in {}.{} s", ms / 1_000, ms % 1_000 / 100), None),
        Wait::Project { name, state } => ("project", format!("project `{name}` is {state}"), None),
        Wait::Capacity { running, max, ahead } => {
            let ahead = tasks_ahead(*ahead);
            ("capacity", format!("{running} of {max} runs are under way and {ahead} go before it"), None)
        }
        Wait::Memory { running, budget, ahead } => {
            ("memory", memory_text(*running, *budget, *ahead), Some(MEMORY_HINT.into()))
        }
        Wait::ProjectRuns { running, max } => (
            "project_runs",
            format!("{running} of the {max} runs that its project may have at once are under way or about to start"),
            Some(format!("orchctl project set {} --runs-max N", project_of(task))),
        ),
        Wait::Quota { started, max, resets_ms } => (
            "quota",
            quota_text(*started, *max, *resets_ms),
            Some(format!("orchctl project set {} --runs-per-day N", project_of(task))),
        ),
        Wait::Paused { reason } => ("paused", format!("nothing is started: {reason}"), None),
        Wait::Run { name } => ("run", format!("its earlier run {name} has not ended yet"), None),
    };
    WaitView { code: code.into(), text, hint }
}

/// What gives more runs memory.
const MEMORY_HINT: &str = "give runs less with `run.total_memory_mb`, or all of them more with `limits.memory_share`";

fn memory_text(running: u32, budget: MemoryBudget, ahead: u32) -> String {
    let (run, total, ahead) = (budget.run_bytes >> 20, budget.total_bytes >> 20, tasks_ahead(ahead));
    format!("{running} runs of up to {run} MB are under way, {total} MB are for all; {ahead} go before it")
}

fn quota_text(started: u32, max: u32, resets_ms: u64) -> String {
    let begins = span(resets_ms);
    format!(
        "{started} of the {max} runs that its project may start in a day were started; the next day (UTC) begins in {begins}"
    )
}

/// The project of a task's full name.
fn project_of(task: &str) -> &str {
    task.split('/').next().unwrap_or(task)
}

/// A time for people, to the minute.
fn span(ms: u64) -> String {
    let minutes = ms.div_ceil(60_000);
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

fn tasks_ahead(ahead: u32) -> String {
    match ahead {
        1 => "1 task".to_owned(),
        ahead if ahead as usize >= AHEAD_MAX => format!("{AHEAD_MAX} or more tasks"),
        ahead => format!("{ahead} tasks"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_done_about_a_wait_names_the_task() {
        let agent = Wait::Agent { capability: "developer".to_owned() };
        for wait in [Wait::Proposed, Wait::Held { reason: String::new() }, Wait::Held { reason: "why".into() }, agent] {
            let hint = wait_view("shop/T-7", &wait).hint.unwrap();
            assert!(hint.contains("orchctl task ") && hint.contains(" shop/T-7"), "{hint}");
        }
    }
}
