//! What people say to the agent of a run, given to its driver.

use std::time::Duration;

use orch_core::entity::{Run, Task, TaskEvent};
use orch_core::event::Event;
use orch_core::view::View as _;
use orch_proto::channel::{Answer, Answered, Said, WAIT_MS_MAX};
use tokio::time::Instant;

use super::line::Line;
use super::verbs::stopping;
use crate::rpc::errors;

/// Most messages that are given at once: as many as fit into a frame, however they are written there.
const GIVEN_MAX: usize = 8;

/// What was said behind the message of this number, as soon as there is something.
pub(super) async fn take(line: &Line, after: u32, wait_ms: u32) -> Answer {
    let until = Instant::now() + Duration::from_millis(u64::from(wait_ms.min(WAIT_MS_MAX)));
    let id = line.run;
    let is_for_it = move |event: &Event| matches!(event, Event::Task { event: TaskEvent::Said { message }, .. } if message.run == Some(id));
    let mut changed = line.app.store.subscribe_to(is_for_it);
    loop {
        changed.mark_unchanged();
        let found = line.app.read(move |view| {
            let Some(run) = view.get::<Run>(id)? else { return Ok(Vec::new()) };
            let task = view.get::<Task>(run.task)?;
            let said = task.iter().flat_map(|task| task.told_while(id, after)).take(GIVEN_MAX);
            let said = said.map(|said| Said { number: said.number, from: said.name.clone(), text: said.text.clone() });
            Ok(said.collect())
        });
        let messages = found.await.map_err(|error| errors::read(&error))?;
        if !messages.is_empty() || Instant::now() >= until {
            return Ok(Answered::Messages { messages });
        }
        tokio::select! {
            () = line.app.stopped() => return Err(stopping()),
            _ = changed.changed() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }
}
