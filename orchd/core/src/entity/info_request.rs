//! A question of a run, or of the planner, that a person answers field by field.
//!
//! **Invariant:** the value of a secret field is in no event and in no row: here stands that it was given.

use std::collections::BTreeMap;

use orch_proto::id::{InfoRequestId, ProjectId, RunId, VisionId};
use orch_proto::{EntityKind, Timestamp};
use serde::{Deserialize, Serialize};

use super::{ApplyError, Entity, Meta, absent, existing};
use crate::state::info_request::{InfoRequestState, InfoRequestStep};

/// What a field takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum FieldKind {
    Text,
    Number,
    Bool,
    /// One of these.
    Choice {
        choices: Vec<String>,
    },
    /// A text that nobody but the run is shown.
    Secret,
}

/// One thing that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InfoField {
    /// Unique in its question; letters, digits and `_`.
    pub name: String,
    /// What a person reads.
    pub label: String,
    pub kind: FieldKind,
    pub is_required: bool,
}

/// What was given for a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum FieldValue {
    /// As it was written; fits the kind of its field.
    Plain { text: String },
    /// A secret, which lies where secrets do.
    Secret,
}

/// An info request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InfoRequest {
    pub id: InfoRequestId,
    pub project: ProjectId,
    pub number: u32,
    /// Who asks; none: the planner.
    pub run: Option<RunId>,
    /// The Vision that the planner asks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vision: Option<VisionId>,
    /// The run's own name for it: asked again by the same name, it is the same question.
    pub key: String,
    pub text: String,
    pub fields: Vec<InfoField>,
    pub state: InfoRequestState,
    /// By the names of the fields.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<String, FieldValue>,
    /// Who answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<String>,
    /// The run has its answer; secrets are given no second time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_taken: bool,
    pub asked_at: Timestamp,
    pub decided_at: Option<Timestamp>,
}

/// What can happen to an info request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum InfoRequestEvent {
    Asked {
        project: ProjectId,
        number: u32,
        run: RunId,
        key: String,
        text: String,
        fields: Vec<InfoField>,
        expires: Timestamp,
    },
    /// The planner asks about a Vision; nothing waits for it.
    AskedAbout {
        project: ProjectId,
        number: u32,
        vision: VisionId,
        text: String,
        fields: Vec<InfoField>,
        expires: Timestamp,
    },
    Answered {
        by: u32,
        name: String,
        answers: BTreeMap<String, FieldValue>,
    },
    Expired,
    Cancelled {
        reason: String,
    },
    /// The run has the answer.
    Taken,
}

impl InfoRequest {
    /// Whether its run waits for it.
    #[must_use]
    pub const fn is_pending(&self) -> bool {
        matches!(self.state, InfoRequestState::Pending { .. })
    }

    /// Names of the fields whose values are secrets and were given.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.answers.iter().filter(|(_, value)| **value == FieldValue::Secret).map(|(name, _)| name.as_str())
    }
}

impl InfoRequestEvent {
    fn step(&self) -> Option<InfoRequestStep> {
        Some(match self {
            Self::Asked { expires, .. } | Self::AskedAbout { expires, .. } => {
                InfoRequestStep::Asked { expires: *expires }
            }
            Self::Answered { by, .. } => InfoRequestStep::Answered { by: *by },
            Self::Expired => InfoRequestStep::Expired,
            Self::Cancelled { reason } => InfoRequestStep::Cancelled { reason: reason.clone() },
            Self::Taken => return None,
        })
    }
}

impl Entity for InfoRequest {
    type Id = InfoRequestId;
    type Event = InfoRequestEvent;
    const KIND: EntityKind = EntityKind::InfoRequest;

    fn apply(
        current: Option<Self>,
        id: InfoRequestId,
        event: &InfoRequestEvent,
        meta: Meta<'_>,
    ) -> Result<Self, ApplyError> {
        let Some(step) = event.step() else {
            return Ok(Self { is_taken: true, ..existing(current, event)? });
        };
        let state = InfoRequestState::next(current.as_ref().map(|asked| &asked.state), &step)?;
        let asked = |(project, number): (&ProjectId, &u32), text: &String, fields: &Vec<InfoField>| Self {
            id,
            project: *project,
            number: *number,
            run: None,
            vision: None,
            key: String::new(),
            text: text.clone(),
            fields: fields.clone(),
            state: state.clone(),
            answers: BTreeMap::new(),
            answered_by: None,
            is_taken: false,
            asked_at: meta.at,
            decided_at: None,
        };
        match event {
            InfoRequestEvent::Asked { project, number, run, key, text, fields, .. } => {
                absent(current.as_ref(), event)?;
                return Ok(Self { run: Some(*run), key: key.clone(), ..asked((project, number), text, fields) });
            }
            InfoRequestEvent::AskedAbout { project, number, vision, text, fields, .. } => {
                absent(current.as_ref(), event)?;
                return Ok(Self { vision: Some(*vision), ..asked((project, number), text, fields) });
            }
            InfoRequestEvent::Answered { .. }
            | InfoRequestEvent::Expired
            | InfoRequestEvent::Cancelled { .. }
            | InfoRequestEvent::Taken => {}
        }
        let mut asked = existing(current, event)?;
        asked.state = state;
        asked.decided_at = Some(meta.at);
        if let InfoRequestEvent::Answered { name, answers, .. } = event {
            asked.answers.clone_from(answers);
            asked.answered_by = Some(name.clone());
        }
        Ok(asked)
    }

    fn id(&self) -> InfoRequestId {
        self.id
    }

    fn project(&self) -> ProjectId {
        self.project
    }

    fn number(&self) -> u32 {
        self.number
    }

    fn parent(&self) -> Option<String> {
        self.run.map(|run| run.to_string()).or_else(|| self.vision.map(|vision| vision.to_string()))
    }

    fn is_open(&self) -> bool {
        self.is_pending()
    }

    fn state_label(&self) -> &'static str {
        self.state.label()
    }

    fn event_label(event: &InfoRequestEvent) -> &'static str {
        match event {
            InfoRequestEvent::AskedAbout { .. } => "asked_about",
            event => event.step().map_or("taken", |step| step.label()),
        }
    }
}
