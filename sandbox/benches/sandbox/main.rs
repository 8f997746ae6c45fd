//! `cargo bench -p orch-sandbox --bench sandbox`: what a sandbox costs beside bubblewrap on this machine, now.
//!
//! Measures, never assumes: every number is taken in this run, ours and the peer's in turns, and a run that fails is an
//! error and no sample. In reading order: `options`; `person` becomes an ordinary user; `place` has directories and
//! programs, `bwrap` the peer; `runs` starts runs through a spawner, the only file that knows its interface; `turns` takes
//! samples in turns when the machine is idle; `samples` makes numbers of them; `bars` says what must hold and prints it. One
//! file for each group of bars: `starts`, `mounts`, `rates`, `proxied`, `leaks`, `kills`, `escapes`.

mod bars;
mod bwrap;
mod escapes;
mod kills;
mod leaks;
mod mounts;
mod options;
mod person;
mod place;
mod proxied;
mod rates;
mod runs;
mod samples;
mod starts;
mod turns;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;

use bars::{Bar, Finding};
use options::Options;
use place::Place;

/// Measures the bars of one group.
type Group = fn(&Place, &Options) -> anyhow::Result<Vec<Finding>>;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // The parts that this program plays when it starts itself.
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--serve-mounts", count, directory, sandbox] => return mounts::serve(count, directory, sandbox),
        ["--connect", address, count, asked @ ..] => return proxied::connect(address, count, asked.first().copied()),
        _ => {}
    }
    let options = Options::parse(&words)?;
    if let Some(ended) = person::become_ordinary(&options, &words)? {
        return Ok(ended);
    }
    let place = Place::new(&options).context("failed to make a place for runs")?;
    let groups: [(&[&Bar], Group); 7] = [
        (starts::BARS, starts::measure),
        (mounts::BARS, mounts::measure),
        (rates::BARS, rates::measure),
        (proxied::BARS, proxied::measure),
        (kills::BARS, kills::measure),
        (leaks::BARS, leaks::measure),
        (escapes::BARS, escapes::measure),
    ];
    let mut failed = false;
    // For a table, what a column is.
    if !options.json {
        show("bar                 value unit   (10%-90%)       limit")?;
    }
    for (bars, measure) in groups {
        if !bars.iter().any(|bar| options.wants(bar.name)) {
            continue;
        }
        eprintln!("bench: measuring {}", bars.iter().map(|bar| bar.name).collect::<Vec<_>>().join(", "));
        let findings = measure(&place, &options).with_context(|| format!("failed to measure {}", bars[0].name))?;
        for finding in findings.iter().filter(|finding| options.wants(finding.bar.name)) {
            failed |= finding.holds() == Some(false);
            show(&if options.json { finding.json() } else { finding.text() })?;
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prints a line; whoever has stopped reading ends the measurement in good order.
fn show(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("failed to print")
}
