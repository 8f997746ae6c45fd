//! What this program is asked to do.

use std::path::PathBuf;

use anyhow::{Context as _, bail};

/// Samples of each subject without `--runs`.
const SAMPLES: usize = 200;
/// Runs that must leave nothing behind without `--runs`.
const LEAK_RUNS: usize = 10_000;

const USAGE: &str = "\
arguments: [--json] [--only BAR]... [--runs N] [--user NAME] [--program PATH] [--suite PATH]

  --json          one line of JSON for each bar
  --only BAR      only bars whose name begins with BAR
  --runs N        so many samples of each subject instead of 200, and so many runs instead of 10,000 for the leaks
  --user NAME     the ordinary user to be when started by root
  --program PATH  measure this orch-sandbox instead of the one that was built beside this program
  --suite PATH    the built test program of the sandbox, for the escape suite";

/// The arguments.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) json: bool,
    only: Vec<String>,
    runs: Option<usize>,
    pub(crate) user: Option<String>,
    pub(crate) program: Option<PathBuf>,
    pub(crate) suite: Option<PathBuf>,
    /// Root left the kernel's list of slabs open as standard input.
    pub(crate) slabs: bool,
}

impl Options {
    pub(crate) fn parse(words: &[String]) -> anyhow::Result<Self> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("`{word}` needs a value\n{USAGE}"));
            match word.as_str() {
                // Cargo says so to every benchmark.
                "--bench" => {}
                "--json" => options.json = true,
                "--only" => options.only.push(value()?.clone()),
                "--runs" => {
                    let runs: usize = value()?.parse().context("`--runs` needs a number")?;
                    anyhow::ensure!(runs > 0, "`--runs` needs at least 1");
                    options.runs = Some(runs);
                }
                "--user" => options.user = Some(value()?.clone()),
                "--program" => options.program = Some(value()?.into()),
                "--suite" => options.suite = Some(value()?.into()),
                "--slabs-on-stdin" => options.slabs = true,
                other => bail!("there is no argument `{other}`\n{USAGE}"),
            }
        }
        Ok(options)
    }

    /// Whether a bar is to be measured.
    pub(crate) fn wants(&self, bar: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| bar.starts_with(only.as_str()))
    }

    /// Samples of each subject.
    pub(crate) fn samples(&self) -> usize {
        self.runs.unwrap_or(SAMPLES)
    }

    /// Runs that must leave nothing behind.
    pub(crate) fn leak_runs(&self) -> usize {
        self.runs.unwrap_or(LEAK_RUNS)
    }
}
