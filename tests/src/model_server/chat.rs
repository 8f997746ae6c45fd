//! OpenAI Chat Completions (`POST /v1/chat/completions`), as its API reference describes it.
//!
//! Knows the form of requests and answers and nothing of what is said in them.

use serde_json::{Value, json};

use super::conversation::{Conversation, Entry, History};
use super::manner::Failure;
use super::piece::{Pieces, words};
use super::protocol::{CREATED, Protocol, as_bool, as_text};
use super::refusal;
use super::reply::Reply;
use super::script::Usage;
use super::tool::{self, Call, Tool};

pub(super) fn read(body: &Value) -> Conversation {
    let messages = body.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let number = |name: &str| body.get(name).and_then(Value::as_u64);
    Conversation {
        protocol: Protocol::Chat,
        model: as_text(body, "model"),
        streams: as_bool(body, "stream"),
        wants_usage: body.pointer("/stream_options/include_usage").and_then(Value::as_bool).unwrap_or(false),
        tools: tool::tools([body], |tool| Tool::nested(tool).into_iter().collect()),
        history: History::of(messages.iter().map(entry)),
        tokens_max: number("max_completion_tokens").or_else(|| number("max_tokens")),
        schema: body.pointer("/response_format/json_schema/schema").cloned(),
    }
}

/// A message, here and in Ollama's chat, which has the same form as far as that matters.
pub(super) fn entry(message: &Value) -> Entry<'_> {
    match message.get("role").and_then(Value::as_str) {
        Some("assistant") => {
            let calls = message.get("tool_calls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let turns = calls.iter().filter_map(|call| tool::mark(call.get("id")?.as_str()?));
            Entry::Made { turn: turns.max() }
        }
        Some("user") => message.get("content").map_or(Entry::Other, Entry::Asked),
        _ => Entry::Other,
    }
}

pub(super) fn whole(reply: &Reply) -> Value {
    let mut message = json!({ "role": "assistant", "content": reply.text, "refusal": null });
    if let Some(map) = message.as_object_mut() {
        if let Some(thought) = &reply.thought {
            map.insert("reasoning_content".to_owned(), json!(thought));
        }
        if !reply.calls.is_empty() {
            map.insert("tool_calls".to_owned(), reply.calls.iter().map(call).collect());
        }
    }
    json!({
        "id": id(reply), "object": "chat.completion", "created": CREATED, "model": reply.model,
        "choices": [{ "index": 0, "message": message, "finish_reason": finish(reply), "logprobs": null }],
        "usage": usage(reply.usage),
    })
}

fn id(reply: &Reply) -> String {
    format!("chatcmpl_t{}_0", reply.turn)
}

fn finish(reply: &Reply) -> &'static str {
    if reply.calls.is_empty() { "stop" } else { "tool_calls" }
}

fn call(call: &Call) -> Value {
    let function = json!({ "name": call.name, "arguments": call.arguments().to_string() });
    json!({ "id": call.id("call"), "type": "function", "function": function })
}

fn usage(usage: Usage) -> Value {
    let Usage { input, cached, output, reasoning, .. } = usage;
    json!({
        "prompt_tokens": input, "completion_tokens": output, "total_tokens": input.saturating_add(output),
        "prompt_tokens_details": { "cached_tokens": cached },
        "completion_tokens_details": { "reasoning_tokens": reasoning },
    })
}

pub(super) fn stream(reply: &Reply) -> Pieces {
    let mut pieces = Pieces::with_filler(reply.filler);
    let chunk = |choices: Value, usage: Value| {
        let mut chunk = json!({
            "id": id(reply), "object": "chat.completion.chunk", "created": CREATED, "model": reply.model,
            "choices": choices,
        });
        // The member is there in every chunk if it was asked for, and has a value in the last one only.
        if let Some(map) = chunk.as_object_mut().filter(|_| reply.wants_usage) {
            map.insert("usage".to_owned(), usage);
        }
        chunk
    };
    let delta = |delta: Value| chunk(json!([{ "index": 0, "delta": delta, "finish_reason": null }]), Value::Null);
    pieces.data(&delta(json!({ "role": "assistant", "content": "" })));
    for word in reply.thought.iter().flat_map(|thought| words(thought)) {
        pieces.data(&delta(json!({ "reasoning_content": word }))).as_step();
    }
    for word in reply.text.iter().flat_map(|text| words(text)) {
        pieces.data(&delta(json!({ "content": word }))).as_step();
    }
    for (index, call) in reply.calls.iter().enumerate() {
        let function = json!({ "name": call.name, "arguments": "" });
        let begun = json!({ "index": index, "id": call.id("call"), "type": "function", "function": function });
        pieces.data(&delta(json!({ "tool_calls": [begun] })));
        for word in words(&call.arguments().to_string()) {
            let more = json!({ "index": index, "function": { "arguments": word } });
            pieces.data(&delta(json!({ "tool_calls": [more] }))).as_step();
        }
    }
    let end = json!([{ "index": 0, "delta": {}, "finish_reason": finish(reply) }]);
    pieces.data(&chunk(end, Value::Null));
    if reply.wants_usage {
        pieces.data(&chunk(json!([]), usage(reply.usage)));
    }
    pieces.push("data: [DONE]\n\n");
    pieces
}

/// The event that ends a stream with an error.
pub(super) fn error_event(failure: &Failure) -> Pieces {
    let mut pieces = Pieces::default();
    pieces.data(&refusal::openai(failure));
    pieces
}
