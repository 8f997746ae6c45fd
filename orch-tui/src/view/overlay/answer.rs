//! Answering a question of a run: a form with a line for each of its fields. While it is open everything typed is text.
//!
//! **Invariant:** what was typed into a secret field is on no screen, in no draft and in no `Debug` of anything.

use std::collections::BTreeMap;

use orch_proto::id::InfoRequestId;
use orch_proto::request::Bytes;
use orch_proto::view::FieldKind;
use ratatui::layout::Position;

use super::Overlay;
use crate::text::SafeText;
use crate::view::canvas::{Canvas, Line, centered, text};
use crate::view::doc::Doc;
use crate::view::edit::{Edit, Hidden};
use crate::view::key::{Code, Key};
use crate::view::model::{Model, Sent};
use crate::view::msg::Cmd;
use crate::view::rows::{FieldRow, QuestionRow};
use crate::view::submit;
use crate::view::theme::Role;
use crate::view::toast::Fault;

/// Widest form.
const BOX_COLUMNS_MAX: u16 = 92;
/// Most columns of the title of a field.
const TITLE_COLUMNS_MAX: usize = 24;

/// The form.
#[derive(Clone, Debug)]
pub(crate) struct AnswerForm {
    info: InfoRequestId,
    name: SafeText,
    about: Doc,
    fields: Vec<Field>,
    /// The field that has the keys.
    at: usize,
    pub(super) ticket: Option<u32>,
    pub(super) fault: Option<Fault>,
}

#[derive(Clone, Debug)]
struct Field {
    row: FieldRow,
    given: Given,
}

/// What was given for a field.
#[derive(Clone, Debug)]
enum Given {
    Text(Edit),
    /// One of these.
    Pick(Vec<String>, Option<usize>),
    Secret(Hidden),
}

impl Given {
    fn nothing(kind: &FieldKind) -> Self {
        match kind {
            FieldKind::Text | FieldKind::Number => Self::Text(Edit::default()),
            FieldKind::Bool => Self::Pick(vec!["true".to_owned(), "false".to_owned()], None),
            FieldKind::Choice { choices } => Self::Pick(choices.clone(), None),
            FieldKind::Secret => Self::Secret(Hidden::default()),
        }
    }

    /// The value; none when nothing was given.
    fn value(&self) -> Option<Vec<u8>> {
        let value = match self {
            Self::Text(edit) => edit.text(),
            Self::Pick(choices, picked) => choices.get((*picked)?)?,
            Self::Secret(hidden) => hidden.value(),
        };
        (!value.is_empty()).then(|| value.as_bytes().to_vec())
    }

    fn on_key(&mut self, key: Key) {
        match self {
            Self::Text(edit) => {
                edit.on_key(key);
            }
            Self::Secret(hidden) => hidden.on_key(key),
            Self::Pick(choices, picked) => {
                let last = choices.len().saturating_sub(1);
                match (key.code, key.typed()) {
                    (Code::Backspace | Code::Delete, _) => *picked = None,
                    (Code::Left, _) => *picked = Some(picked.map_or(last, |at| at.checked_sub(1).unwrap_or(last))),
                    (Code::Right, _) | (_, Some(' ')) => {
                        *picked = Some(picked.map_or(0, |at| if at >= last { 0 } else { at + 1 }));
                    }
                    (_, Some(letter)) => {
                        let begins = |choice: &String| choice.to_lowercase().starts_with(letter.to_ascii_lowercase());
                        *picked = choices.iter().position(begins).or(*picked);
                    }
                    _ => {}
                }
            }
        }
    }

    /// How it is shown in so many columns, and where its cursor is.
    fn shown(&self, columns: usize, has_keys: bool) -> (Line, Option<usize>) {
        match self {
            Self::Text(edit) => {
                let (shown, column) = edit.shown(columns);
                (Line::from_safe(shown, Role::Text), Some(column))
            }
            Self::Secret(hidden) if hidden.value().is_empty() => {
                (Line::of("type or paste; it is not shown", Role::Dim), Some(0))
            }
            Self::Secret(hidden) => {
                let count = hidden.value().chars().count();
                (Line::from_safe(text(format_args!("{count} characters, not shown")), Role::Good), None)
            }
            Self::Pick(choices, picked) if !has_keys => {
                let choice = picked.and_then(|at| choices.get(at)).map(|choice| SafeText::line(choice));
                (Line::from_safe(choice.unwrap_or_default(), Role::Text), None)
            }
            Self::Pick(choices, picked) => {
                // Those before the picked one make room for it.
                let from = picked.unwrap_or(0).saturating_sub(2);
                let mut line = if from > 0 { Line::of("< ", Role::Dim) } else { Line::new() };
                for (at, choice) in choices.iter().enumerate().skip(from) {
                    let (open, role, close) =
                        if *picked == Some(at) { ("[", Role::Strong, "] ") } else { (" ", Role::Dim, "  ") };
                    line = line.lit(open, role).safe(SafeText::line(choice), role).lit(close, role);
                }
                (line.clip(columns), None)
            }
        }
    }
}

impl AnswerForm {
    /// Puts the form for the selected question on the screen, as it was left.
    pub(crate) fn open(model: &mut Model) -> Vec<Cmd> {
        let Some(row) = model.selected_question() else { return Vec::new() };
        let fields = row.fields.iter().map(|row| Field { row: row.clone(), given: Given::nothing(&row.kind) });
        let form = Self {
            info: row.id,
            name: row.full_name.clone(),
            about: about(row),
            fields: fields.collect(),
            at: 0,
            ticket: None,
            fault: None,
        };
        let draft = model.inbox.form.take().filter(|draft| draft.info == form.info);
        model.overlays.push(Overlay::Answer(draft.unwrap_or(form)));
        vec![Cmd::DropInput]
    }

    pub(super) fn on_key(mut self, model: &mut Model, key: Key) -> Vec<Cmd> {
        let last = self.fields.len().saturating_sub(1);
        match key.code {
            Code::Esc => {
                self.keep(model);
                return Vec::new();
            }
            _ if self.ticket.is_some() => {}
            Code::Down | Code::Tab => self.at = (self.at + 1).min(last),
            Code::Up | Code::BackTab => self.at = self.at.saturating_sub(1),
            Code::Enter if self.at < last => self.at += 1,
            Code::Enter if self.missing().is_none() => return self.send(model),
            Code::Enter => self.at = self.missing().unwrap_or(self.at),
            _ => {
                if let Some(field) = self.fields.get_mut(self.at) {
                    field.given.on_key(key);
                }
            }
        }
        model.overlays.push(Overlay::Answer(self));
        Vec::new()
    }

    pub(super) fn paste(&mut self, text: &str) {
        match self.fields.get_mut(self.at).map(|field| &mut field.given) {
            Some(Given::Text(edit)) if self.ticket.is_none() => edit.paste(text),
            Some(Given::Secret(hidden)) if self.ticket.is_none() => hidden.paste(text),
            _ => {}
        }
    }

    /// Keeps what was typed for when the form is opened again; no secrets.
    fn keep(mut self, model: &mut Model) {
        for field in &mut self.fields {
            if let Given::Secret(hidden) = &mut field.given {
                *hidden = Hidden::default();
            }
        }
        (self.ticket, self.fault) = (None, None);
        model.inbox.form = Some(self);
    }

    /// The first field that is needed and has nothing.
    fn missing(&self) -> Option<usize> {
        self.fields.iter().position(|field| field.row.is_required && field.given.value().is_none())
    }

    fn send(mut self, model: &mut Model) -> Vec<Cmd> {
        let value = |field: &Field| Some((field.row.name.clone(), Bytes(field.given.value()?)));
        let values: BTreeMap<String, Bytes> = self.fields.iter().filter_map(value).collect();
        let done = Some(text(format_args!("answered {}", self.name)));
        let sent = Sent { done, can_be_undone: false, what: "answer" };
        let (ticket, commands) = submit::answer(model, self.info, values, sent);
        (self.ticket, self.fault) = (Some(ticket), None);
        model.overlays.push(Overlay::Answer(self));
        commands
    }

    /// Follows the question. False: it does not wait any more.
    pub(super) fn settle(&mut self, model: &mut Model) -> bool {
        let Some(questions) = &model.data.questions else { return true };
        let waits = questions.iter().any(|row| row.id == self.info);
        if !waits && self.ticket.is_none() {
            model.toasts.refuse(model.now, "the question does not wait any more");
        }
        waits || self.ticket.is_some()
    }

    pub(super) fn draw(&self, model: &Model, canvas: &mut Canvas<'_>) {
        let width = model.area.width.saturating_sub(2).min(BOX_COLUMNS_MAX);
        let inner_width = usize::from(width.saturating_sub(4));
        let mut rows = self.about.rows(inner_width);
        if let Some(fault) = &self.fault {
            rows.splice(0..0, Doc::new().item("x", fault.line_text(), Role::Bad).rows(inner_width));
        }
        // The field that has the keys and the hint are always on the screen, whatever there is to say before them.
        let room = usize::from(model.area.height.saturating_sub(3));
        let fields_max = self.fields.len().min(room.saturating_sub(2 + rows.len().min(6)).max(1));
        rows.truncate(room.saturating_sub(fields_max + 2));
        let above = u16::try_from(rows.len()).unwrap_or(u16::MAX);
        let shown = u16::try_from(fields_max).unwrap_or(u16::MAX);
        let title = Line::of("Answer ", Role::Strong).safe(self.name.clone(), Role::Strong);
        let inside = canvas.boxed(centered(model.area, width, above.saturating_add(shown + 4)), &title);
        for (row, line) in (0..above).zip(&rows) {
            canvas.put(inside, row, line);
        }
        let top = (self.at + 1).saturating_sub(fields_max);
        let titles = self.fields.iter().map(|field| field.row.title.width()).max().unwrap_or(0);
        let titles = titles.min(TITLE_COLUMNS_MAX).min(inner_width / 2);
        for (row, (at, field)) in (above + 1..above + 1 + shown).zip(self.fields.iter().enumerate().skip(top)) {
            let has_keys = at == self.at;
            let role = if has_keys { Role::Strong } else { Role::Text };
            let head = Line::of(if has_keys { "> " } else { "  " }, Role::Key)
                .safe(field.row.title.clip(titles), role)
                .pad(titles + 2)
                .lit(if field.row.is_required { "* " } else { "  " }, Role::Warn);
            let columns = inner_width.saturating_sub(head.width());
            let (value, cursor) = field.given.shown(columns, has_keys);
            let before = head.width();
            canvas.put(inside, row, &head.line(value));
            if let Some(column) = cursor.filter(|_| has_keys && row < inside.height) {
                let x = u16::try_from(before + column).unwrap_or(u16::MAX);
                canvas.cursor = Some(Position { x: inside.x.saturating_add(x), y: inside.y + row });
            }
        }
        canvas.put(inside, above + 1 + shown, &self.hint());
    }

    fn hint(&self) -> Line {
        if self.ticket.is_some() {
            return Line::of("sent, waiting for the daemon", Role::Busy);
        }
        let is_last = self.at + 1 >= self.fields.len();
        let line = match self.missing().and_then(|at| self.fields.get(at)) {
            Some(field) if is_last => {
                Line::of("needed: ", Role::Warn).safe(field.row.title.clip(TITLE_COLUMNS_MAX), Role::Warn)
            }
            _ => Line::of("enter ", Role::Key).lit(if is_last { "answer" } else { "next" }, Role::Text),
        };
        let is_pick = self.fields.get(self.at).is_some_and(|field| matches!(field.given, Given::Pick(..)));
        let line = if is_pick { line.lit("  left right ", Role::Key).lit("pick", Role::Text) } else { line };
        line.lit("  up down ", Role::Key).lit("field", Role::Text).lit("  esc ", Role::Key).lit("cancel", Role::Text)
    }
}

/// What is asked, by whom.
fn about(row: &QuestionRow) -> Doc {
    let mut doc = Doc::new();
    for (at, line) in row.asks.iter().enumerate() {
        doc = doc.field_as(if at == 0 { "asks" } else { "" }, line.clone(), Role::Strong);
    }
    doc.field("run", row.run.clone()).field("for", row.task.clone())
}
