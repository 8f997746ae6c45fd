//! The lines of the program, as far as a driver needs them. What is missing or of another form is none.

use orch_proto::leave::Deed;
use serde_json::{Value, json};

use super::super::leave::{Action, Leave, pieces};
use super::super::questions::{Answers, Question, elicited};
use super::super::rpc::{line, start};
use super::{Ticket, Way};

/// The id of our first request.
pub(super) const INITIALIZE: &str = "initialize";
/// The hook that is told of all tools.
const HOOK: &str = "leave";
/// How long a hook may take, in seconds: a person decides. The program counts in 31 bits of milliseconds.
const HOOK_SECONDS: u32 = 2_000_000;
/// Its tool with which it asks people.
const QUESTION: &str = "AskUserQuestion";
/// How the ids of our messages begin; the program prints them as they are if they have the form of a UUID.
const MESSAGE_ID: &str = "0c0dec00-0000-4000-8000-";

/// What a line says.
#[derive(Debug)]
pub(super) enum Heard {
    /// It is ready.
    Greeted,
    /// It asks whether it may do something.
    Asked(Ticket, Box<Action>),
    /// It asks a person something; none: in a way that nobody can answer.
    Wonders(Ticket, Option<Box<Question>>),
    /// It wants something else, by this request.
    Wants(String),
    /// It took up the message of this number.
    Taken(u32),
    Ended(Ends),
    Other,
}

/// How a turn ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ends {
    Well,
    Badly(String),
}

/// Reads a line.
pub(super) fn hear(text: &str) -> Heard {
    let Ok(line) = serde_json::from_str::<Value>(text) else { return Heard::Other };
    match line["type"].as_str() {
        Some("control_response") if line["response"]["request_id"] == INITIALIZE => Heard::Greeted,
        Some("control_request") => asked(&line),
        Some("user") if line["isReplay"] == true => {
            let number = line["uuid"].as_str().and_then(|id| id.strip_prefix(MESSAGE_ID));
            number.and_then(|number| u32::from_str_radix(number, 16).ok()).map_or(Heard::Other, Heard::Taken)
        }
        Some("result") => Heard::Ended(ends(&line)),
        _ => Heard::Other,
    }
}

fn ends(line: &Value) -> Ends {
    // It calls some failures a success; this member is what counts.
    if line["is_error"] == false {
        return Ends::Well;
    }
    let errors = line["errors"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let why = line["result"].as_str().map(ToOwned::to_owned).or_else(|| errors.map(ToOwned::to_owned).next());
    Ends::Badly(start(&why.unwrap_or_else(|| format!("it says {}", line["subtype"]))))
}

fn asked(line: &Value) -> Heard {
    let (Some(request), of) = (line["request_id"].as_str(), &line["request"]) else { return Heard::Other };
    let ticket = |by, call: &Value, input: &Value| Ticket {
        request: request.to_owned(),
        by,
        call: call.as_str().unwrap_or_default().to_owned(),
        input: input.clone(),
    };
    let (by, name, input, call, directory) = match of["subtype"].as_str() {
        Some("hook_callback") => {
            let input = &of["input"];
            (Way::Hook, &input["tool_name"], &input["tool_input"], &input["tool_use_id"], input["cwd"].as_str())
        }
        Some("can_use_tool") => (Way::Tool, &of["tool_name"], &of["input"], &of["tool_use_id"], None),
        Some("elicitation") => {
            let question = Question::of_schema(&of["message"], &of["requested_schema"]);
            return Heard::Wonders(ticket(Way::Elicitation, &Value::Null, &Value::Null), question.map(Box::new));
        }
        _ => return Heard::Wants(request.to_owned()),
    };
    if name == QUESTION {
        return Heard::Wonders(ticket(by, call, input), Question::of_list(&input["questions"]).map(Box::new));
    }
    Heard::Asked(ticket(by, call, input), Box::new(action(name, input, directory)))
}

/// What a tool would do, by its name and by what it is given.
fn action(tool: &Value, input: &Value, directory: Option<&str>) -> Action {
    let name = tool.as_str().unwrap_or_default();
    let given = |keys: &[&str]| {
        // What is no text counts as it stands.
        let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        let found: Vec<String> = keys.iter().map(|key| &input[*key]).filter(|it| !it.is_null()).map(word).collect();
        if found.is_empty() { vec![name.to_owned()] } else { found }
    };
    let (of, words) = match name {
        "Bash" | "BashOutput" | "KillShell" | "Monitor" => (Deed::Command, given(&["command"])),
        "Write" | "Edit" | "MultiEdit" | "NotebookEdit" => (Deed::Change, given(&["file_path", "notebook_path"])),
        "Read" | "Glob" | "Grep" | "LS" | "NotebookRead" => {
            (Deed::Read, given(&["file_path", "notebook_path", "path"]))
        }
        "WebFetch" | "WebSearch" => (Deed::Network, given(&["url", "query"])),
        _ => (Deed::Tool, vec![name.to_owned()]),
    };
    let first = words.first().map_or("", String::as_str);
    let title = if first == name { name.to_owned() } else { format!("{name}: {first}") };
    let mut rest = input.clone();
    let mut details = Vec::new();
    if let (Deed::Command, Some(members)) = (of, rest.as_object_mut()) {
        details.extend(words.iter().flat_map(|line| pieces(line)));
        if members.get("command").is_some_and(Value::is_string) {
            members.remove("command");
        }
    }
    details.extend(pieces(&rest.to_string()));
    details.extend(directory.map(|directory| format!("in {}", start(directory))));
    Action { of, title: start(&title), words, details }
}

/// Our first request. With `asks` it asks before each tool.
pub(super) fn initialize(asks: bool) -> Vec<u8> {
    let hooks = json!({ "PreToolUse": [{ "hookCallbackIds": [HOOK], "timeout": HOOK_SECONDS }] });
    let hooks = if asks { hooks } else { json!({}) };
    control(INITIALIZE, &json!({ "subtype": "initialize", "hooks": hooks }))
}

/// Has it end its turn.
pub(super) fn interrupt() -> Vec<u8> {
    control("interrupt", &json!({ "subtype": "interrupt" }))
}

fn control(id: &str, request: &Value) -> Vec<u8> {
    line(&json!({ "type": "control_request", "request_id": id, "request": request }))
}

/// A message to the agent.
pub(super) fn message(number: u32, text: &str) -> Vec<u8> {
    let content = json!([{ "type": "text", "text": text }]);
    let id = format!("{MESSAGE_ID}{number:012x}");
    line(&json!({ "type": "user", "uuid": id, "message": { "role": "user", "content": content } }))
}

/// What was decided.
pub(super) fn answer(ticket: &Ticket, leave: &Leave) -> Vec<u8> {
    response(
        ticket,
        &match (ticket.by, leave) {
            (Way::Hook, Leave::Given) => hook("allow", "it may"),
            (Way::Hook, Leave::Refused(why)) => hook("deny", why),
            (Way::Tool, Leave::Given) => json!({ "behavior": "allow", "updatedInput": ticket.input }),
            (Way::Tool, Leave::Refused(why)) => json!({ "behavior": "deny", "message": why }),
            (Way::Elicitation, _) => json!({ "action": "decline" }),
        },
    )
}

/// What people said. Its tool takes answers as one more thing that it is given, by the words of the questions.
pub(super) fn answered(ticket: &Ticket, answers: Answers) -> Vec<u8> {
    let said = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(some) => some.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    match (ticket.by, answers) {
        (Way::Elicitation, answers) => response(ticket, &elicited(answers)),
        (Way::Hook | Way::Tool, Err(why)) => answer(ticket, &Leave::Refused(why)),
        (Way::Hook | Way::Tool, Ok(answers)) => {
            let mut input = ticket.input.clone();
            input["answers"] = answers.iter().map(|(question, value)| (question.clone(), json!(said(value)))).collect();
            response(ticket, &json!({ "behavior": "allow", "updatedInput": input }))
        }
    }
}

fn response(ticket: &Ticket, answer: &Value) -> Vec<u8> {
    line(&json!({ "type": "control_response",
        "response": { "subtype": "success", "request_id": ticket.request, "response": answer } }))
}

fn hook(decision: &str, why: &str) -> Value {
    json!({ "hookSpecificOutput": { "hookEventName": "PreToolUse", "permissionDecision": decision,
        "permissionDecisionReason": why } })
}

/// The answer to what is not known here.
pub(super) fn unknown(request: &str) -> Vec<u8> {
    line(&json!({ "type": "control_response",
        "response": { "subtype": "error", "request_id": request, "error": "this client has no such request" } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_known_by_what_it_is_given() {
        let of = |name: &str, input: Value| {
            let action = action(&json!(name), &input, Some("/w"));
            (action.of, action.title, action.words, action.details)
        };
        assert_eq!(
            of("Bash", json!({"command": "git push\nls", "description": "x"})),
            (
                Deed::Command,
                "Bash: git push\nls".to_owned(),
                vec!["git push\nls".to_owned()],
                ["git push", "ls", r#"{"description":"x"}"#, "in /w"].map(ToOwned::to_owned).to_vec()
            )
        );
        assert_eq!(of("Write", json!({"file_path": "/w/a", "content": "x"})).2, ["/w/a"]);
        assert_eq!(of("Grep", json!({"pattern": "x"})), {
            let details = vec![r#"{"pattern":"x"}"#.to_owned(), "in /w".to_owned()];
            (Deed::Read, "Grep".to_owned(), vec!["Grep".to_owned()], details)
        });
        let odd = of("Bash", json!({"command": ["rm", "x"]}));
        assert_eq!((odd.2, odd.3.len()), (vec![r#"["rm","x"]"#.to_owned()], 3), "it is shown as it stands");
        assert_eq!(of("mcp__house__report", json!(7)).0, Deed::Tool);
    }

    #[test]
    fn an_end_is_good_only_when_it_says_that_it_is_no_error() {
        let end = |line: &str| match hear(line) {
            Heard::Ended(Ends::Well) => "well".to_owned(),
            Heard::Ended(Ends::Badly(why)) => why,
            other => format!("{other:?}"),
        };
        assert_eq!(end(r#"{"type":"result","subtype":"success","is_error":false}"#), "well");
        assert_eq!(
            end(r#"{"type":"result","subtype":"success","is_error":true,"result":"API Error: 400"}"#),
            "API Error: 400"
        );
        assert_eq!(end(r#"{"type":"result","subtype":"error_max_turns"}"#), "it says \"error_max_turns\"");
        assert_eq!(end(r#"{"type":"result","subtype":"x","is_error":true,"errors":["a","b"]}"#), "a");
    }

    #[test]
    fn a_message_is_known_when_it_comes_back() {
        let sent: Value = serde_json::from_slice(&message(255, "hi")).unwrap();
        let id = sent["uuid"].as_str().unwrap();
        assert_eq!(id.len(), 36);
        let taken = |line: String| matches!(hear(&line), Heard::Taken(255));
        assert!(taken(format!(r#"{{"type":"user","uuid":"{id}","isReplay":true}}"#)));
        assert!(!taken(format!(r#"{{"type":"user","uuid":"{id}"}}"#)));
    }
}
