//! Verification of the log: every link of the chain, from the bytes as they are stored.
//!
//! Reads in pages, each in a transaction of its own, since what is verified once does not change: the writer and its log
//! are not held up. Trusts no column: what the chain does not cover must follow from what it does.

use orch_core::digest::Digest;
use orch_core::event::{EVENT_SCHEMA_VERSION, Link, chain};
use orch_core::view::ReadError;
use rusqlite::{Connection, OptionalExtension as _};

use crate::log::RawEvent;
use crate::sqlite::{DbError, During as _, open_reader};
use crate::store::Store;

/// Events that are read at once.
const PAGE_EVENTS: u32 = 2_000;

/// What the verification of the log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainReport {
    /// Number of the last event up to which all that were looked at are as they were written.
    pub events: u64,
    /// The link of the last of them.
    pub head_hash: Digest,
    /// The number of the first event that is not, and what is wrong with it.
    pub broken_at: Option<(u64, String)>,
}

impl Store {
    /// Recomputes the chain over the whole log.
    ///
    /// # Errors
    /// When the log cannot be read. That it is broken is no error, but what the report says.
    pub fn verify_chain(&self) -> Result<ChainReport, ReadError> {
        self.verify_chain_after(0)
    }

    /// Recomputes the chain from the event with this number on, which is taken for what it is.
    ///
    /// # Errors
    /// As [`Self::verify_chain`].
    pub fn verify_chain_after(&self, seq: u64) -> Result<ChainReport, ReadError> {
        let conn = open_reader(self.location())?;
        Ok(verify_after(&conn, &conn, seq)?)
    }

    /// What SQLite's own check of the file says: `ok`, or what is wrong.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn integrity(&self) -> Result<String, ReadError> {
        Ok(integrity(&open_reader(self.location())?)?)
    }
}

/// SQLite's own check.
pub(crate) fn integrity(conn: &Connection) -> Result<String, DbError> {
    conn.query_row("PRAGMA quick_check(10)", [], |row| row.get(0)).during("check the file")
}

/// Recomputes the chain over the whole log of `conn`, where `tables` has the tables that follow from it.
pub(crate) fn verify(conn: &Connection, tables: &Connection) -> Result<ChainReport, DbError> {
    verify_after(conn, tables, 0)
}

fn verify_after(conn: &Connection, tables: &Connection, seq: u64) -> Result<ChainReport, DbError> {
    let mut report = ChainReport { events: seq, head_hash: Digest::ZERO, broken_at: None };
    if seq > 0 {
        let Some(known) = RawEvent::after(conn, (seq - 1, 1), None, None)?.pop().filter(|raw| raw.seq == seq) else {
            report.broken_at = Some((seq, "it is missing".into()));
            return Ok(report);
        };
        report.head_hash = Digest::from_bytes(known.hash);
    }
    loop {
        let page = RawEvent::after(conn, (report.events, PAGE_EVENTS), None, None)?;
        if page.is_empty() {
            report.broken_at = missing_end(conn, report.events)?;
            return Ok(report);
        }
        for raw in page {
            if let Some(wrong) = wrong(tables, &raw, &report)? {
                report.broken_at = Some((report.events + 1, wrong));
                return Ok(report);
            }
            report.events = raw.seq;
            report.head_hash = Digest::from_bytes(raw.hash);
        }
    }
}

/// What is wrong with the event that should follow those of the report.
fn wrong(tables: &Connection, raw: &RawEvent, report: &ChainReport) -> Result<Option<String>, DbError> {
    if raw.seq != report.events + 1 {
        return Ok(Some(format!("it is missing; {} follows", raw.seq)));
    }
    let Ok(command) = raw.command() else { return Ok(Some("its command is no command id".into())) };
    let link = Link { seq: raw.seq, at: raw.at, actor_json: &raw.actor, command, event_json: &raw.data };
    let hash = chain(report.head_hash, &link);
    if hash.as_bytes() != &raw.hash {
        return Ok(Some("its hash does not fit its content and the event before".into()));
    }
    if raw.command != command.to_string() {
        return Ok(Some("its command is not in the usual form".into()));
    }
    if !(1..=EVENT_SCHEMA_VERSION).contains(&raw.schema_version) {
        return Ok(Some(format!("its schema version is {}", raw.schema_version)));
    }
    let event = match raw.event() {
        Ok(event) => event,
        Err(error) => return Ok(Some(format!("it cannot be decoded: {error}"))),
    };
    let columns = [
        ("entity", &raw.entity, event.entity().label().to_owned()),
        ("subject", &raw.subject, event.subject()),
        ("kind", &raw.kind, event.kind()),
    ];
    for (column, stored, right) in columns {
        if *stored != right {
            return Ok(Some(format!("its column `{column}` is not `{right}`")));
        }
    }
    let project = crate::tables::project_of(tables, event.entity(), &raw.subject)?;
    Ok(match project {
        Some(project) if project.to_string() == raw.project => None,
        Some(_) | None => Some("its project is not that of what it happened to".into()),
    })
}

/// Looks for traces of events that were cut off the end of the log.
fn missing_end(conn: &Connection, events: u64) -> Result<Option<(u64, String)>, DbError> {
    let counted: i64 = conn
        .query_row(
            "SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0),
                        coalesce((SELECT max(last_seq) FROM commands), 0))",
            [],
            |row| row.get(0),
        )
        .during("read the end of the log")?;
    let counted = counted.cast_unsigned();
    // More may have been committed since the last page; fewer than were verified cannot be.
    let now = crate::log::head(conn)?.seq;
    if counted > now.max(events) {
        return Ok(Some((events + 1, format!("events up to {counted} were there once"))));
    }
    // The end was cut off and the log went on from there: the records of the lost commands tell.
    let replaced = conn
        .query_row(
            "SELECT last_seq, id FROM commands WHERE first_seq IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM events WHERE events.seq = last_seq AND events.command = commands.id)
             ORDER BY last_seq LIMIT 1",
            [],
            |row| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, String>(1)?)),
        )
        .optional()
        .during("compare the log with the commands")?;
    Ok(replaced.map(|(seq, id)| (seq, format!("it was of command `{id}` once"))))
}
