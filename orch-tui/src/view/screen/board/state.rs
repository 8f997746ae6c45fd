//! State of the board and what actions do to it.

use orch_proto::Ref;
use orch_proto::id::TaskId;
use orch_proto::request::Request;
use orch_proto::view::{Column, TaskState};
use ratatui::layout::Rect;

use crate::view::action::Action;
use crate::view::canvas::text;
use crate::view::cursor::Cursor;
use crate::view::data::Data;
use crate::view::filter::Filter;
use crate::view::focus::{Pane, Screen};
use crate::view::layout;
use crate::view::model::{Model, Sent};
use crate::view::msg::Cmd;
use crate::view::overlay::{Ask, Confirm, Say, Viewer, ViewerBody};
use crate::view::rows::TaskRow;
use crate::view::screen::{log_pane, runs};
use crate::view::submit;

/// The columns, left to right, with their titles.
pub(crate) const COLUMNS: [(Column, &str); 5] = [
    (Column::Proposed, "Proposed"),
    (Column::Approved, "Approved"),
    (Column::InProgress, "In Progress"),
    (Column::Review, "Review"),
    (Column::Done, "Done"),
];

/// State of the board.
#[derive(Clone, Debug)]
pub(crate) struct Board {
    /// Index of the focused column.
    pub(crate) column: usize,
    pub(crate) cursors: [Cursor<TaskId>; 5],
    /// All tasks in one list instead of columns.
    pub(crate) is_list: bool,
    pub(crate) list: Cursor<TaskId>,
    /// The drawer has most of the room.
    pub(crate) zoom: bool,
    /// The keys go to the log in the drawer.
    pub(crate) in_log: bool,
    /// The cursor goes where something runs. Ends with the first move of a person.
    pub(crate) is_led: bool,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            column: 2,
            cursors: Default::default(),
            is_list: false,
            list: Cursor::default(),
            zoom: false,
            in_log: false,
            is_led: true,
        }
    }
}

impl Board {
    pub(crate) const fn pane(&self) -> Pane {
        if self.in_log { Pane::CardLog } else { Pane::Cards }
    }

    /// What the cursor stands on.
    pub(crate) const fn selected(&self) -> Option<TaskId> {
        if self.is_list { self.list.key() } else { self.cursors[self.column].key() }
    }

    /// Puts the cursor onto a task, in whatever column it is.
    fn select(&mut self, task: &TaskRow) {
        self.list.select(task.id);
        let column = task.state.column() as usize;
        self.cursors[column].select(task.id);
        self.column = column;
    }

    /// Whether a running task is shown, whose time goes on.
    pub(crate) fn ticks(&self, data: &Data) -> bool {
        data.tasks.iter().flatten().any(|task| task.state == TaskState::Running)
    }
}

/// Tasks of a column in the order in which they are shown.
pub(crate) fn in_column<'a>(data: &'a Data, filter: &Filter, column: Column) -> Vec<&'a TaskRow> {
    let tasks = data.tasks.iter().flatten();
    let mut tasks: Vec<_> = tasks.filter(|task| task.state.column() == column && filter.keeps(*task)).collect();
    match column {
        Column::Approved => tasks.sort_by_key(|task| (!task.ready, std::cmp::Reverse(task.priority))),
        Column::Done => tasks.sort_by_key(|task| std::cmp::Reverse(task.since)),
        Column::Proposed | Column::InProgress | Column::Review => {}
    }
    tasks
}

/// All tasks for the list.
pub(crate) fn in_list<'a>(data: &'a Data, filter: &Filter) -> Vec<&'a TaskRow> {
    data.tasks.iter().flatten().filter(|task| filter.keeps(*task)).collect()
}

/// Rows that one card takes in a column of a size.
pub(crate) const fn card_rows(width: u16, height: u16) -> u16 {
    match (width, height) {
        (60.., _) => 1,
        (_, 16..) => 3,
        _ => 2,
    }
}

/// Widths of all columns; none when there is room for one only, which has all of it. A column without tasks gets the
/// width of its heading. The filter does not matter, so that nothing moves while one is typed; and while anything is
/// about to run, runs or is in review, the columns that it goes through have their room, so that nothing jumps at
/// each step.
pub(crate) fn column_widths(data: &Data, body: Rect) -> Option<[u16; 5]> {
    if !layout::is_wide(body) {
        return None;
    }
    let tasks = || data.tasks.iter().flatten();
    let moves = tasks().any(|task| task.ready || matches!(task.state, TaskState::Running | TaskState::InReview));
    let is_full = COLUMNS.map(|(column, _)| {
        moves && matches!(column, Column::InProgress | Column::Review)
            || tasks().any(|task| task.state.column() == column)
    });
    let is_full = if is_full.contains(&true) { is_full } else { [true; 5] };
    let headings = COLUMNS.map(|(_, title)| u16::try_from(title.len() + 3).unwrap_or(u16::MAX));
    let narrow: u16 = headings.iter().zip(is_full).filter(|(_, is_full)| !is_full).map(|(width, _)| width).sum();
    let sharing = u16::try_from(is_full.iter().filter(|is_full| **is_full).count()).unwrap_or(1);
    let room = (body.width - 4).saturating_sub(narrow);
    let mut left = room % sharing;
    Some(std::array::from_fn(|index| {
        if !is_full[index] {
            return headings[index];
        }
        let extra = u16::from(left > 0);
        left -= extra;
        room / sharing + extra
    }))
}

/// Fits the board to the data and the room.
pub(crate) fn settle(model: &mut Model, body: Rect) {
    let filter = model.filter();
    let (cards, drawer) = layout::board(model, body);
    lead(model, &filter);
    follow_selected(model, &filter);
    let board = &mut model.board;
    let height = usize::from(cards.height.saturating_sub(1));
    let keys: Vec<TaskId> = in_list(&model.data, &filter).iter().map(|task| task.id).collect();
    board.list.settle(&keys, height);
    let widths = column_widths(&model.data, body).unwrap_or([body.width; 5]);
    for (index, (column, _)) in COLUMNS.iter().enumerate() {
        let rows = usize::from(card_rows(widths[index], cards.height));
        let keys: Vec<TaskId> = in_column(&model.data, &filter, *column).iter().map(|task| task.id).collect();
        board.cursors[index].settle(&keys, height / rows);
    }
    if drawer.is_none() {
        board.in_log = false;
    }
    let run = model.selected_task().and_then(|task| task.run);
    match (run, drawer) {
        (Some(run), Some(drawer)) => log_pane::settle(model, run, layout::below(drawer, 1)),
        _ => model.board.in_log = false,
    }
}

/// While it is led the cursor stands on something that runs, and stays there as long as it does. When nothing runs it
/// stays where it is; at first it goes where there is anything.
fn lead(model: &mut Model, filter: &Filter) {
    let Some(tasks) = model.data.tasks.as_ref().filter(|_| model.board.is_led && !model.board.in_log) else { return };
    let selected = model.board.selected();
    let runs = |task: &&TaskRow| task.state == TaskState::Running && filter.keeps(*task);
    if tasks.iter().any(|task| runs(&task) && Some(task.id) == selected) {
        return;
    }
    if let Some(task) = tasks.iter().find(runs) {
        model.board.select(task);
    } else if selected.is_none() {
        let first = [2, 3, 1, 0, 4]
            .into_iter()
            .find_map(|index| in_column(&model.data, filter, COLUMNS[index].0).first().copied());
        if let Some(task) = first {
            model.board.select(task);
        }
    }
}

/// A selected task that went to another column takes the cursor with it.
fn follow_selected(model: &mut Model, filter: &Filter) {
    let selected = model.board.selected();
    let task = model.data.tasks.iter().flatten().find(|task| Some(task.id) == selected && filter.keeps(*task));
    if let Some(task) = task {
        model.board.select(task);
    }
}

/// Does an action of the board.
pub(crate) fn act(model: &mut Model, action: Action) -> Vec<Cmd> {
    match action {
        Action::NextPane | Action::PreviousPane => model.board.in_log = !model.board.in_log,
        Action::Follow => model.board.is_led = !model.board.is_led,
        Action::Zoom => model.board.zoom = !model.board.zoom,
        Action::ToggleView => {
            let selected = model.selected_task().cloned();
            model.board.is_list = !model.board.is_list;
            if let Some(task) = selected {
                model.board.select(&task);
            }
        }
        Action::Left => move_column(model, model.board.column.saturating_sub(1)),
        Action::Right => move_column(model, model.board.column + 1),
        Action::Open => open_task(model),
        Action::OpenRun => {
            if let Some(run) = model.selected_task().and_then(|task| task.run) {
                runs::open(model, run, Screen::Board);
            }
        }
        Action::QueueTask | Action::HoldTask | Action::RetryTask => return request(model, action),
        Action::CancelTask => {
            let Some(task) = model.selected_task() else { return Vec::new() };
            let ask = Ask::CancelTask { task: task.id, name: task.full_name.clone(), title: task.title.clone() };
            return Confirm::open(model, ask);
        }
        Action::Say => return Say::to_task(model),
        _ => move_cursor(model, action),
    }
    Vec::new()
}

fn move_column(model: &mut Model, column: usize) {
    if !model.board.is_list {
        model.board.column = column.min(COLUMNS.len() - 1);
        model.board.is_led = false;
    }
}

fn move_cursor(model: &mut Model, action: Action) {
    let filter = model.filter();
    let board = &mut model.board;
    let before = board.selected();
    if board.is_list {
        let keys: Vec<TaskId> = in_list(&model.data, &filter).iter().map(|task| task.id).collect();
        board.list.act(&keys, action);
        // The columns follow, so that changing the view does not lose the place.
        if let Some(task) = model.selected_task().cloned() {
            model.board.select(&task);
        }
    } else {
        let column = COLUMNS[board.column].0;
        let keys: Vec<TaskId> = in_column(&model.data, &filter, column).iter().map(|task| task.id).collect();
        board.cursors[board.column].act(&keys, action);
        if let Some(key) = board.selected() {
            board.list.select(key);
        }
    }
    model.board.is_led &= before == model.board.selected();
}

fn request(model: &mut Model, action: Action) -> Vec<Cmd> {
    let Some(task) = model.selected_task() else { return Vec::new() };
    let (reference, name) = (Ref(task.id.to_string()), task.full_name.clone());
    let is_held = task.state == TaskState::Paused;
    let (request, done, what) = match action {
        Action::QueueTask => (Request::TaskQueue { tasks: vec![reference] }, "queued", "queue the task"),
        Action::RetryTask => {
            let request = Request::TaskRetry { task: reference, anew: false, not_before: None, priority: None };
            (request, "queued again", "retry the task")
        }
        _ if is_held => (Request::TaskRelease { task: reference }, "released", "release the task"),
        _ => (Request::TaskHold { task: reference, reason: None }, "held", "hold the task"),
    };
    submit::send(model, request, Sent { done: Some(text(format_args!("{name} {done}"))), can_be_undone: true, what }).1
}

fn open_task(model: &mut Model) {
    let Some(task) = model.selected_task() else { return };
    let (id, title) = (task.id, text(format_args!("{}  {}", task.full_name, task.title)));
    model.overlays.push(Viewer::open(title, ViewerBody::Task(id)));
}
