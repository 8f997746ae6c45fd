//! Where the spawner lives: a user namespace and a copy of the host's mounts of its own.
//!
//! In them it may do what an ordinary user may not do on the host: clone mounts, make network namespaces, enter prepared
//! views. Mounts that the host makes later appear in the copy; nothing that is mounted here appears on the host.

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use crate::init::{HostIds, map_ids};
use crate::sys::mounts;
use crate::sys::process::{self, Forked};

/// Moves this process there. Where that is impossible it stays on the host and runs build everything themselves.
pub(super) fn enter() -> Result<(), Errno> {
    // What cannot be undone is tried by somebody else first: a kernel may give a namespace without any right in it.
    match process::fork(CloneFlags::empty())? {
        Forked::Child => process::exit_now(i32::from(settle().and_then(|()| try_rights()).is_err())),
        Forked::Parent { pid, .. } => match waitpid(pid, Some(WaitPidFlag::__WALL))? {
            WaitStatus::Exited(_, 0) => settle(),
            _ => Err(Errno::EPERM),
        },
    }
}

fn settle() -> Result<(), Errno> {
    let host = HostIds::effective();
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
    // Everybody keeps the name that they have: files that are made from here belong to the daemon's user.
    map_ids(host, host.unchanged())
}

fn try_rights() -> Result<(), Errno> {
    mounts::new_filesystem(c"tmpfs", &[(c"size", c"64k")], 0).map(drop)?;
    unshare(CloneFlags::CLONE_NEWNET)
}
