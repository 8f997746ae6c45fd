//! While an attack on the sandbox works nothing is started, not even what was chosen before anybody knew.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use orch_proto::request::RepoSource;
use orch_proto::view::{RunState, TaskState};
use orch_tests::{Daemon, Setup, Story};

use crate::kills::{COUNTS, release};
use crate::story;

/// How often a daemon is killed right after it has chosen a run, until one is caught that was not started.
const TRIES: u32 = 20;

#[test]
fn what_was_chosen_before_waits_while_an_attack_works() -> anyhow::Result<()> {
    story("an attack works", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let task = chosen_and_not_started(story).await?;
        let mut weak = Daemon::command(story.env());
        weak.env("ORCH_SANDBOX_PROGRAM", program_that_does_not_hold(story)?);
        story.start_with(weak).await?;
        let warned = story.status().await?.warnings;
        ensure!(warned.iter().any(|warning| warning.contains("no run starts")), "{warned:?}");
        let next = story.task_create("shop", "Next", "steps: [echo next]").await?;
        for _ in 0..2 {
            // Starts many runs itself, one after the other: one that is not held back would have started by its end.
            let report = story.wire().call(async |orch, context| orch.doctor(context).await).await?;
            ensure!(report.isolation_level < report.isolation_required, "{report:#?}");
            let runs = story.runs("shop").await?;
            let waits = |state: &RunState| matches!(state, RunState::Leased | RunState::Starting);
            let open: Vec<_> = runs.iter().filter(|run| run.finished_at.is_none()).collect();
            ensure!(open.len() == 1 && waits(&open[0].state), "{open:#?}");
            ensure!(!was_claimed(&story.env().state().join("runs").join(open[0].id.to_string()))?, "{:#?}", open[0]);
        }
        let why = story.task(&next).await?.waits;
        ensure!(why.iter().any(|wait| wait.code == "isolation"), "{why:#?}");
        story.stop().await?;
        // With a sandbox that holds both are done, the first in the attempt that was chosen.
        story.start().await?;
        let run = crate::kills::counting(story, &task).await?;
        release(&run, story).await?;
        ensure!(story.task_in(&task, TaskState::Done).await?.attempts == 1, "it was chosen anew");
        story.task_in(&next, TaskState::Done).await?;
        Ok(())
    })
}

/// A task whose run was chosen by a daemon that was killed before it started it.
async fn chosen_and_not_started(story: &mut Story) -> anyhow::Result<String> {
    for number in 0..TRIES {
        let before = story.status().await?.seq;
        let task = story.task_create("shop", &format!("Try {number}"), COUNTS).await?;
        let leased = story.event("run.leased", before).await?;
        story.kill9().await?;
        if !was_claimed(&story.env().state().join("runs").join(leased.subject))? {
            return Ok(task);
        }
        story.start().await?;
        let run = crate::kills::counting(story, &task).await?;
        release(&run, story).await?;
        story.task_in(&task, TaskState::Done).await?;
    }
    anyhow::bail!("every run was started before its daemon was killed")
}

/// Whether a shim has taken an attempt of the run.
fn was_claimed(run: &Path) -> anyhow::Result<bool> {
    if !run.exists() {
        return Ok(false);
    }
    let mut names = std::fs::read_dir(run)?.map(|entry| entry.map(|entry| entry.file_name()));
    Ok(names.any(|name| name.is_ok_and(|name| name.to_string_lossy().starts_with("claim."))))
}

/// A sandbox program in which every attack works, as far as it says itself.
fn program_that_does_not_hold(story: &Story) -> anyhow::Result<std::path::PathBuf> {
    let path = story.env().path("weak-sandbox");
    let open = r#"{"finding":"open","seen":"for a test"}"#;
    let script = format!(
        "#!/bin/sh\ncase $1 in\nattempt) shift; for each; do echo '{open}'; done ;;\n*) exec '{}' \"$@\" ;;\nesac\n",
        story.env().programs().sandbox
    );
    std::fs::write(&path, script).context("failed to write a program")?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}
