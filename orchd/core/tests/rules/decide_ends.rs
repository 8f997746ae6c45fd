//! The end of a run: what comes with it.

use orch_core::command::{Command, Said};
use orch_core::entity::{Observation, Run, Task};
use orch_core::state::run::{RunOutcome, RunState};
use orch_core::state::step::{StepEnd, StepEvent};

use crate::support::{Scene, settle};

/// The end of a run brings the rest of what its log says, once, and what makes no sense of that does not hold it up.
#[test]
fn the_rest_of_a_log_comes_with_the_end() {
    let (mut scene, project) = Scene::ready("shop");
    let at = scene.now;
    let step = |event| vec![Observation::Step { index: 0, event }];
    let said = |from, observations| Some(Box::new(Said { from, cursor: from + 9, observations }));
    let cases = [
        (said(0, step(StepEvent::Started { at })), 9, "ended", 0),
        // Taken before, or not next to what was.
        (said(4, step(StepEvent::Started { at })), 0, "skipped", 0),
        (said(0, step(StepEvent::Ended { at, end: StepEnd::Succeeded })), 0, "skipped", 1),
    ];
    for (rest, cursor, state, notes) in cases {
        let task = scene.task(project, "work");
        let run = scene.start(task);
        scene.does(&Command::MarkRunStarting { run });
        let mut end = settle(run, scene.one::<Run>(run).fence, RunOutcome::Succeeded);
        if let Command::SettleRun { said, .. } = &mut end {
            *said = rest;
        }
        let decided = scene.does(&end);
        let found: Run = scene.one(run);
        assert_eq!((found.log_cursor, found.steps[0].state.label()), (cursor, state));
        assert_eq!(found.state, RunState::Succeeded);
        assert_eq!(decided.notes.len(), notes, "{:?}", decided.notes);
        assert_eq!(scene.one::<Task>(task).state.label(), "done");
    }
}
