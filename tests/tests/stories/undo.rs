//! A person takes back what was decided: what has not begun is as it was, what has begun stays.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, ensure};
use nix::unistd::{Gid, Group, Uid, User, geteuid};
use orch_proto::ErrorCode;
use orch_proto::request::{RepoSource, Request};
use orch_proto::view::{ApprovalState, RunState, TaskState};
use orch_tests::client::task_request;
use orch_tests::command_line::{orchctl, output};
use orch_tests::terminal::Terminal;
use orch_tests::{Output, Setup, Story, tell};

use crate::kills::{COUNTS, counting, release};
use crate::story;

/// The user that every machine has and nobody is.
const NOBODY: u32 = 65_534;
const CONFLICT: i32 = ErrorCode::Conflict.exit_code() as i32;

/// A task that waits for a person.
async fn needing_approval(story: &Story) -> anyhow::Result<String> {
    let mut request = task_request("shop", "Deploy", "steps: ['true']");
    if let Request::TaskCreate { needs_approval, .. } = &mut request {
        *needs_approval = true;
    }
    let accepted = story.submit(request).await?;
    Ok(accepted.touched.first().context("a name")?.name.clone())
}

#[test]
fn a_cancelled_task_comes_back_and_runs() -> anyhow::Result<()> {
    story("undo of a cancel", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let task = needing_approval(story).await?;
        orchctl(story.env(), &["task", "cancel", &task, "--reason", "by mistake"]).await?.ok()?;
        let cancelled = story.status().await?.seq;
        ensure!(story.approvals_pending("shop").await?.is_empty(), "nobody is asked any more");
        // What would be, and what is, is the same; nothing is changed by looking.
        let shown = orchctl(story.env(), &["undo", "--dry-run"]).await?.ok()?;
        ensure!(shown.contains("task.cancelled shop/T-1") && shown.contains("T-1 is approved again"), "{shown}");
        ensure!(story.status().await?.seq == cancelled, "a look made events");
        let said = orchctl(story.env(), &["undo"]).await?.ok()?;
        ensure!(said.contains("undone:") && said.contains("T-1"), "{said}");
        // Redo, and undo again: an undo is a decision like others.
        let undone = story.status().await?.seq.to_string();
        orchctl(story.env(), &["undo", &undone]).await?.ok()?;
        ensure!(story.task(&task).await?.state == TaskState::Cancelled, "cancelled again");
        let again = story.status().await?.seq.to_string();
        orchctl(story.env(), &["undo", &again]).await?.ok()?;
        ensure!(story.task(&task).await?.state == TaskState::Approved, "and back again");
        // Its question waits again, and with an answer it runs.
        let asked = story.approvals_pending("shop").await?.pop().context("a question")?;
        orchctl(story.env(), &["approval", "approve", &asked.name, "--yes"]).await?.ok()?;
        story.task_in(&task, TaskState::Done).await?;
        Ok(())
    })
}

#[test]
fn what_has_begun_since_is_not_taken_back() -> anyhow::Result<()> {
    story("undo too late", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        orchctl(story.env(), &["project", "pause", "shop"]).await?.ok()?;
        let task = story.task_create("shop", "Counts", COUNTS).await?;
        orchctl(story.env(), &["task", "prioritize", &task, "9"]).await?.ok()?;
        let urgent = story.status().await?.seq.to_string();
        orchctl(story.env(), &["project", "resume", "shop"]).await?.ok()?;
        let run = counting(story, &task).await?;
        let said = orchctl(story.env(), &["undo"]).await?.failed(CONFLICT)?;
        let has_all = ["E_CONFLICT", "R-1 has begun since then", "run cancel R-1", "project.resumed", "orchctl undo"];
        ensure!(has_all.iter().filter(|part| **part != "project.resumed").all(|part| said.contains(part)), "{said}");
        let said = orchctl(story.env(), &["undo", &urgent]).await?.failed(CONFLICT)?;
        ensure!(said.contains("R-1 has begun since then") && said.contains("by daemon:"), "{said}");
        let said = orchctl(story.env(), &["undo", &urgent, "--dry-run"]).await?.failed(CONFLICT)?;
        ensure!(said.contains("has begun since then"), "{said}");
        // What stands still goes on with an undo, whoever follows it.
        orchctl(story.env(), &["run", "pause", &run.name]).await?.ok()?;
        in_state(story, &run.name, RunState::Paused).await?;
        orchctl(story.env(), &["undo"]).await?.ok()?;
        in_state(story, &run.name, RunState::Running).await?;
        orchctl(story.env(), &["run", "cancel", &run.name, "--yes"]).await?.ok()?;
        let said = orchctl(story.env(), &["undo"]).await?.failed(CONFLICT)?;
        ensure!(said.contains("a run was told to end") && said.contains("task retry"), "{said}");
        let said = orchctl(story.env(), &["undo", "100000"]).await?.failed(ErrorCode::NotFound.exit_code().into())?;
        ensure!(said.contains("there is no event 100000"), "{said}");
        let said = orchctl(story.env(), &["undo", "2"]).await?.failed(CONFLICT)?;
        ensure!(said.contains("of the daemon itself"), "{said}");
        Ok(())
    })
}

#[test]
fn decisions_go_back_one_after_the_other_and_over_a_restart() -> anyhow::Result<()> {
    story("undo of several", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let task = needing_approval(story).await?;
        orchctl(story.env(), &["task", "hold", &task]).await?.ok()?;
        orchctl(story.env(), &["task", "prioritize", &task, "7"]).await?.ok()?;
        orchctl(story.env(), &["project", "set", "shop", "--weight", "4"]).await?.ok()?;
        story.kill9().await?;
        story.start().await?;
        for _ in 0..3 {
            orchctl(story.env(), &["undo"]).await?.ok()?;
        }
        let found = story.task(&task).await?;
        ensure!((found.state, found.priority) == (TaskState::Approved, 5), "{found:#?}");
        let shown = orchctl(story.env(), &["project", "get", "shop"]).await?.ok()?;
        ensure!(!shown.contains("weight 4"), "{shown}");
        // The same request again changes nothing more.
        let once = ["undo", "--idempotency-key", "take-it-back"];
        orchctl(story.env(), &["task", "hold", &task]).await?.ok()?;
        orchctl(story.env(), &["task", "prioritize", &task, "8"]).await?.ok()?;
        orchctl(story.env(), &once).await?.ok()?;
        orchctl(story.env(), &once).await?.ok()?;
        let found = story.task(&task).await?;
        ensure!((found.state, found.priority) == (TaskState::Paused, 5), "{found:#?}");
        Ok(())
    })
}

#[test]
fn an_operator_does_not_undo_what_an_admin_decided() -> anyhow::Result<()> {
    if !geteuid().is_root() {
        // Nothing is missing on the machine: the story is told where the tests run as root.
        tell("SKIPPED: only root can become somebody else");
        return Ok(());
    }
    story("undo of others", Setup::NoRuns, async |story| {
        let user = User::from_uid(Uid::from_raw(NOBODY))?.context("the user nobody")?.name;
        let group = Group::from_gid(Gid::from_raw(NOBODY))?.context("the group of nobody")?.name;
        let (root, program) = (story.env().root(), story.env().path("orchctl"));
        std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o711))?;
        std::fs::copy(story.env().programs().orchctl, &program)?;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
        story.stop().await?;
        let config = format!("[daemon]\nsocket_group = \"{group}\"\n[roles]\noperator = [\"{user}\"]\n");
        std::fs::write(story.env().path("orchd.toml"), config)?;
        story.start().await?;
        story.project_create("shop", RepoSource::Empty).await?;
        let task = needing_approval(story).await?;
        orchctl(story.env(), &["task", "hold", &task]).await?.ok()?;
        let held = story.status().await?.seq.to_string();
        let permission = i32::from(ErrorCode::Permission.exit_code());
        let said = as_nobody(story, &["undo", &held]).await?.failed(permission)?;
        ensure!(said.contains("E_PERMISSION") && said.contains("not yours") && said.contains("an admin"), "{said}");
        let said = as_nobody(story, &["undo"]).await?.failed(i32::from(ErrorCode::NotFound.exit_code()))?;
        ensure!(said.contains("you decided nothing"), "{said}");
        // Own decisions go back, and an admin takes back those of others.
        as_nobody(story, &["task", "prioritize", &task, "8"]).await?.ok()?;
        as_nobody(story, &["undo"]).await?.ok()?;
        ensure!(story.task(&task).await?.priority == 5, "as it was");
        as_nobody(story, &["task", "prioritize", &task, "8"]).await?.ok()?;
        let urgent = story.status().await?.seq.to_string();
        orchctl(story.env(), &["undo", &urgent]).await?.ok()?;
        ensure!(story.task(&task).await?.priority == 5, "as it was");
        Ok(())
    })
}

#[test]
fn a_key_takes_the_last_decision_back() -> anyhow::Result<()> {
    story("undo in the terminal program", Setup::Runs, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let task = needing_approval(story).await?;
        let mut terminal = Terminal::start(story.env(), story.env().programs().tui)?;
        terminal.wait_for("orchd ok").await?;
        orchctl(story.env(), &["task", "hold", &task]).await?.ok()?;
        story.task_in(&task, TaskState::Paused).await?;
        terminal.press("u")?;
        terminal.wait_for("undone: T-1 is approved again").await?;
        ensure!(story.task(&task).await?.state == TaskState::Approved, "as it was");
        let counts = story.task_create("shop", "Counts", COUNTS).await?;
        let run = counting(story, &counts).await?;
        terminal.press("u")?;
        terminal.wait_for("R-1 has begun since then").await?;
        release(&run, story).await?;
        story.task_in(&counts, TaskState::Done).await?;
        let asked = story.approvals("shop").await?;
        ensure!(asked.iter().all(|asked| asked.state == ApprovalState::Pending), "{asked:#?}");
        terminal.press("q")?;
        ensure!(terminal.ended().await? == 0, "it ends well");
        Ok(())
    })
}

async fn in_state(story: &Story, name: &str, state: RunState) -> anyhow::Result<()> {
    story
        .wait_until(&format!("{name} {state:?}"), async |client| {
            let found = client.runs("shop").await?.into_iter().find(|run| run.name == name);
            Ok(found.filter(|run| run.state == state).map(drop))
        })
        .await
}

async fn as_nobody(story: &Story, arguments: &[&str]) -> anyhow::Result<Output> {
    let program = story.env().path("orchctl");
    let mut command = story.env().command(program.to_str().context("text")?);
    command.args(arguments).uid(NOBODY).gid(NOBODY).current_dir("/");
    output(command).await
}

#[test]
fn what_was_approved_can_be_taken_back_before_it_begins() -> anyhow::Result<()> {
    story("a grant that is held", Setup::Runs, async |story| {
        story.stop().await?;
        std::fs::write(story.env().path("orchd.toml"), "[approvals]\nhold_ms = 6000\n")?;
        story.start().await?;
        story.project_create("shop", RepoSource::Empty).await?;
        let task = needing_approval(story).await?;
        orchctl(story.env(), &["approval", "approve", "A-1", "--yes"]).await?.ok()?;
        // Also a daemon that is started anew knows for how long.
        story.kill9().await?;
        story.start().await?;
        let why = orchctl(story.env(), &["task", "why", &task]).await?.ok()?;
        ensure!(why.contains("A-1 is approved, held for") && why.contains("orchctl undo"), "{why}");
        orchctl(story.env(), &["undo"]).await?.ok()?;
        let asked = story.approvals_pending("shop").await?.pop().context("a question")?;
        ensure!(story.task(&task).await?.attempts == 0, "nothing has begun");
        orchctl(story.env(), &["approval", "approve", &asked.name, "--yes"]).await?.ok()?;
        story.task_in(&task, TaskState::Done).await?;
        let run = story.run_of(&task).await?;
        let granted = story.approvals("shop").await?.pop().and_then(|asked| asked.decided_at).context("a time")?;
        ensure!(run.queued_at.ms_since(granted) >= 6_000, "it was held: {run:#?}");
        Ok(())
    })
}
