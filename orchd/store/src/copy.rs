//! A copy of the database while the writer goes on, as a file of its own.
//!
//! `VACUUM INTO` from a reader: one state of the file, written anew without free pages, so that a copy is never larger
//! than what it is of. The read holds the write-ahead log back meanwhile, which then grows by what is written. Knows
//! nothing of backups.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::OpenFlags;

use crate::sqlite::{Cause, DbError, During as _, Location, common};
use crate::store::Store;

/// Instructions of SQLite's machine between two questions to who watches.
const OPS_PER_LOOK: i32 = 2_000;

/// Asked now and then while a copy is made, with the bytes that it has so far. Says whether to go on.
pub type Watch = Arc<dyn Fn(u64) -> bool + Send + Sync>;

/// Why there is no copy. The caller removes what is there of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// Who watches said so.
    #[error("the copy was stopped")]
    Stopped,
    /// There is no space left for it.
    #[error("no space left for `{}`", path.display())]
    Full {
        path: PathBuf,
        #[source]
        source: Cause,
    },
    /// It cannot be read or written.
    #[error("failed to copy the database to `{}`", path.display())]
    Failed {
        path: PathBuf,
        #[source]
        source: Cause,
    },
}

impl Store {
    /// Writes a copy of the state as it is now to `target`, which must not exist. Writers go on. Blocks; the copy is not
    /// synced.
    ///
    /// # Errors
    /// [`CopyError`]; part of the file may be there then.
    pub fn copy_to(&self, target: &Path, watch: Watch) -> Result<(), CopyError> {
        if !watch(0) {
            return Err(CopyError::Stopped);
        }
        let path = || target.to_owned();
        copy(self.location(), target, watch).map_err(|error| match error {
            error if error.is_interrupted() => CopyError::Stopped,
            error if error.is_full() => CopyError::Full { path: path(), source: Arc::new(error) },
            error => CopyError::Failed { path: path(), source: Arc::new(error) },
        })
    }

    /// Size of the database in bytes, without its write-ahead log: what a copy has at most.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        std::fs::metadata(self.location().path()).map_or(0, |file| file.len())
    }
}

fn copy(source: &Location, target: &Path, watch: Watch) -> Result<(), DbError> {
    // Like other readers, but for `query_only`, which would forbid to write the copy, too.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = source.connect(flags).during("open the database for reading")?;
    common(&conn)?;
    let seen = target.to_owned();
    let ask = move || !watch(std::fs::metadata(&seen).map_or(0, |file| file.len()));
    conn.progress_handler(OPS_PER_LOOK, Some(ask)).during("set up a reading connection")?;
    let path = target.to_str().ok_or_else(|| rusqlite::Error::InvalidPath(target.to_owned()));
    path.and_then(|path| conn.execute("VACUUM INTO ?1", [path])).during("copy the database")?;
    Ok(())
}
