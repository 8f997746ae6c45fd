//! Tables of tasks, runs, steps, artifacts, approvals and changes.

use orch_proto::view::{
    ApprovalView, ArtifactView, ChangeView, InfoRequestView, NetworkState, NetworkUseView, RunPurpose, RunState,
    RunView, StepState, StepView, TaskView,
};

use super::{Resource, state_role};
use crate::fmt::color::Role;
use crate::fmt::duration::{age, band, bytes, short};
use crate::fmt::table::Show::{Flexible, OnDemand, Usual};
use crate::fmt::table::{Cell, Column};
use crate::fmt::{count, eta};

/// Letters of a digest that tables show.
const DIGEST_CHARS: usize = 12;

fn head(text: &str) -> String {
    text.chars().take(DIGEST_CHARS).collect()
}

fn state(word: &str) -> Cell {
    Cell::new(word, state_role(word))
}

/// The word for the state of a step.
#[must_use]
pub const fn step_state(state: StepState) -> &'static str {
    match state {
        StepState::Pending => "pending",
        StepState::Running => "running",
        StepState::Succeeded => "succeeded",
        StepState::Failed => "failed",
        StepState::TimedOut => "timed_out",
        StepState::Skipped => "skipped",
        StepState::Kept => "kept",
        StepState::Cancelled => "cancelled",
    }
}

/// What a task waits for or is doing, in a phrase.
#[must_use]
pub fn task_detail(task: &TaskView) -> String {
    if let Some(wait) = task.waits.first() {
        return wait.text.clone();
    }
    if let Some((at, of, name)) = &task.step {
        return format!("step {at}/{of} {name}");
    }
    if let Some(approval) = &task.approval_name {
        return format!("waits for approval {approval}");
    }
    match (&task.last_failure, &task.commit) {
        (Some(failure), _) if task.state == orch_proto::view::TaskState::Failed => failure.clone(),
        (_, Some(commit)) => format!("merged as {}", head(commit)),
        _ if task.state == orch_proto::view::TaskState::Done => "nothing to merge".to_owned(),
        _ if task.ready => "ready".to_owned(),
        _ => String::new(),
    }
}

impl Resource for TaskView {
    const KIND: &'static str = "Task";
    const LIST_KIND: &'static str = "TaskList";

    fn name(&self) -> String {
        self.name.clone()
    }

    fn columns() -> &'static [Column<Self>] {
        static COLUMNS: [Column<TaskView>; 17] = [
            Column { name: "name", show: Usual, cell: |task, _| task.name.as_str().into() },
            Column { name: "title", show: Flexible, cell: |task, _| task.title.as_str().into() },
            Column { name: "state", show: Usual, cell: |task, _| state(task.state.label()) },
            Column {
                name: "attempt",
                show: Usual,
                cell: |task, _| format!("{}/{}", task.attempts, task.attempts_max).into(),
            },
            Column { name: "age", show: Usual, cell: |task, now| age(task.since, now).into() },
            Column { name: "detail", show: Flexible, cell: |task, _| task_detail(task).into() },
            Column { name: "run", show: OnDemand, cell: |task, _| task.run_name.as_deref().into() },
            Column { name: "change", show: OnDemand, cell: |task, _| task.change_name.as_deref().into() },
            Column { name: "approval", show: OnDemand, cell: |task, _| task.approval_name.as_deref().into() },
            Column { name: "commit", show: OnDemand, cell: |task, _| task.commit.as_deref().into() },
            Column { name: "priority", show: OnDemand, cell: |task, _| task.priority.to_string().into() },
            Column { name: "work", show: OnDemand, cell: |task, _| task.work.as_str().into() },
            Column { name: "needs", show: OnDemand, cell: |task, _| task.depends_on.join(",").into() },
            Column { name: "requirements", show: OnDemand, cell: |task, _| task.requirements.join(",").into() },
            Column {
                name: "estimate",
                show: OnDemand,
                cell: |task, _| task.estimate_minutes.map_or("-".into(), |minutes| band(minutes).into()),
            },
            Column {
                name: "eta",
                show: OnDemand,
                cell: |task, _| task.eta.as_ref().map_or("-".into(), |eta| eta::band(eta).into()),
            },
            Column { name: "id", show: OnDemand, cell: |task, _| task.id.to_string().into() },
        ];
        &COLUMNS
    }
}

/// Why a run ended as it did, if there is more to say than its state.
#[must_use]
pub fn run_detail(run: &RunView) -> String {
    match &run.state {
        RunState::Failed { class, reason } => format!("{class}: {reason}"),
        RunState::Queued
        | RunState::Leased
        | RunState::Starting
        | RunState::Running
        | RunState::AwaitingInput
        | RunState::AwaitingApproval
        | RunState::Paused
        | RunState::Succeeded
        | RunState::TimedOut
        | RunState::Cancelled
        | RunState::Lost => run.task_title.clone(),
    }
}

fn purpose(run: &RunView) -> &'static str {
    match run.purpose {
        RunPurpose::Work => "work",
        RunPurpose::Gate { .. } => "gate",
    }
}

impl Resource for RunView {
    const KIND: &'static str = "Run";
    const LIST_KIND: &'static str = "RunList";

    fn name(&self) -> String {
        self.name.clone()
    }

    fn columns() -> &'static [Column<Self>] {
        static COLUMNS: [Column<RunView>; 11] = [
            Column { name: "name", show: Usual, cell: |run, _| run.name.as_str().into() },
            Column { name: "task", show: Usual, cell: |run, _| run.task_name.as_str().into() },
            Column { name: "purpose", show: Usual, cell: |run, _| purpose(run).into() },
            Column { name: "attempt", show: Usual, cell: |run, _| run.attempt.to_string().into() },
            Column { name: "state", show: Usual, cell: |run, _| state(run.state.label()) },
            Column {
                name: "time",
                show: Usual,
                cell: |run, now| {
                    run.started_at.map_or("-".into(), |at| short(run.finished_at.unwrap_or(now).ms_since(at)).into())
                },
            },
            Column { name: "detail", show: Flexible, cell: |run, _| run_detail(run).into() },
            Column { name: "log", show: OnDemand, cell: |run, _| bytes(run.log_bytes).into() },
            Column {
                name: "isolation",
                show: OnDemand,
                cell: |run, _| {
                    run.isolation.as_ref().map_or("-".into(), |isolation| isolation.level.to_string().into())
                },
            },
            Column { name: "reason", show: OnDemand, cell: |run, _| run.reason.as_str().into() },
            Column { name: "id", show: OnDemand, cell: |run, _| run.id.to_string().into() },
        ];
        &COLUMNS
    }
}

impl Resource for StepView {
    const KIND: &'static str = "Step";
    const LIST_KIND: &'static str = "StepList";

    fn name(&self) -> String {
        self.name.clone()
    }

    fn columns() -> &'static [Column<Self>] {
        static COLUMNS: [Column<StepView>; 5] = [
            Column { name: "name", show: Usual, cell: |step, _| step.name.as_str().into() },
            Column { name: "state", show: Usual, cell: |step, _| state(step_state(step.state)) },
            Column {
                name: "exit",
                show: Usual,
                cell: |step, _| step.exit_code.map_or("-".into(), |code| code.to_string().into()),
            },
            Column {
                name: "time",
                show: Usual,
                cell: |step, now| {
                    step.started_at.map_or("-".into(), |at| short(step.finished_at.unwrap_or(now).ms_since(at)).into())
                },
            },
            Column { name: "command", show: Flexible, cell: |step, _| step.command.as_str().into() },
        ];
        &COLUMNS
    }
}

impl Resource for ArtifactView {
    const KIND: &'static str = "Artifact";
    const LIST_KIND: &'static str = "ArtifactList";

    fn name(&self) -> String {
        self.path.clone()
    }

    fn columns() -> &'static [Column<Self>] {
        static COLUMNS: [Column<ArtifactView>; 3] = [
            Column { name: "path", show: Usual, cell: |artifact, _| artifact.path.as_str().into() },
            Column { name: "size", show: Usual, cell: |artifact, _| bytes(artifact.size_bytes).into() },
            Column { name: "digest", show: Usual, cell: |artifact, _| artifact.digest.as_str().into() },
        ];
        &COLUMNS
    }
}

/// The word for what became of something that a run asked of the network.
#[must_use]
pub const fn network_state(state: NetworkState) -> &'static str {
    match state {
        NetworkState::Allowed => "allowed",
        NetworkState::Denied => "denied",
        NetworkState::Failed => "failed",
        NetworkState::Closed => "closed",
    }
}

impl Resource for NetworkUseView {
    const KIND: &'static str = "NetworkUse";
    const LIST_KIND: &'static str = "NetworkUseList";

    fn name(&self) -> String {
        let host = self.host.as_deref().unwrap_or("?");
        self.port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    fn columns() -> &'static [Column<Self>] {
        static COLUMNS: [Column<NetworkUseView>; 5] = [
            Column { name: "verdict", show: Usual, cell: |used, _| state(network_state(used.state)) },
            Column { name: "host", show: Usual, cell: |used, _| used.name().into() },
            Column { name: "way", show: Usual, cell: |used, _| used.way.as_str().into() },
            Column { name: "times", show: Usual, cell: |used, _| used.count.to_string().into() },
            Column { name: "detail", show: Flexible, cell: |used, _| used.detail.as_str().into() },
        ];
        &COLUMNS
    }
}

impl Resource for ApprovalView {
    const KIND: &'static str = "Approval";
    const LIST_KIND: &'static str = "ApprovalList";

    fn name(&self) -> String {
        self.name.clone()
    }

    fn columns() -> &'static [Column<Self>] {
        static COLUMNS: [Column<ApprovalView>; 9] = [
            Column { name: "name", show: Usual, cell: |approval, _| approval.name.as_str().into() },
            Column { name: "state", show: Usual, cell: |approval, _| state(approval.state.label()) },
            Column { name: "subject", show: Usual, cell: |approval, _| approval.subject.as_str().into() },
            Column { name: "action", show: Flexible, cell: |approval, _| approval.action.as_str().into() },
            Column { name: "rule", show: OnDemand, cell: |approval, _| approval.rule.as_str().into() },
            Column { name: "digest", show: Usual, cell: |approval, _| head(&approval.digest).into() },
            Column { name: "by", show: OnDemand, cell: |approval, _| approval.granted_by.join(",").into() },
            Column { name: "age", show: Usual, cell: |approval, now| age(approval.requested_at, now).into() },
            Column { name: "id", show: OnDemand, cell: |approval, _| approval.id.to_string().into() },
        ];
        &COLUMNS
    }
}

impl Resource for InfoRequestView {
    const KIND: &'static str = "Question";
    const LIST_KIND: &'static str = "QuestionList";

    fn name(&self) -> String {
        self.name.clone()
    }

    fn columns() -> &'static [Column<Self>] {
        static COLUMNS: [Column<InfoRequestView>; 8] = [
            Column { name: "name", show: Usual, cell: |asked, _| asked.name.as_str().into() },
            Column { name: "state", show: Usual, cell: |asked, _| state(asked.state.label()) },
            Column { name: "run", show: Usual, cell: |asked, _| asked.run.as_str().into() },
            Column {
                name: "question",
                show: Flexible,
                cell: |asked, _| asked.text.lines().next().unwrap_or_default().into(),
            },
            Column {
                name: "fields",
                show: Usual,
                cell: |asked, _| {
                    let names: Vec<&str> = asked.fields.iter().map(|field| field.name.as_str()).collect();
                    names.join(",").into()
                },
            },
            Column {
                name: "by",
                show: OnDemand,
                cell: |asked, _| asked.answered_by.clone().unwrap_or_default().into(),
            },
            Column { name: "age", show: Usual, cell: |asked, now| age(asked.asked_at, now).into() },
            Column { name: "id", show: OnDemand, cell: |asked, _| asked.id.to_string().into() },
        ];
        &COLUMNS
    }
}

impl Resource for ChangeView {
    const KIND: &'static str = "Change";
    const LIST_KIND: &'static str = "ChangeList";

    fn name(&self) -> String {
        self.name.clone()
    }

    fn columns() -> &'static [Column<Self>] {
        static COLUMNS: [Column<ChangeView>; 11] = [
            Column { name: "name", show: Usual, cell: |change, _| change.name.as_str().into() },
            Column { name: "task", show: Usual, cell: |change, _| change.task_name.as_str().into() },
            Column { name: "state", show: Usual, cell: |change, _| state(change.state.label()) },
            Column { name: "title", show: Flexible, cell: |change, _| change.title.as_str().into() },
            Column {
                name: "size",
                show: Usual,
                cell: |change, _| {
                    format!("{} +{} -{}", count(change.files_changed, "file"), change.lines_added, change.lines_removed)
                        .into()
                },
            },
            Column {
                name: "protected",
                show: OnDemand,
                cell: |change, _| Cell::new(change.protected.join(","), Role::Warn),
            },
            Column { name: "branch", show: OnDemand, cell: |change, _| change.branch.as_str().into() },
            Column { name: "head", show: OnDemand, cell: |change, _| head(&change.head).into() },
            Column { name: "approval", show: OnDemand, cell: |change, _| change.approval_name.as_deref().into() },
            Column { name: "age", show: Usual, cell: |change, now| age(change.since, now).into() },
            Column { name: "id", show: OnDemand, cell: |change, _| change.id.to_string().into() },
        ];
        &COLUMNS
    }
}
