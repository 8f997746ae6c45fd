//! How many commands a second the store makes durable, beside PostgreSQL on the same disk.
//!
//! A transition is one command: its events, the rows that follow from them and its record, in a commit that is durable
//! when it is answered. Every submitter takes tasks of its own project from their making to their end, one command after
//! the other, each after the answer to the one before. PostgreSQL gets less to do: two rows changed and one added.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use orch_proto::id::{ProjectId, RunId, TaskId};
use orch_store::Store;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::bars::{Bar, Finding, Limit};
use crate::options::Options;
use crate::postgres::{self, Postgres};
use crate::samples::{quantile, spread};
use crate::turns::Gate;
use crate::{lifecycle, site};

const fn at_least(name: &'static str, unit: &'static str, against: &'static str, limit: f64) -> Bar {
    Bar { name, unit, against, limit: Limit::AtLeast(limit), stretch: None }
}

const QUIET: &str = "nothing; on a quiet machine with two processors and a disk like ours";
static RATE_10: Bar = at_least("transitions-10", "/s", QUIET, 20_000.0);
static RATE_100: Bar = at_least("transitions-100", "/s", QUIET, 50_000.0);
static RATIO_10: Bar = at_least("transitions-10-postgres", "ratio", "PostgreSQL, 10 connections", 2.0);
static RATIO_100: Bar = at_least("transitions-100-postgres", "ratio", "PostgreSQL, 100 connections", 2.0);

pub(crate) static BARS: &[&Bar] = &[&RATE_10, &RATE_100, &RATIO_10, &RATIO_100];

/// So many submitters, and the bars about them.
struct Size {
    submitters: usize,
    rate: &'static Bar,
    ratio: &'static Bar,
}

static SIZES: [Size; 2] = [
    Size { submitters: 10, rate: &RATE_10, ratio: &RATIO_10 },
    Size { submitters: 100, rate: &RATE_100, ratio: &RATIO_100 },
];

/// How long is measured at once, and how long everything runs before.
pub(crate) const BLOCK: Duration = Duration::from_secs(3);
const BEFORE: Duration = Duration::from_millis(500);

pub(crate) fn measure(options: &Options) -> anyhow::Result<Vec<Finding>> {
    let place = tempfile::Builder::new().prefix("bench-").tempdir()?;
    let postgres = postgres::find().map(|programs| Postgres::start(&programs)).transpose()?;
    let mut gate = Gate::default();
    let mut taken: Vec<Taken> = SIZES.iter().map(|size| Taken { size, ours: Vec::new(), theirs: Vec::new() }).collect();
    for round in 0..options.rounds {
        for Taken { size, ours, theirs } in &mut taken {
            let path = place.path().join(format!("{}-{round}.db", size.submitters));
            gate.wait()?;
            ours.push(block(&path, size.submitters)?);
            if let Some(postgres) = &postgres {
                gate.wait()?;
                theirs.push(postgres.rate(size.submitters)?);
            }
        }
    }
    let mut findings: Vec<Finding> = taken.iter().flat_map(Taken::findings).collect();
    if let Some(last) = findings.last_mut() {
        last.notes.push(gate.text());
    }
    Ok(findings)
}

/// Blocks of one size, ours and of the peer in turns.
struct Taken {
    size: &'static Size,
    ours: Vec<Block>,
    theirs: Vec<f64>,
}

impl Taken {
    fn findings(&self) -> [Finding; 2] {
        let Self { size: Size { rate, ratio, .. }, ours, theirs } = self;
        let rates: Vec<f64> = ours.iter().map(|block| block.commands).collect();
        let median = quantile(rates.clone(), 0.5);
        let found = Finding::of(rate, median).spread(spread(rates.clone()));
        let found = ours.iter().fold(found, |found, block| found.note(block.text()));
        if theirs.is_empty() {
            return [found, Finding::unknown(ratio, postgres::MISSING)];
        }
        let pairs = rates.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        let peer = quantile(theirs.clone(), 0.5);
        let beside = Finding::of(ratio, median / peer).spread(spread(pairs));
        let blocks = theirs.len();
        [found, beside.note(format!("PostgreSQL {peer:>7.0} transactions a second, median of {blocks} blocks"))]
    }
}

/// A block of ours: commands, events and commits a second.
struct Block {
    commands: f64,
    events: f64,
    commits: f64,
}

impl Block {
    fn text(&self) -> String {
        let Self { commands, events, commits } = self;
        format!("{commands:>7.0} commands {events:>7.0} events {commits:>6.0} commits a second")
    }
}

/// As many submitters as are asked for on a new state, for as long as a block takes.
fn block(path: &Path, submitters: usize) -> anyhow::Result<Block> {
    let store = site::open(path)?;
    let projects = (0..submitters).map(|number| lifecycle::project(&store, &format!("p{number}")));
    let projects = projects.collect::<anyhow::Result<Vec<_>>>()?;
    // Submitters are to be where the daemon's are, on its runtime.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = watch::Sender::new(false);
        let mut all = JoinSet::new();
        for project in projects {
            all.spawn(submit(store.clone(), project, stop.subscribe()));
        }
        go_on(&mut all, BEFORE).await?;
        let (begun, before, seq) = (std::time::Instant::now(), store.stats(), *store.subscribe().borrow());
        go_on(&mut all, BLOCK).await?;
        let (seconds, after, last) = (begun.elapsed().as_secs_f64(), store.stats(), *store.subscribe().borrow());
        stop.send_replace(true);
        while let Some(ended) = all.join_next().await {
            ended??;
        }
        ensure!(after.failed_commits == 0, "a commit failed: {after:?}");
        let rate = |count: u64| count as f64 / seconds;
        Ok(Block {
            commands: rate(after.commands - before.commands),
            events: rate(last - seq),
            commits: rate(after.commits - before.commits),
        })
    })
}

/// Lets all of them work for a time; that one of them ends is an error.
async fn go_on(all: &mut JoinSet<anyhow::Result<()>>, time: Duration) -> anyhow::Result<()> {
    match tokio::time::timeout(time, all.join_next()).await {
        Ok(Some(ended)) => ended?.and_then(|()| bail!("a submitter ended before its time")),
        Ok(None) => bail!("there are no submitters"),
        Err(_) => Ok(()),
    }
}

/// Takes one task after the other from its making to its end.
async fn submit(store: Store, project: ProjectId, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let does = async |command| store.execute(lifecycle::envelope(command)).await.context("a command was refused");
    let mut fence = 0;
    while !*stop.borrow() {
        fence += 1;
        let task: TaskId = lifecycle::touched(&does(lifecycle::create(project)).await?)?;
        let run: RunId = lifecycle::touched(&does(lifecycle::start(task)).await?)?;
        does(lifecycle::starting(run)).await?;
        does(lifecycle::record(run, fence)).await?;
        does(lifecycle::settle(run, fence)).await?;
    }
    Ok(())
}
