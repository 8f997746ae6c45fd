//! Real agents ask before they do something, and are told something while they work. Their model is a script.

use anyhow::{Context as _, ensure};
use orch_proto::request::Decision;
use orch_proto::view::{RunState, TaskState};
use orch_tests::command_line::orchctl;
use orch_tests::model_server::{Misbehave as _, ModelServer, Request, Script, Turn};
use orch_tests::{Setup, Story, poll};
use serde_json::json;

use crate::agents::{Agent, CLAUDE, CODEX, OPENCODE, begin_as, hand_in, is_merged};
use crate::{channel, story};

/// What the operator has each agent ask about.
const RULES: &str = r#"
[[agents.coder.ask]]
of = "command"
matches = "cp *"
then = "ask"

[[agents.coder.ask]]
of = "command"
matches = "rm *"
then = "deny"
because = "nothing is to be lost"
"#;

#[test]
fn codex_asks_before_a_command_and_goes_on_with_the_answer() -> anyhow::Result<()> {
    asks_before_a_command(CODEX)
}

#[test]
fn claude_asks_before_a_command_and_goes_on_with_the_answer() -> anyhow::Result<()> {
    asks_before_a_command(CLAUDE)
}

#[test]
fn opencode_asks_before_a_command_and_goes_on_with_the_answer() -> anyhow::Result<()> {
    asks_before_a_command(OPENCODE)
}

/// What a person allows is done, over a daemon that is killed while the person thinks; what is not, is not, and the agent is told.
fn asks_before_a_command(agent: Agent) -> anyhow::Result<()> {
    story(&format!("{} asks before a command", agent.program), Setup::Runs, async |story| {
        let script = [
            Turn::run("printf 'hi\\n' > draft.txt"),
            Turn::run("cp draft.txt hello.txt"),
            Turn::run("cp hello.txt other.txt"),
            Turn::run("cd . && rm -f hello.txt"),
            Turn::say("It is done."),
            Turn::say("I go on without it."),
            Turn::say("That is all."),
            Turn::say("There is no more."),
        ];
        let Some(server) = begin_as(story, agent, Script::new(script).sequential(), RULES).await? else {
            return Ok(());
        };
        let task = hand_in(story, "Say hello").await?;
        let asked = channel::approval(story, "cp draft.txt hello.txt").await?;
        let run = story.run_of(&task).await?;
        ensure!(run.state == RunState::AwaitingApproval, "{run:#?}");
        let shown = orchctl(story.env(), &["approval", "get", &asked.name]).await?.ok()?;
        ensure!(shown.contains("cp draft.txt hello.txt"), "{shown}");
        story.kill9().await?;
        story.start().await?;
        story.decide(&asked, Decision::Approve).await?;
        let other = channel::approval(story, "cp hello.txt other.txt").await?;
        story.decide(&other, Decision::Deny).await?;
        story.task_in(&task, TaskState::Done).await?;
        is_merged(story, "hello.txt", "hi\n").await?;
        ensure!(is_merged(story, "other.txt", "hi\n").await.is_err(), "what was denied was not done");
        told(&server, "a person was asked: denied").await?;
        told(&server, "nothing is to be lost").await?;
        let log = orchctl(story.env(), &["run", "logs", &run.name]).await?.ok()?;
        ensure!(log.contains("gave leave for") && log.contains("did not give leave for"), "{log}");
        Ok(())
    })
}

#[test]
fn codex_is_told_what_people_say_while_it_works() -> anyhow::Result<()> {
    is_told(CODEX)
}

#[test]
fn claude_is_told_what_people_say_while_it_works() -> anyhow::Result<()> {
    is_told(CLAUDE)
}

#[test]
fn opencode_is_told_what_people_say_while_it_works() -> anyhow::Result<()> {
    is_told(OPENCODE)
}

/// What is said to a run reaches its agent's model once, over a daemon that is killed; the reply is in its output.
fn is_told(agent: Agent) -> anyhow::Result<()> {
    const WORDS: &str = "write it in French";
    story(&format!("{} is told something", agent.program), Setup::Runs, async |story| {
        let script = [
            Turn::run("printf 'salut\\n' > hello.txt").hold(),
            Turn::say("I am done."),
            Turn::say("I did as you said."),
            Turn::say("There is no more."),
        ];
        let Some(server) = begin_as(story, agent, Script::new(script), "chat = true\n").await? else {
            return Ok(());
        };
        let task = hand_in(story, "Say hello").await?;
        let turns = || server.requests().iter().filter(|request| request.is_turn()).count();
        poll::until("its first request", async || Ok((turns() >= 1).then_some(()))).await?;
        let run = story.run_of(&task).await?;
        let said = orchctl(story.env(), &["run", "say", &run.name, WORDS]).await?;
        ensure!(said.code == Some(0), "{said:?}");
        story.kill9().await?;
        story.start().await?;
        poll::until("the question again", async || Ok((turns() >= 2).then_some(()))).await?;
        server.release();
        story.task_in(&task, TaskState::Done).await?;
        told(&server, WORDS).await?;
        let log = orchctl(story.env(), &["run", "logs", &run.name]).await?.ok()?;
        ensure!(log.contains("I am done."), "{log}");
        let shown = orchctl(story.env(), &["task", "get", &task]).await?.ok()?;
        ensure!(shown.contains(WORDS) && shown.contains("was told at"), "{shown}");
        let events = story.events().await?;
        ensure!(shown.contains("reply") && shown.contains("I "), "{shown}");
        for kind in ["task.said", "task.told", "task.replied"] {
            ensure!(events.iter().filter(|event| event.kind == kind).count() == 1, "{kind} is there once");
        }
        let over = orchctl(story.env(), &["run", "say", &run.name, "too late"]).await?.failed(4)?;
        ensure!(over.contains("is over") && over.contains("orchctl task say"), "{over}");
        Ok(())
    })
}

#[test]
fn codex_has_a_person_answer_what_its_model_asks() -> anyhow::Result<()> {
    let option = |label: &str, about: &str| json!({"label": label, "description": about});
    let question = json!({"id": "db", "header": "Database", "question": "Which database?",
        "options": [option("SQLite", "One file"), option("Postgres", "A server")]});
    has_a_person_answer(CODEX, Turn::call("request_user_input", json!({"questions": [question]})))
}

#[test]
fn claude_has_a_person_answer_what_its_model_asks() -> anyhow::Result<()> {
    let option = |label: &str, about: &str| json!({"label": label, "description": about});
    let question = json!({"header": "Database", "question": "Which database?", "multiSelect": false,
        "options": [option("SQLite", "One file"), option("Postgres", "A server")]});
    has_a_person_answer(CLAUDE, Turn::call("AskUserQuestion", json!({"questions": [question]})))
}

/// What a program asks by a tool of its own is asked a person, over a daemon that is killed meanwhile, and its model has the answer.
fn has_a_person_answer(agent: Agent, asks: Turn) -> anyhow::Result<()> {
    story(&format!("{} has a person answer", agent.program), Setup::Runs, async |story| {
        let script = [asks, Turn::run("printf 'hi\\n' > hello.txt"), Turn::say("It is done.")];
        let Some(server) = begin_as(story, agent, Script::new(script), "chat = true\n").await? else {
            return Ok(());
        };
        let task = hand_in(story, "Say hello").await?;
        let words = "Which database?\n   SQLite: One file\n   Postgres: A server";
        let asked = channel::question(story, words).await?;
        ensure!(story.run_of(&task).await?.state == RunState::AwaitingInput, "it waits");
        story.kill9().await?;
        story.start().await?;
        let file = story.env().path("answer");
        std::fs::write(&file, "Postgres")?;
        let given = format!("answer_1={}", file.display());
        orchctl(story.env(), &["question", "answer", &asked.name, "--value-file", &given]).await?.ok()?;
        story.task_in(&task, TaskState::Done).await?;
        is_merged(story, "hello.txt", "hi\n").await?;
        let has = |request: &Request| {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            // Once with the question, and once more as its answer.
            body.matches("Postgres").count() >= 2
        };
        ensure!(server.requests().iter().any(has), "its model has the answer: {:#?}", server.requests());
        let run = story.run_of(&task).await?;
        let log = orchctl(story.env(), &["run", "logs", &run.name]).await?.ok()?;
        ensure!(log.contains("asks: Which database?") && log.contains("had an answer to: Which database?"), "{log}");
        Ok(())
    })
}

/// A line of the program that is longer than anybody holds ends its turn as any other: Claude Code prints a long answer twice.
#[test]
fn a_line_of_thirty_megabytes_loses_no_run() -> anyhow::Result<()> {
    story("claude says thirty megabytes", Setup::Runs, async |story| {
        let script = [Turn::run("printf 'hi\\n' > hello.txt"), Turn::say("It is done.").huge(30 << 20)];
        let Some(_server) = begin_as(story, CLAUDE, Script::new(script), "chat = true\n").await? else {
            return Ok(());
        };
        let task = hand_in(story, "Say hello").await?;
        story.task_in(&task, TaskState::Done).await?;
        is_merged(story, "hello.txt", "hi\n").await?;
        let run = story.run_of(&task).await?;
        ensure!(run.state == RunState::Succeeded && run.attempt == 1, "{run:#?}");
        let shown = orchctl(story.env(), &["run", "logs", &run.name]).await?.ok()?;
        ensure!(shown.contains("more bytes") && shown.contains("its turn ended: completed"), "{shown:.4000}");
        Ok(())
    })
}

/// Waits until a request to the model has these words in it.
async fn told(server: &ModelServer, words: &str) -> anyhow::Result<()> {
    let has = |request: &Request| String::from_utf8_lossy(&request.body).contains(words);
    let found = poll::until("what the model is told", async || Ok(server.requests().iter().any(has).then_some(())));
    found.await.with_context(|| format!("`{words}` is not in {:#?}", server.requests()))
}

/// What is said to a task that nobody works at is told with its next attempt.
#[test]
fn what_is_said_to_a_task_is_told_with_its_next_attempt() -> anyhow::Result<()> {
    story("messages to a task", Setup::Runs, async |story: &mut Story| {
        let script = [Turn::run("printf 'hi\\n' > hello.txt"), Turn::say("It is done.")];
        let Some(server) = begin_as(story, CODEX, Script::new(script), "").await? else { return Ok(()) };
        let words = ["--project", "shop", "task", "create", "Say hello", "--accept", "it says hi", "-o", "name"];
        let task = orchctl(story.env(), &words).await?.ok()?.trim().to_owned();
        let said = orchctl(story.env(), &["task", "say", &task, "in lower case, please"]).await?;
        ensure!(said.code == Some(0) && said.stderr.contains("the next attempt is told"), "{said:?}");
        let empty = orchctl(story.env(), &["task", "say", &task, " "]).await?.failed(2)?;
        ensure!(empty.contains("is empty"), "{empty}");
        orchctl(story.env(), &["task", "queue", &task]).await?.ok()?;
        story.task_in(&task, TaskState::Done).await?;
        told(&server, "in lower case, please").await?;
        let run = story.run_of(&task).await?;
        let prompt = std::fs::read_to_string(std::path::Path::new(&run.directory).join("prompt.md"))?;
        ensure!(prompt.contains("in lower case, please"), "{prompt}");
        let done = orchctl(story.env(), &["task", "say", &task, "more"]).await?.failed(4)?;
        ensure!(done.contains("is done") && done.contains("orchctl task create"), "{done}");
        Ok(())
    })
}
