//! What happens to a store in one simulation: drawn from the seed ahead, so that parts of it can be left out.

use crate::dice::Dice;
use crate::disk::{Failure, Fault, Request, Stop, Traits};

/// One thing that happens. Each has its own chances, so that it is much the same when others are left out.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Random commands come at the same time.
    Submit { chance: u64, count: u64 },
    /// Commands that were sent before come again.
    Again { chance: u64 },
    /// It is quiet for a while.
    Rest,
    /// Somebody reads for as long as this takes.
    Hold { ops: Vec<Self> },
    /// Something will go wrong with the disk.
    Plan(Fault),
    /// There is only so much room.
    LeaveRoom { bytes: usize },
    /// The disk is as good as new.
    Heal,
    /// Power cut, or kill.
    Stop { how: Stop, chance: u64 },
    /// The daemon is stopped and started in good order.
    Restart,
    /// The clock is set.
    Clock { by_us: i64 },
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
    pub(crate) fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let traits = Traits {
            sector: dice.one_of(&[512, 4096]),
            powersafe: dice.once_in(2),
            // SQLite does not survive it. A checkpoint that a reader cut short is not synced, and counts as done: when the
            // sync of the next one fails, the one after that does not write it again.
            forgets: false,
            lies: false,
        };
        // Some disks fail often, some hardly ever.
        let calm = dice.once_in(4);
        let count = usize::try_from(8 + dice.below(24)).unwrap_or(8);
        let mut ops = Vec::new();
        if dice.once_in(4) {
            ops.push(Op::Plan(fault(&mut dice)));
        }
        while ops.len() < count {
            ops.push(op(&mut dice, calm));
            if matches!(ops.last(), Some(Op::Plan(_))) && dice.once_in(3) {
                ops.extend(aftermath(&mut dice));
            }
        }
        Self { traits, seed: dice.number(), ops }
    }
}

/// What tells most after something went wrong, and seldom follows by chance: a command that meets it, a look at what came
/// of that, and an end before anything else is written. Or much more of the same at once: what the store has kept of things that
/// changed in vain shows when something else about them changes.
fn aftermath(dice: &mut Dice) -> Vec<Op> {
    let mut ops = vec![submit(dice)];
    if dice.once_in(2) {
        ops.push(Op::Submit { chance: dice.number(), count: 24 });
    }
    if dice.once_in(2) {
        ops.push(Op::Check);
    }
    if dice.once_in(2) {
        ops.push(stop(dice));
    }
    ops
}

fn op(dice: &mut Dice, calm: bool) -> Op {
    match dice.below(if calm { 70 } else { 100 }) {
        0..=39 => submit(dice),
        40..=45 => Op::Again { chance: dice.number() },
        46..=49 => Op::Rest,
        50..=54 => Op::Hold { ops: (0..=dice.below(4)).map(|_| calm_op(dice)).collect() },
        55..=59 => stop(dice),
        60..=63 => Op::Restart,
        64..=66 => Op::Clock { by_us: i64::try_from(dice.below(172_800_000_000)).unwrap_or(0) - 86_400_000_000 },
        67..=69 => Op::Check,
        70..=89 => Op::Plan(fault(dice)),
        90..=92 => {
            let most = dice.one_of(&[4_000, 40_000]);
            Op::LeaveRoom { bytes: usize::try_from(dice.below(most)).unwrap_or(0) }
        }
        93..=95 => Op::Heal,
        _ => stop(dice),
    }
}

fn submit(dice: &mut Dice) -> Op {
    let most = dice.one_of(&[1, 2, 4, 4, 4, 24]);
    Op::Submit { chance: dice.number(), count: 1 + dice.below(most) }
}

/// What may happen while somebody reads.
fn calm_op(dice: &mut Dice) -> Op {
    match dice.below(8) {
        0..=4 => submit(dice),
        5 => Op::Again { chance: dice.number() },
        6 => Op::Plan(fault(dice)),
        _ => Op::Rest,
    }
}

fn stop(dice: &mut Dice) -> Op {
    let how = dice.one_of(&[Stop::PowerCut, Stop::PowerCut, Stop::Killed]);
    Op::Stop { how, chance: dice.number() }
}

fn fault(dice: &mut Dice) -> Fault {
    use Failure::{Broken, Full, Killed, PowerCut};
    let failure = dice.one_of(&[Broken, Broken, Full, PowerCut, PowerCut, Killed]);
    let request = match failure {
        // Nothing else needs room.
        Full => Some(Request::Write),
        Broken | PowerCut | Killed => match dice.below(9) {
            0..=2 => Some(Request::Sync),
            3..=4 => Some(Request::Write),
            5 => Some(dice.one_of(&Request::ALL)),
            6..=7 => None,
            _ => Some(Request::Read),
        },
    };
    let after = match request {
        Some(Request::Sync | Request::Resize | Request::Open | Request::Delete) => dice.below(6),
        Some(Request::Read | Request::Write) | None => {
            let most = dice.one_of(&[8, 80]);
            dice.below(most)
        }
    };
    let times = if dice.once_in(4) { 1 + dice.below(20) } else { 1 };
    Fault { request, after, times, failure }
}
