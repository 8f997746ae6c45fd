//! The descriptor-based mount interface (Linux 5.12 and later).
//!
//! Everything goes from descriptor to descriptor, so that no path is resolved twice.

use std::ffi::CStr;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc::{self, c_int, c_long, c_uint};

/// Read-only; a locked mount stays so.
pub(crate) const RDONLY: u64 = 0x1;
/// Set-user-id bits have no effect.
pub(crate) const NOSUID: u64 = 0x2;
/// Device nodes cannot be opened.
pub(crate) const NODEV: u64 = 0x4;
/// Nothing can be executed.
pub(crate) const NOEXEC: u64 = 0x8;

const OPEN_TREE_CLONE: c_uint = 1;
const AT_RECURSIVE: c_uint = 0x8000;
const FSOPEN_CLOEXEC: c_uint = 1;
const FSMOUNT_CLOEXEC: c_uint = 1;
const FSCONFIG_SET_FLAG: c_uint = 0;
const FSCONFIG_SET_STRING: c_uint = 1;
const FSCONFIG_CMD_CREATE: c_uint = 6;
const MOVE_MOUNT_F_EMPTY_PATH: c_uint = 4;

#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Clones the mount at `source` with everything mounted below it, detached.
pub(crate) fn clone_tree(source: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC.unsigned_abs() | AT_RECURSIVE | libc::AT_EMPTY_PATH.unsigned_abs();
    // SAFETY: the path is a terminated empty string; no memory is written.
    let res = unsafe { libc::syscall(libc::SYS_open_tree, source.as_raw_fd(), c"".as_ptr(), flags) };
    owned(res)
}

/// Clones the mount at the absolute `path`, which is no symlink, with everything mounted below it, detached.
pub(crate) fn clone_tree_at(path: &CStr) -> Result<OwnedFd, Errno> {
    let nofollow = libc::AT_SYMLINK_NOFOLLOW.unsigned_abs();
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC.unsigned_abs() | AT_RECURSIVE | nofollow;
    // SAFETY: the path is a terminated string that is only read.
    let res = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    owned(res)
}

/// Sets `attributes` on a mount and on everything mounted below it, and makes it private: what is mounted later where it
/// was cloned from does not appear in it.
pub(crate) fn set_attributes(mount: BorrowedFd<'_>, attributes: u64) -> Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH.unsigned_abs() | AT_RECURSIVE;
    mount_setattr(mount.as_raw_fd(), c"", flags, attributes, libc::MS_PRIVATE)
}

/// Sets `attributes` on the one mount at the absolute `path`.
pub(crate) fn set_attributes_at(path: &CStr, attributes: u64) -> Result<(), Errno> {
    mount_setattr(libc::AT_FDCWD, path, 0, attributes, 0)
}

fn mount_setattr(fd: RawFd, path: &CStr, flags: c_uint, attributes: u64, propagation: u64) -> Result<(), Errno> {
    let attr = MountAttr { attr_set: attributes, attr_clr: 0, propagation, userns_fd: 0 };
    let size = size_of::<MountAttr>();
    // SAFETY: path and structure live through the call, the size is that of the structure, and both are only read.
    let res = unsafe { libc::syscall(libc::SYS_mount_setattr, fd, path.as_ptr(), flags, &raw const attr, size) };
    Errno::result(res).map(drop)
}

/// Makes a new file system of type `kind` with `options`, as a detached mount. An option with an empty value is a flag.
pub(crate) fn new_filesystem(kind: &CStr, options: &[(&CStr, &CStr)], attributes: u64) -> Result<OwnedFd, Errno> {
    // SAFETY: the name is a terminated string that is only read.
    let context = owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })?;
    for (key, value) in options {
        let (command, value) =
            if value.is_empty() { (FSCONFIG_SET_FLAG, None) } else { (FSCONFIG_SET_STRING, Some(*value)) };
        configure(context.as_raw_fd(), command, Some(key), value)?;
    }
    configure(context.as_raw_fd(), FSCONFIG_CMD_CREATE, None, None)?;
    let attributes = c_uint::try_from(attributes).map_err(|_| Errno::EINVAL)?;
    // SAFETY: three plain numbers.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, attributes) })
}

fn configure(context: RawFd, command: c_uint, key: Option<&CStr>, value: Option<&CStr>) -> Result<(), Errno> {
    let key = key.map_or(std::ptr::null(), CStr::as_ptr);
    let value = value.map_or(std::ptr::null(), CStr::as_ptr);
    let aux: c_int = 0;
    // SAFETY: both pointers are null or terminated strings, as the command wants them, and are only read.
    let res = unsafe { libc::syscall(libc::SYS_fsconfig, context, command, key, value, aux) };
    Errno::result(res).map(drop)
}

/// Attaches the detached `mount` at `path`, relative to `dir`.
pub(crate) fn attach(mount: BorrowedFd<'_>, dir: RawFd, path: &CStr) -> Result<(), Errno> {
    // SAFETY: both paths are terminated strings that are only read.
    let res = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            dir,
            path.as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH,
        )
    };
    Errno::result(res).map(drop)
}

fn owned(res: c_long) -> Result<OwnedFd, Errno> {
    let fd = Errno::result(res)?;
    let fd = RawFd::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
