//! What the record says of a run's exchanges with models and of what its agent was told. Read from its events, page by page:
//! they are in no table.

use orch_adapters::gateway::RESPONSE_BYTES_KEPT_MAX;
use orch_core::digest::Digest;
use orch_core::entity::{ModelAnswer, ModelRequest, RunEvent};
use orch_core::event::Event;
use orch_core::view::ReadError;
use orch_proto::Timestamp;
use orch_proto::id::RunId;
use orch_store::{EventQuery, ReadView};

/// Events that are read at once.
const PAGE: u32 = 1_000;

/// One exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) number: u32,
    pub(crate) at: Timestamp,
    pub(crate) request: ModelRequest,
    /// What came of it, and when that was on record.
    pub(crate) answered: Option<(Timestamp, ModelAnswer)>,
}

/// Those of a run behind the one of this number, at most so many, the oldest first.
///
/// # Errors
/// When the record cannot be read.
pub(crate) fn list(view: &ReadView<'_>, run: RunId, (after, limit): (u32, usize)) -> Result<Vec<Exchange>, ReadError> {
    let mut found: Vec<Exchange> = Vec::new();
    each(view, run, |at, event| {
        match event {
            RunEvent::ModelAsked { exchange, request } if exchange.number > after && found.len() < limit => {
                let request = (**request).clone();
                found.push(Exchange { number: exchange.number, at, request, answered: None });
            }
            RunEvent::ModelAnswered { number, answer } => {
                if let Some(asked) = found.iter_mut().rev().find(|asked| asked.number == *number) {
                    asked.answered = Some((at, (**answer).clone()));
                }
            }
            _ => {}
        }
        found.len() < limit || found.iter().any(|asked| asked.answered.is_none())
    })?;
    Ok(found)
}

/// The texts of a run, by their digests and sizes, one that is on record twice twice: what its agent was told, what it asked and
/// was answered.
///
/// # Errors
/// When the record cannot be read.
pub(crate) fn texts(view: &ReadView<'_>, run: RunId) -> Result<Vec<(Digest, u64)>, ReadError> {
    let mut found = Vec::new();
    each(view, run, |_, event| {
        match event {
            RunEvent::Told { prompt, bytes } => found.push((*prompt, *bytes)),
            RunEvent::ModelAsked { request, .. } => found.push((request.body, request.body_bytes)),
            RunEvent::ModelAnswered { answer, .. } => {
                let kept_bytes = answer.body_bytes.min(RESPONSE_BYTES_KEPT_MAX as u64);
                found.extend(answer.body.map(|body| (body, kept_bytes)));
            }
            _ => {}
        }
        true
    })?;
    Ok(found)
}

/// Calls `take` with what happened to a run, in its order, until it has enough.
fn each(view: &ReadView<'_>, run: RunId, mut take: impl FnMut(Timestamp, &RunEvent) -> bool) -> Result<(), ReadError> {
    let mut query = EventQuery { limit: PAGE, subject: Some(run.to_string()), ..EventQuery::default() };
    loop {
        let page = view.query(&query)?;
        let Some(last) = page.last() else { return Ok(()) };
        query.after = last.recorded.seq;
        for stored in &page {
            let Event::Run { event, .. } = &stored.recorded.event else { continue };
            if !take(stored.recorded.at, event) {
                return Ok(());
            }
        }
    }
}
