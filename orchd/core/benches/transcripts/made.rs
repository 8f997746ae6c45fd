//! Transcripts like those that agents write: what is said is prose, what tools give back is source code, and the sizes are
//! those of long sessions. The same ones every time.

use serde_json::{Value, json};

/// What models write.
const PROSE: &str = include_str!("../../tests/planner_fixtures/seeds/1-platform-requirements.md");
/// What tools give back.
const CODE: &str = concat!(include_str!("../../src/agent/wire.rs"), include_str!("../../src/entity/run.rs"));

/// One line each of any length: a start, what is repeated, and an end.
pub(crate) const HOSTILE: [(&str, &str, &str); 9] = [
    (r#"{"type":"item.completed","item":{"id":"1","type":"agent_message","text":""#, r"\u00e9", "\"}}"),
    (r#"{"type":"item.completed","item":{"id":"1","type":"file_change","changes":[{}"#, ",{}", "]}}"),
    (r#"{"type":"assistant","message":{"content":[{}"#, ",{}", "]}}"),
    (r#"{"type":"user","message":{"content":[{"content":[{}]}"#, r#",{"content":[{},{},{},{}]}"#, "]}}"),
    (r#"{"type":"result","modelUsage":{"":{}"#, r#","":{}"#, "}}"),
    (
        r#"{"jsonrpc":"2.0","method":"session/update","params":{"update":{"sessionUpdate":"tool_call","content":[{}"#,
        ",{}",
        "]}}}",
    ),
    (r#"{"jsonrpc":"2.0","id":1,"result":{"stopReason":""#, "a", "\"}}"),
    (r#"{"method":"item/completed","params":{"item":{"type":"fileChange","changes":[{}"#, ",{}", "]}}}"),
    (r#"{"type":"item.completed","x":"#, "[", ""),
];

/// Chance without chance: xorshift.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn between(&mut self, low: usize, high: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        low + (self.0 % (high - low) as u64) as usize
    }

    /// Some whole lines of a text, about so many bytes.
    fn some(&mut self, of: &str, low: usize, high: usize) -> String {
        let length = self.between(low, high);
        let lines: Vec<&str> = of.split_inclusive('\n').collect();
        let first = self.between(0, lines.len());
        let mut text = String::new();
        for line in lines.iter().cycle().skip(first) {
            text.push_str(line);
            if text.len() >= length {
                break;
            }
        }
        text
    }
}

/// Lines until there are `bytes` of them; `step` makes those of one step of an agent.
fn lines(bytes: usize, mut step: impl FnMut(usize, &mut Dice) -> Vec<Value>) -> Vec<u8> {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut made = Vec::with_capacity(bytes + 1024 * 1024);
    for number in 0.. {
        for line in step(number, &mut dice) {
            made.extend_from_slice(line.to_string().as_bytes());
            made.push(b'\n');
        }
        if made.len() >= bytes {
            break;
        }
    }
    made
}

pub(crate) fn codex(bytes: usize) -> Vec<u8> {
    lines(bytes, |number, dice| {
        let item = |id: &str, kind: &str, rest: Value| {
            let mut item = json!({ "id": format!("item_{number}{id}"), "type": kind });
            merge(&mut item, rest);
            item
        };
        let command = format!("bash -lc 'sed -n 1,{}p src/lib.rs && cargo test'", dice.between(10, 900));
        let output = dice.some(CODE, 500, 20_000);
        let running =
            json!({ "command": command, "aggregated_output": "", "exit_code": null, "status": "in_progress" });
        let ran = json!({ "command": command, "aggregated_output": output, "exit_code": 0, "status": "completed" });
        let changed = json!({ "changes": [{ "path": "src/lib.rs", "kind": "update" }], "status": "completed" });
        vec![
            json!({ "type": "item.completed", "item": item("r", "reasoning", json!({ "text": dice.some(PROSE, 100, 600) })) }),
            json!({ "type": "item.started", "item": item("c", "command_execution", running) }),
            json!({ "type": "item.completed", "item": item("c", "command_execution", ran) }),
            json!({ "type": "item.completed", "item": item("f", "file_change", changed) }),
            json!({ "type": "item.completed", "item": item("m", "agent_message", json!({ "text": dice.some(PROSE, 100, 900) })) }),
        ]
    })
}

pub(crate) fn app_server(bytes: usize) -> Vec<u8> {
    lines(bytes, |number, dice| {
        let (thread, turn) = ("5e0a4c1d-0b59-4b4a-9d2e-3a64f3a6c001", "5e0a4c1d-0b59-4b4a-9d2e-3a64f3a6c002");
        let told = |method: &str, id: &str, kind: &str, rest: Value| {
            let mut item = json!({ "id": format!("item_{number}{id}"), "type": kind });
            merge(&mut item, rest);
            json!({ "method": method, "params": { "item": item, "threadId": thread, "turnId": turn } })
        };
        let command = format!("/bin/bash -lc 'sed -n 1,{}p src/lib.rs && cargo test'", dice.between(10, 900));
        let output = dice.some(CODE, 500, 20_000);
        let command = |status: &str, output: Value, code: Value| {
            json!({ "command": command, "cwd": "/home/run/project", "processId": null, "status": status,
                "aggregatedOutput": output, "exitCode": code })
        };
        let running = command("inProgress", Value::Null, Value::Null);
        let ran = command("completed", output.into(), 0.into());
        let diff = dice.some(CODE, 200, 2_000);
        let changed = json!({ "changes": [{ "path": "src/lib.rs", "kind": { "type": "update" }, "diff": diff }],
            "status": "completed" });
        let tokens = json!({ "totalTokens": 52_722, "inputTokens": 52_312, "cachedInputTokens": 52_000,
            "outputTokens": 410, "reasoningOutputTokens": 0 });
        let usage = json!({ "total": tokens.clone(), "last": tokens, "modelContextWindow": 272_000 });
        let said = json!({ "text": dice.some(PROSE, 100, 900) });
        vec![
            told("item/completed", "r", "reasoning", json!({ "summary": [dice.some(PROSE, 100, 600)], "content": [] })),
            told("item/started", "c", "commandExecution", running),
            told("item/completed", "c", "commandExecution", ran),
            told("item/completed", "f", "fileChange", changed),
            json!({ "method": "thread/tokenUsage/updated",
                "params": { "threadId": thread, "turnId": turn, "tokenUsage": usage } }),
            told("item/completed", "m", "agentMessage", said),
        ]
    })
}

pub(crate) fn claude(bytes: usize) -> Vec<u8> {
    lines(bytes, |number, dice| {
        let session = "5e0a4c1d-0b59-4b4a-9d2e-3a64f3a6c001";
        let usage = json!({ "input_tokens": 12, "cache_creation_input_tokens": 310, "cache_read_input_tokens": 52_000,
            "output_tokens": 410, "service_tier": "standard", "cache_creation": { "ephemeral_5m_input_tokens": 310 } });
        let assistant = |content: Value| {
            json!({ "type": "assistant", "message": { "model": "claude-sonnet-4-5", "id": format!("msg_{number}"),
                "type": "message", "role": "assistant", "content": [content], "stop_reason": null, "usage": usage.clone() },
                "parent_tool_use_id": null, "session_id": session, "uuid": session })
        };
        let id = format!("toolu_{number}");
        let output = dice.some(CODE, 500, 20_000);
        let (old, new) = (dice.some(CODE, 100, 1500), dice.some(CODE, 100, 1500));
        let (name, input) = match number % 3 {
            0 => ("Bash", json!({ "command": "cargo test 2>&1 | tail -50", "description": "Run the tests" })),
            1 => ("Read", json!({ "file_path": "/home/run/project/src/lib.rs" })),
            _ => ("Edit", json!({ "file_path": "/home/run/project/src/lib.rs", "old_string": old, "new_string": new })),
        };
        vec![
            assistant(json!({ "type": "text", "text": dice.some(PROSE, 100, 900) })),
            assistant(json!({ "type": "tool_use", "id": id, "name": name, "input": input })),
            json!({ "type": "user", "message": { "role": "user", "content": [
                { "tool_use_id": id, "type": "tool_result", "content": output, "is_error": false }] },
                "parent_tool_use_id": null, "session_id": session, "uuid": session,
                "tool_use_result": { "stdout": output, "stderr": "", "interrupted": false, "isImage": false } }),
        ]
    })
}

pub(crate) fn acp(bytes: usize) -> Vec<u8> {
    lines(bytes, |number, dice| {
        let update = |update: Value| {
            json!({ "jsonrpc": "2.0", "method": "session/update",
                "params": { "sessionId": "ses_4c1d0b594b4a9d2e", "update": update } })
        };
        let chunk = |kind: &str, text: &str| {
            update(json!({ "sessionUpdate": kind, "messageId": "msg_01", "content": { "type": "text", "text": text } }))
        };
        let said = dice.some(PROSE, 100, 900);
        let words: Vec<char> = said.chars().collect();
        let mut lines: Vec<Value> =
            words.chunks(24).map(|piece| chunk("agent_message_chunk", &piece.iter().collect::<String>())).collect();
        let id = format!("call_{number}");
        let output = dice.some(CODE, 500, 20_000);
        let input = json!({ "command": "cargo test 2>&1 | tail -50", "description": "Run the tests" });
        lines.extend([
            update(json!({ "sessionUpdate": "tool_call", "toolCallId": id, "title": "bash", "kind": "execute",
                "status": "pending", "locations": [], "rawInput": {} })),
            update(json!({ "sessionUpdate": "tool_call_update", "toolCallId": id, "title": "bash", "kind": "execute",
                "status": "in_progress", "locations": [], "rawInput": input.clone() })),
            update(json!({ "sessionUpdate": "tool_call_update", "toolCallId": id, "title": "Run the tests",
                "kind": "execute", "status": "completed", "rawInput": input,
                "content": [{ "type": "content", "content": { "type": "text", "text": output } }],
                "rawOutput": { "output": output, "metadata": { "exit": 0, "truncated": false } } })),
        ]);
        lines
    })
}

pub(crate) fn plain(bytes: usize) -> Vec<u8> {
    CODE.bytes().cycle().take(bytes).collect()
}

fn merge(item: &mut Value, rest: Value) {
    if let (Value::Object(item), Value::Object(rest)) = (item, rest) {
        item.extend(rest);
    }
}
