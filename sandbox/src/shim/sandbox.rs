//! The shim's handle on init: preparing a sandbox, claiming it for a run, sending requests, ending it.
//!
//! Runs without isolation have none: see `plain`.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::inside::{FirstStreams, RunSecrets};
use super::keeper::Keeper;
use super::streams::pipe;
use crate::cgroup::RunGroup;
use crate::exit_record::Outcome;
use crate::init::{self, Footing, HostIds, MESSAGE_BYTES_MAX, NAMESPACES, Orders, Reply, Request, pid_namespace_bound};
use crate::level::{GuaranteeKind, Level, LevelReport};
use crate::probes::host::probe_host;
use crate::probes::inside::{Expected, MemoryBound, Outside};
use crate::seccomp;
use crate::secrets::SealedSecrets;
use crate::spec::{CheckedSpec, SecretDelivery, Shape};
use crate::sys::{channel, process};
use crate::view::Trees;

/// What every host has and no run sees.
const CANARIES: [&str; 4] = ["/sys", "/root", "/var", "/boot"];

/// Where init is born.
#[derive(Debug)]
pub(super) struct Ground {
    /// What it finds there.
    pub(super) footing: Footing,
    /// Whether it makes its own network namespace; otherwise it gets that of the shim.
    pub(super) makes_network: bool,
    /// Whether there is a pause before the claim.
    pub(super) pauses: bool,
    /// What the host has and the run must not see.
    pub(super) canaries: Vec<PathBuf>,
    /// Where the listeners of its proxy go, if it has one.
    pub(super) proxy: Option<OwnedFd>,
}

/// A sandbox with a living init.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pid: Pid,
    pidfd: OwnedFd,
    channel: OwnedFd,
    script: OwnedFd,
    first: Option<FirstStreams>,
    /// A step whose turn came in a pause, and its streams.
    waiting: Option<(u16, [OwnedFd; 2])>,
}

impl Sandbox {
    /// Starts an init that prepares a sandbox for a run of `shape` on `ground`.
    ///
    /// It is born in `group` where there is one.
    pub(super) fn prepare(shape: &Shape, ground: Ground, group: Option<&RunGroup>) -> Result<Self, Outcome> {
        let Ground { footing, makes_network, pauses, canaries, proxy } = ground;
        let failed = |errno| not_forked(shape, errno);
        let host = HostIds::effective();
        let expected = Expected {
            canaries,
            shown: shown(shape).map(Path::to_owned).collect(),
            host_user: host.user(),
            outside: if shape.is_caught() { Outside::Caught } else { Outside::Unreachable },
            pids_bound: pid_namespace_bound(shape.processes),
            memory: if shape.bounds_memory { MemoryBound::PerProcess } else { MemoryBound::None },
        };
        if pauses {
            // Init and its first process have it then, and need not build it twice. Where nobody waits ahead of time they
            // build it beside each other, while this process and the claim are on their way.
            seccomp::program(shape.syscalls);
        }
        let (stdout, their_stdout) = pipe().map_err(failed)?;
        let (stderr, their_stderr) = pipe().map_err(failed)?;
        let script = init::create_script().map_err(failed)?;
        let (ours, theirs) = channel::pair().map_err(failed)?;
        let orders = Orders {
            shape,
            host,
            expected: &expected,
            footing,
            makes_network,
            pauses,
            script: script.try_clone().map_err(|_| failed(Errno::EMFILE))?,
            proxy,
            stdout: their_stdout,
            stderr: their_stderr,
        };
        // The network, if it is new, is made by the first process beside init.
        match fork(NAMESPACES, group).map_err(failed)? {
            process::Forked::Child => init::main(orders, theirs),
            process::Forked::Parent { pid, pidfd } => {
                let first = Some(FirstStreams { stdout, stderr });
                Ok(Self { pid, pidfd, channel: ours, script, first, waiting: None })
            }
        }
    }

    /// Makes the sandbox that of `spec`, whose first step then starts. `trees` are the directories of the run, unless
    /// init opens them itself.
    pub(super) fn claim(
        &mut self,
        spec: &CheckedSpec,
        secrets: &RunSecrets<'_>,
        trees: Option<&Trees>,
        keeper: &Keeper<'_>,
    ) -> Result<FirstStreams, Errno> {
        let written = init::write_script(&self.script, spec, secrets.values);
        written.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
        let files = spec.secrets.iter().filter(|secret| secret.delivery == SecretDelivery::File);
        let secret_files: Vec<String> = files.map(|secret| secret.name.clone()).collect();
        let sealed = secrets.sealed.filter(|_| !secret_files.is_empty());
        let mut descriptors: Vec<_> = sealed.map(SealedSecrets::as_fd).into_iter().collect();
        descriptors.extend(trees.map(Trees::mounts).unwrap_or_default());
        let claim = Request::Claim {
            name: spec.name.clone(),
            secret_files,
            limits: keeper.limits_for_level(),
            lend_tmpfs: keeper.watches_tmpfs(),
        };
        self.send(&claim, &descriptors)?;
        self.first.take().ok_or(Errno::EBUSY)
    }

    /// Process id of init, as the shim sees it.
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Readable when a reply is there or init is gone.
    pub(super) fn channel(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    /// Asks for something but the start of a step.
    pub(super) fn request(&mut self, request: &Request) -> Result<(), Errno> {
        if matches!(request, Request::KillAll) {
            self.waiting = None;
        }
        self.send(request, &[])?;
        let waiting = self.waiting.take_if(|_| matches!(request, Request::Continue));
        waiting.map_or(Ok(()), |(index, streams)| self.start_step(index, streams, false))
    }

    /// Starts a step but the first. In a pause that waits: it would run until it is stopped, too.
    pub(super) fn start_step(&mut self, index: u16, streams: [OwnedFd; 2], is_paused: bool) -> Result<(), Errno> {
        if is_paused {
            self.waiting = Some((index, streams));
            return Ok(());
        }
        self.send(&Request::StartStep { index }, &streams.each_ref().map(OwnedFd::as_fd))
    }

    fn send(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        init::send_with(self.channel.as_fd(), request, descriptors)
    }

    /// The next reply with its descriptors; `None` when init is gone.
    pub(super) fn receive(&self) -> Result<Option<(Reply, Vec<OwnedFd>)>, Errno> {
        let mut buffer = [0; MESSAGE_BYTES_MAX];
        match channel::receive(self.channel.as_fd(), &mut buffer) {
            Ok((0, _)) | Err(Errno::ECONNRESET) => Ok(None),
            Ok((len, descriptors)) => {
                let reply = serde_json::from_slice(&buffer[..len]).map_err(|_| Errno::EPROTO)?;
                Ok(Some((reply, descriptors)))
            }
            Err(errno) => Err(errno),
        }
    }

    /// Ends an init that has nothing inside any more, without waiting while the kernel takes its namespaces down.
    pub(super) fn leave(self) -> Result<(), Errno> {
        process::signal_pidfd(self.pidfd.as_fd(), Signal::SIGKILL)
    }

    /// Ends init and with it everything inside: the kernel kills every process of a pid namespace with the first one.
    pub(super) fn end(self) -> Result<WaitStatus, Errno> {
        let Self { pidfd, channel, .. } = self;
        drop(channel);
        process::signal_pidfd(pidfd.as_fd(), Signal::SIGKILL)?;
        waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::__WALL)
    }
}

/// Forks init, in its group from its first instruction on where the kernel can do that.
fn fork(namespaces: CloneFlags, group: Option<&RunGroup>) -> Result<process::Forked, Errno> {
    let Some(group) = group else { return process::fork(namespaces) };
    match process::fork_into(namespaces, group.descriptor()) {
        Ok(forked) => return Ok(forked),
        Err(errno @ (Errno::EAGAIN | Errno::ENOMEM)) => return Err(errno),
        // Whatever it is that cannot be had, the next call says whether it is the namespaces.
        Err(_) => {}
    }
    let forked = process::fork(namespaces)?;
    if let process::Forked::Parent { pid, pidfd } = &forked {
        // It executes nothing before it is claimed.
        if let Err(errno) = group.attach(*pid) {
            process::signal_pidfd(pidfd.as_fd(), Signal::SIGKILL)?;
            return Err(errno);
        }
    }
    Ok(forked)
}

/// Paths that the host has, seen from here, and that must not exist for a run of `shape`.
pub(super) fn canaries(shape: &Shape) -> Vec<PathBuf> {
    let hidden = |place: &&Path| place.exists() && !shown(shape).any(|target| target.starts_with(place));
    CANARIES.iter().map(Path::new).filter(hidden).map(Path::to_owned).collect()
}

/// Where the spec has something appear inside.
fn shown(shape: &Shape) -> impl Iterator<Item = &Path> {
    shape.mounts.iter().map(|mount| mount.target.as_path()).chain([shape.workspace_at.as_path()])
}

/// The outcome when init cannot be forked into its namespaces.
fn not_forked(shape: &Shape, errno: Errno) -> Outcome {
    let refused = matches!(errno, Errno::EPERM | Errno::EACCES | Errno::ENOSPC | Errno::EUSERS | Errno::EINVAL);
    let required = shape.required_level;
    if refused && required > Level::None {
        // The host's settings may say nothing of it, and something of what does not matter here.
        let answer = format!("allow user namespaces for this program: the kernel answers {errno:?} ({})", errno.desc());
        let fix = [answer, probe_host().fixes()].join("\n").trim_end().to_owned();
        let missing: Vec<GuaranteeKind> = LevelReport::new(Vec::new()).missing_for(required);
        return Outcome::LevelRefused { required, reached: Level::None, missing, fix };
    }
    Outcome::SetupFailed {
        message: format!("failed to create the namespaces: {}", errno.desc()),
        hint: if refused { probe_host().fixes() } else { String::new() },
        step: "namespaces".to_owned(),
    }
}
