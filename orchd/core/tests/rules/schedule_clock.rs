//! A clock that is put back or goes ahead: the book and the rules look at it alike, nobody waits for it to catch up, and nothing
//! is earned by time that was not.

use std::collections::BTreeSet;

use orch_core::command::Command;
use orch_core::entity::{Change, Condition, LOSS_BACKOFF_MS_MAX, Patience, Remedy, Run, Task, Timeout};
use orch_core::ids::first_of;
use orch_core::schedule::{Action, Book, Decision, Freeze, Limits, Wait, Window};
use orch_core::state::run::RunOutcome;
use orch_proto::id::{ProjectId, TaskId};

use crate::schedule_choice::{book, follow, limits};
use crate::support::{Scene, approve, failed, lost, retry, rule, start};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

/// A scene and a book that follows it.
struct Followed {
    scene: Scene,
    book: Book,
    told: usize,
    limits: Limits,
}

impl Followed {
    fn new(scene: Scene, limits: Limits) -> Self {
        let mut book = Book::default();
        book.set_limits(limits.clone());
        Self { scene, book, told: 0, limits }
    }

    /// What is chosen; one that is told of everything only now chooses the same, and is asked again at the same time.
    fn chooses(&mut self) -> Vec<Decision> {
        self.told = follow(&mut self.book, &self.scene.view, self.told);
        self.book.give_back();
        let (now, none) = (self.scene.now, BTreeSet::new());
        let chosen = self.book.choose(now, &none);
        let mut fresh = book(&self.scene.view, &self.limits);
        assert_eq!(fresh.choose(now, &none), chosen);
        assert_eq!(fresh.next_due(now), self.book.next_due(now));
        chosen
    }

    /// Names of tasks that are to start.
    fn starts(&mut self) -> Vec<TaskId> {
        let task = |decision: Decision| match decision.action {
            Action::Run(task) => Some(task),
            _ => None,
        };
        self.chooses().into_iter().filter_map(task).collect()
    }

    fn waits(&mut self, task: TaskId) -> Vec<Wait> {
        self.book.waits(task, self.scene.now)
    }
}

impl Scene {
    fn earlier_ms(&mut self, ms: u64) {
        self.now = self.now.minus_ms(ms);
    }

    fn with_priority(&mut self, project: ProjectId, priority: u8) -> TaskId {
        let task = self.task(project, "one");
        self.does(&Command::PrioritizeTask { task, priority });
        task
    }
}

/// A wait is a length. When the clock says that it would be longer than it can have been, it is over.
#[test]
fn a_retry_does_not_wait_for_the_clock_to_catch_up() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "flaky");
    let mut at = Followed::new(scene, limits(5));
    let run = at.scene.start(task);
    at.scene.settle(run, failed());
    assert_eq!(at.starts(), []);
    // Within the length of any wait it may last.
    at.scene.earlier_ms(LOSS_BACKOFF_MS_MAX / 2);
    assert_eq!(at.starts(), []);
    assert!(matches!(at.waits(task)[..], [Wait::Backoff { .. }]));
    assert!(rule(at.scene.refuses(&start(task))).to_string().contains("next retry"));
    at.scene.earlier_ms(DAY);
    assert_eq!(at.starts(), [task]);
    at.scene.start(task);
}

#[test]
fn a_check_does_not_wait_for_the_clock_to_catch_up() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "work");
    let run = scene.start(task);
    let change = scene.proposes(run, &[]);
    scene.check(change, lost());
    let mut at = Followed::new(scene, limits(5));
    assert_eq!(at.chooses(), []);
    at.scene.earlier_ms(DAY);
    assert!(matches!(at.chooses()[..], [Decision { action: Action::Check(chosen), .. }] if chosen == change));
    at.scene.check(change, RunOutcome::Succeeded);
    assert!(at.scene.one::<Change>(change).state.label() == "mergeable");
}

/// What somebody named is compared with the clock as it is, by the book as by the rules.
#[test]
fn a_time_that_somebody_named_comes_again_when_the_clock_is_put_back() {
    let (mut scene, project) = Scene::ready("shop");
    let from = scene.now.plus_ms(HOUR);
    let task = scene.task_with(project, "later", |task| task.terms.not_before = Some(from));
    let mut at = Followed::new(scene, limits(5));
    at.scene.later_ms(2 * HOUR);
    assert_eq!(at.starts(), [task]);
    // Something happens meanwhile: the log's time does not go back with the clock.
    at.scene.task(project, "other");
    at.scene.earlier_ms(2 * HOUR);
    assert!(!at.starts().contains(&task));
    assert!(matches!(at.waits(task)[..], [Wait::NotBefore { at, .. }] if at == from));
    assert_eq!(at.book.next_due(at.scene.now), Some(from));
    assert!(rule(at.scene.refuses(&start(task))).to_string().contains("not to begin yet"));
    at.scene.later_ms(HOUR);
    assert!(at.starts().contains(&task));
    at.scene.start(task);
}

/// Threads look at the clock one after the other, and ask the book in another order.
#[test]
fn a_moment_before_is_no_clock_that_was_put_back() {
    let (mut scene, project) = Scene::ready("shop");
    let from = scene.now.plus_ms(HOUR);
    scene.task_with(project, "later", |task| task.terms.not_before = Some(from));
    let mut book = book(&scene.view, &limits(5));
    let mut starts = |at| {
        let chosen = book.choose(at, &BTreeSet::new()).len();
        book.give_back();
        chosen
    };
    assert_eq!((starts(from.minus_ms(1)), starts(from), starts(from.minus_ms(1_000))), (0, 1, 1));
    assert_eq!((starts(from.minus_ms(1_001)), starts(from.minus_ms(1)), starts(from)), (0, 0, 1));
}

/// A class gains priority by time without a start; time that was not gives none.
#[test]
fn nothing_is_gained_by_a_clock_that_went_ahead() {
    let (mut scene, shop) = Scene::ready("shop");
    let other = scene.project("other");
    let low = scene.with_priority(shop, 3);
    let mut at = Followed::new(scene, limits(1));
    assert_eq!(at.starts(), [low]);
    at.scene.later_ms(5 * HOUR);
    let high = at.scene.with_priority(other, 5);
    assert_eq!(at.starts(), [low], "it has waited for five hours");
    at.scene.earlier_ms(5 * HOUR);
    assert_eq!(at.starts(), [high]);
}

/// A project has used no more for a clock that went ahead while it had a run.
#[test]
fn nothing_is_used_by_a_clock_that_went_ahead() {
    let (mut scene, shop) = Scene::ready("shop");
    let other = scene.project("other");
    let first = scene.task(shop, "long");
    scene.start(first);
    scene.later_ms(60_000);
    // The other one used five minutes, so that the first goes before it.
    let second = scene.task(other, "short");
    let run = scene.start(second);
    scene.does(&Command::MarkRunStarting { run });
    scene.later_ms(5 * 60_000);
    scene.settle(run, RunOutcome::Succeeded);
    let [of_shop, of_other] = [shop, other].map(|project| scene.task(project, "next"));
    scene.earlier_ms(4 * 60_000);
    let mut at = Followed::new(scene, limits(2));
    assert_eq!(at.starts(), [of_shop]);
    at.scene.later_ms(2 * HOUR);
    assert_eq!(at.starts(), [of_other], "the first has had two hours");
    at.scene.earlier_ms(2 * HOUR);
    assert_eq!(at.starts(), [of_shop]);
}

/// The bound of a day holds for the day that the clock was put back from: what is started now counts there.
#[test]
fn a_clock_that_is_put_back_gives_no_day_back() {
    let (mut scene, shop) = Scene::ready("shop");
    scene.does(&Command::SetShare { project: shop, weight: None, runs_max: None, runs_per_day: Some(2) });
    let tasks = [(); 4].map(|()| scene.task_with(shop, "one of many", |_| {}));
    let mut at = Followed::new(scene, limits(9));
    at.scene.later_ms(DAY);
    for task in at.starts() {
        at.scene.start(task);
    }
    let started = tasks.map(|task| at.scene.one::<Task>(task).attempts);
    assert_eq!(started, [1, 1, 0, 0]);
    at.scene.earlier_ms(DAY);
    assert_eq!(at.starts(), []);
    let [Wait::Quota { started: 2, max: 2, resets_ms }] = at.waits(tasks[3])[..] else {
        panic!("{:?}", at.waits(tasks[3]))
    };
    at.scene.later_ms(resets_ms - 1);
    assert_eq!(at.starts(), []);
    at.scene.later_ms(1);
    assert_eq!(at.starts(), tasks[2..]);
}

/// What began the wait for a place anew by a clock that went ahead did not.
#[test]
fn a_task_waits_for_too_long_by_the_clock_that_it_is() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "waits");
    let hours = |hours| scene.now.plus_ms(hours * HOUR);
    let window = Window::Once { from: hours(10), until: hours(11) };
    let freeze = Freeze { projects: BTreeSet::new(), window, reason: "night".into() };
    let queue = Some(Timeout { after_ms: 2 * HOUR, then: Remedy::Warn });
    let patience = Patience { queue, silence: None };
    let mut at = Followed::new(scene, Limits { freezes: vec![freeze], patience, ..limits(0) });
    at.scene.later_ms(12 * HOUR);
    assert_eq!(at.chooses(), [], "the freeze was over an hour ago");
    at.scene.earlier_ms(9 * HOUR);
    let [Decision { action: Action::Overdue { task: overdue, since, timeout }, .. }] = at.chooses()[..] else {
        panic!("{:?}", at.chooses())
    };
    assert_eq!(overdue, task);
    at.scene.does(&Command::OverdueTask { task, since, timeout });
}

/// A wait that began anew with the end of a window had begun before when there was no such window.
#[test]
fn a_window_that_is_taken_away_held_nobody_up() {
    let (mut scene, project) = Scene::ready("shop");
    scene.task(project, "waits");
    let hours = |hours| scene.now.plus_ms(hours * HOUR);
    let window = Window::Once { from: hours(1), until: hours(2) };
    let freeze = Freeze { projects: BTreeSet::new(), window, reason: "night".into() };
    let queue = Some(Timeout { after_ms: 3 * HOUR, then: Remedy::Warn });
    let patience = Patience { queue, silence: None };
    let mut at = Followed::new(scene, Limits { freezes: vec![freeze], patience, ..limits(0) });
    at.scene.later_ms(4 * HOUR);
    assert_eq!(at.chooses(), [], "the freeze was over two hours ago");
    at.limits.freezes.clear();
    at.book.set_limits(at.limits.clone());
    assert!(matches!(at.chooses()[..], [Decision { action: Action::Overdue { .. }, .. }]));
}

/// What waits is known by bounds from below. A window that was over in the meantime makes a bound too early, which costs one look, and
/// nobody is late for it.
#[test]
fn a_book_that_saw_a_window_end_is_asked_early_and_not_late() {
    let (mut scene, project) = Scene::ready("shop");
    scene.task(project, "waits");
    let minutes = |minutes| scene.now.plus_ms(minutes * HOUR / 60);
    let freezes = [(60, 120), (360, 390)].map(|(from, until)| {
        let window = Window::Once { from: minutes(from), until: minutes(until) };
        Freeze { projects: BTreeSet::new(), window, reason: "night".into() }
    });
    let queue = Some(Timeout { after_ms: 5 * HOUR, then: Remedy::Warn });
    let limits = Limits { freezes: freezes.into(), patience: Patience { queue, silence: None }, ..limits(0) };
    let (looks, due) = ([330, 405, 420, 689, 690].map(minutes), [420, 690].map(minutes));
    let (mut followed, none) = (book(&scene.view, &limits), BTreeSet::new());
    let asked = looks.map(|now| {
        let mut fresh = book(&scene.view, &limits);
        let chosen = followed.choose(now, &none);
        assert_eq!(chosen, fresh.choose(now, &none));
        (chosen.len(), followed.next_due(now), fresh.next_due(now))
    });
    let [early, late] = due.map(Some);
    let window = Some(minutes(360));
    assert_eq!(asked[..2], [(0, window, window), (0, early, late)], "five hours from the end of a window");
    assert_eq!(asked[2..4], [(0, late, late); 2]);
    assert_eq!(asked[4].0, 1, "it has waited for too long");
}

/// What ended, was tried again and ended alike holds what waits for it from the second end on, also for who did not see it under way.
#[test]
fn a_task_waits_since_what_it_needs_ended_the_last_time() {
    let (mut scene, project) = Scene::ready("shop");
    let (needed, task) = (scene.task(project, "needed"), scene.task(project, "waits"));
    scene.does(&Command::LinkTask { task, depends_on: needed, condition: Condition::Ended });
    let cancel = Command::CancelTask { task: needed, reason: "not now".into() };
    scene.does(&cancel);
    let queue = Some(Timeout { after_ms: 3 * HOUR, then: Remedy::Warn });
    let mut at = Followed::new(scene, Limits { patience: Patience { queue, silence: None }, ..limits(0) });
    assert_eq!(at.chooses(), []);
    at.scene.later_ms(2 * HOUR);
    at.scene.does(&retry(needed));
    at.scene.does(&cancel);
    at.scene.later_ms(2 * HOUR);
    assert_eq!(at.chooses(), [], "it could begin for two hours now");
    at.scene.later_ms(HOUR);
    let [Decision { action: Action::Overdue { task: overdue, .. }, .. }] = at.chooses()[..] else {
        panic!("{:?}", at.chooses())
    };
    assert_eq!(overdue, task);
}

/// So does what was granted, taken back and granted again.
#[test]
fn a_task_waits_since_it_was_approved_the_last_time() {
    let (mut scene, project) = Scene::ready("shop");
    let (_, approval) = scene.needs_approval(project, "careful");
    scene.does(&approve(approval));
    let granted = scene.view.events.len() as u64;
    let queue = Some(Timeout { after_ms: 3 * HOUR, then: Remedy::Warn });
    let mut at = Followed::new(scene, Limits { patience: Patience { queue, silence: None }, ..limits(0) });
    assert_eq!(at.chooses(), []);
    at.scene.later_ms(2 * HOUR);
    let operation = Box::new(at.scene.view.operation(granted));
    at.scene.does(&Command::Undo { operation });
    at.scene.does(&approve(approval));
    at.scene.later_ms(2 * HOUR);
    assert_eq!(at.chooses(), [], "it could begin for two hours now");
    at.scene.later_ms(HOUR);
    assert!(matches!(at.chooses()[..], [Decision { action: Action::Overdue { .. }, .. }]));
}

/// Who looks for what began since a time finds it by its id.
#[test]
fn ids_go_on_with_the_log_when_the_clock_is_put_back() {
    let (mut scene, project) = Scene::ready("shop");
    scene.later_ms(DAY);
    let first = scene.task(project, "first");
    scene.earlier_ms(DAY);
    let task = scene.task(project, "second");
    assert!(scene.one::<Task>(task).created_at >= scene.one::<Task>(first).created_at);
    let run = scene.start(task);
    let queued_at = scene.one::<Run>(run).queued_at;
    assert!(queued_at > scene.now && run >= first_of(queued_at), "{run} of {queued_at}");
}
