//! Drivers: what an agent program that wants a conversation is spoken to with, inside the run in which it works. One module
//! per protocol, and what they share. Nothing here knows the daemon: what a driver prints is the agent's own lines.
//!
//! A driver is as untrusted as its agent, and dies with the run. It is part of `orchctl` because that needs nothing but
//! itself: no daemon, no configuration, no home. In reading order.

mod lines;
mod program;

pub(crate) mod acp;
pub(crate) mod permissions;
