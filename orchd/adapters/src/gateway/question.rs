//! A question of the daemon itself to a model, in the words of each protocol, and the text of its answer.
//!
//! Asked without a stream: the answer is looked at as a whole. The form of the answer is asked for in the way that each server
//! knows; whether it was kept to is for whoever asked to see.

use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{Api, Route};

/// The tool by which Anthropic's models answer in a form.
const ANSWER_TOOL: &str = "answer";

/// Most characters of what went wrong.
const BRIEF_CHARS_MAX: usize = 500;

/// Bytes of text that are a token where there has to be enough of them, and in which steps a context grows.
const CONTEXT_BYTES_OF_TOKEN: u64 = 3;
const CONTEXT_STEP: u64 = 1_024;

/// How a server of `OpenAi` is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Responses.
    #[default]
    Responses,
    /// Chat Completions, which more servers know.
    Chat,
}

impl Protocol {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Responses => "responses",
            Self::Chat => "chat",
        }
    }

    /// The one with this word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        [Self::Responses, Self::Chat].into_iter().find(|protocol| protocol.word() == word)
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    pub model: String,
    /// In hundredths; none: what the server takes.
    pub temperature_percent: Option<u32>,
    /// How many tokens the answer may have.
    pub output_max: u64,
    pub system: String,
    /// What was said: whether the model said it, and its text. The last is not the model's.
    pub said: Vec<(bool, String)>,
    /// The form of the answer: a name, and a JSON schema.
    pub form: (&'static str, Value),
    pub protocol: Protocol,
}

impl Question {
    /// The path that it is sent to, and what it asks for there.
    pub(super) fn route(&self, api: Api) -> (&'static str, Route) {
        match (api, self.protocol) {
            (Api::OpenAi, Protocol::Responses) => ("/v1/responses", Route::Responses),
            (Api::OpenAi, Protocol::Chat) => ("/v1/chat/completions", Route::Chat),
            (Api::Anthropic, _) => ("/v1/messages", Route::Messages),
            (Api::Ollama, _) => ("/api/chat", Route::Ollama),
        }
    }

    /// How many tokens it and its answer have about, rounded up: what is longer than the context, Ollama cuts without a word.
    fn context(&self) -> u64 {
        let said: usize = self.said.iter().map(|(_, text)| text.len()).sum();
        let asked = (self.system.len() + said) as u64 / CONTEXT_BYTES_OF_TOKEN;
        asked.saturating_add(self.output_max).next_multiple_of(CONTEXT_STEP)
    }

    /// Its body.
    pub(super) fn body(&self, route: Route) -> Vec<u8> {
        let messages = |system: bool| -> Vec<Value> {
            let role = |by_model: bool| if by_model { "assistant" } else { "user" };
            let said = self.said.iter().map(|(by_model, text)| json!({"role": role(*by_model), "content": text}));
            let first = system.then(|| json!({"role": "system", "content": self.system}));
            first.into_iter().chain(said).collect()
        };
        let (name, schema) = &self.form;
        let mut body = match route {
            Route::Responses => json!({
                "model": self.model, "store": false, "instructions": self.system, "input": messages(false),
                "max_output_tokens": self.output_max,
                "text": {"format": {"type": "json_schema", "name": name, "schema": schema, "strict": true}},
            }),
            Route::Chat => json!({
                "model": self.model, "messages": messages(true), "max_tokens": self.output_max,
                "response_format": {
                    "type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": true},
                },
            }),
            Route::Messages => json!({
                "model": self.model, "system": self.system, "messages": messages(false), "max_tokens": self.output_max,
                "tools": [{"name": ANSWER_TOOL, "description": format!("Takes the {name}."), "input_schema": schema}],
                "tool_choice": {"type": "tool", "name": ANSWER_TOOL},
            }),
            Route::Ollama | Route::Free => json!({
                "model": self.model, "messages": messages(true), "stream": false, "format": schema,
                "options": {"num_predict": self.output_max, "num_ctx": self.context()},
            }),
        };
        if let Some(percent) = self.temperature_percent {
            let temperature = Value::from(f64::from(percent) / 100.0);
            match (route, body.get_mut("options")) {
                (Route::Ollama, Some(options)) => options["temperature"] = temperature,
                _ => body["temperature"] = temperature,
            }
        }
        body.to_string().into_bytes()
    }
}

/// The text of an answer to a question, as its server gave it.
///
/// # Errors
/// When there is none, in words.
pub fn text_of(api: Api, protocol: Protocol, body: &[u8]) -> Result<String, String> {
    // What it quotes is the server's, and may be long.
    let read = |error: serde_json::Error| brief(&format!("the server's answer is not of the known form: {error}"));
    let parts: Vec<String> = match (api, protocol) {
        (Api::OpenAi, Protocol::Responses) => {
            let answer: Responses = serde_json::from_slice(body).map_err(read)?;
            let content = answer.output.into_iter().filter(|item| item.kind == "message").flat_map(|item| item.content);
            content.filter_map(|part| part.text).collect()
        }
        (Api::OpenAi, Protocol::Chat) => {
            let answer: Chat = serde_json::from_slice(body).map_err(read)?;
            answer.choices.into_iter().take(1).filter_map(|choice| choice.message.content).collect()
        }
        (Api::Anthropic, _) => {
            let answer: Messages = serde_json::from_slice(body).map_err(read)?;
            let of_tool = answer.content.iter().find(|block| block.kind == "tool_use");
            match of_tool.and_then(|block| block.input.as_ref()) {
                Some(input) => vec![input.get().to_owned()],
                None => answer.content.into_iter().filter_map(|block| block.text).collect(),
            }
        }
        (Api::Ollama, _) => {
            let answer: Ollama = serde_json::from_slice(body).map_err(read)?;
            answer.message.and_then(|message| message.content).into_iter().collect()
        }
    };
    Ok(parts.concat())
}

/// The first of a text of somebody else, in a line.
pub(super) fn brief(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(BRIEF_CHARS_MAX).collect()
}

#[derive(Deserialize)]
struct Responses {
    #[serde(default)]
    output: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    content: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    text: Option<String>,
}

#[derive(Deserialize)]
struct Chat {
    #[serde(default)]
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
}

#[derive(Deserialize)]
struct Messages {
    #[serde(default)]
    content: Vec<Block>,
}

#[derive(Deserialize)]
struct Block {
    #[serde(rename = "type", default)]
    kind: String,
    text: Option<String>,
    input: Option<Box<serde_json::value::RawValue>>,
}

#[derive(Deserialize)]
struct Ollama {
    message: Option<Message>,
}

#[cfg(test)]
mod tests {
    use super::super::request;
    use super::*;

    fn question(protocol: Protocol) -> Question {
        Question {
            model: "m".into(),
            temperature_percent: Some(30),
            output_max: 1_000,
            system: "Write requirements.".into(),
            said: vec![(false, "a vision".into()), (true, "prose".into()), (false, "again".into())],
            form: ("requirements", json!({"type": "object", "properties": {"input": {"type": "string"}}})),
            protocol,
        }
    }

    /// What the daemon asks by itself is held to what runs may ask for.
    #[test]
    fn a_question_passes_what_requests_of_runs_pass() {
        for (api, protocol) in [
            (Api::OpenAi, Protocol::Responses),
            (Api::OpenAi, Protocol::Chat),
            (Api::Anthropic, Protocol::Chat),
            (Api::Ollama, Protocol::Responses),
        ] {
            let question = question(protocol);
            let (path, route) = question.route(api);
            assert_eq!(api.route(&hyper::Method::POST, path), Some(route));
            let body = question.body(route);
            let said = request::look(route, path, &body, false).unwrap();
            assert_eq!(said.model.as_deref(), Some("m"), "{path}");
            let json: Value = serde_json::from_slice(&body).unwrap();
            let temperature = json.pointer("/temperature").or_else(|| json.pointer("/options/temperature"));
            assert_eq!(temperature, Some(&json!(0.3)), "{path}");
            let context = json.pointer("/options/num_ctx");
            assert_eq!(context, (route == Route::Ollama).then(|| json!(1_024)).as_ref(), "{path}");
        }
    }

    #[test]
    fn the_text_is_found_where_each_server_has_it() {
        let text = |api, protocol, body: Value| text_of(api, protocol, body.to_string().as_bytes());
        let responses = json!({"output": [{"type": "reasoning", "summary": []}, {"type": "message", "content": [
            {"type": "output_text", "text": "{\"a\""}, {"type": "output_text", "text": ":1}"}]}]});
        assert_eq!(text(Api::OpenAi, Protocol::Responses, responses).unwrap(), "{\"a\":1}");
        let chat = json!({"choices": [{"message": {"content": "{}"}}, {"message": {"content": "other"}}]});
        assert_eq!(text(Api::OpenAi, Protocol::Chat, chat).unwrap(), "{}");
        let tool = json!({"content": [{"type": "text", "text": "so"}, {"type": "tool_use", "input": {"a": 1}}]});
        assert_eq!(text(Api::Anthropic, Protocol::Chat, tool).unwrap(), "{\"a\":1}");
        let prose = json!({"content": [{"type": "text", "text": "prose"}]});
        assert_eq!(text(Api::Anthropic, Protocol::Chat, prose).unwrap(), "prose");
        assert_eq!(text(Api::Ollama, Protocol::Chat, json!({"message": {"content": "x"}})).unwrap(), "x");
        assert_eq!(text(Api::OpenAi, Protocol::Chat, json!({"choices": []})).unwrap(), "");
        assert!(text_of(Api::Ollama, Protocol::Chat, b"<html>").is_err());
    }
}
