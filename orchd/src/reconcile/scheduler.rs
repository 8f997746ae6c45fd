//! Starts what the core's scheduler chose.

use std::sync::Arc;
use std::time::Duration;

use orch_adapters::job;
use orch_core::command::Command;
use orch_core::entity::{Change, Project, Task, Work};
use orch_core::recipe::Isolation;
use orch_core::schedule::{Action, Book};
use orch_core::view::{ReadError, View as _};
use orch_proto::Timestamp;
use orch_proto::id::TaskId;
use orch_store::{ExecuteError, ReadView};

use super::{Again, PassError, changes};
use crate::host::WRITTEN_EVERY;
use crate::site::Site;

/// How often it is looked whether there is room on a disk that is nearly full.
const ROOM_LOOK: Duration = Duration::from_secs(2);
/// When to look again after something was refused that was chosen.
const OVERTAKEN_LOOK: Duration = Duration::from_secs(1);

/// One look at the queue.
pub(super) async fn pass<S: Site>(app: Arc<S>) -> Result<Again, PassError> {
    let (chosen, due, look) = {
        let site = Arc::clone(&app);
        app.blocking(move || choose(&*site)).await?
    };
    for (change, project) in chosen.checks {
        set_out(&app, change, project);
    }
    let is_overtaken = execute_all(&app, chosen.runs).await?;
    // What ends takes nobody's place and can wait for another time.
    execute_all(&app, chosen.ends).await?;
    let due = due.map(|due| Duration::from_millis(due.ms_since(app.now()) + 1));
    // Nothing tells of space on a disk; nor of what the rules found too early by a clock that the book was a moment ahead of.
    let overtaken = is_overtaken.then_some(OVERTAKEN_LOOK);
    Ok([due, look, overtaken, app.troubles().again()].into_iter().flatten().min())
}

/// Executes commands all at once: those that come together are committed together. Answers whether one of them was refused. It is known
/// what came of each before the first failure of one is told: the next look would choose what is still on its way once more.
async fn execute_all<S: Site>(app: &Arc<S>, commands: Vec<Command>) -> Result<bool, PassError> {
    let sent: Vec<_> = commands.into_iter().map(|command| app.execute("scheduler", command)).collect();
    let (mut is_overtaken, mut failed) = (false, None);
    for one in sent {
        match is_accepted(one.await) {
            Ok(is_accepted) => is_overtaken |= !is_accepted,
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(is_overtaken), Err)
}

/// Has the check of a change begin beside everything else: git looks at the whole merge first, which takes as long as the repository
/// wants. The check keeps the place that it was chosen for until it is on record or did not begin.
fn set_out<S: Site>(app: &Arc<S>, change: Change, project: Project) {
    let (site, on_its_way) = (Arc::clone(app), app.book().sets_out(change.id));
    app.spawn(async move {
        changes::start_check(&site, &project, &change).await;
        drop(on_its_way);
        // One that did not begin took the place of something else, which is chosen now.
        site.look_again();
    });
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

/// Asks the book; also when it wants to be asked again though nothing happened, and after how long to look for what nobody tells of.
fn choose(app: &impl Site) -> Result<(Chosen, Option<Timestamp>, Option<Duration>), ReadError> {
    if !know(app)? {
        return Ok((Chosen::default(), None, None));
    }
    app.renew_limits();
    app.store().read(|view| {
        let mut kept = app.book().at(view, app.now())?;
        // Once the book is there: somebody else may have asked it in the meantime.
        let now = app.now();
        // What was chosen the last time and is not under way was overtaken by something.
        kept.book.give_back();
        let decisions = kept.book.choose(now, &app.troubles().resting(app.instant()));
        let due = kept.book.next_due(now);
        let look = look_for_room(&kept.book);
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
        Ok((chosen, due, look))
    })
}

/// When to look again whether there is room on the disk, while something waits for that.
fn look_for_room(book: &Book) -> Option<Duration> {
    if book.limits().shortage.is_some() {
        return Some(ROOM_LOOK);
    }
    book.waits_for_disk().then_some(WRITTEN_EVERY)
}

fn start_of(app: &impl Site, view: &ReadView<'_>, task: TaskId, reason: String) -> Result<Option<Command>, ReadError> {
    let Some(task) = view.get::<Task>(task)? else { return Ok(None) };
    let Some(project) = view.get::<Project>(task.project)? else { return Ok(None) };
    let agent = match &task.spec.work {
        Work::Agent { capability } => app.agent_for(&project, capability),
        Work::Steps { .. } => None,
    };
    let inputs = app.inputs(view, (&task, &project), agent.as_ref())?;
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
    is_accepted(result).map(drop)
}

/// The same; answers whether it was accepted.
fn is_accepted(result: Result<orch_store::Committed, ExecuteError>) -> Result<bool, PassError> {
    match result {
        Ok(_) => Ok(true),
        Err(ExecuteError::Rejected(refusal)) => {
            tracing::debug!(%refusal, "a decision was overtaken");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}
