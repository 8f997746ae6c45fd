//! Real transcripts of agent programs, and what they become.
//!
//! Each directory is named for the program and the version that wrote what is in it. The programs ran against a scripted
//! model on loopback; ids, times and paths were replaced by neutral ones. The core does no I/O, so the transcripts are
//! compiled in.

mod properties;

use orch_core::agent::{Parser, Protocol, RunEvent};

/// A transcript: its directory and name, how its program speaks, and what it printed.
struct Transcript {
    name: &'static str,
    protocol: Protocol,
    stream: &'static [u8],
}

macro_rules! transcripts {
    ($($protocol:ident $name:literal),* $(,)?) => {
        &[$(Transcript {
            name: $name,
            protocol: Protocol::$protocol,
            stream: include_bytes!(concat!($name, ".jsonl")),
        }),*]
    };
}

const TRANSCRIPTS: &[Transcript] = transcripts![
    CodexExec "codex-0.171.0/context_full",
    CodexExec "codex-0.171.0/key_refused",
    CodexExec "codex-0.171.0/resumed",
    CodexExec "codex-0.171.0/server_error",
    CodexExec "codex-0.171.0/stream_cut",
    CodexExec "codex-0.171.0/work",
    CodexAppServer "codex-0.171.0/app_server",
    ClaudeStream "claude-2.1.197/asks",
    ClaudeStream "claude-2.1.197/context_full",
    ClaudeStream "claude-2.1.197/control",
    ClaudeStream "claude-2.1.197/key_refused",
    ClaudeStream "claude-2.1.197/rate_limited",
    ClaudeStream "claude-2.1.197/server_error",
    ClaudeStream "claude-2.1.197/stream_cut",
    ClaudeStream "claude-2.1.197/tasks",
    ClaudeStream "claude-2.1.197/turn_limit",
    ClaudeStream "claude-2.1.197/work",
    Acp "opencode-1.18.33/asks",
    Acp "opencode-1.18.33/key_refused",
    Acp "opencode-1.18.33/work",
];

/// All events of a stream that comes in `pieces`, with where their lines begin.
fn events<'a>(protocol: Protocol, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<(u64, RunEvent)> {
    let mut events = Vec::new();
    let mut sink = |at, event| events.push((at, event));
    let mut parser = Parser::new(protocol);
    pieces.into_iter().for_each(|piece| parser.feed(piece, &mut sink));
    parser.finish(&mut sink);
    events
}

#[test]
fn transcripts_of_real_programs_become_events() {
    for Transcript { name, protocol, stream } in TRANSCRIPTS {
        let events = events(*protocol, [*stream]);
        let text: Vec<String> =
            events.iter().map(|(at, event)| format!("{at} {}", serde_json::to_string(event).unwrap())).collect();
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(*name, text.join("\n")));
    }
}

#[test]
fn nothing_in_a_real_transcript_is_raw() {
    for Transcript { name, protocol, stream } in TRANSCRIPTS {
        let raw = events(*protocol, [*stream]).into_iter().find(|(_, event)| matches!(event, RunEvent::Raw { .. }));
        assert_eq!(raw, None, "{name}");
    }
}
