//! Applying a landlock ruleset that another process has made and passed on.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::errno::Errno;
use nix::libc;

/// Restricts this process, and all that it will start, to what `ruleset` allows. Needs no-new-privileges.
pub(crate) fn restrict_self(ruleset: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags: libc::c_uint = 0;
    // SAFETY: two plain numbers; touches no memory of this process.
    let res = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), flags) };
    Errno::result(res).map(drop)
}
