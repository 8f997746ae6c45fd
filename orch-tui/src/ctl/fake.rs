//! A daemon for tests: answers over a real socket from a state that the test writes, and records what was asked.
//!
//! Decides nothing by itself but what a test cannot do in time: it knows keys that were used and makes an event per
//! change, so that long polls wake.

mod hostile;
mod tools;
mod touched;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use orch_proto::id::{CommandId, InstanceId};
use orch_proto::request::{Accepted, Bytes, Envelope, Role};
use orch_proto::service::Orch;
use orch_proto::view::*;
use orch_proto::{ErrorCode, Ref, RpcError, Timestamp, wire};
use tarpc::context::Context;
use tarpc::server::{BaseChannel, Channel as _};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::fmt::samples;
pub(super) use hostile::hostile;
use touched::touched;

/// What the fake daemon knows.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) projects: Vec<ProjectView>,
    pub(super) requirements: Vec<RequirementsView>,
    pub(super) plans: Vec<PlanView>,
    pub(super) tasks: Vec<TaskView>,
    pub(super) runs: Vec<RunView>,
    pub(super) log: Vec<LogChunk>,
    pub(super) log_end: bool,
    pub(super) approvals: Vec<ApprovalView>,
    pub(super) changes: Vec<ChangeView>,
    pub(super) infos: Vec<InfoRequestView>,
    /// What questions were answered with.
    pub(super) answered: Vec<BTreeMap<String, Bytes>>,
    pub(super) diff: String,
    pub(super) artifact: Vec<u8>,
    pub(super) exchanges: Vec<ExchangeView>,
    /// By the number of the exchange, and whether it is the answer.
    pub(super) texts: BTreeMap<(u32, bool), Vec<u8>>,
    pub(super) doctor: Vec<DoctorCheck>,
    pub(super) isolation: IsolationView,
    pub(super) cases: Vec<CaseView>,
    pub(super) events: Vec<EventView>,
    pub(super) stats: Option<StatsView>,
    /// What was asked for, in order.
    pub(super) submitted: Vec<Envelope>,
    /// Names that no request may touch.
    pub(super) refused: Vec<String>,
    /// What an answer says besides the usual.
    pub(super) notes: Vec<String>,
    /// What a backup finds missing.
    pub(super) damage: Vec<String>,
    pub(super) tools: Vec<ToolView>,
    /// Work on the state that was asked for.
    pub(super) upkeep: Vec<UpkeepRequest>,
    /// The connection is cut after this many requests were taken, once.
    pub(super) cut_after_submit: bool,
}

/// A daemon on a socket of its own. Stops when dropped.
#[derive(Debug)]
pub(super) struct Fake {
    directory: Arc<tempfile::TempDir>,
    state: Arc<Mutex<State>>,
    head: watch::Sender<u64>,
    listener: Option<JoinHandle<()>>,
}

impl Fake {
    /// Starts with this state.
    pub(super) fn start(state: State) -> Self {
        let head = watch::Sender::new(u64::try_from(state.events.len()).unwrap());
        let mut fake = Self {
            directory: Arc::new(tempfile::tempdir().unwrap()),
            state: Arc::new(Mutex::new(state)),
            head,
            listener: None,
        };
        fake.listen();
        fake
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.directory.path().join("s")
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Looks at the state.
    pub(super) fn see<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock().unwrap())
    }

    /// Changes the state and makes an event of it.
    pub(super) fn edit(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap();
        change(&mut state);
        record(&mut state, &self.head);
    }

    /// Listens on the socket, again after a [`Fake::stop`].
    pub(super) fn listen(&mut self) {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let service = Service { state: Arc::clone(&self.state), head: self.head.clone() };
        self.listener = Some(tokio::spawn(serve(listener, service)));
    }

    /// Cuts all connections and leaves no socket behind.
    pub(super) async fn stop(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.abort();
            drop(listener.await);
        }
        std::fs::remove_file(self.socket()).unwrap();
    }
}

/// Serves connections as children of this task, so that aborting it cuts them all.
async fn serve(listener: UnixListener, service: Service) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let service = service.clone();
        connections.spawn(async move {
            let Ok(transport) = wire::accept(stream, None).await else { return };
            let watched = service.clone();
            let cut = watched.cut();
            let answers =
                BaseChannel::with_defaults(transport).execute(service.serve()).for_each_concurrent(64, |answer| answer);
            tokio::select! { () = answers => {}, () = cut => {} }
        });
    }
}

fn record(state: &mut State, head: &watch::Sender<u64>) {
    let seq = u64::try_from(state.events.len()).unwrap() + 1;
    state.events.push(EventView {
        seq,
        at: samples::AT.plus_ms(seq),
        actor: "user:alice".into(),
        kind: "task.changed".into(),
        project: Some("shop".into()),
        subject: "T-1".into(),
        text: "something \x1b[31mhappened\u{202e}".into(),
        hash: "00".repeat(32),
        data: None,
    });
    head.send_replace(seq);
}

#[derive(Clone)]
struct Service {
    state: Arc<Mutex<State>>,
    head: watch::Sender<u64>,
}

impl Service {
    fn see<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    /// Resolves when the connection is to be cut.
    async fn cut(&self) {
        let mut head = self.head.subscribe();
        loop {
            if self.see(|state| !state.submitted.is_empty() && std::mem::take(&mut state.cut_after_submit)) {
                return;
            }
            if head.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until there is an event after `after`, or the time is over.
    async fn wait(&self, after: u64, wait_ms: u32) {
        let mut head = self.head.subscribe();
        let newer = head.wait_for(|head| *head > after);
        drop(tokio::time::timeout(Duration::from_millis(wait_ms.into()), newer).await);
    }
}

fn missing<T>(name: impl std::fmt::Display) -> Result<T, RpcError> {
    Err(RpcError::new(ErrorCode::NotFound, format!("there is no `{name}`")).hint("look at the list"))
}

/// Finds by full name, short name or id.
fn find<T: Clone>(items: &[T], wanted: &Ref, names: impl Fn(&T) -> (String, String)) -> Result<T, RpcError> {
    let fits = |item: &&T| {
        let (name, id) = names(item);
        name == wanted.0 || id == wanted.0 || name.split_once('/').is_some_and(|(_, short)| short == wanted.0)
    };
    items.iter().find(fits).cloned().map_or_else(|| missing(wanted), Ok)
}

fn version<T: Clone>(items: &[T], wanted: Option<u32>, number: impl Fn(&T) -> u32) -> Result<T, RpcError> {
    let found =
        items.iter().filter(|item| wanted.is_none_or(|wanted| number(item) == wanted)).max_by_key(|item| number(item));
    found.cloned().map_or_else(|| missing(format!("version {wanted:?}")), Ok)
}

impl Orch for Service {
    async fn status(self, _: Context) -> Result<StatusView, RpcError> {
        let seq = *self.head.borrow();
        Ok(self.see(|state| StatusView {
            version: "0.1.0".into(),
            instance: samples::id::<InstanceId>(1),
            pid: 4_000_000,
            state_directory: "/state".into(),
            started_at: samples::AT,
            now: samples::AT.plus_ms(65_000),
            seq,
            user: "alice".into(),
            role: Role::Admin,
            projects: u32::try_from(state.projects.len()).unwrap(),
            tasks_queued: 1,
            tasks_without_agent: 0,
            runs_active: 0,
            approvals_pending: u32::try_from(state.approvals.len()).unwrap(),
            questions_pending: 0,
            tasks_failed: 0,
            runs_max: 4,
            isolation_level: 3,
            isolation_required: 3,
            outage: None,
            warnings: vec!["the disk is \x1b[5mfull".into()],
        }))
    }

    async fn submit(self, _: Context, envelope: Envelope) -> Result<Accepted, RpcError> {
        let touched = self.see(|state| touched(state, &envelope.request))?;
        let (duplicate, cut) = self.see(|state| {
            let duplicate = state.submitted.iter().any(|known| known.key == envelope.key);
            if !duplicate {
                state.submitted.push(envelope);
            }
            record(state, &self.head);
            (duplicate, state.cut_after_submit)
        });
        if cut {
            // The connection is cut before the answer goes out.
            std::future::pending::<()>().await;
        }
        let seq = *self.head.borrow();
        let notes = self.see(|state| [vec!["note\x07".into()], state.notes.clone()].concat());
        Ok(Accepted { seq, at: samples::AT, duplicate, touched, notes })
    }

    async fn projects(self, _: Context) -> Result<Vec<ProjectView>, RpcError> {
        Ok(self.see(|state| state.projects.clone()))
    }

    async fn project(self, _: Context, project: Ref) -> Result<ProjectView, RpcError> {
        self.see(|state| find(&state.projects, &project, |item| (item.name.clone(), item.id.to_string())))
    }

    async fn visions(self, _: Context, _: Ref) -> Result<Vec<VisionView>, RpcError> {
        Ok(vec![])
    }

    async fn vision(self, _: Context, project: Ref, _: Option<u32>) -> Result<VisionView, RpcError> {
        missing(project)
    }

    async fn requirements_list(self, _: Context, _: Ref) -> Result<Vec<RequirementsView>, RpcError> {
        Ok(self.see(|state| state.requirements.clone()))
    }

    async fn requirements(self, _: Context, _: Ref, wanted: Option<u32>) -> Result<RequirementsView, RpcError> {
        self.see(|state| version(&state.requirements, wanted, |item| item.version))
    }

    async fn requirements_diff(self, _: Context, _: Ref, from: u32, to: u32) -> Result<RequirementsDiff, RpcError> {
        // In the order of the letters, as the daemon's tables have it.
        let added = ["REQ-1", "REQ-10", "REQ-2"]
            .map(|key| RequirementView { key: key.to_owned(), ..samples::requirements().requirements.swap_remove(0) });
        Ok(RequirementsDiff { from, to, added: added.into(), removed: vec![], changed: vec![], unchanged: 0 })
    }

    async fn trace(self, _: Context, _: Ref, key: String) -> Result<TraceView, RpcError> {
        let requirements = self.see(|state| version(&state.requirements, None, |item| item.version))?;
        let found = requirements.requirements.into_iter().find(|item| item.key == key);
        found.map_or_else(
            || missing(&key),
            |requirement| Ok(TraceView { requirement, requirements_version: 1, vision_version: 1, tasks: vec![] }),
        )
    }

    async fn plans(self, _: Context, _: Ref) -> Result<Vec<PlanView>, RpcError> {
        Ok(self.see(|state| state.plans.clone()))
    }

    async fn plan(self, _: Context, _: Ref, wanted: Option<u32>) -> Result<PlanView, RpcError> {
        self.see(|state| version(&state.plans, wanted, |item| item.version))
    }

    async fn tasks(self, _: Context, filter: TaskFilter) -> Result<Vec<TaskView>, RpcError> {
        let fits = |task: &&TaskView| filter.states.is_empty() || filter.states.contains(&task.state);
        Ok(self.see(|state| state.tasks.iter().filter(fits).cloned().collect()))
    }

    async fn task(self, _: Context, task: Ref) -> Result<TaskView, RpcError> {
        self.see(|state| find(&state.tasks, &task, |item| (item.name.clone(), item.id.to_string())))
    }

    async fn runs(self, _: Context, _: RunFilter) -> Result<Vec<RunView>, RpcError> {
        Ok(self.see(|state| state.runs.clone()))
    }

    async fn run(self, _: Context, run: Ref) -> Result<RunView, RpcError> {
        self.see(|state| find(&state.runs, &run, |item| (item.name.clone(), item.id.to_string())))
    }

    async fn run_log(
        self,
        _: Context,
        _: Ref,
        offset: u64,
        _: u32,
        wait_ms: u32,
        _: bool,
    ) -> Result<LogPage, RpcError> {
        let from = usize::try_from(offset).unwrap();
        let head = *self.head.borrow();
        if self.see(|state| state.log.len() <= from && !state.log_end) {
            self.wait(head, wait_ms).await;
        }
        // Offsets count chunks here; clients must take them as they come.
        Ok(self.see(|state| {
            let chunks: Vec<_> = state.log.iter().skip(from).take(3).cloned().collect();
            let next = from + chunks.len();
            LogPage { chunks, next_offset: u64::try_from(next).unwrap(), end: state.log_end && next >= state.log.len() }
        }))
    }

    async fn artifact(self, _: Context, _: Ref, _: String, offset: u64) -> Result<Bytes, RpcError> {
        let from = usize::try_from(offset).unwrap();
        Ok(Bytes(self.see(|state| state.artifact.iter().skip(from).take(4).copied().collect())))
    }

    async fn run_exchanges(self, _: Context, _: Ref, after: u32, _: u32) -> Result<Vec<ExchangeView>, RpcError> {
        Ok(self.see(|state| state.exchanges.iter().filter(|known| known.number > after).cloned().collect()))
    }

    async fn run_exchange(
        self,
        _: Context,
        run: Ref,
        number: u32,
        part: ExchangePart,
        offset: u64,
    ) -> Result<Bytes, RpcError> {
        let from = usize::try_from(offset).unwrap();
        let text = self.see(|state| state.texts.get(&(number, part == ExchangePart::Answer)).cloned());
        text.map_or_else(|| missing(run), |text| Ok(Bytes(text.into_iter().skip(from).take(9).collect())))
    }

    async fn approvals(self, _: Context, filter: ApprovalFilter) -> Result<Vec<ApprovalView>, RpcError> {
        let fits = |item: &&ApprovalView| !filter.pending || item.state == ApprovalState::Pending;
        Ok(self.see(|state| state.approvals.iter().filter(fits).cloned().collect()))
    }

    async fn approval(self, _: Context, approval: Ref) -> Result<ApprovalView, RpcError> {
        self.see(|state| find(&state.approvals, &approval, |item| (item.name.clone(), item.id.to_string())))
    }

    async fn info_requests(self, _: Context, _: InfoRequestFilter) -> Result<Vec<InfoRequestView>, RpcError> {
        Ok(self.see(|state| state.infos.clone()))
    }

    async fn info_request(self, _: Context, info: Ref) -> Result<InfoRequestView, RpcError> {
        self.see(|state| find(&state.infos, &info, |item| (item.name.clone(), item.id.to_string())))
    }

    async fn info_answer(
        self,
        _: Context,
        _: Ref,
        _: CommandId,
        values: BTreeMap<String, Bytes>,
    ) -> Result<Accepted, RpcError> {
        self.see(|state| state.answered.push(values));
        Ok(Accepted { seq: 1, at: samples::AT, duplicate: false, touched: Vec::new(), notes: Vec::new() })
    }

    async fn changes(self, _: Context, _: Option<Ref>) -> Result<Vec<ChangeView>, RpcError> {
        Ok(self.see(|state| state.changes.clone()))
    }

    async fn change(self, _: Context, change: Ref) -> Result<ChangeView, RpcError> {
        self.see(|state| find(&state.changes, &change, |item| (item.name.clone(), item.id.to_string())))
    }

    async fn change_diff(self, _: Context, change: Ref) -> Result<DiffView, RpcError> {
        Ok(DiffView { name: change.0, text: self.see(|state| state.diff.clone()), truncated: false })
    }

    async fn events_since(
        self,
        _: Context,
        after: u64,
        limit: u32,
        wait_ms: u32,
        _: bool,
    ) -> Result<EventPage, RpcError> {
        self.wait(after, wait_ms).await;
        let head = *self.head.borrow();
        Ok(self.see(|state| {
            let events: Vec<_> = state
                .events
                .iter()
                .filter(|event| event.seq > after)
                .take(usize::try_from(limit).unwrap())
                .cloned()
                .collect();
            EventPage { next: events.last().map_or(after, |event| event.seq), events, head, outage: false }
        }))
    }

    async fn undo_preview(self, _: Context, event: Option<u64>) -> Result<UndoView, RpcError> {
        let last = event.unwrap_or(4);
        let against = (last == 2).then(|| {
            RpcError::new(ErrorCode::Conflict, "R-1 has begun since then").hint("end it with `orchctl run cancel R-1`")
        });
        Ok(UndoView {
            event: last,
            last_event: last,
            at: Timestamp::from_unix_us(0),
            actor: "user:ann".into(),
            done: vec![format!("task.held shop/T-{last}: held: \x1b[31mlunch")],
            undid: None,
            back: if against.is_none() { vec![format!("T-{last} is approved again")] } else { Vec::new() },
            against,
        })
    }

    async fn stats(self, _: Context, project: Option<Ref>) -> Result<StatsView, RpcError> {
        let project = project.map(|project| project.0);
        Ok(self.see(|state| StatsView { project, ..state.stats.clone().unwrap_or_else(samples::no_stats) }))
    }

    async fn audit_verify(self, _: Context) -> Result<AuditReport, RpcError> {
        Ok(AuditReport { events: 1, head_hash: "00".into(), broken_at: Some((1, "bad \x1b hash".into())) })
    }

    async fn check(self, _: Context) -> Result<CheckReport, RpcError> {
        let audit = AuditReport { events: 1, head_hash: "00".into(), broken_at: None };
        Ok(CheckReport {
            audit,
            rows_compared: 3,
            differences: vec![],
            blobs_missing: vec![],
            integrity: "ok".into(),
            blobs_read: 0,
            blobs_damaged: vec![],
            repositories: 0,
            repositories_wrong: vec![],
            orphans: vec![],
            not_looked_at: vec![],
        })
    }

    async fn upkeep_start(self, context: Context, request: UpkeepRequest) -> Result<UpkeepView, RpcError> {
        self.state.lock().unwrap().upkeep.push(request.clone());
        let outcome = match &request {
            UpkeepRequest::Gc { dry_run } => UpkeepOutcome::Gc(GcReport {
                dry_run: *dry_run,
                kinds: vec![GcKind { kind: "log".into(), count: 2, size_bytes: 4_000 }],
                failed: self.see(|state| state.damage.clone()),
                ..GcReport::default()
            }),
            UpkeepRequest::Check => UpkeepOutcome::Check(self.clone().check(context).await?),
            UpkeepRequest::Backup { directory, .. } => UpkeepOutcome::Backup(BackupReport {
                directory: directory.clone(),
                made_at: Timestamp::from_unix_us(0),
                head_seq: 1,
                head_hash: "00".into(),
                files: 2,
                size_bytes: 2_000,
                secrets: vec![],
                secrets_left_out: vec!["token".into()],
                damage: self.see(|state| state.damage.clone()),
            }),
        };
        Ok(UpkeepView {
            number: 1,
            request,
            user: "alice".into(),
            started_at: Timestamp::from_unix_us(0),
            revision: 1,
            phase: "over".into(),
            done: 0,
            total: 0,
            outcome: Some(outcome),
        })
    }
    async fn upkeep(self, _: Context, _: u64, _: u32) -> Result<Option<UpkeepView>, RpcError> {
        Ok(None)
    }
    async fn upkeep_cancel(self, _: Context) -> Result<UpkeepView, RpcError> {
        Err(RpcError::new(ErrorCode::NotFound, "no backup or check is under way"))
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
        Ok(self.see(|state| state.tools.clone()))
    }
    async fn tool(self, _: Context, name: String, _: u32) -> Result<ToolView, RpcError> {
        self.see(|state| tools::look(state, &name))
    }
    async fn tool_install(self, _: Context, name: String) -> Result<ToolView, RpcError> {
        self.see(|state| tools::install(state, &name))
    }
    async fn tool_remove(self, _: Context, name: String) -> Result<(), RpcError> {
        self.see(|state| state.tools.retain(|tool| tool.name != name));
        Ok(())
    }
    async fn doctor(self, _: Context) -> Result<DoctorReport, RpcError> {
        Ok(DoctorReport {
            checks: self.see(|state| state.doctor.clone()),
            isolation: self.see(|state| state.isolation.clone()),
            cases: self.see(|state| state.cases.clone()),
            isolation_level: 3,
            isolation_required: 3,
        })
    }

    async fn shutdown(self, _: Context) -> Result<(), RpcError> {
        Ok(())
    }
}
