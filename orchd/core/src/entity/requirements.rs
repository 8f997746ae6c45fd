//! A version of a project's requirements.

use orch_proto::id::{ApprovalId, ProjectId, RequirementsId, VisionId};
use orch_proto::{EntityKind, Timestamp};
use serde::{Deserialize, Serialize};

use super::{ApplyError, Entity, Meta, absent, existing};
use crate::actor::Actor;
use crate::digest::Digest;
use crate::planner::{Extraction, RequirementKey};
use crate::state::document::{DocumentState, DocumentStep};

/// A version of a project's requirements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirements {
    pub id: RequirementsId,
    pub project: ProjectId,
    pub version: u32,
    pub vision: VisionId,
    pub state: DocumentState,
    /// What was read out of the Vision, as edited by people since.
    pub content: Extraction,
    pub comments: Vec<Comment>,
    /// The approval that decides about this version.
    pub approval: Option<ApprovalId>,
    /// Why this version was made.
    pub reason: String,
    pub created_by: Actor,
    pub created_at: Timestamp,
}

/// A word of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comment {
    /// None: about the whole version.
    pub key: Option<RequirementKey>,
    pub by: Actor,
    pub at: Timestamp,
    pub text: String,
}

/// What can happen to a version of requirements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum RequirementsEvent {
    Drafted {
        project: ProjectId,
        version: u32,
        vision: VisionId,
        content: Box<Extraction>,
        reason: String,
    },
    Proposed {
        approval: ApprovalId,
    },
    Commented {
        key: Option<RequirementKey>,
        text: String,
    },
    Approved,
    Rejected,
    Superseded,
    /// The operation that began with event number `operation` was taken back: its state is as it was before.
    Undone {
        operation: u64,
        state: DocumentState,
    },
}

impl Requirements {
    /// What an approval of this version is bound to.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of_json(&(&self.project, self.version, &self.content))
    }

    fn step(&mut self, step: DocumentStep) -> Result<(), ApplyError> {
        self.state = DocumentState::next(Some(self.state), step)?;
        Ok(())
    }
}

impl Entity for Requirements {
    type Id = RequirementsId;
    type Event = RequirementsEvent;
    const KIND: EntityKind = EntityKind::Requirements;

    fn apply(
        current: Option<Self>,
        id: RequirementsId,
        event: &RequirementsEvent,
        meta: Meta<'_>,
    ) -> Result<Self, ApplyError> {
        if let RequirementsEvent::Drafted { project, version, vision, content, reason } = event {
            absent(current.as_ref(), event)?;
            return Ok(Self {
                id,
                project: *project,
                version: *version,
                vision: *vision,
                state: DocumentState::next(None, DocumentStep::Drafted)?,
                content: (**content).clone(),
                comments: Vec::new(),
                approval: None,
                reason: reason.clone(),
                created_by: meta.actor.clone(),
                created_at: meta.at,
            });
        }
        let mut document = existing(current, event)?;
        match event {
            RequirementsEvent::Drafted { .. } => {}
            RequirementsEvent::Proposed { approval } => {
                document.step(DocumentStep::Proposed)?;
                document.approval = Some(*approval);
            }
            RequirementsEvent::Commented { key, text } => document.comments.push(Comment {
                key: key.clone(),
                by: meta.actor.clone(),
                at: meta.at,
                text: text.clone(),
            }),
            RequirementsEvent::Approved => document.step(DocumentStep::Approved)?,
            RequirementsEvent::Rejected => document.step(DocumentStep::Rejected)?,
            RequirementsEvent::Superseded => document.step(DocumentStep::Superseded)?,
            RequirementsEvent::Undone { state, .. } => document.step(DocumentStep::Undone { to: *state })?,
        }
        Ok(document)
    }

    fn id(&self) -> RequirementsId {
        self.id
    }

    fn project(&self) -> ProjectId {
        self.project
    }

    fn number(&self) -> u32 {
        self.version
    }

    fn parent(&self) -> Option<String> {
        Some(self.vision.to_string())
    }

    fn is_open(&self) -> bool {
        matches!(self.state, DocumentState::Draft | DocumentState::Proposed | DocumentState::Approved)
    }

    fn state_label(&self) -> &'static str {
        self.state.label()
    }

    fn event_label(event: &RequirementsEvent) -> &'static str {
        match event {
            RequirementsEvent::Drafted { .. } => "drafted",
            RequirementsEvent::Proposed { .. } => "proposed",
            RequirementsEvent::Commented { .. } => "commented",
            RequirementsEvent::Approved => "approved",
            RequirementsEvent::Rejected => "rejected",
            RequirementsEvent::Superseded => "superseded",
            RequirementsEvent::Undone { .. } => "undone",
        }
    }
}
