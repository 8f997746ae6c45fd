//! Undo: what a person did and takes back at once is as it was before, and taken back again as it was after.
//!
//! Goal: for every command that can be taken back. Method: random commands; after each, everything is compared.

use orch_core::actor::Actor;
use orch_core::command::Command;
use orch_core::entity::{Approval, Change, Entity, Plan, Project, Requirements, Run, Task, TaskEvent};
use orch_core::event::Event;
use orch_core::ids::IdSource;
use orch_core::rehearsal::{MemoryView, random_command};
use orch_proto::Timestamp;
use orch_proto::id::TaskId;
use proptest::prelude::*;

use crate::support::{Scene, user};

const COMMANDS: usize = 250;

/// Everything there is, without when it came there: that is when it was put back.
struct Everything {
    projects: Vec<Project>,
    requirements: Vec<Requirements>,
    plans: Vec<Plan>,
    tasks: Vec<Task>,
    runs: Vec<Run>,
    approvals: Vec<Approval>,
    changes: Vec<Change>,
}

impl Everything {
    fn of(view: &MemoryView) -> Self {
        let never = Timestamp::from_unix_us(0);
        let mut all = Self {
            projects: view.all(),
            requirements: view.all(),
            plans: view.all(),
            tasks: view.all(),
            runs: view.all(),
            approvals: view.all(),
            changes: view.all(),
        };
        all.projects.iter_mut().for_each(|project| project.resumed_at = None);
        all.tasks.iter_mut().for_each(|task| task.since = never);
        all.changes.iter_mut().for_each(|change| change.since = never);
        all
    }

    /// What is otherwise there.
    fn differences(&self, other: &Self) -> Vec<String> {
        fn of<E: Entity>(left: &[E], right: &[E], found: &mut Vec<String>) {
            for thing in left.iter().filter(|thing| !right.contains(thing)) {
                found.push(format!("{thing:?} and {:?}", right.iter().find(|other| other.id() == thing.id())));
            }
            found.extend((left.len() != right.len()).then(|| format!("{} and {}", left.len(), right.len())));
        }
        let mut found = Vec::new();
        of(&self.projects, &other.projects, &mut found);
        of(&self.requirements, &other.requirements, &mut found);
        of(&self.plans, &other.plans, &mut found);
        of(&self.tasks, &other.tasks, &mut found);
        of(&self.runs, &other.runs, &mut found);
        of(&self.approvals, &other.approvals, &mut found);
        of(&self.changes, &other.changes, &mut found);
        found
    }

    /// Without what was made since: that stays, and is not wanted any more.
    fn only(mut self, of: &Self) -> Self {
        fn keep<E: Entity>(all: &mut Vec<E>, of: &[E]) {
            all.retain(|thing| of.iter().any(|other| other.id() == thing.id()));
        }
        keep(&mut self.tasks, &of.tasks);
        keep(&mut self.approvals, &of.approvals);
        self
    }
}

fn undo(scene: &mut Scene, seq: u64, by: &Actor) -> Result<u64, String> {
    let operation = Box::new(scene.view.operation(seq));
    let before = scene.view.events.len() as u64;
    scene.later_ms(1);
    match scene.execute_as(&Command::Undo { operation }, by) {
        Ok(_) => Ok(before + 1),
        Err(error) => {
            assert_eq!(scene.view.events.len() as u64, before);
            Err(error.to_string())
        }
    }
}

/// Why what was done a moment ago may be refused to be taken back.
const LASTING: [&str; 6] = [
    "cannot be taken back",
    "is of the daemon itself",
    "the deadline of",
    "goes on as it began",
    "what worked on it ends",
    "is archived",
];

/// Takes the newest operation back, does it again and takes it back again; answers whether it could be.
fn there_and_back(scene: &mut Scene, before: &Everything, done: u64, goes_on: bool) -> bool {
    let after = Everything::of(&scene.view);
    let undone = match undo(scene, done, &user(1_000)) {
        Ok(undone) => undone,
        Err(error) => {
            let events = scene.view.operation(done).events;
            // What an agent was told it knows.
            let is_told = |event: &Event| matches!(event, Event::Task { event: TaskEvent::Told { .. }, .. });
            let is_lasting = LASTING.iter().any(|why| error.contains(why)) || events.iter().all(is_told);
            assert!(is_lasting, "{error}: {events:?}");
            return false;
        }
    };
    let events = scene.view.operation(done).events;
    let left = |scene: &Scene| Everything::of(&scene.view).only(before).differences(before);
    assert_eq!(left(scene), Vec::<String>::new(), "{events:?}");
    let redone = undo(scene, undone, &user(1_000)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(Everything::of(&scene.view).differences(&after), Vec::<String>::new(), "done again: {events:?}");
    let undone = undo(scene, redone, &user(1_000)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(left(scene), Vec::<String>::new(), "and taken back again: {events:?}");
    if goes_on {
        undo(scene, undone, &user(1_000)).unwrap_or_else(|error| panic!("{error}"));
    }
    true
}

fn play(seed: [u8; 32], undone: &mut Vec<String>) {
    let (mut scene, _) = Scene::ready("p0");
    let mut dice = IdSource::seeded(seed);
    for _ in 0..COMMANDS {
        let command = random_command(&scene.view, &mut dice).unwrap();
        scene.later_ms(1 + dice.jitter(2_000));
        let looks = dice.jitter(2) == 0;
        let before = looks.then(|| Everything::of(&scene.view));
        let done = scene.view.events.len() as u64 + 1;
        let by = if matches!(command, Command::Undo { .. }) || dice.jitter(20) == 0 {
            Actor::daemon("test")
        } else {
            user(1_000)
        };
        let is_done = scene.execute_as(&command, &by).is_ok() && scene.view.events.len() as u64 >= done;
        if let (true, Some(before)) = (is_done, before) {
            let kinds: Vec<String> = scene.view.operation(done).events.iter().map(Event::kind).collect();
            if there_and_back(&mut scene, &before, done, dice.jitter(4) != 0) {
                undone.extend(kinds);
            }
        } else if done > 4 && dice.jitter(4) == 0 {
            // Something of long ago: mostly refused. What must hold is looked at by the scene.
            drop(undo(&mut scene, 4 + dice.jitter(done - 4), &user(1_000)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]
    #[test]
    fn what_is_taken_back_at_once_is_as_it_was(seed in any::<[u8; 32]>()) {
        play(seed, &mut Vec::new());
    }
}

/// Lists in which nearly nothing can be taken back would prove nothing.
#[test]
fn every_kind_of_decision_is_taken_back() {
    let mut undone = Vec::new();
    let missing = |undone: &[String]| -> Vec<&str> {
        EXPECTED.iter().filter(|kind| !undone.iter().any(|it| it == *kind)).copied().collect()
    };
    // As many as are needed: chance is another whenever there is one more command.
    for seed in 0..100 {
        play([seed; 32], &mut undone);
        if missing(&undone).is_empty() {
            break;
        }
    }
    assert_eq!(missing(&undone), Vec::<&str>::new());
}

const EXPECTED: [&str; 20] = [
    "approval.denied",
    "approval.granted",
    "approval.requested",
    "approval.voided",
    "plan.approved",
    "project.budget_set",
    "project.patience_set",
    "project.paused",
    "project.resumed",
    "project.share_set",
    "requirements.approved",
    "run.pause_requested",
    "run.resume_requested",
    "task.cancelled",
    "task.created",
    "task.held",
    "task.linked",
    "task.prioritized",
    "task.reopened",
    "task.terms_set",
];

/// Two decisions about one thing are taken back one after the other.
#[test]
fn decisions_are_taken_back_in_their_order() {
    let (mut scene, project) = Scene::ready("shop");
    let task: TaskId = scene.task(project, "build");
    let first = scene.view.events.len() as u64 + 1;
    scene.does(&Command::PrioritizeTask { task, priority: 7 });
    scene.does(&Command::PrioritizeTask { task, priority: 9 });
    assert!(undo(&mut scene, first, &user(1_000)).unwrap_err().contains("another since then"));
    undo(&mut scene, first + 1, &user(1_000)).unwrap();
    assert_eq!(scene.one::<Task>(task).priority, 7);
    undo(&mut scene, first, &user(1_000)).unwrap();
    assert_eq!(scene.one::<Task>(task).priority, 5);
}
