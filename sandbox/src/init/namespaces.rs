//! Settling into the new namespaces: ids, name, loopback, file system.

use std::fs::OpenOptions;
use std::io::Write as _;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, getegid, geteuid, sethostname, setsid};

use super::{INSIDE_ID, SetupFailure};
use crate::spec::CheckedSpec;
use crate::sys::interface;
use crate::view::{HostLayout, HostUser, Settings, build, plan};

/// The namespaces that init is born into.
pub(crate) const NAMESPACES: CloneFlags = CloneFlags::CLONE_NEWUSER
    .union(CloneFlags::CLONE_NEWNS)
    .union(CloneFlags::CLONE_NEWPID)
    .union(CloneFlags::CLONE_NEWNET)
    .union(CloneFlags::CLONE_NEWIPC)
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWCGROUP);

/// Numbers that the kernel never hands out again after the first round, so the bound of a pid namespace must be higher.
const RESERVED_PIDS: u64 = 300;
/// Highest bound that a kernel accepts.
const PIDS_MAX: u64 = 4 << 20;

/// Who the shim is on the host; init itself cannot see that once it is in a user namespace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HostIds {
    uid: Uid,
    gid: Gid,
}

impl HostIds {
    /// Those of this process.
    pub(crate) fn effective() -> Self {
        Self { uid: geteuid(), gid: getegid() }
    }

    pub(crate) fn user(self) -> HostUser {
        if self.uid.is_root() { HostUser::Root } else { HostUser::Ordinary }
    }
}

/// Makes the namespaces that this process was born into its own.
pub(super) fn enter(spec: &CheckedSpec, host: HostIds) -> Result<(), SetupFailure> {
    map_ids(host)?;
    let call = |step: &'static str, what: &'static str| move |errno| SetupFailure::call(step, what, errno);
    // After the last change of ids, which would clear it.
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(call("init", "failed to tie init to its shim"))?;
    setsid().map_err(call("init", "failed to start a session"))?;
    sethostname(&spec.name).map_err(call("hostname", "failed to set the host name"))?;
    interface::loopback_up().map_err(call("loopback", "failed to set the loopback interface up"))?;
    let settings = Settings { pids_max: pid_namespace_bound(spec.limits.processes), host_user: host.user() };
    build(&plan(spec, &HostLayout::discover()), &settings).map_err(|error| {
        let step = error.step().to_owned();
        match error.errno() {
            Some(errno) => SetupFailure::call(&step, &error.to_string(), errno),
            None => SetupFailure { step, message: error.to_string(), hint: String::new() },
        }
    })
}

/// Maps the one user and group id inside to those of the shim.
fn map_ids(host: HostIds) -> Result<(), SetupFailure> {
    let failed = |errno| SetupFailure::call("uid-map", "failed to map the user", errno);
    // The files of a process that cannot be dumped belong to root, so the shim's protection is lifted here for a moment.
    prctl::set_dumpable(true).map_err(failed)?;
    let HostIds { uid, gid } = host;
    let lines = [
        // Every process of the run inherits it: nothing of their memory goes into a dump. The limit of dumps keeps them
        // from files and from handlers on a pipe, but since Linux 6.16 not from those on a socket.
        ("/proc/self/coredump_filter", "0".to_owned()),
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("{INSIDE_ID} {uid} 1")),
        ("/proc/self/gid_map", format!("{INSIDE_ID} {gid} 1")),
    ];
    for (path, line) in lines {
        let written = OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(line.as_bytes()));
        written.map_err(|error| failed(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)))?;
    }
    Ok(())
}

/// What the bound of the pid namespace is for `processes`.
pub(crate) fn pid_namespace_bound(processes: u64) -> u64 {
    processes.saturating_add(RESERVED_PIDS).min(PIDS_MAX)
}
