//! Whoever decides which requests leave and keeps what became of them: the daemon's side of a gateway.

use bytes::Bytes;
use orch_core::entity::TokenUse;

use super::api::Api;

/// A request that is about to leave, as it will leave.
#[derive(Clone, Debug)]
pub struct Asked {
    /// How its server is spoken to.
    pub api: Api,
    /// Its path, without a query.
    pub path: String,
    /// The model that it names.
    pub model: Option<String>,
    /// Its body, without values of secrets.
    pub body: Bytes,
}

/// What came of a request.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Of the server's answer; none when there was none.
    pub status: Option<u16>,
    /// The model that answered, by its own word.
    pub model: Option<String>,
    /// What the server says that it cost; none when it says nothing, as of an answer that broke off.
    pub tokens: Option<TokenUse>,
    /// What it may have cost otherwise, from its size: four bytes are about a token.
    pub estimate: TokenUse,
    /// The answer, up to [`RESPONSE_BYTES_KEPT_MAX`](super::RESPONSE_BYTES_KEPT_MAX).
    pub body: Vec<u8>,
    /// How much of it is not in `body`, in bytes.
    pub left_out: u64,
    pub end: End,
    /// How often it was sent.
    pub tries: u32,
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
    /// The run did not want the rest.
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
}

/// Decides and remembers. A gateway asks before each request and tells after each answer.
pub trait Ledger: Send + Sync + 'static {
    /// What names an exchange from its beginning to its end.
    type Ticket: Send + 'static;

    /// Puts on record that a request is about to leave. May take as long as a person does who is asked whether it may.
    fn open(&self, asked: Asked) -> impl Future<Output = Result<Self::Ticket, Refusal>> + Send;

    /// Puts on record what came of it. The run is given the end of the answer afterwards.
    fn close(&self, ticket: Self::Ticket, answered: Answered) -> impl Future<Output = ()> + Send;
}
