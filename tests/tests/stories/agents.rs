//! Real agent programs do tasks, from the request to the merge. Their model is a script; all else is what people use.

use std::path::Path;

use anyhow::{Context as _, ensure};
use orch_proto::request::RepoSource;
use orch_proto::view::{AgentUseView, RunState, RunView, TaskState};
use orch_tests::command_line::{answer, orchctl};
use orch_tests::model_server::{Misbehave as _, ModelServer, Request, Script, Turn};
use orch_tests::{Requirement, Setup, Story, agents, poll, processes};
use serde_json::json;

use crate::kills::shim_pid;
use crate::{channel, story};

/// What no run may find.
const KEY: &str = "sk-story-5f1c0a7e9d3b4c62";

/// An agent: its program, its kind, and how its server is spoken to.
#[derive(Clone, Copy)]
pub(crate) struct Agent {
    pub(crate) program: &'static str,
    kind: &'static str,
    api: &'static str,
}

pub(crate) const CODEX: Agent = Agent { program: "codex", kind: "codex", api: "openai" };
pub(crate) const CLAUDE: Agent = Agent { program: "claude", kind: "claude", api: "anthropic" };
pub(crate) const OPENCODE: Agent = Agent { program: "opencode", kind: "acp", api: "openai" };

/// What the documentation has an operator write for opencode.
const DOCUMENTED: &str = include_str!("../../../orchd/docs/agents.md");

/// An agent of no vendor, which speaks as little of the protocol as there is.
const SPARSE: &str = r#"#!/bin/sh
set -e
read line; echo '{"jsonrpc":"2.0","id":"initialize","result":{"protocolVersion":1}}'
read line; echo '{"jsonrpc":"2.0","id":"new","result":{"sessionId":"s"}}'
read line
say() {
    echo '{"method":"session/update","params":{"update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"'"$1"'"}}}}'
}
say 'I was told '; say "with $GREETING."
case $line in *"Say hello"*) cp "$HOME/notes/greeting" hello.txt ;; esac
printf 'changed\n' >> "$HOME/notes/greeting"
echo '{"jsonrpc":"2.0","id":"prompt-0","result":{"stopReason":"'"$1"'"}}'
cat > /dev/null
"#;

/// Looks for the key where a process can look, and asks the gateway for what is none of its business.
const LOOK: &str = r#"env; cat "$HOME/.config/opencode/opencode.json" 2> /dev/null; cat /proc/*/environ /proc/*/cmdline | tr '\0' '\n'
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

import os
first, rest = HALVES
seen = found = 0
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        maps, memory = open("/proc/%s/maps" % pid), open("/proc/%s/mem" % pid, "rb", 0)
    except OSError:
        continue
    # Its own memory this process can always look at.
    left, seen = 512 << 20, seen + (int(pid) != os.getpid())
    for line in maps:
        span, rights = line.split()[:2]
        at, end = (int(place, 16) for place in span.split("-"))
        if rights[0] != "r" or end - at > left:
            continue
        left -= end - at
        while at < end:
            try:
                memory.seek(at)
                piece = memory.read(min(1 << 20, end - at))
            except (OSError, OverflowError, ValueError):
                break
            place = piece.find(first)
            while place >= 0:
                found += piece.startswith(rest, place + len(first))
                place = piece.find(first, place + 1)
            if len(piece) < 1 << 20:
                break
            at += len(piece) - 64
print("memory of", "some" if seen else "no", "other processes has the key", found, "times")
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

#[test]
fn opencode_does_a_task_to_the_merge() -> anyhow::Result<()> {
    does_a_task(OPENCODE)
}

/// The work is merged, counted by the server's own figures, and nothing of the run ever had the key.
fn does_a_task(agent: Agent) -> anyhow::Result<()> {
    story(&format!("{} does a task", agent.program), Setup::Runs, async |story| {
        let (first, rest) = KEY.split_at(KEY.len() / 2);
        // In two halves: what looks for it has it nowhere.
        let look = LOOK.replace("HALVES", &format!("b\"{first}\", b\"{rest}\""));
        let look = format!("printf 'hi\\n' > hello.txt\n{look}");
        let script = [Turn::run(look).usage(500, 100), Turn::say("It is done.").usage(500, 100)];
        let Some(server) = begin(story, agent, Script::new(script).require_key(KEY)).await? else { return Ok(()) };
        let task = hand_in(story, "Say hello").await?;
        story.task_in(&task, TaskState::Done).await?;
        let run = story.run_of(&task).await?;
        ensure!(run.state == RunState::Succeeded && run.attempt == 1, "{run:#?}");
        let used = run.agent.as_ref().context("it was an agent's")?;
        let expected = AgentUseView {
            name: "coder".into(),
            kind: agent.kind.into(),
            model: Some("some-model".into()),
            role: Some("developer".into()),
            exchanges: used.exchanges,
            waiting: 0,
            input_tokens: 1_000,
            cached_tokens: 0,
            output_tokens: 200,
            is_estimate: false,
            cost_micros: 0,
            cost_text: None,
            is_unpriced: true,
            spending: Vec::new(),
            prompt: used.prompt.clone(),
        };
        ensure!(*used == expected && used.prompt.is_some(), "{used:#?}");
        is_confined(&run)?;
        let asked = server.requests();
        ensure!(asked.iter().filter(|request| request.is_turn()).count() == 2, "{asked:#?}");
        let searches = |request: &Request| String::from_utf8_lossy(&request.body).contains("\"type\":\"web_search");
        ensure!(!asked.iter().any(searches), "no vendor is asked to search: {asked:#?}");
        is_merged(story, "hello.txt", "hi\n").await?;
        let log = orchctl(story.env(), &["run", "logs", &run.name]).await?.ok()?;
        ensure!(log.contains("$ ") && log.contains("hello.txt") && log.contains("It is done."), "{log}");
        nowhere(story, &run).await
    })
}

#[test]
fn codex_asks_a_person_by_a_tool_of_its_channel() -> anyhow::Result<()> {
    asks_a_person(CODEX)
}

#[test]
fn claude_asks_a_person_by_a_tool_of_its_channel() -> anyhow::Result<()> {
    asks_a_person(CLAUDE)
}

/// It is told of the tools in the conversation with its driver.
#[test]
fn opencode_asks_a_person_by_a_tool_of_its_channel() -> anyhow::Result<()> {
    asks_a_person(OPENCODE)
}

/// Has the model told what is secret, and prints nothing of it.
fn tells_the_model(agent: Agent) -> String {
    let (path, body) = match agent.api {
        "anthropic" => ("messages", r#"{"max_tokens": 9, "messages": [{"role": "user", "content": said}]}"#),
        _ => ("responses", r#"{"store": False, "input": said}"#),
    };
    format!(
        r#"rev "$HOME"/.orch/*/token > hello.txt
python3 - "$HOME"/.orch/*/token <<'E'
import json, sys, urllib.request
said = "It is <" + open(sys.argv[1]).read() + ">."
body = json.dumps({{"model": "m", **{body}}}).encode()
headers = {{"Content-Type": "application/json", "anthropic-version": "2023-06-01"}}
urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:4141/v1/{path}", data=body, headers=headers)).read()
E"#
    )
}

/// The agent has the answer, over a daemon that is killed while it waits; its model is not told what is secret, also by a run that
/// tells it.
fn asks_a_person(agent: Agent) -> anyhow::Result<()> {
    const TOKEN: &str = "hunter2-of-the-agent";
    story(&format!("{} asks a person", agent.program), Setup::Runs, async |story| {
        let fields = json!([
            {"name": "region", "kind": "choice", "choices": ["eu", "us"]},
            {"name": "token", "label": "The token", "kind": "secret"}
        ]);
        let script = [
            Turn::call("request_info", json!({"question": "Where to?", "fields": fields})),
            Turn::run(tells_the_model(agent)),
            Turn::call("note", json!({"text": "it is told"})),
            Turn::say("It is done."),
        ];
        let Some(server) = begin(story, agent, Script::new(script)).await? else { return Ok(()) };
        let task = hand_in(story, "Say hello").await?;
        let asked = channel::question(story, "Where to?").await?;
        ensure!(story.run_of(&task).await?.state == RunState::AwaitingInput, "it waits");
        story.kill9().await?;
        story.start().await?;
        answer(story.env(), &asked.name, &[("region", "eu"), ("token", TOKEN)]).await?.ok()?;
        story.task_in(&task, TaskState::Done).await?;
        let reversed: String = TOKEN.chars().rev().collect();
        is_merged(story, "hello.txt", &reversed).await?;
        let run = story.run_of(&task).await?;
        let channel = run.channel.context("agents have one")?;
        ensure!(channel.notes.iter().map(|note| note.text.as_str()).eq(["it is told"]), "{channel:#?}");
        let told = |words: &str| {
            let has = |body: &[u8]| body.windows(words.len()).any(|window| window == words.as_bytes());
            server.requests().iter().any(|request| has(&request.body))
        };
        ensure!(
            told("/token") && told("It is <") && !told(TOKEN),
            "the model is told where the token is, and not what"
        );
        channel::nowhere(&story.env().state(), &[TOKEN])
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
        // What the first daemon had under way was paid for, as far as anybody knows, with all that was kept for it.
        ensure!(used.exchanges == 4 && used.waiting == 0 && used.is_estimate, "{used:#?}");
        ensure!(used.output_tokens == 300 + 8_192 && used.input_tokens > 1_500, "{used:#?}");
        is_merged(story, "hello.txt", "once\ntwice\n").await?;
        let events = story.events().await?;
        let count = |kind: &str| events.iter().filter(|event| event.kind == kind).count();
        ensure!((count("run.model_asked"), count("run.model_answered")) == (4, 4), "every exchange has an end");
        is_confined(&run)?;
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
            Ok(said.contains("is another than the one that was to be asked").then_some(()))
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
        end_all(story).await
    })
}

/// So does one that is spoken to: its driver is in its run, and nothing of the daemon's.
#[test]
fn a_conversation_goes_on_when_the_daemon_is_killed() -> anyhow::Result<()> {
    story("kill -9 in the middle of a conversation", Setup::Runs, async |story| {
        let script = [Turn::run("printf 'once\\n' >> hello.txt"), Turn::say("It is done.").hold()];
        let Some(server) = begin(story, OPENCODE, Script::new(script)).await? else { return Ok(()) };
        let task = hand_in(story, "Say hello").await?;
        let asked = async |count: usize| {
            let turns = || server.requests().iter().filter(|request| request.is_turn()).count();
            orch_tests::poll::until("its next request", async || Ok((turns() >= count).then_some(()))).await
        };
        asked(2).await?;
        story.kill9().await?;
        story.start().await?;
        asked(3).await?;
        server.release();
        let done = story.task_in(&task, TaskState::Done).await?;
        ensure!(done.attempts == 1 && done.last_failure.is_none(), "{done:#?}");
        is_confined(&story.run_of(&task).await?)?;
        is_merged(story, "hello.txt", "once\n").await
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
        configure(story, Path::new("/nowhere/codex"), CODEX, "http://127.0.0.1:9", "").await?;
        let doctor = orchctl(story.env(), &["doctor"]).await?.stdout;
        ensure!(doctor.contains("agent coder: the agent `coder` cannot be started"), "{doctor}");
        let task = hand_in(story, "Say hello").await?;
        let failed = story.task_in(&task, TaskState::Failed).await?;
        let reason = failed.last_failure.unwrap_or_default();
        ensure!(reason.contains("agents.coder.program") && reason.contains("/nowhere/codex"), "{reason}");
        Ok(())
    })
}

/// A program that nobody here knows is driven by its configuration alone, and what it says is shown as one text.
#[test]
fn an_agent_of_any_program_does_a_task_by_its_configuration() -> anyhow::Result<()> {
    story("an agent of any program", Setup::Runs, async |story| {
        sparse(story, "end_turn").await?;
        let task = hand_in(story, "Say hello").await?;
        story.task_in(&task, TaskState::Done).await?;
        is_merged(story, "hello.txt", "hi from the-model by http://127.0.0.1:4141/v1\n").await?;
        let run = story.run_of(&task).await?;
        let log = orchctl(story.env(), &["run", "logs", &run.name]).await?.ok()?;
        ensure!(log.contains("I was told with held-by-the-gateway.") && log.contains("its turn ended"), "{log}");
        Ok(())
    })
}

/// A turn that ended otherwise is no result, whatever the agent left; and the host's part of the driver is looked for.
#[test]
fn an_agent_of_any_program_that_is_not_done_fails_its_run() -> anyhow::Result<()> {
    story("an agent that refuses", Setup::Runs, async |story| {
        sparse(story, "refusal").await?;
        let task = hand_in(story, "Say hello").await?;
        let failed = story.task_in(&task, TaskState::Failed).await?;
        let run = story.run_of(&task).await?;
        let log = orchctl(story.env(), &["run", "logs", &run.name]).await?.stdout;
        ensure!(log.contains("its model refuses to do this (refusal)"), "{failed:#?}\n{log}");
        let path = story.env().path("orchd.toml");
        let config = std::fs::read_to_string(&path)?;
        story.stop().await?;
        std::fs::write(path, format!("[daemon]\norchctl = \"/nowhere/orchctl\"\n{config}"))?;
        story.start().await?;
        let doctor = orchctl(story.env(), &["doctor"]).await?.stdout;
        ensure!(doctor.contains("agent coder: the agent `coder` cannot be spoken to"), "{doctor}");
        Ok(())
    })
}

/// A daemon whose only agent is the sparse one, which ends its turn for this reason.
async fn sparse(story: &mut Story, reason: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let program = story.env().path("sparse-agent");
    std::fs::write(&program, SPARSE)?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    let config = format!(
        "[models.none]\napi = \"ollama\"\nurl = \"http://127.0.0.1:9\"\n[agents.coder]\nkind = \"acp\"\n\
         models = \"none\"\nmodel = \"the-model\"\nprogram = \"{}\"\narguments = [\"{reason}\"]\n\
         environment = {{ GREETING = \"{{key}}\" }}\n\
         files = {{ \"notes/greeting\" = \"hi from {{model}} by {{gateway}}/v1\\n\" }}\n",
        program.display()
    );
    begin_with(story, &config).await
}

/// A daemon whose only agent asks a server with this script. None where the program is not installed.
pub(crate) async fn begin(story: &mut Story, agent: Agent, script: Script) -> anyhow::Result<Option<ModelServer>> {
    begin_as(story, agent, script, "").await
}

/// The same, with more about the agent: rules, or keys of its own.
pub(crate) async fn begin_as(
    story: &mut Story,
    agent: Agent,
    script: Script,
    more: &str,
) -> anyhow::Result<Option<ModelServer>> {
    let program = match agents::program(agent.program) {
        Ok(program) => program,
        Err(missing) => return missing.holds().map(|_| None),
    };
    let server = ModelServer::start(script).await?;
    configure(story, &program, agent, &format!("http://{}", server.address()), more).await?;
    let secret = story.env().path("key");
    std::fs::write(&secret, KEY)?;
    let file = secret.to_str().context("a path in UTF-8")?;
    orchctl(story.env(), &["secret", "set", "model-key", "--file", file]).await?.ok()?;
    std::fs::remove_file(secret)?;
    Ok(Some(server))
}

async fn configure(story: &mut Story, program: &Path, agent: Agent, url: &str, more: &str) -> anyhow::Result<()> {
    let Agent { kind, api, .. } = agent;
    let program = program.display();
    let own = match kind {
        "acp" => documented()?
            .replace("/opt/opencode/bin/opencode", &program.to_string())
            .replace("\"openai\"", "\"scripted\"")
            .replace("\"gpt-5\"", "\"some-model\"")
            .replace("agents.open", "agents.coder"),
        _ => format!(
            "[agents.coder]\nkind = \"{kind}\"\nmodels = \"scripted\"\nmodel = \"some-model\"\nprogram = \"{program}\"\n"
        ),
    };
    let own = match more.starts_with("\n[[") {
        // As the documentation says, such a program has to be told that it asks.
        true => {
            own.replace("\"autoupdate\": false,", "\"autoupdate\": false, \"permission\": { \"bash\": \"ask\" },")
                + more
        }
        false => own.replacen("[agents.coder]\n", &format!("[agents.coder]\n{more}"), 1),
    };
    let server = format!("[models.scripted]\napi = \"{api}\"\nurl = \"{url}\"\nkey = \"model-key\"\n");
    begin_with(story, &format!("{server}{own}")).await
}

/// The example of an agent of kind `acp`.
fn documented() -> anyhow::Result<&'static str> {
    let begins = DOCUMENTED.find("[agents.open]").context("an example")?;
    let ends = DOCUMENTED[begins..].find("```").context("the end of the example")?;
    Ok(&DOCUMENTED[begins..begins + ends])
}

pub(crate) async fn begin_with(story: &mut Story, config: &str) -> anyhow::Result<()> {
    story.stop().await?;
    std::fs::write(story.env().path("orchd.toml"), config)?;
    story.start().await?;
    story.project_create("shop", RepoSource::Empty).await.map(drop)
}

pub(crate) async fn hand_in(story: &Story, title: &str) -> anyhow::Result<String> {
    let accept = ["--accept", "`hello.txt` says hi", "--queue", "-o", "name"];
    let words = ["--project", "shop", "task", "create", title].into_iter().chain(accept).collect::<Vec<_>>();
    Ok(orchctl(story.env(), &words).await?.ok()?.trim().to_owned())
}

/// Ends what is under way: a run goes on without its daemon, and its agent without its model for ever.
async fn end_all(story: &Story) -> anyhow::Result<()> {
    orchctl(story.env(), &["project", "archive", "shop"]).await?.ok()?;
    let over = poll::until("the end of all runs", async || {
        let runs = story.runs("shop").await?;
        Ok(runs.iter().all(|run| run.state.is_final()).then_some(()))
    });
    over.await
}

/// The branch of the project `shop` has this in a file.
pub(crate) async fn is_merged(story: &Story, path: &str, expected: &str) -> anyhow::Result<()> {
    let found = merged(story, "shop", path).await?;
    ensure!(found == expected, "{path}: {found:?}");
    Ok(())
}

/// What the branch of a project has of a file.
pub(crate) async fn merged(story: &Story, project: &str, path: &str) -> anyhow::Result<String> {
    let project = story.project(project).await?;
    let repository = story.env().state().join("repos").join(format!("{}.git", project.id));
    let object = format!("{}:{path}", project.default_branch);
    let git = std::process::Command::new("git").arg("-C").arg(repository).args(["show", &object]).output()?;
    ensure!(git.status.success(), "{path}: {}", String::from_utf8_lossy(&git.stderr));
    Ok(String::from_utf8(git.stdout)?)
}

/// The run had the isolation that agents are promised.
fn is_confined(run: &RunView) -> anyhow::Result<()> {
    let level = run.isolation.as_ref().map(|isolation| isolation.level);
    ensure!(level >= Some(3), "{:#?}", run.isolation);
    Ok(())
}

/// The key lies nowhere as it is: no log, no record, no file of the run, and not where secrets are.
async fn nowhere(story: &Story, run: &RunView) -> anyhow::Result<()> {
    let mut with_key = Vec::new();
    let mut open = vec![story.env().root().to_owned()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                open.push(entry?.path());
            }
        } else if path.is_file() {
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
    let own = if used.kind == CLAUDE.kind { "/v1/messages" } else { "/v1/responses" };
    ensure!(said.contains(&format!("asked to search at {own} 400")), "{said}");
    for asked in ["GET /v1/files 404", "POST /v1/files 404", "GET /v1/organization/api_keys 404"] {
        ensure!(said.contains(&format!("asked for {asked}")), "{asked}: {said}");
    }
    let memory = |whose: &str| format!("memory of {whose} other processes has the key 0 times");
    if said.contains(&memory("no")) {
        // As with Yama, where only a parent may.
        Requirement::Missing("no process of a run can look into the memory of another here".into()).holds()?;
    } else {
        ensure!(said.contains(&memory("some")), "{said}");
    }
    let asked = orchctl(story.env(), &["run", "exchanges", &run.name, "1", "--request", "--raw"]).await?.ok()?;
    ensure!(asked.contains("Say hello"), "what was asked is kept: {asked}");
    Ok(())
}
