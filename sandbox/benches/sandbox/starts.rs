//! How long one run of `/bin/true` takes from start to exit, and a prepared sandbox from claim to execution.
//!
//! Run directories and workspaces are on a tmpfs, so that no disk is measured; one line says what a disk adds.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use orch_sandbox::Prewarm;

use crate::bars::{Bar, Finding, Limit};
use crate::options::Options;
use crate::place::{NO_PEER, Place, peer_command, quiet, time};
use crate::runs::{Runs, spec, step};
use crate::samples::{Samples, quantile, ratio};
use crate::turns::{Subject, take};

const PEER: &str = "bwrap, same layout, p50";

const fn start(name: &'static str, limit: f64, stretch: f64) -> Bar {
    Bar { name, unit: "ratio", against: PEER, limit: Limit::AtMost(limit), stretch: Some(stretch) }
}

static CLI: Bar = start("start-cli", 0.65, 0.50);
static SPAWNER: Bar = start("start-spawner", 0.55, 0.45);
static POOLED: Bar = start("start-pooled", 0.38, 0.30);
static SLOT: Bar = start("start-slot", 0.28, 0.22);
static CLAIM_P50: Bar =
    Bar { name: "claim-p50", unit: "us", against: "nothing", limit: Limit::AtMost(120.0), stretch: Some(60.0) };
static CLAIM_P99: Bar =
    Bar { name: "claim-p99", unit: "us", against: "nothing", limit: Limit::AtMost(2000.0), stretch: None };

pub(crate) static BARS: &[&Bar] = &[&CLI, &SPAWNER, &POOLED, &SLOT, &CLAIM_P50, &CLAIM_P99];

/// Nothing is ready.
pub(crate) const COLD: Prewarm = Prewarm { slots: 0, networks: 0 };
const POOL: Prewarm = Prewarm { slots: 0, networks: 4 };
const SLOTS: Prewarm = Prewarm { slots: 2, networks: 4 };

/// A command from start to exit.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) command: Command,
}

impl Subject for Program {
    fn name(&self) -> &str {
        self.name
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    fn once(&mut self) -> anyhow::Result<Duration> {
        time(&mut self.command)
    }
}

/// A run through a spawner, from the request to the end of the shim.
pub(crate) struct Spawning<'a> {
    name: &'static str,
    runs: Runs,
    /// Times from claim to execution, in microseconds.
    claims: Option<&'a mut Vec<f64>>,
}

impl Subject for Spawning<'_> {
    fn name(&self) -> &str {
        self.name
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        self.runs.settle()
    }

    fn once(&mut self) -> anyhow::Result<Duration> {
        let (time, record) = self.runs.once()?;
        if let Some(claims) = &mut self.claims {
            let nanoseconds =
                record.claim_to_exec_ns.context("the record does not say when its program was executed")?;
            claims.push(nanoseconds as f64 / 1000.0);
        }
        Ok(time)
    }
}

/// `orch-sandbox run SPEC -- /bin/true` with a spec and a workspace in `directory`.
pub(crate) fn cli(place: &Place, directory: PathBuf) -> anyhow::Result<Command> {
    let path = directory.join("spec.json");
    let json = serde_json::to_vec(&spec(&directory, vec![step(&["/bin/true"])])?)?;
    std::fs::write(&path, json).context("failed to write a spec")?;
    let mut command = Command::new(&place.sandbox);
    command.arg("run").arg(path).args(["--", "/bin/true"]);
    quiet(&mut command);
    Ok(command)
}

pub(crate) fn measure(place: &Place, options: &Options) -> anyhow::Result<Vec<Finding>> {
    let mut claims = Vec::new();
    let spawning = |name, runs| Box::new(Spawning { name, runs, claims: None });
    let mut plain = Command::new("/bin/true");
    quiet(&mut plain);
    let mut subjects: Vec<Box<dyn Subject>> = vec![
        Box::new(Program { name: "run SPEC -- /bin/true", command: cli(place, place.in_memory("cli")?)? }),
        spawning("spawner, nothing ready", Runs::in_memory(place, "cold", COLD)?),
        spawning("spawner, network ready", Runs::in_memory(place, "pooled", POOL)?),
        Box::new(Spawning {
            name: "spawner, slot ready",
            runs: Runs::in_memory(place, "slot", SLOTS)?,
            claims: Some(&mut claims),
        }),
        spawning("slot ready, on the disk", Runs::start(&place.sandbox, place.on_disk("slot")?, SLOTS)?),
        Box::new(Program { name: "/bin/true, no sandbox", command: plain }),
    ];
    if let Some(peer) = &place.peer {
        let workspace = place.in_memory("peer")?;
        subjects.push(Box::new(Program { name: "bwrap", command: peer_command(peer, &workspace) }));
    }
    let names: Vec<String> = subjects.iter().map(|subject| subject.name().to_owned()).collect();
    let (samples, gate) = take(&mut subjects, options.samples())?;
    drop(subjects);
    let lines: Vec<String> = names.iter().zip(&samples).map(|(name, samples)| samples.text(name)).collect();
    let peer = if place.peer.is_some() { samples.last().zip(lines.last()) } else { None };
    let against_peer = |bar: &'static Bar, ours: &Samples, line: &String| match peer {
        Some((peer, peer_line)) => {
            let (value, spread) = ratio(ours, peer);
            let quiet = ours.quantile(0.0) / peer.quantile(0.0);
            let finding = Finding::of(bar, value).spread(spread).note(line).note(peer_line);
            finding.note(format!("ratio of the minima, which other work disturbs least: {quiet:.2}"))
        }
        None => Finding::unknown(bar, NO_PEER).note(line),
    };
    let bars = [&CLI, &SPAWNER, &POOLED, &SLOT].into_iter().zip(samples.iter().zip(&lines));
    let mut findings: Vec<Finding> = bars.map(|(bar, (ours, line))| against_peer(bar, ours, line)).collect();
    if let Some(slot) = findings.last_mut() {
        // For comparison; no bar is about them.
        slot.notes.extend_from_slice(&lines[4..6]);
    }
    // The first run has no slot yet: it only tells the spawner what to prepare.
    let claims: Vec<f64> = claims.into_iter().skip(1).collect();
    findings.push(Finding::of(&CLAIM_P50, quantile(claims.clone(), 0.5)));
    findings.push(Finding::of(&CLAIM_P99, quantile(claims, 0.99)));
    findings.iter_mut().for_each(|finding| finding.notes.push(gate.text()));
    Ok(findings)
}
