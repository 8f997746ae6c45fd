//! What a request says of its conversation, the same for every protocol.
//!
//! **Invariant:** two requests that differ only in how often they were sent are the same here.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use hyper::HeaderMap;
use serde_json::Value;

use super::protocol::Protocol;
use super::tool::Tool;

/// Headers in which programs name the conversation.
const NAMES: [&str; 7] = [
    "session_id",
    "session-id",
    "x-session-id",
    "x-session-affinity",
    "x-opencode-session",
    "x-claude-code-session-id",
    "conversation_id",
];

/// Programs whose requests without tools are beside their work, as they begin their `User-Agent`.
const PROGRAMS: [&str; 5] = ["claude", "codex", "opencode", "gemini", "qwen"];

/// An entry of a history.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entry<'a> {
    /// The model made it, in this turn if that is known.
    Made { turn: Option<usize> },
    /// A user's message, or part of one.
    Asked(&'a Value),
    /// Anything else, such as what a tool gave back.
    Other,
}

/// What happened so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    /// Replies of the model.
    pub(super) replies: usize,
    /// What users said before the first of them.
    pub(super) opening: Vec<String>,
}

impl History {
    pub(super) fn of<'a>(entries: impl IntoIterator<Item = Entry<'a>>) -> Self {
        let mut history = Self::default();
        let mut is_in_reply = false;
        for entry in entries {
            match entry {
                Entry::Made { turn: Some(turn) } => history.replies = turn.saturating_add(1),
                Entry::Made { turn: None } if !is_in_reply => history.replies = history.replies.saturating_add(1),
                Entry::Made { turn: None } | Entry::Other => {}
                Entry::Asked(content) if history.replies == 0 => texts(content, &mut history.opening),
                Entry::Asked(_) => {}
            }
            is_in_reply = matches!(entry, Entry::Made { .. });
        }
        history
    }
}

/// The text of a content: a string, or a list of parts that have a `text`.
pub(super) fn texts(content: &Value, into: &mut Vec<String>) {
    let part = |part: &Value| part.get("text").and_then(Value::as_str).map(str::to_owned);
    match content {
        Value::String(text) => into.push(text.clone()),
        Value::Array(parts) => into.extend(parts.iter().filter_map(part)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {}
    }
}

/// A request to a model.
#[derive(Clone, Debug)]
pub(super) struct Conversation {
    pub(super) protocol: Protocol,
    pub(super) model: String,
    pub(super) streams: bool,
    /// Whether a stream is to end with the usage, where that is to be asked for.
    pub(super) wants_usage: bool,
    pub(super) tools: Vec<Tool>,
    pub(super) history: History,
    /// Most tokens that may come out.
    pub(super) tokens_max: Option<u64>,
    /// The form that the answer must have.
    pub(super) schema: Option<Value>,
}

impl Conversation {
    /// Whether an agent program asks this beside its work.
    pub(super) fn is_aside(&self, headers: &HeaderMap) -> bool {
        if matches!(self.protocol, Protocol::OllamaGenerate) {
            return false;
        }
        let agent = headers.get(hyper::header::USER_AGENT).and_then(|value| value.to_str().ok());
        let is_program = agent.is_some_and(|agent| {
            let agent = agent.to_ascii_lowercase();
            PROGRAMS.iter().any(|name| agent.starts_with(name))
        });
        self.tools.is_empty() && (is_program || self.tokens_max == Some(1))
    }

    /// Whether somebody said this before the model's first reply.
    pub(super) fn is_asked(&self, needle: &str) -> bool {
        self.history.opening.iter().any(|text| text.contains(needle))
    }
}

/// A number for a conversation: that of who asks, how they name it and what was said before the model's first reply.
pub(super) fn identity(key: Option<&str>, headers: &HeaderMap, body: &Value, history: &History) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    for name in NAMES {
        headers.get(name).map(hyper::header::HeaderValue::as_bytes).hash(&mut hasher);
    }
    let named = |pointer: &str| body.pointer(pointer).and_then(Value::as_str);
    named("/prompt_cache_key").hash(&mut hasher);
    named("/metadata/user_id").hash(&mut hasher);
    history.opening.hash(&mut hasher);
    // 0 is no conversation.
    hasher.finish().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MADE: Entry<'static> = Entry::Made { turn: None };

    fn of_turn(turn: usize) -> Entry<'static> {
        Entry::Made { turn: Some(turn) }
    }

    fn replies(entries: &[Entry<'_>]) -> usize {
        History::of(entries.iter().copied()).replies
    }

    #[test]
    fn what_the_model_made_in_a_row_is_one_reply() {
        assert_eq!(replies(&[]), 0);
        assert_eq!(replies(&[Entry::Other, MADE, MADE, Entry::Other, MADE]), 2);
    }

    #[test]
    fn calls_of_one_turn_are_one_reply_even_with_results_between_them() {
        assert_eq!(replies(&[MADE, of_turn(0), Entry::Other, of_turn(0), Entry::Other]), 1);
    }

    #[test]
    fn a_shortened_history_keeps_its_place() {
        assert_eq!(replies(&[of_turn(7), Entry::Other, MADE, Entry::Other]), 9);
    }

    #[test]
    fn the_opening_is_what_was_said_before_the_first_reply() {
        let (first, second) = (Value::from("one"), serde_json::json!([{ "text": "two" }, { "image": 1 }]));
        let third = Value::from("three");
        let history = History::of([Entry::Asked(&first), Entry::Asked(&second), MADE, Entry::Asked(&third)]);
        assert_eq!(history.opening, ["one", "two"]);
    }
}
