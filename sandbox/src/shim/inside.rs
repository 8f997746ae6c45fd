//! What runs the steps of a run for its shim: init, in a sandbox around them, or without isolation the shim itself.
//!
//! The one place where the two ways meet. Whichever it is, the shim asks for the same things and hears the same of them.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use super::keeper::Keeper;
use super::plain::Plain;
use super::sandbox::Sandbox;
use crate::init::{Reply, Request};
use crate::secrets::{SealedSecrets, Secrets};
use crate::spec::CheckedSpec;
use crate::view::Trees;

/// Whoever runs the steps.
#[derive(Debug)]
pub(crate) enum Inside {
    Sandboxed(Sandbox),
    Plain(Plain),
}

/// The secrets that a run starts with.
#[derive(Debug)]
pub(super) struct RunSecrets<'a> {
    pub(super) values: &'a Secrets,
    /// As they are passed on.
    pub(super) sealed: Option<&'a SealedSecrets>,
}

/// The reading ends of the first step's output and errors.
#[derive(Debug)]
pub(super) struct FirstStreams {
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// What there is to hear.
#[derive(Debug)]
pub(super) enum Heard {
    /// This, with these descriptors.
    Said(Reply, Vec<OwnedFd>),
    /// The first step began without anything around it of which something could be found out.
    Began {
        /// When, on the monotonic clock, in nanoseconds.
        at_ns: u64,
    },
    /// Nothing that matters.
    Nothing,
    /// Init is gone.
    Gone,
}

impl Inside {
    /// Makes it that of `spec`, whose first step then starts, without isolation when it is told to. `trees` are the directories of
    /// the run, unless init opens them itself.
    pub(super) fn claim(
        &mut self,
        spec: &CheckedSpec,
        secrets: &RunSecrets<'_>,
        trees: Option<&Trees>,
        keeper: &Keeper<'_>,
    ) -> Result<FirstStreams, Errno> {
        match self {
            Self::Sandboxed(sandbox) => sandbox.claim(spec, secrets, trees, keeper),
            Self::Plain(plain) => plain.claim(spec, keeper.watches_tmpfs()),
        }
    }

    /// Lets the first step begin, where it does not by itself.
    pub(super) fn begin(&mut self) {
        match self {
            Self::Sandboxed(_) => {}
            Self::Plain(plain) => plain.begin(),
        }
    }

    /// The process below which all others of the run are, as the shim sees it.
    pub(super) fn root(&self) -> Pid {
        match self {
            Self::Sandboxed(sandbox) => sandbox.pid(),
            Self::Plain(_) => nix::unistd::getpid(),
        }
    }

    /// Readable when there is something to hear that was not to be known before.
    pub(super) fn channel(&self) -> BorrowedFd<'_> {
        match self {
            Self::Sandboxed(sandbox) => sandbox.channel(),
            Self::Plain(plain) => plain.children(),
        }
    }

    /// Whether something is to be heard though the channel may not be readable.
    pub(super) fn has_news(&self) -> bool {
        match self {
            Self::Sandboxed(_) => false,
            Self::Plain(plain) => plain.has_news(),
        }
    }

    /// Whether there is something to hear now.
    pub(super) fn can_be_heard(&self) -> bool {
        let mut fds = [PollFd::new(self.channel(), PollFlags::POLLIN)];
        self.has_news() || poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// The next that there is to hear.
    pub(super) fn receive(&mut self) -> Result<Heard, Errno> {
        match self {
            Self::Sandboxed(sandbox) => {
                Ok(sandbox.receive()?.map_or(Heard::Gone, |(reply, descriptors)| Heard::Said(reply, descriptors)))
            }
            Self::Plain(plain) => plain.receive(),
        }
    }

    /// Asks for something but the start of a step.
    pub(super) fn request(&mut self, request: &Request) -> Result<(), Errno> {
        match self {
            Self::Sandboxed(sandbox) => sandbox.request(request),
            Self::Plain(plain) => plain.request(request),
        }
    }

    /// Starts a step but the first with these streams, in a pause when that is over.
    pub(super) fn start_step(&mut self, index: u16, streams: [OwnedFd; 2], is_paused: bool) -> Result<(), Errno> {
        match self {
            Self::Sandboxed(sandbox) => sandbox.start_step(index, streams, is_paused),
            Self::Plain(plain) => {
                plain.start_step(index, streams, is_paused);
                Ok(())
            }
        }
    }

    /// Ends what has nothing inside any more, without waiting for more than has to be.
    pub(super) fn leave(self) -> Result<(), Errno> {
        match self {
            Self::Sandboxed(sandbox) => sandbox.leave(),
            Self::Plain(plain) => {
                plain.leave();
                Ok(())
            }
        }
    }

    /// Ends everything inside.
    pub(super) fn end(self) -> Result<(), Errno> {
        match self {
            Self::Sandboxed(sandbox) => sandbox.end().map(drop),
            Self::Plain(plain) => plain.end(),
        }
    }
}
