//! The daemon itself: status, checks, stop.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use orch_core::entity::{InfoRequest, Pause, Planning, Project, Run, Task};
use orch_core::state::approval::ApprovalState;
use orch_core::state::info_request::InfoRequestState;
use orch_core::state::project::ProjectState;
use orch_core::state::task::TaskState;
use orch_core::view::{Filter, View as _};
use orch_proto::id::TaskId;
use orch_proto::request::Role;
use orch_proto::view::{AuditReport, CheckReport, CheckResult, DoctorCheck, DoctorReport, OutageView, StatusView};
use orch_proto::{EntityKind, RpcError, Timestamp};
use orch_store::ReadView;

use super::super::errors;
use super::super::identity::Caller;
use super::{readable, with_view};
use crate::app::{App, blocking};
use crate::convert::{self, terms};
use crate::{agents, host, upkeep};

/// Most changes in trouble that are named.
const WARNINGS_MAX: usize = 20;

pub(crate) async fn status(app: &Arc<App>, caller: &Caller) -> Result<StatusView, RpcError> {
    let shared = Arc::clone(app);
    let counted = with_view(app, move |view| Counted::now(&shared, view)).await?;
    let host = app.host.read().unwrap_or_else(PoisonError::into_inner).clone();
    let mut warnings = Vec::new();
    let outage = app.store.outage().borrow().clone();
    warnings.extend(outage.as_ref().map(|outage| app.outage_line(outage)));
    warnings.extend(app.book.filling());
    if *app.stopping.borrow() {
        warnings.push("the daemon is stopping; runs go on".to_owned());
    }
    let required = host.required(app.config.required_level);
    if host.level < required {
        warnings.push(format!(
            "no run starts: isolation level {required} is required and {} was measured; {}",
            host.level, host.fix
        ));
    }
    let short = |shortage| format!("{}; {}", terms::shortage(shortage), terms::SHORTAGE_HINT);
    warnings.extend(app.shortage().map(short));
    if counted.tasks_without_agent > 0 {
        warnings.push(format!(
            "{} of {} queued tasks wait for an agent, and none is configured; \
             give a task its steps with `orchctl task edit NAME --recipe FILE`",
            counted.tasks_without_agent, counted.tasks_queued
        ));
    }
    warnings.extend(counted.quiet);
    warnings.extend(app.troubles.lines().into_iter().take(WARNINGS_MAX));
    Ok(StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: app.store.instance(),
        pid: std::process::id(),
        state_directory: app.dirs.root().display().to_string(),
        started_at: app.started_at,
        now: crate::clock::now(),
        seq: counted.seq,
        user: caller.name.clone(),
        role: caller.role.unwrap_or(Role::Viewer),
        projects: counted.projects,
        tasks_queued: counted.tasks_queued,
        tasks_without_agent: counted.tasks_without_agent,
        runs_active: counted.runs_active,
        approvals_pending: counted.approvals_pending,
        questions_pending: counted.questions_pending,
        tasks_failed: counted.tasks_failed,
        runs_max: app.config.runs_max,
        isolation_level: host.level,
        isolation_required: required,
        outage: outage.map(|outage| OutageView { since: outage.since, is_full: outage.is_full }),
        warnings,
    })
}

/// What the state says at one moment.
struct Counted {
    seq: u64,
    projects: u32,
    tasks_queued: u32,
    tasks_without_agent: u32,
    tasks_failed: u32,
    runs_active: u32,
    approvals_pending: u32,
    questions_pending: u32,
    /// What is silent, waits for too long, is paused or nearly used up, a line each.
    quiet: Vec<String>,
}

impl Counted {
    fn now(app: &App, view: &ReadView<'_>) -> Result<Self, RpcError> {
        // Counted and not read: there can be very many.
        let count = |kind, states: &[&str]| {
            let by_state = readable(view.count_by_state(kind, None))?;
            let sum: u64 = states.iter().filter_map(|state| by_state.get(*state)).sum();
            Ok::<_, RpcError>(u32::try_from(sum).unwrap_or(u32::MAX))
        };
        let few = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let (without_agent, late) = {
            let kept = readable(app.book.soon(view, crate::clock::now()))?;
            kept.map_or_else(Default::default, |kept| {
                (few(kept.book.without_agent()), kept.book.known_overdue(WARNINGS_MAX))
            })
        };
        let open = Filter::default().open();
        let runs = readable(view.list::<Run>(&open))?;
        let mut quiet = silent(view, &runs)?;
        quiet.extend(overdue(view, &late)?);
        let projects = readable(view.list::<Project>(&open))?;
        quiet.extend(paused(&projects));
        quiet.extend(planned(&projects));
        quiet.extend(budgets(view, &projects)?);
        quiet.extend(asked(view)?);
        let open_question = InfoRequestState::Pending { expires: crate::clock::now() };
        let pending = ApprovalState::Pending { needed: 1, granted: BTreeSet::new(), expires: None };
        Ok(Self {
            seq: view.seq(),
            projects: count(EntityKind::Project, &[ProjectState::Preparing.label(), ProjectState::Ready.label()])?,
            tasks_queued: count(EntityKind::Task, &[TaskState::Approved { not_before: None }.label()])?,
            tasks_without_agent: without_agent,
            tasks_failed: count(EntityKind::Task, &[TaskState::Failed { reason: String::new() }.label()])?,
            runs_active: few(runs.len()),
            approvals_pending: count(EntityKind::Approval, &[pending.label()])?,
            questions_pending: count(EntityKind::InfoRequest, &[open_question.label()])?,
            quiet,
        })
    }
}

/// Projects in which nothing begins because a person wants it so, a line each.
fn paused(projects: &[Project]) -> Vec<String> {
    let now = crate::clock::now();
    let lasting = projects.iter().filter_map(|project| Some((project, project.pause.as_ref()?)));
    let lasting = lasting.filter(|(_, pause)| pause.lasts(now)).take(WARNINGS_MAX);
    let line = |(project, pause): (&Project, &Pause)| {
        let until = pause.until.map_or_else(String::new, |until| format!(" until {until}"));
        let reason = if pause.reason.is_empty() { String::new() } else { format!(": {}", pause.reason) };
        let slug = &project.slug;
        format!("project {slug} is paused{until}{reason}; let it go on with `orchctl project resume {slug}`")
    };
    lasting.map(line).collect()
}

/// Models and agents that plan, a line each.
fn planned(projects: &[Project]) -> Vec<String> {
    let now = crate::clock::now();
    let open = projects.iter().filter_map(|project| Some((project, project.planning.as_ref()?)));
    let open = open.filter(|(_, planning)| planning.is_open()).take(WARNINGS_MAX);
    let line = |(project, planning): (&Project, &Planning)| {
        let (slug, who) = (&project.slug, planning.planner.who());
        let since = convert::patience::span(now.ms_since(planning.since));
        let (requests, tokens) = (planning.models.exchanges, planning.models.tokens.total());
        format!(
            "project {slug}: {who} plans since {since}, {requests} requests and {tokens} tokens so far; \
             `orchctl plan cancel -p {slug}` ends it"
        )
    };
    open.map(line).collect()
}

/// Budgets of which little or nothing is left, a line each.
fn budgets(view: &ReadView<'_>, projects: &[Project]) -> Result<Vec<String>, RpcError> {
    let now = crate::clock::now();
    let mut lines = Vec::new();
    for project in projects.iter().filter(|project| !project.budgets.is_empty()) {
        lines.extend(readable(convert::budget::warnings(view, project, now))?);
    }
    lines.truncate(WARNINGS_MAX);
    Ok(lines)
}

/// Questions of runs that wait, with the command that answers.
fn asked(view: &ReadView<'_>) -> Result<Vec<String>, RpcError> {
    let mut waiting = readable(view.list::<InfoRequest>(&Filter::default().open()))?;
    // For what the planner asks nothing waits.
    waiting.retain(|asked| asked.run.is_some());
    let line = |asked: &InfoRequest| {
        let name = readable(convert::name_of(view, asked))?;
        let asks = asked.text.lines().next().unwrap_or_default();
        Ok(format!("{name} waits for an answer: {asks}; `orchctl question answer {name}`"))
    };
    waiting.iter().take(WARNINGS_MAX).map(line).collect()
}

/// Runs of which nothing is heard for longer than they may be silent, a line each: they may be stuck.
fn silent(view: &ReadView<'_>, runs: &[Run]) -> Result<Vec<String>, RpcError> {
    let now = crate::clock::now();
    let mut found: Vec<_> = runs.iter().filter_map(|run| Some((run.silence?.since, run))).collect();
    found.sort_by_key(|(since, _)| *since);
    let line = |(since, run): &(Timestamp, &Run)| {
        let name = readable(convert::name_of(view, *run))?;
        let silent = convert::patience::span(now.ms_since(*since));
        Ok(format!(
            "{name} has been silent for {silent}; look with `orchctl run logs {name}`, end it with \
             `orchctl run cancel {name}`"
        ))
    };
    found.iter().take(WARNINGS_MAX).map(line).collect()
}

/// Tasks that could begin and have not for longer than they may wait, a line each.
fn overdue(view: &ReadView<'_>, tasks: &[TaskId]) -> Result<Vec<String>, RpcError> {
    let now = crate::clock::now();
    let mut lines = Vec::new();
    for id in tasks {
        let Some(task) = readable(view.get::<Task>(*id))? else { continue };
        let Some(overdue) = task.overdue else { continue };
        let name = readable(convert::name_of(view, &task))?;
        let waits = convert::patience::span(now.ms_since(overdue.since));
        lines.push(format!("{name} could begin for {waits} and has not; `orchctl task why {name}` says why"));
    }
    Ok(lines)
}

pub(crate) async fn audit_verify(app: &Arc<App>, _: &Caller) -> Result<AuditReport, RpcError> {
    let app = Arc::clone(app);
    blocking(move || audit(&app)).await
}

pub(crate) async fn check(app: &Arc<App>, _: &Caller) -> Result<CheckReport, RpcError> {
    let app = Arc::clone(app);
    blocking(move || upkeep::check_quickly(&app)).await
}

pub(crate) async fn doctor(app: &Arc<App>, _: &Caller) -> Result<DoctorReport, RpcError> {
    let facts = app.measure_host(&format!("doctor-{}", orch_proto::id::CommandId::generate())).await;
    let app = Arc::clone(app);
    Ok(blocking(move || {
        let required = facts.required(app.config.required_level);
        let mut checks = host::checks(&app.tools, &facts, required, &app.git.version().to_string());
        checks.extend(agents::checks(&app));
        checks.extend(super::tools::checks(&app));
        if let Some(outage) = &*app.store.outage().borrow() {
            checks.push(DoctorCheck {
                name: "state".into(),
                result: CheckResult::Failed,
                detail: app.outage_line(outage),
                fix: Some(format!(
                    "make room or mend the disk of `{}`; it goes on by itself",
                    app.dirs.root().display()
                )),
            });
        }
        checks.extend(app.troubles.lines().into_iter().take(WARNINGS_MAX).map(|detail| DoctorCheck {
            name: "merge queue".into(),
            result: CheckResult::Failed,
            detail,
            fix: Some("mend the repository or the host, or give the change up with `orchctl change close`".into()),
        }));
        checks.sort_by_key(|check| match check.result {
            CheckResult::Failed => 0,
            CheckResult::Warning => 1,
            CheckResult::Ok => 2,
        });
        DoctorReport {
            checks,
            isolation: convert::isolation_view(&facts.isolation, required, Some(&facts)),
            cases: facts.cases,
            isolation_level: facts.level,
            isolation_required: required,
        }
    })
    .await)
}

pub(crate) async fn shutdown(app: &Arc<App>, caller: &Caller) -> Result<(), RpcError> {
    tracing::info!(user = caller.name, "asked to stop");
    // The answer goes out first: connections are closed when the daemon stops.
    let app = Arc::clone(app);
    tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        app.stopping.send_replace(true);
    });
    Ok(())
}

fn audit(app: &App) -> Result<AuditReport, RpcError> {
    let report = app.store.verify_chain().map_err(|error| errors::internal("failed to verify the audit", &error))?;
    Ok(AuditReport { events: report.events, head_hash: report.head_hash.to_string(), broken_at: report.broken_at })
}
