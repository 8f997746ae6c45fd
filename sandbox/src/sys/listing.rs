//! Reading the entries of a directory as the kernel has them, with the places between them.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::errno::Errno;
use nix::libc;

/// Reads further entries of `dir` into `buffer`, as `struct linux_dirent64`; 0 bytes are the end.
pub(crate) fn read(dir: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes from the start of a buffer that is borrowed for the call.
    let res = unsafe { libc::syscall(libc::SYS_getdents64, dir.as_raw_fd(), buffer.as_mut_ptr(), buffer.len()) };
    Errno::result(res).map(|count| usize::try_from(count).unwrap_or_default())
}
