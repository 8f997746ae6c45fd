//! What this program is asked to do.

use crate::words::Wanted;

const USAGE: &str = "\
arguments: [--json] [--only BAR]... [--blocks N] [--requests N] [--rounds N] [--seconds N]

  --json        one line of JSON for each bar
  --only BAR    only bars whose name begins with BAR
  --blocks N    so many blocks of requests on each way instead of 10
  --requests N  so many requests of a block, one after the other, instead of 100
  --rounds N    so many rounds of streams on each way instead of 3
  --seconds N   so long is looked at the streams of a round instead of 20";

/// The arguments.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) wanted: Wanted,
    pub(crate) blocks: u32,
    pub(crate) requests: u32,
    pub(crate) rounds: u32,
    pub(crate) seconds: u32,
}

impl Options {
    pub(crate) fn parse(words: &[String]) -> anyhow::Result<Self> {
        let (mut blocks, mut requests, mut rounds, mut seconds) = (10, 100, 3, 20);
        let mut numbers = [
            ("--blocks", &mut blocks),
            ("--requests", &mut requests),
            ("--rounds", &mut rounds),
            ("--seconds", &mut seconds),
        ];
        let wanted = Wanted::read(words, USAGE, &mut numbers)?;
        Ok(Self { wanted, blocks, requests, rounds, seconds })
    }
}
