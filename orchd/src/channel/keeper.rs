//! What becomes of a run that waits for a person: after a while its processes stand still, and in the end it is told that
//! nobody answered.

use std::time::Duration;

use orch_core::command::Command;
use orch_core::entity::{Approval, ApprovalSubject, Entity as _, InfoRequest, Run};
use orch_core::event::Event;
use orch_core::state::approval::ApprovalState;
use orch_core::state::info_request::InfoRequestState;
use orch_core::view::{Filter, ReadError, View as _};
use orch_proto::Timestamp;
use orch_proto::id::RunId;
use orch_store::ReadView;

use super::line::{Line, PART};
use crate::error_chain::chain;

/// Wait before something that did not work is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// Longest wait before the clock is looked at again, which can be set.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Whether what happened may be about what this run waits for. Of several things that it waits for one may be decided without a
/// word of that: then it is looked too early, once.
fn heeds(run: RunId, event: &Event) -> bool {
    matches!(event, Event::Run { id, event } if *id == run
        && matches!(Run::event_label(event), "asked" | "answered" | "resume_requested" | "ended"))
}

/// What a run waits for.
struct Waits {
    run: Option<Run>,
    /// When the first of it was asked, and when the first of it is over.
    since: Option<Timestamp>,
    ends: Option<Timestamp>,
}

/// Looks after a run until it is over.
pub(super) async fn keep(line: &Line) {
    let run = line.run;
    let mut changed = line.app.store.subscribe_to(move |event| heeds(run, event));
    loop {
        changed.mark_unchanged();
        let wait = match look(line).await {
            Ok(waits) if waits.run.as_ref().is_none_or(|run| run.state.is_final()) => return,
            Ok(waits) => step(line, &waits).await,
            Err(error) => {
                tracing::warn!(run = %line.run, error = chain(&error), "not known what a run waits for");
                AGAIN
            }
        };
        tokio::select! {
            _ = changed.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn look(line: &Line) -> Result<Waits, ReadError> {
    let id = line.run;
    line.app
        .read(move |view| {
            let run = view.get::<Run>(id)?;
            let (asked, ends) = if run.as_ref().is_some_and(|run| run.state.is_waiting()) {
                open(view, &Filter::under(id).open())?
            } else {
                (None, None)
            };
            Ok(Waits { run, since: asked, ends })
        })
        .await
}

fn open(view: &ReadView<'_>, filter: &Filter) -> Result<(Option<Timestamp>, Option<Timestamp>), ReadError> {
    let infos = view.list::<InfoRequest>(filter)?;
    let infos = infos.iter().map(|info| match info.state {
        InfoRequestState::Pending { expires } => (info.asked_at, Some(expires)),
        _ => (info.asked_at, None),
    });
    let actions = view.list::<Approval>(filter)?;
    let actions = actions.iter().filter(|asked| matches!(asked.subject, ApprovalSubject::Action { .. }));
    let actions = actions.map(|asked| match &asked.state {
        ApprovalState::Pending { expires, .. } => (asked.requested_at, *expires),
        _ => (asked.requested_at, None),
    });
    let all: Vec<_> = infos.chain(actions).collect();
    Ok((all.iter().map(|(asked, _)| *asked).min(), all.iter().filter_map(|(_, ends)| *ends).min()))
}

/// Does what is due; how long until there may be more.
async fn step(line: &Line, waits: &Waits) -> Duration {
    let now = crate::clock::now();
    let park_ms = u64::try_from(line.app.config.park_after.as_millis()).unwrap_or(u64::MAX);
    let stands_still = waits.run.as_ref().is_some_and(|run| run.pause.is_some() || run.cancel_requested.is_some());
    let parks = waits.since.filter(|_| !stands_still).map(|since| since.plus_ms(park_ms));
    let due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
    let command = if due(waits.ends) {
        Command::ExpireAsked { run: line.run }
    } else if due(parks) {
        Command::ParkRun { run: line.run }
    } else {
        let next = waits.ends.into_iter().chain(parks).min();
        let wait = next.map_or(LOOK_AGAIN, |next| Duration::from_millis(next.ms_since(now).saturating_add(1)));
        return wait.min(LOOK_AGAIN);
    };
    match line.app.execute(PART, command).await {
        Ok(_) => Duration::from_millis(10),
        Err(error) => {
            tracing::warn!(run = %line.run, error = chain(&error), "a run waits on");
            AGAIN
        }
    }
}

#[cfg(test)]
mod tests {
    use orch_core::entity::{ChannelEvent, RunEvent};
    use orch_core::ids::sample_id;

    use super::*;

    #[test]
    fn nobody_looks_because_of_what_another_run_waits_for() {
        let event = |run| Event::Run { id: sample_id(run), event: RunEvent::Channel { event: ChannelEvent::Answered } };
        assert!(heeds(sample_id(1), &event(1)) && !heeds(sample_id(1), &event(2)));
    }
}
