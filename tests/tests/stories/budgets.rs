//! Budgets: what is used up waits for a person, is told of, and goes on at once when there is more.

use anyhow::{Context as _, ensure};
use orch_proto::request::RepoSource;
use orch_proto::view::{ApprovalState, ApprovalView, Choice, RunState, TaskState};
use orch_tests::command_line::orchctl;
use orch_tests::{Setup, Story};

use crate::kills::release;
use crate::story;

/// Goes on until it is let go.
const WAITS: &str = "steps: ['echo ready; while ! [ -e go-$ORCH_TASK ]; do sleep 0.05; done']";
/// Its first attempt does not end by itself.
const LONG: &str = "steps: ['if [ $ORCH_ATTEMPT = 1 ]; then mkfifo never; cat never; fi']\nretries: {max_retries: 0}\n";

async fn budget(story: &Story, words: &[&str]) -> anyhow::Result<String> {
    let words = [&["project", "budget", "shop"], words].concat();
    orchctl(story.env(), &words).await?.ok()
}

async fn why(story: &Story, task: &str) -> anyhow::Result<String> {
    orchctl(story.env(), &["task", "why", task]).await?.ok()
}

/// The question that waits.
async fn asked(story: &Story) -> anyhow::Result<ApprovalView> {
    let waits = story.wait_until("a question", async |client| {
        Ok(client.approvals("shop").await?.into_iter().find(|asked| asked.state == ApprovalState::Pending))
    });
    waits.await
}

#[test]
fn a_budget_that_is_used_up_waits_for_a_person_and_is_not_forgotten_by_a_crash() -> anyhow::Result<()> {
    story("a budget", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        budget(story, &["--run-minutes", "0.02", "--per", "total"]).await?;
        let first = story.hand_in("First", WAITS, &[]).await?;
        let question = asked(story).await?;
        ensure!(question.subject == "shop" && question.choices == [Choice::Raise, Choice::Leave], "{question:#?}");
        ensure!(question.action.contains("1.2 seconds in all"), "{}", question.action);
        story.event("project.budget_low", 0).await?;
        let run = story.run_of(&first).await?;
        ensure!(run.state == RunState::Running, "what is under way goes on: {run:#?}");
        let second = story.hand_in("Second", "steps: ['true']", &[]).await?;
        let reason = why(story, &second).await?;
        ensure!(reason.contains("budget of shop: ") && reason.contains("of 1.2 seconds in all used"), "{reason}");
        let status = orchctl(story.env(), &["status"]).await?.ok()?;
        ensure!(status.contains("the budget of shop is used up"), "{status}");
        story.kill9().await?;
        story.start().await?;
        release(&run, story).await?;
        story.task_in(&first, TaskState::Done).await?;
        let waiting = story.approvals_pending("shop").await?;
        ensure!(waiting.len() == 1 && waiting[0].id == question.id, "asked once: {waiting:#?}");
        ensure!(story.task(&second).await?.state == TaskState::Approved, "it waits");
        let used = story.project("shop").await?.budgets.first().context("it has one")?.used;
        ensure!(used >= 1_200, "what ran is counted: {used}");
        // However long that took, in the end there is enough, and it goes on at once.
        let done = story.wait_until("the end of the second", async |client| {
            for asked in client.approvals_pending("shop").await? {
                orchctl(story.env(), &["approval", "answer", &asked.name, "raise"]).await.ok();
            }
            let second = client.task(&second).await?;
            Ok((second.state == TaskState::Done).then_some(second))
        });
        ensure!(done.await?.attempts == 1, "it was tried once");
        let shown = orchctl(story.env(), &["project", "get", "shop"]).await?.ok()?;
        ensure!(shown.contains("budget        ") && shown.contains("seconds in all"), "{shown}");
        let said = orchctl(story.env(), &["audit", "list", "--project", "shop"]).await?.ok()?;
        for words in ["runs may use 1.2 seconds in all", "is nearly used up", "a person is asked", "chose raise"] {
            ensure!(said.contains(words), "{words} is not in {said}");
        }
        Ok(())
    })
}

#[test]
fn a_hard_budget_ends_runs_and_more_of_it_begins_them_again() -> anyhow::Result<()> {
    story("a hard budget", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        budget(story, &["--run-minutes", "0.01", "--per", "day", "--hard"]).await?;
        let task = story.hand_in("Long", LONG, &[]).await?;
        let question = asked(story).await?;
        let ended = story.wait_until("the end of the run", async |client| {
            Ok(client.runs("shop").await?.into_iter().find(|run| matches!(run.state, RunState::Failed { .. })))
        });
        let RunState::Failed { class, reason } = ended.await?.state else { anyhow::bail!("it failed") };
        ensure!(class == "budget" && reason.contains("the budget of `shop` is used up"), "{class}: {reason}");
        let waits = story.task_in(&task, TaskState::Approved).await?;
        ensure!(waits.attempts == 1, "{waits:#?}");
        let reason = why(story, &task).await?;
        ensure!(reason.contains("in a day used, resets in"), "{reason}");
        let refused = budget(story, &["--run-minutes", "ten", "--per", "day"]).await.err().context("no number")?;
        ensure!(refused.to_string().contains("no number of minutes"), "{refused}");
        budget(story, &["--run-minutes", "60", "--per", "day"]).await?;
        let done = story.task_in(&task, TaskState::Done).await?;
        ensure!(done.attempts == 2, "{done:#?}");
        let over = story.approvals("shop").await?;
        ensure!(
            over.iter().any(|asked| asked.id == question.id && matches!(asked.state, ApprovalState::Void { .. })),
            "{over:#?}"
        );
        budget(story, &["--run-minutes", "0", "--per", "day"]).await?;
        ensure!(story.project("shop").await?.budgets.is_empty(), "it is taken away");
        Ok(())
    })
}
