//! What passed between a run and models.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// A text of which the record has the digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextView {
    /// SHA-256, in hex.
    pub digest: String,
    pub bytes: u64,
    /// It can be read. Texts are kept for some time, and only where there was room.
    pub is_kept: bool,
}

/// Which text of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExchangePart {
    Request,
    Answer,
}

/// A request to a model, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeView {
    /// From 1 in each run.
    pub number: u32,
    /// When it was put on record, which is before it left.
    pub at: Timestamp,
    /// What it asked of the server: `/v1/responses`.
    pub path: String,
    /// The model that answered, by its own word, or else that it was for.
    pub model: Option<String>,
    /// Of the configuration.
    pub server: Option<String>,
    /// How it ended: `complete`, `broken`, `silent`, `unwanted`, `unreachable`, `unknown`; none while it is under way.
    pub end: Option<String>,
    pub answered_at: Option<Timestamp>,
    /// Of the server's answer.
    pub status: Option<u16>,
    pub input_tokens: u64,
    /// Of these, those that came from a cache.
    pub cached_tokens: u64,
    pub output_tokens: u64,
    /// The figures are no server's.
    pub is_estimate: bool,
    /// `$0.02`; none where the model has no price.
    pub cost_text: Option<String>,
    /// How often it was sent.
    pub tries: u32,
    /// As it left: without values of secrets.
    pub request: TextView,
    /// As far as it was kept, without the key.
    pub answer: Option<TextView>,
}
