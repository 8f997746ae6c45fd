//! Drivers: what an agent program that wants a conversation is spoken to with, inside the run in which it works. One module
//! per protocol, and what they share. What a driver prints is the agent's own lines; of the daemon it knows the channel of the
//! run, over which people are asked and say something.
//!
//! A driver is as untrusted as its agent, and dies with the run. It is part of `orchctl` because that needs nothing but
//! itself: no daemon, no configuration, no home. `replay` takes the place of a program. In reading order.

mod lines;
mod program;

mod job;
mod leave;
mod messages;
mod questions;
mod replies;
mod rpc;
mod talk;

mod replay;

mod acp;
mod claude;
mod codex;

pub(crate) use job::{Bounds, DriveError, Job, Protocol, Resume, Tools};
pub(crate) use leave::{People, Permissions, Policy};
pub(crate) use messages::Inbox;
pub(crate) use replay::{Spoken, copy, replay};

use crate::ctl::Console;

/// Has the agent of `job` do it, in its own protocol, and gives up when `told_to_end` says so.
///
/// # Errors
/// When it did not say that it is done; whatever it did until then is done.
pub(crate) async fn drive<P: Permissions>(
    job: Job<'_>,
    console: &Console,
    with: (P, Inbox),
    told_to_end: impl Future<Output = ()>,
) -> Result<(), DriveError> {
    match job.protocol {
        Protocol::Acp => talk::drive::<P, acp::Acp<'_, P>>(job, console, with, told_to_end).await,
        Protocol::Claude => talk::drive::<P, claude::Claude<'_, P>>(job, console, with, told_to_end).await,
        Protocol::Codex => talk::drive::<P, codex::Codex<'_, P>>(job, console, with, told_to_end).await,
    }
}

#[cfg(test)]
mod driven;
