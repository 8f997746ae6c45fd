//! The run directory: all that is known about one attempt, readable with or without a living shim.
//!
//! Format version 1 ([`FORMAT_VERSION`](crate::exit_record::FORMAT_VERSION)):
//!
//! | file | written by | meaning |
//! | --- | --- | --- |
//! | `spec.json` | caller, before the start | a [`RunSpec`] |
//! | `lock` | shim | open-file-description write lock (`F_OFD_SETLK`) for the life of the shim; holds a [`ShimIdentity`], who that is or was, and is touched when its lease is renewed |
//! | `claim.<fence>` | shim, as another name of `lock` | this attempt has been taken; never taken twice, never below a higher one |
//! | `log` | shim | see [`crate::log`] |
//! | `control.sock` | shim | see [`crate::control`]; nobody listens when the shim is gone |
//! | `reserve` | shim | space for the exit record on a disk that a job has filled |
//! | `exit.json` | shim, which renames `reserve`, both synced | an [`ExitRecord`] |
//!
//! Earlier versions wrote who the shim is to `shim.json`, which is read where `lock` says nothing. An attempt that was given
//! up before a shim took it has a claim that is an empty file of its own.
//!
//! **Invariant:** the lock says who is alive, never a pid. A lock cannot outlive its process or the boot. A name that says more
//! than the lock is only ever a reason to wait: the file with the lock may be another one by now.
//! **Invariant:** a shim that does not get the claim writes nothing else.

mod claim;
mod durable;
mod identity;
mod lease;
mod reserve;

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use serde::Deserialize;

pub use claim::lock;
pub(crate) use claim::{Claim, ClaimError, is_locked_beside};
pub(crate) use durable::{write_atomic, write_durable};
pub use identity::ShimIdentity;
pub(crate) use identity::{boot_id, lives, start_ticks};
pub use lease::{EndShimError, KILL_MS_MAX, end_shim, lease_of, renewed_at};
pub(crate) use lease::{RenewError, place_of};
pub(crate) use reserve::Reserve;

use crate::exit_record::ExitRecord;
use crate::leftovers;
use crate::small_file;
use crate::spec::{Isolation, RunSpec, SPEC_BYTES_MAX};

/// Name of the spec within a run directory.
pub const SPEC_FILE: &str = "spec.json";
/// Name of the log within a run directory.
pub const LOG_FILE: &str = "log";
/// Name of the exit record within a run directory.
pub const EXIT_FILE: &str = "exit.json";
/// Name of the file with the shim's identity within a run directory, on which it holds its lock.
pub const SHIM_FILE: &str = LOCK_FILE;
/// Where earlier versions wrote it.
const OLD_SHIM_FILE: &str = "shim.json";
/// Name of the control socket within a run directory.
pub const CONTROL_FILE: &str = "control.sock";
const LOCK_FILE: &str = "lock";
const RESERVE_FILE: &str = "reserve";

/// Most bytes of an `exit.json`; steps and guarantees are bounded, so it stays far below.
const EXIT_BYTES_MAX: u64 = 4 << 20;

/// What has become of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Liveness {
    /// Its shim lives.
    Running {
        /// Who it is; `None` in the moment before it wrote that.
        shim: Option<ShimIdentity>,
    },
    /// It ended, and this is how.
    Exited(Box<ExitRecord>),
    /// No shim ever claimed it: it can be started.
    NotStarted,
    /// A shim claimed it and is gone without an exit record; everything inside died with it, or without isolation is ended
    /// by [`end_rest`].
    Lost,
    /// A shim claimed it and lives, but what is here now is not what it holds: somebody has taken its lock, or all of its
    /// directory, away. It ends by itself when its lease is over, and [`end_shim`] ends it at once.
    Unseen {
        /// Who it is.
        shim: ShimIdentity,
    },
}

/// Failure to write a run directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// The directory cannot be made.
    #[error("failed to create run directory `{}`", dir.display())]
    Create {
        /// The run directory.
        dir: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The spec has no JSON form, because a path in it is not UTF-8.
    #[error("failed to write the spec as json")]
    Encode(#[source] serde_json::Error),
    /// The spec cannot be written.
    #[error("failed to write `spec.json`")]
    Write(#[source] io::Error),
}

/// Failure to find out what has become of an attempt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// A file of the run directory cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file of the run directory is not what it should be.
    #[error("failed to understand `{}`", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The lock cannot be asked.
    #[error("failed to ask the lock of `{}`", dir.display())]
    Lock {
        /// The run directory.
        dir: PathBuf,
        /// The cause.
        #[source]
        errno: Errno,
    },
}

/// Makes the run directory, readable for its owner only, and writes the spec into it. After a power loss there may be none,
/// or half of one, but only while nobody has claimed the attempt: it is prepared again then.
///
/// # Errors
/// When the directory or the spec cannot be written. An existing directory is fine.
pub fn prepare(dir: &Path, spec: &RunSpec) -> Result<(), PrepareError> {
    let create = |source| PrepareError::Create { dir: dir.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(create)?;
    let json = serde_json::to_vec_pretty(spec).map_err(PrepareError::Encode)?;
    let handle = File::open(dir).map_err(create)?;
    write_atomic(&handle, SPEC_FILE, &json).map_err(|error| PrepareError::Write(error.into()))
}

/// Makes sure that attempt `fence` of the run in `dir` never starts, also when its start is under way. Whether that is so;
/// otherwise a shim has taken it: [`inspect`] says what became of that.
///
/// # Errors
/// When the directory cannot be written. The attempt may start then.
pub fn forestall(dir: &Path, fence: u64) -> Result<bool, ForestallError> {
    let failed = |source| ForestallError { dir: dir.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    let handle = File::open(dir).map_err(failed)?;
    match claim::write(&handle, fence) {
        Ok(()) => Ok(true),
        Err(ClaimError::Taken { .. }) => Ok(false),
        Err(ClaimError::Write(errno)) => Err(failed(errno.into())),
        Err(error) => Err(failed(io::Error::other(error))),
    }
}

/// Failure to keep an attempt from starting.
#[derive(Debug, thiserror::Error)]
#[error("failed to claim the run in `{}`", dir.display())]
pub struct ForestallError {
    /// The run directory.
    dir: PathBuf,
    /// The cause.
    #[source]
    source: io::Error,
}

/// Path of the log of the run in `dir`, for [`LogReader::open`](crate::log::LogReader::open).
pub fn log_path(dir: &Path) -> PathBuf {
    dir.join(LOG_FILE)
}

/// Whether a shim holds the run in `dir`, whatever it does and whether or not it can be reached.
///
/// # Errors
/// When the lock cannot be asked.
pub fn is_held(dir: &Path) -> Result<bool, InspectError> {
    claim::lock_held(dir)
}

/// Finds out what has become of attempt `fence` of the run in `dir`.
///
/// # Errors
/// When the directory cannot be read or holds something else.
pub fn inspect(dir: &Path, fence: u64) -> Result<Liveness, InspectError> {
    if let Some(record) = exit_record(dir, fence)? {
        return Ok(Liveness::Exited(Box::new(record)));
    }
    let lock_held = claim::lock_held(dir)?;
    if lock_held {
        return Ok(match identity(dir)? {
            // A newer attempt lives here, which it could only after this one was gone.
            Some(other) if other.fence > fence => claimed_or_not(dir, fence),
            // The lock is taken before the claim and the claim before the name is written.
            Some(other) if other.fence < fence => match claimed_or_not(dir, fence) {
                Liveness::Lost => Liveness::Running { shim: None },
                other => other,
            },
            shim => Liveness::Running { shim },
        });
    }
    // The shim may have written its record and gone between the two looks.
    match exit_record(dir, fence)? {
        Some(record) => Ok(Liveness::Exited(Box::new(record))),
        None => Ok(match claimed_or_not(dir, fence) {
            // Who holds the lock has gone, or the lock is not that of whoever took this attempt.
            Liveness::Lost => match taker(dir, fence)? {
                Some(shim) if shim.lives() => Liveness::Unseen { shim },
                _ => Liveness::Lost,
            },
            other => other,
        }),
    }
}

/// Who took attempt `fence`, as far as that is written down.
fn taker(dir: &Path, fence: u64) -> Result<Option<ShimIdentity>, InspectError> {
    // The claim is another name of the lock that was taken with it, and stays when that is taken away.
    let claimed = match read_json(dir, &claim::file_name(fence), EXIT_BYTES_MAX) {
        Ok(Some(claimed)) => Some(claimed),
        // A file system without such names, or an earlier version.
        Ok(None) | Err(InspectError::Decode { .. }) => identity(dir)?,
        Err(error) => return Err(error),
    };
    Ok(claimed.filter(|shim: &ShimIdentity| shim.fence == fence))
}

/// Who holds the lock; none in the moment before that was written.
fn identity(dir: &Path) -> Result<Option<ShimIdentity>, InspectError> {
    match read_json(dir, SHIM_FILE, EXIT_BYTES_MAX) {
        Ok(Some(identity)) => Ok(Some(identity)),
        // It may just be being written.
        Ok(None) | Err(InspectError::Decode { .. }) => read_json(dir, OLD_SHIM_FILE, EXIT_BYTES_MAX),
        Err(error) => Err(error),
    }
}

fn claimed_or_not(dir: &Path, fence: u64) -> Liveness {
    if dir.join(claim::file_name(fence)).exists() { Liveness::Lost } else { Liveness::NotStarted }
}

/// The exit record of attempt `fence`, if there is one.
fn exit_record(dir: &Path, fence: u64) -> Result<Option<ExitRecord>, InspectError> {
    let record: Option<ExitRecord> = read_json(dir, EXIT_FILE, EXIT_BYTES_MAX)?;
    Ok(record.filter(|record| record.fence == fence))
}

/// Ends what the run in `dir` has left though its shim is gone, where the kernel does not: without isolation. For whoever has
/// found it lost, before another attempt begins. How many processes that were.
///
/// # Errors
/// When they cannot be looked for.
pub fn end_rest(dir: &Path) -> io::Result<usize> {
    // One whose spec cannot be read may be anything.
    let spec: Option<RunSpec> = read_json(dir, SPEC_FILE, SPEC_BYTES_MAX).unwrap_or_default();
    match spec.map(|spec| spec.isolation) {
        Some(Isolation::Sandboxed) => Ok(0),
        Some(Isolation::None) | None => leftovers::end(),
    }
}

/// Reads the spec of the run in the open directory `dir`; `None` when there is none.
pub(crate) fn read_spec_in(dir: &File) -> Result<Option<RunSpec>, InspectError> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let file = openat(dir, SPEC_FILE, flags, Mode::empty()).map(File::from).map_err(io::Error::from);
    decode(file, PathBuf::from(SPEC_FILE), SPEC_BYTES_MAX)
}

fn read_json<T: for<'de> Deserialize<'de>>(dir: &Path, name: &str, max_bytes: u64) -> Result<Option<T>, InspectError> {
    let path = dir.join(name);
    decode(File::open(&path), path, max_bytes)
}

fn decode<T: for<'de> Deserialize<'de>>(
    file: io::Result<File>,
    path: PathBuf,
    max_bytes: u64,
) -> Result<Option<T>, InspectError> {
    let json = match file.and_then(|file| small_file::bytes(file, max_bytes)) {
        Ok(json) => json,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(InspectError::Read { path, source }),
    };
    serde_json::from_slice(&json).map(Some).map_err(|source| InspectError::Decode { path, source })
}
