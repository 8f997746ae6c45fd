//! Rows of entities: one layout and one implementation for all kinds.
//!
//! A row is what `Entity::apply` made of the events of one subject. Knows no rules and no history; all that is not needed
//! to find rows is JSON.

use orch_core::entity::{
    ApplyError, Approval, Change, Entity, InfoRequest, Meta, Plan, Project, Requirements, Run, Task, Vision,
};
use orch_core::event::Event;
use orch_core::view::Filter;
use orch_proto::EntityKind;
use orch_proto::id::ProjectId;
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params, params_from_iter};

use crate::counts;
use crate::kept::Kept;
use crate::sqlite::{DbError, During as _};

/// An event that cannot be taken into the tables.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Every kind, in the order of their tables.
pub(crate) const KINDS: [EntityKind; 9] = [
    EntityKind::Project,
    EntityKind::Vision,
    EntityKind::Requirements,
    EntityKind::Plan,
    EntityKind::Task,
    EntityKind::Run,
    EntityKind::Approval,
    EntityKind::Change,
    EntityKind::InfoRequest,
];

/// Puts the name of a kind's table into a statement.
macro_rules! sql {
    ($kind:expr, $before:literal, $after:literal) => {
        match $kind {
            EntityKind::Project => concat!($before, "projects", $after),
            EntityKind::Vision => concat!($before, "visions", $after),
            EntityKind::Requirements => concat!($before, "requirements", $after),
            EntityKind::Plan => concat!($before, "plans", $after),
            EntityKind::Task => concat!($before, "tasks", $after),
            EntityKind::Run => concat!($before, "runs", $after),
            EntityKind::Approval => concat!($before, "approvals", $after),
            EntityKind::Change => concat!($before, "changes", $after),
            EntityKind::InfoRequest => concat!($before, "info_requests", $after),
        }
    };
}
pub(crate) use sql;

/// Applies an event to the table of its kind; answers the project of what it happened to.
pub(crate) fn apply(
    (conn, kept): (&Connection, &mut Kept),
    seq: u64,
    event: &Event,
    meta: Meta<'_>,
) -> Result<ProjectId, TableError> {
    match event {
        Event::Project { id, event } => apply_to::<Project>((conn, kept), (seq, *id), event, meta),
        Event::Vision { id, event } => apply_to::<Vision>((conn, kept), (seq, *id), event, meta),
        Event::Requirements { id, event } => apply_to::<Requirements>((conn, kept), (seq, *id), event, meta),
        Event::Plan { id, event } => apply_to::<Plan>((conn, kept), (seq, *id), event, meta),
        Event::Task { id, event } => apply_to::<Task>((conn, kept), (seq, *id), event, meta),
        Event::Run { id, event } => apply_to::<Run>((conn, kept), (seq, *id), event, meta),
        Event::Approval { id, event } => apply_to::<Approval>((conn, kept), (seq, *id), event, meta),
        Event::Change { id, event } => apply_to::<Change>((conn, kept), (seq, *id), event, meta),
        Event::InfoRequest { id, event } => apply_to::<InfoRequest>((conn, kept), (seq, *id), event, meta),
    }
}

fn apply_to<E: Entity>(
    (conn, kept): (&Connection, &mut Kept),
    (seq, id): (u64, E::Id),
    event: &E::Event,
    meta: Meta<'_>,
) -> Result<ProjectId, TableError> {
    let before = match kept.take::<E>(id) {
        None => get::<E>(conn, id)?,
        taken => taken,
    };
    let was = before.as_ref().map(Place::of);
    let entity = E::apply(before, id, event, meta)?;
    let is = Place::of(&entity);
    counts::moved(conn, (E::KIND, is.project), was.as_ref().map(|was| was.state), is.state)?;
    let write = if was.as_ref() == Some(&is) { put_data } else { put };
    let data = encode(&entity);
    debug_assert_eq!(
        decode_text::<E>("", &data).ok().as_ref(),
        Some(&entity),
        "what is kept has to be what a row says"
    );
    write(conn, seq, &entity, &data)?;
    kept.put(entity, data.len());
    Ok(is.project)
}

/// What a row is found by: with the same, no index changes.
#[derive(PartialEq, Eq)]
struct Place {
    project: ProjectId,
    number: u32,
    parent: Option<String>,
    open: bool,
    state: &'static str,
}

impl Place {
    fn of<E: Entity>(entity: &E) -> Self {
        Self {
            project: entity.project(),
            number: entity.number(),
            parent: entity.parent(),
            open: entity.is_open(),
            state: entity.state_label(),
        }
    }
}

/// Writes what is new of a row that stays where it is found.
fn put_data<E: Entity>(conn: &Connection, seq: u64, entity: &E, data: &str) -> Result<(), DbError> {
    let sql = sql!(E::KIND, "UPDATE ", " SET seq = ?2, data = ?3 WHERE id = ?1");
    conn.prepare_cached(sql)
        .and_then(|mut statement| statement.execute(params![entity.id().to_string(), seq.cast_signed(), data]))
        .during("write a row")?;
    Ok(())
}

fn put<E: Entity>(conn: &Connection, seq: u64, entity: &E, data: &str) -> Result<(), DbError> {
    let sql = sql!(
        E::KIND,
        "INSERT INTO ",
        " (id, project, number, parent, open, state, seq, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
          ON CONFLICT (id) DO UPDATE SET project = excluded.project, number = excluded.number, parent = excluded.parent,
          open = excluded.open, state = excluded.state, seq = excluded.seq, data = excluded.data"
    );
    conn.prepare_cached(sql)
        .and_then(|mut statement| {
            statement.execute(params![
                entity.id().to_string(),
                entity.project().to_string(),
                entity.number(),
                entity.parent(),
                entity.is_open(),
                entity.state_label(),
                seq.cast_signed(),
                data
            ])
        })
        .during("write a row")?;
    Ok(())
}

/// An entity as it stands in its row.
pub(crate) fn encode<E: Entity>(entity: &E) -> String {
    serde_json::to_string(entity).expect("core types have string keys and finite numbers only")
}

/// The entity with this id.
pub(crate) fn get<E: Entity>(conn: &Connection, id: E::Id) -> Result<Option<E>, DbError> {
    let sql = sql!(E::KIND, "SELECT id, data FROM ", " WHERE id = ?1");
    one(conn, sql, &[&id.to_string()])
}

/// The entity with this id, decoded only when it is not kept.
pub(crate) fn get_kept<E: Entity>(conn: &Connection, kept: &mut Kept, id: E::Id) -> Result<Option<E>, DbError> {
    if let Some(found) = kept.get(id) {
        return Ok(Some(found));
    }
    let sql = sql!(E::KIND, "SELECT id, data FROM ", " WHERE id = ?1");
    let found = one_sized::<E>(conn, sql, &[&id.to_string()])?;
    Ok(found.map(|(entity, bytes)| {
        kept.put(entity.clone(), bytes);
        entity
    }))
}

/// The entity with this number in its project.
pub(crate) fn by_number<E: Entity>(conn: &Connection, project: ProjectId, number: u32) -> Result<Option<E>, DbError> {
    let sql = sql!(E::KIND, "SELECT id, data FROM ", " WHERE project = ?1 AND number = ?2");
    one(conn, sql, &[&project.to_string(), &number])
}

/// The entity with the greatest id, of a project or of all.
pub(crate) fn newest<E: Entity>(conn: &Connection, project: Option<ProjectId>) -> Result<Option<E>, DbError> {
    match project {
        Some(project) => {
            let sql = sql!(E::KIND, "SELECT id, data FROM ", " WHERE project = ?1 ORDER BY number DESC LIMIT 1");
            one(conn, sql, &[&project.to_string()])
        }
        None => one(conn, sql!(E::KIND, "SELECT id, data FROM ", " ORDER BY id DESC LIMIT 1"), &[]),
    }
}

/// The entities that fit, by number and id.
pub(crate) fn list<E: Entity>(conn: &Connection, filter: &Filter) -> Result<Vec<E>, DbError> {
    let mut entities = Vec::new();
    each(conn, filter, |entity| entities.push(entity))?;
    Ok(entities)
}

/// Calls `take` with each entity that fits, by number and id.
pub(crate) fn each<E: Entity>(conn: &Connection, filter: &Filter, mut take: impl FnMut(E)) -> Result<(), DbError> {
    let mut sql = sql!(E::KIND, "SELECT id, data FROM ", "").to_owned();
    if filter.open && filter.parent.is_none() {
        sql.push_str(sql!(E::KIND, " INDEXED BY ", "_open"));
    } else if E::KIND == EntityKind::Task && filter.state.is_some() && filter.project.is_some() {
        // Left to itself, SQLite may walk through all of the project rather than sort what is in that state.
        sql.push_str(" INDEXED BY tasks_project_state");
    }
    sql.push_str(" WHERE 1");
    let state = filter.state.map(str::to_owned);
    let project = filter.project.map(|project| project.to_string());
    let mut values: Vec<&String> = Vec::new();
    if let Some(project) = &project {
        values.push(project);
        sql.push_str(" AND project = ?");
    }
    if let Some(parent) = &filter.parent {
        values.push(parent);
        sql.push_str(" AND parent = ?");
    }
    if filter.open {
        // The literal lets the partial index serve.
        sql.push_str(" AND open = 1");
    }
    if filter.hangs {
        sql.push_str(" AND parent IS NOT NULL");
    }
    if let Some(state) = &state {
        values.push(state);
        sql.push_str(" AND state = ?");
    }
    sql.push_str(" ORDER BY number, id");
    let mut statement = conn.prepare_cached(&sql).during("list rows")?;
    let mut rows = statement.query(params_from_iter(values)).during("list rows")?;
    while let Some(row) = rows.next().during("list rows")? {
        take(decode(row)?);
    }
    Ok(())
}

/// Calls `take` with the entities whose ids are greater than `after`, by id: at most `limit`.
pub(crate) fn each_on_page<E: Entity>(
    conn: &Connection,
    (after, limit): (Option<E::Id>, u32),
    mut take: impl FnMut(E),
) -> Result<(), DbError> {
    let sql = sql!(E::KIND, "SELECT id, data FROM ", " WHERE id > ?1 ORDER BY id LIMIT ?2");
    let mut statement = conn.prepare_cached(sql).during("list rows")?;
    // No id is the empty text.
    let after = after.map_or_else(String::new, |id| id.to_string());
    let mut rows = statement.query(params![after, limit]).during("list rows")?;
    while let Some(row) = rows.next().during("list rows")? {
        take(decode(row)?);
    }
    Ok(())
}

/// Calls `take` with the open entities behind the one with this number in this project, by project and number: at most `limit`.
pub(crate) fn each_open_on_page<E: Entity>(
    conn: &Connection,
    (after, limit): (Option<(ProjectId, u32)>, u32),
    mut take: impl FnMut(E),
) -> Result<(), DbError> {
    let mut sql = sql!(E::KIND, "SELECT id, data FROM ", "").to_owned();
    sql.push_str(sql!(E::KIND, " INDEXED BY ", "_open"));
    sql.push_str(" WHERE open = 1 AND (project, number) > (?1, ?2) ORDER BY project, number LIMIT ?3");
    let mut statement = conn.prepare_cached(&sql).during("list rows")?;
    // No id is the empty text.
    let (project, number) = after.map_or_else(Default::default, |(project, number)| (project.to_string(), number));
    let mut rows = statement.query(params![project, number, limit]).during("list rows")?;
    while let Some(row) = rows.next().during("list rows")? {
        take(decode(row)?);
    }
    Ok(())
}

/// The highest number of the kind in the project, or over all; 0 if there is none.
pub(crate) fn last_number(conn: &Connection, kind: EntityKind, project: Option<ProjectId>) -> Result<u32, DbError> {
    let found: rusqlite::Result<Option<u32>> = match project {
        Some(project) => conn
            .prepare_cached(sql!(kind, "SELECT max(number) FROM ", " WHERE project = ?1"))
            .and_then(|mut statement| statement.query_row([project.to_string()], |row| row.get(0))),
        None => conn
            .prepare_cached(sql!(kind, "SELECT max(number) FROM ", ""))
            .and_then(|mut statement| statement.query_row([], |row| row.get(0))),
    };
    Ok(found.during("read the last number")?.unwrap_or(0))
}

/// The project of the thing with this id.
pub(crate) fn project_of(conn: &Connection, kind: EntityKind, id: &str) -> Result<Option<ProjectId>, DbError> {
    let sql = sql!(kind, "SELECT project FROM ", " WHERE id = ?1");
    let text: Option<String> = conn
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([id], |row| row.get(0)).optional())
        .during("read the project of a row")?;
    Ok(text.and_then(|text| text.parse().ok()))
}

/// Removes all rows, before the log is replayed.
pub(crate) fn clear(conn: &Connection) -> Result<(), DbError> {
    for kind in KINDS {
        conn.execute(sql!(kind, "DELETE FROM ", ""), []).during("clear the tables")?;
    }
    counts::clear(conn)
}

/// A whole row as text, to compare it with what the log says.
pub(crate) fn row(conn: &Connection, kind: EntityKind, id: &str) -> Result<Option<String>, DbError> {
    let sql =
        sql!(kind, "SELECT json_array(project, number, parent, open, state, seq) || data FROM ", " WHERE id = ?1");
    conn.prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([id], |row| row.get(0)).optional())
        .during("read a row")
}

/// The ids of rows that are greater than `after`, in order and at most `limit`, each with whether the log has a word about it.
pub(crate) fn page_of_ids(
    conn: &Connection,
    kind: EntityKind,
    after: &str,
    limit: u32,
) -> Result<Vec<(String, bool)>, DbError> {
    let sql = sql!(
        kind,
        "SELECT id, EXISTS (SELECT 1 FROM events WHERE subject = id) FROM ",
        " WHERE id > ?1 ORDER BY id LIMIT ?2"
    );
    conn.prepare_cached(sql)
        .and_then(|mut statement| {
            let rows = statement.query_map(params![after, limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })
        .during("read the rows")
}

fn one<E: Entity>(conn: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<Option<E>, DbError> {
    Ok(one_sized(conn, sql, values)?.map(|(entity, _)| entity))
}

/// With the bytes of its JSON.
fn one_sized<E: Entity>(conn: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<Option<(E, usize)>, DbError> {
    let mut statement = conn.prepare_cached(sql).during("read a row")?;
    let mut rows = statement.query(values).during("read a row")?;
    rows.next().during("read a row")?.map(decode_sized).transpose()
}

fn decode<E: Entity>(row: &Row<'_>) -> Result<E, DbError> {
    Ok(decode_sized(row)?.0)
}

fn decode_sized<E: Entity>(row: &Row<'_>) -> Result<(E, usize), DbError> {
    let data = row.get_ref(1).and_then(|data| Ok(data.as_str()?)).during("read a row")?;
    let entity = decode_text(&row.get::<_, String>(0).unwrap_or_default(), data)?;
    Ok((entity, data.len()))
}

/// The entity that a row with this id has as its data.
pub(crate) fn decode_text<E: Entity>(id: &str, data: &str) -> Result<E, DbError> {
    serde_json::from_str(data).map_err(|source| DbError::Row { kind: E::KIND.label(), id: id.to_owned(), source })
}
