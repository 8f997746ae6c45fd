//! A question before something that can not be undone. Cancel has the focus, and nothing can be confirmed before the
//! question has been on the screen for a moment: what was typed for something else must not answer it.
//!
//! **Invariant:** what is sent carries the digest that was shown; a new digest shows itself and starts the delay again.

use orch_proto::Ref;
use orch_proto::id::{ApprovalId, RunId, TaskId};
use orch_proto::request::{Decision, Request};
use ratatui::layout::Rect;

use super::Overlay;
use crate::text::SafeText;
use crate::view::canvas::{Canvas, Line, centered, split_bottom, text};
use crate::view::doc::Doc;
use crate::view::key::{Code, Key};
use crate::view::model::{Model, Sent};
use crate::view::msg::{Cmd, Query};
use crate::view::rows::ApprovalRow;
use crate::view::submit;
use crate::view::theme::Role;
use crate::view::toast::Fault;

/// How long a question is on the screen before it can be confirmed, in milliseconds.
pub(crate) const ARM_MS: u64 = 500;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Approve { approval: ApprovalId, digest: String },
    CancelTask { task: TaskId, name: SafeText, title: SafeText },
    CancelRun { run: RunId, name: SafeText, title: SafeText },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Button {
    Cancel,
    Go,
}

/// The question.
#[derive(Clone, Debug)]
pub(crate) struct Confirm {
    ask: Ask,
    armed_ms: u64,
    focus: Button,
    /// What is asked about has changed while it was shown.
    changed: bool,
    pub(super) ticket: Option<u32>,
    pub(super) fault: Option<Fault>,
}

impl Confirm {
    /// Puts the question on the screen.
    pub(crate) fn open(model: &mut Model, ask: Ask) -> Vec<Cmd> {
        let armed_ms = model.now.mono_ms + ARM_MS;
        let confirm = Self { ask, armed_ms, focus: Button::Cancel, changed: false, ticket: None, fault: None };
        model.overlays.push(Overlay::Confirm(confirm));
        vec![Cmd::DropInput]
    }

    pub(super) fn query(&self) -> Option<Query> {
        matches!(self.ask, Ask::Approve { .. }).then_some(Query::Approvals)
    }

    pub(super) fn due_ms(&self, now_ms: u64) -> Option<u64> {
        Some(self.armed_ms).filter(|&armed| armed > now_ms)
    }

    pub(super) fn on_key(mut self, model: &mut Model, key: Key) -> Vec<Cmd> {
        match (key.code, key.typed()) {
            (Code::Esc, _) | (_, Some('n' | 'q')) => return Vec::new(),
            (Code::Enter, _) if self.focus == Button::Cancel => return Vec::new(),
            (Code::Tab | Code::BackTab | Code::Left | Code::Right, _) | (_, Some('h' | 'l')) => {
                self.focus = if self.focus == Button::Cancel { Button::Go } else { Button::Cancel };
            }
            (Code::Enter, _) | (_, Some('y')) if model.now.mono_ms >= self.armed_ms && self.ticket.is_none() => {
                return self.go(model);
            }
            _ => {}
        }
        model.overlays.push(Overlay::Confirm(self));
        Vec::new()
    }

    /// Follows what is asked about. False: there is nothing to ask any more.
    pub(super) fn settle(&mut self, model: &mut Model) -> bool {
        let Ask::Approve { approval, digest } = &mut self.ask else { return true };
        let Some(approvals) = &model.data.approvals else { return true };
        let Some(row) = approvals.iter().find(|row| row.id == *approval) else {
            // Its own answer makes it go; that is told by the answer.
            if self.ticket.is_none() {
                model.toasts.refuse(model.now, "the approval does not wait any more");
            }
            return self.ticket.is_some();
        };
        if row.digest_sent != *digest {
            digest.clone_from(&row.digest_sent);
            self.changed = true;
            self.focus = Button::Cancel;
            self.armed_ms = model.now.mono_ms + ARM_MS;
        }
        true
    }

    pub(super) fn draw(&self, model: &Model, canvas: &mut Canvas<'_>) {
        let (title, verb, doc) = self.words(model);
        let width = canvas.buffer.area().width.saturating_sub(4).min(90);
        let inner_width = usize::from(width.saturating_sub(4));
        let mut rows = doc.rows(inner_width);
        if self.changed {
            rows.insert(0, Line::of("! changed since it was shown: read it again", Role::Warn));
        }
        if let Some(fault) = &self.fault {
            rows.extend(Doc::new().gap().item("x", fault.line_text(), Role::Bad).rows(inner_width));
        }
        let height = u16::try_from(rows.len() + 4).unwrap_or(u16::MAX);
        let inside = canvas.boxed(centered(model.area, width, height), &title);
        let (body, buttons) = split_bottom(inside, 1);
        for (row, line) in (0..body.height).zip(&rows) {
            canvas.put(body, row, line);
        }
        if rows.len() > usize::from(body.height) {
            let more = rows.len() - usize::from(body.height);
            let line =
                Line::from_safe(text(format_args!("... {more} more lines: esc, then enter shows all")), Role::Warn);
            canvas.put(Rect { height: 1, y: body.bottom().saturating_sub(1), ..body }, 0, &line.pad(inner_width));
        }
        canvas.put(buttons, 0, &self.buttons(model, verb));
    }

    fn buttons(&self, model: &Model, verb: &'static str) -> Line {
        if self.ticket.is_some() {
            return Line::of("sent, waiting for the daemon", Role::Busy);
        }
        let look = |button| if self.focus == button { Role::Selected } else { Role::Text };
        let line = Line::of("[ Cancel ]", look(Button::Cancel)).lit("  ", Role::Text);
        let line = line.lit("[ ", look(Button::Go)).lit(verb, look(Button::Go)).lit(" ]", look(Button::Go));
        if model.now.mono_ms < self.armed_ms {
            return line.lit("   read first: keys in a moment", Role::Dim);
        }
        line.lit("   y ", Role::Key).lit(verb, Role::Text).lit("  esc ", Role::Key).lit("cancel", Role::Text)
    }

    fn words(&self, model: &Model) -> (Line, &'static str, Doc) {
        match &self.ask {
            Ask::Approve { approval, digest } => {
                let row = model.data.approvals.iter().flatten().find(|row| row.id == *approval);
                let name = row.map_or_else(SafeText::default, |row| row.full_name.clone());
                let title = Line::of("Approve ", Role::Strong).safe(name, Role::Strong);
                (title, "approve", row.map(question).unwrap_or_default().field("digest", SafeText::line(digest)))
            }
            Ask::CancelTask { name, title, .. } => {
                let doc = Doc::new().field("task", title.clone()).item(
                    "!",
                    SafeText::literal("its run is killed; what was merged stays"),
                    Role::Warn,
                );
                (Line::of("Cancel task ", Role::Strong).safe(name.clone(), Role::Strong), "cancel the task", doc)
            }
            Ask::CancelRun { name, title, .. } => {
                let doc = Doc::new().field("task", title.clone()).item(
                    "!",
                    SafeText::literal("its processes are killed; the task's retry policy decides what follows"),
                    Role::Warn,
                );
                (Line::of("Kill run ", Role::Strong).safe(name.clone(), Role::Strong), "kill the run", doc)
            }
        }
    }

    fn go(mut self, model: &mut Model) -> Vec<Cmd> {
        let (request, sent) = match &self.ask {
            Ask::Approve { approval, digest } => {
                let request = Request::ApprovalDecide {
                    approval: Ref(approval.to_string()),
                    decision: Decision::Approve,
                    digest: Some(digest.clone()),
                    reason: None,
                };
                let row = model.data.approvals.iter().flatten().find(|row| row.id == *approval);
                let name = row.map_or_else(SafeText::default, |row| row.full_name.clone());
                (request, Sent { done: text(format_args!("approved {name}")), what: "approve" })
            }
            Ask::CancelTask { task, name, .. } => {
                let request = Request::TaskCancel { task: Ref(task.to_string()), reason: None };
                (request, Sent { done: text(format_args!("cancelled {name}")), what: "cancel the task" })
            }
            Ask::CancelRun { run, name, .. } => {
                let request = Request::RunCancel { run: Ref(run.to_string()), reason: None };
                (request, Sent { done: text(format_args!("killed {name}")), what: "kill the run" })
            }
        };
        let (ticket, commands) = submit::send(model, request, sent);
        self.ticket = Some(ticket);
        self.fault = None;
        model.overlays.push(Overlay::Confirm(self));
        commands
    }
}

/// What a person has to know before agreeing.
fn question(row: &ApprovalRow) -> Doc {
    let subject = text(format_args!("{} {}", row.kind, row.subject));
    let mut doc = Doc::new().field_as("action", row.action.clone(), Role::Strong).field("about", subject);
    for detail in &row.details {
        doc = doc.item("-", detail.clone(), Role::Text);
    }
    doc.field("rule", row.rule.clone())
}
