//! A run: its steps, the isolation it had, where its log was read to, and its result.

use orch_proto::id::{ApprovalId, ChangeId, ProjectId, RunId, TaskId};
use orch_proto::{EntityKind, Timestamp};
use serde::{Deserialize, Serialize};

use super::channel::{ChannelEvent, ChannelUse};
use super::checkpoint::Checkpoint;
use super::installed_tool::InstalledTool;
use super::left_out::LeftOut;
use super::model_use::{AgentUse, ModelAnswer, ModelRequest, ModelUse, OpenExchange, Told};
use super::network_use::{NetworkUse, count};
use super::patience::Silence;
use super::removal::{Removal, Removed, RunPart};
use super::run_pause::RunPause;
use super::session::{SessionEvent, SessionUse};
use super::step::{PlannedStep, StepRecord};
use super::terms::Asks;
use super::{ApplyError, Entity, Meta, absent, existing};
use crate::digest::Digest;
use crate::recipe::Access;
use crate::state::run::{RunOutcome, RunState, RunStep};
use crate::state::step::{StepEnd, StepEvent, StepState};

/// A run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub id: RunId,
    pub project: ProjectId,
    pub number: u32,
    pub task: TaskId,
    pub purpose: RunPurpose,
    /// From 1 per task, for runs that do the work; for gates the attempt whose result they check.
    pub attempt: u32,
    /// Only grows per task; what carries an older one is not taken.
    pub fence: u64,
    pub state: RunState,
    pub steps: Vec<StepRecord>,
    /// Commit that the workspace starts from; none when the branch is empty.
    pub base: Option<String>,
    /// Tree that gates look at.
    pub tree: Option<String>,
    /// Isolation that it needs, 0 to 4.
    pub required_level: u8,
    /// Isolation that it had.
    pub isolation: Option<Isolation>,
    /// Offset to which its log was read for events. Stored with those events, so a restart loses and repeats none.
    pub log_cursor: u64,
    pub log_dropped_bytes: u64,
    pub artifacts: Vec<Artifact>,
    /// Files that it left and that were not kept.
    #[serde(default, skip_serializing_if = "LeftOut::is_nothing")]
    pub left_out: LeftOut,
    /// Why the scheduler started it.
    pub reason: String,
    /// Priority of its task when it was started.
    #[serde(default)]
    pub priority: u8,
    /// What it is given beyond its workspace.
    #[serde(default, skip_serializing_if = "Access::is_nothing")]
    pub access: Access,
    /// Tools that were installed for runs, as it has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<InstalledTool>,
    /// What it has of what all runs share, as its task asked for.
    #[serde(default, skip_serializing_if = "Asks::is_nothing")]
    pub asks: Asks,
    /// The agent that does its work; none does known steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentUse>,
    /// What its agent was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Told>,
    /// What it used of models.
    #[serde(default, skip_serializing_if = "ModelUse::is_nothing")]
    pub models: ModelUse,
    /// What it said over its channel.
    #[serde(default, skip_serializing_if = "ChannelUse::is_nothing")]
    pub channel: ChannelUse,
    /// What became of what it asked of the network, in the order of its first time; like things are one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network: Vec<NetworkUse>,
    /// Things it asked beyond those: the sandbox or this record had no room for them.
    #[serde(default)]
    pub network_left_out: u64,
    /// A person asked for its end.
    pub cancel_requested: Option<String>,
    /// A person wants its processes to stand still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<RunPause>,
    /// It is silent for longer than it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<Silence>,
    /// Its end was asked for because a budget of its project is used up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_over_budget: bool,
    /// How long it goes on without a proof that it is the one, in milliseconds.
    #[serde(default)]
    pub lease_ms: u64,
    /// What is gone of it because it was kept for long enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<Removed>,
    /// Some of that may still be there: whoever removes it has not said yet that it is gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_removing: bool,
    /// Its workspace as it was after some of its steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Checkpoint>,
    /// What an earlier attempt kept and it went on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Checkpoint>,
    /// The session of its agent's own program: what it left of one, and took up.
    #[serde(default, skip_serializing_if = "SessionUse::is_nothing")]
    pub session: SessionUse,
    pub queued_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum RunPurpose {
    /// An attempt at the task.
    Work,
    /// The gates, on the tree that would be merged.
    Gate { change: ChangeId },
}

/// How far a guarantee held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuaranteeState {
    Enforced,
    Degraded,
    Absent,
}

/// One guarantee of the sandbox, as probed inside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarantee {
    pub name: String,
    pub state: GuaranteeState,
    pub how: String,
    pub evidence: String,
}

/// The isolation that a run had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    pub level: u8,
    pub guarantees: Vec<Guarantee>,
}

/// A file that was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    pub path: String,
    pub size_bytes: u64,
    pub digest: Digest,
}

/// Something read from a run's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Observation {
    /// The sandbox stands; this is what it gives.
    Isolated { isolation: Isolation },
    /// Something that the run asked of the network.
    Network { used: NetworkUse },
    /// Things that the sandbox counted and did not write.
    NetworkLeftOut { count: u64 },
    /// Its processes stand still.
    Paused,
    /// They go on.
    Resumed,
    /// Something happened to the step with this index.
    Step { index: u32, event: StepEvent },
}

/// What can happen to a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum RunEvent {
    Queued {
        project: ProjectId,
        number: u32,
        task: TaskId,
        purpose: RunPurpose,
        attempt: u32,
        fence: u64,
        steps: Vec<PlannedStep>,
        base: Option<String>,
        tree: Option<String>,
        required_level: u8,
        reason: String,
        #[serde(default)]
        priority: u8,
        /// Left out by versions that had nothing to give.
        #[serde(default, skip_serializing_if = "Access::is_nothing")]
        access: Access,
        #[serde(default, skip_serializing_if = "Asks::is_nothing")]
        asks: Box<Asks>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<Box<AgentUse>>,
    },
    /// It is to be begun until then. Once it has, it goes on for `lease_ms` without a proof that it is the one.
    Leased {
        until: Timestamp,
        /// 0 of versions that wanted no proof.
        #[serde(default)]
        lease_ms: u64,
    },
    /// The intent to start it.
    Starting,
    /// The tools that it is about to be started with.
    Equipped {
        tools: Vec<InstalledTool>,
    },
    /// Read from its log up to `cursor`.
    Observed {
        cursor: u64,
        observations: Vec<Observation>,
    },
    CancelRequested {
        reason: String,
    },
    PauseRequested {
        pause: RunPause,
    },
    ResumeRequested,
    /// The operation that began with event number `operation` was taken back: it stands still, or does not, as before.
    Undone {
        operation: u64,
        pause: Option<RunPause>,
    },
    /// Nothing was heard of it for longer than it should be silent.
    Silent {
        silence: Silence,
    },
    /// It is silent no more.
    Heard,
    /// It is to end: a budget of its project is used up.
    OverBudget {
        reason: String,
    },
    /// A person was asked whether it may spend more on models.
    SpendingAsked {
        question: ApprovalId,
    },
    /// A person gave it as much again as it may spend on models.
    SpendingRaised,
    /// The intent to start its agent with this.
    Told {
        prompt: Digest,
        bytes: u64,
    },
    /// The intent to pass on what it asks of a model.
    ModelAsked {
        exchange: OpenExchange,
        request: Box<ModelRequest>,
    },
    /// What came of that.
    ModelAnswered {
        number: u32,
        answer: Box<ModelAnswer>,
    },
    /// Something happened on its channel.
    Channel {
        event: ChannelEvent,
    },
    /// It goes on from what an earlier attempt kept: the steps up to that one are not run again.
    Resumed {
        checkpoint: Checkpoint,
    },
    /// Its workspace as it was after a step is kept.
    Kept {
        checkpoint: Checkpoint,
    },
    /// Something happened to the session of its agent's own program.
    Session {
        event: SessionEvent,
    },
    Ended {
        outcome: RunOutcome,
        artifacts: Vec<Artifact>,
        log_dropped_bytes: u64,
        #[serde(default, skip_serializing_if = "LeftOut::is_nothing")]
        left_out: Box<LeftOut>,
    },
    /// The intent to remove what was kept for long enough.
    Removing {
        removals: Vec<Removal>,
    },
    /// All that was to be removed is gone.
    Removed,
    /// A result came that is not taken: the run was over, or the fence was old.
    LateResult {
        fence: u64,
        outcome: RunOutcome,
    },
}

impl Run {
    /// When and how a part of it went, if it did.
    #[must_use]
    pub fn removed(&self, part: RunPart) -> Option<&Removed> {
        self.removed.iter().find(|removed| removed.removal.part == part)
    }

    /// Whether texts of it are on record: what its agent was told, what it asked models and was answered.
    #[must_use]
    pub const fn has_texts(&self) -> bool {
        self.told.is_some() || self.models.exchanges > 0
    }

    pub(super) fn step(&mut self, step: &RunStep) -> Result<(), ApplyError> {
        self.state = RunState::next(Some(&self.state), step)?;
        Ok(())
    }

    fn create(id: RunId, event: &RunEvent, at: Timestamp) -> Result<Option<Self>, ApplyError> {
        let RunEvent::Queued {
            project,
            number,
            task,
            purpose,
            attempt,
            fence,
            steps,
            base,
            tree,
            required_level,
            reason,
            priority,
            access,
            asks,
            agent,
        } = event
        else {
            return Ok(None);
        };
        let steps = steps.iter().cloned().map(StepRecord::new);
        Ok(Some(Self {
            id,
            project: *project,
            number: *number,
            task: *task,
            purpose: *purpose,
            attempt: *attempt,
            fence: *fence,
            state: RunState::next(None, &RunStep::Queued)?,
            steps: steps.collect(),
            base: base.clone(),
            tree: tree.clone(),
            required_level: *required_level,
            isolation: None,
            log_cursor: 0,
            log_dropped_bytes: 0,
            artifacts: Vec::new(),
            left_out: LeftOut::default(),
            reason: reason.clone(),
            priority: *priority,
            access: access.clone(),
            tools: Vec::new(),
            asks: (**asks).clone(),
            agent: agent.as_deref().cloned(),
            told: None,
            models: ModelUse::default(),
            channel: ChannelUse::default(),
            network: Vec::new(),
            network_left_out: 0,
            cancel_requested: None,
            pause: None,
            silence: None,
            is_over_budget: false,
            lease_ms: 0,
            removed: Vec::new(),
            is_removing: false,
            kept: Vec::new(),
            resumed: None,
            session: SessionUse::default(),
            queued_at: at,
            started_at: None,
            finished_at: None,
        }))
    }

    fn observe(&mut self, observation: &Observation, at: Timestamp) -> Result<(), ApplyError> {
        match observation {
            Observation::Isolated { isolation } => {
                self.step(&RunStep::Started)?;
                self.isolation = Some(isolation.clone());
                self.started_at = Some(at);
            }
            // Processes can be made to stand still before anybody has heard that they run.
            Observation::Paused if self.state == RunState::Running => self.step(&RunStep::Paused)?,
            Observation::Resumed if self.state == RunState::Paused => self.step(&RunStep::Resumed)?,
            Observation::Paused | Observation::Resumed if self.state.is_waiting() => {
                self.channel.stands_still = *observation == Observation::Paused;
            }
            Observation::Paused | Observation::Resumed => {}
            Observation::Network { used } => count(&mut self.network, used, &mut self.network_left_out),
            Observation::NetworkLeftOut { count } => {
                self.network_left_out = self.network_left_out.saturating_add(*count);
            }
            Observation::Step { index, event } => {
                let index = self.step_at(*index);
                let step = self
                    .steps
                    .get_mut(index as usize)
                    .ok_or_else(|| ApplyError::NoSuchPart { kind: "run", part: format!("step {index}") })?;
                step.state = step.state.next(event)?;
            }
        }
        Ok(())
    }
}

impl Run {
    /// Index, among all its steps, of the step with this one among those that are executed: what an earlier attempt did is not.
    #[must_use]
    pub fn step_at(&self, executed: u32) -> u32 {
        match &self.resumed {
            Some(resumed) if executed > 0 => executed.saturating_add(resumed.step),
            _ => executed,
        }
    }

    /// The steps between the first, which makes the workspace, and those that are left were done by an earlier attempt.
    fn resume(&mut self, checkpoint: &Checkpoint) -> Result<(), ApplyError> {
        let no_step = || ApplyError::NoSuchPart { kind: "run", part: format!("step {}", checkpoint.step) };
        let done = self.steps.get_mut(1..=checkpoint.step as usize).ok_or_else(no_step)?;
        for step in done {
            step.state = step.state.next(&StepEvent::Kept)?;
        }
        self.resumed = Some(checkpoint.clone());
        Ok(())
    }

    /// From when to when each of its steps was under way, up to `now`. Taken from what its sandbox says of them, and not from
    /// when it was heard of.
    pub fn worked(&self, now: Timestamp) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        self.steps.iter().filter_map(move |step| match step.state {
            StepState::Ended { started_at, finished_at, .. } => Some((started_at, finished_at)),
            StepState::Running { started_at } => Some((started_at, now)),
            StepState::Pending | StepState::Skipped | StepState::Kept => None,
        })
    }

    /// Nothing runs in a run that is over: a step whose end was not seen ended with it at the latest.
    fn end_steps(&mut self, outcome: &RunOutcome, at: Timestamp) -> Result<(), ApplyError> {
        let end = match outcome {
            RunOutcome::TimedOut { .. } => StepEnd::TimedOut,
            _ => StepEnd::Cancelled,
        };
        for step in &mut self.steps {
            step.state = match &step.state {
                StepState::Pending => step.state.next(&StepEvent::Skipped)?,
                StepState::Running { started_at } => {
                    step.state.next(&StepEvent::Ended { at: at.max(*started_at), end })?
                }
                StepState::Ended { .. } | StepState::Skipped | StepState::Kept => continue,
            };
        }
        Ok(())
    }
}

impl Entity for Run {
    type Id = RunId;
    type Event = RunEvent;
    const KIND: EntityKind = EntityKind::Run;

    fn apply(current: Option<Self>, id: RunId, event: &RunEvent, meta: Meta<'_>) -> Result<Self, ApplyError> {
        if let Some(run) = Self::create(id, event, meta.at)? {
            absent(current.as_ref(), event)?;
            return Ok(run);
        }
        let mut run = existing(current, event)?;
        match event {
            RunEvent::Queued { .. } | RunEvent::LateResult { .. } => {}
            RunEvent::Leased { until, lease_ms } => {
                run.step(&RunStep::Leased { until: *until })?;
                run.lease_ms = *lease_ms;
            }
            RunEvent::Starting => run.step(&RunStep::Starting)?,
            RunEvent::Equipped { tools } => run.tools.clone_from(tools),
            RunEvent::Observed { cursor, observations } => {
                for observation in observations {
                    run.observe(observation, meta.at)?;
                }
                run.log_cursor = *cursor;
            }
            RunEvent::CancelRequested { reason } => run.cancel_requested = Some(reason.clone()),
            RunEvent::PauseRequested { pause } => run.pause = Some(pause.clone()),
            RunEvent::ResumeRequested => run.pause = run.pause.as_ref().and_then(RunPause::beneath_it),
            RunEvent::Undone { pause, .. } => {
                // What waited for an answer may have it by now.
                let is_over = |pause: &&RunPause| pause.for_answer && !run.state.is_waiting();
                run.pause = pause.as_ref().filter(|pause| !is_over(pause)).cloned();
                run.end_of_answer();
            }
            RunEvent::Silent { silence } => run.silence = Some(*silence),
            RunEvent::Heard => run.silence = None,
            RunEvent::Told { prompt, bytes } => run.told = Some(Told { prompt: *prompt, bytes: *bytes }),
            RunEvent::ModelAsked { exchange, .. } => run.models.asked(*exchange),
            RunEvent::ModelAnswered { number, answer } => run.models.answered(*number, answer),
            RunEvent::Channel { event } => run.said(event, meta.at)?,
            RunEvent::Resumed { checkpoint } => run.resume(checkpoint)?,
            RunEvent::Kept { checkpoint } => run.kept.push(checkpoint.clone()),
            RunEvent::Session { event } => run.session.apply(event),
            RunEvent::SpendingAsked { question } => run.models.question = Some(*question),
            RunEvent::SpendingRaised => run.models.raises = run.models.raises.saturating_add(1),
            RunEvent::OverBudget { reason } => {
                run.cancel_requested = Some(reason.clone());
                run.is_over_budget = true;
            }
            RunEvent::Removing { removals } => {
                let removed = removals.iter().map(|removal| Removed { removal: removal.clone(), at: meta.at });
                run.removed.extend(removed);
                run.is_removing = true;
            }
            RunEvent::Removed => run.is_removing = false,
            RunEvent::Ended { outcome, artifacts, log_dropped_bytes, left_out } => {
                run.step(&RunStep::Ended { outcome: outcome.clone() })?;
                run.end_steps(outcome, meta.at)?;
                // What it handed in before is replaced by what was found in the end.
                artifacts.iter().for_each(|artifact| run.keep(artifact));
                run.log_dropped_bytes = *log_dropped_bytes;
                run.left_out = (**left_out).clone();
                run.finished_at = Some(meta.at);
            }
        }
        Ok(run)
    }

    fn id(&self) -> RunId {
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
        !self.state.is_final()
    }

    fn state_label(&self) -> &'static str {
        self.state.label()
    }

    fn event_label(event: &RunEvent) -> &'static str {
        match event {
            RunEvent::Queued { .. } => "queued",
            RunEvent::Leased { .. } => "leased",
            RunEvent::Starting => "starting",
            RunEvent::Equipped { .. } => "equipped",
            RunEvent::Observed { .. } => "observed",
            RunEvent::CancelRequested { .. } => "cancel_requested",
            RunEvent::PauseRequested { .. } => "pause_requested",
            RunEvent::Undone { .. } => "undone",
            RunEvent::ResumeRequested => "resume_requested",
            RunEvent::Silent { .. } => "silent",
            RunEvent::Heard => "heard",
            RunEvent::OverBudget { .. } => "over_budget",
            RunEvent::SpendingAsked { .. } => "spending_asked",
            RunEvent::SpendingRaised => "spending_raised",
            RunEvent::Told { .. } => "told",
            RunEvent::ModelAsked { .. } => "model_asked",
            RunEvent::ModelAnswered { .. } => "model_answered",
            RunEvent::Channel { event } => event.label(),
            RunEvent::Resumed { .. } => "resumed",
            RunEvent::Kept { .. } => "kept",
            RunEvent::Session { event } => event.label(),
            RunEvent::Ended { .. } => "ended",
            RunEvent::Removing { .. } => "removing",
            RunEvent::Removed => "removed",
            RunEvent::LateResult { .. } => "late_result",
        }
    }
}
