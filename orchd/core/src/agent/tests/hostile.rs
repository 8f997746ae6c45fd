//! Lines that no program should write.

use super::*;

const ALL: [Protocol; 4] = [Protocol::CodexExec, Protocol::ClaudeStream, Protocol::Acp, Protocol::Plain];
const OF_JSON: [Protocol; 3] = [Protocol::CodexExec, Protocol::ClaudeStream, Protocol::Acp];

/// A line of codex with a message of which `text` is the JSON.
fn message(text: &str) -> String {
    format!("{{\"type\":\"item.completed\",\"item\":{{\"id\":\"1\",\"type\":\"agent_message\",\"text\":{text}}}}}\n")
}

fn said(text: &str) -> RunEvent {
    RunEvent::Message { role: Role::Agent, text: text.into(), is_part: false }
}

#[test]
fn what_is_not_json_does_not_hide_what_comes_after_it() {
    let stream = format!("warning: x\n{{\"type\":\"item.com\n\n  \n{{}}{{}}\n{}", message("\"ok\""));
    let bad = raw(RawReason::NotJson);
    assert_eq!(events(Protocol::CodexExec, stream), [bad.clone(), bad.clone(), bad, said("ok")]);
    for protocol in OF_JSON {
        assert_eq!(events(protocol, "\u{1b}[31mred\u{1b}[0m\n"), [raw(RawReason::NotJson)]);
        assert_eq!(events(protocol, b"{\"\xff\":\n"), [raw(RawReason::NotUtf8)]);
    }
}

#[test]
fn a_line_of_ten_megabytes_is_read_and_its_text_is_cut() {
    let long = "a".repeat(10_000_000);
    for text in [format!("\"{long}\""), format!("\"\\n{long}\"")] {
        let [RunEvent::Message { text, .. }] = &events(Protocol::CodexExec, message(&text))[..] else { panic!() };
        assert_eq!(text.text.len(), TEXT_BYTES_MAX);
        assert!(text.dropped_bytes > 9_900_000);
    }
}

#[test]
fn a_line_that_is_too_long_says_what_its_abridged_form_says() {
    let long = "a".repeat(LINE_BYTES_MAX + 1);
    let stream = format!("{long}\n{}", message("\"ok\""));
    assert_eq!(events(Protocol::CodexExec, &stream), [raw(RawReason::TooLong), said("ok")]);
    let [RunEvent::Message { text, .. }, _] = &events(Protocol::Plain, stream)[..] else { panic!() };
    assert_eq!((text.text.len(), text.dropped_bytes), (TEXT_BYTES_MAX, (LINE_BYTES_MAX + 1 - TEXT_BYTES_MAX) as u64));

    let abridged = |line: &str| unknown(&format!("a line of {} bytes, abridged", line.len()));
    let result = format!(
        r#"{{"type":"result","subtype":"success","is_error":false,"num_turns":1,"result":"{long}","usage":{{"input_tokens":7,"output_tokens":3}}}}"#
    );
    let told = events(Protocol::ClaudeStream, &result);
    assert!(told.contains(&RunEvent::TurnFinished { stop: Stop::Completed }), "{told:?}");
    assert_eq!(told.last(), Some(&abridged(&result)));
    let turn = format!(
        r#"{{"method":"turn/completed","params":{{"items":["{long}"],"turn":{{"id":"t","status":"completed"}}}}}}"#
    );
    assert_eq!(
        events(Protocol::CodexAppServer, &turn),
        [RunEvent::TurnFinished { stop: Stop::Completed }, abridged(&turn)]
    );
    let update = format!(
        r#"{{"method":"session/update","params":{{"update":{{"sessionUpdate":"agent_message_chunk","content":{{"type":"text","text":"{long}"}}}}}}}}"#
    );
    let [RunEvent::Message { text, is_part: true, .. }, _] = &events(Protocol::Acp, update)[..] else { panic!() };
    assert!(text.text.len() == TEXT_BYTES_MAX, "{}", text.text.len());
}

#[test]
fn deep_nesting_needs_no_stack() {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(50_000), close.repeat(50_000));
    for deep in [deep("[", "]"), deep("{\"a\":", "1}").replace("1}", "}").replacen('}', "1}", 1)] {
        // Where nobody looks it is skipped, where somebody looks it is refused.
        let skipped =
            format!("{{\"type\":\"item.completed\",\"x\":{deep},\"item\":{{\"type\":\"reasoning\",\"text\":\"t\"}}}}");
        assert_eq!(events(Protocol::CodexExec, skipped), [RunEvent::Thought { text: "t".into(), is_part: false }]);
        let arguments =
            format!("{{\"type\":\"item.started\",\"item\":{{\"type\":\"mcp_tool_call\",\"arguments\":{deep}}}}}");
        let [RunEvent::ToolStarted { input, .. }] = &events(Protocol::CodexExec, arguments)[..] else { panic!() };
        assert_eq!(input.text.len(), TEXT_BYTES_MAX);
        for protocol in OF_JSON {
            assert_eq!(events(protocol, &deep), [RunEvent::Unknown { kind: None }]);
            assert_eq!(
                events(protocol, format!("{{\"type\":{deep},\"method\":{deep}}}")),
                [RunEvent::Unknown { kind: None }]
            );
        }
        assert_eq!(
            events(Protocol::ClaudeStream, format!("{{\"type\":\"user\",\"message\":{{\"content\":{deep}}}}}")),
            [unknown("user")]
        );
        let update = format!("{{\"method\":\"session/update\",\"params\":{{\"update\":{{\"content\":{deep}}}}}}}");
        assert_eq!(events(Protocol::Acp, update).len(), 1);
    }
    // Without an end.
    for protocol in OF_JSON {
        assert_eq!(events(protocol, "[".repeat(50_000)), [raw(RawReason::NotJson)]);
        assert_eq!(events(protocol, "{\"a\":".repeat(50_000)), [raw(RawReason::NotJson)]);
    }
}

#[test]
fn text_that_is_not_utf8_is_read_where_it_is_text() {
    let mut line = message("\"a?b\"").into_bytes();
    let at = line.iter().position(|byte| *byte == b'?').unwrap();
    line[at] = 0xff;
    assert_eq!(events(Protocol::CodexExec, line), [said("a\u{fffd}b")]);
    // Half of a surrogate pair: what a program writes that cuts a text between two UTF-16 units.
    let cut = message(r#""a\ud83d""#);
    assert!(matches!(&events(Protocol::CodexExec, cut)[..], [RunEvent::Message { .. }]));
    let result =
        r#"{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t","content":"\ud83d"}]}}"#;
    assert_eq!(events(Protocol::ClaudeStream, result).len(), 2);
}

#[test]
fn keys_that_are_there_twice_cost_one_line() {
    let twice = r#"{"type":"item.completed","item":{"type":"reasoning","text":"a","text":"b"}}"#;
    let types = r#"{"type":"item.completed","type":"x","item":{"type":"reasoning","text":"a"}}"#;
    assert_eq!(events(Protocol::CodexExec, twice), [unknown("item.completed")]);
    assert_eq!(events(Protocol::CodexExec, types), [RunEvent::Thought { text: "a".into(), is_part: false }]);
}

#[test]
fn numbers_out_of_range_are_not_said() {
    let usage = |number: &str| {
        format!("{{\"type\":\"turn.completed\",\"usage\":{{\"input_tokens\":{number},\"output_tokens\":1}}}}")
    };
    for number in ["-1", "-99999999999999999999", "\"7\"", "null", "[]", "{}", "true"] {
        let told = events(Protocol::CodexExec, usage(number));
        let expected = RunEvent::Usage(Usage { output: Some(1), cumulative: true, ..Usage::default() });
        assert_eq!(told.first(), Some(&expected), "{number}");
    }
    for number in ["99999999999999999999999", "1e300"] {
        let RunEvent::Usage(usage) = events(Protocol::CodexExec, usage(number)).remove(0) else { panic!() };
        assert_eq!(usage.input, Some(u64::MAX));
    }
    // Which not even a number of 64 bits can be.
    assert_eq!(events(Protocol::CodexExec, usage("1e999")), [unknown("turn.completed")]);
    let command = r#"{"type":"item.completed","item":{"id":"1","type":"command_execution","exit_code":99999999999}}"#;
    let finished = RunEvent::ToolFinished { id: "1".into(), status: ToolStatus::Succeeded, exit_code: None };
    assert_eq!(events(Protocol::CodexExec, command).last(), Some(&finished));
}

#[test]
fn long_lists_and_names_are_cut() {
    let changes = vec![r#"{"path":"a","kind":"add"}"#; LIST_MAX + 5].join(",");
    let name = "n".repeat(10_000);
    let line = format!(
        r#"{{"type":"item.completed","item":{{"id":"{name}","type":"file_change","changes":[{changes}],"status":"completed"}}}}"#
    );
    let told = events(Protocol::CodexExec, line);
    assert_eq!(told.iter().filter(|event| matches!(event, RunEvent::FileChanged { .. })).count(), LIST_MAX);
    assert!(told.contains(&unknown("5 more in a list")));
    let Some(RunEvent::ToolFinished { id, .. }) = told.last() else { panic!() };
    assert_eq!(id.len(), NAME_BYTES_MAX);
    let line = format!(r#"{{"type":"{name}"}}"#);
    assert_eq!(events(Protocol::CodexExec, line), [unknown(&name[..NAME_BYTES_MAX])]);
}

#[test]
fn control_characters_stay_as_they_are() {
    assert_eq!(events(Protocol::CodexExec, message(r#""\u001b[31m\u0000""#)), [said("\u{1b}[31m\0")]);
    assert_eq!(events(Protocol::Plain, "\u{1b}[31m"), [said("\u{1b}[31m")]);
}

#[test]
fn tools_that_never_end_are_forgotten() {
    let start = |id: usize| {
        format!(
            "{{\"type\":\"item.started\",\"item\":{{\"id\":\"{id}\",\"type\":\"command_execution\",\"command\":\"x\"}}}}\n"
        )
    };
    let stream: String = (0..10_000).map(start).collect();
    assert_eq!(events(Protocol::CodexExec, stream).len(), 10_000);
}

#[test]
fn an_empty_stream_says_nothing() {
    for protocol in ALL {
        assert_eq!(events(protocol, ""), []);
    }
    for protocol in OF_JSON {
        assert_eq!(events(protocol, "\n\r\n \t\n"), []);
    }
}
