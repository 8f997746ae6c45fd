//! The merge queue: changes that were made side by side merge one after the other, each checked on the tree that is
//! merged; what does not fit is done again or refused, and says why.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use orch_proto::request::{Decision, RepoSource};
use orch_proto::view::{ChangeState, ChangeView, ProjectView, RunPurpose, RunState, RunView, TaskState};
use orch_tests::client::short;
use orch_tests::repository::{commit_all, git};
use orch_tests::{Setup, Story};

use crate::kills::{counting, release, shim_pid, write_inside};
use crate::{approvals, story};

/// The gate of the stories: says what it sees, allows ten in all, and takes its time where a part is named `slow`.
const GATE: &str = r#"
import pathlib, time, unittest

class Parts(unittest.TestCase):
    def test_sum(self):
        parts = sorted(pathlib.Path("parts").iterdir())
        print("parts:", *(part.name for part in parts), flush=True)
        while pathlib.Path("parts/slow").exists() and not pathlib.Path("go-gate").exists():
            time.sleep(0.02)
        self.assertLessEqual(sum(int(part.read_text()) for part in parts), 10)
"#;

#[test]
fn changes_merge_one_after_the_other_each_checked_as_it_is_merged() -> anyhow::Result<()> {
    story("three changes", Setup::Runs, async |story| {
        let project = parts_project(story).await?;
        let tasks = side_by_side(story, &["echo 1 > parts/a", "echo 2 > parts/b", "echo 3 > parts/c"]).await?;
        for task in &tasks {
            let done = story.task_in(task, TaskState::Done).await?;
            ensure!(done.attempts == 1, "{done:#?}");
        }
        let bare = PathBuf::from(&project.repository);
        let changes = story.changes("shop").await?;
        ensure!(changes.len() == 3, "{changes:#?}");
        let mut merged = Vec::new();
        for change in &changes {
            let ChangeState::Merged { commit } = &change.state else { anyhow::bail!("{change:#?}") };
            ensure!(change.base == project.head, "they were made side by side: {change:#?}");
            let gates = gates(story, change).await?;
            ensure!(gates.iter().all(|gate| gate.state == RunState::Succeeded), "{gates:#?}");
            let seen = parts_seen(story, gates.last().context("it was checked")?).await?;
            let there = git(story.env(), &bare, &["ls-tree", "--name-only", &format!("{commit}:parts")]).await?;
            ensure!(seen == there.split_whitespace().collect::<Vec<_>>().join(" "), "{seen} is not {there}");
            merged.push(commit.clone());
        }
        // One commit of each, one on top of the other.
        let log = git(story.env(), &bare, &["log", "--format=%H %P", "main"]).await?;
        ensure!(log.lines().count() == 4 && log.lines().take(3).all(|line| line.split(' ').count() == 2), "{log}");
        ensure!(merged.iter().all(|commit| log.lines().any(|line| line.starts_with(commit))), "{merged:?}\n{log}");
        Ok(())
    })
}

#[test]
fn a_change_that_conflicts_is_made_again_on_the_new_base() -> anyhow::Result<()> {
    story("a conflict", Setup::Runs, async |story| {
        let project = parts_project(story).await?;
        let tasks = side_by_side(story, &["echo $ORCH_TASK >> shared.txt"; 2]).await?;
        let mut attempts = Vec::new();
        for task in &tasks {
            attempts.push(story.task_in(task, TaskState::Done).await?.attempts);
        }
        // Their recipe allows no retry: that somebody else was faster is not counted as a failure.
        attempts.sort_unstable();
        ensure!(attempts == [1, 2], "{attempts:?}");
        let changes = story.changes("shop").await?;
        let conflicted = ChangeState::Conflicted { paths: vec!["shared.txt".to_owned()] };
        let mut given_up = changes.iter().filter(|change| change.state == conflicted);
        let (first, none) = (given_up.next().context("one conflicted")?, given_up.next());
        ensure!(changes.len() == 3 && none.is_none(), "{changes:#?}");
        let events = story.events().await?;
        let retried = events.iter().find(|event| event.kind == "task.retry_scheduled").context("it was tried again")?;
        let why = format!("{} conflicts with the branch in shared.txt", short(&first.name));
        ensure!(format!("{retried:?}").contains(&why), "{retried:#?} does not say: {why}");
        let bare = Path::new(&project.repository);
        let shared = git(story.env(), bare, &["show", "main:shared.txt"]).await?;
        let mut lines: Vec<&str> = shared.lines().collect();
        ensure!(lines.last() == Some(&short(&first.task_name)), "it came second: {shared}");
        lines.sort_unstable();
        ensure!(lines == tasks.iter().map(|task| short(task)).collect::<Vec<_>>(), "{shared}");
        Ok(())
    })
}

#[test]
fn what_is_right_alone_and_wrong_together_is_not_merged() -> anyhow::Result<()> {
    story("wrong together", Setup::Runs, async |story| {
        let project = parts_project(story).await?;
        let tasks = side_by_side(story, &["echo 6 > parts/a", "echo 6 > parts/b"]).await?;
        let mut ends = Vec::new();
        for task in &tasks {
            let over = story.wait_until("the end of a task", async |client| {
                let task = client.task(task).await?;
                Ok(matches!(task.state, TaskState::Done | TaskState::Failed).then_some(task))
            });
            ends.push(over.await?);
        }
        let (done, failed): (Vec<_>, Vec<_>) = ends.into_iter().partition(|task| task.state == TaskState::Done);
        ensure!(done.len() == 1 && failed.len() == 1, "{done:#?} {failed:#?}");
        let changes = story.changes("shop").await?;
        let of = |task: Option<_>| changes.iter().find(|change| Some(change.id) == task);
        let refused = of(failed[0].change).context("its change")?;
        let gate = gates(story, refused).await?.pop().context("it was checked")?;
        let why = failed[0].last_failure.clone().unwrap_or_default();
        ensure!(why.contains(&format!("gates {}", short(&gate.name))), "{why}");
        ensure!(matches!(&refused.state, ChangeState::ChangesRequested { reason } if *reason == why), "{refused:#?}");
        ensure!(failed[0].run_name.as_deref() == Some(short(&gate.name)), "its output is named: {:#?}", failed[0]);
        ensure!(parts_seen(story, &gate).await? == "a b begin", "it was checked with the other: {gate:#?}");
        let tip = done[0].commit.clone().context("the other was merged")?;
        let head = git(story.env(), Path::new(&project.repository), &["rev-parse", "main"]).await?;
        ensure!(head == tip, "{head} is the branch, {tip} was merged");
        Ok(())
    })
}

#[test]
fn a_push_during_the_check_has_the_change_checked_again() -> anyhow::Result<()> {
    story("a push during the check", Setup::Runs, async |story| {
        let project = parts_project(story).await?;
        let task = story.task_create("shop", "Slow", &held("echo 1 > parts/slow")).await?;
        release(&counting(story, &task).await?, story).await?;
        release_gate(&gate_number(story, 1).await?).await?;
        let first = story.task_in(&task, TaskState::Done).await?;
        // From here on the branch has a slow gate.
        let task = story.task_create("shop", "More", &held("echo 1 > parts/more")).await?;
        release(&counting(story, &task).await?, story).await?;
        let before = gate_number(story, 2).await?;
        let pushed = push(story, &project).await?;
        release_gate(&before).await?;
        let again = gate_number(story, 3).await?;
        release_gate(&again).await?;
        let done = story.task_in(&task, TaskState::Done).await?;
        ensure!(parts_seen(story, &before).await? == "begin more slow", "what was checked first");
        ensure!(parts_seen(story, &again).await? == "begin more pushed slow", "what was checked again");
        ensure!(done.attempts == 1, "the work is not done again: {done:#?}");
        on_top_of_each_other(story, &project, &[first.commit, Some(pushed), done.commit]).await?;
        Ok(())
    })
}

#[test]
fn a_push_before_the_approval_has_the_change_checked_again() -> anyhow::Result<()> {
    story("a push before the approval", Setup::Runs, async |story| {
        let project = parts_project(story).await?;
        let task = story.task_create("shop", "Workflow", approvals::PROTECTED).await?;
        let approval = approvals::asked(story).await?;
        let checked = story.wait_until("its check", async |client| {
            let changes = client.changes("shop").await?;
            Ok(changes.into_iter().find(|change| change.state == ChangeState::Mergeable))
        });
        let change = checked.await?;
        let pushed = push(story, &project).await?;
        story.decide(&approval, Decision::Approve).await?;
        let done = story.task_in(&task, TaskState::Done).await?;
        let gates = gates(story, &change).await?;
        let mut seen = Vec::new();
        for gate in &gates {
            seen.push(parts_seen(story, gate).await?);
        }
        ensure!(seen == ["begin", "begin pushed"], "{seen:?}");
        on_top_of_each_other(story, &project, &[project.head.clone(), Some(pushed), done.commit]).await?;
        Ok(())
    })
}

/// A project with a gate, imported from a repository of a person.
pub(crate) async fn parts_project(story: &Story) -> anyhow::Result<ProjectView> {
    let source = story.env().path("source");
    std::fs::create_dir_all(source.join("tests"))?;
    std::fs::create_dir(source.join("parts"))?;
    std::fs::write(source.join("tests/test_parts.py"), GATE)?;
    std::fs::write(source.join("parts/begin"), "0\n")?;
    commit_all(story.env(), &source).await?;
    let project = story.project_create("shop", RepoSource::Import { path: source.display().to_string() }).await?;
    ensure!(project.gates.iter().any(|gate| gate.contains("unittest")), "{project:#?}");
    Ok(project)
}

/// A recipe that does something once it is let, at its first attempt.
pub(crate) fn held(command: &str) -> String {
    format!(
        "
steps:
  - name: work
    run: |
      while [ \"$ORCH_ATTEMPT\" = 1 ] && [ ! -e \"go-$ORCH_TASK\" ]; do sleep 0.02; done
      rm -f \"go-$ORCH_TASK\"
      {command}
retries:
  max_retries: 0
"
    )
}

/// Tasks that were all begun before one of them ended.
async fn side_by_side(story: &Story, commands: &[&str]) -> anyhow::Result<Vec<String>> {
    let (mut tasks, mut runs) = (Vec::new(), Vec::new());
    for (at, command) in commands.iter().enumerate() {
        tasks.push(story.task_create("shop", &format!("Part {at}"), &held(command)).await?);
    }
    for task in &tasks {
        runs.push(counting(story, task).await?);
    }
    for run in &runs {
        release(run, story).await?;
    }
    Ok(tasks)
}

/// The runs of a change's gates, oldest first.
async fn gates(story: &Story, change: &ChangeView) -> anyhow::Result<Vec<RunView>> {
    let mut runs = story.runs("shop").await?;
    runs.retain(|run| run.purpose == RunPurpose::Gate { change: change.id });
    Ok(runs)
}

/// The parts that a gate has seen.
async fn parts_seen(story: &Story, gate: &RunView) -> anyhow::Result<String> {
    let text = String::from_utf8(story.stdout(&gate.name, 2).await?)?;
    let line = text.lines().find_map(|line| line.strip_prefix("parts: "));
    Ok(line.with_context(|| format!("{} says: {text}", gate.name))?.to_owned())
}

/// The gate run with this number among all, once it looks at the parts.
pub(crate) async fn gate_number(story: &Story, number: usize) -> anyhow::Result<RunView> {
    let gate = story
        .wait_until("a gate", async |client| {
            let runs = client.runs("shop").await?;
            let mut gates = runs.into_iter().filter(|run| run.purpose != RunPurpose::Work);
            Ok(gates.nth(number - 1).filter(|gate| gate.state == RunState::Running))
        })
        .await?;
    story.log_begins(&gate.name, "parts: ").await?;
    Ok(gate)
}

async fn release_gate(gate: &RunView) -> anyhow::Result<()> {
    write_inside(shim_pid(gate)?, "go-gate").await.context("failed to release a gate")
}

/// A person pushes to the branch. Gives the commit.
async fn push(story: &Story, project: &ProjectView) -> anyhow::Result<String> {
    let clone = story.env().path("clone");
    let target = clone.to_str().context("a path of text")?;
    git(story.env(), story.env().root(), &["clone", "--quiet", &project.repository, target]).await?;
    std::fs::write(clone.join("parts/pushed"), "1\n")?;
    git(story.env(), &clone, &["add", "parts/pushed"]).await?;
    git(story.env(), &clone, &["commit", "--quiet", "--message", "pushed"]).await?;
    git(story.env(), &clone, &["push", "--quiet", "origin", "HEAD:main"]).await?;
    git(story.env(), &clone, &["rev-parse", "HEAD"]).await
}

/// The branch ends with these commits, oldest first.
async fn on_top_of_each_other(story: &Story, project: &ProjectView, wanted: &[Option<String>]) -> anyhow::Result<()> {
    let wanted: Vec<String> = wanted.iter().rev().cloned().collect::<Option<_>>().context("all have a commit")?;
    let log = git(story.env(), Path::new(&project.repository), &["log", "--format=%H", "main"]).await?;
    ensure!(log.lines().take(wanted.len()).eq(wanted.iter()), "{wanted:#?} is not\n{log}");
    Ok(())
}
