//! Samples of every state and event of the machines.

use std::collections::BTreeSet;

use orch_proto::Timestamp;

use super::super::approval::{ApprovalState, ApprovalStep, Choice};
use super::super::change::{ChangeState, ChangeStep};
use super::super::document::{DocumentState, DocumentStep};
use super::super::info_request::{InfoRequestState, InfoRequestStep};
use super::super::planning::{PlanningState, PlanningStep};
use super::super::project::{ProjectState, ProjectStep};
use super::super::run::{FailureClass, RunOutcome, RunState, RunStep};
use super::super::step::{StepEnd, StepEvent, StepState};
use super::super::task::{TaskState, TaskStep};
use crate::ids::sample_id;

const AT: Timestamp = Timestamp::from_unix_us(1_795_165_557_000_000);

/// Lists samples of every variant. A variant without one does not compile.
macro_rules! samples {
    ($name:ident, $type:ty, { $($pattern:pat => [$($sample:expr),+],)+ }) => {
        pub(super) fn $name() -> Vec<$type> {
            let listed = |sample: &$type| match sample { $($pattern => {})+ };
            let samples: Vec<$type> = vec![$($($sample),+),+];
            samples.iter().for_each(listed);
            samples
        }
    };
}

pub(super) fn text() -> String {
    "because".into()
}

samples!(project_states, ProjectState, {
    ProjectState::Preparing => [ProjectState::Preparing],
    ProjectState::Ready => [ProjectState::Ready],
    ProjectState::Failed { .. } => [ProjectState::Failed { reason: text() }],
    ProjectState::Archived => [ProjectState::Archived],
});

samples!(project_steps, ProjectStep, {
    ProjectStep::Created => [ProjectStep::Created],
    ProjectStep::Prepared => [ProjectStep::Prepared],
    ProjectStep::PreparationFailed { .. } => [ProjectStep::PreparationFailed { reason: text() }],
    ProjectStep::Retried => [ProjectStep::Retried],
    ProjectStep::Archived => [ProjectStep::Archived],
});

samples!(planning_states, PlanningState, {
    PlanningState::Asked => [PlanningState::Asked],
    PlanningState::Proposed => [PlanningState::Proposed],
    PlanningState::Ruled { .. } => [PlanningState::Ruled { reason: text() }],
    PlanningState::Failed { .. } => [PlanningState::Failed { reason: text() }],
    PlanningState::Cancelled { .. } => [PlanningState::Cancelled { reason: text() }],
});

samples!(planning_steps, PlanningStep, {
    PlanningStep::Asked => [PlanningStep::Asked],
    PlanningStep::Proposed => [PlanningStep::Proposed],
    PlanningStep::Ruled { .. } => [PlanningStep::Ruled { reason: text() }],
    PlanningStep::Failed { .. } => [PlanningStep::Failed { reason: text() }],
    PlanningStep::Cancelled { .. } => [PlanningStep::Cancelled { reason: text() }],
});

samples!(document_states, DocumentState, {
    DocumentState::Draft => [DocumentState::Draft],
    DocumentState::Proposed => [DocumentState::Proposed],
    DocumentState::Approved => [DocumentState::Approved],
    DocumentState::Rejected => [DocumentState::Rejected],
    DocumentState::Superseded => [DocumentState::Superseded],
});

samples!(document_steps_once, DocumentStep, {
    DocumentStep::Drafted => [DocumentStep::Drafted],
    DocumentStep::Proposed => [DocumentStep::Proposed],
    DocumentStep::Approved => [DocumentStep::Approved],
    DocumentStep::Rejected => [DocumentStep::Rejected],
    DocumentStep::Superseded => [DocumentStep::Superseded],
    DocumentStep::Undone { .. } => [DocumentStep::Undone { to: DocumentState::Proposed }],
});

samples!(task_states, TaskState, {
    TaskState::Proposed => [TaskState::Proposed],
    TaskState::Approved { .. } => [TaskState::Approved { not_before: None }, TaskState::Approved { not_before: Some(AT) }],
    TaskState::Running { .. } => [TaskState::Running { run: sample_id(1) }],
    TaskState::InReview { .. } => [TaskState::InReview { change: sample_id(1) }],
    TaskState::Done { .. } => [TaskState::Done { change: None }],
    TaskState::Failed { .. } => [TaskState::Failed { reason: text() }],
    TaskState::Cancelled { .. } => [TaskState::Cancelled { reason: text() }],
    TaskState::Paused { .. } => [TaskState::Paused { reason: text() }],
});

samples!(task_steps_once, TaskStep, {
    TaskStep::Created => [TaskStep::Created],
    TaskStep::Queued => [TaskStep::Queued],
    TaskStep::Started { .. } => [TaskStep::Started { run: sample_id(2) }],
    TaskStep::RetryScheduled { .. } => [TaskStep::RetryScheduled { not_before: AT }],
    TaskStep::ReviewStarted { .. } => [TaskStep::ReviewStarted { change: sample_id(2) }],
    TaskStep::Completed { .. } => [TaskStep::Completed { change: None }],
    TaskStep::Failed { .. } => [TaskStep::Failed { reason: text() }],
    TaskStep::Expired { .. } => [TaskStep::Expired { reason: text() }],
    TaskStep::Cancelled { .. } => [TaskStep::Cancelled { reason: text() }],
    TaskStep::Held { .. } => [TaskStep::Held { reason: text() }],
    TaskStep::Released => [TaskStep::Released],
    TaskStep::Reopened => [TaskStep::Reopened],
    TaskStep::Requeued => [TaskStep::Requeued],
    TaskStep::Undone { .. } => [TaskStep::Undone { to: TaskState::Proposed }],
});

samples!(run_states, RunState, {
    RunState::Queued => [RunState::Queued],
    RunState::Leased { .. } => [RunState::Leased { until: AT }],
    RunState::Starting => [RunState::Starting],
    RunState::Running => [RunState::Running],
    RunState::AwaitingInput { .. } => [RunState::AwaitingInput { question: text() }],
    RunState::AwaitingApproval { .. } => [RunState::AwaitingApproval { action: text() }],
    RunState::Paused => [RunState::Paused],
    RunState::Succeeded => [RunState::Succeeded],
    RunState::Failed { .. } => [RunState::Failed { class: FailureClass::Task, reason: text() }],
    RunState::TimedOut { .. } => [RunState::TimedOut { reason: text() }],
    RunState::Cancelled { .. } => [RunState::Cancelled { reason: text() }],
    RunState::Lost { .. } => [RunState::Lost { reason: text() }],
});

samples!(run_outcomes, RunOutcome, {
    RunOutcome::Succeeded => [RunOutcome::Succeeded],
    RunOutcome::Failed { .. } => [RunOutcome::Failed { class: FailureClass::Policy, reason: text() }],
    RunOutcome::TimedOut { .. } => [RunOutcome::TimedOut { reason: text() }],
    RunOutcome::Cancelled { .. } => [RunOutcome::Cancelled { reason: text() }],
    RunOutcome::Lost { .. } => [RunOutcome::Lost { reason: text() }],
});

samples!(run_steps_before_the_end, RunStep, {
    RunStep::Queued => [RunStep::Queued],
    RunStep::Leased { .. } => [RunStep::Leased { until: AT }],
    RunStep::Starting => [RunStep::Starting],
    RunStep::Started => [RunStep::Started],
    RunStep::InputRequested { .. } => [RunStep::InputRequested { question: text() }],
    RunStep::ApprovalRequested { .. } => [RunStep::ApprovalRequested { action: text() }],
    RunStep::Answered => [RunStep::Answered],
    RunStep::Paused => [RunStep::Paused],
    RunStep::Resumed | RunStep::Ended { .. } => [RunStep::Resumed],
});

pub(super) fn run_steps() -> Vec<RunStep> {
    let ends = run_outcomes().into_iter().map(|outcome| RunStep::Ended { outcome });
    run_steps_before_the_end().into_iter().chain(ends).collect()
}

samples!(step_states, StepState, {
    StepState::Pending => [StepState::Pending],
    StepState::Running { .. } => [StepState::Running { started_at: AT }],
    StepState::Ended { .. } => [StepState::Ended { started_at: AT, finished_at: AT, end: StepEnd::TimedOut }],
    StepState::Skipped => [StepState::Skipped],
    StepState::Kept => [StepState::Kept],
});

samples!(step_events, StepEvent, {
    StepEvent::Started { .. } => [StepEvent::Started { at: AT }],
    StepEvent::Ended { .. } => [StepEvent::Ended { at: AT, end: StepEnd::Succeeded }],
    StepEvent::Skipped => [StepEvent::Skipped],
    StepEvent::Kept => [StepEvent::Kept],
});

samples!(approval_states, ApprovalState, {
    ApprovalState::Pending { .. } => [
        ApprovalState::Pending { needed: 1, granted: BTreeSet::new(), expires: None },
        ApprovalState::Pending { needed: 2, granted: BTreeSet::new(), expires: Some(AT) }
    ],
    ApprovalState::Granted { .. } => [ApprovalState::Granted { by: BTreeSet::from([7]) }],
    ApprovalState::Denied { .. } => [ApprovalState::Denied { by: 7, reason: text() }],
    ApprovalState::Expired => [ApprovalState::Expired],
    ApprovalState::Void { .. } => [ApprovalState::Void { reason: text() }],
    ApprovalState::Answered { .. } => [ApprovalState::Answered { by: 7, choice: Choice::Retry }],
});

samples!(approval_steps_once, ApprovalStep, {
    ApprovalStep::Requested { .. } => [ApprovalStep::Requested { needed: 1, expires: None }],
    ApprovalStep::Granted { .. } => [ApprovalStep::Granted { by: 8 }],
    ApprovalStep::Denied { .. } => [ApprovalStep::Denied { by: 8, reason: text() }],
    ApprovalStep::Expired => [ApprovalStep::Expired],
    ApprovalStep::Voided { .. } => [ApprovalStep::Voided { reason: text() }],
    ApprovalStep::Answered { .. } => [ApprovalStep::Answered { by: 8, choice: Choice::Cancel }],
    ApprovalStep::Undone { .. } => [ApprovalStep::Undone { to: ApprovalState::Expired }],
});

samples!(info_states, InfoRequestState, {
    InfoRequestState::Pending { .. } => [InfoRequestState::Pending { expires: AT }],
    InfoRequestState::Answered { .. } => [InfoRequestState::Answered { by: 7 }],
    InfoRequestState::Expired => [InfoRequestState::Expired],
    InfoRequestState::Cancelled { .. } => [InfoRequestState::Cancelled { reason: text() }],
});

samples!(info_steps, InfoRequestStep, {
    InfoRequestStep::Asked { .. } => [InfoRequestStep::Asked { expires: AT }],
    InfoRequestStep::Answered { .. } => [InfoRequestStep::Answered { by: 8 }],
    InfoRequestStep::Expired => [InfoRequestStep::Expired],
    InfoRequestStep::Cancelled { .. } => [InfoRequestStep::Cancelled { reason: text() }],
});

samples!(change_states, ChangeState, {
    ChangeState::Opened { .. } => [ChangeState::Opened { not_before: None }, ChangeState::Opened { not_before: Some(AT) }],
    ChangeState::Checking { .. } => [ChangeState::Checking { run: sample_id(1), base: None, tree: text() }],
    ChangeState::ChangesRequested { .. } => [ChangeState::ChangesRequested { reason: text() }],
    ChangeState::Mergeable { .. } => [ChangeState::Mergeable { base: None, tree: text() }],
    ChangeState::Queued { .. } => [ChangeState::Queued { base: None, commit: text() }],
    ChangeState::Merged { .. } => [ChangeState::Merged { commit: text() }],
    ChangeState::Conflicted { .. } => [ChangeState::Conflicted { paths: vec![text()] }],
    ChangeState::Closed { .. } => [ChangeState::Closed { reason: text() }],
});

samples!(change_steps_once, ChangeStep, {
    ChangeStep::Opened => [ChangeStep::Opened],
    ChangeStep::ApprovalAsked => [ChangeStep::ApprovalAsked],
    ChangeStep::CheckStarted { .. } => [ChangeStep::CheckStarted { run: sample_id(2), base: None, tree: text() }],
    ChangeStep::CheckPassed => [ChangeStep::CheckPassed],
    ChangeStep::CheckSkipped { .. } => [ChangeStep::CheckSkipped { base: None, tree: text() }],
    ChangeStep::CheckFailed { .. } => [ChangeStep::CheckFailed { reason: text() }],
    ChangeStep::CheckLost { .. } => [ChangeStep::CheckLost { not_before: AT }],
    ChangeStep::BaseMoved => [ChangeStep::BaseMoved],
    ChangeStep::Conflicted { .. } => [ChangeStep::Conflicted { paths: vec![text()] }],
    ChangeStep::MergeStarted { .. } => [ChangeStep::MergeStarted { commit: text() }],
    ChangeStep::Merged => [ChangeStep::Merged],
    ChangeStep::MergeRefused => [ChangeStep::MergeRefused],
    ChangeStep::Closed { .. } => [ChangeStep::Closed { reason: text() }],
    ChangeStep::Undone { .. } => [ChangeStep::Undone { to: ChangeState::Merged { commit: text() } }],
});

/// The samples, and that what brought it where it is was taken back, with each state as the one before.
pub(super) fn with_undone<S, E>(mut steps: Vec<E>, states: Vec<S>, undone: impl Fn(S) -> E) -> Vec<E> {
    steps.pop();
    steps.extend(states.into_iter().map(undone));
    steps
}

pub(super) fn task_steps() -> Vec<TaskStep> {
    with_undone(task_steps_once(), task_states(), |to| TaskStep::Undone { to })
}

pub(super) fn document_steps() -> Vec<DocumentStep> {
    with_undone(document_steps_once(), document_states(), |to| DocumentStep::Undone { to })
}

pub(super) fn approval_steps() -> Vec<ApprovalStep> {
    with_undone(approval_steps_once(), approval_states(), |to| ApprovalStep::Undone { to })
}

pub(super) fn change_steps() -> Vec<ChangeStep> {
    with_undone(change_steps_once(), change_states(), |to| ChangeStep::Undone { to })
}
