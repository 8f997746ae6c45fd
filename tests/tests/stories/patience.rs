//! What takes too long: runs that are silent, tasks that wait, runs that go on and on; and what people are asked about it.

use anyhow::{Context as _, ensure};
use orch_proto::request::RepoSource;
use orch_proto::view::{ApprovalState, ApprovalView, Choice, RunState, TaskState};
use orch_tests::command_line::orchctl;
use orch_tests::{Setup, Story};

use crate::kills::release;
use crate::story;

/// Writes a line and then nothing more.
const SILENT: &str = "steps: ['echo ready; mkfifo never; cat never']\nretries: {max_retries: 0}\n";

async fn configured(story: &mut Story, config: &str) -> anyhow::Result<()> {
    story.stop().await?;
    std::fs::write(story.env().path("orchd.toml"), config)?;
    story.start().await?;
    story.project_create("shop", RepoSource::Empty).await?;
    Ok(())
}

/// The question that waits.
async fn asked(story: &Story) -> anyhow::Result<ApprovalView> {
    let waits = story.wait_until("a question", async |client| {
        Ok(client.approvals("shop").await?.into_iter().find(|asked| asked.state == ApprovalState::Pending))
    });
    waits.await
}

#[test]
fn a_person_says_what_becomes_of_a_silent_run() -> anyhow::Result<()> {
    story("a silent run", Setup::Runs, async |story| {
        configured(story, "[patience]\nsilence_seconds = 1\nsilence = \"ask\"\n").await?;
        let task = story.hand_in("Silent", SILENT, &[]).await?;
        let question = asked(story).await?;
        ensure!(question.subject == "shop/R-1" && question.choices.contains(&Choice::Retry), "{question:#?}");
        let status = orchctl(story.env(), &["status"]).await?.ok()?;
        ensure!(status.contains("shop/R-1 has been silent for"), "{status}");
        let why = orchctl(story.env(), &["task", "why", &task]).await?.ok()?;
        ensure!(why.contains("silent: nothing was heard of R-1") && why.contains("approval answer A-1 "), "{why}");
        let refused = orchctl(story.env(), &["approval", "approve", &question.name, "--yes"]).await?;
        ensure!(refused.code != Some(0) && refused.stderr.contains("approval answer"), "{}", refused.stderr);
        orchctl(story.env(), &["approval", "answer", &question.name, "retry", "--priority", "7"]).await?.ok()?;
        let second = asked(story).await?;
        ensure!(second.name == "shop/A-2" && second.subject == "shop/R-2", "{second:#?}");
        let now = story.task(&task).await?;
        ensure!((now.attempts, now.priority) == (2, 7), "{now:#?}");
        let first = story.runs("shop").await?.into_iter().find(|run| run.number == 1).context("it ran")?;
        ensure!(first.state == RunState::Cancelled, "{first:#?}");
        // Over a restart the question waits, and is not asked again.
        story.kill9().await?;
        story.start().await?;
        orchctl(story.env(), &["approval", "answer", "A-2", "go-on"]).await?.ok()?;
        let run = orchctl(story.env(), &["run", "get", "R-2"]).await?.ok()?;
        ensure!(run.contains("silent      for") && !run.contains("asked in"), "{run}");
        orchctl(story.env(), &["task", "cancel", &task, "--yes"]).await?.ok()?;
        story.task_in(&task, TaskState::Cancelled).await?;
        let said = orchctl(story.env(), &["audit", "list", "--project", "shop"]).await?.ok()?;
        for words in ["nothing was heard of it for 1 s; a person is asked", "chose retry", "chose go_on"] {
            ensure!(said.contains(words), "{words} is not in {said}");
        }
        Ok(())
    })
}

#[test]
fn a_run_that_speaks_again_is_silent_no_more() -> anyhow::Result<()> {
    story("a run that wakes", Setup::Runs, async |story| {
        configured(story, "").await?;
        let options = ["project", "patience", "shop", "--silence-timeout", "1s:ask"];
        orchctl(story.env(), &options).await?.ok()?;
        let shown = orchctl(story.env(), &["project", "get", "shop"]).await?.ok()?;
        ensure!(shown.contains("silence limit 1.0s, then ask"), "{shown}");
        let task = story.hand_in(
            "Wakes",
            "steps: ['echo ready; while ! [ -e go-$ORCH_TASK ]; do sleep 0.05; done; while :; do echo on; sleep 0.1; done']",
            &[],
        )
        .await?;
        let question = asked(story).await?;
        let run = story.run_of(&task).await?;
        release(&run, story).await?;
        let over = story.wait_until("the end of the question", async |client| {
            let all = client.approvals("shop").await?;
            Ok(all.into_iter().find(|asked| asked.id == question.id && asked.state != ApprovalState::Pending))
        });
        let over = over.await?;
        ensure!(matches!(over.state, ApprovalState::Void { .. }), "{over:#?}");
        ensure!(story.run_of(&task).await?.silence.is_none(), "it speaks");
        orchctl(story.env(), &["task", "cancel", &task, "--yes"]).await?.ok()?;
        story.task_in(&task, TaskState::Cancelled).await?;
        Ok(())
    })
}

#[test]
fn silence_and_length_of_runs_can_be_bounded_by_task_and_recipe() -> anyhow::Result<()> {
    story("time-outs of runs", Setup::Runs, async |story| {
        configured(story, "").await?;
        let busy = "steps: ['while :; do echo on; sleep 0.1; done']\nretries: {max_retries: 0}\n";
        let cases = [
            ("Quiet", SILENT.to_owned(), &["--silence-timeout", "1s:end"][..], "no output for 1 s"),
            ("Long", busy.to_owned(), &["--run-timeout", "1s"], "timed out"),
            ("Recipe", format!("{busy}timeout: 1\n"), &[], "timed out"),
        ];
        for (title, recipe, options, reason) in cases {
            let task = story.hand_in(title, &recipe, options).await?;
            let failed = story.task_in(&task, TaskState::Failed).await?;
            ensure!(failed.last_failure.as_deref().is_some_and(|why| why.contains(reason)), "{failed:#?}");
            ensure!(story.run_of(&task).await?.state == RunState::TimedOut, "{title}");
        }
        Ok(())
    })
}

#[test]
fn what_waits_for_too_long_is_asked_about_or_cancelled() -> anyhow::Result<()> {
    story("a time-out in the queue", Setup::Runs, async |story| {
        configured(story, "[limits]\nruns_max = 1\n").await?;
        let first = story.hand_in("First", SILENT, &[]).await?;
        story.task_in(&first, TaskState::Running).await?;
        let brief = "steps: ['true']";
        let asks = story.hand_in("Asks", brief, &["--queue-timeout", "1s:ask"]).await?;
        let ends = story.hand_in("Ends", brief, &["--queue-timeout", "1s:end"]).await?;
        let ended = story.task_in(&ends, TaskState::Cancelled).await?;
        let why = ended.cancelled_because.context("a reason")?;
        ensure!(why == "it could begin for 1 s and did not", "{why}");
        let question = asked(story).await?;
        ensure!(question.subject == asks && question.choices == [Choice::GoOn, Choice::Cancel], "{question:#?}");
        let why = orchctl(story.env(), &["task", "why", &asks]).await?.ok()?;
        ensure!(why.contains("overdue: could begin since") && why.contains("capacity: "), "{why}");
        let status = orchctl(story.env(), &["status"]).await?.ok()?;
        ensure!(status.contains(&format!("{asks} could begin for")), "{status}");
        // It can begin at last, and nobody has to answer.
        orchctl(story.env(), &["task", "cancel", &first, "--yes"]).await?.ok()?;
        story.task_in(&asks, TaskState::Done).await?;
        let after = story.approvals("shop").await?;
        ensure!(after.iter().all(|asked| matches!(asked.state, ApprovalState::Void { .. })), "{after:#?}");
        Ok(())
    })
}

#[test]
fn a_failure_that_repeats_asks_what_is_to_become_of_the_task() -> anyhow::Result<()> {
    story("a failure that repeats", Setup::Runs, async |story| {
        configured(story, "").await?;
        let recipe =
            "steps: ['exit 3']\nretries: {max_retries: 1, backoff_base_seconds: 0, backoff_jitter_seconds: 0}\n";
        let task = story.hand_in("Fails", recipe, &[]).await?;
        let question = asked(story).await?;
        ensure!(question.action.contains("failed 2 times") && question.subject == task, "{question:#?}");
        let why = orchctl(story.env(), &["task", "why", &task]).await?.ok()?;
        ensure!(
            why.contains("asked in A-1") && why.contains("retry|cancel|leave") && why.contains("run logs"),
            "{why}"
        );
        orchctl(story.env(), &["approval", "answer", "A-1", "retry", "--delay", "10ms"]).await?.ok()?;
        let again = asked(story).await?;
        ensure!(again.name == "shop/A-2", "{again:#?}");
        orchctl(story.env(), &["approval", "answer", "A-2", "leave"]).await?.ok()?;
        let waited = orchctl(story.env(), &["approval", "wait", "A-2"]).await?.ok()?;
        ensure!(waited.contains("answered"), "{waited}");
        let left = story.task(&task).await?;
        ensure!((left.state, left.attempts) == (TaskState::Failed, 4), "{left:#?}");
        Ok(())
    })
}
