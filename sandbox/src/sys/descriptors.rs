//! Closing descriptors that this process does not own by name.

use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::libc::{self, c_uint};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Closes every descriptor from 3 on but those in `keep`.
///
/// Whatever Rust value owned one of them must not be used or dropped again: call this only in a process that has just
/// been forked and never returns to the code of its parent.
pub(crate) fn close_all_but(keep: &[RawFd]) -> Result<(), Errno> {
    let mut keep: Vec<RawFd> = keep.iter().copied().filter(|fd| *fd > 2).collect();
    keep.sort_unstable();
    let mut first: RawFd = 3;
    for fd in keep {
        if first < fd {
            close_range(first.unsigned_abs(), (fd - 1).unsigned_abs(), 0)?;
        }
        first = fd + 1;
    }
    close_range(first.unsigned_abs(), c_uint::MAX, 0)
}

/// Raises the limit of descriptors of this process to the most that it may have.
///
/// Shims pass descriptors, and the kernel refuses that to a user of whom more are on their way than the sender may have
/// open: a run could keep every other one from starting. So the limit is above that of any run.
pub(crate) fn raise_limit() -> Result<(), Errno> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)
}

/// Lets every descriptor from 3 on be closed by the next execution.
pub(crate) fn close_all_on_exec() -> Result<(), Errno> {
    close_range(3, c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: c_uint, last: c_uint, flags: c_uint) -> Result<(), Errno> {
    // SAFETY: touches descriptors only; the contract of the caller says that none that is closed is used again.
    let res = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    Errno::result(res).map(drop)
}
