//! Pauses: of projects, of everything, of runs whose processes stand still.

use anyhow::{Context as _, ensure};
use orch_proto::request::RepoSource;
use orch_proto::view::{RunState, RunView, TaskState};
use orch_tests::command_line::orchctl;
use orch_tests::{Setup, Story, processes};

use crate::kills::{COUNTS, counting, release, shim_pid};
use crate::story;

async fn run_in(story: &Story, name: &str, state: RunState) -> anyhow::Result<RunView> {
    story
        .wait_until(&format!("{name} {state:?}"), async |client| {
            let found = client.runs("shop").await?.into_iter().find(|run| run.name == name);
            Ok(found.filter(|run| run.state == state))
        })
        .await
}

#[test]
fn a_paused_run_stands_still_and_goes_on_over_a_restart() -> anyhow::Result<()> {
    story("a paused run", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let task = story.task_create("shop", "Counts", COUNTS).await?;
        let run = counting(story, &task).await?;
        orchctl(story.env(), &["run", "pause", &run.name, "--reason", "look"]).await?.ok()?;
        let paused = run_in(story, &run.name, RunState::Paused).await?;
        ensure!(paused.pause.as_deref() == Some("look"), "{paused:#?}");
        let tree = processes::tree(shim_pid(&run)?)?;
        ensure!(tree.len() > 2, "it lives: {tree:#?}");
        // A daemon that is started anew leaves it so, and can let it go on.
        story.kill9().await?;
        story.start().await?;
        let still = run_in(story, &run.name, RunState::Paused).await?;
        ensure!(still.log_bytes == paused.log_bytes, "nothing was written in the meantime");
        orchctl(story.env(), &["run", "resume", &run.name]).await?.ok()?;
        run_in(story, &run.name, RunState::Running).await?;
        // With its project it stands still only as long as that.
        let briefly = ["project", "pause", "shop", "--runs", "--until", "+2s"];
        orchctl(story.env(), &briefly).await?.ok()?;
        run_in(story, &run.name, RunState::Paused).await?;
        let goes_on = run_in(story, &run.name, RunState::Running).await?;
        release(&goes_on, story).await?;
        story.task_in(&task, TaskState::Done).await?;
        Ok(())
    })
}

#[test]
fn a_paused_run_can_be_ended() -> anyhow::Result<()> {
    story("the end of a paused run", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let task = story.task_create("shop", "Counts", COUNTS).await?;
        let run = counting(story, &task).await?;
        orchctl(story.env(), &["run", "pause", &run.name]).await?.ok()?;
        run_in(story, &run.name, RunState::Paused).await?;
        orchctl(story.env(), &["task", "cancel", &task, "--yes"]).await?.ok()?;
        run_in(story, &run.name, RunState::Cancelled).await?;
        Ok(())
    })
}

#[test]
fn while_everything_is_paused_nothing_begins() -> anyhow::Result<()> {
    story("everything paused", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let first = story.task_create("shop", "Counts", COUNTS).await?;
        let run = counting(story, &first).await?;
        orchctl(story.env(), &["project", "pause", "--all", "--runs", "--reason", "upgrade"]).await?.ok()?;
        run_in(story, &run.name, RunState::Paused).await?;
        let waits = story.task_create("shop", "Waits", "steps: ['true']").await?;
        // Also for the next daemon, and for what is made in the meantime.
        story.kill9().await?;
        story.start().await?;
        story.project_create("other", RepoSource::Empty).await?;
        let why = orchctl(story.env(), &["task", "why", &waits]).await?.ok()?;
        ensure!(why.contains("project_paused: project `shop` is paused: upgrade"), "{why}");
        let shown = orchctl(story.env(), &["project", "get", "other"]).await?.ok()?;
        ensure!(shown.contains("paused") && shown.contains("upgrade"), "{shown}");
        let status = orchctl(story.env(), &["status"]).await?.ok()?;
        ensure!(status.contains("project shop is paused: upgrade"), "{status}");
        orchctl(story.env(), &["project", "resume", "--all"]).await?.ok()?;
        let goes_on = run_in(story, &run.name, RunState::Running).await?;
        story.task_in(&waits, TaskState::Done).await?;
        release(&goes_on, story).await?;
        story.task_in(&first, TaskState::Done).await?;
        let drained = orchctl(story.env(), &["daemon", "drain"]).await?.ok()?;
        ensure!(drained.contains("nothing is under way"), "{drained}");
        Ok(())
    })
}

#[test]
fn nothing_begins_in_a_freeze_window() -> anyhow::Result<()> {
    story("a freeze window", Setup::Runs, async |story| {
        story.stop().await?;
        let always = "[[freeze]]\nprojects = [\"shop\"]\nfrom = \"2020-01-01T00:00:00Z\"\nuntil = \"2999-01-01T00:00:00Z\"\n\
                      reason = \"audit\"\n";
        std::fs::write(story.env().path("orchd.toml"), always)?;
        story.start().await?;
        for project in ["shop", "other"] {
            story.project_create(project, RepoSource::Empty).await?;
        }
        let frozen = story.task_create("shop", "Frozen", "steps: ['true']").await?;
        let free = story.task_create("other", "Free", "steps: ['true']").await?;
        story.task_in(&free, TaskState::Done).await?;
        let waits = story.task(&frozen).await?.waits;
        let wait = waits.first().context("a reason")?;
        ensure!(wait.code == "freeze" && wait.text.contains("audit"), "{wait:?}");
        Ok(())
    })
}
