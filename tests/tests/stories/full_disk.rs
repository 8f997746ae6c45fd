//! A disk that fills up under the daemon: what does not fit is refused as such, what was accepted stays, and when there
//! is room again the work goes on.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use orch_proto::request::{Bytes, RepoSource, Request};
use orch_proto::view::{StatusView, TaskState};
use orch_proto::{ErrorCode, Ref, RpcError};
use orch_tests::client::task_request;
use orch_tests::command_line::{orchctl, output};
use orch_tests::poll::until;
use orch_tests::{Daemon, Env, Requirement, Setup, Story, tell};
use tokio::process::Command;

use crate::kills::{COUNTS, counting, release_in};
use crate::story;

/// Makes a disk of `$2` MiB at `$1` that only this process and its children see, keeps some of it, and becomes `$3 ...`.
const ON_A_SMALL_DISK: &str = r#"
mount -t tmpfs -o "size=$2m,mode=700" tmpfs "$1" && head -c 4194304 /dev/zero > "$1/ballast" && shift 2 && exec "$@"
"#;

/// A disk that fills up with a few documents.
const SMALL: &str = "14";
/// One of which a twentieth is more than the daemon itself writes while a task waits.
const ROOMY: &str = "120";

#[test]
fn nothing_is_lost_when_the_disk_is_full() -> anyhow::Result<()> {
    story("a full disk", Setup::NoRuns, async |story| {
        if !start_on(story, SMALL).await? {
            return Ok(());
        }
        story.project_create("shop", RepoSource::Empty).await?;
        let status = story.status().await?;
        let under_way = if status.isolation_level >= status.isolation_required {
            let task = story.task_create("shop", "Under way", COUNTS).await?;
            story.log_line(&counting(story, &task).await?.name, "line 3").await?;
            Some(task)
        } else {
            None
        };
        let made = usize::from(under_way.is_some());
        let visions = until_full(story, vision).await?;
        let tasks = until_full(story, task).await?;
        // Where no Vision fits any more, a task may or may not.
        ensure!(visions > 5, "{visions} Visions and {tasks} tasks fitted");
        // Full as it is, it answers, and what it has is right.
        let seq = story.status().await?.seq;
        ensure!(counts(story).await? == (visions, tasks + made), "{:?}", counts(story).await?);
        story.end_checks().await?;
        let (status, more) = outage_told(story, tasks).await?;
        let tasks = tasks + more;
        ensure!(status.outage.is_some_and(|outage| outage.is_full), "for want of space");
        let told = status.warnings.first().cloned().unwrap_or_default();
        ensure!(told.contains("no space left to write the state") && told.contains("nothing new begins"), "{told}");
        let disk = disk_of(story)?;
        std::fs::remove_file(disk.join("ballast")).context("failed to make room")?;
        // Nobody has to send a command for it.
        let over = async || Ok(story.status().await?.outage.is_none().then_some(()));
        until("the end of the outage", over).await?;
        story.submit(vision(visions)).await?;
        story.submit(task(tasks)).await?;
        ensure!(counts(story).await? == (visions + 1, tasks + 1 + made), "{:?}", counts(story).await?);
        ensure!(story.status().await?.seq > seq, "the log goes on");
        // What ran all the time is done, too.
        if let Some(task) = under_way {
            let run = counting(story, &task).await?;
            release_in(&disk.join("runs"), &run).await?;
            let done = story.task_in(&task, TaskState::Done).await?;
            tell(&format!("{} attempts of the run that was under way", done.attempts));
        }
        Ok(())
    })
}

/// A disk that is nearly full and on which commits still work: what would begin would be ended for it, so it waits, and says why;
/// nothing of it is a failure, and nobody has to let it go on.
#[test]
fn nothing_begins_while_the_disk_is_nearly_full() -> anyhow::Result<()> {
    story("a nearly full disk", Setup::NoRuns, async |story| {
        if !start_on(story, ROOMY).await? {
            return Ok(());
        }
        story.project_create("shop", RepoSource::Empty).await?;
        let disk = disk_of(story)?;
        fill(&disk, 3 << 20)?;
        let waiting = story.task_create("shop", "Waits", "steps: ['true']").await?;
        let said = until("a task that waits for room", async || {
            let why = orchctl(story.env(), &["task", "why", &waiting]).await?.ok()?;
            Ok(why.contains("disk_full: nothing begins, since the disk").then_some(why))
        })
        .await?;
        ensure!(said.contains("have to be") && said.contains("make room"), "{said}");
        let status = story.status().await?;
        ensure!(status.outage.is_none(), "the state can be written: {status:#?}");
        ensure!(status.warnings.iter().any(|line| line.contains("nearly full")), "{:#?}", status.warnings);
        ensure!(story.runs("shop").await?.is_empty() && status.tasks_failed == 0, "nothing began");
        std::fs::remove_file(disk.join("filled")).context("failed to make room")?;
        // Nobody has to send a command for it.
        let is_over = async || {
            let why = orchctl(story.env(), &["task", "why", &waiting]).await?.ok()?;
            Ok((!why.contains("disk_full")).then_some(()))
        };
        until("room", is_over).await?;
        if status.isolation_level >= status.isolation_required {
            let done = story.task_in(&waiting, TaskState::Done).await?;
            ensure!(done.attempts == 1, "{done:#?}");
        }
        Ok(())
    })
}

/// Somebody asks `doctor` why nothing begins, which measures the sandbox: that it cannot be measured now is no answer for later.
#[test]
fn what_doctor_could_not_measure_on_a_full_disk_is_measured_when_there_is_room() -> anyhow::Result<()> {
    story("doctor on a full disk", Setup::NoRuns, async |story| {
        if !start_on(story, ROOMY).await? {
            return Ok(());
        }
        let before = story.status().await?;
        if before.isolation_level == 0 {
            // Nothing can be measured here at any time.
            return Ok(());
        }
        story.project_create("shop", RepoSource::Empty).await?;
        let disk = disk_of(story)?;
        fill(&disk, 0)?;
        let said = orchctl(story.env(), &["doctor"]).await?;
        ensure!(said.stdout.contains("level 0 of 4") && said.stdout.contains("make room"), "{}", said.stdout);
        std::fs::remove_file(disk.join("filled")).context("failed to make room")?;
        // Nobody has to ask again for it.
        let is_known = async || Ok((story.status().await?.isolation_level == before.isolation_level).then_some(()));
        until("the level that was", is_known).await?;
        if before.isolation_level >= before.isolation_required {
            let task = story.task_create("shop", "Begins", "steps: ['true']").await?;
            story.task_in(&task, TaskState::Done).await?;
        }
        Ok(())
    })
}

/// Starts the daemon anew on a disk of so many MiB; false where none can be made, and it goes on as it was.
async fn start_on(story: &mut Story, megabytes: &str) -> anyhow::Result<bool> {
    story.stop().await?;
    let mut probe = on_a_small_disk(story.env(), megabytes);
    probe.arg("true");
    let probed = output(probe).await?;
    if probed.code != Some(0) {
        let needed = Requirement::Missing(format!("no disk of its own can be made here: {}", probed.stderr.trim()));
        ensure!(!needed.holds()?, "it is missing");
        std::fs::remove_dir_all(story.env().path("disk"))?;
        story.start().await?;
        return Ok(false);
    }
    let mut command = on_a_small_disk(story.env(), megabytes);
    let daemon = Daemon::command_on(story.env(), &story.env().path("disk"));
    command.arg(daemon.as_std().get_program()).args(daemon.as_std().get_args());
    story.start_with(command).await?;
    Ok(true)
}

/// That disk, as others can reach it.
fn disk_of(story: &Story) -> anyhow::Result<PathBuf> {
    Ok(format!("/proc/{}/root{}", story.daemon_pid()?, story.env().path("disk").display()).into())
}

/// Leaves so many bytes of a disk free.
fn fill(disk: &Path, free: u64) -> anyhow::Result<()> {
    let found = nix::sys::statvfs::statvfs(disk)?;
    let filled = (found.blocks_available() * found.fragment_size()).saturating_sub(free);
    let mut file = std::fs::File::create(disk.join("filled"))?;
    std::io::copy(&mut std::io::repeat(0).take(filled), &mut file)?;
    Ok(())
}

/// `unshare`, as root or as anybody else, up to the command that is to run.
fn on_a_small_disk(env: &Env, megabytes: &str) -> Command {
    let disk = env.path("disk");
    // There it is already when the command is made a second time.
    let _made = std::fs::create_dir(&disk).is_ok();
    let mut command = env.command("unshare");
    command.arg("--mount");
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["sh", "-c", ON_A_SMALL_DISK, "sh"]).arg(disk).arg(megabytes);
    command
}

/// Sends requests until one is refused because the disk is full. Gives how many were accepted.
async fn until_full(story: &Story, request: impl Fn(usize) -> Request) -> anyhow::Result<usize> {
    for number in 0..5_000 {
        match story.submit(request(number)).await {
            Ok(_) => {}
            Err(RpcError { code: ErrorCode::StorageFull, hint: Some(_), .. }) => return Ok(number),
            Err(error) => anyhow::bail!("refused with {}: {error}", error.code),
        }
    }
    anyhow::bail!("the disk does not fill up")
}

/// What the status says right after a commit failed, and how many tasks were accepted before. The daemon tries by itself
/// whether there is room again, and where a little is left it has ended the outage for the moment.
async fn outage_told(story: &Story, first: usize) -> anyhow::Result<(StatusView, usize)> {
    let mut accepted = 0;
    let status = until("a commit that fails", async || {
        match story.submit(task(first + accepted)).await {
            Ok(_) => accepted += 1,
            Err(error) => ensure!(error.code == ErrorCode::StorageFull, "refused with {}: {error}", error.code),
        }
        let status = story.status().await?;
        Ok(status.outage.is_some().then_some(status))
    })
    .await?;
    Ok((status, accepted))
}

/// A Vision like no other, a megabyte long.
fn vision(number: usize) -> Request {
    let text = format!("# Vision {number}\n\n{}", format!("- line {number}\n").repeat(70_000));
    Request::VisionSubmit { project: Ref::from("shop"), file_name: "v.md".into(), text: Bytes(text.into_bytes()) }
}

/// A task with much to say.
fn task(number: usize) -> Request {
    let mut request = task_request("shop", &format!("Task {number}"), "steps: ['true']");
    if let Request::TaskCreate { queue, acceptance, .. } = &mut request {
        *queue = false;
        acceptance.extend((0..20).map(|line| format!("{line} {}", "x".repeat(900))));
    }
    request
}

/// Visions and tasks that are there.
async fn counts(story: &Story) -> anyhow::Result<(usize, usize)> {
    let project = Ref::from("shop");
    let visions = story.wire().call(async |orch, context| orch.visions(context, project).await).await?;
    Ok((visions.len(), story.tasks("shop").await?.len()))
}
