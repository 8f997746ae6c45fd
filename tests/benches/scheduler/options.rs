//! What this program is asked to do.

use anyhow::{Context as _, bail, ensure};

const USAGE: &str = "\
arguments: [--json] [--only BAR]... [--tasks N] [--rounds N] [--queued N] [--finished N]

  --json        one line of JSON for each bar
  --only BAR    only bars whose name begins with BAR
  --tasks N     so many no-op tasks instead of 10,000
  --rounds N    so many rounds instead of 3 where ours and peers are measured in turns
  --queued N    the longest queue for enqueueing, and the queue of the daemon whose memory is measured is a tenth of it;
                100,000
  --finished N  tasks that are over, and events before a start, instead of 1,000,000";

/// The arguments.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) json: bool,
    only: Vec<String>,
    pub(crate) tasks: u32,
    pub(crate) rounds: u32,
    pub(crate) queued: u32,
    pub(crate) finished: u32,
}

impl Options {
    pub(crate) fn parse(words: &[String]) -> anyhow::Result<Self> {
        let mut options =
            Self { json: false, only: Vec::new(), tasks: 10_000, rounds: 3, queued: 100_000, finished: 1_000_000 };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("`{word}` needs a value\n{USAGE}"));
            match word.as_str() {
                // Cargo says so to every benchmark.
                "--bench" => {}
                "--json" => options.json = true,
                "--only" => options.only.push(value()?.clone()),
                "--tasks" => options.tasks = number(word, value()?)?,
                "--rounds" => options.rounds = number(word, value()?)?,
                "--queued" => options.queued = number(word, value()?)?,
                "--finished" => options.finished = number(word, value()?)?,
                other => bail!("there is no argument `{other}`\n{USAGE}"),
            }
        }
        Ok(options)
    }

    /// Whether a bar is to be measured.
    pub(crate) fn wants(&self, bar: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| bar.starts_with(only.as_str()))
    }
}

fn number(word: &str, text: &str) -> anyhow::Result<u32> {
    let number = text.parse().with_context(|| format!("`{word}` needs a number"))?;
    ensure!(number > 0, "`{word}` needs at least 1");
    Ok(number)
}
