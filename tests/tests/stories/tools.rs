//! Tools of recipes: downloaded from a server of the story, built in a sandbox, mounted for runs and for agents.

use std::net::TcpListener as StdListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, ensure};
use orch_core::recipe::Checksum;
use orch_proto::ErrorCode;
use orch_proto::request::RepoSource;
use orch_proto::view::{NetworkState, TaskState};
use orch_tests::command_line::orchctl;
use orch_tests::{Setup, Story, poll};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::access::{ASK, in_house, restart, serve};
use crate::agents::{hand_in, is_merged};
use crate::story;

/// What a task does with the tool: it runs it, and tries to change it.
const USES: &str = r#"tools: [{ name: hello, version: 1.x }]
checkout: false
steps:
  - hello
  - run: |
      at=$(dirname "$(command -v hello)")
      ! echo changed > "$at/hello" && ! touch "$at/new" && ! rm "$at/hello" && hello again
"#;

/// Works as Codex does, for as long as it takes to say so.
const AGENT: &str = r#"#!/bin/sh
cat > /dev/null
printf '{"type":"thread.started","thread_id":"t"}\n{"type":"turn.started"}\n'
printf 'hi\n' > hello.txt
printf '{"type":"turn.completed","usage":{"input_tokens":1,"cached_input_tokens":0,"output_tokens":1}}\n'
"#;

/// A server that has one file, and how often it was asked for it.
struct Server {
    base: String,
    asked: Arc<AtomicUsize>,
    /// One for each answer.
    answers: Arc<Semaphore>,
}

impl Server {
    async fn start(file: Vec<u8>, answers: usize) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}/mirror", listener.local_addr()?);
        let server = Self { base, asked: Arc::default(), answers: Arc::new(Semaphore::new(answers)) };
        let (asked, may_answer) = (Arc::clone(&server.asked), Arc::clone(&server.answers));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (file, asked, may_answer) = (file.clone(), Arc::clone(&asked), Arc::clone(&may_answer));
                tokio::spawn(async move {
                    let mut request = [0; 1_024];
                    let read = stream.read(&mut request).await.unwrap_or(0);
                    asked.fetch_add(usize::from(read > 0), Ordering::SeqCst);
                    let Ok(answer) = may_answer.acquire().await else { return };
                    answer.forget();
                    let head =
                        format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", file.len());
                    // Who was killed does not hear it.
                    drop(stream.write_all(&[head.as_bytes(), &file].concat()).await);
                    drop(stream.shutdown().await);
                });
            }
        });
        Ok(server)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// An archive with a program in `bin`.
fn archive(story: &Story, name: &str, program: &str) -> anyhow::Result<Vec<u8>> {
    let (directory, file) = (story.env().path(&format!("{name}-files")), story.env().path("archive.tgz"));
    std::fs::create_dir_all(directory.join("bin"))?;
    let path = directory.join("bin").join(name);
    std::fs::write(&path, program)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    let packed = Command::new("tar").arg("-C").arg(&directory).arg("-czf").arg(&file).arg("bin").status()?;
    ensure!(packed.success(), "tar says {packed}");
    Ok(std::fs::read(file)?)
}

/// Writes a recipe of the operator that unpacks such an archive, pinned so.
fn write_recipe(story: &Story, name: &str, pinned: &[u8], more: &str) -> anyhow::Result<()> {
    let mut hasher = Checksum::parse(&format!("sha256:{}", "0".repeat(64)))?.hasher();
    hasher.update(pinned);
    let checksum = hasher.finish();
    let directory = story.env().path("recipes").join("tools");
    std::fs::create_dir_all(&directory)?;
    let text = format!(
        "name: {name}\nversion: \"1.0\"\nsource:\n  url: https://tools.example.org/{name}-1.0.tgz\n  checksum: {checksum}\n\
         steps:\n  - tar --no-same-owner -xzf {name}-1.0.tgz\n  - test -x bin/{name}\n{more}"
    );
    Ok(std::fs::write(directory.join(format!("{name}.yaml")), text)?)
}

/// Starts the daemon again with the operator's recipes, a mirror where there is one, and more.
async fn again_with(story: &mut Story, mirror: Option<&str>, more: &str) -> anyhow::Result<()> {
    story.stop().await?;
    let mirrors =
        mirror.map(|base| format!("mirrors = {{ \"tools.example.org\" = \"{base}\" }}\n")).unwrap_or_default();
    let recipes = story.env().path("recipes");
    let config = format!(
        "[approvals]\nhold_ms = 0\n[workspaces]\nprepare_from_files = 0\n[recipes]\ndirectory = \"{}\"\n{mirrors}{more}",
        recipes.display()
    );
    std::fs::write(story.env().path("orchd.toml"), config)?;
    story.start().await
}

/// What lies in the directory of tools, beside drafts.
fn kept(story: &Story) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for directory in [story.env().state().join("tools"), story.env().state().join("tools/drafts")] {
        for entry in std::fs::read_dir(directory)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
    }
    names.retain(|name| name != "drafts");
    Ok(names)
}

#[test]
fn a_task_waits_for_its_tool_and_has_it_read_only() -> anyhow::Result<()> {
    story("a tool of a recipe", Setup::Runs, async |story| {
        let file = archive(story, "hello", "#!/bin/sh\necho \"hello $1\"\n")?;
        write_recipe(story, "hello", &file, "")?;
        again_with(story, None, "").await?;
        story.project_create("shop", RepoSource::Empty).await?;
        let task = story.task_create("shop", "Greet", USES).await?;
        let waits = story.task(&task).await?.waits;
        let wait = waits.first().context("it waits")?;
        let said = format!("{} {:?}", wait.text, waits);
        ensure!(wait.code == "tool" && said.contains("orchctl tool install hello"), "{said}");
        ensure!(said.contains("tools.example.org"), "who decides is told where it comes from: {said}");

        // A mirror of the operator's is the operator's word.
        let server = Server::start(file, 9).await?;
        again_with(story, Some(&server.base), "").await?;
        story.task_in(&task, TaskState::Done).await?;
        let run = story.run_of(&task).await?;
        let said = String::from_utf8(story.stdout(&run.name, 0).await?)?;
        ensure!(said == "hello \n", "{said}");
        let said = String::from_utf8(story.stdout(&run.name, 1).await?)?;
        ensure!(said == "hello again\n", "{said}");
        let line = run.given.iter().find(|line| line.starts_with("tool: hello 1.0 ")).context("it is on record")?;
        let digest = line.rsplit(' ').next().context("its digest")?;
        let shown = orchctl(story.env(), &["tool", "get", "hello"]).await?.ok()?;
        ensure!(shown.contains(digest) && shown.contains("ready"), "{shown}");
        let events = story.events().await?;
        let equipped: Vec<_> = events.iter().filter(|event| event.kind == "run.equipped").collect();
        ensure!(equipped.len() == 1 && equipped[0].text.contains(digest), "{equipped:#?}");

        // Without its server it is there all the same; one that a run has does not go.
        again_with(story, Some("http://127.0.0.1:9"), "").await?;
        let lasting =
            "tools: [{ name: hello }]\ncheckout: false\nsteps:\n  - run: until [ -e go ]; do sleep 0.1; done\n";
        let lasting = story.task_create("shop", "Last", lasting).await?;
        story.task_in(&lasting, TaskState::Running).await?;
        poll::until("a run that has it", async || {
            let listed = orchctl(story.env(), &["tool", "get", "hello"]).await?.ok()?;
            Ok(listed.contains("R-").then_some(()))
        })
        .await?;
        let conflict = i32::from(ErrorCode::Conflict.exit_code());
        let said = orchctl(story.env(), &["tool", "remove", "hello", "--yes"]).await?.failed(conflict)?;
        ensure!(said.contains("is used by R-"), "{said}");
        orchctl(story.env(), &["task", "cancel", &lasting]).await?.ok()?;
        story.task_in(&lasting, TaskState::Cancelled).await?;
        poll::until("the end of its run", async || {
            Ok(story.runs("shop").await?.iter().all(|run| run.state.is_final()).then_some(()))
        })
        .await?;
        orchctl(story.env(), &["tool", "remove", "hello", "--yes"]).await?.ok()?;
        ensure!(kept(story)?.is_empty() && server.asked() == 1, "{:?}, asked {} times", kept(story)?, server.asked());
        Ok(())
    })
}

#[test]
fn what_is_not_pinned_so_or_does_not_build_is_not_installed() -> anyhow::Result<()> {
    story("tools that cannot be", Setup::Runs, async |story| {
        archive(story, "hello", "#!/bin/sh\n")?;
        std::fs::rename(story.env().path("hello-files/bin/hello"), story.env().path("hello-files/bin/fails"))?;
        let file = archive(story, "hello", "#!/bin/sh\n")?;
        write_recipe(story, "hello", b"what it should be", "")?;
        write_recipe(story, "fails", &file, "  - run: echo it is no use >&2; exit 3\n")?;
        write_recipe(story, "greedy", &file, "permissions: { filesystem: [/etc] }\n")?;
        let server = Server::start(file.clone(), 99).await?;
        again_with(story, Some(&server.base), "").await?;
        story.project_create("shop", RepoSource::Empty).await?;
        let missing = i32::from(ErrorCode::ToolMissing.exit_code());
        let said = orchctl(story.env(), &["tool", "install", "hello", "--yes"]).await?.failed(missing)?;
        ensure!(said.matches("sha256:").count() >= 2 && said.contains("is not what the recipe pins"), "{said}");
        let said = orchctl(story.env(), &["tool", "install", "fails", "--yes"]).await?.failed(missing)?;
        ensure!(said.contains("its steps did not go well") && said.contains("it is no use"), "{said}");
        let said = orchctl(story.env(), &["tool", "install", "greedy", "--yes"]).await?.failed(missing)?;
        ensure!(said.contains("/etc") && said.contains("no installation is given"), "{said}");
        ensure!(kept(story)?.is_empty(), "nothing is left: {:?}", kept(story)?);
        ensure!(server.asked() == 2, "none is asked for again and again: {}", server.asked());

        let doctor = orchctl(story.env(), &["doctor"]).await?;
        ensure!(doctor.stdout.contains("tool fails"), "{}", doctor.stdout);

        // Who needs it is told why it is not there, and a task that wants another version is, too.
        let task = story.task_create("shop", "Greet", USES).await?;
        let why = orchctl(story.env(), &["task", "why", &task]).await?.ok()?;
        ensure!(why.contains("could not be installed") && why.contains("orchctl tool install hello"), "{why}");
        let other = USES.replace("1.x", "2.x");
        let other = story.task_create("shop", "Another", &other).await?;
        let why = orchctl(story.env(), &["task", "why", &other]).await?.ok()?;
        ensure!(why.contains("its recipe is for 1.0, and 2.x is wanted"), "{why}");
        let not_found = i32::from(ErrorCode::NotFound.exit_code());
        orchctl(story.env(), &["tool", "install", "nothing", "--yes"]).await?.failed(not_found)?;
        // Once the recipe is mended it is installed when somebody asks, or the daemon starts anew.
        write_recipe(story, "hello", &file, "")?;
        again_with(story, Some(&server.base), "").await?;
        story.task_in(&task, TaskState::Done).await.map(drop)
    })
}

#[test]
fn an_agent_of_a_tool_does_a_task() -> anyhow::Result<()> {
    story("an agent of a tool", Setup::Runs, async |story| {
        let file = archive(story, "coder", AGENT)?;
        write_recipe(story, "coder", &file, "")?;
        let server = Server::start(file, 0).await?;
        let agent = "[models.none]\napi = \"openai\"\nurl = \"http://127.0.0.1:9\"\n\
                     [agents.worker]\nkind = \"codex\"\nmodels = \"none\"\ntool = \"coder\"\n";
        again_with(story, Some(&server.base), agent).await?;
        story.project_create("shop", RepoSource::Empty).await?;
        let task = hand_in(story, "Say hello").await?;
        let waits = story.task(&task).await?.waits;
        ensure!(waits.iter().any(|wait| wait.code == "tool"), "it waits for its agent: {waits:#?}");
        // A daemon that is killed in the middle of the download begins it anew.
        poll::until("a download", async || Ok((server.asked() == 1).then_some(()))).await?;
        story.kill9().await?;
        story.start().await?;
        poll::until("the next download", async || Ok((server.asked() == 2).then_some(()))).await?;
        server.answers.add_permits(9);
        story.task_in(&task, TaskState::Done).await?;
        is_merged(story, "hello.txt", "hi\n").await?;
        let run = story.run_of(&task).await?;
        ensure!(run.given.iter().any(|line| line.starts_with("tool: coder 1.0 ")), "{:?}", run.given);
        let doctor = orchctl(story.env(), &["doctor"]).await?;
        ensure!(doctor.stdout.contains("/orch/agent/tool/bin/coder"), "{}", doctor.stdout);
        ensure!(kept(story)?.len() == 1, "{:?}", kept(story)?);
        // What nothing makes any more goes at the next start.
        std::fs::remove_file(story.env().path("recipes/tools/coder.yaml"))?;
        again_with(story, None, "").await?;
        poll::until("an empty cache", async || Ok(kept(story)?.is_empty().then_some(()))).await
    })
}

/// The daemon says at its start what it will never find.
#[test]
fn an_agent_of_a_tool_that_no_recipe_installs_is_a_fault_of_the_configuration() -> anyhow::Result<()> {
    story("an agent of no tool", Setup::NoRuns, async |story| {
        story.stop().await?;
        let agent = "[models.none]\napi = \"openai\"\nurl = \"http://127.0.0.1:9\"\n\
                     [agents.worker]\nkind = \"codex\"\nmodels = \"none\"\ntool = \"git\"\n";
        std::fs::write(story.env().path("orchd.toml"), agent)?;
        let said = story.start().await.map_or_else(|error| format!("{error:#}"), |()| String::new());
        let log = orch_tests::Daemon::said(story.env());
        let said = format!("{said}\n{log}");
        ensure!(said.contains("`agents.worker.tool` names `git`") && said.contains("codex"), "{said}");
        std::fs::write(story.env().path("orchd.toml"), "")?;
        story.start().await
    })
}

/// A role gives its runs the hosts that it names and nothing else, and fewer system calls.
#[test]
fn a_role_reaches_the_hosts_that_it_names() -> anyhow::Result<()> {
    story("egress of a role", Setup::Runs, async |story| {
        if !in_house(story).await?.holds()? {
            return Ok(());
        }
        let mirror = StdListener::bind(("127.0.0.1", 0))?;
        let port = mirror.local_addr()?.port();
        std::thread::spawn(move || serve(&mirror));
        let agent = story.env().path("asking-agent");
        let addresses = ["mirror", "evil"].map(|name| format!("http://{name}.house.test:{port}/")).join(" ");
        let asks = format!("python3 - {addresses} > hello.txt <<'E'\n{}\nE\n", ASK.trim());
        let asks = AGENT.replace("printf 'hi\\n' > hello.txt\n", &asks);
        std::fs::write(&agent, asks)?;
        std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755))?;
        let roles = story.env().path("recipes").join("roles");
        std::fs::create_dir_all(&roles)?;
        let role = format!(
            "name: developer\ninstructions: Look around.\ncapabilities: [developer]\nprofile: strict\n\
             egress: [\"mirror.house.test:{port}\"]\n"
        );
        std::fs::write(roles.join("developer.yaml"), role)?;
        restart(story, &sections(&agent, &story.env().path("recipes"))).await?;
        story.project_create("shop", RepoSource::Empty).await?;
        let task = hand_in(story, "Look around").await?;
        story.task_in(&task, TaskState::Done).await?;
        let expected =
            format!("http://mirror.house.test:{port}/ from the mirror\nhttp://evil.house.test:{port}/ 403\n");
        is_merged(story, "hello.txt", &expected).await?;
        let run = story.run_of(&task).await?;
        ensure!(run.given.contains(&format!("network: mirror.house.test:{port}")), "{:?}", run.given);
        let denied = |host: &str| {
            run.network.iter().any(|used| used.host.as_deref() == Some(host) && used.state == NetworkState::Denied)
        };
        ensure!(denied("evil.house.test"), "{:#?}", run.network);
        Ok(())
    })
}

fn sections(agent: &Path, recipes: &Path) -> String {
    format!(
        "[[network.house]]\nhost = \"mirror.house.test\"\nnetworks = [\"127.0.0.0/8\"]\n\
         [recipes]\ndirectory = \"{}\"\n[models.none]\napi = \"openai\"\nurl = \"http://127.0.0.1:9\"\n\
         [agents.worker]\nkind = \"codex\"\nmodels = \"none\"\nprogram = \"{}\"\n",
        recipes.display(),
        agent.display()
    )
}
