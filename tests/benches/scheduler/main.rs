//! The bars of the scheduler and the state: each is measured here and printed, none is assumed.
//!
//! `--json` prints one object a line; `--only BAR` measures those whose names begin so. Ends with 1 when a bar is broken.

#![expect(clippy::print_stdout, reason = "what was measured is printed")]

#[path = "../../../sandbox/benches/sandbox/bars.rs"]
#[expect(dead_code, reason = "the benchmark of the sandbox has more kinds of bars")]
mod bars;
mod decision;

use std::process::ExitCode;

use bars::Finding;

fn main() -> anyhow::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let json = words.iter().any(|word| word == "--json");
    let only: Vec<&str> = words.windows(2).filter(|pair| pair[0] == "--only").map(|pair| pair[1].as_str()).collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| name.starts_with(only));
    let mut is_broken = false;
    for (name, measure) in [("decision", decision::measure as fn() -> anyhow::Result<Vec<Finding>>)] {
        if !wanted(name) {
            continue;
        }
        for finding in measure()? {
            is_broken |= finding.holds() == Some(false);
            println!("{}", if json { finding.json() } else { finding.text() });
        }
    }
    Ok(if is_broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
