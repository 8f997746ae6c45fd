//! People at a daemon: what they send, what they are answered, and results that come again.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use orch_core::actor::Actor;
use orch_core::command::Command;
use orch_core::entity::{RunEvent, TaskEvent};
use orch_core::event::Event;
use orch_store::{Committed, ExecuteError};
use orchd::site::Site as _;
use orchd::undo::{NotFound, Which, find};

use super::mirror::Held;
use super::users;
use super::world::World;
use crate::dice::Dice;
use crate::store::chain;

/// The one person.
const ADA: u32 = 1_000;
/// What somebody regrets has chances of its own, so that the rest is much the same without it.
const REGRETS: u64 = 0x7265_6772_6574;

/// A command of a person that was sent and is not answered yet.
pub(super) struct Pending {
    answer: Pin<Box<dyn Future<Output = Result<Committed, ExecuteError>> + Send>>,
    /// Failures of the disk by then; none when it failed just then.
    failures: Option<u64>,
}

impl World {
    /// People send commands and wait for no answer.
    pub(super) fn want(&mut self, chance: u64, count: u64) -> Held {
        let mut dice = Dice::new(chance);
        let now = self.now();
        let commands = (0..count).map(|_| users::command(&self.mirror, now, &mut dice)).collect();
        self.send(commands);
        let (waits, mut regrets) = (dice.once_in(2), Dice::new(chance ^ REGRETS));
        if waits {
            self.settle_people()?;
        }
        for _ in 0..count {
            self.regret(&mut regrets)?;
        }
        if waits { self.settle_people() } else { Ok(()) }
    }

    /// Now and then somebody wants that something is as it was: mostly what was decided last, often what has been built on.
    pub(super) fn regret(&mut self, dice: &mut Dice) -> Held {
        if !dice.once_in(8) {
            return Ok(());
        }
        let which = match dice.once_in(3) {
            true => Which::Event(1 + dice.below(self.mirror.seq.max(1))),
            false => Which::LastOf(ADA),
        };
        let found = self.read(|view| match find(view, which) {
            Ok(found) => Ok(Some(found.operation)),
            Err(NotFound::Read(error)) => Err(error),
            Err(_) => Ok(None),
        })?;
        if let Some(operation) = found.flatten() {
            self.send(vec![Command::Undo { operation: Box::new(operation) }]);
        }
        Ok(())
    }

    pub(super) fn flood(&mut self, chance: u64, count: u64) -> Held {
        let mut dice = Dice::new(chance);
        let projects: Vec<_> = self.mirror.projects.values().cloned().collect();
        for part in 0..count.div_ceil(500) {
            let Some(project) = projects.get(usize::try_from(part).unwrap_or(0) % projects.len().max(1)) else { break };
            let now = self.now();
            let tasks = (0..500.min(count - part * 500)).map(|_| {
                let task = users::task(&self.mirror, project, now, &mut dice);
                Command::CreateTask { task: Box::new(task) }
            });
            let tasks = tasks.collect();
            self.send(tasks);
            self.settle_people()?;
        }
        Ok(())
    }

    /// A result comes again, as it was or with the fence of another attempt: it must change nothing but the record of that.
    pub(super) fn stray(&mut self, chance: u64) -> Held {
        let Some(result) = self.stray_result(chance) else { return Ok(()) };
        self.settle_people()?;
        let before = self.mirror.seq;
        let sent = self.around().sent.results.len();
        self.send(vec![result]);
        self.around().sent.results.truncate(sent);
        self.settle_people()?;
        let Some(events) = self.read(|view| view.events(before, 10_000))? else { return Ok(()) };
        let of_stray = events.iter().filter(|event| event.recorded.actor == ada());
        let wrong = of_stray.map(|event| &event.recorded.event).find(|event| {
            matches!(
                event,
                Event::Run { event: RunEvent::Ended { .. }, .. }
                    | Event::Task { event: TaskEvent::Completed { .. }, .. }
            )
        });
        wrong.map_or(Ok(()), |wrong| Err(format!("a result that came late was taken: {wrong:?}")))
    }

    fn stray_result(&self, chance: u64) -> Option<Command> {
        let around = self.around();
        let results = &around.sent.results;
        let at = usize::try_from(chance).unwrap_or(0).checked_rem(results.len())?;
        let mut result = results[at].clone();
        if let Command::SettleRun { run, fence, .. } = &mut result {
            let task = self.mirror.runs.get(run).map(|run| run.task);
            // A process of an attempt before reports to the one that is under way.
            match self.mirror.under_way().find(|open| Some(open.task) == task) {
                Some(newest) if newest.fence != *fence => *run = newest.id,
                Some(_) => return None,
                None => {}
            }
        }
        Some(result)
    }

    /// People send commands and have their answers.
    pub(super) fn commands(&mut self, commands: Vec<Command>) -> Held {
        self.send(commands);
        self.settle_people()
    }

    pub(super) fn send(&mut self, commands: Vec<Command>) {
        let Some(life) = self.life() else { return };
        for command in commands {
            let envelope = self.around().sent.envelope(ada(), command);
            let failures = (!self.is_failing()).then(|| self.disk.failures());
            self.people.push(Pending { answer: Box::pin(life.store().execute(envelope)), failures });
        }
    }

    /// Waits until people have their answers, while nothing else happens.
    pub(super) fn settle_people(&mut self) -> Held {
        while self.serve()? {}
        let mut context = Context::from_waker(Waker::noop());
        for mut pending in std::mem::take(&mut self.people) {
            // However late somebody looks at the answer: the disk failed when it was given.
            let has_failed = self.is_failing() || pending.failures.is_none_or(|before| self.disk.failures() > before);
            match pending.answer.as_mut().poll(&mut context) {
                Poll::Ready(Ok(_) | Err(ExecuteError::Rejected(_))) | Poll::Pending => {}
                Poll::Ready(Err(ExecuteError::Storage(_) | ExecuteError::StorageFull(_))) if has_failed => {
                    self.tally.in_doubt += 1;
                }
                Poll::Ready(Err(error)) => return Err(format!("somebody was answered by: {}", chain(&error))),
            }
        }
        self.look()
    }
}

fn ada() -> Actor {
    Actor::User { uid: ADA, name: "ada".into() }
}
