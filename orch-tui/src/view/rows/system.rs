//! The daemon, the host and the event log.

use orch_proto::Timestamp;
use orch_proto::request::Role;
use orch_proto::view::{EventView, StatusView};

use super::safe_all;
use crate::text::SafeText;
use crate::view::filter::Filtered;

/// The daemon at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatusRow {
    pub(crate) version: SafeText,
    pub(crate) pid: u32,
    pub(crate) state_directory: SafeText,
    pub(crate) started_at: Timestamp,
    pub(crate) seq: u64,
    pub(crate) user: SafeText,
    pub(crate) role: Role,
    pub(crate) projects: u32,
    pub(crate) tasks_queued: u32,
    pub(crate) tasks_without_agent: u32,
    pub(crate) tasks_failed: u32,
    pub(crate) runs_active: u32,
    pub(crate) runs_max: u32,
    pub(crate) approvals_pending: u32,
    pub(crate) questions_pending: u32,
    pub(crate) isolation: (u8, u8),
    /// The state cannot be written; whether for want of space.
    pub(crate) outage: Option<bool>,
    pub(crate) warnings: Vec<SafeText>,
}

impl From<StatusView> for StatusRow {
    fn from(view: StatusView) -> Self {
        Self {
            version: SafeText::line(&view.version),
            pid: view.pid,
            state_directory: SafeText::line(&view.state_directory),
            started_at: view.started_at,
            seq: view.seq,
            user: SafeText::line(&view.user),
            role: view.role,
            projects: view.projects,
            tasks_queued: view.tasks_queued,
            tasks_without_agent: view.tasks_without_agent,
            tasks_failed: view.tasks_failed,
            runs_active: view.runs_active,
            runs_max: view.runs_max,
            approvals_pending: view.approvals_pending,
            questions_pending: view.questions_pending,
            isolation: (view.isolation_level, view.isolation_required),
            outage: view.outage.map(|outage| outage.is_full),
            warnings: safe_all(&view.warnings),
        }
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventRow {
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
    pub(crate) actor: SafeText,
    pub(crate) kind: SafeText,
    pub(crate) project: Option<String>,
    pub(crate) subject: SafeText,
    pub(crate) text: SafeText,
    pub(crate) hash: SafeText,
}

impl From<EventView> for EventRow {
    fn from(view: EventView) -> Self {
        Self {
            seq: view.seq,
            at: view.at,
            actor: SafeText::line(&view.actor),
            kind: SafeText::line(&view.kind),
            project: view.project,
            subject: SafeText::line(&view.subject),
            text: SafeText::line(&view.text),
            hash: SafeText::line(&view.hash),
        }
    }
}

impl Filtered for EventRow {
    fn haystack(&self) -> String {
        [self.actor.as_str(), self.kind.as_str(), self.subject.as_str(), self.text.as_str()].join(" ")
    }

    fn field(&self, name: &str) -> Option<String> {
        Some(match name {
            "kind" => self.kind.to_string(),
            "actor" => self.actor.to_string(),
            "subject" => self.subject.to_string(),
            "seq" => self.seq.to_string(),
            _ => return None,
        })
    }
}
