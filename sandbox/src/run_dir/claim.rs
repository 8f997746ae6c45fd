//! Taking a run: the lock that says who is alive and the claim that says which attempts have been taken.
//!
//! **Invariant:** the lock is taken before the claim, so whoever sees a claim without lock and exit record sees a loss.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, OFlag, fcntl, openat};
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::linkat;

use super::{InspectError, LOCK_FILE, ShimIdentity};

const CLAIM_PREFIX: &str = "claim.";

/// Name of the claim file of attempt `fence`.
pub(super) fn file_name(fence: u64) -> String {
    format!("{CLAIM_PREFIX}{fence}")
}

/// Why a run cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    #[error("another shim is alive in this run directory")]
    Busy,
    #[error("attempt {fence} has been taken before")]
    Taken { fence: u64 },
    #[error("attempt {fence} is older than attempt {newer}, which has been taken")]
    Outdated { fence: u64, newer: u64 },
    #[error("failed to lock the run directory: {0}")]
    Lock(#[source] io::Error),
    #[error("failed to write the claim: {0}")]
    Write(#[source] Errno),
    #[error("failed to list the run directory: {0}")]
    List(#[source] io::Error),
    #[error("failed to sync the run directory: {0}")]
    Sync(#[source] io::Error),
}

/// A taken run; the lock is held as long as this lives.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(super) lock: File,
}

impl Claim {
    /// Takes attempt `fence` of the run in the directory `dir`.
    pub(crate) fn take(dir: &File, fence: u64) -> Result<Self, ClaimError> {
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let flags = OFlag::O_CREAT | OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let file = File::from(openat(dir, LOCK_FILE, flags, mode).map_err(|errno| ClaimError::Lock(errno.into()))?);
        if !lock(&file).map_err(ClaimError::Lock)? {
            return Err(ClaimError::Busy);
        }
        forget_name(&file).map_err(ClaimError::Lock)?;
        if let Some(newest) = newest_claim(dir).map_err(ClaimError::List)?.filter(|newest| *newest > fence) {
            return Err(ClaimError::Outdated { fence, newer: newest });
        }
        // A second name of the lock is as exclusive as a new file, and costs no inode.
        match linkat(dir, LOCK_FILE, dir, file_name(fence).as_str(), AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::EEXIST) => return Err(ClaimError::Taken { fence }),
            // Not every file system has that.
            Err(_) => write(dir, fence)?,
        }
        Ok(Self { lock: file })
    }

    /// Has the claim outlast a power loss. Nothing of the run may be executed before.
    pub(crate) fn make_durable(&self, dir: &File) -> io::Result<()> {
        dir.sync_all()
    }

    /// Writes down who holds the lock.
    pub(crate) fn name(&self, identity: &ShimIdentity) -> io::Result<()> {
        self.lock.write_all_at(&serde_json::to_vec(identity)?, 0)
    }
}

/// What an earlier attempt wrote there is not who holds the lock now. A file is not emptied for nothing: some file systems
/// write it to the disk when it is closed then.
fn forget_name(lock: &File) -> io::Result<()> {
    if lock.metadata()?.len() > 0 { lock.set_len(0) } else { Ok(()) }
}

/// Writes the claim of attempt `fence`, which only one can do.
pub(super) fn write(dir: &File, fence: u64) -> Result<(), ClaimError> {
    let claim = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    match openat(dir, file_name(fence).as_str(), claim, Mode::S_IRUSR | Mode::S_IWUSR) {
        Ok(_) => dir.sync_all().map_err(ClaimError::Sync),
        Err(Errno::EEXIST) => Err(ClaimError::Taken { fence }),
        Err(errno) => Err(ClaimError::Write(errno)),
    }
}

/// Whether a shim holds the lock of the run in `dir`. Asks only, so it never stands in a shim's way.
pub(super) fn lock_held(dir: &Path) -> Result<bool, InspectError> {
    let path = dir.join(LOCK_FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(InspectError::Read { path, source }),
    };
    is_locked(&file).map_err(|errno| InspectError::Lock { dir: dir.to_owned(), errno })
}

/// Whether somebody else has a lock of this kind on the file `name` beside the directory `dir`, by whatever path that is
/// reached. Without such a file nobody has.
pub(crate) fn is_locked_beside(dir: &File, name: &str) -> Result<bool, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    match openat(dir, format!("../{name}").as_str(), flags, Mode::empty()) {
        Ok(file) => is_locked(&File::from(file)),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn is_locked(file: &File) -> Result<bool, Errno> {
    let mut lock = whole_file();
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

/// Takes a lock of this kind on `file`, for as long as it is open anywhere. False when somebody else has it.
///
/// # Errors
/// When the file system has no such locks.
pub fn lock(file: &File) -> io::Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file())) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// The highest attempt that was taken in the directory `dir`.
pub(super) fn newest_claim(dir: &File) -> io::Result<Option<u64>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut newest = None;
    for entry in Dir::openat(dir, ".", flags, Mode::empty())?.iter() {
        let entry = entry?;
        let name = entry.file_name().to_str().ok();
        let fence = name.and_then(|name| name.strip_prefix(CLAIM_PREFIX)?.parse::<u64>().ok());
        newest = newest.max(fence);
    }
    Ok(newest)
}

fn whole_file() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}
