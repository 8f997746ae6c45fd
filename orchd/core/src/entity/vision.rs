//! One submitted version of a Vision. Its text is a blob; here is what it is known by.

use orch_proto::id::{ProjectId, VisionId};
use orch_proto::{EntityKind, Timestamp};
use serde::{Deserialize, Serialize};

use super::{ApplyError, Entity, Meta, absent};
use crate::actor::Actor;
use crate::digest::Digest;

/// A version of a project's Vision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vision {
    pub id: VisionId,
    pub project: ProjectId,
    /// From 1 within the project.
    pub version: u32,
    pub title: String,
    /// Name of the file it came from, for people.
    pub file_name: String,
    /// Name of the blob with the text.
    pub text: Digest,
    pub size_bytes: u64,
    pub blueprint: Option<String>,
    pub submitted_by: Actor,
    pub submitted_at: Timestamp,
}

/// What can happen to a Vision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum VisionEvent {
    Submitted {
        project: ProjectId,
        version: u32,
        title: String,
        file_name: String,
        text: Digest,
        size_bytes: u64,
        blueprint: Option<String>,
    },
}

impl Entity for Vision {
    type Id = VisionId;
    type Event = VisionEvent;
    const KIND: EntityKind = EntityKind::Vision;

    fn apply(current: Option<Self>, id: VisionId, event: &VisionEvent, meta: Meta<'_>) -> Result<Self, ApplyError> {
        absent(current.as_ref(), event)?;
        let VisionEvent::Submitted { project, version, title, file_name, text, size_bytes, blueprint } = event;
        Ok(Self {
            id,
            project: *project,
            version: *version,
            title: title.clone(),
            file_name: file_name.clone(),
            text: *text,
            size_bytes: *size_bytes,
            blueprint: blueprint.clone(),
            submitted_by: meta.actor.clone(),
            submitted_at: meta.at,
        })
    }

    fn id(&self) -> VisionId {
        self.id
    }

    fn project(&self) -> ProjectId {
        self.project
    }

    fn number(&self) -> u32 {
        self.version
    }

    fn parent(&self) -> Option<String> {
        None
    }

    fn is_open(&self) -> bool {
        false
    }

    fn state_label(&self) -> &'static str {
        "submitted"
    }

    fn event_label(event: &VisionEvent) -> &'static str {
        match event {
            VisionEvent::Submitted { .. } => "submitted",
        }
    }
}
