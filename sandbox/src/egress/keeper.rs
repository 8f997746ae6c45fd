//! The process that keeps the listeners of a run and has a proxy serve them.
//!
//! Forked early, while everything of the host is still in reach: the shim itself may move to where neither the host's
//! network nor its resolver is. It has one thread and reads nothing that the run sends; when a proxy dies, connections
//! wait in the listeners until the next one serves them. **Invariant:** it ends when the shim closes the channel, and
//! every proxy with it. **Invariant:** a proxy that dies again and again is left dead, and the listeners are closed.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use nix::sys::signal::Signal;
use nix::sys::socket::{MsgFlags, send};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::getpid;

use super::confine::confine;
use super::listen::roles;
use super::policy::EgressPolicy;
use super::proxy;
use super::record::{Packet, encode};
use crate::sys::process::{self, Forked};
use crate::sys::{channel, descriptors};

/// Most proxies of one run.
const PROXIES_MAX: u8 = 6;

/// Runs as the keeper of a run with `policy` and never returns. The listeners come over `listeners`; records go to
/// `channel`, whose end is the end of this.
pub(super) fn main(policy: &EgressPolicy, listeners: OwnedFd, channel: &OwnedFd) -> ! {
    let outcome = catch_unwind(AssertUnwindSafe(|| keep(policy, listeners, channel)));
    process::exit_now(i32::from(!matches!(outcome, Ok(Ok(())))))
}

/// Why the listeners of a run are not served.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("failed to confine the keeper")]
    Confine(#[source] super::confine::ConfineError),
    #[error("failed to keep listeners: {}", .0.desc())]
    Call(#[from] Errno),
    #[error("the listeners are not those of the policy")]
    Listeners,
}

fn keep(policy: &EgressPolicy, listeners: OwnedFd, channel: &OwnedFd) -> Result<(), KeepError> {
    descriptors::close_all_but(&[listeners.as_raw_fd(), channel.as_raw_fd()])?;
    confine(policy).map_err(KeepError::Confine)?;
    if !wait(&listeners, channel)? {
        return Ok(());
    }
    let (_, received) = channel::receive(listeners.as_fd(), &mut [0; 16])?;
    drop(listeners);
    let roles = roles(policy);
    if received.len() != roles.len() {
        return Err(KeepError::Listeners);
    }
    for generation in 0..PROXIES_MAX {
        let keeper = getpid();
        let proxy = match process::fork(CloneFlags::empty())? {
            Forked::Child => {
                let listeners = roles.into_iter().zip(received).collect();
                proxy::main(policy, listeners, channel, proxy::Birth { keeper, generation })
            }
            Forked::Parent { pidfd, .. } => pidfd,
        };
        let died = wait(&proxy, channel)?;
        // Whether it has died or its time is over.
        process::signal_pidfd(proxy.as_fd(), Signal::SIGKILL)?;
        while waitid(Id::PIDFd(proxy.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::__WALL) == Err(Errno::EINTR) {}
        if !died {
            return Ok(());
        }
        say_ended(channel, generation + 1 < PROXIES_MAX);
    }
    drop(received);
    // Nothing is left to be done; but the shim takes the end of this process for a failure.
    wait(channel, channel).map(drop).map_err(KeepError::Call)
}

/// Waits until `fd` is readable; `false` when `channel` ends first.
fn wait(fd: &OwnedFd, channel: &OwnedFd) -> Result<bool, Errno> {
    loop {
        let mut fds = [PollFd::new(channel.as_fd(), PollFlags::POLLIN), PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno),
        }
        // The shim says nothing on it, so whatever happens there is its end.
        let [ended, ready] = fds.map(|fd| fd.any().unwrap_or(true));
        if ended || ready {
            return Ok(!ended);
        }
    }
}

/// Tells the shim that a proxy died. If there is no room for it, the shim is drowned in records and will not miss it.
fn say_ended(channel: &OwnedFd, replaced: bool) {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    match send(channel.as_raw_fd(), &encode(&Packet::Ended { replaced }), flags) {
        Ok(_) | Err(_) => {}
    }
}
