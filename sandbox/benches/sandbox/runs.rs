//! Runs through a spawner: the only file here that knows how a daemon starts one and learns of its end.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use orch_sandbox::control::{self, ControlError};
use orch_sandbox::exit_record::{ExitRecord, Outcome};
use orch_sandbox::log::{LogReader, Stream};
use orch_sandbox::run_dir::{self, Liveness};
use orch_sandbox::spec::{Limits, ReadOnlyMount, StepSpec};
use orch_sandbox::{Prewarm, RunSpec, Spawned, Spawner, SpawnerOptions};

use crate::place::Place;
use crate::turns::pass;

/// Longest wait for the end of a run, or for a spawner to become quiet.
const WAIT: Duration = Duration::from_secs(30);

/// A spawner and a directory for runs that all have the same spec.
#[derive(Debug)]
pub(crate) struct Runs {
    spawner: Spawner,
    directory: PathBuf,
    pub(crate) spec: RunSpec,
    prewarm: Prewarm,
    next: AtomicU64,
}

/// A run that has been prepared, and perhaps started.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) directory: PathBuf,
}

impl Runs {
    /// Starts `program` as the spawner of runs in `directory`.
    pub(crate) fn start(program: &Path, directory: PathBuf, prewarm: Prewarm) -> anyhow::Result<Self> {
        let spec = spec(&directory, vec![step(&["/bin/true"])])?;
        let options = SpawnerOptions { prewarm, ..SpawnerOptions::default() };
        let spawner = Spawner::start(program, options).context("failed to start the spawner")?;
        Ok(Self { spawner, directory, spec, prewarm, next: AtomicU64::new(0) })
    }

    /// The same for runs on a tmpfs.
    pub(crate) fn in_memory(place: &Place, name: &str, prewarm: Prewarm) -> anyhow::Result<Self> {
        Self::start(&place.sandbox, place.in_memory(name)?, prewarm)
    }

    /// Writes what a daemon writes before it asks for the start.
    pub(crate) fn prepare(&self) -> anyhow::Result<Run> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let directory = self.directory.join(format!("run{number}"));
        run_dir::prepare(&directory, &self.spec).context("failed to write a run directory")?;
        Ok(Run { directory })
    }

    /// Asks for the start of `run`.
    pub(crate) fn spawn(&self, run: &Run) -> anyhow::Result<Spawned> {
        self.spawner.spawn(&run.directory).context("failed to start a run")
    }

    /// From the request until the record is written, as the daemon learns it: the connection to the shim ends.
    pub(crate) fn time(&self, run: &Run) -> anyhow::Result<Duration> {
        let start = Instant::now();
        let spawned = self.spawn(run)?;
        match control::watch(&run.directory) {
            Ok(connection) => wait_for(connection.as_fd())?,
            Err(ControlError::NotRunning { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let time = start.elapsed();
        // So that the end of its shim is not in the time of what is measured next.
        wait(&spawned)?;
        Ok(time)
    }

    /// One run from request to end; what it leaves is looked at and removed after the time is taken.
    pub(crate) fn once(&self) -> anyhow::Result<(Duration, ExitRecord)> {
        let run = self.prepare()?;
        let time = self.time(&run)?;
        Ok((time, self.finish(&run)?))
    }

    /// The record of a run that has ended well; removes its directory.
    pub(crate) fn finish(&self, run: &Run) -> anyhow::Result<ExitRecord> {
        let record = match run_dir::inspect(&run.directory, self.spec.fence)? {
            Liveness::Exited(record) => *record,
            other => bail!("a run left no record: {other:?}"),
        };
        ensure!(matches!(record.outcome, Outcome::Succeeded | Outcome::Cancelled), "a run failed: {}", record.outcome);
        std::fs::remove_dir_all(&run.directory).context("failed to remove a run directory")?;
        Ok(record)
    }

    /// Process id of the spawner.
    pub(crate) fn spawner_pid(&self) -> anyhow::Result<u32> {
        self.spawner.pid().context("the spawner is gone")
    }

    /// Waits until the spawner has ready what it shall have, and does nothing any more.
    pub(crate) fn settle(&self) -> anyhow::Result<()> {
        let Prewarm { slots, networks } = self.prewarm;
        // A slot is a shim, its init and its first process; one more process makes networks.
        // It prepares slots for what runs have had, so none before the first.
        let slots = if self.next.load(Ordering::Relaxed) > 0 { slots } else { 0 };
        let wanted = slots * 3 + usize::from(networks > 0);
        let deadline = Instant::now() + WAIT;
        let mut before = (0, 0);
        loop {
            let now = below(self.spawner_pid()?);
            if now.0 == wanted && now == before {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the spawner has {} processes instead of {wanted}", now.0);
            before = now;
            // Longer than the spawner waits before it prepares something.
            pass(4)?;
        }
    }
}

/// Waits for the end of a shim.
pub(crate) fn wait(spawned: &Spawned) -> anyhow::Result<()> {
    wait_for(spawned.pidfd.as_fd())
}

fn wait_for(fd: BorrowedFd<'_>) -> anyhow::Result<()> {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    let ready = poll(&mut fds, PollTimeout::try_from(WAIT).unwrap_or(PollTimeout::MAX))?;
    ensure!(ready > 0, "a run did not end within {} s", WAIT.as_secs());
    Ok(())
}

/// What the first step has written to its standard output so far.
pub(crate) fn output(run: &Run) -> anyhow::Result<String> {
    let log = LogReader::open(&run_dir::log_path(&run.directory))?;
    let (records, _) = log.read_from(0, 1 << 20)?;
    let lines = records.iter().filter(|record| record.stream == Stream::Stdout && record.step == Some(0));
    let lines: Vec<_> = lines.map(|record| String::from_utf8_lossy(&record.payload).into_owned()).collect();
    Ok(lines.join("\n"))
}

/// How many processes there are below `pid`, and how long all of them and it have run, in nanoseconds.
fn below(pid: u32) -> (usize, u64) {
    let mut all = vec![pid];
    let mut ran = 0;
    let mut next = 0;
    while let Some(pid) = all.get(next).copied() {
        next += 1;
        // A process that has just gone is not there any more, and has no children.
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        let times = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
        ran += times.split_whitespace().next().and_then(|time| time.parse::<u64>().ok()).unwrap_or_default();
    }
    (all.len() - 1, ran)
}

/// A step.
pub(crate) fn step(argv: &[&str]) -> StepSpec {
    StepSpec::main("measured", argv.iter().copied(), 60_000)
}

/// A host path where a run sees it.
pub(crate) fn visible(source: &Path, target: &str) -> ReadOnlyMount {
    ReadOnlyMount { source: source.to_owned(), target: target.into() }
}

/// A spec with the layout of the peer, every layer on, and a new workspace in `directory`.
pub(crate) fn spec(directory: &Path, steps: Vec<StepSpec>) -> anyhow::Result<RunSpec> {
    let workspace = directory.join("workspace");
    std::fs::create_dir_all(&workspace).context("failed to make a workspace")?;
    let limits = Limits { processes: 1024, file_size_bytes: 1 << 30, ..Limits::small(60_000) };
    Ok(RunSpec::narrow("bench", workspace, steps, limits))
}
