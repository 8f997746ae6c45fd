//! OpenAI Responses (`POST /v1/responses`), as its API reference describes it and codex reads it.
//!
//! Knows the form of requests and answers and nothing of what is said in them.

use std::iter;

use serde_json::{Value, json};

use super::conversation::{Conversation, Entry, History};
use super::manner::Failure;
use super::piece::{Pieces, words};
use super::protocol::{CREATED, Protocol, as_bool, as_text};
use super::refusal;
use super::reply::Reply;
use super::script::Usage;
use super::tool::{self, Call, Input, Kind, Tool};

/// Items that a model makes, beside its messages.
const MADE: [&str; 7] = [
    "reasoning",
    "function_call",
    "custom_tool_call",
    "local_shell_call",
    "web_search_call",
    "tool_search_call",
    "image_generation_call",
];

pub(super) fn read(body: &Value) -> Conversation {
    let input = body.get("input").unwrap_or(&Value::Null);
    // A stored conversation goes on from an answer of this server, whose id names its turn.
    let stored = body.get("previous_response_id").and_then(Value::as_str).and_then(tool::mark);
    let stored = stored.map(|turn| Entry::Made { turn: Some(turn) });
    let items = input.as_array().map(Vec::as_slice).unwrap_or_default();
    let text = input.is_string().then_some(Entry::Asked(input));
    Conversation {
        protocol: Protocol::Responses,
        model: as_text(body, "model"),
        streams: as_bool(body, "stream"),
        wants_usage: true,
        tools: tool::tools(iter::once(body).chain(items.iter().filter(|item| adds_tools(item))), tools),
        history: History::of(stored.into_iter().chain(text).chain(items.iter().map(entry))),
        tokens_max: body.get("max_output_tokens").and_then(Value::as_u64),
        schema: body.pointer("/text/format/schema").cloned(),
    }
}

fn entry(item: &Value) -> Entry<'_> {
    let text = |name: &str| item.get(name).and_then(Value::as_str);
    let role = text("role");
    match text("type") {
        Some(kind) if MADE.contains(&kind) => {
            Entry::Made { turn: text("call_id").or_else(|| text("id")).and_then(tool::mark) }
        }
        Some("message") | None if role == Some("assistant") => Entry::Made { turn: text("id").and_then(tool::mark) },
        Some("message") | None if role == Some("user") => item.get("content").map_or(Entry::Other, Entry::Asked),
        _ => Entry::Other,
    }
}

/// Whether an item offers tools: codex puts them there for models that only write programs.
fn adds_tools(item: &Value) -> bool {
    item.get("type").and_then(Value::as_str) == Some("additional_tools")
}

/// The tools in an entry of `tools`; a namespace is a list of further ones.
fn tools(entry: &Value) -> Vec<Tool> {
    let namespace = entry.get("name").and_then(Value::as_str).map(str::to_owned);
    if entry.get("type").and_then(Value::as_str) != Some("namespace") {
        return single(entry).into_iter().collect();
    }
    let inner = entry.get("tools").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    inner.iter().filter_map(single).map(|tool| Tool { namespace: namespace.clone(), ..tool }).collect()
}

fn single(tool: &Value) -> Option<Tool> {
    let unnamed = |name: &str, kind| Tool { name: name.to_owned(), namespace: None, kind, arguments: Vec::new() };
    match tool.get("type")?.as_str()? {
        "function" => Tool::function(tool.get("name")?, tool.get("parameters").unwrap_or(&Value::Null)),
        "custom" => Some(unnamed(tool.get("name")?.as_str()?, Kind::Custom)),
        "local_shell" => Some(unnamed("local_shell", Kind::LocalShell)),
        _ => None,
    }
}

pub(super) fn whole(reply: &Reply) -> Value {
    answer(reply, "completed", &json!(items(reply)))
}

fn id(reply: &Reply) -> String {
    format!("resp_t{}_0", reply.turn)
}

fn answer(reply: &Reply, status: &str, output: &Value) -> Value {
    json!({
        "id": id(reply), "object": "response", "created_at": CREATED, "status": status, "model": reply.model,
        "output": output, "parallel_tool_calls": true, "error": null, "incomplete_details": null,
        "usage": if status == "completed" { usage(reply.usage) } else { Value::Null },
    })
}

fn usage(usage: Usage) -> Value {
    let Usage { input, cached, output, reasoning, .. } = usage;
    json!({
        "input_tokens": input, "input_tokens_details": { "cached_tokens": cached },
        "output_tokens": output, "output_tokens_details": { "reasoning_tokens": reasoning },
        "total_tokens": input.saturating_add(output),
    })
}

fn items(reply: &Reply) -> Vec<Value> {
    let turn = reply.turn;
    let thought = reply.thought.as_ref().map(|thought| {
        let summary = json!([{ "type": "summary_text", "text": thought }]);
        json!({ "type": "reasoning", "id": format!("rs_t{turn}_0"), "summary": summary, "encrypted_content": null })
    });
    let message = reply.text.as_ref().map(|text| {
        let content = json!([part(text)]);
        json!({
            "type": "message", "id": message_id(reply), "status": "completed", "role": "assistant", "content": content,
        })
    });
    thought.into_iter().chain(message).chain(reply.calls.iter().map(call_item)).collect()
}

fn message_id(reply: &Reply) -> String {
    format!("msg_t{}_0", reply.turn)
}

fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [] })
}

fn call_item(call: &Call) -> Value {
    let call_id = call.id("call");
    let mut item = match &call.input {
        Input::Function(arguments) => json!({
            "type": "function_call", "id": call.id("fc"), "status": "completed", "call_id": call_id,
            "name": call.name, "arguments": arguments.to_string(),
        }),
        Input::Custom(text) => json!({
            "type": "custom_tool_call", "id": call.id("ctc"), "status": "completed", "call_id": call_id,
            "name": call.name, "input": text,
        }),
        Input::LocalShell(command) => json!({
            "type": "local_shell_call", "id": call.id("lsh"), "status": "completed", "call_id": call_id,
            "action": { "type": "exec", "command": command, "env": {} },
        }),
    };
    if let (Some(namespace), Some(map)) = (&call.namespace, item.as_object_mut()) {
        map.insert("namespace".to_owned(), json!(namespace));
    }
    item
}

/// Writes events with their running number.
#[derive(Debug)]
struct Events {
    pieces: Pieces,
    number: u64,
}

impl Events {
    fn put(&mut self, kind: &str, mut fields: Value) -> &mut Pieces {
        if let Some(map) = fields.as_object_mut() {
            map.insert("type".to_owned(), json!(kind));
            map.insert("sequence_number".to_owned(), json!(self.number));
        }
        self.number = self.number.saturating_add(1);
        self.pieces.event(kind, &fields)
    }
}

pub(super) fn stream(reply: &Reply) -> Pieces {
    let mut events = Events { pieces: Pieces::with_filler(reply.filler), number: 0 };
    let begun = answer(reply, "in_progress", &json!([]));
    events.put("response.created", json!({ "response": begun }));
    events.put("response.in_progress", json!({ "response": begun }));
    let items = items(reply);
    for (index, item) in items.iter().enumerate() {
        match item.get("type").and_then(Value::as_str) {
            Some("reasoning") => thought_events(&mut events, index, item, reply.thought.as_deref().unwrap_or_default()),
            Some("message") => text_events(&mut events, index, item, reply.text.as_deref().unwrap_or_default()),
            Some("function_call") => input_events(&mut events, index, item, "arguments", "function_call_arguments"),
            Some("custom_tool_call") => input_events(&mut events, index, item, "input", "custom_tool_call_input"),
            _ => {
                events.put("response.output_item.added", json!({ "output_index": index, "item": item }));
            }
        }
        events.put("response.output_item.done", json!({ "output_index": index, "item": item }));
    }
    events.put("response.completed", json!({ "response": answer(reply, "completed", &json!(items)) }));
    events.pieces
}

/// The item as it begins: the same without its content.
fn begin(events: &mut Events, index: usize, item: &Value, field: &str, empty: Value) {
    let mut item = item.clone();
    if let Some(map) = item.as_object_mut() {
        map.insert(field.to_owned(), empty);
        if map.contains_key("status") {
            map.insert("status".to_owned(), json!("in_progress"));
        }
    }
    events.put("response.output_item.added", json!({ "output_index": index, "item": item }));
}

fn thought_events(events: &mut Events, index: usize, item: &Value, thought: &str) {
    begin(events, index, item, "summary", json!([]));
    let at = |mut fields: Value| {
        if let Some(map) = fields.as_object_mut() {
            map.insert("item_id".to_owned(), item.get("id").cloned().unwrap_or_default());
            map.insert("output_index".to_owned(), json!(index));
            map.insert("summary_index".to_owned(), json!(0));
        }
        fields
    };
    let part = |text: &str| json!({ "type": "summary_text", "text": text });
    events.put("response.reasoning_summary_part.added", at(json!({ "part": part("") })));
    for word in words(thought) {
        events.put("response.reasoning_summary_text.delta", at(json!({ "delta": word }))).as_step();
    }
    events.put("response.reasoning_summary_text.done", at(json!({ "text": thought })));
    events.put("response.reasoning_summary_part.done", at(json!({ "part": part(thought) })));
}

fn text_events(events: &mut Events, index: usize, item: &Value, text: &str) {
    begin(events, index, item, "content", json!([]));
    let at = |mut fields: Value| {
        if let Some(map) = fields.as_object_mut() {
            map.insert("item_id".to_owned(), item.get("id").cloned().unwrap_or_default());
            map.insert("output_index".to_owned(), json!(index));
            map.insert("content_index".to_owned(), json!(0));
        }
        fields
    };
    events.put("response.content_part.added", at(json!({ "part": part("") })));
    for word in words(text) {
        events.put("response.output_text.delta", at(json!({ "delta": word }))).as_step();
    }
    events.put("response.output_text.done", at(json!({ "text": text })));
    events.put("response.content_part.done", at(json!({ "part": part(text) })));
}

fn input_events(events: &mut Events, index: usize, item: &Value, field: &str, kind: &str) {
    begin(events, index, item, field, json!(""));
    let id = item.get("id").cloned().unwrap_or_default();
    let input = item.get(field).and_then(Value::as_str).unwrap_or_default();
    for word in words(input) {
        let fields = json!({ "item_id": id, "output_index": index, "delta": word });
        events.put(&format!("response.{kind}.delta"), fields).as_step();
    }
    let done = json!({ "item_id": id, "output_index": index, field: input });
    events.put(&format!("response.{kind}.done"), done);
}

/// The event that ends a stream with an error.
pub(super) fn error_event(reply: &Reply, failure: &Failure) -> Pieces {
    let mut events = Events { pieces: Pieces::default(), number: 2 };
    let mut response = answer(reply, "failed", &json!([]));
    if let Some(map) = response.as_object_mut() {
        let said = refusal::said(failure);
        map.insert("error".to_owned(), json!({ "code": refusal::openai_code(failure), "message": said }));
    }
    events.put("response.failed", json!({ "response": response }));
    events.pieces
}
