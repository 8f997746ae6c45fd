//! Pid 1 of a run in a sandbox: builds the sandbox around itself, waits for the run that claims it, then starts, stops and kills steps
//! as the shim says.
//!
//! Knows how to run a step, not which; the shim decides everything. **Invariant:** every process of the run is a
//! descendant that is confined before it executes anything. **Invariant:** from the claim on, init holds no capability.
//! **Invariant:** init holds one descriptor that leads outside, its channel; no step inherits it. (That of its own score for
//! when memory runs out is on the `/proc` outside, and leads to init alone.) **Invariant:** when the channel closes, everything
//! inside dies.

mod claim;
mod confine;
mod first;
mod messages;
mod namespaces;
pub(crate) mod reap;
mod script;
mod secrets;
pub(crate) mod steps;

use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, OwnedFd};

use landlock::RulesetCreated;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

pub(crate) use confine::null_stdin;
pub(crate) use messages::{Ended, MESSAGE_BYTES_MAX, Reply, Request, send_with};
pub(crate) use namespaces::{HostIds, NAMESPACES, OOM_SCORE_OF_STEPS, OomScore, map_ids, pid_namespace_bound};
pub(crate) use script::{Prepared, create as create_script, prepare as prepare_step, write as write_script};

use crate::egress::{self, Egress};
use crate::listeners;
use crate::probes::inside::Expected;
use crate::spec::Shape;
use crate::sys::{channel, descriptors, memory, process};
use crate::view::{BuildError, Directories, Entry, OwnMounts, Trees};
use first::First;
use reap::Next;

/// The user and group id inside.
pub(crate) const INSIDE_ID: u32 = 1000;

/// What init is told before it starts.
#[derive(Debug)]
pub(crate) struct Orders<'a> {
    /// What kind of run it will be.
    pub(crate) shape: &'a Shape,
    /// Who the shim is.
    pub(crate) host: HostIds,
    /// What the probes compare with.
    pub(crate) expected: &'a Expected,
    /// What it finds where it is born.
    pub(crate) footing: Footing,
    /// Whether its network namespace is new and its own to set up.
    pub(crate) makes_network: bool,
    /// Whether there is a pause before the claim.
    pub(crate) pauses: bool,
    /// The file that will say what the steps execute.
    pub(crate) script: OwnedFd,
    /// Where the listeners of the proxy go, if the run has one.
    pub(crate) proxy: Option<OwnedFd>,
    /// Output of the first step.
    pub(crate) stdout: OwnedFd,
    /// Errors of the first step.
    pub(crate) stderr: OwnedFd,
}

/// What init finds where it is born.
#[derive(Debug)]
pub(crate) enum Footing {
    /// The host's view: it makes its own from nothing and opens the directories of the run itself.
    Host { entries: Vec<Entry>, directories: Directories },
    /// A view that lacks only what each run has of its own.
    Template { own: OwnMounts },
}

/// Runs as init and never returns.
pub(crate) fn main(orders: Orders<'_>, channel: OwnedFd) -> ! {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(orders, channel)));
    let code = i32::from(!matches!(outcome, Ok(Ok(()))));
    process::exit_now(code)
}

/// A part of the sandbox that could not be built.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct SetupFailure {
    pub(crate) step: String,
    pub(crate) message: String,
    pub(crate) hint: String,
}

impl SetupFailure {
    /// A failed call named `what` in the part `step`.
    pub(crate) fn call(step: &str, what: &str, errno: Errno) -> Self {
        Self { step: step.to_owned(), message: format!("{what}: {}", errno.desc()), hint: hint(step, errno) }
    }
}

impl From<BuildError> for SetupFailure {
    fn from(error: BuildError) -> Self {
        let step = error.step().to_owned();
        match error.errno() {
            Some(errno) => Self::call(&step, &error.to_string(), errno),
            None => Self { step, message: error.to_string(), hint: String::new() },
        }
    }
}

/// What a person can do about `errno` in the part `step`; empty when nothing is known.
fn hint(step: &str, errno: Errno) -> String {
    let text = match (step, errno) {
        ("mount-proc", Errno::EPERM | Errno::EACCES) => {
            "the host's /proc is partly covered, as in a container; give the container an uncovered one \
             (docker run --security-opt systempaths=unconfined, podman run --security-opt unmask=ALL)"
        }
        (_, Errno::ENOSYS) => "the kernel is too old: Linux 5.12 or newer is needed",
        ("mount-workspace" | "mount-out", Errno::ELOOP) => {
            "there is a symlink in the path: pass the path that it leads to"
        }
        ("mount-workspace" | "mount-out", Errno::ENOENT) => "the directory must exist before the run starts",
        ("uid-map" | "network" | "mount-system" | "make-root", Errno::EPERM | Errno::EACCES) => {
            "user namespaces have no capabilities here: on Ubuntu install an AppArmor profile that allows `userns`, or \
             run: sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        }
        (name, Errno::ELOOP) if name.starts_with("mount ") => {
            "there is a symlink in the path of the source: pass the path that it leads to"
        }
        _ => "",
    };
    text.to_owned()
}

fn run(orders: Orders<'_>, channel: OwnedFd) -> Result<(), Errno> {
    match set_up(orders, channel) {
        Ok(mut init) => {
            let served = init.serve();
            init.kill_all()?;
            served
        }
        Err((channel, failure)) => tell_failure(channel.as_fd(), failure),
    }
}

fn tell_failure(channel: BorrowedFd<'_>, failure: SetupFailure) -> Result<(), Errno> {
    let SetupFailure { step, message, hint } = failure;
    messages::send(channel, &Reply::SetupFailed { step, message, hint })
}

/// Builds the sandbox around this process and forks the first process.
fn set_up(orders: Orders<'_>, channel: OwnedFd) -> Result<Init<'_>, (OwnedFd, SetupFailure)> {
    match build(&orders, channel.as_fd()) {
        Ok(built) => {
            let Orders { shape, script, footing, pauses, .. } = orders;
            // The ends of the first step's streams close here: only the step holds them now.
            let Built { children, trees, rules, first, score } = built;
            drop(footing);
            if pauses {
                memory::fault_in();
            }
            let first = Some(first);
            Ok(Init { shape, children, channel, script, trees, rules, first, score, current: None })
        }
        Err(failure) => Err((channel, failure)),
    }
}

/// What building makes.
#[derive(Debug)]
struct Built {
    children: SignalFd,
    trees: Option<Trees>,
    rules: Option<RulesetCreated>,
    first: First,
    score: OomScore,
}

fn build(orders: &Orders<'_>, channel: BorrowedFd<'_>) -> Result<Built, SetupFailure> {
    let failed = |what: &'static str| move |errno| SetupFailure::call("init", what, errno);
    let kept = [channel, orders.script.as_fd(), orders.stdout.as_fd(), orders.stderr.as_fd()];
    let mut keep: Vec<_> = kept.iter().map(AsRawFd::as_raw_fd).collect();
    keep.extend(orders.proxy.as_ref().map(AsRawFd::as_raw_fd));
    if let Footing::Template { own } = &orders.footing {
        keep.extend(own.descriptors().map(|fd| fd.as_raw_fd()));
    }
    descriptors::close_all_but(&keep).map_err(failed("failed to close the descriptors of the shim"))?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    steps::limit_all().map_err(failed("failed to set the limits of the run"))?;
    // A shell ignores some for what it starts behind itself, and steps would inherit that. Writing to nobody stays an error.
    process::default_dispositions(Signal::SIGPIPE);
    let children = child_signals().map_err(failed("failed to take over signals"))?;
    namespaces::settle(orders)?;
    let first = first::fork(orders)?;
    let score = OomScore::open();
    score.set(namespaces::OOM_SCORE_OF_INIT);
    let trees = namespaces::build_view(orders)?;
    if orders.makes_network {
        first.join_network()?;
    }
    listen(orders, channel)?;
    confine::seal()?;
    // It probes while this process prepares the rest.
    first.show_view()?;
    let rules = Some(confine::prepare(orders.shape)?);
    Ok(Built { children, trees, rules, first, score })
}

/// Makes what the run finds listening, while this process may still take ports and change routes, and passes it out.
fn listen(orders: &Orders<'_>, channel: BorrowedFd<'_>) -> Result<(), SetupFailure> {
    let failed = |what: &'static str| move |errno| SetupFailure::call("listeners", what, errno);
    if let (Egress::Allow(policy), Some(proxy)) = (&orders.shape.egress, &orders.proxy) {
        egress::listen(policy, proxy.as_fd()).map_err(failed("failed to make the listeners of the proxy"))?;
    }
    if !orders.shape.listeners.is_empty() {
        let made =
            listeners::make(&orders.shape.listeners).map_err(failed("failed to make the listeners of the run"))?;
        let passed: Vec<_> = made.iter().map(OwnedFd::as_fd).collect();
        messages::send_with(channel, &Reply::Listening, &passed).map_err(failed("failed to pass the listeners out"))?;
    }
    Ok(())
}

/// Blocks the signal of ended children and makes it readable.
pub(crate) fn child_signals() -> Result<SignalFd, Errno> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

#[derive(Debug)]
struct Init<'a> {
    shape: &'a Shape,
    children: SignalFd,
    channel: OwnedFd,
    script: OwnedFd,
    /// The directories of the run, if they were opened before the claim.
    trees: Option<Trees>,
    /// What steps may do to files.
    rules: Option<RulesetCreated>,
    /// The first process, until it executes or dies.
    first: Option<First>,
    score: OomScore,
    current: Option<Current>,
}

/// The step that runs.
#[derive(Debug, Clone, Copy)]
struct Current {
    index: u16,
    pid: Pid,
}

impl Init<'_> {
    /// Serves requests until the channel closes.
    fn serve(&mut self) -> Result<(), Errno> {
        let mut buffer = [0; MESSAGE_BYTES_MAX];
        loop {
            let mut fds = vec![
                PollFd::new(self.channel.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.children.as_fd(), PollFlags::POLLIN),
            ];
            fds.extend(self.first.as_ref().map(|first| PollFd::new(first.channel.as_fd(), PollFlags::POLLIN)));
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
            let ready = |index: usize| fds.get(index).is_some_and(|fd| fd.any().unwrap_or(true));
            let (requests, ended, said) = (ready(0), ready(1), ready(2));
            // What the first process said comes before the news of its end.
            if said {
                self.hear_first(&mut buffer)?;
            }
            if ended {
                while self.children.read_signal()?.is_some() {}
                self.reap()?;
            }
            if requests {
                let (len, descriptors) = channel::receive(self.channel.as_fd(), &mut buffer)?;
                if len == 0 {
                    return Ok(());
                }
                let request = serde_json::from_slice(&buffer[..len]).map_err(|_| Errno::EPROTO)?;
                self.handle(request, descriptors)?;
            }
        }
    }

    /// Passes on what the first process says.
    fn hear_first(&mut self, buffer: &mut [u8]) -> Result<(), Errno> {
        let Some(first) = &self.first else { return Ok(()) };
        match channel::receive(first.channel.as_fd(), buffer) {
            Ok((0, _)) | Err(Errno::ECONNRESET) => {
                self.first = None;
                Ok(())
            }
            Ok((len, _)) => channel::send(self.channel.as_fd(), &buffer[..len], &[]),
            Err(errno) => Err(errno),
        }
    }

    fn handle(&mut self, request: Request, descriptors: Vec<OwnedFd>) -> Result<(), Errno> {
        match request {
            Request::Claim { name, secret_files, limits, lend_tmpfs } => {
                if let Err(failure) = self.claim(&name, &secret_files, descriptors, &limits) {
                    tell_failure(self.channel.as_fd(), failure)?;
                    // The first process may be on its way already, and init without its filter.
                    return Err(Errno::ECANCELED);
                }
                if lend_tmpfs { self.lend_tmpfs() } else { Ok(()) }
            }
            Request::StartStep { index } => {
                let [stdout, stderr] = <[OwnedFd; 2]>::try_from(descriptors).map_err(|_| Errno::EPROTO)?;
                self.start_step(index, stdout, stderr)
            }
            Request::KillAll => {
                self.kill_all()?;
                self.reply(&Reply::KilledAll)
            }
            Request::Stop => {
                let all = reap::stop_all()?;
                self.reply(&Reply::Stopped { all })
            }
            Request::Continue => reap::signal_all(Signal::SIGCONT),
        }
    }

    fn start_step(&mut self, index: u16, stdout: OwnedFd, stderr: OwnedFd) -> Result<(), Errno> {
        let started = match script::read(&self.script, index) {
            Ok(step) => steps::start(&step, self.rules.as_ref(), (stdout, stderr), &self.score)
                .map_err(|failure| failure.to_string()),
            Err(error) => Err(format!("failed to read what to execute: {error}")),
        };
        match started {
            Ok(pid) => {
                self.current = Some(Current { index, pid });
                Ok(())
            }
            Err(message) => {
                self.reply(&Reply::StepEnded { index, ended: Ended::NotExecuted { message }, alone: false })
            }
        }
    }

    /// Collects every child that has ended without waiting for one, and says if the step was among them.
    fn reap(&mut self) -> Result<(), Errno> {
        let mut step = None;
        let alone = loop {
            match reap::next(reap::Wait::No)? {
                Next::Ended(pid, ended) => step = self.ended(pid, ended)?.or(step),
                Next::NoneYet => break false,
                Next::NoChild => break true,
            }
        };
        match step {
            Some((index, ended)) => self.step_ended(index, ended, alone),
            None => Ok(()),
        }
    }

    /// Kills every process of the run but this one and waits until none is left.
    fn kill_all(&mut self) -> Result<(), Errno> {
        loop {
            reap::signal_all(Signal::SIGKILL)?;
            match reap::next(reap::Wait::ForOne)? {
                Next::Ended(pid, ended) => {
                    if let Some((index, ended)) = self.ended(pid, ended)? {
                        self.step_ended(index, ended, false)?;
                    }
                }
                Next::NoneYet | Next::NoChild => return Ok(()),
            }
            // Whatever else has died by now needs no further signal.
            self.reap()?;
        }
    }

    /// Takes in that a process has ended; which step that was and how it ended, if it was one.
    fn ended(&mut self, pid: Pid, ended: Ended) -> Result<Option<(u16, Ended)>, Errno> {
        if let Some(first) = self.first.take_if(|first| first.pid == pid) {
            self.hear_last_words(&first)?;
        }
        let step = self.current.take_if(|current| current.pid == pid);
        Ok(step.map(|step| (step.index, ended)))
    }

    fn step_ended(&self, index: u16, ended: Ended, alone: bool) -> Result<(), Errno> {
        match self.reply(&Reply::StepEnded { index, ended, alone }) {
            // The shim is gone; the caller is about to find out and to end.
            Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
            sent => sent,
        }
    }

    /// Passes on what the first process said before it ended.
    fn hear_last_words(&self, first: &First) -> Result<(), Errno> {
        let mut buffer = [0; MESSAGE_BYTES_MAX];
        loop {
            match channel::receive(first.channel.as_fd(), &mut buffer) {
                Ok((0, _)) | Err(Errno::ECONNRESET) => return Ok(()),
                Ok((len, _)) => match channel::send(self.channel.as_fd(), &buffer[..len], &[]) {
                    Err(Errno::EPIPE | Errno::ECONNRESET) => return Ok(()),
                    sent => sent?,
                },
                Err(errno) => return Err(errno),
            }
        }
    }

    fn reply(&self, reply: &Reply) -> Result<(), Errno> {
        messages::send(self.channel.as_fd(), reply)
    }
}
