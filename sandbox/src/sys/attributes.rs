//! Extended attributes of open files.

use std::ffi::CStr;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::errno::Errno;
use nix::libc;

/// Reads the attribute `name` into `buffer`; gives its length.
pub(crate) fn get(fd: BorrowedFd<'_>, name: &CStr, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the name is a terminated string that is only read, and at most the buffer's length is written to it.
    let res = unsafe { libc::fgetxattr(fd.as_raw_fd(), name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
    Errno::result(res).map(|length| usize::try_from(length).unwrap_or(0))
}
