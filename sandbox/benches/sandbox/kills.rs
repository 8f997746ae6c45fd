//! How long it takes to end a run of 500 processes, to the last of them and the written record.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use orch_sandbox::control;

use crate::bars::{Bar, Finding, Limit};
use crate::options::Options;
use crate::place::Place;
use crate::runs::{Runs, output, step, wait};
use crate::samples::quantile;
use crate::starts::COLD;
use crate::turns::pass;

static KILL: Bar = Bar { name: "kill-500", unit: "ms", against: "nothing", limit: Limit::AtMost(100.0), stretch: None };

pub(crate) static BARS: &[&Bar] = &[&KILL];

/// With the shell that starts them.
const PROCESSES: usize = 500;
const ROUNDS: usize = 10;
/// Looks at the log while they are started, 5 ms apart.
const LOOKS: usize = 4000;

pub(crate) fn measure(place: &Place, _: &Options) -> anyhow::Result<Vec<Finding>> {
    let mut runs = Runs::in_memory(place, "kill", COLD)?;
    // Seconds that nobody else waits for, so that its processes are told from others of this user.
    let marker = format!("1{:07}", std::process::id());
    let script = format!(
        "i=1; while [ $i -lt {PROCESSES} ]; do sleep {marker} <&- >&- 2>&- & i=$((i+1)); done; echo started; wait"
    );
    runs.spec.steps = vec![step(&["sh", "-c", &script])];
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let run = runs.prepare()?;
        let spawned = runs.spawn(&run)?;
        let mut looks = 0;
        // The last ones may still be on their way to their program.
        while !output(&run)?.contains("started") || marked(&marker)? != PROCESSES {
            looks += 1;
            ensure!(looks < LOOKS, "the {PROCESSES} processes were not there in time");
            pass(5)?;
        }
        let start = Instant::now();
        control::cancel(&run.directory).context("failed to cancel")?;
        wait(&spawned)?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
        let left = marked(&marker)?;
        ensure!(left == 0, "{left} processes are left");
        runs.finish(&run)?;
    }
    let [p50, worst] = [0.5, 1.0].map(|share| quantile(times.clone(), share));
    let note = format!("from the request to the end of the shim, the slowest of {ROUNDS}; p50 {p50:.1} ms");
    Ok(vec![Finding::of(&KILL, worst).note(note)])
}

/// Processes that have `marker` among their arguments.
fn marked(marker: &str) -> anyhow::Result<usize> {
    let entries = std::fs::read_dir("/proc")?.flatten();
    let arguments = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    Ok(arguments.filter(|words| String::from_utf8_lossy(words).contains(marker)).count())
}
