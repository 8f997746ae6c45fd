//! The shim's end of its proxy: starts it, reads what it says, ends it.
//!
//! **Invariant:** neither keeper nor proxy outlives this.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use nix::sys::signal::Signal;
use nix::sys::socket::{MsgFlags, Shutdown, recv, shutdown};
use nix::sys::wait::{Id, WaitPidFlag, waitid};

use super::keeper;
use super::ledger::Ledger;
use super::policy::EgressPolicy;
use super::record::{self, Packet};
use crate::log::ControlEvent;
use crate::sys::channel;
use crate::sys::process::{self, Forked};

/// Most records that are read before the shim looks after something else.
const RECORDS_AT_ONCE_MAX: usize = 256;
/// Longest wait for the keeper to end by itself.
const END_WAIT: Duration = Duration::from_secs(2);

/// The proxy of a run.
#[derive(Debug)]
pub(crate) struct Proxy {
    keeper: Option<Keeper>,
    ledger: Ledger,
}

#[derive(Debug)]
struct Keeper {
    pidfd: OwnedFd,
    channel: OwnedFd,
}

/// What reading has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// There is no more for now.
    Nothing,
    /// There may be more.
    Enough,
    /// The other side is gone, or is not what was started.
    End,
}

impl Proxy {
    /// Starts the proxy of a run with `policy`. Call this in a process with one thread, where names are resolved and hosts
    /// are reached as on the host. The descriptor is for [`super::listen`], which hands over what the proxy is to serve.
    pub(crate) fn start(policy: &EgressPolicy) -> Result<(Self, OwnedFd), Errno> {
        let (ours, theirs) = channel::pair()?;
        let (give, take) = channel::pair()?;
        match process::fork(CloneFlags::empty())? {
            Forked::Child => keeper::main(policy, take, &theirs),
            Forked::Parent { pidfd, .. } => {
                let keeper = Some(Keeper { pidfd, channel: ours });
                Ok((Self { keeper, ledger: Ledger::default() }, give))
            }
        }
    }

    /// Readable when there is something for [`Self::take`]; `None` when no proxy is left.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.keeper.as_ref().map(|keeper| keeper.channel.as_fd())
    }

    /// When [`Self::take`] has something to do without a readable descriptor.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.ledger.deadline()
    }

    /// Takes what the proxy has said, without waiting. The events are to be logged.
    pub(crate) fn take(&mut self, now: Instant) -> Vec<ControlEvent> {
        let mut events = self.ledger.flush(now);
        if self.read(now, &mut events) == Read::End {
            self.kill();
            events.push(ControlEvent::EgressProxyEnded { replaced: false });
        }
        events
    }

    /// Ends the proxy and with it every connection of the run. The events are to be logged.
    pub(crate) fn end(mut self, now: Instant) -> Vec<ControlEvent> {
        let mut events = Vec::new();
        if let Some(keeper) = &self.keeper
            && shutdown(keeper.channel.as_raw_fd(), Shutdown::Write).is_ok()
        {
            let deadline = Instant::now() + END_WAIT;
            while self.read(now, &mut events) != Read::End && self.wait_for_more(deadline) {}
        }
        self.kill();
        events.extend(self.ledger.end_window());
        events
    }

    /// Reads a number of packets.
    fn read(&mut self, now: Instant, events: &mut Vec<ControlEvent>) -> Read {
        let Some(keeper) = &self.keeper else { return Read::Nothing };
        let mut packet = [0; record::PACKET_BYTES_MAX];
        for _ in 0..RECORDS_AT_ONCE_MAX {
            match recv(keeper.channel.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return Read::End,
                Ok(length) => match record::decode(&packet[..length]) {
                    Some(Packet::Record(record)) => events.extend(self.ledger.add(record, now)),
                    Some(Packet::Ended { replaced }) => events.push(ControlEvent::EgressProxyEnded { replaced }),
                    None => return Read::End,
                },
                Err(Errno::EAGAIN) => return Read::Nothing,
                Err(Errno::EINTR) => {}
                Err(_) => return Read::End,
            }
        }
        Read::Enough
    }

    /// Waits until there is more to read; `false` when it takes too long.
    fn wait_for_more(&self, deadline: Instant) -> bool {
        let Some(fd) = self.fd() else { return false };
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO)) {
            Ok(ready) => ready > 0,
            Err(errno) => errno == Errno::EINTR,
        }
    }

    /// Makes sure of the end; the proxy dies with its keeper.
    fn kill(&mut self) {
        let Some(keeper) = self.keeper.take() else { return };
        let pidfd = keeper.pidfd.as_fd();
        // Neither can fail for a child that nobody else waits for, and nothing is left to be done if it does.
        if process::signal_pidfd(pidfd, Signal::SIGKILL).is_ok() {
            while waitid(Id::PIDFd(pidfd), WaitPidFlag::WEXITED | WaitPidFlag::__WALL) == Err(Errno::EINTR) {}
        }
    }
}
