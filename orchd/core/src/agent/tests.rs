//! What each protocol's lines become, and what hostile ones do not do. Whole transcripts are in `tests/transcripts`.

use super::*;

mod acp;
mod claude;
mod codex;
mod hostile;

/// The events of a stream, as one line of JSON each.
fn told(protocol: Protocol, stream: impl AsRef<[u8]>) -> Vec<String> {
    events(protocol, stream).iter().map(|event| serde_json::to_string(event).unwrap()).collect()
}

fn events(protocol: Protocol, stream: impl AsRef<[u8]>) -> Vec<RunEvent> {
    let mut events = Vec::new();
    let mut sink = |_, event| events.push(event);
    let mut parser = Parser::new(protocol);
    parser.feed(stream.as_ref(), &mut sink);
    parser.finish(&mut sink);
    events
}

fn raw(why: RawReason) -> RunEvent {
    RunEvent::Raw { why }
}

fn unknown(kind: &str) -> RunEvent {
    RunEvent::Unknown { kind: Some(kind.to_owned()) }
}

#[test]
fn each_event_is_told_with_where_its_line_begins() {
    let mut places = Vec::new();
    let mut sink = |at, _| places.push(at);
    let mut parser = Parser::new(Protocol::Plain);
    parser.feed(b"one\n\ntw", &mut sink);
    parser.feed(b"o\r\nthree", &mut sink);
    parser.finish(&mut sink);
    assert_eq!(places, [0, 4, 5, 10]);
}

#[test]
fn plain_text_is_said_line_by_line_in_any_encoding() {
    let said = |text: &str| RunEvent::Message { role: Role::Agent, text: text.into(), is_part: false };
    assert_eq!(events(Protocol::Plain, b"{\"a\":1}\r\n\ncaf\xe9"), [said("{\"a\":1}"), said(""), said("caf\u{fffd}")]);
}

#[test]
fn events_survive_being_stored() {
    let all = [
        RunEvent::SessionStarted { native_id: "s".into(), model: None },
        RunEvent::Plan { items: vec![PlanItem { text: "a".into(), status: PlanStatus::InProgress }] },
        RunEvent::Usage(Usage { input: Some(1), cumulative: true, ..Usage::default() }),
        RunEvent::Thought { text: Text { text: "t".into(), dropped_bytes: 3 }, is_part: true },
        unknown("x"),
        raw(RawReason::TooLong),
    ];
    for event in all {
        let stored = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<RunEvent>(&stored).unwrap(), event, "{stored}");
    }
}
