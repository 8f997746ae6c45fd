//! Lists, the newest first: rows are read as they are taken, in the order of an index, and no further than they are taken.
//!
//! The time of an answer follows from what is in it and not from what the table has. What is open is read whole where only
//! open rows of all projects are asked for: there are few.

use std::ops::ControlFlow;

use orch_core::entity::Entity;
use orch_core::view::Filter;
use orch_proto::EntityKind;
use rusqlite::{CachedStatement, Connection, Rows, params_from_iter};

use crate::sqlite::{DbError, During as _};
use crate::tables::{decode_text, sql};

/// A row that was read and not taken: its place in the order, its id and its data.
type Head = (i64, String, String);

/// Calls `take` with each entity that fits and is in one of the states (in any, if none is named), the newest first, until
/// it wants no more.
///
/// The order is that in which they were made: within a project it is that of the numbers.
pub(crate) fn each<E: Entity>(
    conn: &Connection,
    filter: &Filter,
    states: &[&str],
    mut take: impl FnMut(E) -> ControlFlow<()>,
) -> Result<(), DbError> {
    let states = if states.is_empty() { filter.state.as_slice() } else { states };
    // One walk for each state, since each is a part of the index that is in order by itself.
    let walks: Vec<Option<&str>> =
        if states.is_empty() { vec![None] } else { states.iter().copied().map(Some).collect() };
    let mut statements = Vec::with_capacity(walks.len());
    for state in &walks {
        statements.push(conn.prepare_cached(&text(E::KIND, filter, state.is_some())).during("list rows")?);
    }
    let mut open = Vec::with_capacity(walks.len());
    for (statement, state) in statements.iter_mut().zip(walks) {
        let mut rows = begin(statement, filter, state)?;
        let head = next(&mut rows)?;
        open.push((rows, head));
    }
    loop {
        let newest =
            open.iter_mut().filter(|(_, head)| head.is_some()).max_by_key(|(_, head)| head.as_ref().map(|h| h.0));
        let Some((rows, head)) = newest else { return Ok(()) };
        let Some((_, id, data)) = head.take() else { return Ok(()) };
        if take(decode_text(&id, &data)?).is_break() {
            return Ok(());
        }
        *head = next(rows)?;
    }
}

fn begin<'a>(
    statement: &'a mut CachedStatement<'_>,
    filter: &Filter,
    state: Option<&str>,
) -> Result<Rows<'a>, DbError> {
    let project = filter.project.map(|project| project.to_string());
    let values = project.iter().map(String::as_str).chain(filter.parent.as_deref()).chain(state);
    statement.query(params_from_iter(values)).during("list rows")
}

fn next(rows: &mut Rows<'_>) -> Result<Option<Head>, DbError> {
    let row = rows.next().during("list rows")?;
    row.map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).transpose().during("list rows")
}

/// The statement of one walk. Values in their order: project, parent, state.
fn text(kind: EntityKind, filter: &Filter, has_state: bool) -> String {
    // Within a project numbers are in the order of the indexes; otherwise the order in which rows were made is.
    let order = if filter.project.is_some() && filter.parent.is_none() { "number" } else { "rowid" };
    let mut text = format!("SELECT {order}, id, data FROM {}", sql!(kind, "", ""));
    if filter.open && filter.parent.is_none() {
        // Left to itself, SQLite walks through everything rather than sort what is open.
        text.push_str(sql!(kind, " INDEXED BY ", "_open"));
    }
    text.push_str(" WHERE 1");
    if filter.project.is_some() {
        text.push_str(" AND project = ?");
    }
    if filter.parent.is_some() {
        text.push_str(" AND parent = ?");
    }
    if has_state {
        text.push_str(" AND state = ?");
    }
    if filter.open {
        text.push_str(" AND open = 1");
    }
    if filter.hangs {
        text.push_str(" AND parent IS NOT NULL");
    }
    text.push_str(&format!(" ORDER BY {order} DESC"));
    text
}

#[cfg(test)]
mod tests {
    use orch_core::ids::sample_id;
    use orch_proto::id::ProjectId;
    use rusqlite::StatementStatus;

    use super::*;
    use crate::schema;

    fn project(number: u128) -> ProjectId {
        sample_id(number)
    }

    fn insert(conn: &Connection, table: &str, number: u32, state: &str, open: bool) {
        let id = format!("{table}-{number}");
        let parent = number.is_multiple_of(1_000).then_some("plan-1");
        let sql = format!(
            "INSERT INTO {table} (id, project, number, parent, open, state, seq, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?3, '{{}}')"
        );
        conn.prepare_cached(&sql)
            .unwrap()
            .execute(rusqlite::params![id, project(u128::from(number % 2)).to_string(), number, parent, open, state])
            .unwrap();
    }

    /// Ten thousand that are done, and before, between and after them some that are not.
    fn filled() -> Connection {
        let conn = schema::in_memory().unwrap();
        conn.execute_batch("BEGIN").unwrap();
        for number in 1..=10_000 {
            let open = number % 2_500 < 2;
            for table in ["tasks", "runs"] {
                insert(&conn, table, number, if open { "running" } else { "done" }, open);
            }
        }
        conn.execute_batch("COMMIT").unwrap();
        conn
    }

    /// How many rows the first ten of a list cost, in steps of SQLite's machine, and whether it sorted or read all.
    fn cost(conn: &Connection, kind: EntityKind, filter: &Filter, state: Option<&str>) -> (i32, i32, i32) {
        let text = text(kind, filter, state.is_some());
        let mut statement = conn.prepare_cached(&text).unwrap();
        let mut rows = begin(&mut statement, filter, state).unwrap();
        for _ in 0..10 {
            next(&mut rows).unwrap();
        }
        drop(rows);
        let status = |what| statement.get_status(what);
        (status(StatementStatus::VmStep), status(StatementStatus::Sort), status(StatementStatus::FullscanStep))
    }

    #[test]
    fn the_first_rows_cost_the_same_whatever_else_there_is() {
        let conn = filled();
        let all = Filter::default();
        let of = Filter::of(project(1));
        let tasks = [
            (all.clone(), None),
            (of.clone(), None),
            (all, Some("running")),
            (of.clone(), Some("running")),
            (of.clone().open(), None),
            (Filter { hangs: true, ..of }, None),
        ];
        for (filter, state) in tasks {
            let (steps, sorts, _) = cost(&conn, EntityKind::Task, &filter, state);
            assert!(steps < 400 && sorts == 0, "{filter:?} {state:?}: {steps} steps, {sorts} sorts");
        }
        let (steps, sorts, _) = cost(&conn, EntityKind::Run, &Filter::under("plan-1"), None);
        assert!(steps < 400 && sorts == 0, "of a parent: {steps} steps, {sorts} sorts");
        // Of all projects only what is open is sorted.
        let (steps, _, _) = cost(&conn, EntityKind::Run, &Filter::default().open(), None);
        assert!(steps < 1_000, "open: {steps} steps");
    }
}
