//! What people did to tasks survives a re-plan, unless the plan changed that very thing.

use std::cell::Cell;
use std::collections::BTreeSet;

use orch_core::command::{Command, NewTask};
use orch_core::decide::decide;
use orch_core::entity::{Condition, Entity, Plan, PlanContent, Requirements, Task};
use orch_core::rehearsal::{MemoryView, new_task, plan_content, step_spec};
use orch_core::state::task::TaskState;
use orch_core::view::{Filter, ReadError, View};
use orch_proto::EntityKind;
use orch_proto::id::{ProjectId, TaskId};

use crate::support::{Scene, all_done, approve, failed, link, user};

/// A project whose plan has the tasks.
fn planned(tasks: &[(&str, &[&str])]) -> (Scene, ProjectId) {
    let (mut scene, project) = Scene::ready("shop");
    scene.approved_requirements(project);
    scene.plan(project, tasks);
    (scene, project)
}

/// The tasks, with other work for some of them.
fn content(tasks: &[(&str, &[&str])], changed: &[&str]) -> PlanContent {
    let mut content = plan_content(tasks);
    for task in content.tasks.iter_mut().filter(|task| changed.contains(&task.key.as_str())) {
        task.spec = step_spec("otherwise");
    }
    content
}

fn propose(scene: &mut Scene, project: ProjectId, content: PlanContent) -> Command {
    let requirements = scene.view.newest::<Requirements>().id;
    let content = Box::new(content);
    scene.does(&Command::ProposePlan { project, requirements, content, reason: "again".into() });
    approve(scene.view.newest::<Plan>().approval.unwrap())
}

fn re_plan(scene: &mut Scene, project: ProjectId, tasks: &[(&str, &[&str])], changed: &[&str]) {
    let approve = propose(scene, project, content(tasks, changed));
    scene.does(&approve);
}

fn id(scene: &Scene, key: &str) -> TaskId {
    scene.keyed(key).id
}

fn needs(scene: &Scene, task: TaskId) -> BTreeSet<TaskId> {
    scene.one::<Task>(task).depends_on
}

#[test]
fn the_work_that_a_person_gave_a_task_stays_while_the_plan_says_the_same() {
    let (mut scene, project) = planned(&[("a", &[]), ("b", &["a"])]);
    let a = id(&scene, "a");
    scene.does(&Command::EditTask { task: a, spec: Box::new(step_spec("by hand")), needs_approval: false });
    scene.does(&Command::PrioritizeTask { task: a, priority: 9 });
    re_plan(&mut scene, project, &[("a", &[]), ("b", &["a"]), ("c", &[])], &[]);
    let kept: Task = scene.one(a);
    assert_eq!((kept.state, kept.priority), (TaskState::Approved { not_before: None }, 9));
    assert_eq!(kept.spec, step_spec("by hand"));
    assert_eq!(id(&scene, "a"), a);
    // Now the plan itself wants something else of it.
    re_plan(&mut scene, project, &[("a", &[]), ("b", &["a"])], &["a"]);
    assert!(matches!(scene.one::<Task>(a).state, TaskState::Cancelled { .. }));
    let again = scene.keyed("a");
    assert_eq!((again.spec, again.priority), (step_spec("otherwise"), 9));
    assert_eq!(needs(&scene, id(&scene, "b")), [again.id].into());
}

#[test]
fn a_task_that_is_held_or_failed_is_made_anew_when_the_plan_changes_it() {
    let (mut scene, project) = planned(&[("held", &[]), ("failed", &[])]);
    let (held, fails) = (id(&scene, "held"), id(&scene, "failed"));
    for _ in 0..3 {
        let run = scene.start(fails);
        scene.settle(run, failed());
        scene.later_ms(10_000);
    }
    scene.does(&Command::HoldTask { task: held, reason: "wait for Ada".into() });
    re_plan(&mut scene, project, &[("held", &[]), ("failed", &[])], &["held", "failed"]);
    for old in [held, fails] {
        assert!(matches!(scene.one::<Task>(old).state, TaskState::Cancelled { .. }));
    }
    assert_eq!(scene.keyed("held").state, TaskState::Paused { reason: "wait for Ada".into() });
    assert_eq!(scene.keyed("failed").state, TaskState::Approved { not_before: None });
}

#[test]
fn what_people_linked_and_unlinked_stays_so() {
    let before: &[(&str, &[&str])] = &[("a", &[]), ("b", &["a"]), ("c", &["a"])];
    let (mut scene, project) = planned(before);
    let by_hand = scene.task(project, "by hand");
    let (a, b, c) = (id(&scene, "a"), id(&scene, "b"), id(&scene, "c"));
    scene.does(&link(b, by_hand));
    scene.does(&link(b, c));
    scene.does(&Command::UnlinkTask { task: c, depends_on: a });
    re_plan(&mut scene, project, &[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b"])], &[]);
    assert_eq!(needs(&scene, b), [a, by_hand, c].into());
    assert_eq!(needs(&scene, c), BTreeSet::new());
    // The plan takes one away that it had, and what is made anew keeps what people wanted.
    re_plan(&mut scene, project, &[("a", &[]), ("b", &[]), ("c", &["a"])], &["b", "c"]);
    assert_eq!(needs(&scene, id(&scene, "b")), [by_hand, id(&scene, "c")].into());
    assert_eq!(needs(&scene, id(&scene, "c")), BTreeSet::new());
}

#[test]
fn a_link_that_a_plan_adds_and_a_later_one_drops_goes_again() {
    let (mut scene, project) = planned(&[("a", &[]), ("b", &[])]);
    let (a, b) = (id(&scene, "a"), id(&scene, "b"));
    re_plan(&mut scene, project, &[("a", &[]), ("b", &["a"])], &[]);
    assert_eq!(needs(&scene, b), [a].into());
    re_plan(&mut scene, project, &[("a", &[]), ("b", &[])], &[]);
    assert_eq!(needs(&scene, b), BTreeSet::new());
}

#[test]
fn tasks_made_by_hand_follow_what_they_wait_for() {
    let (mut scene, project) = planned(&[("a", &[]), ("b", &[])]);
    let (a, b) = (id(&scene, "a"), id(&scene, "b"));
    let waits = NewTask { depends_on: all_done([a, b]), ..new_task(project, "waits") };
    let waits: TaskId = scene.does(&Command::CreateTask { task: Box::new(waits) }).touched[0].1.parse().unwrap();
    re_plan(&mut scene, project, &[("a", &[]), ("b", &[])], &["a"]);
    let again = id(&scene, "a");
    assert_ne!(again, a);
    assert_eq!(needs(&scene, waits), [again, b].into());
}

#[test]
fn a_failed_task_follows_too_since_it_may_be_tried_again() {
    let (mut scene, project) = planned(&[("a", &[]), ("b", &["a"])]);
    let b = id(&scene, "b");
    scene.finish(id(&scene, "a"));
    for _ in 0..3 {
        let run = scene.start(b);
        scene.settle(run, failed());
        scene.later_ms(10_000);
    }
    re_plan(&mut scene, project, &[("a", &[]), ("new", &[]), ("b", &["a", "new"])], &[]);
    assert_eq!(needs(&scene, b), [id(&scene, "a"), id(&scene, "new")].into());
}

#[test]
fn a_plan_that_makes_a_circle_with_what_people_linked_is_refused_with_its_name() {
    let (mut scene, project) = planned(&[("a", &[]), ("b", &[])]);
    let by_hand = scene.task(project, "by hand");
    scene.does(&link(id(&scene, "a"), by_hand));
    let b = id(&scene, "b");
    scene.does(&link(by_hand, b));
    let approve = propose(&mut scene, project, content(&[("a", &[]), ("b", &["a"])], &[]));
    let refused = scene.refuses(&approve).to_string();
    assert_eq!(refused, "the dependencies would make a cycle: a needs T-3 needs b needs a");
}

#[test]
fn a_failed_task_made_by_hand_follows_what_it_would_wait_for() {
    let (mut scene, project) = planned(&[("a", &[])]);
    let (a, by_hand) = (id(&scene, "a"), scene.task(project, "by hand"));
    scene.does(&Command::LinkTask { task: by_hand, depends_on: a, condition: Condition::Failed });
    for task in [a, by_hand] {
        for _ in 0..3 {
            let run = scene.start(task);
            scene.settle(run, failed());
            scene.later_ms(10_000);
        }
    }
    assert!(matches!(scene.one::<Task>(by_hand).state, TaskState::Failed { .. }));
    re_plan(&mut scene, project, &[("a", &[])], &["a"]);
    assert_ne!(id(&scene, "a"), a);
    assert_eq!(needs(&scene, by_hand), [id(&scene, "a")].into());
}

/// Who is given up may be tried again, and would wait then.
#[test]
fn a_circle_through_a_task_that_was_cancelled_is_found() {
    let (mut scene, project) = planned(&[("a", &[]), ("b", &[])]);
    let by_hand = scene.task(project, "by hand");
    scene.does(&link(id(&scene, "a"), by_hand));
    scene.does(&link(by_hand, id(&scene, "b")));
    scene.does(&Command::CancelTask { task: by_hand, reason: "not now".into() });
    let approve = propose(&mut scene, project, content(&[("a", &[]), ("b", &["a"])], &[]));
    let refused = scene.refuses(&approve).to_string();
    assert_eq!(refused, "the dependencies would make a cycle: a needs T-3 needs b needs a");
}

/// A view that counts the tasks that are read.
struct Counting<'a>(&'a MemoryView, Cell<usize>);

impl Counting<'_> {
    fn count<E: Entity>(&self, more: usize) {
        if E::KIND == EntityKind::Task {
            self.1.set(self.1.get() + more);
        }
    }
}

impl View for Counting<'_> {
    fn get<E: Entity>(&self, id: E::Id) -> Result<Option<E>, ReadError> {
        self.count::<E>(1);
        self.0.get(id)
    }

    fn list<E: Entity>(&self, filter: &Filter) -> Result<Vec<E>, ReadError> {
        let found = self.0.list::<E>(filter)?;
        self.count::<E>(found.len());
        Ok(found)
    }

    fn last_number(&self, kind: EntityKind, project: Option<ProjectId>) -> Result<u32, ReadError> {
        self.0.last_number(kind, project)
    }

    fn numbered<E: Entity>(&self, project: ProjectId, number: u32) -> Result<Option<E>, ReadError> {
        self.count::<E>(1);
        self.0.numbered(project, number)
    }
}

/// All of it is read on the thread that commits what everybody does.
#[test]
fn what_was_done_long_ago_is_not_read_for_a_new_plan() {
    let (mut scene, project) = planned(&[("a", &[]), ("b", &["a"])]);
    for number in 0..40 {
        let old = scene.task(project, &format!("old {number}"));
        scene.finish(old);
        assert!(matches!(scene.one::<Task>(old).state, TaskState::Done { .. }));
    }
    let open = scene.task(project, "open");
    scene.does(&link(open, scene.view.all::<Task>()[5].id));
    let approve = propose(&mut scene, project, content(&[("a", &[]), ("b", &["a"]), ("c", &["b"])], &[]));
    let counting = Counting(&scene.view, Cell::new(0));
    decide(&counting, &approve, &user(1_000), scene.now, &mut scene.ids).unwrap();
    assert!(counting.1.get() < 15, "{} tasks are read", counting.1.get());
    scene.does(&approve);
    assert_eq!(scene.keyed("c").depends_on, [id(&scene, "b")].into());
}
