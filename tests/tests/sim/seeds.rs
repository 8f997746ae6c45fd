//! Which seeds a simulation runs, on all processors, and how a failure is told.
//!
//! `ORCH_SIM_SEEDS=100000` runs so many, `ORCH_SIM_FROM=5000` with that number for the first, `ORCH_SIM_SEED=123` runs that one.
//! `ORCH_SIM_TRIES=0` makes no failure shorter. Of many seeds it is told now and then how many are done.

use std::fmt::Debug;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use orch_tests::tell;

use crate::shrink::shrink;

/// Seeds that are run when nobody says how many.
pub(crate) const SEEDS: u64 = 200;

/// How often what failed is run again to make it shorter, when nobody says how often.
const TRIES: u32 = 400;

/// After how many seeds it is told that they are done.
const TOLD_EVERY: u64 = 1_000;

/// What a seed came to, when it failed.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) seed: u64,
    pub(crate) why: String,
}

/// Runs the seeds that the environment asks for, and answers how many they were, or the smallest that failed.
///
/// # Panics
/// When the environment asks for what is no number.
pub(crate) fn run(one: impl Fn(u64) -> Result<(), String> + Sync) -> Result<u64, Failed> {
    let (count, failed) = match number("ORCH_SIM_SEED") {
        Some(seed) => (1, attempt(&one, seed)),
        None => {
            let count = number("ORCH_SIM_SEEDS").unwrap_or(SEEDS);
            let from = number("ORCH_SIM_FROM").unwrap_or(0);
            (count, first_failing(from..from.saturating_add(count), one))
        }
    };
    failed.map_or(Ok(count), Err)
}

/// How often what failed is run again to make it shorter.
///
/// # Panics
/// When the environment asks for what is no number.
fn tries() -> u32 {
    number("ORCH_SIM_TRIES").map_or(TRIES, |tries| u32::try_from(tries).unwrap_or(u32::MAX))
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var_os(name)?;
    let number = text.to_str().and_then(|text| text.parse().ok());
    assert!(number.is_some(), "{name} is {}, which is no number", text.display());
    number
}

/// Runs the seeds and answers the smallest that failed. Larger ones are not begun after that.
pub(crate) fn first_failing(seeds: Range<u64>, one: impl Fn(u64) -> Result<(), String> + Sync) -> Option<Failed> {
    let (next, end) = (AtomicU64::new(seeds.start), AtomicU64::new(seeds.end));
    let worker = || {
        let mut failed: Option<Failed> = None;
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end.load(Ordering::Relaxed) {
                return failed;
            }
            let done = seed - seeds.start;
            if done > 0 && done.is_multiple_of(TOLD_EVERY) {
                tell(&format!("{done} of {} seeds", seeds.end - seeds.start));
            }
            if let Some(found) = attempt(&one, seed) {
                end.fetch_min(seed, Ordering::Relaxed);
                failed = Some(found);
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        let failed = running.into_iter().filter_map(|worker| worker.join().expect("a seed's panic is caught"));
        failed.min_by_key(|failed| failed.seed)
    })
}

/// Runs one seed; a panic is a failure.
fn attempt(one: impl Fn(u64) -> Result<(), String>, seed: u64) -> Option<Failed> {
    let why = match catch_unwind(AssertUnwindSafe(|| one(seed))) {
        Ok(Ok(())) => return None,
        Ok(Err(why)) => why,
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            format!("panicked: {}", text.unwrap_or_else(|| "no message".to_owned()))
        }
    };
    Some(Failed { seed, why })
}

/// A failure with all that is needed to look into it: `on` says where it happened, `run` runs what is left of `ops`, and `test` is
/// the test that runs the seed again.
pub(crate) fn told<Op: Clone + Debug>(
    Failed { seed, why }: &Failed,
    (test, on): (&str, &str),
    ops: &[Op],
    run: impl Fn(&[Op]) -> Result<(), String>,
) -> String {
    let fails = |ops: &[Op]| attempt(|_| run(ops), *seed);
    let shortest = shrink(ops.to_vec(), tries(), |ops| fails(ops).is_some());
    let again = fails(&shortest).map_or_else(|| "it did not fail again".to_owned(), |failed| failed.why);
    let lines: Vec<String> = shortest.iter().enumerate().map(|(at, op)| format!("  {at}: {op:?}")).collect();
    format!(
        "seed {seed} failed: {why}\non {on}, of {} things that happen these are enough:\n{}\nwhich fails: {again}\nagain: \
         ORCH_SIM_SEED={seed} cargo test -p orch-tests --test sim {test}",
        ops.len(),
        lines.join("\n"),
    )
}
