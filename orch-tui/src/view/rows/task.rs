//! Tasks as cards and rows.

use orch_proto::Timestamp;
use orch_proto::id::{ApprovalId, ChangeId, RunId, TaskId};
use orch_proto::view::{MessageView, TaskState, TaskView};

use super::{joined, local_name, safe_all, safe_opt, short_hash};
use crate::fmt::eta;
use crate::text::SafeText;
use crate::view::filter::Filtered;

/// Why a task waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WaitRow {
    pub(crate) code: SafeText,
    pub(crate) text: SafeText,
    pub(crate) hint: Option<SafeText>,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TaskRow {
    pub(crate) id: TaskId,
    /// `T-12`.
    pub(crate) name: SafeText,
    /// `shop/T-12`.
    pub(crate) full_name: SafeText,
    pub(crate) key: Option<SafeText>,
    pub(crate) title: SafeText,
    pub(crate) state: TaskState,
    pub(crate) ready: bool,
    pub(crate) waits: Vec<WaitRow>,
    pub(crate) work: SafeText,
    /// An agent does the work, who can be told something.
    pub(crate) has_agent: bool,
    pub(crate) depends_on: SafeText,
    pub(crate) requirements: SafeText,
    pub(crate) acceptance: Vec<SafeText>,
    pub(crate) priority: u8,
    pub(crate) attempts: u32,
    pub(crate) attempts_max: u32,
    pub(crate) last_failure: Option<SafeText>,
    pub(crate) run: Option<RunId>,
    pub(crate) run_name: Option<SafeText>,
    pub(crate) step: Option<(u32, u32, SafeText)>,
    pub(crate) change: Option<ChangeId>,
    pub(crate) change_name: Option<SafeText>,
    pub(crate) approval: Option<ApprovalId>,
    pub(crate) approval_name: Option<SafeText>,
    pub(crate) commit: Option<SafeText>,
    pub(crate) estimate_minutes: Option<(u32, u32)>,
    /// How long it will take, in few words and in a sentence.
    pub(crate) eta: Option<(SafeText, SafeText)>,
    pub(crate) since: Timestamp,
}

/// What a person said to a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MessageRow {
    pub(crate) from: SafeText,
    /// What was said, line by line.
    pub(crate) says: Vec<SafeText>,
    pub(crate) at: Timestamp,
    /// The run whose agent it was said to; none: the next one is told when it begins.
    pub(crate) run: Option<SafeText>,
    pub(crate) told_at: Option<Timestamp>,
    /// What the agent answered, line by line, and when.
    pub(crate) reply: Option<(Vec<SafeText>, Timestamp)>,
}

impl From<MessageView> for MessageRow {
    fn from(view: MessageView) -> Self {
        Self {
            from: SafeText::line(&view.from),
            says: view.text.lines().map(SafeText::line).collect(),
            at: view.at,
            run: safe_opt(view.run.as_deref()),
            told_at: view.told_at,
            reply: view.reply.map(|reply| (reply.text.lines().map(SafeText::line).collect(), reply.at)),
        }
    }
}

/// What people said to a task, which lists leave out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Thread {
    pub(crate) task: TaskId,
    /// The oldest first.
    pub(crate) messages: Vec<MessageRow>,
}

impl From<TaskView> for Thread {
    fn from(view: TaskView) -> Self {
        Self { task: view.id, messages: view.messages.into_iter().map(MessageRow::from).collect() }
    }
}

impl From<TaskView> for TaskRow {
    fn from(view: TaskView) -> Self {
        let waits = view.waits.iter().map(|wait| WaitRow {
            code: SafeText::line(&wait.code),
            text: SafeText::line(&wait.text),
            hint: safe_opt(wait.hint.as_deref()),
        });
        Self {
            id: view.id,
            name: local_name(&view.name),
            full_name: SafeText::line(&view.name),
            key: safe_opt(view.key.as_deref()),
            title: SafeText::line(&view.title),
            state: view.state,
            ready: view.ready,
            waits: waits.collect(),
            work: SafeText::line(&view.work),
            has_agent: view.work.starts_with("agent "),
            depends_on: joined(&view.depends_on),
            requirements: joined(&view.requirements),
            acceptance: safe_all(&view.acceptance),
            priority: view.priority,
            attempts: view.attempts,
            attempts_max: view.attempts_max,
            last_failure: safe_opt(view.last_failure.as_deref()),
            run: view.run,
            run_name: view.run_name.as_deref().map(local_name),
            step: view.step.map(|(index, count, name)| (index, count, SafeText::line(&name))),
            change: view.change,
            change_name: view.change_name.as_deref().map(local_name),
            approval: view.approval,
            approval_name: view.approval_name.as_deref().map(local_name),
            commit: view.commit.as_deref().map(short_hash),
            estimate_minutes: view.estimate_minutes,
            eta: view.eta.map(|eta| (SafeText::line(&eta::brief(&eta)), SafeText::line(&eta::sentence(&eta)))),
            since: view.since,
        }
    }
}

impl Filtered for TaskRow {
    fn haystack(&self) -> String {
        let waits: Vec<_> = self.waits.iter().map(|wait| wait.text.as_str()).collect();
        let key = self.key.as_ref().map_or("", SafeText::as_str);
        [self.full_name.as_str(), key, self.title.as_str(), self.state.label(), self.work.as_str(), &waits.join(" ")]
            .join(" ")
    }

    fn field(&self, name: &str) -> Option<String> {
        Some(match name {
            "state" => self.state.label().to_owned(),
            "title" => self.title.to_string(),
            "work" | "agent" => self.work.to_string(),
            "needs" => self.depends_on.to_string(),
            "req" => self.requirements.to_string(),
            "waits" => self.waits.first()?.code.to_string(),
            "ready" => self.ready.to_string(),
            "attempts" => self.attempts.to_string(),
            "priority" => self.priority.to_string(),
            _ => return None,
        })
    }
}
