//! A database that no daemon writes: a copy of one, or that of a daemon that is stopped. Read, checked and mended.
//!
//! What it says is read from its tables where this version made them, and from a replay of its log otherwise, so that an
//! older file can be looked at without touching it. **Invariant:** only the functions that say so write.

use std::path::{Path, PathBuf};

use orch_core::digest::Digest;
use orch_core::ids::IdSource;
use orch_core::view::ReadError;
use orch_proto::Timestamp;
use orch_proto::id::InstanceId;
use rusqlite::{Connection, TransactionBehavior};

use crate::compare::{self, RebuildReport};
use crate::log;
use crate::reader::{Deadline, ReadView};
use crate::rebuild;
use crate::schema::{self, OpenError};
use crate::sqlite::{DbError, During as _, Location, open_reader, open_writer};
use crate::verify::{self, ChainReport};

/// A database that nobody writes while this lives.
#[derive(Debug)]
pub struct DatabaseFile {
    path: PathBuf,
    conn: Connection,
    /// What its log says, where its tables are of another version.
    replayed: Option<Connection>,
    is_current: bool,
}

impl DatabaseFile {
    /// Opens the file, which must be there.
    ///
    /// # Errors
    /// When it is of a newer version or of another program, cannot be read, or is of an older version and its log cannot
    /// be replayed.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        std::fs::metadata(path).map_err(|source| OpenError::file(path, source))?;
        schema::check_untouched(&Location::plain(path))?;
        let database = |error: DbError| OpenError::database(path, error);
        let conn = open_reader(&Location::plain(path)).map_err(database)?;
        let is_current = rebuild::is_current(&conn).map_err(database)?;
        let replayed = if is_current { None } else { Some(rebuild::beside(&conn, path)?) };
        Ok(Self { path: path.to_owned(), conn, replayed, is_current })
    }

    /// Opens the file like [`Self::open`], and reads all of it from its log, whoever made its tables.
    ///
    /// # Errors
    /// As [`Self::open`], and when the log cannot be replayed.
    pub fn open_by_log(path: &Path) -> Result<Self, OpenError> {
        let mut file = Self::open(path)?;
        if file.replayed.is_none() {
            file.replayed = Some(rebuild::beside(&file.conn, path)?);
        }
        Ok(file)
    }

    /// Whether this version of the program made its tables. The others are made anew at the next start.
    #[must_use]
    pub const fn is_current(&self) -> bool {
        self.is_current
    }

    /// The version of its layout.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn schema_version(&self) -> Result<u32, ReadError> {
        let version = self.conn.pragma_query_value(None, "user_version", |row| row.get(0)).during("read the header")?;
        Ok(version)
    }

    /// Number and link of the newest event; 0 and zeroes before the first.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn head(&self) -> Result<(u64, Digest), ReadError> {
        let head = log::head(&self.conn)?;
        Ok((head.seq, head.hash))
    }

    /// The id of the installation that wrote it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn instance(&self) -> Result<Option<InstanceId>, ReadError> {
        Ok(schema::meta(&self.conn, "instance")?.and_then(|text| text.parse().ok()))
    }

    /// Recomputes the chain over the whole log.
    ///
    /// # Errors
    /// When the log cannot be read. That it is broken is no error, but what the report says.
    pub fn verify_chain(&self) -> Result<ChainReport, ReadError> {
        Ok(verify::verify(&self.conn, self.tables())?)
    }

    /// What SQLite's own check of the file says: `ok`, or what is wrong.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn integrity(&self) -> Result<String, ReadError> {
        Ok(verify::integrity(&self.conn)?)
    }

    /// Compares every row of every table with the log. Nothing to compare where another version made the
    /// tables.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn check_rebuild(&self) -> Result<RebuildReport, ReadError> {
        if !self.is_current() {
            return Ok(RebuildReport::default());
        }
        Ok(compare::all(&Location::plain(&self.path), &mut |_| true)?.unwrap_or_default())
    }

    /// Reads what it says. Takes as long as it takes.
    ///
    /// # Errors
    /// What `reader` answers, or that it cannot be read.
    pub fn read<T, E: From<ReadError>>(&self, reader: impl FnOnce(&ReadView<'_>) -> Result<T, E>) -> Result<T, E> {
        let seq = log::head(&self.conn).map_err(ReadError::from)?.seq;
        let deadline = Deadline::never();
        reader(&ReadView::new(self.tables(), &deadline, seq))
    }

    /// Reads what its log says, which is in the file whoever made its tables. Takes as long as it takes.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_log<T, E: From<ReadError>>(&self, reader: impl FnOnce(&ReadView<'_>) -> Result<T, E>) -> Result<T, E> {
        let seq = log::head(&self.conn).map_err(ReadError::from)?.seq;
        let deadline = Deadline::never();
        reader(&ReadView::new(&self.conn, &deadline, seq))
    }

    fn tables(&self) -> &Connection {
        self.replayed.as_ref().unwrap_or(&self.conn)
    }

    /// Makes all tables of the file anew from its log, in one transaction. Nobody else may have it open.
    ///
    /// # Errors
    /// When the log cannot be replayed or the file cannot be written; it is as it was then.
    pub fn rebuild_tables(path: &Path) -> Result<(), OpenError> {
        schema::check_untouched(&Location::plain(path))?;
        let database = |error: DbError| OpenError::database(path, error);
        let mut conn = open_writer(&Location::plain(path)).map_err(database)?;
        schema::migrate(&mut conn).map_err(database)?;
        rebuild::anew(&mut conn, path)
    }

    /// Makes a copy an installation of its own: it gets a new id, and remembers of which event of which installation it
    /// is. Nobody else may have it open.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn become_another(path: &Path, seed: [u8; 32], now: Timestamp) -> Result<InstanceId, OpenError> {
        schema::check_untouched(&Location::plain(path))?;
        let fresh: InstanceId = IdSource::seeded(seed).draw(now);
        another(path, fresh).map_err(|error| OpenError::database(path, error))?;
        Ok(fresh)
    }
}

fn another(path: &Path, fresh: InstanceId) -> Result<(), DbError> {
    let mut conn = open_writer(&Location::plain(path))?;
    let tx = conn.transaction_with_behavior(TransactionBehavior::Exclusive).during("name the copy")?;
    let origin = schema::meta(&tx, "instance")?.unwrap_or_default();
    let head = log::head(&tx)?.seq;
    schema::set_meta(&tx, "restored_from", &format!("{origin} at event {head}"))?;
    schema::set_meta(&tx, "instance", &fresh.to_string())?;
    tx.commit().during("name the copy")?;
    conn.close().map_err(|(_, error)| error).during("close the copy")
}
