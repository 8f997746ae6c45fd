//! The model gateway: the only way from a run to a model.
//!
//! A run finds a listener on its own loopback (see the sandbox's `listeners`), which the daemon serves here. Requests go
//! to the upstream that is configured: the key, which the run never has, is put in, values of secrets are taken out,
//! and a stream of Chat Completions is asked to say what it cost; the rest is as it was. In reading order: `api` says
//! which paths may be asked for, `request` what a body may ask for (`members` reads it),
//! `cost` what that may come to, `headers` what passes beside it,
//! `meter` counts tokens while an answer passes (`passing`), `room` bounds what runs send and are sent, `upstream` asks with
//! patience, `ledger` is whoever decides and keeps the books, `exchange` is one request and its answer, `serve` takes
//! connections. `own` asks what the daemon itself wants to know (`question`), by the same way. **Invariant:** nothing that costs something leaves before the ledger knows of it. **Invariant:** the end of
//! an answer reaches the run after the ledger knows what it cost.

mod api;
mod cost;
mod exchange;
mod headers;
mod ledger;
mod lines;
mod members;
mod meter;
mod own;
mod passing;
mod question;
mod request;
mod room;
mod serve;
mod upstream;

pub use api::{Api, Route};
pub use cost::OUTPUT_TOKENS;
pub use ledger::{Answered, Asked, End, Ledger, Opened, Refusal, Way};
pub use own::NotAnswered;
pub use passing::RESPONSE_BYTES_KEPT_MAX;
pub use question::{Protocol, Question, text_of};
pub use room::{Hold, REQUEST_BYTES_MAX};
pub use serve::Gateway;
pub(crate) use upstream::connector;
pub use upstream::{Client, ClientError, Upstream, UrlError};
