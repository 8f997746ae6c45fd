//! Checks of changes that take their time to begin: the places that they were chosen for.

use std::collections::BTreeSet;

use orch_core::schedule::{Action, Limits, Totals};
use orch_proto::id::ChangeId;

use crate::schedule_choice::{book, limits};
use crate::support::Scene;

/// A project with a change to check, and two tasks that could begin.
fn scene() -> (Scene, ChangeId) {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "merges");
    let run = scene.start(task);
    let change = scene.proposes(run, &[]);
    scene.task(project, "one");
    scene.task(project, "other");
    (scene, change)
}

fn chosen(book: &mut orch_core::schedule::Book, scene: &Scene) -> (usize, usize) {
    let decisions = book.choose(scene.now, &BTreeSet::new());
    book.give_back();
    let checks = decisions.iter().filter(|decision| matches!(decision.action, Action::Check(_))).count();
    (checks, decisions.len() - checks)
}

#[test]
fn a_check_on_its_way_keeps_its_place_and_is_not_chosen_again() {
    let (scene, change) = scene();
    let mut book = book(&scene.view, &limits(2));
    assert_eq!(chosen(&mut book, &scene), (1, 1));
    book.set_on_their_way([change].into());
    assert_eq!(chosen(&mut book, &scene), (0, 1), "what is given back is not its place");
    book.set_on_their_way(BTreeSet::new());
    assert_eq!(chosen(&mut book, &scene), (1, 1));
}

#[test]
fn a_check_on_its_way_holds_the_memory_of_a_run() {
    let (scene, change) = scene();
    let totals = Totals { memory_bytes: Some(4), run_memory_bytes: 2, ..Totals::default() };
    let mut book = book(&scene.view, &Limits { totals, ..limits(9) });
    assert_eq!(chosen(&mut book, &scene), (1, 1));
    book.set_on_their_way([change].into());
    assert_eq!(chosen(&mut book, &scene), (0, 1));
    book.set_on_their_way(BTreeSet::new());
    assert_eq!(chosen(&mut book, &scene), (1, 1));
}
