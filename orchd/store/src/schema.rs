//! The file: whose it is, which version it has, and how an older one becomes the newest.
//!
//! Migrations are an append-only list, forward only, each in one exclusive transaction. A file of a newer version or of
//! another program is refused before anything is written, from its header alone where that is enough.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use orch_proto::id::InstanceId;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use crate::sqlite::{Cause, DbError, During as _, Location, open_reader};

/// `Orch` in ASCII: says that the file is ours.
const APPLICATION_ID: u32 = 0x4f72_6368;

/// Oldest SQLite without the bug that can corrupt a write-ahead log used by two connections.
const SQLITE_VERSION_MIN: i32 = 3_053_000;

/// Version of the file's layout that this program writes: the number of migrations.
#[expect(clippy::cast_possible_truncation, reason = "a handful of migrations")]
pub const SCHEMA_VERSION: u32 = MIGRATIONS.len() as u32;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The SQLite library has a bug that can corrupt the file.
    #[error("SQLite {found} is too old; 3.53 or newer is needed")]
    SqliteTooOld { found: &'static str },
    /// A newer version of this program wrote the file. It was left untouched.
    #[error("`{}` has schema version {found}; this program knows {known}", path.display())]
    SchemaTooNew { path: PathBuf, found: u32, known: u32 },
    /// The file is not a database of this program. It was left untouched.
    #[error("`{}` is not a database of orchd", path.display())]
    Foreign { path: PathBuf },
    /// The file cannot be created or read.
    #[error("failed to open `{}`", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Something else is in its place: a directory, a device. It was left as it is.
    #[error("`{}` is not a file", path.display())]
    NotAFile { path: PathBuf },
    /// The file, or the file system that it is on, can only be read.
    #[error("`{}` can only be read", path.display())]
    ReadOnly {
        path: PathBuf,
        #[source]
        source: Cause,
    },
    /// This user may not read and write it, or the files that SQLite keeps beside it.
    #[error("this user may not read and write `{}`", path.display())]
    Denied {
        path: PathBuf,
        #[source]
        source: Cause,
    },
    /// There is no space to open or migrate it.
    #[error("no space left for `{}`", path.display())]
    Full {
        path: PathBuf,
        #[source]
        source: Cause,
    },
    /// SQLite refuses the file.
    #[error("failed to prepare `{}`", path.display())]
    Database {
        path: PathBuf,
        #[source]
        source: Cause,
    },
    /// The tables could not be made anew from the log.
    #[error("failed to rebuild the tables of `{}`", path.display())]
    Rebuild {
        path: PathBuf,
        #[source]
        source: Cause,
    },
    /// The operating system gives no thread.
    #[error("failed to start the writer thread")]
    Thread(#[source] io::Error),
}

impl OpenError {
    pub(crate) fn database(path: &Path, error: DbError) -> Self {
        // SQLite does not say which of its files cannot be opened, nor why.
        if error.is_missing()
            && let Some(denied) = ["", "-wal", "-shm"].into_iter().find_map(|end| Self::denied(&beside(path, end)))
        {
            return denied;
        }
        let path = path.to_owned();
        let (is_full, is_read_only) = (error.is_full(), error.is_read_only());
        let source: Cause = std::sync::Arc::new(error);
        match (is_full, is_read_only) {
            (true, _) => Self::Full { path, source },
            (_, true) => Self::ReadOnly { path, source },
            _ => Self::Database { path, source },
        }
    }

    /// Why a file that is there cannot be opened, if it is so.
    fn denied(path: &Path) -> Option<Self> {
        match fs::OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Some(Self::file(path, error)),
            _ => None,
        }
    }

    /// What the operating system says of the file.
    pub(crate) fn file(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { path, source: std::sync::Arc::new(source) }
            }
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path, source: std::sync::Arc::new(source) },
            io::ErrorKind::PermissionDenied => Self::Denied { path, source: std::sync::Arc::new(source) },
            _ => Self::Open { path, source },
        }
    }
}

/// Never change an entry; append one. What changes the projected tables also raises `PROJECTION_VERSION`.
const MIGRATIONS: &[&str] =
    &[include_str!("schema/v1.sql"), include_str!("schema/v2.sql"), include_str!("schema/v3.sql")];

/// Refuses a file that must not be touched, without touching it.
pub(crate) fn check_untouched(location: &Location) -> Result<(), OpenError> {
    if rusqlite::version_number() < SQLITE_VERSION_MIN {
        return Err(OpenError::SqliteTooOld { found: rusqlite::version() });
    }
    let path = location.path();
    if !location.is_plain() {
        return check_content(location);
    }
    let io = |source| OpenError::file(path, source);
    // Asked before it is opened: opening a pipe waits for its other end.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(OpenError::NotAFile { path: path.to_owned() });
    }
    let mut header = Vec::new();
    match fs::File::open(path) {
        Ok(file) => file.take(100).read_to_end(&mut header).map_err(io)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
    };
    if header.is_empty() {
        return Ok(());
    }
    let Some(header) = Header::parse(&header) else { return Err(OpenError::Foreign { path: path.to_owned() }) };
    check(path, header)?;
    // The newest header may still be in the write-ahead log. A connection that cannot write does not move it.
    if fs::metadata(beside(path, "-wal")).is_ok_and(|wal| wal.len() > 0) {
        check_content(location)?;
    }
    Ok(())
}

/// A file beside the database.
pub(crate) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Refuses by what a connection that cannot write reads.
fn check_content(location: &Location) -> Result<(), OpenError> {
    let path = location.path();
    match open_reader(location).and_then(|conn| Header::read(&conn)) {
        Ok(header) => check(path, header),
        // Where nobody looked before SQLite: a file that is not there is made, what a crash left while it was made is
        // rolled back by whoever writes first, and a file of another kind is somebody's.
        Err(error) if !location.is_plain() && (error.is_missing() || error.needs_a_writer()) => Ok(()),
        Err(error) if !location.is_plain() && error.is_no_database() => {
            Err(OpenError::Foreign { path: path.to_owned() })
        }
        Err(error) => Err(OpenError::database(path, error)),
    }
}

#[derive(Clone, Copy)]
struct Header {
    schema_cookie: u32,
    user_version: u32,
    application_id: u32,
}

impl Header {
    /// Offsets are those of the SQLite file format, section 1.3.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
        bytes.starts_with(b"SQLite format 3\0").then_some(())?;
        Some(Self { schema_cookie: word(40)?, user_version: word(60)?, application_id: word(68)? })
    }

    fn read(conn: &Connection) -> Result<Self, DbError> {
        let word = |name| conn.pragma_query_value(None, name, |row| row.get::<_, u32>(0)).during("read the header");
        Ok(Self {
            schema_cookie: word("schema_version")?,
            user_version: word("user_version")?,
            application_id: word("application_id")?,
        })
    }
}

fn check(path: &Path, header: Header) -> Result<(), OpenError> {
    // A crash before the first migration leaves an empty file with a header.
    let is_new = header.application_id == 0 && header.user_version == 0 && header.schema_cookie == 0;
    if header.application_id != APPLICATION_ID && !is_new {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    if header.user_version > SCHEMA_VERSION {
        return Err(OpenError::SchemaTooNew {
            path: path.to_owned(),
            found: header.user_version,
            known: SCHEMA_VERSION,
        });
    }
    Ok(())
}

/// Creates the file if there is none, and lets only its owner read it. SQLite gives its other files the same mode.
///
/// What a VFS of its own keeps is private in the way of that VFS, and made by it.
pub(crate) fn create_private(location: &Location) -> Result<(), OpenError> {
    if !location.is_plain() {
        return Ok(());
    }
    let path = location.path();
    let io = |source| OpenError::file(path, source);
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(io)?;
    file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(io)
}

/// Brings the file to [`SCHEMA_VERSION`].
pub(crate) fn migrate(conn: &mut Connection) -> Result<(), DbError> {
    loop {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Exclusive).during("start a migration")?;
        let version = Header::read(&tx)?.user_version;
        let Some(migration) = MIGRATIONS.get(version as usize) else { return Ok(()) };
        tx.execute_batch(migration).during("migrate")?;
        tx.pragma_update(None, "application_id", APPLICATION_ID).during("migrate")?;
        tx.pragma_update(None, "user_version", version + 1).during("migrate")?;
        tx.commit().during("commit a migration")?;
    }
}

/// The layout of a database in memory.
#[cfg(test)]
pub(crate) fn in_memory() -> Result<Connection, DbError> {
    let mut conn = Connection::open_in_memory().during("open a database in memory")?;
    migrate(&mut conn)?;
    Ok(conn)
}

/// The id of this installation: `fresh` when there is none yet.
pub(crate) fn instance(conn: &Connection, fresh: InstanceId) -> Result<InstanceId, DbError> {
    set_if_absent(conn, "instance", &fresh.to_string())?;
    let stored = meta(conn, "instance")?;
    Ok(stored.and_then(|text| text.parse().ok()).unwrap_or(fresh))
}

/// A value of the `meta` table.
pub(crate) fn meta(conn: &Connection, key: &str) -> Result<Option<String>, DbError> {
    conn.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
        .optional()
        .during("read the settings")
}

/// Sets a value of the `meta` table.
pub(crate) fn set_meta(conn: &Connection, key: &str, value: &str) -> Result<(), DbError> {
    conn.execute(
        "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        params![key, value],
    )
    .during("write the settings")?;
    Ok(())
}

fn set_if_absent(conn: &Connection, key: &str, value: &str) -> Result<(), DbError> {
    conn.execute("INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO NOTHING", params![key, value])
        .during("write the settings")?;
    Ok(())
}
