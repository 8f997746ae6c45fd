//! `cargo bench -p orch-tests --bench agents`: the bars of the model gateway.
//!
//! Measures, never assumes: a real daemon serves real runs, whose agent is a program of the tests that only asks; the same
//! program asks the same server without a gateway, in turns. The server is the scripted model of the stories. In reading
//! order: `options`; `load` has the askers on both ways; `first_byte` and `streams` are a group of bars each. What it
//! shares with other benchmarks is in `shared` and in the benchmark of the sandbox. How fast transcripts are read is the
//! benchmark `transcripts` of the core.

#[path = "../shared/area.rs"]
mod area;
#[path = "../../../sandbox/benches/sandbox/bars.rs"]
#[expect(dead_code, reason = "other benchmarks have bars from below and unknown ones, too")]
mod bars;
#[path = "../shared/clock.rs"]
#[expect(dead_code, reason = "the benchmark of the scheduler compares times of the log, too")]
mod clock;
#[path = "../shared/disk.rs"]
mod disk;
mod first_byte;
mod load;
mod options;
#[path = "../../../sandbox/benches/sandbox/samples.rs"]
#[expect(dead_code, reason = "the benchmark of the sandbox has ratios, too")]
mod samples;
#[path = "../shared/site.rs"]
#[expect(dead_code, reason = "the benchmark of the scheduler hands in tasks and restarts, too")]
mod site;
mod streams;
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
    let groups: [Group<Options>; 2] = [(first_byte::BARS, first_byte::measure), (streams::BARS, streams::measure)];
    area::measure(&options.wanted, &options, &groups)
}
