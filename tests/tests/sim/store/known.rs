//! What a client of the store knows, and holds it to: answers, and what was ever seen in the log.

use std::collections::BTreeMap;

use orch_core::command::Envelope;
use orch_core::digest::Digest;
use orch_core::entity::Run;
use orch_core::rehearsal::violations;
use orch_core::view::{Filter, View as _};
use orch_proto::Timestamp;
use orch_proto::id::{CommandId, TaskId};
use orch_store::{Committed, ExecuteError, READ_DEADLINE_MS_MAX, ReadView, Store, StoredEvent};

/// Something is not as it was promised.
pub(crate) type Held = Result<(), String>;

/// What became of a command, as far as its sender knows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Acknowledged(Committed),
    /// Nothing of it has happened.
    Refused,
    /// It has happened, or not: the answer was that the state could not be written, or none came.
    InDoubt,
}

#[derive(Debug)]
struct Sent {
    envelope: Envelope,
    fate: Fate,
}

/// An event that was seen once, and must be there for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    hash: Digest,
    command: CommandId,
    at: Timestamp,
}

/// How often what became of commands, to see that a simulation gets to all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fates {
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    /// In doubt, for want of room.
    pub(crate) without_room: u64,
    /// In doubt, for other reasons.
    pub(crate) unwritten: u64,
    /// In doubt, and has happened.
    pub(crate) came_true: u64,
    /// In doubt, and has not happened.
    pub(crate) came_to_nothing: u64,
}

/// All that is known.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) fates: Fates,
    sent: BTreeMap<CommandId, Sent>,
    log: Vec<Seen>,
    fences: BTreeMap<TaskId, u64>,
}

/// How things stood when a command was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances {
    /// The disk failed on purpose while it was worked on.
    pub(crate) failing: bool,
}

impl Known {
    /// A command is about to be sent.
    pub(crate) fn sends(&mut self, envelope: &Envelope) {
        let sent = Sent { envelope: envelope.clone(), fate: Fate::Refused };
        self.sent.entry(envelope.id).or_insert(sent);
    }

    /// A command that was sent before; none when there is none.
    pub(crate) fn one_sent(&self, chance: u64) -> Option<Envelope> {
        let count = self.sent.len() as u64;
        let at = usize::try_from(chance.checked_rem(count)?).ok()?;
        self.sent.values().nth(at).map(|sent| sent.envelope.clone())
    }

    /// All that were acknowledged.
    pub(crate) fn acknowledged(&self) -> Vec<Envelope> {
        let acknowledged = self.sent.values().filter(|sent| matches!(sent.fate, Fate::Acknowledged(_)));
        acknowledged.map(|sent| sent.envelope.clone()).collect()
    }

    pub(crate) fn is_acknowledged(&self, id: CommandId) -> bool {
        self.sent.get(&id).is_some_and(|sent| matches!(sent.fate, Fate::Acknowledged(_)))
    }

    /// A command was answered.
    pub(crate) fn answered(
        &mut self,
        id: CommandId,
        answer: Result<Committed, ExecuteError>,
        circumstances: Circumstances,
    ) -> Held {
        let sent = self.sent.get_mut(&id).ok_or("an answer to nothing")?;
        let count = match &answer {
            Ok(_) => &mut self.fates.acknowledged,
            Err(ExecuteError::StorageFull(_)) => &mut self.fates.without_room,
            Err(ExecuteError::Storage(_)) => &mut self.fates.unwritten,
            Err(_) => &mut self.fates.refused,
        };
        *count += 1;
        let unexpected = |error: &ExecuteError| Err(format!("{id} was answered by: {}", chain(error)));
        match answer {
            Ok(committed) => {
                let first = Committed { duplicate: false, ..committed.clone() };
                match &sent.fate {
                    Fate::Acknowledged(before) if *before != first || !committed.duplicate => {
                        return Err(format!("{id} was acknowledged as {before:?}, and is now {committed:?}"));
                    }
                    Fate::Refused if committed.duplicate => {
                        return Err(format!("{id} was refused, and has happened: {committed:?}"));
                    }
                    Fate::Acknowledged(_) | Fate::Refused | Fate::InDoubt => {}
                }
                sent.fate = Fate::Acknowledged(first);
            }
            Err(error @ (ExecuteError::Storage(_) | ExecuteError::StorageFull(_))) if !circumstances.failing => {
                return unexpected(&error);
            }
            Err(ExecuteError::Storage(_) | ExecuteError::StorageFull(_)) => {
                if sent.fate == Fate::Refused {
                    sent.fate = Fate::InDoubt;
                }
            }
            Err(error @ ExecuteError::Rejected(_)) => {
                if let Fate::Acknowledged(before) = &sent.fate {
                    return Err(format!("{id} was acknowledged as {before:?}, and is refused now: {}", chain(&error)));
                }
                sent.fate = Fate::Refused;
            }
            Err(error) => return unexpected(&error),
        }
        Ok(())
    }

    /// Looks at everything. The disk must be well. `settles`: a batch was committed since the last failure, so that what is
    /// in doubt and not there has not happened.
    pub(crate) fn check(&mut self, store: &Store, settles: bool) -> Held {
        let read = |wrong| format!("the store cannot be read: {}", chain(&wrong));
        let follows = *store.subscribe().borrow();
        store.read_within(READ_DEADLINE_MS_MAX, |view| Ok(self.check_view(view, follows, settles))).map_err(read)??;
        let report = store.verify_chain().map_err(read)?;
        if let Some((seq, wrong)) = report.broken_at {
            return Err(format!("the chain is broken at {seq}: {wrong}"));
        }
        let rebuilt = store.check_rebuild().map_err(read)?;
        if !rebuilt.differences.is_empty() {
            return Err(format!("the tables are not what the log says: {}", rebuilt.differences.join("; ")));
        }
        if (report.events, rebuilt.events) != (self.log.len() as u64, self.log.len() as u64) {
            return Err(format!("{report:?} and {rebuilt:?} of {} events", self.log.len()));
        }
        match store.integrity().map_err(read)?.as_str() {
            "ok" => Ok(()),
            wrong => Err(format!("the file is broken: {wrong}")),
        }
    }

    fn check_view(&mut self, view: &ReadView<'_>, follows: u64, settles: bool) -> Held {
        let read = |wrong| format!("the store cannot be read: {}", chain(&wrong));
        let mut log = Vec::new();
        loop {
            let page = view.events(log.len() as u64, 1_000).map_err(read)?;
            if page.is_empty() {
                break;
            }
            for event in page {
                log.push(seen(&event, log.len() as u64 + 1)?);
            }
        }
        if let Some(at) = (0..self.log.len()).find(|at| log.get(*at) != Some(&self.log[*at])) {
            let (was, is) = (self.log[at], log.get(at));
            return Err(format!("event {} was {was:?}, and is {is:?} now, of {}", at + 1, log.len()));
        }
        if !log.is_sorted_by_key(|event| event.at) {
            return Err("time in the log runs backward".into());
        }
        if (view.seq(), follows) != (log.len() as u64, log.len() as u64) {
            return Err(format!("{} and {follows} of {} events", view.seq(), log.len()));
        }
        self.log = log;
        self.check_commands(view, settles)?;
        self.check_fences(view)?;
        let wrong = violations(view).map_err(read)?;
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    /// Every answer holds, what was in doubt is whole or not there, and every event is of a command that happened.
    fn check_commands(&mut self, view: &ReadView<'_>, settles: bool) -> Held {
        let mut accounted = 0;
        for (id, sent) in &mut self.sent {
            let stored = view.answered(*id, sent.envelope.request);
            let stored = stored.map_err(|wrong| format!("the store cannot be read: {}", chain(&wrong)))?;
            let stored = stored.transpose().map_err(|wrong| format!("the record of {id}: {}", chain(&wrong)))?;
            let stored = stored.map(|committed| Committed { duplicate: false, ..committed });
            match (&sent.fate, &stored) {
                (Fate::Acknowledged(answer), stored) if stored.as_ref() != Some(answer) => {
                    return Err(format!("{id} was acknowledged as {answer:?}, and the record is {stored:?}"));
                }
                (Fate::Refused, Some(stored)) => return Err(format!("{id} was refused, and has happened: {stored:?}")),
                (Fate::Acknowledged(_) | Fate::Refused | Fate::InDoubt, _) => {}
            }
            if sent.fate == Fate::InDoubt && stored.is_none() && !settles {
                continue;
            }
            if sent.fate == Fate::InDoubt {
                self.fates.came_true += u64::from(stored.is_some());
                self.fates.came_to_nothing += u64::from(stored.is_none());
            }
            sent.fate = stored.clone().map_or(Fate::Refused, Fate::Acknowledged);
            let Some(Committed { first_seq: Some(first), last_seq: last, .. }) = stored else { continue };
            let range = usize::try_from(first - 1).unwrap_or(usize::MAX)..usize::try_from(last).unwrap_or(usize::MAX);
            accounted += range.len();
            let events =
                self.log.get(range).ok_or_else(|| format!("events {first} to {last} of {id} are not there"))?;
            if events.is_empty() || events.iter().any(|event| event.command != *id) {
                return Err(format!("events {first} to {last} are not all of {id}"));
            }
        }
        if accounted == self.log.len() {
            return Ok(());
        }
        Err(format!("{} events, {accounted} of them of commands that happened", self.log.len()))
    }

    fn check_fences(&mut self, view: &ReadView<'_>) -> Held {
        let mut now: BTreeMap<TaskId, u64> = BTreeMap::new();
        let runs = view.list::<Run>(&Filter::default());
        for run in runs.map_err(|wrong| format!("the store cannot be read: {}", chain(&wrong)))? {
            let fence = now.entry(run.task).or_default();
            *fence = run.fence.max(*fence);
        }
        for (task, before) in &self.fences {
            if now.get(task).is_none_or(|fence| fence < before) {
                return Err(format!("the fence of {task} was {before}, and is {:?}", now.get(task)));
            }
        }
        self.fences = now;
        Ok(())
    }
}

fn seen(event: &StoredEvent, seq: u64) -> Result<Seen, String> {
    let recorded = &event.recorded;
    if recorded.seq != seq {
        return Err(format!("event {} stands where {seq} should", recorded.seq));
    }
    Ok(Seen { hash: recorded.hash, command: recorded.command, at: recorded.at })
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    causes.collect::<Vec<_>>().join(": ")
}
