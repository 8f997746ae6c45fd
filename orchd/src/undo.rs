//! Finding what is to be taken back: the operation that an event belongs to, or what a person decided last.
//!
//! Reads the log from its end, and of what the operation touched all that happened to it. The log does not change, so what
//! is found here holds when the undo is decided; only what there is now is looked at then.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use orch_core::actor::Actor;
use orch_core::event::Recorded;
use orch_core::undo::{OPERATION_EVENTS_MAX, Operation, undone_by};
use orch_core::view::ReadError;
use orch_proto::id::CommandId;
use orch_store::{EventQuery, ReadView, Trace};

/// Most events that are looked at for the last decision of a person.
pub const LOOKED_AT_MAX: u32 = 100_000;
/// Events that are read at a time.
const PAGE: u32 = 500;
/// Most things that are looked at to say what came after an operation.
const NAMED_MAX: usize = 32;

/// What is to be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// What the event with this number belongs to.
    Event(u64),
    /// What the person with this uid decided last, and that was not taken back.
    LastOf(u32),
}

/// Why there is nothing to be taken back.
#[derive(Debug, thiserror::Error)]
pub enum NotFound {
    #[error("there is no event {seq}; the newest is {head}")]
    NoEvent { seq: u64, head: u64 },
    /// There is more of the log than was looked at.
    #[error("you decided nothing in the newest {LOOKED_AT_MAX} events")]
    TooLongAgo,
    #[error("you decided nothing that is not taken back already")]
    Nothing,
    #[error("the operation has more than {OPERATION_EVENTS_MAX} events")]
    TooLarge,
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// An operation, and what its person decided before it.
#[derive(Debug)]
pub struct Found {
    pub operation: Operation,
    /// Number of the first event of the decision before; only looked for with [`Which::LastOf`].
    pub before: Option<u64>,
}

/// What there is of one command when the log is read from its end.
#[derive(Debug)]
struct Group {
    command: CommandId,
    actor: Actor,
    first: u64,
    /// Number of one of its events that take something back.
    undone: Option<u64>,
}

/// Finds the operation.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn find(view: &ReadView<'_>, which: Which) -> Result<Found, NotFound> {
    let (seq, before) = match which {
        Which::Event(seq) => (seq, None),
        Which::LastOf(uid) => last_of(view, uid)?,
    };
    Ok(Found { operation: of_event(view, seq)?, before })
}

/// The newest event that happened since to something that the operation touched.
///
/// # Errors
/// When the log cannot be read.
pub fn came_after(view: &ReadView<'_>, operation: &Operation) -> Result<Option<Trace>, ReadError> {
    let subjects: BTreeSet<String> = operation.events.iter().take(NAMED_MAX).map(|event| event.subject()).collect();
    let mut newest: Option<Trace> = None;
    for subject in subjects {
        let found = view.newest_event_of(&subject, operation.last_seq)?;
        newest = newest.into_iter().chain(found).max_by_key(|trace| trace.seq);
    }
    Ok(newest)
}

/// The operation that the event with this number took back, if it is of an undo.
///
/// # Errors
/// When the log cannot be read.
pub fn taken_back_by(view: &ReadView<'_>, seq: u64) -> Result<Option<u64>, ReadError> {
    let found = view.events(seq.saturating_sub(1), 1)?;
    Ok(found.first().filter(|told| told.recorded.seq == seq).and_then(|told| undone_by(&told.recorded.event)))
}

fn of_event(view: &ReadView<'_>, seq: u64) -> Result<Operation, NotFound> {
    let missing = || NotFound::NoEvent { seq, head: view.seq() };
    if seq == 0 || seq > view.seq() {
        return Err(missing());
    }
    let (mut first, mut command, mut count) = (seq, None, 0_usize);
    view.each_event_before(seq + 1, u32::try_from(OPERATION_EVENTS_MAX).unwrap_or(u32::MAX), |trace| {
        if *command.get_or_insert(trace.command) != trace.command {
            return ControlFlow::Break(());
        }
        (first, count) = (trace.seq, count + 1);
        ControlFlow::Continue(())
    })?;
    let command = command.ok_or_else(missing)?;
    if count >= OPERATION_EVENTS_MAX {
        return Err(NotFound::TooLarge);
    }
    let mut events: Vec<Recorded> = Vec::new();
    let mut after = first - 1;
    'log: loop {
        let page = view.events(after, PAGE)?;
        let Some(last) = page.last().map(|told| told.recorded.seq) else { break };
        for told in page {
            if told.recorded.command != command {
                break 'log;
            }
            events.push(told.recorded);
        }
        if events.len() > OPERATION_EVENTS_MAX {
            return Err(NotFound::TooLarge);
        }
        after = last;
    }
    let past = |subject: &str, after: u64| {
        let query = EventQuery { after, limit: PAGE, subject: Some(subject.to_owned()), ..EventQuery::default() };
        Ok(view.query(&query)?.into_iter().map(|told| told.recorded).collect())
    };
    Operation::read(events, past)?.ok_or_else(missing)
}

/// First events of the newest two decisions of a person that are not taken back, the newest first.
fn last_of(view: &ReadView<'_>, uid: u32) -> Result<(u64, Option<u64>), NotFound> {
    let mut search = Search { view, uid, taken: BTreeSet::new(), found: Vec::new(), failed: None };
    let mut group: Option<Group> = None;
    let is_more = view.each_event_before(view.seq() + 1, LOOKED_AT_MAX, |trace| {
        match &mut group {
            Some(group) if group.command == trace.command => {
                group.first = trace.seq;
                group.undone = group.undone.or(undone(&trace));
            }
            _ => {
                let undone = undone(&trace);
                let next = Group { command: trace.command, actor: trace.actor, first: trace.seq, undone };
                if let Some(done) = group.replace(next) {
                    return search.judge(&done);
                }
            }
        }
        ControlFlow::Continue(())
    })?;
    if let Some(group) = group
        && search.found.len() < 2
    {
        // It says itself whether it is enough.
        let _is_enough = search.judge(&group);
    }
    if let Some(error) = search.failed {
        return Err(error.into());
    }
    match (search.found.as_slice(), is_more) {
        ([newest, rest @ ..], _) => Ok((*newest, rest.first().copied())),
        ([], true) => Err(NotFound::TooLongAgo),
        ([], false) => Err(NotFound::Nothing),
    }
}

/// The number of the event, if it takes something back. A question that is withdrawn with that comes before it.
fn undone(trace: &Trace) -> Option<u64> {
    trace.kind.ends_with(".undone").then_some(trace.seq)
}

struct Search<'a, 'v> {
    view: &'a ReadView<'v>,
    uid: u32,
    /// Operations that were taken back, by their first events.
    taken: BTreeSet<u64>,
    found: Vec<u64>,
    failed: Option<ReadError>,
}

impl Search<'_, '_> {
    /// Looks at what a command did, of those after which everything was looked at.
    fn judge(&mut self, group: &Group) -> ControlFlow<()> {
        let Some(uid) = group.actor.uid() else { return ControlFlow::Continue(()) };
        if self.taken.contains(&group.first) {
            return ControlFlow::Continue(());
        }
        if let Some(undone) = group.undone {
            match taken_back_by(self.view, undone) {
                Ok(operation) => self.taken.extend(operation),
                Err(error) => {
                    self.failed = Some(error);
                    return ControlFlow::Break(());
                }
            }
        } else if uid == self.uid {
            self.found.push(group.first);
            if self.found.len() == 2 {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use orch_core::command::{Command, Envelope, NewTask};
    use orch_core::digest::Digest;
    use orch_core::entity::{Project, Remedy, RepositorySource, RetryPolicy, Task, TaskSpec, Terms, Timeout, Work};
    use orch_core::ids::sample_id;
    use orch_core::view::View as _;
    use orch_proto::Timestamp;
    use orch_store::{OpenOptions, Store};

    use super::*;

    /// A store with a project, and how many commands were executed.
    struct Bed {
        store: Store,
        commands: u128,
        _dir: tempfile::TempDir,
    }

    impl Bed {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            // A second goes by with each look.
            let now = AtomicI64::new(1_795_165_557_000_000);
            let clock = Arc::new(move || Timestamp::from_unix_us(now.fetch_add(1_000_000, Ordering::Relaxed)));
            let options = OpenOptions { seed: [1; 32], clock, vfs: None };
            let store = Store::open(&dir.path().join("orch.db"), options).unwrap();
            let mut bed = Self { store, commands: 0, _dir: dir };
            let source = RepositorySource::Empty;
            bed.does(1, Command::CreateProject { slug: "shop".into(), source, protected_paths: Vec::new() });
            bed
        }

        /// Executes a command of a person; answers the number of its last event.
        fn does(&mut self, uid: u32, command: Command) -> u64 {
            self.does_as(Actor::User { uid, name: format!("u{uid}") }, command)
        }

        fn does_as(&mut self, actor: Actor, command: Command) -> u64 {
            self.commands += 1;
            let request = Digest::of(format!("{command:?}").as_bytes());
            let sent = Envelope { id: sample_id(self.commands), actor, request, command };
            self.store.execute_blocking(sent).unwrap().last_seq
        }

        fn weighs(&mut self, uid: u32, weight: u32) -> u64 {
            let project = self.store.read(|view| view.project_by_slug("shop")).unwrap().unwrap().id;
            let (weight, runs_max, runs_per_day) = (Some(weight), None, None);
            self.does(uid, Command::SetShare { project, weight, runs_max, runs_per_day })
        }

        fn undoes(&mut self, uid: u32, which: Which) -> u64 {
            let found = self.store.read(|view| Ok(find(view, which))).unwrap().unwrap();
            self.does(uid, Command::Undo { operation: Box::new(found.operation) })
        }

        fn weight(&self) -> u32 {
            let found: Vec<Project> = self.store.read(|view| view.list(&orch_core::view::Filter::default())).unwrap();
            found[0].share.weight
        }

        fn last_of(&self, uid: u32) -> Result<(u64, Option<u64>), NotFound> {
            let found = self.store.read(|view| Ok(find(view, Which::LastOf(uid)))).unwrap();
            found.map(|found| (found.operation.seq, found.before))
        }
    }

    #[test]
    fn the_last_decision_that_is_not_taken_back_is_found() {
        let mut bed = Bed::new();
        let (two, three) = (bed.weighs(1, 2), bed.weighs(1, 3));
        let other = bed.weighs(2, 4);
        assert_eq!(bed.last_of(1).unwrap(), (three, Some(two)));
        bed.undoes(2, Which::LastOf(2));
        assert_eq!(bed.weight(), 3);
        // Taken back by somebody else, it is taken back all the same.
        let undone = bed.undoes(2, Which::Event(three));
        assert_eq!((bed.weight(), bed.last_of(1).unwrap()), (2, (two, Some(1))));
        // Done again, it is the last one again.
        let redone = bed.undoes(2, Which::Event(undone));
        assert_eq!((bed.weight(), bed.last_of(1).unwrap()), (3, (three, Some(two))));
        bed.undoes(2, Which::Event(redone));
        assert_eq!((bed.weight(), bed.last_of(1).unwrap()), (2, (two, Some(1))));
        assert!(matches!(bed.last_of(2), Err(NotFound::Nothing)), "an undo is taken back by name only");
        assert!(matches!(bed.last_of(3), Err(NotFound::Nothing)));
        let missing = bed.store.read(|view| Ok(find(view, Which::Event(900)))).unwrap();
        assert!(matches!(missing, Err(NotFound::NoEvent { seq: 900, .. })));
        let after = bed.store.read(|view| {
            let found = find(view, Which::Event(two)).unwrap();
            came_after(view, &found.operation)
        });
        assert!(after.unwrap().is_some_and(|trace| trace.seq > other && trace.kind == "project.undone"));
    }

    /// An undo that withdraws a question begins with that, and is one all the same.
    #[test]
    fn what_was_taken_back_with_a_question_is_not_found_again() {
        let mut bed = Bed::new();
        let project = bed.store.read(|view| view.project_by_slug("shop")).unwrap().unwrap().id;
        let default_branch = "main".to_owned();
        bed.does_as(
            Actor::daemon("projects"),
            Command::PrepareProject { project, default_branch, head: None, toolchains: Vec::new() },
        );
        let spec = TaskSpec {
            work: Work::Agent { capability: "developer".into() },
            requirements: Vec::new(),
            acceptance: Vec::new(),
            retries: RetryPolicy::default(),
            estimate_minutes: None,
            risk: None,
            timeout_ms: None,
        };
        let new = NewTask {
            project,
            title: "late".into(),
            spec,
            depends_on: BTreeMap::new(),
            terms: Terms::default(),
            priority: 5,
            needs_approval: false,
            queue: false,
        };
        let made = bed.does(1, Command::CreateTask { task: Box::new(new) });
        let task = bed.store.read(|view| view.list::<Task>(&orch_core::view::Filter::default())).unwrap()[0].id;
        let queued = bed.does(1, Command::QueueTasks { tasks: vec![task] });
        let timeout = Timeout { after_ms: 1, then: Remedy::Ask };
        let since = Timestamp::from_unix_us(0);
        bed.does_as(Actor::daemon("scheduler"), Command::OverdueTask { task, since, timeout });
        assert_eq!(bed.last_of(1).unwrap(), (queued, Some(made)));
        bed.undoes(1, Which::LastOf(1));
        let told = bed.store.read(|view| view.events(queued, 10)).unwrap();
        let kinds: Vec<String> = told.iter().map(|told| told.recorded.event.kind()).collect();
        assert_eq!(kinds[kinds.len() - 2..], ["approval.voided", "task.undone"]);
        assert_eq!(bed.last_of(1).unwrap().0, made);
    }
}
