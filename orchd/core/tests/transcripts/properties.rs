//! Whatever a stream is and however it is cut, it becomes the same events, and they keep to their bounds.

use orch_core::agent::{NAME_BYTES_MAX, PATH_BYTES_MAX, Protocol, RunEvent, TEXT_BYTES_MAX};
use proptest::prelude::*;

use crate::{TRANSCRIPTS, events};

/// What lines of agents are made of.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "\\u",
    "d83d",
    "\n",
    "\r\n",
    " ",
    "null",
    "true",
    "0",
    "-1",
    "1e9",
    "1e999",
    "\u{e9}",
    "\0",
    "\u{1b}[31m",
    "\"type\":",
    "\"item.completed\"",
    "\"item\":",
    "\"id\":",
    "\"command_execution\"",
    "\"file_change\"",
    "\"changes\":",
    "\"assistant\"",
    "\"user\"",
    "\"result\"",
    "\"message\":",
    "\"content\":",
    "\"tool_use\"",
    "\"tool_result\"",
    "\"text\"",
    "\"usage\":",
    "\"modelUsage\":",
    "\"is_error\":",
    "\"method\":",
    "\"session/update\"",
    "\"params\":",
    "\"update\":",
    "\"sessionUpdate\":",
    "\"tool_call\"",
    "\"plan\"",
    "\"entries\":",
    "\"rawInput\":",
    "\"error\":",
    "\"code\":",
    "{\"type\":\"item.completed\",\"item\":",
    "{\"type\":\"assistant\",\"message\":{\"content\":[",
    "{\"method\":\"session/update\",\"params\":{\"update\":{",
];

const PROTOCOLS: [Protocol; 5] =
    [Protocol::CodexExec, Protocol::CodexAppServer, Protocol::ClaudeStream, Protocol::Acp, Protocol::Plain];

fn jsonish() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(PIECES), 0..60).prop_map(|pieces| pieces.concat().into_bytes())
}

/// A real transcript in which some bytes are others.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20);
    (0..TRANSCRIPTS.len(), damage).prop_map(|(which, damage)| {
        let mut stream = TRANSCRIPTS[which].stream.to_vec();
        for (at, byte) in damage {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        stream
    })
}

fn streams() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![prop::collection::vec(any::<u8>(), 0..400), jsonish(), damaged()]
}

/// The pieces of a stream that is cut at `cuts`.
fn cut<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).chain([0, stream.len()]).collect();
    places.sort_unstable();
    places.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}

/// Whether every string in an event is as short as its field says.
fn keeps_bounds(event: &RunEvent) -> bool {
    let is_name = |name: &str| name.len() <= NAME_BYTES_MAX;
    let is_text = |text: &orch_core::agent::Text| text.text.len() <= TEXT_BYTES_MAX;
    match event {
        RunEvent::SessionStarted { native_id, model } => is_name(native_id) && model.as_deref().is_none_or(is_name),
        RunEvent::Message { text, .. } | RunEvent::Thought { text, .. } => is_text(text),
        RunEvent::Plan { items } => items.iter().all(|item| item.text.len() <= PATH_BYTES_MAX),
        RunEvent::ToolStarted { id, tool, input, .. } => is_name(id) && is_name(tool) && is_text(input),
        RunEvent::ToolOutput { id, text } => is_name(id) && is_text(text),
        RunEvent::ToolFinished { id, .. } => is_name(id),
        RunEvent::FileChanged { path, .. } => path.len() <= PATH_BYTES_MAX,
        RunEvent::ApprovalRequested { id, tool, action, .. } => is_name(id) && is_name(tool) && is_text(action),
        RunEvent::InfoRequested { id, question, .. } => is_name(id) && is_text(question),
        RunEvent::Error { message, .. } => is_text(message),
        RunEvent::Unknown { kind } => kind.as_deref().is_none_or(is_name),
        RunEvent::Usage(_) | RunEvent::RateLimited { .. } | RunEvent::TurnFinished { .. } | RunEvent::Raw { .. } => {
            true
        }
    }
}

proptest! {
    #[test]
    fn how_a_stream_is_cut_makes_no_difference(
        stream in streams(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        for protocol in PROTOCOLS {
            let whole = events(protocol, [&stream[..]]);
            prop_assert_eq!(&events(protocol, cut(&stream, &cuts)), &whole);
            prop_assert!(whole.iter().all(|(at, event)| *at < stream.len() as u64 && keeps_bounds(event)));
        }
    }

    #[test]
    fn events_of_any_stream_can_be_stored(stream in streams()) {
        for protocol in PROTOCOLS {
            for (_, event) in events(protocol, [&stream[..]]) {
                let stored = serde_json::to_string(&event).unwrap();
                prop_assert_eq!(serde_json::from_str::<RunEvent>(&stored).unwrap(), event);
            }
        }
    }
}

#[test]
fn a_transcript_byte_by_byte_is_the_same() {
    for transcript in TRANSCRIPTS {
        let whole = events(transcript.protocol, [transcript.stream]);
        assert_eq!(events(transcript.protocol, transcript.stream.chunks(1)), whole, "{}", transcript.name);
    }
}
