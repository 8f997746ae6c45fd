//! The things that events happen to, one per file: what is known of each and how an event changes it.
//!
//! Every entity is a fold of its events. `apply` goes through the `next` of its state machine, so that the live daemon
//! and a replay of the log share one path. An entity holds no derived value.

mod approval;
mod backoff;
mod budget;
mod change;
mod channel;
mod checkpoint;
mod dependency;
mod info_request;
mod installed_tool;
mod left_out;
mod model_use;
mod network_use;
mod patience;
mod plan;
mod planning;
mod project;
mod removal;
mod requirements;
mod run;
mod run_pause;
mod session;
mod spend;
mod step;
mod task;
mod task_spec;
mod terms;
mod thread;
mod undone;
mod vision;

use orch_proto::id::{Id, ProjectId};
use orch_proto::{EntityKind, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use approval::{Approval, ApprovalEvent, ApprovalSubject};
pub use backoff::{Backoff, LOSS_BACKOFF_MS_MAX, loss_backoff_ms};
pub use budget::{
    BUDGET_MAX, Budget, BudgetEvent, BudgetKey, BudgetState, BudgetUse, LOW_PERCENT, Level, Meter, Period,
};
pub use change::{Change, ChangeEvent, ChangeProposal, DiffStat};
pub use channel::{
    Asked, ChannelEvent, ChannelUse, HANDED_IN_MAX, HANDED_IN_TIMES_MAX, NOTES_MAX, Note, PROGRESS_TIMES_MAX,
    PROPOSED_TIMES_MAX, Progress, Proposed,
};
pub use checkpoint::{Checkpoint, Inputs, resumable};
pub use dependency::{Condition, Join, Standing, Verdict};
pub use info_request::{FieldKind, FieldValue, InfoField, InfoRequest, InfoRequestEvent};
pub use installed_tool::InstalledTool;
pub use left_out::{LEFT_OUT_NAMED_MAX, LeftOut, LeftOutFile};
pub use model_use::{
    AgentUse, EXCHANGES_MAX, EXCHANGES_OPEN_MAX, MODEL_CHARS_MAX, ModelAnswer, ModelRequest, ModelUse, OpenExchange,
    ServerUse, TOKENS_MAX, TokenUse, Told, model_name,
};
pub use network_use::{NETWORK_USES_MAX, NetworkUse, NetworkVerdict};
pub use patience::{Overdue, Patience, Remedy, Silence, TIMEOUT_MS_MAX, Timeout};
pub use plan::{Plan, PlanBlueprint, PlanContent, PlanEpic, PlanEvent, PlanStory, PlanTask};
pub use planning::{
    ANSWERS_REFUSED_MAX, AgentTurn, END_UNKNOWN, EXCHANGES_LOST_MAX, PlannerUse, Planning, PlanningEvent,
    PlanningSubject, RefusedAnswer, TurnEnd,
};
pub use project::{GatesOn, Pause, Project, ProjectEvent, RepositorySource, Share, WEIGHT_MAX};
pub use removal::{Removal, Removed, RunPart};
pub use requirements::{Comment, Requirements, RequirementsEvent};
pub use run::{Artifact, Guarantee, GuaranteeState, Isolation, Observation, Run, RunEvent, RunPurpose};
pub use run_pause::{OwnWait, RunPause};
pub use session::{
    Attempt, LeftSession, SESSION_ID_BYTES_MAX, SessionEvent, SessionUse, TakenUp, is_session_id, taken_up,
};
pub use spend::{Allowance, Price, Spend};
pub use step::{PlannedStep, StepRecord};
pub use task::{Moved, Task, TaskEvent};
pub use task_spec::{BACKOFF_MS_MAX, RetryPolicy, TaskSpec, Work};
pub use terms::{Asks, RUN_MS_MAX, SEMAPHORE_BYTES_MAX, SEMAPHORES_MAX, Terms, UNITS_MAX};
pub use thread::{MESSAGES_MAX, Message, Reply};
pub use undone::{ProjectPart, TaskPart};
pub use vision::{Vision, VisionEvent};

use crate::actor::Actor;
use crate::state::IllegalTransition;
pub use crate::state::approval::Choice;

/// What an event carries beside its data.
#[derive(Clone, Copy, Debug)]
pub struct Meta<'a> {
    /// When it was committed.
    pub at: Timestamp,
    /// Who did it.
    pub actor: &'a Actor,
}

/// An event that does not fit what it is applied to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The state machine refuses it.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// The first event of a thing must create it, and only the first.
    #[error("{kind} event `{event}` does not fit: the {kind} {}", if *.exists { "exists already" } else { "does not exist" })]
    Existence { kind: &'static str, event: &'static str, exists: bool },
    /// The event names a part that the thing does not have.
    #[error("{kind} has no {part}")]
    NoSuchPart { kind: &'static str, part: String },
}

/// A thing that events happen to.
pub trait Entity: Clone + Serialize + DeserializeOwned + PartialEq + std::fmt::Debug + Send + 'static {
    /// Its typed id.
    type Id: Id + Serialize + DeserializeOwned;
    /// What can happen to it.
    type Event: Clone + Serialize + DeserializeOwned + std::fmt::Debug;
    /// What people call such things.
    const KIND: EntityKind;

    /// The entity after the event; `None` before the first one.
    ///
    /// # Errors
    /// When the event does not fit.
    fn apply(current: Option<Self>, id: Self::Id, event: &Self::Event, meta: Meta<'_>) -> Result<Self, ApplyError>;

    /// Its id.
    fn id(&self) -> Self::Id;
    /// The project it belongs to (itself, for a project).
    fn project(&self) -> ProjectId;
    /// Its number within the project, from 1.
    fn number(&self) -> u32;
    /// Id of what it hangs on, in text: the task of a run, the plan of a task.
    fn parent(&self) -> Option<String>;
    /// Whether something may still happen to it by itself.
    fn is_open(&self) -> bool;
    /// The word for its state.
    fn state_label(&self) -> &'static str;
    /// The word for an event.
    fn event_label(event: &Self::Event) -> &'static str;
}

/// Takes the existing entity out of `current`, for events that need one.
fn existing<E: Entity>(current: Option<E>, event: &E::Event) -> Result<E, ApplyError> {
    current.ok_or(ApplyError::Existence { kind: E::KIND.label(), event: E::event_label(event), exists: false })
}

/// Makes sure that there is none yet, for events that create one.
fn absent<E: Entity>(current: Option<&E>, event: &E::Event) -> Result<(), ApplyError> {
    match current {
        None => Ok(()),
        Some(_) => Err(ApplyError::Existence { kind: E::KIND.label(), event: E::event_label(event), exists: true }),
    }
}
