//! The whole state of the UI. Changed by `update` only.

use std::collections::BTreeMap;

use orch_proto::Ref;
use orch_proto::id::{ProjectId, RunId, TaskId};
use ratatui::layout::Rect;

use super::canvas::{Line, text};
use super::data::Data;
use super::edit::Edit;
use super::filter::Filter;
use super::focus::{Pane, Screen};
use super::key::Key;
use super::loader::Loader;
use super::log::Logs;
use super::msg::Query;
use super::overlay::{Overlay, Unsent};
use super::rows::{ApprovalRow, QuestionRow, RunRow, TaskRow};
use super::screen::inbox::{Entry, Inbox};
use super::screen::{audit::Audit, board::Board, plan::PlanScreen, runs::Runs, system::System};
use super::theme::{Role, Theme};
use super::toast::{Fault, Toasts};
use super::when::{self, Now};
use crate::text::SafeText;

/// What does not change while the program runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) theme: Theme,
    /// Box characters may be used.
    pub(crate) unicode: bool,
    /// Slug of the project to begin with.
    pub(crate) project: Option<String>,
    /// A shell would have the program continue after it was suspended.
    pub(crate) can_suspend: bool,
}

/// The connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Link {
    #[default]
    Connecting,
    /// Connected since then, in the time of [`Now::mono_ms`], but the daemon has not said anything yet.
    Waiting {
        since_ms: u64,
    },
    Up,
    /// It was lost or never there; another try comes at `next_try_ms` of [`Now::mono_ms`].
    Down {
        tries: u32,
        next_try_ms: u64,
        fault: Fault,
    },
}

/// The project that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) id: ProjectId,
    pub(crate) slug: String,
    pub(crate) name: SafeText,
}

/// What the line at the bottom is being typed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Prompt {
    Filter(Edit),
    Search(Edit),
}

/// A request that was sent and not answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// What to say when it is done, as `approved A-3`; nothing: what the daemon says of it.
    pub(crate) done: Option<SafeText>,
    /// It can be taken back as long as nothing begins because of it, which is said, too.
    pub(crate) can_be_undone: bool,
    /// What to say when it is not, as `approve`.
    pub(crate) what: &'static str,
}

/// The state of the UI.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) options: Options,
    pub(crate) now: Now,
    /// The whole screen.
    pub(crate) area: Rect,
    pub(crate) link: Link,
    /// When the daemon last said anything.
    pub(crate) contact: Option<Now>,
    /// None: all projects.
    pub(crate) project: Option<Chosen>,
    /// A person or the command line has chosen, so nothing is chosen for them.
    pub(crate) project_settled: bool,
    pub(crate) data: Data,
    pub(crate) loader: Loader,
    pub(crate) logs: Logs,
    pub(crate) toasts: Toasts,
    pub(crate) screen: Screen,
    pub(crate) history: Vec<Screen>,
    pub(crate) board: Board,
    pub(crate) runs: Runs,
    pub(crate) inbox: Inbox,
    pub(crate) plan: PlanScreen,
    pub(crate) audit: Audit,
    pub(crate) system: System,
    /// The filter of each screen, in the order of [`Screen::ALL`].
    pub(crate) filters: [String; 6],
    pub(crate) prompt: Option<Prompt>,
    pub(crate) overlays: Vec<Overlay>,
    /// A message that was begun.
    pub(crate) unsent: Option<Unsent>,
    /// The beginning of a key sequence, and when it began.
    pub(crate) pressed: Vec<Key>,
    pub(crate) pressed_ms: u64,
    pub(crate) last_ticket: u32,
    pub(crate) sent: BTreeMap<u32, Sent>,
    /// Until when a second ctrl-c quits.
    pub(crate) quit_until_ms: Option<u64>,
    /// Something may look different than on the last frame.
    pub(crate) dirty: bool,
}

impl Model {
    /// A model before its first frame.
    pub(crate) fn new(options: Options, (columns, rows): (u16, u16), now: Now) -> Self {
        let project_settled = options.project.is_some();
        let area = Rect { x: 0, y: 0, width: columns, height: rows };
        Self { options, now, area, project_settled, dirty: true, ..Self::default() }
    }

    /// The pane that has the focus, below any overlay.
    pub(crate) fn pane(&self) -> Pane {
        match self.screen {
            Screen::Board => self.board.pane(),
            Screen::Runs => self.runs.pane(),
            Screen::Inbox => self.inbox.pane(),
            Screen::Plan => self.plan.pane(),
            Screen::Audit => Pane::Events,
            Screen::System => Pane::System,
        }
    }

    /// The filter of the screen that is shown.
    pub(crate) fn filter(&self) -> Filter {
        Filter::parse(self.filter_text())
    }

    pub(crate) fn filter_text(&self) -> &str {
        &self.filters[self.screen as usize]
    }

    /// The project to restrict questions to.
    pub(crate) fn project_ref(&self) -> Option<Ref> {
        self.project.as_ref().map(|project| Ref(project.id.to_string()))
    }

    /// The task that the board's cursor stands on, while the board is shown.
    pub(crate) fn selected_task(&self) -> Option<&TaskRow> {
        self.task((self.screen == Screen::Board).then(|| self.board.selected()).flatten()?)
    }

    /// A task that is known.
    pub(crate) fn task(&self, id: TaskId) -> Option<&TaskRow> {
        self.data.tasks.as_ref()?.iter().find(|task| task.id == id)
    }

    /// The task that something is said to: the one that is read about, else the one that the board's cursor stands on.
    pub(crate) fn addressed_task(&self) -> Option<&TaskRow> {
        match self.overlays.iter().rev().find_map(Overlay::task) {
            Some(id) => self.task(id),
            None => self.selected_task(),
        }
    }

    /// The run whose detail is shown, or that the cursor of the list stands on.
    pub(crate) fn selected_run(&self) -> Option<&RunRow> {
        self.run((self.screen == Screen::Runs).then(|| self.runs.selected()).flatten()?)
    }

    /// A run that is known, as newly as it is.
    pub(crate) fn run(&self, id: RunId) -> Option<&RunRow> {
        let detail = self.data.run.as_ref().filter(|run| run.id == id);
        detail.or_else(|| self.data.runs.as_ref()?.iter().find(|run| run.id == id))
    }

    /// What the inbox's cursor stands on, while the inbox is shown.
    pub(crate) fn selected_entry(&self) -> Option<Entry> {
        (self.screen == Screen::Inbox).then(|| self.inbox.cursor.key()).flatten()
    }

    /// That, if it is an approval.
    pub(crate) fn selected_approval(&self) -> Option<&ApprovalRow> {
        let Entry::Approval(id) = self.selected_entry()? else { return None };
        self.data.approvals.as_ref()?.iter().find(|approval| approval.id == id)
    }

    /// That, if it is a question of a run.
    pub(crate) fn selected_question(&self) -> Option<&QuestionRow> {
        let Entry::Question(id) = self.selected_entry()? else { return None };
        self.data.questions.as_ref()?.iter().find(|question| question.id == id)
    }

    /// The run whose log is on the screen.
    pub(crate) fn visible_log(&self) -> Option<RunId> {
        let parts = super::layout::parts(self)?;
        match self.screen {
            Screen::Board => {
                super::layout::board(self, parts.body).1?;
                self.selected_task()?.run
            }
            Screen::Runs => self.runs.visible_log(),
            Screen::Inbox | Screen::Plan | Screen::Audit | Screen::System => None,
        }
    }

    /// Whether a question waits to be drawn before it can take an answer.
    pub(crate) fn has_unseen_question(&self) -> bool {
        self.overlays.last().is_some_and(Overlay::is_unseen) && super::layout::parts(self).is_some()
    }

    /// What has to be known for what is on the screen.
    pub(crate) fn wanted(&self) -> Vec<Query> {
        if !matches!(self.link, Link::Up) {
            return Vec::new();
        }
        let mut wanted = vec![Query::Status, Query::Projects];
        match self.screen {
            Screen::Board => wanted.push(Query::Tasks),
            Screen::Runs => wanted.push(self.runs.detail().map_or(Query::Runs, Query::Run)),
            Screen::Inbox => wanted.extend([Query::Approvals, Query::Questions]),
            Screen::Plan if self.project.is_some() => wanted.extend([Query::Plans, Query::Requirements]),
            Screen::Plan => {}
            Screen::Audit => wanted.extend(self.audit.verify_asked.then_some(Query::Verify)),
            Screen::System => wanted.push(Query::Doctor),
        }
        wanted.extend(self.overlays.iter().filter_map(Overlay::query));
        wanted
    }

    /// The lines above the footer: a message, else what is wrong with the connection.
    pub(crate) fn notice(&self) -> Vec<Line> {
        if let Some(toast) = self.toasts.current() {
            return toast.to_vec();
        }
        if let Link::Waiting { since_ms } = self.link {
            let waited = when::span(self.now.mono_ms.saturating_sub(since_ms));
            let said =
                text(format_args!("connected; orchd has said nothing for {waited}: it starts, or the host is busy"));
            return vec![Line::of("- ", Role::Warn).safe(said, Role::Text)];
        }
        let Link::Down { next_try_ms, fault, .. } = &self.link else { return Vec::new() };
        let left = when::span(next_try_ms.saturating_sub(self.now.mono_ms) + 999);
        let again = Line::from_safe(text(format_args!("again in {left}, r now  ")), Role::Dim);
        vec![fault.line(), again.line(fault.hint_line())]
    }

    /// Whether leaving the view leaves the program.
    pub(crate) fn is_at_root(&self) -> bool {
        let in_detail = self.screen == Screen::Runs && self.runs.detail().is_some();
        !in_detail && self.history.is_empty()
    }

    /// When something on the screen changes by time alone, in the time of [`Now::mono_ms`].
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        let now = self.now.mono_ms;
        let second = (now / 1_000 + 1) * 1_000;
        let silent = self.contact.map(|contact| contact.mono_ms + SILENT_MS);
        let dues = [
            self.toasts.until_ms(),
            self.quit_until_ms,
            (!self.pressed.is_empty()).then_some(self.pressed_ms + WHICH_KEY_MS).filter(|&due| due > now),
            matches!(self.link, Link::Down { .. } | Link::Waiting { .. }).then_some(second),
            silent.filter(|_| self.link == Link::Up).map(|due| if due > now { due } else { second }),
            self.ticks().then_some(second),
            (self.link == Link::Up).then(|| self.loader.due_ms()).flatten(),
            self.overlays.last().and_then(Overlay::due_ms),
            self.visible_log()
                .and_then(|run| self.logs.get(run))
                .and_then(|log| log.fault.as_ref().map(|(_, again_ms)| *again_ms))
                .filter(|_| self.link == Link::Up),
        ];
        dues.into_iter().flatten().min().map(|due| due.max(now + 1))
    }

    /// Whether a time on the screen goes on by itself.
    fn ticks(&self) -> bool {
        match self.screen {
            Screen::Board => self.board.ticks(&self.data),
            Screen::Runs => self.runs.ticks(&self.data),
            Screen::Inbox | Screen::Plan | Screen::Audit | Screen::System => false,
        }
    }
}

/// How long the daemon may say nothing before that is shown. Its long polls end sooner.
pub(crate) const SILENT_MS: u64 = 12_000;

/// How long a begun key sequence waits before its continuations are shown.
pub(crate) const WHICH_KEY_MS: u64 = 400;
