//! What a run says of itself over its channel, and what it waits for.
//!
//! Said by programs that nobody vouches for: shown as theirs, counted for nothing.

use orch_proto::Timestamp;
use orch_proto::id::{ApprovalId, InfoRequestId};
use serde::{Deserialize, Serialize};

use super::ApplyError;
use super::run::{Artifact, Run};
use super::run_pause::{OwnWait, RunPause};
use crate::digest::Digest;
use crate::state::run::RunStep;

/// Most notes of one run.
pub const NOTES_MAX: usize = 50;
/// Most files that one run hands in over its channel.
pub const HANDED_IN_MAX: usize = 64;
/// How often it hands in one, those that took the place of others included.
pub const HANDED_IN_TIMES_MAX: u32 = 256;
/// How often it is put on record how far it is. Later words of that are not.
pub const PROGRESS_TIMES_MAX: u32 = 2_000;
/// How often it says under which words its work is proposed.
pub const PROPOSED_TIMES_MAX: u32 = 20;

/// How far a run says it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// 0 to 100, if it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    pub text: String,
    pub at: Timestamp,
}

/// A remark of a run on its own record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub text: String,
    pub at: Timestamp,
}

/// The words of a run under which its work is proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposed {
    /// One line.
    pub title: String,
    /// Why, in as many lines as it needs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
}

/// Something that a run asked, and how it is found again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Asked {
    /// What it does not know, by its own name for the question.
    Info { key: String, id: InfoRequestId },
    /// Whether it may do something.
    Action { digest: Digest, id: ApprovalId },
    /// A tool for its task, and where that would come from.
    Tool { digest: Digest, id: ApprovalId, name: String, source: String },
}

impl Asked {
    /// Whether it is a question about this tool.
    #[must_use]
    pub fn is_tool(&self, tool: &str) -> bool {
        matches!(self, Self::Tool { name, .. } if name == tool)
    }

    /// The full id of the question.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Info { id, .. } => id.to_string(),
            Self::Action { id, .. } | Self::Tool { id, .. } => id.to_string(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(amount: &u64) -> bool {
    *amount == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_never(times: &u32) -> bool {
    *times == 0
}

/// What a run said over its channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelUse {
    /// The newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// Bytes of all files that it handed in while it ran, what it replaced included.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub handed_in_bytes: u64,
    /// How often it handed in a file.
    #[serde(default, skip_serializing_if = "is_never")]
    pub handed_in_times: u32,
    /// How often it was put on record how far it is.
    #[serde(default, skip_serializing_if = "is_never")]
    pub progress_times: u32,
    /// Its processes stand still while it waits for an answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stands_still: bool,
    /// All that it asked, the oldest first. Of a run that asked under an earlier version there is none of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Asked>,
    /// The newest words under which its work is proposed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposed: Option<Proposed>,
    /// How often it said such words.
    #[serde(default, skip_serializing_if = "is_never")]
    pub proposed_times: u32,
}

/// What happened on the channel of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum ChannelEvent {
    Progressed {
        percent: Option<u8>,
        text: String,
    },
    Noted {
        text: String,
    },
    HandedIn {
        artifact: Artifact,
    },
    /// It asked something.
    Asked {
        asked: Asked,
    },
    /// It says under which words its work is proposed.
    Proposed {
        proposed: Proposed,
    },
    /// It waits for what a person knows.
    InputRequested {
        question: String,
    },
    /// It waits for a person to allow something.
    ApprovalRequested {
        action: String,
    },
    /// It waits for so long that its processes are to stand still, and its place is for others.
    Parked,
    /// It waits for nothing any more.
    Answered,
}

impl ChannelUse {
    /// Whether nothing was said.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl ChannelEvent {
    /// The word for the event.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Progressed { .. } => "progressed",
            Self::Noted { .. } => "noted",
            Self::HandedIn { .. } => "handed_in",
            Self::Asked { .. } => "asked",
            Self::Proposed { .. } => "proposed",
            Self::InputRequested { .. } => "input_requested",
            Self::ApprovalRequested { .. } => "approval_requested",
            Self::Parked => "parked",
            Self::Answered => "answered",
        }
    }
}

impl Run {
    /// Whether its processes stand still because it waits for an answer, or has it and waits for a place: its place is for others
    /// meanwhile.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        match self.pause.as_ref().and_then(RunPause::own_wait) {
            Some(OwnWait::Place { .. }) => true,
            Some(OwnWait::Answer) => self.state.is_waiting(),
            None => false,
        }
    }

    /// Beneath the pause of a person there is no wait for an answer any more, once it waits for none.
    pub(super) fn end_of_answer(&mut self) {
        if let Some(pause) = self.pause.as_mut().filter(|_| !self.state.is_waiting()) {
            pause.beneath.take_if(|own| *own == OwnWait::Answer);
        }
    }

    /// Takes in a file; the one before at its path goes.
    pub(super) fn keep(&mut self, artifact: &Artifact) {
        self.artifacts.retain(|known| known.path != artifact.path);
        self.artifacts.push(artifact.clone());
    }

    pub(super) fn said(&mut self, event: &ChannelEvent, at: Timestamp) -> Result<(), ApplyError> {
        match event {
            ChannelEvent::Progressed { percent, text } => {
                self.channel.progress_times = self.channel.progress_times.saturating_add(1);
                self.channel.progress = Some(Progress { percent: *percent, text: text.clone(), at });
            }
            ChannelEvent::Noted { text } => self.channel.notes.push(Note { text: text.clone(), at }),
            ChannelEvent::HandedIn { artifact } => {
                let before = self.channel.handed_in_bytes;
                self.channel.handed_in_times = self.channel.handed_in_times.saturating_add(1);
                self.channel.handed_in_bytes = before.saturating_add(artifact.size_bytes);
                self.keep(artifact);
            }
            ChannelEvent::Asked { asked } => self.channel.asked.push(asked.clone()),
            ChannelEvent::Proposed { proposed } => {
                self.channel.proposed_times = self.channel.proposed_times.saturating_add(1);
                self.channel.proposed = Some(proposed.clone());
            }
            ChannelEvent::InputRequested { question } => {
                self.step(&RunStep::InputRequested { question: question.clone() })?;
            }
            ChannelEvent::ApprovalRequested { action } => {
                self.step(&RunStep::ApprovalRequested { action: action.clone() })?;
            }
            ChannelEvent::Parked => self.pause = Some(RunPause::for_answer()),
            ChannelEvent::Answered => {
                self.step(&RunStep::Answered)?;
                self.pause.take_if(|pause| pause.for_answer);
                self.end_of_answer();
                // It goes on, or stands still, as it does.
                if std::mem::take(&mut self.channel.stands_still) {
                    self.step(&RunStep::Paused)?;
                }
            }
        }
        Ok(())
    }
}
