//! The plan: its graph by levels with the critical path marked, the requirements it serves, its versions.

use ratatui::layout::Rect;

use crate::text::SafeText;
use crate::view::action::Action;
use crate::view::canvas::{Canvas, Line, text};
use crate::view::cursor::Cursor;
use crate::view::doc::Doc;
use crate::view::filter::Filter;
use crate::view::focus::Pane;
use crate::view::layout;
use crate::view::model::Model;
use crate::view::msg::{Cmd, Query};
use crate::view::overlay::{Viewer, ViewerBody};
use crate::view::rows::{PlanRow, PlanTask, RequirementRow, RequirementsDoc};
use crate::view::screen::{Mark, draw_absence, draw_row};
use crate::view::theme::Role;
use crate::view::toast::count;
use crate::view::when;
use crate::view::words;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Tab {
    #[default]
    Graph,
    Requirements,
    Versions,
}

/// State of the screen. Rows are told apart by their place in a version, which never changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct PlanScreen {
    tab: Tab,
    cursors: [Cursor<(u32, usize)>; 3],
}

impl PlanScreen {
    pub(crate) const fn pane(&self) -> Pane {
        match self.tab {
            Tab::Graph => Pane::Graph,
            Tab::Requirements => Pane::Requirements,
            Tab::Versions => Pane::Versions,
        }
    }

    const fn cursor(&self) -> &Cursor<(u32, usize)> {
        &self.cursors[self.tab as usize]
    }
}

fn plan(model: &Model) -> Option<&PlanRow> {
    model.data.plans.as_ref()?.first()
}

fn requirements(model: &Model) -> Option<&RequirementsDoc> {
    model.data.requirements.as_ref()?.as_ref()
}

fn tasks<'a>(plan: &'a PlanRow, filter: &Filter) -> Vec<(usize, &'a PlanTask)> {
    plan.tasks.iter().enumerate().filter(|(_, task)| filter.keeps(*task)).collect()
}

fn served<'a>(doc: &'a RequirementsDoc, filter: &Filter) -> Vec<(usize, &'a RequirementRow)> {
    doc.rows.iter().enumerate().filter(|(_, row)| filter.keeps(*row)).collect()
}

/// Keys of the rows of a tab.
fn keys(model: &Model, tab: Tab) -> Vec<(u32, usize)> {
    let filter = model.filter();
    match tab {
        Tab::Graph => plan(model).map_or_else(Vec::new, |plan| {
            tasks(plan, &filter).iter().map(|(index, _)| (plan.version, *index)).collect()
        }),
        Tab::Requirements => requirements(model)
            .map_or_else(Vec::new, |doc| served(doc, &filter).iter().map(|(index, _)| (doc.version, *index)).collect()),
        Tab::Versions => model.data.plans.iter().flatten().map(|plan| (plan.version, 0)).collect(),
    }
}

/// Columns of a task's name with its mark, of its state and of what it needs.
const NAME_COLUMNS: usize = 10;
const STATE_COLUMNS: usize = 12;
const NEEDS_COLUMNS: usize = 14;

/// Rows of headings above the list.
const HEAD_ROWS: u16 = 3;

/// Fits the screen to the data and the room.
pub(crate) fn settle(model: &mut Model, body: Rect) {
    let height = usize::from(layout::below(body, HEAD_ROWS).height);
    for (index, tab) in [Tab::Graph, Tab::Requirements, Tab::Versions].into_iter().enumerate() {
        let keys = keys(model, tab);
        model.plan.cursors[index].settle(&keys, height);
    }
}

/// Does an action of the screen.
pub(crate) fn act(model: &mut Model, action: Action) -> Vec<Cmd> {
    match action {
        Action::NextPane => model.plan.tab = next(model.plan.tab),
        Action::PreviousPane => model.plan.tab = next(next(model.plan.tab)),
        Action::Open => {
            if let Some((title, doc)) = detail(model) {
                model.overlays.push(Viewer::open(title, ViewerBody::Doc(doc)));
            }
        }
        _ => {
            let keys = keys(model, model.plan.tab);
            model.plan.cursors[model.plan.tab as usize].act(&keys, action);
        }
    }
    Vec::new()
}

const fn next(tab: Tab) -> Tab {
    match tab {
        Tab::Graph => Tab::Requirements,
        Tab::Requirements => Tab::Versions,
        Tab::Versions => Tab::Graph,
    }
}

/// Draws the screen.
pub(crate) fn draw(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    if model.project.is_none() {
        let empty: &[&str] =
            if model.data.projects.is_some() { &["a plan belongs to one project: choose it with p"] } else { &[] };
        draw_absence(canvas, layout::below(body, 1), (model, &Query::Projects), empty);
        return;
    }
    let (area, side) = layout::plan(body);
    let mut tabs = Line::new();
    for (tab, name) in [(Tab::Graph, "Graph"), (Tab::Requirements, "Requirements"), (Tab::Versions, "Versions")] {
        let is_shown = tab == model.plan.tab;
        let role = if is_shown { Role::Heading } else { Role::Dim };
        tabs = tabs
            .lit(if is_shown { "[" } else { " " }, role)
            .lit(name, role)
            .lit(if is_shown { "] " } else { "  " }, role);
    }
    canvas.put(area, 0, &tabs);
    let list = layout::below(area, HEAD_ROWS);
    match model.plan.tab {
        Tab::Graph => draw_graph(model, canvas, (area, list)),
        Tab::Requirements => draw_requirements(model, canvas, (area, list)),
        Tab::Versions => draw_versions(model, canvas, list),
    }
    if let (Some(side), Some((title, doc))) = (side, detail(model)) {
        canvas.divider(side.x.saturating_sub(1), body);
        canvas.put(side, 0, &Line::from_safe(title, Role::Strong));
        for (row, line) in (2..side.height).zip(doc.rows(usize::from(side.width))) {
            canvas.put(side, row, &line);
        }
    }
}

fn draw_graph(model: &Model, canvas: &mut Canvas<'_>, (area, list): (Rect, Rect)) {
    let Some(plan) = plan(model) else {
        let loaded = model.data.plans.is_some();
        let empty: &[&str] = if loaded {
            &["no plan yet; approved requirements are planned with:", "  orchctl plan propose"]
        } else {
            &[]
        };
        draw_absence(canvas, list, (model, &Query::Plans), empty);
        return;
    };
    let (low, high) = plan.critical_minutes;
    let summary = Line::from_safe(text(format_args!("v{} ", plan.version)), Role::Strong)
        .line(words::document(plan.state).line())
        .lit("  ", Role::Text)
        .safe(count(plan.tasks.len(), "task"), Role::Text)
        .safe(text(format_args!(", at most {} at once", plan.parallel_max)), Role::Text);
    let summary = match &plan.eta {
        Some(eta) => summary.lit(", eta ", Role::Text).safe(eta.clone(), Role::Strong),
        None => summary.safe(text(format_args!(", {low}-{high} min")), Role::Text),
    };
    let summary = if plan.warnings.is_empty() {
        summary
    } else {
        summary.lit("  ", Role::Text).safe(count(plan.warnings.len(), "warning"), Role::Warn)
    };
    canvas.put(area, 1, &summary);
    canvas.put(area, 2, &Line::of("* critical path: ", Role::Warn).safe(plan.critical_path.clone(), Role::Text));
    let tasks = tasks(plan, &model.filter());
    let cursor = model.plan.cursor();
    let columns = usize::from(list.width).saturating_sub(7);
    let mut level = None;
    for (row, (index, task)) in (0..list.height).zip(tasks.iter().skip(cursor.top())) {
        let front = if level == Some(task.level) { Line::new() } else { level_mark(&tasks, task.level) };
        level = Some(task.level);
        let mark = Mark::of(cursor.key() == Some((plan.version, *index)), true);
        draw_row(canvas, (list, row), &front.pad(6).line(task_line(task, columns)), mark);
    }
}

/// `2 x3`: the level and how many tasks of it can run at once.
fn level_mark(tasks: &[(usize, &PlanTask)], level: u32) -> Line {
    let beside = tasks.iter().filter(|(_, other)| other.level == level).count();
    let line = Line::from_safe(text(format_args!("{level}")), Role::Heading);
    if beside > 1 { line.safe(text(format_args!(" x{beside}")), Role::Dim) } else { line }
}

fn task_line(task: &PlanTask, columns: usize) -> Line {
    let titles = columns.saturating_sub(NAME_COLUMNS + STATE_COLUMNS + NEEDS_COLUMNS).clamp(16, 60);
    let mark = if task.critical { Line::of("* ", Role::Warn) } else { Line::of("  ", Role::Text) };
    let name = task.task.as_ref().unwrap_or(&task.key);
    let line = mark.safe(name.clone(), Role::Strong).pad(NAME_COLUMNS - 1).lit(" ", Role::Text);
    let line = if task.is_added { line.lit("+new ", Role::Good) } else { line };
    let line = line.safe(task.title.clone(), Role::Text).pad(NAME_COLUMNS + titles - 1).lit(" ", Role::Text);
    let line = match task.state {
        Some(state) => line.line(words::task_state(state).line()),
        None => line.safe(text(format_args!("{}-{} min", task.estimate_minutes.0, task.estimate_minutes.1)), Role::Dim),
    };
    let line = line.pad(NAME_COLUMNS + titles + STATE_COLUMNS - 1).lit(" ", Role::Text);
    if task.needs.is_empty() { line } else { line.lit("< ", Role::Dim).safe(task.needs.clone(), Role::Dim) }
}

fn draw_requirements(model: &Model, canvas: &mut Canvas<'_>, (area, list): (Rect, Rect)) {
    let Some(doc) = requirements(model) else {
        let loaded = model.data.requirements.is_some();
        let empty: &[&str] = if loaded {
            &[
                "no requirements yet; they are derived from a Vision:",
                "  orchctl vision submit FILE",
                "  orchctl req propose",
            ]
        } else {
            &[]
        };
        draw_absence(canvas, list, (model, &Query::Requirements), empty);
        return;
    };
    let summary = Line::from_safe(text(format_args!("v{} ", doc.version)), Role::Strong)
        .line(words::document(doc.state).line())
        .lit("  ", Role::Text)
        .safe(count(doc.rows.len(), "requirement"), Role::Text)
        .safe(text(format_args!(" from Vision v{}", doc.vision_version)), Role::Dim);
    let summary = if doc.open_questions > 0 {
        summary.lit("  ", Role::Text).safe(count(doc.open_questions, "open question"), Role::Warn)
    } else {
        summary
    };
    canvas.put(area, 1, &summary);
    canvas.put(area, 2, &Line::from_safe(doc.title.clone(), Role::Text));
    let cursor = model.plan.cursor();
    for (row, (index, requirement)) in (0..list.height).zip(served(doc, &model.filter()).iter().skip(cursor.top())) {
        let line = Line::from_safe(requirement.key.clone(), Role::Strong).pad(9).lit(" ", Role::Text);
        let line = line
            .safe(requirement.kind.clone(), Role::Dim)
            .pad(24)
            .lit(" ", Role::Text)
            .safe(requirement.title.clone(), Role::Text);
        draw_row(canvas, (list, row), &line, Mark::of(cursor.key() == Some((doc.version, *index)), true));
    }
}

fn draw_versions(model: &Model, canvas: &mut Canvas<'_>, list: Rect) {
    let Some(plans) = &model.data.plans else {
        draw_absence(canvas, list, (model, &Query::Plans), &[]);
        return;
    };
    if plans.is_empty() {
        canvas.put(list, 0, &Line::of("no versions yet", Role::Dim));
    }
    let cursor = model.plan.cursor();
    for (row, plan) in (0..list.height).zip(plans.iter().skip(cursor.top())) {
        let line = Line::from_safe(text(format_args!("v{}", plan.version)), Role::Strong).pad(5);
        let line = line.line(words::document(plan.state).line()).pad(19);
        let line = line
            .safe(text(format_args!("+{} -{} ={}", plan.added, plan.dropped_count, plan.kept)), Role::Text)
            .pad(33)
            .safe(text(format_args!("{} ago ", when::span(model.now.wall.ms_since(plan.created_at)))), Role::Dim)
            .safe(plan.created_by.clone(), Role::Text)
            .lit("  ", Role::Text)
            .safe(plan.reason.clone(), Role::Dim);
        draw_row(canvas, (list, row), &line, Mark::of(cursor.key() == Some((plan.version, 0)), true));
    }
}

/// All that is known of the selected row.
fn detail(model: &Model) -> Option<(SafeText, Doc)> {
    let (version, index) = model.plan.cursor().key()?;
    match model.plan.tab {
        Tab::Graph => plan(model)?.tasks.get(index).map(task_detail),
        Tab::Requirements => requirements(model)?.rows.get(index).map(requirement_detail),
        Tab::Versions => model.data.plans.iter().flatten().find(|plan| plan.version == version).map(version_detail),
    }
}

fn task_detail(task: &PlanTask) -> (SafeText, Doc) {
    let (low, high) = task.estimate_minutes;
    let doc = Doc::new()
        .field("task", task.task.clone().unwrap_or_default())
        .field("work", task.work.clone())
        .field("needs", task.needs.clone())
        .field("serves", task.requirements.clone())
        .field("estimate", text(format_args!("{low}-{high} min")))
        .field("eta", task.eta.clone().unwrap_or_default())
        .field_as("risk", task.risk.clone().unwrap_or_default(), Role::Warn)
        .field_as(
            "critical",
            SafeText::literal(if task.critical { "lies on the critical path" } else { "" }),
            Role::Warn,
        )
        .list("Is done when", &task.acceptance);
    (text(format_args!("{}  {}", task.key, task.title)), doc)
}

fn requirement_detail(requirement: &RequirementRow) -> (SafeText, Doc) {
    let lines = requirement.lines.map(|(first, last)| text(format_args!("{first}-{last} of the Vision")));
    let doc = Doc::new()
        .field("kind", requirement.kind.clone())
        .field("group", requirement.group.clone().unwrap_or_default())
        .field("lines", lines.unwrap_or_else(|| SafeText::literal("added by a person")))
        .gap()
        .item("", requirement.text.clone(), Role::Text)
        .list("Accepted when", &requirement.acceptance);
    (text(format_args!("{}  {}", requirement.key, requirement.title)), doc)
}

fn version_detail(plan: &PlanRow) -> (SafeText, Doc) {
    let doc = Doc::new()
        .head(words::document(plan.state).line())
        .field("why", plan.reason.clone())
        .field("made by", plan.created_by.clone())
        .field("serves", text(format_args!("requirements v{}", plan.requirements_version)))
        .field("blueprint", plan.blueprint.clone().unwrap_or_default())
        .field("tasks", text(format_args!("{} added, {} dropped, {} kept", plan.added, plan.dropped_count, plan.kept)))
        .field("dropped", plan.dropped.clone())
        .field("critical", plan.critical_path.clone())
        .list("When it will be done", &plan.eta_lines)
        .list("Warnings", &plan.warnings);
    (text(format_args!("plan v{}", plan.version)), doc)
}
