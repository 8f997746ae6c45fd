//! An agent of a few lines for each protocol: it asks, keeps what the model said, and has done what that wants.

use orch_tests::model_server::ModelServer;
use serde_json::{Value, json};

use crate::client::{self, Answer};

/// The protocols that have a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Responses,
    Chat,
    Messages,
    Ollama,
}

pub(crate) const WIRES: [Wire; 4] = [Wire::Responses, Wire::Chat, Wire::Messages, Wire::Ollama];

/// What the model said in one reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) commands: Vec<String>,
    pub(crate) input: u64,
    pub(crate) output: u64,
}

#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) wire: Wire,
    pub(crate) streams: bool,
    history: Vec<Value>,
}

impl Agent {
    pub(crate) fn new(wire: Wire, streams: bool, prompt: &str) -> Self {
        let mut agent = Self { wire, streams, history: Vec::new() };
        agent.is_told(prompt);
        agent
    }

    /// A user says something further.
    pub(crate) fn is_told(&mut self, prompt: &str) {
        self.history.push(json!({ "role": "user", "content": prompt }));
    }

    pub(crate) fn path(&self) -> &'static str {
        match self.wire {
            Wire::Responses => "/v1/responses",
            Wire::Chat => "/v1/chat/completions",
            Wire::Messages => "/v1/messages",
            Wire::Ollama => "/api/chat",
        }
    }

    pub(crate) fn request(&self) -> Value {
        let schema = json!({ "type": "object", "properties": { "command": {} } });
        let function = json!({ "name": "bash", "parameters": schema });
        let tool = match self.wire {
            Wire::Responses => json!({ "type": "function", "name": "bash", "parameters": schema }),
            Wire::Messages => json!({ "name": "bash", "input_schema": schema }),
            Wire::Chat | Wire::Ollama => json!({ "type": "function", "function": function }),
        };
        let history = if self.wire == Wire::Responses { "input" } else { "messages" };
        json!({ "model": "any", "stream": self.streams, "max_tokens": 1000, "tools": [tool], history: self.history,
            "stream_options": { "include_usage": true } })
    }

    pub(crate) async fn asks(&self, server: &ModelServer) -> Answer {
        client::post(server, self.path(), &self.request()).await
    }

    /// Asks, and does what is said.
    pub(crate) async fn goes_on(&mut self, server: &ModelServer) -> Said {
        let answer = self.asks(server).await;
        assert_eq!((answer.status, answer.is_whole), (200, true), "{}", String::from_utf8_lossy(&answer.body));
        self.takes(&answer)
    }

    pub(crate) fn takes(&mut self, answer: &Answer) -> Said {
        match (self.wire, self.streams) {
            (Wire::Responses, true) => {
                let events = answer.events();
                assert!(events.iter().enumerate().all(|(at, event)| event["sequence_number"] == at));
                self.takes_response(&events.last().unwrap()["response"])
            }
            (Wire::Responses, false) => self.takes_response(&answer.json()),
            (Wire::Messages, true) => self.takes_message(&message(&answer.events())),
            (Wire::Messages, false) => self.takes_message(&answer.json()),
            (Wire::Chat, true) => self.takes_completion(&completion(&answer.events())),
            (Wire::Chat, false) => self.takes_completion(&answer.json()),
            (Wire::Ollama, true) => self.takes_lines(&answer.events()),
            (Wire::Ollama, false) => self.takes_lines(&[answer.json()]),
        }
    }

    fn takes_response(&mut self, response: &Value) -> Said {
        let usage = &response["usage"];
        let mut said =
            Said { input: number(&usage["input_tokens"]), output: number(&usage["output_tokens"]), ..Said::default() };
        assert_eq!(number(&usage["total_tokens"]), said.input + said.output);
        for item in response["output"].as_array().unwrap() {
            self.history.push(item.clone());
            if item["type"] == "message" {
                said.text.push_str(text(&item["content"][0]["text"]));
            }
            if item["type"] == "function_call" {
                said.commands.push(command(text(&item["arguments"])));
                let id = &item["call_id"];
                self.history.push(json!({ "type": "function_call_output", "call_id": id, "output": "ok" }));
            }
        }
        said
    }

    fn takes_message(&mut self, message: &Value) -> Said {
        let usage = &message["usage"];
        let mut said =
            Said { input: number(&usage["input_tokens"]), output: number(&usage["output_tokens"]), ..Said::default() };
        let mut results = Vec::new();
        for block in message["content"].as_array().unwrap() {
            if block["type"] == "text" {
                said.text.push_str(text(&block["text"]));
            }
            if block["type"] == "tool_use" {
                said.commands.push(text(&block["input"]["command"]).to_owned());
                results.push(json!({ "type": "tool_result", "tool_use_id": block["id"], "content": "ok" }));
            }
        }
        assert_eq!(message["stop_reason"], if results.is_empty() { "end_turn" } else { "tool_use" });
        self.history.push(json!({ "role": "assistant", "content": message["content"] }));
        if !results.is_empty() {
            self.history.push(json!({ "role": "user", "content": results }));
        }
        said
    }

    fn takes_completion(&mut self, completion: &Value) -> Said {
        let (usage, choice) = (&completion["usage"], &completion["choices"][0]);
        let message = &choice["message"];
        let mut said = Said {
            text: message["content"].as_str().unwrap_or_default().to_owned(),
            input: number(&usage["prompt_tokens"]),
            output: number(&usage["completion_tokens"]),
            ..Said::default()
        };
        self.history.push(message.clone());
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            said.commands.push(command(text(&call["function"]["arguments"])));
            self.history.push(json!({ "role": "tool", "tool_call_id": call["id"], "content": "ok" }));
        }
        assert_eq!(choice["finish_reason"], if said.commands.is_empty() { "stop" } else { "tool_calls" });
        said
    }

    fn takes_lines(&mut self, lines: &[Value]) -> Said {
        let last = lines.last().unwrap();
        assert_eq!(last["done"], true);
        let mut said =
            Said { input: number(&last["prompt_eval_count"]), output: number(&last["eval_count"]), ..Said::default() };
        let mut calls = Vec::new();
        for line in lines {
            said.text.push_str(text(&line["message"]["content"]));
            calls.extend(line["message"]["tool_calls"].as_array().into_iter().flatten().cloned());
        }
        said.commands = calls.iter().map(|call| text(&call["function"]["arguments"]["command"]).to_owned()).collect();
        self.history.push(json!({ "role": "assistant", "content": said.text, "tool_calls": calls }));
        for _ in &calls {
            self.history.push(json!({ "role": "tool", "content": "ok" }));
        }
        said
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

fn command(arguments: &str) -> String {
    let arguments: Value = serde_json::from_str(arguments).unwrap();
    text(&arguments["command"]).to_owned()
}

/// The message that Anthropic's events tell.
fn message(events: &[Value]) -> Value {
    let mut message = Value::Null;
    let mut input = String::new();
    for event in events {
        let delta = &event["delta"];
        match text(&event["type"]) {
            "message_start" => message = event["message"].clone(),
            "content_block_start" => {
                input.clear();
                message["content"].as_array_mut().unwrap().push(event["content_block"].clone());
            }
            "content_block_delta" => {
                let block = &mut message["content"][usize::try_from(number(&event["index"])).unwrap()];
                match text(&delta["type"]) {
                    "text_delta" => block["text"] = (text(&block["text"]).to_owned() + text(&delta["text"])).into(),
                    "input_json_delta" => {
                        input.push_str(text(&delta["partial_json"]));
                        block["input"] = serde_json::from_str(&input).unwrap_or_default();
                    }
                    "thinking_delta" | "signature_delta" => {}
                    other => panic!("{other}"),
                }
            }
            "message_delta" => {
                message["stop_reason"] = delta["stop_reason"].clone();
                message["usage"] = event["usage"].clone();
            }
            "ping" | "content_block_stop" | "message_stop" => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(events.last().unwrap()["type"], "message_stop");
    message
}

/// The completion that OpenAI's chunks tell.
fn completion(chunks: &[Value]) -> Value {
    let (mut content, mut calls, mut finish) = (String::new(), Vec::<Value>::new(), Value::Null);
    for choice in chunks.iter().flat_map(|chunk| chunk["choices"].as_array().unwrap()) {
        let delta = &choice["delta"];
        content.push_str(delta["content"].as_str().unwrap_or_default());
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = usize::try_from(number(&call["index"])).unwrap();
            if index == calls.len() {
                calls.push(call.clone());
            } else {
                let arguments = &mut calls[index]["function"]["arguments"];
                *arguments = (text(arguments).to_owned() + text(&call["function"]["arguments"])).into();
            }
        }
        if !choice["finish_reason"].is_null() {
            finish = choice["finish_reason"].clone();
        }
    }
    let message = json!({ "role": "assistant", "content": content, "tool_calls": calls });
    let usage = &chunks.last().unwrap()["usage"];
    json!({ "choices": [{ "message": message, "finish_reason": finish }], "usage": usage })
}
