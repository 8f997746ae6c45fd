//! Sessions of agents that runs left, by chance, and what must hold of those that were taken up.

use std::collections::BTreeSet;

use crate::command::Command;
use crate::digest::Digest;
use crate::entity::{LeftSession, PlannedStep, Run};
use crate::ids::IdSource;

/// The steps of an attempt; what decides its session is mostly what it was.
pub(super) fn planned(dice: &mut IdSource) -> Vec<PlannedStep> {
    let inputs = (dice.jitter(4) != 0).then(|| Digest::of(if dice.jitter(6) == 0 { b"other" } else { b"same" }));
    vec![PlannedStep { inputs, ..PlannedStep::new("work", "true") }]
}

/// What a run left, also one that left nothing, or something that is none.
pub(super) fn random(run: &Run, dice: &mut IdSource) -> Command {
    let left = match dice.jitter(4) {
        0 => LeftSession::NotKept { reason: "chance".into() },
        1 => LeftSession::Kept { id: "--last".into() },
        _ => LeftSession::Kept { id: format!("session-{}", run.number) },
    };
    let commit = (dice.jitter(8) != 0 && left != LeftSession::NotKept { reason: "chance".into() })
        .then(|| format!("files-{}", run.number));
    Command::KeepSession { run: run.id, fence: run.fence, left, commit }
}

/// A session is taken up with its files, from an earlier attempt that left it, and by one that began at most.
pub(super) fn check(runs: &[Run], found: &mut Vec<String>) {
    let mut begun = BTreeSet::new();
    for run in runs {
        let Some(from) = &run.session.from else { continue };
        let left = LeftSession::Kept { id: from.id.clone() };
        let earlier = runs.iter().filter(|other| other.fence < run.fence && other.state.is_final());
        let is_left = |other: &Run| other.id == from.run && other.session.left.as_ref() == Some(&left);
        if !earlier.into_iter().any(is_left) {
            found.push(format!("R-{} took up a session that R-{} did not leave", run.number, from.number));
        }
        if run.resumed.as_ref().map(|files| (files.run, files.step)) != Some((from.run, 0)) {
            found.push(format!("R-{} took up a session without its files", run.number));
        }
        if run.started_at.is_some() && !begun.insert(from.run) {
            found.push(format!("R-{} is not the first that goes on with the session of R-{}", run.number, from.number));
        }
    }
}
