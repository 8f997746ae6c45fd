//! The disk itself, as SQLite sees it, and what it does to what was not synced.

use std::collections::BTreeSet;

use rusqlite::{Connection, OpenFlags};

use super::state::{Opening, Refused, State};
use super::{Disk, Failure, Fault, Request, Stop, Traits, vfs_name};

const TRAITS: Traits = Traits { sector: 512, powersafe: false, forgets: false, lies: false };

fn connect(disk: &Disk) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags_and_vfs(disk.path("a.db"), OpenFlags::default(), vfs_name())?;
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0")?;
    Ok(conn)
}

fn count(conn: &Connection) -> i64 {
    conn.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
}

/// A disk with a table of one row that is safe.
fn with_a_row(traits: Traits) -> (Disk, Connection) {
    let disk = Disk::new(traits, 1);
    let conn = connect(&disk).unwrap();
    conn.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(9000))").unwrap();
    (disk, conn)
}

#[test]
fn what_was_synced_is_there_and_what_was_not_may_be() {
    let mut counts = BTreeSet::new();
    for chance in 0..60 {
        let (disk, conn) = with_a_row(TRAITS);
        conn.execute_batch("PRAGMA synchronous = OFF").unwrap();
        for _ in 0..3 {
            conn.execute_batch("INSERT INTO t VALUES (zeroblob(9000))").unwrap();
        }
        disk.stop(Stop::PowerCut);
        drop(conn);
        disk.start(chance);
        counts.insert(count(&connect(&disk).unwrap()));
    }
    // Torn, a transaction is not there; the log ends before it.
    assert_eq!(counts, BTreeSet::from([1, 2, 3, 4]));
}

#[test]
fn a_kill_loses_nothing_that_the_kernel_has_and_a_power_cut_after_it_does() {
    let mut counts = BTreeSet::new();
    for chance in 0..20 {
        let (disk, conn) = with_a_row(TRAITS);
        conn.execute_batch("PRAGMA synchronous = OFF; INSERT INTO t VALUES (1)").unwrap();
        disk.stop(Stop::Killed);
        assert!(conn.execute_batch("INSERT INTO t VALUES (2)").is_err(), "it is dead");
        drop(conn);
        disk.start(0);
        let conn = connect(&disk).unwrap();
        assert_eq!(count(&conn), 2);
        disk.stop(Stop::PowerCut);
        drop(conn);
        disk.start(chance);
        counts.insert(count(&connect(&disk).unwrap()));
    }
    assert_eq!(counts, BTreeSet::from([1, 2]));
}

#[test]
fn a_name_is_there_when_the_directory_was_synced() {
    let (disk, conn) = with_a_row(TRAITS);
    drop(conn);
    // The log was deleted when the last connection closed it, which nobody synced.
    let mut found = BTreeSet::new();
    for chance in 0..20 {
        disk.stop(Stop::PowerCut);
        disk.start(chance);
        found.insert(disk.0.state().exists("a.db-wal").unwrap());
        assert!(disk.0.state().exists("a.db").unwrap());
        let conn = connect(&disk).unwrap();
        assert_eq!(count(&conn), 1);
        drop(conn);
    }
    assert_eq!(found.len(), 2);
}

#[test]
fn connections_share_one_state_and_exclude_each_other() {
    let (disk, first) = with_a_row(TRAITS);
    let second = connect(&disk).unwrap();
    second.execute_batch("BEGIN").unwrap();
    assert_eq!(count(&second), 1);
    first.execute_batch("BEGIN IMMEDIATE; INSERT INTO t VALUES (2)").unwrap();
    let third = connect(&disk).unwrap();
    let refused = third.execute_batch("BEGIN IMMEDIATE").unwrap_err();
    assert_eq!(refused.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy));
    first.execute_batch("COMMIT").unwrap();
    assert_eq!((count(&first), count(&second), count(&third)), (2, 1, 2));
    let checkpoint = |mode| {
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        first.query_row(&sql, [], |row| row.get::<_, bool>(0)).unwrap()
    };
    assert!(checkpoint("TRUNCATE"), "a reader is in the way");
    second.execute_batch("COMMIT").unwrap();
    assert!(!checkpoint("TRUNCATE"));
    assert_eq!(count(&second), 2);
}

#[test]
fn what_is_planned_goes_wrong_and_nothing_else() {
    let cases = [
        (Request::Write, Failure::Full, rusqlite::ErrorCode::DiskFull),
        (Request::Write, Failure::Broken, rusqlite::ErrorCode::SystemIoFailure),
        (Request::Sync, Failure::Broken, rusqlite::ErrorCode::SystemIoFailure),
        (Request::Sync, Failure::PowerCut, rusqlite::ErrorCode::SystemIoFailure),
    ];
    for (request, failure, code) in cases {
        let (disk, conn) = with_a_row(TRAITS);
        disk.plan(Fault { request: Some(request), after: 0, times: 1, failure });
        let error = conn.execute_batch("INSERT INTO t VALUES (2)").unwrap_err();
        assert_eq!(error.sqlite_error_code(), Some(code));
        assert_eq!((disk.failures(), disk.stopped().is_some()), (1, failure == Failure::PowerCut));
        if failure != Failure::PowerCut {
            conn.execute_batch("INSERT INTO t VALUES (3)").unwrap();
            assert_eq!(count(&conn), 2);
        }
    }
}

#[test]
fn a_disk_without_room_says_so_until_there_is_some() {
    let (disk, conn) = with_a_row(TRAITS);
    disk.leave_room(20_000);
    let insert = || conn.execute_batch("INSERT INTO t VALUES (zeroblob(9000))");
    let error = (0..9).find_map(|_| insert().err()).unwrap();
    assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
    disk.heal();
    let before = count(&conn);
    insert().unwrap();
    assert_eq!(count(&conn), before + 1);
}

/// Of the rest of the sector only a disk that promises to leaves it alone.
#[test]
fn a_torn_write_may_spoil_what_is_beside_it() {
    let spoils = |powersafe| {
        (0..200).any(|chance| {
            let mut contents = super::contents::Contents::default();
            contents.write(0, &[7; 2048]);
            contents.sync();
            contents.write(700, &[8; 100]);
            contents.cut(&mut super::wear::Wear::new(chance, 512, powersafe));
            let mut now = [0; 2048];
            assert_eq!(contents.read(0, &mut now), 2048);
            assert!(now[..512] == [7; 512] && now[1024..] == [7; 1024], "another sector has changed");
            now[512..700] != [7; 188] || now[800..1024] != [7; 224]
        })
    };
    assert!(spoils(false));
    assert!(!spoils(true));
}

#[test]
fn a_failed_sync_may_be_forgotten() {
    let kept = |forgets, seed| {
        let mut state = State::new(Traits { forgets, ..TRAITS }, seed);
        let how = Opening {
            create: true,
            reads_only: false,
            exclusive: false,
            syncs_directory: true,
            deletes_on_close: false,
        };
        let file = state.open("a", how).unwrap();
        state.write(file, 0, &[7; 512]).unwrap();
        state.faults.plan(Fault { request: Some(Request::Sync), after: 0, times: 1, failure: Failure::Broken });
        assert_eq!(state.sync(file), Err(Refused::Broken));
        assert_eq!(state.sync(file), Ok(()));
        state.stop(Stop::PowerCut);
        state.start(0);
        let file = state.open("a", how).unwrap();
        let mut now = [0; 512];
        state.read(file, 0, &mut now).is_ok_and(|count| count == 512) && now == [7; 512]
    };
    assert!((0..20).all(|seed| kept(false, seed)));
    assert!(!(0..20).all(|seed| kept(true, seed)));
}
