//! The process of the first step: forked before the view is built and before the run is known.
//!
//! Beside init, which builds the view, it makes the network and confines itself; then it probes the sandbox, waits to be
//! let go, and executes the program. So a claim costs little more than the execution, and building on two processors takes
//! as long as its longer half. **Invariant:** it is confined like every step before it probes, but for landlock, whose rules
//! name the workspace; it restricts itself by landlock before it executes. **Invariant:** it executes nothing when what was
//! found is less than the level that the run requires.

use std::convert::Infallible;
use std::os::fd::{AsFd as _, OwnedFd};

use landlock::RulesetCreated;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::stat::Mode;
use nix::unistd::{Pid, chdir};

use super::messages::{self, Ended, MESSAGE_BYTES_MAX, Reply};
use super::script;
use super::steps::{self, StartError};
use super::{Orders, SetupFailure, confine};
use crate::clock::monotonic_ns;
use crate::level::{Guarantee, LevelReport};
use crate::probes::inside;
use crate::sys::process::{self, Forked};
use crate::sys::{channel, interface, memory, ruleset};

/// Init's side of the first process.
#[derive(Debug)]
pub(super) struct First {
    pub(super) pid: Pid,
    /// Carries what it says; ends when it executes or dies.
    pub(super) channel: OwnedFd,
}

/// Forks it.
pub(super) fn fork(orders: &Orders<'_>) -> Result<First, SetupFailure> {
    let failed = |errno| SetupFailure::call("first-process", "failed to fork", errno);
    let (ours, theirs) = channel::pair().map_err(failed)?;
    match process::fork(CloneFlags::empty()).map_err(failed)? {
        Forked::Child => {
            drop(ours);
            let said = match run(orders, &theirs) {
                Ok(never) => match never {},
                Err(End::Silent) => Ok(()),
                Err(End::Said(reply)) => messages::send(theirs.as_fd(), &reply),
            };
            process::exit_now(if said.is_ok() { 127 } else { 126 })
        }
        Forked::Parent { pid, .. } => Ok(First { pid, channel: ours }),
    }
}

impl First {
    /// Moves this process into the network that the first process has made.
    pub(super) fn join_network(&self) -> Result<(), SetupFailure> {
        let failed = |errno| SetupFailure::call("network", "failed to enter the network of the run", errno);
        let mut buffer = [0; MESSAGE_BYTES_MAX];
        let (len, descriptors) = channel::receive(self.channel.as_fd(), &mut buffer).map_err(failed)?;
        match (descriptors.first(), serde_json::from_slice(&buffer[..len])) {
            (Some(network), _) => setns(network, CloneFlags::CLONE_NEWNET).map_err(failed),
            (None, Ok(Reply::SetupFailed { step, message, hint })) => Err(SetupFailure { step, message, hint }),
            (None, _) => Err(failed(Errno::EPROTO)),
        }
    }

    /// Tells the first process that the view stands, and so that it can be probed.
    pub(super) fn show_view(&self) -> Result<(), SetupFailure> {
        channel::send(self.channel.as_fd(), b"view", &[])
            .map_err(|errno| SetupFailure::call("first-process", "failed to show the view to the first process", errno))
    }

    /// Lets it execute the first step under `rules` for its files, where the kernel has landlock; `limits` are guarantees
    /// that it cannot find out by itself.
    pub(super) fn let_go(&self, limits: &[Guarantee], rules: Option<&RulesetCreated>) -> Result<(), Errno> {
        let rules = rules.map(RulesetCreated::try_clone).transpose().map_err(|_| Errno::EMFILE)?;
        let rules: Option<OwnedFd> = rules.and_then(Into::into);
        let descriptors: Vec<_> = rules.iter().map(OwnedFd::as_fd).collect();
        messages::send_with(self.channel.as_fd(), &limits, &descriptors)
    }
}

/// How it ends without executing its program.
enum End {
    /// Nobody needs it, or nobody listens.
    Silent,
    /// With these words.
    Said(Reply),
}

impl From<Errno> for End {
    /// Its channel is gone, and with it whoever could be told.
    fn from(_: Errno) -> Self {
        Self::Silent
    }
}

fn run(orders: &Orders<'_>, channel: &OwnedFd) -> Result<Infallible, End> {
    steps::become_plain(&orders.stdout, &orders.stderr).map_err(|errno| not_prepared("init", errno))?;
    confine_early(orders, channel)?;
    wait_for_word(channel)?;
    // The directory where it was born may still be one of the host.
    chdir("/").and_then(|()| confine::null_stdin()).map_err(|errno| not_prepared("init", errno))?;
    let mut findings = inside::probe(orders.expected);
    if orders.pauses {
        memory::fault_in();
    }
    messages::send(channel.as_fd(), &Reply::Probed { guarantees: findings.clone() })?;
    let (limits, mut rules) = wait_for_word(channel)?;
    let limits: Vec<Guarantee> = serde_json::from_slice(&limits).map_err(|_| Errno::EPROTO)?;
    let step = script::read(&orders.script, 0).map_err(|error| {
        let errno = error.raw_os_error().map_or(Errno::EPROTO, Errno::from_raw);
        not_prepared("script", errno)
    })?;
    if let Some(rules) = rules.pop() {
        ruleset::restrict_self(rules.as_fd()).map_err(|errno| not_prepared("landlock", errno))?;
    }
    let landlock = inside::landlock();
    findings.retain(|found| limits.iter().all(|limit| limit.kind != found.kind));
    findings.extend(limits);
    findings.push(landlock.clone());
    if LevelReport::new(findings).level < orders.shape.required_level {
        return Err(End::Said(Reply::Refused { landlock }));
    }
    let ready = steps::ready_to_execute(&step);
    messages::send(channel.as_fd(), &Reply::Executing { landlock, at_ns: monotonic_ns() })?;
    let failed = ready.and_then(|()| steps::execute(&step.programs, &step.image()));
    Err(End::Said(not_executed(failed)))
}

/// Does what needs no view: makes the network and gives up everything but files.
fn confine_early(orders: &Orders<'_>, channel: &OwnedFd) -> Result<(), End> {
    if orders.makes_network {
        let network = make_network().map_err(|errno| {
            setup_failed(SetupFailure::call("network", "failed to make the network of the run", errno))
        })?;
        channel::send(channel.as_fd(), b"network", &[network.as_fd()])?;
    }
    prctl::set_dumpable(false).map_err(|errno| not_prepared("init", errno))?;
    confine::give_up_for_good().map_err(setup_failed)?;
    confine::give_up_capabilities().map_err(setup_failed)?;
    confine::install_filter(orders.shape.syscalls).map_err(setup_failed)
}

/// A network namespace with nothing but a loopback, which this process moves into.
fn make_network() -> Result<OwnedFd, Errno> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    interface::loopback_up()?;
    open("/proc/self/ns/net", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
}

/// Waits until init says a word; returns it with what came with it.
fn wait_for_word(channel: &OwnedFd) -> Result<(Vec<u8>, Vec<OwnedFd>), End> {
    let mut buffer = [0; MESSAGE_BYTES_MAX];
    match channel::receive(channel.as_fd(), &mut buffer)? {
        (0, _) => Err(End::Silent),
        (len, descriptors) => Ok((buffer[..len].to_vec(), descriptors)),
    }
}

fn not_executed(failed: Result<Infallible, (steps::Stage, Errno)>) -> Reply {
    let message = match failed {
        Err(failed) => StartError::from(failed).to_string(),
        Ok(never) => match never {},
    };
    Reply::StepEnded { index: 0, ended: Ended::NotExecuted { message }, alone: false }
}

fn not_prepared(step: &str, errno: Errno) -> End {
    setup_failed(SetupFailure::call(step, "failed to prepare the first process", errno))
}

fn setup_failed(failure: SetupFailure) -> End {
    let SetupFailure { step, message, hint } = failure;
    End::Said(Reply::SetupFailed { step, message, hint })
}
