//! The audit: the event log as it grows, and whether its hash chain is whole.

use ratatui::layout::Rect;

use crate::view::action::Action;
use crate::view::canvas::{Canvas, Line, text};
use crate::view::cursor::Cursor;
use crate::view::data::Data;
use crate::view::doc::Doc;
use crate::view::filter::Filter;
use crate::view::layout;
use crate::view::model::Model;
use crate::view::msg::{Cmd, Query};
use crate::view::overlay::{Viewer, ViewerBody};
use crate::view::rows::{EventRow, short_name};
use crate::view::screen::{Mark, draw_absence, draw_row};
use crate::view::theme::Role;
use crate::view::when;

/// Most columns that what an event is about takes in the list.
const SUBJECT_COLUMNS_MAX: usize = 24;

/// State of the screen.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    cursor: Cursor<u64>,
    /// The cursor stays on the newest event.
    follow: bool,
    /// A person has asked for the chain to be verified.
    pub(crate) verify_asked: bool,
}

impl Default for Audit {
    fn default() -> Self {
        Self { cursor: Cursor::default(), follow: true, verify_asked: false }
    }
}

/// Events of the project, oldest first.
fn listed<'a>(model: &Model, data: &'a Data, filter: &Filter) -> Vec<&'a EventRow> {
    let project = model.project.as_ref().map(|project| project.slug.as_str());
    let is_of_project =
        |event: &EventRow| project.is_none() || event.project.is_none() || event.project.as_deref() == project;
    data.events.iter().filter(|event| is_of_project(event) && filter.keeps(*event)).collect()
}

/// Fits the screen to the data and the room.
pub(crate) fn settle(model: &mut Model, body: Rect) {
    let filter = model.filter();
    let keys: Vec<u64> = listed(model, &model.data, &filter).iter().map(|event| event.seq).collect();
    if model.audit.follow
        && let Some(newest) = keys.last()
    {
        model.audit.cursor.select(*newest);
    }
    model.audit.cursor.settle(&keys, usize::from(layout::below(body, 1).height));
}

/// Does an action of the screen.
pub(crate) fn act(model: &mut Model, action: Action) -> Vec<Cmd> {
    match action {
        Action::Follow => model.audit.follow = !model.audit.follow,
        Action::Verify => {
            model.audit.verify_asked = true;
            model.data.verify = None;
            model.loader.refetch(&Query::Verify);
        }
        Action::Open => {
            let key = model.audit.cursor.key();
            let Some(event) = model.data.events.iter().find(|event| Some(event.seq) == key) else { return Vec::new() };
            let title = text(format_args!("event {}", event.seq));
            let doc = dossier(event);
            model.overlays.push(Viewer::open(title, ViewerBody::Doc(doc)));
        }
        _ => {
            let filter = model.filter();
            let keys: Vec<u64> = listed(model, &model.data, &filter).iter().map(|event| event.seq).collect();
            let before = model.audit.cursor.key();
            model.audit.cursor.act(&keys, action);
            model.audit.follow = match action {
                Action::Bottom => true,
                _ if before == model.audit.cursor.key() => model.audit.follow,
                _ => false,
            };
        }
    }
    Vec::new()
}

fn dossier(event: &EventRow) -> Doc {
    Doc::new()
        .field_as("kind", event.kind.clone(), Role::Strong)
        .field("about", event.subject.clone())
        .field("actor", event.actor.clone())
        .field("at", text(format_args!("{}", event.at)))
        .field("what", event.text.clone())
        .field_as("hash", event.hash.clone(), Role::Dim)
}

/// Draws the screen.
pub(crate) fn draw(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    let filter = model.filter();
    let events = listed(model, &model.data, &filter);
    let follow =
        if model.audit.follow { Line::of("follow", Role::Good) } else { Line::of("standing (f follows)", Role::Dim) };
    canvas.put(body, 0, &Line::of(" events  ", Role::Heading).line(follow).lit("  ", Role::Text).line(verdict(model)));
    let rows = layout::below(body, 1);
    if events.is_empty() {
        let empty: &[&str] = match (model.data.events.is_empty(), model.data.events_known) {
            (false, _) => &["no event matches the project and the filter; esc clears the filter"],
            (true, true) => &["no events yet; everything that changes makes one"],
            (true, false) => &[],
        };
        draw_absence(canvas, layout::below(rows, 1), (model, &Query::Status), empty);
    }
    for (row, event) in (0..rows.height).zip(events.iter().skip(model.audit.cursor.top())) {
        let line = Line::from_safe(text(format_args!("{:>6} ", event.seq)), Role::Dim)
            .safe(when::time_of_day(event.at), Role::Dim)
            .lit(" ", Role::Text)
            .safe(event.kind.clone(), Role::Key)
            .pad(38)
            .lit(" ", Role::Text)
            .safe(short_name(&event.subject, SUBJECT_COLUMNS_MAX), Role::Strong)
            .lit("  ", Role::Text)
            .safe(event.text.clone(), Role::Text)
            .lit("  ", Role::Text)
            .safe(event.actor.clone(), Role::Dim);
        draw_row(canvas, (rows, row), &line, Mark::of(model.audit.cursor.key() == Some(event.seq), true));
    }
}

/// What is known of the chain.
fn verdict(model: &Model) -> Line {
    if let Some(fault) = model.loader.fault(&Query::Verify) {
        return fault.line();
    }
    match &model.data.verify {
        None if model.loader.is_loading(&Query::Verify) => Line::of("verifying the chain", Role::Busy),
        None => Line::of("V verifies the hash chain", Role::Dim),
        Some(report) => match &report.broken_at {
            None => {
                let head: String = report.head.as_str().chars().take(12).collect();
                Line::from_safe(text(format_args!("+ chain whole, {} events, head {head}", report.events)), Role::Good)
            }
            Some((seq, found)) => Line::from_safe(text(format_args!("x chain broken at {seq}: {found}")), Role::Bad),
        },
    }
}
