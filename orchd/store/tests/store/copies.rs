//! Copies of a database in use, and databases that no daemon has open.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use orch_core::entity::Project;
use orch_core::view::{Filter, View as _};
use orch_proto::Timestamp;
use orch_store::{CopyError, DatabaseFile, OpenError, SCHEMA_VERSION, Watch};
use rusqlite::Connection;

use crate::support::{Bed, START_US, create, envelope, open};

fn unwatched() -> Watch {
    Arc::new(|_| true)
}

fn projects(file: &DatabaseFile) -> usize {
    file.read(|view| view.list::<Project>(&Filter::default())).unwrap().len()
}

fn assert_whole(file: &DatabaseFile) {
    assert_eq!(file.integrity().unwrap(), "ok");
    let chain = file.verify_chain().unwrap();
    assert_eq!(chain.broken_at, None);
    assert_eq!(file.head().unwrap(), (chain.events, chain.head_hash));
    assert_eq!(file.check_rebuild().unwrap().differences, Vec::<String>::new());
}

#[test]
fn a_copy_made_while_others_write_is_one_state_and_whole() {
    let bed = Bed::new();
    let (store, done) = (bed.store(), AtomicBool::new(false));
    let written = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let (done, written) = (&done, &written);
        for writer in 0..3_u128 {
            scope.spawn(move || {
                for id in 0.. {
                    if done.load(Ordering::SeqCst) {
                        return;
                    }
                    let id = writer * 1_000_000 + id + 1;
                    store.execute_blocking(envelope(id, create(&format!("p-{id}")))).unwrap();
                    written.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let mut before = 0;
        for round in 0..5 {
            while written.load(Ordering::SeqCst) < (round + 1) * 50 {
                std::thread::yield_now();
            }
            let target = bed.dir.path().join(format!("copy-{round}.db"));
            let seq = store.read(|view| Ok(view.seq())).unwrap();
            store.copy_to(&target, unwatched()).unwrap();
            let copy = DatabaseFile::open(&target).unwrap();
            assert_whole(&copy);
            let (head, _) = copy.head().unwrap();
            assert!(head >= seq && head > before, "what was answered before is in it: {seq} {head}");
            assert_eq!(u64::try_from(projects(&copy)).unwrap(), head);
            assert_eq!(copy.instance().unwrap(), Some(store.instance()));
            before = head;
        }
        done.store(true, Ordering::SeqCst);
    });
    // A copy is one file: nothing else has to be kept beside it.
    let names = std::fs::read_dir(bed.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.filter(|name| name.to_string_lossy().starts_with("copy-")).count(), 5);
}

#[test]
fn a_copy_is_stopped_by_who_watches_and_never_replaces_a_file() {
    let bed = Bed::new();
    for id in 1..400 {
        bed.store().execute_blocking(envelope(id, create(&format!("p-{id}")))).unwrap();
    }
    let target = bed.dir.path().join("copy.db");
    // In the middle, not before it begins.
    let asked = AtomicU64::new(0);
    let error = bed.store().copy_to(&target, Arc::new(move |_| asked.fetch_add(1, Ordering::SeqCst) < 2)).unwrap_err();
    assert!(matches!(error, CopyError::Stopped), "{error:?}");
    drop(std::fs::remove_file(&target));
    std::fs::write(&target, "somebody's").unwrap();
    let error = bed.store().copy_to(&target, unwatched()).unwrap_err();
    assert!(matches!(error, CopyError::Failed { .. }), "{error:?}");
    assert_eq!(std::fs::read(&target).unwrap(), b"somebody's");
}

#[test]
fn a_file_of_an_older_version_is_read_by_its_log_and_left_as_it_is() {
    let mut bed = Bed::new();
    bed.store().execute_blocking(envelope(1, create("shop"))).unwrap();
    bed.store = None;
    let raw = Connection::open(bed.path()).unwrap();
    raw.execute_batch("UPDATE meta SET value = 'older' WHERE key = 'projection_version'; DELETE FROM projects;")
        .unwrap();
    drop(raw);
    let before = std::fs::read(bed.path()).unwrap();
    let file = DatabaseFile::open(&bed.path()).unwrap();
    assert!(!file.is_current());
    assert_eq!((projects(&file), file.schema_version().unwrap()), (1, SCHEMA_VERSION));
    assert_whole(&file);
    drop(file);
    assert_eq!(std::fs::read(bed.path()).unwrap(), before);
    let missing = DatabaseFile::open(Path::new("/nonexistent/orch.db")).unwrap_err();
    assert!(matches!(missing, OpenError::Open { .. }), "{missing:?}");
}

#[test]
fn tables_are_mended_from_the_log_and_a_copy_gets_a_name_of_its_own() {
    let mut bed = Bed::new();
    let of = bed.store().instance();
    bed.store().execute_blocking(envelope(1, create("shop"))).unwrap();
    bed.store = None;
    let raw = Connection::open(bed.path()).unwrap();
    raw.execute_batch("UPDATE projects SET state = 'archived'").unwrap();
    drop(raw);
    let file = DatabaseFile::open(&bed.path()).unwrap();
    assert_eq!(file.check_rebuild().unwrap().differences.len(), 1);
    drop(file);
    DatabaseFile::rebuild_tables(&bed.path()).unwrap();
    let file = DatabaseFile::open(&bed.path()).unwrap();
    assert_whole(&file);
    drop(file);
    let fresh = DatabaseFile::become_another(&bed.path(), [9; 32], Timestamp::from_unix_us(START_US)).unwrap();
    assert_ne!(fresh, of);
    let store = open(&bed.path(), 3);
    assert_eq!(store.instance(), fresh);
    let raw = Connection::open(bed.path()).unwrap();
    let origin: String =
        raw.query_row("SELECT value FROM meta WHERE key = 'restored_from'", [], |row| row.get(0)).unwrap();
    assert_eq!(origin, format!("{of} at event 1"));
}
