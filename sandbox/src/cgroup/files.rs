//! Reading, writing and waiting on the small files of a group, relative to the descriptor of its directory.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;

use crate::small_file;

/// Most bytes of one file; the longest is a list of processes.
const BYTES_MAX: u64 = 1 << 20;

/// Opens the directory `name` below `dir`.
pub(super) fn directory(dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(dir, name, flags, Mode::empty())
}

pub(super) fn read(dir: BorrowedFd<'_>, name: &str) -> Result<String, Errno> {
    let file = openat(dir, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let bytes = small_file::bytes(File::from(file), BYTES_MAX).map_err(|error| errno_of(&error))?;
    String::from_utf8(bytes).map_err(|_| Errno::EILSEQ)
}

/// Writes `value` in one call, which is how the kernel wants it.
pub(super) fn write(dir: BorrowedFd<'_>, name: &str, value: &str) -> Result<(), Errno> {
    let file = openat(dir, name, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    File::from(file).write_all(value.as_bytes()).map_err(|error| errno_of(&error))
}

/// Writes `value` where the kernel has the file.
pub(super) fn write_if_there(dir: BorrowedFd<'_>, name: &str, value: &str) -> Result<(), Errno> {
    match write(dir, name, value) {
        Err(Errno::ENOENT) => Ok(()),
        written => written,
    }
}

/// The number behind `key` in a file of lines `key number`.
pub(super) fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Waits until `key` in `cgroup.events` is `value`, at the latest until `deadline`. Whether it became so.
pub(super) fn wait_for(dir: BorrowedFd<'_>, key: &str, value: u64, deadline: Instant) -> Result<bool, Errno> {
    let file = File::from(openat(dir, "cgroup.events", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?);
    let mut buffer = [0; 512];
    loop {
        // Reading is also what tells the kernel that earlier changes are known.
        let count = file.read_at(&mut buffer, 0).map_err(|error| errno_of(&error))?;
        if field(&String::from_utf8_lossy(&buffer[..count]), key) == Some(value) {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLPRI)];
        match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

pub(super) fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "populated 1\noom 3\noom_kill 2\nfrozen 0\n";
        assert_eq!(field(text, "oom"), Some(3));
        assert_eq!(field(text, "oom_kill"), Some(2));
        assert_eq!(field(text, "oom_group_kill"), None);
        assert_eq!(field("oom x\noom", "oom"), None);
    }
}
