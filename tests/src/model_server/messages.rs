//! Anthropic Messages (`POST /v1/messages`), as its API reference describes it and Claude Code reads it.
//!
//! Knows the form of requests and answers and nothing of what is said in them.

use serde_json::{Value, json};

use super::conversation::{Conversation, Entry, History};
use super::manner::Failure;
use super::piece::{Pieces, words};
use super::protocol::{Protocol, as_bool, as_text};
use super::refusal;
use super::reply::Reply;
use super::script::Usage;
use super::tool::{self, Tool};

pub(super) fn read(body: &Value) -> Conversation {
    let messages = body.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let form = |pointer: &str| body.pointer(pointer).cloned();
    Conversation {
        protocol: Protocol::Messages,
        model: as_text(body, "model"),
        streams: as_bool(body, "stream"),
        wants_usage: true,
        tools: tool::tools([body], |tool| single(tool).into_iter().collect()),
        history: History::of(messages.iter().map(entry)),
        tokens_max: body.get("max_tokens").and_then(Value::as_u64),
        schema: form("/output_config/format/schema").or_else(|| form("/output_format/schema")),
    }
}

fn single(tool: &Value) -> Option<Tool> {
    Tool::function(tool.get("name")?, tool.get("input_schema").unwrap_or(&Value::Null))
}

fn entry(message: &Value) -> Entry<'_> {
    let content = message.get("content").unwrap_or(&Value::Null);
    let blocks = content.as_array().map(Vec::as_slice).unwrap_or_default();
    let kind = |block: &Value| block.get("type").and_then(Value::as_str).map(str::to_owned);
    match message.get("role").and_then(Value::as_str) {
        Some("assistant") => {
            let turns = blocks.iter().filter_map(|block| tool::mark(block.get("id")?.as_str()?));
            Entry::Made { turn: turns.max() }
        }
        Some("user") if blocks.iter().any(|block| kind(block).as_deref() == Some("tool_result")) => Entry::Other,
        Some("user") => Entry::Asked(content),
        _ => Entry::Other,
    }
}

/// The blocks of an answer, whole.
fn blocks(reply: &Reply) -> Vec<Value> {
    // Nobody but the vendor can check a signature; it must be there and be base64.
    let thought = reply.thought.iter().map(|it| json!({ "type": "thinking", "thinking": it, "signature": "c2NyaXB0" }));
    let text = reply.text.iter().map(|it| json!({ "type": "text", "text": it }));
    let calls = reply.calls.iter().map(
        |call| json!({ "type": "tool_use", "id": call.id("toolu"), "name": call.name, "input": call.arguments() }),
    );
    thought.chain(text).chain(calls).collect()
}

fn stop_reason(reply: &Reply) -> &'static str {
    if reply.calls.is_empty() { "end_turn" } else { "tool_use" }
}

/// The tokens as Anthropic counts them: those of the cache are not among `input_tokens`.
fn usage(usage: Usage, output: u64) -> Value {
    let Usage { input, cached, cache_written, .. } = usage;
    json!({
        "input_tokens": input.saturating_sub(cached).saturating_sub(cache_written),
        "cache_creation_input_tokens": cache_written, "cache_read_input_tokens": cached, "output_tokens": output,
    })
}

fn message(reply: &Reply, content: &Value, stop_reason: &Value, output: u64) -> Value {
    json!({
        "id": format!("msg_t{}_0", reply.turn), "type": "message", "role": "assistant", "model": reply.model,
        "content": content, "stop_reason": stop_reason, "stop_sequence": null, "usage": usage(reply.usage, output),
    })
}

pub(super) fn whole(reply: &Reply) -> Value {
    message(reply, &json!(blocks(reply)), &json!(stop_reason(reply)), reply.usage.output)
}

pub(super) fn stream(reply: &Reply) -> Pieces {
    let mut pieces = Pieces::with_filler(reply.filler);
    // What the vendor says first is what one token costs; only the last number is the whole output.
    let begun = message(reply, &json!([]), &Value::Null, reply.usage.output.min(1));
    put(&mut pieces, json!({ "type": "message_start", "message": begun }));
    put(&mut pieces, json!({ "type": "ping" }));
    for (index, block) in blocks(reply).iter().enumerate() {
        block_events(&mut pieces, index, block);
    }
    let delta = json!({ "stop_reason": stop_reason(reply), "stop_sequence": null });
    let usage = usage(reply.usage, reply.usage.output);
    put(&mut pieces, json!({ "type": "message_delta", "delta": delta, "usage": usage }));
    put(&mut pieces, json!({ "type": "message_stop" }));
    pieces
}

fn put(pieces: &mut Pieces, event: Value) -> &mut Pieces {
    let name = event.get("type").and_then(Value::as_str).unwrap_or_default();
    pieces.event(name, &event)
}

fn block_events(pieces: &mut Pieces, index: usize, block: &Value) {
    let text = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or_default();
    let begun = match text("type") {
        "thinking" => json!({ "type": "thinking", "thinking": "", "signature": "" }),
        "text" => json!({ "type": "text", "text": "" }),
        _ => json!({ "type": "tool_use", "id": text("id"), "name": text("name"), "input": {} }),
    };
    put(pieces, json!({ "type": "content_block_start", "index": index, "content_block": begun }));
    let input = block.get("input").map(Value::to_string).unwrap_or_default();
    let (kind, field, content) = match text("type") {
        "thinking" => ("thinking_delta", "thinking", text("thinking")),
        "text" => ("text_delta", "text", text("text")),
        _ => ("input_json_delta", "partial_json", input.as_str()),
    };
    for word in words(content) {
        let delta = json!({ "type": kind, field: word });
        put(pieces, json!({ "type": "content_block_delta", "index": index, "delta": delta })).as_step();
    }
    if kind == "thinking_delta" {
        let delta = json!({ "type": "signature_delta", "signature": text("signature") });
        put(pieces, json!({ "type": "content_block_delta", "index": index, "delta": delta }));
    }
    put(pieces, json!({ "type": "content_block_stop", "index": index }));
}

/// The event that ends a stream with an error.
pub(super) fn error_event(failure: &Failure) -> Pieces {
    let mut pieces = Pieces::default();
    pieces.event("error", &refusal::anthropic(failure));
    pieces
}
