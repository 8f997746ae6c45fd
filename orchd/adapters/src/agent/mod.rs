//! Agent programs: where each is, how it is started, and what it is told.
//!
//! An agent works in a run like any step: its program is mounted read-only, its home is the run's own and vanishes with
//! it but for its sessions, which the next attempt takes up if this one is interrupted; its input is the prompt, its output is the log, its own sandbox is off because ours is around it, and its way to a
//! model is the run's gateway. Nothing here trusts what an agent says of its work: the gates do the saying.

mod command;
mod named;
mod plans;
mod program;
mod prompt;
mod replay;
mod session;
mod settings;
mod told;
mod words;

use std::path::Path;

use orch_proto::leave::LeaveRule;
use serde::{Deserialize, Serialize};

pub use command::{GATEWAY_PORT, GATEWAY_VARIABLE, HOME_KEPT, MODEL_LISTENER, PROMPT_INSIDE, Session};
pub use named::named_files;
pub use plans::{PlanJob, plan_answer, plan_spec};
pub use program::{Program, ProgramError};
pub use prompt::{Brief, NamedFile, PROMPT_BYTES_MAX, prompt};
pub use replay::{Recorded, Replay};
pub use session::session_of;
pub use settings::{Settings, SettingsError};
pub use told::{AgentOutput, told};

use crate::gateway::Api;

/// Name of the step in which an agent works.
pub const AGENT: &str = "agent";

/// The agent programs that can be driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentKind {
    /// `codex exec --json` of `@openai/codex`; written against 0.171.
    Codex,
    /// `claude -p --output-format stream-json` of `@anthropic-ai/claude-code`; written against 2.1.
    Claude,
    /// Any program that speaks version 1 of the Agent Client Protocol.
    Acp,
    /// No program: what one printed is replayed.
    Fake,
}

impl AgentKind {
    const ALL: [Self; 4] = [Self::Codex, Self::Claude, Self::Acp, Self::Fake];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Codex => "codex",
            Self::Claude => "claude",
            Self::Acp => "acp",
            Self::Fake => "fake",
        }
    }

    /// The usual name of its program; none where it can be any, and where it is our own.
    #[must_use]
    pub const fn program(self) -> Option<&'static str> {
        match self {
            Self::Codex | Self::Claude => Some(self.word()),
            Self::Acp | Self::Fake => None,
        }
    }

    /// Whether it can ask a server that is spoken to so. Of what Ollama understands the gateway passes on what Codex speaks. Of a
    /// program that is any, only its own configuration knows.
    #[must_use]
    pub const fn can_ask(self, api: Api) -> bool {
        match self {
            Self::Codex => matches!(api, Api::OpenAi | Api::Ollama),
            Self::Claude => matches!(api, Api::Anthropic),
            Self::Acp => true,
            Self::Fake => false,
        }
    }

    /// What it can ask, in words.
    #[must_use]
    pub const fn asks(self) -> &'static str {
        match self {
            Self::Codex => "`openai` and `ollama`",
            Self::Claude => "`anthropic`",
            Self::Acp => "all",
            Self::Fake => "none",
        }
    }

    /// How its server is spoken to where nothing says so; none where that can be any.
    #[must_use]
    pub const fn usual_api(self) -> Option<Api> {
        match self {
            Self::Codex => Some(Api::OpenAi),
            Self::Claude => Some(Api::Anthropic),
            Self::Acp | Self::Fake => None,
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// How an agent takes part in a run.
#[derive(Clone, Copy, Debug)]
pub struct AgentJob<'a> {
    pub manner: Manner<'a>,
    pub program: &'a Program,
    pub model: Option<&'a str>,
    /// What it is told, as a file on the host.
    pub prompt: &'a Path,
    /// It finds the program that speaks to the run's channel.
    pub has_channel: bool,
    /// It goes on with a session of its own program.
    pub resume: Option<Resume<'a>>,
}

/// The session that an attempt before this one left.
#[derive(Clone, Copy, Debug)]
pub struct Resume<'a> {
    /// How the program names it.
    pub id: &'a str,
    /// What that attempt left in [`HOME_KEPT`], on the host.
    pub left: &'a Path,
}

/// How its program is worked with.
#[derive(Clone, Copy, Debug)]
pub enum Manner<'a> {
    Codex,
    Claude,
    /// It has a conversation, with a driver beside it.
    Driven(Driven<'a>),
    /// It is Codex, and its last word is to have the form in this file of the host.
    Plans {
        schema: &'a Path,
    },
    /// What one printed that had none is replayed.
    Replayed(&'a Replay),
}

/// What an agent that is spoken to is given.
#[derive(Clone, Copy, Debug)]
pub struct Driven<'a> {
    /// The program `orchctl`, on the host.
    pub driver: &'a Path,
    pub kind: AgentKind,
    /// What it may do without asking, what not, and what a person is asked about.
    pub leave: &'a [LeaveRule],
    /// Arguments and variables of a program that is any, with all places filled in.
    pub settings: &'a Settings,
    /// What one printed is replayed in the place of a program of this kind.
    pub replay: Option<&'a Replay>,
    /// Directory on the host with what it finds in its home; none where that is nothing.
    pub home: Option<&'a Path>,
}
