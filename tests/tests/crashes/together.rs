//! Everything is killed at once, as when the machine loses its power; then the state is all that there is, and the host may
//! be another boot of itself.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use orch_proto::request::RepoSource;
use orch_proto::view::{RunState, RunView, TaskState};
use orch_sandbox::run_dir::{SHIM_FILE, ShimIdentity};
use orch_tests::repository::{commit_all, git};
use orch_tests::{Setup, Story, processes};

use crate::dice::Dice;
use crate::site::kill_all;
use crate::{asked, story};

/// Runs under way, and how often everything is killed, when nobody asks for more.
const LIVE: u64 = 4;
const ROUNDS: u64 = 2;

/// What the kernel calls this boot, and another one. A bind mount over the former would show another one, but where a part
/// of `/proc` is covered no sandbox starts; so what there is says that it is of an earlier boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const EARLIER: &str = "0b5e55ed-0000-4000-8000-0000000000b0";

/// Ends at its second attempt only, so that the first is always under way.
const ENDS_THE_SECOND_TIME: &str = "
steps:
  - run: echo did
  - run: |
      while [ \"$ORCH_ATTEMPT\" = 1 ]; do sleep 0.1; done
      echo 1 >> \"$ORCH_TASK.txt\"
retries: {max_retries: 0}
";

#[test]
fn all_is_done_when_every_process_was_killed_at_once() -> anyhow::Result<()> {
    story("kill -9 of everything", Setup::Runs, async |story| {
        let live = asked("ORCH_CRASH_LIVE", LIVE);
        let mut dice = crate::dice(3);
        story.stop().await?;
        std::fs::write(story.env().path("orchd.toml"), format!("[limits]\nruns_max = {live}\n"))?;
        story.start().await?;
        story.project_create("shop", RepoSource::Empty).await?;
        for _ in 0..asked("ORCH_CRASH_ROUNDS", ROUNDS).min(100) {
            let tasks = begin(story, live).await?;
            kill_in_any_order(story, &mut dice).await?;
            story.start().await?;
            done_after_a_loss(story, &tasks).await?;
        }
        Ok(())
    })
}

/// Boot id, `/tmp` and process ids are others afterwards, and files that nobody had synced may be anything: a process that
/// has the id of a shim is none, and no run begins with a checkout that was prepared in an earlier boot.
#[test]
fn all_is_done_after_another_boot_of_the_host() -> anyhow::Result<()> {
    story("another boot", Setup::Runs, async |story| {
        let source = story.env().path("source");
        std::fs::create_dir(&source)?;
        std::fs::write(source.join("kept"), "as it was\n")?;
        commit_all(story.env(), &source).await?;
        let project = story.project_create("shop", RepoSource::Import { path: source.display().to_string() }).await?;
        let tasks = begin(story, 2).await?;
        let before = story.runs("shop").await?;
        kill_in_any_order(story, &mut crate::dice(4)).await?;
        for name in ["tmp", "run"] {
            orch_sandbox::remove_tree(&story.env().path(name))?;
            std::fs::create_dir(story.env().path(name))?;
        }
        let mut stranger = story.env().command("cat").stdin(std::process::Stdio::piped()).spawn()?;
        let pid = stranger.id().and_then(|pid| i32::try_from(pid).ok()).context("it lives")?;
        for run in &before {
            take_the_name(Path::new(&run.directory), pid)?;
        }
        let spoilt = of_an_earlier_boot(&story.env().state().join("workspaces"))?;
        ensure!(spoilt > 0, "no prepared checkout was there to be spoilt");
        story.start().await?;
        done_after_a_loss(story, &tasks).await?;
        let kept = git(story.env(), Path::new(&project.repository), &["show", "main:kept"]).await?;
        ensure!(kept == "as it was", "a run began with what was left of an earlier boot: {kept}");
        ensure!(processes::lives(pid), "a process was killed that only has the id of a shim");
        stranger.kill().await?;
        Ok(())
    })
}

/// Has everything below a directory be of an earlier boot, and prepared files be something else than they were. How many
/// of these there were.
fn of_an_earlier_boot(directory: &Path) -> anyhow::Result<u32> {
    let now = std::fs::read_to_string(BOOT_ID)?;
    let mut spoilt = 0;
    writable(directory)?;
    for entry in std::fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()? {
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            spoilt += of_an_earlier_boot(&path)?;
        } else if kind.is_file() {
            let text = if entry.file_name() == "kept" {
                spoilt += 1;
                "torn".to_owned()
            } else {
                let Ok(text) = std::fs::read_to_string(&path) else { continue };
                text.replace(now.trim(), EARLIER)
            };
            writable(&path)?;
            std::fs::write(&path, text)?;
        }
        let name = entry.file_name().to_string_lossy().replace(now.trim(), EARLIER);
        std::fs::rename(&path, path.with_file_name(name))?;
    }
    Ok(spoilt)
}

/// A power loss does not ask whether something may be written.
fn writable(path: &Path) -> anyhow::Result<()> {
    let mut permissions = std::fs::metadata(path)?.permissions();
    permissions.set_mode(permissions.mode() | 0o700);
    Ok(std::fs::set_permissions(path, permissions)?)
}

/// Has a process stand in the place of a shim that was killed.
fn take_the_name(directory: &Path, pid: i32) -> anyhow::Result<()> {
    let path = directory.join(SHIM_FILE);
    let mut identity: ShimIdentity = serde_json::from_slice(&std::fs::read(&path)?)?;
    (identity.pid, identity.boot_id) = (pid, EARLIER.to_owned());
    std::fs::write(path, serde_json::to_vec(&identity)?)?;
    Ok(())
}

/// Tasks that are all under way.
async fn begin(story: &Story, count: u64) -> anyhow::Result<Vec<String>> {
    let mut tasks = Vec::new();
    for number in 0..count {
        tasks.push(story.task_create("shop", &format!("Work {number}"), ENDS_THE_SECOND_TIME).await?);
    }
    for task in &tasks {
        story.task_in(task, TaskState::Running).await?;
        let run = story
            .wait_until("a run", async |client| {
                let run = client.task(task).await?.run;
                let runs = client.runs("shop").await?;
                Ok(runs.into_iter().find(|found| Some(found.id) == run && found.state == RunState::Running))
            })
            .await?;
        story.log_line(&run.name, "did").await?;
    }
    Ok(tasks)
}

/// Kills the daemon and everything else of the installation: sometimes the daemon first, sometimes last, and in between.
async fn kill_in_any_order(story: &mut Story, dice: &mut Dice) -> anyhow::Result<()> {
    let mut all = processes::of(story.env().root())?;
    while !all.is_empty() {
        let at = usize::try_from(dice.below(all.len() as u64))?;
        // What lived in what was killed is gone with it.
        drop(processes::kill9(all.swap_remove(at).pid));
    }
    story.ended().await?;
    kill_all(story)
}

/// Each task is done by an attempt after those that were lost, which count for nothing. There may be two of these: a
/// daemon that dies last has seen the others die.
async fn done_after_a_loss(story: &Story, tasks: &[String]) -> anyhow::Result<()> {
    for task in tasks {
        let done = story.task_in(task, TaskState::Done).await?;
        let runs: Vec<RunView> = story.runs("shop").await?.into_iter().filter(|run| run.task == done.id).collect();
        let mut states: Vec<&RunState> = runs.iter().map(|run| &run.state).collect();
        let is_done = states.pop() == Some(&RunState::Succeeded);
        let are_lost = !states.is_empty() && states.iter().all(|state| **state == RunState::Lost);
        ensure!(is_done && are_lost, "{runs:#?}");
        for run in [runs.first(), runs.last()].into_iter().flatten() {
            let said = story.stdout(&run.id.to_string(), 1).await?;
            ensure!(said == b"did\n", "{} did it more than once", run.name);
        }
    }
    let mut completed = BTreeMap::<String, u32>::new();
    for event in story.events().await?.into_iter().filter(|event| event.kind == "task.completed") {
        *completed.entry(event.subject).or_default() += 1;
    }
    ensure!(completed.values().all(|count| *count == 1), "{completed:?}");
    Ok(())
}
