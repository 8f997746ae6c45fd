//! Sending a request: a ticket ties the answer to what sent it.

use orch_proto::request::Request;

use super::model::{Model, Sent};
use super::msg::Cmd;

/// Sends a request. The answer comes as `Msg::Submitted` with the ticket.
pub(crate) fn send(model: &mut Model, request: Request, sent: Sent) -> (u32, Vec<Cmd>) {
    model.last_ticket = model.last_ticket.wrapping_add(1);
    let ticket = model.last_ticket;
    model.sent.insert(ticket, sent);
    (ticket, vec![Cmd::Submit { ticket, request: Box::new(request) }])
}
