//! A daemon with a state of its own, a client of it, and what can be seen of it from outside.
//!
//! It is the real program with a real socket, as the stories have it ([`orch_tests`]). Nothing is left of it afterwards.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use orch_core::event::Event;
use orch_proto::Timestamp;
use orch_proto::request::{RepoSource, Request};
use orch_store::{OpenOptions, Store};
use orch_tests::client::task_request;
use orch_tests::poll::PATIENCE;
use orch_tests::{Client, Daemon, Env, Programs, processes};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::clock;

/// The project in which everything happens.
pub(crate) const PROJECT: &str = "bench";
/// A task that does nothing, and needs no files for that.
pub(crate) const NOOP: &str = "checkout: false\nsteps:\n  - run: \"true\"\n";
/// The same without a sandbox.
const NOOP_OUTSIDE: &str = "checkout: false\nisolation: none\nsteps:\n  - run: \"true\"\n";
/// A task that takes its place for as long as anything here lasts.
pub(crate) const LASTING: &str = "steps:\n  - run: exec sleep 3000\n";
/// What a run may have of the host's memory, so that a hundred fit at once.
const RUN_MEMORY_MB: u32 = 64;
/// Requests of one client that are under way at once; the daemon takes twice as many.
const AT_ONCE: u32 = 32;
/// How often is looked whether everything is done. What is measured ends at a time of the log, not of a look.
const LOOK: Duration = Duration::from_millis(100);
/// Events that are read at once.
const PAGE: u32 = 10_000;
/// Ticks of a second in what the kernel says of processor time to programs, on every architecture.
const TICKS: f64 = 100.0;

/// What runs are confined by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Nothing, because the configuration says so.
    None,
    /// What the daemon does unless it is told otherwise: level 3 or more.
    Sandbox,
}

impl Isolation {
    /// A task that does nothing.
    pub(crate) const fn noop(self) -> &'static str {
        match self {
            Self::None => NOOP_OUTSIDE,
            Self::Sandbox => NOOP,
        }
    }

    /// What a daemon's configuration must say for it.
    const fn configuration(self) -> &'static str {
        match self {
            Self::None => "[sandbox]\nallow_none = true\n",
            Self::Sandbox => "",
        }
    }
}

/// A daemon and its state.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) client: Client,
    daemon: Option<Daemon>,
    pub(crate) env: Env,
    isolation: Isolation,
}

/// What a process has used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    pub(crate) processor_seconds: f64,
    /// Memory that it has now, with what it shares with others, and its share of that; and the most that it had.
    pub(crate) resident_mb: f64,
    pub(crate) own_mb: f64,
    pub(crate) peak_mb: f64,
}

impl Site {
    /// A daemon on an empty state that has the project.
    pub(crate) async fn start(isolation: Isolation, places: u32) -> anyhow::Result<Self> {
        Self::start_with(isolation, &configuration(isolation, places)).await
    }

    /// The same with a configuration of one's own, as the file has it.
    pub(crate) async fn start_with(isolation: Isolation, configuration: &str) -> anyhow::Result<Self> {
        let env = Env::new(PROGRAMS)?;
        configure(&env, configuration)?;
        let daemon = Daemon::start(&env).await?;
        let client = Client::connect(&env.socket()).await?;
        let site = Self { client, daemon: Some(daemon), env, isolation };
        let status = site.client.status().await?;
        ensure!(
            status.isolation_level >= status.isolation_required,
            "this host gives isolation level {} of {} needed; `orchctl doctor` says why",
            status.isolation_level,
            status.isolation_required
        );
        site.client.project_create(PROJECT, RepoSource::Empty).await?;
        Ok(site)
    }

    /// Starts the daemon on the same state again, with another number of places.
    pub(crate) async fn start_again(&mut self, places: u32) -> anyhow::Result<()> {
        ensure!(self.daemon.is_none(), "the daemon is up");
        configure(&self.env, &configuration(self.isolation, places))?;
        self.daemon = Some(Daemon::start(&self.env).await?);
        self.client = Client::connect(&self.env.socket()).await?;
        Ok(())
    }

    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        self.client.shutdown().await?;
        let ended = self.daemon.take().context("there is no daemon")?.ended().await?;
        ensure!(ended.success(), "the daemon ended with {ended}");
        Ok(())
    }

    pub(crate) async fn kill9(&mut self) -> anyhow::Result<()> {
        self.daemon.take().context("there is no daemon")?.kill9().await
    }

    /// Hands in `count` tasks, as many at once as one client may.
    pub(crate) async fn hand_in(&self, count: u32, recipe: &'static str) -> anyhow::Result<()> {
        let next = Arc::new(AtomicU32::new(0));
        let mut workers = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (client, next) = (self.client.clone(), Arc::clone(&next));
            workers.spawn(async move {
                while next.fetch_add(1, Ordering::Relaxed) < count {
                    client.submit(request(recipe)).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = workers.join_next().await {
            ended??;
        }
        Ok(())
    }

    /// Waits until nothing is queued or under way. The bound is on how long nothing at all may happen.
    pub(crate) async fn all_done(&self) -> anyhow::Result<()> {
        self.until(async |site| {
            let status = site.client.status().await?;
            Ok((status.seq, status.tasks_queued == 0 && status.runs_active == 0))
        })
        .await
    }

    /// Waits until so many runs run.
    pub(crate) async fn running(&self, count: usize) -> anyhow::Result<()> {
        self.until(async |site| {
            let runs = site.client.runs(PROJECT).await?;
            let running = runs.iter().filter(|run| run.state == orch_proto::view::RunState::Running).count();
            Ok((site.client.status().await?.seq, running >= count))
        })
        .await
    }

    async fn until(&self, mut look: impl AsyncFnMut(&Self) -> anyhow::Result<(u64, bool)>) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            ticks.tick().await;
            let (seq, is_so) = look(self).await?;
            if is_so {
                return Ok(());
            }
            if seq != seen {
                (seen, since) = (seq, Instant::now());
            }
            ensure!(since.elapsed() < PATIENCE, "nothing happens: {:?}", self.client.status().await?);
        }
    }

    /// What the daemon has used.
    pub(crate) fn used(&self) -> anyhow::Result<Used> {
        let pid = self.daemon.as_ref().context("there is no daemon")?.pid();
        let read = |name: &str| {
            std::fs::read_to_string(format!("/proc/{pid}/{name}")).with_context(|| format!("failed to read {name}"))
        };
        let stat = read("stat")?;
        // The name in parentheses can hold anything. Counted from what follows it, the times are fields 11 and 12.
        let (_, fields) = stat.rsplit_once(')').context("a process has a name")?;
        let ticks: f64 = fields.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<f64>().ok()).sum();
        let (status, rollup) = (read("status")?, read("smaps_rollup")?);
        Ok(Used {
            processor_seconds: ticks / TICKS,
            resident_mb: kilobytes(&status, "VmRSS:")? / 1e3,
            own_mb: kilobytes(&rollup, "Pss:")? / 1e3,
            peak_mb: kilobytes(&status, "VmHWM:")? / 1e3,
        })
    }

    /// The state itself. The daemon must have stopped.
    pub(crate) fn state(&self) -> anyhow::Result<Store> {
        ensure!(self.daemon.is_none(), "the daemon has the state");
        open(&self.env.state().join("orch.db"))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.daemon.take());
        processes::end_all(self.env.root());
    }
}

/// Opens a state that no daemon has.
pub(crate) fn open(path: &Path) -> anyhow::Result<Store> {
    let mut seed = [0; 32];
    // Ids of two openings are not to be the same.
    seed[..8].copy_from_slice(&clock::now().unix_us().to_le_bytes());
    Ok(Store::open(path, OpenOptions { seed, clock: Arc::new(clock::now), vfs: None })?)
}

/// Calls `take` with each event whose kind is wanted, in order.
pub(crate) fn each_event(
    store: &Store,
    wants: impl Fn(&str) -> bool,
    mut take: impl FnMut(Timestamp, &Event),
) -> anyhow::Result<()> {
    let mut after = 0;
    while let Some(last) =
        store.read(|view| view.each_event_since((after, PAGE), &wants, |_, at, event| take(at, event)))?
    {
        after = last;
    }
    Ok(())
}

/// The request for a task of the project.
pub(crate) fn request(recipe: &str) -> Request {
    task_request(PROJECT, "A task of the benchmark", recipe)
}

/// The programs as they were built with this one.
const PROGRAMS: Programs = Programs {
    orchd: env!("CARGO_BIN_EXE_e2e-orchd"),
    orchctl: env!("CARGO_BIN_EXE_e2e-orchctl"),
    sandbox: env!("CARGO_BIN_EXE_e2e-orch-sandbox"),
    tui: env!("CARGO_BIN_EXE_e2e-orch-tui"),
};

fn configuration(isolation: Isolation, places: u32) -> String {
    let more = isolation.configuration();
    format!(
        "[limits]\nruns_max = {places}\n[run]\ntotal_memory_mb = {RUN_MEMORY_MB}\n[workspaces]\nprepare_from_files = 0\n{more}"
    )
}

fn configure(env: &Env, configuration: &str) -> anyhow::Result<()> {
    std::fs::write(env.path("orchd.toml"), configuration).context("failed to write a configuration")
}

fn kilobytes(text: &str, name: &str) -> anyhow::Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no line {name}"))?;
    let kib: f64 = line.split_whitespace().next().context("a number")?.parse()?;
    Ok(kib * 1.024)
}
