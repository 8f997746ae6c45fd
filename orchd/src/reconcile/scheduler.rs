//! Starts what the core's scheduler chose.

use std::sync::Arc;
use std::time::Duration;

use orch_adapters::job;
use orch_core::command::Command;
use orch_core::entity::Task;
use orch_core::schedule::{self, Action, Snapshot};
use orch_store::ExecuteError;

use super::{Again, PassError, changes};
use crate::app::App;

/// Time for a run to be started after it was chosen, in milliseconds.
pub(super) const LEASE_MS: u64 = 60_000;

/// One look at the queue.
pub(super) async fn pass(app: Arc<App>) -> Result<Again, PassError> {
    let snapshot = app.read(|view| crate::facts::snapshot(view)).await?;
    let snapshot = changes::without_troubled(&app, snapshot);
    let limits = {
        let (app, snapshot) = (Arc::clone(&app), snapshot.clone());
        // Looking for programs asks the file system, and a toolchain for its home.
        crate::app::blocking(move || app.limits(&snapshot)).await
    };
    let now = crate::clock::now();
    let mut is_troubled = false;
    for decision in schedule::plan(&snapshot, now, &limits) {
        match decision.action {
            Action::Run(task) => {
                if let Some(task) = snapshot.tasks.get(&task) {
                    start_run(&app, &snapshot, task, decision.reason).await?;
                }
            }
            Action::Check(change) => {
                if let Some(change) = snapshot.changes.get(&change) {
                    changes::start_check(&app, &snapshot, change).await?;
                    is_troubled |= app.troubles.rests(change.id, std::time::Instant::now());
                }
            }
        }
    }
    let due = schedule::next_due(&snapshot, crate::clock::now());
    let due = due.map(|due| Duration::from_millis(due.ms_since(crate::clock::now()) + 1));
    // A check that could not begin took the place of something else, which is chosen now.
    let soon = is_troubled.then_some(Duration::ZERO);
    Ok([soon, due, app.troubles.again()].into_iter().flatten().min())
}

async fn start_run(app: &Arc<App>, snapshot: &Snapshot, task: &Task, reason: String) -> Result<(), PassError> {
    let Some(project) = snapshot.projects.get(&task.project) else { return Ok(()) };
    let command = Command::StartRun {
        task: task.id,
        base: project.head.clone(),
        steps: job::work_steps(&task.spec.work),
        required_level: app.config.required_level,
        lease_ms: LEASE_MS,
        reason,
    };
    accept(app.execute("scheduler", command).await)
}

/// A refusal means that the state moved on since the snapshot: the next pass sees it. Anything else is a failure.
pub(super) fn accept(result: Result<orch_store::Committed, ExecuteError>) -> Result<(), PassError> {
    match result {
        Ok(_) => Ok(()),
        Err(ExecuteError::Rejected(refusal)) => {
            tracing::debug!(%refusal, "a decision was overtaken");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
