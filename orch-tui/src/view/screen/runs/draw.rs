//! How the runs' screen looks.

use orch_proto::view::RunState;
use ratatui::layout::Rect;

use super::state::{Detail, Tab, listed};
use crate::text::SafeText;
use crate::view::canvas::{Canvas, Line, text};
use crate::view::doc::Doc;
use crate::view::layout;
use crate::view::model::Model;
use crate::view::msg::Query;
use crate::view::rows::{RunRow, StepRow, short_name};
use crate::view::screen::{Mark, draw_absence, draw_row, isolation, log_pane};
use crate::view::theme::Role;
use crate::view::when;
use crate::view::words;

/// Draws the table or one run.
pub(crate) fn draw(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    match model.runs.open {
        None => draw_table(model, canvas, body),
        Some(detail) => draw_detail(model, canvas, body, detail),
    }
}

fn draw_table(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    let filter = model.filter();
    let runs = listed(&model.data, &filter);
    let names = name_columns(model, &runs, body);
    let heading = Line::of(" run", Role::Heading).pad(names + 2).lit("task", Role::Heading).pad(names + 10);
    let heading = heading.lit("state", Role::Heading).pad(names + 27).lit("time", Role::Heading).pad(names + 35);
    let heading = heading.lit("what", Role::Heading);
    canvas.put(body, 0, &heading);
    let rows = layout::below(body, 1);
    if runs.is_empty() {
        let empty: &[&str] = match &model.data.runs {
            None => &[],
            Some(all) if !all.is_empty() => &["no run matches the filter; esc clears it"],
            Some(_) => {
                &["no runs yet; they start when a task's turn comes", "the board (1) says what each task waits for"]
            }
        };
        draw_absence(canvas, layout::below(rows, 1), (model, &Query::Runs), empty);
    }
    for (row, run) in (0..rows.height).zip(runs.iter().skip(model.runs.cursor.top())) {
        let mark = Mark::of(model.runs.cursor.key() == Some(run.id), true);
        draw_row(canvas, (rows, row), &table_row(model, run, names), mark);
    }
}

/// Columns for the names of some runs: with one project its name says nothing, of many it may take a quarter.
fn name_columns(model: &Model, runs: &[&RunRow], area: Rect) -> usize {
    let widest = runs.iter().map(|run| shown_name(model, run).width()).max().unwrap_or(0);
    widest.clamp(7, (usize::from(area.width) / 4).max(7))
}

fn shown_name<'a>(model: &Model, run: &'a RunRow) -> &'a SafeText {
    if model.project.is_some() { &run.name } else { &run.full_name }
}

fn table_row(model: &Model, run: &RunRow, names: usize) -> Line {
    let elapsed = run.elapsed_ms(model.now.wall).map_or_else(SafeText::default, when::exact_span);
    let name = short_name(shown_name(model, run), names);
    let line = Line::from_safe(name, Role::Strong).pad(names).lit(" ", Role::Text);
    let line = line.safe(run.task_name.clone(), Role::Text).pad(names + 8);
    let line = line.lit(" ", Role::Text).line(words::run(&run.state).line()).pad(names + 25);
    let line = line.lit(" ", Role::Text).safe(elapsed, Role::Text).pad(names + 33).lit(" ", Role::Text);
    // Of a run that ended well the steps say nothing.
    let line = match run.step().filter(|_| run.state != RunState::Succeeded) {
        Some((index, step)) => line.safe(text(format_args!("{index}/{} {}  ", run.steps.len(), step.name)), Role::Text),
        None => line,
    };
    let line = if run.is_gate { line.lit("gate  ", Role::Key) } else { line };
    let line = if run.attempt > 1 { line.safe(text(format_args!("try {}  ", run.attempt)), Role::Warn) } else { line };
    match &run.failure {
        Some(failure) => line.safe(failure.clone(), Role::Bad),
        None => line.safe(run.title.clone(), Role::Dim),
    }
}

fn draw_detail(model: &Model, canvas: &mut Canvas<'_>, body: Rect, detail: Detail) {
    let (head, rest) = layout::run_detail(body);
    let run = model.selected_run();
    if head.height >= 3 {
        canvas.put(head, 0, &run.map_or_else(Line::new, |run| headline(model, run)));
        canvas.put(head, 1, &run.map_or_else(Line::new, second_line));
    }
    let mut tabs = Line::new();
    for (tab, name) in Tab::ALL {
        let role = if tab == detail.tab { Role::Heading } else { Role::Dim };
        let (open, close) = if tab == detail.tab { ("[", "] ") } else { (" ", "  ") };
        tabs = tabs.lit(open, role).lit(name, role).lit(close, role);
    }
    if detail.tab == Tab::Log {
        tabs = tabs.lit(" ", Role::Text).line(log_pane::state_line(model, detail.run));
    }
    canvas.rule(head, head.height.saturating_sub(1), &tabs);
    if detail.tab == Tab::Log {
        log_pane::draw(model, canvas, rest, detail.run);
        return;
    }
    if run.is_none() {
        draw_absence(canvas, rest, (model, &Query::Run(detail.run)), &[]);
        return;
    }
    let rows = tab_rows(model, detail.tab, usize::from(rest.width));
    for (row, line) in (0..rest.height).zip(rows.iter().skip(detail.scroll.top)) {
        canvas.put(rest, row, line);
    }
}

fn headline(model: &Model, run: &RunRow) -> Line {
    let line =
        Line::from_safe(run.full_name.clone(), Role::Strong).lit("  ", Role::Text).line(words::run(&run.state).line());
    let line = match run.elapsed_ms(model.now.wall) {
        Some(elapsed) => line.lit("  ", Role::Text).safe(when::exact_span(elapsed), Role::Text),
        None => line.lit("  queued ", Role::Dim).safe(when::span(model.now.wall.ms_since(run.queued_at)), Role::Dim),
    };
    let line = line.safe(text(format_args!("  attempt {}", run.attempt)), Role::Dim);
    match &run.failure {
        Some(failure) => line.lit("  ", Role::Text).safe(failure.clone(), Role::Bad),
        None => line,
    }
}

fn second_line(run: &RunRow) -> Line {
    let line =
        Line::from_safe(run.task_name.clone(), Role::Strong).lit(" ", Role::Text).safe(run.title.clone(), Role::Text);
    let line = if run.is_gate { line.lit("  (gate: checks the merged tree)", Role::Key) } else { line };
    line.lit("  ", Role::Text).safe(run.reason.clone(), Role::Dim)
}

/// The rows of a tab that is no log.
pub(super) fn tab_rows(model: &Model, tab: Tab, columns: usize) -> Vec<Line> {
    let Some(run) = model.selected_run() else { return Vec::new() };
    match tab {
        Tab::Log => Vec::new(),
        Tab::Steps => steps(model, run, columns),
        Tab::Sandbox => sandbox(run, columns),
        Tab::Artifacts => artifacts(run),
    }
}

fn steps(model: &Model, run: &RunRow, columns: usize) -> Vec<Line> {
    let mut rows = Vec::new();
    for (index, step) in run.steps.iter().enumerate() {
        let line = Line::from_safe(text(format_args!("{:>2} ", index + 1)), Role::Dim)
            .line(words::step(step.state).line())
            .pad(15);
        let line = line.lit(" ", Role::Text).safe(step_time(model, step), Role::Text).pad(24);
        let exit = step.exit_code.filter(|&code| code != 0).map(|code| text(format_args!("exit {code}  ")));
        let line = line.lit(" ", Role::Text).safe(exit.unwrap_or_default(), Role::Bad);
        rows.push(line.safe(step.name.clone(), Role::Strong));
        rows.extend(Doc::new().item("   $", step.command.clone(), Role::Dim).rows(columns));
    }
    if rows.is_empty() {
        rows.push(Line::of("the run has no steps yet", Role::Dim));
    }
    rows
}

fn step_time(model: &Model, step: &StepRow) -> SafeText {
    step.started_at.map_or_else(SafeText::default, |start| {
        when::exact_span(step.finished_at.unwrap_or(model.now.wall).ms_since(start))
    })
}

fn sandbox(run: &RunRow, columns: usize) -> Vec<Line> {
    let mut rows = given(run, columns);
    match &run.isolation {
        Some(found) => rows.extend(isolation::rows(found, columns)),
        None => rows.push(Line::of("what isolation the run has is measured at its start, inside of it", Role::Dim)),
    }
    rows
}

/// Who does its work, what it is given beyond its workspace, and what it asked of the network.
fn given(run: &RunRow, columns: usize) -> Vec<Line> {
    let mut rows = Doc::new();
    if let Some((agent, model)) = &run.agent {
        rows = rows.item("agent", agent.clone(), Role::Strong).item("model", model.clone(), Role::Text);
    }
    for given in &run.given {
        rows = rows.item("given", given.clone(), Role::Text);
    }
    let mut rows = rows.rows(columns);
    for used in &run.network {
        let times = if used.count == 1 { SafeText::default() } else { text(format_args!("  {} times", used.count)) };
        let line = words::network(used.state).line().pad(10).lit(" ", Role::Text).safe(used.host.clone(), Role::Strong);
        let line = line.lit("  ", Role::Text).safe(used.way.clone(), Role::Dim).lit("  ", Role::Text);
        rows.push(line.safe(used.detail.clone(), Role::Dim).safe(times, Role::Dim));
    }
    if run.network_left_out > 0 {
        let left_out = text(format_args!("and {} more that were not kept one by one", run.network_left_out));
        rows.push(Line::from_safe(left_out, Role::Dim));
    }
    if !rows.is_empty() {
        rows.push(Line::new());
    }
    rows
}

fn artifacts(run: &RunRow) -> Vec<Line> {
    let left_out = run.left_out.iter().map(|line| Line::of("not kept: ", Role::Warn).safe(line.clone(), Role::Text));
    let left_out: Vec<Line> = left_out.collect();
    if run.artifacts.is_empty() && !left_out.is_empty() {
        return left_out;
    }
    if run.artifacts.is_empty() {
        return vec![Line::of("no artifacts; a step declares the files it leaves", Role::Dim)];
    }
    let rows = run.artifacts.iter().map(|artifact| {
        let line = Line::from_safe(text(format_args!("{:>12} B  ", artifact.size_bytes)), Role::Text);
        line.safe(artifact.digest.clone(), Role::Dim).lit("  ", Role::Text).safe(artifact.path.clone(), Role::Strong)
    });
    let save = text(format_args!("save with: orchctl run artifacts {} --save PATH", run.full_name));
    rows.chain(left_out).chain([Line::new(), Line::from_safe(save, Role::Dim)]).collect()
}
