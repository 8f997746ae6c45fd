//! Entities in memory. Takes commands all or nothing.

use std::any::Any;
use std::collections::BTreeMap;

use orch_proto::id::{CommandId, ProjectId};
use orch_proto::{EntityKind, Timestamp};

use crate::actor::Actor;
use crate::command::Command;
use crate::decide::{DecideError, Decided, decide};
use crate::digest::Digest;
use crate::entity::{
    ApplyError, Approval, Change, Entity, InfoRequest, Meta, Plan, Project, Requirements, Run, Task, Vision,
};
use crate::event::{Event, Recorded};
use crate::ids::{IdSource, sample_id};
use crate::undo::Operation;
use crate::view::{Filter, ReadError, View};

type Key = (EntityKind, String);

/// All entities, and every event so far.
#[derive(Debug, Default)]
pub struct MemoryView {
    things: BTreeMap<Key, Box<dyn Any + Send>>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// The same with who did it and when, and before it what it happened to. Links of the chain are none.
    log: Vec<(String, Recorded)>,
    commands: u128,
    /// When the last of it was. It never runs backward, whatever the clock does.
    at: Option<Timestamp>,
}

/// Why a command changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// By the rules.
    #[error(transparent)]
    Decide(#[from] DecideError),
    /// By a state machine.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl MemoryView {
    /// Takes a command as a whole, or refuses it.
    ///
    /// # Errors
    /// When the rules or a state machine refuse it. Nothing has changed then.
    pub fn execute(
        &mut self,
        command: &Command,
        actor: &Actor,
        now: Timestamp,
        ids: &mut IdSource,
    ) -> Result<Decided, Refused> {
        let at = self.at.map_or(now, |before| now.max(before));
        ids.sort_from(at);
        let decided = decide(self, command, actor, now, ids)?;
        let mut staged = BTreeMap::new();
        for event in &decided.events {
            self.stage(&mut staged, event, Meta { at, actor })?;
        }
        self.at = Some(at);
        self.things.extend(staged);
        self.events.extend(decided.events.iter().cloned());
        self.commands += 1;
        let id: CommandId = sample_id(self.commands);
        for event in &decided.events {
            let (seq, event) = (self.log.len() as u64 + 1, event.clone());
            let told = Recorded { seq, at, actor: actor.clone(), command: id, event, hash: Digest::ZERO };
            self.log.push((told.event.subject(), told));
        }
        Ok(decided)
    }

    /// The operation that the event with this number belongs to.
    ///
    /// # Panics
    /// When there is no such event: memory can be read.
    #[must_use]
    pub fn operation(&self, seq: u64) -> Operation {
        let all = || self.log.iter().map(|(_, told)| told);
        let of = all().find(|told| told.seq == seq).expect("the test made it").command;
        let events: Vec<Recorded> = all().filter(|told| told.command == of).cloned().collect();
        let past = |subject: &str, after: u64| {
            let since = self.log.iter().skip(usize::try_from(after).unwrap_or(usize::MAX));
            Ok(since.filter(|(of, _)| of == subject).take(16).map(|(_, told)| told.clone()).collect())
        };
        Operation::read(events, past).expect("memory can be read").expect("it has an event")
    }

    /// All of a kind, by number.
    ///
    /// # Panics
    /// Never: memory can be read.
    #[must_use]
    pub fn all<E: Entity>(&self) -> Vec<E> {
        self.list(&Filter::default()).expect("memory can be read")
    }

    /// The thing with this id.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn one<E: Entity>(&self, id: E::Id) -> E {
        self.get(id).expect("memory can be read").expect("the test made it")
    }

    /// The newest of a kind.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn newest<E: Entity>(&self) -> E {
        self.all().pop().expect("the test made one")
    }

    fn stage(
        &self,
        staged: &mut BTreeMap<Key, Box<dyn Any + Send>>,
        event: &Event,
        meta: Meta<'_>,
    ) -> Result<(), ApplyError> {
        match event {
            Event::Project { id, event } => self.stage_one::<Project>(staged, *id, event, meta),
            Event::Vision { id, event } => self.stage_one::<Vision>(staged, *id, event, meta),
            Event::Requirements { id, event } => self.stage_one::<Requirements>(staged, *id, event, meta),
            Event::Plan { id, event } => self.stage_one::<Plan>(staged, *id, event, meta),
            Event::Task { id, event } => self.stage_one::<Task>(staged, *id, event, meta),
            Event::Run { id, event } => self.stage_one::<Run>(staged, *id, event, meta),
            Event::Approval { id, event } => self.stage_one::<Approval>(staged, *id, event, meta),
            Event::Change { id, event } => self.stage_one::<Change>(staged, *id, event, meta),
            Event::InfoRequest { id, event } => self.stage_one::<InfoRequest>(staged, *id, event, meta),
        }
    }

    fn stage_one<E: Entity>(
        &self,
        staged: &mut BTreeMap<Key, Box<dyn Any + Send>>,
        id: E::Id,
        event: &E::Event,
        meta: Meta<'_>,
    ) -> Result<(), ApplyError> {
        let key = (E::KIND, id.to_string());
        let current = staged.get(&key).or_else(|| self.things.get(&key)).and_then(|thing| thing.downcast_ref::<E>());
        let next = E::apply(current.cloned(), id, event, meta)?;
        staged.insert(key, Box::new(next));
        Ok(())
    }

    fn each<E: Entity>(&self) -> impl Iterator<Item = &E> {
        let of_kind = self.things.range((E::KIND, String::new())..).take_while(|((kind, _), _)| *kind == E::KIND);
        of_kind.filter_map(|(_, thing)| thing.downcast_ref())
    }

    fn numbers<E: Entity>(&self, project: Option<ProjectId>) -> u32 {
        let of_project = self.each::<E>().filter(|thing| project.is_none_or(|project| thing.project() == project));
        of_project.map(E::number).max().unwrap_or(0)
    }
}

impl View for MemoryView {
    fn get<E: Entity>(&self, id: E::Id) -> Result<Option<E>, ReadError> {
        let found = self.things.get(&(E::KIND, id.to_string()));
        Ok(found.and_then(|thing| thing.downcast_ref::<E>()).cloned())
    }

    fn list<E: Entity>(&self, filter: &Filter) -> Result<Vec<E>, ReadError> {
        let fits = |thing: &&E| {
            filter.project.is_none_or(|project| thing.project() == project)
                && filter.parent.as_ref().is_none_or(|parent| thing.parent().as_ref() == Some(parent))
                && (!filter.open || thing.is_open())
                && (!filter.hangs || thing.parent().is_some())
                && filter.state.is_none_or(|state| thing.state_label() == state)
        };
        let mut found: Vec<E> = self.each().filter(fits).cloned().collect();
        found.sort_by_key(|thing| (thing.number(), thing.id()));
        Ok(found)
    }

    fn numbered<E: Entity>(&self, project: ProjectId, number: u32) -> Result<Option<E>, ReadError> {
        Ok(self.each::<E>().find(|thing| thing.project() == project && thing.number() == number).cloned())
    }

    fn last_number(&self, kind: EntityKind, project: Option<ProjectId>) -> Result<u32, ReadError> {
        Ok(match kind {
            EntityKind::Project => self.numbers::<Project>(project),
            EntityKind::Vision => self.numbers::<Vision>(project),
            EntityKind::Requirements => self.numbers::<Requirements>(project),
            EntityKind::Plan => self.numbers::<Plan>(project),
            EntityKind::Task => self.numbers::<Task>(project),
            EntityKind::Run => self.numbers::<Run>(project),
            EntityKind::Approval => self.numbers::<Approval>(project),
            EntityKind::Change => self.numbers::<Change>(project),
            EntityKind::InfoRequest => self.numbers::<InfoRequest>(project),
        })
    }
}
