//! `orchctl run logs`: the output of a run, whole, filtered or as it comes.
//!
//! Every line is made harmless unless `--raw` asks for the bytes; colours stay on a terminal.

use std::collections::VecDeque;

use clap::Args;
use orch_proto::view::{LogChunk, LogPage, LogStream, RunView};
use orch_proto::{LOG_PAGE_BYTES_MAX, Ref, WAIT_MS_MAX};
use serde::Serialize;

use super::run;
use crate::ctl::args::Format;
use crate::ctl::failure::Failure;
use crate::ctl::follow::{Follow, detachable};
use crate::ctl::session::Session;
use crate::fmt::color::{Paint, Role};
use crate::fmt::document::json_line;
use crate::text::{SafeText, Style, paint, styled_line};

/// Which output, and how.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// The run, or a task for its newest run
    pub(crate) run: String,
    /// Go on as more comes, until the run is over
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// The bytes as they were written, also what an agent printed; on a terminal only for runs that you trust
    #[arg(long)]
    pub(crate) raw: bool,
    /// Only this step: its number from 1, or its name
    #[arg(long, value_name = "STEP")]
    pub(crate) step: Option<String>,
    /// Only lines with this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) grep: Option<String>,
    /// Only the last lines of what is there
    #[arg(long, short = 'n', value_name = "LINES")]
    pub(crate) tail: Option<usize>,
    /// The time in front of each line
    #[arg(short, long)]
    pub(crate) timestamps: bool,
}

pub(crate) async fn run(session: &Session, args: LogArgs) -> Result<(), Failure> {
    let run = find(session, &args.run).await?;
    let step = args.step.as_deref().map(|step| step_index(&run, step)).transpose()?;
    let id = Ref(run.id.to_string());
    let printer = Printer::new(session, &args);
    let filter = Filter { step, grep: args.grep.clone().map(String::into_bytes), control: !args.raw };
    let what = format!("run {}", run.name);
    let reading = stream(session, &id, &args, filter, printer);
    if args.follow { detachable(session, &what, reading).await } else { reading.await }
}

/// The run itself, or the newest one of a task.
async fn find(session: &Session, name: &str) -> Result<RunView, Failure> {
    let reference = session.reference(name);
    let is_task = name.starts_with("task-")
        || matches!(reference.form(),
        orch_proto::reference::RefForm::Number { ref letter, .. } if letter == "T");
    if !is_task {
        return run::get(session, &reference).await;
    }
    let task = super::task::get(session, &reference).await?;
    let run = task.run.ok_or_else(|| Failure::Pending(format!("{} has no run yet", task.name)))?;
    run::get(session, &Ref(run.to_string())).await
}

fn step_index(run: &RunView, step: &str) -> Result<u32, Failure> {
    let by_number =
        step.parse::<usize>().ok().and_then(|number| number.checked_sub(1)).filter(|&at| at < run.steps.len());
    let at = by_number.or_else(|| run.steps.iter().position(|known| known.name == step));
    at.and_then(|at| u32::try_from(at).ok()).ok_or_else(|| {
        let known: Vec<_> = run.steps.iter().map(|step| step.name.as_str()).collect();
        Failure::usage(format!("{} has no step `{step}`; it has {}", run.name, known.join(", ")))
    })
}

async fn stream(
    session: &Session,
    run: &Ref,
    args: &LogArgs,
    filter: Filter,
    mut printer: Printer<'_>,
) -> Result<(), Failure> {
    let mut offset = 0;
    let mut last: Option<VecDeque<LogChunk>> = args.tail.map(|_| VecDeque::new());
    let tail = args.tail.unwrap_or(0);
    loop {
        // Nothing is waited for before everything that is there has been read.
        let page = page(session, run, offset, (0, args.raw)).await?;
        let caught_up = page.next_offset == offset || page.end;
        offset = page.next_offset;
        for chunk in page.chunks.into_iter().filter(|chunk| filter.passes(chunk)) {
            match &mut last {
                Some(last) => {
                    last.push_back(chunk);
                    while last.len() > tail {
                        last.pop_front();
                    }
                }
                None => printer.chunk(&chunk)?,
            }
        }
        if caught_up {
            for chunk in last.take().into_iter().flatten() {
                printer.chunk(&chunk)?;
            }
            if page.end || !args.follow {
                return printer.end();
            }
            return follow(session, run, offset, &filter, printer).await;
        }
    }
}

async fn follow(
    session: &Session,
    run: &Ref,
    mut offset: u64,
    filter: &Filter,
    mut printer: Printer<'_>,
) -> Result<(), Failure> {
    let mut away: Option<Follow<'_>> = None;
    loop {
        match page(session, run, offset, (WAIT_MS_MAX, printer.raw)).await {
            Ok(page) => {
                away = None;
                offset = page.next_offset;
                for chunk in page.chunks.iter().filter(|chunk| filter.passes(chunk)) {
                    printer.chunk(chunk)?;
                }
                if page.end {
                    return printer.end();
                }
            }
            Err(failure) if failure.is_passing() => {
                away.get_or_insert_with(|| Follow::after(session, 0)).away(&failure).await?;
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Reads a piece of the log.
pub(crate) async fn page(
    session: &Session,
    run: &Ref,
    offset: u64,
    (wait_ms, raw): (u32, bool),
) -> Result<LogPage, Failure> {
    let run = run.clone();
    session.read(async |orch, context| orch.run_log(context, run, offset, LOG_PAGE_BYTES_MAX, wait_ms, raw).await).await
}

/// Which chunks are shown.
#[derive(Debug)]
struct Filter {
    step: Option<u32>,
    grep: Option<Vec<u8>>,
    control: bool,
}

impl Filter {
    fn passes(&self, chunk: &LogChunk) -> bool {
        let stream = self.control || chunk.stream != LogStream::Control;
        let step = self.step.is_none_or(|step| chunk.step == Some(step));
        let grep = self.grep.as_deref().is_none_or(|wanted| contains(&chunk.bytes.0, wanted));
        stream && step && grep
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Writes chunks in the format that was asked for.
#[derive(Debug)]
struct Printer<'a> {
    session: &'a Session,
    raw: bool,
    timestamps: bool,
    colors: bool,
    format: Format,
    /// Looks with which the next lines of the two streams of output start.
    styles: [Style; 2],
    /// The line that was last begun and not ended: its stream and step.
    open: Option<(LogStream, Option<u32>)>,
}

impl<'a> Printer<'a> {
    fn new(session: &'a Session, args: &LogArgs) -> Self {
        Self {
            session,
            raw: args.raw,
            timestamps: args.timestamps,
            colors: session.paint().is_on(),
            format: session.options.output,
            styles: [Style::default(); 2],
            open: None,
        }
    }

    fn chunk(&mut self, chunk: &LogChunk) -> Result<(), Failure> {
        if self.format.is_json() {
            return self.session.line_raw(&json(chunk)?);
        }
        let mut out = Vec::new();
        if self.raw {
            out.extend_from_slice(&chunk.bytes.0);
        } else {
            let source = (chunk.stream, chunk.step);
            if self.open.is_some_and(|open| open != source) {
                out.push(b'\n');
                self.open = None;
            }
            if self.open.is_none() {
                out.extend_from_slice(self.margin(chunk).as_bytes());
            }
            out.extend_from_slice(self.line(chunk).as_bytes());
            self.open = (!chunk.newline).then_some(source);
        }
        if chunk.newline {
            out.push(b'\n');
        }
        Ok(self.session.console.data(&out)?)
    }

    fn end(&mut self) -> Result<(), Failure> {
        if self.open.take().is_some() {
            self.session.console.data(b"\n")?;
        }
        Ok(())
    }

    fn margin(&self, chunk: &LogChunk) -> String {
        if !self.timestamps {
            return String::new();
        }
        // Time of day with milliseconds, out of the RFC 3339 form.
        let at = chunk.at.to_string();
        let time: String = at.split_once('T').map_or(at.as_str(), |(_, time)| time).chars().take(12).collect();
        format!("{time} ")
    }

    fn line(&mut self, chunk: &LogChunk) -> String {
        let style = match chunk.stream {
            LogStream::Control => {
                let text = control_text(&chunk.bytes.0);
                let paint = if self.colors { self.session.paint() } else { Paint::OFF };
                return paint.apply(Role::Dim, &SafeText::line(&format!("-- {text}")));
            }
            LogStream::Stdout => &mut self.styles[0],
            LogStream::Stderr => &mut self.styles[1],
        };
        let spans = styled_line(&chunk.bytes.0, style);
        if self.colors { paint(&spans) } else { spans.iter().map(|span| span.text.as_str()).collect() }
    }
}

/// What the sandbox wrote, in a line: the fields of its JSON, or the text as it is.
pub(crate) fn control_text(bytes: &[u8]) -> String {
    let Ok(serde_json::Value::Object(fields)) = serde_json::from_slice(bytes) else {
        return String::from_utf8_lossy(bytes).into_owned();
    };
    let plain = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    fields.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect::<Vec<_>>().join(" ")
}

fn json(chunk: &LogChunk) -> Result<String, Failure> {
    #[derive(Serialize)]
    struct Line<'a> {
        at: orch_proto::Timestamp,
        stream: LogStream,
        step: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes: Option<&'a orch_proto::request::Bytes>,
        newline: bool,
    }
    let text = std::str::from_utf8(&chunk.bytes.0).ok();
    let bytes = if text.is_none() { Some(&chunk.bytes) } else { None };
    Ok(json_line(&Line { at: chunk.at, stream: chunk.stream, step: chunk.step, text, bytes, newline: chunk.newline })?)
}

#[cfg(test)]
mod tests {
    use orch_proto::request::Bytes;

    use super::*;
    use crate::fmt::samples;

    fn chunk(stream: LogStream, step: Option<u32>, bytes: &[u8]) -> LogChunk {
        LogChunk { stream, step, at: samples::AT, bytes: Bytes(bytes.to_vec()), newline: true }
    }

    #[test]
    fn filters_hold_together() {
        let filter = Filter { step: Some(1), grep: Some(b"err".to_vec()), control: false };
        assert!(filter.passes(&chunk(LogStream::Stdout, Some(1), b"an error")));
        assert!(!filter.passes(&chunk(LogStream::Stdout, Some(0), b"an error")));
        assert!(!filter.passes(&chunk(LogStream::Stderr, Some(1), b"fine")));
        assert!(!filter.passes(&chunk(LogStream::Control, Some(1), b"err")));
    }

    #[test]
    fn steps_have_numbers_and_names() {
        let run = samples::run(1);
        assert_eq!(step_index(&run, "2").unwrap(), 1);
        assert_eq!(step_index(&run, "write").unwrap(), 0);
        assert!(step_index(&run, "0").is_err());
        assert!(step_index(&run, "3").unwrap_err().to_string().contains("write, test"));
    }

    #[test]
    fn bytes_that_are_no_text_stay_whole_in_json() {
        assert!(json(&chunk(LogStream::Stdout, None, b"ok\x1b")).unwrap().contains(r#""text":"ok\u001b""#));
        assert!(json(&chunk(LogStream::Stdout, None, b"\xff\xfe")).unwrap().contains(r#""bytes":"//4=""#));
    }

    #[test]
    fn control_records_are_read() {
        assert_eq!(control_text(br#"{"step":"test","state":"started"}"#), "state=started step=test");
        assert_eq!(control_text(b"plain"), "plain");
    }
}
