//! Renaming without replacing, which the safe wrapper offers for one C library only.

use std::ffi::CStr;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::errno::Errno;
use nix::libc;

/// Moves `name` in `dir` to `place` in `root`, unless something is there.
pub(crate) fn rename_to_free(
    dir: BorrowedFd<'_>,
    name: &CStr,
    root: BorrowedFd<'_>,
    place: &CStr,
) -> Result<(), Errno> {
    // SAFETY: both names are terminated strings that are only read.
    let res = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            dir.as_raw_fd(),
            name.as_ptr(),
            root.as_raw_fd(),
            place.as_ptr(),
            libc::RENAME_NOREPLACE,
        )
    };
    Errno::result(res).map(drop)
}
