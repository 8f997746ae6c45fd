//! A person orders: all ends, one goes first, a run is tried again.

use anyhow::{Context as _, ensure};
use orch_proto::ErrorCode;
use orch_proto::request::RepoSource;
use orch_proto::view::{RunView, TaskState};
use orch_tests::command_line::orchctl;
use orch_tests::{Setup, Story};

use crate::kills::{COUNTS, counting};
use crate::story;

const CONFLICT: i32 = ErrorCode::Conflict.exit_code() as i32;

/// Fails until somebody has said that it may not.
const FAILS: &str = "
steps:
  - name: fail
    run: exit 3
retries: {max_retries: 0}
";

async fn states(story: &Story, tasks: &[String]) -> anyhow::Result<Vec<TaskState>> {
    let mut states = Vec::new();
    for task in tasks {
        states.push(story.task(task).await?.state);
    }
    Ok(states)
}

#[test]
fn all_that_is_open_is_cancelled_and_comes_back() -> anyhow::Result<()> {
    story("cancel of all", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        story.project_create("other", RepoSource::Empty).await?;
        orchctl(story.env(), &["project", "pause", "--all"]).await?.ok()?;
        let mut tasks = Vec::new();
        for title in ["One", "Two", "Three"] {
            tasks.push(story.task_create("shop", title, "steps: ['true']").await?);
        }
        let there = story.task_create("other", "There", "steps: ['true']").await?;
        let dry = orchctl(story.env(), &["project", "cancel", "shop", "--dry-run", "-o", "name"]).await?.ok()?;
        ensure!(tasks.iter().all(|task| dry.contains(task.as_str())) && !dry.contains(&there), "{dry}");
        ensure!(states(story, &tasks).await? == [TaskState::Approved; 3], "a look ended something");
        orchctl(story.env(), &["project", "cancel", "shop", "--yes", "--reason", "wrong way"]).await?.ok()?;
        ensure!(states(story, &tasks).await? == [TaskState::Cancelled; 3], "not all of it ended");
        ensure!(story.task(&there).await?.state == TaskState::Approved, "another project");
        let why = story.task(&tasks[0]).await?.cancelled_because;
        ensure!(why.as_deref() == Some("wrong way"), "{why:?}");
        // It is one decision, also for the next daemon.
        story.kill9().await?;
        story.start().await?;
        orchctl(story.env(), &["undo"]).await?.ok()?;
        ensure!(states(story, &tasks).await? == [TaskState::Approved; 3], "not all of it came back");
        // Everything, with what runs.
        orchctl(story.env(), &["project", "resume", "--all"]).await?.ok()?;
        for task in tasks.iter().chain([&there]) {
            story.task_in(task, TaskState::Done).await?;
        }
        let running = story.task_create("shop", "Counts", COUNTS).await?;
        let run = counting(story, &running).await?;
        orchctl(story.env(), &["project", "cancel", "--all", "--yes"]).await?.ok()?;
        ensure!(story.task(&running).await?.state == TaskState::Cancelled, "what runs ended");
        let said = orchctl(story.env(), &["undo"]).await?.failed(CONFLICT)?;
        ensure!(said.contains("a run was told to end"), "{said}");
        story
            .wait_until("the run has ended", async |client| {
                let found = client.runs("shop").await?.into_iter().find(|found| found.name == run.name);
                Ok(found.filter(|run| run.state.is_final()))
            })
            .await?;
        let said = orchctl(story.env(), &["-p", "shop", "task", "cancel", "--all", "--yes"]).await?;
        said.ok()?;
        Ok(())
    })
}

#[test]
fn a_task_that_was_moved_begins_where_it_was_put() -> anyhow::Result<()> {
    story("move", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        orchctl(story.env(), &["project", "set", "shop", "--runs-max", "1"]).await?.ok()?;
        orchctl(story.env(), &["project", "pause", "shop"]).await?.ok()?;
        let mut tasks = Vec::new();
        for title in ["One", "Two", "Three", "Four"] {
            tasks.push(story.task_create("shop", title, "steps: ['true']").await?);
        }
        orchctl(story.env(), &["task", "move", &tasks[2], "--first"]).await?.ok()?;
        orchctl(story.env(), &["task", "move", &tasks[0], "--last"]).await?.ok()?;
        orchctl(story.env(), &["task", "move", &tasks[3], "--first"]).await?.ok()?;
        // The last one is taken back.
        orchctl(story.env(), &["undo"]).await?.ok()?;
        let shown = orchctl(story.env(), &["task", "get", &tasks[2]]).await?.ok()?;
        ensure!(shown.contains("moved ahead"), "{shown}");
        let said = orchctl(story.env(), &["task", "move", &tasks[2], "--before", &tasks[2]]).await?.failed(CONFLICT)?;
        ensure!(said.contains("cannot be put beside itself"), "{said}");
        // The next daemon knows their places, too.
        story.kill9().await?;
        story.start().await?;
        orchctl(story.env(), &["project", "resume", "shop"]).await?.ok()?;
        for task in &tasks {
            story.task_in(task, TaskState::Done).await?;
        }
        let mut runs: Vec<RunView> = story.runs("shop").await?;
        runs.sort_by_key(|run| run.number);
        let order: Vec<&str> = runs.iter().map(|run| run.task_title.as_str()).collect();
        ensure!(order == ["Three", "Two", "Four", "One"], "{order:?}");
        ensure!(runs[0].reason.contains("moved ahead by a person"), "{}", runs[0].reason);
        Ok(())
    })
}

#[test]
fn a_run_is_tried_again_by_its_name() -> anyhow::Result<()> {
    story("run retry", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let task = story.task_create("shop", "Fails", FAILS).await?;
        let failed = story.task_in(&task, TaskState::Failed).await?;
        let first = failed.run_name.context("a run")?;
        orchctl(story.env(), &["run", "retry", &first, "--delay", "1s", "--priority", "7"]).await?.ok()?;
        let again = story
            .wait_until("a second attempt has failed", async |client| {
                let found = client.task(&task).await?;
                Ok(Some(found).filter(|task| task.state == TaskState::Failed && task.attempts == 2))
            })
            .await?;
        ensure!(again.priority == 7, "{again:#?}");
        let said = orchctl(story.env(), &["run", "retry", &first]).await?.failed(CONFLICT)?;
        ensure!(said.contains("is not the newest attempt") && said.contains("orchctl task retry"), "{said}");
        Ok(())
    })
}
