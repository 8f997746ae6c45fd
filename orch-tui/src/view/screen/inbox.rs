//! The inbox: approvals that wait, of all projects, and the dossier of the selected one. Nothing here approves by a
//! single key: `A` opens a question.

use orch_proto::id::ApprovalId;
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
use crate::view::overlay::{Ask, Choose, Confirm, Deny, Viewer, ViewerBody};
use crate::view::rows::{ApprovalRow, short_name};
use crate::view::screen::{Mark, draw_absence, draw_row};
use crate::view::theme::Role;
use crate::view::when;

/// Most columns that an approval's name takes in the list.
const NAME_COLUMNS_MAX: usize = 20;

/// State of the inbox.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) cursor: Cursor<ApprovalId>,
    /// The keys go to the dossier.
    in_dossier: bool,
    scroll: Scroll,
    /// What the scroll position belongs to.
    read: Option<ApprovalId>,
    /// A reason for denying that was begun.
    pub(crate) draft: Option<(ApprovalId, String)>,
}

impl Inbox {
    pub(crate) const fn pane(&self) -> Pane {
        if self.in_dossier { Pane::Dossier } else { Pane::ApprovalList }
    }
}

fn listed<'a>(data: &'a Data, filter: &Filter) -> Vec<&'a ApprovalRow> {
    data.approvals.iter().flatten().filter(|approval| filter.keeps(*approval)).collect()
}

/// Fits the inbox to the data and the room.
pub(crate) fn settle(model: &mut Model, body: Rect) {
    let filter = model.filter();
    let keys: Vec<ApprovalId> = listed(&model.data, &filter).iter().map(|approval| approval.id).collect();
    let (list, dossier) = layout::inbox(body, keys.len());
    model.inbox.cursor.settle(&keys, usize::from(list.height.saturating_sub(1)));
    let rows = model.selected_approval().map(|approval| rows(model, approval, dossier).len());
    let inbox = &mut model.inbox;
    if inbox.read != inbox.cursor.key() {
        inbox.read = inbox.cursor.key();
        inbox.scroll = Scroll::default();
    }
    inbox.in_dossier &= rows.is_some();
    inbox.scroll.settle(rows.unwrap_or(0), usize::from(dossier.height.saturating_sub(1)));
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
        Action::Diff => {
            let Some(approval) = model.selected_approval() else { return Vec::new() };
            let change = approval.subject_ref.0.clone();
            let title = text(format_args!("diff of {}", approval.subject));
            let about = approval.id;
            model.data.diff = None;
            model.loader.refetch(&Query::Diff(change.clone()));
            model.overlays.push(Viewer::of_approval(title, ViewerBody::Diff(change), about));
        }
        Action::Open => {
            let Some(approval) = model.selected_approval() else { return Vec::new() };
            let title = text(format_args!("{}  {}", approval.full_name, approval.action));
            let (doc, about) = (dossier(model, approval), approval.id);
            model.overlays.push(Viewer::of_approval(title, ViewerBody::Doc(doc), about));
        }
        _ if model.inbox.in_dossier => model.inbox.scroll.act(action),
        _ => {
            let filter = model.filter();
            let keys: Vec<ApprovalId> = listed(&model.data, &filter).iter().map(|approval| approval.id).collect();
            model.inbox.cursor.act(&keys, action);
        }
    }
    Vec::new()
}

/// Draws the inbox.
pub(crate) fn draw(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    let filter = model.filter();
    let approvals = listed(&model.data, &filter);
    let (list, dossier) = layout::inbox(body, approvals.len());
    let heading =
        Line::of(" waits for an answer", Role::Heading).safe(text(format_args!(" ({})", approvals.len())), Role::Dim);
    canvas.put(list, 0, &heading);
    let rows_area = layout::below(list, 1);
    if approvals.is_empty() {
        let empty: &[&str] = match &model.data.approvals {
            None => &[],
            Some(all) if !all.is_empty() => &["no approval matches the filter; esc clears it"],
            Some(_) => &["nothing waits for you", "approvals of requirements, plans and protected changes come here"],
        };
        draw_absence(canvas, layout::below(body, 2), (model, &Query::Approvals), empty);
        return;
    }
    for (row, approval) in (0..rows_area.height).zip(approvals.iter().skip(model.inbox.cursor.top())) {
        let mark = Mark::of(model.inbox.cursor.key() == Some(approval.id), !model.inbox.in_dossier);
        let age = when::span(model.now.wall.ms_since(approval.requested_at));
        let line = Line::of("! ", Role::Warn)
            .safe(short_name(&approval.full_name, NAME_COLUMNS_MAX), Role::Strong)
            .safe(text(format_args!("  {:<4}", age.as_str())), Role::Dim)
            .safe(text(format_args!("{}  ", approval.kind)), Role::Key)
            .safe(approval.action.clone(), Role::Text);
        draw_row(canvas, (rows_area, row), &line, mark);
    }
    if layout::is_wide(body) {
        canvas.divider(dossier.x.saturating_sub(1), body);
    }
    draw_dossier(model, canvas, dossier);
}

fn draw_dossier(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    let Some(approval) = model.selected_approval() else { return };
    let role = if model.inbox.in_dossier { Role::Heading } else { Role::Strong };
    canvas.rule(area, 0, &Line::of("dossier ", role).safe(approval.full_name.clone(), role));
    let inside = layout::below(area, 1);
    let rows = rows(model, approval, area);
    for (row, line) in (0..inside.height).zip(rows.iter().skip(model.inbox.scroll.top)) {
        canvas.put(inside, row, line);
    }
    let hidden = rows.len().saturating_sub(model.inbox.scroll.top + usize::from(inside.height));
    if hidden > 0 && inside.height > 1 {
        let line = Line::from_safe(text(format_args!("... {hidden} more lines: enter shows all")), Role::Warn);
        canvas.put(inside, inside.height - 1, &line.pad(usize::from(inside.width)));
    }
}

fn rows(model: &Model, approval: &ApprovalRow, area: Rect) -> Vec<Line> {
    dossier(model, approval).rows(usize::from(area.width))
}

/// Everything that a person has to know before answering.
fn dossier(model: &Model, approval: &ApprovalRow) -> Doc {
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
    let doc = match approval.expires_at {
        Some(at) if at > model.now.wall => {
            doc.field_as("expires", text(format_args!("in {}", when::span(at.ms_since(model.now.wall)))), Role::Warn)
        }
        Some(_) => doc.field_as("expires", text(format_args!("now")), Role::Bad),
        None => doc,
    };
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
