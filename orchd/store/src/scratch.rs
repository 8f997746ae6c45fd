//! A database for a while: tables that are made to be read and then forgotten, too large for memory.
//!
//! It lies beside the file that it is made from, where there is room for it as there is for that, and has no name any more once it is
//! made: the operating system removes it when it is closed, also when the program is killed.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::{Connection, OpenFlags};

use crate::schema;
use crate::sqlite::{DbError, During as _, common};

/// What follows the name of a database in that of one which is made from it.
const NAME: &str = "-scratch-";

/// An empty database with the layout of ours, beside the file `path`. Where nothing may be written there, as beside a backup on
/// a disk that can only be read, where SQLite keeps its temporary files.
pub(crate) fn beside(path: &Path) -> Result<Connection, DbError> {
    clear(path);
    match named(path) {
        Ok(place) => {
            let made = make(&place);
            drop(fs::remove_file(&place));
            made
        }
        Err(_) => make(Path::new("")),
    }
}

/// A file that only its owner can read, under a name that nobody else uses.
fn named(path: &Path) -> io::Result<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let place = schema::beside(path, &format!("{NAME}{}-{count}", std::process::id()));
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&place)?;
    Ok(place)
}

/// Removes what has a name still: it was being made when the program was killed.
fn clear(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let begins = [name.as_encoded_bytes(), NAME.as_bytes()].concat();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(&begins)) {
        // One that somebody is making at this moment loses its name a little earlier.
        drop(fs::remove_file(entry.path()));
    }
}

fn make(place: &Path) -> Result<Connection, DbError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(place, flags).during("make a database for a while")?;
    common(&conn)?;
    // Nothing of it is worth a sync, or a way back.
    conn.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE;
         PRAGMA journal_mode = OFF;
         PRAGMA synchronous = OFF;
         PRAGMA cache_size = -16384;",
    )
    .during("make a database for a while")?;
    schema::migrate(&mut conn)?;
    Ok(conn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_no_name_and_is_cleared_when_it_was_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("orch.db");
        let left = dir.path().join("orch.db-scratch-1-0");
        fs::write(&left, "half").unwrap();
        fs::write(&path, "somebody's").unwrap();
        let conn = beside(&path).unwrap();
        // More than is kept in memory, so that the file is written to without its name.
        conn.execute_batch("BEGIN").unwrap();
        for number in 0..20_000 {
            schema::set_meta(&conn, &format!("key {number}"), &"x".repeat(2_000)).unwrap();
        }
        conn.execute_batch("COMMIT").unwrap();
        assert_eq!(schema::meta(&conn, "key 7").unwrap().unwrap().len(), 2_000);
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["orch.db"]);
        assert_eq!(fs::read(&path).unwrap(), b"somebody's");
    }

    #[test]
    fn where_nothing_may_be_written_it_lies_elsewhere() {
        let conn = beside(Path::new("/proc/orch.db")).unwrap();
        schema::set_meta(&conn, "key", "value").unwrap();
        assert_eq!(schema::meta(&conn, "key").unwrap().as_deref(), Some("value"));
    }
}
