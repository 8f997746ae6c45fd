//! An approval: the question, what it is bound to, and the answers.

use std::collections::BTreeMap;

use orch_proto::id::{ApprovalId, ChangeId, PlanId, ProjectId, RequirementsId, RunId, TaskId};
use orch_proto::{EntityKind, Timestamp};
use serde::{Deserialize, Serialize};

use super::{ApplyError, Entity, Meta, absent, existing};
use crate::digest::Digest;
use crate::state::approval::{ApprovalState, ApprovalStep, Choice};

/// An approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    pub id: ApprovalId,
    pub project: ProjectId,
    pub number: u32,
    pub subject: ApprovalSubject,
    /// What will happen, in a line.
    pub action: String,
    /// The facts that a person needs.
    pub details: Vec<String>,
    /// The rule that asks.
    pub rule: String,
    /// The exact thing that is approved. What does not have this digest is not.
    pub digest: Digest,
    /// What can be answered; nothing: yes or no.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Choice>,
    pub state: ApprovalState,
    /// Names of those who agreed or chose, by uid.
    pub granted_by: BTreeMap<u32, String>,
    pub requested_at: Timestamp,
    pub decided_at: Option<Timestamp>,
}

/// What an approval is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum ApprovalSubject {
    Requirements {
        id: RequirementsId,
    },
    Plan {
        id: PlanId,
    },
    /// The task may start.
    Task {
        id: TaskId,
    },
    /// The change may merge.
    Change {
        id: ChangeId,
    },
    /// What is to become of a task that waits for too long.
    Wait {
        id: TaskId,
    },
    /// What is to become of a run that is silent for too long.
    Silence {
        id: RunId,
    },
    /// What is to become of a task that failed.
    Failure {
        id: TaskId,
    },
    /// What a run wants to do and asks about by itself.
    Action {
        id: RunId,
    },
    /// Whether there is to be more of a budget that is used up.
    Budget {
        id: ProjectId,
    },
    /// Whether a run may spend more on models.
    Spending {
        id: RunId,
    },
}

/// What can happen to an approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum ApprovalEvent {
    Requested {
        project: ProjectId,
        number: u32,
        subject: ApprovalSubject,
        action: String,
        details: Vec<String>,
        rule: String,
        digest: Digest,
        needed: u32,
        expires: Option<Timestamp>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        choices: Vec<Choice>,
    },
    Granted {
        by: u32,
        name: String,
    },
    Denied {
        by: u32,
        name: String,
        reason: String,
    },
    Expired,
    Voided {
        reason: String,
    },
    /// A person has chosen.
    Answered {
        by: u32,
        name: String,
        choice: Choice,
    },
    /// The operation that began with event number `operation` was taken back: what was answered is as it was before.
    Undone {
        operation: u64,
        /// Where it belongs, for those who forgot what was answered.
        project: ProjectId,
        subject: ApprovalSubject,
        state: ApprovalState,
        granted_by: BTreeMap<u32, String>,
        decided_at: Option<Timestamp>,
        requested_at: Timestamp,
    },
}

impl ApprovalSubject {
    /// Full id of the subject.
    #[must_use]
    pub fn id_text(&self) -> String {
        match self {
            Self::Requirements { id } => id.to_string(),
            Self::Plan { id } => id.to_string(),
            Self::Task { id } | Self::Wait { id } | Self::Failure { id } => id.to_string(),
            Self::Change { id } => id.to_string(),
            Self::Silence { id } | Self::Spending { id } | Self::Action { id } => id.to_string(),
            Self::Budget { id } => id.to_string(),
        }
    }
}

impl Approval {
    /// Whether it was granted for the thing with this digest.
    #[must_use]
    pub fn grants(&self, digest: Digest) -> bool {
        matches!(self.state, ApprovalState::Granted { .. }) && self.digest == digest
    }
}

impl ApprovalEvent {
    fn step(&self) -> ApprovalStep {
        match self {
            Self::Requested { needed, expires, .. } => ApprovalStep::Requested { needed: *needed, expires: *expires },
            Self::Granted { by, .. } => ApprovalStep::Granted { by: *by },
            Self::Denied { by, reason, .. } => ApprovalStep::Denied { by: *by, reason: reason.clone() },
            Self::Expired => ApprovalStep::Expired,
            Self::Voided { reason } => ApprovalStep::Voided { reason: reason.clone() },
            Self::Answered { by, choice, .. } => ApprovalStep::Answered { by: *by, choice: *choice },
            Self::Undone { state, .. } => ApprovalStep::Undone { to: state.clone() },
        }
    }
}

impl Entity for Approval {
    type Id = ApprovalId;
    type Event = ApprovalEvent;
    const KIND: EntityKind = EntityKind::Approval;

    fn apply(current: Option<Self>, id: ApprovalId, event: &ApprovalEvent, meta: Meta<'_>) -> Result<Self, ApplyError> {
        let state = ApprovalState::next(current.as_ref().map(|approval| &approval.state), &event.step())?;
        if let ApprovalEvent::Requested { project, number, subject, action, details, rule, digest, choices, .. } = event
        {
            absent(current.as_ref(), event)?;
            return Ok(Self {
                id,
                project: *project,
                number: *number,
                subject: *subject,
                action: action.clone(),
                details: details.clone(),
                rule: rule.clone(),
                digest: *digest,
                choices: choices.clone(),
                state,
                granted_by: BTreeMap::new(),
                requested_at: meta.at,
                decided_at: None,
            });
        }
        let mut approval = existing(current, event)?;
        approval.state = state;
        if let ApprovalEvent::Granted { by, name } | ApprovalEvent::Answered { by, name, .. } = event {
            approval.granted_by.insert(*by, name.clone());
        }
        if let ApprovalEvent::Undone { granted_by, decided_at, .. } = event {
            approval.granted_by.clone_from(granted_by);
            approval.decided_at = *decided_at;
        } else if !matches!(approval.state, ApprovalState::Pending { .. }) {
            approval.decided_at = Some(meta.at);
        }
        Ok(approval)
    }

    fn id(&self) -> ApprovalId {
        self.id
    }

    fn project(&self) -> ProjectId {
        self.project
    }

    fn number(&self) -> u32 {
        self.number
    }

    fn parent(&self) -> Option<String> {
        Some(self.subject.id_text())
    }

    fn is_open(&self) -> bool {
        matches!(self.state, ApprovalState::Pending { .. })
    }

    fn state_label(&self) -> &'static str {
        self.state.label()
    }

    fn event_label(event: &ApprovalEvent) -> &'static str {
        event.step().label()
    }
}
