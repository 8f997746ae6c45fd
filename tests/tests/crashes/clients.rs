//! `orchctl` is killed in the middle of its calls and asked again with the same key, as a script on a shaky host does: what it asked for
//! happens once, and the daemon keeps nothing of a client that is gone.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use orch_proto::request::RepoSource;
use orch_tests::command_line::orchctl;
use orch_tests::{Setup, Story, poll, tell};
use tokio::time::timeout;

use crate::{asked, deadline, story};

/// How many calls are made when nobody asks for more: `ORCH_CRASH_CALLS=1000`.
const CALLS: u64 = 30;
/// Longest life of a client that is to be killed, in microseconds: somewhat more than a call takes, so that each of its moments
/// has its turn.
const LIFE_US: u64 = 80_000;
/// How often one call is killed at most before it is let go to its end.
const KILLS_MAX: u64 = 3;

#[test]
fn what_a_killed_client_asked_for_happens_once() -> anyhow::Result<()> {
    story("kill -9 of orchctl", Setup::NoRuns, async |story| {
        story.project_create("shop", RepoSource::Empty).await?;
        let recipe = story.env().path("work.yaml");
        std::fs::write(&recipe, "steps: ['true']\n")?;
        let recipe = recipe.to_str().context("a path in UTF-8")?.to_owned();
        let (calls, until) = (asked("ORCH_CRASH_CALLS", CALLS), deadline());
        let (mut dice, mut kills, mut made) = (crate::dice(11), 0_u64, 0);
        let sockets = sockets(story)?;
        while made < calls && Instant::now() < until {
            let (title, key) = (format!("Task {made}"), format!("call-{made}"));
            let words = ["--project", "shop", "task", "create", &title, "--recipe", &recipe, "--idempotency-key", &key];
            for _ in 0..1 + dice.below(KILLS_MAX) {
                kills += u64::from(is_killed(story, &words, dice.below(LIFE_US)).await?);
            }
            // Those who only look are killed as well: in a list, and while they wait for what happens next.
            let looks: [&[&str]; 2] = [&["--project", "shop", "task", "list"], &["events", "tail"]];
            let look = looks[usize::from(dice.once_in(2))];
            kills += u64::from(is_killed(story, look, dice.below(LIFE_US)).await?);
            orchctl(story.env(), &words).await?.ok()?;
            made += 1;
        }
        let mut titles: BTreeMap<String, u32> = BTreeMap::new();
        for task in story.tasks("shop").await? {
            *titles.entry(task.title).or_default() += 1;
        }
        let events = story.events().await?;
        let created = events.iter().filter(|event| event.kind == "task.created").count();
        ensure!(titles.values().all(|count| *count == 1), "made twice: {titles:#?}");
        // A list has a thousand at the most.
        ensure!(created as u64 == made && titles.len() as u64 == made.min(1_000), "{created} of {made} were made");
        ensure!(kills > 0, "nobody was killed");
        let left = poll::until("the daemon to let go of clients that are gone", async || {
            Ok((self::sockets(story)? <= sockets).then_some(()))
        });
        left.await.with_context(|| format!("{:?} sockets, {sockets} before", self::sockets(story)))?;
        tell(&format!("{kills} clients were killed in {made} calls: 0 lost, 0 doubled"));
        Ok(())
    })
}

/// Starts a client and kills it after so long, if it has not ended by then; whether it was killed.
async fn is_killed(story: &Story, words: &[&str], life_us: u64) -> anyhow::Result<bool> {
    let mut command = story.env().command(story.env().programs().orchctl);
    command.args(words).stdout(Stdio::null()).stderr(Stdio::null());
    let mut client = command.spawn()?;
    if timeout(Duration::from_micros(life_us), client.wait()).await.is_ok() {
        return Ok(false);
    }
    client.start_kill()?;
    client.wait().await?;
    Ok(true)
}

/// Sockets that the daemon has open.
fn sockets(story: &Story) -> anyhow::Result<usize> {
    let folder = format!("/proc/{}/fd", story.daemon_pid()?);
    let links = std::fs::read_dir(folder)?.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    Ok(links.filter(|link| link.to_string_lossy().starts_with("socket:")).count())
}
