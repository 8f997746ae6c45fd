//! `cargo bench -p orch-tests --bench scheduler`: the bars of the scheduler and the state.
//!
//! Measures, never assumes: every number is taken in this run, ours and the peers' in turns. Peers are what is installed;
//! a bar without its peer is unknown and says why. In reading order: `options`; `site` is a daemon with a state of its
//! own; `peers` and `postgres` are what others do; `lifecycle` and `grown` give a store what a daemon gives it; a file for
//! each group of bars: `decision`, `fairness`, `noop`, `enqueue`, `transitions`, `started`, `memory`, `restart`, and
//! `elsewhere` for what other programs hold. With the benchmark of the sandbox it shares `bars`, `samples`, `turns` and
//! `bwrap`.

#[path = "../../../sandbox/benches/sandbox/bars.rs"]
mod bars;
#[path = "../../../sandbox/benches/sandbox/bwrap.rs"]
mod bwrap;
mod clock;
mod decision;
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
mod site;
mod started;
mod transitions;
#[path = "../../../sandbox/benches/sandbox/turns.rs"]
#[expect(dead_code, reason = "the benchmark of the sandbox has subjects, too")]
mod turns;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use bars::{Bar, Finding};
use options::Options;

/// Measures the bars of one group.
type Group = fn(&Options) -> anyhow::Result<Vec<Finding>>;

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
    let options = Options::parse(&std::env::args().skip(1).collect::<Vec<_>>())?;
    let directory = std::env::temp_dir();
    let kind = statfs(&directory).context("failed to look at the directory for temporary files")?.filesystem_type();
    ensure!(
        kind != TMPFS_MAGIC,
        "`{}` is a tmpfs, where nothing is durable; name a directory on a disk with TMPDIR",
        directory.display()
    );
    let groups: [(&[&Bar], Group); 9] = [
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
    let mut is_broken = false;
    for (bars, measure) in groups {
        let wanted: Vec<&str> = bars.iter().map(|bar| bar.name).filter(|name| options.wants(name)).collect();
        if wanted.is_empty() {
            continue;
        }
        eprintln!("bench: measuring {}", wanted.join(", "));
        let findings = measure(&options).with_context(|| format!("failed to measure {}", wanted.join(", ")))?;
        for finding in findings.iter().filter(|finding| options.wants(finding.bar.name)) {
            is_broken |= finding.holds() == Some(false);
            show(&if options.json { finding.json() } else { finding.text() })?;
        }
    }
    Ok(if is_broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prints a line; whoever has stopped reading ends the measurement in good order.
fn show(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("failed to print")
}

/// What clients of a daemon run on. One thread: the machine is for the daemon.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
