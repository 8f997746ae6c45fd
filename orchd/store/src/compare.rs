//! Checks that the tables are what follows from the log (invariant I3), however much there is and while others write.
//!
//! The log is followed thing by thing and not by time: a thing follows from its own events, so that one of them and one page of
//! events is all that is held. Each page is a read of its own, in which the things that end there are compared with their rows.

use std::collections::{BTreeMap, BTreeSet};

use orch_core::entity::Meta;
use orch_core::view::ReadError;
use rusqlite::Connection;

use crate::counts;
use crate::fold::{self, Made};
use crate::log::{self, RawEvent};
use crate::rebuild::{RebuildError, ReplayError};
use crate::sqlite::{DbError, During as _, Location, open_reader};
use crate::store::Store;
use crate::tables::{self, KINDS};

/// Events, or rows, that are read at once.
const PAGE: u32 = 2_000;
/// Most differences that a report names.
const DIFFERENCES_MAX: usize = 100;

/// What a comparison of the tables with the log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RebuildReport {
    /// Events that were followed.
    pub events: u64,
    /// Rows that the log gives.
    pub rows: u64,
    /// One line per row that is missing, too many or different; at most a hundred.
    pub differences: Vec<String>,
}

impl Store {
    /// Follows the whole log and compares every row of every table, both ways.
    ///
    /// Writers go on meanwhile. Takes some 10 us per event. A log that says what cannot be is a difference too: it was
    /// changed, or the disk has lost something.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn check_rebuild(&self) -> Result<RebuildReport, ReadError> {
        Ok(self.check_rebuild_while(&mut |_| true)?.unwrap_or_default())
    }

    /// As [`Self::check_rebuild`]; asks after every page, with the number of events that were followed, whether to go on. None when
    /// it was not to.
    ///
    /// # Errors
    /// As [`Self::check_rebuild`].
    pub fn check_rebuild_while(&self, go_on: &mut dyn FnMut(u64) -> bool) -> Result<Option<RebuildReport>, ReadError> {
        all(self.location(), go_on)
    }

    /// Compares the rows of what the events after `after` happened to, with all that the log says of each. Follows `events_max`
    /// events at most, and leaves the rest.
    ///
    /// # Errors
    /// As [`Self::check_rebuild`].
    pub fn check_newest(&self, after: u64, events_max: u64) -> Result<RebuildReport, ReadError> {
        let compared = newest(self.location(), after, events_max);
        Ok(found(compared.map(Some))?.unwrap_or_default())
    }
}

/// Compares the tables of a file with its log.
pub(crate) fn all(location: &Location, go_on: &mut dyn FnMut(u64) -> bool) -> Result<Option<RebuildReport>, ReadError> {
    found(whole(location, go_on))
}

fn found(compared: Result<Option<RebuildReport>, RebuildError>) -> Result<Option<RebuildReport>, ReadError> {
    match compared {
        Ok(report) => Ok(report),
        Err(RebuildError::Replay(error)) => Ok(Some(RebuildReport::broken(&error))),
        Err(RebuildError::Db(error @ (DbError::Event { .. } | DbError::Column { .. }))) => {
            Ok(Some(RebuildReport::broken(&error)))
        }
        Err(RebuildError::Db(error)) => Err(error.into()),
    }
}

fn whole(location: &Location, go_on: &mut dyn FnMut(u64) -> bool) -> Result<Option<RebuildReport>, RebuildError> {
    let conn = open_reader(location)?;
    // What is counted is compared as it was at the beginning, which the log knows for ever and the table only then.
    let (began_at, counted) = snapshot(&conn, || Ok((log::head(&conn)?.seq, counts::all(&conn)?)))?;
    let mut comparison = Comparison { began_at, ..Comparison::default() };
    let (mut subject, mut seq) = (String::new(), 0);
    loop {
        let last = snapshot(&conn, || {
            let page = RawEvent::by_subject(&conn, (&subject, seq), PAGE)?;
            page.iter().try_for_each(|raw| comparison.hear(&conn, raw))?;
            if page.is_empty() {
                comparison.finish(&conn)?;
            }
            Ok(page.into_iter().next_back())
        })?;
        if !go_on(comparison.report.events) {
            return Ok(None);
        }
        let Some(last) = last else { break };
        (subject, seq) = (last.subject, last.seq);
    }
    comparison.too_many(&conn)?;
    comparison.compare_counts(&counted);
    Ok(Some(comparison.report))
}

fn newest(location: &Location, after: u64, events_max: u64) -> Result<RebuildReport, RebuildError> {
    let conn = open_reader(location)?;
    let mut comparison = Comparison::default();
    for subject in subjects(&conn, after)? {
        let mut seq = 0;
        while comparison.report.events < events_max {
            let page = snapshot(&conn, || {
                let page = RawEvent::after(&conn, (seq, PAGE), None, Some(&subject))?;
                page.iter().try_for_each(|raw| comparison.hear(&conn, raw))?;
                if page.is_empty() {
                    comparison.finish(&conn)?;
                }
                Ok(page)
            })?;
            let Some(last) = page.last() else { break };
            seq = last.seq;
        }
    }
    Ok(comparison.report)
}

/// What the events after `after` happened to.
fn subjects(conn: &Connection, after: u64) -> Result<BTreeSet<String>, DbError> {
    let (mut subjects, mut seq) = (BTreeSet::new(), after);
    loop {
        let page = log::happened_since(conn, seq, PAGE)?;
        if page.is_empty() {
            return Ok(subjects);
        }
        seq += page.len() as u64;
        subjects.extend(page.into_iter().map(|happened| happened.subject));
    }
}

/// Reads one state of the file.
fn snapshot<T>(conn: &Connection, read: impl FnOnce() -> Result<T, RebuildError>) -> Result<T, RebuildError> {
    conn.execute_batch("BEGIN").during("begin the comparison")?;
    let done = read();
    conn.execute_batch("ROLLBACK").during("end the comparison")?;
    done
}

impl RebuildReport {
    /// Nothing could be compared, for this reason.
    fn broken(error: &dyn std::error::Error) -> Self {
        let causes = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
        let why = causes.collect::<Vec<_>>().join(": ");
        Self { differences: vec![format!("the log cannot be replayed: {why}")], ..Self::default() }
    }

    fn differ(&mut self, line: impl FnOnce() -> String) {
        if self.differences.len() < DIFFERENCES_MAX {
            self.differences.push(line());
        }
    }
}

/// Kind, project and state, with how many there are.
type Counted = BTreeMap<(String, String, String), i64>;

/// How far a comparison is.
#[derive(Default)]
struct Comparison {
    report: RebuildReport,
    /// The newest event when it began, and what was counted by it.
    began_at: u64,
    counted: Counted,
    current: Option<Current>,
}

/// The thing whose events are being followed.
struct Current {
    subject: String,
    made: Box<dyn Made>,
    seq: u64,
    /// Project and state that it had when the comparison began.
    began_in: Option<(String, &'static str)>,
}

impl Comparison {
    /// Follows one event more. Those of a thing come together and in order.
    fn hear(&mut self, conn: &Connection, raw: &RawEvent) -> Result<(), RebuildError> {
        if self.current.as_ref().is_some_and(|current| current.subject != raw.subject) {
            self.finish(conn)?;
        }
        let (seq, event, actor) = (raw.seq, raw.event()?, raw.actor()?);
        if event.subject() != raw.subject {
            return Err(DbError::Column { seq, column: "subject" }.into());
        }
        let (before, began_in) = self.current.take().map_or((None, None), |at| (Some(at.made), at.began_in));
        let made = fold::apply(before, &event, Meta { at: raw.at, actor: &actor })
            .map_err(|source| ReplayError { seq, source: source.into() })?;
        let (project, state) = made.place();
        let project = project.to_string();
        if project != raw.project {
            return Err(DbError::Column { seq, column: "project" }.into());
        }
        let began_in = if seq <= self.began_at { Some((project, state)) } else { began_in };
        self.current = Some(Current { subject: raw.subject.clone(), made, seq, began_in });
        self.report.events += 1;
        Ok(())
    }

    /// Compares the thing whose events were all followed with its row.
    fn finish(&mut self, conn: &Connection) -> Result<(), DbError> {
        let Some(Current { subject, made, seq, began_in }) = self.current.take() else { return Ok(()) };
        let (kind, wanted) = (made.kind(), made.row(seq));
        self.report.rows += 1;
        match tables::row(conn, kind, &subject)? {
            None => self.report.differ(|| format!("{kind} `{subject}` is in the log, but not in the table")),
            Some(row) if row != wanted => {
                self.report.differ(|| format!("{kind} `{subject}` is {row} in the table, {wanted} by the log"));
            }
            Some(_) => {}
        }
        if let Some((project, state)) = began_in {
            *self.counted.entry((kind.label().to_owned(), project, state.to_owned())).or_default() += 1;
        }
        Ok(())
    }

    /// Looks for rows that nothing in the log is about.
    fn too_many(&mut self, conn: &Connection) -> Result<(), DbError> {
        for kind in KINDS {
            let mut after = String::new();
            loop {
                let page = tables::page_of_ids(conn, kind, &after, PAGE)?;
                let Some((last, _)) = page.last() else { break };
                after.clone_from(last);
                for (id, _) in page.iter().filter(|(_, is_in_log)| !is_in_log) {
                    self.report.differ(|| format!("{kind} `{id}` is in the table, but not in the log"));
                }
            }
        }
        Ok(())
    }

    fn compare_counts(&mut self, found: &Counted) {
        let by_log = std::mem::take(&mut self.counted);
        let keys: BTreeSet<_> = by_log.keys().chain(found.keys()).collect();
        for key in keys {
            let [by_log, found] = [&by_log, found].map(|counts| counts.get(key).copied().unwrap_or(0));
            let (kind, project, state) = key;
            if by_log != found {
                self.report.differ(|| {
                    format!("{found} of kind {kind} are counted as {state} in `{project}`, {by_log} by the log")
                });
            }
        }
    }
}
