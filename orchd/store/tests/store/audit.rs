//! The audit: any byte that is changed behind the store's back is found, and the tables are what the log says.

use std::sync::atomic::{AtomicBool, Ordering};

use orch_core::command::Command;
use orch_core::entity::Project;
use orch_core::ids::IdSource;
use orch_core::rehearsal::{random_command, violations};
use orch_store::Store;
use rusqlite::Connection;

use crate::support::{Bed, assert_sound, create, envelope, open, wait};

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
fn a_count_that_is_wrong_is_named() {
    let mut bed = Bed::new();
    play(bed.store(), 1, 100);
    bed.store = None;
    let raw = Connection::open(bed.path()).unwrap();
    raw.execute_batch("UPDATE counts SET count = count + 7 WHERE kind = 'task'").unwrap();
    drop(raw);
    let differences = open(&bed.path(), 2).check_rebuild().unwrap().differences;
    assert!(!differences.is_empty() && differences.iter().all(|line| line.contains("of kind task")), "{differences:?}");
}

/// More things and events than are read at once, and others are made and changed meanwhile.
#[test]
fn tables_and_log_are_compared_while_others_write() {
    let bed = Bed::new();
    let sent: Vec<_> = (1..2_300).map(|id| bed.store().execute(envelope(id, create(&format!("p{id}"))))).collect();
    sent.into_iter().for_each(|answer| drop(wait(answer).unwrap()));
    let first = bed.store().read(|view| view.page::<Project>(None, 1_000)).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (id, project) in (10_000..).zip(first.iter().cycle()) {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                bed.store().execute_blocking(envelope(id, create(&format!("p{id}")))).unwrap();
                let fail = Command::FailProject { project: project.id, reason: "no disk".into() };
                drop(bed.store().execute_blocking(envelope(id + 1_000_000, fail)));
            }
        });
        for _ in 0..3 {
            let report = bed.store().check_rebuild().unwrap();
            assert_eq!(report.differences, Vec::<String>::new());
            assert!(report.rows >= 2_299 && report.events >= report.rows, "{report:?}");
        }
        is_over.store(true, Ordering::SeqCst);
    });
    assert_sound(bed.store());
    let mut asked = 0;
    let stopped = bed.store().check_rebuild_while(&mut |_| {
        asked += 1;
        asked < 2
    });
    assert_eq!((stopped.unwrap(), asked), (None, 2));
}

/// What a quick check looks at: the newest events, and all that the log says of what they happened to.
#[test]
fn the_newest_part_is_checked_by_itself() {
    let mut bed = Bed::new();
    play(bed.store(), 1, 300);
    let head = *bed.store().subscribe().borrow();
    let store = bed.store();
    let whole = store.verify_chain().unwrap();
    assert_eq!(store.verify_chain_after(head - 10).unwrap(), whole);
    assert_eq!(store.verify_chain_after(head).unwrap(), whole);
    assert_eq!(store.verify_chain_after(head + 5).unwrap().broken_at.unwrap().0, head + 5);
    let newest = store.check_newest(head - 10, 100_000).unwrap();
    assert_eq!(newest.differences, Vec::<String>::new());
    assert!((1..=10).contains(&newest.rows) && newest.events >= 10, "{newest:?}");
    assert!(store.check_newest(0, 50).unwrap().events < 50 + 2_000);
    let changed = store.read(|view| Ok(view.events(head - 1, 1)?.remove(0).recorded.event)).unwrap();
    let (kind, subject) = (changed.entity().label(), changed.subject());
    bed.store = None;
    let raw = Connection::open(bed.path()).unwrap();
    let table = if kind.ends_with('s') { kind.to_owned() } else { format!("{kind}s") };
    assert_eq!(raw.execute(&format!("UPDATE {table} SET state = 'strange' WHERE id = ?1"), [&subject]).unwrap(), 1);
    drop(raw);
    let store = open(&bed.path(), 2);
    let found = store.check_newest(head - 1, 100_000).unwrap();
    assert!(found.differences.len() == 1 && found.differences[0].contains(&subject), "{found:?}");
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
