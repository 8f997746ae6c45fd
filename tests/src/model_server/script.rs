//! What a test writes: turns of a conversation, the same for every protocol, and to whom they are said.
//!
//! Knows nothing of the protocols and of how a turn is chosen.

use serde_json::Value;

use super::manner::{Manner, Misbehave};

/// Tokens that a turn says it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Usage {
    /// All tokens that went in, those of the cache included.
    pub input: u64,
    /// How many of `input` were read from the cache.
    pub cached: u64,
    /// How many of `input` were written to the cache. Only Anthropic tells.
    pub cache_written: u64,
    /// All tokens that came out, those of the reasoning included.
    pub output: u64,
    /// How many of `output` were reasoning. Only OpenAI tells.
    pub reasoning: u64,
}

impl Usage {
    /// That of what takes no turn.
    pub const NONE: Self = Self { input: 0, cached: 0, cache_written: 0, output: 0, reasoning: 0 };
}

impl Default for Usage {
    /// A turn that does not say: 100 tokens in, 10 out.
    fn default() -> Self {
        Self { input: 100, output: 10, ..Self::NONE }
    }
}

/// What the agent is to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Act {
    /// Run a shell command, by the tool that the program has for that.
    Run(String),
    /// Call a tool by its name, or by the end of it after a separator.
    Call { name: String, arguments: Value },
}

/// One reply of the model.
#[derive(Clone, Debug, Default)]
pub struct Turn {
    pub(super) thought: Option<String>,
    pub(super) text: Option<String>,
    pub(super) acts: Vec<Act>,
    pub(super) usage: Usage,
    pub(super) manner: Manner,
}

impl Turn {
    /// The model says something. Without an act the agent takes it as its last word.
    #[must_use]
    pub fn say(text: impl Into<String>) -> Self {
        Self::default().and_say(text)
    }

    /// The model has the agent run a shell command.
    #[must_use]
    pub fn run(command: impl Into<String>) -> Self {
        Self::default().and_run(command)
    }

    /// The model has the agent call a tool: the one with this name, or else the only one whose name ends with it after
    /// `_`, `.`, `/` or `-`, as `report` does in `mcp__house__report`.
    #[must_use]
    pub fn call(name: impl Into<String>, arguments: Value) -> Self {
        Self::default().and_call(name, arguments)
    }

    /// Before that it says something.
    #[must_use]
    pub fn and_say(self, text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..self }
    }

    /// Before that it reasons.
    #[must_use]
    pub fn and_think(self, thought: impl Into<String>) -> Self {
        Self { thought: Some(thought.into()), ..self }
    }

    /// In the same turn it has a further command run.
    #[must_use]
    pub fn and_run(mut self, command: impl Into<String>) -> Self {
        self.acts.push(Act::Run(command.into()));
        self
    }

    /// In the same turn it has a further tool called, as [`Turn::call`].
    #[must_use]
    pub fn and_call(mut self, name: impl Into<String>, arguments: Value) -> Self {
        self.acts.push(Act::Call { name: name.into(), arguments });
        self
    }

    /// Tokens that went in and came out.
    #[must_use]
    pub fn usage(mut self, input: u64, output: u64) -> Self {
        self.usage = Usage { input, output, ..self.usage };
        self
    }

    /// How many of the tokens that went in were read from the cache, and how many written to it.
    #[must_use]
    pub fn cached(mut self, read: u64, written: u64) -> Self {
        self.usage = Usage { cached: read, cache_written: written, ..self.usage };
        self
    }

    /// How many of the tokens that came out were reasoning.
    #[must_use]
    pub fn reasoned(mut self, tokens: u64) -> Self {
        self.usage.reasoning = tokens;
        self
    }
}

impl Misbehave for Turn {
    fn manner_mut(&mut self) -> &mut Manner {
        &mut self.manner
    }
}

/// By what the next turn is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    ByHistory,
    ByCount,
}

/// What comes after the last turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// A word that tells so.
    Word,
    /// The first turn again.
    FirstTurn,
}

/// The turns of the conversations that were asked something.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// What the opening of the conversation must contain.
    pub(super) needle: Option<String>,
    pub(super) turns: Vec<Turn>,
}

/// What the server does.
///
/// As it [misbehaves](Misbehave), so it treats every model request first, those that take no turn included;
/// [`times`](Misbehave::times) then counts the requests to the server.
#[derive(Clone, Debug)]
pub struct Script {
    pub(super) parts: Vec<Part>,
    pub(super) order: Order,
    pub(super) end: End,
    pub(super) keys: Vec<String>,
    pub(super) models: Vec<String>,
    pub(super) manner: Manner,
}

impl Script {
    /// What is said in every conversation for which there is nothing better.
    #[must_use]
    pub fn new(turns: impl IntoIterator<Item = Turn>) -> Self {
        Self {
            parts: vec![Part { needle: None, turns: turns.into_iter().collect() }],
            order: Order::ByHistory,
            end: End::Word,
            keys: Vec::new(),
            models: vec!["scripted".to_owned()],
            manner: Manner::default(),
        }
    }

    /// Other turns for the conversations whose opening (all text before the model's first reply) contains `needle`. The
    /// first that fits counts.
    #[must_use]
    pub fn when_asked(mut self, needle: impl Into<String>, turns: impl IntoIterator<Item = Turn>) -> Self {
        let at = self.parts.len().saturating_sub(1);
        self.parts.insert(at, Part { needle: Some(needle.into()), turns: turns.into_iter().collect() });
        self
    }

    /// The requests are counted, whoever asks and whatever was said before. A turn that misbehaves is over after that,
    /// or after as many [`times`](Misbehave::times) as it says, and then comes once more as it should be.
    #[must_use]
    pub fn sequential(mut self) -> Self {
        self.order = Order::ByCount;
        self
    }

    /// After the last turn comes the first again, without an end.
    #[must_use]
    pub fn endless(mut self) -> Self {
        self.end = End::FirstTurn;
        self
    }

    /// Every request must have this key, or another one that is required, as `Authorization: Bearer` or `x-api-key`;
    /// it is answered 401 otherwise.
    #[must_use]
    pub fn require_key(mut self, key: impl Into<String>) -> Self {
        self.keys.push(key.into());
        self
    }

    /// The models that are listed. Any model is answered.
    #[must_use]
    pub fn models<T: Into<String>>(mut self, models: impl IntoIterator<Item = T>) -> Self {
        self.models = models.into_iter().map(Into::into).collect();
        self
    }
}

impl Misbehave for Script {
    fn manner_mut(&mut self) -> &mut Manner {
        &mut self.manner
    }
}
