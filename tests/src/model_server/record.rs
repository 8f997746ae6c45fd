//! What the server was sent, and what became of it.

use std::time::Duration;

use bytes::Bytes;

/// Which answer a request got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A turn of the script as it should be.
    Turn { index: usize },
    /// A turn of the script that misbehaved, or the whole server did and there was no turn to look for.
    Fault { index: Option<usize> },
    /// The script has no further turn.
    Over,
    /// Something that agent programs ask beside their work.
    Aside,
    /// A list of models, a version, a count of tokens, a sign of life.
    Listing,
    /// Nothing that the server has, or not in a form that it knows.
    Refused { status: u16 },
}

/// How far an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It is still being sent, or held back.
    Open,
    /// All of it went to the connection.
    Whole,
    /// The server dropped the connection, as it was told to.
    Cut,
    /// The other side went away before all of it was sent, or the server was stopped.
    Abandoned,
}

/// One request, in the order of arrival.
#[derive(Clone, Debug)]
pub struct Request {
    /// The first request has 0.
    pub number: usize,
    /// When its body was complete, since the server was started.
    pub arrived: Duration,
    /// In capital letters.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// What stands after `?`.
    pub query: Option<String>,
    /// Names in small letters; values that are no ASCII with replacement characters.
    pub headers: Vec<(String, String)>,
    /// Empty when it is too large to be kept, which `body_bytes` tells.
    pub body: Bytes,
    /// Size of the body as it came.
    pub body_bytes: u64,
    /// The key in `Authorization: Bearer`, else in `x-api-key`.
    pub key: Option<String>,
    /// The same for all requests of one conversation, and most likely for no other. 0 when it is none.
    pub conversation: u64,
    /// How often the same turn was asked for in the same conversation before.
    pub attempt: u32,
    /// Which answer it got.
    pub answer: Answer,
    /// How far that came.
    pub delivery: Delivery,
}

impl Request {
    /// The value of a header, the first if there are several. The name in small letters.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(at, _)| at == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; `Null` when it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Whether it asked a model for a turn, well answered or not.
    #[must_use]
    pub fn is_turn(&self) -> bool {
        matches!(self.answer, Answer::Turn { .. } | Answer::Fault { .. } | Answer::Over)
    }
}
