//! From a press to an action: overlays first, then a line being typed, then the keymap of the pane.

use super::action::{Lookup, look_up};
use super::edit::Edit;
use super::elsewhere;
use super::enabled;
use super::key::{Code, Input, Key};
use super::model::{Model, Prompt};
use super::msg::Cmd;
use super::overlay;
use super::update::run_action;

/// How long a second ctrl-c has to come within, in milliseconds.
const QUIT_MS: u64 = 2_000;

/// Handles what came from the terminal.
pub(super) fn on_input(model: &mut Model, input: Input) -> Vec<Cmd> {
    match input {
        Input::Resize { columns, rows } => {
            (model.area.width, model.area.height) = (columns, rows);
            Vec::new()
        }
        Input::Paste(text) => {
            on_paste(model, &text);
            Vec::new()
        }
        Input::Key(key) => on_key(model, key),
    }
}

fn on_paste(model: &mut Model, text: &str) {
    if !model.overlays.is_empty() {
        overlay::on_paste(model, text);
    } else if let Some(Prompt::Filter(edit) | Prompt::Search(edit)) = &mut model.prompt {
        edit.paste(text);
        apply_filter(model);
    }
}

fn on_key(model: &mut Model, key: Key) -> Vec<Cmd> {
    if key.ctrl
        && let Some(commands) = on_control(model, key)
    {
        return commands;
    }
    if super::layout::parts(model).is_none() {
        // Nothing of what keys would do can be seen.
        return if key.typed() == Some('q') { vec![Cmd::Quit] } else { Vec::new() };
    }
    if !model.overlays.is_empty() {
        return overlay::on_key(model, key);
    }
    if let Some(prompt) = model.prompt.take() {
        on_prompt_key(model, prompt, key);
        return Vec::new();
    }
    if model.pressed.is_empty() {
        model.pressed_ms = model.now.mono_ms;
    }
    model.pressed.push(key);
    match look_up(model.pane().scopes(), &model.pressed) {
        Lookup::Prefix => Vec::new(),
        Lookup::Nothing => {
            let is_alone = model.pressed.len() == 1;
            model.pressed.clear();
            if let Some(said) = elsewhere::explain(model.pane(), key).filter(|_| is_alone) {
                model.toasts.refuse_text(model.now, said);
            }
            Vec::new()
        }
        Lookup::Found(spec) => {
            model.pressed.clear();
            match spec.enabled(model) {
                Ok(()) => run_action(model, spec.action),
                Err(why) => {
                    model.toasts.refuse(model.now, why);
                    Vec::new()
                }
            }
        }
    }
}

/// Keys that work wherever the focus is.
fn on_control(model: &mut Model, key: Key) -> Option<Vec<Cmd>> {
    match key.code {
        Code::Char('c') => {
            if model.quit_until_ms.is_some_and(|until| model.now.mono_ms < until) {
                return Some(vec![Cmd::Quit]);
            }
            model.quit_until_ms = Some(model.now.mono_ms + QUIT_MS);
            model.toasts.refuse(model.now, "ctrl-c again quits; runs go on without this program");
            Some(Vec::new())
        }
        Code::Char('l') => Some(vec![Cmd::Repaint]),
        Code::Char('z') => Some(match enabled::suspend(model) {
            Ok(()) => vec![Cmd::Suspend],
            Err(why) => {
                model.toasts.refuse(model.now, why);
                Vec::new()
            }
        }),
        _ => None,
    }
}

/// While a line is typed every key is text, but those that end it.
fn on_prompt_key(model: &mut Model, prompt: Prompt, key: Key) {
    match (prompt, key.code) {
        (Prompt::Filter(_), Code::Esc) => model.filters[model.screen as usize].clear(),
        (Prompt::Filter(edit), Code::Enter) => edit.text().clone_into(&mut model.filters[model.screen as usize]),
        (Prompt::Search(_), Code::Esc) => with_log(model, |entry| entry.pane.clear_search()),
        (Prompt::Search(edit), Code::Enter) => {
            with_log(model, |entry| entry.pane.search(&entry.buffer, edit.text()));
        }
        (Prompt::Filter(mut edit), _) => {
            edit.on_key(key);
            model.prompt = Some(Prompt::Filter(edit));
            apply_filter(model);
        }
        (Prompt::Search(mut edit), _) => {
            edit.on_key(key);
            model.prompt = Some(Prompt::Search(edit));
        }
    }
}

/// A filter works while it is typed.
fn apply_filter(model: &mut Model) {
    if let Some(Prompt::Filter(edit)) = &model.prompt {
        edit.text().clone_into(&mut model.filters[model.screen as usize]);
    }
}

/// Opens the line in which a filter is typed.
pub(super) fn open_filter(model: &mut Model) {
    model.prompt = Some(Prompt::Filter(Edit::with_text(model.filter_text())));
}

fn with_log(model: &mut Model, change: impl FnOnce(&mut super::log::LogEntry)) {
    if let Some(run) = model.visible_log() {
        change(model.logs.open(run));
    }
}
