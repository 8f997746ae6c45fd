//! The daemon is killed at random moments while many runs are under way and a client asks for more: none of them is lost,
//! none runs twice, and the next daemon has them all as soon as it is ready.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use orch_proto::id::CommandId;
use orch_proto::request::{Envelope, RepoSource, Request};
use orch_proto::view::{EventView, ProjectState, RunFilter, RunView};
use orch_proto::{ErrorCode, RpcError};
use orch_tests::client::task_request;
use orch_tests::{Client, Setup, Story, tell};
use tokio::time::timeout;

use crate::dice::Dice;
use crate::{asked, deadline, story};

/// How often the daemon is killed and how many runs there are, when nobody asks for more.
const ROUNDS: u64 = 3;
const LIVE: u64 = 6;
/// Tasks that wait, so that whatever ends is followed by another one.
const WAITING: u32 = 10;
/// How long a daemon lives at most after it was ready, in milliseconds.
const LIFE_MS: u64 = 1_000;

#[test]
fn no_run_is_lost_or_doubled_when_the_daemon_is_killed_under_load() -> anyhow::Result<()> {
    story("kill -9 under load", Setup::Runs, async |story| {
        let (rounds, live) = (asked("ORCH_CRASH_ROUNDS", ROUNDS), asked("ORCH_CRASH_LIVE", LIVE));
        story.stop().await?;
        let config = format!(
            "[limits]\nruns_max = {}\n[run]\ntotal_memory_mb = 64\nprocesses = 32\n[workspaces]\nkeep_hours = 0\n",
            live + 1
        );
        std::fs::write(story.env().path("orchd.toml"), config)?;
        story.start().await?;
        let mut load = Load::begin(story, live).await?;
        let deadline = deadline();
        for _ in 0..rounds {
            if Instant::now() >= deadline {
                break;
            }
            load.round(story).await?;
        }
        load.over(story).await
    })
}

/// What is known from outside of all that was asked for.
#[derive(Debug)]
struct Load {
    dice: Dice,
    live: u64,
    /// How long runs take, in tenths of a second.
    takes: (u64, u64),
    asked_for: u64,
    /// One that was sent when the daemon was killed, and is sent again.
    unanswered: Option<Envelope>,
    /// Every run that was seen to be under way when the daemon was killed, by its id, and how often.
    under_way: BTreeMap<String, u32>,
    figures: Figures,
}

/// What was measured, one of each for every time that the daemon was started again.
#[derive(Debug, Default)]
struct Figures {
    ready: Vec<Duration>,
    decided: Vec<Duration>,
    live: Vec<u64>,
}

impl Load {
    async fn begin(story: &Story, live: u64) -> anyhow::Result<Self> {
        // Larger loads need longer runs: starting them takes what it takes.
        let takes = if live > 20 { (100, 600) } else { (5, 20) };
        let (unanswered, under_way) = (None, BTreeMap::new());
        let mut load = Self {
            dice: crate::dice(2),
            live,
            takes,
            asked_for: 0,
            unanswered,
            under_way,
            figures: Figures::default(),
        };
        for project in ["load", "probe"] {
            story.submit(Request::ProjectCreate { name: project.into(), repo: RepoSource::Empty }).await?;
            story
                .wait_until("a repository", async |client| {
                    Ok((client.project(project).await?.state == ProjectState::Ready).then_some(()))
                })
                .await?;
        }
        // One place stays free, so that the first decision of a daemon can be made at once.
        let runs_max = Some(u32::try_from(live)?);
        let set = Request::ProjectSet { project: "load".into(), weight: None, runs_max, runs_per_day: None };
        story.submit(set).await?;
        let full = async {
            loop {
                load.feed_once(story).await?;
                if active(story).await?.len() as u64 >= load.live {
                    return anyhow::Ok(());
                }
                let seq = story.status().await?.seq;
                story.event("run.started", seq.saturating_sub(1)).await?;
            }
        };
        full.await?;
        Ok(load)
    }

    /// Lets the daemon live for a while with a client that asks for more, kills it, and has the next one take over.
    async fn round(&mut self, story: &mut Story) -> anyhow::Result<()> {
        let life = Duration::from_micros(self.dice.below(LIFE_MS * 1_000));
        let seen = timeout(life, self.keep_asking(story)).await;
        ensure!(seen.is_err(), "the client gave up: {seen:?}");
        let before = active(story).await?;
        story.kill9().await?;
        let begun = Instant::now();
        story.start().await?;
        let ready = begun.elapsed();
        let probe = task_request("probe", "Probe", "steps: ['true']\nretries: {max_retries: 0}\n");
        let asked = story.submit(probe).await?;
        let task = asked.touched.first().context("a task has a name")?;
        started(story, &task.name, asked.seq).await?;
        let decided = begun.elapsed();
        self.taken_up(story, &before).await?;
        self.figures.ready.push(ready);
        self.figures.decided.push(decided);
        self.figures.live.push(before.len() as u64);
        Ok(())
    }

    /// Never ends by itself.
    async fn keep_asking(&mut self, story: &Story) -> anyhow::Result<()> {
        loop {
            self.feed_once(story).await?;
            let seq = story.status().await?.seq;
            story.event("run.ended", seq).await?;
        }
    }

    /// Asks for as much as is missing.
    async fn feed_once(&mut self, story: &Story) -> anyhow::Result<()> {
        if let Some(envelope) = self.unanswered.clone() {
            self.send(story, envelope).await?;
        }
        let status = story.status().await?;
        let wanted = u64::from(WAITING) + self.live;
        let there = u64::from(status.tasks_queued + status.runs_active);
        for _ in there..wanted {
            let (least, most) = self.takes;
            let tenths = least + self.dice.below(most - least);
            let recipe =
                format!("steps: ['echo did', 'sleep {}.{}']\nretries: {{max_retries: 0}}\n", tenths / 10, tenths % 10);
            self.asked_for += 1;
            let request = task_request("load", &format!("Work {}", self.asked_for), &recipe);
            self.send(story, Envelope { key: CommandId::generate(), request }).await?;
        }
        Ok(())
    }

    async fn send(&mut self, story: &Story, envelope: Envelope) -> Result<(), RpcError> {
        // Whoever stops waiting for the answer finds it here.
        self.unanswered = Some(envelope.clone());
        match story.wire().submit(envelope).await {
            Ok(_) => self.unanswered = None,
            Err(error) if error.code == ErrorCode::Busy => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// What was under way is under way, or has come to a good end in the meantime.
    async fn taken_up(&mut self, story: &Story, before: &[RunView]) -> anyhow::Result<()> {
        for run in before {
            let id = run.id.to_string();
            let name = orch_proto::Ref(id.clone());
            let now = story.wire().call(async |orch, context| orch.run(context, name).await).await?;
            let is_well = !now.state.is_final() || now.state == orch_proto::view::RunState::Succeeded;
            ensure!(is_well && now.fence == run.fence, "{} was {:?} and is {:?}", run.name, run.state, now.state);
            *self.under_way.entry(id).or_default() += 1;
        }
        Ok(())
    }

    /// Waits for the end of everything and looks whether all was done, and once.
    async fn over(mut self, story: &Story) -> anyhow::Result<()> {
        if let Some(envelope) = self.unanswered.take() {
            self.send(story, envelope).await?;
        }
        story
            .wait_until("the end of all", async |client| {
                let status = client.status().await?;
                Ok((status.tasks_queued + status.runs_active == 0).then_some(()))
            })
            .await?;
        let events = story.events().await?;
        let probes = self.figures.ready.len();
        let expected = usize::try_from(self.asked_for)? + probes;
        for kind in ["task.created", "task.started", "run.leased", "run.ended", "task.completed"] {
            let by_subject = count(&events, kind);
            ensure!(
                by_subject.len() == expected,
                "{kind}: of {} things, and {expected} were asked for",
                by_subject.len()
            );
            ensure!(by_subject.values().all(|count| *count == 1), "{kind} twice: {by_subject:#?}");
        }
        let done = self.did_once(story)?;
        ensure!(done == self.asked_for, "{done} runs have done what {} were to do", self.asked_for);
        self.tell();
        Ok(())
    }

    /// How many logs of runs have the line that each is to write once.
    fn did_once(&self, story: &Story) -> anyhow::Result<u64> {
        let mut did = 0;
        for entry in std::fs::read_dir(story.env().state().join("runs"))? {
            let log = std::fs::read(orch_sandbox::run_dir::log_path(&entry?.path()))?;
            did += u64::try_from(log.windows(3).filter(|window| window == b"did").count())?;
        }
        Ok(did)
    }

    fn tell(&self) {
        let Figures { ready, decided, live } = &self.figures;
        let survived: u32 = self.under_way.values().sum();
        tell(&format!(
            "{} kills with {} to {} runs under way ({} runs, taken up {survived} times), {} tasks, 0 lost, 0 doubled; \
             start to all taken up {}; to the first decision {}",
            ready.len(),
            live.iter().min().unwrap_or(&0),
            live.iter().max().unwrap_or(&0),
            self.under_way.len(),
            self.asked_for,
            spread(ready),
            spread(decided),
        ));
    }
}

/// The middle, the 99th of a hundred and the longest.
fn spread(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort_unstable();
    let at = |part: usize| times.get((times.len() * part / 100).min(times.len().saturating_sub(1))).copied();
    let [half, most, longest] = [at(50), at(99), times.last().copied()].map(Option::unwrap_or_default);
    format!("p50 {} ms, p99 {} ms, max {} ms", half.as_millis(), most.as_millis(), longest.as_millis())
}

fn count(events: &[EventView], kind: &str) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for event in events.iter().filter(|event| event.kind == kind) {
        *counts.entry(event.subject.clone()).or_default() += 1;
    }
    counts
}

/// Runs of the load that are under way.
async fn active(client: &Client) -> anyhow::Result<Vec<RunView>> {
    let filter = RunFilter { project: Some("load".into()), task: None, active: true };
    let runs = client.wire().call(async |orch, context| orch.runs(context, filter).await).await?;
    Ok(runs)
}

/// Waits until the scheduler has started a task of the probe.
async fn started(client: &Client, task: &str, after: u64) -> anyhow::Result<()> {
    let mut after = after;
    loop {
        let event = client.event("task.started", after).await?;
        if event.subject == task {
            return Ok(());
        }
        after = event.seq;
    }
}
