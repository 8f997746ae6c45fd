//! Shims and the spawner are killed at random while the daemon lives and starts runs: what was lost is tried again, what
//! was not is not.

use std::path::Path;

use anyhow::ensure;
use orch_proto::request::RepoSource;
use orch_proto::view::{RunState, RunView, TaskState};
use orch_sandbox::run_dir::{SHIM_FILE, ShimIdentity};
use orch_tests::{Setup, Story, processes, tell};

use crate::{asked, story};

/// How many processes are killed when nobody asks for more.
const KILLS: u64 = 6;
const TASKS: u64 = 8;

#[test]
fn what_was_lost_is_done_again_and_the_rest_is_not() -> anyhow::Result<()> {
    story("kill -9 of shims and spawners", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let kills = asked("ORCH_CRASH_ROUNDS", KILLS);
        let mut dice = crate::dice(5);
        let (mut spawners, mut shims) = (0, 0);
        let mut tasks = Vec::new();
        for kill in 0..kills.max(TASKS) {
            let recipe = "steps: ['echo did', 'sleep 0.3; echo 1 >> \"$ORCH_TASK.txt\"']\nretries: {max_retries: 0}\n";
            tasks.push(story.task_create("shop", &format!("Work {kill}"), recipe).await?);
            if kill >= kills {
                continue;
            }
            let seq = story.status().await?.seq;
            // A moment in which runs start, are under way, and end.
            let seen = story.wait_until("something to happen", async |client| {
                let over = client.status().await?.seq >= seq + 1 + dice.below(8);
                let idle = client.status().await?.runs_active == 0;
                Ok((over || idle).then_some(()))
            });
            seen.await?;
            // Of both there are some, however few are killed.
            if kill % 3 == 2 {
                spawners += u32::from(kill_spawner(story).await?);
            } else {
                shims += u32::from(kill_shim(story, dice.number()).await?);
            }
        }
        for task in &tasks {
            story.task_in(task, TaskState::Done).await?;
        }
        let runs = story.runs("shop").await?;
        let lost = runs.iter().filter(|run| run.state == RunState::Lost).count();
        ensure!(runs.len() == tasks.len() + lost, "something was done twice, or failed: {runs:#?}");
        for run in runs.iter().filter(|run| run.state == RunState::Succeeded) {
            ensure!(story.stdout(&run.id.to_string(), 1).await? == b"did\n", "{} did it more than once", run.name);
        }
        ensure!(story.changes("shop").await?.len() == tasks.len(), "one change of each task");
        ensure!(shims > 0 && spawners > 0, "{shims} shims and {spawners} spawners were killed");
        tell(&format!(
            "{shims} shims and {spawners} spawners were killed; {lost} runs were lost, all of their tasks are done"
        ));
        Ok(())
    })
}

async fn kill_spawner(story: &Story) -> anyhow::Result<bool> {
    let daemon = i32::try_from(story.status().await?.pid)?;
    let spawner = processes::children(daemon)?.into_iter().find(|child| child.command.contains(" serve "));
    // There may be none just now: the one before was killed, and nobody needed another one yet.
    Ok(spawner.is_some_and(|spawner| processes::kill9(spawner.pid).is_ok()))
}

/// Kills the shim of one of the runs under way, once there is one; none when all is over.
async fn kill_shim(story: &Story, number: u64) -> anyhow::Result<bool> {
    let found = story.wait_until("a shim to kill", async |client| {
        let status = client.status().await?;
        if status.runs_active == 0 {
            return Ok((status.tasks_queued == 0).then_some(None));
        }
        let runs: Vec<RunView> = client.runs("shop").await?.into_iter().filter(|run| !run.state.is_final()).collect();
        let at = usize::try_from(number % runs.len().max(1) as u64)?;
        Ok(runs.get(at).and_then(shim_of).map(Some))
    });
    let Some(shim) = found.await? else { return Ok(false) };
    let is_ours = processes::of(story.env().root())?.iter().any(|process| process.pid == shim.pid);
    Ok(is_ours && processes::kill9(shim.pid).is_ok())
}

/// Who the shim of a run is. It may not have begun, be over, or hold its lock and not have written there yet who it is.
fn shim_of(run: &RunView) -> Option<ShimIdentity> {
    serde_json::from_slice(&std::fs::read(Path::new(&run.directory).join(SHIM_FILE)).ok()?).ok()
}
