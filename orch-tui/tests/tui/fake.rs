//! A daemon for the terminal tests: the real service on a real Unix socket, with a world that the test changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::StreamExt as _;
use orch_proto::id::{CommandId, RunId};
use orch_proto::reference::EntityKind;
use orch_proto::request::{Accepted, Bytes, Envelope, Request, Touched};
use orch_proto::service::Orch;
use orch_proto::view::{
    ApprovalFilter, ApprovalView, AuditReport, ChangeView, CheckReport, DiffView, DoctorReport, EventPage, EventView,
    ExchangePart, ExchangeView, InfoRequestFilter, InfoRequestView, LogChunk, LogPage, MessageView, PlanView,
    ProjectView, RequirementsDiff, RequirementsView, RunFilter, RunView, SecretView, StatsView, StatusView, TaskFilter,
    TaskState, TaskView, ToolView, TraceView, UndoView, UpkeepRequest, UpkeepView, VisionView,
};
use orch_proto::{ErrorCode, Ref, RpcError, wire};
use tarpc::context::Context;
use tarpc::server::{BaseChannel, Channel as _};
use tokio::net::UnixListener;
use tokio::sync::watch;

use crate::samples::{NOW, Samples, run_id};

/// What the daemon knows.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) samples: Samples,
    pub(crate) status: StatusView,
    pub(crate) tasks: Vec<TaskView>,
    pub(crate) approvals: Vec<ApprovalView>,
    pub(crate) events: Vec<EventView>,
    pub(crate) logs: Vec<(RunId, Vec<LogChunk>)>,
    /// Every request that came, in order.
    pub(crate) requests: Vec<Request>,
}

/// The daemon. Stops listening when dropped.
#[derive(Debug)]
pub(crate) struct Fake {
    pub(crate) socket: PathBuf,
    state: State,
    runtime: Option<tokio::runtime::Runtime>,
}

#[derive(Clone, Debug)]
struct State {
    world: Arc<Mutex<World>>,
    /// Counts changes of the world, for long polls.
    changes: watch::Sender<u64>,
}

impl Fake {
    /// Starts a daemon that listens on `socket`.
    pub(crate) fn start(socket: &Path, samples: Samples) -> Self {
        let world = World {
            samples,
            status: samples.status(),
            tasks: samples.tasks(),
            approvals: samples.approvals(),
            events: samples.events(),
            logs: vec![(run_id(3), samples.log()), (run_id(4), Vec::new())],
            requests: Vec::new(),
        };
        let state = State { world: Arc::new(Mutex::new(world)), changes: watch::Sender::new(0) };
        let mut fake = Self { socket: socket.to_owned(), state, runtime: None };
        fake.listen();
        fake
    }

    /// Looks at the world, or changes it.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.state.world.lock().unwrap()
    }

    /// Changes the world and tells everyone who waits, with an event.
    pub(crate) fn change(&self, change: impl FnOnce(&mut World)) {
        let mut world = self.world();
        change(&mut world);
        self.state.announce(&mut world, "task.changed");
    }

    /// Adds a line to a log.
    pub(crate) fn log(&self, run: RunId, text: &str) {
        let mut world = self.world();
        let (_, log) = world.logs.iter_mut().find(|(known, _)| *known == run).unwrap();
        let mut line = Samples::default().log().remove(1);
        line.bytes = Bytes(text.as_bytes().to_vec());
        log.push(line);
        self.state.changes.send_modify(|changes| *changes += 1);
    }

    /// Stops answering, as a daemon that was killed: connections break and the socket stays.
    pub(crate) fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Listens (again).
    pub(crate) fn listen(&mut self) {
        drop(std::fs::remove_file(&self.socket));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let _context = runtime.enter();
        let listener = UnixListener::bind(&self.socket).unwrap();
        runtime.spawn(serve(listener, self.state.clone()));
        self.runtime = Some(runtime);
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn serve(listener: UnixListener, state: State) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        tokio::spawn(async move {
            let Ok(transport) = wire::accept(stream, None).await else { return };
            let calls = BaseChannel::with_defaults(transport).execute(state.serve());
            calls.for_each(|call| async move { drop(tokio::spawn(call)) }).await;
        });
    }
}

impl State {
    fn announce(&self, world: &mut World, kind: &str) -> u64 {
        world.status.seq += 1;
        let mut event = world.samples.events().remove(0);
        (event.seq, event.kind) = (world.status.seq, kind.into());
        world.events.push(event);
        self.changes.send_modify(|changes| *changes += 1);
        world.status.seq
    }

    /// Tries until there is something or the time is over.
    async fn poll<T>(&self, wait_ms: u32, look: impl Fn(&World) -> Option<T>) -> Option<T> {
        let mut changes = self.changes.subscribe();
        let waiting = async {
            loop {
                changes.borrow_and_update();
                if let Some(found) = look(&self.world.lock().unwrap()) {
                    return Some(found);
                }
                if changes.changed().await.is_err() {
                    return None;
                }
            }
        };
        tokio::time::timeout(Duration::from_millis(wait_ms.into()), waiting).await.unwrap_or(None)
    }

    fn decide(&self, request: &Request) -> Result<Vec<Touched>, RpcError> {
        let mut world = self.world.lock().unwrap();
        world.requests.push(request.clone());
        match request {
            Request::ApprovalDecide { approval, digest, .. } => {
                let found = world.approvals.iter().position(|known| known.id.to_string() == approval.0);
                let index = found.ok_or_else(|| RpcError::new(ErrorCode::NotFound, "no such approval"))?;
                if digest.as_ref() != Some(&world.approvals[index].digest) {
                    return Err(RpcError::new(ErrorCode::StaleDigest, "it has changed").hint("look again"));
                }
                let approval = world.approvals.remove(index);
                world.status.approvals_pending -= 1;
                self.announce(&mut world, "approval.granted");
                Ok(vec![Touched { kind: EntityKind::Approval, id: approval.id.to_string(), name: approval.name }])
            }
            Request::TaskCancel { task, .. } => {
                let task = world.tasks.iter_mut().find(|known| known.id.to_string() == task.0);
                let task = task.ok_or_else(|| RpcError::new(ErrorCode::NotFound, "no such task"))?;
                task.state = TaskState::Cancelled;
                self.announce(&mut world, "task.cancelled");
                Ok(Vec::new())
            }
            Request::TaskSay { task, text } => {
                let task = world.tasks.iter_mut().find(|known| known.id.to_string() == task.0);
                let task = task.ok_or_else(|| RpcError::new(ErrorCode::NotFound, "no such task"))?;
                let (number, from, text) = (1, "user:alice".into(), text.clone());
                task.messages.push(MessageView { number, from, text, at: NOW, run: None, told_at: None, reply: None });
                self.announce(&mut world, "task.said");
                Ok(Vec::new())
            }
            _ => Err(RpcError::new(ErrorCode::Conflict, "not in this state").hint("look at `orchctl task why`")),
        }
    }
}

fn absent<T>() -> Result<T, RpcError> {
    Err(RpcError::new(ErrorCode::NotFound, "the fake daemon has none"))
}

impl Orch for State {
    async fn status(self, _: Context) -> Result<StatusView, RpcError> {
        Ok(self.world.lock().unwrap().status.clone())
    }
    async fn submit(self, _: Context, envelope: Envelope) -> Result<Accepted, RpcError> {
        let touched = self.decide(&envelope.request)?;
        let seq = self.world.lock().unwrap().status.seq;
        let notes = match &envelope.request {
            Request::TaskSay { .. } => vec!["the next attempt is told".to_owned()],
            _ => Vec::new(),
        };
        Ok(Accepted { seq, at: NOW, duplicate: false, touched, notes })
    }
    async fn projects(self, _: Context) -> Result<Vec<ProjectView>, RpcError> {
        Ok(self.world.lock().unwrap().samples.projects())
    }
    async fn project(self, _: Context, _: Ref) -> Result<ProjectView, RpcError> {
        Ok(self.world.lock().unwrap().samples.projects().remove(0))
    }
    async fn visions(self, _: Context, _: Ref) -> Result<Vec<VisionView>, RpcError> {
        Ok(Vec::new())
    }
    async fn vision(self, _: Context, _: Ref, _: Option<u32>) -> Result<VisionView, RpcError> {
        absent()
    }
    async fn requirements_list(self, _: Context, _: Ref) -> Result<Vec<RequirementsView>, RpcError> {
        Ok(vec![self.world.lock().unwrap().samples.requirements()])
    }
    async fn requirements(self, _: Context, _: Ref, _: Option<u32>) -> Result<RequirementsView, RpcError> {
        Ok(self.world.lock().unwrap().samples.requirements())
    }
    async fn requirements_diff(self, _: Context, _: Ref, _: u32, _: u32) -> Result<RequirementsDiff, RpcError> {
        absent()
    }
    async fn trace(self, _: Context, _: Ref, _: String) -> Result<TraceView, RpcError> {
        absent()
    }
    async fn plans(self, _: Context, _: Ref) -> Result<Vec<PlanView>, RpcError> {
        Ok(self.world.lock().unwrap().samples.plans())
    }
    async fn plan(self, _: Context, _: Ref, _: Option<u32>) -> Result<PlanView, RpcError> {
        Ok(self.world.lock().unwrap().samples.plans().remove(0))
    }
    async fn tasks(self, _: Context, _: TaskFilter) -> Result<Vec<TaskView>, RpcError> {
        Ok(self.world.lock().unwrap().tasks.clone())
    }
    async fn task(self, _: Context, task: Ref) -> Result<TaskView, RpcError> {
        let world = self.world.lock().unwrap();
        world.tasks.iter().find(|known| known.id.to_string() == task.0).cloned().map_or_else(absent, Ok)
    }
    async fn runs(self, _: Context, _: RunFilter) -> Result<Vec<RunView>, RpcError> {
        Ok(self.world.lock().unwrap().samples.runs())
    }
    async fn run(self, _: Context, run: Ref) -> Result<RunView, RpcError> {
        let runs = self.world.lock().unwrap().samples.runs();
        runs.into_iter().find(|known| known.id.to_string() == run.0).map_or_else(absent, Ok)
    }
    async fn run_log(
        self,
        _: Context,
        run: Ref,
        offset: u64,
        _: u32,
        wait_ms: u32,
        _: bool,
    ) -> Result<LogPage, RpcError> {
        let from = usize::try_from(offset).unwrap();
        let known = |world: &World| world.logs.iter().any(|(known, _)| known.to_string() == run.0);
        if !known(&self.world.lock().unwrap()) {
            return Ok(LogPage { chunks: Vec::new(), next_offset: offset, end: true });
        }
        let chunks = self
            .poll(wait_ms, |world| {
                let (_, log) = world.logs.iter().find(|(known, _)| known.to_string() == run.0)?;
                log.get(from..).filter(|chunks| !chunks.is_empty()).map(<[LogChunk]>::to_vec)
            })
            .await
            .unwrap_or_default();
        let next_offset = offset + chunks.len() as u64;
        Ok(LogPage { chunks, next_offset, end: false })
    }
    async fn artifact(self, _: Context, _: Ref, _: String, _: u64) -> Result<Bytes, RpcError> {
        absent()
    }
    async fn run_exchanges(self, _: Context, _: Ref, _: u32, _: u32) -> Result<Vec<ExchangeView>, RpcError> {
        Ok(Vec::new())
    }
    async fn run_exchange(self, _: Context, _: Ref, _: u32, _: ExchangePart, _: u64) -> Result<Bytes, RpcError> {
        absent()
    }
    async fn info_requests(self, _: Context, _: InfoRequestFilter) -> Result<Vec<InfoRequestView>, RpcError> {
        Ok(self.world.lock().unwrap().samples.questions())
    }

    async fn info_request(self, _: Context, _: Ref) -> Result<InfoRequestView, RpcError> {
        absent()
    }

    async fn info_answer(
        self,
        _: Context,
        _: Ref,
        _: CommandId,
        _: BTreeMap<String, Bytes>,
    ) -> Result<Accepted, RpcError> {
        absent()
    }

    async fn approvals(self, _: Context, _: ApprovalFilter) -> Result<Vec<ApprovalView>, RpcError> {
        Ok(self.world.lock().unwrap().approvals.clone())
    }
    async fn approval(self, _: Context, _: Ref) -> Result<ApprovalView, RpcError> {
        absent()
    }
    async fn changes(self, _: Context, _: Option<Ref>) -> Result<Vec<ChangeView>, RpcError> {
        Ok(Vec::new())
    }
    async fn change(self, _: Context, _: Ref) -> Result<ChangeView, RpcError> {
        absent()
    }
    async fn change_diff(self, _: Context, _: Ref) -> Result<DiffView, RpcError> {
        Ok(self.world.lock().unwrap().samples.diff())
    }
    async fn events_since(
        self,
        _: Context,
        after: u64,
        limit: u32,
        wait_ms: u32,
        _: bool,
    ) -> Result<EventPage, RpcError> {
        let events = self
            .poll(wait_ms, |world| {
                let newer = world.events.iter().filter(|event| event.seq > after).take(limit as usize);
                let newer: Vec<EventView> = newer.cloned().collect();
                (!newer.is_empty()).then_some(newer)
            })
            .await
            .unwrap_or_default();
        let next = events.last().map_or(after, |event| event.seq);
        Ok(EventPage { events, next, head: self.world.lock().unwrap().status.seq, outage: false })
    }
    async fn undo_preview(self, _: Context, _: Option<u64>) -> Result<UndoView, RpcError> {
        absent()
    }
    async fn stats(self, _: Context, _: Option<Ref>) -> Result<StatsView, RpcError> {
        Err(RpcError::new(ErrorCode::Internal, "nothing is counted here"))
    }
    async fn audit_verify(self, _: Context) -> Result<AuditReport, RpcError> {
        Ok(AuditReport { events: 6, head_hash: "6".repeat(64), broken_at: None })
    }
    async fn check(self, _: Context) -> Result<CheckReport, RpcError> {
        absent()
    }
    async fn upkeep_start(self, _: Context, _: UpkeepRequest) -> Result<UpkeepView, RpcError> {
        absent()
    }
    async fn upkeep(self, _: Context, _: u64, _: u32) -> Result<Option<UpkeepView>, RpcError> {
        Ok(None)
    }
    async fn upkeep_cancel(self, _: Context) -> Result<UpkeepView, RpcError> {
        absent()
    }
    async fn secrets(self, _: Context) -> Result<Vec<SecretView>, RpcError> {
        Ok(Vec::new())
    }
    async fn secret_set(self, _: Context, _: String, _: Bytes) -> Result<(), RpcError> {
        Ok(())
    }
    async fn secret_remove(self, _: Context, _: String) -> Result<(), RpcError> {
        Ok(())
    }
    async fn tools(self, _: Context) -> Result<Vec<ToolView>, RpcError> {
        Ok(Vec::new())
    }
    async fn tool(self, _: Context, _: String, _: u32) -> Result<ToolView, RpcError> {
        absent()
    }
    async fn tool_install(self, _: Context, _: String) -> Result<ToolView, RpcError> {
        absent()
    }
    async fn tool_remove(self, _: Context, _: String) -> Result<(), RpcError> {
        absent()
    }
    async fn doctor(self, _: Context) -> Result<DoctorReport, RpcError> {
        Ok(self.world.lock().unwrap().samples.doctor())
    }
    async fn shutdown(self, _: Context) -> Result<(), RpcError> {
        Ok(())
    }
}
