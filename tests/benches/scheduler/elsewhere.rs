//! Bars that are held elsewhere because they take hours: what holds them, as a command.

use crate::bars::{Bar, Finding, Limit};
use crate::options::Options;

const fn none(name: &'static str, unit: &'static str, against: &'static str) -> Bar {
    Bar { name, unit, against, limit: Limit::AtMost(0.0), stretch: None }
}

static KILLS: Bar = none("kill-9", "runs", "lost, doubled or left of 100, daemon killed 1,000 times");
static SIMULATION: Bar = none("simulation", "seeds", "that fail, of 100,000");

pub(crate) static BARS: &[&Bar] = &[&KILLS, &SIMULATION];

#[expect(clippy::unnecessary_wraps, reason = "as every group is measured")]
pub(crate) fn measure(_: &Options) -> anyhow::Result<Vec<Finding>> {
    let kills = "measured by: ORCH_CRASH_ROUNDS=1000 ORCH_CRASH_LIVE=100 cargo test --release -p orch-tests --test crashes load";
    let seeds = "measured by: ORCH_SIM_SEEDS=100000 cargo test --release -p orch-tests --test sim";
    Ok(vec![Finding::unknown(&KILLS, kills), Finding::unknown(&SIMULATION, seeds)])
}
