//! An agent whose run is lost goes on with its own session in the next attempt, and begins anew where that is of no use. The programs
//! are the real ones; their model is a script that finds its turn by what it is told was said before.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use orch_proto::view::{RunState, RunView, TaskState};
use orch_tests::command_line::orchctl;
use orch_tests::model_server::{Misbehave as _, ModelServer, Request, Script, Turn};
use orch_tests::{Setup, poll, processes};

use crate::agents::{Agent, CLAUDE, CODEX, begin, begin_as, hand_in, is_merged};
use crate::kills::shim_pid;
use crate::story;

/// What only the first prompt says, and only the second.
const FIRST: &str = "`hello.txt` says hi";
const SECOND: &str = "You were interrupted";

#[test]
fn codex_goes_on_with_its_session_when_its_run_is_lost() -> anyhow::Result<()> {
    goes_on(CODEX, "")
}

/// In a conversation with its driver, which is told something in between.
#[test]
fn claude_goes_on_with_its_session_when_its_run_is_lost() -> anyhow::Result<()> {
    goes_on(CLAUDE, "chat = true\n")
}

/// Its model is told what was said and done before, what was done is not done again, and it is merged once.
fn goes_on(agent: Agent, more: &str) -> anyhow::Result<()> {
    story(&format!("{} goes on with its session", agent.program), Setup::Runs, async |story| {
        let twice = "grep -q twice hello.txt || printf 'twice\\n' >> hello.txt";
        let script = [
            Turn::run("printf 'once\\n' >> hello.txt"),
            Turn::run(twice).hold(),
            // Claude Code puts a word of its own in the place of the answer that never came.
            Turn::run(twice),
            Turn::say("It is done."),
        ];
        let Some(server) = begin_as(story, agent, Script::new(script), more).await? else { return Ok(()) };
        let task = hand_in(story, "Say hello").await?;
        asked(&server, 2).await?;
        let first = story.run_of(&task).await?;
        // Programs write what was said a moment after it was; what they did not come to write is not remembered.
        let is_written = || session_files(&home(&first)).iter().any(|file| says_that_it_ran(file));
        poll::until("the command in its session", async || Ok(is_written().then_some(()))).await?;
        processes::kill9(shim_pid(&first)?)?;
        asked(&server, 3).await?;
        server.release();
        let done = story.task_in(&task, TaskState::Done).await?;
        ensure!(done.attempts == 2, "{done:#?}");
        is_merged(story, "hello.txt", "once\ntwice\n").await?;
        ensure!(story.changes("shop").await?.len() == 1, "one change of one task");
        let [lost, second] = &story.runs("shop").await?.into_iter().filter(is_work).collect::<Vec<_>>()[..] else {
            anyhow::bail!("two attempts")
        };
        ensure!(lost.state == RunState::Lost && lost.session[0].contains("is kept, with its files"), "{lost:#?}");
        ensure!(second.session[0].contains("goes on with its session") && second.resumed.is_some(), "{second:#?}");
        let asked = server.requests();
        let last = asked.iter().rfind(|request| request.is_turn()).context("it asked")?;
        ensure!(says(last, FIRST) && says(last, SECOND) && says(last, "printf 'once"), "{last:#?}");
        let shown = orchctl(story.env(), &["run", "get", &second.name]).await?.ok()?;
        ensure!(shown.contains("goes on with its session") && shown.contains("R-1"), "{shown}");
        let events = story.events().await?;
        let of = |kind: &str| events.iter().filter(|event| event.kind == kind).count();
        ensure!(
            (of("run.session_left"), of("run.session_taken_up"), of("run.session_anew")) == (1, 1, 0),
            "{events:#?}"
        );
        for run in [lost, second] {
            poll::until("what nobody needs any more is gone", async || Ok((!home(run).exists()).then_some(()))).await?;
        }
        Ok(())
    })
}

/// What lies where a session was is not followed, and is of no use: the task is done all the same, once, and every reason is on record.
#[test]
fn an_agent_begins_anew_when_what_its_run_left_is_missing_cut_or_leads_elsewhere() -> anyhow::Result<()> {
    story("sessions that are none", Setup::Runs, async |story| {
        let script = [
            Turn::run("printf 'once\\n' >> \"$ORCH_TASK.txt\""),
            Turn::run("printf 'twice\\n' >> \"$ORCH_TASK.txt\"").hold(),
            Turn::say("It is done."),
        ];
        let Some(server) = begin(story, CODEX, Script::new(script)).await? else { return Ok(()) };
        let spoil: [fn(&Path) -> anyhow::Result<()>; 4] = [missing, cut, linked, elsewhere];
        let mut tasks = Vec::new();
        for at in 0..spoil.len() {
            tasks.push(hand_in(story, &format!("Say hello {at}")).await?);
        }
        asked(&server, 2 * spoil.len()).await?;
        let mut runs = Vec::new();
        for task in &tasks {
            runs.push(story.run_of(task).await?);
        }
        story.kill9().await?;
        for (run, spoil) in runs.iter().zip(spoil) {
            processes::kill9(shim_pid(run)?)?;
            spoil(&home(run))?;
        }
        story.start().await?;
        // Nothing is merged before: on another base they would not even try.
        asked(&server, 4 * spoil.len()).await?;
        server.release();
        for (at, task) in tasks.iter().enumerate() {
            let done = story.task_in(task, TaskState::Done).await?;
            // One that leads elsewhere is not even tried.
            let attempts = if at == 3 { 2 } else { 3 };
            ensure!(done.attempts == attempts, "{done:#?}");
            let name = task.strip_prefix("shop/").unwrap_or(task);
            is_merged(story, &format!("{name}.txt"), "once\ntwice\n").await?;
            let mut of_task = story.runs("shop").await?;
            of_task.retain(|run| run.task_name == name && is_work(run));
            let last = of_task.last().context("it ran")?;
            let why =
                if at == 3 { "nothing in the place for sessions" } else { "ended before its agent asked its model" };
            ensure!(last.session.iter().any(|line| line.contains(why)), "{last:#?}");
        }
        Ok(())
    })
}

fn missing(home: &Path) -> anyhow::Result<()> {
    Ok(std::fs::remove_dir_all(home.join("sessions"))?)
}

fn cut(home: &Path) -> anyhow::Result<()> {
    let file = session_files(home).pop().context("a session")?;
    Ok(std::fs::File::options().write(true).open(file)?.set_len(10)?)
}

fn linked(home: &Path) -> anyhow::Result<()> {
    let file = session_files(home).pop().context("a session")?;
    std::fs::remove_file(&file)?;
    Ok(std::os::unix::fs::symlink("/etc/passwd", file)?)
}

/// All of it is a link.
fn elsewhere(home: &Path) -> anyhow::Result<()> {
    std::fs::rename(home, home.with_file_name("aside"))?;
    Ok(std::os::unix::fs::symlink("/etc", home)?)
}

/// The files with sessions, of either program.
fn session_files(home: &Path) -> Vec<PathBuf> {
    let mut open = vec![home.join("sessions"), home.join("projects")];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            open.extend(entries.map(|entry| entry.path()));
        } else if path.extension().is_some_and(|extension| extension == "jsonl") {
            found.push(path);
        }
    }
    found
}

/// Whether a session has what came of a command.
fn says_that_it_ran(file: &Path) -> bool {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.contains("\"tool_result\"") || text.contains("_call_output\"")
}

/// Where the agent of a run keeps its sessions.
fn home(run: &RunView) -> PathBuf {
    Path::new(&run.directory).join("out/agent-home")
}

fn is_work(run: &RunView) -> bool {
    run.agent.is_some()
}

/// Waits until the model was asked for so many turns.
async fn asked(server: &ModelServer, turns: usize) -> anyhow::Result<()> {
    let count = || server.requests().iter().filter(|request| request.is_turn()).count();
    poll::until("a request", async || Ok((count() >= turns).then_some(()))).await
}

fn says(request: &Request, words: &str) -> bool {
    String::from_utf8_lossy(&request.body).contains(words)
}
