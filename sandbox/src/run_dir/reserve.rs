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

/// More than a usual record needs, which is 3 KiB. It is kept: a file system may have a disk discard what is freed and wait for
/// that, at the very end of every run.
const RESERVE_BYTES: libc::off_t = 8 << 10;
/// More than the record needs for another step.
const RESERVE_BYTES_OF_STEP: libc::off_t = 512;

/// Reserved space of one run directory. Given up, it goes.
#[derive(Debug)]
pub(crate) struct Reserve {
    dir: File,
    file: File,
    /// Whether it has become a file that stays.
    is_kept: bool,
}

impl Reserve {
    /// Reserves space in the directory `dir` for the record of a run with so many steps. A file system that cannot reserve is
    /// no error: then there is none.
    pub(crate) fn take(dir: &File, steps: usize) -> Result<Self, std::io::Error> {
        let flags = OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let dir = dir.try_clone()?;
        let file = openat(&dir, RESERVE_FILE, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        // From here on it goes again, whatever happens: a part of what was asked for may have been got, and the record that
        // says so needs it.
        let reserve = Self { dir, file: file.into(), is_kept: false };
        let of_steps = libc::off_t::try_from(steps).unwrap_or(0).saturating_mul(RESERVE_BYTES_OF_STEP);
        let bytes = RESERVE_BYTES.saturating_add(of_steps);
        match fallocate(&reserve.file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, bytes) {
            Ok(()) | Err(Errno::EOPNOTSUPP) => Ok(reserve),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Makes it the file `name` with `bytes` in it, durably. A reader sees nothing or all of it.
    pub(crate) fn become_file(mut self, name: &str, bytes: &[u8]) -> Result<(), std::io::Error> {
        self.file.write_all_at(bytes, 0)?;
        let len = bytes.len() as u64;
        // What a shim that was killed had written there may have been longer.
        if self.file.metadata()?.len() > len {
            self.file.set_len(len)?;
        }
        self.file.sync_all()?;
        renameat(&self.dir, RESERVE_FILE, &self.dir, name)?;
        self.is_kept = true;
        self.dir.sync_all()
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        // One that cannot be removed is a file that stays; a record may
        // still fit beside it.
        drop(unlinkat(&self.dir, RESERVE_FILE, UnlinkatFlags::NoRemoveDir).map_err(std::io::Error::from));
    }
}
