//! What clients see. Views are made for the answer and never stored (invariant I7).
//!
//! Texts that come from repositories, agents or models are raw here: whoever shows them makes them harmless first.

mod audit;
mod change;
mod daemon;
mod exchange;
mod info;
mod plan;
mod planning;
mod project;
mod requirements;
mod run;
mod stats;
mod task;
mod tool;
mod undo;
mod upkeep;

pub use audit::{AuditReport, CheckReport, EventPage, EventView, Orphan};
pub use change::{
    ApprovalFilter, ApprovalState, ApprovalView, ChangeState, ChangeView, Choice, DiffView, ProposedView,
};
pub use daemon::{CaseResult, CaseView, CheckResult, DoctorCheck, DoctorReport, OutageView, SecretView, StatusView};
pub use exchange::{ExchangePart, ExchangeView, TextView};
pub use info::{FieldKind, FieldSpec, InfoRequestFilter, InfoRequestState, InfoRequestView};
pub use plan::{EpicView, PlanNode, PlanView, StoryView};
pub use planning::{PlanningState, PlanningView};
pub use project::{BudgetView, Meter, PauseView, Period, ProjectState, ProjectView, ToolchainView, VisionView};
pub use requirements::{
    CommentView, DocumentState, RequirementView, RequirementsDiff, RequirementsView, StatementView, TraceTask,
    TraceView,
};
pub use run::{
    AgentUseView, ArtifactView, ChannelView, GuaranteeState, GuaranteeView, IsolationView, LogChunk, LogPage,
    LogStream, NetworkState, NetworkUseView, NextLevelView, NoteView, ProgressView, RemovedView, RunFilter, RunPurpose,
    RunState, RunView, SilenceView, StepState, StepView,
};
pub use stats::{
    BrokenView, CountView, EtaBasis, EtaView, FailureView, KindView, PlanEtaView, ReadingView, RecoveryView,
    SpreadView, StateTimeView, StatsView, StuckView,
};
pub use task::{
    Column, Condition, Join, MessageView, Remedy, ReplyView, TaskFilter, TaskState, TaskView, Terms, Timeout, WaitView,
};
pub use tool::{ToolState, ToolView};
pub use undo::UndoView;
pub use upkeep::{BackupReport, GcKind, GcReport, UpkeepOutcome, UpkeepRequest, UpkeepView};
