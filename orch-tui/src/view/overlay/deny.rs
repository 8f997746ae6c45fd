//! Denying an approval: a reason is needed, since whoever asked is told it. The draft outlives the dialog.

use orch_proto::Ref;
use orch_proto::id::ApprovalId;
use orch_proto::request::{Decision, Request};
use ratatui::layout::Position;

use super::Overlay;
use crate::text::SafeText;
use crate::view::canvas::{Canvas, Line, centered, text};
use crate::view::doc::Doc;
use crate::view::edit::Edit;
use crate::view::key::{Code, Key};
use crate::view::model::{Model, Sent};
use crate::view::msg::Cmd;
use crate::view::submit;
use crate::view::theme::Role;
use crate::view::toast::Fault;

/// The dialog. While it is open everything typed is text.
#[derive(Clone, Debug)]
pub(crate) struct Deny {
    approval: ApprovalId,
    digest: String,
    name: SafeText,
    action: SafeText,
    pub(super) edit: Edit,
    pub(super) ticket: Option<u32>,
    pub(super) fault: Option<Fault>,
}

impl Deny {
    /// Puts the dialog for the selected approval on the screen.
    pub(crate) fn open(model: &mut Model) -> Vec<Cmd> {
        let Some(row) = model.selected_approval() else { return Vec::new() };
        let draft = model.inbox.draft.as_ref().filter(|(approval, _)| *approval == row.id);
        let deny = Self {
            approval: row.id,
            digest: row.digest_sent.clone(),
            name: row.full_name.clone(),
            action: row.action.clone(),
            edit: Edit::with_text(draft.map_or("", |(_, text)| text)),
            ticket: None,
            fault: None,
        };
        model.overlays.push(Overlay::Deny(deny));
        vec![Cmd::DropInput]
    }

    pub(super) fn on_key(mut self, model: &mut Model, key: Key) -> Vec<Cmd> {
        let mut commands = Vec::new();
        match key.code {
            Code::Esc => {
                model.inbox.draft = Some((self.approval, self.edit.text().to_owned()));
                return commands;
            }
            Code::Enter if self.ticket.is_none() && !self.edit.text().trim().is_empty() => {
                let request = Request::ApprovalDecide {
                    approval: Ref(self.approval.to_string()),
                    decision: Decision::Deny,
                    digest: Some(self.digest.clone()),
                    reason: Some(self.edit.text().trim().to_owned()),
                };
                let sent =
                    Sent { done: Some(text(format_args!("denied {}", self.name))), can_be_undone: true, what: "deny" };
                let (ticket, sending) = submit::send(model, request, sent);
                (self.ticket, self.fault) = (Some(ticket), None);
                commands = sending;
            }
            _ if self.ticket.is_none() => {
                self.edit.on_key(key);
            }
            _ => {}
        }
        model.overlays.push(Overlay::Deny(self));
        commands
    }

    /// Follows the approval. False: it does not wait any more.
    pub(super) fn settle(&mut self, model: &mut Model) -> bool {
        let Some(approvals) = &model.data.approvals else { return true };
        let row = approvals.iter().find(|row| row.id == self.approval);
        if row.is_none() && self.ticket.is_none() {
            model.inbox.draft = Some((self.approval, self.edit.text().to_owned()));
            model.toasts.refuse(model.now, "the approval does not wait any more");
            return false;
        }
        // To deny something newer than what was read does no harm.
        if let Some(row) = row {
            self.digest.clone_from(&row.digest_sent);
        }
        true
    }

    pub(super) fn draw(&self, model: &Model, canvas: &mut Canvas<'_>) {
        let width = canvas.buffer.area().width.saturating_sub(4).min(80);
        let inner_width = usize::from(width.saturating_sub(4));
        let mut rows = Doc::new().field_as("action", self.action.clone(), Role::Strong).rows(inner_width);
        rows.truncate(4);
        if let Some(fault) = &self.fault {
            rows.extend(Doc::new().item("x", fault.line_text(), Role::Bad).rows(inner_width));
        }
        let height = u16::try_from(rows.len() + 6).unwrap_or(u16::MAX);
        let title = Line::of("Deny ", Role::Strong).safe(self.name.clone(), Role::Strong);
        let inside = canvas.boxed(centered(model.area, width, height), &title);
        for (row, line) in (0..inside.height.saturating_sub(4)).zip(&rows) {
            canvas.put(inside, row, line);
        }
        let row = inside.height.saturating_sub(3);
        canvas.put(inside, row, &Line::of("reason (whoever asked is told):", Role::Dim));
        let (shown, column) = self.edit.shown(inner_width.saturating_sub(2));
        canvas.put(inside, row + 1, &Line::of("> ", Role::Key).safe(shown, Role::Text));
        let hint = if self.ticket.is_some() {
            Line::of("sent, waiting for the daemon", Role::Busy)
        } else if self.edit.text().trim().is_empty() {
            Line::of("a reason is needed", Role::Warn).lit("   esc ", Role::Key).lit("cancel", Role::Text)
        } else {
            Line::of("enter ", Role::Key).lit("deny", Role::Text).lit("   esc ", Role::Key).lit("cancel", Role::Text)
        };
        canvas.put(inside, row + 2, &hint);
        let x = inside.x.saturating_add(2).saturating_add(u16::try_from(column).unwrap_or(u16::MAX));
        if row + 1 < inside.height {
            canvas.cursor = Some(Position { x, y: inside.y + row + 1 });
        }
    }
}
