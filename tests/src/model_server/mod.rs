//! A scripted model on loopback: what stands at the edge of the machine when a test drives a real agent program.
//!
//! It speaks the wire protocols of the vendors (OpenAI Responses and Chat Completions, Anthropic Messages, Ollama), so
//! that neither the agent programs nor a gateway in between can tell it from a vendor, and it does what a script says,
//! good or bad, and nothing else.
//!
//! In reading order: a `script` is what a test writes, in `manner`s; the `server` listens; a `conversation` is read
//! from a request by the module of its protocol (`responses`, `chat`, `messages`, `ollama`); the `ledger` chooses the
//! turn that it is at and keeps the `record`; `tool`s of the asking program carry the turn's commands out; a `reply` is
//! laid out in `piece`s by the protocol again, and a `body` sends them in the manner that was asked for.
//!
//! **How a turn is chosen.** By what the request itself says happened so far, so that several agents can ask at the
//! same time and a retry gets the same answer. The model's part of a history is a number of *replies*; the next turn
//! has that number. A reply is, per protocol:
//! - Responses: a group of items in `input` that a model makes (`message` of the assistant, `reasoning`,
//!   `function_call`, `custom_tool_call`, `local_shell_call`), up to the next item that is none (a tool's output, a
//!   user's message);
//! - Chat Completions, Anthropic Messages and Ollama's chat: a message with the role `assistant`;
//! - Ollama's generate: what the `context` of the last answer says.
//!
//! A call that this server made carries the number of its turn in its id (`call_t3_0`), which overrides the counting:
//! calls of one turn are one reply even if their results stand between them, and a history that was shortened keeps its
//! place. With [`Script::sequential`] the requests are counted instead.
//!
//! **What takes no turn.** Requests that agent programs make beside their work: titles, summaries, probes of the quota.
//! They are known by this: no tools are offered and a known agent program asks, or only one token is asked for, or the
//! turn needs a tool and none is offered. They get a short harmless answer without usage, so that the sum of all usages
//! is that of the script.
//!
//! **Invariants:** listens on loopback only; everything it keeps is bounded; when the server is dropped, its socket is
//! closed and its tasks end.

mod body;
mod chat;
mod conversation;
mod ledger;
mod manner;
mod messages;
mod ollama;
mod piece;
mod protocol;
mod record;
mod refusal;
mod reply;
mod responses;
mod script;
mod server;
mod tool;

pub use manner::{Manner, Misbehave};
pub use record::{Answer, Delivery, Request};
pub use script::{Script, Turn, Usage};
pub use server::ModelServer;
