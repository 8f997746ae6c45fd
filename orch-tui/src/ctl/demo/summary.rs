//! Stage 8: what happened, from requirements to commits, whether every claim holds, and how to look around.

use orch_proto::view::{
    ApprovalFilter, ApprovalState, ChangeState, ChangeView, RunPurpose, RunState, RunView, TaskState, TraceView,
};
use orch_proto::{EntityKind, Timestamp};
use serde::Serialize;

use super::agent::{self, Done};
use super::stages::Agreed;
use super::watch::Work;
use super::{Demo, PROJECT};
use crate::ctl::cmd::approval;
use crate::ctl::failure::Failure;
use crate::fmt::color::Role;
use crate::fmt::document::{Single, json_pretty};
use crate::fmt::duration::short;
use crate::fmt::table::{self, Cell, Layout};
use crate::text::SafeText;

/// What `-o json` gives.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    directory: String,
    socket: String,
    stages: Vec<StageTime>,
    total_ms: u64,
    requirements: usize,
    tasks: usize,
    runs: usize,
    changes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<Done>,
    checks: &'a super::checks::Checks,
    ok: bool,
}

#[derive(Serialize)]
struct StageTime {
    title: String,
    ms: u64,
}

pub(super) async fn stage(
    demo: &mut Demo<'_>,
    agreed: &Agreed,
    work: &Work,
    changes: &[ChangeView],
) -> Result<(), Failure> {
    demo.narrator.stage("What happened");
    let traces = traces(demo, agreed).await?;
    show_traces(demo, &traces);
    show_tasks(demo, work);
    work_checks(demo, agreed, work);
    change_checks(demo, changes).await?;
    agent::checks(demo, work, changes);
    trace_checks(demo, &traces);
    record_checks(demo).await?;
    show_checks(demo);
    show_times(demo);
    look_around(demo, work);
    report(demo, agreed, work, changes)
}

async fn traces(demo: &Demo<'_>, agreed: &Agreed) -> Result<Vec<TraceView>, Failure> {
    let mut traces = Vec::new();
    for requirement in &agreed.requirements.requirements {
        let (project, key) = (demo.project.clone(), requirement.key.clone());
        traces.push(demo.session.read(async |orch, context| orch.trace(context, project, key).await).await?);
    }
    Ok(traces)
}

fn layout(demo: &Demo<'_>) -> Layout {
    Layout { width: Some(demo.narrator.width() - 6), headers: true, paint: demo.narrator.paint() }
}

fn show_traces(demo: &Demo<'_>, traces: &[TraceView]) {
    let rows = traces
        .iter()
        .map(|trace| {
            let join = |texts: Vec<String>| texts.join(" ");
            vec![
                Cell::from(trace.requirement.key.as_str()),
                Cell::from(join(trace.tasks.iter().map(|task| local(&task.task).to_owned()).collect())),
                Cell::from(join(
                    trace
                        .tasks
                        .iter()
                        .flat_map(|task| task.runs.iter().map(|(run, _)| local(run).to_owned()))
                        .collect(),
                )),
                Cell::from(join(trace.tasks.iter().filter_map(|task| Some(head(task.commit.as_deref()?))).collect())),
            ]
        })
        .collect();
    let titles = ["REQUIREMENT", "TASKS", "RUNS", "COMMITS"];
    demo.narrator.block(&table::lay_out(&titles, &[false, true, true, true], rows, layout(demo)));
}

fn show_tasks(demo: &Demo<'_>, work: &Work) {
    demo.narrator.line("");
    let rows = work
        .tasks
        .iter()
        .map(|task| {
            let runs: Vec<&RunView> = work.runs.iter().filter(|run| run.task == task.id).collect();
            let busy: u64 = runs.iter().filter_map(|run| Some(run.finished_at?.ms_since(run.started_at?))).sum();
            let names: Vec<_> = runs.iter().map(|run| local(&run.name)).collect();
            vec![
                Cell::from(local(&task.name)),
                Cell::from(task.title.as_str()),
                Cell::new(task.state.label(), crate::fmt::resource::state_role(task.state.label())),
                Cell::from(task.attempts.to_string()),
                Cell::from(names.join(" ")),
                Cell::from(short(busy)),
                Cell::from(task.commit.as_deref().map(head).as_deref()),
            ]
        })
        .collect();
    let titles = ["TASK", "TITLE", "STATE", "ATTEMPTS", "RUNS", "BUSY", "COMMIT"];
    let flexible = [false, true, false, false, false, false, false];
    demo.narrator.block(&table::lay_out(&titles, &flexible, rows, layout(demo)));
}

fn work_checks(demo: &mut Demo<'_>, agreed: &Agreed, work: &Work) {
    let of_plan = work.tasks.iter().filter(|task| !demo.is_agents(&task.name));
    let done = of_plan.filter(|task| task.state == TaskState::Done).count();
    let planned = agreed.plan.nodes.len();
    demo.checks.note("every planned task is done", done == planned && planned > 0, format!("{done} of {planned}"));
    let attempts: Vec<&RunView> = work.runs.iter().filter(|run| run.purpose == RunPurpose::Work).collect();
    let spans = attempts.iter().filter_map(|run| Some((run.started_at?, run.finished_at?))).collect();
    let most = most_at_once(spans);
    demo.checks.note("runs overlapped", most >= 2, format!("{most} at once, by their start and finish times"));
    let retried: Vec<String> = attempts
        .iter()
        .filter(|run| work.on_purpose.contains(&run.id) && matches!(run.state, RunState::Failed { .. }))
        .filter_map(|failed| {
            let task = work.tasks.iter().find(|task| task.id == failed.task && task.state == TaskState::Done)?;
            let good = attempts.iter().find(|run| {
                run.task == failed.task && run.attempt > failed.attempt && run.state == RunState::Succeeded
            })?;
            Some(format!("{}: {} failed, {} succeeded", local(&task.name), local(&failed.name), local(&good.name)))
        })
        .collect();
    demo.checks.note("one task failed on purpose and succeeded on its retry", retried.len() == 1, retried.join("; "));
    let confined = work
        .runs
        .iter()
        .filter(|run| run.isolation.as_ref().is_some_and(|isolation| isolation.level >= isolation.required))
        .count();
    let least = work.runs.iter().filter_map(|run| Some(run.isolation.as_ref()?.level)).min();
    demo.checks.note(
        "every run had the isolation that it needs, by probes inside it",
        confined == work.runs.len(),
        format!(
            "{confined} of {} runs, least level {}",
            work.runs.len(),
            least.map_or("none".into(), |level| level.to_string())
        ),
    );
}

async fn change_checks(demo: &mut Demo<'_>, changes: &[ChangeView]) -> Result<(), Failure> {
    let checked =
        changes.iter().filter(|change| change.checks.last().is_some_and(|(_, state)| state == "succeeded")).count();
    demo.checks.note(
        "the gates passed on the merged tree of every change",
        checked == changes.len() && checked > 0,
        format!("{checked} of {}", changes.len()),
    );
    let all =
        approval::list(demo.session, ApprovalFilter { project: Some(demo.project.clone()), pending: false }).await?;
    let protected: Vec<&ChangeView> = changes.iter().filter(|change| !change.protected.is_empty()).collect();
    let granted = protected
        .iter()
        .filter(|change| {
            all.iter().any(|approval| {
                approval.subject_kind == EntityKind::Change
                    && Some(approval.id) == change.approval
                    && approval.state == ApprovalState::Granted
            })
        })
        .count();
    demo.checks.note(
        "what touches a protected path was approved before it was merged",
        granted == protected.len() && granted > 0,
        format!("{granted} of {} changes", protected.len()),
    );
    Ok(())
}

fn trace_checks(demo: &mut Demo<'_>, traces: &[TraceView]) {
    let unserved: Vec<_> = traces
        .iter()
        .filter(|trace| !trace.tasks.iter().any(|task| task.commit.is_some()))
        .map(|trace| trace.requirement.key.as_str())
        .collect();
    let evidence =
        if unserved.is_empty() { format!("all {}", traces.len()) } else { format!("not {}", unserved.join(", ")) };
    demo.checks.note("every requirement leads to a merged commit", unserved.is_empty() && !traces.is_empty(), evidence);
}

async fn record_checks(demo: &mut Demo<'_>) -> Result<(), Failure> {
    let audit = demo.session.read(async |orch, context| orch.audit_verify(context).await).await?;
    demo.checks.note(
        "the audit chain is whole",
        audit.broken_at.is_none() && audit.events > 0,
        format!("{} events, head {}", audit.events, head(&audit.head_hash)),
    );
    let check = demo.session.read(async |orch, context| orch.check(context).await).await?;
    demo.checks.note(
        "the tables equal a replay of the record",
        check.is_ok() && check.rows_compared > 0,
        format!("{} rows, {} differences, database {}", check.rows_compared, check.differences.len(), check.integrity),
    );
    Ok(())
}

fn show_checks(demo: &Demo<'_>) {
    demo.narrator.line("");
    for check in &demo.checks.0 {
        let (word, role) = if check.holds { ("ok  ", Role::Good) } else { ("FAIL", Role::Bad) };
        let word = demo.narrator.paint().apply(role, &SafeText::literal(word));
        let text = SafeText::line(&format!("{} ({})", check.claim, check.evidence));
        demo.narrator.block(&format!("{word} {text}"));
    }
}

fn show_times(demo: &Demo<'_>) {
    demo.narrator.line("");
    for (title, ms) in demo.narrator.times() {
        demo.narrator.line(&format!("{:>7}  {title}", short(ms)));
    }
    demo.narrator.line(&format!("{:>7}  in all", demo.narrator.elapsed()));
}

fn look_around(demo: &Demo<'_>, work: &Work) {
    let socket = demo.place.socket.display();
    let run = work.runs.last().map_or_else(|| format!("{PROJECT}/R-1"), |run| run.name.clone());
    let state = demo.place.root.join("state");
    demo.narrator.line("");
    if demo.keep {
        demo.narrator.line("the daemon stays up; look around, and stop it at the end:");
        if let Some(secret) = demo.agent.as_ref().and_then(agent::Agent::secret) {
            demo.narrator.line("  (it keeps your key until then, and after it; this removes it)");
            demo.narrator.line(&format!("  orchctl --socket {socket} --yes secret rm {secret}"));
        }
    } else {
        demo.narrator.line("the daemon stops now; look around by starting it again:");
        demo.narrator.line(&format!("  orchctl --socket {socket} up --state-dir {}", state.display()));
    }
    demo.narrator.line(&format!("  orch-tui --socket {socket}"));
    demo.narrator.line(&format!("  orchctl --socket {socket} task list"));
    demo.narrator.line(&format!("  orchctl --socket {socket} run logs {run}"));
    if demo.keep {
        demo.narrator.line(&format!("  orchctl --socket {socket} down"));
    }
    demo.narrator.line(&format!("  git -C {} log --stat", demo.place.root.join("checkout").display()));
}

fn report(demo: &Demo<'_>, agreed: &Agreed, work: &Work, changes: &[ChangeView]) -> Result<(), Failure> {
    let failed = demo.checks.failed();
    if demo.session.options.output.is_json() {
        let report = Report {
            directory: demo.place.root.display().to_string(),
            socket: demo.place.socket.display().to_string(),
            stages: demo.narrator.times().into_iter().map(|(title, ms)| StageTime { title, ms }).collect(),
            total_ms: demo.narrator.elapsed_ms(),
            requirements: agreed.requirements.requirements.len(),
            tasks: work.tasks.len(),
            runs: work.runs.len(),
            changes: changes.len(),
            agent: agent::done(demo, work),
            checks: &demo.checks,
            ok: failed == 0,
        };
        demo.session.line_raw(&json_pretty(&Single::new("DemoReport", &report))?)?;
    }
    if failed == 0 {
        demo.narrator.line("");
        demo.narrator.line(&format!("the Vision is merged, tested software: {} checks hold", demo.checks.0.len()));
        return Ok(());
    }
    Err(Failure::Negative(format!("{failed} of {} checks do not hold", demo.checks.0.len())))
}

/// A row of the table of changes.
pub(super) fn change_row(change: &ChangeView) -> Vec<Cell> {
    let commit = match &change.state {
        ChangeState::Merged { commit } => head(commit),
        other => other.label().to_owned(),
    };
    vec![
        Cell::from(local(&change.name)),
        Cell::from(local(&change.task_name)),
        Cell::from(commit),
        Cell::from(format!("+{} -{}", change.lines_added, change.lines_removed)),
        Cell::from(change.checks.last().map(|(_, state)| state.as_str())),
        Cell::from(change.approval_name.as_deref().map(local)),
        Cell::from(change.title.as_str()),
    ]
}

/// A name within the project.
fn local(name: &str) -> &str {
    name.split_once('/').map_or(name, |(_, short)| short)
}

fn head(hex: &str) -> String {
    hex.chars().take(10).collect()
}

/// Most spans that cover one moment. One that ends when another begins does not overlap it.
fn most_at_once(spans: Vec<(Timestamp, Timestamp)>) -> usize {
    let mut edges: Vec<(Timestamp, bool)> =
        spans.into_iter().flat_map(|(from, to)| [(from, true), (to, false)]).collect();
    // Ends come before beginnings of the same moment.
    edges.sort();
    let (mut now, mut most) = (0_usize, 0);
    for (_, begins) in edges {
        now = if begins { now + 1 } else { now.saturating_sub(1) };
        most = most.max(now);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_is_computed_from_times() {
        let at = Timestamp::from_unix_us;
        assert_eq!(most_at_once(vec![]), 0);
        assert_eq!(most_at_once(vec![(at(0), at(5)), (at(5), at(9))]), 1);
        assert_eq!(most_at_once(vec![(at(0), at(5)), (at(4), at(9)), (at(4), at(6))]), 3);
    }
}
