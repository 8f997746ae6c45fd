//! From bytes to events: one parser for each run, whatever the program is.

use serde::{Deserialize, Serialize};

use super::acp::Acp;
use super::app_server::AppServer;
use super::claude::Claude;
use super::codex::Codex;
use super::event::{RawReason, Role, RunEvent};
use super::lines::{Line, Lines, Long};
use super::text::{self, Text};
use super::wire;

/// How a program tells what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// `codex exec --json`.
    CodexExec,
    /// `codex app-server`: what the server sends.
    CodexAppServer,
    /// `claude -p --output-format stream-json --verbose`.
    ClaudeStream,
    /// The Agent Client Protocol, version 1: what the agent sends.
    Acp,
    /// A program that prints text: each line is a message.
    Plain,
}

/// Reads what a program prints, from the beginning.
#[derive(Debug)]
pub struct Parser {
    lines: Lines,
    reader: Reader,
}

#[derive(Debug)]
enum Reader {
    Codex(Codex),
    AppServer(AppServer),
    Claude(Claude),
    Acp(Acp),
    Plain,
}

impl Parser {
    #[must_use]
    pub fn new(protocol: Protocol) -> Self {
        let reader = match protocol {
            Protocol::CodexExec => Reader::Codex(Codex::default()),
            Protocol::CodexAppServer => Reader::AppServer(AppServer::default()),
            Protocol::ClaudeStream => Reader::Claude(Claude::default()),
            Protocol::Acp => Reader::Acp(Acp::default()),
            Protocol::Plain => Reader::Plain,
        };
        Self { lines: Lines::default(), reader }
    }

    /// Takes the next bytes and gives the events of each line that ends in them, with where the line begins in the stream.
    /// How the stream is cut into pieces makes no difference.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut impl FnMut(u64, RunEvent)) {
        let Self { lines, reader } = self;
        lines.feed(bytes, &mut |at, line| reader.line(line, &mut |event| sink(at, event)));
    }

    /// Nothing more comes: a last line without an end is taken as it is.
    pub fn finish(&mut self, sink: &mut impl FnMut(u64, RunEvent)) {
        let Self { lines, reader } = self;
        lines.finish(&mut |at, line| reader.line(line, &mut |event| sink(at, event)));
    }
}

impl Reader {
    fn line(&mut self, line: Line<'_>, sink: &mut dyn FnMut(RunEvent)) {
        let line = match line {
            Line::Whole(line) => line,
            Line::TooLong(long) => return self.long(long, sink),
        };
        let is_blank = line.trim_ascii().is_empty();
        match self {
            Self::Plain => sink(said(line, 0)),
            _ if is_blank => {}
            Self::Codex(codex) => codex.line(line, sink),
            Self::AppServer(server) => server.line(line, sink),
            Self::Claude(claude) => claude.line(line, sink),
            Self::Acp(acp) => acp.line(line, sink),
        }
    }

    /// A line that is too long to be held says what its abridged form says, and that it is that.
    fn long(&mut self, long: &Long, sink: &mut dyn FnMut(RunEvent)) {
        if let Self::Plain = self {
            let beyond = long.length.saturating_sub(long.head.len() as u64);
            return sink(said(&long.head, beyond));
        }
        if wire::pass(&long.abridged).is_none() {
            return sink(RunEvent::Raw { why: RawReason::TooLong });
        }
        self.line(Line::Whole(&long.abridged), sink);
        sink(RunEvent::Unknown { kind: Some(format!("a line of {} bytes, abridged", long.length)) });
    }
}

/// Text may be in any encoding; what is not UTF-8 is replaced. `beyond` it there were so many bytes more.
fn said(line: &[u8], beyond: u64) -> RunEvent {
    let (text, dropped_bytes) = text::lossy(line);
    let dropped_bytes = dropped_bytes.saturating_add(beyond);
    RunEvent::Message { role: Role::Agent, text: Text::new(text, dropped_bytes), is_part: false }
}
