//! The lines of one run's log that are kept in memory: a ring, numbered from the log's beginning.
//!
//! Parts of a long line are joined up to a limit. Bytes become harmless spans here; nothing raw is kept but the open
//! end of the last line.
//!
//! **Invariant:** pages are taken only in order: a page that does not start where the last one ended is refused.

use std::collections::VecDeque;

use orch_proto::Timestamp;
use orch_proto::view::{LogChunk, LogPage, LogStream};

use crate::text::{Span, Style, styled_line};

/// Most lines that are kept of one log. Older ones are dropped.
pub(crate) const LINES_MAX: usize = 50_000;

/// Longest line that is kept whole, in bytes. A longer one is shown as several.
const LINE_BYTES_MAX: usize = 16 << 10;

/// One line, or a part of a very long one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogLine {
    pub(crate) at: Timestamp,
    pub(crate) stream: LogStream,
    /// Index of the step from 0.
    pub(crate) step: Option<u32>,
    pub(crate) spans: Vec<Span>,
}

impl LogLine {
    /// The line without its colours.
    pub(crate) fn plain(&self) -> String {
        self.spans.iter().map(|span| span.text.as_str()).collect()
    }
}

/// The end of the last line, while more of it can come.
#[derive(Clone, Debug)]
struct OpenEnd {
    stream: LogStream,
    step: Option<u32>,
    bytes: Vec<u8>,
    /// The look with which the line began.
    style: Style,
}

/// What is known of one log.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogBuffer {
    lines: VecDeque<LogLine>,
    dropped: u64,
    next_offset: u64,
    ended: bool,
    open: Option<OpenEnd>,
    /// Look at the end of the last line of stdout and of stderr, which the next one begins with.
    styles: [Style; 2],
}

impl LogBuffer {
    /// Takes a page in that was read at `offset`. False: it is not the next one.
    pub(crate) fn push(&mut self, offset: u64, page: &LogPage) -> bool {
        if offset != self.next_offset {
            return false;
        }
        for chunk in &page.chunks {
            self.push_chunk(chunk);
        }
        self.next_offset = page.next_offset;
        self.ended = page.end;
        true
    }

    /// Where the next page begins.
    pub(crate) const fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// Nothing more will come.
    pub(crate) const fn is_ended(&self) -> bool {
        self.ended
    }

    /// Number of the first line that is kept.
    pub(crate) const fn first(&self) -> u64 {
        self.dropped
    }

    /// Number after the last line.
    pub(crate) fn end(&self) -> u64 {
        self.dropped + self.lines.len() as u64
    }

    /// The line of a number, if it is kept.
    pub(crate) fn line(&self, number: u64) -> Option<&LogLine> {
        let index = usize::try_from(number.checked_sub(self.dropped)?).ok()?;
        self.lines.get(index)
    }

    fn push_chunk(&mut self, chunk: &LogChunk) {
        let stream = usize::from(chunk.stream == LogStream::Stderr);
        let goes_on = self.open.take_if(|open| {
            open.stream == chunk.stream
                && open.step == chunk.step
                && open.bytes.len() + chunk.bytes.0.len() <= LINE_BYTES_MAX
        });
        self.open = None;
        let (mut bytes, begin) = match goes_on {
            Some(open) => {
                self.lines.pop_back();
                (open.bytes, open.style)
            }
            None => (Vec::new(), self.styles[stream]),
        };
        bytes.extend_from_slice(&chunk.bytes.0);
        let mut style = begin;
        let spans = styled_line(&bytes, &mut style);
        self.lines.push_back(LogLine { at: chunk.at, stream: chunk.stream, step: chunk.step, spans });
        self.styles[stream] = style;
        if !chunk.newline {
            self.open = Some(OpenEnd { stream: chunk.stream, step: chunk.step, bytes, style: begin });
        }
        if self.lines.len() > LINES_MAX {
            self.lines.pop_front();
            self.dropped += 1;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use orch_proto::request::Bytes;

    use super::*;

    pub(crate) fn chunk(text: &str, newline: bool) -> LogChunk {
        LogChunk {
            stream: LogStream::Stdout,
            step: Some(0),
            at: Timestamp::from_unix_us(1_795_165_557_000_000),
            bytes: Bytes(text.as_bytes().to_vec()),
            newline,
        }
    }

    pub(crate) fn page(chunks: Vec<LogChunk>, next_offset: u64) -> LogPage {
        LogPage { chunks, next_offset, end: false }
    }

    fn plain(buffer: &LogBuffer) -> Vec<String> {
        (buffer.first()..buffer.end()).map(|number| buffer.line(number).unwrap().plain()).collect()
    }

    #[test]
    fn parts_are_joined_and_pages_out_of_order_refused() {
        let mut buffer = LogBuffer::default();
        assert!(buffer.push(0, &page(vec![chunk("one", true), chunk("tw", false)], 10)));
        assert_eq!(plain(&buffer), ["one", "tw"]);
        assert!(!buffer.push(0, &page(vec![chunk("one", true)], 5)));
        assert!(buffer.push(10, &page(vec![chunk("o \x1b[2J", true), chunk("three", true)], 20)));
        assert_eq!(plain(&buffer), ["one", "two ^[[2J", "three"]);
    }

    #[test]
    fn the_ring_keeps_the_newest_lines_under_their_numbers() {
        let mut buffer = LogBuffer::default();
        let lines = (0..LINES_MAX + 3).map(|number| chunk(&number.to_string(), true)).collect();
        buffer.push(0, &page(lines, 1));
        assert_eq!((buffer.first(), buffer.end()), (3, LINES_MAX as u64 + 3));
        assert_eq!(buffer.line(2), None);
        assert_eq!(buffer.line(3).unwrap().plain(), "3");
    }

    #[test]
    fn a_line_without_end_is_shown_in_parts() {
        let mut buffer = LogBuffer::default();
        let part = "x".repeat(LINE_BYTES_MAX / 2 + 1);
        buffer.push(0, &page(vec![chunk(&part, false), chunk(&part, false), chunk("end", true)], 1));
        assert_eq!(plain(&buffer), [part.clone(), format!("{part}end")]);
    }

    #[test]
    fn a_colour_goes_on_in_the_next_line() {
        let mut buffer = LogBuffer::default();
        buffer.push(0, &page(vec![chunk("\x1b[31mred", true), chunk("still\x1b[0m not", true)], 1));
        let spans = &buffer.line(1).unwrap().spans;
        assert!(spans[0].style.foreground.is_some() && spans[1].style.foreground.is_none());
    }
}
