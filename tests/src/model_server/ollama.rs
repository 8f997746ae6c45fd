//! Ollama's own protocol (`POST /api/chat`, `POST /api/generate`), as its `docs/api.md` describes it: lines of JSON.
//!
//! Knows the form of requests and answers and nothing of what is said in them.

use serde_json::{Value, json};

use super::chat;
use super::conversation::{Conversation, Entry, History};
use super::manner::Failure;
use super::piece::{Pieces, words};
use super::protocol::{CREATED_TEXT, Protocol, as_text};
use super::refusal;
use super::reply::Reply;
use super::tool::{self, Tool};

pub(super) fn read_chat(body: &Value) -> Conversation {
    let messages = body.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let history = History::of(messages.iter().map(chat::entry));
    let tools = tool::tools([body], |tool| Tool::nested(tool).into_iter().collect());
    Conversation { tools, ..read(body, Protocol::OllamaChat, history) }
}

pub(super) fn read_generate(body: &Value) -> Conversation {
    // The context is opaque to a client, and ours says which turn it comes after.
    let turn = body.pointer("/context/0").and_then(Value::as_u64).and_then(|turn| usize::try_from(turn).ok());
    let entries = turn.map(|turn| Entry::Made { turn: Some(turn) }).into_iter();
    let history = History::of(entries.chain(body.get("prompt").map(Entry::Asked)));
    read(body, Protocol::OllamaGenerate, history)
}

fn read(body: &Value, protocol: Protocol, history: History) -> Conversation {
    Conversation {
        protocol,
        model: as_text(body, "model"),
        // Streaming is what it does when nothing is said.
        streams: body.get("stream").and_then(Value::as_bool).unwrap_or(true),
        wants_usage: true,
        tools: Vec::new(),
        history,
        tokens_max: body.pointer("/options/num_predict").and_then(Value::as_u64),
        schema: body.get("format").filter(|format| format.is_object()).cloned(),
    }
}

fn line(reply: &Reply, protocol: Protocol, text: &str, calls: &Value) -> Value {
    let mut line = json!({ "model": reply.model, "created_at": CREATED_TEXT, "done": false });
    let Some(map) = line.as_object_mut() else { return line };
    if protocol == Protocol::OllamaGenerate {
        map.insert("response".to_owned(), json!(text));
        return line;
    }
    let mut message = json!({ "role": "assistant", "content": text });
    if let (false, Some(message)) = (calls.is_null(), message.as_object_mut()) {
        message.insert("tool_calls".to_owned(), calls.clone());
    }
    map.insert("message".to_owned(), message);
    line
}

/// The line as the last one: with the reason and the counts. Times are in nanoseconds and made up.
fn last(reply: &Reply, protocol: Protocol, mut line: Value) -> Value {
    let usage = reply.usage;
    let Some(map) = line.as_object_mut() else { return line };
    let mut put = |name: &str, value: Value| map.insert(name.to_owned(), value);
    put("done", json!(true));
    put("done_reason", json!("stop"));
    put("total_duration", json!(3_000_000));
    put("load_duration", json!(1_000_000));
    put("prompt_eval_count", json!(usage.input));
    put("prompt_eval_duration", json!(1_000_000));
    put("eval_count", json!(usage.output));
    put("eval_duration", json!(1_000_000));
    if protocol == Protocol::OllamaGenerate {
        put("context", json!([reply.turn]));
    }
    line
}

fn calls(reply: &Reply) -> Value {
    let call = |call: &tool::Call| json!({ "function": { "name": call.name, "arguments": call.arguments() } });
    if reply.calls.is_empty() { Value::Null } else { reply.calls.iter().map(call).collect() }
}

pub(super) fn whole(reply: &Reply, protocol: Protocol) -> Value {
    let mut line = line(reply, protocol, reply.text.as_deref().unwrap_or_default(), &calls(reply));
    let message = line.get_mut("message").and_then(Value::as_object_mut);
    if let (Some(thought), Some(message)) = (&reply.thought, message) {
        message.insert("thinking".to_owned(), json!(thought));
    }
    last(reply, protocol, line)
}

pub(super) fn stream(reply: &Reply, protocol: Protocol) -> Pieces {
    let mut pieces = Pieces::with_filler(reply.filler);
    for word in reply.thought.iter().flat_map(|thought| words(thought)) {
        let mut line = line(reply, protocol, "", &Value::Null);
        let at = if protocol == Protocol::OllamaGenerate { Some(&mut line) } else { line.get_mut("message") };
        if let Some(map) = at.and_then(Value::as_object_mut) {
            map.insert("thinking".to_owned(), json!(word));
        }
        pieces.line(&line).as_step();
    }
    for word in reply.text.iter().flat_map(|text| words(text)) {
        pieces.line(&line(reply, protocol, word, &Value::Null)).as_step();
    }
    if !reply.calls.is_empty() {
        pieces.line(&line(reply, protocol, "", &calls(reply))).as_step();
    }
    pieces.line(&last(reply, protocol, line(reply, protocol, "", &Value::Null)));
    pieces
}

/// The line that ends a stream with an error.
pub(super) fn error_event(failure: &Failure) -> Pieces {
    let mut pieces = Pieces::default();
    pieces.line(&refusal::ollama(failure));
    pieces
}
