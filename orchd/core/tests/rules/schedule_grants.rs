//! Grants are held: nothing begins because of one before it could be taken back.

use std::collections::BTreeSet;

use orch_core::command::Command;
use orch_core::entity::{Approval, Task};
use orch_core::rehearsal::new_task;
use orch_core::schedule::{Action, Limits, Wait};
use orch_proto::id::TaskId;

use crate::schedule_choice::{book, limits};
use crate::support::{Scene, approve};

const HOLD_MS: u64 = 3_000;

fn holding() -> Limits {
    Limits { hold_ms: HOLD_MS, ..limits(9) }
}

/// What a book that is read anew would start.
fn starts(scene: &Scene, limits: &Limits) -> Vec<TaskId> {
    let decisions = book(&scene.view, limits).choose(scene.now, &BTreeSet::new());
    let started = decisions.into_iter().filter_map(|decision| match decision.action {
        Action::Run(task) => Some(task),
        _ => None,
    });
    started.collect()
}

#[test]
fn a_granted_task_begins_when_its_hold_is_over() {
    let (mut scene, project) = Scene::ready("shop");
    let mut new = new_task(project, "deploy");
    new.needs_approval = true;
    scene.does(&Command::CreateTask { task: Box::new(new) });
    let task = scene.view.newest::<Task>().id;
    scene.later_ms(500);
    let mut followed = book(&scene.view, &holding());
    assert_eq!(followed.choose(scene.now, &BTreeSet::new()), []);
    scene.does(&approve(scene.view.newest::<Approval>().id));
    let granted = scene.now;
    followed.put_approval((&scene.view.newest::<Approval>()).into());
    scene.later_ms(1_000);
    assert_eq!(starts(&scene, &limits(9)), [task], "without a hold it begins at once");
    assert_eq!(starts(&scene, &holding()), []);
    assert_eq!(followed.choose(scene.now, &BTreeSet::new()), []);
    assert_eq!(followed.next_due(scene.now), Some(granted.plus_ms(HOLD_MS)), "and it looks again then");
    let waits = followed.waits(task, scene.now);
    assert_eq!(waits, [Wait::Granted { name: "A-1".into(), ms: 2_000 }]);
    // Taken back in time, it waits for an answer again, and the next one is held anew.
    let operation = Box::new(scene.view.operation(scene.view.events.len() as u64));
    scene.does(&Command::Undo { operation });
    followed.put_approval((&scene.view.newest::<Approval>()).into());
    scene.later_ms(HOLD_MS);
    assert_eq!(followed.choose(scene.now, &BTreeSet::new()), []);
    assert!(matches!(followed.waits(task, scene.now)[..], [Wait::Approval { .. }]));
    scene.does(&approve(scene.view.newest::<Approval>().id));
    followed.put_approval((&scene.view.newest::<Approval>()).into());
    assert_eq!(followed.choose(scene.now, &BTreeSet::new()), []);
    scene.later_ms(HOLD_MS);
    assert_eq!(starts(&scene, &holding()), [task]);
    assert_eq!(followed.choose(scene.now, &BTreeSet::new()).len(), 1);
}

#[test]
fn tasks_of_a_plan_begin_when_its_hold_is_over() {
    let (mut scene, project) = Scene::ready("shop");
    scene.approved_requirements(project);
    scene.plan(project, &[("a", &[]), ("b", &["a"])]);
    let first = scene.keyed("a").id;
    let by_hand = scene.task(project, "by hand");
    assert_eq!(starts(&scene, &holding()), [by_hand]);
    let mut followed = book(&scene.view, &holding());
    assert_eq!(followed.waits(first, scene.now), [Wait::Granted { name: "its plan".into(), ms: HOLD_MS }]);
    assert_eq!(followed.next_due(scene.now), Some(scene.now.plus_ms(HOLD_MS)));
    scene.later_ms(HOLD_MS);
    assert_eq!(starts(&scene, &holding()).len(), 2);
    assert_eq!(followed.choose(scene.now, &BTreeSet::new()).len(), 2);
}

#[test]
fn a_change_merges_when_its_hold_is_over() {
    let (mut scene, project) = Scene::ready("shop");
    let (change, asked) = scene.asking_to_merge(project);
    scene.later_ms(500);
    scene.does(&approve(asked));
    let mut followed = book(&scene.view, &holding());
    assert_eq!(followed.fronts(scene.now, &BTreeSet::new()), []);
    scene.later_ms(HOLD_MS);
    assert_eq!(followed.fronts(scene.now, &BTreeSet::new()), [change]);
    assert_eq!(book(&scene.view, &holding()).fronts(scene.now, &BTreeSet::new()), [change]);
}

#[test]
fn a_clock_that_is_put_back_holds_nothing_for_longer() {
    let (mut scene, project) = Scene::ready("shop");
    let (_, asked) = scene.needs_approval(project, "deploy");
    scene.later_ms(500);
    scene.does(&approve(asked));
    let mut followed = book(&scene.view, &holding());
    assert_eq!(followed.choose(scene.now, &BTreeSet::new()), []);
    let before = scene.now.minus_ms(60_000);
    assert_eq!(followed.choose(before, &BTreeSet::new()).len(), 1);
}
