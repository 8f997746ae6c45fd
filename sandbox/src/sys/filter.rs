//! Installing a system call filter.

use nix::errno::Errno;
use nix::libc::{self, c_uint, c_ushort, sock_filter, sock_fprog};

/// Installs `program` for this process and all that it will start. Needs no-new-privileges.
pub(crate) fn install(program: &[sock_filter]) -> Result<(), Errno> {
    let len = c_ushort::try_from(program.len()).map_err(|_| Errno::E2BIG)?;
    let header = sock_fprog { len, filter: program.as_ptr().cast_mut() };
    let operation: c_uint = libc::SECCOMP_SET_MODE_FILTER;
    let flags: c_uint = 0;
    // SAFETY: the kernel only reads `len` instructions behind the pointer, which is how many the slice has.
    let res = unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, &raw const header) };
    Errno::result(res).map(drop)
}
