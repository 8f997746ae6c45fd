//! What runs and planners asked is found without a look at all that was ever asked.

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeMap;

use orch_core::command::{Command, Word};
use orch_core::decide::{ASKED_MAX, asked_action, asked_info, decide};
use orch_core::entity::{Asked, ChannelEvent, Entity, FieldValue, InfoRequest, Run, RunEvent, Vision};
use orch_core::event::Event;
use orch_core::planner::asked::{Question, Topic};
use orch_core::rehearsal::{MemoryView, requirements, vision};
use orch_core::view::{Filter, ReadError, View};
use orch_proto::EntityKind;
use orch_proto::id::{ProjectId, RunId};

use crate::support::{Scene, approve, user};

/// A view that counts the things that were read.
struct Counting<'v> {
    view: &'v MemoryView,
    read: Cell<usize>,
}

impl Counting<'_> {
    fn count(&self, read: usize) {
        self.read.set(self.read.get() + read);
    }
}

impl View for Counting<'_> {
    fn get<E: Entity>(&self, id: E::Id) -> Result<Option<E>, ReadError> {
        self.count(1);
        self.view.get(id)
    }

    fn list<E: Entity>(&self, filter: &Filter) -> Result<Vec<E>, ReadError> {
        let found = self.view.list::<E>(filter)?;
        self.count(found.len());
        Ok(found)
    }

    fn last_number(&self, kind: EntityKind, project: Option<ProjectId>) -> Result<u32, ReadError> {
        self.view.last_number(kind, project)
    }

    fn numbered<E: Entity>(&self, project: ProjectId, number: u32) -> Result<Option<E>, ReadError> {
        self.count(1);
        self.view.numbered(project, number)
    }
}

impl Scene {
    /// How many things are read to decide about it.
    fn reads(&mut self, command: &Command) -> usize {
        let view = Counting { view: &self.view, read: Cell::new(0) };
        decide(&view, command, &user(1_000), self.now, &mut self.ids).unwrap();
        view.read.get()
    }

    fn awaits(&self, run: RunId, key: &str) -> Command {
        let (action, details) = ("drop".to_owned(), vec!["d".to_owned()]);
        let word = Word::Await { key: key.into(), action, details, expires: self.now.plus_ms(60_000) };
        Command::Say { run, fence: self.one::<Run>(run).fence, word: Box::new(word) }
    }
}

#[test]
fn a_run_that_asked_much_asks_more_at_the_same_price() {
    let (mut scene, project) = Scene::ready("shop");
    let run = scene.speaks_by(project, "asks", None);
    let first = scene.awaits(run, "k");
    let at_first = scene.reads(&first);
    for number in 0..ASKED_MAX - 1 {
        scene.asks_people(run, &format!("k{number}"));
        scene.answers(run);
    }
    let found: Run = scene.one(run);
    assert_eq!(found.channel.asked.len(), ASKED_MAX - 1);
    let last = scene.awaits(run, "k");
    assert_eq!(scene.reads(&last), at_first);
    scene.does(&last);
    let listed = |scene: &Scene| scene.one::<Run>(run).channel.asked.len();
    assert_eq!(listed(&scene), ASKED_MAX);
    // The same again is no other question, and another is one too many.
    assert!(scene.does(&last).events.is_empty());
    let more = scene.awaits(run, "more");
    assert!(scene.refuses(&more).to_string().contains("questions of the run"));
    let found: Run = scene.one(run);
    let asked = asked_info(&scene.view, &found, "k7").unwrap().unwrap();
    assert_eq!((asked.key.as_str(), asked_info(&scene.view, &found, "k").unwrap()), ("k7", None));
    let Some(Asked::Action { digest, id }) = found.channel.asked.last() else { panic!("{found:?}") };
    assert_eq!(asked_action(&scene.view, &found, *digest).unwrap().map(|asked| asked.id), Some(*id));
    scene.does(&approve(*id));
    assert!(!scene.one::<Run>(run).state.is_waiting());
}

/// A view of a time when runs had no list of what they asked.
struct Before<'v>(&'v MemoryView);

impl View for Before<'_> {
    fn get<E: Entity>(&self, id: E::Id) -> Result<Option<E>, ReadError> {
        let mut found: Option<E> = self.0.get(id)?;
        if let Some(Some(run)) = (&mut found as &mut dyn Any).downcast_mut::<Option<Run>>() {
            run.channel.asked.clear();
        }
        Ok(found)
    }

    fn list<E: Entity>(&self, filter: &Filter) -> Result<Vec<E>, ReadError> {
        self.0.list(filter)
    }

    fn last_number(&self, kind: EntityKind, project: Option<ProjectId>) -> Result<u32, ReadError> {
        self.0.last_number(kind, project)
    }

    fn numbered<E: Entity>(&self, project: ProjectId, number: u32) -> Result<Option<E>, ReadError> {
        self.0.numbered(project, number)
    }
}

/// A run that asked under a version that kept no list is known by its questions, and has its list with the next one.
#[test]
fn what_was_asked_before_there_was_a_list_is_found() {
    let (mut scene, project) = Scene::ready("shop");
    let run = scene.speaks_by(project, "asks", None);
    scene.asks_people(run, "old");
    let action = scene.awaits(run, "may");
    scene.does(&action);
    let found: Run = Before(&scene.view).get(run).unwrap().unwrap();
    assert!(asked_info(&Before(&scene.view), &found, "old").unwrap().is_some());
    let decided = |command: &Command, scene: &mut Scene| {
        decide(&Before(&scene.view), command, &user(1_000), scene.now, &mut scene.ids).unwrap().events
    };
    assert!(decided(&action, &mut scene).is_empty(), "it was asked before");
    let next = scene.awaits(run, "next");
    let events = decided(&next, &mut scene);
    let listed: Vec<&str> = events
        .iter()
        .filter_map(|event| match event {
            Event::Run { event: RunEvent::Channel { event: ChannelEvent::Asked { asked } }, .. } => Some(asked),
            _ => None,
        })
        .map(|asked| match asked {
            Asked::Info { key, .. } => key.as_str(),
            Asked::Action { .. } | Asked::Tool { .. } => "an action",
        })
        .collect();
    assert_eq!(listed, ["old", "an action", "an action"]);
}

#[test]
fn a_planner_reads_its_own_questions_and_not_those_of_runs() {
    let (mut scene, project) = Scene::ready("shop");
    scene.does(&vision(project, "a shop"));
    let of_vision = scene.view.newest::<Vision>().id;
    let question = |topic| Question { topic, text: "What of it?".into(), choices: Vec::new() };
    let propose = |topics: &[Topic]| Command::ProposeRequirements {
        project,
        vision: of_vision,
        content: Box::new(requirements(&["list"])),
        reason: "derived".into(),
        questions: topics.iter().copied().map(question).collect(),
    };
    scene.does(&propose(&[Topic::Budget]));
    let asked: InfoRequest = scene.view.newest();
    let said = FieldValue::Plain { text: "none".into() };
    scene.does(&Command::AnswerInfo { info: asked.id, answers: BTreeMap::from([("budget".to_owned(), said)]) });
    let again = propose(&[Topic::Budget, Topic::Timeline]);
    let run = scene.speaks_by(project, "asks", None);
    let before = scene.reads(&again);
    for number in 0..20 {
        scene.asks_people(run, &format!("k{number}"));
        scene.answers(run);
    }
    assert_eq!(scene.reads(&again), before);
}
