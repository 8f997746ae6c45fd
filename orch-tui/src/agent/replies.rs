//! What an agent answers to the messages that it was told: the last that it says in its turn, whichever protocol it speaks.
//!
//! Reads lines that the agent wrote, and believes nothing of them: what comes of it is shown as the agent's words.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Most bytes of an answer that are kept: as much as is said over the channel at once.
const REPLY_BYTES_MAX: usize = 4 << 10;
/// What stands where the rest is left out.
const CUT: &str = " [...]";

/// What a line says to who waits for an answer.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    /// A message of the agent, whole.
    Said(String),
    /// A piece of one.
    Part(String),
    /// Its turn is over.
    TurnEnded,
    Other,
}

/// Messages that the agent was told and has not answered, and what it said last.
#[derive(Debug, Default)]
pub(super) struct Replies {
    open: Vec<u32>,
    last: String,
    /// What comes next of the same message is put behind it.
    goes_on: bool,
}

/// An answer, to the messages of these numbers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) numbers: Vec<u32>,
    pub(super) text: String,
}

impl Replies {
    /// The agent was told the message of this number: what it said before is no answer to it.
    pub(super) fn told(&mut self, number: u32) {
        if self.open.is_empty() {
            (self.last, self.goes_on) = (String::new(), false);
        }
        self.open.push(number);
    }

    /// Hears a line of the agent; its answer, when that is known by now.
    pub(super) fn hear(&mut self, line: &str) -> Option<Reply> {
        // Nobody waits: lines can be large.
        if self.open.is_empty() {
            return None;
        }
        match read(line) {
            Heard::Said(text) if !text.trim().is_empty() => (self.last, self.goes_on) = (cut(&text), false),
            Heard::Part(text) => {
                if !self.goes_on {
                    self.last.clear();
                }
                self.goes_on = true;
                if self.last.len() <= REPLY_BYTES_MAX {
                    self.last.push_str(&cut(&text));
                }
            }
            Heard::TurnEnded => return self.end(),
            Heard::Said(_) | Heard::Other => self.goes_on = false,
        }
        None
    }

    /// The answer to what is open, when the agent says nothing more.
    pub(super) fn end(&mut self) -> Option<Reply> {
        let text = cut(&std::mem::take(&mut self.last));
        if text.trim().is_empty() || self.open.is_empty() {
            return None;
        }
        Some(Reply { numbers: std::mem::take(&mut self.open), text })
    }
}

/// The text, or as much of its start as is kept.
fn cut(text: &str) -> String {
    if text.len() <= REPLY_BYTES_MAX {
        return text.to_owned();
    }
    let room = REPLY_BYTES_MAX - CUT.len();
    let end = (0..=room).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}{CUT}", text.get(..end).unwrap_or_default())
}

/// A line, as far as it says what it is.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    /// Of a message that a helper of the agent says to it.
    #[serde(borrow, default, rename = "parent_tool_use_id")]
    of_helper: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Text<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Cow<'a, str>,
}

#[derive(Deserialize)]
struct ClaudeMessage<'a> {
    #[serde(borrow)]
    content: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct CodexParams<'a> {
    #[serde(borrow)]
    item: Text<'a>,
}

#[derive(Deserialize)]
struct AcpParams<'a> {
    #[serde(borrow)]
    update: AcpUpdate<'a>,
}

#[derive(Deserialize)]
struct AcpUpdate<'a> {
    #[serde(borrow, rename = "sessionUpdate")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct AcpResult<'a> {
    #[serde(borrow, rename = "stopReason")]
    _stop: Cow<'a, str>,
}

fn read(line: &str) -> Heard {
    let Ok(line) = serde_json::from_str::<Line<'_>>(line) else { return Heard::Other };
    match (line.kind.as_deref(), line.method.as_deref()) {
        (Some("result"), None) | (_, Some("turn/completed")) => Heard::TurnEnded,
        (Some("assistant"), None) if line.of_helper.is_none() => claude(line.message),
        (_, Some("item/completed")) => codex(line.params),
        (_, Some("session/update")) => acp(line.params),
        (None, None) if part::<AcpResult<'_>>(line.result).is_some() => Heard::TurnEnded,
        _ => Heard::Other,
    }
}

fn part<'a, T: Deserialize<'a>>(value: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(value?.get()).ok()
}

fn claude(message: Option<&RawValue>) -> Heard {
    let blocks = part::<ClaudeMessage<'_>>(message).map(|message| message.content).unwrap_or_default();
    let texts = blocks.into_iter().filter_map(|block| part::<Text<'_>>(Some(block)));
    let texts: Vec<String> = texts.filter(|block| block.kind == "text").map(|block| block.text.into_owned()).collect();
    if texts.is_empty() { Heard::Other } else { Heard::Said(texts.join("\n\n")) }
}

fn codex(params: Option<&RawValue>) -> Heard {
    match part::<CodexParams<'_>>(params) {
        Some(CodexParams { item }) if item.kind == "agentMessage" => Heard::Said(item.text.into_owned()),
        _ => Heard::Other,
    }
}

fn acp(params: Option<&RawValue>) -> Heard {
    let update = part::<AcpParams<'_>>(params).map(|params| params.update);
    let chunk = update.filter(|update| update.kind == "agent_message_chunk").and_then(|update| update.content);
    match part::<Text<'_>>(chunk) {
        Some(text) if text.kind == "text" => Heard::Part(text.text.into_owned()),
        _ => Heard::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(text: &str) -> String {
        let content = serde_json::json!({"type": "text", "text": text});
        let update = serde_json::json!({"sessionUpdate": "agent_message_chunk", "content": content});
        serde_json::json!({"jsonrpc": "2.0", "method": "session/update", "params": {"update": update}}).to_string()
    }

    fn codex(text: &str) -> String {
        let item = serde_json::json!({"type": "agentMessage", "id": "m", "text": text});
        serde_json::json!({"method": "item/completed", "params": {"item": item}}).to_string()
    }

    fn claude(text: &str, parent: Option<&str>) -> String {
        let blocks = serde_json::json!([{"type": "text", "text": text}, {"type": "tool_use", "id": "t", "input": {}}]);
        let message = serde_json::json!({"role": "assistant", "content": blocks});
        serde_json::json!({"type": "assistant", "message": message, "parent_tool_use_id": parent}).to_string()
    }

    fn heard(replies: &mut Replies, lines: &[String]) -> Vec<(Vec<u32>, String)> {
        lines.iter().filter_map(|line| replies.hear(line)).map(|reply| (reply.numbers, reply.text)).collect()
    }

    #[test]
    fn the_last_of_a_turn_is_the_answer_to_what_was_told_in_it() {
        let turns = [
            (vec![codex("first"), codex("last")], r#"{"method":"turn/completed","params":{"turn":{"id":"U"}}}"#),
            (
                vec![claude("first", None), claude("last", None)],
                r#"{"type":"result","subtype":"success","result":"x"}"#,
            ),
            (
                vec![
                    chunk("first"),
                    r#"{"method":"session/update","params":{"update":{"sessionUpdate":"tool_call"}}}"#.into(),
                    chunk("la"),
                    chunk("st"),
                ],
                r#"{"jsonrpc":"2.0","id":"prompt-1","result":{"stopReason":"end_turn"}}"#,
            ),
        ];
        for (said, end) in turns {
            let mut replies = Replies::default();
            let turn = [said.clone(), vec![end.to_owned()]].concat();
            assert_eq!(heard(&mut replies, &turn), [], "nobody was told anything");
            replies.told(3);
            replies.told(4);
            assert_eq!(heard(&mut replies, &turn), [(vec![3, 4], "last".to_owned())]);
            assert_eq!(heard(&mut replies, &turn), [], "it is answered");
            // One that ends without the end of its turn has said something all the same.
            replies.told(5);
            assert_eq!(heard(&mut replies, &said), []);
            assert_eq!(replies.end(), Some(Reply { numbers: vec![5], text: "last".into() }));
            assert_eq!(replies.end(), None);
        }
    }

    #[test]
    fn what_others_say_and_what_makes_no_sense_is_no_answer() {
        let mut replies = Replies::default();
        replies.told(1);
        let lines = [
            claude("of a helper", Some("toolu_1")),
            "nonsense".into(),
            r#"{"type":7}"#.into(),
            r#"{"type":"assistant","message":{"content":"text"}}"#.into(),
            r#"{"method":"item/completed","params":{"item":{"type":"commandExecution","text":"x"}}}"#.into(),
            r#"{"jsonrpc":"2.0","id":1,"result":{"outcome":"x"}}"#.into(),
            r#"{"method":"turn/completed"}"#.into(),
        ];
        assert_eq!(heard(&mut replies, &lines), [], "a turn without a word of the agent leaves it open");
        assert_eq!(heard(&mut replies, &[codex(" "), codex("yes"), r#"{"type":"result"}"#.into()]).len(), 1);
    }

    #[test]
    fn what_is_long_is_cut_between_characters() {
        for text in ["\u{e4}".repeat(4_000), "x".repeat(REPLY_BYTES_MAX + 1)] {
            let mut replies = Replies::default();
            replies.told(1);
            let halves = [chunk(&text), chunk(&text)];
            assert_eq!(heard(&mut replies, &halves), []);
            let reply = replies.end().unwrap();
            assert!(reply.text.len() <= REPLY_BYTES_MAX && reply.text.ends_with(CUT), "{}", reply.text.len());
        }
        assert_eq!(cut("short"), "short");
    }
}
