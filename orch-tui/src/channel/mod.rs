//! The channel of a run, from inside: what `orchctl agent` speaks with, for scripts and, as MCP tools, for agents.
//!
//! In reading order: `client` calls the daemon and is patient while it is away, `ask` waits for people and puts secrets into
//! files, `checks` does what the result of the run is checked with, `mcp` is a server of tools on standard input and output, `tools` is what they are. Knows no socket of the daemon: a run has none.

mod ask;
mod checks;
mod client;
mod mcp;
mod tools;

pub(crate) use ask::{Outcome, Patience, Secrets, await_approval, request_info, request_tool};
pub(crate) use checks::{Verdict, list as list_checks, run as run_check};
pub(crate) use client::{Channel, Wanted};
pub(crate) use mcp::{Calls, serve};
