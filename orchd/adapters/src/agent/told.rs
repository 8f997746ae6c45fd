//! What an agent did, in lines for people: a log with what its agent printed read, and everything else as it is.
//!
//! Agents print JSON that nobody can read. Here each of their lines becomes what it says; what cannot be read so is shown
//! as it is, and nothing is believed. The log itself stays what it was.

use std::path::Path;

use orch_core::agent::{Parser, Protocol, RunEvent};
use orch_proto::request::Bytes;
use orch_proto::view::{LogChunk, LogStream};
use orch_sandbox::log::{Ending, ReadLogError, Record, Stream};

use super::AgentKind;
use super::words::words;
use crate::run_log::{self, Piece};

/// Most bytes of a line that could not be read.
const RAW_BYTES_MAX: usize = 4 << 10;
/// Longest line that is held, in bytes; a longer one is read piece by piece.
const LINE_BYTES_MAX: usize = 4 << 20;
/// As much is read of it at a time, in bytes.
const STEP_BYTES: usize = 1 << 20;
/// Most bytes of a log that one line goes through; what is said of a longer one is said then.
const LONG_BYTES_MAX: u64 = 256 << 20;
/// About as many bytes are answered at once. A short line of an agent can become very many.
const PAGE_BYTES_MAX: usize = 1 << 20;
/// About how many bytes a line takes on its way beside its text.
const CHUNK_BYTES: usize = 160;
/// Most bytes of a log that a text which comes in parts is waited for; a longer one is shown in pieces.
const PARTS_BYTES_MAX: u64 = 256 << 10;

/// Which output of a run is that of its agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentOutput {
    /// Index of its step among those that are executed.
    pub step: u16,
    pub protocol: Protocol,
}

impl AgentKind {
    /// How its program tells what it does, where a driver speaks with it and where not; none where that is another one's.
    #[must_use]
    pub const fn protocol(self, is_driven: bool) -> Option<Protocol> {
        match self {
            Self::Codex if is_driven => Some(Protocol::CodexAppServer),
            Self::Codex => Some(Protocol::CodexExec),
            Self::Claude => Some(Protocol::ClaudeStream),
            Self::Acp => Some(Protocol::Acp),
            Self::Fake => None,
        }
    }
}

/// Reads lines from `offset` on as [`run_log::chunks`] does, with those of the agent in words. `is_over` says that nothing
/// more comes. A line of the agent that has not ended is left for the next piece, with all behind it; so is a text that comes
/// in parts and of which more may come.
///
/// # Errors
/// When the log exists and cannot be read, or is none.
pub fn told(
    log: &Path,
    offset: u64,
    (bytes_max, is_over): (usize, bool),
    agent: AgentOutput,
) -> Result<Piece<LogChunk>, ReadLogError> {
    let mut bytes_max = bytes_max;
    loop {
        let (records, next_offset) = run_log::read(log, offset, bytes_max)?;
        let read = next_offset.saturating_sub(offset);
        let has_more = read >= bytes_max as u64 / 2;
        let (whole, told) = tellable(&records, next_offset, has_more || !is_over, agent);
        if whole > 0 || records.is_empty() {
            let next_offset = records.get(whole).map_or(next_offset, |record| record.offset);
            return Ok(Piece { items: told.chunks, next_offset });
        }
        // The first line is longer than what was read, or not all there.
        if bytes_max >= LINE_BYTES_MAX && has_more {
            let told = long_line(log, offset, is_over, agent)?;
            return Ok(told.unwrap_or(Piece { items: Vec::new(), next_offset: offset }));
        }
        if is_over && !has_more {
            let told = in_words(&records, agent);
            let next_offset = records.get(told.used).map_or(next_offset, |record| record.offset);
            return Ok(Piece { items: told.chunks, next_offset });
        }
        if !has_more {
            return Ok(Piece { items: Vec::new(), next_offset: offset });
        }
        bytes_max = bytes_max.saturating_mul(4).min(LINE_BYTES_MAX);
    }
}

/// What the line says that begins at `offset` and is longer than is held; none when it has not ended and may go on. What else was
/// printed meanwhile comes before it.
fn long_line(
    log: &Path,
    offset: u64,
    is_over: bool,
    agent: AgentOutput,
) -> Result<Option<Piece<LogChunk>>, ReadLogError> {
    let (mut parser, mut events, mut others) = (Parser::new(agent.protocol), Vec::new(), Vec::new());
    let (mut at, mut first, mut bytes) = (offset, None::<Record>, 0);
    let next_offset = loop {
        let (records, next) = run_log::read(log, at, STEP_BYTES)?;
        let mut records = records.into_iter().peekable();
        let mut end = None;
        while let Some(record) = records.next() {
            if !is_agents(&record, agent) {
                bytes += record.payload.len() + CHUNK_BYTES;
                // Who prints so much beside it is shown in the log itself.
                others.extend(run_log::chunk(record).filter(|_| bytes < PAGE_BYTES_MAX));
                continue;
            }
            parser.feed(&record.payload, &mut |_, event| events.push(event));
            let is_last = record.ending != Ending::Continues;
            match &mut first {
                None => first = Some(record),
                Some(first) if first.payload.len() < RAW_BYTES_MAX => first.payload.extend(record.payload),
                Some(_) => {}
            }
            if is_last {
                end = Some(records.peek().map_or(next, |record| record.offset));
                break;
            }
        }
        if let Some(end) = end {
            break end;
        }
        match next == at {
            true if !is_over => return Ok(None),
            true => break next,
            false if next.saturating_sub(offset) > LONG_BYTES_MAX => break next,
            false => at = next,
        }
    };
    parser.finish(&mut |_, event| events.push(event));
    let mut telling = Telling { chunks: others, open: None };
    if let Some(first) = &first {
        events.into_iter().for_each(|event| telling.hear(event, &first.payload, (0, first)));
    }
    telling.close();
    Ok(Some(Piece { items: telling.chunks, next_offset }))
}

/// What can be told of records that end at `end`, and of how many: where more may come, not the last line or text that may
/// go on.
fn tellable(records: &[Record], end: u64, may_go_on: bool, agent: AgentOutput) -> (usize, Told) {
    let whole = whole_lines(records, agent);
    let told = in_words(&records[..whole], agent);
    let begun = told.begun.filter(|at| end.saturating_sub(records[*at].offset) <= PARTS_BYTES_MAX);
    match begun.filter(|_| may_go_on && told.used == whole) {
        Some(at) => (at, in_words(&records[..at], agent)),
        None => (told.used, told),
    }
}

/// Whether it is of what the agent itself printed.
pub(super) fn is_agents(record: &Record, agent: AgentOutput) -> bool {
    record.stream == Stream::Stdout && record.step == Some(agent.step)
}

/// How many records there are before a line of the agent that has not ended.
fn whole_lines(records: &[Record], agent: AgentOutput) -> usize {
    let mut begins = None;
    for (at, record) in records.iter().enumerate().filter(|(_, record)| is_agents(record, agent)) {
        begins = match record.ending {
            Ending::Continues => begins.or(Some(at)),
            Ending::Newline | Ending::NoNewline => None,
        };
    }
    begins.unwrap_or(records.len())
}

/// Records in words.
#[derive(Debug, Default)]
struct Told {
    chunks: Vec<LogChunk>,
    /// The record with which a text begins that is the last of all and may go on.
    begun: Option<usize>,
    /// How many records this is: not all where they are more than a page.
    used: usize,
}

/// As many records as make a page.
fn in_words(records: &[Record], agent: AgentOutput) -> Told {
    let mut telling = Telling { chunks: Vec::with_capacity(records.len().min(1_024)), open: None };
    let (mut parser, mut line, mut begins) = (Parser::new(agent.protocol), Vec::new(), 0);
    let (mut bytes, mut counted, mut used) = (0, 0, 0);
    for (at, record) in records.iter().enumerate() {
        bytes += telling.chunks[counted..].iter().map(|chunk| chunk.bytes.0.len() + CHUNK_BYTES).sum::<usize>();
        counted = telling.chunks.len();
        if bytes >= PAGE_BYTES_MAX && line.is_empty() {
            break;
        }
        used = at + 1;
        if !is_agents(record, agent) {
            telling.close();
            telling.chunks.extend(run_log::chunk(record.clone()));
            continue;
        }
        begins = if line.is_empty() { at } else { begins };
        line.extend_from_slice(&record.payload);
        if record.ending != Ending::Continues {
            telling.line(&mut parser, &line, (begins, record));
            line.clear();
        }
    }
    if let (false, Some(last)) = (line.is_empty(), records[..used].iter().rfind(|record| is_agents(record, agent))) {
        telling.line(&mut parser, &line, (begins, last));
    }
    let begun = telling.open.as_ref().map(|open| open.at);
    telling.close();
    Told { chunks: telling.chunks, begun, used }
}

/// What was told, and a text that comes in parts.
struct Telling<'r> {
    chunks: Vec<LogChunk>,
    open: Option<Open<'r>>,
}

struct Open<'r> {
    event: RunEvent,
    at: usize,
    record: &'r Record,
}

impl<'r> Telling<'r> {
    /// What one line of the agent says, which begins with the record of this index.
    fn line(&mut self, parser: &mut Parser, line: &[u8], (at, record): (usize, &'r Record)) {
        let mut sink = |_, event| self.hear(event, line, (at, record));
        parser.feed(line, &mut sink);
        parser.feed(b"\n", &mut sink);
    }

    /// One thing that the agent said, in a line which begins so.
    fn hear(&mut self, event: RunEvent, line: &[u8], (at, record): (usize, &'r Record)) {
        match event {
            RunEvent::Raw { .. } => {
                self.close();
                let raw = line.get(..RAW_BYTES_MAX).unwrap_or(line);
                self.chunks.push(chunk(record, &String::from_utf8_lossy(raw)));
            }
            event if is_part(&event) => {
                let joined = self.open.as_mut().is_some_and(|open| join(&mut open.event, &event));
                if !joined {
                    self.close();
                    self.open = Some(Open { event, at, record });
                }
            }
            event => {
                let words = words(&event);
                // What says nothing ends nothing.
                if !words.is_empty() {
                    self.close();
                }
                self.chunks.extend(words.iter().map(|text| chunk(record, text)));
            }
        }
    }

    fn close(&mut self) {
        if let Some(Open { event, record, .. }) = self.open.take() {
            self.chunks.extend(words(&event).iter().map(|text| chunk(record, text)));
        }
    }
}

fn chunk(record: &Record, text: &str) -> LogChunk {
    LogChunk {
        stream: LogStream::Stdout,
        step: record.step.map(u32::from),
        at: run_log::timestamp(record.time_us),
        bytes: Bytes(text.as_bytes().to_vec()),
        newline: true,
    }
}

const fn is_part(event: &RunEvent) -> bool {
    matches!(event, RunEvent::Message { is_part: true, .. } | RunEvent::Thought { is_part: true, .. })
}

/// Puts a part behind the parts before it; false when it is of another text.
fn join(event: &mut RunEvent, part: &RunEvent) -> bool {
    let (text, more) = match (event, part) {
        (RunEvent::Message { role, text, .. }, RunEvent::Message { role: same, text: more, .. }) if role == same => {
            (text, more)
        }
        (RunEvent::Thought { text, .. }, RunEvent::Thought { text: more, .. }) => (text, more),
        _ => return false,
    };
    text.text.push_str(&more.text);
    text.dropped_bytes += more.dropped_bytes;
    true
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const AGENT: AgentOutput = AgentOutput { step: 1, protocol: Protocol::CodexExec };

    fn record(offset: u64, step: u16, payload: &str, ending: Ending) -> Record {
        let (stream, payload) = (Stream::Stdout, payload.as_bytes().to_vec());
        Record { offset, stream, ending, step: Some(step), time_us: 1, payload }
    }

    fn lines(records: &[Record]) -> Vec<String> {
        let text = |chunk: &LogChunk| String::from_utf8_lossy(&chunk.bytes.0).into_owned();
        in_words(records, AGENT).chunks.iter().map(text).collect()
    }

    /// A line in which an agent says a part of something.
    fn part(offset: u64, what: &str, text: &str) -> Record {
        let update = format!(r#"{{"sessionUpdate":"agent_{what}_chunk","content":{{"type":"text","text":"{text}"}}}}"#);
        let line = format!(r#"{{"method":"session/update","params":{{"sessionId":"s","update":{update}}}}}"#);
        record(offset, 1, &line, Ending::Newline)
    }

    #[test]
    fn a_text_in_parts_is_one_text() {
        let agent = AgentOutput { step: 1, protocol: Protocol::Acp };
        let nothing = r#"{"method":"session/update","params":{"update":{"sessionUpdate":"current_mode_update"}}}"#;
        let records = [
            part(0, "thought", "Hm"),
            part(1, "thought", "m."),
            part(2, "message", "I "),
            record(3, 1, nothing, Ending::Newline),
            part(4, "message", "look.\\nWell."),
            record(5, 0, "other", Ending::Newline),
            part(6, "message", "And "),
            part(7, "message", "so"),
        ];
        let told = in_words(&records, agent);
        let texts: Vec<_> = told.chunks.iter().map(|chunk| String::from_utf8_lossy(&chunk.bytes.0)).collect();
        assert_eq!(texts, ["~ Hmm.", "I look.", "Well.", "other", "And so"]);
        assert_eq!((told.begun, in_words(&records[..6], agent).begun), (Some(6), None));
        // The last may go on, unless nothing more comes, or it is long already.
        let told = |end, may_go_on| {
            let (whole, told) = tellable(&records, end, may_go_on, agent);
            (whole, told.chunks.len())
        };
        assert_eq!([told(9, true), told(9, false), told(PARTS_BYTES_MAX + 7, true)], [(6, 4), (8, 5), (8, 5)]);
    }

    #[test]
    fn lines_of_the_agent_become_what_they_say_and_others_stay() {
        let command = r#"{"type":"item.started","item":{"id":"i","type":"command_execution","command":"cargo test","aggregated_output":"","exit_code":null,"status":"in_progress"}}"#;
        let (first, second) = command.split_at(50);
        let records = [
            record(0, 0, r#"{"type":"turn.started"}"#, Ending::Newline),
            record(1, 1, r#"{"type":"thread.started","thread_id":"abc"}"#, Ending::Newline),
            record(2, 1, first, Ending::Continues),
            record(3, 1, second, Ending::Newline),
            record(
                4,
                1,
                r#"{"type":"item.completed","item":{"id":"m","type":"agent_message","text":"one\ntwo"}}"#,
                Ending::Newline,
            ),
            record(5, 1, "no JSON", Ending::NoNewline),
        ];
        assert_eq!(
            lines(&records),
            [r#"{"type":"turn.started"}"#, "session abc", "$ cargo test", "one", "two", "no JSON"]
        );
    }

    #[test]
    fn a_line_that_has_not_ended_waits_with_all_behind_it() {
        let records = [
            record(0, 1, "a", Ending::Newline),
            record(1, 1, "b", Ending::Continues),
            record(2, 0, "c", Ending::Newline),
            record(3, 1, "d", Ending::Continues),
        ];
        assert_eq!(whole_lines(&records, AGENT), 1);
        assert_eq!(whole_lines(&records[..1], AGENT), 1);
        assert_eq!(lines(&records), ["a", "c", "bd"]);
    }

    #[test]
    fn a_page_has_a_bound_however_many_lines_a_line_becomes() {
        let text = "\\n".repeat(60_000);
        let message =
            format!(r#"{{"type":"item.completed","item":{{"id":"m","type":"agent_message","text":"a{text}b"}}}}"#);
        let records: Vec<Record> = (0..100).map(|at| record(at, 1, &message, Ending::Newline)).collect();
        let (used, told) = tellable(&records, 100, false, AGENT);
        let bytes: usize = told.chunks.iter().map(|chunk| chunk.bytes.0.len() + CHUNK_BYTES).sum();
        assert!(told.chunks.len() > 1_000 && bytes < 2 * PAGE_BYTES_MAX, "{bytes}");
        assert!(used < 100, "the rest comes with the next: {used}");
    }

    /// A log as the shim writes it: stream, ending and text of each record of the agent's step.
    pub(crate) fn log_of(records: &[(u8, u8, &[u8])]) -> tempfile::NamedTempFile {
        let mut bytes = b"ORSBLOG\n\x01\0\0\0\0\0\0\0".to_vec();
        for (stream, ending, payload) in records {
            bytes.extend_from_slice(&u32::try_from(12 + payload.len()).unwrap().to_le_bytes());
            bytes.extend_from_slice(&[*stream, *ending, 1, 0]);
            bytes.extend_from_slice(&7_u64.to_le_bytes());
            bytes.extend_from_slice(payload);
        }
        let log = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(log.path(), bytes).unwrap();
        log
    }

    /// What is read of a line that is longer than is held is what it says, and nothing of it when it may go on.
    #[test]
    fn a_line_of_any_length_says_what_it_says() {
        const OUT: u8 = 1;
        const ERR: u8 = 2;
        let piece = [b'x'; 64 << 10];
        let head = br#"{"type":"item.completed","item":{"id":"m","type":"agent_message","text":"so: "#;
        let tail = &br#""}}"#[..];
        let mut records = vec![(OUT, 1, &head[..])];
        records.extend(std::iter::repeat_n((OUT, 1, &piece[..]), 90));
        records.insert(20, (ERR, 0, &b"meanwhile"[..]));
        let told_of = |records: &[(u8, u8, &[u8])], is_over| {
            let log = log_of(records);
            let piece = told(log.path(), 16, (256 << 10, is_over), AGENT).unwrap();
            let texts: Vec<String> =
                piece.items.iter().map(|chunk| String::from_utf8_lossy(&chunk.bytes.0).into_owned()).collect();
            (texts, piece.next_offset, std::fs::metadata(log.path()).unwrap().len())
        };
        assert_eq!(told_of(&records, false).0, Vec::<String>::new(), "it may go on");
        let whole = [&records[..], &[(OUT, 0, tail), (OUT, 0, &br#"{"type":"turn.started"}"#[..])]].concat();
        let (texts, next_offset, length) = told_of(&whole, false);
        assert_eq!((texts.len(), texts[0].as_str()), (3, "meanwhile"));
        assert!(texts[1].starts_with("so: xxx") && texts[2].contains("more bytes"), "{}", texts[2]);
        assert_eq!(next_offset, length - 16 - 23, "what comes behind it comes next");
        let (texts, next_offset, length) = told_of(&records, true);
        assert_eq!((texts.len(), texts[1].len(), next_offset), (2, RAW_BYTES_MAX, length), "it is shown as it stands");
    }
}
