//! The Agent Client Protocol, version 1: what an agent sends, which is notifications about its session, requests to its
//! client, and answers to the client's own requests.
//!
//! What the client asked is not in the stream, so an answer is told by what it holds.

mod tools;
mod types;

use self::types::{Asked, Body, Call, Entry, Update, Updated};
use super::event::{ErrorClass, Role, RunEvent, Stop};
use super::fault;
use super::open_tools::OpenTools;
use super::text::Text;
use super::usage::{Usage, usd_micros};
use super::wire::{self, read, shown};

/// How the id of a `session/prompt` request begins when its client wants a refused one to be told as the end of a turn.
pub const PROMPT_ID: &str = "prompt";

/// Codes of errors: of JSON-RPC there are many, these two are the protocol's own.
const AUTH_REQUIRED: f64 = -32000.0;
const REQUEST_CANCELLED: f64 = -32800.0;

#[derive(Debug, Default)]
pub(super) struct Acp {
    tools: OpenTools,
}

impl Acp {
    pub(super) fn line(&mut self, line: &[u8], sink: &mut dyn FnMut(RunEvent)) {
        let method = wire::text_at(line, "method").unwrap_or_default();
        let is_read = match method.as_str() {
            "session/update" => read(line).map(|call: Call<Updated<'_>>| self.update(call.params.update, sink)),
            "session/request_permission" => read(line).map(|asked: Asked<'_>| tools::asked(&self.tools, &asked, sink)),
            "elicitation/create" => read(line).map(|asked: Asked<'_>| {
                let question = asked.params.message.clone().into();
                sink(RunEvent::InfoRequested { id: asked.id(), question, options: Vec::new() });
            }),
            "" => read(line).and_then(|body| answer(body, sink)),
            _ => None,
        };
        if is_read.is_none() {
            sink(wire::unread(line, method.as_str()));
        }
    }

    fn update(&mut self, update: Update<'_>, sink: &mut dyn FnMut(RunEvent)) {
        match update.session_update.as_str() {
            "agent_message_chunk" => chunk(update, sink, |text| said(Role::Agent, text)),
            "user_message_chunk" => chunk(update, sink, |text| said(Role::User, text)),
            "agent_thought_chunk" => chunk(update, sink, |text| RunEvent::Thought { text, is_part: true }),
            "tool_call" | "tool_call_update" => tools::updated(&mut self.tools, update, sink),
            "plan" => {
                sink(RunEvent::Plan { items: update.entries.items.iter().map(Entry::item).collect() });
                update.entries.tell_dropped(sink);
            }
            "usage_update" => {
                let cost = update.cost.0.filter(|cost| cost.currency.as_str() == "USD");
                if let Some(cost_usd_micros) = cost.and_then(|cost| cost.amount.0).and_then(usd_micros) {
                    let cost_usd_micros = Some(cost_usd_micros);
                    sink(RunEvent::Usage(Usage { cost_usd_micros, cumulative: true, ..Usage::default() }));
                }
            }
            // About the client's menus.
            "available_commands_update" | "current_mode_update" | "session_info_update" | "config_option_update" => {}
            other => sink(wire::unknown("session/update", other)),
        }
    }
}

fn said(role: Role, text: Text) -> RunEvent {
    RunEvent::Message { role, text, is_part: true }
}

fn chunk(update: Update<'_>, sink: &mut dyn FnMut(RunEvent), event: impl FnOnce(Text) -> RunEvent) {
    let block = update.content.into_block();
    match block.kind.as_str() {
        "text" => sink(event(block.text.into())),
        kind => sink(wire::unknown("content", kind)),
    }
}

/// What came of a request of the client; none when it is no answer at all.
fn answer(body: Body<'_>, sink: &mut dyn FnMut(RunEvent)) -> Option<()> {
    let id = shown(Some(body.id?)).text;
    if let Some(error) = body.error.0.flatten() {
        let detail = shown(error.data).text;
        let message = [error.message.as_str(), &detail].map(str::trim);
        let message = message.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
        let code = error.code.0;
        let class = if code == Some(AUTH_REQUIRED) { ErrorClass::Auth } else { fault::class(None, &message) };
        sink(RunEvent::Error { class, message: message.as_str().into() });
        if id.starts_with(PROMPT_ID) {
            let stop = if code == Some(REQUEST_CANCELLED) { Stop::Cancelled } else { Stop::Failed };
            sink(RunEvent::TurnFinished { stop });
        }
        return Some(());
    }
    let outcome = body.result.0?.unwrap_or_default();
    if !outcome.session_id.is_empty() {
        sink(RunEvent::SessionStarted { native_id: outcome.session_id.name(), model: outcome.model() });
    }
    if let Some(tokens) = outcome.usage.0.flatten() {
        sink(RunEvent::Usage(tokens.usage()));
    }
    let stop = match outcome.stop_reason.as_str() {
        "" => return Some(()),
        "end_turn" => Stop::Completed,
        "max_tokens" => Stop::TokenLimit,
        "max_turn_requests" => Stop::TurnLimit,
        "refusal" => Stop::Refused,
        "cancelled" => Stop::Cancelled,
        _ => Stop::Other,
    };
    sink(RunEvent::TurnFinished { stop });
    Some(())
}
