//! What agents may spend: a real agent asks for more than it may, stands still, and goes on when a person gives more.

use anyhow::{Context as _, ensure};
use orch_proto::view::{RunView, TaskState};
use orch_tests::command_line::orchctl;
use orch_tests::model_server::{ModelServer, Script, Turn};
use orch_tests::{Setup, Story, poll};

use crate::agents::{CODEX, begin, hand_in, is_merged};
use crate::story;

/// Three turns of 600 tokens.
fn script() -> Script {
    let turn = |turn: Turn| turn.usage(500, 100);
    Script::new([
        turn(Turn::run("printf 'once\\n' >> hello.txt")),
        turn(Turn::run("printf 'twice\\n' >> hello.txt")),
        turn(Turn::say("It is done.")),
    ])
}

fn turns(server: &ModelServer) -> usize {
    server.requests().iter().filter(|request| request.is_turn()).count()
}

/// The run of a task that stands still for what it has spent, and the question about it.
async fn stands_still(story: &Story, task: &str) -> anyhow::Result<(RunView, String)> {
    let asked = poll::until("a question", async || Ok(story.approvals_pending("shop").await?.into_iter().next()));
    let asked = asked.await?;
    let run = poll::until("a run that stands still", async || {
        Ok(Some(story.run_of(task).await?).filter(|run| run.pause.is_some()))
    });
    Ok((run.await?, asked.name))
}

#[test]
fn an_attempt_that_has_spent_what_it_may_goes_on_when_it_may_spend_more() -> anyhow::Result<()> {
    story("an attempt has spent its tokens", Setup::Runs, async |story| {
        let Some(server) = begin(story, CODEX, script()).await? else { return Ok(()) };
        story.stop().await?;
        let file = story.env().path("orchd.toml");
        let config = std::fs::read_to_string(&file)?;
        std::fs::write(&file, format!("{config}tokens_per_run = 1000\n"))?;
        story.start().await?;
        let task = hand_in(story, "Say hello").await?;
        let (run, question) = stands_still(story, &task).await?;
        ensure!(turns(&server) == 2, "the third request did not leave");
        let pause = run.pause.as_deref().unwrap_or_default();
        ensure!(pause.contains("1,200 of 1,000 tokens for this attempt"), "{pause}");
        let shown = orchctl(story.env(), &["run", "get", &run.name]).await?.ok()?;
        ensure!(shown.contains("1,200 of 1,000 tokens for this attempt"), "{shown}");
        // It stands still over a restart of the daemon, and nobody is asked twice.
        story.kill9().await?;
        story.start().await?;
        let (_, again) = stands_still(story, &task).await?;
        ensure!(again == question && turns(&server) == 2, "{again}");
        orchctl(story.env(), &["approval", "answer", &question, "raise"]).await?.ok()?;
        let done = story.task_in(&task, TaskState::Done).await?;
        ensure!(done.attempts == 1, "{done:#?}");
        let run = story.run_of(&task).await?;
        let used = run.agent.as_ref().context("it was an agent's")?;
        ensure!(used.spending == ["1,800 of 2,000 tokens for this attempt"], "{used:#?}");
        is_merged(story, "hello.txt", "once\ntwice\n").await
    })
}

#[test]
fn a_project_that_has_spent_its_day_goes_on_when_it_may_spend_more() -> anyhow::Result<()> {
    story("a project has spent its tokens", Setup::Runs, async |story| {
        let Some(server) = begin(story, CODEX, script()).await? else { return Ok(()) };
        let budget = ["project", "budget", "shop", "--tokens", "1000", "--per", "day"];
        orchctl(story.env(), &budget).await?.ok()?;
        let task = hand_in(story, "Say hello").await?;
        let (_, question) = stands_still(story, &task).await?;
        let other = hand_in(story, "Say more").await?;
        let why = orchctl(story.env(), &["task", "why", &other]).await?.ok()?;
        ensure!(why.contains("1,200 of 1,000 tokens in a day"), "{why}");
        ensure!(turns(&server) == 2, "the third request did not leave");
        // It would spend what is given now.
        orchctl(story.env(), &["task", "cancel", &other]).await?.ok()?;
        orchctl(story.env(), &["approval", "answer", &question, "raise"]).await?.ok()?;
        story.task_in(&task, TaskState::Done).await?;
        is_merged(story, "hello.txt", "once\ntwice\n").await
    })
}
