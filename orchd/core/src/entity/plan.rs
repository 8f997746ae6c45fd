//! A version of a project's plan: epics, stories, and tasks whose work is known down to the step.

use std::collections::BTreeMap;

use orch_proto::id::{ApprovalId, PlanId, ProjectId, RequirementsId};
use orch_proto::{EntityKind, Timestamp};
use serde::{Deserialize, Serialize};

use super::task_spec::TaskSpec;
use super::{ApplyError, Entity, Meta, absent, existing};
use crate::actor::Actor;
use crate::digest::Digest;
use crate::recipe::{Glob, Step};
use crate::state::document::{DocumentState, DocumentStep};

/// A version of a project's plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub id: PlanId,
    pub project: ProjectId,
    pub version: u32,
    /// The approved requirements that it was made from.
    pub requirements: RequirementsId,
    pub state: DocumentState,
    pub content: PlanContent,
    pub approval: Option<ApprovalId>,
    /// Why this version was made.
    pub reason: String,
    pub created_by: Actor,
    pub created_at: Timestamp,
}

/// What a plan says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanContent {
    pub epics: Vec<PlanEpic>,
    /// In any order; the graph is in their `needs`.
    pub tasks: Vec<PlanTask>,
    /// The blueprint that was used, with what it brings for the project.
    pub blueprint: Option<PlanBlueprint>,
    pub warnings: Vec<String>,
}

/// What a blueprint brings for the whole project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanBlueprint {
    pub name: String,
    pub parameters: BTreeMap<String, String>,
    pub gates: Vec<Step>,
    pub protected_paths: Vec<Glob>,
}

/// A group of stories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanEpic {
    pub key: String,
    pub title: String,
    pub stories: Vec<PlanStory>,
}

/// A group of tasks that together serve some requirements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanStory {
    pub key: String,
    pub title: String,
    pub requirements: Vec<String>,
    /// Keys of its tasks.
    pub tasks: Vec<String>,
}

/// A task of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanTask {
    /// Unique within the plan; a re-plan that has the same key means the same task.
    pub key: String,
    pub title: String,
    /// Keys of the tasks that must be done before.
    pub needs: Vec<String>,
    pub spec: TaskSpec,
}

/// What can happen to a version of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum PlanEvent {
    Drafted {
        project: ProjectId,
        version: u32,
        requirements: RequirementsId,
        content: Box<PlanContent>,
        reason: String,
    },
    Proposed {
        approval: ApprovalId,
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

impl Plan {
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

impl Entity for Plan {
    type Id = PlanId;
    type Event = PlanEvent;
    const KIND: EntityKind = EntityKind::Plan;

    fn apply(current: Option<Self>, id: PlanId, event: &PlanEvent, meta: Meta<'_>) -> Result<Self, ApplyError> {
        if let PlanEvent::Drafted { project, version, requirements, content, reason } = event {
            absent(current.as_ref(), event)?;
            return Ok(Self {
                id,
                project: *project,
                version: *version,
                requirements: *requirements,
                state: DocumentState::next(None, DocumentStep::Drafted)?,
                content: (**content).clone(),
                approval: None,
                reason: reason.clone(),
                created_by: meta.actor.clone(),
                created_at: meta.at,
            });
        }
        let mut plan = existing(current, event)?;
        match event {
            PlanEvent::Drafted { .. } => {}
            PlanEvent::Proposed { approval } => {
                plan.step(DocumentStep::Proposed)?;
                plan.approval = Some(*approval);
            }
            PlanEvent::Approved => plan.step(DocumentStep::Approved)?,
            PlanEvent::Rejected => plan.step(DocumentStep::Rejected)?,
            PlanEvent::Superseded => plan.step(DocumentStep::Superseded)?,
            PlanEvent::Undone { state, .. } => plan.step(DocumentStep::Undone { to: *state })?,
        }
        Ok(plan)
    }

    fn id(&self) -> PlanId {
        self.id
    }

    fn project(&self) -> ProjectId {
        self.project
    }

    fn number(&self) -> u32 {
        self.version
    }

    fn parent(&self) -> Option<String> {
        Some(self.requirements.to_string())
    }

    fn is_open(&self) -> bool {
        matches!(self.state, DocumentState::Draft | DocumentState::Proposed | DocumentState::Approved)
    }

    fn state_label(&self) -> &'static str {
        self.state.label()
    }

    fn event_label(event: &PlanEvent) -> &'static str {
        match event {
            PlanEvent::Drafted { .. } => "drafted",
            PlanEvent::Proposed { .. } => "proposed",
            PlanEvent::Approved => "approved",
            PlanEvent::Rejected => "rejected",
            PlanEvent::Superseded => "superseded",
            PlanEvent::Undone { .. } => "undone",
        }
    }
}
