//! The scheduler's choice: its order, its limits, and that everything which can run does run in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use orch_core::command::{Command, NewTask};
use orch_core::entity::{Approval, Change, Patience, Project, Remedy, Run, Task, Timeout, Work};
use orch_core::ids::IdSource;
use orch_core::rehearsal::{MemoryView, new_task, random_command};
use orch_core::schedule::{AGING_MS, Action, Book, Decision, Doer, Limits, Staff, Totals, Wait, heeds};
use orch_core::state::run::RunOutcome;
use orch_core::state::task::TaskState;
use orch_core::view::{Filter, View as _};
use orch_proto::id::{ProjectId, TaskId};
use orch_proto::{EntityKind, Timestamp};
use proptest::prelude::*;

use crate::support::{Scene, all_done, approve, lost, retry, start, user};
use crate::thread::coder;

/// A book that was told of all that there is.
pub(crate) fn book(view: &MemoryView, limits: &Limits) -> Book {
    let mut book = Book::default();
    book.set_limits(limits.clone());
    view.all::<Project>().iter().for_each(|it| book.put_project(it.into()));
    view.all::<Task>().iter().for_each(|it| book.put_task(it.into()));
    view.all::<Change>().iter().for_each(|it| book.put_change(it.into()));
    view.all::<Approval>().iter().for_each(|it| book.put_approval(it.into()));
    view.all::<Run>().iter().for_each(|it| book.put_run(&it.into()));
    tell_unknown(&mut book, view);
    book
}

/// Tells the book of what others name and it does not know.
fn tell_unknown(book: &mut Book, view: &MemoryView) {
    loop {
        let unknown = book.take_unknown();
        if unknown.is_empty() {
            return;
        }
        unknown.tasks.into_iter().for_each(|id| book.put_task((&view.one::<Task>(id)).into()));
        unknown.approvals.into_iter().for_each(|id| book.put_approval((&view.one::<Approval>(id)).into()));
    }
}

pub(crate) fn choice(scene: &Scene, limits: &Limits) -> Vec<Decision> {
    book(&scene.view, limits).choose(scene.now, &BTreeSet::new())
}

pub(crate) fn next_due(scene: &Scene) -> Option<Timestamp> {
    let mut book = book(&scene.view, &limits(0));
    book.choose(scene.now, &BTreeSet::new());
    book.next_due(scene.now)
}

pub(crate) fn limits(runs_max: u32) -> Limits {
    Limits {
        runs_max,
        totals: Totals::default(),
        capabilities: ["code".to_owned()].into(),
        missing_tools: BTreeMap::new(),
        missing_programs: BTreeMap::new(),
        missing_secrets: BTreeSet::new(),
        level: 3,
        level_required: 2,
        level_fix: "enable user namespaces".into(),
        freezes: Vec::new(),
        patience: Patience::default(),
        hold_ms: 0,
        shortage: None,
        paused: None,
    }
}

pub(crate) fn chosen(scene: &Scene, runs_max: u32) -> Vec<Decision> {
    choice(scene, &limits(runs_max))
}

/// Titles of the tasks that are chosen, in order; changes by number.
pub(crate) fn names(scene: &Scene, runs_max: u32) -> Vec<String> {
    let name = |decision: Decision| match decision.action {
        Action::Run(task) => scene.one::<Task>(task).title,
        Action::Check(change) => format!("C-{}", scene.one::<Change>(change).number),
        Action::Recall(run) => format!("recall R-{}", scene.one::<Run>(run).number),
        Action::Skip(task) => format!("skip {}", scene.one::<Task>(task).title),
        Action::Expire(task) => format!("expire {}", scene.one::<Task>(task).title),
        Action::Judge(project) => format!("judge {}", scene.one::<Project>(project).slug),
        Action::Overdue { task, .. } => format!("overdue {}", scene.one::<Task>(task).title),
    };
    chosen(scene, runs_max).into_iter().map(name).collect()
}

impl Scene {
    pub(crate) fn task_with(&mut self, project: ProjectId, title: &str, change: impl FnOnce(&mut NewTask)) -> TaskId {
        self.later_ms(1);
        let mut task = new_task(project, title);
        change(&mut task);
        let made = self.does(&Command::CreateTask { task: Box::new(task) });
        made.touched[0].1.parse().unwrap()
    }
}

#[test]
fn without_the_isolation_that_runs_need_nothing_is_chosen() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "first");
    let run = scene.start(task);
    scene.proposes(run, &[]);
    scene.task(project, "second");
    assert_eq!(names(&scene, 4), ["C-1", "second"]);
    let weak = Limits { level: 1, ..limits(4) };
    assert_eq!(choice(&scene, &weak), []);
}

#[test]
fn gates_that_were_lost_are_not_chosen_before_their_wait_is_over() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "unlucky");
    let run = scene.start(task);
    let change = scene.proposes(run, &[]);
    assert_eq!(names(&scene, 4), ["C-1"]);
    scene.check(change, lost());
    assert_eq!(names(&scene, 4), Vec::<String>::new());
    scene.now = next_due(&scene).unwrap();
    assert_eq!(names(&scene, 4), ["C-1"]);
    assert_eq!(next_due(&scene), None);
}

#[test]
fn priority_then_fairness_then_the_longest_chain_then_age() {
    let (mut scene, shop) = Scene::ready("shop");
    scene.task_with(shop, "old", |_| {});
    let head = scene.task_with(shop, "head of a chain", |_| {});
    scene.task_with(shop, "middle", |task| task.depends_on = all_done([head]));
    scene.task_with(shop, "long", |task| task.spec.estimate_minutes = Some((10, 90)));
    scene.task_with(shop, "urgent", |task| task.priority = 9);
    scene.task_with(shop, "some day", |task| task.priority = 0);
    let other = scene.project("other");
    scene.task_with(other, "theirs", |_| {});
    assert_eq!(names(&scene, 9), ["urgent", "theirs", "long", "head of a chain", "old", "some day"]);
    let reasons: Vec<String> = chosen(&scene, 9).into_iter().map(|decision| decision.reason).collect();
    let expected = "priority 9; 0 of its project running, 0 min used lately; 1 min of work behind it; 5 ready after it";
    assert_eq!(reasons[0], expected);
    let expected = "priority 5; 2 of its project running, 2 min used lately; 2 min of work behind it; 2 ready after it";
    assert_eq!(reasons[3], expected);
}

#[test]
fn projects_take_turns() {
    let mut scene = Scene::new();
    let (a, b, c) = (scene.project("a"), scene.project("b"), scene.project("c"));
    for at in 0..4 {
        scene.task_with(a, &format!("a{at}"), |_| {});
    }
    for at in 0..2 {
        scene.task_with(b, &format!("b{at}"), |_| {});
    }
    scene.task_with(c, "c0", |_| {});
    assert_eq!(names(&scene, 6), ["a0", "b0", "c0", "a1", "b1", "a2"]);
    // What runs counts too.
    let first = chosen(&scene, 1).remove(0);
    assert!(matches!(first.action, Action::Run(_)));
    let running = scene.view.all::<Task>().into_iter().find(|task| task.title == "a0").unwrap().id;
    scene.start(running);
    assert_eq!(names(&scene, 3), ["b0", "c0"]);
}

#[test]
fn gates_go_first_and_one_change_of_a_project_at_a_time() {
    let (mut scene, shop) = Scene::ready("shop");
    let mut changes = Vec::new();
    for at in 0..3 {
        let task = scene.task_with(shop, &format!("t{at}"), |_| {});
        let run = scene.start(task);
        let protected: &[&str] = if at == 0 { &["ci.yaml"] } else { &[] };
        changes.push(scene.proposes(run, protected));
    }
    scene.task_with(shop, "work", |task| task.priority = 9);
    assert_eq!(names(&scene, 2), ["C-1", "work"]);
    assert_eq!(names(&scene, 1), ["C-1"]);
    // One that was checked and waits for a person lets the next pass.
    scene.check(changes[0], RunOutcome::Succeeded);
    assert_eq!(names(&scene, 2), ["C-2", "work"]);
    scene.check(changes[1], RunOutcome::Succeeded);
    assert_eq!(names(&scene, 2), ["work"]);
    let front = |scene: &Scene| {
        let fronts = book(&scene.view, &limits(0)).fronts(scene.now, &BTreeSet::new());
        fronts.into_iter().map(|id| scene.one::<Change>(id).number).collect::<Vec<_>>()
    };
    assert_eq!(front(&scene), [2]);
    scene.merge(changes[1]);
    assert_eq!(names(&scene, 2), ["C-3", "work"]);
    let asked = scene.one::<Change>(changes[0]).approval.unwrap();
    scene.does(&approve(asked));
    assert_eq!(front(&scene), [1]);
}

#[test]
fn nothing_starts_when_paused_full_or_waiting() {
    let (mut scene, shop) = Scene::ready("shop");
    let first = scene.task_with(shop, "first", |_| {});
    scene.task_with(shop, "second", |_| {});
    scene.task_with(shop, "not queued", |task| task.queue = false);
    let paused = Limits { paused: Some("the disk is full".into()), ..limits(5) };
    assert_eq!(choice(&scene, &paused), []);
    assert_eq!(names(&scene, 0), Vec::<String>::new());
    let run = scene.start(first);
    assert_eq!(names(&scene, 1), Vec::<String>::new());
    scene.settle(run, lost());
    // The lost one has to wait a moment; the scheduler is told when to look again.
    assert_eq!(names(&scene, 5), ["second"]);
    let due = next_due(&scene).unwrap();
    scene.now = due;
    assert_eq!(names(&scene, 5), ["first", "second"]);
    assert_eq!(next_due(&scene), None);
}

/// Cancelled and wanted again at once: its old run has to end before it gets a place.
#[test]
fn a_task_with_a_run_under_way_is_not_chosen() {
    let (mut scene, shop) = Scene::ready("shop");
    let task = scene.task_with(shop, "again", |_| {});
    let run = scene.start(task);
    scene.does(&Command::CancelTask { task, reason: "no".into() });
    scene.does(&retry(task));
    assert_eq!(names(&scene, 5), Vec::<String>::new());
    let why = book(&scene.view, &limits(5)).waits(task, scene.now);
    assert_eq!(why, [Wait::Run { name: "R-1".into() }]);
    scene.settle(run, RunOutcome::Cancelled { reason: "no".into() });
    assert_eq!(names(&scene, 5), ["again"]);
}

/// Random dependencies among tasks of three projects; each edge goes from a later to an earlier task.
fn forest(edges: &[(u8, u8)], size: u8) -> Scene {
    let mut scene = Scene::new();
    let projects = [scene.project("a"), scene.project("b"), scene.project("c")];
    let mut made: Vec<TaskId> = Vec::new();
    for at in 0..size {
        let of_project =
            |(later, earlier): &&(u8, u8)| later % size == at && earlier % size < at && earlier % 3 == at % 3;
        let needs: Vec<TaskId> =
            edges.iter().filter(of_project).map(|(_, earlier)| made[usize::from(earlier % size)]).collect();
        let same = |id: &TaskId| scene.view.one::<Task>(*id).project == projects[usize::from(at % 3)];
        let depends_on = all_done(needs.into_iter().filter(same));
        made.push(scene.task_with(projects[usize::from(at % 3)], &format!("t{at}"), |task| {
            task.depends_on = depends_on;
            task.priority = at % 4;
        }));
    }
    scene
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Every choice is accepted by the rules, the limit holds, and in the end all is done.
    #[test]
    fn everything_runs_in_the_end(
        edges in prop::collection::vec((any::<u8>(), any::<u8>()), 0..40),
        size in 1_u8..14,
        runs_max in 1_u32..4,
        luck in prop::collection::vec(any::<bool>(), 64),
    ) {
        let mut scene = forest(&edges, size);
        let mut luck = luck.into_iter().cycle();
        let mut started = 0;
        loop {
            let decisions = chosen(&scene, runs_max);
            for decision in &decisions {
                if let Action::Run(task) = decision.action {
                    scene.start(task);
                    started += 1;
                }
            }
            let open = scene.view.list::<Run>(&Filter::default().open()).unwrap();
            prop_assert!(open.len() <= runs_max as usize);
            let Some(run) = open.first() else {
                match next_due(&scene) {
                    Some(due) => scene.now = due,
                    None => break,
                }
                continue;
            };
            if luck.next() == Some(true) {
                scene.does(&Command::MarkRunStarting { run: run.id });
                scene.settle(run.id, RunOutcome::Succeeded);
            } else if scene.one::<Task>(run.task).losses < 5 {
                scene.settle(run.id, lost());
            }
        }
        prop_assert!(started >= u32::from(size));
        let tasks: Vec<Task> = scene.view.all();
        prop_assert!(tasks.iter().all(|task| matches!(task.state, TaskState::Done { .. })), "{:?}", tasks);
    }

    /// In any state that commands can lead to: what is chosen can be started, there is room for it, and a book that was
    /// told of each change as it came answers as one that was told of everything at once.
    #[test]
    fn every_choice_is_legal_and_a_book_that_follows_is_as_good_as_a_new_one(
        seed in any::<[u8; 32]>(),
        runs_max in 1_u32..8,
    ) {
        let (mut scene, _) = Scene::ready("p0");
        // Little enough that tasks wait for it.
        let staff = Arc::new(coders(2));
        let totals = Totals { memory_bytes: Some(6 << 30), run_memory_bytes: 1 << 30, staff, ..Totals::default() };
        let queue = Some(Timeout { after_ms: 20_000, then: Remedy::Ask });
        let limits = Limits { totals, patience: Patience { queue, silence: None }, ..limits(runs_max) };
        let mut dice = IdSource::seeded(seed);
        let (mut followed, mut told) = (Book::default(), 0);
        followed.set_limits(limits.clone());
        for _ in 0..150 {
            let command = random_command(&scene.view, &mut dice).unwrap();
            scene.later_ms(dice.jitter(1_000));
            if dice.jitter(50) == 0 {
                scene.later_ms(AGING_MS / 3);
            }
            drop(scene.view.execute(&command, &user(1_000), scene.now, &mut scene.ids));
            if let Command::CreateTask { mut task } = command {
                task.spec.work = Work::Agent { capability: "code".into() };
                let command = Command::CreateTask { task };
                drop(scene.view.execute(&command, &user(1_000), scene.now, &mut scene.ids));
            }
            told = follow(&mut followed, &scene.view, told);
            let mut fresh = book(&scene.view, &limits);
            for task in scene.view.all::<Task>() {
                let (of_followed, of_fresh) = (followed.waits(task.id, scene.now), fresh.waits(task.id, scene.now));
                prop_assert_eq!(of_followed, of_fresh, "{:?}", task);
            }
            let decisions = followed.choose(scene.now, &BTreeSet::new());
            prop_assert_eq!(&fresh.choose(scene.now, &BTreeSet::new()), &decisions);
            followed.give_back();
            fresh.give_back();
            // One that follows may have itself asked too early: after a project was paused a second time it still knows when
            // the tasks of the first had waited for too long. It never has itself asked too late.
            let dues = (followed.next_due(scene.now), fresh.next_due(scene.now));
            let is_in_time = match dues {
                (Some(followed), Some(fresh)) => followed <= fresh,
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            prop_assert!(is_in_time, "{:?}", dues);
            if decisions.is_empty() {
                continue;
            }
            let open = scene.view.list::<Run>(&Filter::default().open()).unwrap();
            let starts = |action| matches!(action, Action::Run(_) | Action::Check(_) | Action::Recall(_));
            let starting = decisions.iter().filter(|decision| starts(decision.action)).count();
            // One that waits for a person takes no place.
            let in_place = open.iter().filter(|run| !run.is_parked()).count();
            prop_assert!(starting == 0 || in_place + starting <= runs_max as usize);
            let (coding, coders) = coders_of(&scene, &open, &decisions);
            // What others started is not the book's fault.
            prop_assert!(coders == 0 || coding + coders <= 2, "{} and {}", coding, coders);
            for decision in decisions.iter().take(2).chain(decisions.iter().skip(2).next_back()) {
                let command = match decision.action {
                    Action::Run(task) => started(&scene, task),
                    Action::Recall(run) => Command::RecallRun { run },
                    Action::Skip(task) => Command::SkipTask { task },
                    Action::Expire(task) => Command::ExpireTask { task },
                    Action::Overdue { task, since, timeout } => Command::OverdueTask { task, since, timeout },
                    Action::Judge(project) => Command::JudgeBudgets { project },
                    Action::Check(_) => continue,
                };
                let done = scene.view.execute(&command, &user(1_000), scene.now, &mut scene.ids);
                prop_assert!(done.is_ok(), "{:?}: {:?}", decision, done.err().map(|e| e.to_string()));
                // What the book finds to be otherwise than on record, the rules find, too.
                let is_judged = matches!(decision.action, Action::Judge(_));
                prop_assert!(!is_judged || done.is_ok_and(|done| !done.events.is_empty()), "{:?}", decision);
            }
        }
    }
}

/// Somebody who does what is asked for as `code`, and may have so many runs at once.
pub(crate) fn coders(runs_max: u32) -> Staff {
    let coder = Doer { agent: Some("coder".into()), role: None };
    Staff {
        common: [("code".to_owned(), coder)].into(),
        agents_max: [("coder".to_owned(), runs_max)].into(),
        ..Staff::default()
    }
}

/// How many runs of the coder are under way, and how many more are chosen.
fn coders_of(scene: &Scene, open: &[Run], decisions: &[Decision]) -> (usize, usize) {
    let is_coder = |run: &Run| run.agent.as_ref().is_some_and(|agent| agent.name == "coder");
    let codes = |decision: &&Decision| match decision.action {
        Action::Run(task) => matches!(scene.one::<Task>(task).spec.work, Work::Agent { .. }),
        Action::Recall(run) => is_coder(&scene.one::<Run>(run)),
        _ => false,
    };
    let coding = open.iter().filter(|run| !run.is_parked() && is_coder(run)).count();
    (coding, decisions.iter().filter(codes).count())
}

/// The start of a task by whoever does it.
fn started(scene: &Scene, task: TaskId) -> Command {
    let mut command = start(task);
    if let Command::StartRun { agent, .. } = &mut command
        && matches!(scene.one::<Task>(task).spec.work, Work::Agent { .. })
    {
        *agent = Some(coder(true));
    }
    command
}

/// Tells the book of everything that events after the first `told` happened to; answers how many there are now.
pub(crate) fn follow(book: &mut Book, view: &MemoryView, told: usize) -> usize {
    let news = view.events[told..].iter().filter(|event| heeds(event));
    let changed: BTreeSet<(EntityKind, String)> = news.map(|event| (event.entity(), event.subject())).collect();
    for (kind, id) in &changed {
        match kind {
            EntityKind::Project => book.put_project((&view.one::<Project>(id.parse().unwrap())).into()),
            EntityKind::Task => book.put_task((&view.one::<Task>(id.parse().unwrap())).into()),
            EntityKind::Change => book.put_change((&view.one::<Change>(id.parse().unwrap())).into()),
            EntityKind::Approval => book.put_approval((&view.one::<Approval>(id.parse().unwrap())).into()),
            EntityKind::Run => book.put_run(&(&view.one::<Run>(id.parse().unwrap())).into()),
            EntityKind::Vision | EntityKind::Requirements | EntityKind::Plan | EntityKind::InfoRequest => {}
        }
    }
    tell_unknown(book, view);
    view.events.len()
}
