//! Giving up every capability, for good.

use nix::errno::Errno;
use nix::libc::{self, c_int, c_ulong};

/// Highest capability number that any kernel so far could know; the loop stops at the first unknown one.
const CAPABILITY_MAX: c_ulong = 63;
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
/// `SECBIT_NOROOT`, `SECBIT_NO_SETUID_FIXUP`, `SECBIT_NO_CAP_AMBIENT_RAISE`, each with its lock bit.
const SECUREBITS_LOCKED: c_ulong = 0b11 | 0b1100 | 0b1100_0000;

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: c_int,
}

#[repr(C)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Empties bounding, ambient, effective, permitted and inheritable sets and locks the securebits so that no later user
/// id change or execution fills them again.
pub(crate) fn drop_all() -> Result<(), Errno> {
    prctl(libc::PR_SET_SECUREBITS, SECUREBITS_LOCKED)?;
    for capability in 0..=CAPABILITY_MAX {
        match prctl(libc::PR_CAPBSET_DROP, capability) {
            Ok(()) => {}
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    clear_sets()
}

/// Empties the effective, permitted and inheritable sets, and with them the ambient one.
pub(crate) fn clear_sets() -> Result<(), Errno> {
    let header = CapHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let data = [const { CapData { effective: 0, permitted: 0, inheritable: 0 } }; 2];
    // SAFETY: version 3 reads one header and two data blocks, which is what the pointers refer to.
    let res = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    Errno::result(res).map(drop)
}

fn prctl(option: c_int, argument: c_ulong) -> Result<(), Errno> {
    let zero: c_ulong = 0;
    // SAFETY: both options take plain numbers and touch no memory of this process.
    let res = unsafe { libc::prctl(option, argument, zero, zero, zero) };
    Errno::result(res).map(drop)
}
