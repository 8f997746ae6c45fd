//! Real agent programs do tasks, from the request to the merge. Their model is a script; all else is what people use.

use std::path::Path;

use anyhow::{Context as _, ensure};
use orch_proto::request::RepoSource;
use orch_proto::view::{AgentUseView, RunState, RunView, TaskState};
use orch_tests::command_line::orchctl;
use orch_tests::model_server::{Misbehave as _, ModelServer, Request, Script, Turn};
use orch_tests::{Setup, Story, agents, poll, processes};

use crate::kills::shim_pid;
use crate::story;

/// What no run may find.
const KEY: &str = "sk-story-5f1c0a7e9d3b4c62";

/// The agents: the program, and how it speaks.
const CODEX: (&str, &str) = ("codex", "openai");
const CLAUDE: (&str, &str) = ("claude", "anthropic");

/// Looks for the key where a process can look, and asks the gateway for what is none of its business.
const LOOK: &str = r#"env; cat /proc/*/environ /proc/*/cmdline | tr '\0' '\n'
python3 - <<'E'
import json, urllib.error, urllib.request
for path, tool in [("/v1/responses", "web_search"), ("/v1/messages", "web_search_20250305")]:
    body = json.dumps({"model": "m", "store": False, "input": "x", "tools": [{"type": tool}]}).encode()
    try:
        urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:4141" + path, data=body))
    except urllib.error.HTTPError as error:
        print("asked to search at", path, error.code)
for method, path in [("GET", "/v1/files"), ("POST", "/v1/files"), ("GET", "/v1/organization/api_keys")]:
    headers = {"Authorization": "Bearer own"}
    request = urllib.request.Request("http://127.0.0.1:4141" + path, method=method, headers=headers)
    try:
        urllib.request.urlopen(request)
    except urllib.error.HTTPError as error:
        print("asked for", method, path, error.code)
E
true"#;

#[test]
fn codex_does_a_task_to_the_merge() -> anyhow::Result<()> {
    does_a_task(CODEX)
}

#[test]
fn claude_does_a_task_to_the_merge() -> anyhow::Result<()> {
    does_a_task(CLAUDE)
}

/// The work is merged, counted by the server's own figures, and nothing of the run ever had the key.
fn does_a_task(agent: (&'static str, &'static str)) -> anyhow::Result<()> {
    story(&format!("{} does a task", agent.0), Setup::Runs, async |story| {
        let look = format!("printf 'hi\\n' > hello.txt\n{LOOK}");
        let script = [Turn::run(look).usage(500, 100), Turn::say("It is done.").usage(500, 100)];
        let Some(server) = begin(story, agent, Script::new(script).require_key(KEY)).await? else { return Ok(()) };
        let task = hand_in(story, "Say hello").await?;
        story.task_in(&task, TaskState::Done).await?;
        let run = story.run_of(&task).await?;
        ensure!(run.state == RunState::Succeeded && run.attempt == 1, "{run:#?}");
        let used = run.agent.as_ref().context("it was an agent's")?;
        let expected = AgentUseView {
            name: "coder".into(),
            kind: agent.0.into(),
            model: Some("some-model".into()),
            exchanges: used.exchanges,
            waiting: 0,
            input_tokens: 1_000,
            cached_tokens: 0,
            output_tokens: 200,
            is_estimate: false,
        };
        ensure!(*used == expected, "{used:#?}");
        let asked = server.requests();
        ensure!(asked.iter().filter(|request| request.is_turn()).count() == 2, "{asked:#?}");
        let searches = |request: &Request| String::from_utf8_lossy(&request.body).contains("\"type\":\"web_search");
        ensure!(!asked.iter().any(searches), "no vendor is asked to search: {asked:#?}");
        is_merged(story, "hello.txt", "hi\n").await?;
        nowhere(story, &run).await
    })
}

/// A daemon that is killed while its agent waits for a model leaves the agent waiting; the next one takes it up.
#[test]
fn an_agent_goes_on_when_the_daemon_is_killed_in_the_middle_of_an_answer() -> anyhow::Result<()> {
    story("kill -9 in the middle of a turn", Setup::Runs, async |story| {
        let script = [
            Turn::run("printf 'once\\n' >> hello.txt").usage(500, 100),
            Turn::run("printf 'twice\\n' >> hello.txt").usage(500, 100).hold(),
            Turn::say("It is done.").usage(500, 100),
        ];
        let Some(server) = begin(story, CODEX, Script::new(script)).await? else { return Ok(()) };
        let task = hand_in(story, "Say hello").await?;
        poll::until("the second request", async || Ok((server.requests().len() >= 2).then_some(()))).await?;
        story.kill9().await?;
        story.start().await?;
        // Asked again, by way of the next daemon.
        poll::until("a third request", async || Ok((server.requests().len() >= 3).then_some(()))).await?;
        server.release();
        let done = story.task_in(&task, TaskState::Done).await?;
        ensure!(done.attempts == 1 && done.last_failure.is_none(), "{done:#?}");
        let run = story.run_of(&task).await?;
        let used = run.agent.as_ref().context("it was an agent's")?;
        // What the first daemon had under way was paid for, as far as anybody knows.
        ensure!(used.exchanges == 4 && used.waiting == 0 && used.is_estimate, "{used:#?}");
        ensure!(used.output_tokens == 300 && used.input_tokens > 1_500, "{used:#?}");
        is_merged(story, "hello.txt", "once\ntwice\n").await?;
        let events = story.events().await?;
        let count = |kind: &str| events.iter().filter(|event| event.kind == kind).count();
        ensure!((count("run.model_asked"), count("run.model_answered")) == (4, 4), "every exchange has an end");
        ensure!(events.iter().any(|event| event.text.contains("is unknown")), "nobody knows what became of one");
        Ok(())
    })
}

/// A run that ends while there is no daemon leaves no request without an end on record.
#[test]
fn what_a_run_asked_that_ended_without_a_daemon_comes_to_its_end() -> anyhow::Result<()> {
    story("a run that ends without a daemon", Setup::Runs, async |story| {
        let script =
            [Turn::run("printf 'hi\\n' > hello.txt").usage(500, 100).hold(), Turn::say("It is done.").usage(500, 100)];
        let Some(server) = begin(story, CODEX, Script::new(script)).await? else { return Ok(()) };
        let task = hand_in(story, "Say hello").await?;
        poll::until("a request", async || Ok((!server.requests().is_empty()).then_some(()))).await?;
        let run = story.run_of(&task).await?;
        story.kill9().await?;
        processes::kill9(shim_pid(&run)?)?;
        story.start().await?;
        server.release();
        let done = story.task_in(&task, TaskState::Done).await?;
        ensure!(done.attempts == 2, "the first was lost: {done:#?}");
        let lost = poll::until("its end on record", async || {
            let runs = story.runs("shop").await?;
            let run = runs.into_iter().find(|found| found.name == run.name).context("it is on record")?;
            Ok(run.agent.as_ref().is_some_and(|used| used.waiting == 0).then_some(run))
        });
        let lost = lost.await?;
        ensure!(lost.state == RunState::Lost && lost.agent.is_some_and(|used| used.is_estimate), "nobody knows");
        is_merged(story, "hello.txt", "hi\n").await
    })
}

/// A run asks the server that it was made with and none that has got its name since; put back, it goes on.
#[test]
fn a_run_asks_no_other_server_than_the_one_that_it_was_made_with() -> anyhow::Result<()> {
    story("another server under the same name", Setup::Runs, async |story| {
        let script =
            [Turn::run("printf 'hi\\n' > hello.txt").usage(500, 100).hold(), Turn::say("It is done.").usage(500, 100)];
        let Some(server) = begin(story, CODEX, Script::new(script)).await? else { return Ok(()) };
        let other = ModelServer::start(Script::new([Turn::say("I am another.")])).await?;
        let task = hand_in(story, "Say hello").await?;
        poll::until("a request", async || Ok((!server.requests().is_empty()).then_some(()))).await?;
        let run = story.run_of(&task).await?;
        let file = story.env().path("orchd.toml");
        let config = std::fs::read_to_string(&file)?;
        let url = |server: &ModelServer| format!("http://{}", server.address());
        story.stop().await?;
        std::fs::write(&file, config.replace(&url(&server), &url(&other)))?;
        story.start().await?;
        poll::until("what its agent is told", async || {
            let said = String::from_utf8_lossy(&story.stdout(&run.name, 1).await?).into_owned();
            Ok(said.contains("is another than the one that this run was made with").then_some(()))
        })
        .await?;
        ensure!(other.requests().is_empty(), "nothing goes there");
        story.kill9().await?;
        std::fs::write(&file, config)?;
        server.release();
        story.start().await?;
        let done = story.task_in(&task, TaskState::Done).await?;
        ensure!(done.attempts == 1 && other.requests().is_empty(), "{done:#?}");
        let events = story.events().await?;
        ensure!(!events.iter().any(|event| event.text.contains("is unknown")), "a daemon that stops puts it on record");
        is_merged(story, "hello.txt", "hi\n").await
    })
}

/// What a task is for is what its agent reads.
#[test]
fn an_agent_is_told_the_texts_of_the_requirements_that_its_task_names() -> anyhow::Result<()> {
    const VISION: &str =
        "# Greeter\n\n## Functional requirements\n\n- FR-1: People are greeted by their name, politely.\n";
    story("requirements in a prompt", Setup::Runs, async |story| {
        let script = Script::new([Turn::say("There is nothing to do.")]).endless();
        let Some(_server) = begin(story, CODEX, script).await? else { return Ok(()) };
        let (_, plan) = story.plan_from("shop", VISION.as_bytes()).await?;
        story.plan_approve(&plan).await?;
        let told = poll::until("a prompt", async || {
            let runs = story.runs("shop").await?;
            let prompts = runs.iter().map(|run| std::fs::read_to_string(Path::new(&run.directory).join("prompt.md")));
            Ok(prompts.flatten().find(|prompt| prompt.contains("Requirements that this serves")))
        });
        let told = told.await?;
        ensure!(told.contains("FR-1") && told.contains("People are greeted by their name, politely."), "{told}");
        Ok(())
    })
}

/// A server that has a trouble is asked again, and one that refuses is not; what it says reaches the agent.
#[test]
fn a_server_with_a_trouble_is_asked_again() -> anyhow::Result<()> {
    story("a model's server with a trouble", Setup::Runs, async |story| {
        let script = [
            Turn::run("printf 'hi\\n' > hello.txt").usage(500, 100).status(529).times(1),
            Turn::say("It is done.").usage(500, 100).status(429).retry_after(1).times(1),
        ];
        let Some(_server) = begin(story, CLAUDE, Script::new(script)).await? else { return Ok(()) };
        let task = hand_in(story, "Say hello").await?;
        story.task_in(&task, TaskState::Done).await?;
        let events = story.events().await?;
        let again =
            events.iter().filter(|event| event.kind == "run.model_answered" && event.text.contains("sent 2 times"));
        ensure!(again.count() == 2, "both are asked for twice: {events:#?}");
        is_merged(story, "hello.txt", "hi\n").await
    })
}

/// Without its program or its key an agent is not started, and everybody says what to do.
#[test]
fn an_agent_that_is_not_ready_says_what_it_needs() -> anyhow::Result<()> {
    story("an agent that is not ready", Setup::Runs, async |story| {
        configure(story, Path::new("/nowhere/codex"), CODEX, "http://127.0.0.1:9").await?;
        let doctor = orchctl(story.env(), &["doctor"]).await?.stdout;
        ensure!(doctor.contains("agent coder: the agent `coder` cannot be started"), "{doctor}");
        let task = hand_in(story, "Say hello").await?;
        let failed = story.task_in(&task, TaskState::Failed).await?;
        let reason = failed.last_failure.unwrap_or_default();
        ensure!(reason.contains("agents.coder.program") && reason.contains("/nowhere/codex"), "{reason}");
        Ok(())
    })
}

/// A daemon whose only agent asks a server with this script. None where the program is not installed.
async fn begin(story: &mut Story, agent: (&str, &str), script: Script) -> anyhow::Result<Option<ModelServer>> {
    let program = match agents::program(agent.0) {
        Ok(program) => program,
        Err(missing) => return missing.holds().map(|_| None),
    };
    let server = ModelServer::start(script).await?;
    configure(story, &program, agent, &format!("http://{}", server.address())).await?;
    let secret = story.env().path("key");
    std::fs::write(&secret, KEY)?;
    let file = secret.to_str().context("a path in UTF-8")?;
    orchctl(story.env(), &["secret", "set", "model-key", "--file", file]).await?.ok()?;
    std::fs::remove_file(secret)?;
    Ok(Some(server))
}

async fn configure(story: &mut Story, program: &Path, agent: (&str, &str), url: &str) -> anyhow::Result<()> {
    story.stop().await?;
    let (kind, api) = agent;
    let config = format!(
        "[models.scripted]\napi = \"{api}\"\nurl = \"{url}\"\nkey = \"model-key\"\n\
         [agents.coder]\nkind = \"{kind}\"\nmodels = \"scripted\"\nmodel = \"some-model\"\nprogram = \"{}\"\n",
        program.display()
    );
    std::fs::write(story.env().path("orchd.toml"), config)?;
    story.start().await?;
    story.project_create("shop", RepoSource::Empty).await.map(drop)
}

async fn hand_in(story: &Story, title: &str) -> anyhow::Result<String> {
    let accept = ["--accept", "`hello.txt` says hi", "--queue", "-o", "name"];
    let words = ["--project", "shop", "task", "create", title].into_iter().chain(accept).collect::<Vec<_>>();
    Ok(orchctl(story.env(), &words).await?.ok()?.trim().to_owned())
}

/// What the project's branch has of a file.
async fn is_merged(story: &Story, path: &str, expected: &str) -> anyhow::Result<()> {
    let project = story.project("shop").await?;
    let repository = story.env().state().join("repos").join(format!("{}.git", project.id));
    let object = format!("{}:{path}", project.default_branch);
    let git = std::process::Command::new("git").arg("-C").arg(repository).args(["show", &object]).output()?;
    let found = String::from_utf8(git.stdout)?;
    ensure!(found == expected, "{path}: {found:?}, {}", String::from_utf8_lossy(&git.stderr));
    Ok(())
}

/// The key is where secrets are, and nowhere else: no log, no record, no file of the run.
async fn nowhere(story: &Story, run: &RunView) -> anyhow::Result<()> {
    let secrets = story.env().state().join("secrets");
    let mut with_key = Vec::new();
    let mut open = vec![story.env().root().to_owned()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                open.push(entry?.path());
            }
        } else if path.is_file() && !path.starts_with(&secrets) {
            let bytes = std::fs::read(&path)?;
            if bytes.windows(KEY.len()).any(|window| window == KEY.as_bytes()) {
                with_key.push(path);
            }
        }
    }
    ensure!(with_key.is_empty(), "the key is in {with_key:#?}");
    let said = String::from_utf8_lossy(&story.stdout(&run.name, 1).await?).into_owned();
    let used = run.agent.as_ref().context("it was an agent's")?;
    ensure!(said.contains("held-by-the-gateway"), "what stands in its place is not even there: {said}");
    let own = if used.kind == CODEX.0 { "/v1/responses" } else { "/v1/messages" };
    ensure!(said.contains(&format!("asked to search at {own} 400")), "{said}");
    for asked in ["GET /v1/files 404", "POST /v1/files 404", "GET /v1/organization/api_keys 404"] {
        ensure!(said.contains(&format!("asked for {asked}")), "{asked}: {said}");
    }
    let files = std::fs::read_dir(&run.directory)?.map(|entry| entry.map(|entry| entry.file_name()));
    let names = files.collect::<Result<Vec<_>, _>>()?;
    ensure!(names.iter().any(|name| name == "model-1.request"), "what was asked is kept: {names:?}");
    Ok(())
}
