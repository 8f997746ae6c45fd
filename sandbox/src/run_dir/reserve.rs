//! Space that is kept for the exit record while a run can fill the disk.

use std::fs::File;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, fallocate, openat};
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::RESERVE_FILE;

/// More than a usual record, its directory entry and its temporary twin need, which is about 16 KiB.
const RESERVE_BYTES: libc::off_t = 64 << 10;

/// Reserved space of one run directory.
#[derive(Debug)]
pub(crate) struct Reserve {
    dir: File,
}

impl Reserve {
    /// Reserves space in the directory `dir`. A file system that cannot reserve is no error: then there is none.
    pub(crate) fn take(dir: &File) -> Result<Self, std::io::Error> {
        let flags = OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let dir = dir.try_clone()?;
        let file = openat(&dir, RESERVE_FILE, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        // From here on it goes again, whatever happens: a part of what was asked for may have been got, and the record that
        // says so needs it.
        let reserve = Self { dir };
        match fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES) {
            Ok(()) | Err(Errno::EOPNOTSUPP) => Ok(reserve),
            Err(errno) => {
                drop(file);
                drop(reserve);
                Err(errno.into())
            }
        }
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        // A reserve that cannot be removed is a file that stays; the record may still fit beside it.
        drop(unlinkat(&self.dir, RESERVE_FILE, UnlinkatFlags::NoRemoveDir).map_err(std::io::Error::from));
    }
}
