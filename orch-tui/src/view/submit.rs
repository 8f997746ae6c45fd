//! Sending a request: a ticket ties the answer to what sent it.

use std::collections::BTreeMap;

use orch_proto::id::InfoRequestId;
use orch_proto::request::{Bytes, Request};

use super::model::{Model, Sent};
use super::msg::Cmd;

/// Sends a request. The answer comes as `Msg::Submitted` with the ticket.
pub(crate) fn send(model: &mut Model, request: Request, sent: Sent) -> (u32, Vec<Cmd>) {
    let ticket = ticket(model, sent);
    (ticket, vec![Cmd::Submit { ticket, request: Box::new(request) }])
}

/// Answers a question of a run, by the names of its fields, likewise.
pub(crate) fn answer(
    model: &mut Model,
    info: InfoRequestId,
    values: BTreeMap<String, Bytes>,
    sent: Sent,
) -> (u32, Vec<Cmd>) {
    let ticket = ticket(model, sent);
    (ticket, vec![Cmd::Answer { ticket, info, values }])
}

fn ticket(model: &mut Model, sent: Sent) -> u32 {
    model.last_ticket = model.last_ticket.wrapping_add(1);
    model.sent.insert(model.last_ticket, sent);
    model.last_ticket
}
