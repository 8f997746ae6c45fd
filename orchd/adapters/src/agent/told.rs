//! What an agent did, in lines for people: a log with what its agent printed read, and everything else as it is.
//!
//! Agents print JSON that nobody can read. Here each of their lines becomes what it says; what cannot be read so is shown
//! as it is, and nothing is believed. The log itself stays what it was.

use std::path::Path;

use orch_core::agent::{
    Choice, FileOp, Parser, PlanItem, PlanStatus, Protocol, Role, RunEvent, Text, ToolKind, ToolStatus, Usage,
};
use orch_proto::request::Bytes;
use orch_proto::view::{LogChunk, LogStream};
use orch_sandbox::log::{Ending, ReadLogError, Record, Stream};

use super::AgentKind;
use crate::run_log::{self, Piece};

/// Most lines of what a tool gave back that are shown; the raw log has all.
const OUTPUT_LINES_MAX: usize = 20;
/// Most bytes of a line that could not be read.
const RAW_BYTES_MAX: usize = 4 << 10;
/// Most lines of what it says itself.
const MESSAGE_LINES_MAX: usize = 1_000;
/// Longest line that is waited for before it is shown as it is, in bytes.
const LINE_BYTES_MAX: usize = 4 << 20;
/// About as many bytes are answered at once. A short line of an agent can become very many.
const PAGE_BYTES_MAX: usize = 1 << 20;
/// About how many bytes a line takes on its way beside its text.
const CHUNK_BYTES: usize = 160;

/// Which output of a run is that of its agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentOutput {
    /// Index of its step among those that are executed.
    pub step: u16,
    pub protocol: Protocol,
}

impl AgentKind {
    /// How its program tells what it does.
    #[must_use]
    pub const fn protocol(self) -> Protocol {
        match self {
            Self::Codex => Protocol::CodexExec,
            Self::Claude => Protocol::ClaudeStream,
        }
    }
}

/// Reads lines from `offset` on as [`run_log::chunks`] does, with those of the agent in words. `is_over` says that nothing
/// more comes. A line of the agent that has not ended is left for the next piece, with all behind it.
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
        let whole = whole_lines(&records, agent);
        let is_all = whole == records.len();
        if whole > 0 || records.is_empty() || is_over && is_all {
            return Ok(page(&records, whole, next_offset, agent));
        }
        // The first line is longer than what was read, or not all there.
        let read = next_offset.saturating_sub(offset);
        let has_more = read >= bytes_max as u64 / 2;
        if bytes_max >= LINE_BYTES_MAX || is_over && !has_more {
            return Ok(page(&records, records.len(), next_offset, agent));
        }
        if !has_more {
            return Ok(Piece { items: Vec::new(), next_offset: offset });
        }
        bytes_max = bytes_max.saturating_mul(4).min(LINE_BYTES_MAX);
    }
}

/// The first of these records in words, at most `whole` of them, and where the next one is.
fn page(records: &[Record], whole: usize, end: u64, agent: AgentOutput) -> Piece<LogChunk> {
    let (items, used) = in_words(&records[..whole], agent);
    let next_offset = records.get(used).map_or(end, |record| record.offset);
    Piece { items, next_offset }
}

fn is_agents(record: &Record, agent: AgentOutput) -> bool {
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

/// As many records as make a page, and how many those are.
fn in_words(records: &[Record], agent: AgentOutput) -> (Vec<LogChunk>, usize) {
    let mut chunks = Vec::with_capacity(records.len().min(1_024));
    let (mut parser, mut line) = (Parser::new(agent.protocol), Vec::new());
    let (mut bytes, mut counted, mut used) = (0, 0, 0);
    for record in records {
        if is_agents(record, agent) {
            line.extend_from_slice(&record.payload);
            if record.ending != Ending::Continues {
                say(&mut parser, &line, record, &mut chunks);
                line.clear();
            }
        } else {
            chunks.extend(run_log::chunk(record.clone()));
        }
        used += 1;
        bytes += chunks[counted..].iter().map(|chunk| chunk.bytes.0.len() + CHUNK_BYTES).sum::<usize>();
        counted = chunks.len();
        if bytes >= PAGE_BYTES_MAX {
            break;
        }
    }
    if let (false, Some(last)) = (line.is_empty(), records[..used].iter().rfind(|record| is_agents(record, agent))) {
        say(&mut parser, &line, last, &mut chunks);
    }
    (chunks, used)
}

/// What one line of the agent says.
fn say(parser: &mut Parser, line: &[u8], record: &Record, chunks: &mut Vec<LogChunk>) {
    let mut put = |text: &str| {
        chunks.push(LogChunk {
            stream: LogStream::Stdout,
            step: record.step.map(u32::from),
            at: run_log::timestamp(record.time_us),
            bytes: Bytes(text.as_bytes().to_vec()),
            newline: true,
        });
    };
    let mut sink = |_, event| match event {
        RunEvent::Raw { .. } => put(&String::from_utf8_lossy(line.get(..RAW_BYTES_MAX).unwrap_or(line))),
        event => words(&event).iter().for_each(|text| put(text)),
    };
    parser.feed(line, &mut sink);
    parser.feed(b"\n", &mut sink);
}

/// An event in lines.
fn words(event: &RunEvent) -> Vec<String> {
    match event {
        RunEvent::SessionStarted { native_id, model } => {
            let model = model.as_ref().map_or_else(String::new, |model| format!(" with {model}"));
            vec![format!("session {native_id}{model}")]
        }
        RunEvent::Message { role: Role::Agent, text, .. } => block("", text, MESSAGE_LINES_MAX),
        RunEvent::Message { role: Role::User, text, .. } => block("> ", text, OUTPUT_LINES_MAX),
        RunEvent::Thought { text, .. } => block("~ ", text, OUTPUT_LINES_MAX),
        RunEvent::Plan { items } => items.iter().map(plan_item).collect(),
        RunEvent::ToolStarted { kind: ToolKind::Execute, input, .. } => block("$ ", input, OUTPUT_LINES_MAX),
        RunEvent::ToolStarted { tool, input, .. } => block(&format!("{tool}: "), input, 1),
        RunEvent::ToolOutput { text, .. } => block("  | ", text, OUTPUT_LINES_MAX),
        RunEvent::ToolFinished { status, exit_code, .. } => finished(*status, *exit_code),
        RunEvent::FileChanged { path, op } => vec![format!("{} {path}", letter(*op))],
        RunEvent::Usage(used) => tokens(used).into_iter().collect(),
        RunEvent::ApprovalRequested { tool, action, .. } => block(&format!("asks for leave: {tool}: "), action, 5),
        RunEvent::InfoRequested { question, options, .. } => {
            let labels: Vec<&str> = options.iter().map(|Choice { label, .. }| label.as_str()).collect();
            let mut lines = block("asks: ", question, OUTPUT_LINES_MAX);
            lines.extend((!labels.is_empty()).then(|| format!("asks: one of {}", labels.join(", "))));
            lines
        }
        RunEvent::RateLimited { resets_at } => {
            let until = resets_at.map_or_else(String::new, |at| format!(" until {at}"));
            vec![format!("its model's provider lets nothing more through{until}")]
        }
        RunEvent::Error { message, .. } => block("error: ", message, OUTPUT_LINES_MAX),
        RunEvent::TurnFinished { stop } => {
            let stop = serde_json::to_value(stop).ok();
            let stop = stop.as_ref().and_then(|stop| stop.as_str()).unwrap_or("other").replace('_', " ");
            vec![format!("its turn ended: {stop}")]
        }
        RunEvent::Unknown { .. } | RunEvent::Raw { .. } => Vec::new(),
    }
}

/// The lines of a text, the first behind `first` and the others below it.
fn block(first: &str, text: &Text, lines_max: usize) -> Vec<String> {
    let (mut lines, mut all) = (Vec::new(), text.text.trim_end().lines());
    let below = " ".repeat(first.chars().count());
    let repeats = first.starts_with("  ") || first.len() == 2 && !first.starts_with('$');
    for (at, line) in all.by_ref().take(lines_max).enumerate() {
        let margin = if at == 0 || repeats { first } else { &below };
        lines.push(format!("{margin}{line}"));
    }
    let more = all.count();
    if more > 0 {
        lines.push(format!("{below}... {more} more lines"));
    }
    if text.dropped_bytes > 0 {
        lines.push(format!("{below}... {} more bytes", text.dropped_bytes));
    }
    lines
}

fn plan_item(item: &PlanItem) -> String {
    let mark = match item.status {
        PlanStatus::Pending => ' ',
        PlanStatus::InProgress => '>',
        PlanStatus::Completed => 'x',
    };
    format!("[{mark}] {}", item.text)
}

fn finished(status: ToolStatus, exit_code: Option<i32>) -> Vec<String> {
    let line = match (status, exit_code) {
        (ToolStatus::Succeeded, None | Some(0)) => return Vec::new(),
        (_, Some(code)) => format!("  exit code {code}"),
        (ToolStatus::Declined, None) => "  declined".to_owned(),
        (ToolStatus::Cancelled, None) => "  cancelled".to_owned(),
        (ToolStatus::Failed, None) => "  failed".to_owned(),
    };
    vec![line]
}

const fn letter(op: FileOp) -> char {
    match op {
        FileOp::Added => 'A',
        FileOp::Modified => 'M',
        FileOp::Deleted => 'D',
    }
}

/// What the program counts, which is its own word; the run's figures are the gateway's.
fn tokens(used: &Usage) -> Option<String> {
    let (input, output) = (used.input?, used.output.unwrap_or(0));
    let cached =
        used.cached.filter(|cached| *cached > 0).map_or_else(String::new, |cached| format!(" ({cached} cached)"));
    Some(format!("tokens: {input} in{cached}, {output} out"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: AgentOutput = AgentOutput { step: 1, protocol: Protocol::CodexExec };

    fn record(offset: u64, step: u16, payload: &str, ending: Ending) -> Record {
        let (stream, payload) = (Stream::Stdout, payload.as_bytes().to_vec());
        Record { offset, stream, ending, step: Some(step), time_us: 1, payload }
    }

    fn lines(records: &[Record]) -> Vec<String> {
        let text = |chunk: &LogChunk| String::from_utf8_lossy(&chunk.bytes.0).into_owned();
        in_words(records, AGENT).0.iter().map(text).collect()
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
        let page = page(&records, records.len(), 100, AGENT);
        let bytes: usize = page.items.iter().map(|chunk| chunk.bytes.0.len() + CHUNK_BYTES).sum();
        assert!(page.items.len() > MESSAGE_LINES_MAX && bytes < 2 * PAGE_BYTES_MAX, "{bytes}");
        assert!(page.next_offset < 100, "the rest comes with the next: {}", page.next_offset);
    }

    #[test]
    fn what_a_tool_gave_back_is_cut_and_said_so() {
        let text = (0..30).map(|number| format!("{number}\n")).collect::<String>();
        let lines = block("  | ", &Text::from(text.as_str()), OUTPUT_LINES_MAX);
        assert_eq!((lines.len(), lines[0].as_str(), lines[20].as_str()), (21, "  | 0", "    ... 10 more lines"));
    }
}
