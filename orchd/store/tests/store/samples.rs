//! Samples of stored state: a database of some hundred commands as text, one file per version of the layout.
//!
//! `samples/vN.sql` was written by the newest program whose files have layout N, and is never written anew by a later one:
//! it says what lies on disks. This file makes one of the present program, and turns a database into text and back. To keep
//! the sample of a layout that is about to be replaced, run with its last commit:
//! `ORCH_SAMPLE=FILE cargo test -p orch-store --test store samples`.

use std::fmt::Write as _;
use std::path::Path;

use orch_core::actor::Actor;
use orch_core::command::{Command, Envelope};
use orch_core::digest::Digest;
use orch_core::ids::{IdSource, sample_id};
use orch_core::rehearsal::random_command;
use rusqlite::Connection;

use crate::support::{Bed, assert_sound, create, person};

/// Commands that are drawn; about half of them are refused.
const COMMANDS: u128 = 560;

/// The database as statements that make it again: all that a file holds but where on its pages it lies.
pub(crate) fn dump(conn: &Connection) -> String {
    let word = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, u32>(0)).unwrap();
    let mut text = String::from("PRAGMA journal_mode = WAL;\nBEGIN;\n");
    for name in ["application_id", "user_version"] {
        writeln!(text, "PRAGMA {name} = {};", word(name)).unwrap();
    }
    let tables = objects(conn, "type = 'table'");
    for (_, sql) in &tables {
        writeln!(text, "{sql};").unwrap();
    }
    for (table, _) in &tables {
        let columns = texts(conn, &format!("SELECT name FROM pragma_table_info('{table}')"));
        let values: Vec<String> = columns.iter().map(|column| format!("quote({column})")).collect();
        let columns = columns.join(", ");
        // By what stands in them, not by their place: the same rows give the same text.
        let rows = format!("SELECT {} FROM {table} ORDER BY {columns}", values.join(" || ', ' || "));
        for row in texts(conn, &rows) {
            writeln!(text, "INSERT INTO {table} ({columns}) VALUES ({row});").unwrap();
        }
    }
    for (_, sql) in objects(conn, "type IN ('index', 'trigger')") {
        writeln!(text, "{sql};").unwrap();
    }
    text.push_str("COMMIT;\n");
    text
}

/// Makes the file that the text describes.
pub(crate) fn load(text: &str, path: &Path) {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch(text).unwrap();
    conn.close().unwrap();
}

/// Name and statement of what is in the schema, but what SQLite makes itself.
pub(crate) fn objects(conn: &Connection, which: &str) -> Vec<(String, String)> {
    let sql = format!(
        "SELECT name, sql FROM sqlite_schema WHERE {which} AND sql IS NOT NULL AND name NOT LIKE 'sqlite%' ORDER BY rowid"
    );
    let mut statement = conn.prepare(&sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// The first column of what is selected.
pub(crate) fn texts(conn: &Connection, sql: &str) -> Vec<String> {
    let mut statement = conn.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// A state with some of everything that chance gives, by people and by the daemon, over some hours.
fn sample() -> Bed {
    let bed = Bed::with_seed(7);
    let mut dice = IdSource::seeded([7; 32]);
    for number in 0..COMMANDS {
        let command = match number {
            0 => create("p0"),
            _ => bed.store().read(|view| random_command(view, &mut dice)).unwrap(),
        };
        bed.now_us.fetch_add(i64::try_from(dice.jitter(60_000_000)).unwrap(), std::sync::atomic::Ordering::SeqCst);
        let actor = if dice.jitter(4) == 0 { Actor::daemon("sample") } else { person() };
        // Refused or not: both are what chance is for.
        drop(bed.store().execute_blocking(by(actor, number, command)));
    }
    bed
}

fn by(actor: Actor, number: u128, command: Command) -> Envelope {
    let request = Digest::of(format!("{command:?}").as_bytes());
    Envelope { id: sample_id(number), actor, request, command }
}

/// What is written as text can be read back to the last row, so that a sample is what lay on the disk.
#[test]
fn a_database_is_the_same_after_it_was_text() {
    let mut bed = sample();
    assert_sound(bed.store());
    bed.store = None;
    let conn = Connection::open(bed.path()).unwrap();
    let text = dump(&conn);
    let copy = bed.dir.path().join("copy.db");
    load(&text, &copy);
    assert_eq!(dump(&Connection::open(&copy).unwrap()), text);
    let kinds = texts(&conn, "SELECT DISTINCT kind FROM events");
    assert!(kinds.len() > 40, "{} kinds: {kinds:?}", kinds.len());
    assert!(text.is_ascii() && text.len() < 1_000_000, "{} bytes", text.len());
    if let Some(target) = std::env::var_os("ORCH_SAMPLE") {
        std::fs::write(target, text).unwrap();
    }
}
