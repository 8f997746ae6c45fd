//! On which terms tasks run: what they share, what they wait for in others, and until when.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, ensure};
use orch_proto::request::RepoSource;
use orch_proto::view::TaskState;
use orch_tests::command_line::orchctl;
use orch_tests::poll::until;
use orch_tests::{Setup, Story};

use crate::agents::{begin_with, hand_in};
use crate::kills::{counting, shim_pid, write_inside};
use crate::story;

/// An agent that works until it is told to go, and leaves a file for each task.
const PATIENT: &str = r#"#!/bin/sh
set -e
read line; echo '{"jsonrpc":"2.0","id":"initialize","result":{"protocolVersion":1}}'
read line; echo '{"jsonrpc":"2.0","id":"new","result":{"sessionId":"s"}}'
read line
while ! [ -e go ]; do sleep 0.05; done
rm go
printf 'hi\n' > "made-$(printf %s "$line" | cksum | cut -d ' ' -f 1)"
echo '{"jsonrpc":"2.0","id":"prompt-0","result":{"stopReason":"end_turn"}}'
cat > /dev/null
"#;

/// Runs until it is told to go.
const WAITS: &str = "steps: ['echo here; while ! [ -e go ]; do sleep 0.05; done']\nretries: {max_retries: 0}\n";

#[test]
fn two_that_use_one_thing_never_run_at_the_same_time() -> anyhow::Result<()> {
    story("a semaphore", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let brief = "steps: ['sleep 0.3']";
        let first = story.hand_in("First", brief, &["--uses", "staging"]).await?;
        let second = story.hand_in("Second", brief, &["--uses", "staging"]).await?;
        for task in [&first, &second] {
            story.task_in(task, TaskState::Done).await?;
        }
        let (first, second) = (story.run_of(&first).await?, story.run_of(&second).await?);
        let (earlier, later) = if first.queued_at < second.queued_at { (first, second) } else { (second, first) };
        ensure!(earlier.finished_at <= Some(later.queued_at), "{earlier:#?} and {later:#?}");
        Ok(())
    })
}

/// Its second task waits for the first and says so with numbers; what is no agent's goes by.
#[test]
fn an_agent_has_no_more_runs_than_it_may() -> anyhow::Result<()> {
    story("runs of an agent", Setup::Runs, async |story| {
        let program = story.env().path("patient-agent");
        std::fs::write(&program, PATIENT)?;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
        let config = format!(
            "[models.none]\napi = \"ollama\"\nurl = \"http://127.0.0.1:9\"\n[agents.coder]\nkind = \"acp\"\n\
             models = \"none\"\nprogram = \"{}\"\nruns_max = 1\n",
            program.display()
        );
        begin_with(story, &config).await?;
        let first = hand_in(story, "First").await?;
        let run = counting(story, &first).await?;
        let second = hand_in(story, "Second").await?;
        until("a task that waits for its agent", async || {
            let why = orchctl(story.env(), &["task", "why", &second]).await?.ok()?;
            let said = "agent_runs: 1 of the 1 runs that the agent `coder` may have at once";
            Ok((why.contains(said) && why.contains("agents.coder.runs_max")).then_some(()))
        })
        .await?;
        let steps = story.hand_in("Steps", "steps: ['true']", &[]).await?;
        story.task_in(&steps, TaskState::Done).await?;
        for (task, run) in [(&first, Some(run)), (&second, None)] {
            let run = match run {
                Some(run) => run,
                None => counting(story, task).await?,
            };
            write_inside(shim_pid(&run)?, "go").await?;
            story.task_in(task, TaskState::Done).await?;
        }
        let (first, second) = (story.run_of(&first).await?, story.run_of(&second).await?);
        ensure!(first.finished_at <= Some(second.queued_at), "{first:#?} and {second:#?}");
        Ok(())
    })
}

#[test]
fn what_waits_for_a_failure_runs_after_one_and_never_after_a_success() -> anyhow::Result<()> {
    story("on failure", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let bad = story.hand_in("Bad", "steps: ['false']\nretries: {max_retries: 0}\n", &[]).await?;
        let good = story.hand_in("Good", "steps: ['true']", &[]).await?;
        let on = |task: &str| format!("{}:failed", task.rsplit('/').next().unwrap_or(task));
        let mend = story.hand_in("Mend", "steps: [echo mends]", &["--depends-on", &on(&bad)]).await?;
        let idle = story.hand_in("Idle", "steps: [echo never]", &["--depends-on", &on(&good)]).await?;
        story.task_in(&mend, TaskState::Done).await?;
        let idle = story.task_in(&idle, TaskState::Cancelled).await?;
        ensure!(idle.cancelled_because.as_deref() == Some("not needed: T-2 did not fail"), "{idle:#?}");
        let shown = orchctl(story.env(), &["task", "get", &mend]).await?.ok()?;
        ensure!(shown.contains("depends on    T-1:failed"), "{shown}");
        Ok(())
    })
}

#[test]
fn a_deadline_ends_what_runs_and_what_never_began() -> anyhow::Result<()> {
    story("a deadline", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let slow = story.hand_in("Slow", WAITS, &["--deadline", "+2s"]).await?;
        let late = story.hand_in("Late", WAITS, &["--depends-on", "T-1", "--deadline", "+1s"]).await?;
        let late = story.task_in(&late, TaskState::Failed).await?;
        ensure!(
            late.attempts == 0 && late.last_failure.as_deref().is_some_and(|why| why.contains("deadline")),
            "{late:#?}"
        );
        let slow = story.task_in(&slow, TaskState::Failed).await?;
        ensure!(slow.attempts == 1, "{slow:#?}");
        // Nothing begins before its time, also over a restart, and everybody is told when that is.
        let early = story.hand_in("Early", "steps: ['true']", &["--not-before", "+1h"]).await?;
        story.kill9().await?;
        story.start().await?;
        let why = orchctl(story.env(), &["task", "why", &early]).await?.ok()?;
        ensure!(why.contains("not_before: is not to begin before") && why.contains("--not-before none"), "{why}");
        orchctl(story.env(), &["task", "set", &early, "--not-before", "none"]).await?.ok()?;
        story.task_in(&early, TaskState::Done).await?;
        Ok(())
    })
}

#[test]
fn a_run_has_the_memory_that_its_task_asks_for() -> anyhow::Result<()> {
    story("memory of a task", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let hungry =
            "steps: ['head -c 300000000 /dev/zero > /tmp/full; mkfifo never; cat never']\nretries: {max_retries: 0}\n";
        let small = story.hand_in("Small", hungry, &["--memory", "128M"]).await?;
        let failed = story.task_in(&small, TaskState::Failed).await?;
        let why = failed.last_failure.context("a reason")?;
        ensure!(why.contains("memory limit of 128 MiB exceeded"), "{why}");
        let endless = story.hand_in("Endless", "steps: ['true']", &["--memory", "900T"]).await?;
        let why = orchctl(story.env(), &["task", "why", &endless]).await?.ok()?;
        ensure!(why.contains("memory: the memory of the host: it takes") && why.contains("in all for runs"), "{why}");
        orchctl(story.env(), &["task", "set", &endless, "--memory", "0"]).await?.ok()?;
        story.task_in(&endless, TaskState::Done).await?;
        Ok(())
    })
}

#[test]
fn only_the_operator_lets_a_recipe_do_without_a_sandbox() -> anyhow::Result<()> {
    story("no isolation", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        // What no sandbox shows, and nothing of a repository.
        let marker = story.env().path("marker");
        std::fs::write(&marker, "seen\n")?;
        let recipe = format!(
            "checkout: false\nisolation: none\nsteps: ['cat {} && test \"$PWD\" = \"$HOME\" && ! ls .git']\n",
            marker.display()
        );
        let refused = story.hand_in("Early", &recipe, &[]).await;
        let said = refused.err().map(|error| format!("{error:#}")).unwrap_or_default();
        ensure!(said.contains("sandbox.allow_none = true"), "{said}");
        allow_none(story, true).await?;
        let plain = story.hand_in("Plain", &recipe, &[]).await?;
        story.task_in(&plain, TaskState::Done).await?;
        let log = orchctl(story.env(), &["--project", "shop", "run", "logs", "R-1"]).await?.ok()?;
        ensure!(log.contains("seen"), "{log}");
        let run = orchctl(story.env(), &["--project", "shop", "run", "get", "R-1"]).await?.ok()?;
        ensure!(run.contains("level 0"), "{run}");
        // What was allowed once is asked again when it comes to it.
        let held = story.hand_in("Held", &recipe, &["--not-before", "+1h"]).await?;
        allow_none(story, false).await?;
        orchctl(story.env(), &["task", "set", &held, "--not-before", "none"]).await?.ok()?;
        let held = story.task_in(&held, TaskState::Failed).await?;
        ensure!(held.last_failure.as_deref().is_some_and(|why| why.contains("does not allow any more")), "{held:#?}");
        Ok(())
    })
}

/// Starts the daemon again with another word on isolation.
pub(crate) async fn allow_none(story: &mut Story, is_allowed: bool) -> anyhow::Result<()> {
    story.stop().await?;
    let file = story.env().path("orchd.toml");
    let text = std::fs::read_to_string(&file)?;
    let (before, _) = text.split_once("[sandbox]").unwrap_or((&text, ""));
    std::fs::write(&file, format!("{before}[sandbox]\nallow_none = {is_allowed}\n"))?;
    story.start().await
}
