//! Whoever decides which requests leave and keeps what became of them: the daemon's side of a gateway.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use orch_core::digest::Digest;
use orch_core::entity::TokenUse;
use orch_sandbox::redact::Patterns;

use super::api::Api;
use super::room::Hold;
use super::upstream::Upstream;

/// How a request goes on. Asked for anew with each, so that a key which was changed is taken.
#[derive(Clone)]
pub struct Way {
    pub upstream: Upstream,
    /// None where the server wants none.
    pub key: Option<Vec<u8>>,
    /// The operator lets pass what the server does by itself.
    pub hosted: bool,
    /// What requests ask for in the place of what they say, in hundredths; none: that.
    pub temperature_percent: Option<u32>,
    /// How many tokens an answer has at most, whatever requests say; none: what they say.
    pub answer_tokens: Option<u64>,
    /// What is taken out of requests, one set after the other.
    pub secrets: Vec<Arc<Patterns>>,
    /// What is taken out of answers: the key.
    pub of_answers: Option<Arc<Patterns>>,
}

impl fmt::Debug for Way {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key is nobody's business.
        out.debug_struct("Way").field("upstream", &self.upstream).field("hosted", &self.hosted).finish_non_exhaustive()
    }
}

/// A request that is about to leave, as it will leave.
#[derive(Clone, Debug)]
pub struct Asked {
    /// How its server is spoken to.
    pub api: Api,
    /// Its path, without a query.
    pub path: String,
    /// The model that it names.
    pub model: Option<String>,
    /// How many tokens its answer has at most, where it says so.
    pub output_max: Option<u64>,
    /// Its body, without values of secrets.
    pub body: Bytes,
    /// Of the body.
    pub digest: Digest,
    /// How long it may wait for leave; none: for as long as a person takes.
    pub patience: Option<Duration>,
    /// The room that its body takes: whoever keeps that has this until it is kept.
    pub hold: Hold,
}

/// A request that is on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened<T> {
    /// What names it.
    pub ticket: T,
    /// It waited for leave. Keys and secrets may be others by now.
    pub has_waited: bool,
}

/// What came of a request.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Of the server's answer; none when there was none.
    pub status: Option<u16>,
    /// The model that answered, by its own word.
    pub model: Option<String>,
    /// What it cost.
    pub tokens: TokenUse,
    /// That is not what the server says, but as much as it may have been: four bytes are about a token.
    pub is_estimate: bool,
    /// The answer, up to [`RESPONSE_BYTES_KEPT_MAX`](super::RESPONSE_BYTES_KEPT_MAX), without the key.
    pub body: Vec<u8>,
    /// How much of it is not in `body`, in bytes.
    pub left_out: u64,
    pub end: End,
    /// How often it was sent.
    pub tries: u32,
    /// How long it took, from when it was sent first.
    pub took: Duration,
    /// The room that `body` takes: whoever keeps that has this until it is kept.
    pub hold: Hold,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The server said all that it had to say.
    Complete,
    /// The server, or the way to it, broke off.
    Broken,
    /// Nothing came for too long.
    Silent,
    /// The run did not want the rest, or did not read it.
    Unwanted,
    /// It never answered.
    Unreachable,
}

/// Why a request does not leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub code: &'static str,
    /// For whoever reads the agent's log: what, and the next step.
    pub message: String,
    /// The same request may leave later.
    pub is_passing: bool,
}

/// Decides and remembers. A gateway asks before each request and tells after each answer.
pub trait Ledger: Send + Sync + 'static {
    /// What names an exchange from its beginning to its end.
    type Ticket: Send + 'static;

    /// How requests go on at the moment. Whether they may is said by [`Self::open`], or by [`Self::admits`].
    fn way(&self) -> impl Future<Output = Result<Way, Refusal>> + Send;

    /// Whether a request may go on that costs nothing, and is not put on record.
    fn admits(&self) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Puts on record that a request is about to leave. May take as long as a person does who is asked whether it may, or
    /// as [`Asked::patience`] says. It is brought to its end, and what it answers is closed, also when the run does not wait.
    fn open(&self, asked: Asked) -> impl Future<Output = Result<Opened<Self::Ticket>, Refusal>> + Send;

    /// Puts on record what came of it. The run is given the end of the answer afterwards.
    fn close(&self, ticket: Self::Ticket, answered: Answered) -> impl Future<Output = ()> + Send;
}
