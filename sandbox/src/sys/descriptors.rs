//! Closing descriptors that this process does not own by name, and moving them into the standard places.

use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::libc::{self, c_uint};

/// Closes every descriptor from 3 on but those in `keep`.
///
/// Whatever Rust value owned one of them must not be used or dropped again: call this only in a process that has just
/// been forked and never returns to the code of its parent.
pub(crate) fn close_all_but(keep: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut keep: Vec<RawFd> = keep.iter().map(|fd| fd.as_raw_fd()).filter(|fd| *fd > 2).collect();
    keep.sort_unstable();
    let mut first: RawFd = 3;
    for fd in keep {
        if first < fd {
            close_range(first.unsigned_abs(), (fd - 1).unsigned_abs())?;
        }
        first = fd + 1;
    }
    close_range(first.unsigned_abs(), c_uint::MAX)
}

fn close_range(first: c_uint, last: c_uint) -> Result<(), Errno> {
    let flags: c_uint = 0;
    // SAFETY: closes descriptors only; the caller's contract says that none of them is used again.
    let res = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    Errno::result(res).map(drop)
}
