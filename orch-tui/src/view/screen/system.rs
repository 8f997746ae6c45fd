//! The system: the daemon at a glance and what the host gives and lacks.

use orch_proto::request::Role as UserRole;
use ratatui::layout::Rect;

use crate::text::SafeText;
use crate::view::action::Action;
use crate::view::canvas::{Canvas, Line, text};
use crate::view::cursor::Scroll;
use crate::view::doc::Doc;
use crate::view::model::Model;
use crate::view::msg::{Cmd, Query};
use crate::view::rows::StatusRow;
use crate::view::screen::{draw_absence, isolation};
use crate::view::theme::Role;
use crate::view::when;
use crate::view::words;

/// State of the screen.
#[derive(Clone, Debug, Default)]
pub(crate) struct System {
    scroll: Scroll,
}

/// Fits the screen to the data and the room.
pub(crate) fn settle(model: &mut Model, body: Rect) {
    let rows = rows(model, usize::from(body.width)).len();
    model.system.scroll.settle(rows, usize::from(body.height));
}

/// Does an action of the screen.
pub(crate) fn act(model: &mut Model, action: Action) -> Vec<Cmd> {
    if action == Action::Doctor {
        model.loader.refetch(&Query::Doctor);
    } else {
        model.system.scroll.act(action);
    }
    Vec::new()
}

/// Draws the screen.
pub(crate) fn draw(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    if model.data.status.is_none() {
        draw_absence(canvas, body, (model, &Query::Status), &[]);
        return;
    }
    let rows = rows(model, usize::from(body.width));
    for (row, line) in (0..body.height).zip(rows.iter().skip(model.system.scroll.top)) {
        canvas.put(body, row, line);
    }
}

fn rows(model: &Model, columns: usize) -> Vec<Line> {
    let Some(status) = &model.data.status else { return Vec::new() };
    let mut rows = daemon(model, status).rows(columns);
    rows.push(Line::new());
    let mut heading = Line::of("Host", Role::Heading);
    if model.loader.is_loading(&Query::Doctor) {
        heading = heading.lit("  probing", Role::Busy);
    }
    rows.push(heading);
    if let Some(fault) = model.loader.fault(&Query::Doctor) {
        rows.extend([fault.line(), fault.hint_line()]);
    }
    let Some(doctor) = &model.data.doctor else { return rows };
    for check in &doctor.checks {
        rows.push(
            words::check(check.result).line().pad(10).lit(" ", Role::Text).safe(check.name.clone(), Role::Strong),
        );
        rows.extend(Doc::new().item("          ", check.detail.clone(), Role::Dim).rows(columns));
        if let Some(fix) = &check.fix {
            rows.extend(Doc::new().item("       fix:", fix.clone(), Role::Key).rows(columns));
        }
    }
    rows.extend([Line::new(), Line::of("Sandbox", Role::Heading)]);
    rows.extend(isolation::rows(&doctor.isolation, columns));
    rows.extend([Line::new(), Line::of("Escapes tried in runs on this host", Role::Heading)]);
    for case in &doctor.cases {
        let line = words::case(case.result).line().pad(10).lit(" ", Role::Text);
        rows.push(
            line.safe(case.id.clone(), Role::Strong).pad(15).lit(" ", Role::Text).safe(case.what.clone(), Role::Text),
        );
        rows.extend(Doc::new().item("          ", case.detail.clone(), Role::Dim).rows(columns));
    }
    rows
}

fn daemon(model: &Model, status: &StatusRow) -> Doc {
    let role = match status.role {
        UserRole::Viewer => "viewer",
        UserRole::Operator => "operator",
        UserRole::Approver => "approver",
        UserRole::Admin => "admin",
    };
    let (level, required) = status.isolation;
    let up = when::span(model.now.wall.ms_since(status.started_at));
    let mut doc = Doc::new()
        .head(Line::of("Daemon", Role::Heading))
        .field("version", text(format_args!("{}  pid {}  up {up}", status.version, status.pid)))
        .field("state in", status.state_directory.clone())
        .field("you are", text(format_args!("{} ({role})", status.user)))
        .field("events", text(format_args!("{}", status.seq)))
        .field("projects", text(format_args!("{}", status.projects)))
        .field("runs", text(format_args!("{} of at most {} at once", status.runs_active, status.runs_max)))
        .field("tasks", text(format_args!("{} queued, {} failed", status.tasks_queued, status.tasks_failed)))
        .field_as(
            "isolation",
            text(format_args!("level {level} of 4, {required} required")),
            if level >= required { Role::Good } else { Role::Bad },
        );
    for warning in &status.warnings {
        doc = doc.item("!", warning.clone(), Role::Warn);
    }
    doc.field("client", SafeText::literal(env!("CARGO_PKG_VERSION")))
}
