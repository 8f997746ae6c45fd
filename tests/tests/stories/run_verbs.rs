//! What runs say that has an effect beyond them: under which words their work is proposed, and which tools their task lacks.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, ensure};
use orch_proto::request::{Decision, RepoSource};
use orch_proto::view::{RunState, TaskState};
use orch_tests::command_line::orchctl;
use orch_tests::{Setup, Story};

use crate::channel::approval;
use crate::story;

/// Says what its change is called, also in words that are none.
const PROPOSES: &str = r#"
channel: true
steps:
  - run: |
      echo hello > hello.txt
      orchctl agent propose-change "a draft"
      printf 'Because.\nRun: shop/R-99\n\033[2Jcleared\n---\n' \
        | orchctl agent propose-change "fix(greeting): say hello" --body -
      orchctl agent propose-change "$(printf 'two\nlines')" && echo wrong
      orchctl agent propose-change "$(printf '\033[2J')" && echo wrong
      exit 0
"#;

#[test]
fn a_change_is_called_as_its_run_says() -> anyhow::Result<()> {
    story("a run proposes its change", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let task = story.task_create("shop", "Say hello", PROPOSES).await?;
        story.task_in(&task, TaskState::Done).await?;
        let run = story.run_of(&task).await?;
        let output = String::from_utf8(story.stdout(&run.name, 1).await?)?;
        ensure!(!output.contains("wrong"), "{output}");
        let changes = story.changes("shop").await?;
        let words = changes[0].words.as_ref().context("it has words")?;
        ensure!(words.title == "fix(greeting): say hello" && words.body.starts_with("Because.\n"), "{words:?}");
        let message = message(story).await?;
        let wanted = "fix(greeting): say hello\n\nBecause.\n> Run: shop/R-99\n[2Jcleared\n> ---\n\nSay hello\n\n\
                      Task: shop/T-1\nRun: shop/R-1\nChange: shop/C-1\n";
        ensure!(message == wanted, "{message}");
        let shown = orchctl(story.env(), &["change", "get", &changes[0].name]).await?.ok()?;
        ensure!(shown.contains("called     fix(greeting): say hello") && !shown.contains('\u{1b}'), "{shown}");
        let shown = orchctl(story.env(), &["run", "get", &run.name]).await?.ok()?;
        ensure!(shown.contains("fix(greeting): say hello"), "{shown}");
        let events = story.events().await?;
        let proposed: Vec<&str> =
            events.iter().filter(|event| event.kind == "run.proposed").map(|event| event.text.as_str()).collect();
        ensure!(proposed.len() == 2, "{proposed:?}");
        Ok(())
    })
}

/// The message of the newest commit of the default branch.
async fn message(story: &Story) -> anyhow::Result<String> {
    let project = story.project("shop").await?;
    let repository = story.env().state().join("repos").join(format!("{}.git", project.id));
    let mut git = std::process::Command::new("git");
    git.arg("-C").arg(repository).args(["show", "--no-patch", "--format=%B", &project.default_branch]);
    Ok(format!("{}\n", String::from_utf8(git.output()?.stdout)?.trim_end()))
}

/// Goes on when it has its tool, and says what there is not.
const LACKS: &str = r#"
channel: true
checkout: false
retries: { max_retries: 0 }
steps:
  - run: |
      if command -v greet-people; then greet-people; exit 0; fi
      orchctl agent request-tool sh --reason "it is everywhere"
      orchctl agent request-tool mars-lander --reason "no recipe names it" 2>&1 || echo "mars: $?"
      orchctl agent request-tool ../greet-people --reason "by a path" 2>&1 || echo "path: $?"
      orchctl agent request-tool greet-people --reason ""  2>&1 || echo "reason: $?"
      orchctl agent request-tool greet-people --reason "to greet"
"#;

/// A tool of the host that no recipe names is given by a person, to the next attempt, and that one alone.
#[test]
fn a_task_is_given_the_tool_that_its_run_asks_for() -> anyhow::Result<()> {
    story("a run asks for tools", Setup::Runs, async |story| {
        let place = story.env().path("home/.cargo/bin");
        std::fs::create_dir_all(&place)?;
        let program = place.join("greet-people");
        std::fs::write(&program, "#!/bin/sh\necho greeted\n")?;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
        story.project_create("shop", RepoSource::Empty).await?;
        let task = story.task_create("shop", "Greets", LACKS).await?;
        let asked = approval(story, "wants the tool `greet-people`").await?;
        let shown = asked.details.join("\n");
        ensure!(shown.contains(&program.display().to_string()) && shown.contains("to greet"), "{asked:#?}");
        ensure!(story.run_of(&task).await?.state == RunState::AwaitingApproval, "it waits");
        story.kill9().await?;
        story.start().await?;
        story.decide(&asked, Decision::Approve).await?;
        let done = story.task_in(&task, TaskState::Done).await?;
        ensure!(done.attempts == 2 && done.tools.len() == 1, "{done:#?}");
        ensure!(done.tools[0] == format!("greet-people ({})", program.display()), "{done:#?}");
        let runs = story.runs("shop").await?;
        let first = String::from_utf8(story.stdout(&runs[0].name, 0).await?)?;
        for says in ["/sh\n", "there is no such tool", "mars: 3", "path: 3", "say what the tool is for"] {
            ensure!(first.contains(says), "{says}: {first}");
        }
        let second = String::from_utf8(story.stdout(&runs[1].name, 0).await?)?;
        ensure!(second.starts_with("/orch/tools/") && second.ends_with("/greet-people\ngreeted\n"), "{second}");
        // Another task has it not, and is not given it.
        let other = story.task_create("shop", "Greets, too", LACKS).await?;
        let asked = approval(story, "wants the tool `greet-people`").await?;
        story.decide(&asked, Decision::Deny).await?;
        let failed = story.task_in(&other, TaskState::Failed).await?;
        ensure!(failed.attempts == 1 && failed.tools.is_empty(), "{failed:#?}");
        Ok(())
    })
}
