//! Samples in turns: a block of each subject, then the next, in changing order, each when the machine is idle.
//!
//! What disturbs the machine for a while disturbs all subjects alike, and the ratio of two is less than their difference.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::poll::{PollTimeout, poll};

use crate::samples::Samples;

/// Samples of a block.
const BLOCK: usize = 20;
/// How much of the machine must be idle before a block.
const IDLE: f64 = 0.85;
/// How long idleness is looked at.
const LOOK_MS: u8 = 100;
/// Longest wait for it before a block, and before all blocks of a group together.
const WAIT_ONE: Duration = Duration::from_secs(10);
const WAIT_ALL: Duration = Duration::from_secs(90);

/// Something whose time is taken.
pub(crate) trait Subject {
    fn name(&self) -> &str;

    /// Brings everything to where it is between runs; not timed.
    fn settle(&mut self) -> anyhow::Result<()>;

    /// Runs once and says how long it took.
    fn once(&mut self) -> anyhow::Result<Duration>;
}

/// Waits for an idle machine, and remembers how often there was none.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    waited: Duration,
    blocks: usize,
    never_idle: usize,
}

impl Gate {
    pub(crate) fn wait(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        self.blocks += 1;
        loop {
            let before = processor_times()?;
            pass(LOOK_MS)?;
            let after = processor_times()?;
            let all = after.0.saturating_sub(before.0).max(1);
            let idle = after.1.saturating_sub(before.1);
            if idle as f64 / all as f64 >= IDLE {
                break;
            }
            if start.elapsed() > WAIT_ONE || self.waited + start.elapsed() > WAIT_ALL {
                self.never_idle += 1;
                break;
            }
        }
        self.waited += start.elapsed();
        Ok(())
    }

    /// What a reader must know about the machine.
    pub(crate) fn text(&self) -> String {
        match self.never_idle {
            0 => format!("the machine was idle before each of {} blocks", self.blocks),
            busy => format!(
                "the machine was NOT idle before {busy} of {} blocks: other work is in the numbers",
                self.blocks
            ),
        }
    }
}

/// Takes `count` samples of each subject.
pub(crate) fn take(subjects: &mut [Box<dyn Subject + '_>], count: usize) -> anyhow::Result<(Vec<Samples>, Gate)> {
    let mut gate = Gate::default();
    for subject in subjects.iter_mut() {
        // The first one loads programs and makes what later ones find.
        subject.settle().and_then(|()| subject.once()).with_context(|| subject.name().to_owned())?;
    }
    let mut samples: Vec<Samples> = subjects.iter().map(|_| Samples::default()).collect();
    let mut left = count;
    let mut round = 0;
    while left > 0 {
        let block = left.min(BLOCK);
        for turn in 0..subjects.len() {
            let index = if round % 2 == 0 { turn } else { subjects.len() - 1 - turn };
            gate.wait()?;
            let subject = &mut subjects[index];
            let mut times = Vec::with_capacity(block);
            for _ in 0..block {
                let time = subject.settle().and_then(|()| subject.once());
                times.push(time.with_context(|| subject.name().to_owned())?);
            }
            samples[index].blocks.push(times);
        }
        left -= block;
        round += 1;
    }
    Ok((samples, gate))
}

/// Lets time pass.
pub(crate) fn pass(milliseconds: u8) -> anyhow::Result<()> {
    poll(&mut [], PollTimeout::from(milliseconds)).context("failed to wait")?;
    Ok(())
}

/// All time of all processors, and the idle part of it, in clock ticks.
fn processor_times() -> anyhow::Result<(u64, u64)> {
    let stat = std::fs::read_to_string("/proc/stat").context("failed to read /proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let times: Vec<u64> = line.split_whitespace().skip(1).take(8).filter_map(|word| word.parse().ok()).collect();
    let idle = times.get(3).zip(times.get(4)).map(|(idle, wait)| idle + wait);
    Ok((times.iter().sum(), idle.context("/proc/stat does not name idle time")?))
}
