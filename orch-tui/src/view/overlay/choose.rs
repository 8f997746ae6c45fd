//! A question with several answers: one is picked with its number, or with the cursor. Nothing is picked at first, and no key
//! counts before the question has been on the screen for a moment.
//!
//! **Invariant:** what is sent carries the digest that was shown.

use orch_proto::Ref;
use orch_proto::id::ApprovalId;
use orch_proto::request::Request;
use orch_proto::view::Choice;

use super::Overlay;
use super::arming::Arming;
use super::confirm::question;
use crate::text::SafeText;
use crate::view::canvas::{Canvas, Line, centered, text};
use crate::view::doc::Doc;
use crate::view::key::{Code, Key};
use crate::view::model::{Model, Sent};
use crate::view::msg::Cmd;
use crate::view::submit;
use crate::view::theme::Role;
use crate::view::toast::Fault;

/// Widest form of the question.
const BOX_COLUMNS_MAX: u16 = 92;

/// The question.
#[derive(Clone, Debug)]
pub(crate) struct Choose {
    approval: ApprovalId,
    digest: String,
    name: SafeText,
    about: Doc,
    choices: Vec<Choice>,
    picked: Option<usize>,
    pub(super) arming: Arming,
    pub(super) ticket: Option<u32>,
    pub(super) fault: Option<Fault>,
}

impl Choose {
    /// Puts the selected question on the screen.
    pub(crate) fn open(model: &mut Model) -> Vec<Cmd> {
        let Some(row) = model.selected_approval() else { return Vec::new() };
        let choose = Self {
            approval: row.id,
            digest: row.digest_sent.clone(),
            name: row.full_name.clone(),
            about: question(row),
            choices: row.choices.clone(),
            picked: None,
            arming: Arming::default(),
            ticket: None,
            fault: None,
        };
        model.overlays.push(Overlay::Choose(choose));
        vec![Cmd::DropInput]
    }

    pub(super) fn on_key(mut self, model: &mut Model, key: Key) -> Vec<Cmd> {
        let last = self.choices.len().saturating_sub(1);
        match (key.code, key.typed()) {
            (Code::Esc, _) | (_, Some('n' | 'q')) => return Vec::new(),
            (Code::Down, _) | (_, Some('j')) => self.picked = Some(self.picked.map_or(0, |at| (at + 1).min(last))),
            (Code::Up, _) | (_, Some('k')) => self.picked = Some(self.picked.map_or(last, |at| at.saturating_sub(1))),
            (_, Some(digit @ '1'..='9')) => {
                let at = usize::try_from(u32::from(digit) - u32::from('1')).unwrap_or(usize::MAX);
                self.picked = Some(at).filter(|at| *at <= last).or(self.picked);
            }
            (Code::Enter, _) if self.is_armed() => {
                if let Some(choice) = self.picked.and_then(|at| self.choices.get(at).copied()) {
                    return self.send(model, choice);
                }
            }
            _ => {}
        }
        model.overlays.push(Overlay::Choose(self));
        Vec::new()
    }

    /// Follows the question. False: it does not wait any more.
    pub(super) fn settle(&mut self, model: &mut Model) -> bool {
        let Some(approvals) = &model.data.approvals else { return true };
        let waits = approvals.iter().any(|row| row.id == self.approval && row.digest_sent == self.digest);
        if !waits && self.ticket.is_none() {
            model.toasts.refuse(model.now, "the question does not wait any more");
        }
        waits || self.ticket.is_some()
    }

    pub(super) fn draw(&self, model: &Model, canvas: &mut Canvas<'_>) {
        let width = model.area.width.saturating_sub(2).min(BOX_COLUMNS_MAX);
        let mut rows = self.about.rows(usize::from(width.saturating_sub(4)));
        if let Some(fault) = &self.fault {
            rows.extend(Doc::new().item("x", fault.line_text(), Role::Bad).rows(usize::from(width.saturating_sub(4))));
        }
        let below = u16::try_from(self.choices.len() + 1).unwrap_or(u16::MAX);
        // The answers are always on the screen, whatever there is to say before them.
        let room = model.area.height.saturating_sub(below + 4);
        rows.truncate(usize::from(room));
        let above = u16::try_from(rows.len()).unwrap_or(room);
        let title = Line::of("Answer ", Role::Strong).safe(self.name.clone(), Role::Strong);
        let inside = canvas.boxed(centered(model.area, width, above + below + 3), &title);
        for (row, line) in (0..above).zip(&rows) {
            canvas.put(inside, row, line);
        }
        for (row, (at, choice)) in (above + 1..).zip(self.choices.iter().enumerate()) {
            let role = if self.picked == Some(at) { Role::Selected } else { Role::Text };
            let line = Line::from_safe(text(format_args!("{} ", at + 1)), Role::Key);
            canvas.put(inside, row, &line.safe(text(format_args!("{:<7} {}", choice.label(), choice.text())), role));
        }
        canvas.put(inside, above + below, &self.hint());
    }

    fn is_armed(&self) -> bool {
        self.arming == Arming::Armed && self.ticket.is_none()
    }

    fn hint(&self) -> Line {
        if self.ticket.is_some() {
            return Line::of("sent, waiting for the daemon", Role::Busy);
        }
        if self.arming != Arming::Armed {
            return Line::of("read first: keys in a moment", Role::Dim);
        }
        let line = Line::of("1-9 ", Role::Key).lit("pick", Role::Text).lit("  enter ", Role::Key);
        line.lit("answer", Role::Text).lit("  esc ", Role::Key).lit("cancel", Role::Text)
    }

    fn send(mut self, model: &mut Model, choice: Choice) -> Vec<Cmd> {
        let request = Request::QuestionAnswer {
            approval: Ref(self.approval.to_string()),
            choice,
            digest: Some(self.digest.clone()),
            not_before: None,
            priority: None,
        };
        let sent = Sent {
            done: Some(text(format_args!("answered {}: {}", self.name, choice.label()))),
            can_be_undone: !matches!(choice, Choice::End | Choice::Retry),
            what: "answer",
        };
        let (ticket, commands) = submit::send(model, request, sent);
        (self.ticket, self.fault) = (Some(ticket), None);
        model.overlays.push(Overlay::Choose(self));
        commands
    }
}
