//! Calls that a sandbox must refuse, made by the probes to see that it does.
//!
//! Each returns `Ok` when the kernel let it happen, which is a finding, and the errno otherwise.

use nix::errno::Errno;
use nix::libc::{self, c_int, c_long, c_uint};
use nix::sched::CloneFlags;
use nix::sys::wait::{WaitPidFlag, waitpid};

use super::process::{self, Forked};

/// Starts a process in a new user namespace. Where that is allowed it ends at once.
pub(crate) fn new_user_namespace() -> Result<(), Errno> {
    match process::fork(CloneFlags::CLONE_NEWUSER)? {
        Forked::Child => process::exit_now(0),
        Forked::Parent { pid, .. } => waitpid(pid, Some(WaitPidFlag::__WALL)).map(drop),
    }
}

/// Opens a socket of `family`.
pub(crate) fn socket_of(family: c_int) -> Result<(), Errno> {
    // SAFETY: three plain numbers.
    let fd = Errno::result(unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
    nix::unistd::close(fd)
}

/// Asks for the landlock version of the kernel; `Ok` is the version.
pub(crate) fn landlock_version() -> Result<c_long, Errno> {
    let version: c_uint = 1;
    let nothing: *const u8 = std::ptr::null();
    // SAFETY: with a null attribute of size zero and the version flag the call only returns a number.
    let res = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, version) };
    Errno::result(res)
}

/// Asks for the key ring of the user, which no namespace separates.
pub(crate) fn user_key_ring() -> Result<(), Errno> {
    const KEYCTL_GET_KEYRING_ID: c_int = 0;
    const KEY_SPEC_USER_KEYRING: c_int = -4;
    let create: c_int = 0;
    // SAFETY: three plain numbers.
    let res = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_USER_KEYRING, create) };
    Errno::result(res).map(drop)
}
