//! What runs used of models: tokens, exchange by exchange, and which are still under way.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Most exchanges of one run that are under way at once.
pub const EXCHANGES_OPEN_MAX: usize = 256;

/// Tokens, as the model's own server counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUse {
    /// Of prompts, those that came from a cache or went to one included.
    pub input: u64,
    /// Of `input`, those that came from a cache.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cached: u64,
    /// Of `input`, those that went to a cache.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_written: u64,
    /// What was made, reasoning included.
    pub output: u64,
    /// Of `output`, what nobody was shown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reasoning: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(amount: &u64) -> bool {
    *amount == 0
}

impl TokenUse {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            cached: self.cached.saturating_add(other.cached),
            cache_written: self.cache_written.saturating_add(other.cache_written),
            output: self.output.saturating_add(other.output),
            reasoning: self.reasoning.saturating_add(other.reasoning),
        }
    }
}

/// The agent that does the work of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentUse {
    /// As the configuration names it.
    pub name: String,
    /// The program: `codex`, `claude`.
    pub kind: String,
    /// The model that it is told to use; none: what it chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// A request to a model that left and has no answer on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenExchange {
    pub number: u32,
    pub request_bytes: u64,
}

/// What a run used of models.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelUse {
    /// Requests that left; they are numbered from 1.
    pub exchanges: u32,
    /// Of all that were answered.
    pub tokens: TokenUse,
    /// Some of `tokens` are no server's figures: answers that broke off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_estimate: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<OpenExchange>,
}

impl ModelUse {
    /// Whether no model was asked for anything.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.exchanges == 0
    }

    pub(super) fn asked(&mut self, exchange: OpenExchange) {
        self.exchanges = self.exchanges.max(exchange.number);
        self.open.push(exchange);
    }

    pub(super) fn answered(&mut self, number: u32, answer: &ModelAnswer) {
        self.open.retain(|open| open.number != number);
        self.tokens = self.tokens.plus(answer.tokens);
        self.is_estimate |= answer.is_estimate && answer.tokens != TokenUse::default();
    }
}

/// A request to a model, as it leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRequest {
    /// What it asks of the server: `/v1/responses`.
    pub path: String,
    /// The model that it names.
    pub model: Option<String>,
    /// All of it, which is `model-NUMBER.request` in the run's directory.
    pub body: Digest,
    pub body_bytes: u64,
}

/// What came of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelAnswer {
    /// Of the server's answer; none when there was none.
    pub status: Option<u16>,
    /// The model that answered, by its own word.
    pub model: Option<String>,
    pub tokens: TokenUse,
    /// No server's figure: the answer broke off, or does not say what it cost.
    pub is_estimate: bool,
    /// How it ended, in a word: `complete`, `broken`, `silent`, `unwanted`, `unreachable`, `unknown`.
    pub end: String,
    /// The answer as far as it was kept, which is `model-NUMBER.answer` beside the request.
    pub body: Option<Digest>,
    pub body_bytes: u64,
    /// How often the request was sent.
    pub tries: u32,
}
