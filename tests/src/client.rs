//! A client of the story's daemon: the calls that stories make, and waits for what they lead to.
//!
//! Waits look at the state and follow the event log in between, so that nothing is missed and nothing is guessed. Knows
//! the contract only.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use orch_proto::id::CommandId;
use orch_proto::request::{Accepted, Bytes, Decision, Envelope, Planner, RepoSource, Request};
use orch_proto::view::{
    ApprovalFilter, ApprovalView, AuditReport, ChangeView, CheckReport, EventView, LogChunk, LogStream, PlanView,
    ProjectState, ProjectView, RequirementsView, RunFilter, RunView, StatusView, TaskFilter, TaskState, TaskView,
    Terms, TraceView,
};
use orch_proto::wire;
use orch_proto::{ErrorCode, LOG_PAGE_BYTES_MAX, PAGE_ITEMS_MAX, Ref, RpcError};

use crate::poll::PATIENCE;

/// How long one call waits for events or for more of a log, in milliseconds.
const WAIT_MS: u32 = 4_000;

/// A connection to the daemon.
#[derive(Clone, Debug)]
pub struct Client {
    wire: wire::Client,
}

impl Client {
    /// Connects to a daemon that is ready.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn connect(socket: &Path) -> anyhow::Result<Self> {
        Ok(Self { wire: wire::Client::connect(socket).await? })
    }

    /// The connection itself, for calls that few stories make.
    #[must_use]
    pub const fn wire(&self) -> &wire::Client {
        &self.wire
    }

    /// Sends a request with a new key.
    ///
    /// # Errors
    /// What the daemon answered.
    pub async fn submit(&self, request: Request) -> Result<Accepted, RpcError> {
        self.wire.submit(Envelope { key: CommandId::generate(), request }).await
    }

    /// Sends a request that must be refused, and gives the refusal.
    ///
    /// # Errors
    /// When it is accepted, or refused with another code.
    pub async fn refused(&self, code: ErrorCode, request: Request) -> anyhow::Result<RpcError> {
        let shown = format!("{request:.300?}");
        match self.submit(request).await {
            Ok(accepted) => bail!("accepted: {shown}: {accepted:?}"),
            Err(error) if error.code == code => Ok(error),
            Err(error) => bail!("refused with {} instead of {code}: {error}: {shown}", error.code),
        }
    }

    /// Makes a project and waits for its repository.
    ///
    /// # Errors
    /// When it is refused or its repository cannot be made.
    pub async fn project_create(&self, name: &str, repo: RepoSource) -> anyhow::Result<ProjectView> {
        self.submit(Request::ProjectCreate { name: name.to_owned(), repo }).await?;
        let project = self
            .wait_until("a repository", async |client| {
                let project = client.project(name).await?;
                Ok((project.state != ProjectState::Preparing).then_some(project))
            })
            .await?;
        ensure!(project.state == ProjectState::Ready, "the project is {:?}", project.state);
        Ok(project)
    }

    /// Takes a Vision to a proposed plan: submits it, derives requirements and approves them, plans.
    ///
    /// # Errors
    /// When a step is refused.
    pub async fn plan_from(&self, project: &str, text: &[u8]) -> anyhow::Result<(RequirementsView, PlanView)> {
        let name = Ref::from(project);
        let file_name = "vision.md".to_owned();
        self.submit(Request::VisionSubmit { project: name.clone(), file_name, text: Bytes(text.to_vec()) }).await?;
        self.submit(Request::RequirementsPropose { project: name.clone(), vision: None, planner: Planner::default() })
            .await?;
        let requirements = self.requirements(project).await?;
        let digest = Some(requirements.digest.clone());
        let (version, decision) = (Some(requirements.version), Decision::Approve);
        let approve = Request::RequirementsDecide { project: name.clone(), version, decision, digest, reason: None };
        self.submit(approve).await?;
        self.submit(Request::PlanPropose { project: name, planner: Planner::default() }).await?;
        Ok((requirements, self.plan(project).await?))
    }

    /// Approves a plan as it was shown.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn plan_approve(&self, plan: &PlanView) -> Result<Accepted, RpcError> {
        self.submit(Request::PlanDecide {
            project: Ref(plan.project.clone()),
            version: Some(plan.version),
            decision: Decision::Approve,
            digest: Some(plan.digest.clone()),
            reason: None,
        })
        .await
    }

    /// Makes a task of a run recipe and puts it into the queue. Gives its short name, as `shop/T-1`.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn task_create(&self, project: &str, title: &str, recipe: &str) -> anyhow::Result<String> {
        let accepted = self.submit(task_request(project, title, recipe)).await?;
        let touched = accepted.touched.first().context("a new task has a name")?;
        Ok(touched.name.clone())
    }

    /// Answers an approval as it was shown.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn decide(&self, approval: &ApprovalView, decision: Decision) -> Result<Accepted, RpcError> {
        self.submit(Request::ApprovalDecide {
            approval: Ref(approval.name.clone()),
            decision,
            digest: Some(approval.digest.clone()),
            reason: Some("because the story says so".to_owned()),
        })
        .await
    }

    /// # Errors
    /// What the daemon answered.
    pub async fn status(&self) -> Result<StatusView, RpcError> {
        self.wire.call(async |orch, context| orch.status(context).await).await
    }

    /// # Errors
    /// What the daemon answered.
    pub async fn project(&self, project: &str) -> Result<ProjectView, RpcError> {
        let project = Ref::from(project);
        self.wire.call(async |orch, context| orch.project(context, project).await).await
    }

    /// The newest version.
    ///
    /// # Errors
    /// What the daemon answered.
    pub async fn requirements(&self, project: &str) -> Result<RequirementsView, RpcError> {
        let project = Ref::from(project);
        self.wire.call(async |orch, context| orch.requirements(context, project, None).await).await
    }

    /// The newest version.
    ///
    /// # Errors
    /// What the daemon answered.
    pub async fn plan(&self, project: &str) -> Result<PlanView, RpcError> {
        let project = Ref::from(project);
        self.wire.call(async |orch, context| orch.plan(context, project, None).await).await
    }

    /// # Errors
    /// What the daemon answered.
    pub async fn trace(&self, project: &str, key: &str) -> Result<TraceView, RpcError> {
        let (project, key) = (Ref::from(project), key.to_owned());
        self.wire.call(async |orch, context| orch.trace(context, project, key).await).await
    }

    /// All tasks of a project.
    ///
    /// # Errors
    /// What the daemon answered.
    pub async fn tasks(&self, project: &str) -> Result<Vec<TaskView>, RpcError> {
        let filter = TaskFilter { project: Some(Ref::from(project)), ..TaskFilter::default() };
        self.wire.call(async |orch, context| orch.tasks(context, filter).await).await
    }

    /// # Errors
    /// What the daemon answered.
    pub async fn task(&self, task: &str) -> Result<TaskView, RpcError> {
        let task = Ref::from(task);
        self.wire.call(async |orch, context| orch.task(context, task).await).await
    }

    /// All runs of a project, gates included, oldest first.
    ///
    /// # Errors
    /// What the daemon answered.
    pub async fn runs(&self, project: &str) -> Result<Vec<RunView>, RpcError> {
        let filter = RunFilter { project: Some(Ref::from(project)), ..RunFilter::default() };
        let mut runs = self.wire.call(async |orch, context| orch.runs(context, filter).await).await?;
        runs.sort_by_key(|run| run.number);
        Ok(runs)
    }

    /// All changes of a project.
    ///
    /// # Errors
    /// What the daemon answered.
    pub async fn changes(&self, project: &str) -> Result<Vec<ChangeView>, RpcError> {
        let project = Some(Ref::from(project));
        self.wire.call(async |orch, context| orch.changes(context, project).await).await
    }

    /// Everything that people were asked.
    ///
    /// # Errors
    /// What the daemon answered.
    pub async fn approvals(&self, project: &str) -> Result<Vec<ApprovalView>, RpcError> {
        let filter = ApprovalFilter { project: Some(Ref::from(project)), pending: false };
        self.wire.call(async |orch, context| orch.approvals(context, filter).await).await
    }

    /// Approvals that wait for an answer.
    ///
    /// # Errors
    /// What the daemon answered.
    pub async fn approvals_pending(&self, project: &str) -> Result<Vec<ApprovalView>, RpcError> {
        let filter = ApprovalFilter { project: Some(Ref::from(project)), pending: true };
        self.wire.call(async |orch, context| orch.approvals(context, filter).await).await
    }

    /// # Errors
    /// What the daemon answered.
    pub async fn check(&self) -> Result<CheckReport, RpcError> {
        self.wire.call(async |orch, context| orch.check(context).await).await
    }

    /// # Errors
    /// What the daemon answered.
    pub async fn audit_verify(&self) -> Result<AuditReport, RpcError> {
        self.wire.call(async |orch, context| orch.audit_verify(context).await).await
    }

    /// Asks the daemon to stop.
    ///
    /// # Errors
    /// What the daemon answered.
    pub async fn shutdown(&self) -> Result<(), RpcError> {
        self.wire.call(async |orch, context| orch.shutdown(context).await).await
    }

    /// Every event so far.
    ///
    /// # Errors
    /// What the daemon answered.
    pub async fn events(&self) -> Result<Vec<EventView>, RpcError> {
        let mut events = Vec::new();
        let mut after = 0;
        loop {
            let page = self
                .wire
                .call(async |orch, context| orch.events_since(context, after, PAGE_ITEMS_MAX, 0, true).await)
                .await?;
            if page.events.is_empty() {
                return Ok(events);
            }
            after = page.next;
            events.extend(page.events);
        }
    }

    /// Waits for an event of this kind after the one with number `after`.
    ///
    /// # Errors
    /// When it takes too long.
    pub async fn event(&self, kind: &str, after: u64) -> anyhow::Result<EventView> {
        let deadline = Instant::now() + PATIENCE;
        let mut after = after;
        while Instant::now() < deadline {
            let page = self
                .wire
                .call(async |orch, context| orch.events_since(context, after, PAGE_ITEMS_MAX, WAIT_MS, false).await)
                .await?;
            after = page.next;
            if let Some(found) = page.events.into_iter().find(|event| event.kind == kind) {
                return Ok(found);
            }
        }
        bail!("waited {} s for {kind}\n{}", PATIENCE.as_secs(), self.board().await?)
    }

    /// The log of a run as far as it goes now.
    ///
    /// # Errors
    /// What the daemon answered.
    pub async fn log(&self, run: &str) -> Result<Vec<LogChunk>, RpcError> {
        let mut chunks = Vec::new();
        let mut offset = 0;
        loop {
            let name = Ref::from(run);
            let page = self
                .wire
                .call(async |orch, context| orch.run_log(context, name, offset, LOG_PAGE_BYTES_MAX, 0, true).await)
                .await?;
            if page.chunks.is_empty() {
                return Ok(chunks);
            }
            offset = page.next_offset;
            chunks.extend(page.chunks);
        }
    }

    /// What a step of a run has written to its standard output, byte for byte. Step 0 is the checkout.
    ///
    /// # Errors
    /// What the daemon answered.
    pub async fn stdout(&self, run: &str, step: u32) -> Result<Vec<u8>, RpcError> {
        Ok(written(&self.log(run).await?, step, LogStream::Stdout))
    }

    /// Follows the log of a run until its standard output has `line`.
    ///
    /// # Errors
    /// When the run ends without it, or it takes too long.
    pub async fn log_line(&self, run: &str, line: &str) -> anyhow::Result<()> {
        self.log_until(run, line, |bytes| bytes == line.as_bytes()).await
    }

    /// The same for a line that begins with `start`.
    ///
    /// # Errors
    /// As [`Client::log_line`].
    pub async fn log_begins(&self, run: &str, start: &str) -> anyhow::Result<()> {
        self.log_until(run, start, |bytes| bytes.starts_with(start.as_bytes())).await
    }

    async fn log_until(&self, run: &str, line: &str, wanted: impl Fn(&[u8]) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut offset = 0;
        while Instant::now() < deadline {
            let name = Ref::from(run);
            let page = self
                .wire
                .call(async |orch, context| {
                    orch.run_log(context, name, offset, LOG_PAGE_BYTES_MAX, WAIT_MS, true).await
                })
                .await?;
            if page.chunks.iter().any(|chunk| chunk.stream == LogStream::Stdout && wanted(&chunk.bytes.0)) {
                return Ok(());
            }
            offset = page.next_offset;
            ensure!(!page.end, "{run} ended without the line `{line}`");
        }
        bail!("waited {} s for the line `{line}` of {run}", PATIENCE.as_secs())
    }

    /// Waits until a task is in a state.
    ///
    /// # Errors
    /// When it comes to an end in another one, or takes too long.
    pub async fn task_in(&self, task: &str, state: TaskState) -> anyhow::Result<TaskView> {
        self.wait_until(&format!("{task} to be {}", state.label()), async |client| {
            let found = client.task(task).await?;
            let over = matches!(found.state, TaskState::Done | TaskState::Failed | TaskState::Cancelled);
            ensure!(found.state == state || !over, "{task} is {}: {found:#?}", found.state.label());
            Ok((found.state == state).then_some(found))
        })
        .await
    }

    /// Waits until `look` finds something. Looks again whenever something has happened.
    ///
    /// # Errors
    /// That of a look, or that it took longer than [`PATIENCE`].
    pub async fn wait_until<T>(
        &self,
        what: &str,
        mut look: impl AsyncFnMut(&Self) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + PATIENCE;
        // Known before the look, so that what happens after the look is not waited for in vain.
        let mut cursor = self.status().await?.seq;
        loop {
            if let Some(found) = look(self).await? {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                bail!("waited {} s for {what}\n{}", PATIENCE.as_secs(), self.board().await?);
            }
            let page = self
                .wire
                .call(async |orch, context| orch.events_since(context, cursor, PAGE_ITEMS_MAX, WAIT_MS, false).await)
                .await?;
            cursor = page.next;
        }
    }

    /// All tasks in a line each, for messages.
    async fn board(&self) -> Result<String, RpcError> {
        let tasks = self.wire.call(async |orch, context| orch.tasks(context, TaskFilter::default()).await).await?;
        let mut board = String::new();
        for task in tasks {
            let waits: Vec<&str> = task.waits.iter().map(|wait| wait.text.as_str()).collect();
            let line = writeln!(
                board,
                "{} {} {}: attempts {}, waits {waits:?}, last failure {:?}",
                task.name,
                task.title,
                task.state.label(),
                task.attempts,
                task.last_failure
            );
            debug_assert!(line.is_ok(), "writing to a string cannot fail");
        }
        Ok(board)
    }
}

/// What a step has written to one of its streams, byte for byte, as a whole log has it.
#[must_use]
pub fn written(log: &[LogChunk], step: u32, stream: LogStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in log.iter().filter(|chunk| chunk.stream == stream && chunk.step == Some(step)) {
        bytes.extend_from_slice(&chunk.bytes.0);
        if chunk.newline {
            bytes.push(b'\n');
        }
    }
    bytes
}

/// The request for a task that runs a recipe at once.
#[must_use]
pub fn task_request(project: &str, title: &str, recipe: &str) -> Request {
    Request::TaskCreate {
        project: Ref::from(project),
        title: title.to_owned(),
        recipe: Some(recipe.to_owned()),
        recipe_name: Some("story.yaml".to_owned()),
        capability: None,
        depends_on: Vec::new(),
        terms: Terms::default(),
        requirements: Vec::new(),
        acceptance: Vec::new(),
        priority: 5,
        needs_approval: false,
        queue: true,
    }
}

/// The request to try a task again.
#[must_use]
pub const fn retry(task: Ref) -> Request {
    Request::TaskRetry { task, anew: false, not_before: None, priority: None }
}

/// `T-3` of `shop/T-3`.
#[must_use]
pub fn short(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}
