//! `claude -p --output-format stream-json`.

use super::*;

fn assistant(id: &str, block: &str) -> String {
    format!(
        "{{\"type\":\"assistant\",\"message\":{{\"id\":\"{id}\",\"role\":\"assistant\",\"content\":[{block}],\"usage\":{{\"input_tokens\":3,\"cache_creation_input_tokens\":5,\"cache_read_input_tokens\":7,\"output_tokens\":2}}}}}}\n"
    )
}

fn usages(stream: impl AsRef<[u8]>) -> Vec<Usage> {
    let usage = |event| match event {
        RunEvent::Usage(usage) => Some(usage),
        _ => None,
    };
    events(Protocol::ClaudeStream, stream).into_iter().filter_map(usage).collect()
}

#[test]
fn tokens_are_counted_once_for_each_message() {
    let text = r#"{"type":"text","text":"a"}"#;
    let step = Usage { input: Some(15), cached: Some(7), output: Some(2), ..Usage::default() };
    let stream = [assistant("m1", text), assistant("m1", text), assistant("m2", text), assistant("m1", text)];
    assert_eq!(usages(stream.concat()), [step, step]);
    // Only the last few ids are remembered.
    let many: String = (0..100).map(|number| assistant(&format!("m{number}"), text)).collect();
    assert_eq!(usages(many.repeat(2)).len(), 200);
}

#[test]
fn the_last_line_has_the_totals_of_all_models() {
    let stream = r#"{"type":"result","subtype":"success","is_error":false,"total_cost_usd":0.0123456,"usage":{"input_tokens":1},"modelUsage":{"a":{"inputTokens":1,"outputTokens":2,"cacheReadInputTokens":3,"cacheCreationInputTokens":4,"costUSD":0.01},"b":{"inputTokens":10,"outputTokens":20}}}"#;
    let total = Usage {
        input: Some(18),
        cached: Some(3),
        output: Some(22),
        reasoning: None,
        cost_usd_micros: Some(12_346),
        cumulative: true,
    };
    assert_eq!(usages(stream), [total]);
    let stream = r#"{"type":"result","subtype":"success","is_error":false,"usage":{"input_tokens":1},"modelUsage":{}}"#;
    assert_eq!(usages(stream), [Usage { input: Some(1), cumulative: true, ..Usage::default() }]);
}

#[test]
fn whether_a_turn_failed_is_not_in_its_subtype() {
    let stop = |line: &str| events(Protocol::ClaudeStream, line).pop();
    let stops = [
        (r#"{"type":"result","subtype":"success","is_error":true,"result":"API Error"}"#, Stop::Failed),
        (r#"{"type":"result","subtype":"success","is_error":false}"#, Stop::Completed),
        (r#"{"type":"result","subtype":"success","is_error":false,"stop_reason":"max_tokens"}"#, Stop::TokenLimit),
        (r#"{"type":"result","subtype":"success","is_error":false,"stop_reason":"refusal"}"#, Stop::Refused),
        (r#"{"type":"result","subtype":"error_max_turns","is_error":true}"#, Stop::TurnLimit),
        (r#"{"type":"result","subtype":"error_max_budget_usd","is_error":true}"#, Stop::BudgetLimit),
        (r#"{"type":"result","subtype":"error_during_execution"}"#, Stop::Failed),
        (r#"{"type":"result","result":7,"errors":{},"usage":[],"modelUsage":3,"total_cost_usd":"x"}"#, Stop::Completed),
    ];
    for (line, expected) in stops {
        assert_eq!(stop(line), Some(RunEvent::TurnFinished { stop: expected }), "{line}");
    }
}

#[test]
fn an_error_of_the_provider_is_told_once() {
    let stream = concat!(
        r#"{"type":"assistant","error":"authentication_failed","message":{"id":"m","model":"<synthetic>","content":[{"type":"text","text":"Invalid API key"}],"usage":{"input_tokens":0}}}"#,
        "\n",
        r#"{"type":"result","subtype":"success","is_error":true,"api_error_status":401,"result":"Invalid API key"}"#,
    );
    let message = "Invalid API key".into();
    let expected =
        [RunEvent::Error { class: ErrorClass::Auth, message }, RunEvent::TurnFinished { stop: Stop::Failed }];
    assert_eq!(events(Protocol::ClaudeStream, stream), expected);
}

#[test]
fn a_file_is_changed_when_its_tool_succeeded() {
    let write = r#"{"type":"tool_use","id":"t1","name":"Write","input":{"file_path":"/w/a","content":"x"}}"#;
    let done = |is_error: bool| {
        format!(
            "{{\"type\":\"user\",\"message\":{{\"content\":[{{\"type\":\"tool_result\",\"tool_use_id\":\"t1\",\"content\":\"ok\",\"is_error\":{is_error}}}]}},\"tool_use_result\":{{\"type\":\"create\",\"filePath\":\"/w/a\"}}}}\n"
        )
    };
    let changed = RunEvent::FileChanged { path: "/w/a".into(), op: FileOp::Added };
    let good = events(Protocol::ClaudeStream, assistant("m", write) + &done(false));
    assert!(good.contains(&changed), "{good:?}");
    let bad = events(Protocol::ClaudeStream, assistant("m", write) + &done(true));
    assert!(!bad.contains(&changed), "{bad:?}");
}

#[test]
fn the_exit_code_of_a_failed_command_is_in_its_output() {
    let bash =
        assistant("", r#"{"type":"tool_use","id":"t1","name":"Bash","input":{"command":"false","description":"d"}}"#);
    let done = r#"{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t1","content":"Exit code 3\nno","is_error":true}]}}"#;
    assert_eq!(
        told(Protocol::ClaudeStream, bash + done),
        [
            r#"{"type":"tool_started","data":{"id":"t1","tool":"Bash","kind":"execute","input":{"text":"false"}}}"#,
            r#"{"type":"tool_output","data":{"id":"t1","text":{"text":"Exit code 3\nno"}}}"#,
            r#"{"type":"tool_finished","data":{"id":"t1","status":"failed","exit_code":3}}"#,
        ]
    );
}

#[test]
fn leave_and_answers_are_asked_for() {
    let stream = concat!(
        r#"{"type":"control_request","request_id":"r1","request":{"subtype":"can_use_tool","tool_name":"Bash","input":{"command":"rm x"},"tool_use_id":"t"}}"#,
        "\n",
        r#"{"type":"control_request","request_id":"r2","request":{"subtype":"can_use_tool","tool_name":"AskUserQuestion","input":{"questions":[{"question":"Which?","options":[{"label":"A"},{"label":"B"}]}]}}}"#,
        "\n",
        r#"{"type":"control_request","request_id":"r3","request":{"subtype":"elicitation","message":"Name?"}}"#,
        "\n",
        r#"{"type":"control_request","request_id":"r4","request":{"subtype":"hook_callback"}}"#,
        "\n",
        r#"{"type":"result","subtype":"success","is_error":false,"deferred_tool_use":{"id":"t9","name":"Write","input":{"a":1}}}"#,
    );
    assert_eq!(
        told(Protocol::ClaudeStream, stream),
        [
            r#"{"type":"approval_requested","data":{"id":"r1","tool":"Bash","action":{"text":"rm x"},"options":[]}}"#,
            r#"{"type":"info_requested","data":{"id":"r2","question":{"text":"Which?"},"options":[{"id":"A","label":"A"},{"id":"B","label":"B"}]}}"#,
            r#"{"type":"info_requested","data":{"id":"r3","question":{"text":"Name?"},"options":[]}}"#,
            r#"{"type":"approval_requested","data":{"id":"t9","tool":"Write","action":{"text":"{\"a\":1}"},"options":[]}}"#,
            r#"{"type":"turn_finished","data":{"stop":"deferred"}}"#,
        ]
    );
}

#[test]
fn a_limit_is_told_when_it_is_reached() {
    let event = |status: &str| {
        format!(
            "{{\"type\":\"rate_limit_event\",\"rate_limit_info\":{{\"status\":\"{status}\",\"resetsAt\":1795165557}}}}"
        )
    };
    assert_eq!(told(Protocol::ClaudeStream, event("allowed_warning")), [""; 0]);
    assert_eq!(
        told(Protocol::ClaudeStream, event("rejected")),
        [r#"{"type":"rate_limited","data":{"resets_at":"2026-11-20T09:05:57.000000Z"}}"#]
    );
}

#[test]
fn a_session_is_told_once_and_a_retry_as_it_is() {
    let init = "{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"s\",\"model\":\"m\"}\n";
    let retry = r#"{"type":"system","subtype":"api_retry","attempt":1,"max_retries":10,"retry_delay_ms":500,"error_status":529,"error":"overloaded"}"#;
    assert_eq!(
        told(Protocol::ClaudeStream, [init, init, retry].concat()),
        [
            r#"{"type":"session_started","data":{"native_id":"s","model":"m"}}"#,
            r#"{"type":"error","data":{"class":"transient","message":{"text":"overloaded (status 529), attempt 1 of 10"}}}"#,
        ]
    );
}

/// What comes with the control protocol beside the conversation.
#[test]
fn a_message_of_a_person_is_told_and_a_hook_is_not() {
    let stream = concat!(
        r#"{"type":"user","message":{"role":"user","content":[{"type":"text","text":"now more"}]},"uuid":"u","isReplay":true}"#,
        "\n",
        r#"{"type":"control_request","request_id":"r","request":{"subtype":"hook_callback","callback_id":"leave","input":{}}}"#,
        "\n",
        r#"{"type":"control_response","response":{"subtype":"success","request_id":"r"}}"#,
        "\n",
    );
    assert_eq!(
        told(Protocol::ClaudeStream, stream),
        [r#"{"type":"message","data":{"role":"user","text":{"text":"now more"},"is_part":false}}"#]
    );
}
