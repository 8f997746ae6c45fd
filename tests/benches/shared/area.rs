//! How an area is measured: group after group, each finding printed as soon as it is there.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use crate::bars::{Bar, Finding};
use crate::words::Wanted;

/// Measures the bars of one group.
pub(crate) type Group<O> = (&'static [&'static Bar], fn(&O) -> anyhow::Result<Vec<Finding>>);

/// The exit code of a benchmark that ended so.
pub(crate) fn ended(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures what is wanted of `groups`.
pub(crate) fn measure<O>(wanted: &Wanted, options: &O, groups: &[Group<O>]) -> anyhow::Result<ExitCode> {
    on_disk()?;
    let mut is_broken = false;
    for (bars, measure) in groups {
        let names: Vec<&str> = bars.iter().map(|bar| bar.name).filter(|name| wanted.wants(name)).collect();
        if names.is_empty() {
            continue;
        }
        eprintln!("bench: measuring {}", names.join(", "));
        let findings = measure(options).with_context(|| format!("failed to measure {}", names.join(", ")))?;
        for finding in findings.iter().filter(|finding| wanted.wants(finding.bar.name)) {
            is_broken |= finding.holds() == Some(false);
            show(&if wanted.json { finding.json() } else { finding.text() })?;
        }
    }
    Ok(if is_broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What a daemon keeps is durable only on a disk.
fn on_disk() -> anyhow::Result<()> {
    let directory = std::env::temp_dir();
    let kind = statfs(&directory).context("failed to look at the directory for temporary files")?.filesystem_type();
    ensure!(
        kind != TMPFS_MAGIC,
        "`{}` is a tmpfs, where nothing is durable; name a directory on a disk with TMPDIR",
        directory.display()
    );
    Ok(())
}

/// Prints a line; whoever has stopped reading ends the measurement in good order.
fn show(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("failed to print")
}

/// What clients of a daemon run on. One thread: the machine is for the daemon.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
