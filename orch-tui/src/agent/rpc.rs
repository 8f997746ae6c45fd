//! JSON-RPC, one message a line, as agents speak it.
//!
//! What the agent sends is read leniently: what is missing or of another form is none, and everything else in a message may
//! be anything.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Codes of errors that we answer.
pub(super) const NO_SUCH_METHOD: i64 = -32601;
pub(super) const INVALID_PARAMS: i64 = -32602;

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
        if self.method.is_some() || self.id.and_then(text).is_none_or(|found| found != id) {
            return None;
        }
        Some(match self.error {
            Some(error) => fault(error),
            None => Answer::Result(self.result.map_or("null", RawValue::get).into()),
        })
    }

    /// Its parameters as a type; none when they are not of that.
    pub(super) fn params<T: Deserialize<'a>>(&self) -> Option<T> {
        serde_json::from_str(self.params?.get()).ok()
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

/// A message as a line.
pub(super) fn line(message: &Value) -> Vec<u8> {
    format!("{message}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(line: &str) -> Option<Answer> {
        Message::read(line)?.answer_to("prompt-0")
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
}
