//! The database: of a newer version, damaged, out of reach, or changed behind the daemon's back. Each is told apart and
//! named, and what cannot be used is not touched.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use nix::unistd::geteuid;
use orch_proto::ErrorCode;
use orch_proto::request::{RepoSource, Request};
use orch_proto::view::TaskState;
use orch_tests::client::task_request;
use orch_tests::command_line::{orchctl, output};
use orch_tests::{Daemon, Env, Requirement, Setup, Story, poll};
use tokio::process::Command;

use crate::steering::day;
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
        Ok(())
    })
}

/// Each is told apart from damage, with what to do about it, and changes nothing.
#[test]
fn what_keeps_a_whole_database_from_being_used_is_named() -> anyhow::Result<()> {
    story("a database out of reach", Setup::NoRuns, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let seq = story.status().await?.seq;
        story.stop().await?;
        let env = story.env();
        for (what, spoil, code, words) in [
            ("a disk that can only be read", "mount -o remount,bind,ro .", ErrorCode::StateAccess, "read-write"),
            ("a file that can only be read", READ_ONLY_FILE, ErrorCode::StateAccess, "can only be read"),
            ("a full disk", "rm -r state/*; head -c 16m /dev/zero > filler || :", ErrorCode::StorageFull, "make room"),
        ] {
            let said = output(with_daemon(env, on_a_disk(env, spoil))).await?;
            if said.code == Some(NO_DISK) {
                orch_tests::tell(&format!("SKIPPED: {what}: this host allows no disk of one's own"));
                continue;
            }
            let said = said.failed(i32::from(code.exit_code())).context(what)?;
            let is_told = said.contains(code.as_str()) && said.contains(words) && said.contains("hint");
            ensure!(is_told && !said.contains("damaged"), "{what}: {said}");
        }
        let database = env.state().join("orch.db");
        let said = output(without_overrides(env, &database)?).await?;
        let is_told = said.code == Some(i32::from(ErrorCode::StateAccess.exit_code()));
        ensure!(is_told && said.stderr.contains("chown") && said.stderr.contains("orch.db"), "{said:?}");
        std::fs::set_permissions(&database, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&database, env.path("aside.db"))?;
        std::fs::create_dir(&database)?;
        let code = ErrorCode::StateAccess;
        let said = output(Daemon::command(env)).await?.failed(i32::from(code.exit_code()))?;
        ensure!(said.contains(code.as_str()) && said.contains("is not a file") && said.contains("hint"), "{said}");
        std::fs::remove_dir(&database)?;
        std::fs::rename(env.path("aside.db"), &database)?;
        story.start().await?;
        ensure!(story.status().await?.seq == seq, "all is there");
        Ok(())
    })
}

/// Without space nobody knows what the sandbox gives, and nothing runs; nobody has to start the daemon again for it.
#[test]
fn a_start_on_a_full_disk_goes_on_when_there_is_room() -> anyhow::Result<()> {
    story("a start on a full disk", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let task = story.task_create("shop", "Wait", "checkout: false\nsteps: ['true']").await?;
        story.task_in(&task, TaskState::Done).await?;
        let level = story.status().await?.isolation_level;
        story.stop().await?;
        let mut probe = on_a_disk(story.env(), "true");
        probe.arg("true");
        if output(probe).await?.code == Some(NO_DISK) {
            ensure!(!Requirement::Missing("no disk of its own can be made here".into()).holds()?, "it is missing");
            return story.start().await;
        }
        let full = on_a_disk(story.env(), "head -c 16m /dev/zero > filler || :");
        story.start_with(with_daemon(story.env(), full)).await?;
        let status = story.status().await?;
        let told = status.warnings.join("\n");
        ensure!(status.isolation_level == 0 && told.contains("make room"), "{status:#?}");
        ensure!(!told.contains("seccomp"), "the kernel is not to blame: {told}");
        let disk = format!("/proc/{}/root{}", story.daemon_pid()?, story.env().path("disk").display());
        std::fs::remove_file(Path::new(&disk).join("filler")).context("failed to make room")?;
        let measured = async || Ok((story.status().await?.isolation_level == level).then_some(()));
        poll::until("a measured sandbox", measured).await?;
        let task = story.task_create("shop", "Again", "checkout: false\nsteps: ['true']").await?;
        story.task_in(&task, TaskState::Done).await.map(drop)
    })
}

/// Makes a disk that only the command which is to be appended sees, with a copy of the state on it, and does something to it.
fn on_a_disk(env: &Env, spoil: &str) -> Command {
    let mut command = env.command("unshare");
    command.arg("--mount");
    if !geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["sh", "-c", ON_A_DISK, "sh"]).arg(env.path("disk")).arg(env.state()).arg(spoil);
    command
}

/// Appends the daemon on that disk.
fn with_daemon(env: &Env, mut command: Command) -> Command {
    let daemon = Daemon::command_on(env, &env.path("disk/state"));
    command.arg(daemon.as_std().get_program()).args(daemon.as_std().get_args());
    command
}

/// The daemon as a user who may not open the database. Root may open every file unless it gives that up.
fn without_overrides(env: &Env, database: &Path) -> anyhow::Result<Command> {
    std::fs::set_permissions(database, std::fs::Permissions::from_mode(0o000))?;
    let daemon = Daemon::command(env);
    if !geteuid().is_root() {
        return Ok(daemon);
    }
    let mut command = env.command("setpriv");
    command.args(["--bounding-set", "-dac_override,-dac_read_search"]);
    command.arg(daemon.as_std().get_program()).args(daemon.as_std().get_args());
    Ok(command)
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

/// A run that cannot be read keeps the scheduler from beginning anything, however often it tries; those before it are counted once
/// all the same, so that once it can be read as much may begin that day as ever.
#[test]
fn runs_are_counted_once_however_often_the_next_cannot_be_read() -> anyhow::Result<()> {
    story("a run that cannot be read", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let simple = "checkout: false\nsteps: ['true']";
        for title in ["One", "Two", "Three"] {
            let task = story.task_create("shop", title, simple).await?;
            story.task_in(&task, TaskState::Done).await?;
        }
        ensure!(story.runs("shop").await?.len() == 3);
        let a_day = Some(4);
        story
            .submit(Request::ProjectSet { project: "shop".into(), weight: None, runs_max: None, runs_per_day: a_day })
            .await?;
        story.stop().await?;
        let database = story.env().state().join("orch.db");
        let last = "WHERE id = (SELECT max(id) FROM runs)";
        sql(story.env(), &database, &format!("UPDATE runs SET data = '[' || data || ']' {last}")).await?;
        story.start().await?;
        for _ in 0..3 {
            let said = orchctl(story.env(), &["status"]).await?.failed(i32::from(ErrorCode::Storage.exit_code()))?;
            ensure!(said.contains("run-"), "{said}");
        }
        sql(story.env(), &database, &format!("UPDATE runs SET data = substr(data, 2, length(data) - 2) {last}"))
            .await?;
        let task = story.task_create("shop", "Four", simple).await?;
        story.task_in(&task, TaskState::Done).await?;
        let fifth = story.task_create("shop", "Five", simple).await?;
        let began = story.runs("shop").await?.iter().map(|run| day(run.queued_at)).min();
        let is_over = async || {
            let waits = story.task(&fifth).await?.waits;
            let is_next_day = began != Some(day(story.status().await?.now));
            Ok((is_next_day || waits.iter().any(|wait| wait.code == "quota")).then_some(()))
        };
        poll::until("the day's runs to be used up", is_over).await
    })
}

/// Makes a disk at `$1` that only this process and its children see, with a copy of `$2` as `state`, does `$3` to it, and
/// becomes `$4 ...`.
const ON_A_DISK: &str = r#"
mkdir -p "$1" && mount -t tmpfs -o size=16m,mode=700 tmpfs "$1" || exit 99
cp -a "$2" "$1/state" && cd "$1" && eval "$3" && cd / || exit 98
shift 3 && exec "$@"
"#;
const READ_ONLY_FILE: &str = "mount --bind state/orch.db state/orch.db && mount -o remount,bind,ro state/orch.db";
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

/// Changes a database the way somebody with an editor would, in one short transaction: also beside a daemon.
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
