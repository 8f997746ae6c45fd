//! Simulations that failed once, and what was wrong with the store.

use super::script::{Op, Script};
use crate::disk::{Failure, Fault, Request, Stop, Traits};

const TRAITS: Traits = Traits { sector: 512, powersafe: true, forgets: false, lies: false };

/// Each with a name.
pub(crate) fn scripts() -> Vec<(&'static str, Script)> {
    vec![
        ("a start that could not sync what it found", start_without_sync(TRAITS)),
        ("the same, on a disk that forgets", start_without_sync(Traits { forgets: true, ..TRAITS })),
        ("a first start that could not switch to the log", first_start_without_log()),
    ]
}

fn sync_fails(after: u64, failure: Failure) -> Op {
    Op::Plan(Fault { request: Some(Request::Sync), after, times: 1, failure })
}

/// The process was killed before a commit was synced. The next one found the commit in the log, could not sync it, said
/// so in its own log only, and answered the command as one that is committed: a power cut took it.
fn start_without_sync(traits: Traits) -> Script {
    let ops = vec![
        Op::Submit { chance: 1, count: 3 },
        sync_fails(0, Failure::Killed),
        sync_fails(1, Failure::Broken),
        Op::Submit { chance: 2, count: 3 },
        Op::Stop { how: Stop::PowerCut, chance: 1 },
    ];
    Script { traits, seed: 0, ops }
}

/// The commit that switches a new file to the write-ahead log failed, after the row that says it is done. The store went on
/// with a rollback journal, whose removal is a commit that nothing makes durable: a power cut rolled it back.
fn first_start_without_log() -> Script {
    let ops = vec![
        sync_fails(0, Failure::Broken),
        Op::Submit { chance: 1, count: 3 },
        Op::Stop { how: Stop::PowerCut, chance: 4_379_022_275_351_023_343 },
    ];
    Script { traits: Traits { sector: 4096, powersafe: false, ..TRAITS }, seed: 0, ops }
}
