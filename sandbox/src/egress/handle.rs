//! The shim's end of its proxy: starts it, hands it the listeners, reads its records, and starts it anew if it dies.
//!
//! The shim keeps the listeners, so connections wait in them while there is no proxy; a proxy that dies again and again
//! is left dead, and the listeners are closed with it. **Invariant:** no proxy outlives this.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::signal::Signal;
use nix::sys::socket::{MsgFlags, recv};
use nix::sys::wait::{Id, WaitPidFlag, waitid};

use super::ledger::Ledger;
use super::policy::EgressPolicy;
use super::{proxy, record};
use crate::log::ControlEvent;
use crate::sys::channel;
use crate::sys::process::{self, Forked};

/// Most proxies of one run.
const PROXIES_MAX: u8 = 6;
/// Most records that are read before the shim looks after something else.
const RECORDS_AT_ONCE_MAX: usize = 256;

/// The proxy of a run.
#[derive(Debug)]
pub(crate) struct Proxy {
    policy: EgressPolicy,
    process: Option<Process>,
    listeners: Vec<OwnedFd>,
    /// How many processes there have been.
    started: u8,
    ledger: Ledger,
}

#[derive(Debug)]
struct Process {
    pidfd: OwnedFd,
    channel: OwnedFd,
}

impl Process {
    fn start(policy: &EgressPolicy, generation: u8) -> Result<Self, Errno> {
        let (channel, theirs) = channel::pair()?;
        match process::fork(CloneFlags::empty())? {
            Forked::Child => proxy::main(policy, theirs, generation),
            Forked::Parent { pidfd, .. } => Ok(Self { pidfd, channel }),
        }
    }

    /// Ends the process; its sockets are closed when this returns.
    fn end(self) {
        let pidfd = self.pidfd.as_fd();
        // Neither can fail for a child that nobody else waits for, and nothing is left to be done if it does.
        if process::signal_pidfd(pidfd, Signal::SIGKILL).is_ok() {
            while waitid(Id::PIDFd(pidfd), WaitPidFlag::WEXITED | WaitPidFlag::__WALL) == Err(Errno::EINTR) {}
        }
    }
}

impl Proxy {
    /// Starts the proxy of a run with `policy`; it waits for its listeners. Call this on the host's side, in a process
    /// with one thread.
    pub(crate) fn start(policy: &EgressPolicy) -> Result<Self, Errno> {
        let process = Some(Process::start(policy, 0)?);
        Ok(Self { policy: policy.clone(), process, listeners: Vec::new(), started: 1, ledger: Ledger::default() })
    }

    /// Hands over the listeners that [`super::listen`] made inside.
    pub(crate) fn serve(&mut self, listeners: Vec<OwnedFd>) -> Result<(), Errno> {
        self.listeners = listeners;
        self.hand_over()
    }

    /// Readable when there is something for [`Self::take`]; `None` when no proxy is left.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.process.as_ref().map(|process| process.channel.as_fd())
    }

    /// When [`Self::take`] has something to do without a readable descriptor.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.ledger.deadline()
    }

    /// Takes what the proxy has said, without waiting, and looks after it. The events are to be logged.
    pub(crate) fn take(&mut self, now: Instant) -> Vec<ControlEvent> {
        let mut events = self.ledger.flush(now);
        if !self.read(now, RECORDS_AT_ONCE_MAX, &mut events) {
            events.push(self.replace());
        }
        events
    }

    /// Ends the proxy and with it every connection of the run. The events are to be logged.
    pub(crate) fn end(mut self, now: Instant) -> Vec<ControlEvent> {
        let mut events = Vec::new();
        // Whatever arrived before the end still counts; a proxy that goes on talking is not listened to for ever.
        self.read(now, 4 * RECORDS_AT_ONCE_MAX, &mut events);
        self.stop();
        events.extend(self.ledger.end_window());
        events
    }

    /// Reads at most `most` records; `false` when the proxy is gone.
    fn read(&mut self, now: Instant, most: usize, events: &mut Vec<ControlEvent>) -> bool {
        let Some(process) = &self.process else { return true };
        let mut packet = [0; record::PACKET_BYTES_MAX];
        for _ in 0..most {
            match recv(process.channel.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return false,
                Ok(length) => match record::decode(&packet[..length]) {
                    Some(record) => events.extend(self.ledger.add(record, now)),
                    // It is not what was started.
                    None => return false,
                },
                Err(Errno::EAGAIN) => return true,
                Err(Errno::EINTR) => {}
                Err(_) => return false,
            }
        }
        true
    }

    /// Puts a new proxy in the place of one that died or talks nonsense.
    fn replace(&mut self) -> ControlEvent {
        self.stop();
        if self.started < PROXIES_MAX {
            self.process = Process::start(&self.policy, self.started).ok();
            self.started += 1;
        }
        let replaced = self.process.is_some() && (self.listeners.is_empty() || self.hand_over().is_ok());
        if !replaced {
            // Whoever waits in them is refused rather than left waiting.
            self.stop();
            self.listeners.clear();
        }
        ControlEvent::EgressProxyEnded { replaced }
    }

    fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.end();
        }
    }

    fn hand_over(&self) -> Result<(), Errno> {
        let process = self.process.as_ref().ok_or(Errno::ESRCH)?;
        let listeners: Vec<_> = self.listeners.iter().map(OwnedFd::as_fd).collect();
        channel::send(process.channel.as_fd(), b"L", &listeners)
    }
}
