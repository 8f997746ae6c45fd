//! Operations: what one command of a person made happen, as it is looked at when it is to be taken back.
//!
//! What each thing was before and after is folded from the log, which never changes. So it can be read outside of the
//! transaction in which the undo is decided, which looks at what there is now and at nothing else.

use std::collections::BTreeSet;

use orch_proto::Timestamp;
use orch_proto::id::ProjectId;
use orch_proto::request::Role;

use crate::actor::Actor;
use crate::entity::{ApplyError, Approval, Change, Entity, Meta, Plan, Project, Requirements, Run, Task};
use crate::event::{Event, Recorded};
use crate::state::approval::{ApprovalState, Choice};
use crate::state::document::DocumentState;
use crate::view::ReadError;

/// Most events of one operation that can be taken back.
pub const OPERATION_EVENTS_MAX: usize = 4_000;

/// What one command made happen, and what the things that it touched were before it and after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Number of its first event, which names it.
    pub seq: u64,
    /// Number of its last event.
    pub last_seq: u64,
    pub at: Timestamp,
    pub actor: Actor,
    pub events: Vec<Event>,
    /// In the order in which it touched them.
    pub things: Vec<Past>,
}

/// A thing before and after an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Was<E> {
    /// None: the operation made it.
    pub before: Option<E>,
    pub after: Option<E>,
    is_split: bool,
}

impl<E> Default for Was<E> {
    fn default() -> Self {
        Self { before: None, after: None, is_split: false }
    }
}

impl<E: Entity> Was<E> {
    fn tell(&mut self, id: E::Id, event: &E::Event, meta: Meta<'_>, is_before: bool) -> Result<(), ApplyError> {
        if !is_before && !self.is_split {
            self.before.clone_from(&self.after);
            self.is_split = true;
        }
        self.after = Some(E::apply(self.after.take(), id, event, meta)?);
        Ok(())
    }

    fn project(&self) -> Option<ProjectId> {
        self.after.as_ref().map(Entity::project)
    }
}

macro_rules! pasts {
    ($($variant:ident: $entity:ty;)+) => {
        /// What was known of one thing.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Past { $( $variant(Box<Was<$entity>>), )+ }

        impl Past {
            /// Nothing yet of what the event happened to; none of what no undo touches.
            fn of(event: &Event) -> Option<Self> {
                match event {
                    $( Event::$variant { .. } => Some(Self::$variant(Box::default())), )+
                    Event::Vision { .. } | Event::InfoRequest { .. } => None,
                }
            }

            fn tell(&mut self, told: &Recorded, is_before: bool) -> Result<(), ApplyError> {
                let meta = Meta { at: told.at, actor: &told.actor };
                match (self, &told.event) {
                    $( (Self::$variant(was), Event::$variant { id, event }) => was.tell(*id, event, meta, is_before), )+
                    _ => Ok(()),
                }
            }

            /// The project that it belongs to.
            #[must_use]
            pub fn project(&self) -> Option<ProjectId> {
                match self { $( Self::$variant(was) => was.project(), )+ }
            }
        }
    };
}

pasts! {
    Project: Project;
    Requirements: Requirements;
    Plan: Plan;
    Task: Task;
    Run: Run;
    Approval: Approval;
    Change: Change;
}

impl Operation {
    /// The operation of these events, which are all those of one command, in order; none of no events. `past` answers what
    /// happened to the thing with this id after an event, in order and a page at a time, nothing when there is no more.
    ///
    /// # Errors
    /// Those of `past`, and when the log does not fit together.
    pub fn read(
        events: Vec<Recorded>,
        mut past: impl FnMut(&str, u64) -> Result<Vec<Recorded>, ReadError>,
    ) -> Result<Option<Self>, ReadError> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(None) };
        let (seq, last_seq, at, actor) = (first.seq, last.seq, first.at, first.actor.clone());
        let mut seen = BTreeSet::new();
        let mut things = Vec::new();
        for recorded in &events {
            let subject = recorded.event.subject();
            let Some(mut thing) = Past::of(&recorded.event) else { continue };
            if !seen.insert(subject.clone()) {
                continue;
            }
            let mut after = 0;
            while after < last_seq {
                let page = past(&subject, after)?;
                let Some(end) = page.last().map(|told| told.seq) else { break };
                for told in page.iter().filter(|told| told.seq <= last_seq) {
                    thing.tell(told, told.seq < seq).map_err(|error| ReadError(Box::new(error)))?;
                }
                after = end;
            }
            things.push(thing);
        }
        let events = events.into_iter().map(|recorded| recorded.event).collect();
        Ok(Some(Self { seq, last_seq, at, actor, events, things }))
    }

    /// Whether it took another one back.
    #[must_use]
    pub fn undoes(&self) -> Option<u64> {
        self.events.iter().find_map(undone_by)
    }

    /// The role that is needed to take it back: that of whoever may decide such things.
    #[must_use]
    pub fn role(&self) -> Role {
        self.things.iter().map(Past::role).max().unwrap_or(Role::Operator).max(Role::Operator)
    }
}

/// The operation that an event is the undo of, by the number of its first event.
#[must_use]
pub const fn undone_by(event: &Event) -> Option<u64> {
    use crate::entity::{ApprovalEvent, ChangeEvent, PlanEvent, ProjectEvent, RequirementsEvent, RunEvent, TaskEvent};
    match event {
        Event::Project { event: ProjectEvent::Undone { operation, .. }, .. }
        | Event::Requirements { event: RequirementsEvent::Undone { operation, .. }, .. }
        | Event::Plan { event: PlanEvent::Undone { operation, .. }, .. }
        | Event::Task { event: TaskEvent::Undone { operation, .. }, .. }
        | Event::Run { event: RunEvent::Undone { operation, .. }, .. }
        | Event::Approval { event: ApprovalEvent::Undone { operation, .. }, .. }
        | Event::Change { event: ChangeEvent::Undone { operation, .. }, .. } => Some(*operation),
        _ => None,
    }
}

impl Past {
    fn role(&self) -> Role {
        match self {
            Self::Project(was) => of_project(was),
            Self::Requirements(was) => {
                of_document(was.before.as_ref().map(|it| it.state), was.after.as_ref().map(|it| it.state))
            }
            Self::Plan(was) => {
                of_document(was.before.as_ref().map(|it| it.state), was.after.as_ref().map(|it| it.state))
            }
            Self::Approval(was) => of_approval(was),
            Self::Task(_) | Self::Run(_) | Self::Change(_) => Role::Operator,
        }
    }
}

fn of_project(was: &Was<Project>) -> Role {
    let (Some(before), Some(after)) = (&was.before, &was.after) else { return Role::Admin };
    let limits = |project: &Project| -> Vec<_> {
        project.budgets.iter().map(|budget| (budget.key, budget.limit, budget.is_hard, budget.since)).collect()
    };
    if before.share != after.share || before.state != after.state || limits(before) != limits(after) {
        Role::Admin
    } else if before.budgets != after.budgets || before.blueprint_gates != after.blueprint_gates {
        Role::Approver
    } else {
        Role::Operator
    }
}

fn of_document(before: Option<DocumentState>, after: Option<DocumentState>) -> Role {
    let is_decided = |state| matches!(state, Some(DocumentState::Approved | DocumentState::Rejected));
    if before != after && (is_decided(before) || is_decided(after)) { Role::Approver } else { Role::Operator }
}

/// What was withdrawn with what it asked about, nobody answered.
fn of_approval(was: &Was<Approval>) -> Role {
    let (Some(before), Some(after)) = (&was.before, &was.after) else { return Role::Operator };
    let is_pending = |approval: &Approval| matches!(approval.state, ApprovalState::Pending { .. });
    let is_answer = |approval: &Approval| {
        matches!(
            approval.state,
            ApprovalState::Granted { .. }
                | ApprovalState::Denied { .. }
                | ApprovalState::Answered { choice: Choice::Raise | Choice::Done, .. }
        )
    };
    let agreed = before.granted_by.len() != after.granted_by.len() && is_pending(before) && is_pending(after);
    let answered = (is_pending(before) && is_answer(after)) || (is_answer(before) && is_pending(after));
    if agreed || answered { Role::Approver } else { Role::Operator }
}
