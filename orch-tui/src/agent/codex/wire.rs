//! The messages of the app-server, as far as a driver needs them. What is missing or of another form is none.

use std::collections::{BTreeMap, VecDeque};

use orch_proto::leave::Deed;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::super::leave::{Action, pieces};
use super::super::questions::{Question, elicited};
use super::super::rpc::{Message, start};
use super::params;

/// Changes that are remembered until they are done.
const CHANGES_MAX: usize = 16;
/// How the ids of people's messages begin.
const MESSAGE: &str = "message-";

/// Notifications that are not wanted: pieces of what comes whole as well, and how things stand.
pub(super) const UNHEARD: [&str; 10] = [
    "account/rateLimits/updated",
    "item/agentMessage/delta",
    "item/commandExecution/outputDelta",
    "item/fileChange/outputDelta",
    "item/plan/delta",
    "item/reasoning/summaryTextDelta",
    "item/reasoning/textDelta",
    "remoteControl/status/changed",
    "thread/status/changed",
    "turn/diff/updated",
];

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Asked {
    /// By a decision.
    Deed,
    /// By an action: it is a question of a server of tools.
    Elicitation,
    /// By answers to the questions of a list.
    Questions,
}

/// What is asked for.
#[derive(Debug)]
pub(super) enum Wanted {
    Leave(Action),
    /// None: nobody can answer it.
    Answers(Option<Question>),
}

impl Asked {
    /// The answer that gives leave.
    pub(super) fn allowed(self) -> Value {
        match self {
            Self::Deed => json!({ "decision": "accept" }),
            Self::Elicitation => json!({ "action": "accept", "content": {} }),
            Self::Questions => self.refused(),
        }
    }

    /// The answer that gives nothing.
    pub(super) fn refused(self) -> Value {
        match self {
            Self::Deed => json!({ "decision": "decline" }),
            Self::Elicitation => json!({ "action": "decline" }),
            Self::Questions => json!({ "answers": {} }),
        }
    }

    /// What people said.
    pub(super) fn answered(self, answers: &BTreeMap<String, Value>) -> Value {
        let list = |value: &Value| match value {
            Value::Array(_) => json!({ "answers": value }),
            one => json!({ "answers": [one] }),
        };
        match self {
            Self::Deed => self.refused(),
            Self::Elicitation => elicited(Ok(answers.clone())),
            Self::Questions => {
                let answers: Value = answers.iter().map(|(key, value)| (key.clone(), list(value))).collect();
                json!({ "answers": answers })
            }
        }
    }
}

/// Changes of files that were told of and are not done: a request for leave names them only.
#[derive(Debug, Default)]
pub(super) struct Changes(VecDeque<(String, Value)>);

impl Changes {
    /// Takes note of what an item is; the number of the message that the agent took up, when it is that. Of a change that is
    /// abridged nothing is kept: what is not all there is not what leave is given for.
    pub(super) fn note(&mut self, method: &str, message: &Message<'_>, is_abridged: bool) -> Option<u32> {
        let is_begun = method == "item/started";
        if !is_begun && method != "item/completed" {
            return None;
        }
        let params = params(message);
        let item = &params["item"];
        let id = item["id"].as_str().unwrap_or_default();
        match item["type"].as_str() {
            // Its kind may be left out, and of its id this is the start, or nothing: it could be any that begins so.
            Some("fileChange") | None if is_abridged => {
                self.0.retain(|(known, _)| !known.starts_with(id));
                None
            }
            Some("fileChange") => {
                self.0.retain(|(known, _)| known != id);
                if is_begun {
                    if self.0.len() >= CHANGES_MAX {
                        self.0.pop_front();
                    }
                    self.0.push_back((id.to_owned(), item["changes"].clone()));
                }
                None
            }
            Some("userMessage") => item["clientId"].as_str()?.strip_prefix(MESSAGE)?.parse().ok(),
            _ => None,
        }
    }

    fn of(&self, id: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == id).map(|(_, changes)| changes)
    }
}

/// The id of a person's message.
pub(super) fn message_id(number: u32) -> String {
    format!("{MESSAGE}{number}")
}

/// Texts as the input of a turn.
pub(super) fn input(texts: &[String]) -> Value {
    texts.iter().map(|text| json!({ "type": "text", "text": text })).collect()
}

/// A text in an answer.
pub(super) fn text_at(answer: &str, path: &str) -> Option<String> {
    let answer: Value = serde_json::from_str(answer).ok()?;
    answer.pointer(path)?.as_str().map(ToOwned::to_owned)
}

/// How this turn ended, when this is its end.
pub(super) fn end_of(message: &Message<'_>, turn: &str) -> Option<Result<(), String>> {
    if message.method.as_deref() != Some("turn/completed") || message.id.is_some() {
        return None;
    }
    let params = params(message);
    let ended = params.get("turn").filter(|ended| ended["id"] == turn)?;
    let why = ended["error"]["message"].as_str();
    Some(match ended["status"].as_str() {
        Some("completed") => Ok(()),
        Some("interrupted") => Err("it was interrupted".to_owned()),
        other => Err(why.map_or_else(|| format!("its turn is {}", start(other.unwrap_or("over"))), start)),
    })
}

/// Reads what is asked for; none when it is something else, or nothing is known of what it is about.
pub(super) fn asked(method: &str, message: &Message<'_>, changes: &Changes) -> Option<(Asked, Wanted)> {
    let params = params(message);
    Some(match method {
        "item/commandExecution/requestApproval" => (Asked::Deed, Wanted::Leave(command(&params))),
        "item/fileChange/requestApproval" => {
            (Asked::Deed, Wanted::Leave(change(&params, changes.of(params["itemId"].as_str()?)?)))
        }
        "item/tool/requestUserInput" => (Asked::Questions, Wanted::Answers(Question::of_list(&params["questions"]))),
        "mcpServer/elicitation/request" if params["_meta"]["codex_approval_kind"] == "mcp_tool_call" => {
            (Asked::Elicitation, Wanted::Leave(tool(&params)))
        }
        "mcpServer/elicitation/request" => {
            let question = Question::of_schema(&params["message"], &params["requestedSchema"]);
            (Asked::Elicitation, Wanted::Answers(question))
        }
        _ => return None,
    })
}

fn command(params: &Value) -> Action {
    let line = params["command"].as_str().unwrap_or_default();
    let network = params.get("networkApprovalContext").filter(|context| !context.is_null());
    let (of, words) = match network {
        Some(context) => (Deed::Network, context["host"].as_str().unwrap_or(line).to_owned()),
        None => (Deed::Command, line.to_owned()),
    };
    let mut details = pieces(line);
    details.extend(network.map(|context| start(&format!("network: {context}"))));
    details.extend(params["cwd"].as_str().map(|directory| format!("in {}", start(directory))));
    Action { of, title: start(if line.is_empty() { &words } else { line }), words: vec![words], details }
}

fn change(params: &Value, changes: &Value) -> Action {
    let files = changes.as_array().map(Vec::as_slice).unwrap_or_default();
    let path = |file: &Value| file["path"].as_str().unwrap_or_default().to_owned();
    let mut words: Vec<String> = files.iter().map(path).collect();
    // Where one is moved to.
    let target = |file: &Value| {
        let named = ["move_path", "movePath"].into_iter().find_map(|name| file["kind"][name].as_str());
        named.map(ToOwned::to_owned)
    };
    words.extend(files.iter().filter_map(target));
    words.extend(params["grantRoot"].as_str().map(ToOwned::to_owned));
    let whole = changes.to_string();
    let digest = Sha256::digest(whole.as_bytes());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let kind = |file: &Value| file["kind"]["type"].as_str().unwrap_or("change").to_owned();
    let moved = |file: &Value| target(file).map_or_else(String::new, |target| format!(" to {target}"));
    // All of them: more than can be shown is refused.
    let named = files.iter().map(|file| format!("{} {}{}", kind(file), path(file), moved(file)));
    let mut details = pieces(&named.collect::<Vec<_>>().join("\n"));
    let diffs: Vec<&str> = files.iter().filter_map(|file| file["diff"].as_str()).collect();
    let shown = pieces(&diffs.join("\n"));
    // The digest stands for what is too long: what becomes of it is in the change that the run proposes.
    let room = 16_usize.saturating_sub(details.len());
    if shown.len() <= room {
        details.extend(shown);
    }
    details.push(format!("sha256 of {} bytes of changes: {digest}", whole.len()));
    let first = words.first().map_or("", String::as_str);
    let title = match files.len() {
        0 | 1 => format!("change {first}"),
        count => format!("change {first} and {} more", count - 1),
    };
    Action { of: Deed::Change, title: start(&title), words, details }
}

fn tool(params: &Value) -> Action {
    let meta = &params["_meta"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = format!("{}/{}", text(&params["serverName"]), text(&meta["tool_name"]));
    let details = pieces(&meta["tool_params"].to_string());
    Action { of: Deed::Tool, title: start(&name), words: vec![name], details }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(method: &str, line: &str, changes: &Changes) -> (Deed, Vec<String>, Vec<String>) {
        let (_, wanted) = asked(method, &Message::read(line).unwrap(), changes).unwrap();
        let Wanted::Leave(action) = wanted else { panic!("{wanted:?}") };
        (action.of, action.words, action.details)
    }

    /// As 0.171 asks.
    #[test]
    fn what_is_asked_is_known_by_what_it_is_about() {
        let line = r#"{"id":0,"params":{"command":"/bin/bash -lc 'touch a'","cwd":"/w","itemId":"c0"}}"#;
        let words = "/bin/bash -lc 'touch a'".to_owned();
        assert_eq!(
            seen("item/commandExecution/requestApproval", line, &Changes::default()),
            (Deed::Command, vec![words.clone()], vec![words, "in /w".to_owned()])
        );
        let mut changes = Changes::default();
        let item = r#"{"params":{"item":{"type":"fileChange","id":"c1","changes":[{"path":"/w/n.txt","kind":{"type":"add"},"diff":"hi\n"}]}}}"#;
        changes.note("item/started", &Message::read(item).unwrap(), false);
        let (of, words, details) =
            seen("item/fileChange/requestApproval", r#"{"id":1,"params":{"itemId":"c1"}}"#, &changes);
        assert_eq!(
            (of, words, &details[..2]),
            (Deed::Change, vec!["/w/n.txt".to_owned()], &["add /w/n.txt".to_owned(), "hi".to_owned()][..])
        );
        assert!(details[2].starts_with("sha256 of "), "{details:?}");
        changes.note("item/completed", &Message::read(item).unwrap(), false);
        assert!(changes.of("c1").is_none());
        let file = |at: u32| json!({ "path": format!("/w/{at}"), "kind": { "type": "update", "move_path": format!("/m/{at}") } });
        let many = json!({ "params": { "item": { "type": "fileChange", "id": "c2", "changes": (0..100).map(file).collect::<Vec<_>>() } } });
        changes.note("item/started", &Message::read(&many.to_string()).unwrap(), false);
        let many = seen("item/fileChange/requestApproval", r#"{"id":1,"params":{"itemId":"c2"}}"#, &changes);
        assert!(many.1.len() == 200 && many.1.contains(&"/m/99".to_owned()), "each is judged, and where it goes");
        assert!(many.2.concat().contains("update /w/99 to /m/99"), "and each is shown: {:?}", many.2);
        let line = r#"{"id":2,"params":{"serverName":"house","_meta":{"codex_approval_kind":"mcp_tool_call","tool_name":"note","tool_params":{"text":"t"}}}}"#;
        assert_eq!(seen("mcpServer/elicitation/request", line, &changes).1, ["house/note"]);
        assert!(asked("item/tool/call", &Message::read(line).unwrap(), &changes).is_none());
    }

    /// What was known under its id is not what it is now, whatever is left of the id.
    #[test]
    fn a_change_that_is_abridged_is_not_known() {
        let left = |item: &str| {
            let mut changes = Changes::default();
            for id in ["c1", "c2"] {
                let known = json!({ "params": { "item": { "type": "fileChange", "id": id, "changes": [] } } });
                changes.note("item/started", &Message::read(&known.to_string()).unwrap(), false);
            }
            let abridged = format!(r#"{{"params":{{"item":{item}}}}}"#);
            changes.note("item/started", &Message::read(&abridged).unwrap(), true);
            ["c1", "c2"].map(|id| changes.of(id).is_some())
        };
        assert_eq!(left(r#"{"type":"fileChange","id":"c1","changes":[]}"#), [false, true]);
        assert_eq!(left(r#"{"type":"fileChange","id":"c3","changes":[]}"#), [true, true]);
        for unknown in [r#"{"type":"fileChange","changes":[]}"#, r#"{"type":"fileChange","id":"c"}"#, "{}", "null"] {
            assert_eq!(left(unknown), [false, false], "{unknown}");
        }
        assert_eq!(left(r#"{"type":"agentMessage","id":"c1"}"#), [true, true], "it is no change");
    }

    /// As the schema of 0.171 has it.
    #[test]
    fn what_people_say_is_given_by_the_ids_of_the_questions() {
        let line = r#"{"id":1,"params":{"isBlocking":true,"questions":[{"id":"db","header":"H","question":"Which?","options":[{"label":"a","description":"d"}]}]}}"#;
        let (how, wanted) =
            asked("item/tool/requestUserInput", &Message::read(line).unwrap(), &Changes::default()).unwrap();
        assert!(matches!(wanted, Wanted::Answers(Some(_))), "{wanted:?}");
        let answers = BTreeMap::from([("db".to_owned(), json!("a")), ("more".to_owned(), json!(["b", "c"]))]);
        let expected = json!({"answers": {"db": {"answers": ["a"]}, "more": {"answers": ["b", "c"]}}});
        assert_eq!((how.answered(&answers), how.refused()), (expected, json!({"answers": {}})));
        let line = r#"{"id":2,"params":{"serverName":"house","mode":"url","message":"log in","url":"http://a"}}"#;
        let (how, wanted) =
            asked("mcpServer/elicitation/request", &Message::read(line).unwrap(), &Changes::default()).unwrap();
        assert!(matches!(wanted, Wanted::Answers(None)), "nobody can be sent to an address: {wanted:?}");
        assert_eq!(how.refused(), json!({"action": "decline"}));
    }

    #[test]
    fn a_turn_ends_well_only_when_it_says_so() {
        let end = |turn: &str| {
            let line = format!(r#"{{"method":"turn/completed","params":{{"turn":{turn}}}}}"#);
            end_of(&Message::read(&line).unwrap(), "t")
        };
        assert_eq!(end(r#"{"id":"t","status":"completed"}"#), Some(Ok(())));
        assert_eq!(end(r#"{"id":"u","status":"completed"}"#), None);
        assert_eq!(end(r#"{"id":"t","status":"failed","error":{"message":"no quota"}}"#), Some(Err("no quota".into())));
        assert_eq!(end(r#"{"id":"t"}"#), Some(Err("its turn is over".into())));
    }

    #[test]
    fn a_message_is_known_when_the_agent_takes_it_up() {
        let item = |id: &str| format!(r#"{{"params":{{"item":{{"type":"userMessage","id":"x","clientId":{id}}}}}}}"#);
        let noted = |id: &str| Changes::default().note("item/started", &Message::read(&item(id)).unwrap(), false);
        assert_eq!((noted("\"message-7\""), noted("null"), noted("\"refusal\"")), (Some(7), None, None));
        assert_eq!(message_id(7), "message-7");
    }
}
