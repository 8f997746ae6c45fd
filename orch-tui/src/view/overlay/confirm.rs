//! A question before something that can not be undone. Cancel has the focus, and nothing can be confirmed before the
//! question has been on the screen for a moment (`arming`): what was typed for something else must not answer it. A question
//! that is longer than the screen can be confirmed only after its end was on the screen.
//!
//! **Invariant:** what is sent carries the digest that was shown; a new digest shows itself and starts the delay again.

use orch_proto::Ref;
use orch_proto::id::{ApprovalId, RunId, TaskId};
use orch_proto::request::{Decision, Request};
use ratatui::layout::Rect;

use super::Overlay;
use super::arming::Arming;
use crate::text::SafeText;
use crate::view::action::Action;
use crate::view::canvas::{Canvas, Line, centered, split_bottom, text};
use crate::view::cursor::Scroll;
use crate::view::doc::Doc;
use crate::view::key::{Code, Key};
use crate::view::model::{Model, Sent};
use crate::view::msg::{Cmd, Query};
use crate::view::rows::ApprovalRow;
use crate::view::submit;
use crate::view::theme::Role;
use crate::view::toast::Fault;

/// Widest form of the question.
const BOX_COLUMNS_MAX: u16 = 92;

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
    pub(super) arming: Arming,
    focus: Button,
    /// What is asked about has changed while it was shown.
    changed: bool,
    scroll: Scroll,
    /// The last line was on the screen.
    was_read: bool,
    pub(super) ticket: Option<u32>,
    pub(super) fault: Option<Fault>,
}

impl Confirm {
    /// Puts the question on the screen.
    pub(crate) fn open(model: &mut Model, ask: Ask) -> Vec<Cmd> {
        model.overlays.push(Overlay::Confirm(Self {
            ask,
            arming: Arming::default(),
            focus: Button::Cancel,
            changed: false,
            scroll: Scroll::default(),
            was_read: false,
            ticket: None,
            fault: None,
        }));
        vec![Cmd::DropInput]
    }

    pub(super) fn query(&self) -> Option<Query> {
        matches!(self.ask, Ask::Approve { .. }).then_some(Query::Approvals)
    }

    pub(super) fn on_key(mut self, model: &mut Model, key: Key) -> Vec<Cmd> {
        match (key.code, key.typed()) {
            (Code::Esc, _) | (_, Some('n' | 'q')) => return Vec::new(),
            (Code::Enter, _) if self.focus == Button::Cancel => return Vec::new(),
            (Code::Tab | Code::BackTab | Code::Left | Code::Right, _) | (_, Some('h' | 'l')) => {
                self.focus = if self.focus == Button::Cancel { Button::Go } else { Button::Cancel };
            }
            (Code::Enter, _) | (_, Some('y')) if self.is_armed() => return self.go(model),
            (Code::Down, _) | (_, Some('j')) => self.scroll.act(Action::Down),
            (Code::Up, _) | (_, Some('k')) => self.scroll.act(Action::Up),
            (Code::PageDown, _) => self.scroll.act(Action::PageDown),
            (Code::PageUp, _) => self.scroll.act(Action::PageUp),
            _ => {}
        }
        model.overlays.push(Overlay::Confirm(self));
        Vec::new()
    }

    /// Follows what is asked about. False: there is nothing to ask any more.
    pub(super) fn settle(&mut self, model: &mut Model) -> bool {
        let stays = self.follow(model);
        let (inside, rows) = (self.area(model), self.rows(model).len());
        let height = usize::from(split_bottom(inside, 1).0.height);
        self.scroll.settle(rows, height);
        self.was_read |= height > 0 && self.scroll.top + height >= rows;
        stays
    }

    fn follow(&mut self, model: &mut Model) -> bool {
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
            (self.scroll, self.was_read) = (Scroll::default(), false);
            self.focus = Button::Cancel;
            self.arming = Arming::Unseen;
        }
        true
    }

    pub(super) fn draw(&self, model: &Model, canvas: &mut Canvas<'_>) {
        let (title, verb, _) = self.words(model);
        let rows = self.rows(model);
        let inside = canvas.boxed(self.outside(model, rows.len()), &title);
        let (body, buttons) = split_bottom(inside, 1);
        for (row, line) in (0..body.height).zip(rows.iter().skip(self.scroll.top)) {
            canvas.put(body, row, line);
        }
        canvas.put(buttons, 0, &self.buttons(verb));
    }

    fn is_armed(&self) -> bool {
        self.arming == Arming::Armed && self.was_read && self.ticket.is_none()
    }

    /// The box with its frame.
    fn outside(&self, model: &Model, rows: usize) -> Rect {
        let width = model.area.width.saturating_sub(2).min(BOX_COLUMNS_MAX);
        centered(model.area, width, u16::try_from(rows + 3).unwrap_or(u16::MAX))
    }

    /// What is inside of the frame.
    fn area(&self, model: &Model) -> Rect {
        let outside = self.outside(model, self.rows(model).len());
        let (width, height) = (outside.width.saturating_sub(4), outside.height.saturating_sub(2));
        Rect { width, height, ..outside }
    }

    fn rows(&self, model: &Model) -> Vec<Line> {
        let columns = usize::from(model.area.width.saturating_sub(2).min(BOX_COLUMNS_MAX).saturating_sub(4));
        let (_, _, doc) = self.words(model);
        let mut rows = doc.rows(columns);
        if self.changed {
            rows.insert(0, Line::of("! changed since it was shown: read it again", Role::Warn));
        }
        if let Some(fault) = &self.fault {
            rows.extend(Doc::new().gap().item("x", fault.line_text(), Role::Bad).rows(columns));
        }
        rows.push(Line::new());
        rows
    }

    fn buttons(&self, verb: &'static str) -> Line {
        if self.ticket.is_some() {
            return Line::of("sent, waiting for the daemon", Role::Busy);
        }
        let look = |button| if self.focus == button { Role::Selected } else { Role::Text };
        let line = Line::of("[ Cancel ]", look(Button::Cancel)).lit("  ", Role::Text);
        let line = line.lit("[ ", look(Button::Go)).lit(verb, look(Button::Go)).lit(" ]", look(Button::Go));
        if !self.was_read {
            return line.lit("   j ", Role::Key).lit("reads on, to the end first", Role::Warn);
        }
        if self.arming != Arming::Armed {
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
        let sent = |done, can_be_undone, what| Sent { done: Some(done), can_be_undone, what };
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
                (request, sent(text(format_args!("approved {name}")), true, "approve"))
            }
            Ask::CancelTask { task, name, .. } => {
                let request = Request::TaskCancel { task: Ref(task.to_string()), reason: None };
                (request, sent(text(format_args!("cancelled {name}")), true, "cancel the task"))
            }
            Ask::CancelRun { run, name, .. } => {
                let request = Request::RunCancel { run: Ref(run.to_string()), reason: None };
                (request, sent(text(format_args!("killed {name}")), false, "kill the run"))
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
pub(super) fn question(row: &ApprovalRow) -> Doc {
    let subject = text(format_args!("{} {}", row.kind, row.subject));
    let mut doc = Doc::new().field_as("action", row.action.clone(), Role::Strong).field("about", subject);
    for detail in &row.details {
        doc = doc.item("-", detail.clone(), Role::Text);
    }
    doc.field("rule", row.rule.clone())
}
