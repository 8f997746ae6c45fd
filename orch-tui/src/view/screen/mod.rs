//! The screens: each has its state, what actions do to it, how it fits itself to data and room, and how it is drawn.

pub(crate) mod audit;
pub(crate) mod board;
pub(crate) mod inbox;
mod isolation;
pub(crate) mod log_pane;
pub(crate) mod plan;
pub(crate) mod runs;
pub(crate) mod system;

use super::canvas::{Canvas, Line};
use super::model::{Link, Model};
use super::msg::Query;
use super::theme::Role;
use ratatui::layout::Rect;

/// Draws why there is nothing to show: not connected, an error, loading, or `empty`. What will appear, and how.
fn draw_absence(canvas: &mut Canvas<'_>, area: Rect, (model, query): (&Model, &Query), empty: &[&'static str]) {
    if let Some(fault) = model.loader.fault(query) {
        canvas.put(area, 0, &fault.line());
        canvas.put(area, 1, &fault.hint_line());
        return;
    }
    match model.link {
        Link::Connecting => canvas.put(area, 0, &Line::of("connecting to the daemon", Role::Dim)),
        Link::Waiting { .. } => {
            canvas.put(area, 0, &Line::of("connected; what there is is shown when the daemon answers", Role::Dim));
        }
        Link::Down { .. } => {
            canvas.put(area, 0, &Line::of("no daemon answers yet; it is tried again and again", Role::Dim));
        }
        Link::Up if empty.is_empty() => canvas.put(area, 0, &Line::of("loading", Role::Dim)),
        Link::Up => {
            for (row, line) in (0..area.height).zip(empty) {
                canvas.put(area, row, &Line::of(line, Role::Dim));
            }
        }
    }
}

/// Draws one row of a list: marked and reversed when the cursor is on it.
fn draw_row(canvas: &mut Canvas<'_>, (area, row): (Rect, u16), line: &Line, mark: Mark) {
    let columns = usize::from(area.width);
    match mark {
        Mark::None => canvas.put(area, row, &Line::of(" ", Role::Text).line(line.clone())),
        Mark::Selected => {
            let line = Line::of(">", Role::Text).line(line.clone()).all(Role::Text).pad(columns);
            canvas.put_bar(area, row, &line, Role::Selected);
        }
        Mark::Remembered => {
            canvas.put_bar(area, row, &Line::of(">", Role::Strong).line(line.clone()), Role::Remembered);
        }
    }
}

/// How a row of a list stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    None,
    Selected,
    /// Selected, but the keys go elsewhere.
    Remembered,
}

impl Mark {
    const fn of(is_selected: bool, has_focus: bool) -> Self {
        match (is_selected, has_focus) {
            (false, _) => Self::None,
            (true, true) => Self::Selected,
            (true, false) => Self::Remembered,
        }
    }
}
