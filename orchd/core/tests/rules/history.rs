//! What the history counts of a known story, and that it agrees with the state whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use orch_core::command::Command;
use orch_core::entity::{Condition, Entity as _, Join, Project, Run, RunPurpose, Task, TaskEvent, Terms};
use orch_core::event::Event;
use orch_core::history::{Basis, Estimator, History, KINDS_MAX, RESTING_MAX, Samples, Scope, Stage, Subject, counts};
use orch_core::ids::{IdSource, sample_id};
use orch_core::rehearsal::{new_task, random_command, step_spec};
use orch_core::state::run::RunOutcome;
use orch_core::state::task::TaskState;
use orch_proto::Timestamp;
use orch_proto::id::{ProjectId, TaskId};
use proptest::prelude::*;

use crate::support::{Scene, approve, failed, lost, retry};

/// A history that is told what happens in a scene, as it happens.
#[derive(Default)]
struct Told {
    history: History,
    events: usize,
    /// Everything with its time, for those who are told later.
    log: Vec<(Timestamp, Event)>,
}

impl Told {
    fn catch_up(&mut self, scene: &Scene) {
        for event in &scene.view.events[self.events..] {
            self.log.push((scene.now, event.clone()));
            if counts(&event.kind()) {
                self.history.tell(scene.now, event);
            }
        }
        self.events = scene.view.events.len();
    }

    /// Lets the time pass after what has happened.
    fn later_ms(&mut self, scene: &mut Scene, ms: u64) {
        self.catch_up(scene);
        scene.later_ms(ms);
    }
}

/// Count, median and sum.
fn of(samples: &Samples) -> (u64, u64, u64) {
    samples.spread().map_or((0, 0, 0), |spread| (spread.count, spread.p50_ms, spread.total_ms))
}

#[test]
fn a_known_story_gives_known_numbers() {
    let (mut scene, project) = Scene::ready("shop");
    let mut told = Told::default();
    let base = scene.task(project, "base");
    // Waits for the other and for a person.
    let mut second = new_task(project, "second");
    second.depends_on.insert(base, Condition::Done);
    second.needs_approval = true;
    let second: TaskId = scene.does(&Command::CreateTask { task: Box::new(second) }).touched[0].1.parse().unwrap();
    told.later_ms(&mut scene, 100);
    // Ready to started: 100. The first attempt fails after 1,000, is tried again after another 2,000 and works for 500.
    let run = scene.start(base);
    told.later_ms(&mut scene, 1_000);
    scene.settle(run, failed());
    let TaskState::Approved { not_before: Some(not_before) } = scene.one::<Task>(base).state else {
        panic!("no retry")
    };
    let backoff = not_before.ms_since(scene.now);
    told.later_ms(&mut scene, 2_000);
    let run = scene.start(base);
    told.later_ms(&mut scene, 500);
    let change = scene.proposes(run, &[]);
    told.later_ms(&mut scene, 40);
    // The gates give no answer once, and succeed 60 later.
    scene.check(change, lost());
    told.later_ms(&mut scene, 60_000);
    scene.check(change, RunOutcome::Succeeded);
    scene.merge(change);
    told.later_ms(&mut scene, 300);
    scene.does(&approve(scene.one::<Task>(second).approval.unwrap()));
    told.later_ms(&mut scene, 20);
    let run = scene.start(second);
    told.later_ms(&mut scene, 50);
    scene.settle(run, RunOutcome::Cancelled { reason: "a person".into() });
    told.catch_up(&scene);

    let whole = 1_000 + 2_000 + 500 + 40 + 60_000;
    let history = &told.history;
    for figures in [history.figures(None).unwrap(), history.figures(Some(project)).unwrap()] {
        // 100; from the end of the backoff; from the answer, which came after the other was done.
        assert_eq!(of(&figures.queued), (3, 100, 100 + (2_000 - backoff) + 20));
        assert_eq!(of(&figures.answered), (1, whole + 100 + 300, whole + 100 + 300));
        assert_eq!(of(&figures.retried).0, 1);
        assert_eq!(of(&figures.retried).1, whole - 1_000);
        assert_eq!(of(&figures.mended).0, 0);
        assert_eq!(of(&figures.merging_again), (1, 60_000, 60_000));
        assert_eq!((figures.attempts, figures.succeeded), (3, 1));
        let failures: Vec<_> =
            figures.failures.iter().map(|(class, of)| (*class, of.ended, of.retried, of.given_up)).collect();
        assert_eq!(failures, [("cancelled", 1, 1, 0), ("gates_lost", 1, 1, 0), ("task", 1, 1, 0)]);
        assert_eq!(of(&figures.in_state[&Stage::Running]), (3, 500, 1_000 + 500 + 50));
        assert_eq!(of(&figures.in_state[&Stage::InReview]), (1, 60_040, 60_040));
        let hours = figures.rates.by_hour(scene.now, 24);
        let sums = hours.iter().fold((0, 0, 0), |sum, of| (sum.0 + of.started, sum.1 + of.done, sum.2 + of.failed));
        assert_eq!(sums, (3, 1, 0));
    }
    let kind = history.kind(&Scope::LikeInProject(project, "sample".into())).unwrap();
    assert_eq!((of(&kind.attempts), of(&kind.tasks), kind.failed), ((1, 500, 500), (1, whole, whole), 2));
    assert_eq!(history.broken_since(project), None);
    assert_eq!(history.begun_at(base), None);
}

/// A task that failed for good and was mended by a person, and a merge queue that nobody has mended.
#[test]
fn recoveries_tell_a_person_from_a_retry() {
    let (mut scene, project) = Scene::ready("shop");
    let mut told = Told::default();
    let task = scene.task(project, "hard");
    while scene.view.one::<Task>(task).is_open() {
        let run = scene.start(task);
        scene.settle(run, failed());
        told.later_ms(&mut scene, 10_000);
    }
    // It failed 10 s ago.
    let failed_at = scene.one::<Task>(task).since;
    scene.does(&retry(task));
    told.later_ms(&mut scene, 5_000);
    let run = scene.start(task);
    let change = scene.proposes(run, &[]);
    told.catch_up(&scene);
    let other = scene.task(project, "other");
    let run = scene.start(other);
    let conflicting = scene.proposes(run, &[]);
    scene.check(conflicting, failed());
    let broken = scene.now;
    told.later_ms(&mut scene, 1_000);
    assert_eq!(told.history.broken_since(project), Some(broken));
    scene.check(change, RunOutcome::Succeeded);
    scene.merge(change);
    told.catch_up(&scene);
    let figures = told.history.figures(Some(project)).unwrap();
    let mended = scene.now.ms_since(failed_at);
    assert_eq!((of(&figures.mended), of(&figures.retried).0), ((1, mended, mended), 0));
    assert_eq!(of(&figures.merging_again), (1, 1_000, 1_000));
    assert_eq!(told.history.broken_since(project), None);
    assert_eq!((figures.failures["task"].given_up, figures.failures["gates"].ended), (1, 1));
}

/// What the state itself says, looked at after every command.
#[derive(Default)]
struct Seen {
    tasks: BTreeMap<TaskId, (Stage, Timestamp)>,
    in_state_ms: BTreeMap<Stage, u64>,
}

const fn stage(state: &TaskState) -> Stage {
    match state {
        TaskState::Proposed => Stage::Proposed,
        TaskState::Approved { .. } => Stage::Approved,
        TaskState::Running { .. } => Stage::Running,
        TaskState::InReview { .. } => Stage::InReview,
        TaskState::Done { .. } => Stage::Done,
        TaskState::Failed { .. } => Stage::Failed,
        TaskState::Cancelled { .. } => Stage::Cancelled,
        TaskState::Paused { .. } => Stage::Paused,
    }
}

impl Seen {
    fn look(&mut self, tasks: &[Task]) {
        for task in tasks {
            let now = (stage(&task.state), task.since);
            let was = self.tasks.insert(task.id, now).filter(|was| was.1 != now.1);
            if let Some((left, since)) = was {
                *self.in_state_ms.entry(left).or_default() += task.since.ms_since(since);
            }
        }
    }
}

/// Plays random commands and compares the history with what the state says.
fn play(seed: [u8; 32]) -> Told {
    let (mut scene, _) = Scene::ready("p0");
    let mut dice = IdSource::seeded(seed);
    let (mut told, mut seen) = (Told::default(), Seen::default());
    for _ in 0..200 {
        let command = random_command(&scene.view, &mut dice).unwrap();
        // Always a little: what happens at the same time cannot be told apart by looking at the state.
        told.later_ms(&mut scene, 1 + dice.jitter(4_000_000));
        if scene.execute(&command).is_err() {
            continue;
        }
        told.catch_up(&scene);
        seen.look(&scene.view.all::<Task>());
    }
    agree(&scene, &told.history, &seen);
    told
}

fn agree(scene: &Scene, history: &History, seen: &Seen) {
    let tasks: Vec<Task> = scene.view.all();
    let figures = history.figures(None).unwrap();
    let mut now: BTreeMap<Stage, u64> = BTreeMap::new();
    for task in tasks.iter().filter(|task| !matches!(task.state, TaskState::Done { .. })) {
        *now.entry(stage(&task.state)).or_default() += 1;
    }
    let counted: BTreeMap<Stage, u64> = history.now(None).iter().map(|(stage, now)| (*stage, now.count)).collect();
    assert_eq!(counted, now);
    for (stage, now) in history.now(None) {
        let oldest = tasks.iter().filter(|task| self::stage(&task.state) == stage).map(|task| task.since).min();
        assert_eq!(Some(now.oldest), oldest, "{stage:?}");
    }
    let total = |stage: Stage| figures.in_state.get(&stage).map_or(0, |samples| of(samples).2);
    for stage in [Stage::Proposed, Stage::Approved, Stage::Running, Stage::InReview, Stage::Paused, Stage::Failed] {
        let seen = seen.in_state_ms.get(&stage).copied().unwrap_or(0);
        assert_eq!(total(stage), seen, "{stage:?}");
    }
    let work: Vec<Run> = scene.view.all::<Run>();
    let ended = work.iter().filter(|run| run.purpose == RunPurpose::Work && !run.is_open());
    assert_eq!(figures.attempts, ended.count() as u64);
    let projects: Vec<Project> = scene.view.all();
    let by_project = projects.iter().filter_map(|project| history.figures(Some(project.id)));
    assert_eq!(by_project.map(|figures| figures.attempts).sum::<u64>(), figures.attempts);
    let done = tasks.iter().filter(|task| matches!(task.state, TaskState::Done { .. })).count() as u64;
    let sampled = of(&history.kind(&Scope::Everything).unwrap().tasks).0;
    // What a person let stand still is no sample.
    let paused = scene.view.events.iter().any(|event| event.kind() == "run.pause_requested");
    assert!(sampled == done || paused && sampled < done, "{sampled} of {done}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_history_agrees_with_the_state_and_follows_from_the_log_alone(seed in any::<[u8; 32]>()) {
        let told = play(seed);
        // Told later and of everything, also of what is said not to count, and by way of what is stored.
        let mut later = History::default();
        let mut first = None;
        for (at, event) in &told.log {
            first = first.or_else(|| counts(&event.kind()).then_some(*at));
            let stored = serde_json::to_string(event).unwrap();
            if first.is_some() {
                later.tell(*at, &serde_json::from_str(&stored).unwrap());
            }
        }
        prop_assert!(later == told.history, "{later:#?}\n{:#?}", told.history);
    }
}

fn created(project: ProjectId, source: &str) -> TaskEvent {
    let mut spec = step_spec("true");
    if let orch_core::entity::Work::Steps { source: of, .. } = &mut spec.work {
        source.clone_into(of);
    }
    TaskEvent::Created {
        project,
        number: 1,
        plan: None,
        title: String::new(),
        spec: Box::new(spec),
        depends_on: BTreeSet::new(),
        conditions: BTreeMap::new(),
        terms: Box::default(),
        priority: 5,
        approval: None,
    }
}

/// A history of `tasks` tasks that each take as long as `takes_ms` says, of kind `source`.
fn tell_tasks(
    history: &mut History,
    (project, source): (ProjectId, &dyn Fn(u64) -> String),
    tasks: std::ops::Range<u64>,
    (takes_ms, fails): (impl Fn(u64) -> u64, bool),
) -> Timestamp {
    let mut at = Timestamp::from_unix_us(1_795_165_557_000_000);
    for number in tasks {
        let id: TaskId = sample_id(number.into());
        let mut tell = |at, event| history.tell(at, &Event::from((id, event)));
        tell(at, created(project, &source(number)));
        tell(at, TaskEvent::Queued);
        tell(at, TaskEvent::Started { run: sample_id(number.into()), attempt: 1 });
        at = at.plus_ms(takes_ms(number));
        tell(at, if fails { TaskEvent::Failed { reason: "no".into() } } else { TaskEvent::Completed { change: None } });
    }
    at
}

#[test]
fn what_is_held_has_bounds_whatever_happens() {
    let mut history = History::default();
    let project: ProjectId = sample_id(1);
    let many = RESTING_MAX as u64 + 1_000;
    tell_tasks(&mut history, (project, &|number| format!("recipe {number}")), 0..many, (|_| 10, true));
    assert_eq!(history.now(None)[&Stage::Failed].count, RESTING_MAX as u64);
    tell_tasks(&mut history, (project, &|number| format!("recipe {number}")), many..2 * many, (|_| 10, false));
    assert!(history.kinds(None).len() <= KINDS_MAX && history.kinds(Some(project)).len() <= KINDS_MAX);
    assert_eq!(history.now(None).len(), 1, "{:?}", history.now(None));
    // One that was forgotten is tried again: nothing is known of it, and nothing breaks.
    let before = history.clone();
    history.tell(Timestamp::from_unix_us(i64::MAX), &Event::from((sample_id::<TaskId>(0), TaskEvent::Reopened)));
    assert_eq!(before.now(None), history.now(None));
}

#[test]
fn an_estimate_rests_on_what_is_most_like_the_task() {
    let (shop, other): (ProjectId, ProjectId) = (sample_id(1), sample_id(2));
    let mut history = History::default();
    let estimate = |history: &History, project, work: &str, given_minutes| {
        let subject = Subject { task: None, project, work, given_minutes };
        let found = Estimator::new(history, Timestamp::from_unix_us(0)).estimate(&subject)?;
        Some((found.basis, found.samples, found.left.quantile(500), found.left.quantile(900)))
    };
    assert_eq!(estimate(&history, shop, "cargo test", None), None);
    assert_eq!(estimate(&history, shop, "cargo test", Some((0, 0))), None);
    let given = Some((2, 4));
    assert_eq!(estimate(&history, shop, "cargo test", given), Some((Basis::Given, 0, 120_000, 240_000)));
    tell_tasks(&mut history, (other, &|_| "cargo test".into()), 0..3, (|number| 100 * (number + 1), false));
    assert_eq!(estimate(&history, shop, "cargo test", given), Some((Basis::LikeAnywhere, 3, 200, 300)));
    assert_eq!(estimate(&history, other, "cargo test", given), Some((Basis::LikeInProject, 3, 200, 300)));
    // Three of another kind say nothing, ten do.
    assert_eq!(estimate(&history, other, "npm test", given), Some((Basis::Given, 0, 120_000, 240_000)));
    tell_tasks(&mut history, (other, &|_| "make".into()), 3..10, (|_| 7, false));
    assert_eq!(estimate(&history, other, "npm test", given), Some((Basis::Project, 10, 7, 200)));
    assert_eq!(estimate(&history, shop, "npm test", given), Some((Basis::Everything, 10, 7, 200)));
}

/// What has taken long already will not be done as fast as the fastest.
#[test]
fn an_estimate_of_what_runs_knows_how_long_it_has() {
    let project: ProjectId = sample_id(1);
    let mut history = History::default();
    let source = |_: u64| "cargo test".to_owned();
    let begun = tell_tasks(&mut history, (project, &source), 0..100, (|number| 1_000 * (number + 1), false));
    let task: TaskId = sample_id(1_000);
    for event in
        [created(project, "cargo test"), TaskEvent::Queued, TaskEvent::Started { run: sample_id(1_000), attempt: 1 }]
    {
        history.tell(begun, &Event::from((task, event)));
    }
    let left = |elapsed_ms| {
        let subject = Subject { task: Some(task), project, work: "cargo test", given_minutes: None };
        let found = Estimator::new(&history, begun.plus_ms(elapsed_ms)).estimate(&subject).unwrap();
        assert_eq!(found.begun_at, Some(begun));
        (found.left.quantile(500), found.left.quantile(900), found.left.is_overdue())
    };
    assert_eq!(left(0), (50_000, 90_000, false));
    assert_eq!(left(50_000), (25_000, 45_000, false));
    assert_eq!(left(99_500), (500, 500, false));
    assert_eq!(left(100_000), (50_000, 90_000, true));
}

/// What a task waits for is over when the conditions of its dependencies hold, as many as it needs.
#[test]
fn a_wait_begins_when_the_conditions_hold() {
    let project: ProjectId = sample_id(1);
    let begin = Timestamp::from_unix_us(1_795_165_557_000_000);
    let [done, failing, waits] = [1, 2, 3].map(sample_id::<TaskId>);
    // The first is done after 100, the second fails after 200; the third starts after 1,000.
    let waited = |join, conditions: [Condition; 2], not_before_ms: Option<u64>| {
        let mut history = History::default();
        let mut tell = |ms, id, event| history.tell(begin.plus_ms(ms), &Event::from((id, event)));
        for id in [done, failing] {
            tell(0, id, created(project, "make"));
            tell(0, id, TaskEvent::Queued);
            tell(0, id, TaskEvent::Started { run: sample_id(9), attempt: 1 });
        }
        let terms = Terms { join, not_before: not_before_ms.map(|ms| begin.plus_ms(ms)), ..Terms::default() };
        let mut event = created(project, "make");
        if let TaskEvent::Created { depends_on, conditions: wanted, terms: of, .. } = &mut event {
            *depends_on = [done, failing].into();
            *wanted = [(done, conditions[0]), (failing, conditions[1])].into();
            **of = terms;
        }
        tell(0, waits, event);
        tell(0, waits, TaskEvent::Queued);
        tell(100, done, TaskEvent::Completed { change: None });
        tell(200, failing, TaskEvent::Failed { reason: "no".into() });
        tell(1_000, waits, TaskEvent::Started { run: sample_id(10), attempt: 1 });
        let queued = &history.figures(None).unwrap().queued;
        // The other two waited for nothing.
        (of(queued).0 == 3).then_some(of(queued).2)
    };
    use Condition::{Done, Ended, Failed};
    assert_eq!(waited(Join::All, [Done, Ended], None), Some(800));
    assert_eq!(waited(Join::All, [Done, Failed], None), Some(800));
    assert_eq!(waited(Join::All, [Done, Ended], Some(600)), Some(400));
    assert_eq!(waited(Join::Any, [Done, Ended], None), Some(900));
    assert_eq!(waited(Join::Any, [Done, Done], None), Some(900));
    assert_eq!(waited(Join::Any, [Failed, Ended], None), Some(800));
    assert_eq!(waited(Join::All, [Done, Done], None), None, "it could not start, and nothing is counted");
    assert_eq!(waited(Join::All, [Failed, Ended], None), None);
}
