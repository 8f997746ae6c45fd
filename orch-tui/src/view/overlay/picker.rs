//! A list to pick from, narrowed by typing: the help of a pane, all its actions by name, the projects.

use ratatui::layout::Position;

use super::Overlay;
use crate::text::SafeText;
use crate::view::action::{Action, Disabled, valid_in};
use crate::view::canvas::{Canvas, Line, centered, text};
use crate::view::cursor::Cursor;
use crate::view::edit::Edit;
use crate::view::key::{Code, Key};
use crate::view::layout::below;
use crate::view::model::Model;
use crate::view::msg::Cmd;
use crate::view::theme::Role;
use crate::view::update;

/// Columns of the key in front of what it does.
const KEY_COLUMNS: usize = 9;

/// What is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PickerKind {
    /// Actions by what they do.
    Help,
    /// Actions by name.
    Palette,
    Projects,
}

/// The list and what narrows it.
#[derive(Clone, Debug)]
pub(crate) struct Picker {
    kind: PickerKind,
    edit: Edit,
    cursor: Cursor<usize>,
}

#[derive(Clone, Debug)]
enum Choice {
    Run(Action),
    /// Index into the projects; none for all of them.
    Project(Option<usize>),
}

struct Item {
    key: SafeText,
    title: SafeText,
    note: SafeText,
    enabled: Result<(), Disabled>,
    choice: Choice,
}

impl Picker {
    pub(crate) fn open(kind: PickerKind) -> Overlay {
        Overlay::Picker(Self { kind, edit: Edit::default(), cursor: Cursor::default() })
    }

    pub(super) fn paste(&mut self, text: &str) {
        self.edit.paste(text);
        self.cursor = Cursor::default();
    }

    pub(super) fn on_key(mut self, model: &mut Model, key: Key) -> Vec<Cmd> {
        let items = self.items(model);
        let keys: Vec<usize> = (0..items.len()).collect();
        match (key.code, key.ctrl) {
            (Code::Esc, _) => return Vec::new(),
            (Code::Enter, _) => {
                let Some(item) = items.get(self.cursor.index()) else {
                    model.overlays.push(Overlay::Picker(self));
                    return Vec::new();
                };
                return match (&item.enabled, &item.choice) {
                    (Err(why), _) => {
                        model.toasts.refuse(model.now, why);
                        Vec::new()
                    }
                    (Ok(()), Choice::Run(action)) => update::run_action(model, *action),
                    (Ok(()), Choice::Project(index)) => {
                        update::choose_project(model, *index);
                        Vec::new()
                    }
                };
            }
            (Code::Up, _) | (Code::Char('p'), true) => self.cursor.act(&keys, Action::Up),
            (Code::Down, _) | (Code::Char('n'), true) => self.cursor.act(&keys, Action::Down),
            (Code::PageUp, _) => self.cursor.act(&keys, Action::PageUp),
            (Code::PageDown, _) => self.cursor.act(&keys, Action::PageDown),
            _ => {
                if self.edit.on_key(key) {
                    self.cursor = Cursor::default();
                }
            }
        }
        model.overlays.push(Overlay::Picker(self));
        Vec::new()
    }

    pub(super) fn settle(&mut self, model: &Model) {
        let items = self.items(model);
        let keys: Vec<usize> = (0..items.len()).collect();
        let height = usize::from(model.area.height.saturating_sub(2 + 2 + 3));
        // As many as fit wherever the list is scrolled to.
        let columns = usize::from(frame_size(model).0.saturating_sub(4));
        let taller = items.iter().filter(|item| item.rows(columns).len() > 1).count();
        self.cursor.settle(&keys, height.saturating_sub(taller).max(height / 2));
    }

    pub(super) fn draw(&self, model: &Model, canvas: &mut Canvas<'_>) {
        let title = match self.kind {
            PickerKind::Help => "Help: what can be done here",
            PickerKind::Palette => "Actions",
            PickerKind::Projects => "Projects",
        };
        let (width, height) = frame_size(model);
        let inside = canvas.boxed(centered(model.area, width, height), &Line::of(title, Role::Strong));
        let columns = usize::from(inside.width);
        let (shown, column) = self.edit.shown(columns.saturating_sub(2));
        canvas.put(inside, 0, &Line::of("> ", Role::Key).safe(shown, Role::Text));
        let x = inside.x.saturating_add(2).saturating_add(u16::try_from(column).unwrap_or(u16::MAX));
        canvas.cursor = Some(Position { x, y: inside.y });
        let list = below(inside, 1);
        let items = self.items(model);
        if items.is_empty() {
            canvas.put(list, 0, &Line::of("nothing matches; esc closes", Role::Dim));
        }
        let hint_rows = 1;
        let rows = items
            .iter()
            .enumerate()
            .skip(self.cursor.top())
            .flat_map(|(index, item)| item.rows(columns).into_iter().map(move |line| (index, line)));
        for (row, (index, line)) in (0..list.height.saturating_sub(hint_rows)).zip(rows) {
            let is_selected = index == self.cursor.index();
            if is_selected {
                canvas.put_bar(list, row, &line.pad(columns).all(Role::Text), Role::Selected);
            } else {
                canvas.put(list, row, &line);
            }
        }
        let hint = Line::of("enter ", Role::Key)
            .lit(if self.kind == PickerKind::Projects { "choose" } else { "run" }, Role::Dim)
            .lit("  type ", Role::Key)
            .lit("to narrow", Role::Dim)
            .lit("  esc ", Role::Key)
            .lit("close", Role::Dim);
        canvas.put(list, list.height.saturating_sub(1), &hint);
    }

    fn items(&self, model: &Model) -> Vec<Item> {
        let words: Vec<String> = self.edit.text().split_whitespace().map(str::to_lowercase).collect();
        let mut items = match self.kind {
            PickerKind::Help | PickerKind::Palette => self.actions(model),
            PickerKind::Projects => projects(model),
        };
        items.retain(|item| {
            let haystack = format!("{} {} {}", item.key, item.title, item.note).to_lowercase();
            words.iter().all(|word| haystack.contains(word.as_str()))
        });
        items
    }

    fn actions(&self, model: &Model) -> Vec<Item> {
        let specs = valid_in(model.pane().scopes());
        let items = specs.into_iter().map(|spec| {
            let name = SafeText::line(&spec.name.replace('.', " "));
            let (title, other) = match self.kind {
                PickerKind::Palette => (name, SafeText::literal(spec.title)),
                PickerKind::Help | PickerKind::Projects => (SafeText::literal(spec.title), SafeText::default()),
            };
            let note =
                if spec.cli.is_empty() { other } else { text(format_args!("orchctl {}", fill(spec.cli, model))) };
            Item {
                key: SafeText::line(spec.keys[0]),
                title,
                note,
                enabled: spec.enabled(model),
                choice: Choice::Run(spec.action),
            }
        });
        items.collect()
    }
}

impl Item {
    /// One row, or two where what is said of it would be cut behind the title.
    fn rows(&self, columns: usize) -> Vec<Line> {
        let role = if self.enabled.is_ok() { Role::Text } else { Role::Dim };
        let front = Line::from_safe(self.key.clone(), Role::Key).pad(KEY_COLUMNS).safe(self.title.clone(), role);
        let note = match self.enabled {
            Ok(()) => Line::from_safe(self.note.clone(), Role::Dim),
            Err(why) => Line::of("(", Role::Dim).lit(why, Role::Dim).lit(")", Role::Dim),
        };
        let front = if columns >= 60 && front.width() < 48 { front.pad(48) } else { front };
        if note.is_empty() || front.width() + 2 + note.width() <= columns {
            return vec![front.lit("  ", role).line(note)];
        }
        vec![front, Line::new().pad(KEY_COLUMNS + 2).line(note)]
    }
}

/// Columns and rows of the box around the list.
fn frame_size(model: &Model) -> (u16, u16) {
    (model.area.width.saturating_sub(4).min(100), model.area.height.saturating_sub(2))
}

fn projects(model: &Model) -> Vec<Item> {
    let all = Item {
        key: SafeText::default(),
        title: SafeText::literal("all projects"),
        note: SafeText::default(),
        enabled: Ok(()),
        choice: Choice::Project(None),
    };
    let projects = model.data.projects.iter().flatten().enumerate().map(|(index, project)| {
        let is_current = model.project.as_ref().is_some_and(|chosen| chosen.id == project.id);
        Item {
            key: SafeText::literal(if is_current { "*" } else { "" }),
            title: project.name.clone(),
            note: project.problem.as_ref().map_or_else(
                || SafeText::literal(project.state),
                |problem| text(format_args!("{}: {problem}", project.state)),
            ),
            enabled: Ok(()),
            choice: Choice::Project(Some(index)),
        }
    });
    std::iter::once(all).chain(projects).collect()
}

/// Puts the names of what is selected into a command line.
fn fill(cli: &str, model: &Model) -> String {
    let task = model.selected_task().map(|task| task.full_name.to_string());
    // A card knows its run without the project, which a command has to name.
    let task_run = model.selected_task().and_then(|task| {
        let (project, _) = task.full_name.as_str().rsplit_once('/')?;
        Some(format!("{project}/{}", task.run_name.as_ref()?))
    });
    let run = model.selected_run().map(|run| run.full_name.to_string()).or(task_run);
    let approval = model.selected_approval().map(|approval| approval.full_name.to_string());
    let question = model.selected_question().map(|question| question.full_name.to_string());
    let mut filled = cli.to_owned();
    for (slot, name) in [("{task}", task), ("{run}", run), ("{approval}", approval), ("{question}", question)] {
        if let Some(name) = name {
            filled = filled.replace(slot, &name);
        }
    }
    filled
}
