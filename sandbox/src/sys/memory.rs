//! The pages of this process.

use nix::errno::Errno;
use nix::libc::{self, c_int};

/// From `linux/mman.h`, Linux 5.14: read or write every page of a range now.
const MADV_POPULATE_READ: c_int = 22;
const MADV_POPULATE_WRITE: c_int = 23;
/// Larger mappings are left to be touched when they are needed.
const MAPPING_BYTES_MAX: usize = 4 << 20;

/// Touches all pages that this process has, so that nothing that it does later waits for one: after a fork, each page of
/// code faults once more, and each page of data is copied when it is first written.
///
/// Costs about half a millisecond and half a megabyte, and is for those who wait anyway. A kernel that cannot, or a
/// mapping that it does not do it for, changes nothing but the time.
pub(crate) fn fault_in() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return };
    for (start, len, advice) in maps.lines().filter_map(private_mapping) {
        if advise(start, len, advice) == Err(Errno::EINVAL) && advice == MADV_POPULATE_READ {
            return;
        }
    }
}

/// Start, length and advice for a line of `/proc/PID/maps`; none for shared mappings and those of the kernel.
fn private_mapping(line: &str) -> Option<(usize, usize, c_int)> {
    let mut words = line.split_ascii_whitespace();
    let (range, rights, name) = (words.next()?, words.next()?, words.nth(3).unwrap_or(""));
    let (start, end) = range.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let len = usize::from_str_radix(end, 16).ok()?.checked_sub(start)?;
    let of_kernel = name.starts_with("[v");
    let advice = match rights.as_bytes() {
        [b'r', b'w', _, b'p'] => MADV_POPULATE_WRITE,
        [b'r', b'-', _, b'p'] => MADV_POPULATE_READ,
        _ => return None,
    };
    (!of_kernel && len <= MAPPING_BYTES_MAX).then_some((start, len, advice))
}

fn advise(start: usize, len: usize, advice: c_int) -> Result<(), Errno> {
    let start = std::ptr::with_exposed_provenance_mut(start);
    // SAFETY: populating changes no content of a mapping, and fails on what is no mapping.
    Errno::result(unsafe { libc::madvise(start, len, advice) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_mappings_are_found() {
        let line = "55d0-55d2 r-xp 00001000 08:01 42   /usr/bin/x";
        assert_eq!(private_mapping(line), Some((0x55d0, 2, MADV_POPULATE_READ)));
        assert_eq!(private_mapping("10-20 rw-p 0 00:00 0 [heap]"), Some((0x10, 0x10, MADV_POPULATE_WRITE)));
        assert_eq!(private_mapping("10-20 rw-p 0 00:00 0"), Some((0x10, 0x10, MADV_POPULATE_WRITE)));
        assert_eq!(private_mapping("10-20 r--p 0 00:00 0 [vvar]"), None);
        assert_eq!(private_mapping("10-20 rw-s 0 00:00 0 /dev/shm/x"), None);
        assert_eq!(private_mapping("0-10000000 rw-p 0 00:00 0"), None);
        assert_eq!(private_mapping("20-10 rw-p 0 00:00 0"), None);
        assert_eq!(private_mapping("nothing"), None);
        fault_in();
    }
}
