//! Checkpoints: an attempt after one that was interrupted goes on from what that kept, if nothing that decides it has changed.

use orch_core::command::Command;
use orch_core::digest::Digest;
use orch_core::entity::{Checkpoint, Isolation, Observation, PlannedStep, Run, StepRecord, Task};
use orch_core::state::run::{FailureClass, RunOutcome};
use orch_core::state::step::{StepEnd, StepEvent, StepState};
use orch_core::state::task::TaskState;
use orch_proto::id::{RunId, TaskId};

use crate::support::{Scene, lost, rule, settle};

/// What decides the two checkpoints of the steps below.
type Inputs = [&'static str; 2];

const SAME: Inputs = ["one", "two"];

/// Checkout, a step, its checkpoint, another step, its checkpoint, a last step.
fn steps(inputs: Inputs) -> Vec<PlannedStep> {
    let keeps = |name: &str, inputs: &str| PlannedStep {
        inputs: Some(Digest::of(inputs.as_bytes())),
        ..PlannedStep::new(name, "keep")
    };
    vec![
        PlannedStep::new("checkout", "check out"),
        PlannedStep::new("fetch", "make fetch"),
        keeps("checkpoint 1", inputs[0]),
        PlannedStep::new("build", "make"),
        keeps("checkpoint 2", inputs[1]),
        PlannedStep::new("test", "make test"),
    ]
}

impl Scene {
    /// The next attempt, when its time has come.
    fn attempt(&mut self, task: TaskId, inputs: Inputs) -> RunId {
        self.later_ms(3_600_000);
        let begun = self.does(&Command::StartRun {
            agent: None,
            task,
            base: Some("b".into()),
            steps: steps(inputs),
            required_level: 0,
            lease_ms: 1_000,
            reason: "test".into(),
        });
        begun.touched[0].1.parse().unwrap()
    }

    fn observed(&mut self, run: RunId, observations: Vec<Observation>) {
        let Run { fence, log_cursor, .. } = self.one(run);
        self.does(&Command::RecordRun { run, fence, from: log_cursor, cursor: log_cursor + 1, observations });
    }

    /// The run executes so many of the steps that it has to.
    fn executes(&mut self, run: RunId, steps: u32) {
        self.does(&Command::MarkRunStarting { run });
        let isolation = Isolation { level: 3, guarantees: Vec::new() };
        let at = self.now;
        let mut said = vec![Observation::Isolated { isolation }];
        for index in 0..steps {
            said.push(Observation::Step { index, event: StepEvent::Started { at } });
            said.push(Observation::Step { index, event: StepEvent::Ended { at, end: StepEnd::Succeeded } });
        }
        self.observed(run, said);
    }

    fn keeps(&mut self, run: RunId, step: u32) -> Command {
        let fence = self.one::<Run>(run).fence;
        Command::KeepCheckpoint { run, fence, step, commit: format!("commit {step} of {fence}") }
    }

    /// An attempt that kept both and was then lost.
    fn interrupted(&mut self) -> (TaskId, RunId) {
        let project = self.project("shop");
        let task = self.task(project, "work");
        let run = self.attempt(task, SAME);
        self.executes(run, 5);
        for step in [2, 4] {
            let keep = self.keeps(run, step);
            self.does(&keep);
        }
        (task, run)
    }
}

fn names(run: &Run, state: fn(&StepState) -> bool) -> Vec<&str> {
    run.steps.iter().filter(|step| state(&step.state)).map(|step: &StepRecord| step.name.as_str()).collect()
}

const fn is_kept(state: &StepState) -> bool {
    matches!(state, StepState::Kept)
}

#[test]
fn an_interrupted_attempt_is_gone_on_from_at_its_last_checkpoint() {
    let mut scene = Scene::new();
    let (task, first) = scene.interrupted();
    scene.settle(first, lost());
    let second = scene.attempt(task, SAME);
    let found: Run = scene.one(second);
    let Some(Checkpoint { run, number: 1, step: 4, inputs, commit }) = &found.resumed else { panic!("{found:#?}") };
    assert_eq!((*run, *inputs, commit.as_str()), (first, Digest::of(b"two"), "commit 4 of 1"));
    assert_eq!(names(&found, is_kept), ["fetch", "checkpoint 1", "build", "checkpoint 2"]);
    // It executes two of its steps: what the sandbox calls the second is the last.
    scene.executes(second, 2);
    let found: Run = scene.one(second);
    let ended = names(&found, |state| matches!(state, StepState::Ended { .. }));
    assert_eq!(ended, ["checkout", "test"]);
    // Lost once more, without having kept anything: what it went on from is still there.
    scene.settle(second, lost());
    let third = scene.attempt(task, SAME);
    assert_eq!(scene.one::<Run>(third).resumed, found.resumed);
    // Time is up in a later step: the same.
    scene.executes(third, 1);
    scene.settle(third, RunOutcome::TimedOut { reason: "long".into() });
    let fourth = scene.attempt(task, SAME);
    assert_eq!(scene.one::<Run>(fourth).resumed, found.resumed);
    scene.settle(fourth, RunOutcome::Failed { class: FailureClass::Infrastructure, reason: "disk".into() });
    let fifth = scene.attempt(task, SAME);
    scene.executes(fifth, 2);
    scene.settle(fifth, RunOutcome::Succeeded);
    assert!(matches!(scene.one::<Task>(task).state, TaskState::Done { .. }));
}

/// Whatever decides a checkpoint makes its digest; one that differs is not gone on from, and the one before it may be.
#[test]
fn with_other_inputs_the_steps_are_run_again() {
    for (inputs, kept) in
        [(SAME, Some(4)), (["one", "other"], Some(2)), (["other", "other"], None), (["other", "two"], Some(4))]
    {
        let mut scene = Scene::new();
        let (task, first) = scene.interrupted();
        scene.settle(first, lost());
        let second = scene.attempt(task, inputs);
        assert_eq!(scene.one::<Run>(second).resumed.map(|resumed| resumed.step), kept, "{inputs:?}");
    }
}

/// A failure of what the steps do may come from what they left.
#[test]
fn after_a_failure_of_its_own_an_attempt_begins_anew() {
    let ends = [
        RunOutcome::Failed { class: FailureClass::Task, reason: "exit 1".into() },
        RunOutcome::Failed { class: FailureClass::Policy, reason: "too large".into() },
        RunOutcome::Cancelled { reason: "no".into() },
    ];
    for end in ends {
        let mut scene = Scene::new();
        let (task, first) = scene.interrupted();
        scene.settle(first, end.clone());
        let second = scene.attempt(task, SAME);
        assert_eq!(scene.one::<Run>(second).resumed, None, "{end:?}");
    }
}

#[test]
fn what_is_kept_is_taken_once_and_of_a_run_that_lasts() {
    let mut scene = Scene::new();
    let (_, run) = scene.interrupted();
    let again = scene.keeps(run, 4);
    assert_eq!(scene.does(&again).events, []);
    for step in [1, 5, 99] {
        let keep = scene.keeps(run, step);
        assert!(rule(scene.refuses(&keep)).to_string().contains("kept nothing"), "step {step}");
    }
    let Command::KeepCheckpoint { step, commit, .. } = again else { panic!("another command") };
    let stale = Command::KeepCheckpoint { run, fence: 99, step, commit };
    assert_eq!(scene.does(&stale).events, []);
    let fence = scene.one::<Run>(run).fence;
    scene.does(&settle(run, fence, lost()));
    let late = scene.keeps(run, 2);
    assert_eq!(scene.does(&late).events, []);
}
