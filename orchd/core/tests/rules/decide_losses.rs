//! What counts against a task and what does not: losses, what the host had too little for, conflicts, failures of an agent.

use orch_core::actor::Actor;
use orch_core::command::{Command, NewTask};
use orch_core::decide::{CONFLICTS_MAX, HOST_LOSSES_MAX, LOSSES_MAX};
use orch_core::entity::{Change, Entity as _, Meta, Task, TaskEvent};
use orch_core::rehearsal::{new_task, step_spec};
use orch_core::state::change::ChangeState;
use orch_core::state::run::{FailureClass, RunOutcome};
use orch_core::state::task::TaskState;

use crate::decide_runs::LONG_MS;
use crate::support::{Scene, failed, lost, retry};

#[test]
fn losses_burn_no_retry_but_are_not_endless() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "unlucky");
    for loss in 0..LOSSES_MAX {
        let run = scene.start(task);
        scene.settle(run, lost());
        let found: Task = scene.one(task);
        assert_eq!((found.losses, found.failures), (loss + 1, 0));
        assert!(matches!(found.state, TaskState::Approved { not_before: Some(_) }));
        scene.later_ms(LONG_MS);
    }
    let run = scene.start(task);
    scene.settle(run, lost());
    assert_eq!(scene.one::<Task>(task).state, TaskState::Failed { reason: "lost: gone".into() });
}

fn full() -> RunOutcome {
    RunOutcome::Failed { class: FailureClass::Host, reason: "the disk is nearly full".into() }
}

/// What all runs share was used up: that says nothing of a task, and is not for ever either.
#[test]
fn what_a_host_had_too_little_for_is_tried_again_whatever_was_lost_before() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "unlucky");
    for times in 1..=HOST_LOSSES_MAX {
        let run = scene.start(task);
        scene.settle(run, full());
        let found: Task = scene.one(task);
        assert_eq!((found.host_losses, found.losses, found.failures), (times, 0, 0));
        scene.later_ms(LONG_MS);
    }
    let run = scene.start(task);
    scene.settle(run, lost());
    assert_eq!(scene.one::<Task>(task).losses, 1, "what is lost is counted by itself");
    scene.later_ms(LONG_MS);
    let run = scene.start(task);
    scene.settle(run, full());
    let reason = "the disk is nearly full".to_owned();
    assert_eq!(scene.one::<Task>(task).state, TaskState::Failed { reason });
    scene.does(&retry(task));
    assert_eq!(scene.one::<Task>(task).host_losses, 0);
}

#[test]
fn gates_that_a_host_had_too_little_for_run_again() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "work");
    let run = scene.start(task);
    let change = scene.proposes(run, &[]);
    for times in 0..2 * LOSSES_MAX {
        // One that was lost in between does not count for it, nor the other way round.
        scene.check(change, if times == 3 { lost() } else { full() });
        scene.later_ms(LONG_MS);
    }
    scene.check(change, RunOutcome::Succeeded);
    assert_eq!(scene.one::<Task>(task).host_losses, 0);
    assert!(matches!(scene.one::<Change>(change).state, ChangeState::Mergeable { .. }));
}

/// What is lost now and then, over days, is no trouble of the task: an attempt that was none ends the row.
#[test]
fn losses_count_in_a_row_only() {
    let (mut scene, project) = Scene::ready("shop");
    let mut spec = step_spec("true");
    spec.retries.max_retries = 20;
    let made = Command::CreateTask { task: Box::new(NewTask { spec, ..new_task(project, "unlucky") }) };
    let task = scene.does(&made).touched[0].1.parse().unwrap();
    let ends = |scene: &mut Scene, outcome: RunOutcome| {
        let run = scene.start(task);
        scene.settle(run, outcome);
        scene.later_ms(LONG_MS);
        scene.one::<Task>(task).losses
    };
    for loss in 1..=LOSSES_MAX {
        assert_eq!(ends(&mut scene, lost()), loss);
    }
    assert_eq!(ends(&mut scene, failed()), 0);
    assert_eq!(ends(&mut scene, lost()), 1);
    // One that brought a change was no loss either, whatever becomes of that.
    let run = scene.start(task);
    let change = scene.proposes(run, &[]);
    assert_eq!(scene.one::<Task>(task).losses, 0);
    scene.does(&Command::ConflictChange { change, paths: vec!["a".into()] });
    scene.later_ms(LONG_MS);
    assert_eq!(ends(&mut scene, lost()), 1);
    let found: Task = scene.one(task);
    assert_eq!((found.conflicts, found.failures), (1, 1));
    assert_eq!(ends(&mut scene, failed()), 0);
    assert_eq!(scene.one::<Task>(task).conflicts, 0);
}

/// Others are faster for ever only when somebody should look at it.
#[test]
fn conflicts_count_for_themselves_and_are_not_endless() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "slow");
    for conflict in 0..=CONFLICTS_MAX {
        assert!(matches!(scene.one::<Task>(task).state, TaskState::Approved { .. }), "{conflict}");
        // Losses on the way are in no row with it.
        let run = scene.start(task);
        scene.settle(run, lost());
        scene.later_ms(LONG_MS);
        let run = scene.start(task);
        let change = scene.proposes(run, &[]);
        scene.does(&Command::ConflictChange { change, paths: vec!["a".into()] });
        scene.later_ms(LONG_MS);
    }
    let found: Task = scene.one(task);
    assert!(matches!(found.state, TaskState::Failed { .. }), "{:?}", found.state);
    assert!(found.question.is_some(), "a person is asked");
    scene.does(&retry(task));
    assert_eq!(scene.one::<Task>(task).conflicts, 0);
}

/// The log of an older version is replayed as that version counted.
#[test]
fn older_events_end_no_row() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "old");
    let run = scene.start(task);
    scene.settle(run, lost());
    scene.later_ms(LONG_MS);
    scene.start(task);
    let found: Task = scene.one(task);
    assert_eq!(found.losses, 1);
    let old =
        r#"{"type":"retry_scheduled","data":{"class":"task","reason":"exit 1","not_before":"2026-11-20T10:00:00Z"}}"#;
    let old: TaskEvent = serde_json::from_str(old).unwrap();
    let actor = Actor::daemon("test");
    let counted = Task::apply(Some(found), task, &old, Meta { at: scene.now, actor: &actor }).unwrap();
    assert_eq!((counted.losses, counted.failures), (1, 1));
}

/// An agent that fails has said nothing of the work, and is tried again like it.
#[test]
fn a_failure_of_the_agent_counts_and_has_a_class_of_its_own() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "agent");
    for attempt in 1..=3 {
        let run = scene.start(task);
        let reason = "`agent` exited with 1".to_owned();
        scene.settle(run, RunOutcome::Failed { class: FailureClass::Agent, reason });
        scene.later_ms(LONG_MS);
        let found: Task = scene.one(task);
        assert_eq!(matches!(found.state, TaskState::Failed { .. }), attempt == 3, "{:?}", found.state);
        assert_eq!(found.failures, attempt.min(2));
    }
}
