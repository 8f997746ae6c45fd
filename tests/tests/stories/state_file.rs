//! The database: of a newer version, damaged, out of reach, or changed behind the daemon's back. Each is told apart and
//! named, and what cannot be used is not touched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use nix::unistd::geteuid;
use orch_proto::ErrorCode;
use orch_proto::request::{RepoSource, Request};
use orch_proto::view::TaskState;
use orch_tests::client::task_request;
use orch_tests::command_line::{orchctl, output};
use orch_tests::{Daemon, Env, Setup, Story};

use crate::story;

#[test]
fn a_database_of_a_newer_version_is_refused_untouched() -> anyhow::Result<()> {
    story("a newer database", Setup::NoRuns, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let seq = story.status().await?.seq;
        story.stop().await?;
        let database = story.env().state().join("orch.db");
        let whole = std::fs::read(&database)?;
        sql(story.env(), &database, "PRAGMA user_version = 99").await?;
        let said = refused(story.env(), ErrorCode::SchemaTooNew).await?;
        ensure!(said.contains("version 99") && said.contains("orch.db"), "{said}");
        std::fs::write(&database, whole)?;
        story.start().await?;
        ensure!(story.status().await?.seq == seq, "nothing was lost");
        Ok(())
    })
}

#[test]
fn a_damaged_database_is_named_and_not_overwritten() -> anyhow::Result<()> {
    story("a damaged database", Setup::NoRuns, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        for number in 0..30 {
            story.submit(proposed(&format!("Task {number}"))).await?;
        }
        let seq = story.status().await?.seq;
        story.stop().await?;
        let database = story.env().state().join("orch.db");
        let whole = std::fs::read(&database)?;
        let half = whole.len() / 2;
        let damages: [(&str, Vec<u8>); 4] = [
            ("cut in the middle", whole[..half].to_vec()),
            ("cut in the header", whole[..50].to_vec()),
            ("another file", b"Dear diary, this is no database at all.\n".repeat(100)),
            ("zeroes after the header", [&whole[..100], &vec![0; whole.len() - 100][..]].concat()),
        ];
        for (what, bytes) in damages {
            std::fs::write(&database, bytes)?;
            let said = refused(story.env(), ErrorCode::Storage).await.context(what)?;
            ensure!(said.contains("orch.db"), "{what}: {said}");
        }
        std::fs::write(&database, &whole)?;
        story.start().await?;
        ensure!(story.status().await?.seq == seq, "what is put back is there again");
        Ok(())
    })
}

#[test]
fn a_state_directory_that_cannot_be_written_is_named() -> anyhow::Result<()> {
    story("state out of reach", Setup::NoRuns, async |story| {
        let env = story.env();
        std::fs::write(env.path("file"), "")?;
        let mut places = vec![env.path("file"), env.path("file/below"), "/proc/orch".into()];
        if !geteuid().is_root() {
            places.push("/orch".into());
        }
        for place in places {
            let said = output(Daemon::command_on(env, &place)).await?.failed(config())?;
            let named = said.contains("E_CONFIG") && said.contains(&place.display().to_string());
            ensure!(named && said.contains("hint"), "{said}");
        }
        // On a disk that can only be read, with a state that is whole.
        story.project_create("shop", RepoSource::Empty).await?;
        story.stop().await?;
        let env = story.env();
        std::fs::create_dir(env.path("disk"))?;
        let mut command = env.command("unshare");
        command.arg("--mount");
        if !geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["sh", "-c", ON_A_READ_ONLY_DISK, "sh"]).arg(env.path("disk")).arg(env.state());
        let daemon = Daemon::command_on(env, &env.path("disk/state"));
        command.arg(daemon.as_std().get_program()).args(daemon.as_std().get_args());
        let said = output(command).await?;
        if said.code != Some(NO_DISK) {
            let said = said.failed(config())?;
            ensure!(said.contains("E_CONFIG") && said.contains("Read-only") && said.contains("hint"), "{said}");
        }
        story.start().await
    })
}

#[test]
fn rows_and_events_changed_behind_its_back_are_found() -> anyhow::Result<()> {
    story("tampering", Setup::NoRuns, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        story.submit(proposed("As it was")).await?;
        story.end_checks().await?;
        story.stop().await?;
        let row = "UPDATE tasks SET data = replace(data, 'As it was', 'As I like')";
        let state = "UPDATE tasks SET state = 'done', open = 0";
        let gone = "DELETE FROM tasks";
        for (what, tamper) in [("a row", row), ("a state", state), ("a row that is gone", gone)] {
            on_a_copy(story, tamper, async |story| {
                let report = story.check().await?;
                ensure!(!report.differences.is_empty(), "{what}: {report:#?}");
                let said = orchctl(story.env(), &["daemon", "check"]).await?;
                ensure!(said.code == Some(1) && said.stdout.contains("task `task-"), "{what}: {said:?}");
                Ok(())
            })
            .await?;
        }
        let free = "DROP TRIGGER events_no_update; DROP TRIGGER events_no_delete;";
        let last = "(SELECT max(seq) FROM events)";
        for (what, tamper) in [
            ("an event", "UPDATE events SET data = replace(data, 'As it was', 'As I like')".to_owned()),
            ("who did it", "UPDATE events SET actor = replace(actor, 'user', 'daemon') WHERE seq = 1".to_owned()),
            ("when", "UPDATE events SET at = at - 1 WHERE seq = 2".to_owned()),
            ("one that is gone", "DELETE FROM events WHERE seq = 2".to_owned()),
            ("the last is gone", format!("DELETE FROM events WHERE seq = {last}")),
        ] {
            on_a_copy(story, &format!("{free} {tamper}"), async |story| {
                let report = story.audit_verify().await?;
                let (at, why) = report.broken_at.clone().with_context(|| format!("{what}: {report:#?}"))?;
                let said = orchctl(story.env(), &["audit", "verify"]).await?;
                let named = said.stdout.contains(&format!("BROKEN at {at}")) && said.stdout.contains(&why);
                ensure!(said.code == Some(1) && named, "{what}: {said:?}");
                orchctl(story.env(), &["daemon", "check"]).await?.failed(1).map(drop)
            })
            .await?;
        }
        story.start().await?;
        ensure!(story.tasks("shop").await?[0].state == TaskState::Proposed, "the original is as it was");
        Ok(())
    })
}

/// Makes a disk at `$1` that only this process and its children see, with a copy of `$2` as `state`, lets nobody write to
/// it, and becomes `$3 ...`.
const ON_A_READ_ONLY_DISK: &str = r#"
mount -t tmpfs -o size=64m,mode=700 tmpfs "$1" || exit 99
cp -a "$2" "$1/state" && mount -o remount,bind,ro "$1" || exit 98
shift 2 && exec "$@"
"#;
/// How the script above says that this host allows no disk of one's own.
const NO_DISK: i32 = 99;

fn config() -> i32 {
    i32::from(ErrorCode::Config.exit_code())
}

fn proposed(title: &str) -> Request {
    let mut request = task_request("shop", title, "steps: ['true']");
    if let Request::TaskCreate { queue, .. } = &mut request {
        *queue = false;
    }
    request
}

/// The daemon refuses its database with this code and a next step, and leaves it as it is, byte for byte.
async fn refused(env: &Env, code: ErrorCode) -> anyhow::Result<String> {
    let before = databases(env)?;
    let said = output(Daemon::command(env)).await?.failed(i32::from(code.exit_code()))?;
    ensure!(said.contains(code.as_str()) && said.contains("hint"), "{said}");
    let after = databases(env)?;
    ensure!(before == after, "{:?} became {:?}: {said}", before.keys(), after.keys());
    Ok(said)
}

/// The database and what beside it holds something that is not in it.
fn databases(env: &Env) -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(env.state())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        // The index of the write-ahead log says nothing of its own.
        if name.starts_with(b"orch.db") && !name.ends_with(b"-shm") && path.metadata()?.len() > 0 {
            found.insert(path.clone(), std::fs::read(&path)?);
        }
    }
    Ok(found)
}

/// Changes a database that no daemon uses, the way somebody with an editor would.
pub(crate) async fn sql(env: &Env, database: &Path, script: &str) -> anyhow::Result<()> {
    const RUN: &str = "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.executescript(sys.argv[2]); d.commit()";
    let mut command = env.command("python3");
    command.args(["-c", RUN]).arg(database).arg(script);
    output(command).await?.ok().map(drop)
}

/// Changes a copy of the state, and looks at it with a daemon of its own.
async fn on_a_copy(
    story: &mut Story,
    tamper: &str,
    look: impl AsyncFnOnce(&Story) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let copy = story.env().path("copy");
    let mut command = story.env().command("cp");
    command.arg("-a").arg(story.env().state()).arg(&copy);
    output(command).await?.ok()?;
    sql(story.env(), &copy.join("orch.db"), tamper).await?;
    story.start_with(Daemon::command_on(story.env(), &copy)).await?;
    look(story).await?;
    story.stop().await?;
    std::fs::remove_dir_all(&copy)?;
    Ok(())
}
