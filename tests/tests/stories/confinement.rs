//! A task that looks around: it finds its own workspace and nothing else of the machine, and what kept it there is on
//! record.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context as _, ensure};
use orch_proto::request::RepoSource;
use orch_proto::view::{GuaranteeState, RunView, TaskState};
use orch_tests::command_line::orchctl;
use orch_tests::repository::{commit_all, git};
use orch_tests::{Setup, Story};

use crate::kills::{COUNTS, counting, release};
use crate::story;

/// What nobody but its owner may read.
const SECRET: &str = "correct horse battery staple";

/// Tries each way and says what became of it: `reached`, or the error.
const SPY: &str = r#"
import errno, json, os, pathlib, signal, socket

def read(path):
    path = pathlib.Path(path)
    text = str(os.listdir(path)) if path.is_dir() else path.read_text(errors="replace")
    if "battery" in text:
        print("SECRET:", text)

def write(path):
    path = pathlib.Path(path)
    path.joinpath("spy").write_text("spy was here")

def connect(path):
    socket.socket(socket.AF_UNIX).connect(path)

def call(address):
    socket.create_connection(tuple(address), timeout=5)

def kill(pid):
    os.kill(pid, signal.SIGKILL)

own = pathlib.Path(".git/objects/info/alternates").read_text().strip()
ways = json.loads(WAYS) + [
    ["own workspace", "read", "mine.txt"],
    ["own repository", "read", own],
    ["own repository, to write", "write", own],
    ["outside by dots", "read", "../" * 40 + OUTSIDE],
    ["what pid 1 sees", "read", "/proc/1/root" + OUTSIDE],
]
for name, act, target in ways:
    try:
        globals()[act](target)
        print(f"{name}: reached")
    except OSError as error:
        print(f"{name}: {errno.errorcode.get(error.errno, error)}")
"#;

#[test]
fn a_task_reaches_nothing_but_its_own() -> anyhow::Result<()> {
    story("a task that looks around", Setup::Runs, async |story| {
        let vault = story.env().path("vault");
        std::fs::create_dir(&vault)?;
        std::fs::write(vault.join("secret.txt"), SECRET)?;
        commit_all(story.env(), &vault).await?;
        let import = RepoSource::Import { path: vault.display().to_string() };
        let other = story.project_create("vault", import).await?;
        story.project_create("shop", RepoSource::Empty).await?;
        let neighbour = story.task_create("shop", "Neighbour", COUNTS).await?;
        let beside = counting(story, &neighbour).await?;
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let ways = ways(story, &beside, &other.repository, listener.local_addr()?.port())?;
        let task = story.task_create("shop", "Spy", &spy(&ways, &vault)?).await?;
        let done = story.task_in(&task, TaskState::Done).await?;
        let runs = story.runs("shop").await?;
        let run = runs.iter().find(|run| Some(run.id) == done.run).context("its run")?;
        let said = String::from_utf8(story.stdout(&run.name, 1).await?)?;
        let found: BTreeMap<&str, &str> = said.lines().filter_map(|line| line.split_once(": ")).collect();
        ensure!(found.len() == ways.len() + 5 && !said.contains("SECRET"), "{said}");
        let mut reached: Vec<&str> = found.iter().filter(|(_, end)| **end == "reached").map(|(way, _)| *way).collect();
        reached.sort_unstable();
        // What is its own it reaches, so the spy is no bad one.
        ensure!(reached == ["own repository", "own workspace"], "{said}");
        ensure!(found["own repository, to write"] == "EROFS", "{said}");
        release(&beside, story).await?;
        story.task_in(&neighbour, TaskState::Done).await?;
        ensure!(
            git(story.env(), Path::new(&other.repository), &["rev-parse", "main"]).await?
                == other.head.context("a tip")?
        );
        ensure!(!story.env().state().join("spy").exists() && story.env().socket().exists(), "the state is as it was");
        on_record(story, run).await
    })
}

/// The isolation that a run had is known, and shown to who asks.
async fn on_record(story: &Story, run: &RunView) -> anyhow::Result<()> {
    let isolation = run.isolation.as_ref().context("its isolation is on record")?;
    ensure!(isolation.level >= isolation.required && isolation.required >= 3, "{isolation:#?}");
    let shown = orchctl(story.env(), &["run", "get", &run.name]).await?.ok()?;
    ensure!(shown.contains(&format!("level {} (required {})", isolation.level, isolation.required)), "{shown}");
    for guarantee in &isolation.guarantees {
        ensure!(shown.contains(&guarantee.name) && shown.contains(&guarantee.how), "no {} in\n{shown}", guarantee.name);
    }
    for name in ["filesystem view", "network", "processes", "landlock", "system call filter"] {
        let found = isolation.guarantees.iter().find(|found| found.name == name);
        ensure!(found.is_some_and(|found| found.state == GuaranteeState::Enforced), "{name}: {found:?}");
    }
    Ok(())
}

/// Ways out, each with a name, what is done, and to what.
fn ways(story: &Story, beside: &RunView, repository: &str, port: u16) -> anyhow::Result<Vec<serde_json::Value>> {
    let env = story.env();
    let workspace = env.state().join("workspaces").join(beside.id.to_string());
    let read = [
        ("repository of another project", repository.into()),
        ("state directory", env.state()),
        ("state database", env.state().join("orch.db")),
        ("workspace of another run", workspace.clone()),
        ("directory of another run", beside.directory.as_str().into()),
        ("file outside", env.path("vault/secret.txt")),
        ("passwords of the host", "/etc/shadow".into()),
        ("home of root", "/root".into()),
    ];
    for (name, path) in &read {
        ensure!(path.exists() || !nix::unistd::geteuid().is_root(), "{name}: there is no {}", path.display());
    }
    let mut ways: Vec<_> = read.iter().map(|(name, path)| serde_json::json!([name, "read", path])).collect();
    ways.extend([
        serde_json::json!(["state directory, to write", "write", env.state()]),
        serde_json::json!(["workspace of another run, to write", "write", workspace]),
        serde_json::json!(["system, to write", "write", "/usr"]),
        serde_json::json!(["socket of the daemon", "connect", env.socket()]),
        serde_json::json!(["loopback of the host", "call", ["127.0.0.1", port]]),
        serde_json::json!(["network", "call", ["192.0.2.1", 80]]),
        serde_json::json!(["name server", "call", ["example.invalid", 80]]),
        serde_json::json!(["daemon, to kill", "kill", story.daemon_pid()?]),
    ]);
    Ok(ways)
}

/// The recipe of the spy.
fn spy(ways: &[serde_json::Value], vault: &Path) -> anyhow::Result<String> {
    let quoted = |text: &str| serde_json::to_string(text);
    let outside = vault.join("secret.txt");
    let constants = format!(
        "WAYS = {}\nOUTSIDE = {}\n",
        quoted(&serde_json::to_string(ways)?)?,
        quoted(outside.to_str().context("a path of text")?)?
    );
    let script = format!("echo mine > mine.txt\npython3 - <<'END'\n{constants}{SPY}END\n");
    let indented: String = script.lines().map(|line| format!("      {line}\n")).collect();
    Ok(format!("steps:\n  - name: look around\n    run: |\n{indented}"))
}
