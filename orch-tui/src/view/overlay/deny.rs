//! Denying an approval, or not answering a question of a run: a reason is needed, since whoever asked is told it. The draft
//! outlives the dialog.

use orch_proto::Ref;
use orch_proto::request::{Decision, Request};
use ratatui::layout::Position;

use super::Overlay;
use crate::text::SafeText;
use crate::view::canvas::{Canvas, Line, centered, text};
use crate::view::doc::Doc;
use crate::view::edit::Edit;
use crate::view::key::{Code, Key};
use crate::view::model::{Model, Sent};
use crate::view::msg::{Cmd, Query};
use crate::view::screen::inbox::Entry;
use crate::view::submit;
use crate::view::theme::Role;
use crate::view::toast::Fault;

/// The dialog. While it is open everything typed is text.
#[derive(Clone, Debug)]
pub(crate) struct Deny {
    about: Entry,
    digest: String,
    name: SafeText,
    action: SafeText,
    pub(super) edit: Edit,
    pub(super) ticket: Option<u32>,
    pub(super) fault: Option<Fault>,
}

impl Deny {
    /// Puts the dialog for what is selected on the screen.
    pub(crate) fn open(model: &mut Model) -> Vec<Cmd> {
        let (about, digest, name, action) = match (model.selected_approval(), model.selected_question()) {
            (Some(row), _) => {
                (Entry::Approval(row.id), row.digest_sent.clone(), row.full_name.clone(), row.action.clone())
            }
            (None, Some(row)) => (Entry::Question(row.id), String::new(), row.full_name.clone(), row.first_line()),
            (None, None) => return Vec::new(),
        };
        let draft = model.inbox.draft.as_ref().filter(|(other, _)| *other == about);
        let deny = Self {
            about,
            digest,
            name,
            action,
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
                model.inbox.draft = Some((self.about, self.edit.text().to_owned()));
                return commands;
            }
            Code::Enter if self.ticket.is_none() && !self.edit.text().trim().is_empty() => {
                let (request, sent) = self.request();
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

    /// What has to be known of what it is about.
    pub(super) const fn query(&self) -> Query {
        match self.about {
            Entry::Approval(_) => Query::Approvals,
            Entry::Question(_) => Query::Questions,
        }
    }

    fn request(&self) -> (Request, Sent) {
        let reason = Some(self.edit.text().trim().to_owned());
        match self.about {
            Entry::Approval(id) => {
                let (approval, digest) = (Ref(id.to_string()), Some(self.digest.clone()));
                let request = Request::ApprovalDecide { approval, decision: Decision::Deny, digest, reason };
                let done = Some(text(format_args!("denied {}", self.name)));
                (request, Sent { done, can_be_undone: true, what: "deny" })
            }
            Entry::Question(id) => {
                let request = Request::InfoCancel { info: Ref(id.to_string()), reason };
                let done = Some(text(format_args!("{} gets no answer", self.name)));
                (request, Sent { done, can_be_undone: false, what: "decline" })
            }
        }
    }

    /// Follows what it is about. False: that does not wait any more.
    pub(super) fn settle(&mut self, model: &mut Model) -> bool {
        let (waits, gone) = match (self.about, &model.data.approvals, &model.data.questions) {
            (Entry::Approval(id), Some(approvals), _) => {
                let row = approvals.iter().find(|row| row.id == id);
                // To deny something newer than what was read does no harm.
                row.iter().for_each(|row| self.digest.clone_from(&row.digest_sent));
                (row.is_some(), "the approval does not wait any more")
            }
            (Entry::Question(id), _, Some(questions)) => {
                (questions.iter().any(|row| row.id == id), "the question does not wait any more")
            }
            (Entry::Approval(_), None, _) | (Entry::Question(_), _, None) => return true,
        };
        if !waits && self.ticket.is_none() {
            model.inbox.draft = Some((self.about, self.edit.text().to_owned()));
            model.toasts.refuse(model.now, gone);
            return false;
        }
        true
    }

    pub(super) fn draw(&self, model: &Model, canvas: &mut Canvas<'_>) {
        let width = canvas.buffer.area().width.saturating_sub(4).min(80);
        let inner_width = usize::from(width.saturating_sub(4));
        let (verb, what) = match self.about {
            Entry::Approval(_) => ("Deny ", "action"),
            Entry::Question(_) => ("Do not answer ", "asks"),
        };
        let mut rows = Doc::new().field_as(what, self.action.clone(), Role::Strong).rows(inner_width);
        rows.truncate(4);
        if let Some(fault) = &self.fault {
            rows.extend(Doc::new().item("x", fault.line_text(), Role::Bad).rows(inner_width));
        }
        let height = u16::try_from(rows.len() + 6).unwrap_or(u16::MAX);
        let title = Line::of(verb, Role::Strong).safe(self.name.clone(), Role::Strong);
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
            Line::of("enter ", Role::Key).lit("send", Role::Text).lit("   esc ", Role::Key).lit("cancel", Role::Text)
        };
        canvas.put(inside, row + 2, &hint);
        let x = inside.x.saturating_add(2).saturating_add(u16::try_from(column).unwrap_or(u16::MAX));
        if row + 1 < inside.height {
            canvas.cursor = Some(Position { x, y: inside.y + row + 1 });
        }
    }
}
