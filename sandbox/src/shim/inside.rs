//! The shim's handle on init: starting it, sending it requests, ending it.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use crate::egress::Egress;
use crate::exit_record::Outcome;
use crate::init::{self, HostIds, MESSAGE_BYTES_MAX, NAMESPACES, Orders, Reply, Request, pid_namespace_bound};
use crate::level::{GuaranteeKind, Level, LevelReport};
use crate::probes::host::probe_host;
use crate::probes::inside::{Expected, MemoryBound, Outside};
use crate::run_dir::SPEC_FILE;
use crate::spec::{CheckedSpec, Isolation};
use crate::sys::{channel, process};

/// Longest wait for init to end after its channel is closed, before it is killed.
const END_WAIT: Duration = Duration::from_secs(10);

/// A living init.
#[derive(Debug)]
pub(super) struct Inside {
    pidfd: OwnedFd,
    channel: OwnedFd,
    isolation: Isolation,
}

impl Inside {
    /// Starts init for the run in `dir`.
    /// The listeners of the run's proxy, if it has one, go to `proxy`.
    pub(super) fn start(spec: &CheckedSpec, dir: &Path, proxy: Option<OwnedFd>) -> Result<Self, Outcome> {
        let host = HostIds::effective();
        let expected = Expected {
            canary: dir.join(SPEC_FILE),
            host_user: host.user(),
            pids_bound: pid_namespace_bound(spec.limits.processes),
            outside: match &spec.egress {
                Egress::Allow(policy) if policy.transparent => Outside::Caught,
                Egress::Allow(_) | Egress::None => Outside::Unreachable,
            },
            memory: spec.limits.memory_bytes.map_or(MemoryBound::None, |_| MemoryBound::PerProcess),
        };
        let namespaces = match spec.isolation {
            Isolation::Sandboxed => NAMESPACES,
            Isolation::None => CloneFlags::empty(),
        };
        let (ours, theirs) = channel::pair().map_err(|errno| not_forked(spec, errno))?;
        match process::fork(namespaces).map_err(|errno| not_forked(spec, errno))? {
            process::Forked::Child => init::main(Orders { spec, host, expected, proxy }, theirs),
            process::Forked::Parent { pidfd, .. } => Ok(Self { pidfd, channel: ours, isolation: spec.isolation }),
        }
    }

    /// Readable when a reply is there or init is gone.
    pub(super) fn channel(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    pub(super) fn send(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        init::send_with(self.channel.as_fd(), request, descriptors)
    }

    /// The next reply; `None` when init is gone.
    pub(super) fn receive(&self) -> Result<Option<Reply>, Errno> {
        let mut buffer = vec![0; MESSAGE_BYTES_MAX];
        match channel::receive(self.channel.as_fd(), &mut buffer) {
            Ok((0, _)) | Err(Errno::ECONNRESET) => Ok(None),
            Ok((len, _)) => serde_json::from_slice(&buffer[..len]).map(Some).map_err(|_| Errno::EPROTO),
            Err(errno) => Err(errno),
        }
    }

    /// Ends init and with it everything inside; returns how it ended.
    pub(super) fn end(self) -> Result<WaitStatus, Errno> {
        let Self { pidfd, channel, isolation } = self;
        drop(channel);
        match isolation {
            // The kernel kills every process of a pid namespace with its init.
            Isolation::Sandboxed => process::signal_pidfd(pidfd.as_fd(), Signal::SIGKILL)?,
            // Only init knows its descendants.
            Isolation::None => {
                if !wait_for(pidfd.as_fd())? {
                    process::signal_pidfd(pidfd.as_fd(), Signal::SIGKILL)?;
                }
            }
        }
        waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::__WALL)
    }
}

fn wait_for(pidfd: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut fds = [PollFd::new(pidfd, PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(END_WAIT).unwrap_or(PollTimeout::MAX);
    loop {
        match poll(&mut fds, timeout) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// The outcome when init cannot be forked into its namespaces.
fn not_forked(spec: &CheckedSpec, errno: Errno) -> Outcome {
    let refused = matches!(errno, Errno::EPERM | Errno::EACCES | Errno::ENOSPC | Errno::EUSERS | Errno::EINVAL);
    let required = spec.required_level;
    if refused && spec.isolation == Isolation::Sandboxed && required > Level::None {
        let mut fix = probe_host().fixes();
        if fix.is_empty() {
            fix = format!("allow user namespaces for this program: the kernel answers {errno:?} ({})", errno.desc());
        }
        let missing: Vec<GuaranteeKind> = LevelReport::new(Vec::new()).missing_for(required);
        return Outcome::LevelRefused { required, reached: Level::None, missing, fix };
    }
    Outcome::SetupFailed {
        message: format!("failed to create the namespaces: {}", errno.desc()),
        hint: if refused { probe_host().fixes() } else { String::new() },
        step: "namespaces".to_owned(),
    }
}
