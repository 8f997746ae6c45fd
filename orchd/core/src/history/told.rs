//! How events change a history.

use std::sync::Arc;

use orch_proto::Timestamp;
use orch_proto::id::{ApprovalId, ChangeId, ProjectId, RunId, TaskId};

use super::figures::Figures;
use super::kinds::{Kind, label_of};
use super::open::{Needs, OpenQuestion, OpenRun, OpenTask, Stage};
use super::story::{History, RESTING_MAX};
use crate::entity::{
    ApprovalEvent, ApprovalSubject, ChangeEvent, ChannelEvent, ProjectEvent, RunEvent, RunPurpose, TaskEvent,
};
use crate::event::Event;
use crate::state::approval::{ApprovalState, ApprovalStep};
use crate::state::run::RunOutcome;

/// Words for what failed beside those of the classes of failures.
const GATES: &str = "gates";
const GATES_LOST: &str = "gates_lost";
const CONFLICT: &str = "conflict";
const EXPIRED: &str = "expired";

/// Whether events of this kind, as `task.started`, say anything to a history. The others need not be read.
#[must_use]
pub fn counts(kind: &str) -> bool {
    match kind.split_once('.') {
        Some(("task", event)) => !matches!(event, "prioritized" | "moved"),
        Some(("run", event)) => matches!(event, "queued" | "pause_requested" | "parked" | "undone" | "ended"),
        Some(("change" | "approval", _)) => true,
        Some(("project", event)) => event == "archived",
        _ => false,
    }
}

impl History {
    /// Takes in what happened at `at`. Events come in the order of the log, each once.
    pub fn tell(&mut self, at: Timestamp, event: &Event) {
        self.first_at.get_or_insert(at);
        match event {
            Event::Task { id, event } => self.task(*id, event, at),
            Event::Run { id, event } => self.run(*id, event, at),
            Event::Change { id, event } => self.change(*id, event, at),
            Event::Approval { id, event } => self.approval(*id, event, at),
            Event::Project { id, event: ProjectEvent::Archived } => self.projects.entry(id).broken_since = None,
            Event::Project { .. }
            | Event::Vision { .. }
            | Event::Requirements { .. }
            | Event::Plan { .. }
            | Event::InfoRequest { .. } => {}
        }
    }

    fn task(&mut self, id: TaskId, event: &TaskEvent, at: Timestamp) {
        match event {
            TaskEvent::Created { project, spec, depends_on, conditions, terms, approval, .. } => {
                let label = self.open.label(label_of(&spec.work.label()));
                let task = OpenTask {
                    project: *project,
                    label,
                    stage: Stage::Proposed,
                    since: at,
                    not_before: None,
                    terms_not_before: terms.not_before,
                    needs: Needs::joined(terms.join),
                    asked: approval.map(|approval| (approval, None)),
                    begun_at: None,
                    was_paused: false,
                    failing_since: None,
                    failed_at: None,
                    ended_as: None,
                };
                self.open.tasks.insert(id, Box::new(task));
                for needed in depends_on {
                    let condition = conditions.get(needed).copied().unwrap_or_default();
                    self.open.link(id, (*needed, condition), at);
                }
                return;
            }
            TaskEvent::Respecified { spec } => self.respecified(id, &spec.work.label()),
            TaskEvent::Linked { depends_on, condition } => self.open.link(id, (*depends_on, *condition), at),
            TaskEvent::Unlinked { depends_on } => self.open.unlink(id, *depends_on, at),
            TaskEvent::TermsSet { terms } => {
                if let Some(task) = self.open.tasks.get_mut(&id) {
                    task.needs.join = terms.join;
                    task.terms_not_before = terms.not_before;
                }
            }
            TaskEvent::ApprovalAsked { approval } => {
                if let Some(task) = self.open.tasks.get_mut(&id) {
                    task.asked = Some((*approval, None));
                }
            }
            _ => {}
        }
        if let Some(stage) = Stage::after(event) {
            self.moved(id, stage, event, at);
        }
        if let TaskEvent::Undone { parts, .. } = event {
            parts.iter().for_each(|part| self.put_back(id, part, at));
        }
    }

    /// The task came into another state.
    fn moved(&mut self, id: TaskId, stage: Stage, event: &TaskEvent, at: Timestamp) {
        let Some(task) = self.open.tasks.get(&id) else { return };
        let (project, left, since) = (task.project, task.stage, task.since);
        self.count_in(project, |figures| figures.in_state.entry(left).or_default().add(at.ms_since(since)));
        if left.is_over() {
            self.open.wake(id, since);
        }
        match event {
            TaskEvent::Started { .. } => self.started(id, at),
            TaskEvent::RetryScheduled { class, .. } => self.retried(id, class.label(), at),
            TaskEvent::Failed { .. } => self.failed(id, None, at),
            TaskEvent::Expired { .. } => self.failed(id, Some(EXPIRED), at),
            TaskEvent::Completed { .. } => self.completed(id, at),
            TaskEvent::Cancelled { .. } => self.give_up(id),
            _ => {}
        }
        if let Some(task) = self.open.tasks.get_mut(&id) {
            task.stage = stage;
            task.since = at;
            task.not_before = match event {
                TaskEvent::RetryScheduled { not_before, .. } => Some(*not_before),
                _ => None,
            };
            // A person begins it anew.
            if matches!(event, TaskEvent::Queued | TaskEvent::Released | TaskEvent::Reopened | TaskEvent::Requeued) {
                task.begun_at = None;
                task.was_paused = false;
            }
        }
        match stage {
            Stage::Done => self.open.done(id, at),
            Stage::Failed | Stage::Cancelled => self.open.rest(id, at, RESTING_MAX),
            Stage::Proposed | Stage::Approved | Stage::Running | Stage::InReview | Stage::Paused => {}
        }
    }

    fn started(&mut self, id: TaskId, at: Timestamp) {
        let ready = self.open.ready_at(id);
        let Some(task) = self.open.tasks.get_mut(&id) else { return };
        task.begun_at.get_or_insert(at);
        task.ended_as = None;
        let project = task.project;
        self.count_in(project, |figures| {
            figures.rates.count(at, |count| count.started += 1);
            if let Some(ready) = ready {
                figures.queued.add(at.ms_since(ready));
            }
        });
    }

    fn retried(&mut self, id: TaskId, class: &'static str, at: Timestamp) {
        let Some(task) = self.open.tasks.get_mut(&id) else { return };
        task.failing_since.get_or_insert(at);
        let (project, class) = (task.project, task.ended_as.take().unwrap_or(class));
        self.count_in(project, |figures| figures.failed(class).retried += 1);
    }

    /// The task failed, of what its last attempt or change did or, with a class of its own, without one.
    fn failed(&mut self, id: TaskId, own: Option<&'static str>, at: Timestamp) {
        let Some(task) = self.open.tasks.get_mut(&id) else { return };
        task.failed_at.get_or_insert(at);
        let (project, class) = (task.project, own.or(task.ended_as.take()));
        self.count_in(project, |figures| {
            figures.rates.count(at, |count| count.failed += 1);
            if let Some(own) = own {
                figures.failed(own).ended += 1;
            }
            if let Some(class) = class {
                figures.failed(class).given_up += 1;
            }
        });
    }

    fn completed(&mut self, id: TaskId, at: Timestamp) {
        let Some(task) = self.open.tasks.get(&id) else { return };
        let (project, label, begun) = (task.project, Arc::clone(&task.label), task.begun_at);
        let (failing, failed) = (task.failing_since, task.failed_at);
        let was_paused = task.was_paused;
        if let Some(begun) = begun.filter(|_| !was_paused) {
            self.kinds_of(project, &label, |kind| kind.tasks.add(at.ms_since(begun)));
        }
        self.count_in(project, |figures| {
            figures.rates.count(at, |count| count.done += 1);
            match (failing, failed) {
                (_, Some(failed)) => figures.mended.add(at.ms_since(failed)),
                (Some(failing), None) => figures.retried.add(at.ms_since(failing)),
                (None, None) => {}
            }
        });
    }

    /// Nobody wants it any more: it does not count as mended when it is done after all.
    fn give_up(&mut self, id: TaskId) {
        if let Some(task) = self.open.tasks.get_mut(&id) {
            task.failing_since = None;
            task.failed_at = None;
            task.ended_as = None;
        }
    }

    fn run(&mut self, id: RunId, event: &RunEvent, at: Timestamp) {
        match event {
            RunEvent::Queued { project, task, purpose: RunPurpose::Work, .. } => {
                self.open.runs.insert(id, OpenRun { project: *project, task: *task, queued_at: at, was_paused: false });
            }
            RunEvent::PauseRequested { .. }
            | RunEvent::Undone { pause: Some(_), .. }
            | RunEvent::Channel { event: ChannelEvent::Parked } => {
                if let Some(run) = self.open.runs.get_mut(&id) {
                    run.was_paused = true;
                }
            }
            RunEvent::Ended { outcome, .. } => {
                if let Some(run) = self.open.runs.remove(&id) {
                    self.attempt(&run, failure(outcome), at);
                }
            }
            RunEvent::Queued { .. }
            | RunEvent::Leased { .. }
            | RunEvent::Starting
            | RunEvent::Equipped { .. }
            | RunEvent::Observed { .. }
            | RunEvent::CancelRequested { .. }
            | RunEvent::ResumeRequested
            | RunEvent::Undone { pause: None, .. }
            | RunEvent::Silent { .. }
            | RunEvent::Heard
            | RunEvent::OverBudget { .. }
            | RunEvent::SpendingAsked { .. }
            | RunEvent::SpendingRaised
            | RunEvent::Removing { .. }
            | RunEvent::Removed
            | RunEvent::Resumed { .. }
            | RunEvent::Kept { .. }
            | RunEvent::Session { .. }
            | RunEvent::Told { .. }
            | RunEvent::ModelAsked { .. }
            | RunEvent::ModelAnswered { .. }
            | RunEvent::Channel { .. }
            | RunEvent::LateResult { .. } => {}
        }
    }

    /// An attempt ended, with the word for what failed.
    fn attempt(&mut self, run: &OpenRun, failure: Option<&'static str>, at: Timestamp) {
        self.count_in(run.project, |figures| {
            figures.attempts += 1;
            match failure {
                None => figures.succeeded += 1,
                Some(class) => figures.failed(class).ended += 1,
            }
        });
        let Some(task) = self.open.tasks.get_mut(&run.task) else { return };
        task.ended_as = failure;
        task.was_paused |= run.was_paused;
        let label = Arc::clone(&task.label);
        self.kinds_of(run.project, &label, |kind| match failure {
            // How long a person let it stand still says nothing of the next one.
            None if run.was_paused => {}
            None => kind.attempts.add(at.ms_since(run.queued_at)),
            Some(_) => kind.failed += 1,
        });
    }

    fn change(&mut self, id: ChangeId, event: &ChangeEvent, at: Timestamp) {
        if let ChangeEvent::Opened { project, task, .. } = event {
            self.open.changes.insert(id, (*project, *task));
            return;
        }
        if let ChangeEvent::Undone { project, task, state, .. } = event
            && state.is_open()
        {
            self.open.changes.insert(id, (*project, *task));
            return;
        }
        let Some((project, task)) = self.open.changes.get(&id).copied() else { return };
        match event {
            ChangeEvent::CheckFailed { .. } => self.not_taken(project, Some(task), GATES, at),
            ChangeEvent::Conflicted { .. } => self.not_taken(project, Some(task), CONFLICT, at),
            ChangeEvent::CheckLost { .. } => {
                self.not_taken(project, None, GATES_LOST, at);
                // The gates are run again.
                self.count_in(project, |figures| figures.failed(GATES_LOST).retried += 1);
                return;
            }
            ChangeEvent::Merged => {
                if let Some(since) = self.projects.entry(&project).broken_since.take() {
                    self.count_in(project, |figures| figures.merging_again.add(at.ms_since(since)));
                }
            }
            ChangeEvent::Closed { .. } | ChangeEvent::Undone { .. } => {}
            ChangeEvent::Opened { .. }
            | ChangeEvent::ApprovalAsked { .. }
            | ChangeEvent::CheckStarted { .. }
            | ChangeEvent::CheckPassed
            | ChangeEvent::CheckSkipped { .. }
            | ChangeEvent::BaseMoved
            | ChangeEvent::MergeStarted { .. }
            | ChangeEvent::MergeRefused => return,
        }
        self.open.changes.remove(&id);
    }

    /// The merge queue did not take a change, which `task` has to do with if it is at fault.
    fn not_taken(&mut self, project: ProjectId, task: Option<TaskId>, class: &'static str, at: Timestamp) {
        self.projects.entry(&project).broken_since.get_or_insert(at);
        self.count_in(project, |figures| figures.failed(class).ended += 1);
        if let Some(task) = task.and_then(|task| self.open.tasks.get_mut(&task)) {
            task.ended_as = Some(class);
        }
    }

    fn approval(&mut self, id: ApprovalId, event: &ApprovalEvent, at: Timestamp) {
        let step = match event {
            ApprovalEvent::Undone { project, subject, state, decided_at, requested_at, .. } => {
                self.reopened(id, (*project, subject), state, (*requested_at, *decided_at));
                return;
            }
            ApprovalEvent::Requested { project, subject, needed, expires, .. } => {
                let step = ApprovalStep::Requested { needed: *needed, expires: *expires };
                let task = match subject {
                    ApprovalSubject::Task { id } => Some(*id),
                    ApprovalSubject::Requirements { .. }
                    | ApprovalSubject::Plan { .. }
                    | ApprovalSubject::Change { .. }
                    | ApprovalSubject::Wait { .. }
                    | ApprovalSubject::Silence { .. }
                    | ApprovalSubject::Failure { .. }
                    | ApprovalSubject::Action { .. }
                    | ApprovalSubject::Budget { .. }
                    | ApprovalSubject::Spending { .. } => None,
                };
                if let Ok(state) = ApprovalState::next(None, &step) {
                    self.open.questions.insert(id, OpenQuestion { project: *project, task, state, asked_at: at });
                }
                return;
            }
            ApprovalEvent::Granted { by, .. } => ApprovalStep::Granted { by: *by },
            ApprovalEvent::Denied { by, reason, .. } => ApprovalStep::Denied { by: *by, reason: reason.clone() },
            ApprovalEvent::Expired => ApprovalStep::Expired,
            ApprovalEvent::Voided { reason } => ApprovalStep::Voided { reason: reason.clone() },
            ApprovalEvent::Answered { by, choice, .. } => ApprovalStep::Answered { by: *by, choice: *choice },
        };
        let Some(mut question) = self.open.questions.remove(&id) else { return };
        let Ok(state) = ApprovalState::next(Some(&question.state), &step) else { return };
        if matches!(state, ApprovalState::Pending { .. }) {
            question.state = state;
            self.open.questions.insert(id, question);
            return;
        }
        if matches!(
            state,
            ApprovalState::Granted { .. } | ApprovalState::Denied { .. } | ApprovalState::Answered { .. }
        ) {
            self.count_in(question.project, |figures| figures.answered.add(at.ms_since(question.asked_at)));
        }
        let task = question.task.and_then(|task| self.open.tasks.get_mut(&task));
        if let (ApprovalState::Granted { .. }, Some(task)) = (&state, task)
            && let Some((asked, granted)) = &mut task.asked
            && *asked == id
        {
            *granted = Some(at);
        }
    }

    /// Counts something of a project, and of everything.
    fn count_in(&mut self, project: ProjectId, count: impl Fn(&mut Figures)) {
        count(&mut self.all.figures);
        count(&mut self.projects.entry(&project).figures);
    }

    /// Counts something of all work that this belongs to.
    fn kinds_of(&mut self, project: ProjectId, label: &Arc<str>, count: impl Fn(&mut Kind)) {
        count(&mut self.all.kind);
        count(&mut self.projects.entry(&project).kind);
        count(self.anywhere.entry(label));
        count(self.in_project.entry(&(project, Arc::clone(label))));
    }
}

/// The word for what failed; none of a success.
const fn failure(outcome: &RunOutcome) -> Option<&'static str> {
    match outcome {
        RunOutcome::Succeeded => None,
        RunOutcome::Failed { class, .. } => Some(class.label()),
        RunOutcome::TimedOut { .. } => Some("timeout"),
        RunOutcome::Cancelled { .. } => Some("cancelled"),
        RunOutcome::Lost { .. } => Some("lost"),
    }
}
