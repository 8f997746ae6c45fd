//! What a recipe asks for beyond its workspace, hosts and secrets: who is asked, what the run gets, what is on record.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use orch_proto::request::{Decision, RepoSource, Request};
use orch_proto::view::{NetworkState, RunState, RunView, TaskState};
use orch_proto::{ErrorCode, Ref};
use orch_tests::client::task_request;
use orch_tests::command_line::orchctl;
use orch_tests::{Requirement, Setup, Story};

use crate::channel::nowhere;
use crate::story;

/// Names of the house, which lead to this machine.
const HOSTS: &str = "127.0.0.1 localhost mirror.house.test private.house.test\n";

/// Asks for the addresses in its arguments and says what came of it.
pub(crate) const ASK: &str = r#"
import sys, urllib.error, urllib.request
for address in sys.argv[1:]:
    try:
        print(address, urllib.request.urlopen(address, timeout=20).read().decode())
    except urllib.error.HTTPError as error:
        print(address, error.code)
"#;

/// A host is reached when the configuration allows it or a person did; everything else is refused, and all of it is on
/// record.
#[test]
fn a_run_reaches_the_hosts_that_it_was_given() -> anyhow::Result<()> {
    story("network of a run", Setup::Runs, async |story| {
        if !in_house(story).await?.holds()? {
            return Ok(());
        }
        let mirror = TcpListener::bind(("127.0.0.1", 0))?;
        let port = mirror.local_addr()?.port();
        std::thread::spawn(move || serve(&mirror));
        restart(story, &format!("allow = [\"mirror.house.test:{port}\"]\n[[network.house]]\nhost = \"mirror.house.test\"\nnetworks = [\"127.0.0.0/8\"]\n")).await?;
        story.project_create("shop", RepoSource::Empty).await?;
        let address = |name: &str| format!("http://{name}.house.test:{port}/");
        let addresses = [address("mirror"), address("private"), address("evil")];
        let hosts = [format!("mirror.house.test:{port}"), format!("private.house.test:{port}")];
        let asked = story.task_create("shop", "Fetch", &recipe(&hosts, &addresses)).await?;
        let approvals = story.approvals_pending("shop").await?;
        let approval = approvals.first().context("somebody is asked")?;
        for host in &hosts {
            ensure!(approval.details.contains(&format!("network: {host}")), "{approval:#?}");
        }
        ensure!(story.task(&asked).await?.waits.iter().any(|wait| wait.code == "approval"), "it waits for that");
        story.decide(approval, Decision::Approve).await?;
        story.task_in(&asked, TaskState::Done).await?;
        let run = run_of(story, "Fetch").await?;
        let said = String::from_utf8(story.stdout(&run.name, 1).await?)?;
        let expected = format!("{} from the mirror\n{} 403\n{} 403\n", addresses[0], addresses[1], addresses[2]);
        ensure!(said == expected, "{said}");
        on_record(story, &run, port).await?;
        // What the configuration allows needs nobody.
        let alone = story.task_create("shop", "Mirror only", &recipe(&hosts[..1], &addresses[..1])).await?;
        story.task_in(&alone, TaskState::Done).await?;
        Ok(())
    })
}

/// Every decision of the proxy is with the run and in the record.
async fn on_record(story: &Story, run: &RunView, port: u16) -> anyhow::Result<()> {
    let has = |host: &str, state, detail: &str| {
        run.network.iter().any(|used| {
            used.host.as_deref() == Some(host)
                && used.state == state
                && used.port == Some(port)
                && used.detail.contains(detail)
        })
    };
    ensure!(has("mirror.house.test", NetworkState::Allowed, "127.0.0.1"), "{run:#?}");
    ensure!(has("private.house.test", NetworkState::Denied, "loopback"), "{run:#?}");
    ensure!(has("evil.house.test", NetworkState::Denied, "name-not-allowed"), "{run:#?}");
    let events = story.events().await?;
    for said in ["evil.house.test", "private.house.test"] {
        let found = events
            .iter()
            .any(|event| event.kind == "run.observed" && event.text.contains(said) && event.text.contains("denied"));
        ensure!(found, "{said} is not in the record");
    }
    for command in ["get", "network"] {
        let shown = orchctl(story.env(), &["run", command, &run.name]).await?.ok()?;
        ensure!(shown.contains("evil.house.test") && shown.contains("name-not-allowed"), "{shown}");
    }
    Ok(())
}

/// What can never start is not tried again and again, and who denies is heard.
#[test]
fn a_value_that_cannot_be_given_fails_once_and_a_denial_is_told() -> anyhow::Result<()> {
    story("secrets that cannot be given", Setup::Runs, async |story| {
        const STEPS: &str = "steps: [env]\nsecrets: [{ name: binary, env: BINARY }]\n";
        story.project_create("shop", RepoSource::Empty).await?;
        std::fs::write(story.env().path("value"), b"with\0in-it-0123")?;
        orchctl(story.env(), &["secret", "set", "binary", "--file", "value"]).await?.ok()?;
        let task = story.task_create("shop", "Binary", STEPS).await?;
        let approval = story.approvals_pending("shop").await?.pop().context("somebody is asked")?;
        story.decide(&approval, Decision::Approve).await?;
        let failed = story.task_in(&task, TaskState::Failed).await?;
        let why = failed.last_failure.unwrap_or_default();
        ensure!(failed.attempts == 1 && why.contains("NUL") && why.contains("take `env` out"), "{why}");
        let other = story.task_create("shop", "Denied", STEPS).await?;
        let approval = story.approvals_pending("shop").await?.pop().context("somebody is asked")?;
        orchctl(story.env(), &["approval", "deny", &approval.name, "--reason", "too much", "--yes"]).await?.ok()?;
        let why = orchctl(story.env(), &["task", "why", &other]).await?.ok()?;
        ensure!(why.contains("denied: too much") && why.contains("orchctl task retry"), "{why}");
        Ok(())
    })
}

/// A task waits for a secret that nobody set; then its run gets it, and nobody else does.
#[test]
fn a_run_gets_the_secrets_that_it_names_and_no_record_has_them() -> anyhow::Result<()> {
    story("secrets of a run", Setup::Runs, async |story| {
        const TOKEN: &str = "hunter2-correct-horse";
        const KEY: &str = "of-the-file-0123456789";
        const STEPS: &str = "steps:\n  - run: |\n      echo \"token $TOKEN\"; cat /run/secrets/deploy.key; echo\n      \
                             printf '%s' \"$TOKEN\" | rev; echo; rev /run/secrets/deploy.key; echo\n\
                             secrets:\n  - deploy.key\n  - { name: token, env: TOKEN }\n";
        story.project_create("shop", RepoSource::Empty).await?;
        let task = story.task_create("shop", "Deploy", STEPS).await?;
        let approvals = story.approvals_pending("shop").await?;
        let approval = approvals.first().context("somebody is asked")?;
        ensure!(approval.details.contains(&"secret: token (variable TOKEN)".to_owned()), "{approval:#?}");
        story.decide(approval, Decision::Approve).await?;
        let waits = story.task(&task).await?.waits;
        ensure!(waits.iter().filter(|wait| wait.code == "secret").count() == 2, "{waits:#?}");
        ensure!(story.runs("shop").await?.is_empty(), "it has not begun");
        for (name, value) in [("token", TOKEN), ("deploy.key", KEY)] {
            std::fs::write(story.env().path("value"), format!("{value}\n"))?;
            orchctl(story.env(), &["secret", "set", name, "--file", "value"]).await?.ok()?;
            std::fs::remove_file(story.env().path("value"))?;
            let kept = std::fs::read(story.env().state().join("secrets").join(name))?;
            // The mark, the nonce and the tag: a file is kept byte for byte, which keys need.
            ensure!(kept.starts_with(b"\0ORSEC1\n") && kept.len() == value.len() + 1 + 44, "it is encrypted: {kept:?}");
        }
        story.task_in(&task, TaskState::Done).await?;
        let run = run_of(story, "Deploy").await?;
        let said = String::from_utf8(story.stdout(&run.name, 1).await?)?;
        let reversed = |text: &str| text.chars().rev().collect::<String>();
        ensure!(said.contains(&reversed(TOKEN)) && said.contains(&reversed(KEY)), "it has both: {said}");
        ensure!(!said.contains(TOKEN) && !said.contains(KEY) && said.contains("token "), "the log has neither: {said}");
        ensure!(run.given == ["secret: deploy.key (file)", "secret: token (variable TOKEN)"], "{run:#?}");
        let given = |text: &str| text.contains("secret: token (variable TOKEN)");
        let queued = story.events().await?.into_iter().find(|event| event.kind == "run.queued");
        ensure!(queued.is_some_and(|event| given(&event.text)), "the record has the names");
        nowhere(&story.env().state(), &[TOKEN, KEY])?;
        let store = story.env().state().join("secrets");
        let mode = |path: &Path| std::fs::metadata(path).map(|meta| meta.permissions().mode() & 0o777);
        ensure!(mode(&store)? == 0o700 && mode(&store.join("token"))? == 0o600, "for the owner alone");
        let listed = orchctl(story.env(), &["secret", "list", "-o", "json"]).await?.ok()?;
        ensure!(listed.contains("deploy.key") && !listed.contains(KEY), "{listed}");
        orchctl(story.env(), &["secret", "rm", "token", "--yes"]).await?.ok()?;
        let again = orchctl(story.env(), &["secret", "rm", "token", "--yes"]).await?;
        ensure!(again.failed(3)?.contains("no secret `token`"), "it is gone");
        Ok(())
    })
}

/// What cannot be given is refused before there is a task, with the place and the next step.
#[test]
fn what_cannot_be_given_is_refused_with_its_place() -> anyhow::Result<()> {
    story("access that is refused", Setup::NoRuns, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        for (text, said) in [
            ("steps: [a]\nnetwork: [10.0.0.1]\n", "story.yaml:2:11: `network`: `10.0.0.1` is not a host name"),
            ("steps: [a]\nnetwork: ['*.org']\n", "is not a host name"),
            ("steps: [a]\nsecrets: [{name: a, value: b}]\n", "unknown key `value`"),
            ("steps: [a]\ntools: [{name: b, network: true}]\n", "asks for the whole network"),
        ] {
            let refusal = story.refused(ErrorCode::Recipe, task_request("shop", "Wrong", text)).await?;
            ensure!(refusal.message.contains(said) && refusal.hint.is_some(), "{refusal:?}");
        }
        ensure!(story.tasks("shop").await?.is_empty(), "there is no task");
        // An edit asks as a new task does.
        let task = story.task_create("shop", "Later", "steps: [a]\nrequires: { approval: true }\n").await?;
        let first = story.approvals_pending("shop").await?;
        edit(story, &task, "steps: [a]\nnetwork: [example.org]\n").await?;
        let second = story.approvals_pending("shop").await?;
        ensure!(first.len() == 1 && second.len() == 1 && first[0].id != second[0].id, "{second:#?}");
        ensure!(second[0].details.contains(&"network: example.org:80,443".to_owned()), "{second:#?}");
        let long = orchctl(story.env(), &["secret", "set", "short", "--file", "orchd.toml"]).await?;
        long.ok()?;
        std::fs::write(story.env().path("value"), "abc\n")?;
        let short = orchctl(story.env(), &["secret", "set", "short", "--file", "value"]).await?.failed(2)?;
        ensure!(short.contains("shorter than") && !short.contains("abc"), "{short}");
        let named = orchctl(story.env(), &["secret", "set", "a/b", "--file", "orchd.toml"]).await?.failed(2)?;
        ensure!(named.contains("is not the name of a secret"), "{named}");
        Ok(())
    })
}

async fn edit(story: &Story, task: &str, recipe: &str) -> anyhow::Result<()> {
    let request = Request::TaskEdit {
        task: Ref(task.to_owned()),
        recipe: Some(recipe.to_owned()),
        recipe_name: None,
        capability: None,
        requirements: None,
        acceptance: None,
    };
    story.submit(request).await?;
    Ok(())
}

fn recipe(hosts: &[String], addresses: &[String]) -> String {
    let script = format!("python3 - {} <<'END'\n{ASK}END\n", addresses.join(" "));
    let indented: String = script.lines().map(|line| format!("      {line}\n")).collect();
    format!("network: [{}]\nsteps:\n  - name: ask\n    run: |\n{indented}", hosts.join(", "))
}

async fn run_of(story: &Story, title: &str) -> anyhow::Result<RunView> {
    let runs = story.runs("shop").await?;
    let run = runs.into_iter().find(|run| run.task_title == title).context("its run")?;
    ensure!(run.state == RunState::Succeeded, "{run:#?}");
    Ok(run)
}

/// Whether names can be made up here: a mount namespace of one's own is needed for that.
pub(crate) async fn in_house(story: &Story) -> anyhow::Result<Requirement> {
    let mut command = story.env().command("unshare");
    let made = command.args(unshare()).arg("true").output().await;
    Ok(match made {
        Ok(output) if output.status.success() => Requirement::Met,
        _ => Requirement::Missing("`unshare` makes no mount namespace here".to_owned()),
    })
}

fn unshare() -> &'static [&'static str] {
    if nix::unistd::geteuid().is_root() { &["--mount"] } else { &["--map-root-user", "--mount"] }
}

/// Starts the daemon again where the names of the house are known, with this network section.
pub(crate) async fn restart(story: &mut Story, network: &str) -> anyhow::Result<()> {
    story.stop().await?;
    let env = story.env();
    let (hosts, program) = (env.path("hosts"), env.path("sandbox-in-house"));
    std::fs::write(&hosts, HOSTS)?;
    let inside = format!("mount --bind {} /etc/hosts && exec {} \"$@\"", hosts.display(), env.programs().sandbox);
    let script = format!("#!/bin/sh\nexec unshare {} sh -c '{inside}' sh \"$@\"\n", unshare().join(" "));
    std::fs::write(&program, script)?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    let config =
        format!("[sandbox]\nprogram = \"{}\"\n[approvals]\nhold_ms = 0\n[network]\n{network}", program.display());
    std::fs::write(env.path("orchd.toml"), config)?;
    story.start().await
}

/// Answers every request that comes, until nobody is left to ask.
pub(crate) fn serve(listener: &TcpListener) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        let mut request = [0; 1024];
        if stream.read(&mut request).is_ok_and(|read| read > 0) {
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 15\r\nConnection: close\r\n\r\nfrom the mirror";
            stream.write_all(answer.as_bytes()).unwrap_or_default();
        }
    }
}
