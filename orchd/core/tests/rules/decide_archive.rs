//! What archiving a project ends, and the one thing that it lets finish.

use orch_core::command::{Command, NewTask};
use orch_core::decide::Decided;
use orch_core::entity::{Approval, Change, Plan, Project, Run, Task};
use orch_core::rehearsal::{new_task, step_spec};
use orch_core::state::change::ChangeState;
use orch_core::state::document::DocumentState;
use orch_core::state::project::ProjectState;
use orch_core::state::run::RunOutcome;
use orch_core::state::task::TaskState;
use orch_core::view::{Filter, View as _};
use orch_proto::id::{ChangeId, ProjectId, TaskId};

use crate::support::{Scene, approve, start};

fn archive(scene: &mut Scene, project: ProjectId) -> Decided {
    scene.does(&Command::ArchiveProject { project })
}

fn start_merge(change: ChangeId) -> Command {
    Command::StartMerge { change, commit: "m".into() }
}

/// A change that is about to be merged: its intent is on record.
fn merging(scene: &mut Scene, project: ProjectId) -> (TaskId, ChangeId) {
    let task = scene.task(project, "merging");
    let run = scene.start(task);
    let change = scene.proposes(run, &[]);
    scene.check(change, RunOutcome::Succeeded);
    scene.does(&start_merge(change));
    (task, change)
}

/// A task that may not start before somebody agrees.
fn asking(scene: &mut Scene, project: ProjectId) -> TaskId {
    let task = Box::new(NewTask { needs_approval: true, ..new_task(project, "asks") });
    scene.does(&Command::CreateTask { task }).touched[0].1.parse().unwrap()
}

#[test]
fn nothing_goes_on_in_an_archived_project() {
    let (mut scene, project) = Scene::ready("shop");
    scene.approved_requirements(project);
    scene.plan(project, &[("planned", &[])]);
    let proposed = scene.propose_plan(project, &[("other", &[])]);
    let (runs, reviewed, mergeable) = (scene.task(project, "a"), scene.task(project, "b"), scene.task(project, "c"));
    let run = scene.start(runs);
    scene.does(&Command::MarkRunStarting { run });
    let of_review = scene.start(reviewed);
    let asks = scene.proposes(of_review, &["LICENSE"]);
    let of_merge = scene.start(mergeable);
    let ready = scene.proposes(of_merge, &[]);
    scene.check(ready, RunOutcome::Succeeded);
    asking(&mut scene, project);

    assert_eq!(archive(&mut scene, project).notes, Vec::<String>::new());
    assert!(scene.one::<Run>(run).cancel_requested.is_some());
    for change in [asks, ready] {
        assert!(matches!(scene.one::<Change>(change).state, ChangeState::Closed { .. }));
    }
    scene.refuses(&start_merge(ready));
    for task in scene.view.all::<Task>() {
        assert!(matches!(task.state, TaskState::Cancelled { .. }), "{task:?}");
        scene.refuses(&start(task.id));
    }
    assert_eq!(scene.view.list::<Approval>(&Filter::of(project).open()).unwrap(), []);
    assert_eq!(scene.one::<Plan>(proposed.id).state, DocumentState::Superseded);
    // The run ends later; its result makes nothing.
    scene.settle(run, RunOutcome::Succeeded);
    assert_eq!(scene.view.list::<Change>(&Filter::of(project).open()).unwrap(), []);
}

#[test]
fn the_question_of_a_task_that_failed_is_withdrawn_with_the_project() {
    let (mut scene, project) = Scene::ready("shop");
    let failed = asking(&mut scene, project);
    let asked = scene.one::<Task>(failed).approval.unwrap();
    scene.does(&approve(asked));
    for _ in 0..3 {
        let run = scene.start(failed);
        scene.settle(run, crate::support::failed());
        scene.later_ms(10_000);
    }
    scene.does(&Command::EditTask { task: failed, spec: Box::new(step_spec("otherwise")), needs_approval: false });
    assert_eq!(
        scene.view.list::<Approval>(&Filter::of(project).open()).unwrap().len(),
        2,
        "the second is about its failure"
    );
    archive(&mut scene, project);
    assert!(matches!(scene.one::<Task>(failed).state, TaskState::Failed { .. }));
    assert_eq!(scene.view.list::<Approval>(&Filter::of(project).open()).unwrap(), []);
}

#[test]
fn a_merge_whose_intent_is_on_record_is_let_finish() {
    let (mut scene, project) = Scene::ready("shop");
    let (task, change) = merging(&mut scene, project);
    assert_eq!(archive(&mut scene, project).notes, ["C-1 is being merged at this moment and is let finish"]);
    scene.does(&Command::FinishMerge { change, toolchains: Vec::new() });
    assert_eq!(scene.one::<Task>(task).state, TaskState::Done { change: Some(change) });
    assert_eq!(scene.one::<Project>(project).state, ProjectState::Archived);
}

#[test]
fn a_merge_that_was_let_finish_gets_no_second_try() {
    let (mut scene, project) = Scene::ready("shop");
    let (task, change) = merging(&mut scene, project);
    archive(&mut scene, project);
    scene.does(&Command::RefuseMerge { change });
    assert!(matches!(scene.one::<Change>(change).state, ChangeState::Closed { .. }));
    assert!(matches!(scene.one::<Task>(task).state, TaskState::Cancelled { .. }));
}
