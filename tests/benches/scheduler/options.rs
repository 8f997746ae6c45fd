//! What this program is asked to do.

use crate::words::Wanted;

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
    pub(crate) wanted: Wanted,
    pub(crate) tasks: u32,
    pub(crate) rounds: u32,
    pub(crate) queued: u32,
    pub(crate) finished: u32,
}

impl Options {
    pub(crate) fn parse(words: &[String]) -> anyhow::Result<Self> {
        let (mut tasks, mut rounds, mut queued, mut finished) = (10_000, 3, 100_000, 1_000_000);
        let mut numbers = [
            ("--tasks", &mut tasks),
            ("--rounds", &mut rounds),
            ("--queued", &mut queued),
            ("--finished", &mut finished),
        ];
        let wanted = Wanted::read(words, USAGE, &mut numbers)?;
        Ok(Self { wanted, tasks, rounds, queued, finished })
    }

    /// Whether a bar is to be measured.
    pub(crate) fn wants(&self, bar: &str) -> bool {
        self.wanted.wants(bar)
    }
}
