//! Starts what the core's scheduler chose.

use std::sync::Arc;
use std::time::Duration;

use orch_adapters::job;
use orch_core::command::Command;
use orch_core::entity::{Change, Project, Task, Work};
use orch_core::recipe::Isolation;
use orch_core::schedule::Action;
use orch_core::view::{ReadError, View as _};
use orch_proto::Timestamp;
use orch_proto::id::TaskId;
use orch_store::{ExecuteError, ReadView};

use super::{Again, PassError, changes};
use crate::site::Site;

/// One look at the queue.
pub(super) async fn pass<S: Site>(app: Arc<S>) -> Result<Again, PassError> {
    let (chosen, due) = {
        let site = Arc::clone(&app);
        app.blocking(move || choose(&*site)).await?
    };
    // All at once: commands that come together are committed together.
    let starts: Vec<_> = chosen.runs.into_iter().map(|start| app.execute("scheduler", start)).collect();
    for start in starts {
        accept(start.await)?;
    }
    let mut is_troubled = false;
    for (change, project) in &chosen.checks {
        changes::start_check(&app, project, change).await?;
        is_troubled |= app.troubles().rests(change.id, app.instant());
    }
    // What ends takes nobody's place and can wait for another time.
    for end in chosen.ends.into_iter().map(|end| app.execute("scheduler", end)).collect::<Vec<_>>() {
        accept(end.await)?;
    }
    let due = due.map(|due| Duration::from_millis(due.ms_since(app.now()) + 1));
    // A check that could not begin took the place of something else, which is chosen now.
    let soon = is_troubled.then_some(Duration::ZERO);
    Ok([soon, due, app.troubles().again()].into_iter().flatten().min())
}

/// What is started now.
#[derive(Debug, Default)]
struct Chosen {
    runs: Vec<Command>,
    /// Ends of tasks that cannot begin any more, and what else is to be put on record.
    ends: Vec<Command>,
    checks: Vec<(Change, Project)>,
}

/// Has the book know the state, however much of it there is. Whether it does: a daemon that stops leaves it at that.
pub(super) fn know(app: &impl Site) -> Result<bool, ReadError> {
    while !app.store().read(|view| app.book().read_on(view, app.now()))? {
        if app.is_stopping() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Asks the book; also when it wants to be asked again though nothing happened.
fn choose(app: &impl Site) -> Result<(Chosen, Option<Timestamp>), ReadError> {
    if !know(app)? {
        return Ok((Chosen::default(), None));
    }
    app.renew_limits();
    app.store().read(|view| {
        let now = app.now();
        let mut kept = app.book().at(view, now)?;
        // What was chosen the last time and is not under way was overtaken by something.
        kept.book.give_back();
        let decisions = kept.book.choose(now, &app.troubles().resting(app.instant()));
        let due = kept.book.next_due(now);
        drop(kept);
        let mut chosen = Chosen::default();
        for decision in decisions {
            match decision.action {
                Action::Run(task) => chosen.runs.extend(start_of(app, view, task, decision.reason)?),
                Action::Recall(run) => chosen.runs.push(Command::RecallRun { run }),
                Action::Skip(task) => chosen.ends.push(Command::SkipTask { task }),
                Action::Expire(task) => chosen.ends.push(Command::ExpireTask { task }),
                Action::Overdue { task, since, timeout } => {
                    chosen.ends.push(Command::OverdueTask { task, since, timeout });
                }
                Action::Judge(project) => chosen.ends.push(Command::JudgeBudgets { project }),
                Action::Check(change) => {
                    let Some(change) = view.get::<Change>(change)? else { continue };
                    let project = view.get::<Project>(change.project)?;
                    chosen.checks.extend(project.map(|project| (change, project)));
                }
            }
        }
        Ok((chosen, due))
    })
}

fn start_of(app: &impl Site, view: &ReadView<'_>, task: TaskId, reason: String) -> Result<Option<Command>, ReadError> {
    let Some(task) = view.get::<Task>(task)? else { return Ok(None) };
    let Some(project) = view.get::<Project>(task.project)? else { return Ok(None) };
    let inputs = app.inputs(&task, &project);
    let agent = match &task.spec.work {
        Work::Agent { capability } => app.agent_for(&project, capability),
        Work::Steps { .. } => None,
    };
    Ok(Some(Command::StartRun {
        task: task.id,
        base: project.head,
        steps: job::work_steps(&task.spec.work, inputs.as_ref(), agent.as_ref()),
        agent,
        required_level: match task.spec.work.isolation() {
            Isolation::Sandbox => app.required_level(),
            Isolation::None => 0,
        },
        lease_ms: app.lease_ms(),
        reason,
    }))
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
