//! What a key that does nothing here does elsewhere, so that no press of it is met with silence.

use super::action::{ACTIONS, Action, Scope, means, valid_in};
use super::canvas::text;
use super::focus::Pane;
use super::key::Key;
use crate::text::SafeText;

/// Says where the key means something and, when the same can be done here, by which key. None: it means nothing at all.
pub(super) fn explain(pane: Pane, key: Key) -> Option<SafeText> {
    let known = ACTIONS.iter().find(|spec| spec.keys.iter().any(|keys| means(keys, key)))?;
    let place = place(known.scope)?;
    let here = valid_in(pane.scopes()).into_iter().find(|spec| Some(spec.action) == counterpart(known.action));
    Some(match here {
        Some(here) => text(format_args!("{key} is for {place}; here {} is to {}", here.keys[0], here.title)),
        None => text(format_args!("{key} is for {place}: {}", known.title)),
    })
}

/// What is the same to a person who looks at a run instead of its task.
const fn counterpart(action: Action) -> Option<Action> {
    match action {
        Action::CancelTask => Some(Action::CancelRun),
        Action::CancelRun => Some(Action::CancelTask),
        _ => None,
    }
}

const fn place(scope: Scope) -> Option<&'static str> {
    Some(match scope {
        Scope::Board => "the board (1)",
        Scope::Runs | Scope::Run => "the runs (2)",
        Scope::Inbox | Scope::Answer => "the inbox (3)",
        Scope::Plan => "the plan (5)",
        Scope::Audit => "the audit (8)",
        Scope::System => "the system (9)",
        Scope::Log => "a run's log",
        Scope::Dossier => "the dossier of a task",
        Scope::Viewer | Scope::List | Scope::Global | Scope::Always => return None,
    })
}
