//! Tasks that do nothing, from the first handed in to the last done, beside other queues.
//!
//! Ours go over the socket of a real daemon on an empty state; all is durable when it is over. The daemon's start is no
//! part of it, as the start of a peer's is none that takes any time. The end is a time of the log. Afterwards the state is
//! held to having every task done, each after one run, and with a sandbox every run to level 3 or more.
//!
//! What a round left is removed when all are over. Without a journal ext4 gives no inode again that was freed in the last
//! minutes, and looks at each of those whenever it makes one: what is removed between two rounds slows the second down.

use anyhow::{Context as _, ensure};
use orch_core::entity::Run;
use orch_core::view::Filter;
use orch_proto::EntityKind;
use orch_store::Store;
use tempfile::TempDir;

use crate::bars::{Bar, Finding, Limit};
use crate::clock;
use crate::options::Options;
use crate::peers::Peer;
use crate::samples::{quantile, spread};
use crate::site::{self, Isolation, Site};
use crate::turns::Gate;

const fn bar(name: &'static str, against: &'static str, limit: f64) -> Bar {
    Bar { name, unit: "ratio", against, limit: Limit::AtMost(limit), stretch: None }
}

static SPOOLER: Bar = bar("noop-100-tsp", "task-spooler, 100 at a time", 1.1);
static PARALLEL_100: Bar = bar("noop-100-parallel", "GNU parallel with its log, 100 at a time", 0.6);
static PARALLEL_2: Bar = bar("noop-2-parallel", "GNU parallel with its log, 2 at a time", 1.1);
static SANDBOXED: Bar = bar("noop-sandboxed", "xargs -P of bare bwrap, 100 at a time", 1.3);

pub(crate) static BARS: &[&Bar] = &[&SPOOLER, &PARALLEL_100, &PARALLEL_2, &SANDBOXED];

/// Pueue takes longer with every task that it knows; more than so many are not asked of it.
const PUEUE_TASKS_MAX: u32 = 1_000;
/// A run with less is none in a sandbox.
const LEVEL_MIN: u8 = 3;

/// Ways to do the same work, and the bars that compare them.
struct Contest {
    isolation: Isolation,
    at_once: u32,
    bars: &'static [(&'static Bar, Peer)],
    /// Measured beside them; no bar is about them.
    beside: &'static [Peer],
}

static CONTESTS: [Contest; 3] = [
    Contest {
        isolation: Isolation::None,
        at_once: 100,
        bars: &[(&SPOOLER, Peer::TaskSpooler), (&PARALLEL_100, Peer::Parallel)],
        beside: &[Peer::Xargs, Peer::Pueue],
    },
    Contest {
        isolation: Isolation::None,
        at_once: 2,
        bars: &[(&PARALLEL_2, Peer::Parallel)],
        beside: &[Peer::Xargs, Peer::TaskSpooler],
    },
    Contest {
        isolation: Isolation::Sandbox,
        at_once: 100,
        bars: &[(&SANDBOXED, Peer::XargsBwrap)],
        beside: &[Peer::Xargs],
    },
];

pub(crate) fn measure(options: &Options) -> anyhow::Result<Vec<Finding>> {
    let wanted = CONTESTS.iter().filter(|contest| contest.bars.iter().any(|(bar, _)| options.wants(bar.name)));
    let findings = wanted.map(|contest| contest.hold(options)).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(findings.into_iter().flatten().collect())
}

/// Directories of rounds that are over.
#[derive(Default)]
struct Left {
    ours: Vec<Site>,
    theirs: Vec<TempDir>,
}

/// What was measured of one of them.
struct Taken {
    name: String,
    tasks: u32,
    seconds: Vec<f64>,
    remarks: Vec<String>,
}

impl Taken {
    fn median(&self) -> f64 {
        quantile(self.seconds.clone(), 0.5)
    }

    fn text(&self) -> String {
        let (tasks, median) = (self.tasks, self.median());
        let rate = f64::from(tasks) / median;
        let all: Vec<String> = self.seconds.iter().map(|seconds| format!("{seconds:.2}")).collect();
        format!("{:<18} {tasks:>6} tasks {median:>7.2} s  {rate:>6.0} a second  ({})", self.name, all.join(", "))
    }
}

impl Contest {
    fn hold(&self, options: &Options) -> anyhow::Result<Vec<Finding>> {
        let peers: Vec<Peer> = self.bars.iter().map(|(_, peer)| peer).chain(self.beside).copied().collect();
        let (missing, there): (Vec<Peer>, Vec<Peer>) = peers.into_iter().partition(|peer| peer.missing().is_some());
        let mut gate = Gate::default();
        let (ours, peers) = self.take_turns(options, &there, &mut gate)?;
        let mut findings: Vec<Finding> = self
            .bars
            .iter()
            .map(|(bar, peer)| {
                let found = peers.iter().find(|(found, _)| found == peer);
                found.map_or_else(
                    || Finding::unknown(bar, peer.missing().unwrap_or("it was not measured")),
                    |(_, taken)| compare(bar, &ours, taken),
                )
            })
            .collect();
        if let Some(last) = findings.last_mut() {
            last.notes.push(ours.text());
            last.notes.extend(ours.remarks);
            last.notes.extend(peers.iter().map(|(_, taken)| taken.text()));
            last.notes.extend(missing.into_iter().filter_map(Peer::missing).map(str::to_owned));
            last.notes.push(gate.text());
        }
        Ok(findings)
    }

    /// In turns and in changing order: what disturbs the machine for a while disturbs all of them.
    fn take_turns(
        &self,
        options: &Options,
        peers: &[Peer],
        gate: &mut Gate,
    ) -> anyhow::Result<(Taken, Vec<(Peer, Taken)>)> {
        let taken = |name: &str, tasks| Taken { name: name.into(), tasks, seconds: Vec::new(), remarks: Vec::new() };
        let mut ours = taken("orchd", options.tasks);
        let mut theirs: Vec<(Peer, Taken)> = peers
            .iter()
            .map(|peer| {
                let most = if *peer == Peer::Pueue { PUEUE_TASKS_MAX } else { u32::MAX };
                (*peer, taken(peer.name(), options.tasks.min(most)))
            })
            .collect();
        let mut left = Left::default();
        for round in 0..options.rounds {
            if round % 2 == 1 {
                left.ours.push(self.take_ours(options, &mut ours, gate)?);
            }
            for (peer, taken) in &mut theirs {
                gate.wait()?;
                let (seconds, place) = peer.run(taken.tasks, self.at_once).with_context(|| peer.name())?;
                taken.seconds.push(seconds);
                left.theirs.push(place);
            }
            if round % 2 == 0 {
                left.ours.push(self.take_ours(options, &mut ours, gate)?);
            }
            theirs.reverse();
        }
        Ok((ours, theirs))
    }

    fn take_ours(&self, options: &Options, ours: &mut Taken, gate: &mut Gate) -> anyhow::Result<Site> {
        let (seconds, remark, site) = crate::area::runtime()?.block_on(self.ours(options.tasks, gate))?;
        ours.seconds.push(seconds);
        ours.remarks.push(remark);
        Ok(site)
    }

    /// One round of ours: seconds, what else is known of it, and where it was.
    async fn ours(&self, tasks: u32, gate: &mut Gate) -> anyhow::Result<(f64, String, Site)> {
        let mut site = Site::start(self.isolation, self.at_once).await?;
        gate.wait()?;
        let before = site.used()?.processor_seconds;
        let begun = clock::now();
        site.hand_in(tasks, self.isolation.noop()).await?;
        let handed_in = clock::seconds(begun, clock::now());
        site.all_done().await?;
        let used = site.used()?;
        site.stop().await?;
        let store = site.state()?;
        self.check(&store, tasks)?;
        let (mut ended, mut events) = (begun, 0);
        site::each_event(
            &store,
            |_| true,
            |at, event| {
                events += 1;
                if event.kind() == "task.completed" {
                    ended = at;
                }
            },
        )?;
        let remark = format!(
            "    handed in after {handed_in:.2} s; the daemon itself had {:.2} s of processors and {:.0} MB at most; \
             {events} events",
            used.processor_seconds - before,
            used.peak_mb
        );
        Ok((clock::seconds(begun, ended), remark, site))
    }

    fn check(&self, store: &Store, tasks: u32) -> anyhow::Result<()> {
        let count = |kind| store.read(|view| view.count_by_state(kind, None));
        let (of_tasks, of_runs) = (count(EntityKind::Task)?, count(EntityKind::Run)?);
        ensure!(of_tasks == [("done".to_owned(), u64::from(tasks))].into(), "not all tasks are done: {of_tasks:?}");
        ensure!(of_runs == [("succeeded".to_owned(), u64::from(tasks))].into(), "not one run each: {of_runs:?}");
        if self.isolation == Isolation::Sandbox {
            let mut lowest = u8::MAX;
            store.read_within(orch_store::READ_DEADLINE_MS_MAX, |view| {
                view.each::<Run>(&Filter::default(), |run| {
                    lowest = lowest.min(run.isolation.map_or(0, |isolation| isolation.level));
                })
            })?;
            ensure!(lowest >= LEVEL_MIN, "a run had level {lowest}");
        }
        Ok(())
    }
}

/// The ratio of the medians, and its spread over the rounds.
fn compare(bar: &'static Bar, ours: &Taken, peer: &Taken) -> Finding {
    let pairs = ours.seconds.iter().zip(&peer.seconds).map(|(ours, peer)| ours / peer).collect();
    Finding::of(bar, ours.median() / peer.median()).spread(spread(pairs))
}
