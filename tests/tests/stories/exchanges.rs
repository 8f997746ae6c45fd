//! What agents are told, ask models and are answered: on record, kept, read by people, in backups, and gone when their time is over.
//!
//! A script stands in the place of Codex, which asks its model one thing.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use orch_proto::ErrorCode;
use orch_proto::request::RepoSource;
use orch_proto::view::{RunView, TaskState};
use orch_tests::command_line::orchctl;
use orch_tests::model_server::{Misbehave as _, ModelServer, Script, Turn};
use orch_tests::{Setup, Story};
use serde_json::Value;

use crate::agents::{self, CODEX, begin_with, hand_in, is_merged, merged};
use crate::channel::approval;
use crate::retention::{age_blobs, start_with};
use crate::story;

const ASK: &str = r#"python3 - <<'E'
import json, urllib.request
body = json.dumps({"model": "m", "store": False, "stream": True, "input": "What is to be said?"}).encode()
headers = {"Content-Type": "application/json"}
request = urllib.request.Request("http://127.0.0.1:4141/v1/responses", data=body, headers=headers)
assert b"response.completed" in urllib.request.urlopen(request).read()
E
"#;
/// As soon as nothing speaks for it.
const AT_ONCE: &str = "\n[retention]\nruns_days = 0\nlogs_days = 0\nblobs_days = 0\nevidence_days = 0\n";

/// An agent that does this before its work.
fn agent(work: &str) -> String {
    format!("#!/bin/sh\nset -e\ncat > /dev/null\n{work}printf 'hi\\n' >> hello.txt\n")
}

/// A daemon whose agent asks this server.
async fn begin(story: &mut Story, server: &ModelServer) -> anyhow::Result<()> {
    begin_as(story, server, ASK, "").await
}

/// The same with what its agent does, and more about the server.
async fn begin_as(story: &mut Story, server: &ModelServer, work: &str, more: &str) -> anyhow::Result<()> {
    let program = story.env().path("asking-agent");
    std::fs::write(&program, agent(work))?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    let config = format!(
        "[models.scripted]\napi = \"openai\"\nurl = \"{}\"\n{more}\
         [agents.coder]\nkind = \"codex\"\nmodels = \"scripted\"\nanswer_tokens = 300\nprogram = \"{}\"\n",
        server.url(),
        program.display()
    );
    begin_with(story, &config).await
}

async fn said(story: &Story, words: &[&str]) -> anyhow::Result<String> {
    orchctl(story.env(), words).await?.ok()
}

/// The file of a blob in a state directory or a backup.
fn blob(folder: &Path, digest: &str) -> anyhow::Result<PathBuf> {
    let (first, rest) = digest.split_at_checked(2).context("a digest")?;
    Ok(folder.join("blobs/sha256").join(first).join(rest))
}

#[test]
fn what_an_agent_was_told_and_asked_is_kept_and_read_and_gone_with_its_time() -> anyhow::Result<()> {
    story("exchanges of a run", Setup::Runs, async |story| {
        let server = ModelServer::start(Script::new([Turn::say("Say hi.").usage(500, 100)]).endless()).await?;
        begin(story, &server).await?;
        let task = hand_in(story, "Say hello").await?;
        story.task_in(&task, TaskState::Done).await?;
        let run = story.run_of(&task).await?;
        let request = read(story, &run, &server).await?;
        told(story, &run).await?;
        said(story, &["daemon", "check"]).await?;
        let listed: Value = serde_json::from_str(&said(story, &["run", "exchanges", &run.name, "-o", "json"]).await?)?;
        let digest = listed["items"][0]["request"]["digest"].as_str().context("a digest")?;
        let backup = story.env().path("backup");
        said(story, &["backup", backup.to_str().context("paths of stories are text")?]).await?;
        ensure!(std::fs::read(blob(&backup, digest)?)? == request.as_bytes(), "a backup has it");

        start_with(story, AT_ONCE).await?;
        age_blobs(&story.env().state())?;
        let gone = said(story, &["daemon", "gc", "--yes", "-o", "json"]).await?;
        ensure!(gone.contains("\"texts\""), "{gone}");
        ensure!(!blob(&story.env().state(), digest)?.exists(), "nothing holds it any more");
        let code = i32::from(ErrorCode::Removed.exit_code());
        for words in [&["run", "exchanges", &run.name, "1", "--request"][..], &["run", "prompt", &run.name]] {
            let refused = orchctl(story.env(), words).await?.failed(code)?;
            ensure!(refused.contains("E_REMOVED") && refused.contains("`retention.blobs_days = 0`"), "{refused}");
        }
        let listed = said(story, &["run", "exchanges", &run.name]).await?;
        ensure!(listed.contains("complete 200"), "what was asked is on record all the same: {listed}");
        said(story, &["daemon", "check"]).await.map(drop)
    })
}

/// The one exchange of a run is listed with its figures and read as it was. What left.
async fn read(story: &Story, run: &RunView, server: &ModelServer) -> anyhow::Result<String> {
    let name = run.name.as_str();
    let listed: Value = serde_json::from_str(&said(story, &["run", "exchanges", name, "-o", "json"]).await?)?;
    ensure!(listed["items"].as_array().is_some_and(|all| all.len() == 1), "{listed:#}");
    let exchange = &listed["items"][0];
    ensure!(
        exchange["end"] == "complete" && exchange["status"] == 200 && exchange["server"] == "scripted",
        "{listed:#}"
    );
    ensure!(exchange["input_tokens"] == 500 && exchange["output_tokens"] == 100, "{listed:#}");
    let request = said(story, &["run", "exchanges", name, "1", "--request", "--raw"]).await?;
    // Not quite what the agent sent.
    ensure!(request.contains("What is to be said?") && request.contains("\"max_output_tokens\":300"), "{request}");
    ensure!(server.requests().iter().any(|asked| asked.body == request.as_bytes()), "it is what the server got");
    let answer = said(story, &["run", "exchanges", name, "1", "--answer", "--raw"]).await?;
    ensure!(answer.contains("response.completed") && answer.contains("Say "), "{answer}");
    let both = said(story, &["run", "exchanges", name, "1"]).await?;
    ensure!(both.contains("What is to be said?") && both.contains("response.completed"), "{both}");
    Ok(request)
}

/// What its agent was told is on record before it is started, and read from there.
async fn told(story: &Story, run: &RunView) -> anyhow::Result<()> {
    let prompt = said(story, &["run", "prompt", &run.name, "--raw"]).await?;
    ensure!(prompt.starts_with("# T-1: Say hello\n") && prompt.contains("`hello.txt` says hi"), "{prompt}");
    ensure!(
        prompt == std::fs::read_to_string(Path::new(&run.directory).join("prompt.md"))?,
        "it is what the agent got"
    );
    let digest = &run.agent.as_ref().and_then(|agent| agent.prompt.as_ref()).context("it is on record")?.digest;
    ensure!(said(story, &["run", "get", &run.name]).await?.contains(digest.as_str()), "people see which it was");
    let events = story.events().await?;
    let at = |kind: &str| events.iter().position(|event| event.kind == kind && event.subject == run.name);
    let (told, observed) = (at("run.told").context("it was told")?, at("run.observed").context("it began")?);
    ensure!(told < observed, "before it was started: {events:#?}");
    Ok(())
}

#[test]
fn a_file_that_a_task_names_is_in_what_its_agent_is_told() -> anyhow::Result<()> {
    story("files in a prompt", Setup::Runs, async |story| {
        let server = ModelServer::start(Script::new([Turn::say("Say hi.")]).endless()).await?;
        begin(story, &server).await?;
        for (title, has_it) in [("Say hello", false), ("Say hello again", true)] {
            let task = hand_in(story, title).await?;
            story.task_in(&task, TaskState::Done).await?;
            let prompt = said(story, &["run", "prompt", &story.run_of(&task).await?.name]).await?;
            let file = "### hello.txt (3 bytes)\n\n~~~~~~~~\nhi\n~~~~~~~~\n";
            ensure!(prompt.contains(file) == has_it, "{prompt}");
        }
        Ok(())
    })
}

/// A role says which agent does its tasks, which model that is told to ask, and for how much; a project's own role goes before it.
#[test]
fn a_role_says_which_agent_asks_which_model_for_how_much() -> anyhow::Result<()> {
    story("agent, model and bounds of a role", Setup::Runs, async |story| {
        let server = ModelServer::start(Script::new([Turn::say("Say hi.").usage(500, 100)]).endless()).await?;
        let (program, recipes) = (story.env().path("asking-agent"), story.env().path("recipes"));
        std::fs::write(&program, agent(ASK).replace("'hi\\n'", "'%s\\n' \"$*\""))?;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
        std::fs::create_dir_all(recipes.join("roles/shop"))?;
        let role = "name: developer\ncapabilities: [developer]\ninstructions: Do it.\n";
        let common = "agent: reader\nmodel: by-role\nanswer_tokens: 200\nbudget: { tokens_per_run: 2000 }\n";
        std::fs::write(recipes.join("roles/developer.yaml"), format!("{role}{common}"))?;
        std::fs::write(recipes.join("roles/shop/developer.yaml"), format!("{role}model: of-shop\n"))?;
        let agent = |name: &str| {
            let program = program.display();
            format!(
                "[agents.{name}]\nkind = \"codex\"\nmodels = \"scripted\"\nmodel = \"of-agent\"\nprogram = \"{program}\"\n"
            )
        };
        let (url, own, coder, reader) = (server.url(), recipes.display(), agent("coder"), agent("reader"));
        let models = format!("[models.scripted]\napi = \"openai\"\nurl = \"{url}\"\n");
        begin_with(story, &format!("[recipes]\ndirectory = \"{own}\"\n{models}{coder}{reader}")).await?;
        story.project_create("other", RepoSource::Empty).await?;
        for (project, expected, asked) in [
            ("shop", ("coder", "of-shop", &[][..]), None),
            ("other", ("reader", "by-role", &["600 of 2,000 tokens for this attempt"][..]), Some(200)),
        ] {
            let words = ["-p", project, "task", "create", "Say", "--accept", "said", "--queue", "--wait"];
            said(story, &words).await?;
            let run = story.runs(project).await?.into_iter().next().context("it ran")?;
            let used = run.agent.as_ref().context("it was an agent's")?;
            let found = (used.name.as_str(), used.model.as_deref().unwrap_or_default());
            ensure!(found == (expected.0, expected.1) && used.spending == expected.2, "{used:#?}");
            let told = merged(story, project, "hello.txt").await?;
            ensure!(
                told.contains(expected.1) && !told.contains("of-agent"),
                "what its program was started with: {told}"
            );
            let requests = server.requests();
            let body: Value = serde_json::from_slice(&requests.last().context("a request")?.body)?;
            ensure!(body["max_output_tokens"].as_u64() == asked, "{body}");
        }
        Ok(())
    })
}

/// Whichever way an answer goes wrong, a real agent asks anew, all of it is on record, and nothing is done twice.
#[test]
fn answers_that_break_off_or_make_no_sense_are_asked_for_again() -> anyhow::Result<()> {
    story("a model's server that answers badly", Setup::Runs, async |story| {
        let says = |word: &str| Turn::run(format!("echo {word} >> hello.txt")).usage(500, 100);
        let script = [
            says("once").cut_after(100).times(1),
            says("twice").garbage().times(1),
            says("thrice").error_in_stream().times(1),
            says("again").status(500).times(1),
            says("slowly").delay_first_byte(Duration::from_millis(300)).times(1),
            Turn::say("It is done.").usage(500, 100).hang_up().times(1),
        ];
        let Some(server) = agents::begin(story, CODEX, Script::new(script)).await? else { return Ok(()) };
        let task = hand_in(story, "Say hello").await?;
        let done = story.task_in(&task, TaskState::Done).await?;
        ensure!(done.attempts == 1, "{done:#?}");
        is_merged(story, "hello.txt", "once\ntwice\nthrice\nagain\nslowly\n").await?;
        let run = story.run_of(&task).await?;
        let listed: Value = serde_json::from_str(&said(story, &["run", "exchanges", &run.name, "-o", "json"]).await?)?;
        let items = listed["items"].as_array().context("a list")?;
        let tries: u64 = items.iter().filter_map(|item| item["tries"].as_u64()).sum();
        ensure!(tries as usize == server.requests().iter().filter(|it| it.is_turn()).count(), "{listed:#}");
        ensure!(items.iter().filter(|item| item["end"] == "complete").count() >= 6, "{listed:#}");
        Ok(())
    })
}

/// How requests go on is known from the one before only for as long as it is so.
#[test]
fn a_request_goes_by_the_key_and_without_the_secrets_of_now() -> anyhow::Result<()> {
    story("a key that changes under a run", Setup::Runs, async |story| {
        let server = ModelServer::start(Script::new([Turn::say("Say hi.")]).endless()).await?;
        let work = format!("{ASK}{ASK}orchctl agent await-approval 'ask again'\n{ASK}");
        begin_as(story, &server, &work, "key = \"model-key\"\n").await?;
        set(story, "model-key", "the-first-key").await?;
        let task = hand_in(story, "Say hello").await?;
        let asked = approval(story, "ask again").await?;
        set(story, "model-key", "the-second-key").await?;
        set(story, "words", "What is to be said").await?;
        said(story, &["approval", "approve", &asked.name, "--yes"]).await?;
        story.task_in(&task, TaskState::Done).await?;
        let requests = server.requests();
        let keys: Vec<_> = requests.iter().filter_map(|request| request.header("authorization")).collect();
        ensure!(keys == ["Bearer the-first-key", "Bearer the-first-key", "Bearer the-second-key"], "{keys:?}");
        let has_words =
            requests.iter().map(|request| request.json()["input"].to_string().contains("What is to be said"));
        ensure!(has_words.eq([true, true, false]), "{requests:#?}");
        Ok(())
    })
}

async fn set(story: &Story, name: &str, value: &str) -> anyhow::Result<()> {
    let file = story.env().path("value");
    std::fs::write(&file, value)?;
    said(story, &["secret", "set", name, "--file", file.to_str().context("paths of stories are text")?]).await?;
    Ok(std::fs::remove_file(file)?)
}
