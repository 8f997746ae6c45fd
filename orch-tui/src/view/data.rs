//! What the daemon has said, as rows. Nothing else is known of it.

use std::collections::VecDeque;

use orch_proto::view::{AuditReport, CaseResult, CheckResult, DiffView, DoctorReport, EventPage};

use super::msg::Answer;
use super::rows::{
    ApprovalRow, EventRow, IsolationRow, PlanRow, ProjectRow, QuestionRow, RequirementsDoc, RunRow, StatusRow, TaskRow,
    Thread,
};
use crate::text::SafeText;

/// Most events that are kept.
pub(crate) const EVENTS_MAX: usize = 5_000;

/// One check of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CheckRow {
    pub(crate) name: SafeText,
    pub(crate) result: CheckResult,
    pub(crate) detail: SafeText,
    pub(crate) fix: Option<SafeText>,
}

/// One attack that was tried on the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CaseRow {
    pub(crate) id: SafeText,
    pub(crate) what: SafeText,
    pub(crate) result: CaseResult,
    pub(crate) detail: SafeText,
}

/// What the host gives and lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DoctorRows {
    pub(crate) checks: Vec<CheckRow>,
    pub(crate) isolation: IsolationRow,
    pub(crate) cases: Vec<CaseRow>,
}

/// What was found of the hash chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VerifyRow {
    pub(crate) events: u64,
    pub(crate) head: SafeText,
    pub(crate) broken_at: Option<(u64, SafeText)>,
}

/// The text of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DiffText {
    pub(crate) lines: Vec<SafeText>,
    pub(crate) truncated: bool,
}

/// Everything that was fetched. `None`: not yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Data {
    pub(crate) status: Option<StatusRow>,
    pub(crate) projects: Option<Vec<ProjectRow>>,
    pub(crate) tasks: Option<Vec<TaskRow>>,
    /// What was said to the task whose dossier is shown.
    pub(crate) thread: Option<Thread>,
    pub(crate) runs: Option<Vec<RunRow>>,
    /// The run whose detail is shown.
    pub(crate) run: Option<RunRow>,
    pub(crate) approvals: Option<Vec<ApprovalRow>>,
    /// Questions of runs.
    pub(crate) questions: Option<Vec<QuestionRow>>,
    /// All versions, newest first.
    pub(crate) plans: Option<Vec<PlanRow>>,
    /// The inner `None`: the project has none yet.
    pub(crate) requirements: Option<Option<RequirementsDoc>>,
    pub(crate) doctor: Option<DoctorRows>,
    pub(crate) verify: Option<VerifyRow>,
    pub(crate) diff: Option<DiffText>,
    /// Oldest first.
    pub(crate) events: VecDeque<EventRow>,
    /// The events were asked for, so that none means none.
    pub(crate) events_known: bool,
}

impl Data {
    /// Takes an answer in. False: it says what was known.
    pub(crate) fn take(&mut self, answer: Answer) -> bool {
        match answer {
            Answer::Status(view) => replace(&mut self.status, (*view).into()),
            Answer::Projects(views) => replace(&mut self.projects, rows(views)),
            Answer::Tasks(views) => {
                let mut tasks: Vec<TaskRow> = rows(views);
                tasks.sort_by_key(|task| task.id);
                replace(&mut self.tasks, tasks)
            }
            Answer::Task(view) => replace(&mut self.thread, (*view).into()),
            Answer::Runs(views) => {
                let mut runs: Vec<RunRow> = rows(views);
                runs.sort_by_key(|run| std::cmp::Reverse(run.id));
                replace(&mut self.runs, runs)
            }
            Answer::Run(view) => replace(&mut self.run, (*view).into()),
            Answer::Approvals(views) => {
                let mut approvals: Vec<ApprovalRow> = rows(views);
                approvals.sort_by_key(|approval| (approval.requested_at, approval.id));
                replace(&mut self.approvals, approvals)
            }
            Answer::Questions(views) => {
                let mut questions: Vec<QuestionRow> = rows(views);
                questions.sort_by_key(|question| (question.asked_at, question.id));
                replace(&mut self.questions, questions)
            }
            Answer::Plans(views) => replace(&mut self.plans, rows(views)),
            Answer::Requirements(view) => replace(&mut self.requirements, view.map(|view| (*view).into())),
            Answer::Doctor(report) => replace(&mut self.doctor, doctor(report)),
            Answer::Verify(report) => replace(&mut self.verify, verified(report)),
            Answer::Diff(view) => replace(&mut self.diff, diff_text(&view)),
        }
    }

    /// Takes events in. False: nothing new is known.
    pub(crate) fn take_events(&mut self, page: EventPage) -> bool {
        let is_first = !std::mem::replace(&mut self.events_known, true);
        let newest = self.events.back().map_or(0, |event| event.seq);
        let fresh: Vec<EventRow> =
            page.events.into_iter().filter(|event| event.seq > newest).map(EventRow::from).collect();
        let any = !fresh.is_empty();
        self.events.extend(fresh);
        let surplus = self.events.len().saturating_sub(EVENTS_MAX);
        self.events.drain(..surplus);
        any || is_first
    }

    /// Forgets what belongs to one project.
    pub(crate) fn leave_project(&mut self) {
        *self = Self {
            status: self.status.take(),
            projects: self.projects.take(),
            approvals: self.approvals.take(),
            questions: self.questions.take(),
            doctor: self.doctor.take(),
            events: std::mem::take(&mut self.events),
            events_known: self.events_known,
            ..Self::default()
        };
    }
}

fn rows<View, Row: From<View>>(views: Vec<View>) -> Vec<Row> {
    views.into_iter().map(Row::from).collect()
}

fn replace<Value: PartialEq>(place: &mut Option<Value>, value: Value) -> bool {
    let value = Some(value);
    let differs = *place != value;
    *place = value;
    differs
}

fn doctor(report: DoctorReport) -> DoctorRows {
    let isolation = IsolationRow::from(&report.isolation);
    let cases = report.cases.iter().map(|case| CaseRow {
        id: SafeText::line(&case.id),
        what: SafeText::line(&case.what),
        result: case.result,
        detail: SafeText::line(&case.detail),
    });
    let cases = cases.collect();
    DoctorRows { checks: checks(report), isolation, cases }
}

fn checks(report: DoctorReport) -> Vec<CheckRow> {
    let checks = report.checks.into_iter().map(|check| CheckRow {
        name: SafeText::line(&check.name),
        result: check.result,
        detail: SafeText::line(&check.detail),
        fix: check.fix.as_deref().map(SafeText::line),
    });
    checks.collect()
}

fn verified(report: AuditReport) -> VerifyRow {
    VerifyRow {
        events: report.events,
        head: SafeText::line(&report.head_hash),
        broken_at: report.broken_at.map(|(seq, found)| (seq, SafeText::line(&found))),
    }
}

fn diff_text(view: &DiffView) -> DiffText {
    DiffText { lines: view.text.split('\n').map(SafeText::line).collect(), truncated: view.truncated }
}
