//! Calls that a sandbox must refuse, made by the probes to see that it does.
//!
//! Each returns `Ok` when the kernel let it happen, which is a finding, and the errno otherwise.

use std::ffi::CStr;

use nix::errno::Errno;
use nix::libc::{self, c_int, c_long, c_uint};
use nix::sched::CloneFlags;
use nix::sys::wait::{WaitPidFlag, waitpid};

use super::mounts::RDONLY;
use super::process::{self, Forked};

/// Starts a process in a new user namespace. Where that is allowed it ends at once.
pub(crate) fn new_user_namespace() -> Result<(), Errno> {
    match process::fork(CloneFlags::CLONE_NEWUSER)? {
        Forked::Child => process::exit_now(0),
        Forked::Parent { pid, .. } => waitpid(pid, Some(WaitPidFlag::__WALL)).map(drop),
    }
}

/// Whether the other two ways to new namespaces are refused before they are looked at. Nothing is asked for that the
/// kernel could do: where the calls are allowed, it says that they make no sense.
pub(crate) fn other_ways_to_namespaces() -> [(&'static str, Result<(), Errno>); 2] {
    let nonsense = libc::CLONE_NEWUSER | libc::CLONE_VFORK;
    // SAFETY: a plain number, which names something that this call cannot do.
    let unshared = unsafe { libc::syscall(libc::SYS_unshare, nonsense) };
    let unshared = Errno::result(unshared).map(drop);
    let nothing: *const u8 = std::ptr::null();
    // SAFETY: no kernel takes a structure of size zero.
    let cloned = unsafe { libc::syscall(libc::SYS_clone3, nothing, 0_usize) };
    [("unshare", unshared), ("clone3", Errno::result(cloned).map(drop))]
}

/// Lets the mount at `path` be written to.
pub(crate) fn clear_read_only(path: &CStr) -> Result<(), Errno> {
    let change = libc::mount_attr { attr_set: 0, attr_clr: RDONLY, propagation: 0, userns_fd: 0 };
    let size = size_of::<libc::mount_attr>();
    // SAFETY: path and structure live through the call and are only read; the size is that of the structure.
    let res =
        unsafe { libc::syscall(libc::SYS_mount_setattr, libc::AT_FDCWD, path.as_ptr(), 0, &raw const change, size) };
    Errno::result(res).map(drop)
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
