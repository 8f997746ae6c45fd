//! The action registry: everything a person can do, once. Keymap, help, palette and footer are made from it.
//!
//! Lower-case keys look, upper-case keys change something; only `u` does, too, and takes back what was changed. What an action does is in `update` and the screens; an
//! action that is not possible now says why.
//!
//! **Invariant:** within the scopes that are active together no key sequence hides another (a test walks all of them).

use super::enabled;
use super::key::Key;
use super::model::Model;

/// Something that a person can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    Up,
    Down,
    Top,
    Bottom,
    PageUp,
    PageDown,
    Left,
    Right,
    Open,
    Back,
    Close,
    ToBoard,
    ToRuns,
    ToInbox,
    ToPlan,
    ToAudit,
    ToSystem,
    PreviousScreen,
    NextPane,
    PreviousPane,
    Zoom,
    Filter,
    Project,
    Refresh,
    Help,
    Palette,
    Errors,
    Repaint,
    Suspend,
    QuitTwice,
    ToggleView,
    OpenRun,
    QueueTask,
    HoldTask,
    RetryTask,
    CancelTask,
    CancelRun,
    Say,
    Follow,
    Search,
    NextMatch,
    PreviousMatch,
    Wrap,
    TimeColumn,
    NextStep,
    PreviousStep,
    Diff,
    Approve,
    Deny,
    Answer,
    Verify,
    Doctor,
    Undo,
}

/// Where an action is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// Even under an overlay.
    Always,
    Global,
    List,
    Board,
    Log,
    Runs,
    Run,
    Inbox,
    /// Where an approval is shown.
    Answer,
    Plan,
    Audit,
    System,
    Viewer,
    /// Where all about a task is read.
    Dossier,
}

/// Why an action is not possible now.
pub(crate) type Disabled = &'static str;

/// Decides whether an action is possible.
type Condition = fn(&Model) -> Result<(), Disabled>;

/// One entry of the registry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    pub(crate) action: Action,
    pub(crate) scope: Scope,
    /// Key sequences, the one to show first; keys of a sequence are separated by a space.
    pub(crate) keys: &'static [&'static str],
    /// Stable name, as `task.cancel`.
    pub(crate) name: &'static str,
    /// What it does, for the help.
    pub(crate) title: &'static str,
    /// The word in the footer; empty: not shown there.
    pub(crate) short: &'static str,
    /// The same by `orchctl`, with `{task}`, `{run}`, `{approval}`, `{question}` for what is selected; empty: nothing there.
    pub(crate) cli: &'static str,
    /// What decides whether it is possible; none: it always is.
    condition: Option<Condition>,
}

const fn spec(
    action: Action,
    scope: Scope,
    keys: &'static [&'static str],
    name: &'static str,
    title: &'static str,
) -> Spec {
    Spec { action, scope, keys, name, title, short: "", cli: "", condition: None }
}

impl Spec {
    const fn short(mut self, short: &'static str) -> Self {
        self.short = short;
        self
    }

    const fn cli(mut self, cli: &'static str) -> Self {
        self.cli = cli;
        self
    }

    const fn when(mut self, condition: Condition) -> Self {
        self.condition = Some(condition);
        self
    }

    /// Whether the action is possible now, and if not, why not.
    pub(crate) fn enabled(&self, model: &Model) -> Result<(), Disabled> {
        self.condition.map_or(Ok(()), |condition| condition(model))
    }
}

/// Everything, in the order of the help. Within the footer earlier entries come first.
pub(crate) static ACTIONS: &[Spec] = &[
    // Inbox.
    spec(Action::Approve, Scope::Answer, &["A"], "approval.approve", "approve what is shown, or answer the question")
        .short("approve")
        .cli("approval approve {approval}")
        .when(enabled::approval),
    spec(Action::Answer, Scope::Answer, &["Q"], "question.answer", "answer the question of a run, field by field")
        .short("answer")
        .cli("question answer {question}")
        .when(enabled::answer),
    spec(Action::Deny, Scope::Answer, &["D"], "approval.deny", "deny it, or give no answer, with a reason")
        .short("deny")
        .cli("approval deny {approval} --reason TEXT")
        .when(enabled::deny),
    spec(Action::Diff, Scope::Answer, &["d"], "approval.diff", "show the change as a diff")
        .short("diff")
        .cli("approval diff {approval}")
        .when(enabled::diff),
    // Logs.
    spec(Action::Follow, Scope::Log, &["f"], "log.follow", "follow the newest line").short("follow"),
    spec(Action::Search, Scope::Log, &["/"], "log.search", "search in the log").short("search"),
    spec(Action::NextMatch, Scope::Log, &["n"], "log.next", "go to the next match").when(enabled::search),
    spec(Action::PreviousMatch, Scope::Log, &["N"], "log.previous", "go to the previous match").when(enabled::search),
    spec(Action::Wrap, Scope::Log, &["w"], "log.wrap", "wrap long lines").short("wrap"),
    spec(Action::TimeColumn, Scope::Log, &["t"], "log.time", "show time of day, time since start, or none"),
    spec(Action::PreviousStep, Scope::Log, &["["], "log.step-previous", "go to the step before"),
    spec(Action::NextStep, Scope::Log, &["]"], "log.step-next", "go to the next step"),
    spec(Action::Left, Scope::Log, &["h", "left"], "log.left", "scroll left"),
    spec(Action::Right, Scope::Log, &["l", "right"], "log.right", "scroll right"),
    // Viewer.
    spec(Action::Back, Scope::Viewer, &["esc", "q"], "viewer.close", "close").short("close"),
    spec(Action::Right, Scope::Viewer, &["l", "right"], "viewer.right", "scroll right").short("right"),
    spec(Action::Left, Scope::Viewer, &["h", "left"], "viewer.left", "scroll left").short("left"),
    // Board.
    spec(Action::Open, Scope::Board, &["enter"], "task.open", "show all about the task")
        .short("open")
        .cli("task get {task}")
        .when(enabled::task),
    spec(Action::OpenRun, Scope::Board, &["L"], "task.run", "show the task's run")
        .short("run")
        .cli("run logs {run}")
        .when(enabled::task_run),
    spec(Action::Left, Scope::Board, &["h", "left"], "board.left", "go to the column on the left"),
    spec(Action::Right, Scope::Board, &["l", "right"], "board.right", "go to the column on the right"),
    spec(Action::Follow, Scope::Board, &["f"], "board.follow", "have the cursor go where something runs"),
    spec(Action::ToggleView, Scope::Board, &["v"], "board.view", "change between columns and list").short("view"),
    spec(Action::QueueTask, Scope::Board, &["R"], "task.queue", "put a proposed task into the queue")
        .cli("task queue {task}")
        .when(enabled::queue),
    spec(Action::HoldTask, Scope::Board, &["H"], "task.hold", "hold the task, or release it")
        .cli("task hold {task}")
        .when(enabled::hold),
    spec(Action::RetryTask, Scope::Board, &["T"], "task.retry", "queue a failed task again")
        .cli("task retry {task}")
        .when(enabled::retry),
    spec(Action::CancelTask, Scope::Board, &["X"], "task.cancel", "cancel the task and kill its run")
        .cli("task cancel {task}")
        .when(enabled::cancel_task),
    spec(Action::Say, Scope::Board, &["M"], "task.say", "say something to the agent that works at it, or to the next")
        .cli("task say {task} TEXT")
        .when(enabled::say_to_task),
    spec(
        Action::Say,
        Scope::Dossier,
        &["M"],
        "task.say",
        "say something to the agent that works at it, or to the next",
    )
    .short("say")
    .cli("task say {task} TEXT")
    .when(enabled::say_to_task),
    // Runs.
    spec(Action::Open, Scope::Runs, &["enter"], "run.open", "show the run")
        .short("open")
        .cli("run get {run}")
        .when(enabled::run),
    spec(Action::CancelRun, Scope::Runs, &["K"], "run.cancel", "kill the run")
        .cli("run cancel {run}")
        .when(enabled::cancel_run),
    spec(Action::Say, Scope::Runs, &["M"], "run.say", "say something to the agent of the run, while it works")
        .cli("run say {run} TEXT")
        .when(enabled::say_to_run),
    spec(Action::CancelRun, Scope::Run, &["K"], "run.cancel", "kill the run")
        .cli("run cancel {run}")
        .when(enabled::cancel_run),
    spec(Action::Say, Scope::Run, &["M"], "run.say", "say something to the agent of the run, while it works")
        .cli("run say {run} TEXT")
        .when(enabled::say_to_run),
    // Plan.
    spec(Action::Open, Scope::Plan, &["enter"], "plan.open", "show all about the row").short("open").cli("plan show"),
    // Audit.
    spec(Action::Open, Scope::Audit, &["enter"], "event.open", "show the event").short("open"),
    spec(Action::Follow, Scope::Audit, &["f"], "events.follow", "follow the newest event").short("follow"),
    spec(Action::Verify, Scope::Audit, &["V"], "audit.verify", "verify the hash chain")
        .short("verify")
        .cli("audit verify")
        .when(enabled::connected),
    // System.
    spec(Action::Doctor, Scope::System, &["d"], "system.doctor", "probe the host again")
        .short("doctor")
        .cli("doctor")
        .when(enabled::connected),
    // Inbox, looking.
    spec(Action::Open, Scope::Inbox, &["enter"], "approval.open", "show the whole dossier")
        .short("open")
        .cli("approval get {approval}")
        .when(enabled::any_entry),
    // Lists.
    spec(Action::Down, Scope::List, &["j", "down"], "list.down", "move down"),
    spec(Action::Up, Scope::List, &["k", "up"], "list.up", "move up"),
    spec(Action::Top, Scope::List, &["g g", "home"], "list.top", "go to the first row"),
    spec(Action::Bottom, Scope::List, &["G", "end"], "list.bottom", "go to the last row"),
    spec(Action::PageDown, Scope::List, &["ctrl-d", "pgdn"], "list.page-down", "go a page down"),
    spec(Action::PageUp, Scope::List, &["ctrl-u", "pgup"], "list.page-up", "go a page up"),
    // Everywhere.
    spec(Action::NextPane, Scope::Global, &["tab"], "pane.next", "go to the next pane or tab").short("pane"),
    spec(Action::PreviousPane, Scope::Global, &["s-tab"], "pane.previous", "go to the pane or tab before"),
    spec(Action::Zoom, Scope::Board, &["z"], "pane.zoom", "give the log more room, or less"),
    spec(Action::Filter, Scope::Global, &["/"], "filter", "keep only rows that match").short("filter"),
    spec(Action::ToInbox, Scope::Global, &["a", "3", "g i"], "go.inbox", "go to the inbox"),
    spec(Action::ToBoard, Scope::Global, &["1", "g b"], "go.board", "go to the board"),
    spec(Action::ToRuns, Scope::Global, &["2", "g r"], "go.runs", "go to the runs"),
    spec(Action::ToPlan, Scope::Global, &["5", "g p"], "go.plan", "go to the plan"),
    spec(Action::ToAudit, Scope::Global, &["8", "g a"], "go.audit", "go to the audit"),
    spec(Action::ToSystem, Scope::Global, &["9", "g s"], "go.system", "go to the system"),
    spec(Action::PreviousScreen, Scope::Global, &["-"], "go.previous", "go to the screen before"),
    spec(Action::Project, Scope::Global, &["p"], "project.switch", "switch the project"),
    spec(Action::Refresh, Scope::Global, &["r"], "refresh", "fetch again what is shown, or connect now"),
    spec(Action::Undo, Scope::Global, &["u"], "undo", "take back what you decided last, if nothing was built on it")
        .cli("undo")
        .when(enabled::undo),
    spec(Action::Palette, Scope::Global, &[":"], "palette", "find an action by name"),
    spec(Action::Help, Scope::Global, &["?"], "help", "show what can be done here").short("help"),
    spec(Action::Errors, Scope::Global, &["g e"], "errors", "show past errors"),
    spec(Action::Back, Scope::Global, &["esc"], "back", "clear the filter, or go back"),
    spec(Action::Close, Scope::Global, &["q"], "close", "leave the view; at its root, quit").short("quit"),
    spec(Action::Repaint, Scope::Always, &["ctrl-l"], "repaint", "draw the screen anew"),
    spec(Action::Suspend, Scope::Always, &["ctrl-z"], "suspend", "suspend the program").when(enabled::suspend),
    spec(Action::QuitTwice, Scope::Always, &["ctrl-c"], "quit", "quit, when pressed twice"),
];

/// What a key sequence means in some scopes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lookup {
    Found(&'static Spec),
    /// The beginning of a longer sequence.
    Prefix,
    Nothing,
}

/// Looks a key sequence up, the most specific scope first.
pub(crate) fn look_up(scopes: &[Scope], pressed: &[Key]) -> Lookup {
    let mut prefix = false;
    for scope in scopes {
        for spec in ACTIONS.iter().filter(|spec| spec.scope == *scope) {
            for sequence in spec.keys {
                match compare(sequence, pressed) {
                    Some(true) => return Lookup::Found(spec),
                    Some(false) => prefix = true,
                    None => {}
                }
            }
        }
    }
    if prefix { Lookup::Prefix } else { Lookup::Nothing }
}

/// Specs that are valid in some scopes, without those that a more specific scope hides.
pub(crate) fn valid_in(scopes: &[Scope]) -> Vec<&'static Spec> {
    ACTIONS
        .iter()
        .filter(|spec| {
            let rank = |scope: Scope| scopes.iter().position(|&other| other == scope);
            rank(spec.scope).is_some_and(|own| {
                !ACTIONS
                    .iter()
                    .any(|other| rank(other.scope).is_some_and(|rank| rank < own) && other.keys.contains(&spec.keys[0]))
            })
        })
        .collect()
}

/// Whether a sequence is this one key.
pub(super) fn means(sequence: &str, key: Key) -> bool {
    compare(sequence, &[key]) == Some(true)
}

/// `Some(true)`: the same; `Some(false)`: `pressed` is its beginning.
fn compare(sequence: &str, pressed: &[Key]) -> Option<bool> {
    let mut keys = sequence.split(' ');
    for key in pressed {
        if Key::parse(keys.next()?)? != *key {
            return None;
        }
    }
    Some(keys.next().is_none())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::view::focus::Pane;

    #[test]
    fn every_key_parses_and_every_name_has_one_meaning() {
        let mut names = BTreeMap::new();
        for spec in ACTIONS {
            assert!(!spec.keys.is_empty() && !spec.title.is_empty(), "{}", spec.name);
            for sequence in spec.keys {
                for key in sequence.split(' ') {
                    assert!(Key::parse(key).is_some(), "{key}");
                }
            }
            let known = names.entry(spec.name).or_insert(spec.action);
            assert_eq!(*known, spec.action, "{}", spec.name);
        }
    }

    /// Goal: a key never means two things in one scope, and no sequence starts with a whole other one.
    #[test]
    fn no_key_is_dead_or_ambiguous() {
        for pane in Pane::ALL {
            let scopes = pane.scopes();
            for scope in scopes {
                let mut seen = BTreeSet::new();
                for spec in ACTIONS.iter().filter(|spec| spec.scope == *scope) {
                    for sequence in spec.keys {
                        assert!(seen.insert(*sequence), "`{sequence}` twice in {scope:?}");
                    }
                }
            }
            for spec in valid_in(scopes) {
                let keys: Vec<_> = spec.keys[0].split(' ').map(|key| Key::parse(key).unwrap()).collect();
                for length in 1..keys.len() {
                    assert!(matches!(look_up(scopes, &keys[..length]), Lookup::Prefix), "{}", spec.name);
                }
                match look_up(scopes, &keys) {
                    Lookup::Found(found) => assert_eq!(found.action, spec.action, "{:?} in {pane:?}", spec.keys),
                    other => panic!("{:?} in {pane:?}: {other:?}", spec.keys),
                }
            }
        }
    }

    #[test]
    fn a_footer_has_room_for_the_main_actions_of_each_pane() {
        for pane in Pane::ALL {
            let shown = valid_in(pane.scopes()).into_iter().filter(|spec| !spec.short.is_empty()).count();
            assert!(shown >= 2, "{pane:?}");
        }
    }
}
