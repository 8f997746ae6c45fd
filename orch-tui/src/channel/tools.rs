//! The verbs of the channel as MCP tools: names, what they take, and calls.

use std::path::Path;

use orch_proto::channel::{EXPIRES_MS_DEFAULT, Verb};
use orch_proto::id::CommandId;
use orch_proto::view::FieldSpec;
use orch_proto::{ErrorCode, RpcError};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ask::{self, Outcome, Patience, Secrets};
use super::checks;
use super::client::{Channel, Wanted};

/// Milliseconds of a minute.
const MINUTE_MS: u64 = 60_000;

/// What an agent is told whose task is given a tool.
const NEXT_ATTEMPT: &str = "granted for the next attempt at this task, and not for this one: what cannot be done without it \
                            is best left to that. Say in a note what is left, and end.";

/// What a tool is called with.
#[derive(Debug, Deserialize)]
#[serde(tag = "name", content = "arguments", rename_all = "snake_case")]
enum Call {
    Progress {
        percent: Option<u8>,
        #[serde(default)]
        text: String,
    },
    Note {
        text: String,
    },
    Artifact {
        path: String,
        name: Option<String>,
    },
    RunTests {
        #[serde(default)]
        names: Vec<String>,
    },
    RequestInfo {
        question: String,
        fields: Vec<FieldSpec>,
        expires_minutes: Option<u64>,
    },
    AwaitApproval {
        action: String,
        #[serde(default)]
        details: Vec<String>,
        expires_minutes: Option<u64>,
    },
    RequestTool {
        name: String,
        reason: String,
        expires_minutes: Option<u64>,
    },
    ProposeChange {
        title: String,
        #[serde(default)]
        body: String,
    },
}

/// What there is, as `tools/list` answers it.
pub(super) fn list() -> Value {
    let mut all = of_work();
    all.extend(of_people());
    Value::Array(all)
}

fn tool(name: &str, about: &str, properties: Value, required: &[&str]) -> Value {
    json!({"name": name, "description": about, "inputSchema": {
        "type": "object", "properties": properties, "required": required, "additionalProperties": false}})
}

fn text(about: &str) -> Value {
    json!({"type": "string", "description": about})
}

/// Those by which nobody is asked.
fn of_work() -> Vec<Value> {
    vec![
        tool(
            "progress",
            "Say how far the work is. Shown to people; nothing follows from it.",
            json!({"percent": {"type": "integer", "minimum": 0, "maximum": 100}, "text": text("What is being done")}),
            &[],
        ),
        tool(
            "note",
            "Put a remark on the record of this run, for whoever reads it later.",
            json!({"text": text("The remark")}),
            &["text"],
        ),
        tool(
            "artifact",
            "Hand in a file of the workspace to be kept with this run: a report, a build. It is no part of the change.",
            json!({"path": text("The file"), "name": text("Under which path it is kept; the same unless said")}),
            &["path"],
        ),
        tool(
            "run_tests",
            "Run here what will be run on the result of this work before it is accepted: builds, tests, checks of the project. \
             Says which failed, with the end of their output. They are run again, by others, when the work is done.",
            json!({"names": {"type": "array", "items": {"type": "string"}, "description": "Only these; all unless said"}}),
            &[],
        ),
    ]
}

/// Those by which people are asked, or told what the change is.
fn of_people() -> Vec<Value> {
    let minutes =
        json!({"type": "integer", "minimum": 1, "description": "How long to wait for a person; a day unless said"});
    let field = json!({"type": "object", "required": ["name", "kind"], "properties": {
        "name": text("A letter, then letters, digits and _"),
        "label": text("What the person reads"),
        "kind": {"type": "string", "enum": ["text", "number", "bool", "choice", "secret"]},
        "choices": {"type": "array", "items": {"type": "string"}, "description": "With kind choice"},
        "required": {"type": "boolean"}}});
    vec![
        tool(
            "request_info",
            "Ask a person for what cannot be found out here, and wait for the answer. The value of a secret field is not \
             in the answer: the answer names a file that has it. Ask only for what is needed.",
            json!({"question": text("What is asked, and why"),
                "fields": {"type": "array", "items": field, "minItems": 1, "maxItems": 16},
                "expires_minutes": minutes}),
            &["question", "fields"],
        ),
        tool(
            "await_approval",
            "Ask a person to allow something before doing it, and wait for the decision.",
            json!({"action": text("What will be done, in one line"),
                "details": {"type": "array", "items": {"type": "string"}}, "expires_minutes": minutes}),
            &["action"],
        ),
        tool(
            "request_tool",
            "Ask for a program that is not here. Answers where it is, if it is here after all; says that there is no such \
             program; or asks a person, and waits. What a person gives is there in the next attempt at this task, and \
             not in this one.",
            json!({"name": text("The program, as it is called"), "reason": text("What it is needed for"),
                "expires_minutes": minutes}),
            &["name", "reason"],
        ),
        tool(
            "propose_change",
            "Say under which words the change of this run is to be proposed: the title becomes the first line of its commit. \
             The last words count. Nothing is handed in by it: the work is taken when the run is over.",
            json!({"title": text("One line, as of a commit"), "body": text("Why, and what a reader has to know")}),
            &["title"],
        ),
    ]
}

/// Calls a tool. Answers its text, and whether it is one of a failure; none when the caller does not want it any more.
pub(super) fn call(
    channel: &mut Channel,
    secrets: &Result<Secrets, RpcError>,
    params: Value,
    wanted: Wanted,
) -> Option<(String, bool)> {
    let tool = match serde_json::from_value(params) {
        Ok(tool) => tool,
        Err(error) => return Some((format!("the call does not fit the tool: {error}"), true)),
    };
    if let Call::RunTests { names } = tool {
        let report = checks::report(channel, &names, &wanted);
        return report.unwrap_or_else(|error| Some((format!("{}: {error}", error.code), true)));
    }
    match run(channel, secrets, tool, wanted) {
        Ok(Outcome::Waiting | Outcome::Withdrawn) => None,
        Ok(Outcome::Granted) => Some(("granted".to_owned(), false)),
        Ok(Outcome::Here { path }) => Some((json!({"path": path}).to_string(), false)),
        Ok(Outcome::NextAttempt) => Some((NEXT_ATTEMPT.to_owned(), false)),
        Ok(Outcome::Answered(values)) => Some((json!(values).to_string(), false)),
        Ok(Outcome::Without { state, reason }) => Some((format!("{state}: {reason}"), true)),
        Err(error) => Some((format!("{}: {error}", error.code), true)),
    }
}

fn run(
    channel: &mut Channel,
    secrets: &Result<Secrets, RpcError>,
    tool: Call,
    wanted: Wanted,
) -> Result<Outcome, RpcError> {
    let key = CommandId::generate().to_string();
    let expires = |minutes: Option<u64>| minutes.map_or(EXPIRES_MS_DEFAULT, |it| it.saturating_mul(MINUTE_MS));
    let patience = Patience { at_most: None, wanted };
    match tool {
        Call::Progress { percent, text } => channel.call(&Verb::Progress { percent, text }).map(|_| done()),
        Call::Note { text } => channel.call(&Verb::Note { text }).map(|_| done()),
        Call::RunTests { .. } => Err(RpcError::new(ErrorCode::Internal, "no call for the daemon")),
        Call::Artifact { path, name } => {
            channel.hand_in(Path::new(&path), name.as_deref().unwrap_or(&path)).map(|_| done())
        }
        Call::RequestInfo { question, fields, expires_minutes } => {
            let expires_ms = expires(expires_minutes);
            let question = Verb::RequestInfo { key, text: question, fields, expires_ms, wait_ms: 0 };
            let secrets = secrets.as_ref().map_err(Clone::clone)?;
            ask::request_info(channel, &question, secrets, &patience)
        }
        Call::AwaitApproval { action, details, expires_minutes } => {
            let question =
                Verb::AwaitApproval { key, action, details, expires_ms: expires(expires_minutes), wait_ms: 0 };
            ask::await_approval(channel, &question, &patience)
        }
        Call::RequestTool { name, reason, expires_minutes } => {
            let question = Verb::RequestTool { name, reason, expires_ms: expires(expires_minutes), wait_ms: 0 };
            ask::request_tool(channel, &question, &patience)
        }
        Call::ProposeChange { title, body } => channel.call(&Verb::ProposeChange { title, body }).map(|_| done()),
    }
}

/// What is answered where there is nothing to say.
fn done() -> Outcome {
    Outcome::Answered(std::collections::BTreeMap::from([("result".to_owned(), "done".to_owned())]))
}

/// An error for a call that is one too many.
pub(super) fn too_many() -> RpcError {
    RpcError::new(ErrorCode::Busy, "too many tools are called at once")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_that_is_listed_can_be_called() {
        let calls = [
            json!({"name": "progress", "arguments": {"percent": 5}}),
            json!({"name": "note", "arguments": {"text": "n"}}),
            json!({"name": "artifact", "arguments": {"path": "p"}}),
            json!({"name": "run_tests", "arguments": {}}),
            json!({"name": "request_info", "arguments": {"question": "q", "fields": [{"name": "a", "kind": "text"}]}}),
            json!({"name": "await_approval", "arguments": {"action": "a"}}),
            json!({"name": "request_tool", "arguments": {"name": "go", "reason": "to build"}}),
            json!({"name": "propose_change", "arguments": {"title": "t"}}),
        ];
        let listed = list();
        let names: Vec<&str> = listed.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        assert_eq!(names, calls.iter().map(|call| call["name"].as_str().unwrap()).collect::<Vec<_>>());
        for call in calls {
            serde_json::from_value::<Call>(call.clone()).unwrap_or_else(|error| panic!("{call}: {error}"));
        }
    }
}
