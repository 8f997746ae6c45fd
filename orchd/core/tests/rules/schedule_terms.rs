//! Terms of tasks: conditions of dependencies, what runs share, times before and until which a task may begin.

use std::collections::BTreeMap;

use orch_core::command::{Command, TermsChange};
use orch_core::entity::{Asks, Condition, Join, Project, Task};
use orch_core::schedule::{AGING_MS, Limits, Resource, Totals, Wait};
use orch_core::state::run::RunOutcome;
use orch_core::state::task::TaskState;
use orch_proto::Timestamp;
use orch_proto::id::{ProjectId, TaskId};

use crate::schedule_choice::{book, choice, limits, names, next_due};
use crate::schedule_waits::{why, why_within};
use crate::support::{Scene, failed, retry, rule};

impl Scene {
    fn after(&mut self, project: ProjectId, title: &str, needs: &[(TaskId, Condition)], join: Join) -> TaskId {
        let needs: BTreeMap<TaskId, Condition> = needs.iter().copied().collect();
        self.task_with(project, title, |task| {
            task.depends_on = needs;
            task.terms.join = join;
        })
    }

    fn asking(&mut self, project: ProjectId, title: &str, priority: u8, asks: Asks) -> TaskId {
        self.task_with(project, title, |task| {
            task.terms.asks = asks;
            task.priority = priority;
        })
    }

    fn fails(&mut self, task: TaskId) {
        while !matches!(self.one::<Task>(task).state, TaskState::Failed { .. }) {
            self.later_ms(60_000);
            let run = self.start(task);
            self.settle(run, failed());
        }
    }

    fn succeeds(&mut self, task: TaskId) {
        let run = self.start(task);
        self.does(&Command::MarkRunStarting { run });
        self.settle(run, RunOutcome::Succeeded);
    }

    fn set(&mut self, task: TaskId, change: TermsChange) {
        self.does(&Command::SetTerms { task, change: Box::new(change) });
    }
}

fn memory(gigabytes: u64) -> Asks {
    Asks { memory_bytes: Some(gigabytes << 30), ..Asks::default() }
}

fn semaphore(name: &str, units: u32) -> Asks {
    Asks { semaphores: [(name.to_owned(), units)].into(), ..Asks::default() }
}

fn with_memory(gigabytes: u64, runs_max: u32) -> Limits {
    let totals = Totals { memory_bytes: Some(gigabytes << 30), run_memory_bytes: 1 << 30, ..Totals::default() };
    Limits { totals, ..limits(runs_max) }
}

/// Titles of what is chosen within the limits.
fn names_within(scene: &Scene, limits: &Limits) -> Vec<String> {
    let title = |task| scene.one::<Task>(task).title;
    let decisions = choice(scene, limits).into_iter();
    decisions
        .filter_map(
            |decision| {
                if let orch_core::schedule::Action::Run(task) = decision.action { Some(title(task)) } else { None }
            },
        )
        .collect()
}

#[test]
fn dependencies_have_conditions() {
    let (mut scene, project) = Scene::ready("shop");
    let build = scene.task(project, "build");
    let mend = scene.after(project, "mend", &[(build, Condition::Failed)], Join::All);
    let report = scene.after(project, "report", &[(build, Condition::Ended)], Join::All);
    scene.after(project, "deploy", &[(build, Condition::Done)], Join::All);
    assert_eq!(names(&scene, 9), ["build"]);
    scene.fails(build);
    assert_eq!(names(&scene, 9), ["mend", "report"]);
    // What failed can be tried again; who waits for the failure waits again.
    scene.does(&retry(build));
    assert_eq!(names(&scene, 9), ["build"]);
    let name = "T-1".to_owned();
    let condition = Condition::Failed;
    let wait = Wait::Dependency { task: build, name, state: "approved", condition, hopeless: false };
    assert_eq!(why(&scene, mend), [wait]);
    scene.succeeds(build);
    assert_eq!(names(&scene, 9), ["skip mend", "report", "deploy"]);
    // It is not needed any more, and says so.
    scene.does(&Command::SkipTask { task: mend });
    let reason = "not needed: T-1 did not fail".to_owned();
    assert_eq!(scene.one::<Task>(mend).state, TaskState::Cancelled { reason });
    assert_eq!(scene.refuses(&Command::SkipTask { task: report }).to_string(), "T-3 may still begin");
}

#[test]
fn one_of_several_dependencies_can_be_enough() {
    let (mut scene, project) = Scene::ready("shop");
    let (a, b) = (scene.task(project, "a"), scene.task(project, "b"));
    let either = scene.after(project, "either", &[(a, Condition::Done), (b, Condition::Done)], Join::Any);
    let unlucky = scene.after(project, "unlucky", &[(a, Condition::Failed), (b, Condition::Failed)], Join::Any);
    assert_eq!(why(&scene, either)[0], Wait::Dependencies { holding: 0, of: 2, join: Join::Any });
    scene.succeeds(b);
    assert_eq!(names(&scene, 9), ["a", "either"], "`unlucky` may still be");
    scene.succeeds(a);
    assert_eq!(names(&scene, 9), ["skip unlucky", "either"]);
    scene.does(&Command::LinkTask { task: unlucky, depends_on: b, condition: Condition::Done });
    assert_eq!(names(&scene, 9), ["either", "unlucky"], "its condition was changed");
    scene.set(unlucky, TermsChange { join: Some(Join::All), ..TermsChange::default() });
    assert_eq!(names(&scene, 9), ["skip unlucky", "either"]);
}

#[test]
fn a_semaphore_is_held_by_as_many_as_it_has_units() {
    let (mut scene, shop) = Scene::ready("shop");
    let other = scene.project("other");
    let first = scene.asking(shop, "first", 5, semaphore("database", 1));
    let second = scene.asking(other, "second", 5, semaphore("database", 1));
    scene.asking(shop, "free", 5, Asks::default());
    assert_eq!(names(&scene, 9), ["first", "free"], "over all projects");
    let run = scene.start(first);
    let resource = Resource::Semaphore("database".into());
    assert_eq!(why(&scene, second), [Wait::Resource { resource: resource.clone(), asked: 1, free: 0, total: 1 }]);
    let two = Totals { semaphores: [("database".to_owned(), 2)].into(), ..Totals::default() };
    assert_eq!(names_within(&scene, &Limits { totals: two, ..limits(9) }), ["second", "free"]);
    let greedy = scene.asking(shop, "greedy", 9, semaphore("database", 2));
    assert_eq!(why(&scene, greedy), [Wait::TooMuch { resource, asked: 2, total: 1 }]);
    assert_eq!(names(&scene, 9), ["free"]);
    scene.does(&Command::MarkRunStarting { run });
    scene.settle(run, RunOutcome::Succeeded);
    assert_eq!(names(&scene, 9), ["second", "free"]);
}

#[test]
fn a_book_that_follows_starts_what_waited_for_a_resource_when_it_is_free() {
    let (mut scene, project) = Scene::ready("shop");
    let large = scene.asking(project, "large", 5, memory(3));
    for title in ["a", "b"] {
        scene.asking(project, title, 5, memory(2));
    }
    let mut followed = book(&scene.view, &with_memory(4, 9));
    let mut told = scene.view.events.len();
    let mut titles = |scene: &Scene| {
        told = crate::schedule_choice::follow(&mut followed, &scene.view, told);
        let chosen = followed.choose(scene.now, &std::collections::BTreeSet::new());
        followed.give_back();
        let task = |action| {
            if let orch_core::schedule::Action::Run(task) = action {
                scene.one::<Task>(task).title
            } else {
                String::new()
            }
        };
        chosen.into_iter().map(|decision| task(decision.action)).collect::<Vec<_>>()
    };
    assert_eq!(titles(&scene), ["large"]);
    let run = scene.start(large);
    assert!(titles(&scene).is_empty());
    scene.does(&Command::MarkRunStarting { run });
    scene.settle(run, RunOutcome::Succeeded);
    assert_eq!(titles(&scene), ["a", "b"]);
}

#[test]
fn what_a_higher_priority_waits_for_is_kept_for_it() {
    let (mut scene, project) = Scene::ready("shop");
    let other = scene.project("other");
    let running = scene.asking(project, "running", 5, memory(2));
    scene.start(running);
    let large = scene.asking(project, "large", 7, memory(3));
    let small = scene.asking(other, "small", 5, memory(1));
    let within = with_memory(4, 9);
    assert!(names_within(&scene, &within).is_empty());
    let short = Wait::Resource { resource: Resource::Memory, asked: 3 << 30, free: 2 << 30, total: 4 << 30 };
    assert_eq!(why_within(&scene, large, &within), [short]);
    let kept = Wait::Reserved { resource: Resource::Memory, name: "shop/T-2".into() };
    assert_eq!(why_within(&scene, small, &within), [kept]);
    // Of the same priority the small one goes by, until the large one has waited for long.
    scene.does(&Command::PrioritizeTask { task: large, priority: 5 });
    assert_eq!(names_within(&scene, &within), ["small"]);
    // Its own project started something just now, so that it begins to wait from there.
    scene.later_ms(2 * AGING_MS);
    scene.asking(other, "fresh", 5, memory(1));
    scene.does(&Command::CancelTask { task: small, reason: "no".into() });
    assert!(names_within(&scene, &within).is_empty());
    // What cannot start whatever is free keeps nothing.
    scene.does(&Command::SetShare { project, weight: None, runs_max: Some(1), runs_per_day: None });
    assert_eq!(names_within(&scene, &within), ["fresh"]);
}

/// Whatever it was that it lacked first, as a book sees it that comes to it only now.
#[test]
fn what_a_higher_priority_lacks_by_now_is_kept_for_it_as_well() {
    let (mut scene, project) = Scene::ready("shop");
    let other = scene.project("other");
    let holder = scene.asking(other, "holder", 5, Asks { memory_bytes: Some(0), ..semaphore("database", 1) });
    scene.start(holder);
    scene.asking(project, "both", 8, Asks { memory_bytes: Some(3 << 30), ..semaphore("database", 1) });
    let within = with_memory(4, 9);
    let mut followed = book(&scene.view, &within);
    let mut told = scene.view.events.len();
    let mut starts = |scene: &Scene| {
        told = crate::schedule_choice::follow(&mut followed, &scene.view, told);
        followed.give_back();
        let chosen = followed.choose(scene.now, &std::collections::BTreeSet::new());
        assert_eq!(chosen.len(), names_within(scene, &within).len(), "{chosen:?}");
        chosen.len()
    };
    assert_eq!(starts(&scene), 0, "the semaphore is taken, and memory is not");
    let large = scene.asking(other, "large", 5, memory(2));
    assert_eq!(starts(&scene), 1);
    scene.start(large);
    scene.asking(other, "small", 5, memory(1));
    assert_eq!(starts(&scene), 0, "what is left of the memory is too little for both, and kept");
    scene.does(&Command::CancelTask { task: large, reason: "no".into() });
    scene.settle(scene.one::<Task>(large).last_run.unwrap(), RunOutcome::Cancelled { reason: "no".into() });
    assert_eq!(starts(&scene), 1, "there is enough for both again");
}

#[test]
fn a_task_begins_neither_too_early_nor_too_late() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "timed");
    let (from, until) = (scene.now.plus_ms(10_000), scene.now.plus_ms(20_000));
    scene
        .set(task, TermsChange { not_before: Some(Some(from)), deadline: Some(Some(until)), ..TermsChange::default() });
    assert_eq!(why(&scene, task), [Wait::NotBefore { at: from, ms: 10_000 }]);
    assert_eq!((names(&scene, 9), next_due(&scene)), (Vec::new(), Some(from)));
    let refused = scene.refuses(&crate::support::start(task)).to_string();
    assert_eq!(refused, "T-1 is not to begin yet");
    scene.now = from;
    assert_eq!((names(&scene, 9), next_due(&scene)), (vec!["timed".to_owned()], Some(until)));
    assert_eq!(scene.refuses(&Command::ExpireTask { task }).to_string(), "the time of T-1 is not over");
    scene.now = until;
    assert_eq!((names(&scene, 9), next_due(&scene)), (vec!["expire timed".to_owned()], None));
    assert_eq!(scene.refuses(&crate::support::start(task)).to_string(), "the time of T-1 is over");
    scene.does(&Command::ExpireTask { task });
    assert!(matches!(scene.one::<Task>(task).state, TaskState::Failed { .. }));
    let refused = scene.refuses(&retry(task)).to_string();
    assert!(refused.starts_with("the deadline of T-1"), "{refused}");
    scene.set(task, TermsChange { deadline: Some(None), ..TermsChange::default() });
    scene.does(&retry(task));
    assert_eq!(names(&scene, 9), ["timed"]);
}

/// The sandbox keeps a deadline by a clock that stands still while a run is paused.
#[test]
fn a_run_is_ended_at_the_deadline_of_its_task() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "runs");
    let until = scene.now.plus_ms(1_000);
    scene.set(task, TermsChange { deadline: Some(Some(until)), ..TermsChange::default() });
    let run = scene.start(task);
    assert_eq!((names(&scene, 9), next_due(&scene)), (Vec::new(), Some(until)));
    scene.now = until;
    assert_eq!(names(&scene, 9), ["expire runs"]);
    scene.does(&Command::ExpireTask { task });
    assert!(scene.one::<orch_core::entity::Run>(run).cancel_requested.is_some());
    assert_eq!(names(&scene, 9), Vec::<String>::new());
    assert_eq!(scene.refuses(&Command::ExpireTask { task }).to_string(), "the run of T-1 is to end already");
    // The rest of its terms can be set all the same.
    scene.set(task, TermsChange { memory_bytes: Some(1 << 30), ..TermsChange::default() });
    scene.settle(run, RunOutcome::Cancelled { reason: "over".into() });
    assert!(matches!(scene.one::<Task>(task).state, TaskState::Failed { .. }));
    assert_eq!(names(&scene, 9), Vec::<String>::new());
}

#[test]
fn many_ends_come_some_at_a_time() {
    let (mut scene, project) = Scene::ready("shop");
    let first = scene.task(project, "first");
    for at in 0..300 {
        scene.after(project, &format!("on failure {at}"), &[(first, Condition::Failed)], Join::All);
    }
    scene.succeeds(first);
    assert_eq!(names(&scene, 9).len(), 256);
}

#[test]
fn a_deadline_that_leaves_no_time_for_another_attempt_ends_the_task() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "late");
    scene.set(task, TermsChange { deadline: Some(Some(scene.now.plus_ms(400))), ..TermsChange::default() });
    let run = scene.start(task);
    scene.settle(run, failed());
    let TaskState::Failed { reason } = scene.one::<Task>(task).state else { panic!("it is tried again") };
    assert_eq!(reason, "exit 1; its deadline leaves no time for another attempt");
}

#[test]
fn terms_that_mean_nothing_are_refused() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "any");
    let now = scene.now;
    let refused = |scene: &mut Scene, change: TermsChange| {
        rule(scene.refuses(&Command::SetTerms { task, change: Box::new(change) })).to_string()
    };
    let times = |not_before: Option<Timestamp>, deadline: Option<Timestamp>| TermsChange {
        not_before: Some(not_before),
        deadline: Some(deadline),
        ..TermsChange::default()
    };
    assert_eq!(refused(&mut scene, times(None, Some(now))), format!("deadline {now} is over"));
    let later = now.plus_ms(1);
    let order = refused(&mut scene, times(Some(later), Some(later)));
    assert_eq!(order, "deadline is not after the time before which it may not begin");
    for (name, units) in [("", 1), ("a b", 1), ("db", 0), ("db", 2_000_000)] {
        let semaphores = Some(BTreeMap::from([(name.to_owned(), units)]));
        assert!(refused(&mut scene, TermsChange { semaphores, ..TermsChange::default() }).starts_with("semaphore `"));
    }
    scene.set(task, TermsChange { memory_bytes: Some(1), ..TermsChange::default() });
    scene.set(task, TermsChange { memory_bytes: Some(0), ..TermsChange::default() });
    assert!(scene.one::<Task>(task).terms.is_default());
    assert_eq!(scene.one::<Project>(project).slug, "shop");
}
