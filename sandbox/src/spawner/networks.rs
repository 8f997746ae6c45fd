//! Network namespaces that are ready to be used, made ahead because making one is most of what a sandbox costs.
//!
//! One process makes them: whoever makes one leaves the host's network for good. Each is used once.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use crate::sys::process::{self, Forked};
use crate::sys::{channel, descriptors, interface};

/// The network namespaces of a spawner.
#[derive(Debug)]
pub(super) struct Networks {
    ready: Vec<OwnedFd>,
    /// How many there shall be.
    wanted: usize,
    /// How many have been asked for and have not come.
    ordered: usize,
    /// To the process that makes them; it ends with this.
    maker: Option<OwnedFd>,
    maker_pid: Option<Pid>,
}

impl Networks {
    /// Starts the process that makes them, and orders `wanted` of them.
    pub(super) fn start(wanted: usize) -> Self {
        let (maker, maker_pid) = if wanted > 0 { start_maker().ok() } else { None }.unzip();
        let mut networks = Self { ready: Vec::new(), wanted, ordered: 0, maker, maker_pid };
        networks.refill();
        networks
    }

    /// The process that makes them, if there is one.
    pub(super) fn maker(&self) -> Option<Pid> {
        self.maker_pid
    }

    /// Takes one that is ready.
    pub(super) fn take(&mut self) -> Option<OwnedFd> {
        self.ready.pop()
    }

    /// Orders what is missing.
    pub(super) fn refill(&mut self) {
        while let Some(maker) = self.maker.as_ref().filter(|_| self.ready.len() + self.ordered < self.wanted) {
            match channel::send(maker.as_fd(), b"+", &[]) {
                Ok(()) => self.ordered += 1,
                Err(_) => self.maker = None,
            }
        }
    }

    /// Readable when one has come, or when none will come any more.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.maker.as_ref().map(OwnedFd::as_fd)
    }

    /// Takes in one that has come.
    pub(super) fn receive(&mut self) {
        let Some(maker) = &self.maker else { return };
        match channel::receive(maker.as_fd(), &mut [0; 8]) {
            Ok((1.., mut received)) => {
                self.ordered = self.ordered.saturating_sub(1);
                self.ready.extend(received.pop());
            }
            // Without its maker runs make their own.
            Ok((0, _)) | Err(_) => self.maker = None,
        }
    }
}

fn start_maker() -> Result<(OwnedFd, Pid), Errno> {
    let (ours, theirs) = channel::pair()?;
    match process::fork(CloneFlags::empty())? {
        Forked::Child => {
            let made = descriptors::close_all_but(&[theirs.as_raw_fd()]).and_then(|()| make_on_order(&theirs));
            process::exit_now(i32::from(made.is_err()))
        }
        Forked::Parent { pid, .. } => Ok((ours, pid)),
    }
}

fn make_on_order(orders: &OwnedFd) -> Result<(), Errno> {
    loop {
        if channel::receive(orders.as_fd(), &mut [0; 8])?.0 == 0 {
            return Ok(());
        }
        unshare(CloneFlags::CLONE_NEWNET)?;
        interface::loopback_up()?;
        let network = open("/proc/self/ns/net", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        channel::send(orders.as_fd(), b"+", &[network.as_fd()])?;
    }
}
