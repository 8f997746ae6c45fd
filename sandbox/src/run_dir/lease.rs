//! The lease of a run, as far as it is in its directory: how a shim renews it, and what others see of that.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, readlink};
use nix::sys::stat::{FileStat, fstat, fstatat, futimens};
use nix::sys::time::TimeSpec;

use super::claim::{Claim, newest_claim};
use super::{InspectError, LOCK_FILE, read_json, taker};
use crate::spec::{LeaseSpec, RunSpec, SPEC_BYTES_MAX};

/// Longest time from the end of a lease to the end of everything inside, in milliseconds, on a host that still works.
pub const KILL_MS_MAX: u64 = 10_000;

/// Why a lease was not renewed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenewError {
    #[error("attempt {newer} has been taken")]
    Superseded { newer: u64 },
    #[error("its directory is not at `{}` any more, but at `{}`", was.display(), is.display())]
    Moved { was: PathBuf, is: PathBuf },
    #[error("its lock was replaced")]
    Replaced,
    #[error("its claim was removed")]
    Unclaimed,
    #[error("failed to look at {what}: {}", errno.desc())]
    Look { what: &'static str, errno: Errno },
    #[error("failed to list its directory: {0}")]
    List(#[source] io::Error),
    #[error("failed to write to its directory: {}", .0.desc())]
    Write(#[source] Errno),
}

impl Claim {
    /// Proves that attempt `fence` of the run in the directory `dir`, which was at `place` when it began, is still its own,
    /// and says so to others.
    pub(crate) fn renew(&self, dir: &File, fence: u64, place: &Path) -> Result<(), RenewError> {
        let look = |what| move |errno| RenewError::Look { what, errno };
        let is_same = |one: FileStat, other: FileStat| (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino);
        let is = place_of(dir).map_err(look("its directory"))?;
        if is != place {
            return Err(RenewError::Moved { was: place.to_owned(), is });
        }
        let held = fstat(&self.lock).map_err(look("its lock"))?;
        match fstatat(dir, LOCK_FILE, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(named) if is_same(held, named) => {}
            Ok(_) | Err(Errno::ENOENT) => return Err(RenewError::Replaced),
            Err(errno) => return Err(look("its lock")(errno)),
        }
        match newest_claim(dir).map_err(RenewError::List)? {
            Some(newest) if newest == fence => {}
            Some(newer) if newer > fence => return Err(RenewError::Superseded { newer }),
            Some(_) | None => return Err(RenewError::Unclaimed),
        }
        // Needs no space, so a full disk ends no run.
        futimens(&self.lock, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW).map_err(RenewError::Write)
    }
}

/// Where the directory `dir` is now, as the kernel knows it: a shim cannot look names up as others do, since it can live in
/// a view of its own. Of one that is gone the answer is no place, and of one that was moved another one.
pub(crate) fn place_of(dir: &File) -> Result<PathBuf, Errno> {
    Ok(readlink(format!("/proc/self/fd/{}", dir.as_raw_fd()).as_str())?.into())
}

/// When the lease of the run in `dir` was renewed, by the clock of then: only a change says something. None when nothing is
/// there.
///
/// # Errors
/// When the directory cannot be read.
pub fn renewed_at(dir: &Path) -> Result<Option<SystemTime>, InspectError> {
    let path = dir.join(LOCK_FILE);
    match std::fs::metadata(&path).and_then(|found| found.modified()) {
        Ok(at) => Ok(Some(at)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(InspectError::Read { path, source }),
    }
}

/// The lease that the run in `dir` was given; none when it has none.
///
/// # Errors
/// When the spec cannot be read or is none.
pub fn lease_of(dir: &Path) -> Result<Option<LeaseSpec>, InspectError> {
    let spec: Option<RunSpec> = read_json(dir, super::SPEC_FILE, SPEC_BYTES_MAX)?;
    Ok(spec.and_then(|spec| spec.lease))
}

/// Kills the shim that took attempt `fence` of the run in `dir`, stopped or not, and everything inside with it. Whether it
/// lived. That it is gone is to be seen by [`inspect`](super::inspect).
///
/// # Errors
/// When it is not known who it is, or it cannot be reached.
pub fn end_shim(dir: &Path, fence: u64) -> Result<bool, EndShimError> {
    match taker(dir, fence)? {
        Some(shim) => shim.kill().map_err(|errno| EndShimError::Kill { pid: shim.pid, errno }),
        None => Ok(false),
    }
}

/// Failure to end a shim.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndShimError {
    /// Who it is cannot be read.
    #[error("failed to find out which process the shim is")]
    Read(#[from] InspectError),
    /// The kernel refuses.
    #[error("failed to kill process {pid}, which is the shim")]
    Kill {
        /// Its number.
        pid: i32,
        /// The cause.
        #[source]
        errno: Errno,
    },
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A claimed run directory in a directory of its own.
    fn claimed(home: &Path) -> (PathBuf, File, Claim) {
        let place = home.canonicalize().unwrap().join("run");
        fs::create_dir(&place).unwrap();
        let dir = File::open(&place).unwrap();
        let claim = Claim::take(&dir, 2).unwrap();
        (place, dir, claim)
    }

    #[test]
    fn a_lease_is_renewed_while_everything_is_as_it_was() {
        let home = tempfile::tempdir().unwrap();
        let (place, dir, claim) = claimed(home.path());
        let long_ago = SystemTime::UNIX_EPOCH;
        File::open(place.join(LOCK_FILE)).unwrap().set_modified(long_ago).unwrap();
        claim.renew(&dir, 2, &place).unwrap();
        assert!(renewed_at(&place).unwrap().unwrap() > long_ago);
    }

    #[test]
    fn whatever_is_not_as_it_was_is_no_proof() {
        let lost = |change: fn(&Path)| {
            let home = tempfile::tempdir().unwrap();
            let (place, dir, claim) = claimed(home.path());
            change(&place);
            claim.renew(&dir, 2, &place).unwrap_err()
        };
        let moved = |place: &Path| fs::rename(place, place.with_extension("away")).unwrap();
        assert!(matches!(lost(moved), RenewError::Moved { .. }));
        let replaced = |place: &Path| {
            fs::rename(place, place.with_extension("away")).unwrap();
            fs::create_dir(place).unwrap();
        };
        assert!(matches!(lost(replaced), RenewError::Moved { .. }));
        assert!(matches!(lost(|place| fs::remove_dir_all(place).unwrap()), RenewError::Moved { .. }));
        let unlocked = |place: &Path| fs::remove_file(place.join(LOCK_FILE)).unwrap();
        assert!(matches!(lost(unlocked), RenewError::Replaced));
        let relocked = |place: &Path| {
            fs::remove_file(place.join(LOCK_FILE)).unwrap();
            fs::write(place.join(LOCK_FILE), "").unwrap();
        };
        assert!(matches!(lost(relocked), RenewError::Replaced));
        assert!(matches!(lost(|place| fs::remove_file(place.join("claim.2")).unwrap()), RenewError::Unclaimed));
        let newer = |place: &Path| fs::write(place.join("claim.7"), "").unwrap();
        assert!(matches!(lost(newer), RenewError::Superseded { newer: 7 }));
    }
}
