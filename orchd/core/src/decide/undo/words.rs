//! What can never be taken back, and what can be done instead.

use crate::entity::{
    ApprovalEvent, ChangeEvent, InfoRequestEvent, PlanEvent, ProjectEvent, RequirementsEvent, RunEvent, TaskEvent,
};
use crate::event::Event;

/// Why what happened cannot be taken back, and what can be done instead; none where it can.
pub(super) fn irrevocable(event: &Event) -> Option<(&'static str, &'static str)> {
    match event {
        Event::Project { event, .. } => project(event),
        Event::Vision { .. } => {
            Some(("a Vision was handed in, and is on record", "hand in another with `orchctl vision submit`"))
        }
        Event::Requirements { event, .. } => requirements(event),
        Event::Plan { event, .. } => plan(event),
        Event::Task { event, .. } => task(event),
        Event::Run { event, .. } => run(event),
        Event::Approval { event, .. } => approval(event),
        Event::Change { event, .. } => change(event),
        Event::InfoRequest { event, .. } => Some(info(event)),
    }
}

const fn project(event: &ProjectEvent) -> Option<(&'static str, &'static str)> {
    match event {
        ProjectEvent::Created { .. } | ProjectEvent::Retried { .. } => {
            Some(("a repository was made", "`orchctl project archive` takes the project out of use"))
        }
        ProjectEvent::Archived => {
            Some(("the project is archived, and all that was under way in it was ended", "make another project"))
        }
        ProjectEvent::Prepared { .. }
        | ProjectEvent::PreparationFailed { .. }
        | ProjectEvent::Inspected { .. }
        | ProjectEvent::Planning { .. }
        | ProjectEvent::BudgetUsed { .. } => Some(BEGUN),
        ProjectEvent::BlueprintSet { .. }
        | ProjectEvent::ShareSet { .. }
        | ProjectEvent::Paused { .. }
        | ProjectEvent::Resumed
        | ProjectEvent::WentOn
        | ProjectEvent::PatienceSet { .. }
        | ProjectEvent::Budget { .. }
        | ProjectEvent::Undone { .. } => None,
    }
}

const BEGUN: (&str, &str) = ("it tells what was done already", "`orchctl events` shows what happened");

const fn requirements(event: &RequirementsEvent) -> Option<(&'static str, &'static str)> {
    match event {
        RequirementsEvent::Drafted { .. } | RequirementsEvent::Proposed { .. } => {
            Some(("a version of the requirements was made", "reject it with `orchctl req reject`, or edit it"))
        }
        RequirementsEvent::Commented { .. } => Some(("a word that was said stays on record", "say another")),
        RequirementsEvent::Approved
        | RequirementsEvent::Rejected
        | RequirementsEvent::Superseded
        | RequirementsEvent::Undone { .. } => None,
    }
}

const fn plan(event: &PlanEvent) -> Option<(&'static str, &'static str)> {
    match event {
        PlanEvent::Drafted { .. } | PlanEvent::Proposed { .. } => {
            Some(("a version of the plan was made", "reject it with `orchctl plan reject`, or change it"))
        }
        PlanEvent::Approved | PlanEvent::Rejected | PlanEvent::Superseded | PlanEvent::Undone { .. } => None,
    }
}

const fn task(event: &TaskEvent) -> Option<(&'static str, &'static str)> {
    match event {
        TaskEvent::Requeued => Some(ENDED),
        TaskEvent::SpendingRaised => Some(RAISED),
        TaskEvent::ToolGiven { .. } => Some(GIVEN),
        TaskEvent::Said { .. } => Some(SAID),
        TaskEvent::Started { .. }
        | TaskEvent::RetryScheduled { .. }
        | TaskEvent::ReviewStarted { .. }
        | TaskEvent::Completed { .. }
        | TaskEvent::Expired { .. }
        | TaskEvent::Overdue { .. }
        | TaskEvent::Escalated { .. } => Some(BEGUN),
        TaskEvent::Created { .. }
        | TaskEvent::Queued
        | TaskEvent::Respecified { .. }
        | TaskEvent::Linked { .. }
        | TaskEvent::TermsSet { .. }
        | TaskEvent::Unlinked { .. }
        | TaskEvent::Prioritized { .. }
        | TaskEvent::Moved { .. }
        | TaskEvent::Failed { .. }
        | TaskEvent::Cancelled { .. }
        | TaskEvent::Held { .. }
        | TaskEvent::Released
        | TaskEvent::Reopened
        | TaskEvent::ApprovalAsked { .. }
        | TaskEvent::Told { .. }
        | TaskEvent::Replied { .. }
        | TaskEvent::Undone { .. } => None,
    }
}

const RAISED: (&str, &str) =
    ("a run went on to spend more on models", "end it with `orchctl run cancel`, or pause it with `orchctl run pause`");

const GIVEN: (&str, &str) =
    ("a run was told that its task has a tool", "cancel the task, and make it anew without the tool");

const SAID: (&str, &str) = ("something was said, and may be known", "say what is to be otherwise");

const ENDED: (&str, &str) =
    ("a run was told to end, and what it did is gone with it", "have the task tried again with `orchctl task retry`");

const fn run(event: &RunEvent) -> Option<(&'static str, &'static str)> {
    match event {
        RunEvent::PauseRequested { .. } | RunEvent::ResumeRequested | RunEvent::Undone { .. } => None,
        RunEvent::CancelRequested { .. } | RunEvent::OverBudget { .. } => Some(ENDED),
        RunEvent::SpendingRaised => Some(RAISED),
        RunEvent::Queued { .. }
        | RunEvent::Leased { .. }
        | RunEvent::Starting
        | RunEvent::Equipped { .. }
        | RunEvent::Observed { .. }
        | RunEvent::Silent { .. }
        | RunEvent::Heard
        | RunEvent::Resumed { .. }
        | RunEvent::Kept { .. }
        | RunEvent::Session { .. }
        | RunEvent::Told { .. }
        | RunEvent::ModelAsked { .. }
        | RunEvent::ModelAnswered { .. }
        | RunEvent::SpendingAsked { .. }
        | RunEvent::Channel { .. }
        | RunEvent::Ended { .. }
        | RunEvent::Removing { .. }
        | RunEvent::Removed
        | RunEvent::LateResult { .. } => Some(BEGUN),
    }
}

const fn approval(event: &ApprovalEvent) -> Option<(&'static str, &'static str)> {
    match event {
        ApprovalEvent::Expired => Some(BEGUN),
        ApprovalEvent::Requested { .. }
        | ApprovalEvent::Granted { .. }
        | ApprovalEvent::Denied { .. }
        | ApprovalEvent::Voided { .. }
        | ApprovalEvent::Answered { .. }
        | ApprovalEvent::Undone { .. } => None,
    }
}

/// Why what a run was told stays said.
pub(super) const TOLD: (&str, &str) =
    ("who asked was told the answer", "end the run with `orchctl run cancel` if it is not to go by that");

const fn info(event: &InfoRequestEvent) -> (&'static str, &'static str) {
    match event {
        InfoRequestEvent::Answered { .. } | InfoRequestEvent::Cancelled { .. } => TOLD,
        InfoRequestEvent::Asked { .. }
        | InfoRequestEvent::AskedAbout { .. }
        | InfoRequestEvent::Expired
        | InfoRequestEvent::Taken => BEGUN,
    }
}

const fn change(event: &ChangeEvent) -> Option<(&'static str, &'static str)> {
    match event {
        ChangeEvent::Closed { .. } | ChangeEvent::Undone { .. } => None,
        ChangeEvent::Opened { .. }
        | ChangeEvent::ApprovalAsked { .. }
        | ChangeEvent::CheckStarted { .. }
        | ChangeEvent::CheckPassed
        | ChangeEvent::CheckSkipped { .. }
        | ChangeEvent::CheckFailed { .. }
        | ChangeEvent::CheckLost { .. }
        | ChangeEvent::BaseMoved
        | ChangeEvent::Conflicted { .. }
        | ChangeEvent::MergeStarted { .. }
        | ChangeEvent::Merged
        | ChangeEvent::MergeRefused => Some(BEGUN),
    }
}
