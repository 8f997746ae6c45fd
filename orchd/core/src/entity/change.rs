//! A change: what a run wants to merge, and how far it is.

use orch_proto::id::{ApprovalId, ChangeId, ProjectId, RunId, TaskId};
use orch_proto::{EntityKind, Timestamp};
use serde::{Deserialize, Serialize};

use super::channel::Proposed;
use super::{ApplyError, Entity, Meta, absent, existing};
use crate::digest::Digest;
use crate::state::change::{ChangeState, ChangeStep};

/// A change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub id: ChangeId,
    pub project: ProjectId,
    pub number: u32,
    pub task: TaskId,
    pub run: RunId,
    pub title: String,
    pub proposal: ChangeProposal,
    /// What a person has to know beside the protected paths of the proposal; found on the merged tree.
    #[serde(default)]
    pub concerns: Vec<String>,
    /// The approval that it needs because of protected paths or concerns.
    pub approval: Option<ApprovalId>,
    pub state: ChangeState,
    /// Runs of its gates, oldest first.
    pub checks: Vec<RunId>,
    pub opened_at: Timestamp,
    pub since: Timestamp,
}

/// What a run proposes. Commits and trees are hex object ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeProposal {
    /// Commit that the run started from; none when the branch was empty.
    pub base: Option<String>,
    /// Commit with its result, and the tree of that.
    pub head: String,
    pub tree: String,
    pub branch: String,
    pub stat: DiffStat,
    /// Paths that fit the project's protected globs.
    pub protected: Vec<String>,
    /// The run's own words for it, if it has said some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<Proposed>,
}

/// Size of a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffStat {
    pub files: u32,
    pub added: u32,
    pub removed: u32,
}

/// What can happen to a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum ChangeEvent {
    Opened {
        project: ProjectId,
        number: u32,
        task: TaskId,
        run: RunId,
        title: String,
        proposal: ChangeProposal,
        approval: Option<ApprovalId>,
    },
    /// A person is asked because of what its merge would do. Takes the place of an earlier question.
    ApprovalAsked {
        approval: ApprovalId,
        concerns: Vec<String>,
    },
    CheckStarted {
        run: RunId,
        base: Option<String>,
        tree: String,
    },
    CheckPassed,
    CheckSkipped {
        base: Option<String>,
        tree: String,
    },
    CheckFailed {
        reason: String,
    },
    CheckLost {
        not_before: Timestamp,
    },
    BaseMoved,
    Conflicted {
        paths: Vec<String>,
    },
    MergeStarted {
        commit: String,
    },
    Merged,
    MergeRefused,
    Closed {
        reason: String,
    },
    /// The operation that began with event number `operation` was taken back: its state is as it was before.
    Undone {
        operation: u64,
        /// Where it belongs, for those who forgot what was closed.
        project: ProjectId,
        task: TaskId,
        state: ChangeState,
    },
}

impl Change {
    /// What an approval of it is bound to: the content that the run made and what it made it on. A merge of other
    /// changes before it does not void the approval, a new attempt does.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Self::digest_of(self.project, &self.proposal, &self.concerns)
    }

    /// The digest before the change exists, or with other concerns.
    #[must_use]
    pub fn digest_of(project: ProjectId, proposal: &ChangeProposal, concerns: &[String]) -> Digest {
        let merge = ("merge", project, &proposal.base, &proposal.tree, &proposal.protected, concerns);
        match &proposal.words {
            // The commit has them.
            Some(words) => Digest::of_json(&(merge, words)),
            None => Digest::of_json(&merge),
        }
    }
}

impl ChangeEvent {
    fn step(&self) -> ChangeStep {
        match self {
            Self::Opened { .. } => ChangeStep::Opened,
            Self::ApprovalAsked { .. } => ChangeStep::ApprovalAsked,
            Self::CheckStarted { run, base, tree } => {
                ChangeStep::CheckStarted { run: *run, base: base.clone(), tree: tree.clone() }
            }
            Self::CheckPassed => ChangeStep::CheckPassed,
            Self::CheckSkipped { base, tree } => ChangeStep::CheckSkipped { base: base.clone(), tree: tree.clone() },
            Self::CheckFailed { reason } => ChangeStep::CheckFailed { reason: reason.clone() },
            Self::CheckLost { not_before } => ChangeStep::CheckLost { not_before: *not_before },
            Self::BaseMoved => ChangeStep::BaseMoved,
            Self::Conflicted { paths } => ChangeStep::Conflicted { paths: paths.clone() },
            Self::MergeStarted { commit } => ChangeStep::MergeStarted { commit: commit.clone() },
            Self::Merged => ChangeStep::Merged,
            Self::MergeRefused => ChangeStep::MergeRefused,
            Self::Closed { reason } => ChangeStep::Closed { reason: reason.clone() },
            Self::Undone { state, .. } => ChangeStep::Undone { to: state.clone() },
        }
    }
}

impl Entity for Change {
    type Id = ChangeId;
    type Event = ChangeEvent;
    const KIND: EntityKind = EntityKind::Change;

    fn apply(current: Option<Self>, id: ChangeId, event: &ChangeEvent, meta: Meta<'_>) -> Result<Self, ApplyError> {
        let state = ChangeState::next(current.as_ref().map(|change| &change.state), &event.step())?;
        if let ChangeEvent::Opened { project, number, task, run, title, proposal, approval } = event {
            absent(current.as_ref(), event)?;
            return Ok(Self {
                id,
                project: *project,
                number: *number,
                task: *task,
                run: *run,
                title: title.clone(),
                proposal: proposal.clone(),
                concerns: Vec::new(),
                approval: *approval,
                state,
                checks: Vec::new(),
                opened_at: meta.at,
                since: meta.at,
            });
        }
        let mut change = existing(current, event)?;
        change.state = state;
        change.since = meta.at;
        if let ChangeEvent::CheckStarted { run, .. } = event {
            change.checks.push(*run);
        }
        if let ChangeEvent::ApprovalAsked { approval, concerns } = event {
            change.approval = Some(*approval);
            change.concerns.clone_from(concerns);
        }
        Ok(change)
    }

    fn id(&self) -> ChangeId {
        self.id
    }

    fn project(&self) -> ProjectId {
        self.project
    }

    fn number(&self) -> u32 {
        self.number
    }

    fn parent(&self) -> Option<String> {
        Some(self.task.to_string())
    }

    fn is_open(&self) -> bool {
        self.state.is_open()
    }

    fn state_label(&self) -> &'static str {
        self.state.label()
    }

    fn event_label(event: &ChangeEvent) -> &'static str {
        event.step().label()
    }
}
