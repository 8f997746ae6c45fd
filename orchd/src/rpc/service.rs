//! The methods of the contract: who may call them, and that a fault in one fails that call only.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use orch_proto::id::CommandId;
use orch_proto::request::{Accepted, Bytes, Envelope, Role};
use orch_proto::service::Orch;
use orch_proto::view::{
    ApprovalFilter, ApprovalView, AuditReport, ChangeView, CheckReport, DiffView, DoctorReport, EventPage,
    ExchangePart, ExchangeView, InfoRequestFilter, InfoRequestView, LogPage, PlanView, ProjectView, RequirementsDiff,
    RequirementsView, RunFilter, RunView, SecretView, StatsView, StatusView, TaskFilter, TaskView, ToolView, TraceView,
    UndoView, UpkeepRequest, UpkeepView, VisionView,
};
use orch_proto::{ErrorCode, Ref, RpcError};
use tarpc::context::Context;

use super::identity::Caller;
use super::{read, submit};
use crate::app::App;

/// The service for one connection.
#[derive(Clone, Debug)]
pub(super) struct Service {
    app: Arc<App>,
    caller: Caller,
}

impl Service {
    pub(super) const fn new(app: Arc<App>, caller: Caller) -> Self {
        Self { app, caller }
    }

    /// Answers a call of somebody who has the role. A panic becomes an error of this call.
    async fn call<T>(
        &self,
        role: Role,
        answer: impl AsyncFnOnce(&Arc<App>, &Caller) -> Result<T, RpcError>,
    ) -> Result<T, RpcError> {
        self.caller.require(role)?;
        match AssertUnwindSafe(answer(&self.app, &self.caller)).catch_unwind().await {
            Ok(answer) => answer,
            Err(_) => Err(RpcError::new(ErrorCode::Internal, "the call hit a fault in the daemon")
                .hint("please report it with the daemon's log")),
        }
    }
}

macro_rules! reads {
    ($( $method:ident ( $( $arg:ident : $ty:ty ),* ) -> $answer:ty, $role:ident; )+) => {
        impl Orch for Service {
            async fn submit(self, _: Context, envelope: Envelope) -> Result<Accepted, RpcError> {
                let role = envelope.request.role();
                self.call(role, async |app, caller| submit::submit(app, caller, envelope).await).await
            }

            async fn info_answer(
                self,
                _: Context,
                info: Ref,
                key: CommandId,
                values: BTreeMap<String, Bytes>,
            ) -> Result<Accepted, RpcError> {
                let answer = async |app: &Arc<App>, caller: &Caller| {
                    submit::info_answer(app, caller, info, key, values).await
                };
                self.call(Role::Operator, answer).await
            }

            $( async fn $method(self, _: Context, $( $arg: $ty ),* ) -> Result<$answer, RpcError> {
                self.call(Role::$role, async |app, caller| read::$method(app, caller, $( $arg ),*).await).await
            } )+
        }
    };
}

reads! {
    status() -> StatusView, Viewer;
    projects() -> Vec<ProjectView>, Viewer;
    project(project: Ref) -> ProjectView, Viewer;
    visions(project: Ref) -> Vec<VisionView>, Viewer;
    vision(project: Ref, version: Option<u32>) -> VisionView, Viewer;
    requirements_list(project: Ref) -> Vec<RequirementsView>, Viewer;
    requirements(project: Ref, version: Option<u32>) -> RequirementsView, Viewer;
    requirements_diff(project: Ref, from: u32, to: u32) -> RequirementsDiff, Viewer;
    trace(project: Ref, key: String) -> TraceView, Viewer;
    plans(project: Ref) -> Vec<PlanView>, Viewer;
    plan(project: Ref, version: Option<u32>) -> PlanView, Viewer;
    tasks(filter: TaskFilter) -> Vec<TaskView>, Viewer;
    task(task: Ref) -> TaskView, Viewer;
    runs(filter: RunFilter) -> Vec<RunView>, Viewer;
    run(run: Ref) -> RunView, Viewer;
    run_log(run: Ref, offset: u64, bytes_max: u32, wait_ms: u32, raw: bool) -> LogPage, Viewer;
    artifact(run: Ref, path: String, offset: u64) -> Bytes, Viewer;
    run_exchanges(run: Ref, after: u32, limit: u32) -> Vec<ExchangeView>, Viewer;
    run_exchange(run: Ref, number: u32, part: ExchangePart, offset: u64) -> Bytes, Operator;
    approvals(filter: ApprovalFilter) -> Vec<ApprovalView>, Viewer;
    approval(approval: Ref) -> ApprovalView, Viewer;
    info_requests(filter: InfoRequestFilter) -> Vec<InfoRequestView>, Viewer;
    info_request(info: Ref) -> InfoRequestView, Viewer;
    changes(project: Option<Ref>) -> Vec<ChangeView>, Viewer;
    change(change: Ref) -> ChangeView, Viewer;
    change_diff(change: Ref) -> DiffView, Viewer;
    events_since(after: u64, limit: u32, wait_ms: u32, with_data: bool) -> EventPage, Viewer;
    undo_preview(event: Option<u64>) -> UndoView, Operator;
    stats(project: Option<Ref>) -> StatsView, Viewer;
    audit_verify() -> AuditReport, Viewer;
    check() -> CheckReport, Operator;
    upkeep_start(request: UpkeepRequest) -> UpkeepView, Operator;
    upkeep(after: u64, wait_ms: u32) -> Option<UpkeepView>, Operator;
    upkeep_cancel() -> UpkeepView, Operator;
    doctor() -> DoctorReport, Operator;
    secrets() -> Vec<SecretView>, Operator;
    secret_set(name: String, value: Bytes) -> (), Admin;
    secret_remove(name: String) -> (), Admin;
    tools() -> Vec<ToolView>, Viewer;
    tool(name: String, wait_ms: u32) -> ToolView, Viewer;
    tool_install(name: String) -> ToolView, Admin;
    tool_remove(name: String) -> (), Admin;
    shutdown() -> (), Admin;
}
