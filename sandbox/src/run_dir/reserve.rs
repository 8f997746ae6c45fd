//! Space that is kept for the exit record while a run can fill the disk: the file that becomes it.
//!
//! An inode, its entry in the directory and its blocks are there before the run begins, and no file is made or removed when
//! it ends: on a file system that is busy with others that costs more than all else that a short run does.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, fallocate, openat, renameat};
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::RESERVE_FILE;

/// More than a usual record needs, which is a few KiB.
const RESERVE_BYTES: libc::off_t = 64 << 10;

/// Reserved space of one run directory. Given up, it goes.
#[derive(Debug)]
pub(crate) struct Reserve {
    dir: File,
    file: File,
}

impl Reserve {
    /// Reserves space in the directory `dir`. A file system that cannot reserve is no error: then there is none.
    pub(crate) fn take(dir: &File) -> Result<Self, std::io::Error> {
        let flags = OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let dir = dir.try_clone()?;
        let file = openat(&dir, RESERVE_FILE, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        // From here on it goes again, whatever happens: a part of what was asked for may have been got, and the record that
        // says so needs it.
        let reserve = Self { dir, file: file.into() };
        match fallocate(&reserve.file, FallocateFlags::empty(), 0, RESERVE_BYTES) {
            Ok(()) | Err(Errno::EOPNOTSUPP) => Ok(reserve),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Makes it the file `name` with `bytes` in it, durably. A reader sees nothing or all of it.
    pub(crate) fn become_file(self, name: &str, bytes: &[u8]) -> Result<(), std::io::Error> {
        self.file.write_all_at(bytes, 0)?;
        // What a shim that was killed had written there may have been longer.
        self.file.set_len(bytes.len() as u64)?;
        self.file.sync_all()?;
        renameat(&self.dir, RESERVE_FILE, &self.dir, name)?;
        self.dir.sync_all()
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        // It is not there any more when it became something. One that cannot be removed is a file that stays; a record may
        // still fit beside it.
        drop(unlinkat(&self.dir, RESERVE_FILE, UnlinkatFlags::NoRemoveDir).map_err(std::io::Error::from));
    }
}
