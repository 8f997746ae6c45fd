//! Real crashes: the real daemon, its spawner and its shims are killed, and what was promised is looked for afterwards.
//!
//! `effects` kills the daemon at each of its effects, one after the other, while `scenario` plays; `load` kills it at random
//! moments with many runs under way; `together` kills all at once, as a reboot does; `parts` kills shims and spawner while the
//! daemon lives; `clients` kills those who ask. `site` is where that takes place, `verdict` what must hold afterwards.
//! `cargo test` has a sample of each. Larger ones: `ORCH_CRASH_EFFECTS=all` (or a number; with `ORCH_CRASH_PARTS=2` and
//! `ORCH_CRASH_PART=1` half of them), `ORCH_CRASH_ROUNDS=1000` with `ORCH_CRASH_LIVE=100`, `ORCH_CRASH_SEED=7` for other
//! chances, `ORCH_CRASH_CALLS=1000` for more calls of clients that are killed, `ORCH_CRASH_SECONDS=600` to begin no other round
//! after that. A death at an effect that shows something prints `ORCH_CRASH_DEATH`, with which it is died again.

#[path = "../sim/dice.rs"]
mod dice;

mod clients;
mod effects;
mod load;
mod parts;
mod scenario;
mod site;
mod together;
mod verdict;

use std::time::{Duration, Instant};

use orch_tests::{Programs, Setup, Story};

use dice::Dice;

/// Tells a story with the programs of this build.
fn story(name: &str, setup: Setup, tell: impl AsyncFnOnce(&mut Story) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let programs = Programs {
        orchd: env!("CARGO_BIN_EXE_e2e-orchd"),
        orchctl: env!("CARGO_BIN_EXE_e2e-orchctl"),
        sandbox: env!("CARGO_BIN_EXE_e2e-orch-sandbox"),
        tui: env!("CARGO_BIN_EXE_e2e-orch-tui"),
    };
    Story::tell(name, programs, setup, tell)
}

/// A number that the environment may set.
fn asked(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// When no other round begins, if somebody said so.
fn deadline() -> Instant {
    const A_DAY: u64 = 24 * 60 * 60;
    Instant::now() + Duration::from_secs(asked("ORCH_CRASH_SECONDS", A_DAY).min(A_DAY))
}

/// The chances of a story; `apart` keeps those of several stories apart.
fn dice(apart: u64) -> Dice {
    Dice::new(asked("ORCH_CRASH_SEED", 1).wrapping_mul(1_000_003).wrapping_add(apart))
}
