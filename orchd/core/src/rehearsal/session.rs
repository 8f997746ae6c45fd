//! Sessions of agents that runs left, by chance, and what must hold of those that were taken up.

use std::collections::BTreeSet;

use orch_proto::Timestamp;

use super::command::isolated;
use crate::command::Command;
use crate::digest::Digest;
use crate::entity::{Entity as _, LeftSession, Observation, PlannedStep, Run};
use crate::ids::IdSource;
use crate::state::run::{RunOutcome, RunState};
use crate::state::step::{StepEnd, StepEvent, StepState};

/// The steps of an attempt; what decides its session is mostly what it was.
pub(super) fn planned(dice: &mut IdSource) -> Vec<PlannedStep> {
    let inputs = (dice.jitter(4) != 0).then(|| Digest::of(if dice.jitter(6) == 0 { b"other" } else { b"same" }));
    vec![PlannedStep { inputs, ..PlannedStep::new("work", "true") }]
}

/// A run that has files and is about to leave a session, or has left one and is not lost yet.
pub(super) fn under_way(runs: &[Run]) -> Option<&Run> {
    let is_made = |run: &&Run| run.steps.first().is_some_and(|step| step.inputs.is_some() && step.has_begun());
    runs.iter().filter(|run| run.is_open() && may_be_lost(run)).find(is_made)
}

/// Whether it is one of those that are played to their loss here: nobody speaks to its agent, whose conversation that would end.
pub(super) fn may_be_lost(run: &Run) -> bool {
    run.agent.as_ref().is_some_and(|agent| !agent.is_driven)
}

/// The last run that left something and is over.
pub(super) fn left(runs: &[Run]) -> Option<&Run> {
    runs.iter().rfind(|run| run.state.is_final() && run.session.left.is_some())
}

/// What brings the run of an agent to leave a session: it works on its files, leaves something, also what is none, and is lost.
pub(super) fn random(run: &Run, dice: &mut IdSource) -> Command {
    let (id, fence, from) = (run.id, run.fence, run.log_cursor);
    let at = Timestamp::from_unix_us(0);
    if run.steps.first().is_some_and(|step| step.state == StepState::Pending) {
        let made = [StepEvent::Started { at }, StepEvent::Ended { at, end: StepEnd::Succeeded }];
        let made = made.map(|event| Observation::Step { index: 0, event });
        let stands = (run.state == RunState::Starting).then(isolated);
        let observations = stands.into_iter().chain(made).collect();
        return Command::RecordRun { run: id, fence, from, cursor: from + 10, observations };
    }
    if run.session.left.is_some() {
        return Command::SettleRun {
            run: id,
            fence,
            said: None,
            outcome: RunOutcome::Lost { reason: "chance".into() },
            artifacts: Vec::new(),
            log_dropped_bytes: 0,
            left_out: Box::default(),
            proposal: None,
        };
    }
    let left = match dice.jitter(6) {
        0 => LeftSession::NotKept { reason: "chance".into() },
        1 => LeftSession::Kept { id: "--last".into() },
        _ => LeftSession::Kept { id: format!("session-{}", run.number) },
    };
    let has_files = matches!(left, LeftSession::Kept { .. }) && dice.jitter(8) != 0;
    Command::KeepSession { run: id, fence, left, commit: has_files.then(|| format!("files-{}", run.number)) }
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
