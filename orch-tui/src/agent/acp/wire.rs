//! The messages of the protocol, as far as a client of version 1 needs them.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use orch_proto::leave::Deed;

use super::super::leave::{Action, Leave, pieces};
use super::super::rpc::start;

/// The version of the protocol that is spoken.
pub(in super::super) const VERSION: u64 = 1;

/// Ids of our requests.
pub(super) const INITIALIZE: &str = "initialize";
pub(super) const SESSION: &str = "new";

/// The code of an error which asks for a login.
pub(super) const AUTH_REQUIRED: i64 = -32000;

/// Most answers that are read of a request for leave, and most files that it is about.
const CHOICES_MAX: usize = 64;

/// The id of a prompt. `orch-core` reads the log by how it begins: a refused one is the end of a turn.
pub(super) fn prompt_id(turn: u32) -> String {
    format!("prompt-{turn}")
}

/// One answer that an agent offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Choice {
    pub(super) id: String,
    verdict: Verdict,
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    AllowOnce,
    AllowAlways,
    RejectOnce,
    /// Anything that allows nothing.
    Other,
}

/// What the agent says of itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Initialized {
    pub(super) protocol_version: Value,
    agent_capabilities: Value,
}

impl Initialized {
    /// How it goes on with a session, if it can: best without telling again what was said.
    pub(super) fn resumes(&self) -> Option<&'static str> {
        let able = &self.agent_capabilities;
        if able["sessionCapabilities"]["resume"].is_object() {
            return Some("session/resume");
        }
        (able["loadSession"] == true).then_some("session/load")
    }
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

/// Reads what leave is asked for, and what can be answered; none when that cannot be read.
pub(super) fn asked(params: Option<&RawValue>) -> Option<(Action, Vec<Choice>)> {
    let params: AskedParams<'_> = serde_json::from_str(params?.get()).ok()?;
    let call: Value = params.tool_call.and_then(|call| serde_json::from_str(call.get()).ok()).unwrap_or_default();
    let offered = params.options.into_iter().flatten().take(CHOICES_MAX);
    let offered = offered.filter_map(|option| serde_json::from_str(option.get()).ok());
    let choices = offered.map(|Offered { option_id, kind }| Choice {
        id: option_id,
        verdict: match kind.as_str() {
            Some("allow_once") => Verdict::AllowOnce,
            Some("allow_always") => Verdict::AllowAlways,
            Some("reject_once") => Verdict::RejectOnce,
            _ => Verdict::Other,
        },
    });
    Some((action(&call), choices.collect()))
}

/// Names of what is to be executed.
const OF_COMMAND: [&str; 2] = ["command", "cmd"];

/// What a tool would do. Where an agent says what it gives the tool, that counts, and its title where it says no more.
fn action(call: &Value) -> Action {
    let name = |key: &str| call.get(key).and_then(Value::as_str);
    let title = name("title").or_else(|| name("toolCallId")).unwrap_or_default();
    let input = call.get("rawInput").filter(|input| !input.is_null());
    let of_input = |keys: &[&str]| keys.iter().find_map(|key| text(input?.get(*key)?));
    let paths = call.get("locations").and_then(Value::as_array).into_iter().flatten();
    let mut paths: Vec<String> = paths.filter_map(|at| at.get("path")?.as_str().map(ToOwned::to_owned)).collect();
    paths.extend(of_input(&["filepath", "file_path", "path"]).filter(|path| !paths.contains(path)));
    let or_title = |words: Vec<String>| if words.is_empty() { vec![title.to_owned()] } else { words };
    let (of, words) = match name("kind").unwrap_or_default() {
        // Under whichever name: which of two the agent goes by is not known.
        "execute" => (Deed::Command, or_title(OF_COMMAND.iter().filter_map(|key| text(input?.get(*key)?)).collect())),
        "edit" | "delete" | "move" => (Deed::Change, or_title(paths)),
        "read" | "search" => (Deed::Read, or_title(paths)),
        "fetch" => (Deed::Network, or_title(of_input(&["url", "query"]).into_iter().collect())),
        _ => (Deed::Tool, vec![title.to_owned()]),
    };
    let details = details(of, &words, input).unwrap_or_else(|| pieces(title));
    Action { of, title: start(title), words, details }
}

/// What a person is shown of what a tool is given; none when it is given nothing.
fn details(of: Deed, words: &[String], input: Option<&Value>) -> Option<Vec<String>> {
    let mut rest = input?.clone();
    let mut shown = Vec::new();
    // The line as it stands is easier to read; the rest says where, and for how long.
    if let (Deed::Command, Some(members)) = (of, rest.as_object_mut()) {
        shown.extend(words.iter().flat_map(|line| pieces(line)));
        members.retain(|key, value| !(OF_COMMAND.contains(&key.as_str()) && value.is_string()));
    }
    if rest.as_object().is_none_or(|members| !members.is_empty()) {
        shown.extend(pieces(&rest.to_string()));
    }
    Some(shown)
}

/// A text, or words of one; what is neither as it stands.
fn text(value: &Value) -> Option<String> {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    match value {
        Value::Null => None,
        Value::Array(words) => Some(words.iter().map(word).collect::<Vec<_>>().join(" ")),
        value => Some(word(value)),
    }
}

/// The answer for what was decided: leave once where that is offered, and none where no answer means that.
pub(super) fn choose<'c>(choices: &'c [Choice], leave: &Leave) -> Option<&'c str> {
    let of = |verdict| choices.iter().find(|choice| choice.verdict == verdict).map(|choice| choice.id.as_str());
    match leave {
        Leave::Given => of(Verdict::AllowOnce).or_else(|| of(Verdict::AllowAlways)),
        Leave::Refused(_) => of(Verdict::RejectOnce),
    }
}

/// What was decided about a request for leave.
pub(super) fn outcome(chosen: Option<&str>) -> Value {
    match chosen {
        Some(id) => json!({ "outcome": { "outcome": "selected", "optionId": id } }),
        None => json!({ "outcome": { "outcome": "cancelled" } }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn what_is_offered_is_read_as_far_as_it_can_be() {
        let params = raw(
            r#"{"toolCall":{"toolCallId":"t","title":"rm x"},"options":[7,{"optionId":"a","kind":"allow_once"},{"optionId":"b"}]}"#,
        );
        let (action, choices) = asked(Some(&params)).unwrap();
        let choices: Vec<_> = choices.iter().map(|choice| (choice.id.as_str(), choice.verdict)).collect();
        assert_eq!(
            (action.title.as_str(), action.of, choices),
            ("rm x", Deed::Tool, vec![("a", Verdict::AllowOnce), ("b", Verdict::Other)])
        );
        let (nothing, none) = asked(Some(&raw(r#"{"toolCall":null}"#))).unwrap();
        assert_eq!((nothing.title.as_str(), none), ("", vec![]));
        assert_eq!((asked(Some(&raw("7"))), asked(None)), (None, None));
    }

    #[test]
    fn leave_is_given_once_where_that_is_offered_and_never_by_an_answer_that_refuses() {
        let choice = |id: &str, verdict| Choice { id: id.to_owned(), verdict };
        let (never, always) = (choice("never", Verdict::RejectOnce), choice("always", Verdict::AllowAlways));
        let once = choice("once", Verdict::AllowOnce);
        let no = Leave::Refused(String::new());
        for (choices, given, refused) in [
            (vec![never.clone(), always.clone(), once.clone()], Some("once"), Some("never")),
            (vec![never.clone(), always], Some("always"), Some("never")),
            (vec![never], None, Some("never")),
            (vec![once], Some("once"), None),
            (vec![], None, None),
        ] {
            assert_eq!((choose(&choices, &Leave::Given), choose(&choices, &no)), (given, refused));
        }
    }

    /// As opencode 1.18 asks.
    #[test]
    fn what_a_tool_would_do_is_known_by_what_it_is_given() {
        let of = |call: &str| {
            let (action, _) = asked(Some(&raw(&format!(r#"{{"toolCall":{call}}}"#)))).unwrap();
            (action.of, action.words, action.details.len())
        };
        assert_eq!(
            of(r#"{"title":"Remove","kind":"execute","rawInput":{"command":"rm gone.txt","cwd":"/w"}}"#),
            (Deed::Command, vec!["rm gone.txt".to_owned()], 2)
        );
        assert_eq!(
            of(r#"{"title":"ls","kind":"execute","rawInput":{"command":["rm","x"]}}"#).1,
            ["rm x"],
            "the title of a tool may say anything"
        );
        assert_eq!(
            of(r#"{"title":"/w/n.md","kind":"edit","locations":[{"path":"/w/n.md"}],"rawInput":{"filepath":"/w/m.md"}}"#)
                .1,
            ["/w/n.md", "/w/m.md"]
        );
        let two = r#"{"title":"ls","kind":"execute","rawInput":{"command":"ls","cmd":"rm x"}}"#;
        assert_eq!(of(two).1, ["ls", "rm x"], "which of the two it goes by is not known");
        let odd = r#"{"title":"ls","kind":"execute","rawInput":{"command":["rm",5]}}"#;
        assert_eq!(of(odd), (Deed::Command, vec!["rm 5".to_owned()], 2), "what is no text is shown as it stands, too");
        let many: Vec<String> = (0..100).map(|at| format!(r#"{{"path":"/w/{at}"}}"#)).collect();
        let many = format!(r#"{{"title":"x","kind":"edit","locations":[{}]}}"#, many.join(","));
        assert_eq!(of(&many).1.len(), 100, "each is judged");
        assert_eq!(of(r#"{"title":"see","kind":"fetch","rawInput":{"url":"http://a"}}"#).1, ["http://a"]);
    }
}
