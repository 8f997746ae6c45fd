//! How many runs a second the machine gets through when eight are under way.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::Context as _;
use orch_sandbox::Prewarm;

use crate::bars::{Bar, Finding, Limit};
use crate::options::Options;
use crate::place::{NO_PEER, Place, peer_command, time};
use crate::runs::{Run, Runs};
use crate::samples::spread;
use crate::starts::cli;
use crate::turns::Gate;

const fn rate(name: &'static str) -> Bar {
    let against = "bwrap, 8 in parallel, runs per second";
    Bar { name, unit: "ratio", against, limit: Limit::AtLeast(1.6), stretch: Some(1.9) }
}

static SPAWNER: Bar = rate("rate-spawner");
static CLI: Bar = rate("rate-cli");

pub(crate) static BARS: &[&Bar] = &[&SPAWNER, &CLI];

pub(crate) const PARALLEL: usize = 8;
/// Runs of each of them in a block.
const EACH: usize = 10;

/// Lets every worker do its work at the same time; runs per second of all together.
fn together<W: Send>(work: Vec<W>, each: usize, job: impl Fn(W) -> anyhow::Result<()> + Sync) -> anyhow::Result<f64> {
    let count = work.len() * each;
    let start = Instant::now();
    std::thread::scope(|scope| {
        let job = &job;
        let workers: Vec<_> = work.into_iter().map(|work| scope.spawn(move || job(work))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))?)
    })?;
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

/// A block of commands.
fn commands(make: impl Fn() -> anyhow::Result<Command>) -> anyhow::Result<f64> {
    let work: Vec<Command> = (0..PARALLEL).map(|_| make()).collect::<anyhow::Result<_>>()?;
    together(work, EACH, |mut command| (0..EACH).try_for_each(|_| time(&mut command).map(drop)))
}

/// A block of runs through a spawner; what a daemon writes before and removes after them is not timed.
fn spawned(runs: &Runs) -> anyhow::Result<f64> {
    let prepare = |_| (0..EACH).map(|_| runs.prepare()).collect::<anyhow::Result<Vec<Run>>>();
    let work: Vec<Vec<Run>> = (0..PARALLEL).map(prepare).collect::<anyhow::Result<_>>()?;
    let rate = together(work.iter().collect(), EACH, |mine: &Vec<Run>| {
        mine.iter().try_for_each(|run| runs.time(run).map(drop))
    })?;
    work.iter().flatten().try_for_each(|run| runs.finish(run).map(drop))?;
    Ok(rate)
}

pub(crate) fn measure(place: &Place, options: &Options) -> anyhow::Result<Vec<Finding>> {
    let blocks = options.samples().div_ceil(PARALLEL * EACH).max(3) * 2;
    let runs = Runs::in_memory(place, "rate", Prewarm::default())?;
    let directories: Vec<PathBuf> =
        (0..2).map(|number| place.in_memory(&format!("rate{number}"))).collect::<anyhow::Result<_>>()?;
    let mut gate = Gate::default();
    let [mut ours, mut clis, mut peers] = [Vec::new(), Vec::new(), Vec::new()];
    spawned(&runs)?;
    for _ in 0..blocks {
        gate.wait()?;
        ours.push(spawned(&runs)?);
        gate.wait()?;
        clis.push(commands(|| cli(place, directories[0].clone()))?);
        if let Some(peer) = &place.peer {
            gate.wait()?;
            peers.push(commands(|| Ok(peer_command(peer, &directories[1])))?);
        }
    }
    let mean = |rates: &[f64]| rates.iter().sum::<f64>() / rates.len() as f64;
    let text = |name: &str, rates: &[f64]| format!("{name:<24} {:>7.0} runs per second", mean(rates));
    let finding = |bar: &'static Bar, rates: &[f64]| {
        if peers.is_empty() {
            return Finding::unknown(bar, NO_PEER);
        }
        let pairs = rates.iter().zip(&peers).map(|(ours, peer)| ours / peer).collect();
        Finding::of(bar, mean(rates) / mean(&peers)).spread(spread(pairs))
    };
    let mut findings = vec![finding(&SPAWNER, &ours), finding(&CLI, &clis)];
    let last = findings.last_mut().context("there are two findings")?;
    last.notes.extend([text("spawner", &ours), text("run SPEC -- /bin/true", &clis)]);
    if !peers.is_empty() {
        last.notes.push(text("bwrap", &peers));
    }
    last.notes.push(format!("{blocks} blocks of {} runs each; {}", PARALLEL * EACH, gate.text()));
    Ok(findings)
}
