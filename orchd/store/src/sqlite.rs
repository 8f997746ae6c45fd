//! How statements fail, and which failures put more than their own command in doubt.
//!
//! Knows the binding's error type so that the rest of the crate can speak of full disks and broken files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use orch_core::view::ReadError;
use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig, ffi};

/// A cause as it stands in public errors: shared, because all commands of a batch fail by the same one.
pub(crate) type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Longest wait for a lock of the database file. Locks are held by checkpoints and recovery only, never by commands.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(2);

/// A read or write of the database that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DbError {
    #[error("failed to {what}")]
    Statement {
        what: &'static str,
        #[source]
        source: rusqlite::Error,
    },
    #[error("stored {kind} `{id}` cannot be decoded")]
    Row {
        kind: &'static str,
        id: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("stored event {seq} cannot be decoded{}", if *.schema_version > orch_core::event::EVENT_SCHEMA_VERSION { "; a newer version of the program wrote it" } else { "" })]
    Event {
        seq: u64,
        schema_version: u32,
        #[source]
        source: serde_json::Error,
    },
    #[error("stored {column} of event {seq} is not valid")]
    Column { seq: u64, column: &'static str },
    #[error("stored outcome of command `{id}` cannot be decoded")]
    Outcome {
        id: String,
        #[source]
        source: serde_json::Error,
    },
}

/// Puts into words what a statement was for.
pub(crate) trait During<T> {
    /// Names what failed, as in "failed to ...".
    fn during(self, what: &'static str) -> Result<T, DbError>;
}

impl<T> During<T> for Result<T, rusqlite::Error> {
    fn during(self, what: &'static str) -> Result<T, DbError> {
        self.map_err(|source| DbError::Statement { what, source })
    }
}

impl From<DbError> for ReadError {
    fn from(error: DbError) -> Self {
        Self(Box::new(error))
    }
}

impl DbError {
    fn code(&self) -> Option<&ffi::Error> {
        match self {
            Self::Statement { source: rusqlite::Error::SqliteFailure(error, _), .. } => Some(error),
            Self::Statement { .. }
            | Self::Row { .. }
            | Self::Event { .. }
            | Self::Column { .. }
            | Self::Outcome { .. } => None,
        }
    }

    /// Whether there is no space left for what was to be written.
    pub(crate) fn is_full(&self) -> bool {
        // The index of the write-ahead log is a file too: it cannot grow on a full disk.
        self.code().is_some_and(|e| e.code == ErrorCode::DiskFull || e.extended_code == ffi::SQLITE_IOERR_SHMSIZE)
    }

    /// Whether the file, or what it is on, can only be read.
    pub(crate) fn is_read_only(&self) -> bool {
        let codes = [ffi::SQLITE_READONLY, ffi::SQLITE_READONLY_DIRECTORY];
        self.code().is_some_and(|e| codes.contains(&e.extended_code))
    }

    /// Whether there is no such file.
    pub(crate) fn is_missing(&self) -> bool {
        self.code().is_some_and(|e| e.code == ErrorCode::CannotOpen)
    }

    /// Whether the file cannot be read before somebody who may write has rolled it back.
    pub(crate) fn needs_a_writer(&self) -> bool {
        self.code().is_some_and(|e| e.extended_code == ffi::SQLITE_READONLY_ROLLBACK)
    }

    /// Whether the file is of some other kind.
    pub(crate) fn is_no_database(&self) -> bool {
        self.code().is_some_and(|e| e.code == ErrorCode::NotADatabase)
    }

    /// Whether the read took longer than it was given.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.code().is_some_and(|e| e.code == ErrorCode::OperationInterrupted)
    }

    /// Whether the failure is of the file, disk or memory, so that the whole transaction is in doubt.
    pub(crate) fn is_of_the_file(&self) -> bool {
        self.code().is_some_and(|e| {
            matches!(
                e.code,
                ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::OutOfMemory
                    | ErrorCode::ReadOnly
                    | ErrorCode::CannotOpen
                    | ErrorCode::PermissionDenied
                    | ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::InternalMalfunction
                    | ErrorCode::FileLockingProtocolFailed
                    | ErrorCode::SchemaChanged
            )
        })
    }
}

/// Where a database lies.
#[derive(Clone, Debug)]
pub(crate) struct Location {
    /// As the VFS understands it.
    path: PathBuf,
    /// The VFS that keeps the file; none for the files of the operating system.
    vfs: Option<String>,
}

impl Location {
    pub(crate) fn new(path: &Path, vfs: Option<String>) -> Self {
        Self { path: path.to_owned(), vfs }
    }

    /// A file of the operating system.
    pub(crate) fn plain(path: &Path) -> Self {
        Self::new(path, None)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is a file of the operating system, which can be looked at without SQLite.
    pub(crate) const fn is_plain(&self) -> bool {
        self.vfs.is_none()
    }

    pub(crate) fn connect(&self, flags: OpenFlags) -> rusqlite::Result<Connection> {
        match &self.vfs {
            None => Connection::open_with_flags(&self.path, flags),
            Some(vfs) => Connection::open_with_flags_and_vfs(&self.path, flags, vfs.as_str()),
        }
    }
}

/// Opens the one connection that writes, with what every transaction relies on.
pub(crate) fn open_writer(location: &Location) -> Result<Connection, DbError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = location.connect(flags).during("open the database")?;
    common(&conn)?;
    // Stepped to its end: the switch is a commit, and that comes after the row which says that it is done.
    let modes: Vec<String> = conn
        .prepare("PRAGMA journal_mode = WAL")
        .and_then(|mut switch| switch.query_map([], |row| row.get(0))?.collect())
        .during("switch to the write-ahead log")?;
    if modes != ["wal"] {
        let failure = ffi::Error::new(ffi::SQLITE_CANTOPEN);
        let text = format!("the file system gives journal mode {modes:?} only");
        return Err(rusqlite::Error::SqliteFailure(failure, Some(text))).during("switch to the write-ahead log");
    }
    // FULL: an acknowledged command survives a power loss. Checkpoints are made by the writer thread, between batches.
    conn.execute_batch(
        "PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA cache_size = -4096;
         PRAGMA journal_size_limit = 16777216;",
    )
    .during("set up the writing connection")?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).during("set up the writing connection")?;
    Ok(conn)
}

/// Opens a connection that cannot write.
pub(crate) fn open_reader(location: &Location) -> Result<Connection, DbError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = location.connect(flags).during("open the database for reading")?;
    common(&conn)?;
    // Every commit makes SQLite forget the pages that a reader knows, so that many of them are memory without a use; the
    // operating system has them as well.
    conn.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -512").during("set up a reading connection")?;
    Ok(conn)
}

/// What every connection is set up with.
pub(crate) fn common(conn: &Connection) -> Result<(), DbError> {
    conn.busy_timeout(LOCK_WAIT).during("set up the connection")?;
    // Otherwise SQLite compiles a statement anew whenever a value of its condition changes, to look whether other statistics
    // give another plan; there are none, and every statement names what it finds rows by.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).during("set up the connection")?;
    conn.set_prepared_statement_cache_capacity(128);
    conn.execute_batch(
        "PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;
         PRAGMA temp_store = MEMORY;",
    )
    .during("set up the connection")
}
