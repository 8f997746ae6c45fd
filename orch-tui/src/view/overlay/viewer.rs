//! A text over the whole screen: all about a task, a dossier, a diff, past errors.

use orch_proto::id::TaskId;

use super::Overlay;
use crate::text::SafeText;
use crate::view::action::{Action, Lookup, Scope, Spec, look_up};
use crate::view::canvas::{Canvas, Line, split_bottom, text};
use crate::view::cursor::Scroll;
use crate::view::doc::Doc;
use crate::view::draw::footer;
use crate::view::focus::Pane;
use crate::view::key::Key;
use crate::view::layout::below;
use crate::view::model::Model;
use crate::view::msg::{Cmd, Query};
use crate::view::screen::{board, inbox};
use crate::view::theme::Role;

/// What is shown.
#[derive(Clone, Debug)]
pub(crate) enum ViewerBody {
    Doc(Doc),
    /// The diff of a change, as soon as it is there.
    Diff(String),
    /// All about a task, as it is now.
    Task(TaskId),
}

/// The text and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Viewer {
    title: SafeText,
    body: ViewerBody,
    /// What of the inbox it belongs to, which can be answered from here.
    about: Option<inbox::Entry>,
    scroll: Scroll,
    /// A key of a longer sequence that was pressed.
    pressed: Vec<Key>,
}

impl Viewer {
    pub(crate) fn open(title: SafeText, body: ViewerBody) -> Overlay {
        Overlay::Viewer(Self { title, body, about: None, scroll: Scroll::default(), pressed: Vec::new() })
    }

    /// A text about something in the inbox.
    pub(crate) fn of_entry(title: SafeText, body: ViewerBody, about: inbox::Entry) -> Overlay {
        Overlay::Viewer(Self { title, body, about: Some(about), scroll: Scroll::default(), pressed: Vec::new() })
    }

    const fn is_diff(&self) -> bool {
        matches!(self.body, ViewerBody::Diff(_))
    }

    /// The task that is shown, if it is one.
    pub(super) const fn task(&self) -> Option<TaskId> {
        match self.body {
            ViewerBody::Task(id) => Some(id),
            ViewerBody::Doc(_) | ViewerBody::Diff(_) => None,
        }
    }

    fn pane(&self, model: &Model) -> Pane {
        let shown = model.selected_entry();
        if self.task().is_some() {
            return Pane::TaskViewer;
        }
        // Answered in between, by whomever: what is selected now is something else.
        if self.about.is_some() && self.about == shown { Pane::ApprovalViewer } else { Pane::Viewer }
    }

    pub(super) fn query(&self) -> Option<Query> {
        match &self.body {
            ViewerBody::Diff(change) => Some(Query::Diff(change.clone())),
            ViewerBody::Task(id) => Some(Query::Task(*id)),
            ViewerBody::Doc(_) => None,
        }
    }

    pub(super) fn on_key(mut self, model: &mut Model, key: Key) -> Vec<Cmd> {
        self.pressed.push(key);
        match look_up(self.pane(model).scopes(), &self.pressed) {
            Lookup::Found(spec) if spec.action == Action::Back => return Vec::new(),
            Lookup::Found(spec) if spec.scope == Scope::Answer => {
                self.pressed.clear();
                return self.answer(model, spec);
            }
            Lookup::Found(spec) if spec.scope == Scope::Dossier => {
                self.pressed.clear();
                model.overlays.push(Overlay::Viewer(self));
                if let Err(reason) = spec.enabled(model) {
                    model.toasts.refuse(model.now, reason);
                    return Vec::new();
                }
                return board::act(model, spec.action);
            }
            Lookup::Found(spec) => {
                self.scroll.act(spec.action);
                self.pressed.clear();
            }
            Lookup::Prefix => {}
            Lookup::Nothing => self.pressed.clear(),
        }
        model.overlays.push(Overlay::Viewer(self));
        Vec::new()
    }

    /// Shows the diff, or asks for the answer in place of what is shown.
    fn answer(self, model: &mut Model, spec: &Spec) -> Vec<Cmd> {
        if let Err(reason) = spec.enabled(model) {
            model.toasts.refuse(model.now, reason);
        } else if spec.action != Action::Diff {
            model.overlays.retain(|overlay| !matches!(overlay, Overlay::Viewer(_)));
            return inbox::act(model, spec.action);
        } else if !self.is_diff() {
            model.overlays.push(Overlay::Viewer(self));
            return inbox::act(model, spec.action);
        }
        model.overlays.push(Overlay::Viewer(self));
        Vec::new()
    }

    pub(super) fn settle(&mut self, model: &Model) {
        let area = split_bottom(below(model.area, 1), 1).0;
        self.scroll.settle(self.row_count(model), usize::from(area.height));
    }

    pub(super) fn draw(&self, model: &Model, canvas: &mut Canvas<'_>) {
        let all = model.area;
        for position in all.intersection(*canvas.buffer.area()).positions() {
            if let Some(cell) = canvas.buffer.cell_mut(position) {
                cell.reset();
            }
        }
        let count = self.row_count(model);
        canvas.rule(all, 0, &Line::from_safe(self.title.clone(), Role::Strong));
        let area = split_bottom(below(all, 1), 1).0;
        for (row, line) in (0..area.height).zip(self.rows_from(model, usize::from(area.height))) {
            let mut skip = self.scroll.left;
            let mut shown = Line::new();
            for (piece, role) in line.parts() {
                shown = shown.safe(piece.skip_columns(skip), *role);
                skip = skip.saturating_sub(piece.width());
            }
            canvas.put(area, row, &shown);
        }
        let last = (self.scroll.top + usize::from(area.height)).min(count);
        let notice = model.toasts.current().unwrap_or_default();
        let lowest = split_bottom(area, u16::try_from(notice.len()).unwrap_or(u16::MAX)).1;
        for (row, line) in (0..lowest.height).zip(notice) {
            canvas.put(lowest, row, &line.clone().pad(usize::from(lowest.width)));
        }
        let footer = footer(model, self.pane(model), usize::from(all.width)).lit(" ", Role::Text);
        let footer = footer.safe(text(format_args!("{last}/{count}")), Role::Dim);
        canvas.put(all, all.height.saturating_sub(1), &footer);
    }

    fn row_count(&self, model: &Model) -> usize {
        let columns = usize::from(model.area.width);
        match (&self.body, &model.data.diff) {
            (ViewerBody::Doc(doc), _) => doc.rows(columns).len(),
            (ViewerBody::Task(id), _) => board::dossier(model, *id).rows(columns).len(),
            (ViewerBody::Diff(_), Some(diff)) => diff.lines.len() + usize::from(diff.truncated),
            (ViewerBody::Diff(_), None) => 1,
        }
    }

    /// The rows that are visible. Of a long diff no others are touched.
    fn rows_from(&self, model: &Model, height: usize) -> Vec<Line> {
        let (top, columns) = (self.scroll.top, usize::from(model.area.width));
        let rows = |doc: &Doc| doc.rows(columns).into_iter().skip(top).take(height).collect();
        let change = match &self.body {
            ViewerBody::Doc(doc) => return rows(doc),
            ViewerBody::Task(id) => return rows(&board::dossier(model, *id)),
            ViewerBody::Diff(change) => change,
        };
        if let Some(fault) = model.loader.fault(&Query::Diff(change.clone())) {
            return vec![fault.line(), fault.hint_line()];
        }
        let Some(diff) = &model.data.diff else { return vec![Line::of("loading the diff", Role::Dim)] };
        let lines = diff.lines.iter().skip(top).take(height);
        let mut rows: Vec<Line> = lines.map(|line| Line::from_safe(line.clone(), diff_role(line))).collect();
        if diff.truncated && rows.len() < height {
            rows.push(Line::of("! the diff is longer; `orchctl change diff` shows all of it", Role::Warn));
        }
        rows
    }
}

fn diff_role(line: &SafeText) -> Role {
    let line = line.as_str();
    if line.starts_with("diff ") || line.starts_with("+++") || line.starts_with("---") {
        Role::Strong
    } else if line.starts_with("@@") {
        Role::Heading
    } else if line.starts_with('+') {
        Role::Good
    } else if line.starts_with('-') {
        Role::Bad
    } else {
        Role::Text
    }
}
