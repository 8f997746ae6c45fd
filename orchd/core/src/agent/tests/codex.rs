//! `codex exec --json`.

use super::*;

fn item(phase: &str, rest: &str) -> String {
    format!("{{\"type\":\"item.{phase}\",\"item\":{{\"id\":\"item_1\",{rest}}}}}\n")
}

#[test]
fn a_command_begins_and_ends() {
    let stream = [
        item(
            "started",
            r#""type":"command_execution","command":"ls","aggregated_output":"","exit_code":null,"status":"in_progress""#,
        ),
        item(
            "completed",
            r#""type":"command_execution","command":"ls","aggregated_output":"a\n","exit_code":-1,"status":"failed""#,
        ),
    ];
    assert_eq!(
        told(Protocol::CodexExec, stream.concat()),
        [
            r#"{"type":"tool_started","data":{"id":"item_1","tool":"shell","kind":"execute","input":{"text":"ls"}}}"#,
            r#"{"type":"tool_output","data":{"id":"item_1","text":{"text":"a\n"}}}"#,
            r#"{"type":"tool_finished","data":{"id":"item_1","status":"failed","exit_code":-1}}"#,
        ]
    );
}

#[test]
fn changed_files_are_told_when_the_patch_was_applied() {
    let change = |status: &str| {
        item(
            "completed",
            &format!(
                r#""type":"file_change","changes":[{{"path":"a","kind":"add"}},{{"path":"b","kind":"delete"}},{{"path":"c","kind":"update"}}],"status":"{status}""#
            ),
        )
    };
    let files = |events: Vec<RunEvent>| {
        events.into_iter().filter_map(|event| match event {
            RunEvent::FileChanged { path, op } => Some((path, op)),
            _ => None,
        })
    };
    let changed: Vec<_> = files(events(Protocol::CodexExec, change("completed"))).collect();
    let expected = [("a", FileOp::Added), ("b", FileOp::Deleted), ("c", FileOp::Modified)];
    assert_eq!(changed, expected.map(|(path, op)| (path.to_owned(), op)));
    assert_eq!(files(events(Protocol::CodexExec, change("failed"))).count(), 0);
    assert_eq!(
        events(Protocol::CodexExec, change("failed")).first(),
        Some(&RunEvent::ToolStarted {
            id: "item_1".into(),
            tool: "apply_patch".into(),
            kind: ToolKind::Edit,
            input: "add a\ndelete b\nupdate c".into()
        })
    );
}

#[test]
fn tools_of_servers_are_told_with_what_they_gave_back() {
    let stream = [
        item(
            "started",
            r#""type":"mcp_tool_call","server":"docs","tool":"find","arguments":{"q":"x"},"status":"in_progress""#,
        ),
        item(
            "completed",
            r#""type":"mcp_tool_call","server":"docs","tool":"find","arguments":{"q":"x"},"result":{"content":[{"type":"text","text":"found"},{"type":"image","data":"..."}],"structured_content":null},"error":null,"status":"completed""#,
        ),
        item(
            "completed",
            r#""type":"mcp_tool_call","server":"docs","tool":"find","arguments":null,"error":{"message":"gone"},"status":"failed""#,
        ),
    ];
    assert_eq!(
        told(Protocol::CodexExec, stream.concat()),
        [
            r#"{"type":"tool_started","data":{"id":"item_1","tool":"docs/find","kind":"other","input":{"text":"{\"q\":\"x\"}"}}}"#,
            r#"{"type":"tool_output","data":{"id":"item_1","text":{"text":"found"}}}"#,
            r#"{"type":"tool_finished","data":{"id":"item_1","status":"succeeded","exit_code":null}}"#,
            r#"{"type":"tool_started","data":{"id":"item_1","tool":"docs/find","kind":"other","input":{"text":""}}}"#,
            r#"{"type":"tool_output","data":{"id":"item_1","text":{"text":"gone"}}}"#,
            r#"{"type":"tool_finished","data":{"id":"item_1","status":"failed","exit_code":null}}"#,
        ]
    );
}

#[test]
fn what_a_search_was_for_is_told_when_it_is_known() {
    let stream = [
        item("started", r#""type":"web_search","query":"""#),
        item("completed", r#""type":"web_search","query":"rust","action":{"type":"search"}"#),
    ];
    assert_eq!(
        told(Protocol::CodexExec, stream.concat()),
        [
            r#"{"type":"tool_started","data":{"id":"item_1","tool":"web_search","kind":"search","input":{"text":""}}}"#,
            r#"{"type":"tool_started","data":{"id":"item_1","tool":"web_search","kind":"search","input":{"text":"rust"}}}"#,
            r#"{"type":"tool_finished","data":{"id":"item_1","status":"succeeded","exit_code":null}}"#,
        ]
    );
}

#[test]
fn a_failed_turn_does_not_tell_its_error_twice() {
    let stream = concat!(
        "{\"type\":\"error\",\"message\":\"unexpected status 401 Unauthorized\"}\n",
        "{\"type\":\"turn.failed\",\"error\":{\"message\":\"unexpected status 401 Unauthorized\"}}\n",
        "{\"type\":\"turn.failed\",\"error\":null}\n",
    );
    let error = |class, message: &str| RunEvent::Error { class, message: message.into() };
    let failed = RunEvent::TurnFinished { stop: Stop::Failed };
    assert_eq!(
        events(Protocol::CodexExec, stream),
        [
            error(ErrorClass::Auth, "unexpected status 401 Unauthorized"),
            failed.clone(),
            error(ErrorClass::Fatal, ""),
            failed
        ]
    );
}

#[test]
fn tokens_are_those_of_the_thread() {
    let stream = r#"{"type":"turn.completed","usage":{"input_tokens":10,"cached_input_tokens":4,"output_tokens":3,"reasoning_output_tokens":1,"cache_write_input_tokens":0}}"#;
    let usage = Usage {
        input: Some(10),
        cached: Some(4),
        output: Some(3),
        reasoning: Some(1),
        cost_usd_micros: None,
        cumulative: true,
    };
    assert_eq!(
        events(Protocol::CodexExec, stream),
        [RunEvent::Usage(usage), RunEvent::TurnFinished { stop: Stop::Completed }]
    );
}

#[test]
fn what_is_not_known_is_named() {
    let stream = [
        item("completed", r#""type":"hologram","text":[1]"#),
        item("completed", r#""type":"hologram","text":"x""#),
        "{\"type\":\"item.plan.delta\",\"delta\":\"x\"}\n{\"type\":7}\n{}\n[]\n7\n".to_owned(),
    ];
    let nameless = RunEvent::Unknown { kind: None };
    assert_eq!(
        events(Protocol::CodexExec, stream.concat()),
        [
            unknown("item.completed"),
            unknown("item/hologram"),
            unknown("item.plan.delta"),
            nameless.clone(),
            nameless.clone(),
            nameless.clone(),
            nameless
        ]
    );
}

/// Lines as `codex app-server` 0.171 was seen to print them, shortened.
#[test]
fn a_turn_of_the_app_server_is_told_with_the_same_words() {
    let item = |phase: &str, rest: &str| {
        format!(
            "{{\"method\":\"item/{phase}\",\"params\":{{\"item\":{{{rest}}},\"threadId\":\"T\",\"turnId\":\"U\"}}}}\n"
        )
    };
    let command = r#""type":"commandExecution","id":"c0","command":"/bin/bash -lc 'ls'","cwd":"/w""#;
    let stream = [
        "{\"id\":\"initialize\",\"result\":{\"userAgent\":\"x\"}}\n".to_owned(),
        "{\"id\":\"new\",\"result\":{\"thread\":{\"id\":\"T\",\"model\":\"m\"}}}\n".to_owned(),
        "{\"method\":\"thread/status/changed\",\"params\":{}}\n".to_owned(),
        item("completed", r#""type":"userMessage","id":"m","clientId":null,"content":[{"type":"text","text":"do it"}]"#),
        item("started", &format!("{command},\"status\":\"inProgress\",\"aggregatedOutput\":null,\"exitCode\":null")),
        "{\"method\":\"item/commandExecution/requestApproval\",\"id\":0,\"params\":{\"itemId\":\"c0\",\"command\":\"ls\"}}\n".to_owned(),
        item("completed", &format!("{command},\"status\":\"completed\",\"aggregatedOutput\":\"a\\n\",\"exitCode\":0")),
        "{\"method\":\"thread/tokenUsage/updated\",\"params\":{\"tokenUsage\":{\"total\":{\"inputTokens\":100,\"cachedInputTokens\":0,\"outputTokens\":20,\"reasoningOutputTokens\":0}}}}\n".to_owned(),
        item("started", r#""type":"fileChange","id":"c1","changes":[{"path":"a","kind":{"type":"add"},"diff":"x"}],"status":"inProgress""#),
        item("completed", r#""type":"fileChange","id":"c1","changes":[{"path":"a","kind":{"type":"add"},"diff":"x"}],"status":"completed""#),
        item("completed", r#""type":"mcpToolCall","id":"c2","server":"orch","tool":"note","status":"failed","arguments":{"text":"t"},"result":null,"error":{"message":"no"}"#),
        item("completed", r#""type":"commandExecution","id":"c3","command":"rm x","status":"declined","aggregatedOutput":null"#),
        item("completed", r#""type":"agentMessage","id":"m1","text":"done""#),
        "{\"method\":\"error\",\"params\":{\"error\":{\"message\":\"stream disconnected\"},\"willRetry\":true}}\n".to_owned(),
        "{\"id\":\"steer-1\",\"error\":{\"code\":-32600,\"message\":\"no active turn\"}}\n".to_owned(),
        "{\"method\":\"turn/completed\",\"params\":{\"turn\":{\"id\":\"U\",\"status\":\"failed\",\"error\":{\"message\":\"stream disconnected\"}}}}\n".to_owned(),
        "{\"method\":\"made/up\"}\n{\"id\":\n".to_owned(),
    ];
    insta::assert_snapshot!(told(Protocol::CodexAppServer, stream.concat()).join("\n"));
}

/// As the schema of the app-server of 0.171 has it: what a person is asked is no request for leave.
#[test]
fn questions_of_the_app_server_are_told_as_questions() {
    let asked = |id: u32, method: &str, params: &str| {
        format!("{{\"id\":{id},\"method\":\"{method}\",\"params\":{{\"threadId\":\"T\",{params}}}}}\n")
    };
    let questions = r#""questions":[{"id":"db","header":"H","question":"Which?","options":[{"label":"a","description":"d"}]},{"id":"q","question":"Why?","options":null}]"#;
    let leave =
        r#""serverName":"orch","message":"Allow?","_meta":{"codex_approval_kind":"mcp_tool_call","tool_name":"note"}"#;
    let stream = [
        asked(0, "item/tool/requestUserInput", questions),
        asked(1, "mcpServer/elicitation/request", r#""serverName":"house","message":"Who?","_meta":null"#),
        asked(2, "mcpServer/elicitation/request", leave),
    ];
    let wonders = |id: &str, question: &str, options: Vec<Choice>| RunEvent::InfoRequested {
        id: id.to_owned(),
        question: question.into(),
        options,
    };
    assert_eq!(
        events(Protocol::CodexAppServer, stream.concat()),
        [
            wonders("0", "Which?", vec![Choice { id: "a".into(), label: "a".into(), verdict: None }]),
            wonders("0", "Why?", Vec::new()),
            wonders("1", "Who?", Vec::new()),
            RunEvent::ApprovalRequested {
                id: "2".into(),
                tool: "tool".into(),
                action: "Allow?".into(),
                options: Vec::new()
            },
        ]
    );
}
