//! The Agent Client Protocol.

use super::*;

fn update(rest: &str) -> String {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"session/update\",\"params\":{{\"sessionId\":\"s\",\"update\":{{{rest}}}}}}}\n"
    )
}

#[test]
fn what_is_said_comes_in_parts() {
    let stream = [
        update(r#""sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"a"}"#),
        update(r#""content":{"text":"b","type":"text"},"sessionUpdate":"agent_thought_chunk""#),
        update(r#""sessionUpdate":"user_message_chunk","content":{"type":"image","data":"..."}"#),
        update(r#""sessionUpdate":"current_mode_update","currentModeId":"x""#),
        update(r#""sessionUpdate":"telepathy""#),
    ];
    assert_eq!(
        told(Protocol::Acp, stream.concat()),
        [
            r#"{"type":"message","data":{"role":"agent","text":{"text":"a"},"is_part":true}}"#,
            r#"{"type":"thought","data":{"text":{"text":"b"},"is_part":true}}"#,
            r#"{"type":"unknown","data":{"kind":"content/image"}}"#,
            r#"{"type":"unknown","data":{"kind":"session/update/telepathy"}}"#,
        ]
    );
}

#[test]
fn a_tool_is_told_again_when_what_it_was_given_is_known() {
    let stream = [
        update(
            r#""sessionUpdate":"tool_call","toolCallId":"t","title":"bash","kind":"execute","status":"pending","rawInput":{}"#,
        ),
        update(
            r#""sessionUpdate":"tool_call_update","toolCallId":"t","status":"in_progress","rawInput":{"command":["ls","-l"]}"#,
        ),
        update(
            r#""sessionUpdate":"tool_call_update","toolCallId":"t","status":"in_progress","content":[{"type":"content","content":{"type":"text","text":"half"}}]"#,
        ),
        update(
            r#""sessionUpdate":"tool_call_update","toolCallId":"t","status":"completed","content":[{"type":"content","content":{"type":"text","text":"whole"}}],"rawOutput":{"output":"whole","metadata":{"exit":0}}"#,
        ),
    ];
    assert_eq!(
        told(Protocol::Acp, stream.concat()),
        [
            r#"{"type":"tool_started","data":{"id":"t","tool":"bash","kind":"execute","input":{"text":""}}}"#,
            r#"{"type":"tool_started","data":{"id":"t","tool":"bash","kind":"execute","input":{"text":"ls -l"}}}"#,
            r#"{"type":"tool_output","data":{"id":"t","text":{"text":"whole"}}}"#,
            r#"{"type":"tool_finished","data":{"id":"t","status":"succeeded","exit_code":0}}"#,
        ]
    );
}

#[test]
fn files_are_changed_when_their_tool_succeeded() {
    let stream = [
        update(
            r#""sessionUpdate":"tool_call","toolCallId":"t","title":"edit","kind":"edit","rawInput":{"a":1},"content":[{"type":"diff","path":"/w/a","oldText":null,"newText":"x"},{"type":"diff","path":"/w/b","oldText":"y","newText":"x"}]"#,
        ),
        update(r#""sessionUpdate":"tool_call_update","toolCallId":"t","status":"completed""#),
        update(
            r#""sessionUpdate":"tool_call","toolCallId":"d","title":"rm","kind":"delete","status":"completed","locations":[{"path":"/w/c","line":1}],"rawOutput":"gone""#,
        ),
    ];
    assert_eq!(
        told(Protocol::Acp, stream.concat()),
        [
            r#"{"type":"tool_started","data":{"id":"t","tool":"edit","kind":"edit","input":{"text":"{\"a\":1}"}}}"#,
            r#"{"type":"file_changed","data":{"path":"/w/a","op":"added"}}"#,
            r#"{"type":"file_changed","data":{"path":"/w/b","op":"modified"}}"#,
            r#"{"type":"tool_finished","data":{"id":"t","status":"succeeded","exit_code":null}}"#,
            r#"{"type":"tool_started","data":{"id":"d","tool":"rm","kind":"delete","input":{"text":""}}}"#,
            r#"{"type":"tool_output","data":{"id":"d","text":{"text":"gone"}}}"#,
            r#"{"type":"file_changed","data":{"path":"/w/c","op":"deleted"}}"#,
            r#"{"type":"tool_finished","data":{"id":"d","status":"succeeded","exit_code":null}}"#,
        ]
    );
}

#[test]
fn leave_and_answers_are_asked_for() {
    let call = update(r#""sessionUpdate":"tool_call","toolCallId":"t","title":"bash","kind":"execute","rawInput":{}"#);
    let stream = [
        call.as_str(),
        r#"{"jsonrpc":"2.0","id":5,"method":"session/request_permission","params":{"sessionId":"s","toolCall":{"toolCallId":"t","rawInput":{"command":"rm x"}},"options":[{"optionId":"once","name":"Allow once","kind":"allow_once"}]}}"#,
        "\n",
        r#"{"jsonrpc":"2.0","id":"six","method":"session/request_permission","params":{"toolCall":{"toolCallId":"u","title":"Delete it"},"options":null}}"#,
        "\n",
        r#"{"jsonrpc":"2.0","id":7,"method":"elicitation/create","params":{"message":"Name?","requestedSchema":{}}}"#,
        "\n",
        r#"{"jsonrpc":"2.0","id":8,"method":"fs/write_text_file","params":{"path":"/x"}}"#,
    ];
    assert_eq!(
        told(Protocol::Acp, stream.concat())[1..],
        [
            r#"{"type":"approval_requested","data":{"id":"5","tool":"bash","action":{"text":"rm x"},"options":[{"id":"once","label":"Allow once","verdict":"allow_once"}]}}"#,
            r#"{"type":"approval_requested","data":{"id":"\"six\"","tool":"Delete it","action":{"text":"Delete it"},"options":[]}}"#,
            r#"{"type":"info_requested","data":{"id":"7","question":{"text":"Name?"},"options":[]}}"#,
            r#"{"type":"unknown","data":{"kind":"fs/write_text_file"}}"#,
        ]
    );
}

#[test]
fn answers_are_told_by_what_they_hold() {
    let stream = concat!(
        r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":1,"agentCapabilities":{}}}"#,
        "\n",
        r#"{"jsonrpc":"2.0","id":1,"result":{"sessionId":"s","models":{"currentModelId":"p/m","availableModels":[]}}}"#,
        "\n",
        r#"{"jsonrpc":"2.0","id":2,"result":{"stopReason":"max_turn_requests","usage":{"totalTokens":31,"inputTokens":10,"outputTokens":5,"thoughtTokens":4,"cachedReadTokens":12}}}"#,
        "\n",
        r#"{"jsonrpc":"2.0","id":"prompt-3","error":{"code":-32603,"message":"Internal error","data":{"details":"status 429"}}}"#,
        "\n",
        r#"{"jsonrpc":"2.0","id":4,"error":{"code":-32000,"message":"Authentication required"}}"#,
        "\n",
        r#"{"jsonrpc":"2.0","id":5,"result":null}"#,
        "\n{\"jsonrpc\":\"2.0\"}\n",
    );
    assert_eq!(
        told(Protocol::Acp, stream),
        [
            r#"{"type":"session_started","data":{"native_id":"s","model":"p/m"}}"#,
            r#"{"type":"usage","data":{"input":22,"cached":12,"output":9,"reasoning":4,"cost_usd_micros":null,"cumulative":false}}"#,
            r#"{"type":"turn_finished","data":{"stop":"turn_limit"}}"#,
            r#"{"type":"error","data":{"class":"transient","message":{"text":"Internal error: {\"details\":\"status 429\"}"}}}"#,
            r#"{"type":"turn_finished","data":{"stop":"failed"}}"#,
            r#"{"type":"error","data":{"class":"auth","message":{"text":"Authentication required"}}}"#,
            r#"{"type":"unknown","data":{"kind":null}}"#,
        ]
    );
}

#[test]
fn costs_in_dollars_are_told() {
    let stream = [
        update(r#""sessionUpdate":"usage_update","used":100,"size":2000,"cost":{"amount":0.5,"currency":"USD"}"#),
        update(r#""sessionUpdate":"usage_update","used":100,"size":2000,"cost":{"amount":0.5,"currency":"EUR"}"#),
        update(r#""sessionUpdate":"usage_update","used":100,"size":2000,"cost":null"#),
    ];
    let cost = Usage { cost_usd_micros: Some(500_000), cumulative: true, ..Usage::default() };
    assert_eq!(events(Protocol::Acp, stream.concat()), [RunEvent::Usage(cost)]);
}
