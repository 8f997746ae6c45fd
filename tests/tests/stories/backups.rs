//! Backups: made while work goes on, verified, restored elsewhere, and refused where they would cost something; and the
//! state itself: what is damaged is found, what can be mended is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use orch_proto::ErrorCode;
use orch_proto::request::{Bytes, RepoSource, Request};
use orch_proto::view::{RunState, RunView, TaskState, UpkeepOutcome, UpkeepRequest};
use orch_tests::command_line::{Output, orchctl, output};
use orch_tests::repository::git;
use orch_tests::{Daemon, Env, Requirement, Setup, Story, poll};

use crate::kills::{COUNTS, counting, release, release_in};
use crate::state_file::sql;
use crate::story;

/// A change, and a file that is kept of the run.
const WORK: &str = "
steps:
  - run: echo \"$ORCH_TASK\" > \"$ORCH_TASK.txt\"
  - run: echo kept > kept.log
    artifacts: ['kept.log']
";

#[test]
fn a_backup_made_during_work_is_the_state_of_one_moment_and_goes_on_elsewhere() -> anyhow::Result<()> {
    story("backup and restore", Setup::Runs, async |story| {
        let backup = story.env().path("backup");
        let shop = story.project_create("shop", RepoSource::Empty).await?;
        let done = work(story, "Before").await?;
        story.task_in(&done, TaskState::Done).await?;
        orchctl_with_value(story.env(), "token", "a value of eight").await?;
        let open = story.task_create("shop", "Under way", COUNTS).await?;
        let run = counting(story, &open).await?;
        story.log_line(&run.name, "line 3").await?;
        // Others are begun, merged and settled all the while.
        let mut during = Vec::new();
        for number in 0..6 {
            during.push(work(story, &format!("During {number}")).await?);
        }
        let before = story.status().await?;
        let said = orchctl(story.env(), &["backup", path(&backup)?]).await?;
        ensure!(said.code == Some(0) && said.stdout.contains("verified"), "{said:?}");
        ensure!(said.stderr.contains("token") && !said.stderr.contains("a value"), "{said:?}");
        for task in &during {
            story.task_in(task, TaskState::Done).await?;
        }
        let after = work(story, "After").await?;
        story.task_in(&after, TaskState::Done).await?;
        let whole = orchd(story.env(), &["verify-backup", path(&backup)?]).await?.ok()?;
        ensure!(whole.contains("whole") && whole.contains("secrets left out: 1"), "{whole}");
        ensure!(files(&backup)?.iter().all(|(name, _)| !name.starts_with("secrets")), "values are not in it");
        let head = manifest(&backup)?["head_seq"].as_u64().context("a number")?;
        ensure!(head >= before.seq && head < story.status().await?.seq, "{head}");
        // The original ends; nothing of it is left that could work on.
        release(&run, story).await?;
        story.task_in(&open, TaskState::Done).await?;
        let original = story.status().await?;
        story.stop().await?;
        let elsewhere = story.env().path("elsewhere");
        let restored = orchd_on(story.env(), &elsewhere, &["restore", path(&backup)?]).await?.ok()?;
        ensure!(restored.contains("under way when it was made: ") && restored.contains("token"), "{restored}");
        story.start_with(Daemon::command_on(story.env(), &elsewhere)).await?;
        let now = story.status().await?;
        ensure!(now.instance != original.instance && now.seq >= head, "{now:#?}");
        story.end_checks().await?;
        ensure!(story.task(&after).await.is_err(), "made after the backup");
        lost_and_tried_again(story, &open, &run, &elsewhere).await?;
        for task in &during {
            story.task_in(task, TaskState::Done).await?;
        }
        // Each change is merged exactly once.
        let repository = elsewhere.join("repos").join(format!("{}.git", shop.id));
        let log = git(story.env(), &repository, &["log", "--format=%s", "main"]).await?;
        for title in ["Before", "During 0", "During 5"] {
            ensure!(log.lines().filter(|line| line.ends_with(title)).count() == 1, "{title}: {log}");
        }
        ensure!(!log.contains("After"), "{log}");
        let next = work(story, "Next").await?;
        story.task_in(&next, TaskState::Done).await?;
        let said = orchctl(story.env(), &["run", "logs", "shop/R-1"]).await?.ok()?;
        ensure!(!said.is_empty(), "the logs are there");
        let checked = orchctl(story.env(), &["daemon", "check"]).await?.ok()?;
        ensure!(!checked.contains("orphan"), "{checked}");
        story.stop().await?;
        story.start().await
    })
}

/// What was under way is lost in the restored state, and tried again by itself.
async fn lost_and_tried_again(story: &Story, task: &str, run: &RunView, state: &Path) -> anyhow::Result<()> {
    let lost = story.wait_until("the loss", async |client| {
        Ok(client.runs("shop").await?.into_iter().find(|found| found.id == run.id && found.state == RunState::Lost))
    });
    lost.await?;
    let again = counting(story, task).await?;
    ensure!(again.id != run.id && again.attempt == 2, "{again:#?}");
    story.log_line(&again.name, "line 3").await?;
    release_in(&state.join("runs"), &again).await?;
    story.task_in(task, TaskState::Done).await.map(drop)
}

#[test]
fn a_backup_that_is_cancelled_leaves_nothing() -> anyhow::Result<()> {
    story("a cancelled backup", Setup::NoRuns, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        for number in 0..12 {
            story.submit(vision(&format!("# Vision {number}\n\n{}", "- a line\n".repeat(100_000)))).await?;
        }
        let mut cancelled = 0;
        for number in 0..10 {
            let backup = story.env().path(&format!("backup-{number}"));
            let directory = path(&backup)?.to_owned();
            let request = UpkeepRequest::Backup { directory, with_secrets: false, without_logs: false };
            story.wire().call(async |orch, context| orch.upkeep_start(context, request).await).await?;
            let other = story.wire().call(async |orch, context| orch.upkeep_start(context, UpkeepRequest::Check).await);
            let other = other.await.err().map(|error| error.code);
            let told = story.wire().call(async |orch, context| orch.upkeep_cancel(context).await).await;
            let over = poll::until("the end of the backup", async || {
                let view = story.wire().call(async |orch, context| orch.upkeep(context, 0, 0).await).await?;
                Ok(view.context("there was one")?.outcome)
            });
            // It may be quicker; then it is whole.
            match over.await? {
                UpkeepOutcome::Cancelled => {
                    cancelled += 1;
                    ensure!(told.is_ok() && other == Some(ErrorCode::Conflict), "{told:?} {other:?}");
                    ensure!(!backup.exists(), "it is there");
                }
                _ => drop(orchd(story.env(), &["verify-backup", path(&backup)?]).await?.ok()?),
            }
        }
        ensure!(cancelled > 0, "none was cancelled");
        let left = std::fs::read_dir(story.env().root())?.flatten().map(|entry| entry.file_name());
        let left: Vec<_> = left.filter(|name| name.to_string_lossy().contains(".partial-")).collect();
        ensure!(left.is_empty() && !story.env().state().join("backup-under-way").exists(), "{left:?}");
        Ok(())
    })
}

#[test]
fn a_backup_is_never_restored_over_anything() -> anyhow::Result<()> {
    story("restore over a state", Setup::NoRuns, async |story| {
        let env_state = story.env().state();
        let backup = story.env().path("backup");
        story.project_create("shop", RepoSource::Empty).await?;
        orchctl(story.env(), &["backup", path(&backup)?]).await?.ok()?;
        story.submit(vision("# After\n\n- FR-1: it is there\n")).await?;
        let live = orchd(story.env(), &["restore", path(&backup)?]).await?;
        refused(&live, ErrorCode::Locked)?;
        story.stop().await?;
        let before = files(&env_state)?;
        refused(&orchd(story.env(), &["restore", path(&backup)?]).await?, ErrorCode::Exists)?;
        ensure!(files(&env_state)? == before, "nothing was touched");
        // What is damaged is refused before anything is made.
        let into = story.env().path("into");
        for (what, damage) in damages(&backup)? {
            let copy = story.env().path("damaged");
            copy_tree(story.env(), &backup, &copy).await?;
            damage(&copy)?;
            let said = orchd(story.env(), &["verify-backup", path(&copy)?]).await?;
            ensure!(said.code != Some(0), "{what} was not found: {said:?}");
            let said = orchd_on(story.env(), &into, &["restore", path(&copy)?]).await?;
            ensure!(said.code != Some(0) && said.stderr.contains("hint"), "{what} was restored: {said:?}");
            ensure!(!into.exists(), "{what}: something was made");
            std::fs::remove_dir_all(&copy)?;
        }
        // Half restored it is no state, and restoring again begins anew.
        std::fs::create_dir(&into)?;
        std::fs::write(into.join("restore-under-way"), "")?;
        std::fs::write(into.join("orch.db"), "half")?;
        let said = output(Daemon::command_on(story.env(), &into)).await?;
        refused(&said, ErrorCode::Storage)?;
        ensure!(said.stderr.contains("half restored"), "{said:?}");
        orchd_on(story.env(), &into, &["restore", path(&backup)?]).await?.ok()?;
        let checked = orchd_on(story.env(), &into, &["check"]).await?.ok()?;
        ensure!(checked.contains("chain whole"), "{checked}");
        story.start().await?;
        ensure!(story.project("shop").await?.vision_version == Some(1), "the live state is as it was");
        Ok(())
    })
}

#[test]
fn a_backup_that_cannot_be_written_says_why_and_leaves_nothing() -> anyhow::Result<()> {
    story("backups refused", Setup::NoRuns, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let env = story.env();
        std::fs::create_dir(env.path("there"))?;
        for (place, code) in [
            (env.path("there"), ErrorCode::Exists),
            (env.state().join("backup"), ErrorCode::Invalid),
            (env.path("missing/backup"), ErrorCode::NotFound),
            (PathBuf::from("/proc/backup"), ErrorCode::NotFound),
        ] {
            let said = orchctl(env, &["backup", path(&place)?]).await?;
            ensure!(said.code != Some(0) && said.stderr.contains("hint"), "{place:?}: {said:?}");
            ensure!(place.starts_with("/proc") || said.stderr.contains(code.as_str()), "{place:?}: {said:?}");
        }
        ensure!(std::fs::read_dir(env.path("there"))?.next().is_none(), "nothing was put there");
        // What a daemon that was killed left is removed by the next one.
        let left = env.path(".backup.partial-x");
        std::fs::create_dir(&left)?;
        std::fs::write(left.join("orch.db"), "half")?;
        std::fs::write(env.state().join("backup-under-way"), path(&left)?)?;
        story.kill9().await?;
        story.start().await?;
        ensure!(!left.exists(), "it is left");
        a_full_disk(story).await
    })
}

/// A backup to a disk on which it does not fit.
async fn a_full_disk(story: &mut Story) -> anyhow::Result<()> {
    const ON_A_SMALL_DISK: &str = r#"mount -t tmpfs -o size=2m,mode=700 tmpfs "$1" && shift && exec "$@""#;
    for number in 0..8 {
        story.submit(vision(&format!("# Vision {number}\n\n{}", "- a line\n".repeat(100_000)))).await?;
    }
    story.stop().await?;
    let disk = story.env().path("disk");
    std::fs::create_dir(&disk)?;
    let on_it = || {
        let mut command = story.env().command("unshare");
        command.arg("--mount");
        if !nix::unistd::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["sh", "-c", ON_A_SMALL_DISK, "sh"]).arg(&disk);
        command
    };
    let mut probe = on_it();
    probe.arg("true");
    let probed = output(probe).await?;
    if probed.code != Some(0) {
        let needed = Requirement::Missing(format!("no disk of its own can be made here: {}", probed.stderr.trim()));
        ensure!(!needed.holds()?, "it is missing");
        return story.start().await;
    }
    let mut command = on_it();
    let daemon = Daemon::command(story.env());
    command.arg(daemon.as_std().get_program()).args(daemon.as_std().get_args());
    story.start_with(command).await?;
    let said = orchctl(story.env(), &["backup", path(&disk.join("backup"))?]).await?;
    refused(&said, ErrorCode::StorageFull)?;
    let seen = PathBuf::from(format!("/proc/{}/root{}", story.daemon_pid()?, disk.display()));
    ensure!(std::fs::read_dir(&seen)?.next().is_none(), "half of it is left");
    // The state itself is on another disk.
    story.submit(vision("# One more\n\n- FR-1: goes on\n")).await?;
    Ok(())
}

#[test]
fn what_is_damaged_is_found_and_what_follows_from_the_rest_is_mended() -> anyhow::Result<()> {
    story("check and repair", Setup::Runs, async |story| {
        let shop = story.project_create("shop", RepoSource::Empty).await?;
        let task = work(story, "Some work").await?;
        story.task_in(&task, TaskState::Done).await?;
        let checked = orchctl(story.env(), &["daemon", "check"]).await?.ok()?;
        ensure!(checked.contains("1 repository checked") && !checked.contains("orphan"), "{checked}");
        let state = story.env().state();
        let nothing = orchd(story.env(), &["repair"]).await?;
        refused(&nothing, ErrorCode::Locked)?;
        let stray = "blobs/sha256/ab/".to_owned() + &"cd".repeat(31);
        for (path, bytes) in [(stray.as_str(), "stray"), ("runs/run-0190aaaa-0000-7000-8000-000000000000/log", "x")] {
            let path = state.join(path);
            std::fs::create_dir_all(path.parent().context("it has a folder")?)?;
            std::fs::write(path, bytes)?;
        }
        let said = orchctl(story.env(), &["daemon", "check"]).await?.ok()?;
        ensure!(said.contains("orphan runs/run-0190aaaa") && !said.contains("orphan blobs"), "it is too young: {said}");
        story.stop().await?;
        let repository = state.join("repos").join(format!("{}.git", shop.id));
        git(story.env(), &repository, &["update-ref", "-d", "refs/orch/runs/R-1"]).await?;
        sql(story.env(), &state.join("orch.db"), "UPDATE tasks SET state = 'proposed'; DELETE FROM runs").await?;
        let said = orchd(story.env(), &["check"]).await?;
        ensure!(said.code == Some(1) && said.stdout.contains("chain whole"), "{said:?}");
        let before = files(&state)?;
        let dry = orchd(story.env(), &["repair"]).await?.ok()?;
        for line in
            ["would make all tables anew", "would set `refs/orch/runs/R-1`", "would put aside `blobs/sha256/ab/"]
        {
            ensure!(dry.contains(line), "{line}: {dry}");
        }
        ensure!(files(&state)? == before, "a dry run changes nothing");
        let mended = orchd(story.env(), &["repair", "--apply"]).await?.ok()?;
        ensure!(mended.contains("what was there before is in"), "{mended}");
        ensure!(!state.join(&stray).exists(), "it was put aside");
        ensure!(files(&state)?.iter().any(|(name, _)| name.starts_with("repair-") && name.ends_with(&stray)), "kept");
        let said = orchd(story.env(), &["check"]).await?.ok()?;
        ensure!(!said.contains("WRONG") && !said.contains("orphan"), "{said}");
        git(story.env(), &repository, &["rev-parse", "--verify", "refs/orch/runs/R-1"]).await?;
        story.start().await?;
        ensure!(story.task(&task).await?.state == TaskState::Done, "as the log says");
        // What follows from nothing else is named, and left.
        let blob = files(&state)?.into_keys().find(|name| name.starts_with("blobs/sha256")).context("there is one")?;
        let whole = std::fs::read(state.join(&blob))?;
        std::fs::write(state.join(&blob), "other")?;
        let said = orchctl(story.env(), &["daemon", "check"]).await?;
        ensure!(said.code == Some(1) && said.stdout.contains("damaged blob"), "{said:?}");
        let backup = story.env().path("backup");
        let said = orchctl(story.env(), &["backup", path(&backup)?]).await?;
        ensure!(said.code == Some(1) && said.stderr.contains("its content is damaged"), "{said:?}");
        orchd(story.env(), &["verify-backup", path(&backup)?]).await?.ok()?;
        std::fs::write(state.join(&blob), whole)?;
        Ok(())
    })
}

/// A task that changes a file of its own and keeps another.
async fn work(story: &Story, title: &str) -> anyhow::Result<String> {
    story.task_create("shop", title, WORK).await
}

fn vision(text: &str) -> Request {
    Request::VisionSubmit { project: "shop".into(), file_name: "v.md".into(), text: Bytes(text.as_bytes().to_vec()) }
}

async fn orchctl_with_value(env: &Env, name: &str, value: &str) -> anyhow::Result<()> {
    let file = env.path("value");
    std::fs::write(&file, value)?;
    orchctl(env, &["secret", "set", name, "--file", path(&file)?]).await?.ok().map(drop)
}

/// Runs `orchd` on the state directory of the story, not as the daemon.
async fn orchd(env: &Env, arguments: &[&str]) -> anyhow::Result<Output> {
    orchd_on(env, &env.state(), arguments).await
}

async fn orchd_on(env: &Env, state: &Path, arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = env.command(env.programs().orchd);
    command.arg("--state-dir").arg(state).args(arguments);
    output(command).await
}

fn refused(said: &Output, code: ErrorCode) -> anyhow::Result<()> {
    let expected = Some(i32::from(code.exit_code()));
    ensure!(said.code == expected && said.stderr.contains(code.as_str()), "{code}: {said:?}");
    ensure!(said.stderr.contains("hint"), "{said:?}");
    Ok(())
}

fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("paths of stories are text")
}

/// Every file below a folder with its content.
fn files(root: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let (mut found, mut open) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                let name = entry.path().strip_prefix(root)?.display().to_string();
                // Says who looked last.
                if !name.ends_with("-shm") && name != "orchd.lock" {
                    found.insert(name, std::fs::read(entry.path())?);
                }
            }
        }
    }
    Ok(found)
}

fn manifest(backup: &Path) -> anyhow::Result<serde_json::Value> {
    Ok(serde_json::from_slice(&std::fs::read(backup.join("manifest.json"))?)?)
}

async fn copy_tree(env: &Env, from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut command = env.command("cp");
    command.arg("-a").arg(from).arg(to);
    output(command).await?.ok().map(drop)
}

type Damage = Box<dyn Fn(&Path) -> anyhow::Result<()>>;

/// Ways to damage a copy of a backup.
fn damages(backup: &Path) -> anyhow::Result<Vec<(&'static str, Damage)>> {
    let object = files(backup)?.into_keys().find(|name| name.contains("/objects/")).context("there is an object")?;
    let lost = object.clone();
    let database = |change: fn(&mut Vec<u8>)| -> Damage {
        Box::new(move |copy| {
            let path = copy.join("orch.db");
            let mut bytes = std::fs::read(&path)?;
            change(&mut bytes);
            Ok(std::fs::write(path, bytes)?)
        })
    };
    let in_manifest = |change: fn(&mut serde_json::Value)| -> Damage {
        Box::new(move |copy| {
            let mut manifest = manifest(copy)?;
            change(&mut manifest);
            Ok(std::fs::write(copy.join("manifest.json"), serde_json::to_vec(&manifest)?)?)
        })
    };
    Ok(vec![
        ("a bit of the database", database(|bytes| bytes[5_000] ^= 1)),
        ("half of the database", database(|bytes| bytes.truncate(bytes.len() / 2))),
        ("an object", Box::new(move |copy| Ok(std::fs::write(copy.join(&object), "other")?))),
        ("an object that is gone", Box::new(move |copy| Ok(std::fs::remove_file(copy.join(&lost))?))),
        ("something else in it", Box::new(|copy| Ok(std::fs::write(copy.join("blobs-of-mine"), "x")?))),
        ("no manifest", Box::new(|copy| Ok(std::fs::remove_file(copy.join("manifest.json"))?))),
        ("a manifest of a newer version", in_manifest(|manifest| manifest["format"] = 99.into())),
        ("a manifest of another state", in_manifest(|manifest| manifest["head_seq"] = 1.into())),
        ("a file that would lie elsewhere", in_manifest(|manifest| manifest["files"][0]["path"] = "../x".into())),
    ])
}
