//! The daemon is killed again and again, at every moment of the way of a task: all is done in the end, and once.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use orch_proto::view::{ChangeState, ProjectView, RunPurpose, RunState, RunView, TaskState, TaskView};
use orch_tests::repository::git;
use orch_tests::{Daemon, Setup, Story, poll};
use tokio::time::timeout;

use crate::merge_queue::parts_project;
use crate::story;

/// The daemon is killed right after each of these, which are most of what happens to a task. What follows each of them
/// is cut off, or is not: that differs from time to time.
const MOMENTS: [&str; 12] = [
    "task.created",
    "task.started",
    "run.leased",
    "run.starting",
    "run.observed",
    "run.ended",
    "change.opened",
    "change.check_started",
    "change.check_passed",
    "change.merge_started",
    "change.merged",
    "task.completed",
];

/// How often it is killed at random, unless all is done before.
const KILLS: u32 = 15;

/// How long a daemon lives that is killed while it starts, in milliseconds.
const SHORT_LIVES: [u64; 4] = [5, 25, 60, 120];

#[test]
fn all_is_done_once_whenever_the_daemon_is_killed() -> anyhow::Result<()> {
    story("kill -9 at every moment", Setup::Runs, async |story| {
        let project = parts_project(story).await?;
        let mut tasks = Vec::new();
        for moment in MOMENTS {
            let before = story.status().await?.seq;
            let recipe = format!("steps: ['echo 0 > parts/{moment}']\nretries: {{max_retries: 0}}\n");
            tasks.push(story.task_create("shop", &format!("Until {moment}"), &recipe).await?);
            story.event(moment, before).await?;
            story.kill9().await?;
            story.start().await?;
        }
        // Once more while it is just taking up what was under way.
        story.kill9().await?;
        for life in SHORT_LIVES {
            let mut daemon = Daemon::command(story.env()).spawn()?;
            let ended = timeout(Duration::from_millis(life), daemon.wait()).await;
            ensure!(ended.is_err(), "it ended by itself: {ended:?}");
            daemon.kill().await?;
        }
        story.start().await?;
        for task in &tasks {
            let done = story.task_in(task, TaskState::Done).await?;
            ran_once(story, &done).await?;
        }
        merged_once(story, &project, tasks.len()).await?;
        nothing_left(story).await
    })
}

#[test]
fn all_is_done_once_when_the_daemon_is_killed_at_random() -> anyhow::Result<()> {
    story("kill -9 at random", Setup::Runs, async |story| {
        let project = parts_project(story).await?;
        let mut tasks = Vec::new();
        for number in 0..8 {
            // Every second one writes where the others do, so that most of these are made again.
            let file = if number % 2 == 0 { "shared.txt".to_owned() } else { format!("parts/{number}") };
            let line = if number % 2 == 0 { number } else { 0 };
            let recipe = format!("steps: ['echo {line} >> {file}']\nretries: {{max_retries: 0}}\n");
            tasks.push(story.task_create("shop", &format!("Part {number}"), &recipe).await?);
        }
        let mut random = RandomState::new().build_hasher();
        for kill in 0..KILLS {
            random.write_u32(kill);
            let target = story.status().await?.seq + 1 + random.finish() % 12;
            let reached = story.wait_until("a moment to kill it", async |client| {
                let over = client.tasks("shop").await?.iter().all(|task| task.state == TaskState::Done);
                Ok((over || client.status().await?.seq >= target).then_some(over))
            });
            if reached.await? {
                break;
            }
            story.kill9().await?;
            story.start().await?;
        }
        for task in &tasks {
            story.task_in(task, TaskState::Done).await?;
        }
        merged_once(story, &project, tasks.len()).await?;
        let shared = git(story.env(), Path::new(&project.repository), &["show", "main:shared.txt"]).await?;
        let lines: BTreeSet<&str> = shared.lines().collect();
        let once = lines.len() == tasks.len() / 2 && shared.lines().count() == lines.len();
        ensure!(once, "not one line of each task:\n{shared}");
        nothing_left(story).await
    })
}

/// One run of the task succeeded; those before it, if any, were lost with the daemon.
async fn ran_once(story: &Story, task: &TaskView) -> anyhow::Result<()> {
    let runs = story.runs("shop").await?;
    let mut states: Vec<&RunState> = runs
        .iter()
        .filter(|run| run.task == task.id && run.purpose == RunPurpose::Work)
        .map(|run| &run.state)
        .collect();
    ensure!(states.pop() == Some(&RunState::Succeeded), "{task:#?}");
    ensure!(states.iter().all(|state| **state == RunState::Lost), "{} ran too often: {states:?}", task.name);
    Ok(())
}

/// Each change is one commit of the branch, and no commit is of anything else.
async fn merged_once(story: &Story, project: &ProjectView, count: usize) -> anyhow::Result<()> {
    let log = git(story.env(), Path::new(&project.repository), &["log", "--format=%H", "main"]).await?;
    let mut commits: BTreeSet<&str> = log.lines().collect();
    let begun = project.head.as_deref().context("it was imported")?;
    ensure!(commits.len() == count + 1 && commits.remove(begun), "{count} changes, but main is\n{log}");
    for change in story.changes("shop").await? {
        // The task of a change that conflicted has another one.
        if matches!(change.state, ChangeState::Conflicted { .. }) {
            continue;
        }
        let ChangeState::Merged { commit } = &change.state else { anyhow::bail!("{change:#?}") };
        ensure!(commits.remove(commit.as_str()), "{} is not on the branch, or there twice:\n{log}", change.name);
    }
    ensure!(commits.is_empty(), "of no change: {commits:?}");
    Ok(())
}

/// Of runs that are over there are logs and results, but neither workspaces nor bundles, unless their work was not taken
/// in.
pub(crate) async fn nothing_left(story: &Story) -> anyhow::Result<()> {
    let state = story.env().state();
    let listed = |directory: &Path| -> anyhow::Result<Vec<_>> {
        Ok(std::fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?)
    };
    let is_kept = |run: &RunView| run.purpose == RunPurpose::Work && run.state != RunState::Succeeded;
    let kept: Vec<String> =
        story.runs("shop").await?.iter().filter(|run| is_kept(run)).map(|run| run.id.to_string()).collect();
    let left = || -> anyhow::Result<Vec<_>> {
        let mut left = listed(&state.join("workspaces"))?;
        left.retain(|path| !["cache", "drafts", "trash", "bases"].iter().any(|own| path.ends_with(own)));
        left.extend(listed(&state.join("workspaces/bases"))?);
        left.extend(listed(&state.join("workspaces/drafts"))?);
        left.extend(listed(&state.join("workspaces/trash"))?);
        left.extend(listed(&state.join("jail"))?);
        left.extend(listed(&state.join("runs"))?.into_iter().map(|run| run.join("out")).filter(|out| out.exists()));
        left.retain(|path| !kept.iter().any(|run| path.to_string_lossy().contains(run)));
        Ok(left)
    };
    let gone = poll::until("the end of all workspaces", async || Ok(left()?.is_empty().then_some(())));
    gone.await.with_context(|| format!("left: {:#?}", left()))
}
