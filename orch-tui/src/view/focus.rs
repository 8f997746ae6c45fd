//! Where the keys go: a path from overlays down to one pane of one screen, and the scopes that are active there.

use super::action::Scope;

/// A screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Screen {
    #[default]
    Board,
    Runs,
    Inbox,
    Plan,
    Audit,
    System,
}

impl Screen {
    pub(crate) const ALL: [Self; 6] = [Self::Board, Self::Runs, Self::Inbox, Self::Plan, Self::Audit, Self::System];

    /// Key and name in the row of screens.
    pub(crate) const fn tab(self) -> (&'static str, &'static str) {
        match self {
            Self::Board => ("1", "Board"),
            Self::Runs => ("2", "Runs"),
            Self::Inbox => ("3", "Inbox"),
            Self::Plan => ("5", "Plan"),
            Self::Audit => ("8", "Audit"),
            Self::System => ("9", "System"),
        }
    }
}

/// A part of a screen that can have the focus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pane {
    Cards,
    CardLog,
    RunList,
    RunLog,
    RunSteps,
    RunSandbox,
    RunArtifacts,
    ApprovalList,
    Dossier,
    Graph,
    Requirements,
    Versions,
    Events,
    System,
    /// The overlay that shows a text.
    Viewer,
    /// An overlay that shows a dossier of the inbox, or its diff: it can be answered from there.
    ApprovalViewer,
    /// An overlay that shows a task.
    TaskViewer,
}

impl Pane {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 17] = [
        Self::Cards,
        Self::CardLog,
        Self::RunList,
        Self::RunLog,
        Self::RunSteps,
        Self::RunSandbox,
        Self::RunArtifacts,
        Self::ApprovalList,
        Self::Dossier,
        Self::Graph,
        Self::Requirements,
        Self::Versions,
        Self::Events,
        Self::System,
        Self::Viewer,
        Self::ApprovalViewer,
        Self::TaskViewer,
    ];

    /// The scopes that are active in the pane, the most specific first.
    pub(crate) const fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Cards => &[Scope::Board, Scope::List, Scope::Global, Scope::Always],
            Self::CardLog => &[Scope::Log, Scope::Board, Scope::List, Scope::Global, Scope::Always],
            Self::RunList => &[Scope::Runs, Scope::List, Scope::Global, Scope::Always],
            Self::RunLog => &[Scope::Log, Scope::Run, Scope::List, Scope::Global, Scope::Always],
            Self::RunSteps | Self::RunSandbox | Self::RunArtifacts => {
                &[Scope::Run, Scope::List, Scope::Global, Scope::Always]
            }
            Self::ApprovalList | Self::Dossier => {
                &[Scope::Inbox, Scope::Answer, Scope::List, Scope::Global, Scope::Always]
            }
            Self::Graph | Self::Requirements | Self::Versions => {
                &[Scope::Plan, Scope::List, Scope::Global, Scope::Always]
            }
            Self::Events => &[Scope::Audit, Scope::List, Scope::Global, Scope::Always],
            Self::System => &[Scope::System, Scope::List, Scope::Global, Scope::Always],
            Self::Viewer => &[Scope::Viewer, Scope::List, Scope::Always],
            Self::ApprovalViewer => &[Scope::Viewer, Scope::Answer, Scope::List, Scope::Always],
            Self::TaskViewer => &[Scope::Viewer, Scope::Dossier, Scope::List, Scope::Always],
        }
    }
}
