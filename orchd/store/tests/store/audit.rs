//! The audit: any byte that is changed behind the store's back is found, and the tables are what the log says.

use orch_core::ids::IdSource;
use orch_core::rehearsal::{random_command, violations};
use orch_store::Store;
use rusqlite::Connection;

use crate::support::{Bed, assert_sound, create, envelope, open};

/// Random commands, some of them refused.
fn play(store: &Store, seed: u8, count: u128) {
    let mut dice = IdSource::seeded([seed; 32]);
    for id in 0..count {
        let command = store.read(|view| random_command(view, &mut dice)).unwrap();
        drop(store.execute_blocking(envelope(u128::from(seed) * 100_000 + id, command)));
    }
}

#[test]
fn the_tables_are_what_the_log_says() {
    for seed in 1..4 {
        let mut bed = Bed::new();
        play(bed.store(), seed, 400);
        assert_eq!(bed.store().read(|view| violations(view)).unwrap(), Vec::<String>::new());
        assert!(bed.store().check_rebuild().unwrap().rows > 30);
        assert_sound(bed.store());
        bed.reopen();
        assert_sound(bed.store());
    }
}

#[test]
fn a_changed_row_is_named() {
    let mut bed = Bed::new();
    play(bed.store(), 1, 100);
    bed.store = None;
    let raw = Connection::open(bed.path()).unwrap();
    raw.execute_batch(
        "UPDATE tasks SET state = 'done' WHERE number = 1;
         DELETE FROM approvals WHERE number = 1;
         INSERT INTO visions SELECT 'vision-x', 'project-x', 99, NULL, 1, 'submitted', 1, '{}';",
    )
    .unwrap();
    drop(raw);
    let store = open(&bed.path(), 2);
    let differences = store.check_rebuild().unwrap().differences;
    let found = |words: &[&str]| differences.iter().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(found(&["task `task-", "done"]), "{differences:?}");
    assert!(found(&["approval", "is in the log, but not in the table"]), "{differences:?}");
    assert!(found(&["vision `vision-x` is in the table, but not in the log"]), "{differences:?}");
}

#[test]
fn rows_of_the_log_cannot_be_changed_or_deleted() {
    let mut bed = Bed::new();
    bed.store().execute_blocking(envelope(1, create("shop"))).unwrap();
    bed.store = None;
    let raw = Connection::open(bed.path()).unwrap();
    for sql in ["UPDATE events SET at = 0", "DELETE FROM events"] {
        let error = raw.execute(sql, []).unwrap_err();
        assert!(error.to_string().contains("append-only"), "{error}");
    }
}

#[test]
fn any_changed_part_of_the_log_breaks_the_chain() {
    let changes: &[(&str, u64, &str)] = &[
        ("at = at + 1", 3, "hash"),
        ("actor = replace(actor, '1000', '1001')", 3, "hash"),
        ("command = replace(command, 'cmd-0', 'cmd-1')", 3, "hash"),
        ("command = upper(command)", 3, "command"),
        ("command = 'cmd-' || upper(substr(command, 5))", 3, "usual form"),
        ("data = replace(data, 'p2', 'p9')", 3, "hash"),
        ("data = data || ' '", 3, "hash"),
        ("hash = randomblob(32)", 3, "hash"),
        ("entity = 'task'", 3, "entity"),
        ("subject = 'project-x'", 3, "subject"),
        ("kind = 'project.archived'", 3, "kind"),
        ("project = 'project-x'", 3, "project"),
        ("schema_version = 2", 3, "schema version"),
    ];
    for (change, seq, wrong) in changes {
        let report = tampered(&format!("UPDATE events SET {change} WHERE seq = 3"));
        let (at, what) = report.broken_at.unwrap_or_else(|| panic!("`{change}` was not found"));
        assert_eq!(at, *seq, "{change}");
        assert!(what.contains(wrong), "`{change}`: {what}");
    }
    let cases = [
        ("DELETE FROM events WHERE seq = 3", 3, "missing"),
        ("DELETE FROM events WHERE seq = 1", 1, "missing"),
        ("DELETE FROM events WHERE seq = 6", 6, "were there once"),
        ("UPDATE events SET seq = 7 WHERE seq = 6", 6, "missing"),
        ("DELETE FROM events", 1, "were there once"),
    ];
    for (change, seq, wrong) in cases {
        let (at, what) = tampered(change).broken_at.unwrap_or_else(|| panic!("`{change}` was not found"));
        assert_eq!(at, seq, "{change}");
        assert!(what.contains(wrong), "`{change}`: {what}");
    }
}

/// Whoever cuts off the end and lets the store go on has a chain without a gap, but not the commands that fit it.
#[test]
fn an_end_that_was_cut_off_is_found_later_too() {
    let mut bed = Bed::new();
    for id in 0..6 {
        bed.store().execute_blocking(envelope(id, create(&format!("p{id}")))).unwrap();
    }
    bed.store = None;
    let raw = Connection::open(bed.path()).unwrap();
    raw.execute_batch(
        "DROP TRIGGER events_no_delete; DELETE FROM events WHERE seq > 4; DELETE FROM projects WHERE number > 4;",
    )
    .unwrap();
    drop(raw);
    let store = open(&bed.path(), 2);
    for id in 10..14 {
        store.execute_blocking(envelope(id, create(&format!("q{id}")))).unwrap();
    }
    let (at, what) = store.verify_chain().unwrap().broken_at.unwrap();
    assert_eq!(at, 5);
    assert!(what.contains("once"), "{what}");
}

/// A log of six events, changed by somebody who can write the file.
fn tampered(sql: &str) -> orch_store::ChainReport {
    let mut bed = Bed::new();
    for id in 0..6 {
        bed.store().execute_blocking(envelope(id, create(&format!("p{id}")))).unwrap();
    }
    bed.store = None;
    let raw = Connection::open(bed.path()).unwrap();
    raw.execute_batch("DROP TRIGGER events_no_update; DROP TRIGGER events_no_delete;").unwrap();
    assert!(raw.execute(sql, []).unwrap() > 0, "{sql}");
    drop(raw);
    open(&bed.path(), 2).verify_chain().unwrap()
}
