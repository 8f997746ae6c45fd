//! Why a task waits: every reason, and none for what is under way or over.

use orch_core::command::{Command, NewTask};
use orch_core::entity::{Condition, Join, RepositorySource, Run, Task, Work};
use orch_core::rehearsal::{new_task, step_spec};
use orch_core::schedule::{Limits, Resource, Totals, Wait};
use orch_core::state::run::RunOutcome;
use orch_proto::id::TaskId;

use crate::schedule_choice::{book, choice, limits};
use crate::support::{Scene, all_done, deny, failed};

pub(crate) fn why(scene: &Scene, task: TaskId) -> Vec<Wait> {
    why_within(scene, task, &limits(5))
}

pub(crate) fn why_within(scene: &Scene, task: TaskId, limits: &Limits) -> Vec<Wait> {
    book(&scene.view, limits).waits(task, scene.now)
}

impl Scene {
    pub(crate) fn made(&mut self, task: NewTask) -> TaskId {
        self.does(&Command::CreateTask { task: Box::new(task) });
        self.view.newest::<Task>().id
    }
}

#[test]
fn a_task_tells_what_it_waits_for() {
    let (mut scene, project) = Scene::ready("shop");
    let first = scene.task(project, "first");
    assert_eq!(why(&scene, first), []);

    let proposed = scene.made(NewTask { queue: false, ..new_task(project, "proposed") });
    assert_eq!(why(&scene, proposed), [Wait::Proposed]);

    let held = scene.task(project, "held");
    scene.does(&Command::HoldTask { task: held, reason: "not now".into() });
    assert_eq!(why(&scene, held), [Wait::Held { reason: "not now".into() }]);
    let again = scene.does(&Command::HoldTask { task: held, reason: "twice".into() });
    assert_eq!(again.notes, ["it is held already"]);

    let after = scene.made(NewTask { depends_on: all_done([first, held]), ..new_task(project, "after") });
    let condition = Condition::Done;
    let dependency =
        |task, name: &str, state| Wait::Dependency { task, name: name.into(), state, condition, hopeless: false };
    let mut wanted = vec![dependency(first, "T-1", "approved"), dependency(held, "T-3", "paused")];
    wanted.sort_by_key(|wait| if let Wait::Dependency { task, .. } = wait { Some(*task) } else { None });
    wanted.insert(0, Wait::Dependencies { holding: 0, of: 2, join: Join::All });
    assert_eq!(why(&scene, after), wanted);

    let asked = scene.made(NewTask { needs_approval: true, ..new_task(project, "asked") });
    let approval = scene.one::<Task>(asked).approval.unwrap();
    assert_eq!(why(&scene, asked), [Wait::Approval { approval, name: "A-1".into(), state: "pending" }]);
    scene.does(&deny(approval));
    assert_eq!(why(&scene, asked), []);
}

#[test]
fn a_dependency_that_ended_badly_is_called_hopeless() {
    let (mut scene, project) = Scene::ready("shop");
    let first = scene.task(project, "first");
    let after = scene.made(NewTask { depends_on: all_done([first]), ..new_task(project, "after") });
    scene.does(&Command::CancelTask { task: first, reason: "no".into() });
    let name = "T-1".to_owned();
    let condition = Condition::Done;
    let wait = Wait::Dependency { task: first, name, state: "cancelled", condition, hopeless: true };
    assert_eq!(why(&scene, after), [wait]);
    scene.does(&Command::UnlinkTask { task: after, depends_on: first });
    assert_eq!(why(&scene, after), []);
}

#[test]
fn a_retry_tells_how_long_it_waits() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "flaky");
    let run = scene.start(task);
    assert_eq!(why(&scene, task), []);
    scene.settle(run, failed());
    let [Wait::Backoff { ms }] = why(&scene, task)[..] else { panic!("{:?}", why(&scene, task)) };
    assert!((500..=750).contains(&ms));
    scene.later_ms(ms - 1);
    assert_eq!(why(&scene, task), [Wait::Backoff { ms: 1 }]);
    scene.later_ms(1);
    assert_eq!(why(&scene, task), []);
}

#[test]
fn what_the_host_lacks_is_named_with_its_fix() {
    let (mut scene, project) = Scene::ready("shop");
    let mut spec = step_spec("cargo build");
    if let Work::Steps { tools, .. } = &mut spec.work {
        *tools = vec!["cargo".into(), "git".into()];
    }
    let builds = scene.made(NewTask { spec, ..new_task(project, "builds") });
    let mut spec = step_spec("");
    spec.work = Work::Agent { capability: "design".into() };
    let designs = scene.made(NewTask { spec: spec.clone(), ..new_task(project, "designs") });
    spec.work = Work::Agent { capability: "code".into() };
    let codes = scene.made(NewTask { spec, ..new_task(project, "codes") });

    let fix = "apt-get install cargo".to_owned();
    let lacking = Limits { missing_tools: [("cargo".to_owned(), fix.clone())].into(), ..limits(5) };
    assert_eq!(why_within(&scene, builds, &lacking), [Wait::Tool { name: "cargo".into(), fix }]);
    assert_eq!(why(&scene, builds), []);
    assert_eq!(why(&scene, designs), [Wait::Agent { capability: "design".into() }]);
    assert_eq!(why(&scene, codes), []);
    let weak = Limits { level: 1, ..limits(5) };
    let fix = weak.level_fix.clone();
    assert_eq!(why_within(&scene, codes, &weak), [Wait::Isolation { level: 1, required: 2, fix }]);
}

#[test]
fn a_project_that_is_not_ready_holds_its_tasks() {
    let mut scene = Scene::new();
    let source = RepositorySource::Empty;
    scene.does(&Command::CreateProject { slug: "shop".into(), source, protected_paths: Vec::new() });
    let project = scene.view.newest::<orch_core::entity::Project>().id;
    let task = scene.task(project, "early");
    assert_eq!(why(&scene, task), [Wait::Project { name: "shop".into(), state: "preparing" }]);
    let default_branch = "main".into();
    scene.does(&Command::PrepareProject { project, default_branch, head: None, toolchains: Vec::new() });
    assert_eq!(why(&scene, task), []);
}

#[test]
fn no_more_runs_start_than_fit_into_memory() {
    let (mut scene, project) = Scene::ready("shop");
    let first = scene.task(project, "first");
    let second = scene.task(project, "second");
    let totals = |gigabytes: u64, of_run: u64| Totals {
        memory_bytes: Some(gigabytes << 30),
        run_memory_bytes: of_run << 30,
        ..Totals::default()
    };
    let small = Limits { totals: totals(3, 2), ..limits(4) };
    assert_eq!(choice(&scene, &small).len(), 1);
    scene.start(first);
    assert_eq!(choice(&scene, &small), []);
    let short = Wait::Resource { resource: Resource::Memory, asked: 2 << 30, free: 1 << 30, total: 3 << 30 };
    assert_eq!(why_within(&scene, second, &small), std::slice::from_ref(&short));
    let enough = Limits { totals: totals(4, 2), ..limits(4) };
    assert_eq!(choice(&scene, &enough).len(), 1);
    // Of what is short each is named.
    let full = Limits { totals: totals(3, 2), ..limits(1) };
    assert_eq!(why_within(&scene, second, &full), [short, Wait::Capacity { running: 1, max: 1, ahead: 0 }]);
    // A run by itself always fits.
    let tiny = Limits { totals: totals(1, 2), ..limits(4) };
    scene.does(&Command::CancelTask { task: first, reason: "no".into() });
    let run = scene.view.newest::<Run>().id;
    scene.settle(run, RunOutcome::Cancelled { reason: "no".into() });
    assert_eq!(choice(&scene, &tiny).len(), 1);
}

#[test]
fn a_full_or_paused_host_says_how_many_are_ahead() {
    let (mut scene, project) = Scene::ready("shop");
    let first = scene.task(project, "first");
    let second = scene.task(project, "second");
    scene.later_ms(1);
    let third = scene.task(project, "third");
    let run = scene.start(first);
    let full = limits(1);
    assert_eq!(why_within(&scene, second, &full), [Wait::Capacity { running: 1, max: 1, ahead: 0 }]);
    assert_eq!(why_within(&scene, third, &full), [Wait::Capacity { running: 1, max: 1, ahead: 1 }]);
    scene.does(&Command::PrioritizeTask { task: third, priority: 9 });
    assert_eq!(why_within(&scene, third, &full), [Wait::Capacity { running: 1, max: 1, ahead: 0 }]);
    let paused = Limits { paused: Some("draining".into()), ..limits(5) };
    assert_eq!(why_within(&scene, second, &paused), [Wait::Paused { reason: "draining".into() }]);
    // What is over or under way waits for nothing.
    assert_eq!(why_within(&scene, first, &paused), []);
    scene.does(&Command::MarkRunStarting { run });
    scene.settle(run, RunOutcome::Succeeded);
    assert_eq!(why_within(&scene, first, &full), []);
}
