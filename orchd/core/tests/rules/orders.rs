//! What people order: that all ends, that a task goes before another, that a run is tried again.

use orch_core::command::{Command, Seat};
use orch_core::entity::{Change, Run, Task};
use orch_core::schedule::Decision;
use orch_core::state::run::RunOutcome;
use orch_core::state::task::TaskState;
use orch_proto::id::{RunId, TaskId};
use orch_proto::{EntityKind, TASKS_CANCELLED_MAX};

use crate::schedule_choice::{chosen, names};
use crate::support::{Scene, failed};

fn cancel_all(tasks: &[TaskId]) -> Command {
    Command::CancelTasks { tasks: tasks.to_vec(), reason: "wrong way".into() }
}

fn again(run: RunId) -> Command {
    Command::RetryRun { run, anew: false, not_before: None, priority: None }
}

/// The first event of the newest command, taken back.
fn undo(scene: &mut Scene, seq: usize) -> Vec<String> {
    scene.later_ms(1);
    let operation = Box::new(scene.view.operation(seq as u64));
    scene.does(&Command::Undo { operation }).notes
}

#[test]
fn all_that_is_open_ends_at_once_and_is_taken_back_at_once() {
    let (mut scene, project) = Scene::ready("shop");
    let other = scene.project("other");
    let (asking, question) = scene.needs_approval(project, "asks");
    let tasks = [scene.task(project, "one"), scene.task(project, "two"), asking, scene.task(other, "there")];
    let states = |scene: &Scene| tasks.map(|task| scene.one::<Task>(task).state.label());
    let before = states(&scene);
    let seq = scene.view.events.len() + 1;
    let done = scene.does(&cancel_all(&tasks));
    assert_eq!(states(&scene), ["cancelled"; 4]);
    let touched: Vec<EntityKind> = done.touched.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(touched.iter().filter(|kind| **kind == EntityKind::Task).count(), 4, "{touched:?}");
    assert_eq!(scene.one::<orch_core::entity::Approval>(question).state.label(), "void");
    undo(&mut scene, seq);
    assert_eq!(states(&scene), before);
    assert_eq!(scene.one::<orch_core::entity::Approval>(question).state.label(), "pending");
}

#[test]
fn what_is_over_or_being_merged_is_let_be() {
    let (mut scene, project) = Scene::ready("shop");
    let merging = scene.task(project, "merges");
    let run = scene.start(merging);
    let change = scene.proposes(run, &[]);
    scene.check(change, RunOutcome::Succeeded);
    scene.does(&Command::StartMerge { change, commit: "c".into() });
    let done = scene.task(project, "done");
    let second = scene.start(done);
    scene.does(&Command::MarkRunStarting { run: second });
    scene.settle(second, RunOutcome::Succeeded);
    let running = scene.task(project, "running");
    let run = scene.start(running);
    let seq = scene.view.events.len() + 1;
    let made = scene.does(&cancel_all(&[merging, done, running, running]));
    assert_eq!(
        made.notes,
        ["C-1 of T-1 is being merged at this moment and is let finish", "T-2 is done already"],
        "named twice it is looked at once"
    );
    assert!(scene.one::<Run>(run).cancel_requested.is_some());
    assert_eq!(scene.one::<Task>(running).state, TaskState::Cancelled { reason: "wrong way".into() });
    scene.does(&Command::FinishMerge { change, toolchains: Vec::new() });
    assert!(!scene.one::<Change>(change).state.is_open());
    // A run that was told to end cannot be told to go on.
    let operation = Box::new(scene.view.operation(seq as u64));
    assert!(scene.refuses(&Command::Undo { operation }).to_string().contains("a run was told to end"));
    assert_eq!(scene.does(&cancel_all(&[])).notes, ["there is no task that is not over"]);
}

/// So many that everything about each fits into what can be taken back.
#[test]
fn one_command_ends_no_more_than_can_be_taken_back() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "one");
    let refusal = scene.refuses(&cancel_all(&vec![task; TASKS_CANCELLED_MAX + 1])).to_string();
    assert!(refusal.contains("500 are accepted"), "{refusal}");
    const { assert!(TASKS_CANCELLED_MAX * 8 <= orch_core::undo::OPERATION_EVENTS_MAX) };
}

fn go(scene: &mut Scene, task: TaskId, to: Seat) {
    scene.later_ms(1);
    scene.does(&Command::MoveTask { task, to });
}

#[test]
fn a_task_goes_where_a_person_puts_it_among_its_equals() {
    let (mut scene, project) = Scene::ready("shop");
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|title| scene.task_with(project, title, |_| {}));
    let urgent = scene.task_with(project, "urgent", |task| task.priority = 9);
    assert_eq!(names(&scene, 9), ["urgent", "a", "b", "c", "d"]);
    go(&mut scene, c, Seat::First);
    assert_eq!(names(&scene, 9), ["urgent", "c", "a", "b", "d"], "priority decides before");
    go(&mut scene, d, Seat::First);
    assert_eq!(names(&scene, 9), ["urgent", "d", "c", "a", "b"], "who comes later goes before");
    go(&mut scene, a, Seat::Last);
    assert_eq!(names(&scene, 9), ["urgent", "d", "c", "b", "a"]);
    go(&mut scene, a, Seat::Before(c));
    assert_eq!(names(&scene, 9), ["urgent", "d", "a", "c", "b"]);
    let seq = scene.view.events.len() + 1;
    go(&mut scene, d, Seat::Behind(b));
    assert_eq!(names(&scene, 9), ["urgent", "a", "c", "b", "d"]);
    let reason = |decisions: Vec<Decision>, at: usize| decisions[at].reason.clone();
    assert!(reason(chosen(&scene, 9), 1).contains("moved ahead by a person"));
    assert!(reason(chosen(&scene, 9), 4).contains("moved back by a person"));
    assert!(!reason(chosen(&scene, 9), 3).contains("moved"));
    assert_eq!(undo(&mut scene, seq), ["T-4 has its former place among those of its priority"]);
    assert_eq!(names(&scene, 9), ["urgent", "d", "a", "c", "b"]);
    // It is put before those that were not moved, and so before all that it is equal with.
    go(&mut scene, urgent, Seat::First);
    assert_eq!(names(&scene, 9)[0], "urgent");
}

#[test]
fn a_place_is_only_beside_an_equal() {
    let (mut scene, project) = Scene::ready("shop");
    let other = scene.project("other");
    let (a, b) = (scene.task(project, "a"), scene.task(project, "b"));
    let urgent = scene.task_with(project, "urgent", |task| task.priority = 9);
    let there = scene.task(other, "there");
    let over = scene.task(project, "over");
    scene.does(&Command::CancelTask { task: over, reason: "no".into() });
    let refused = |scene: &mut Scene, task, to| scene.refuses(&Command::MoveTask { task, to }).to_string();
    assert_eq!(refused(&mut scene, a, Seat::Before(a)), "T-1 cannot be put beside itself");
    assert_eq!(refused(&mut scene, a, Seat::Before(there)), "T-1 belongs to another project than T-1");
    assert!(refused(&mut scene, a, Seat::Behind(urgent)).contains("T-1 has priority 5 and T-3 has 9"));
    assert_eq!(refused(&mut scene, a, Seat::Behind(over)), "T-4 is cancelled and in no queue");
    assert_eq!(refused(&mut scene, over, Seat::First), "T-4 is cancelled and in no queue");
    go(&mut scene, a, Seat::Behind(b));
    let again = scene.does(&Command::MoveTask { task: a, to: Seat::Behind(b) });
    assert_eq!(again.notes, ["it is there already"]);
}

#[test]
fn a_run_is_tried_again_as_its_task() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "flaky");
    let mut runs = Vec::new();
    for _ in 0..3 {
        let run = scene.start(task);
        scene.settle(run, failed());
        scene.later_ms(4 * 60 * 60 * 1_000);
        runs.push(run);
    }
    let old = scene.refuses(&again(runs[0])).to_string();
    assert_eq!(old, "R-1 is not the newest attempt at T-1: that is R-3");
    let later = scene.now.plus_ms(5_000);
    scene.does(&Command::RetryRun { run: runs[2], anew: false, not_before: Some(later), priority: Some(7) });
    let found: Task = scene.one(task);
    assert_eq!((found.priority, found.terms.not_before, found.failures), (7, Some(later), 0));
    assert!(matches!(found.state, TaskState::Approved { .. }));
    assert!(scene.refuses(&again(runs[2])).to_string().contains("is approved and not failed"), "once is enough");
    // One under way is ended when that is said.
    scene.later_ms(6_000);
    let run = scene.start(task);
    assert!(scene.refuses(&again(run)).to_string().contains("is running and not failed"));
    scene.does(&Command::RetryRun { run, anew: true, not_before: None, priority: None });
    assert!(scene.one::<Run>(run).cancel_requested.is_some());
    scene.settle(run, RunOutcome::Cancelled { reason: "again".into() });
    assert_eq!(scene.one::<Task>(task).failures, 0);
}

#[test]
fn gates_and_what_was_done_are_not_tried_again() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "merges");
    let run = scene.start(task);
    let change = scene.proposes(run, &[]);
    let gates = scene.check(change, RunOutcome::Succeeded);
    assert_eq!(scene.refuses(&again(gates)).to_string(), "R-2 runs the gates of C-1 and is no attempt at T-1");
    assert!(scene.refuses(&again(run)).to_string().contains("is in_review and not failed"));
    scene.merge(change);
    assert!(scene.refuses(&again(run)).to_string().contains("is done and not failed"));
}
