//! Events: what happened, in the past tense. The only durable form of the state.
//!
//! Stored events are never edited. Everything here is adjacently tagged, so that a reader of a later version knows what
//! it sees; what changes shape gets a new variant, and the old one stays readable.

use orch_proto::id::{
    ApprovalId, ChangeId, CommandId, InfoRequestId, PlanId, ProjectId, RequirementsId, RunId, TaskId, VisionId,
};
use orch_proto::{EntityKind, Timestamp};
use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::digest::Digest;
use crate::entity::{
    ApprovalEvent, ChangeEvent, Entity as _, InfoRequestEvent, PlanEvent, ProjectEvent, RequirementsEvent, RunEvent,
    TaskEvent, VisionEvent,
};

/// Shape of stored events. Grows when a reader has to know more than the tags.
pub const EVENT_SCHEMA_VERSION: u32 = 1;

macro_rules! events {
    ($($variant:ident, $id:ty, $event:ty, $entity:ty, $kind:ident;)+) => {
        /// Something that happened to one thing.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "type", content = "data", rename_all = "snake_case")]
        pub enum Event { $( $variant { id: $id, event: $event }, )+ }

        $( impl From<($id, $event)> for Event {
            fn from((id, event): ($id, $event)) -> Self { Self::$variant { id, event } }
        } )+

        impl Event {
            /// Kind of the thing it happened to.
            #[must_use]
            pub const fn entity(&self) -> EntityKind {
                match self { $( Self::$variant { .. } => EntityKind::$kind, )+ }
            }

            /// Full id of the thing it happened to.
            #[must_use]
            pub fn subject(&self) -> String {
                match self { $( Self::$variant { id, .. } => id.to_string(), )+ }
            }

            /// `task.started`.
            #[must_use]
            pub fn kind(&self) -> String {
                let label = match self { $( Self::$variant { event, .. } => <$entity>::event_label(event), )+ };
                format!("{}.{label}", self.entity().label())
            }
        }
    };
}

events! {
    Project, ProjectId, ProjectEvent, crate::entity::Project, Project;
    Vision, VisionId, VisionEvent, crate::entity::Vision, Vision;
    Requirements, RequirementsId, RequirementsEvent, crate::entity::Requirements, Requirements;
    Plan, PlanId, PlanEvent, crate::entity::Plan, Plan;
    Task, TaskId, TaskEvent, crate::entity::Task, Task;
    Run, RunId, RunEvent, crate::entity::Run, Run;
    Approval, ApprovalId, ApprovalEvent, crate::entity::Approval, Approval;
    Change, ChangeId, ChangeEvent, crate::entity::Change, Change;
    InfoRequest, InfoRequestId, InfoRequestEvent, crate::entity::InfoRequest, InfoRequest;
}

/// An event with its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// From 1, without gaps.
    pub seq: u64,
    pub at: Timestamp,
    pub actor: Actor,
    /// The command that made it.
    pub command: CommandId,
    pub event: Event,
    /// Link of the chain: digest over the one before and all of the above.
    pub hash: Digest,
}

/// The parts of an event that its link covers, exactly as stored.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    pub seq: u64,
    pub at: Timestamp,
    pub actor_json: &'a str,
    pub command: CommandId,
    pub event_json: &'a str,
}

/// Computes the link of the chain for an event.
#[must_use]
pub fn chain(previous: Digest, link: &Link<'_>) -> Digest {
    use orch_proto::id::Id as _;
    // Every part has a fixed length or its length in front, so no two different events have the same bytes.
    let mut bytes = Vec::with_capacity(96 + link.actor_json.len() + link.event_json.len());
    bytes.extend_from_slice(previous.as_bytes());
    bytes.extend_from_slice(&link.seq.to_be_bytes());
    bytes.extend_from_slice(&link.at.unix_us().to_be_bytes());
    bytes.extend_from_slice(link.command.uuid().as_bytes());
    for part in [link.actor_json, link.event_json] {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    Digest::of(&bytes)
}
