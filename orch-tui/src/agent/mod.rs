//! Drivers: what an agent program that wants a conversation is spoken to with, inside the run in which it works. One module
//! per protocol, and what they share. What a driver prints is the agent's own lines; of the daemon it knows the channel of the
//! run, over which people are asked and say something.
//!
//! A driver is as untrusted as its agent, and dies with the run. It is part of `orchctl` because that needs nothing but
//! itself: no daemon, no configuration, no home. In reading order.

mod lines;
mod program;

mod job;
mod leave;
mod messages;
mod replies;
mod rpc;
mod talk;

pub(crate) mod acp;
pub(crate) mod claude;
pub(crate) mod codex;

pub(crate) use job::{Bounds, DriveError, Job};
pub(crate) use leave::{People, Policy};
pub(crate) use messages::Inbox;

#[cfg(test)]
mod driven;
