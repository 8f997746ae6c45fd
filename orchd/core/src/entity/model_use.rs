//! What runs used of models: tokens, exchange by exchange, and which are still under way.

use orch_proto::id::ApprovalId;
use serde::{Deserialize, Serialize};

use super::spend::{Allowance, Spend};
use crate::digest::Digest;
use crate::printable::misleads;
use crate::recipe::{Profile, Reach};

/// Most exchanges of one run that are under way at once.
pub const EXCHANGES_OPEN_MAX: usize = 256;
/// Most exchanges of one run. Each is two events; an agent that works for a day has a few thousand.
pub const EXCHANGES_MAX: u32 = 10_000;
/// Most tokens of a kind that one exchange can have cost: more is no figure.
pub const TOKENS_MAX: u64 = 1 << 40;
/// Longest name of a model that is put on record, in characters.
pub const MODEL_CHARS_MAX: usize = 200;

/// The name of a model as it is put on record: without what a terminal would take for more than text. None when nothing is
/// left of it.
#[must_use]
pub fn model_name(text: &str) -> Option<String> {
    let plain = text.chars().filter(|char| !char.is_control() && !misleads(*char));
    let name: String = plain.take(MODEL_CHARS_MAX).collect();
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

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

    /// The same, with no figure above [`TOKENS_MAX`].
    #[must_use]
    pub fn capped(self) -> Self {
        let capped = |tokens: u64| tokens.min(TOKENS_MAX);
        Self {
            input: capped(self.input),
            cached: capped(self.cached),
            cache_written: capped(self.cache_written),
            output: capped(self.output),
            reasoning: capped(self.reasoning),
        }
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
    /// What one attempt may spend on models.
    #[serde(default, skip_serializing_if = "Allowance::is_unbounded")]
    pub of_run: Allowance,
    /// What all attempts at a task may spend.
    #[serde(default, skip_serializing_if = "Allowance::is_unbounded")]
    pub of_task: Allowance,
    /// The role that it has, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The server that it asks, as it was when the run was made; none where it asks by itself, past the gateway, and of versions that
    /// did not put it on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerUse>,
    /// A driver has a conversation with it: it can be told something while it works, and ask before it does something.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_driven: bool,
    /// How many tokens an answer to it has at most; none: as many as it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_tokens: Option<u64>,
    /// Hosts that its role may reach, beside models.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<Reach>,
    /// Which system calls its role has.
    #[serde(default, skip_serializing_if = "Profile::is_standard")]
    pub profile: Profile,
}

/// What an agent was told when it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// All of it, which is a blob.
    pub prompt: Digest,
    pub bytes: u64,
}

/// A server of models. A run asks the one that it was made with, and no other that has got its name since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerUse {
    /// As the configuration names it.
    pub name: String,
    /// How it is spoken to: `openai`, `anthropic`, `ollama`.
    pub api: String,
    pub url: String,
}

/// A request to a model that left and has no answer on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenExchange {
    pub number: u32,
    pub request_bytes: u64,
    /// What it may come to: so much is kept for it of what may be spent.
    #[serde(default, skip_serializing_if = "Spend::is_nothing")]
    pub reserved: Spend,
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
    /// What `tokens` cost, in millionths of the currency that prices are in.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cost: u64,
    /// Some of them are of models without a price, and not in `cost`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_unpriced: bool,
    /// How often a person gave it as much again.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub raises: u32,
    /// What was asked when it had spent all that it may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<ApprovalId>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_none_yet(times: &u32) -> bool {
    *times == 0
}

impl ModelUse {
    /// Whether no model was asked for anything, and nobody was asked about it.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.exchanges == 0 && self.question.is_none()
    }

    /// What it spent, as far as that is known.
    #[must_use]
    pub const fn spent(&self) -> Spend {
        Spend { tokens: self.tokens.total(), cost: self.cost }
    }

    /// What is kept for requests under way.
    #[must_use]
    pub fn reserved(&self) -> Spend {
        self.open.iter().fold(Spend::default(), |sum, open| sum.plus(open.reserved))
    }

    pub(super) fn asked(&mut self, exchange: OpenExchange) {
        self.exchanges = self.exchanges.max(exchange.number);
        self.open.push(exchange);
    }

    pub(super) fn answered(&mut self, number: u32, answer: &ModelAnswer) {
        self.open.retain(|open| open.number != number);
        self.tokens = self.tokens.plus(answer.tokens);
        self.is_estimate |= answer.is_estimate && answer.tokens != TokenUse::default();
        self.cost = self.cost.saturating_add(answer.cost.unwrap_or(0));
        self.is_unpriced |= answer.cost.is_none() && answer.tokens != TokenUse::default();
    }
}

/// A request to a model, as it leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRequest {
    /// What it asks of the server: `/v1/responses`.
    pub path: String,
    /// The model that it names.
    pub model: Option<String>,
    /// All of it, which is a blob; of older versions `model-NUMBER.request` in the run's directory.
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
    /// What those cost, in millionths of the currency that prices are in; none: the model has no price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<u64>,
    /// No server's figure: the answer broke off, or does not say what it cost.
    pub is_estimate: bool,
    /// How it ended, in a word: `complete`, `broken`, `silent`, `unwanted`, `unreachable`, `unknown`.
    pub end: String,
    /// The answer as far as it was kept, which is a blob; of older versions `model-NUMBER.answer` beside the request.
    pub body: Option<Digest>,
    pub body_bytes: u64,
    /// How often the request was sent.
    pub tries: u32,
}

impl ModelAnswer {
    /// The same, in which what a server says of itself has no more room than anything else.
    #[must_use]
    pub fn bounded(&self) -> Self {
        Self { model: self.model.as_deref().and_then(model_name), tokens: self.tokens.capped(), ..self.clone() }
    }

    /// What it cost, of what may be spent.
    #[must_use]
    pub fn spent(&self) -> Spend {
        Spend { tokens: self.tokens.capped().total(), cost: self.cost.unwrap_or(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_model_is_text_and_nothing_more() {
        assert_eq!(model_name("gpt-5\u{1b}[2J\u{202e}x"), Some("gpt-5[2Jx".to_owned()));
        assert_eq!(model_name(&"m".repeat(999)).map(|name| name.len()), Some(MODEL_CHARS_MAX));
        assert_eq!([model_name(""), model_name("\n \u{7}")], [None, None]);
    }

    #[test]
    fn no_sum_of_figures_of_a_server_runs_over() {
        let wild = TokenUse { input: u64::MAX, cached: 7, cache_written: 0, output: u64::MAX, reasoning: 3 };
        let capped = wild.capped();
        assert_eq!((capped.input, capped.cached, capped.output), (TOKENS_MAX, 7, TOKENS_MAX));
        assert_eq!(wild.plus(wild).total(), u64::MAX);
    }

    #[test]
    fn an_agent_of_an_older_version_has_no_server_on_record() {
        let old: AgentUse = serde_json::from_str(r#"{"name":"coder","kind":"codex"}"#).unwrap();
        assert_eq!((old.server, old.model), (None, None));
    }
}
