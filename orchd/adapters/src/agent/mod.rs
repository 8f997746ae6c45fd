//! Agent programs: where each is, how it is started, and what it is told.
//!
//! An agent works in a run like any step: its program is mounted read-only, its home is the run's own and vanishes with
//! it, its input is the prompt, its output is the log, its own sandbox is off because ours is around it, and its way to a
//! model is the run's gateway. Nothing here trusts what an agent says of its work: the gates do the saying.

mod command;
mod program;
mod prompt;
mod told;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use command::{GATEWAY_PORT, GATEWAY_VARIABLE, MODEL_LISTENER, PROMPT_INSIDE, Session};
pub use program::{Program, ProgramError};
pub use prompt::{Brief, PROMPT_BYTES_MAX, prompt};
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
}

impl AgentKind {
    /// The word for it, which is also the name of its program.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Codex => "codex",
            Self::Claude => "claude",
        }
    }

    /// How it speaks to a model's server.
    #[must_use]
    pub const fn api(self) -> Api {
        match self {
            Self::Codex => Api::OpenAi,
            Self::Claude => Api::Anthropic,
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        [Self::Codex, Self::Claude].into_iter().find(|kind| kind.word() == word)
    }
}

/// How an agent takes part in a run.
#[derive(Clone, Copy, Debug)]
pub struct AgentJob<'a> {
    pub kind: AgentKind,
    pub program: &'a Program,
    pub model: Option<&'a str>,
    /// What it is told, as a file on the host.
    pub prompt: &'a Path,
}
