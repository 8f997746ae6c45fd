//! The live part: follows tasks, runs and changes until all tasks are done, streams some of the logs, and answers the
//! approvals that come up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orch_proto::id::{ApprovalId, RunId};
use orch_proto::request::{Decision, Request};
use orch_proto::view::{
    ApprovalFilter, ApprovalView, ChangeState, ChangeView, LogChunk, LogStream, RunFilter, RunPurpose, RunState,
    RunView, TaskFilter, TaskState, TaskView,
};
use orch_proto::{EntityKind, ErrorCode, Ref};
use tokio::time::Instant;

use super::Demo;
use super::agent::{ATTEMPT_SECONDS, ATTEMPTS};
use crate::ctl::cmd::{approval, change, run, run_log, task};
use crate::ctl::digest;
use crate::ctl::failure::Failure;
use crate::fmt::color::Role;
use crate::fmt::count;
use crate::fmt::duration::short;
use crate::fmt::resource::task_detail;
use crate::text::SafeText;

/// Longest time that the tasks may take unless `--timeout` says otherwise, and that of an agent beside them.
const PATIENCE: Duration = Duration::from_secs(300);
const AGENT_PATIENCE: Duration = Duration::from_secs(ATTEMPT_SECONDS * ATTEMPTS);

/// How long one wait for events is held. Logs make no events, so they are looked at this often.
const WAIT_MS: u32 = 150;

/// Lines of output that are shown of each run, besides those that explain a failure on purpose.
const LINES_PER_RUN_MAX: u32 = 3;
/// The same of an agent's run: nobody knows beforehand what it does.
const LINES_PER_AGENT_MAX: u32 = 40;

/// Steps that the daemon adds to every run to bring the repository in and the result out.
const PREPARING: [&str; 2] = ["checkout", "collect"];

/// By this the shipped blueprint marks the failure that the demo's Vision asks for.
const ON_PURPOSE: &[u8] = b"on purpose";

/// How it went.
pub(super) struct Work {
    pub(super) tasks: Vec<TaskView>,
    pub(super) runs: Vec<RunView>,
    /// Runs that failed and whose log says that this was asked for.
    pub(super) on_purpose: BTreeSet<RunId>,
}

/// What was told so far.
#[derive(Default)]
struct Told {
    tasks: BTreeMap<String, (TaskState, u32, &'static str)>,
    changes: BTreeMap<String, &'static str>,
    runs: BTreeMap<RunId, RunTold>,
    answered: BTreeSet<ApprovalId>,
    on_purpose: BTreeSet<RunId>,
}

/// What was told of one run.
#[derive(Default)]
struct RunTold {
    state: Option<&'static str>,
    offset: u64,
    shown: u32,
    hidden: u32,
    on_purpose: bool,
    ended: bool,
}

/// Follows until every task has come to its end.
pub(super) async fn until_done(demo: &mut Demo<'_>) -> Result<Work, Failure> {
    let patience = if demo.agent.is_some() { PATIENCE + AGENT_PATIENCE } else { PATIENCE };
    let deadline = Instant::now() + demo.session.options.timeout.unwrap_or(patience);
    let mut told = Told::default();
    let mut cursor = 0;
    loop {
        let tasks =
            task::list(demo.session, TaskFilter { project: Some(demo.project.clone()), ..TaskFilter::default() })
                .await?;
        let runs =
            run::list(demo.session, RunFilter { project: Some(demo.project.clone()), ..RunFilter::default() }).await?;
        tell_runs(demo, &mut told, &tasks, &runs).await?;
        tell_changes(demo, &mut told, &tasks).await?;
        tell_tasks(demo, &mut told, &tasks);
        answer_approvals(demo, &mut told).await?;
        let over = !tasks.is_empty() && tasks.iter().all(|task| task::is_final(task.state));
        let read = runs.iter().all(|run| told.runs.get(&run.id).is_some_and(|told| told.ended));
        if over && read {
            return Ok(Work { tasks, runs, on_purpose: told.on_purpose });
        }
        if Instant::now() >= deadline {
            return Err(timed_out(demo, &tasks));
        }
        let page = demo
            .session
            .read(async |orch, context| orch.events_since(context, cursor, 500, WAIT_MS, false).await)
            .await?;
        cursor = page.next;
    }
}

fn timed_out(demo: &Demo<'_>, tasks: &[TaskView]) -> Failure {
    let open: Vec<_> = tasks
        .iter()
        .filter(|task| !task::is_final(task.state))
        .map(|task| format!("{} {} ({})", task.name, task.state.label(), task_detail(task)))
        .collect();
    let hint = format!("its messages are in `{}`", demo.place.root.join("orchd.out").display());
    Failure::new(ErrorCode::Timeout, format!("the tasks are not done in time: {}", open.join(", ")), hint)
}

/// `T-3 http-layer`.
fn label(task: &TaskView) -> String {
    let short = task.name.split_once('/').map_or(task.name.as_str(), |(_, short)| short);
    format!("{short:<5} {:<13}", task.key.as_deref().unwrap_or(""))
}

/// What a task waits for, if that is worth a line: dependencies and free places are what the graph and the runs show.
fn notable_wait(task: &TaskView) -> &'static str {
    match task.waits.first().map(|wait| wait.code.as_str()) {
        Some("backoff") => "retry",
        Some("agent" | "tool" | "isolation" | "held" | "approval") => "waits",
        Some(_) | None => "",
    }
}

fn tell_tasks(demo: &Demo<'_>, told: &mut Told, tasks: &[TaskView]) {
    if told.tasks.is_empty() && !tasks.is_empty() {
        let ready = tasks.iter().filter(|task| task.ready || task.state == TaskState::Running).count();
        demo.narrator.moment(Role::Plain, &format!("{} tasks are queued, {ready} can start at once", tasks.len()));
    }
    for task in tasks {
        let wait = notable_wait(task);
        let now = (task.state, task.attempts, wait);
        if told.tasks.insert(task.name.clone(), now) == Some(now) {
            continue;
        }
        let (role, word) = match task.state {
            TaskState::Done => (Role::Good, "done"),
            TaskState::Failed | TaskState::Cancelled => (Role::Bad, task.state.label()),
            TaskState::Approved if !wait.is_empty() => (Role::Warn, wait),
            TaskState::Paused => (Role::Warn, "paused"),
            // Told of by runs and changes.
            TaskState::Proposed | TaskState::Approved | TaskState::Running | TaskState::InReview => continue,
        };
        demo.narrator.moment(role, &format!("{} {word:<10} {}", label(task), task_detail(task)));
    }
}

async fn tell_runs(demo: &Demo<'_>, told: &mut Told, tasks: &[TaskView], runs: &[RunView]) -> Result<(), Failure> {
    let active = |run: &&RunView| run.purpose == RunPurpose::Work && run.started_at.is_some() && !run.state.is_final();
    let active = runs.iter().filter(active).count();
    for run in runs {
        let task = tasks.iter().find(|task| task.id == run.task);
        let label = task.map_or_else(|| run.task_name.clone(), label);
        let one = told.runs.entry(run.id).or_default();
        if run.started_at.is_some() && one.state.is_none() && run.purpose == RunPurpose::Work {
            demo.narrator.moment(
                Role::Active,
                &format!("{label} running    {}, attempt {}, {} at once", run.name, run.attempt, active.max(1)),
            );
        }
        if run.started_at.is_some() && !one.ended {
            one.ended = stream_log(demo, one, run, &label).await?;
        } else if run.state.is_final() {
            one.ended = true;
        }
        if one.state != Some(run.state.label()) && (run.started_at.is_some() || run.state.is_final()) {
            one.state = Some(run.state.label());
            if run.state.is_final() {
                tell_end(demo, one, run, &label);
                if one.on_purpose && matches!(run.state, RunState::Failed { .. }) {
                    told.on_purpose.insert(run.id);
                }
            }
        }
    }
    Ok(())
}

fn tell_end(demo: &Demo<'_>, told: &RunTold, run: &RunView, label: &str) {
    let time = match (run.started_at, run.finished_at) {
        (Some(from), Some(to)) => format!(" in {}", short(to.ms_since(from))),
        _ => String::new(),
    };
    let what = match run.purpose {
        RunPurpose::Work => "run",
        RunPurpose::Gate { .. } => "gates",
    };
    match &run.state {
        RunState::Succeeded => demo.narrator.moment(Role::Plain, &format!("{label} {what} ok     {}{time}", run.name)),
        RunState::Failed { reason, .. } => {
            demo.narrator.moment(Role::Bad, &format!("{label} {what} FAILED {}{time}: {reason}", run.name));
        }
        other => demo.narrator.moment(Role::Bad, &format!("{label} {what} {}  {}{time}", other.label(), run.name)),
    }
    if told.on_purpose && matches!(run.state, RunState::Failed { .. }) {
        demo.narrator.detail(
            Role::Warn,
            "this failure is part of the demo: its Vision says `demo_fail_once: yes`; the retry policy takes over",
        );
    }
}

/// Shows what is new in the log of a run. True when the run is over and its log was read to the end.
async fn stream_log(demo: &Demo<'_>, told: &mut RunTold, run: &RunView, label: &str) -> Result<bool, Failure> {
    let id = Ref(run.id.to_string());
    loop {
        let page = run_log::page(demo.session, &id, told.offset, (0, false)).await?;
        let moved = page.next_offset != told.offset;
        told.offset = page.next_offset;
        for chunk in &page.chunks {
            show(demo, told, run, chunk, label);
        }
        if page.end || !moved {
            if page.end && told.hidden > 0 && run.purpose == RunPurpose::Work {
                let more = format!("{label} | ({}: orchctl run logs {})", count(told.hidden, "more line"), run.name);
                demo.narrator.detail(Role::Dim, &more);
            }
            return Ok(page.end);
        }
    }
}

fn show(demo: &Demo<'_>, told: &mut RunTold, run: &RunView, chunk: &LogChunk, label: &str) {
    if chunk.stream == LogStream::Control {
        return;
    }
    let marked = chunk.bytes.0.windows(ON_PURPOSE.len()).any(|window| window == ON_PURPOSE);
    told.on_purpose |= marked;
    let text = SafeText::line_bytes(&chunk.bytes.0);
    let step = chunk.step.and_then(|at| run.steps.get(usize::try_from(at).ok()?));
    let of_task = step.is_none_or(|step| !PREPARING.contains(&step.name.as_str()));
    let most = if run.agent.is_some() { LINES_PER_AGENT_MAX } else { LINES_PER_RUN_MAX };
    let room = told.shown < most && of_task && !text.as_str().trim().is_empty();
    let wanted = run.purpose == RunPurpose::Work && room;
    if wanted || marked {
        told.shown += 1;
        demo.narrator.detail(Role::Dim, &format!("{label} | {text}"));
    } else {
        told.hidden += 1;
    }
}

async fn tell_changes(demo: &Demo<'_>, told: &mut Told, tasks: &[TaskView]) -> Result<(), Failure> {
    let project = demo.project.clone();
    let changes = demo.session.read(async |orch, context| orch.changes(context, Some(project)).await).await?;
    for change in &changes {
        let state = change.state.label();
        let before = told.changes.insert(change.name.clone(), state);
        let task = tasks.iter().find(|task| task.name == change.task_name);
        let label = task.map_or_else(|| change.task_name.clone(), label);
        match &change.state {
            _ if before == Some(state) => {}
            ChangeState::ChangesRequested { reason } => {
                demo.narrator.moment(Role::Bad, &format!("{label} {state}: {reason}"));
            }
            ChangeState::Conflicted { paths } => {
                demo.narrator.moment(Role::Bad, &format!("{label} {state}: {}", paths.join(", ")));
            }
            ChangeState::Opened | ChangeState::Checking | ChangeState::Mergeable | ChangeState::Queued
                if before.is_none() =>
            {
                demo.narrator.moment(Role::Plain, &format!("{label} change     {}, {}", change.name, size(change)));
            }
            // The merge itself is told as the end of the task.
            ChangeState::Opened
            | ChangeState::Checking
            | ChangeState::Mergeable
            | ChangeState::Queued
            | ChangeState::Merged { .. }
            | ChangeState::Closed => {}
        }
    }
    Ok(())
}

fn size(change: &ChangeView) -> String {
    format!("{}, +{} -{}", count(change.files_changed, "file"), change.lines_added, change.lines_removed)
}

async fn answer_approvals(demo: &Demo<'_>, told: &mut Told) -> Result<(), Failure> {
    let filter = ApprovalFilter { project: Some(demo.project.clone()), pending: true };
    for approval in approval::list(demo.session, filter).await? {
        if told.answered.insert(approval.id) {
            answer(demo, &approval).await?;
        }
    }
    Ok(())
}

async fn answer(demo: &Demo<'_>, approval: &ApprovalView) -> Result<(), Failure> {
    demo.narrator.moment(Role::Warn, &format!("{} is needed: {}", approval.name, approval.action));
    demo.narrator.detail(Role::Plain, &format!("rule    {}", approval.rule));
    for detail in &approval.details {
        demo.narrator.detail(Role::Plain, &format!("        {detail}"));
    }
    if approval.subject_kind == EntityKind::Change && approval.details.is_empty() {
        let change = change::get(demo.session, &Ref(approval.subject.clone())).await?;
        demo.narrator.detail(Role::Plain, &format!("paths   {}", change.protected.join(", ")));
        demo.narrator.detail(Role::Plain, &format!("change  {}", size(&change)));
    }
    demo.narrator.detail(Role::Plain, &format!("digest  {}", approval.digest));
    demo.narrator.confirm(&format!("approve {} (digest {})?", approval.name, digest::short(&approval.digest))).await?;
    let request = Request::ApprovalDecide {
        approval: Ref(approval.id.to_string()),
        decision: Decision::Approve,
        digest: Some(approval.digest.clone()),
        reason: None,
    };
    demo.session.submit(request).await.map(drop)
}
