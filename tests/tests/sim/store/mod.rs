//! The real store on a simulated disk: random commands, power cuts, kills, full and failing disks, and after each of them
//! everything that was promised.

mod kept;
mod known;
mod script;
mod world;

use std::sync::Mutex;

use crate::disk::Traits;
use crate::seeds::{self, Failed};

pub(crate) use known::chain;
use script::{Op, Script};
use world::{Tally, run};

#[test]
fn it_keeps_its_word() {
    let tallies = Mutex::new(Vec::new());
    let one = |seed| {
        let tally = run(&Script::of(seed))?;
        tallies.lock().unwrap().push(tally);
        Ok(())
    };
    let count = seeds::run(one).unwrap_or_else(|failed| panic!("{}", told(&failed)));
    let tallies = tallies.lock().unwrap();
    let sum = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>();
    let reached = [
        ("power cuts", sum(|tally| tally.power_cuts)),
        ("kills", sum(|tally| tally.kills)),
        ("failures of the disk", sum(|tally| tally.failures)),
        ("commands acknowledged", sum(|tally| tally.fates.acknowledged)),
        ("refused", sum(|tally| tally.fates.refused)),
        ("without room", sum(|tally| tally.fates.without_room)),
        ("unwritten", sum(|tally| tally.fates.unwritten)),
        ("in doubt that came true", sum(|tally| tally.fates.came_true)),
        ("in doubt that came to nothing", sum(|tally| tally.fates.came_to_nothing)),
    ];
    println!("{count} seeds: {reached:?}");
    // A simulation in which nothing goes wrong finds nothing.
    assert!(count < seeds::SEEDS || reached.iter().all(|(_, times)| *times > 10), "{reached:?}");
}

/// What was a fault once, as short as it could be made.
#[test]
fn what_failed_once_holds() {
    for (name, script) in kept::scripts() {
        for seed in 0..24 {
            let script = Script { seed, ..script.clone() };
            if let Err(wrong) = run(&script) {
                panic!("{name}, with chance {seed}: {wrong}");
            }
        }
    }
}

/// A failure with all that is needed to look into it.
fn told(failed: &Failed) -> String {
    let script = Script::of(failed.seed);
    let on = format!("{:?} with {}", script.traits, script.seed);
    let again = |ops: &[Op]| run(&Script { ops: ops.to_vec(), ..script.clone() }).map(drop);
    seeds::told(failed, ("store::it_keeps_its_word", &on), &script.ops, again)
}

#[test]
fn the_same_seed_is_the_same_simulation() {
    for seed in 0..4 {
        let script = Script::of(seed);
        assert_eq!(run(&script).unwrap(), run(&script).unwrap(), "seed {seed}");
    }
}

/// The checks see a loss: on a disk that answers a sync and does nothing, no store can keep its word.
#[test]
fn a_disk_that_lies_is_found_out() {
    let one = |seed| {
        let script = Script::of(seed);
        let traits = Traits { lies: true, ..script.traits };
        run(&Script { traits, ..script }).map(drop)
    };
    let failed = seeds::first_failing(0..20, one);
    assert!(failed.is_some(), "nothing was lost on twenty of them");
}
