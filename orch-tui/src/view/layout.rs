//! Where things are, as a function of the model. `update` and `draw` both ask here, so they can not disagree.

use ratatui::layout::Rect;

use super::canvas::{split_bottom, split_left};
use super::model::Model;

/// Smallest terminal on which anything useful can be shown.
pub(crate) const COLUMNS_MIN: u16 = 20;
pub(crate) const ROWS_MIN: u16 = 6;

/// Width from which the board shows all columns.
pub(crate) const WIDE_COLUMNS: u16 = 100;

/// The parts of the whole screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) status: Rect,
    /// Row of screens; empty when there is no room for it.
    pub(crate) tabs: Rect,
    pub(crate) body: Rect,
    /// Message or banner; empty when there is none.
    pub(crate) notice: Rect,
    pub(crate) footer: Rect,
}

/// Splits the screen; none when it is too small.
pub(crate) fn parts(model: &Model) -> Option<Parts> {
    let all = model.area;
    if all.width < COLUMNS_MIN || all.height < ROWS_MIN {
        return None;
    }
    let status = Rect { height: 1, ..all };
    let tabs = Rect { y: all.y + 1, height: u16::from(all.height >= 12), ..all };
    let rest = Rect { y: tabs.bottom(), height: all.bottom() - tabs.bottom(), ..all };
    let (rest, footer) = split_bottom(rest, 1);
    let notice_max = if all.height >= 12 { 2 } else { 1 };
    let notice_rows = u16::try_from(model.notice().len()).map_or(notice_max, |rows| rows.min(notice_max));
    let (body, notice) = split_bottom(rest, notice_rows);
    Some(Parts { status, tabs, body, notice, footer })
}

/// Whether the body is wide enough for things beside each other.
pub(crate) const fn is_wide(body: Rect) -> bool {
    body.width >= WIDE_COLUMNS
}

/// The board's cards, and the drawer below them if there is room.
pub(crate) fn board(model: &Model, body: Rect) -> (Rect, Option<Rect>) {
    if body.height < 10 {
        return (body, None);
    }
    let height = if model.board.zoom { body.height * 4 / 5 } else { body.height * 2 / 5 };
    let (cards, drawer) = split_bottom(body, height);
    (cards, Some(drawer))
}

/// Head of a run's detail and what is below it.
pub(crate) const fn run_detail(body: Rect) -> (Rect, Rect) {
    let head = if body.height >= 12 { 3 } else { 1 };
    let (head, rest) = split_bottom(body, body.height.saturating_sub(head));
    (head, rest)
}

/// The list of approvals and the dossier of the selected one.
pub(crate) fn inbox(body: Rect, rows: usize) -> (Rect, Rect) {
    if is_wide(body) {
        return split_left(body, body.width * 2 / 5);
    }
    let wanted = u16::try_from(rows + 1).unwrap_or(u16::MAX).max(2);
    split_bottom(body, body.height.saturating_sub(wanted.min(body.height / 3).max(2)))
}

/// The rows of the plan screen and, on a wide screen, what is known of the selected one.
pub(crate) const fn plan(body: Rect) -> (Rect, Option<Rect>) {
    if body.width < 120 {
        return (body, None);
    }
    let (rows, detail) = split_left(body, body.width * 3 / 5);
    (rows, Some(detail))
}

/// What is left below `rows` rows of heading.
pub(crate) const fn below(area: Rect, rows: u16) -> Rect {
    let rows = if rows > area.height { area.height } else { rows };
    Rect { y: area.y + rows, height: area.height - rows, ..area }
}
