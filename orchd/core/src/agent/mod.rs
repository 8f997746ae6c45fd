//! What agent programs do, in one vocabulary, read from what they print.
//!
//! The log of a run keeps every line of an agent as it was; a `Parser` is fed those bytes, in any pieces and again at any
//! time, and gives `RunEvent`s: the same bytes, the same events. Agents are hostile: a parser never panics, holds at most
//! one line of `LINE_BYTES_MAX` and abridges longer ones, and everything in an event has a bound. What an agent says of
//! itself is told, not believed: whether work is good is what gates say. In reading order.

mod event;
mod usage;

mod parser;

mod lines;
mod text;
mod wire;

mod fault;
mod open_tools;

mod acp;
mod app_server;
mod claude;
mod codex;

pub use acp::PROMPT_ID;
pub use event::{
    Choice, ErrorClass, FileOp, PlanItem, PlanStatus, RawReason, Role, RunEvent, Stop, ToolKind, ToolStatus, Verdict,
};
pub use lines::LINE_BYTES_MAX;
pub use parser::{Parser, Protocol};
pub use text::{NAME_BYTES_MAX, PATH_BYTES_MAX, TEXT_BYTES_MAX, Text};
pub use usage::Usage;
pub use wire::LIST_MAX;

#[cfg(test)]
mod tests;
