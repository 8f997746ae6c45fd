//! What happens to a daemon in one simulation: drawn from the seed ahead, so that parts of it can be left out.

use crate::dice::Dice;
use crate::disk::{Failure, Fault, Request, Stop, Traits};

/// One thing that happens. Each has its own chances, so that it is much the same when others are left out.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Time passes, and parts of the daemon and of the host make so many steps.
    Steps { chance: u64, count: u64 },
    /// People want things.
    Users { chance: u64, count: u64 },
    /// Very many tasks come at once.
    Flood { chance: u64, count: u64 },
    /// Results that were reported come again, as they are or with an old fence.
    Stray { chance: u64 },
    /// The daemon is killed, or all power is cut.
    Stop { how: Stop, chance: u64 },
    /// The daemon is stopped and started in good order.
    Restart { chance: u64 },
    /// The clock is set.
    Clock { by_us: i64 },
    /// Something will go wrong with the disk.
    Plan(Fault),
    /// There is only so much room.
    LeaveRoom { bytes: usize },
    /// Every commit takes that long from now on.
    Slow { ms: u64 },
    /// The disk is as good as new.
    Heal,
    /// The processes of a run are gone.
    Vanish { chance: u64 },
    /// Directories of runs cannot be read or written for a while.
    Break { chance: u64, ms: u64 },
    /// The host and the configuration allow other things.
    Limits { chance: u64 },
    /// Somebody pushes to a branch past the daemon.
    Push { chance: u64 },
    /// Everything is looked at.
    Check,
}

/// A simulation.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) traits: Traits,
    pub(crate) seed: u64,
    pub(crate) ops: Vec<Op>,
}

impl Script {
    /// The simulation of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x5eed_da3a_0000_0000);
        let sector = dice.one_of(&[512, 4096]);
        let traits = Traits { sector, powersafe: dice.once_in(2), forgets: false, lies: false };
        let mood = Mood { is_calm: dice.once_in(4), is_large: dice.once_in(200) };
        let mut ops = vec![Op::Users { chance: dice.number(), count: 12 }];
        let count = usize::try_from(10 + dice.below(24)).unwrap_or(12);
        if mood.is_large {
            ops.push(Op::Steps { chance: dice.number(), count: 20 });
            ops.push(Op::Flood { chance: dice.number(), count: 1_000 + dice.below(1_000) });
        }
        while ops.len() < count {
            ops.push(op(&mut dice, mood));
            if matches!(ops.last(), Some(Op::Plan(_))) || dice.once_in(2) {
                ops.push(Op::Steps { chance: dice.number(), count: 4 + dice.below(200) });
            }
        }
        Self { traits, seed: dice.number(), ops }
    }
}

#[derive(Clone, Copy, Debug)]
struct Mood {
    is_calm: bool,
    is_large: bool,
}

fn op(dice: &mut Dice, mood: Mood) -> Op {
    let chance = dice.number();
    match dice.below(if mood.is_calm { 70 } else { 100 }) {
        0..=29 => Op::Steps { chance, count: 1 + dice.below(400) },
        30..=53 => Op::Users { chance, count: 1 + dice.below(8) },
        54..=56 => Op::Limits { chance },
        57..=58 => Op::Push { chance },
        59..=60 => Op::Restart { chance },
        61..=64 => Op::Stray { chance },
        65..=66 => Op::Flood { chance, count: 5 + dice.below(30) },
        67..=69 => Op::Check,
        70..=77 => Op::Stop { how: Stop::Killed, chance },
        78..=80 => Op::Stop { how: Stop::PowerCut, chance },
        81..=84 => Op::Clock { by_us: i64::try_from(dice.below(172_800_000_000)).unwrap_or(0) - 86_400_000_000 },
        85..=89 => Op::Plan(fault(dice)),
        90 => Op::LeaveRoom { bytes: usize::try_from(dice.below(40_000)).unwrap_or(0) },
        91 => Op::Slow { ms: dice.below(5_000) },
        92..=93 => Op::Heal,
        94..=96 => Op::Vanish { chance },
        _ => Op::Break { chance, ms: dice.one_of(&[500, 5_000, 60_000, 3 * 3_600_000]) },
    }
}

fn fault(dice: &mut Dice) -> Fault {
    let failure = dice.one_of(&[Failure::Broken, Failure::Broken, Failure::Killed, Failure::Killed, Failure::PowerCut]);
    let request = dice.one_of(&[None, Some(Request::Sync), Some(Request::Write), Some(Request::Sync)]);
    let most = if request == Some(Request::Sync) { 12 } else { 120 };
    let times = if dice.once_in(4) { 1 + dice.below(8) } else { 1 };
    Fault { request, after: dice.below(most), times, failure }
}
