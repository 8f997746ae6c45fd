//! Saying something to a task, or to the agent of a run, in as many lines as it takes. While it is open everything typed is
//! text. A message that was begun outlives it.

use orch_proto::Ref;
use orch_proto::id::{RunId, TaskId};
use orch_proto::request::Request;
use ratatui::layout::Position;

use super::Overlay;
use crate::text::SafeText;
use crate::view::action::Disabled;
use crate::view::canvas::{Canvas, Line, centered, text};
use crate::view::doc::Doc;
use crate::view::edit::{Edit, LINES_BYTES_MAX};
use crate::view::enabled::{run_hears_nothing, task_hears_nothing};
use crate::view::key::{Code, Key};
use crate::view::model::{Model, Sent};
use crate::view::msg::Cmd;
use crate::view::submit;
use crate::view::theme::Role;
use crate::view::toast::Fault;

/// Widest form.
const BOX_COLUMNS_MAX: u16 = 92;
/// Rows that the text has at least and at most, where there is room.
const TEXT_ROWS: (usize, usize) = (3, 10);

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addressee {
    Task(TaskId),
    Run(RunId),
}

/// A message that was left before it was known to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Unsent {
    to: Addressee,
    text: String,
    /// The request that it was sent with.
    pub(super) ticket: Option<u32>,
}

/// The form.
#[derive(Clone, Debug)]
pub(crate) struct Say {
    to: Addressee,
    name: SafeText,
    title: SafeText,
    pub(super) edit: Edit,
    pub(super) ticket: Option<u32>,
    pub(super) fault: Option<Fault>,
}

impl Say {
    /// Puts the form for the task that is read about or selected on the screen, as it was left.
    pub(crate) fn to_task(model: &mut Model) -> Vec<Cmd> {
        let Some(row) = model.addressed_task() else { return Vec::new() };
        let (to, name, title) = (Addressee::Task(row.id), row.full_name.clone(), row.title.clone());
        Self::open(model, to, (name, title))
    }

    /// The same for the agent of the selected run.
    pub(crate) fn to_run(model: &mut Model) -> Vec<Cmd> {
        let Some(row) = model.selected_run() else { return Vec::new() };
        let (to, name, title) = (Addressee::Run(row.id), row.full_name.clone(), row.title.clone());
        Self::open(model, to, (name, title))
    }

    fn open(model: &mut Model, to: Addressee, (name, title): (SafeText, SafeText)) -> Vec<Cmd> {
        // One that is sent still waits for its answer: sent again, it would be said twice.
        let begun = model.unsent.take_if(|unsent| unsent.to == to).map(|unsent| (unsent.text, unsent.ticket));
        let (said, ticket) = begun.unwrap_or_default();
        let edit = Edit::of_lines(said);
        model.overlays.push(Overlay::Say(Self { to, name, title, edit, ticket, fault: None }));
        vec![Cmd::DropInput]
    }

    pub(super) fn on_key(mut self, model: &mut Model, key: Key) -> Vec<Cmd> {
        match key.code {
            Code::Esc => {
                self.keep(model);
                return Vec::new();
            }
            _ if self.ticket.is_some() => {}
            Code::Enter if !key.alt => {
                if !self.is_empty() {
                    return self.send(model);
                }
            }
            _ => {
                self.edit.on_key(key);
            }
        }
        model.overlays.push(Overlay::Say(self));
        Vec::new()
    }

    fn is_empty(&self) -> bool {
        self.edit.text().trim().is_empty()
    }

    /// Keeps what was typed for when the form is opened again; of several that were begun the last one.
    fn keep(self, model: &mut Model) {
        if !self.is_empty() {
            let text = self.edit.text().to_owned();
            model.unsent = Some(Unsent { to: self.to, text, ticket: self.ticket });
        }
    }

    fn send(mut self, model: &mut Model) -> Vec<Cmd> {
        let said = self.edit.text().trim().to_owned();
        let request = match self.to {
            Addressee::Task(id) => Request::TaskSay { task: Ref(id.to_string()), text: said },
            Addressee::Run(id) => Request::RunSay { run: Ref(id.to_string()), text: said },
        };
        let done = Some(text(format_args!("said to {}", self.name)));
        let (ticket, commands) = submit::send(model, request, Sent { done, can_be_undone: false, what: "say it" });
        (self.ticket, self.fault) = (Some(ticket), None);
        model.overlays.push(Overlay::Say(self));
        commands
    }

    /// Why nobody will hear it, as far as is known. The daemon decides in the end, and says what else can be done.
    fn warning(&self, model: &Model) -> Option<Disabled> {
        match self.to {
            Addressee::Task(id) => task_hears_nothing(model.task(id)?),
            Addressee::Run(id) => run_hears_nothing(model.run(id)?),
        }
    }

    pub(super) fn draw(&self, model: &Model, canvas: &mut Canvas<'_>) {
        let width = model.area.width.saturating_sub(2).min(BOX_COLUMNS_MAX);
        let columns = usize::from(width.saturating_sub(4));
        let mut rows = self.above(model, columns);
        let (lines, (line_at, column)) = self.edit.rows(columns.saturating_sub(3));
        // The text and the hint are always on the screen, whatever there is to say before them.
        let room = usize::from(model.area.height.saturating_sub(3));
        let text_rows = lines.len().clamp(TEXT_ROWS.0, TEXT_ROWS.1).min(room.max(1));
        rows.truncate(room.saturating_sub(text_rows));
        let height = u16::try_from(rows.len() + text_rows + 3).unwrap_or(u16::MAX);
        let title = Line::of("Say to ", Role::Strong).safe(self.name.clone(), Role::Strong);
        let inside = canvas.boxed(centered(model.area, width, height), &title);
        let top = (line_at + 1).saturating_sub(text_rows);
        let typed = lines.into_iter().enumerate().skip(top).take(text_rows).map(|(at, line)| {
            let front = if at == 0 { "> " } else { "  " };
            Line::of(front, Role::Key).safe(line, Role::Text)
        });
        let cursor_row = rows.len() + line_at - top;
        rows.extend(typed);
        for (row, line) in (0..inside.height.saturating_sub(1)).zip(&rows) {
            canvas.put(inside, row, line);
        }
        canvas.put(inside, inside.height.saturating_sub(1), &self.hint(columns));
        let at = |offset: usize| u16::try_from(offset).unwrap_or(u16::MAX);
        if at(cursor_row) + 1 < inside.height {
            let x = inside.x.saturating_add(at(column + 2));
            canvas.cursor = Some(Position { x, y: inside.y + at(cursor_row) });
        }
    }

    /// What stands before the text: what it is about, who hears it, and what went wrong.
    fn above(&self, model: &Model, columns: usize) -> Vec<Line> {
        let mut rows = Doc::new().field_as("task", self.title.clone(), Role::Strong).rows(columns);
        rows.truncate(3);
        let heard = match self.to {
            Addressee::Task(_) => "its agent is told while it works, or with the next attempt",
            Addressee::Run(_) => "its agent is told while it works; what it answers is in the log",
        };
        let mut doc = Doc::new().item(" ", SafeText::literal(heard), Role::Dim);
        if let Some(why) = self.warning(model) {
            doc = doc.item("!", SafeText::literal(why), Role::Warn);
        }
        if let Some(fault) = &self.fault {
            doc = doc.item("x", fault.line_text(), Role::Bad);
        }
        rows.extend(doc.rows(columns));
        rows
    }

    fn hint(&self, columns: usize) -> Line {
        if self.ticket.is_some() {
            return Line::of("sent, waiting for the daemon", Role::Busy);
        }
        let send = if self.is_empty() {
            Line::of("nothing to say yet", Role::Warn)
        } else {
            Line::of("enter ", Role::Key).lit("send", Role::Text)
        };
        let keys = send.lit("  ctrl-j ", Role::Key).lit("new line", Role::Text);
        let keys = keys.lit("  esc ", Role::Key).lit("leave", Role::Text);
        let bytes = self.edit.text().len();
        let role = if bytes + 4 > LINES_BYTES_MAX { Role::Warn } else { Role::Dim };
        let bytes = text(format_args!("{bytes} of {LINES_BYTES_MAX} B"));
        let room = columns.saturating_sub(bytes.width());
        if keys.width() + 2 > room { keys } else { keys.pad(room).safe(bytes, role) }
    }
}
