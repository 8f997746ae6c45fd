//! The inbox: approvals and questions of runs that wait, of all projects, and the dossier of the selected one. Nothing here
//! approves by a single key: `A` opens a question, `Q` a form.

use orch_proto::Timestamp;
use orch_proto::id::{ApprovalId, InfoRequestId};
use orch_proto::reference::EntityKind;
use ratatui::layout::Rect;

use crate::text::SafeText;
use crate::view::action::Action;
use crate::view::canvas::{Canvas, Line, text};
use crate::view::cursor::{Cursor, Scroll};
use crate::view::data::Data;
use crate::view::doc::Doc;
use crate::view::filter::Filter;
use crate::view::focus::Pane;
use crate::view::layout;
use crate::view::model::Model;
use crate::view::msg::{Cmd, Query};
use crate::view::overlay::{AnswerForm, Ask, Choose, Confirm, Deny, Viewer, ViewerBody};
use crate::view::rows::{ApprovalRow, QuestionRow, short_name};
use crate::view::screen::{Mark, draw_absence, draw_row};
use crate::view::theme::Role;
use crate::view::when;

/// Most columns that an approval's name takes in the list.
const NAME_COLUMNS_MAX: usize = 20;

/// Something that waits for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Entry {
    Approval(ApprovalId),
    /// Of a run.
    Question(InfoRequestId),
}

/// State of the inbox.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) cursor: Cursor<Entry>,
    /// The keys go to the dossier.
    in_dossier: bool,
    scroll: Scroll,
    /// What the scroll position belongs to.
    read: Option<Entry>,
    /// A reason for denying that was begun.
    pub(crate) draft: Option<(Entry, String)>,
    /// Answers to a question that were begun; no secrets.
    pub(crate) form: Option<AnswerForm>,
}

impl Inbox {
    pub(crate) const fn pane(&self) -> Pane {
        if self.in_dossier { Pane::Dossier } else { Pane::ApprovalList }
    }
}

/// A row of the list.
#[derive(Clone, Copy)]
enum Listed<'a> {
    Approval(&'a ApprovalRow),
    Question(&'a QuestionRow),
}

impl Listed<'_> {
    const fn entry(self) -> Entry {
        match self {
            Self::Approval(row) => Entry::Approval(row.id),
            Self::Question(row) => Entry::Question(row.id),
        }
    }

    const fn since(self) -> Timestamp {
        match self {
            Self::Approval(row) => row.requested_at,
            Self::Question(row) => row.asked_at,
        }
    }
}

/// What waits, that which waits longest first.
fn listed<'a>(data: &'a Data, filter: &Filter) -> Vec<Listed<'a>> {
    let approvals = data.approvals.iter().flatten().filter(|row| filter.keeps(*row)).map(Listed::Approval);
    let questions = data.questions.iter().flatten().filter(|row| filter.keeps(*row)).map(Listed::Question);
    let mut all: Vec<Listed<'a>> = approvals.chain(questions).collect();
    all.sort_by_key(|row| (row.since(), row.entry()));
    all
}

fn keys(model: &Model) -> Vec<Entry> {
    listed(&model.data, &model.filter()).iter().map(|row| row.entry()).collect()
}

/// Fits the inbox to the data and the room.
pub(crate) fn settle(model: &mut Model, body: Rect) {
    let keys = keys(model);
    let (list, area) = layout::inbox(body, keys.len());
    model.inbox.cursor.settle(&keys, usize::from(list.height.saturating_sub(1)));
    let rows = dossier(model).map(|doc| doc.rows(usize::from(area.width)).len());
    let inbox = &mut model.inbox;
    if inbox.read != inbox.cursor.key() {
        inbox.read = inbox.cursor.key();
        inbox.scroll = Scroll::default();
    }
    inbox.in_dossier &= rows.is_some();
    inbox.scroll.settle(rows.unwrap_or(0), usize::from(area.height.saturating_sub(1)));
}

/// Does an action of the inbox.
pub(crate) fn act(model: &mut Model, action: Action) -> Vec<Cmd> {
    match action {
        Action::NextPane | Action::PreviousPane => model.inbox.in_dossier = !model.inbox.in_dossier,
        Action::Approve => {
            let Some(approval) = model.selected_approval() else { return Vec::new() };
            if !approval.choices.is_empty() {
                return Choose::open(model);
            }
            let ask = Ask::Approve { approval: approval.id, digest: approval.digest_sent.clone() };
            return Confirm::open(model, ask);
        }
        Action::Deny => return Deny::open(model),
        Action::Answer => return AnswerForm::open(model),
        Action::Diff => {
            let Some(approval) = model.selected_approval() else { return Vec::new() };
            let change = approval.subject_ref.0.clone();
            let title = text(format_args!("diff of {}", approval.subject));
            let about = Entry::Approval(approval.id);
            model.data.diff = None;
            model.loader.refetch(&Query::Diff(change.clone()));
            model.overlays.push(Viewer::of_entry(title, ViewerBody::Diff(change), about));
        }
        Action::Open => {
            let (Some(about), Some(doc)) = (model.selected_entry(), dossier(model)) else { return Vec::new() };
            model.overlays.push(Viewer::of_entry(title(model), ViewerBody::Doc(doc), about));
        }
        _ if model.inbox.in_dossier => model.inbox.scroll.act(action),
        _ => {
            let keys = keys(model);
            model.inbox.cursor.act(&keys, action);
        }
    }
    Vec::new()
}

/// Draws the inbox.
pub(crate) fn draw(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    let filter = model.filter();
    let rows = listed(&model.data, &filter);
    let (list, area) = layout::inbox(body, rows.len());
    let heading =
        Line::of(" waits for an answer", Role::Heading).safe(text(format_args!(" ({})", rows.len())), Role::Dim);
    canvas.put(list, 0, &heading);
    let rows_area = layout::below(list, 1);
    if rows.is_empty() {
        let empty: &[&str] = match (&model.data.approvals, &model.data.questions) {
            (None, _) | (_, None) => &[],
            (Some(approvals), Some(questions)) if !approvals.is_empty() || !questions.is_empty() => {
                &["nothing matches the filter; esc clears it"]
            }
            _ => &[
                "nothing waits for you",
                "approvals of requirements, plans and protected changes come here,",
                "and what runs ask: `orchctl agent request-info`, or the tool of that name",
            ],
        };
        let queries = [Query::Approvals, Query::Questions];
        let failed = queries.iter().find(|query| model.loader.fault(query).is_some()).unwrap_or(&queries[0]);
        draw_absence(canvas, layout::below(body, 2), (model, failed), empty);
        return;
    }
    for (at, row) in (0..rows_area.height).zip(rows.iter().skip(model.inbox.cursor.top())) {
        let mark = Mark::of(model.inbox.cursor.key() == Some(row.entry()), !model.inbox.in_dossier);
        let age = when::span(model.now.wall.ms_since(row.since()));
        let (glyph, name, kind, what) = match row {
            Listed::Approval(row) => ("! ", &row.full_name, text(format_args!("{}", row.kind)), row.action.clone()),
            Listed::Question(row) => ("? ", &row.full_name, SafeText::literal("question"), row.first_line()),
        };
        let line = Line::of(glyph, Role::Warn)
            .safe(short_name(name, NAME_COLUMNS_MAX), Role::Strong)
            .safe(text(format_args!("  {:<4}", age.as_str())), Role::Dim)
            .safe(text(format_args!("{kind}  ")), Role::Key)
            .safe(what, Role::Text);
        draw_row(canvas, (rows_area, at), &line, mark);
    }
    if layout::is_wide(body) {
        canvas.divider(area.x.saturating_sub(1), body);
    }
    draw_dossier(model, canvas, area);
}

fn draw_dossier(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    let Some(doc) = dossier(model) else { return };
    let role = if model.inbox.in_dossier { Role::Heading } else { Role::Strong };
    canvas.rule(area, 0, &Line::of("dossier ", role).safe(full_name(model), role));
    let inside = layout::below(area, 1);
    let rows = doc.rows(usize::from(area.width));
    for (row, line) in (0..inside.height).zip(rows.iter().skip(model.inbox.scroll.top)) {
        canvas.put(inside, row, line);
    }
    let hidden = rows.len().saturating_sub(model.inbox.scroll.top + usize::from(inside.height));
    if hidden > 0 && inside.height > 1 {
        let line = Line::from_safe(text(format_args!("... {hidden} more lines: enter shows all")), Role::Warn);
        canvas.put(inside, inside.height - 1, &line.pad(usize::from(inside.width)));
    }
}

fn full_name(model: &Model) -> SafeText {
    let approval = model.selected_approval().map(|row| row.full_name.clone());
    approval.or_else(|| model.selected_question().map(|row| row.full_name.clone())).unwrap_or_default()
}

fn title(model: &Model) -> SafeText {
    let approval = model.selected_approval().map(|row| row.action.clone());
    let what = approval.or_else(|| model.selected_question().map(QuestionRow::first_line)).unwrap_or_default();
    text(format_args!("{}  {what}", full_name(model)))
}

/// Everything that a person has to know of what is selected.
fn dossier(model: &Model) -> Option<Doc> {
    match (model.selected_approval(), model.selected_question()) {
        (Some(row), _) => Some(of_approval(model, row)),
        (None, Some(row)) => Some(of_question(model, row)),
        (None, None) => None,
    }
}

/// The same of a question of a run.
fn of_question(model: &Model, question: &QuestionRow) -> Doc {
    let mut doc = Doc::new();
    for (at, line) in question.asks.iter().enumerate() {
        doc = doc.field_as(if at == 0 { "asks" } else { "" }, line.clone(), Role::Strong);
    }
    doc = doc.field("project", question.project.clone()).field("run", question.run.clone());
    doc = doc.field("for", question.task.clone());
    for field in &question.fields {
        doc = doc.item("-", text(format_args!("{} ({})", field.title, field.takes())), Role::Text);
    }
    let waits = when::span(model.now.wall.ms_since(question.asked_at));
    let doc = doc.field("waits", text(format_args!("{waits}")));
    expiry(doc, model, question.expires_at).item("Q", SafeText::literal("answers it"), Role::Key).item(
        "D",
        SafeText::literal("has the run go on without an answer"),
        Role::Key,
    )
}

fn expiry(doc: Doc, model: &Model, expires_at: Option<Timestamp>) -> Doc {
    match expires_at {
        Some(at) if at > model.now.wall => {
            doc.field_as("expires", text(format_args!("in {}", when::span(at.ms_since(model.now.wall)))), Role::Warn)
        }
        Some(_) => doc.field_as("expires", text(format_args!("now")), Role::Bad),
        None => doc,
    }
}

/// Everything that a person has to know of an approval before answering.
fn of_approval(model: &Model, approval: &ApprovalRow) -> Doc {
    let subject = text(format_args!("{} {}", approval.kind, approval.subject));
    let mut doc = Doc::new().field_as("action", approval.action.clone(), Role::Strong).field("about", subject);
    for detail in &approval.details {
        doc = doc.item("-", detail.clone(), Role::Text);
    }
    let waits = when::span(model.now.wall.ms_since(approval.requested_at));
    let doc = doc
        .field("rule", approval.rule.clone())
        .field("digest", approval.digest.clone())
        .field("agreed", text(format_args!("{} of {} {}", approval.granted, approval.needed, approval.granted_by)))
        .field("waits", text(format_args!("{waits}")));
    let doc = expiry(doc, model, approval.expires_at);
    if !approval.choices.is_empty() {
        return doc.item("A", SafeText::literal("answers it"), Role::Key);
    }
    match approval.kind {
        EntityKind::Change => doc.item("d", SafeText::literal("shows the diff"), Role::Key),
        EntityKind::Plan | EntityKind::Requirements => {
            doc.item("5", SafeText::literal("shows the plan and the requirements"), Role::Key)
        }
        EntityKind::Project
        | EntityKind::Vision
        | EntityKind::Task
        | EntityKind::Run
        | EntityKind::InfoRequest
        | EntityKind::Approval => doc,
    }
}
