//! The file: private, of one installation, refused untouched when it is not ours to open.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use orch_store::{OpenError, SCHEMA_VERSION, Store};
use rusqlite::Connection;

use crate::support::{Bed, assert_sound, create, envelope, open, options};

/// Opens, which must fail, and checks that nothing in the directory has changed.
fn refused(dir: &Path) -> OpenError {
    let state = || {
        let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            // The index of the write-ahead log is no state: it is made anew by whoever reads first.
            .filter(|path| !path.to_string_lossy().ends_with("-shm"))
            .map(|path| (path.to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
            .collect();
        files.sort();
        files
    };
    let before = state();
    let error = Store::open(&dir.join("orch.db"), options(2)).unwrap_err();
    assert_eq!(state(), before);
    error
}

#[test]
fn a_file_of_a_newer_version_is_refused_untouched() {
    let mut bed = Bed::new();
    bed.store().execute_blocking(envelope(1, create("shop"))).unwrap();
    bed.store = None;
    let raw = Connection::open(bed.path()).unwrap();
    raw.pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
    // Still in the write-ahead log: the header of the file itself is of this version.
    let error = refused(bed.dir.path());
    assert!(matches!(error, OpenError::SchemaTooNew { found, known, .. } if found == known + 1), "{error:?}");
    drop(raw);
    let error = refused(bed.dir.path());
    assert!(matches!(error, OpenError::SchemaTooNew { .. }), "{error:?}");
}

#[test]
fn what_is_no_database_of_ours_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orch.db");
    std::fs::write(&path, "not a database, but somebody's text").unwrap();
    assert!(matches!(refused(dir.path()), OpenError::Foreign { .. }));
    std::fs::remove_file(&path).unwrap();
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch("CREATE TABLE theirs (a)").unwrap();
    drop(raw);
    assert!(matches!(refused(dir.path()), OpenError::Foreign { .. }));
    let missing = Store::open(&dir.path().join("missing/orch.db"), options(1)).unwrap_err();
    assert!(matches!(missing, OpenError::Open { .. }), "{missing:?}");
}

/// What lies in its place, and a disk that has no room, are not the file's damage.
#[test]
fn what_keeps_it_from_being_opened_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orch.db");
    std::fs::create_dir(&path).unwrap();
    let other = Store::open(&path, options(1)).unwrap_err();
    assert!(matches!(other, OpenError::NotAFile { .. }), "{other:?}");
    std::fs::remove_dir(&path).unwrap();
    // Opened, a pipe would wait for its other end.
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let pipe = Store::open(&path, options(1)).unwrap_err();
    assert!(matches!(pipe, OpenError::NotAFile { .. }), "{pipe:?}");
    std::fs::remove_file(&path).unwrap();
    let full = Store::open(Path::new("/dev/full"), options(1)).unwrap_err();
    assert!(matches!(full, OpenError::NotAFile { .. }), "{full:?}");
    if nix::unistd::geteuid().is_root() {
        return;
    }
    drop(open(&path, 1));
    for mode in [0o000, 0o200, 0o400] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let denied = Store::open(&path, options(1)).unwrap_err();
        assert!(matches!(denied, OpenError::Denied { .. }), "{mode:o}: {denied:?}");
    }
}

#[test]
fn what_a_crash_left_before_the_first_migration_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orch.db");
    std::fs::write(&path, "").unwrap();
    drop(open(&path, 1));
    std::fs::remove_file(&path).unwrap();
    let raw = Connection::open(&path).unwrap();
    raw.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0)).unwrap();
    drop(raw);
    let store = open(&path, 1);
    store.execute_blocking(envelope(1, create("shop"))).unwrap();
    assert_sound(&store);
}

#[test]
fn only_the_owner_can_read_it_and_the_installation_keeps_its_id() {
    let mut bed = Bed::new();
    bed.store().execute_blocking(envelope(1, create("shop"))).unwrap();
    for entry in std::fs::read_dir(bed.dir.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
    }
    let instance = bed.store().instance();
    bed.reopen();
    assert_eq!(bed.store().instance(), instance);
    assert_ne!(Bed::with_seed(9).store().instance(), instance);
}

/// Tables of another version of the program are made anew from the log at the next start.
#[test]
fn an_outdated_projection_is_rebuilt() {
    let mut bed = Bed::new();
    for id in 0..20 {
        bed.store().execute_blocking(envelope(id, create(&format!("p{id}")))).unwrap();
    }
    bed.store = None;
    let raw = Connection::open(bed.path()).unwrap();
    raw.execute_batch(
        "UPDATE meta SET value = 'older' WHERE key = 'projection_version';
         DELETE FROM projects WHERE number > 3; UPDATE projects SET state = 'strange';",
    )
    .unwrap();
    drop(raw);
    let store = open(&bed.path(), 2);
    assert_eq!(store.check_rebuild().unwrap().rows, 20);
    assert_sound(&store);
}

#[test]
fn a_clean_end_leaves_no_log_behind() {
    let mut bed = Bed::new();
    bed.store().execute_blocking(envelope(1, create("shop"))).unwrap();
    bed.store = None;
    let names: Vec<_> = std::fs::read_dir(bed.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["orch.db"]);
}
