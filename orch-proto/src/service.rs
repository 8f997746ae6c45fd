//! The tarpc service. Reads are methods; every mutation goes through `submit`.
//!
//! Methods only read or enqueue: a call that the client drops either committed whole or did nothing, and a retry with
//! the same key gets the first answer.

use std::collections::BTreeMap;

use crate::error::RpcError;
use crate::id::CommandId;
use crate::reference::Ref;
use crate::request::{Accepted, Bytes, Envelope};
use crate::view::{
    ApprovalFilter, ApprovalView, AuditReport, ChangeView, CheckReport, DiffView, DoctorReport, EventPage,
    ExchangePart, ExchangeView, InfoRequestFilter, InfoRequestView, LogPage, PlanView, ProjectView, RequirementsDiff,
    RequirementsView, RunFilter, RunView, SecretView, StatsView, StatusView, TaskFilter, TaskView, ToolView, TraceView,
    UndoView, UpkeepRequest, UpkeepView, VisionView,
};

/// What the daemon does for its clients. All methods but `submit`, `shutdown` and those that say otherwise need the
/// role viewer.
#[tarpc::service]
pub trait Orch {
    /// The daemon at a glance, and who the caller is to it.
    async fn status() -> Result<StatusView, RpcError>;
    /// Does what the request says, once per key. The role depends on the request.
    async fn submit(envelope: Envelope) -> Result<Accepted, RpcError>;

    async fn projects() -> Result<Vec<ProjectView>, RpcError>;
    async fn project(project: Ref) -> Result<ProjectView, RpcError>;
    /// All versions of a project's Vision, newest first, without texts.
    async fn visions(project: Ref) -> Result<Vec<VisionView>, RpcError>;
    /// One version with its text; the newest when none is named.
    async fn vision(project: Ref, version: Option<u32>) -> Result<VisionView, RpcError>;

    /// All versions, newest first.
    async fn requirements_list(project: Ref) -> Result<Vec<RequirementsView>, RpcError>;
    /// One version; the newest when none is named.
    async fn requirements(project: Ref, version: Option<u32>) -> Result<RequirementsView, RpcError>;
    async fn requirements_diff(project: Ref, from: u32, to: u32) -> Result<RequirementsDiff, RpcError>;
    /// From a requirement to tasks, runs and commits.
    async fn trace(project: Ref, key: String) -> Result<TraceView, RpcError>;

    /// All versions, newest first.
    async fn plans(project: Ref) -> Result<Vec<PlanView>, RpcError>;
    /// One version; the newest when none is named.
    async fn plan(project: Ref, version: Option<u32>) -> Result<PlanView, RpcError>;

    async fn tasks(filter: TaskFilter) -> Result<Vec<TaskView>, RpcError>;
    async fn task(task: Ref) -> Result<TaskView, RpcError>;
    async fn runs(filter: RunFilter) -> Result<Vec<RunView>, RpcError>;
    async fn run(run: Ref) -> Result<RunView, RpcError>;
    /// Reads a log from a byte offset. With `wait_ms` the call is held until there is more, the run ends or the time
    /// is over (at most [`crate::WAIT_MS_MAX`]). Unless it is wanted `raw`, what an agent printed is in words.
    async fn run_log(run: Ref, offset: u64, bytes_max: u32, wait_ms: u32, raw: bool) -> Result<LogPage, RpcError>;
    /// Bytes of an artifact of the run, named by its path in the workspace.
    async fn artifact(run: Ref, path: String, offset: u64) -> Result<Bytes, RpcError>;
    /// What passed between a run and models, the oldest first: behind the exchange of this number, at most `limit`.
    async fn run_exchanges(run: Ref, after: u32, limit: u32) -> Result<Vec<ExchangeView>, RpcError>;
    /// Bytes of what was asked or answered, from `offset` on; none at its end. The request of number 0 is what the agent was
    /// told. Needs the role operator: it has what the agent read.
    async fn run_exchange(run: Ref, number: u32, part: ExchangePart, offset: u64) -> Result<Bytes, RpcError>;

    async fn approvals(filter: ApprovalFilter) -> Result<Vec<ApprovalView>, RpcError>;
    async fn approval(approval: Ref) -> Result<ApprovalView, RpcError>;
    /// Questions of runs.
    async fn info_requests(filter: InfoRequestFilter) -> Result<Vec<InfoRequestView>, RpcError>;
    async fn info_request(info: Ref) -> Result<InfoRequestView, RpcError>;
    /// Answers a question of a run, by the names of its fields, once per key. It is no request, so that no record has values
    /// of secrets. Needs the role operator.
    async fn info_answer(info: Ref, key: CommandId, values: BTreeMap<String, Bytes>) -> Result<Accepted, RpcError>;
    async fn changes(project: Option<Ref>) -> Result<Vec<ChangeView>, RpcError>;
    async fn change(change: Ref) -> Result<ChangeView, RpcError>;
    /// The change as a unified diff against what it was made on.
    async fn change_diff(change: Ref) -> Result<DiffView, RpcError>;

    /// Events after `after`, oldest first, at most `limit`. With `wait_ms` the call is held until there is one or the
    /// time is over. `with_data` adds the stored data, for exports.
    async fn events_since(after: u64, limit: u32, wait_ms: u32, with_data: bool) -> Result<EventPage, RpcError>;
    /// What it would be to take a decision back: the one that the event belongs to, or the caller's last. Needs the role
    /// operator.
    async fn undo_preview(event: Option<u64>) -> Result<UndoView, RpcError>;
    /// What the log says of how long things take, in a project or over all.
    async fn stats(project: Option<Ref>) -> Result<StatsView, RpcError>;
    /// Verifies the hash chain of the whole log.
    async fn audit_verify() -> Result<AuditReport, RpcError>;
    /// Compares the tables with a replay of the log, verifies chain, blobs and file. Needs the role operator.
    async fn check() -> Result<CheckReport, RpcError>;
    /// Begins long work on the state, of which there is one at a time. The role depends on the request.
    async fn upkeep_start(request: UpkeepRequest) -> Result<UpkeepView, RpcError>;
    /// How far the work is, or what came of the last one; none when there was none since the start of the daemon. With
    /// `wait_ms` the call is held until the view is newer than revision `after` or the time is over. Needs the role
    /// operator.
    async fn upkeep(after: u64, wait_ms: u32) -> Result<Option<UpkeepView>, RpcError>;
    /// Cancels the work that is under way. Needs the role that beginning it needs.
    async fn upkeep_cancel() -> Result<UpkeepView, RpcError>;
    /// Probes the host. Needs the role operator.
    async fn doctor() -> Result<DoctorReport, RpcError>;
    /// Names of secrets. Needs the role operator.
    async fn secrets() -> Result<Vec<SecretView>, RpcError>;
    /// Sets a value. It is no request, so that no record has it. Needs the role admin.
    async fn secret_set(name: String, value: Bytes) -> Result<(), RpcError>;
    /// Removes a value that was set. Needs the role admin.
    async fn secret_remove(name: String) -> Result<(), RpcError>;
    /// Tools that recipes describe, and how far each is.
    async fn tools() -> Result<Vec<ToolView>, RpcError>;
    /// One of them. With `wait_ms` the call is held while it comes to another state by itself, or until the time is over.
    async fn tool(name: String, wait_ms: u32) -> Result<ToolView, RpcError>;
    /// Has a tool installed, from the hosts that its recipe names. Needs the role admin.
    async fn tool_install(name: String) -> Result<ToolView, RpcError>;
    /// Removes a tool that no run has. Needs the role admin.
    async fn tool_remove(name: String) -> Result<(), RpcError>;
    /// Stops the daemon; runs go on. Needs the role admin.
    async fn shutdown() -> Result<(), RpcError>;
}
