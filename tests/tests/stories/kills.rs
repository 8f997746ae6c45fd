//! Processes are killed the hard way in the middle of the work, and the work is done once all the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use orch_proto::request::RepoSource;
use orch_proto::view::{RunState, RunView, TaskState};
use orch_tests::{Setup, Story, poll, processes};

use crate::story;
use crate::terms::allow_none;

/// Prints numbered lines until a file appears in its workspace, then some more. No user's retry is allowed.
pub(crate) const COUNTS: &str = "
steps:
  - name: count
    run: |
      i=0
      while [ ! -e \"go-$ORCH_TASK\" ]; do
        i=$((i + 1)); echo \"line $i\"; sleep 0.05
      done
      for last in 1 2 3 4 5; do i=$((i + 1)); echo \"line $i\"; done
      echo \"lines: $i\"
  - name: another
    run: echo after
retries:
  max_retries: 0
";

#[test]
fn runs_go_on_when_the_daemon_is_killed() -> anyhow::Result<()> {
    story("kill -9 of the daemon", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let tasks = [
            story.task_create("shop", "Count one", COUNTS).await?,
            story.task_create("shop", "Count two", COUNTS).await?,
        ];
        for task in &tasks {
            story.log_line(&counting(story, task).await?.name, "line 5").await?;
        }
        story.kill9().await?;
        // Written while no daemon is there.
        for run in logs_now(story)? {
            orch_tests::poll::until("a line without a daemon", async || Ok(grown(&run).then_some(()))).await?;
        }
        story.start().await?;
        for task in &tasks {
            let run = counting(story, task).await?;
            ensure!(run.state == RunState::Running && run.attempt == 1, "it was not taken up again: {run:#?}");
            release(&run, story).await?;
        }
        for task in &tasks {
            let done = story.task_in(task, TaskState::Done).await?;
            ensure!(done.attempts == 1 && done.last_failure.is_none(), "{done:#?}");
            let run = done.run_name.context("it has run")?;
            every_line_once(story, &run).await?;
        }
        let mut ends = BTreeMap::new();
        for event in story.events().await?.into_iter().filter(|event| event.kind == "run.ended") {
            *ends.entry(event.subject).or_insert(0) += 1;
        }
        let runs = story.runs("shop").await?;
        ensure!(runs.len() == 2 && ends.len() == 2 && ends.values().all(|count| *count == 1), "{ends:?} {runs:#?}");
        Ok(())
    })
}

#[test]
fn a_run_whose_shim_is_killed_is_lost_and_tried_again() -> anyhow::Result<()> {
    story("kill -9 of a shim", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let task = story.task_create("shop", "Count", COUNTS).await?;
        let first = counting(story, &task).await?;
        story.log_line(&first.name, "line 3").await?;
        processes::kill9(shim_pid(&first)?)?;
        tried_again(story, &task, &first).await
    })
}

/// What is in the way of its record also keeps it from leaving one.
#[test]
fn a_run_that_cannot_be_looked_at_is_not_begun_again_while_it_lives() -> anyhow::Result<()> {
    story("a run that cannot be looked at", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let task = story.task_create("shop", "Count", COUNTS).await?;
        let first = counting(story, &task).await?;
        std::fs::create_dir(Path::new(&first.directory).join("exit.json"))?;
        // Longer than one that is dead is looked for.
        story.log_line(&first.name, "line 300").await?;
        let runs = story.runs("shop").await?;
        ensure!(runs.len() == 1 && runs[0].state == RunState::Running, "it lives: {runs:#?}");
        release(&first, story).await?;
        let second = story.wait_until("another attempt", async |client| {
            Ok(client.runs("shop").await?.into_iter().find(|run| run.attempt == 2 && run.state == RunState::Running))
        });
        let second = second.await?;
        release(&second, story).await?;
        let done = story.task_in(&task, TaskState::Done).await?;
        ensure!(done.attempts == 2, "{done:#?}");
        let first = story.runs("shop").await?.into_iter().find(|run| run.attempt == 1).context("it was")?;
        ensure!(first.state == RunState::Lost, "what it did is not known: {first:#?}");
        Ok(())
    })
}

#[test]
fn a_killed_spawner_is_replaced_and_runs_do_not_notice() -> anyhow::Result<()> {
    story("kill -9 of the spawner", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let mut runs = Vec::new();
        for title in ["Count one", "Count two"] {
            let task = story.task_create("shop", title, COUNTS).await?;
            runs.push((counting(story, &task).await?, task));
        }
        for (run, _) in &runs {
            story.log_line(&run.name, "line 3").await?;
        }
        let daemon = story.daemon_pid()?;
        let spawner = processes::children(daemon)?.into_iter().find(|child| child.command.contains(" serve "));
        let spawner = spawner.context("the daemon has a spawner")?;
        processes::kill9(spawner.pid)?;
        let next = story.task_create("shop", "Next", "steps: [echo next]").await?;
        story.task_in(&next, TaskState::Done).await?;
        for (run, task) in &runs {
            let same = story.task(task).await?;
            ensure!((same.state, same.attempts) == (TaskState::Running, 1), "{same:#?}");
            release(run, story).await?;
            let done = story.task_in(task, TaskState::Done).await?;
            ensure!(done.attempts == 1, "{done:#?}");
            every_line_once(story, &run.name).await?;
        }
        Ok(())
    })
}

#[test]
fn a_run_whose_init_is_killed_is_over_and_tried_again() -> anyhow::Result<()> {
    story("kill -9 of an init", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let task = story.task_create("shop", "Count", COUNTS).await?;
        let first = counting(story, &task).await?;
        story.log_line(&first.name, "line 3").await?;
        let shim = shim_pid(&first)?;
        let init = processes::children(shim)?.pop().context("the shim has a child")?;
        processes::kill9(init.pid)?;
        tried_again(story, &task, &first).await?;
        ensure!(processes::children(shim)?.is_empty(), "its shim ended too");
        Ok(())
    })
}

#[test]
fn a_run_is_tried_again_when_daemon_and_shim_are_killed() -> anyhow::Result<()> {
    story("kill -9 of daemon and shim", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let task = story.task_create("shop", "Count", COUNTS).await?;
        let first = counting(story, &task).await?;
        story.log_line(&first.name, "line 3").await?;
        let shim = shim_pid(&first)?;
        story.kill9().await?;
        processes::kill9(shim)?;
        story.start().await?;
        tried_again(story, &task, &first).await
    })
}

/// Leaves a process in a session of its own and stays; done again, it fails when that process lives: one that is dead may wait
/// for a while to be collected by whoever it came to.
fn leaving(place: &Path) -> String {
    let place = place.display();
    format!(
        "
checkout: false
isolation: none
steps:
  - name: leave
    run: |
      cd '{place}'
      if mkdir first; then
        (setsid sh -c 'echo $$ > left; mv left pid; exec sleep 1000' &)
        exec sleep 1000
      fi
      ! grep -q '^State:[[:space:]]*[RSDTtI]' \"/proc/$(cat pid)/status\"
retries:
  max_retries: 0
"
    )
}

/// The process that the first attempt has left.
async fn left_behind(place: &Path) -> anyhow::Result<i32> {
    let file = place.join("pid");
    let text = poll::until("a process is left", async || Ok(std::fs::read_to_string(&file).ok())).await?;
    text.trim().parse().context("its number")
}

#[test]
fn nothing_is_left_of_a_run_without_isolation_whose_shim_is_killed() -> anyhow::Result<()> {
    story("kill -9 of a shim without isolation", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        allow_none(story, true).await?;
        for is_daemon_killed in [false, true] {
            let place = story.env().path(&format!("left-{is_daemon_killed}"));
            std::fs::create_dir(&place)?;
            let task = story.task_create("shop", &format!("Leave {is_daemon_killed}"), &leaving(&place)).await?;
            let first = counting(story, &task).await?;
            let left = left_behind(&place).await?;
            let shim = shim_pid(&first)?;
            if is_daemon_killed {
                // And with it the spawner, to which orphans would have come.
                story.kill9().await?;
                processes::kill9(shim)?;
                story.start().await?;
            } else {
                processes::kill9(shim)?;
            }
            let done = story.task_in(&task, TaskState::Done).await?;
            ensure!(done.attempts == 2 && !processes::lives(left), "{done:#?}");
            let lost = story.runs("shop").await?.into_iter().find(|run| run.id == first.id).context("it was")?;
            ensure!(lost.state == RunState::Lost, "{lost:#?}");
        }
        Ok(())
    })
}

/// A run was lost: another one does the work, once, and it costs the user no retry.
async fn tried_again(story: &Story, task: &str, first: &RunView) -> anyhow::Result<()> {
    let second = story
        .wait_until("a second run", async |client| {
            let run = client.runs("shop").await?.into_iter().find(|run| run.id != first.id);
            Ok(run.filter(|run| run.state == RunState::Running))
        })
        .await?;
    let waiting = story.task(task).await?;
    ensure!(waiting.last_failure.as_deref().is_some_and(|why| why.contains("lost")), "{waiting:#?}");
    ensure!(second.fence > first.fence, "a later attempt has a later fence");
    story.log_line(&second.name, "line 1").await?;
    release(&second, story).await?;
    // Its recipe allows no retry: that it is done shows that the loss was not counted as one.
    let done = story.task_in(task, TaskState::Done).await?;
    ensure!(done.attempts == 2, "{done:#?}");
    let runs = story.runs("shop").await?;
    let states: Vec<&RunState> = runs.iter().map(|run| &run.state).collect();
    ensure!(states == [&RunState::Lost, &RunState::Succeeded], "{runs:#?}");
    ensure!(story.changes("shop").await?.len() == 1, "one change of one task");
    Ok(())
}

/// The run of a task, once it runs.
pub(crate) async fn counting(story: &Story, task: &str) -> anyhow::Result<RunView> {
    story
        .wait_until("a run", async |client| {
            let runs = client.runs("shop").await?;
            let of_task = |run: &RunView| task.strip_prefix("shop/") == Some(&run.task_name);
            Ok(runs.into_iter().find(|run| of_task(run) && run.state == RunState::Running))
        })
        .await
}

/// Makes the file for which the steps of a run wait.
pub(crate) async fn release(run: &RunView, story: &Story) -> anyhow::Result<()> {
    release_in(&story.env().state().join("runs"), run).await
}

/// The same where the directories of runs are elsewhere.
pub(crate) async fn release_in(runs: &Path, run: &RunView) -> anyhow::Result<()> {
    let shim = shim_in(&runs.join(run.id.to_string()))?;
    write_inside(shim, &format!("go-{}", run.task_name)).await.context("failed to release a run")
}

/// Writes a file into the workspace as the processes of a run see it: on the host it is in several directories.
///
/// A run that is called running may not have executed its command yet, and until then nothing of it lets anybody look.
pub(crate) async fn write_inside(shim: i32, name: &str) -> anyhow::Result<()> {
    poll::until("a process of the run that can be looked into", async || {
        // Init of a run lets nobody look, what has ended is not there any more, and the root of the shim is the host's.
        let tree = processes::tree(shim)?;
        let mut inside = tree.iter().rev().filter(|process| process.pid != shim).map(|process| process.pid);
        Ok(inside.find_map(|pid| std::fs::write(format!("/proc/{pid}/root/work/{name}"), "go\n").ok()))
    })
    .await
}

/// The process id of a run's shim.
pub(crate) fn shim_pid(run: &RunView) -> anyhow::Result<i32> {
    shim_in(Path::new(&run.directory))
}

fn shim_in(directory: &Path) -> anyhow::Result<i32> {
    let identity = std::fs::read(directory.join(orch_sandbox::run_dir::SHIM_FILE))?;
    let identity: orch_sandbox::run_dir::ShimIdentity = serde_json::from_slice(&identity)?;
    Ok(identity.pid)
}

/// A log file and its size at some moment.
struct Log {
    path: PathBuf,
    size: u64,
}

/// The logs of all runs as they are now.
fn logs_now(story: &Story) -> anyhow::Result<Vec<Log>> {
    let mut logs = Vec::new();
    for entry in std::fs::read_dir(story.env().state().join("runs"))? {
        let path = orch_sandbox::run_dir::log_path(&entry?.path());
        logs.push(Log { size: path.metadata()?.len(), path });
    }
    Ok(logs)
}

fn grown(log: &Log) -> bool {
    log.path.metadata().is_ok_and(|now| now.len() > log.size)
}

/// The lines of [`COUNTS`] are all in the log of a run, in order and once.
async fn every_line_once(story: &Story, run: &str) -> anyhow::Result<()> {
    let text = String::from_utf8(story.stdout(run, 1).await?)?;
    let count: usize = text.lines().find_map(|line| line.strip_prefix("lines: ")).context("no last line")?.parse()?;
    let numbered = (1..=count).map(|number| format!("line {number}\n"));
    let expected: String = numbered.chain([format!("lines: {count}\n")]).collect();
    ensure!(text == expected, "{run} has not every line once:\n{text}");
    let after = story.stdout(run, 2).await?;
    ensure!(after == b"after\n", "the step after it has written {after:?}");
    Ok(())
}
