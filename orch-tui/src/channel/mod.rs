//! The channel of a run, from inside: what `orchctl agent` speaks with, for scripts and, as MCP tools, for agents.
//!
//! In reading order: `client` calls the daemon and is patient while it is away, `ask` waits for people and puts secrets into
//! files, `mcp` is a server of tools on standard input and output, `tools` is what they are. Knows no socket of the daemon: a run has none.

mod ask;
mod client;
mod mcp;
mod tools;

pub(crate) use ask::{Outcome, Secrets, await_approval, request_info};
pub(crate) use client::Channel;
pub(crate) use mcp::serve;
