//! How many rows are in each state, counted as they change: who asks reads as many numbers as there are states.
//!
//! A projection of the log like the tables, in the same transactions, and compared with a replay as they are.

use std::collections::BTreeMap;

use orch_proto::EntityKind;
use orch_proto::id::ProjectId;
use rusqlite::{Connection, params};

use crate::sqlite::{DbError, During as _};

/// Counts that a row went from one state to another; from none when it is new.
pub(crate) fn moved(
    conn: &Connection,
    (kind, project): (EntityKind, ProjectId),
    from: Option<&str>,
    to: &str,
) -> Result<(), DbError> {
    const LESS: &str = "UPDATE counts SET count = count - 1 WHERE kind = ?1 AND project = ?2 AND state = ?3";
    const MORE: &str = "INSERT INTO counts (kind, project, state, count) VALUES (?1, ?2, ?3, 1)
                        ON CONFLICT (kind, project, state) DO UPDATE SET count = count + 1";
    if from == Some(to) {
        return Ok(());
    }
    let project = project.to_string();
    for (sql, state) in [(LESS, from), (MORE, Some(to))] {
        let Some(state) = state else { continue };
        conn.prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params![kind.label(), project, state]))
            .during("count rows")?;
    }
    Ok(())
}

/// How many rows of the kind are in each state, of a project or of all. States without rows are left out.
pub(crate) fn by_state(
    conn: &Connection,
    kind: EntityKind,
    project: Option<ProjectId>,
) -> Result<BTreeMap<String, u64>, DbError> {
    let project = project.map(|project| project.to_string());
    let filter = if project.is_some() { "project = ?2" } else { "?2 IS NULL" };
    let sql = format!("SELECT state, sum(count) FROM counts WHERE kind = ?1 AND {filter} AND count > 0 GROUP BY state");
    conn.prepare_cached(&sql)
        .and_then(|mut statement| {
            let rows = statement.query_map(params![kind.label(), project], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
            })?;
            rows.collect()
        })
        .during("count rows")
}

/// Forgets all counts, before the log is replayed.
pub(crate) fn clear(conn: &Connection) -> Result<(), DbError> {
    conn.execute("DELETE FROM counts", []).during("clear the counts")?;
    Ok(())
}

/// All of them, to compare two databases: kind, project and state, with the number.
pub(crate) fn all(conn: &Connection) -> Result<BTreeMap<(String, String, String), i64>, DbError> {
    conn.prepare("SELECT kind, project, state, count FROM counts WHERE count > 0")
        .and_then(|mut statement| {
            let rows = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?, row.get(2)?), row.get(3)?)))?;
            rows.collect()
        })
        .during("read the counts")
}
