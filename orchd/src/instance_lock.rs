//! One daemon per state directory, by a lock that the kernel gives back when the process dies.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

/// Held as long as the daemon lives.
#[derive(Debug)]
pub(crate) struct InstanceLock {
    _file: Flock<File>,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    #[error("another daemon ({holder}) uses the state directory `{}`", directory.display())]
    Taken { directory: PathBuf, holder: String },
    #[error("failed to open the lock file `{}`", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl InstanceLock {
    /// Takes the lock at `path`.
    ///
    /// # Errors
    /// When another process has it, or the file cannot be used.
    pub(crate) fn take(path: &Path) -> Result<Self, LockError> {
        let open = |source| LockError::Open { path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(open)?;
        let mut file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => file,
            Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
                let mut holder = String::new();
                // The text is for people only; the lock itself is the truth.
                let read = file.read_to_string(&mut holder);
                let holder =
                    if read.is_ok() && !holder.trim().is_empty() { holder.trim().to_owned() } else { "unknown".into() };
                let directory = path.parent().unwrap_or(path).to_owned();
                return Err(LockError::Taken { directory, holder });
            }
            Err((_, errno)) => return Err(open(errno.into())),
        };
        file.set_len(0).map_err(open)?;
        file.rewind().map_err(open)?;
        writeln!(file, "pid {}", std::process::id()).map_err(open)?;
        Ok(Self { _file: file })
    }
}
