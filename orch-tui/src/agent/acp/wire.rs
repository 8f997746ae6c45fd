//! The messages of the protocol, as far as a client of version 1 needs them: JSON-RPC 2.0, one message a line.
//!
//! What the agent sends is read leniently: what is missing or of another form is none, and everything else in a message may
//! be anything.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::permissions::{Asked, Choice, Verdict};

/// The version of the protocol that is spoken.
pub(super) const VERSION: u64 = 1;

/// Ids of our requests. `orch-core` reads the log by that of the prompt: a refused one is the end of a turn.
pub(super) const INITIALIZE: &str = "initialize";
pub(super) const SESSION: &str = "new";
pub(super) const PROMPT: &str = "prompt-0";

/// Codes of errors: that of the protocol which asks for a login, and those of JSON-RPC that we answer.
pub(super) const AUTH_REQUIRED: i64 = -32000;
pub(super) const NO_SUCH_METHOD: i64 = -32601;
pub(super) const INVALID_PARAMS: i64 = -32602;

/// Most answers that are read of a request for leave.
const CHOICES_MAX: usize = 64;
/// Most bytes of the agent's words that are repeated in ours.
const WORDS_BYTES_MAX: usize = 600;

/// A message of the agent: a request has `id` and `method`, a notification `method`, an answer `id`.
#[derive(Debug, Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow, default)]
    pub(super) id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
}

/// What an agent answers a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Result(Box<str>),
    Error { code: Option<i64>, message: String },
}

impl<'a> Message<'a> {
    /// Reads a line; none when it is no message.
    pub(super) fn read(line: &'a str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }

    /// The answer to our request with this id, when it is that.
    pub(super) fn answer_to(&self, id: &str) -> Option<Answer> {
        let is_it = self.method.is_none() && text(self.id?).is_some_and(|found| found == id);
        if !is_it {
            return None;
        }
        Some(match self.error {
            Some(error) => fault(error),
            None => Answer::Result(self.result.map_or("null", RawValue::get).into()),
        })
    }
}

fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

fn fault(error: &RawValue) -> Answer {
    let error: Value = serde_json::from_str(error.get()).unwrap_or_default();
    let said = error.get("message").and_then(Value::as_str).unwrap_or("it says no more");
    // What went wrong often stands there only.
    let detail = error.get("data").filter(|data| !data.is_null()).map(|data| match data {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    let message = [Some(said.to_owned()), detail].into_iter().flatten().collect::<Vec<_>>().join(": ");
    Answer::Error { code: error.get("code").and_then(Value::as_i64), message: start(&message) }
}

/// The start of a text of the agent.
pub(super) fn start(text: &str) -> String {
    let end = (0..=WORDS_BYTES_MAX.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    text[..end].to_owned()
}

/// What the agent says of itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Initialized {
    pub(super) protocol_version: Value,
}

/// Its session.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Begun {
    pub(super) session_id: Option<String>,
}

/// How its turn ended.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Done {
    pub(super) stop_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AskedParams<'a> {
    #[serde(borrow)]
    tool_call: Option<&'a RawValue>,
    #[serde(borrow)]
    options: Option<Vec<&'a RawValue>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Offered {
    option_id: String,
    #[serde(default)]
    kind: Value,
}

/// Reads what leave is asked for; none when that cannot be read.
pub(super) fn asked(params: Option<&RawValue>) -> Option<Asked> {
    let params: AskedParams<'_> = serde_json::from_str(params?.get()).ok()?;
    let call: Value = params.tool_call.and_then(|call| serde_json::from_str(call.get()).ok()).unwrap_or_default();
    let name = |key: &str| call.get(key).and_then(Value::as_str).map(start);
    let title = name("title").or_else(|| name("toolCallId")).unwrap_or_default();
    let offered = params.options.into_iter().flatten().take(CHOICES_MAX);
    let offered = offered.filter_map(|option| serde_json::from_str(option.get()).ok());
    let options = offered.map(|Offered { option_id, kind }| Choice {
        id: option_id,
        verdict: match kind.as_str() {
            Some("allow_once") => Verdict::AllowOnce,
            Some("allow_always") => Verdict::AllowAlways,
            _ => Verdict::Other,
        },
    });
    Some(Asked { title, options: options.collect() })
}

/// A request of ours, as a line.
pub(super) fn request(id: &str, method: &str, params: &Value) -> Vec<u8> {
    line(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
}

/// A notification of ours.
pub(super) fn notification(method: &str, params: &Value) -> Vec<u8> {
    line(&json!({ "jsonrpc": "2.0", "method": method, "params": params }))
}

/// Our answer to a request of the agent, whose id is given as it was.
pub(super) fn result(id: &RawValue, result: &Value) -> Vec<u8> {
    // As text: not every id that is JSON has a value here.
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}\n").into_bytes()
}

/// An error in place of one.
pub(super) fn error(id: &RawValue, code: i64, message: &str) -> Vec<u8> {
    let error = json!({ "code": code, "message": message });
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}\n").into_bytes()
}

/// What was decided about a request for leave.
pub(super) fn outcome(chosen: Option<&str>) -> Value {
    match chosen {
        Some(id) => json!({ "outcome": { "outcome": "selected", "optionId": id } }),
        None => json!({ "outcome": { "outcome": "cancelled" } }),
    }
}

fn line(message: &Value) -> Vec<u8> {
    format!("{message}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(line: &str) -> Option<Answer> {
        Message::read(line)?.answer_to(PROMPT)
    }

    #[test]
    fn an_answer_is_known_by_its_id_whatever_else_is_in_it() {
        let result = |text: &str| Some(Answer::Result(text.into()));
        assert_eq!(answer(r#"{"x":[1],"result":{"a":"\ud83d"},"id":"prompt-0"}"#), result(r#"{"a":"\ud83d"}"#));
        assert_eq!(answer(r#"{"id":"prompt-0","result":null}"#), result("null"));
        for other in [r#"{"id":"prompt-0","method":"a"}"#, r#"{"id":0,"result":1}"#, r#"{"result":1}"#, "[]", "{"] {
            assert_eq!(answer(other), None, "{other}");
        }
    }

    #[test]
    fn an_error_is_told_with_what_it_says_of_itself() {
        let error = |code, message: &str| Some(Answer::Error { code, message: message.to_owned() });
        let full = r#"{"id":"prompt-0","error":{"code":-32603,"message":"Internal error","data":{"status":401}}}"#;
        assert_eq!(answer(full), error(Some(-32603), r#"Internal error: {"status":401}"#));
        assert_eq!(answer(r#"{"id":"prompt-0","error":7}"#), error(None, "it says no more"));
    }

    #[test]
    fn what_is_offered_is_read_as_far_as_it_can_be() {
        let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
        let params = raw(
            r#"{"toolCall":{"toolCallId":"t","title":"rm x"},"options":[7,{"optionId":"a","kind":"allow_once"},{"optionId":"b"}]}"#,
        );
        let found = asked(Some(&params)).unwrap();
        let choices: Vec<_> = found.options.iter().map(|choice| (choice.id.as_str(), choice.verdict)).collect();
        assert_eq!((found.title.as_str(), choices), ("rm x", vec![("a", Verdict::AllowOnce), ("b", Verdict::Other)]));
        assert_eq!(asked(Some(&raw(r#"{"toolCall":null}"#))).unwrap(), Asked { title: String::new(), options: vec![] });
        assert_eq!((asked(Some(&raw("7"))), asked(None)), (None, None));
    }
}
