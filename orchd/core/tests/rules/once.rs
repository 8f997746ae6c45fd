//! Steps that are not to be done twice: once one has begun, nobody but a person has the task tried again.

use orch_core::command::{Answer, Command, Said, Subject};
use orch_core::entity::{Approval, Choice, Observation, PlannedStep, Run, StepRecord, Task};
use orch_core::state::run::{FailureClass, RunOutcome};
use orch_core::state::step::{StepEnd, StepEvent};
use orch_core::state::task::TaskState;
use orch_proto::id::{RunId, TaskId};

use crate::support::{Scene, lost, settle};

/// Three steps, of which the one in the middle is not to be done twice.
fn steps() -> Vec<PlannedStep> {
    let once = PlannedStep { once: true, ..PlannedStep::new("pay", "pay") };
    vec![PlannedStep::new("build", "make"), once, PlannedStep::new("tell", "tell")]
}

impl Scene {
    /// An attempt at a new task that did so many of its steps and began the next.
    fn attempted(&mut self, done: u32) -> (TaskId, RunId) {
        let project = self.project("shop");
        let task = self.task(project, "order");
        (task, self.attempt_once(task, done))
    }

    /// An attempt that was chosen.
    fn choose_once(&mut self, task: TaskId) -> RunId {
        let (steps, reason) = (steps(), "test".into());
        let start =
            Command::StartRun { task, base: None, steps, agent: None, required_level: 0, lease_ms: 1_000, reason };
        self.does(&start).touched[0].1.parse().unwrap()
    }

    pub(crate) fn attempt_once(&mut self, task: TaskId, done: u32) -> RunId {
        self.later_ms(3_600_000);
        let run = self.choose_once(task);
        self.does(&Command::MarkRunStarting { run });
        let at = self.now;
        let said = |index, event| Observation::Step { index, event };
        let mut observations = Vec::new();
        for index in 0..=done {
            observations.push(said(index, StepEvent::Started { at }));
            if index < done {
                observations.push(said(index, StepEvent::Ended { at, end: StepEnd::Succeeded }));
            }
        }
        let fence = self.one::<Run>(run).fence;
        self.does(&Command::RecordRun { run, fence, from: 0, cursor: 1, observations });
        run
    }

    /// The task is tried again by itself.
    fn is_tried_again(&self, task: TaskId) -> bool {
        matches!(self.one::<Task>(task).state, TaskState::Approved { .. })
    }
}

fn infrastructure() -> RunOutcome {
    RunOutcome::Failed { class: FailureClass::Infrastructure, reason: "disk".into() }
}

#[test]
fn what_has_not_begun_can_be_tried_again() {
    let mut scene = Scene::new();
    let (task, run) = scene.attempted(0);
    scene.settle(run, infrastructure());
    assert!(scene.is_tried_again(task));
}

#[test]
fn what_has_begun_is_not_tried_again_without_a_person() {
    for done in [1, 2] {
        let mut scene = Scene::new();
        let (task, run) = scene.attempted(done);
        scene.settle(run, infrastructure());
        let TaskState::Failed { reason } = scene.one::<Task>(task).state else { panic!("it is tried again") };
        assert_eq!(reason, "disk; `pay` may have been done, and is not to be done twice");
        let question = scene.one::<Task>(task).question.expect("somebody is asked");
        let answer = Answer::Choose { choice: Choice::Retry, not_before: None, priority: None };
        scene.does(&Command::Decide { subject: Subject::Approval(question), answer, digest: None });
        assert!(scene.is_tried_again(task), "a person may have it done again");
        // The next attempt comes to its first step only.
        let run = scene.attempt_once(task, 0);
        scene.settle(run, infrastructure());
        assert!(scene.is_tried_again(task));
    }
}

/// The log of what was lost may end before what was done.
#[test]
fn what_was_lost_may_have_begun() {
    let mut scene = Scene::new();
    let (task, run) = scene.attempted(0);
    scene.settle(run, lost());
    assert!(!scene.is_tried_again(task));
    let question = scene.one::<Approval>(scene.one::<Task>(task).question.expect("somebody is asked"));
    assert!(question.action.contains("may have done `pay`"), "{}", question.action);
}

/// An attempt that was chosen and given back was never begun.
#[test]
fn what_was_given_back_has_not_begun() {
    let mut scene = Scene::new();
    let project = scene.project("shop");
    let task = scene.task(project, "order");
    let run = scene.choose_once(task);
    scene.settle(run, lost());
    assert!(scene.is_tried_again(task));
}

/// Where nobody would have tried again, nobody is asked.
#[test]
fn what_is_not_tried_again_anyway_asks_nobody() {
    let mut scene = Scene::new();
    let (task, run) = scene.attempted(1);
    scene.settle(run, RunOutcome::Failed { class: FailureClass::Isolation, reason: "level".into() });
    assert_eq!(scene.one::<Task>(task).question, None);
}

#[test]
fn the_mark_is_kept_with_the_step() {
    let mut scene = Scene::new();
    let (_, run) = scene.attempted(0);
    let marked: Vec<bool> = scene.one::<Run>(run).steps.iter().map(|step: &StepRecord| step.once).collect();
    assert_eq!(marked, [false, true, false]);
}

/// What the log says may come with the end of the run.
#[test]
fn what_is_told_with_the_end_has_begun() {
    let mut scene = Scene::new();
    let project = scene.project("shop");
    let task = scene.task(project, "order");
    let run = scene.choose_once(task);
    scene.does(&Command::MarkRunStarting { run });
    let at = scene.now;
    let said = |index, event| Observation::Step { index, event };
    let observations = vec![
        said(0, StepEvent::Started { at }),
        said(0, StepEvent::Ended { at, end: StepEnd::Succeeded }),
        said(1, StepEvent::Started { at }),
    ];
    let mut end = settle(run, scene.one::<Run>(run).fence, infrastructure());
    if let Command::SettleRun { said, .. } = &mut end {
        *said = Some(Box::new(Said { from: 0, cursor: 9, observations }));
    }
    scene.does(&end);
    assert!(!scene.is_tried_again(task));
}
