//! Pid 1 of a run: builds the sandbox around itself, then starts, stops and kills steps as the shim says.
//!
//! Knows how to run a step, not which; the shim decides everything. **Invariant:** every process of the run is a
//! descendant that inherits the confinement of init, which is complete before the first of them is forked.
//! **Invariant:** init holds one descriptor that leads outside, its channel; no step inherits it. **Invariant:** when the
//! channel closes, everything inside dies.

mod confine;
mod messages;
mod namespaces;
mod reap;
mod steps;

use std::os::fd::{AsFd as _, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

pub(crate) use messages::{Ended, MESSAGE_BYTES_MAX, Reply, Request, send_with};
pub(crate) use namespaces::{HostIds, NAMESPACES, pid_namespace_bound};

use crate::probes::inside::Expected;
use crate::spec::{CheckedSpec, Isolation};
use crate::sys::{channel, descriptors, process};
use reap::Family;
use steps::Prepared;

/// The user and group id inside.
pub(crate) const INSIDE_ID: u32 = 1000;

/// What init is told before it starts.
#[derive(Debug)]
pub(crate) struct Orders<'a> {
    /// What to run.
    pub(crate) spec: &'a CheckedSpec,
    /// Who the shim is.
    pub(crate) host: HostIds,
    /// What the probes compare with.
    pub(crate) expected: Expected,
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
        ("uid-map" | "private-mounts", Errno::EPERM | Errno::EACCES) => {
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
    let mut init = match set_up(&orders, channel.as_fd()) {
        Ok(steps) => Init {
            family: Family::of(orders.spec.isolation),
            children: child_signals()?,
            channel,
            steps,
            expected: orders.expected,
            current: None,
            probe: None,
        },
        Err(failure) => {
            let SetupFailure { step, message, hint } = failure;
            return messages::send(channel.as_fd(), &Reply::SetupFailed { step, message, hint });
        }
    };
    init.reply(&Reply::Ready)?;
    let served = init.serve();
    init.kill_all()?;
    served
}

/// Builds the sandbox around this process.
fn set_up(orders: &Orders<'_>, channel: std::os::fd::BorrowedFd<'_>) -> Result<Vec<Prepared>, SetupFailure> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |errno| SetupFailure::call("init", &what, errno)
    };
    descriptors::close_all_but(&[channel]).map_err(failed("failed to close the descriptors of the shim"))?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let steps = orders.spec.steps.iter().map(|step| Prepared::new(orders.spec, step)).collect();
    match orders.spec.isolation {
        Isolation::Sandboxed => {
            namespaces::enter(orders.spec, orders.host)?;
            confine::confine(orders.spec)?;
        }
        Isolation::None => {
            nix::unistd::setsid().map_err(failed("failed to start a session"))?;
            nix::sys::prctl::set_child_subreaper(true).map_err(failed("failed to become the reaper"))?;
            confine::null_stdio().map_err(failed("failed to open the null device"))?;
        }
    }
    Ok(steps)
}

/// Blocks the signal of ended children and makes it readable.
fn child_signals() -> Result<SignalFd, Errno> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

#[derive(Debug)]
struct Init {
    family: Family,
    children: SignalFd,
    channel: OwnedFd,
    steps: Vec<Prepared>,
    expected: Expected,
    current: Option<Current>,
    /// The probing process, until it is gone.
    probe: Option<Pid>,
}

/// The step that runs.
#[derive(Debug, Clone, Copy)]
struct Current {
    index: u16,
    pid: Pid,
}

impl Init {
    /// Serves requests until the channel closes.
    fn serve(&mut self) -> Result<(), Errno> {
        let mut buffer = vec![0; MESSAGE_BYTES_MAX];
        loop {
            let mut fds = [
                PollFd::new(self.channel.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.children.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
            let [requests, ended] = fds.map(|fd| fd.any().unwrap_or(true));
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

    fn handle(&mut self, request: Request, descriptors: Vec<OwnedFd>) -> Result<(), Errno> {
        match request {
            Request::Probe => {
                let [output] = <[OwnedFd; 1]>::try_from(descriptors).map_err(|_| Errno::EPROTO)?;
                self.probe = Some(steps::start_probe(&self.expected, output)?);
                Ok(())
            }
            Request::StartStep { index } => {
                let [stdout, stderr] = <[OwnedFd; 2]>::try_from(descriptors).map_err(|_| Errno::EPROTO)?;
                self.start_step(index, stdout, stderr)
            }
            Request::KillAll => {
                self.kill_all()?;
                self.reply(&Reply::KilledAll)
            }
            Request::Stop => self.family.stop(),
            Request::Continue => self.family.signal(Signal::SIGCONT),
        }
    }

    fn start_step(&mut self, index: u16, stdout: OwnedFd, stderr: OwnedFd) -> Result<(), Errno> {
        // It has reported and is about to be gone; a step must not find what is left of it.
        while self.probe.is_some() {
            match reap::next(reap::Wait::ForOne)? {
                Some((pid, ended)) => self.ended(pid, ended)?,
                None => self.probe = None,
            }
        }
        let step = self.steps.get(usize::from(index)).ok_or(Errno::EPROTO)?;
        match steps::start(step, stdout, stderr) {
            Ok(pid) => {
                self.current = Some(Current { index, pid });
                Ok(())
            }
            Err(failure) => {
                self.reply(&Reply::StepEnded { index, ended: Ended::NotExecuted { message: failure.to_string() } })
            }
        }
    }

    /// Collects every child that has ended without waiting for one.
    fn reap(&mut self) -> Result<(), Errno> {
        while let Some((pid, ended)) = reap::next(reap::Wait::No)? {
            self.ended(pid, ended)?;
        }
        Ok(())
    }

    /// Kills every process of the run but this one and waits until none is left.
    fn kill_all(&mut self) -> Result<(), Errno> {
        loop {
            self.family.signal(Signal::SIGKILL)?;
            match reap::next(reap::Wait::ForOne)? {
                Some((pid, ended)) => self.ended(pid, ended)?,
                None => return Ok(()),
            }
            // Whatever else has died by now needs no further signal.
            self.reap()?;
        }
    }

    fn ended(&mut self, pid: Pid, ended: Ended) -> Result<(), Errno> {
        self.probe.take_if(|probe| *probe == pid);
        match self.current {
            Some(current) if current.pid == pid => {
                self.current = None;
                match self.reply(&Reply::StepEnded { index: current.index, ended }) {
                    // The shim is gone; the caller is about to find out and to end.
                    Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
                    sent => sent,
                }
            }
            Some(_) | None => Ok(()),
        }
    }

    fn reply(&self, reply: &Reply) -> Result<(), Errno> {
        messages::send(self.channel.as_fd(), reply)
    }
}
