//! The event log and the record of commands: what is stored, and how it is read back.
//!
//! Appends and reads; changes nothing that is there. The bytes of an event are hashed exactly as they are stored, so that
//! a later reader needs no knowledge of their shape to verify them.

use std::ops::ControlFlow;

use orch_core::actor::Actor;
use orch_core::command::Envelope;
use orch_core::digest::Digest;
use orch_core::event::{EVENT_SCHEMA_VERSION, Event, Link, Recorded, chain};
use orch_proto::id::{CommandId, ProjectId};
use orch_proto::{EntityKind, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use crate::sqlite::{DbError, During as _};

/// Bytes of events after which a page of them ends, whatever its limit.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// An event as it lies in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    pub recorded: Recorded,
    /// The project of what it happened to.
    pub project: ProjectId,
    /// The actor and the event, exactly as hashed.
    pub actor_json: String,
    pub json: String,
}

/// That something happened to something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// `task.started`.
    pub kind: String,
    /// Full id of what it happened to.
    pub subject: String,
}

/// An event without what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    pub seq: u64,
    pub actor: Actor,
    /// The command that made it.
    pub command: CommandId,
    /// `task.started`.
    pub kind: String,
}

/// What a command came to, beside its events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Kind and full id of what it made or changed, the most important first.
    pub touched: Vec<(EntityKind, String)>,
    pub notes: Vec<String>,
}

/// The end of the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// 0 before the first event.
    pub(crate) seq: u64,
    pub(crate) hash: Digest,
    pub(crate) at: Timestamp,
}

/// The record of a command that was committed before.
pub(crate) struct Finished {
    pub(crate) request: Digest,
    pub(crate) first_seq: Option<u64>,
    pub(crate) last_seq: u64,
    pub(crate) at: Timestamp,
    pub(crate) outcome: Outcome,
}

/// A row of the log, not looked into.
pub(crate) struct RawEvent {
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
    pub(crate) actor: String,
    pub(crate) command: String,
    pub(crate) entity: String,
    pub(crate) subject: String,
    pub(crate) project: String,
    pub(crate) kind: String,
    pub(crate) schema_version: u32,
    pub(crate) data: String,
    pub(crate) hash: [u8; 32],
}

/// The end of the log as it is.
pub(crate) fn head(conn: &Connection) -> Result<Head, DbError> {
    let found = conn
        .prepare_cached("SELECT seq, hash, at FROM events ORDER BY seq DESC LIMIT 1")
        .and_then(|mut statement| {
            statement
                .query_row([], |row| {
                    Ok(Head {
                        seq: row.get::<_, i64>(0)?.cast_unsigned(),
                        hash: Digest::from_bytes(row.get(1)?),
                        at: Timestamp::from_unix_us(row.get(2)?),
                    })
                })
                .optional()
        })
        .during("read the end of the log")?;
    Ok(found.unwrap_or(Head { seq: 0, hash: Digest::ZERO, at: Timestamp::from_unix_us(i64::MIN) }))
}

/// Appends the event after `head` and answers the new end.
pub(crate) fn append(
    conn: &Connection,
    head: Head,
    envelope: &Envelope,
    (at, project): (Timestamp, ProjectId),
    event: &Event,
) -> Result<Head, DbError> {
    const ENCODES: &str = "core types have string keys and finite numbers only";
    let actor = serde_json::to_string(&envelope.actor).expect(ENCODES);
    let data = serde_json::to_string(event).expect(ENCODES);
    let seq = head.seq + 1;
    let link = Link { seq, at, actor_json: &actor, command: envelope.id, event_json: &data };
    let hash = chain(head.hash, &link);
    conn.prepare_cached(
        "INSERT INTO events (seq, at, actor, command, entity, subject, project, kind, schema_version, data, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )
    .and_then(|mut statement| {
        statement.execute(params![
            seq.cast_signed(),
            at.unix_us(),
            actor,
            envelope.id.to_string(),
            event.entity().label(),
            event.subject(),
            project.to_string(),
            event.kind(),
            EVENT_SCHEMA_VERSION,
            data,
            hash.as_bytes()
        ])
    })
    .during("append to the log")?;
    Ok(Head { seq, hash, at })
}

/// What happened after `after`, in order: at most `limit`.
pub(crate) fn happened_since(conn: &Connection, after: u64, limit: u32) -> Result<Vec<Happened>, DbError> {
    conn.prepare_cached("SELECT kind, subject FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2")
        .and_then(|mut statement| {
            let rows = statement.query_map(params![after.cast_signed(), limit], |row| {
                Ok(Happened { kind: row.get(0)?, subject: row.get(1)? })
            })?;
            rows.collect()
        })
        .during("read the log")
}

/// Calls `take` with each event before `before`, the newest first and without what it was, until it wants no more. Looks at
/// `limit` events at most; whether there are more.
pub(crate) fn each_before(
    conn: &Connection,
    (before, limit): (u64, u32),
    mut take: impl FnMut(Trace) -> ControlFlow<()>,
) -> Result<bool, DbError> {
    let during = "read the log";
    let mut statement = conn
        .prepare_cached("SELECT seq, actor, command, kind FROM events WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2")
        .during(during)?;
    let mut rows = statement.query(params![before.cast_signed(), limit]).during(during)?;
    let mut last = 1;
    while let Some(row) = rows.next().during(during)? {
        let found = trace(row)?;
        last = found.seq;
        if take(found).is_break() {
            return Ok(false);
        }
    }
    Ok(last > 1)
}

/// The newest event after `after` that happened to the thing with this full id.
pub(crate) fn newest_of(conn: &Connection, subject: &str, after: u64) -> Result<Option<Trace>, DbError> {
    let during = "read the log";
    let mut statement = conn
        .prepare_cached(
            "SELECT seq, actor, command, kind FROM events WHERE subject = ?1 AND seq > ?2 ORDER BY seq DESC LIMIT 1",
        )
        .during(during)?;
    let mut rows = statement.query(params![subject, after.cast_signed()]).during(during)?;
    rows.next().during(during)?.map(trace).transpose()
}

fn trace(row: &Row<'_>) -> Result<Trace, DbError> {
    let during = "read the log";
    let seq = row.get::<_, i64>(0).during(during)?.cast_unsigned();
    let actor = row.get_ref(1).and_then(|actor| Ok(actor.as_str()?)).during(during)?;
    let actor = serde_json::from_str(actor).map_err(|source| DbError::Event {
        seq,
        schema_version: EVENT_SCHEMA_VERSION,
        source,
    })?;
    let command = row.get_ref(2).and_then(|command| Ok(command.as_str()?)).during(during)?;
    let command = command.parse().map_err(|_| DbError::Column { seq, column: "command" })?;
    Ok(Trace { seq, actor, command, kind: row.get(3).during(during)? })
}

/// Calls `take` with each event after `after` whose kind is wanted, in order, and without who did it. Looks at `limit`
/// events at most; answers the number of the last that it looked at, none when there was none.
pub(crate) fn each_since(
    conn: &Connection,
    (after, limit): (u64, u32),
    wants: impl Fn(&str) -> bool,
    mut take: impl FnMut(u64, Timestamp, &Event),
) -> Result<Option<u64>, DbError> {
    let during = "read the log";
    let mut statement = conn
        .prepare_cached("SELECT seq, at, kind, schema_version, data FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2")
        .during(during)?;
    let mut rows = statement.query(params![after.cast_signed(), limit]).during(during)?;
    let mut last = None;
    while let Some(row) = rows.next().during(during)? {
        let seq = row.get::<_, i64>(0).during(during)?.cast_unsigned();
        let kind = row.get_ref(2).and_then(|kind| Ok(kind.as_str()?)).during(during)?;
        if wants(kind) {
            let at = Timestamp::from_unix_us(row.get(1).during(during)?);
            let schema_version = row.get(3).during(during)?;
            let data = row.get_ref(4).and_then(|data| Ok(data.as_str()?)).during(during)?;
            let event = serde_json::from_str(data).map_err(|source| DbError::Event { seq, schema_version, source })?;
            take(seq, at, &event);
        }
        last = Some(seq);
    }
    Ok(last)
}

/// The record of the command, if it was committed before.
pub(crate) fn finished(conn: &Connection, id: CommandId) -> Result<Option<Finished>, DbError> {
    let row = conn
        .prepare_cached("SELECT request, first_seq, last_seq, at, outcome FROM commands WHERE id = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([id.to_string()], |row| {
                    let finished = Finished {
                        request: Digest::from_bytes(row.get(0)?),
                        first_seq: row.get::<_, Option<i64>>(1)?.map(i64::cast_unsigned),
                        last_seq: row.get::<_, i64>(2)?.cast_unsigned(),
                        at: Timestamp::from_unix_us(row.get(3)?),
                        outcome: Outcome::default(),
                    };
                    Ok((finished, row.get::<_, String>(4)?))
                })
                .optional()
        })
        .during("look for the command")?;
    let Some((finished, outcome)) = row else { return Ok(None) };
    let outcome = serde_json::from_str(&outcome).map_err(|source| DbError::Outcome { id: id.to_string(), source })?;
    Ok(Some(Finished { outcome, ..finished }))
}

/// Records what the command came to.
pub(crate) fn finish(conn: &Connection, id: CommandId, finished: &Finished) -> Result<(), DbError> {
    let outcome = serde_json::to_string(&finished.outcome).expect("an outcome holds texts only");
    conn.prepare_cached(
        "INSERT INTO commands (id, request, first_seq, last_seq, at, outcome) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .and_then(|mut statement| {
        statement.execute(params![
            id.to_string(),
            finished.request.as_bytes(),
            finished.first_seq.map(u64::cast_signed),
            finished.last_seq.cast_signed(),
            finished.at.unix_us(),
            outcome
        ])
    })
    .during("record the command")?;
    Ok(())
}

/// Newest events whose commands are remembered however old they are: their records also tell when the end of the log was
/// cut off.
const REMEMBERED_EVENTS: u64 = 1_000;

/// Removes records of commands that were executed before `before`, at most `most` and the oldest first; answers how many.
/// Such a command that is sent again is judged anew.
pub(crate) fn forget(conn: &Connection, head: Head, before: Timestamp, most: u32) -> Result<u64, DbError> {
    let last = head.seq.saturating_sub(REMEMBERED_EVENTS);
    let gone = conn
        .prepare_cached(
            "DELETE FROM commands WHERE id IN (SELECT id FROM commands INDEXED BY commands_at
             WHERE at < ?1 AND last_seq <= ?2 ORDER BY at LIMIT ?3)",
        )
        .and_then(|mut statement| statement.execute(params![before.unix_us(), last.cast_signed(), most]))
        .during("forget commands")?;
    Ok(gone as u64)
}

/// Reads the row, in the order of [`RawEvent::COLUMNS`].
fn raw(row: &Row<'_>) -> rusqlite::Result<RawEvent> {
    Ok(RawEvent {
        seq: row.get::<_, i64>(0)?.cast_unsigned(),
        at: Timestamp::from_unix_us(row.get(1)?),
        actor: row.get(2)?,
        command: row.get(3)?,
        entity: row.get(4)?,
        subject: row.get(5)?,
        project: row.get(6)?,
        kind: row.get(7)?,
        schema_version: row.get(8)?,
        data: row.get(9)?,
        hash: row.get(10)?,
    })
}

/// As many as are not too large together.
fn fitting(rows: impl Iterator<Item = rusqlite::Result<RawEvent>>) -> rusqlite::Result<Vec<RawEvent>> {
    let (mut bytes, mut found) = (0, Vec::new());
    for row in rows {
        let row = row?;
        bytes += row.data.len();
        found.push(row);
        if bytes >= PAGE_BYTES_MAX {
            break;
        }
    }
    Ok(found)
}

impl RawEvent {
    const COLUMNS: &'static str = "seq, at, actor, command, entity, subject, project, kind, schema_version, data, hash";

    /// The events after `after`, of one project or subject where given: at most `limit`, and fewer when they are large.
    /// There are none only when there are no more.
    pub(crate) fn after(
        conn: &Connection,
        (after, limit): (u64, u32),
        project: Option<ProjectId>,
        subject: Option<&str>,
    ) -> Result<Vec<Self>, DbError> {
        let (filter, value) = match (subject, project) {
            (Some(subject), _) => ("AND subject = ?3", Some(subject.to_owned())),
            (None, Some(project)) => ("AND project = ?3", Some(project.to_string())),
            (None, None) => ("AND ?3 IS NULL", None),
        };
        let columns = Self::COLUMNS;
        let sql = format!("SELECT {columns} FROM events WHERE seq > ?1 {filter} ORDER BY seq LIMIT ?2");
        conn.prepare_cached(&sql)
            .and_then(|mut statement| fitting(statement.query_map(params![after.cast_signed(), limit, value], raw)?))
            .during("read the log")
    }

    /// The events behind the one with this number of this subject, by subject and number: at most `limit`, and fewer when they are
    /// large. There are none only when there are no more.
    pub(crate) fn by_subject(
        conn: &Connection,
        (subject, after): (&str, u64),
        limit: u32,
    ) -> Result<Vec<Self>, DbError> {
        let columns = Self::COLUMNS;
        let sql = format!(
            "SELECT {columns} FROM events INDEXED BY events_subject WHERE (subject, seq) > (?1, ?2)
             ORDER BY subject, seq LIMIT ?3"
        );
        conn.prepare_cached(&sql)
            .and_then(|mut statement| fitting(statement.query_map(params![subject, after.cast_signed(), limit], raw)?))
            .during("read the log")
    }

    /// The event itself.
    pub(crate) fn event(&self) -> Result<Event, DbError> {
        let schema_version = self.schema_version;
        serde_json::from_str(&self.data).map_err(|source| DbError::Event { seq: self.seq, schema_version, source })
    }

    /// Who did it.
    pub(crate) fn actor(&self) -> Result<Actor, DbError> {
        let schema_version = self.schema_version;
        serde_json::from_str(&self.actor).map_err(|source| DbError::Event { seq: self.seq, schema_version, source })
    }

    /// The command that made it.
    pub(crate) fn command(&self) -> Result<CommandId, DbError> {
        self.command.parse().map_err(|_| DbError::Column { seq: self.seq, column: "command" })
    }

    /// All of it in the types of the core.
    pub(crate) fn decode(self) -> Result<StoredEvent, DbError> {
        let project = self.project.parse().map_err(|_| DbError::Column { seq: self.seq, column: "project" })?;
        let recorded = Recorded {
            seq: self.seq,
            at: self.at,
            actor: self.actor()?,
            command: self.command()?,
            event: self.event()?,
            hash: Digest::from_bytes(self.hash),
        };
        Ok(StoredEvent { recorded, project, actor_json: self.actor, json: self.data })
    }
}
