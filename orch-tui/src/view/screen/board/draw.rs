//! How the board looks.

use orch_proto::view::TaskState;
use ratatui::layout::Rect;

use super::state::{COLUMNS, card_rows, column_widths, in_column, in_list};
use crate::text::SafeText;
use crate::view::canvas::{Canvas, Line, text};
use crate::view::doc::Doc;
use crate::view::filter::Filter;
use crate::view::layout;
use crate::view::model::Model;
use crate::view::msg::Query;
use crate::view::rows::{TaskRow, short_name};
use crate::view::screen::{Mark, draw_absence, draw_row, log_pane};
use crate::view::theme::Role;
use crate::view::when;
use crate::view::words;

/// Most columns that a task's name takes in front of its title.
const NAME_COLUMNS_MAX: usize = 20;

/// Draws the board.
pub(crate) fn draw(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    let filter = model.filter();
    let (cards, drawer) = layout::board(model, body);
    if model.board.is_list {
        draw_list(model, canvas, cards, &filter);
    } else {
        draw_columns(model, canvas, (body, cards), &filter);
    }
    let is_empty = model.data.tasks.as_ref().is_none_or(Vec::is_empty);
    if is_empty {
        let empty: &[&str] = match (&model.data.tasks, &model.project) {
            (None, _) => &[],
            (Some(_), _) if model.data.projects.as_ref().is_some_and(Vec::is_empty) => {
                &["no project yet; make one with:", "  orchctl project create NAME [--repo PATH]"]
            }
            (Some(_), _) => &[
                "no tasks yet; they come with an approved plan:",
                "  orchctl vision submit FILE",
                "or one by one: orchctl task create TITLE",
            ],
        };
        draw_absence(canvas, layout::below(cards, 2), (model, &Query::Tasks), empty);
    }
    if let Some(drawer) = drawer {
        draw_drawer(model, canvas, drawer);
    }
}

fn draw_columns(model: &Model, canvas: &mut Canvas<'_>, (body, cards): (Rect, Rect), filter: &Filter) {
    let Some(widths) = column_widths(&model.data, body) else {
        let counts = COLUMNS.map(|(column, _)| in_column(&model.data, filter, column).len());
        canvas.put(cards, 0, &narrow_heading(model.board.column, counts));
        draw_cards(model, canvas, (layout::below(cards, 1), model.board.column), filter);
        return;
    };
    let mut x = cards.x;
    for (index, (column, title)) in COLUMNS.iter().enumerate() {
        let area = Rect { x, width: widths[index], ..cards };
        let count = in_column(&model.data, filter, *column).len();
        let role = if index == model.board.column { Role::Heading } else { Role::Dim };
        let heading = Line::of(" ", role).lit(title, role).safe(text(format_args!(" {count}")), role);
        canvas.put(area, 0, &heading);
        draw_cards(model, canvas, (layout::below(area, 1), index), filter);
        if index > 0 {
            canvas.divider(x - 1, cards);
        }
        x = area.right() + 1;
    }
}

/// `< Approved 9 | IN PROGRESS 7 | Review 3 >`
fn narrow_heading(column: usize, counts: [usize; 5]) -> Line {
    let neighbour = |index: Option<usize>| {
        index
            .and_then(|index| COLUMNS.get(index).map(|(_, title)| (title, counts[index])))
            .map_or_else(Line::new, |(title, count)| {
                Line::of(title, Role::Dim).safe(text(format_args!(" {count}")), Role::Dim)
            })
    };
    let (_, title) = COLUMNS[column];
    let left = neighbour(column.checked_sub(1));
    let right = neighbour(Some(column + 1));
    let line = if left.is_empty() { Line::of("  ", Role::Dim) } else { Line::of("< ", Role::Key).line(left) };
    let title = text(format_args!(" {} {} ", title.to_uppercase(), counts[column]));
    let line = line.lit(" |", Role::Dim).safe(title, Role::Heading).lit("| ", Role::Dim);
    if right.is_empty() { line } else { line.line(right).lit(" >", Role::Key) }
}

fn draw_cards(model: &Model, canvas: &mut Canvas<'_>, (area, index): (Rect, usize), filter: &Filter) {
    let tasks = in_column(&model.data, filter, COLUMNS[index].0);
    let cursor = &model.board.cursors[index];
    let is_focused = index == model.board.column;
    // One row of the cards is the heading above them.
    let rows = card_rows(area.width, area.height + 1);
    if tasks.is_empty() && is_focused && model.data.tasks.as_ref().is_some_and(|all| !all.is_empty()) {
        let said = why_empty(model, index, filter).wrap(usize::from(area.width.saturating_sub(1)));
        for (row, said) in (1..area.height).zip(said) {
            canvas.put(area, row, &Line::of(" ", Role::Dim).safe(said, Role::Dim));
        }
    }
    let titles = title_columns(model, tasks.iter().skip(cursor.top()).take(usize::from(area.height)), area);
    let mut row = 0;
    for task in tasks.iter().skip(cursor.top()) {
        if row + rows > area.height {
            break;
        }
        let is_selected = is_focused && cursor.key() == Some(task.id);
        let mark = Mark::of(is_selected, !model.board.in_log);
        if rows == 1 {
            draw_row(canvas, (area, row), &one_line(model, task, titles), mark);
        } else {
            draw_card(model, canvas, (Rect { y: area.y + row, height: rows, ..area }, task), mark);
        }
        row += rows;
    }
}

/// Why there is nothing in the column that is looked at, and which keys go to where there is something.
fn why_empty(model: &Model, looked_at: usize, filter: &Filter) -> SafeText {
    if model.filter_text().is_empty() && layout::is_wide(model.area) {
        // All columns are in sight, and the heading of this one says it.
        return SafeText::default();
    }
    if model.filter_text().is_empty() {
        return SafeText::literal("nothing here; h and l change the column");
    }
    let found: Vec<String> = COLUMNS
        .iter()
        .enumerate()
        .map(|(index, (column, title))| (index, title, in_column(&model.data, filter, *column).len()))
        .filter(|(_, _, count)| *count > 0)
        .map(|(index, title, count)| {
            let key = if index < looked_at { "h" } else { "l" };
            format!("{count} in {title} ({})", vec![key; index.abs_diff(looked_at)].join(" "))
        })
        .collect();
    if found.is_empty() {
        return SafeText::literal("no task matches the filter; esc clears it");
    }
    text(format_args!("no match here, but {}; esc clears the filter", found.join(", ")))
}

/// A card of several rows: the title takes the second one too when it needs it, the rest is for the state.
fn draw_card(model: &Model, canvas: &mut Canvas<'_>, (area, task): (Rect, &TaskRow), mark: Mark) {
    let columns = usize::from(area.width);
    // A project's name leaves half of the card to the title.
    let name = short_name(&name(model, task), columns / 2);
    let indent = name.width() + 1;
    let titles = match area.height {
        0..3 => 1,
        _ => 2,
    };
    let mut pieces = task.title.wrap(columns.saturating_sub(indent + 1)).into_iter();
    let first = pieces.next().unwrap_or_default();
    let rest = pieces.next().filter(|_| titles > 1);
    // What does not fit into the rows for it is cut where it would go on.
    let first = if titles == 1 { task.title.clone() } else { first };
    draw_row(
        canvas,
        (area, 0),
        &Line::from_safe(name, Role::Strong).lit(" ", Role::Text).safe(first, Role::Text),
        mark,
    );
    let mut row = 1;
    if let Some(rest) = rest {
        let has_more = pieces.next().is_some();
        let line =
            Line::new().pad(indent + 1).safe(rest, Role::Text).lit(if has_more { "..." } else { "" }, Role::Text);
        canvas.put(area, row, &line);
        row += 1;
    }
    canvas.put(area, row, &Line::of("  ", Role::Text).line(state(model, task)));
}

fn title(model: &Model, task: &TaskRow) -> Line {
    Line::from_safe(short_name(&name(model, task), NAME_COLUMNS_MAX), Role::Strong)
        .lit(" ", Role::Text)
        .safe(task.title.clone(), Role::Text)
}

/// With one project its name says nothing.
fn name(model: &Model, task: &TaskRow) -> SafeText {
    if model.project.is_some() { task.name.clone() } else { task.full_name.clone() }
}

/// Columns that the titles of some tasks get: as many as they need, but never so many that the rest is lost.
fn title_columns<'a>(model: &Model, tasks: impl Iterator<Item = &'a &'a TaskRow>, area: Rect) -> usize {
    let columns = usize::from(area.width);
    let needed = tasks.map(|task| title(model, task).width() + 2).max().unwrap_or(0);
    needed.clamp(columns / 3, columns * 3 / 5)
}

fn one_line(model: &Model, task: &TaskRow, titles: usize) -> Line {
    let title = title(model, task).clip(titles.saturating_sub(1)).pad(titles);
    title.line(state(model, task))
}

/// The state of a task and what it does or waits for.
fn state(model: &Model, task: &TaskRow) -> Line {
    let badge = words::task(task);
    let detail = detail(model, task);
    // A reason that says itself that it is one needs no word in front.
    let says_waits = badge.word == "waits" && !task.waits.is_empty()
        || detail.parts().first().is_some_and(|(text, _)| text.as_str().starts_with(badge.word));
    let front = if says_waits { Line::of(badge.glyph, badge.role) } else { badge.line() };
    front.lit(" ", Role::Text).line(detail)
}

/// What a task does or waits for, in few words.
fn detail(model: &Model, task: &TaskRow) -> Line {
    let attempt = if task.attempts > 1 {
        Line::from_safe(text(format_args!("try {}/{} ", task.attempts, task.attempts_max)), Role::Warn)
    } else {
        Line::new()
    };
    let approval = task.approval_name.clone().filter(|_| !matches!(task.state, TaskState::Done | TaskState::Cancelled));
    let said = match (task.state, &task.step, task.waits.first()) {
        _ if approval.is_some() => Line::from_safe(approval.unwrap_or_default(), Role::Warn),
        (TaskState::Running, Some((index, count, step)), _) => {
            let age = when::span(model.now.wall.ms_since(task.since));
            let line = Line::from_safe(text(format_args!("{age} step {index}/{count} ")), Role::Text);
            let line = match &task.eta {
                Some((brief, _)) => line.safe(text(format_args!("{brief} ")), Role::Dim),
                None => line,
            };
            line.safe(step.clone(), Role::Text)
        }
        (TaskState::Running, None, _) => Line::from_safe(when::span(model.now.wall.ms_since(task.since)), Role::Text),
        (TaskState::Failed, _, _) => Line::from_safe(task.last_failure.clone().unwrap_or_default(), Role::Bad),
        (TaskState::Done, _, _) => Line::from_safe(task.commit.clone().unwrap_or_default(), Role::Dim),
        (TaskState::InReview, _, None) => Line::from_safe(task.change_name.clone().unwrap_or_default(), Role::Text),
        (_, _, Some(wait)) => Line::from_safe(wait.text.clone(), Role::Dim),
        (TaskState::Proposed | TaskState::Approved | TaskState::Paused | TaskState::Cancelled, _, None) => Line::new(),
    };
    attempt.line(said)
}

fn draw_list(model: &Model, canvas: &mut Canvas<'_>, area: Rect, filter: &Filter) {
    let tasks = in_list(&model.data, filter);
    let rows = layout::below(area, 1);
    let cursor = &model.board.list;
    let titles = title_columns(model, tasks.iter().skip(cursor.top()).take(usize::from(rows.height)), area);
    let heading = Line::of(" task", Role::Heading).safe(text(format_args!(" ({})", tasks.len())), Role::Dim);
    canvas.put(area, 0, &heading.pad(titles + 1).lit("state, what it does or waits for", Role::Dim));
    for (row, task) in (0..rows.height).zip(tasks.iter().skip(cursor.top())) {
        let mark = Mark::of(cursor.key() == Some(task.id), !model.board.in_log);
        draw_row(canvas, (rows, row), &one_line(model, task, titles), mark);
    }
}

/// The log of the selected task's run, or why there is none.
fn draw_drawer(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    let inside = layout::below(area, 1);
    let Some(task) = model.selected_task() else {
        canvas.rule(area, 0, &Line::new());
        return;
    };
    let role = if model.board.in_log { Role::Heading } else { Role::Strong };
    let mark = Line::of(if model.board.in_log { "> " } else { "" }, Role::Heading);
    let Some(run) = task.run else {
        canvas.rule(area, 0, &Line::from_safe(task.name.clone(), role).lit(" has not run", Role::Text));
        let mut doc = Doc::new();
        for wait in &task.waits {
            doc = doc.field("waits for", wait.text.clone());
            doc = doc.field_as("hint", wait.hint.clone().unwrap_or_default(), Role::Key);
        }
        let doc = doc.field("work", task.work.clone()).field("serves", task.requirements.clone());
        for (row, line) in (0..inside.height).zip(doc.rows(usize::from(inside.width))) {
            canvas.put(inside, row, &line);
        }
        return;
    };
    let mut line = mark
        .safe(task.run_name.clone().unwrap_or_default(), role)
        .lit(" ", Role::Text)
        .safe(task.name.clone(), Role::Text);
    if let Some((index, count, step)) = &task.step {
        line = line.safe(text(format_args!(" step {index}/{count} {step}")), Role::Text);
    }
    let line = line.lit("  ", Role::Text).line(log_pane::state_line(model, run));
    let line = if model.board.is_led { line.lit("  board follows", Role::Dim) } else { line };
    canvas.rule(area, 0, &line);
    log_pane::draw(model, canvas, inside, run);
}
