//! State of the runs' screen and what actions do to it.

use orch_proto::id::RunId;
use ratatui::layout::Rect;

use crate::view::action::Action;
use crate::view::cursor::{Cursor, Scroll};
use crate::view::data::Data;
use crate::view::filter::Filter;
use crate::view::focus::{Pane, Screen};
use crate::view::layout;
use crate::view::model::Model;
use crate::view::msg::Cmd;
use crate::view::overlay::{Ask, Confirm, Say};
use crate::view::rows::RunRow;
use crate::view::screen::log_pane;

/// A part of one run's detail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tab {
    #[default]
    Log,
    Steps,
    Sandbox,
    Artifacts,
}

impl Tab {
    pub(crate) const ALL: [(Self, &'static str); 4] =
        [(Self::Log, "Log"), (Self::Steps, "Steps"), (Self::Sandbox, "Sandbox"), (Self::Artifacts, "Artifacts")];

    const fn next(self) -> Self {
        match self {
            Self::Log => Self::Steps,
            Self::Steps => Self::Sandbox,
            Self::Sandbox => Self::Artifacts,
            Self::Artifacts => Self::Log,
        }
    }
}

/// One run that is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Detail {
    pub(crate) run: RunId,
    pub(crate) tab: Tab,
    pub(crate) scroll: Scroll,
    /// Where to go back to.
    from: Screen,
}

/// State of the screen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs {
    pub(crate) cursor: Cursor<RunId>,
    pub(crate) open: Option<Detail>,
}

impl Runs {
    pub(crate) const fn pane(&self) -> Pane {
        match &self.open {
            None => Pane::RunList,
            Some(detail) => match detail.tab {
                Tab::Log => Pane::RunLog,
                Tab::Steps => Pane::RunSteps,
                Tab::Sandbox => Pane::RunSandbox,
                Tab::Artifacts => Pane::RunArtifacts,
            },
        }
    }

    /// The run whose detail is shown.
    pub(crate) fn detail(&self) -> Option<RunId> {
        self.open.map(|detail| detail.run)
    }

    /// The run whose detail is shown, or that the cursor stands on.
    pub(crate) fn selected(&self) -> Option<RunId> {
        self.detail().or_else(|| self.cursor.key())
    }

    pub(crate) fn visible_log(&self) -> Option<RunId> {
        self.open.filter(|detail| detail.tab == Tab::Log).map(|detail| detail.run)
    }

    /// Whether a run is shown whose time goes on.
    pub(crate) fn ticks(&self, data: &Data) -> bool {
        let goes_on = |run: &RunRow| run.started_at.is_some() && !run.state.is_final();
        match self.open {
            Some(_) => data.run.as_ref().is_some_and(goes_on),
            None => data.runs.iter().flatten().any(goes_on),
        }
    }
}

/// Shows one run. `from` is where leaving it goes back to.
pub(crate) fn open(model: &mut Model, run: RunId, from: Screen) {
    model.screen = Screen::Runs;
    model.runs.open = Some(Detail { run, tab: Tab::Log, scroll: Scroll::default(), from });
    model.runs.cursor.select(run);
    model.data.run = model.data.run.take().filter(|known| known.id == run);
}

/// The runs that are shown, newest first.
pub(crate) fn listed<'a>(data: &'a Data, filter: &Filter) -> Vec<&'a RunRow> {
    data.runs.iter().flatten().filter(|run| filter.keeps(*run)).collect()
}

/// Fits the screen to the data and the room.
pub(crate) fn settle(model: &mut Model, body: Rect) {
    let Some(detail) = model.runs.open else {
        let filter = model.filter();
        let keys: Vec<RunId> = listed(&model.data, &filter).iter().map(|run| run.id).collect();
        model.runs.cursor.settle(&keys, usize::from(body.height.saturating_sub(1)));
        return;
    };
    let (_, rest) = layout::run_detail(body);
    if detail.tab == Tab::Log {
        log_pane::settle(model, detail.run, rest);
        return;
    }
    let rows = super::draw::tab_rows(model, detail.tab, usize::from(rest.width)).len();
    if let Some(open) = &mut model.runs.open {
        open.scroll.settle(rows, usize::from(rest.height));
    }
}

/// Does an action of the screen. `Back` from the detail is here too, since only this screen knows where it goes.
pub(crate) fn act(model: &mut Model, action: Action) -> Vec<Cmd> {
    if action == Action::CancelRun {
        let Some(run) = model.selected_run() else { return Vec::new() };
        let ask = Ask::CancelRun { run: run.id, name: run.full_name.clone(), title: run.title.clone() };
        return Confirm::open(model, ask);
    }
    if action == Action::Say {
        return Say::to_run(model);
    }
    let Some(detail) = &mut model.runs.open else {
        if action == Action::Open {
            if let Some(run) = model.runs.cursor.key() {
                open(model, run, Screen::Runs);
            }
            return Vec::new();
        }
        let filter = model.filter();
        let keys: Vec<RunId> = listed(&model.data, &filter).iter().map(|run| run.id).collect();
        model.runs.cursor.act(&keys, action);
        return Vec::new();
    };
    match action {
        Action::Back => {
            model.screen = detail.from;
            model.runs.open = None;
        }
        Action::NextPane => (detail.tab, detail.scroll) = (detail.tab.next(), Scroll::default()),
        Action::PreviousPane => (detail.tab, detail.scroll) = (detail.tab.next().next().next(), Scroll::default()),
        _ => detail.scroll.act(action),
    }
    Vec::new()
}
