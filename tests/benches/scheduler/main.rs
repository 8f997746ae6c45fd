//! `cargo bench -p orch-tests --bench scheduler`: the bars of the scheduler and the state.
//!
//! Measures, never assumes: every number is taken in this run, ours and the peers' in turns. Peers are what is installed;
//! a bar without its peer is unknown and says why. In reading order: `options`; `site` is a daemon with a state of its
//! own; `peers` and `postgres` are what others do; `lifecycle` and `grown` give a store what a daemon gives it; a file for
//! each group of bars: `decision`, `fairness`, `noop`, `enqueue`, `transitions`, `started`, `memory`, `restart`, and
//! `elsewhere` for what other programs hold. With the benchmark of the sandbox it shares `bars`, `samples`, `turns` and
//! `bwrap`, with that of the agents what is in `shared`.

#[path = "../shared/area.rs"]
mod area;
#[path = "../../../sandbox/benches/sandbox/bars.rs"]
mod bars;
#[path = "../../../sandbox/benches/sandbox/bwrap.rs"]
mod bwrap;
#[path = "../shared/clock.rs"]
mod clock;
mod decision;
#[path = "../shared/disk.rs"]
mod disk;
mod elsewhere;
mod enqueue;
mod fairness;
mod grown;
mod lifecycle;
mod memory;
mod noop;
mod options;
mod peers;
mod postgres;
mod restart;
#[path = "../../../sandbox/benches/sandbox/samples.rs"]
#[expect(dead_code, reason = "the benchmark of the sandbox compares samples, too")]
mod samples;
#[path = "../shared/site.rs"]
mod site;
mod started;
mod transitions;
#[path = "../../../sandbox/benches/sandbox/turns.rs"]
#[expect(dead_code, reason = "the benchmark of the sandbox has subjects, too")]
mod turns;
#[path = "../shared/words.rs"]
mod words;

use std::process::ExitCode;

use area::Group;
use options::Options;

fn main() -> ExitCode {
    area::ended(run())
}

fn run() -> anyhow::Result<ExitCode> {
    let options = Options::parse(&std::env::args().skip(1).collect::<Vec<_>>())?;
    let groups: [Group<Options>; 9] = [
        (decision::BARS, decision::measure),
        (fairness::BARS, fairness::measure),
        (noop::BARS, noop::measure),
        (enqueue::BARS, enqueue::measure),
        (transitions::BARS, transitions::measure),
        (started::BARS, started::measure),
        (memory::BARS, memory::measure),
        (restart::BARS, restart::measure),
        (elsewhere::BARS, elsewhere::measure),
    ];
    area::measure(&options.wanted, &options, &groups)
}
