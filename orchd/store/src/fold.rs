//! What the log makes of one thing, whatever its kind: its events in order, and the row that follows from them.
//!
//! A thing follows from its own events alone, which is why the log can be followed thing by thing. Knows no table.

use std::any::Any;

use orch_core::entity::{
    ApplyError, Approval, Change, Entity, InfoRequest, Meta, Plan, Project, Requirements, Run, Task, Vision,
};
use orch_core::event::Event;
use orch_proto::EntityKind;
use orch_proto::id::ProjectId;

use crate::tables;

/// A thing as its events have made it.
pub(crate) trait Made {
    fn kind(&self) -> EntityKind;
    /// Project and state, by which it is counted.
    fn place(&self) -> (ProjectId, &'static str);
    /// Its row as text, when the event with this number was the last: what [`tables::row`] reads.
    fn row(&self, seq: u64) -> String;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<E: Entity> Made for E {
    fn kind(&self) -> EntityKind {
        E::KIND
    }

    fn place(&self) -> (ProjectId, &'static str) {
        (self.project(), self.state_label())
    }

    fn row(&self, seq: u64) -> String {
        let found_by = (
            self.project().to_string(),
            self.number(),
            self.parent(),
            u8::from(self.is_open()),
            self.state_label(),
            seq,
        );
        let found_by = serde_json::to_string(&found_by).expect("texts and numbers");
        found_by + &tables::encode(self)
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// The thing after one event more.
pub(crate) fn apply(before: Option<Box<dyn Made>>, event: &Event, meta: Meta<'_>) -> Result<Box<dyn Made>, ApplyError> {
    match event {
        Event::Project { id, event } => step::<Project>(before, *id, event, meta),
        Event::Vision { id, event } => step::<Vision>(before, *id, event, meta),
        Event::Requirements { id, event } => step::<Requirements>(before, *id, event, meta),
        Event::Plan { id, event } => step::<Plan>(before, *id, event, meta),
        Event::Task { id, event } => step::<Task>(before, *id, event, meta),
        Event::Run { id, event } => step::<Run>(before, *id, event, meta),
        Event::Approval { id, event } => step::<Approval>(before, *id, event, meta),
        Event::Change { id, event } => step::<Change>(before, *id, event, meta),
        Event::InfoRequest { id, event } => step::<InfoRequest>(before, *id, event, meta),
    }
}

fn step<E: Entity>(
    before: Option<Box<dyn Made>>,
    id: E::Id,
    event: &E::Event,
    meta: Meta<'_>,
) -> Result<Box<dyn Made>, ApplyError> {
    // A thing of another kind cannot have this id: ids say what they are of.
    let before = before.and_then(|made| made.into_any().downcast::<E>().ok()).map(|made| *made);
    Ok(Box::new(E::apply(before, id, event, meta)?))
}
