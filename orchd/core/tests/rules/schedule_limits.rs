//! What bounds starts beside places and what tasks ask for: the runs of an agent and of a role, room on the disk, and gates that go
//! first. And what says that a task waits for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use orch_core::command::Command;
use orch_core::entity::{AgentUse, Asks, Task, Work};
use orch_core::rehearsal::new_task;
use orch_core::schedule::{Action, Decision, Doer, Limits, Resource, Shortage, Staff, Totals, Wait, own_role};
use orch_proto::id::{ProjectId, RunId, TaskId};

use crate::schedule_choice::{book, choice, coders, limits};
use crate::schedule_waits::why_within;
use crate::support::{Scene, failed, start};
use crate::thread::coder;

const GIB: u64 = 1 << 30;

impl Scene {
    fn for_coders(&mut self, project: ProjectId, title: &str) -> TaskId {
        let mut new = new_task(project, title);
        new.spec.work = Work::Agent { capability: "code".into() };
        self.later_ms(1);
        self.made(new)
    }

    fn started_by(&mut self, task: TaskId, by: AgentUse) -> RunId {
        let mut command = start(task);
        if let Command::StartRun { agent, .. } = &mut command {
            *agent = Some(by);
        }
        self.does(&command).touched[0].1.parse().unwrap()
    }

    fn taking(&mut self, project: ProjectId, title: &str, asks: Asks) -> TaskId {
        self.task_with(project, title, |task| task.terms.asks = asks)
    }
}

fn within(totals: Totals) -> Limits {
    Limits { totals, ..limits(9) }
}

fn of_staff(staff: Staff) -> Limits {
    within(Totals { staff: Arc::new(staff), ..Totals::default() })
}

/// Titles of the tasks that are to start, and numbers of changes whose gates are.
fn begins(scene: &Scene, limits: &Limits) -> Vec<String> {
    names(scene, choice(scene, limits))
}

fn names(scene: &Scene, decisions: Vec<Decision>) -> Vec<String> {
    let name = |decision: Decision| match decision.action {
        Action::Run(task) => Some(scene.one::<Task>(task).title),
        Action::Check(change) => Some(format!("C-{}", scene.one::<orch_core::entity::Change>(change).number)),
        _ => None,
    };
    decisions.into_iter().filter_map(name).collect()
}

fn titled(scene: &Scene, title: &str) -> TaskId {
    scene.view.all::<Task>().into_iter().find(|task| task.title == title).unwrap().id
}

fn memory(bytes: u64) -> Asks {
    Asks { memory_bytes: Some(bytes), ..Asks::default() }
}

#[test]
fn an_agent_has_no_more_runs_than_it_may_and_others_go_by() {
    let (mut scene, shop) = Scene::ready("shop");
    let other = scene.project("other");
    let first = scene.for_coders(shop, "first");
    let second = scene.for_coders(other, "second");
    scene.task(other, "steps");
    let one = of_staff(coders(1));
    assert_eq!(begins(&scene, &one), ["first", "steps"], "over all projects");
    let run = scene.started_by(first, coder(false));
    let resource = Resource::Agent("coder".into());
    let wait = Wait::Resource { resource, asked: 1, free: 0, total: 1 };
    assert_eq!(why_within(&scene, second, &one), std::slice::from_ref(&wait));
    assert_eq!(begins(&scene, &one), ["steps"]);
    assert_eq!(begins(&scene, &of_staff(coders(2))), ["second", "steps"]);
    assert_eq!(begins(&scene, &of_staff(Staff::default())), ["second", "steps"], "without a bound there is none");
    // One that is told of the end starts the next.
    let mut followed = book(&scene.view, &one);
    let told = scene.view.events.len();
    assert_eq!(followed.waits(second, scene.now), [wait]);
    scene.does(&Command::MarkRunStarting { run });
    scene.settle(run, failed());
    crate::schedule_choice::follow(&mut followed, &scene.view, told);
    let chosen = followed.choose(scene.now, &BTreeSet::new());
    assert!(names(&scene, chosen).contains(&"second".to_owned()));
}

#[test]
fn a_role_is_bounded_by_itself_and_that_of_a_project_is_another_one() {
    let (mut scene, shop) = Scene::ready("shop");
    let other = scene.project("other");
    let doer = || Doer { agent: Some("coder".into()), role: Some("developer".into()) };
    let staff = Staff {
        common: [("code".to_owned(), doer())].into(),
        of_projects: [("shop".to_owned(), [("code".to_owned(), doer())].into())].into(),
        roles_max: [("developer".to_owned(), Some(1)), (own_role("shop", "developer"), Some(2))].into(),
        ..Staff::default()
    };
    let limits = of_staff(staff);
    for number in 1..=3 {
        scene.for_coders(shop, &format!("shop {number}"));
        scene.for_coders(other, &format!("other {number}"));
    }
    let chosen: BTreeSet<String> = begins(&scene, &limits).into_iter().collect();
    assert_eq!(chosen, ["other 1", "shop 1", "shop 2"].map(str::to_owned).into());
    let running = AgentUse { role: Some("developer".into()), ..coder(false) };
    for title in ["other 1", "shop 1", "shop 2"] {
        let task = titled(&scene, title);
        scene.started_by(task, running.clone());
    }
    let waits = |role: &str, total| {
        let resource = Resource::Role(role.to_owned());
        [Wait::Resource { resource, asked: 1, free: 0, total }]
    };
    assert_eq!(why_within(&scene, titled(&scene, "other 2"), &limits), waits("developer", 1));
    assert_eq!(why_within(&scene, titled(&scene, "shop 3"), &limits), waits("shop/developer", 2));
}

#[test]
fn a_nearly_full_disk_lets_nothing_begin_and_says_so() {
    let (mut scene, project) = Scene::ready("shop");
    let done = scene.task(project, "done");
    let run = scene.start(done);
    scene.proposes(run, &[]);
    let task = scene.task(project, "waits");
    let shortage = Shortage::Space { free: GIB, needed: 2 * GIB };
    let full = Limits { shortage: Some(shortage), ..limits(5) };
    assert_eq!(choice(&scene, &full), [], "neither a task nor gates");
    assert_eq!(why_within(&scene, task, &full), [Wait::Shortage(shortage)]);
    // Nobody has to tell the book of the task again.
    let mut book = book(&scene.view, &full);
    assert_eq!(book.choose(scene.now, &BTreeSet::new()), []);
    book.set_limits(limits(5));
    let chosen = book.choose(scene.now, &BTreeSet::new());
    assert_eq!(names(&scene, chosen), ["C-1", "waits"]);
}

#[test]
fn a_part_of_the_disk_that_is_not_free_just_now_is_waited_for() {
    let (mut scene, project) = Scene::ready("shop");
    let disk = |gigabytes: u64| Asks { disk_bytes: Some(gigabytes * GIB), ..Asks::default() };
    let large = scene.taking(project, "large", disk(50));
    let huge = scene.taking(project, "huge", disk(101));
    let free =
        |bytes: u64| within(Totals { disk_bytes: Some(bytes), disk_size_bytes: Some(100 * GIB), ..Totals::default() });
    let (resource, total) = (Resource::Disk, 40 * GIB);
    let wait = Wait::Resource { resource: resource.clone(), asked: 50 * GIB, free: total, total };
    assert_eq!(why_within(&scene, large, &free(total)), [wait]);
    let too_much = Wait::TooMuch { resource, asked: 101 * GIB, total: 100 * GIB };
    assert_eq!(why_within(&scene, huge, &free(total)), [too_much]);
    let mut followed = book(&scene.view, &free(total));
    assert_eq!(followed.choose(scene.now, &BTreeSet::new()), []);
    assert!(followed.waits_for_disk() && followed.disk_in_demand().is_empty());
    followed.set_limits(free(60 * GIB));
    let chosen = followed.choose(scene.now, &BTreeSet::new());
    assert_eq!(names(&scene, chosen), ["large"]);
    // What a run has written of its part is not free any more, and is told of with what is: only the rest of it is kept.
    let run = scene.start(large);
    let next = scene.taking(project, "next", disk(45));
    let mut followed = book(&scene.view, &free(60 * GIB));
    assert_eq!(followed.choose(scene.now, &BTreeSet::new()), []);
    assert_eq!(followed.disk_in_demand(), [(run, 50 * GIB)].into());
    assert!(matches!(followed.waits(next, scene.now)[..], [Wait::Resource { free, .. }] if free == 10 * GIB));
}

/// One run holds 11 of 12 GiB and gates need 2: what needs less than is left begins, as long as the gates can begin when that
/// run is over.
#[test]
fn gates_that_do_not_fit_keep_only_what_they_lack() {
    let (mut scene, project) = Scene::ready("shop");
    let other = scene.project("other");
    let worked = scene.task(project, "worked");
    let run = scene.start(worked);
    scene.proposes(run, &[]);
    let large = scene.taking(other, "large", memory(11 * GIB));
    let held = scene.start(large);
    let totals = Totals { memory_bytes: Some(12 * GIB), run_memory_bytes: 2 * GIB, ..Totals::default() };
    let limits = Limits { runs_max: 20, ..within(totals) };
    let small = scene.taking(other, "small", memory(GIB / 4));
    assert_eq!(begins(&scene, &limits), ["small"]);
    assert_eq!(why_within(&scene, small, &limits), []);
    // What holds most is as small as that which would go by: then the gates would wait for both.
    scene.does(&Command::MarkRunStarting { run: held });
    scene.settle(held, failed());
    for number in 0..11 {
        let task = scene.taking(other, &format!("one {number}"), memory(GIB));
        scene.start(task);
    }
    assert_eq!(begins(&scene, &limits), Vec::<String>::new());
    let kept = Wait::Kept { change: "shop/C-1".into(), needs: 2 * GIB, free: GIB };
    assert_eq!(why_within(&scene, small, &limits), [kept]);
    // What takes no memory is in nobody's way.
    scene.taking(other, "nothing", memory(0));
    assert_eq!(begins(&scene, &limits), ["nothing"]);
    // When the gates are gone, so is what was kept for them.
    let mut followed = book(&scene.view, &limits);
    let told = scene.view.events.len();
    followed.choose(scene.now, &BTreeSet::new());
    followed.give_back();
    scene.does(&Command::CancelTask { task: worked, reason: "no".into() });
    crate::schedule_choice::follow(&mut followed, &scene.view, told);
    let chosen = followed.choose(scene.now, &BTreeSet::new());
    assert!(names(&scene, chosen).contains(&"small".to_owned()));
}

/// A run that stands still leaves the place that its agent has for it, and goes on when there is one again.
#[test]
fn a_run_that_waits_for_a_person_leaves_its_agent_to_others() {
    let (mut scene, project) = Scene::ready("shop");
    let one = of_staff(coders(1));
    let run = scene.speaks_by(project, "asks", Some(coder(false)));
    scene.asks_people(run, "k");
    let next = scene.for_coders(project, "next");
    assert_eq!(begins(&scene, &one), Vec::<String>::new());
    scene.does(&Command::ParkRun { run });
    assert_eq!(begins(&scene, &one), ["next"]);
    let second = scene.started_by(next, coder(false));
    scene.answers(run);
    assert_eq!(choice(&scene, &one), [], "its place is taken");
    assert!(
        matches!(choice(&scene, &of_staff(coders(2)))[..], [Decision { action: Action::Recall(chosen), .. }] if chosen == run)
    );
    scene.does(&Command::MarkRunStarting { run: second });
    scene.settle(second, failed());
    let mut followed = book(&scene.view, &one);
    let third = scene.for_coders(project, "third");
    followed.put_task((&scene.one::<Task>(third)).into());
    let chosen = followed.choose(scene.now, &BTreeSet::new());
    assert!(matches!(chosen[..], [Decision { action: Action::Recall(chosen), .. }] if chosen == run), "{chosen:?}");
    // It is given back with everything else that nothing came of.
    followed.give_back();
    let again = followed.choose(scene.now, &BTreeSet::new());
    assert_eq!(again, chosen);
}
