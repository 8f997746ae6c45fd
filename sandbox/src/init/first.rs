//! The process of the first step: forked and confined before the run is known, probes the sandbox, waits to be let go,
//! and executes the program.
//!
//! It does all of that before a claim needs it, so a claim costs little more than the execution. **Invariant:** it is
//! confined like every step before it probes, but for landlock, whose rules name the workspace; it restricts itself by
//! landlock before it executes. **Invariant:** it executes nothing when what was found is less than the level that the
//! run requires.

use std::convert::Infallible;
use std::os::fd::{AsFd as _, OwnedFd};

use landlock::RulesetCreated;
use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::unistd::Pid;

use super::messages::{self, Ended, Reply};
use super::script;
use super::steps::{self, StartError};
use super::{SetupFailure, confine};
use crate::clock::monotonic_ns;
use crate::level::LevelReport;
use crate::probes::inside::{self, Expected};
use crate::spec::{Isolation, Shape};
use crate::sys::channel;
use crate::sys::process::{self, Forked};

/// Init's side of the first process.
#[derive(Debug)]
pub(super) struct First {
    pub(super) pid: Pid,
    /// Carries what it says; ends when it executes or dies. The first message to it lets it go.
    pub(super) channel: OwnedFd,
}

/// What the first process is born with.
#[derive(Debug)]
pub(super) struct Birth<'a> {
    pub(super) shape: &'a Shape,
    pub(super) expected: &'a Expected,
    pub(super) script: &'a OwnedFd,
    pub(super) stdout: &'a OwnedFd,
    pub(super) stderr: &'a OwnedFd,
}

/// Forks it. `rules` are shared with it: a rule that init adds later holds for it, too.
pub(super) fn fork(birth: &Birth<'_>, rules: Option<&RulesetCreated>) -> Result<First, SetupFailure> {
    let failed = |errno| SetupFailure::call("first-process", "failed to fork", errno);
    let (ours, theirs) = channel::pair().map_err(failed)?;
    match process::fork(CloneFlags::empty()).map_err(failed)? {
        Forked::Child => {
            drop(ours);
            let said = match run(birth, rules, &theirs) {
                Ok(never) => match never {},
                Err(End::Silent) => Ok(()),
                Err(End::Said(reply)) => messages::send(theirs.as_fd(), &reply),
            };
            process::exit_now(if said.is_ok() { 127 } else { 126 })
        }
        Forked::Parent { pid, .. } => Ok(First { pid, channel: ours }),
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

fn run(birth: &Birth<'_>, rules: Option<&RulesetCreated>, channel: &OwnedFd) -> Result<Infallible, End> {
    let sandboxed = birth.shape.isolation == Isolation::Sandboxed;
    steps::become_plain(birth.stdout, birth.stderr).map_err(|errno| not_prepared("init", errno))?;
    let mut findings = Vec::new();
    if sandboxed {
        confine::give_up_capabilities().map_err(setup_failed)?;
        confine::install_filter(birth.shape.syscalls).map_err(setup_failed)?;
        findings = inside::probe(birth.expected);
    }
    messages::send(channel.as_fd(), &Reply::Probed { guarantees: findings.clone() })?;
    if channel::receive(channel.as_fd(), &mut [0; 1])?.0 == 0 {
        return Err(End::Silent);
    }
    let step = script::read(birth.script, 0).map_err(|error| {
        let errno = error.raw_os_error().map_or(Errno::EPROTO, Errno::from_raw);
        not_prepared("script", errno)
    })?;
    if let Some(rules) = rules {
        confine::restrict(rules).map_err(setup_failed)?;
    }
    let landlock = inside::landlock();
    findings.push(landlock.clone());
    if sandboxed && LevelReport::new(findings).level < birth.shape.required_level {
        return Err(End::Said(Reply::Refused { landlock }));
    }
    let ready = steps::ready_to_execute(&step);
    messages::send(channel.as_fd(), &Reply::Executing { landlock, at_ns: monotonic_ns() })?;
    let failed = ready.and_then(|()| steps::execute(&step));
    Err(End::Said(not_executed(failed)))
}

fn not_executed(failed: Result<Infallible, (steps::Stage, Errno)>) -> Reply {
    let message = match failed {
        Err(failed) => StartError::from(failed).to_string(),
        Ok(never) => match never {},
    };
    Reply::StepEnded { index: 0, ended: Ended::NotExecuted { message } }
}

fn not_prepared(step: &str, errno: Errno) -> End {
    setup_failed(SetupFailure::call(step, "failed to prepare the first process", errno))
}

fn setup_failed(failure: SetupFailure) -> End {
    let SetupFailure { step, message, hint } = failure;
    End::Said(Reply::SetupFailed { step, message, hint })
}
