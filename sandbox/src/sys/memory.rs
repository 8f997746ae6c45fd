//! The pages of this process.

use nix::errno::Errno;
use nix::libc::{self, c_int};

use crate::small_file;

/// From `linux/mman.h`, Linux 5.14: write to every page of a range now.
const MADV_POPULATE_WRITE: c_int = 23;
/// Larger mappings are left to be touched when they are needed.
const MAPPING_BYTES_MAX: usize = 4 << 20;

/// More than the list of mappings of such a process has.
const MAPS_BYTES_MAX: u64 = 1 << 20;
/// Bytes of the stack that calls need below where this is called.
const STACK_BYTES: usize = 48 << 10;

/// Touches the pages of data that this process has, so that nothing that it does later waits for one: after a fork, each of
/// them is copied when it is first written. Pages of code are left to fault: many at once, and all that are there cost
/// time when the process executes or ends.
///
/// For those who wait anyway. A kernel that cannot, or a mapping that it does not do it for, changes nothing but the time.
pub(crate) fn fault_in() {
    let here = 0_u8;
    let stack_from = (&raw const here).addr().saturating_sub(STACK_BYTES);
    let Ok(maps) = small_file::text("/proc/self/maps", MAPS_BYTES_MAX) else { return };
    for (start, len) in maps.lines().filter_map(|line| writable_mapping(line, stack_from)) {
        if populate(start, len) == Err(Errno::EINVAL) {
            return;
        }
    }
}

/// Lets all threads of this process share two heaps instead of having up to eight for each processor, of which each keeps what
/// was freed in it. Where the allocator is another, nothing changes.
pub fn share_heaps() {
    #[cfg(target_env = "gnu")]
    // SAFETY: two plain numbers, and the call takes the allocator's own lock. Memory that others have stays where it is.
    let _is_set = unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };
}

/// Gives memory that was freed back to the system, from within the heaps as well as from their ends. Takes milliseconds, in which
/// others wait who allocate. Where the allocator is another, nothing changes.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a plain number, and the call takes the allocator's own locks. Memory that others have stays where it is.
    let _gave_any = unsafe { libc::malloc_trim(0) };
}

/// Start and length for a line of `/proc/PID/maps`; none for what is shared, only read, or large. Of the stack only what
/// lies above `stack_from`.
fn writable_mapping(line: &str, stack_from: usize) -> Option<(usize, usize)> {
    let mut words = line.split_ascii_whitespace();
    let (range, rights, name) = (words.next()?, words.next()?, words.nth(3).unwrap_or(""));
    let (start, end) = range.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    let start = if name == "[stack]" { start.max(stack_from & !0xfff) } else { start };
    let len = end.checked_sub(start)?;
    let writable = matches!(rights.as_bytes(), [b'r', b'w', _, b'p']);
    (writable && len <= MAPPING_BYTES_MAX).then_some((start, len))
}

fn populate(start: usize, len: usize) -> Result<(), Errno> {
    let start = std::ptr::with_exposed_provenance_mut(start);
    // SAFETY: populating changes no content of a mapping, and fails on what is no mapping.
    Errno::result(unsafe { libc::madvise(start, len, MADV_POPULATE_WRITE) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writable_mappings_are_found() {
        let parsed = |line| writable_mapping(line, 0);
        assert_eq!(parsed("55d0-55d2 r-xp 00001000 08:01 42   /usr/bin/x"), None);
        assert_eq!(parsed("55d0-55d2 rw-p 00001000 08:01 42   /usr/bin/x"), Some((0x55d0, 2)));
        assert_eq!(parsed("10-20 rw-p 0 00:00 0 [heap]"), Some((0x10, 0x10)));
        assert_eq!(parsed("10-20 rw-p 0 00:00 0"), Some((0x10, 0x10)));
        assert_eq!(parsed("10-20 r--p 0 00:00 0 [vvar]"), None);
        assert_eq!(parsed("10-20 rw-s 0 00:00 0 /dev/shm/x"), None);
        assert_eq!(parsed("0-10000000 rw-p 0 00:00 0"), None);
        assert_eq!(parsed("20-10 rw-p 0 00:00 0"), None);
        assert_eq!(parsed("nothing"), None);
        assert_eq!(writable_mapping("1000-9000 rw-p 0 00:00 0 [stack]", 0x4321), Some((0x4000, 0x5000)));
        fault_in();
    }
}
