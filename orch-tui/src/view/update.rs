//! The one place where the state of the UI changes: a message comes in, commands go out.

use super::action::Action;
use super::canvas::text;
use super::edit::Edit;
use super::focus::{Pane, Screen};
use super::input;
use super::log::TimeColumn;
use super::model::{Chosen, Link, Model, Prompt, Sent};
use super::msg::{Cmd, LinkEvent, Loaded, Msg, Query};
use super::overlay::{self, Picker, PickerKind, Viewer, ViewerBody};
use super::rows::StatusRow;
use super::screen::{audit, board, inbox, plan, runs, system};
use super::toast::Fault;
use super::when::{self, Now};
use super::{doc::Doc, layout, submit};
use crate::text::SafeText;
use crate::view::theme::Role;
use orch_proto::id::RunId;
use orch_proto::request::{Accepted, Request};
use orch_proto::view::LogPage;
use orch_proto::{ErrorCode, RpcError};

/// How long after a failed read of a log the next one starts, in milliseconds.
const LOG_AGAIN_MS: u64 = 1_000;

/// Most screens that `-` and `q` can go back through.
const HISTORY_MAX: usize = 20;

/// Takes one message in and says what has to be done.
pub(crate) fn update(model: &mut Model, msg: Msg, now: Now) -> Vec<Cmd> {
    model.now = now;
    let is_input = matches!(msg, Msg::Input(_));
    let mut commands = handle(model, msg);
    model.dirty |= model.toasts.expire(now);
    model.quit_until_ms = model.quit_until_ms.filter(|&until| until > now.mono_ms);
    settle(model);
    // What was typed comes before what time brings: it was typed while the question took no answer.
    if !is_input {
        commands.extend(overlay::arm(model));
    }
    commands.extend(pump(model));
    commands
}

fn handle(model: &mut Model, msg: Msg) -> Vec<Cmd> {
    match msg {
        Msg::Input(input) => {
            model.dirty = true;
            return input::on_input(model, input);
        }
        Msg::Link(event) => {
            model.dirty = true;
            on_link(model, event);
        }
        Msg::Events(page) => {
            let was_silent =
                model.contact.is_some_and(|contact| model.now.mono_ms >= contact.mono_ms + super::model::SILENT_MS);
            model.contact = Some(model.now);
            // Of an outage there is no event.
            let outage_moved = model.data.status.as_ref().is_some_and(|known| known.outage.is_some() != page.outage);
            let any = model.data.take_events(page);
            if any || outage_moved {
                model.loader.touch();
            }
            model.dirty |= was_silent || any && model.screen == Screen::Audit;
        }
        Msg::Loaded(loaded) => on_loaded(model, loaded),
        Msg::Log { run, offset, result } => on_log(model, run, offset, result),
        Msg::Submitted { ticket, result } => {
            model.dirty = true;
            on_submitted(model, ticket, result);
        }
        Msg::Timer => model.dirty = true,
        Msg::Shown => overlay::on_shown(model),
    }
    Vec::new()
}

fn on_link(model: &mut Model, event: LinkEvent) {
    model.logs.following = None;
    match event {
        LinkEvent::Up { status, fresh } => {
            model.link = Link::Up;
            model.contact = Some(model.now);
            if fresh {
                model.data = super::data::Data::default();
                model.logs.clear();
                model.runs = runs::Runs::default();
                model.loader.restart();
                if !model.project_settled || model.options.project.is_none() {
                    (model.project, model.project_settled) = (None, false);
                }
            }
            model.loader.reconnect();
            model.data.status = Some(StatusRow::from(*status));
        }
        LinkEvent::Waiting => model.link = Link::Waiting { since_ms: model.now.mono_ms },
        LinkEvent::Down { tries, pause_ms, error } => {
            let next_try_ms = model.now.mono_ms + pause_ms;
            model.link = Link::Down { tries, next_try_ms, fault: Fault::from(&error) };
        }
    }
}

fn on_loaded(model: &mut Model, loaded: Loaded) {
    if loaded.epoch != model.loader.epoch() {
        return;
    }
    let had_fault = model.loader.fault(&loaded.query).cloned();
    model.loader.finish(&loaded.query, loaded.result.as_ref().err());
    model.dirty |= had_fault.as_ref() != model.loader.fault(&loaded.query);
    match loaded.result {
        Ok(answer) => {
            model.contact = Some(model.now);
            model.dirty |= model.data.take(answer);
            // Screens say that they are loading what was never there.
            model.dirty |= matches!(loaded.query, Query::Doctor | Query::Verify);
            if loaded.query == Query::Projects {
                choose_first_project(model);
            }
        }
        Err(error) if is_said_elsewhere(&error) => {}
        Err(error) => model.toasts.fault(model.now, "read", Fault::from(&error)),
    }
}

/// A broken connection announces itself, and that something is not there yet is said where it would be.
const fn is_said_elsewhere(error: &RpcError) -> bool {
    matches!(error.code, ErrorCode::Unreachable | ErrorCode::NotFound | ErrorCode::Busy | ErrorCode::ShuttingDown)
}

fn on_log(model: &mut Model, run: RunId, offset: u64, result: Result<LogPage, RpcError>) {
    let is_visible = model.visible_log() == Some(run);
    match result {
        Ok(page) => {
            model.contact = Some(model.now);
            let changed = model.logs.push(run, offset, &page);
            model.dirty |= is_visible && changed;
        }
        Err(error) => {
            model.logs.fail(run, Fault::from(&error), model.now.mono_ms + LOG_AGAIN_MS);
            model.dirty |= is_visible;
        }
    }
}

fn on_submitted(model: &mut Model, ticket: u32, result: Result<Accepted, RpcError>) {
    let fault = result.as_ref().err().map(Fault::from);
    overlay::on_submitted(model, ticket, fault.clone());
    model.loader.touch();
    let Some(sent) = model.sent.remove(&ticket) else { return };
    match result {
        Ok(accepted) => {
            let said = sent.done.map_or_else(|| undone(&accepted), |done| noted(done, &accepted));
            let said = if sent.can_be_undone { text(format_args!("{said}; u undoes it")) } else { said };
            model.toasts.good(model.now, said);
        }
        Err(error) => model.toasts.fault(model.now, sent.what, Fault::from(&error)),
    }
}

/// What was done, with what the daemon notes of it.
fn noted(done: SafeText, accepted: &Accepted) -> SafeText {
    match accepted.notes.first() {
        Some(note) => text(format_args!("{done}; {}", SafeText::line(note))),
        None => done,
    }
}

/// What an undo did, in a line.
fn undone(accepted: &Accepted) -> SafeText {
    let (first, more) = match accepted.notes.as_slice() {
        [] => ("it is as it was", 0),
        [first, rest @ ..] => (first.as_str(), rest.len()),
    };
    match more {
        0 => SafeText::line(&format!("undone: {first}")),
        more => SafeText::line(&format!("undone: {first}, and {more} more")),
    }
}

/// With one project there is nothing to choose; with the command line's the choice is made.
fn choose_first_project(model: &mut Model) {
    let Some(projects) = &model.data.projects else { return };
    if model.project.is_some() {
        return;
    }
    let wanted = model.options.project.clone().filter(|_| model.project_settled);
    let index = match &wanted {
        Some(slug) => projects.iter().position(|project| project.slug == *slug),
        None if model.project_settled || projects.len() != 1 => return,
        None => Some(0),
    };
    let Some(index) = index else {
        if let Some(slug) = wanted {
            let error = RpcError::new(ErrorCode::NotFound, format!("there is no project `{slug}`"));
            let fault = Fault::from(&error.hint("choose one with p"));
            model.toasts.fault(model.now, "choose the project", fault);
            // Said once; from here on all projects are shown.
            model.options.project = None;
        }
        return;
    };
    choose_project(model, Some(index));
    model.project_settled = wanted.is_some();
}

/// Shows one project, or all of them.
pub(super) fn choose_project(model: &mut Model, index: Option<usize>) {
    let project = index.and_then(|index| model.data.projects.as_ref()?.get(index));
    let chosen =
        project.map(|project| Chosen { id: project.id, slug: project.slug.clone(), name: project.name.clone() });
    model.project_settled = true;
    if chosen == model.project {
        return;
    }
    model.project = chosen;
    model.data.leave_project();
    model.loader.restart();
    model.board = board::Board::default();
    model.runs = runs::Runs::default();
    model.plan = plan::PlanScreen::default();
}

/// Does an action that is possible now.
pub(super) fn run_action(model: &mut Model, action: Action) -> Vec<Cmd> {
    if matches!(model.pane(), Pane::CardLog | Pane::RunLog) && act_on_log(model, action) {
        return Vec::new();
    }
    match action {
        Action::ToBoard => go(model, Screen::Board),
        Action::ToRuns => {
            model.runs.open = None;
            go(model, Screen::Runs);
        }
        Action::ToInbox => go(model, Screen::Inbox),
        Action::ToPlan => go(model, Screen::Plan),
        Action::ToAudit => go(model, Screen::Audit),
        Action::ToSystem => go(model, Screen::System),
        Action::PreviousScreen => {
            if let Some(screen) = model.history.pop() {
                model.screen = screen;
            }
        }
        Action::Filter => input::open_filter(model),
        Action::Help => model.overlays.push(Picker::open(PickerKind::Help)),
        Action::Palette => model.overlays.push(Picker::open(PickerKind::Palette)),
        Action::Project => model.overlays.push(Picker::open(PickerKind::Projects)),
        Action::Errors => show_errors(model),
        Action::Back => back(model),
        Action::Close => return close(model),
        Action::Refresh => return refresh(model),
        Action::Undo => {
            let sent = Sent { done: None, can_be_undone: false, what: "undo" };
            return submit::send(model, Request::Undo { event: None }, sent).1;
        }
        Action::Repaint => return vec![Cmd::Repaint],
        Action::Suspend => return vec![Cmd::Suspend],
        Action::QuitTwice => return vec![Cmd::Quit],
        _ => return act_on_screen(model, action),
    }
    Vec::new()
}

fn act_on_screen(model: &mut Model, action: Action) -> Vec<Cmd> {
    match model.screen {
        Screen::Board => board::act(model, action),
        Screen::Runs => runs::act(model, action),
        Screen::Inbox => inbox::act(model, action),
        Screen::Plan => plan::act(model, action),
        Screen::Audit => audit::act(model, action),
        Screen::System => system::act(model, action),
    }
}

/// Does an action of the log that has the focus. False: it is none.
fn act_on_log(model: &mut Model, action: Action) -> bool {
    let Some(run) = model.visible_log() else { return false };
    match action {
        Action::Wrap => model.logs.view.wrap = !model.logs.view.wrap,
        Action::TimeColumn => {
            model.logs.view.time = match model.logs.view.time {
                TimeColumn::OfDay => TimeColumn::SinceStart,
                TimeColumn::SinceStart => TimeColumn::Off,
                TimeColumn::Off => TimeColumn::OfDay,
            };
        }
        Action::Search => model.prompt = Some(Prompt::Search(Edit::default())),
        Action::Up
        | Action::Down
        | Action::Top
        | Action::Bottom
        | Action::PageUp
        | Action::PageDown
        | Action::Left
        | Action::Right
        | Action::Follow
        | Action::NextMatch
        | Action::PreviousMatch
        | Action::NextStep
        | Action::PreviousStep => {
            let entry = model.logs.open(run);
            entry.pane.act(&entry.buffer, action);
        }
        _ => return false,
    }
    true
}

fn go(model: &mut Model, screen: Screen) {
    if model.screen == screen {
        return;
    }
    model.history.push(model.screen);
    if model.history.len() > HISTORY_MAX {
        model.history.remove(0);
    }
    model.screen = screen;
}

/// One step back: the message, the search, the filter, the pane, the detail. Never out of the program.
fn back(model: &mut Model) {
    if model.toasts.current().is_some() {
        model.toasts.dismiss();
        return;
    }
    if let Some(run) = model.visible_log()
        && model.logs.get(run).is_some_and(|entry| entry.pane.is_searching())
    {
        model.logs.open(run).pane.clear_search();
        return;
    }
    if model.screen == Screen::Runs && model.runs.open.is_some() {
        runs::act(model, Action::Back);
    } else if model.screen == Screen::Board && model.board.in_log {
        model.board.in_log = false;
    } else {
        model.filters[model.screen as usize].clear();
    }
}

/// Leaves the view; at the root leaves the program.
fn close(model: &mut Model) -> Vec<Cmd> {
    if model.screen == Screen::Runs && model.runs.open.is_some() {
        runs::act(model, Action::Back);
        return Vec::new();
    }
    if let Some(screen) = model.history.pop() {
        model.screen = screen;
        return Vec::new();
    }
    vec![Cmd::Quit]
}

fn refresh(model: &mut Model) -> Vec<Cmd> {
    if model.link != Link::Up {
        return vec![Cmd::ConnectNow];
    }
    for query in model.wanted() {
        model.loader.refetch(&query);
    }
    Vec::new()
}

fn show_errors(model: &mut Model) {
    let mut doc = Doc::new();
    for (at, fault) in model.toasts.faults() {
        doc = doc.field_as("code", SafeText::literal(fault.code.as_str()), Role::Bad);
        doc = doc.field("at", when::time_of_day(at.wall)).field("what", fault.message.clone());
        doc = doc.field_as("hint", fault.hint.clone().unwrap_or_default(), Role::Key);
        doc = doc.field_as("means", SafeText::literal(fault.code.meaning()), Role::Dim).gap();
    }
    if model.toasts.faults().next().is_none() {
        doc = doc.item("", SafeText::literal("no errors so far"), Role::Dim);
    }
    model.overlays.push(Viewer::open(SafeText::literal("errors, newest first"), ViewerBody::Doc(doc)));
}

/// Fits everything that is shown to the data and the room, so that drawing has nothing to decide.
fn settle(model: &mut Model) {
    if let Some(parts) = layout::parts(model) {
        match model.screen {
            Screen::Board => board::settle(model, parts.body),
            Screen::Runs => runs::settle(model, parts.body),
            Screen::Inbox => inbox::settle(model, parts.body),
            Screen::Plan => plan::settle(model, parts.body),
            Screen::Audit => audit::settle(model, parts.body),
            Screen::System => system::settle(model, parts.body),
        }
    }
    overlay::settle(model);
}

/// Asks for what is missing on the screen, and for the log on it.
fn pump(model: &mut Model) -> Vec<Cmd> {
    let (wanted, project) = (model.wanted(), model.project_ref());
    let mut commands = model.loader.pump(&wanted, model.now.mono_ms, project.as_ref());
    if model.link != Link::Up {
        return commands;
    }
    let visible = model.visible_log().filter(|run| {
        model.logs.get(*run).is_some_and(|entry| {
            let may_try = entry.fault.as_ref().is_none_or(|(_, again_ms)| model.now.mono_ms >= *again_ms);
            !entry.buffer.is_ended() && may_try
        })
    });
    if visible != model.logs.following {
        model.logs.following = visible;
        commands.push(match visible.and_then(|run| model.logs.get(run)) {
            Some(entry) => Cmd::Follow { run: entry.run, offset: entry.buffer.next_offset() },
            None => Cmd::StopFollowing,
        });
    }
    commands
}
