//! Plans: edits, cycles, and what a re-plan keeps, adds and drops.

use orch_core::command::{Command, PlanEdit};
use orch_core::decide::DecideError;
use orch_core::entity::{Approval, Plan, PlanContent, PlanTask, Requirements, Run, Task};
use orch_core::planner::PLAN_TASKS_MAX;
use orch_core::rehearsal::{plan_content, step_spec};
use orch_core::state::document::DocumentState;
use orch_core::state::task::TaskState;
use orch_proto::EntityKind;
use orch_proto::id::ProjectId;

use crate::support::{Scene, approve, deny, failed, retry, rule};

fn edit(project: ProjectId, base_version: u32, edits: &[PlanEdit]) -> Command {
    Command::EditPlan { project, base_version, edits: edits.to_vec(), reason: "edited".into() }
}

fn link(task: &str, needs: &str) -> PlanEdit {
    PlanEdit::Link { task: task.into(), needs: needs.into() }
}

fn planned(tasks: &[(&str, &[&str])]) -> (Scene, ProjectId) {
    let (mut scene, project) = Scene::ready("shop");
    scene.approved_requirements(project);
    scene.plan(project, tasks);
    (scene, project)
}

#[test]
fn an_edit_that_makes_a_cycle_names_it() {
    let (mut scene, project) = planned(&[("a", &[]), ("b", &["a"]), ("c", &["b"])]);
    let error = rule(scene.refuses(&edit(project, 1, &[link("a", "c")])));
    assert_eq!(error.to_string(), "the dependencies would make a cycle: a needs c needs b needs a");
    assert!(matches!(error, DecideError::Cycle { .. }));
    let error = rule(scene.refuses(&edit(project, 1, &[link("a", "a")])));
    assert_eq!(error.to_string(), "the dependencies would make a cycle: a needs a");
}

#[test]
fn an_edit_names_what_is_not_there() {
    let (mut scene, project) = planned(&[("a", &[]), ("b", &["a"])]);
    let cases = [
        (link("x", "a"), "plan has no task `x`"),
        (link("a", "x"), "plan has no task `x`, which `a` needs"),
        (PlanEdit::Unlink { task: "a".into(), needs: "b".into() }, "`a` does not need `b`"),
        (PlanEdit::Drop { task: "x".into() }, "plan has no task `x`"),
    ];
    for (wrong, text) in cases {
        assert_eq!(scene.refuses(&edit(project, 1, &[wrong])).to_string(), text);
    }
    let stale = rule(scene.refuses(&edit(project, 7, &[])));
    assert!(matches!(stale, DecideError::StaleDigest { kind: EntityKind::Plan }), "{stale:?}");
    let idle = scene.does(&edit(project, 1, &[link("b", "a")]));
    assert_eq!(idle.notes, ["the edit changes nothing"]);
}

#[test]
fn a_re_plan_keeps_drops_and_adds() {
    let (mut scene, project) = planned(&[("done", &[]), ("kept", &["done"]), ("gone", &["done"]), ("runs", &["done"])]);
    let (done, kept, gone, runs) = (scene.keyed("done"), scene.keyed("kept"), scene.keyed("gone"), scene.keyed("runs"));
    scene.finish(done.id);
    let run = scene.start(runs.id);

    let tasks: &[(&str, &[&str])] = &[("done", &[]), ("kept", &["done", "new"]), ("new", &["done"])];
    let plan = scene.propose_plan(project, tasks);
    let asked: Approval = scene.one(plan.approval.unwrap());
    assert_eq!(
        asked.details[..3],
        ["3 tasks on 3 levels", "adds 1, drops 2, keeps 2", "critical path: done > new > kept"]
    );
    // Nothing happens before somebody agrees.
    assert!(scene.view.all::<Task>().iter().all(|task| !matches!(task.state, TaskState::Cancelled { .. })));
    scene.does(&approve(asked.id));

    let new = scene.keyed("new");
    assert_eq!(scene.one::<Task>(kept.id).depends_on, [done.id, new.id].into());
    assert!(matches!(scene.one::<Task>(gone.id).state, TaskState::Cancelled { .. }));
    assert!(matches!(scene.one::<Task>(done.id).state, TaskState::Done { .. }));
    // What runs is let finish.
    assert_eq!(scene.one::<Task>(runs.id).state, TaskState::Running { run });
    assert_eq!(scene.one::<Run>(run).cancel_requested, None);
    assert_eq!(scene.view.all::<Task>().len(), 5);
    assert_eq!(scene.view.all::<Plan>()[0].state, DocumentState::Superseded);
}

#[test]
fn a_task_whose_work_changed_is_made_anew_unless_it_is_under_way() {
    let (mut scene, project) = planned(&[("a", &[]), ("b", &[]), ("c", &["a"])]);
    let (a, b, c) = (scene.keyed("a").id, scene.keyed("b").id, scene.keyed("c").id);
    let run = scene.start(b);
    let requirements = scene.view.newest::<Plan>().requirements;
    let mut content = plan_content(&[("a", &[]), ("b", &[]), ("c", &["a"])]);
    for task in content.tasks.iter_mut().take(2) {
        task.spec = step_spec("otherwise");
    }
    scene.does(&Command::ProposePlan { project, requirements, content: Box::new(content), reason: "new".into() });
    let plan: Plan = scene.view.newest();
    scene.does(&approve(plan.approval.unwrap()));
    assert!(matches!(scene.one::<Task>(a).state, TaskState::Cancelled { .. }));
    assert_eq!(scene.one::<Task>(b).state, TaskState::Running { run });
    let again = scene.keyed("a");
    assert_eq!(again.spec, step_spec("otherwise"));
    assert_eq!(scene.one::<Task>(c).depends_on, [again.id].into());
}

#[test]
fn a_requirement_that_loses_its_work_is_named() {
    let (mut scene, project) = planned(&[]);
    let requirements = scene.view.newest::<orch_core::entity::Requirements>().id;
    let mut content = plan_content(&[("one", &[]), ("two", &[]), ("check", &["one", "two"])]);
    for (task, keys) in content.tasks.iter_mut().zip([&["REQ-1"][..], &["REQ-2"], &["REQ-1", "REQ-2"]]) {
        task.spec.requirements = keys.iter().map(|key| key.parse().unwrap()).collect();
    }
    scene.does(&Command::ProposePlan { project, requirements, content: Box::new(content), reason: "new".into() });
    let edited = scene.does(&edit(project, 2, &[PlanEdit::Unlink { task: "check".into(), needs: "one".into() }]));
    assert!(edited.notes.is_empty(), "{:?}", edited.notes);
    let edited = scene.does(&edit(project, 3, &[PlanEdit::Drop { task: "two".into() }]));
    assert_eq!(edited.notes, ["nothing is done for REQ-2 any more"]);
    assert_eq!(scene.view.newest::<Plan>().content.warnings, edited.notes, "whoever approves it is told so");
}

#[test]
fn a_denied_plan_leaves_the_approved_one() {
    let (mut scene, project) = planned(&[("a", &[])]);
    let second = scene.propose_plan(project, &[("b", &[])]);
    scene.does(&deny(second.approval.unwrap()));
    assert_eq!(scene.one::<Plan>(second.id).state, DocumentState::Rejected);
    assert_eq!(scene.view.all::<Plan>()[0].state, DocumentState::Approved);
    assert_eq!(scene.view.all::<Task>().len(), 1);
    // An edit starts from what was denied, being the newest that a person saw.
    scene.does(&edit(project, 2, &[PlanEdit::Drop { task: "b".into() }]));
    assert_eq!(scene.view.newest::<Plan>().version, 3);
}

#[test]
fn a_failed_task_that_a_re_plan_keeps_stays_failed_until_somebody_retries_it() {
    let (mut scene, project) = planned(&[("a", &[])]);
    let task = scene.keyed("a").id;
    for _ in 0..3 {
        let run = scene.start(task);
        scene.settle(run, failed());
        scene.later_ms(10_000);
    }
    assert!(matches!(scene.one::<Task>(task).state, TaskState::Failed { .. }));
    scene.plan(project, &[("a", &[]), ("b", &["a"])]);
    assert!(matches!(scene.one::<Task>(task).state, TaskState::Failed { .. }));
    scene.does(&retry(task));
    scene.finish(task);
    let next = scene.keyed("b").id;
    scene.finish(next);
}

#[test]
fn a_plan_needs_approved_requirements() {
    let (mut scene, project) = Scene::ready("shop");
    let document = scene.approved_requirements(project);
    let vision = document.vision;
    let content = Box::new(orch_core::rehearsal::requirements(&["other"]));
    scene.does(&Command::ProposeRequirements {
        project,
        vision,
        content,
        reason: "again".into(),
        questions: Vec::new(),
    });
    let proposed = scene.view.newest::<orch_core::entity::Requirements>().id;
    let content = Box::new(plan_content(&[("a", &[])]));
    let command = Command::ProposePlan { project, requirements: proposed, content, reason: "early".into() };
    let refused = scene.refuses(&command);
    assert_eq!(refused.to_string(), "requirements version 2 is proposed and not approved");
}

/// All tasks of a plan are made by one command, on the thread that serves everybody: more than it may have are refused before
/// anything is looked at.
#[test]
fn a_plan_with_too_many_tasks_is_refused_at_once() {
    let (mut scene, project) = Scene::ready("shop");
    scene.approved_requirements(project);
    let requirements = scene.view.newest::<Requirements>().id;
    let plan = |count: usize| {
        let one = plan_content(&[("task", &[])]);
        let task = |number: usize| PlanTask { key: format!("task-{number}"), ..one.tasks[0].clone() };
        let tasks = (0..count).map(task).collect();
        let content = Box::new(PlanContent { tasks, ..one.clone() });
        Command::ProposePlan { project, requirements, content, reason: "all of it".into() }
    };
    for count in [PLAN_TASKS_MAX + 1, 100_000] {
        let error = rule(scene.refuses(&plan(count)));
        assert!(matches!(error, DecideError::TooLarge { field: "plan", .. }), "{error}");
        assert_eq!(error.to_string(), format!("plan has {count} entries; {PLAN_TASKS_MAX} are accepted"));
    }
}
