//! The whole screen, drawn from the model. Changes nothing.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::action::{ACTIONS, Action, Spec, valid_in};
use super::canvas::{Canvas, Line, split_bottom, text};
use super::focus::{Pane, Screen};
use super::layout::{self, Parts};
use super::model::{Link, Model, Prompt, SILENT_MS, WHICH_KEY_MS};
use super::overlay;
use super::rows::StatusRow;
use super::screen::{audit, board, inbox, plan, runs, system};
use super::theme::Role;
use super::when;
use crate::text::SafeText;
use crate::view::edit::Edit;

/// Most keys that the footer shows.
const FOOTER_KEYS_MAX: usize = 6;

/// Draws the model. Gives the place of the text cursor, if there is one.
pub(crate) fn draw(model: &Model, buffer: &mut Buffer) -> Option<Position> {
    let mut canvas = Canvas { buffer, theme: model.options.theme, unicode: model.options.unicode, cursor: None };
    let Some(parts) = layout::parts(model) else {
        let size = text(format_args!("too small {}x{} ", model.area.width, model.area.height));
        canvas.put(model.area, 0, &Line::from_safe(size, Role::Strong).lit("(q quits)", Role::Text));
        return None;
    };
    canvas.put_bar(parts.status, 0, &status_line(model, parts.status).pad(usize::from(parts.status.width)), Role::Bar);
    canvas.put(parts.tabs, 0, &tab_line(model));
    match model.screen {
        Screen::Board => board::draw(model, &mut canvas, parts.body),
        Screen::Runs => runs::draw(model, &mut canvas, parts.body),
        Screen::Inbox => inbox::draw(model, &mut canvas, parts.body),
        Screen::Plan => plan::draw(model, &mut canvas, parts.body),
        Screen::Audit => audit::draw(model, &mut canvas, parts.body),
        Screen::System => system::draw(model, &mut canvas, parts.body),
    }
    for (row, line) in (0..parts.notice.height).zip(model.notice()) {
        canvas.put(parts.notice, row, &line);
    }
    draw_footer(model, &mut canvas, parts);
    draw_which_key(model, &mut canvas, parts);
    overlay::draw(model, &mut canvas);
    canvas.cursor.filter(|position| model.area.contains(*position))
}

/// Project, runs, queue, approvals and connection, always. Narrow screens lose words, not facts.
fn status_line(model: &Model, area: Rect) -> Line {
    let project = match (&model.project, &model.data.projects) {
        (Some(project), _) => project.name.clone(),
        (None, Some(_)) => SafeText::literal("all projects"),
        (None, None) => SafeText::line(model.options.project.as_deref().unwrap_or_default()),
    };
    let right = connection(model);
    let room = usize::from(area.width).saturating_sub(right.width() + 1);
    let left = Line::of(" orch ", Role::Strong).safe(project.clip((room / 3).max(8)), Role::Strong);
    let Some(status) = &model.data.status else { return left.pad(room).lit(" ", Role::Text).line(right) };
    let is_narrow = area.width < 60;
    // How many of the queue no agent can take, and what the counts are of, is said as fully as there is room for.
    let [long, short] = [" waiting for an agent)", " without agent)"].map(Some);
    let forms = [(long, !is_narrow), (short, !is_narrow), (short, false), (None, !is_narrow), (None, false)];
    let mut lines = forms
        .into_iter()
        .map(|(note, has_words)| left.clone().lit("  ", Role::Text).line(counts(status, is_narrow, (note, has_words))));
    let fits = |line: &Line| line.width() <= room;
    let least = || left.clone().lit("  ", Role::Text).line(counts(status, true, (None, false)));
    let left = lines.find(fits).unwrap_or_else(least);
    left.pad(room).lit(" ", Role::Text).line(right)
}

/// What is under way, what waits, and what went wrong.
fn counts(status: &StatusRow, is_narrow: bool, (agent_note, has_words): (Option<&'static str>, bool)) -> Line {
    let words: [&'static str; 3] = if is_narrow { ["r", "q", "!"] } else { ["run ", "queue ", "!"] };
    let mut line = Line::of(words[0], Role::Text).num(status.runs_active, Role::Text).lit("  ", Role::Text);
    line = line.lit(words[1], Role::Text).num(status.tasks_queued, Role::Text);
    if let Some(note) = agent_note.filter(|_| status.tasks_without_agent > 0) {
        line = line.lit(" (", Role::Text).num(status.tasks_without_agent, Role::Text).lit(note, Role::Text);
    }
    line = line.lit("  ", Role::Text).lit(words[2], Role::Text).num(status.approvals_pending, Role::Text);
    if has_words {
        line = line.lit(if status.approvals_pending == 1 { " approval" } else { " approvals" }, Role::Text);
    }
    if status.questions_pending > 0 {
        line = line.lit("  ?", Role::Text).num(status.questions_pending, Role::Text);
        let words = if status.questions_pending == 1 { " question" } else { " questions" };
        line = if has_words { line.lit(words, Role::Text) } else { line };
    }
    if status.tasks_failed > 0 {
        line = line.lit("  x", Role::Text).num(status.tasks_failed, Role::Text);
        line = if has_words { line.lit(" failed", Role::Text) } else { line };
    }
    line
}

/// State of the connection, with the age of what is shown when it is not fresh.
fn connection(model: &Model) -> Line {
    let age_ms = model.contact.map(|contact| model.now.mono_ms.saturating_sub(contact.mono_ms));
    let age = |line: Line| match age_ms {
        Some(ms) => line.safe(text(format_args!(", data {} old", when::span(ms))), Role::Text),
        None => line,
    };
    match &model.link {
        Link::Connecting => Line::of("connecting ", Role::Text),
        Link::Waiting { .. } => age(Line::of("waiting for orchd", Role::Text)).lit(" ", Role::Text),
        Link::Up if age_ms.is_some_and(|ms| ms >= SILENT_MS) => {
            age(Line::of("orchd silent", Role::Text)).lit(" ", Role::Text)
        }
        Link::Up => match model.data.status.as_ref().and_then(|status| status.outage) {
            Some(true) => Line::of("disk full, nothing begins ", Role::Strong),
            Some(false) => Line::of("state not writable ", Role::Strong),
            None => Line::of("orchd ok ", Role::Text),
        },
        Link::Down { fault, .. } if fault.code == orch_proto::ErrorCode::Protocol => {
            age(Line::of("version mismatch", Role::Text)).lit(" ", Role::Text)
        }
        Link::Down { tries, .. } => {
            age(Line::from_safe(text(format_args!("reconnecting ({tries})")), Role::Text)).lit(" ", Role::Text)
        }
    }
}

fn tab_line(model: &Model) -> Line {
    let waiting = |status: &StatusRow| status.approvals_pending.saturating_add(status.questions_pending);
    let pending = model.data.status.as_ref().map_or(0, waiting);
    let mut line = Line::new();
    for screen in Screen::ALL {
        let (key, name) = screen.tab();
        let is_shown = screen == model.screen;
        let role = if is_shown { Role::Heading } else { Role::Dim };
        line = line.lit(if is_shown { "[" } else { " " }, role).lit(key, Role::Key);
        // Without room for all names the one that matters is kept.
        if is_shown || model.area.width >= 58 {
            line = line.lit(" ", role).lit(name, role);
        }
        if screen == Screen::Inbox && pending > 0 {
            line = line.safe(text(format_args!("({pending})")), Role::Warn);
        }
        line = line.lit(if is_shown { "]" } else { " " }, role);
    }
    let filter = model.filter_text();
    if filter.is_empty() { line } else { line.lit("  filter: ", Role::Warn).safe(SafeText::line(filter), Role::Strong) }
}

fn draw_footer(model: &Model, canvas: &mut Canvas<'_>, parts: Parts) {
    match &model.prompt {
        Some(Prompt::Filter(edit)) => draw_prompt(canvas, parts.footer, "filter: ", edit),
        Some(Prompt::Search(edit)) => draw_prompt(canvas, parts.footer, "search: ", edit),
        None => canvas.put(parts.footer, 0, &footer(model, model.pane(), usize::from(parts.footer.width))),
    }
}

fn draw_prompt(canvas: &mut Canvas<'_>, area: Rect, label: &'static str, edit: &Edit) {
    let columns = usize::from(area.width).saturating_sub(label.len());
    let (shown, column) = edit.shown(columns);
    canvas.put(area, 0, &Line::of(label, Role::Key).safe(shown, Role::Text));
    let x = u16::try_from(label.len() + column).unwrap_or(u16::MAX).saturating_add(area.x);
    canvas.cursor = Some(Position { x: x.min(area.right().saturating_sub(1)), y: area.y });
}

/// The main keys that are valid now, as many as fit. The last place is kept for the help.
pub(crate) fn footer(model: &Model, pane: Pane, columns: usize) -> Line {
    let valid = valid_in(pane.scopes());
    let help = ACTIONS.iter().find(|spec| spec.name == "help");
    let shown = valid
        .iter()
        .copied()
        .filter(|spec| !spec.short.is_empty() && spec.name != "help" && spec.enabled(model).is_ok());
    let mut line = Line::new();
    for spec in shown.take(FOOTER_KEYS_MAX - 1) {
        let next = Line::of(" ", Role::Text).lit(spec.keys[0], Role::Key).lit(" ", Role::Text);
        let next = next.lit(footer_word(model, spec), Role::Text).lit(" ", Role::Text);
        if line.width() + next.width() + 8 > columns {
            break;
        }
        line = line.line(next);
    }
    match help.filter(|_| !matches!(pane, Pane::Viewer | Pane::ApprovalViewer | Pane::TaskViewer)) {
        Some(spec) => {
            line.lit(" ", Role::Text).lit(spec.keys[0], Role::Key).lit(" ", Role::Text).lit(spec.short, Role::Text)
        }
        None => line,
    }
}

/// `q` quits at the root only.
fn footer_word(model: &Model, spec: &Spec) -> &'static str {
    if spec.action == Action::Close && !model.is_at_root() { "back" } else { spec.short }
}

/// What can follow the keys pressed so far, when the next one is a while in coming.
fn draw_which_key(model: &Model, canvas: &mut Canvas<'_>, parts: Parts) {
    if model.pressed.is_empty() || model.now.mono_ms < model.pressed_ms + WHICH_KEY_MS {
        return;
    }
    let begun: Vec<String> = model.pressed.iter().map(ToString::to_string).collect();
    let prefix = format!("{} ", begun.join(" "));
    let mut rows = Vec::new();
    for spec in valid_in(model.pane().scopes()) {
        for keys in spec.keys.iter().filter(|keys| keys.starts_with(&prefix)) {
            rows.push(Line::of("  ", Role::Text).lit(keys, Role::Key).pad(8).lit(spec.title, Role::Text));
        }
    }
    let height = u16::try_from(rows.len() + 2).unwrap_or(u16::MAX);
    let inside = canvas.boxed(split_bottom(parts.body, height).1, &Line::of("continue with", Role::Strong));
    for (row, line) in (0..inside.height).zip(&rows) {
        canvas.put(inside, row, line);
    }
}
