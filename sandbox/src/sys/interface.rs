//! Bringing up the loopback interface of a new network namespace.

use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::libc::{self, c_short};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

nix::ioctl_write_ptr_bad!(set_interface_flags, libc::SIOCSIFFLAGS, libc::ifreq);

/// Sets `lo` up in the network namespace of this process.
pub(crate) fn loopback_up() -> Result<(), Errno> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: the structure is plain numbers, for which all zeros is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *slot = byte.cast_signed();
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as c_short;
    // SAFETY: the pointer is to a whole `ifreq` with a terminated name, which the kernel only reads.
    unsafe { set_interface_flags(socket.as_raw_fd(), &raw const request) }.map(drop)
}
