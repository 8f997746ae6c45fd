//! The terminal program in a real pseudo-terminal, against a real daemon: what a person sees and answers.

use anyhow::ensure;
use orch_proto::request::RepoSource;
use orch_proto::view::TaskState;
use orch_tests::Setup;
use orch_tests::terminal::Terminal;

use crate::agents::hand_in;
use crate::kills::{COUNTS, counting, release};
use crate::{approvals, story};

#[test]
fn a_person_sees_a_task_move_follows_its_log_and_approves() -> anyhow::Result<()> {
    story("the terminal program", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let mut terminal = Terminal::start(story.env(), story.env().programs().tui)?;
        terminal.wait_for("orchd ok").await?;
        let task = story.task_create("shop", "Count", COUNTS).await?;
        terminal.wait_for("IN PROGRESS 1").await?;
        // Its log comes by as it is written.
        terminal.wait_for("line 7").await?;
        release(&counting(story, &task).await?, story).await?;
        story.task_in(&task, TaskState::Done).await?;
        terminal.wait_for("DONE 1").await?;
        let workflow = story.task_create("shop", "Workflow", approvals::PROTECTED).await?;
        terminal.wait_for("Inbox(1)").await?;
        terminal.press("a")?;
        terminal.wait_for("dossier shop/A-1").await?;
        terminal.press("A")?;
        terminal.wait_for("y approve").await?;
        ensure!(story.task(&workflow).await?.state == TaskState::InReview, "not before it is answered");
        terminal.press("y")?;
        terminal.wait_for("approved shop/A-1").await?;
        story.task_in(&workflow, TaskState::Done).await?;
        // Back to the board, and out.
        terminal.press("q")?;
        terminal.wait_for("DONE 2").await?;
        terminal.press("q")?;
        ensure!(terminal.ended().await? == 0, "it ends well");
        Ok(())
    })
}

/// Nobody works at the task: its next attempt is told, and the terminal says so.
#[test]
fn a_person_says_something_to_a_task_and_reads_its_thread() -> anyhow::Result<()> {
    story("a message in the terminal", Setup::NoRuns, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let task = hand_in(story, "Say hello").await?;
        let mut terminal = Terminal::start(story.env(), story.env().programs().tui)?;
        terminal.wait_for(">T-1").await?;
        terminal.press("\r")?;
        terminal.wait_for("nothing so far").await?;
        terminal.press("M")?;
        terminal.wait_for("nothing to say yet").await?;
        terminal.press("in lower case,\nplease")?;
        terminal.wait_for("please").await?;
        terminal.press("\r")?;
        terminal.wait_for("said to shop/T-1; the next attempt is told").await?;
        terminal.wait_for("told with each attempt after it").await?;
        let said = story.task(&task).await?.messages;
        ensure!(said.len() == 1 && said[0].text == "in lower case,\nplease", "{said:#?}");
        terminal.press("\x1b")?;
        terminal.wait_for("APPROVED 1").await?;
        terminal.press("q")?;
        ensure!(terminal.ended().await? == 0, "it ends well");
        Ok(())
    })
}
