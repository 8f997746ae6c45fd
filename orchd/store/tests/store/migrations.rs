//! Migrations: a database of every layout there ever was is opened by today's program, and says what it said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use orch_core::digest::Digest;
use orch_core::event::EVENT_SCHEMA_VERSION;
use orch_core::rehearsal::violations;
use orch_proto::id::CommandId;
use orch_store::{DatabaseFile, Faults, OpenError, SCHEMA_VERSION, Store};
use rusqlite::Connection;
use serde_json::Value;

use crate::samples::{dump, load, objects, texts};
use crate::support::{Bed, assert_sound, create, envelope, open, options};

/// Those that every layout has.
const TABLES: [&str; 8] = ["projects", "visions", "requirements", "plans", "tasks", "runs", "approvals", "changes"];

fn samples() -> BTreeMap<u32, PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let version = |path: &Path| path.file_stem()?.to_str()?.strip_prefix('v')?.parse().ok();
    entries.map(|path| (version(&path).expect("a sample is named by its layout, as `v1.sql`"), path)).collect()
}

/// The sample as a file in a directory of its own.
fn loaded(sample: &Path) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orch.db");
    load(&std::fs::read_to_string(sample).unwrap(), &path);
    (dir, path)
}

/// What a file says that no later version may say in another way.
#[derive(Debug, PartialEq)]
struct Told {
    events: Vec<String>,
    commands: Vec<String>,
    instance: Vec<String>,
    /// What each row is found by.
    places: Vec<String>,
}

impl Told {
    fn of(conn: &Connection) -> Self {
        let rows = |sql: &str| texts(conn, sql);
        let events = rows(
            "SELECT concat_ws(' ', seq, at, actor, command, entity, subject, project, kind, schema_version, data,
             hex(hash)) FROM events ORDER BY seq",
        );
        let commands =
            rows("SELECT concat_ws(' ', id, hex(request), first_seq, last_seq, at, outcome) FROM commands ORDER BY id");
        let places = TABLES.map(|table| {
            rows(&format!(
                "SELECT concat_ws(' ', '{table}', id, project, number, parent, open, state, seq) FROM {table} ORDER BY id"
            ))
        });
        let instance = rows("SELECT value FROM meta WHERE key = 'instance'");
        Self { events, commands, instance, places: places.concat() }
    }
}

/// A layout that is replaced leaves a sample, so that what follows is tested here.
#[test]
fn every_layout_before_this_one_has_a_sample() {
    let samples = samples();
    for version in 1..SCHEMA_VERSION {
        assert!(
            samples.contains_key(&version),
            "samples/v{version}.sql is missing: make it with the last commit of that layout, as samples.rs says"
        );
    }
    for (version, path) in samples {
        assert!(version <= SCHEMA_VERSION, "{path:?} is of a layout that is not there yet");
        let (_dir, file) = loaded(&path);
        let conn = Connection::open(file).unwrap();
        let stored: u32 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(stored, version, "{path:?}");
        let newest = texts(&conn, "SELECT CAST(max(schema_version) AS TEXT) FROM events");
        assert!(newest[0].parse::<u32>().unwrap() <= EVENT_SCHEMA_VERSION, "{path:?}");
    }
}

#[test]
fn every_sample_is_migrated_and_says_what_it_said() {
    let fresh = Bed::new();
    let schema = |path: &Path| {
        let mut objects = objects(&Connection::open(path).unwrap(), "1");
        objects.sort();
        objects
    };
    for (version, sample) in samples() {
        let (_dir, path) = loaded(&sample);
        let raw = Connection::open(&path).unwrap();
        let before = Told::of(&raw);
        let rows_before = rows(&raw);
        drop(raw);
        assert!(before.events.len() > 200 && before.commands.len() > 100, "v{version} says too little");

        let store = open(&path, 2);
        assert_sound(&store);
        let chain = store.verify_chain().unwrap();
        let raw = Connection::open(&path).unwrap();
        let last = texts(&raw, "SELECT hex(hash) FROM events ORDER BY seq DESC LIMIT 1");
        assert_eq!(chain.head_hash, Digest::from_bytes(bytes(&last[0])), "v{version}");
        assert_eq!(Told::of(&raw), before, "v{version}");
        let rows_now = rows(&raw);
        rows_before.iter().for_each(|(id, was)| missing(was, &rows_now[id], id));
        assert_eq!(schema(&path), schema(&fresh.path()), "v{version} came to another layout than a new file has");
        assert_eq!(store.instance().to_string(), before.instance[0]);
        assert_eq!(store.read(|view| violations(view)).unwrap(), Vec::<String>::new(), "v{version}");
        answers_again(&store, &raw);
        let project = envelope(1_000_000, create("after"));
        let made = store.execute_blocking(project).unwrap();
        assert_eq!(made.first_seq, Some(before.events.len() as u64 + 1));
        assert_sound(&store);
    }
}

/// Every command of the sample that is sent again is told what it came to then.
fn answers_again(store: &Store, raw: &Connection) {
    for row in texts(raw, "SELECT concat_ws(' ', id, hex(request), last_seq) FROM commands") {
        let words: Vec<&str> = row.split(' ').collect();
        let (id, request) = (words[0].parse::<CommandId>().unwrap(), Digest::from_bytes(bytes(words[1])));
        let answer = store.read(|view| view.answered(id, request)).unwrap().unwrap().unwrap();
        assert!(answer.duplicate);
        assert_eq!(answer.last_seq.to_string(), words[2]);
    }
}

/// Content of every row by table and id.
fn rows(conn: &Connection) -> BTreeMap<String, Value> {
    let of = |table: &str| texts(conn, &format!("SELECT concat('{table} ', id, ' ', data) FROM {table}"));
    let split = |row: String| {
        let (id, data) = row.split_at(row.find('{').unwrap());
        (id.to_owned(), serde_json::from_str(data).unwrap())
    };
    TABLES.iter().flat_map(|table| of(table)).map(split).collect()
}

/// What the row said is still in it: a version adds to what is known, and takes nothing away.
fn missing(was: &Value, is: &Value, at: &str) {
    match (was, is) {
        (Value::Object(was), Value::Object(is)) => {
            for (key, was) in was {
                missing(was, is.get(key).unwrap_or(&Value::Null), &format!("{at}.{key}"));
            }
        }
        (Value::Array(was), Value::Array(is)) if was.len() == is.len() => {
            was.iter().zip(is).for_each(|(was, is)| missing(was, is, at));
        }
        (was, is) => assert_eq!(was, is, "{at}"),
    }
}

fn bytes(hex: &str) -> [u8; 32] {
    let digits: Vec<u8> = hex.chars().map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap()).collect();
    std::array::from_fn(|at| digits[2 * at] << 4 | digits[2 * at + 1])
}

/// What is looked at without being opened, as `orchd check` does, is read by its log, and nothing of it changes.
#[test]
fn every_sample_can_be_looked_at_untouched() {
    for (version, sample) in samples() {
        let (_dir, path) = loaded(&sample);
        let before = std::fs::read(&path).unwrap();
        let file = DatabaseFile::open(&path).unwrap();
        assert_eq!(file.schema_version().unwrap(), version);
        assert!(!file.is_current() || version == SCHEMA_VERSION, "v{version} has tables of today");
        let chain = file.verify_chain().unwrap();
        assert_eq!((chain.broken_at, file.integrity().unwrap().as_str()), (None, "ok"));
        assert_eq!(file.head().unwrap(), (chain.events, chain.head_hash));
        drop(file);
        assert_eq!(std::fs::read(&path).unwrap(), before, "v{version}");
    }
}

/// A migration happens as a whole or not at all, and again when there is room.
#[test]
fn a_migration_that_finds_no_room_leaves_what_was_there() {
    for (version, sample) in samples() {
        let (_dir, path) = loaded(&sample);
        let before = dump(&Connection::open(&path).unwrap());
        let pages: u32 =
            Connection::open(&path).unwrap().pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        let mut refused = 0;
        for more in 0.. {
            let faults = Faults { pages_max: Some(pages + more), ..Faults::default() };
            match Store::open_with_faults(&path, options(3), faults) {
                Err(OpenError::Full { .. }) => refused += 1,
                Err(error) => panic!("v{version} with {more} pages more: {error:?}"),
                Ok(store) => {
                    assert_sound(&store);
                    break;
                }
            }
            let conn = Connection::open(&path).unwrap();
            let stored: u32 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
            // Each step is one transaction: what is there is one of the layouts, and the tables of one program.
            if stored == version {
                assert_eq!(dump(&conn), before, "v{version} with {more} pages more");
            }
        }
        assert!(refused > 0 || version == SCHEMA_VERSION, "v{version} needed no room");
    }
}
