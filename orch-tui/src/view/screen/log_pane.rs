//! The pane that shows a run's log, used by the board's drawer and by the run's detail.

use orch_proto::id::RunId;
use ratatui::layout::Rect;

use crate::view::canvas::{Canvas, Line};
use crate::view::model::Model;
use crate::view::theme::Role;

/// Fits the log of a run to the room it has.
pub(crate) fn settle(model: &mut Model, run: RunId, area: Rect) {
    let view = model.logs.view;
    let entry = model.logs.open(run);
    entry.pane.settle(&entry.buffer, view, area);
}

/// Draws the log of a run.
pub(crate) fn draw(model: &Model, canvas: &mut Canvas<'_>, area: Rect, run: RunId) {
    let Some(entry) = model.logs.get(run) else { return };
    if let Some((fault, _)) = entry.fault.as_ref().filter(|_| entry.buffer.end() == 0) {
        canvas.put(area, 0, &fault.line());
        canvas.put(area, 1, &fault.hint_line());
        return;
    }
    if entry.buffer.end() == 0 {
        let said = if entry.buffer.is_ended() { "the run wrote nothing" } else { "nothing written yet" };
        canvas.put(area, 0, &Line::of(said, Role::Dim));
        return;
    }
    entry.pane.draw(canvas, area, (&entry.buffer, model.logs.view));
}

/// What the title says of the log's position.
pub(crate) fn state_line(model: &Model, run: RunId) -> Line {
    model.logs.get(run).map_or_else(Line::new, |entry| entry.pane.state_line(&entry.buffer))
}
