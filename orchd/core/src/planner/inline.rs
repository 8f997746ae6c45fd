//! Collects the text of one paragraph, line by line, and remembers what of it is bold or struck out.
//!
//! Knows no blocks. Invariant: the text it gives has single spaces and no control characters, so that a hostile
//! document cannot reach a terminal through a title.

use super::ids;
use crate::printable::misleads;

/// One line of text, or several that were joined.
#[derive(Clone, Debug, Default)]
pub(super) struct InlineLine {
    pub(super) text: String,
    /// Offset of the first byte in the source.
    pub(super) start: usize,
    /// Offset behind the last byte in the source.
    pub(super) end: usize,
    bold_len: usize,
    bold_open: bool,
    words_bytes: usize,
    bold_bytes: usize,
    struck_bytes: usize,
    anchor_bytes: usize,
}

impl InlineLine {
    /// A line of plain text without a place.
    pub(super) fn plain(text: &str) -> Self {
        Self { text: text.chars().map(printable_or_newline).collect(), ..Self::default() }
    }

    /// The words between the tags of an HTML block; comments are dropped because no reader sees them.
    pub(super) fn without_tags(html: &str) -> Self {
        let mut line = Self::default();
        let mut rest = html;
        while let Some((before, tag)) = rest.split_once('<') {
            line.push(before, Style::default());
            let closing = if tag.starts_with("!--") { "-->" } else { ">" };
            rest = tag.split_once(closing).map_or("", |(_, after)| after);
            line.push(" ", Style::default());
        }
        line.push(rest, Style::default());
        line.text.truncate(line.text.trim_end().len());
        line
    }

    /// Length of the bold words that open the text.
    pub(super) fn bold_len(&self) -> usize {
        self.bold_len.min(self.text.len())
    }

    /// Whether every word is bold; a colon behind the bold words does not count.
    pub(super) fn all_bold(&self) -> bool {
        self.bold_bytes > 0 && self.bold_bytes >= self.words_bytes
    }

    /// Whether every word is struck out.
    pub(super) fn struck(&self) -> bool {
        self.struck_bytes > 0 && self.struck_bytes >= self.words_bytes
    }

    /// Whether every word is a link to a heading of this document, as in a table of contents.
    pub(super) fn only_anchors(&self) -> bool {
        self.anchor_bytes > 0 && self.anchor_bytes >= self.words_bytes
    }

    fn push(&mut self, text: &str, style: Style) {
        for c in text.chars().map(printable) {
            if c == ' ' {
                if !self.text.is_empty() && !self.text.ends_with(' ') {
                    self.text.push(' ');
                }
                continue;
            }
            self.text.push(c);
            if style.bold && self.bold_open {
                self.bold_len = self.text.len();
            } else {
                self.bold_open = false;
            }
            let counts = c != ':';
            self.words_bytes += usize::from(counts);
            self.bold_bytes += usize::from(counts && style.bold);
            self.struck_bytes += usize::from(counts && style.struck);
            self.anchor_bytes += usize::from(counts && style.anchor);
        }
    }

    /// Whether a line that begins like this one is a paragraph of its own.
    fn begins_part(&self) -> bool {
        let behind_bold = self.text.get(self.bold_len()..).unwrap_or_default();
        let bold_label = self.bold_len > 0
            && (behind_bold.trim_start().starts_with(':')
                || self.text.get(..self.bold_len()).is_some_and(|b| b.ends_with(':')));
        bold_label || self.all_bold() || ids::begins_with_marked_id(&self.text, self.bold_len())
    }

    fn join(&mut self, next: &Self) {
        if !self.text.is_empty() && !self.text.ends_with(' ') {
            self.text.push(' ');
        }
        if self.text.is_empty() {
            self.bold_len = next.bold_len;
        }
        self.text.push_str(&next.text);
        self.end = next.end;
        self.words_bytes += next.words_bytes;
        self.bold_bytes += next.bold_bytes;
        self.struck_bytes += next.struck_bytes;
        self.anchor_bytes += next.anchor_bytes;
    }
}

/// What surrounds a piece of text.
#[derive(Clone, Copy, Debug, Default)]
struct Style {
    bold: bool,
    struck: bool,
    anchor: bool,
}

/// The collector for one block.
#[derive(Debug)]
pub(super) struct Inline {
    lines: Vec<InlineLine>,
    current: InlineLine,
    bold_depth: usize,
    strike_depth: usize,
    in_anchor: bool,
}

impl Inline {
    /// An empty collector for the block at `start`.
    pub(super) fn at(start: usize) -> Self {
        Self { lines: Vec::new(), current: line_at(start), bold_depth: 0, strike_depth: 0, in_anchor: false }
    }

    pub(super) fn text(&mut self, text: &str, end: usize) {
        let style = Style { bold: self.bold_depth > 0, struck: self.strike_depth > 0, anchor: self.in_anchor };
        self.current.push(text, style);
        self.current.end = end;
    }

    pub(super) fn code(&mut self, code: &str, end: usize) {
        for part in ["`", code, "`"] {
            self.text(part, end);
        }
    }

    pub(super) fn html(&mut self, html: &str, end: usize) {
        let name = html.trim_start_matches(['<', '/']);
        if name.get(..2).is_some_and(|tag| tag.eq_ignore_ascii_case("br")) {
            self.line_break(end);
        } else if !html.starts_with("<!--") && !is_invisible_tag(name) {
            self.text(html, end);
        }
    }

    pub(super) fn bold(&mut self, on: bool) {
        self.bold_depth = if on { self.bold_depth + 1 } else { self.bold_depth.saturating_sub(1) };
    }

    /// Whether what follows is a link to a heading of this document.
    pub(super) fn anchor(&mut self, on: bool) {
        self.in_anchor = on;
    }

    pub(super) fn strike(&mut self, on: bool) {
        self.strike_depth = if on { self.strike_depth + 1 } else { self.strike_depth.saturating_sub(1) };
    }

    pub(super) fn line_break(&mut self, end: usize) {
        let line = std::mem::replace(&mut self.current, line_at(end));
        self.lines.push(line);
    }

    /// All text as one line.
    pub(super) fn take_joined(&mut self) -> InlineLine {
        let mut joined: Option<InlineLine> = None;
        for line in self.take_lines() {
            match &mut joined {
                None => joined = Some(line),
                Some(joined) => joined.join(&line),
            }
        }
        let mut joined = joined.unwrap_or_default();
        joined.text.truncate(joined.text.trim_end().len());
        joined
    }

    /// The text as paragraphs: a line that opens with a bold label or an id begins a new one.
    pub(super) fn take_parts(&mut self) -> Vec<InlineLine> {
        let mut parts: Vec<InlineLine> = Vec::new();
        for line in self.take_lines() {
            match parts.last_mut() {
                Some(part) if !line.begins_part() => part.join(&line),
                Some(_) | None => parts.push(line),
            }
        }
        for part in &mut parts {
            part.text.truncate(part.text.trim_end().len());
        }
        parts
    }

    fn take_lines(&mut self) -> Vec<InlineLine> {
        let mut lines = std::mem::take(&mut self.lines);
        lines.push(std::mem::take(&mut self.current));
        lines.retain(|line| !line.text.trim().is_empty());
        lines
    }
}

fn line_at(start: usize) -> InlineLine {
    InlineLine { start, end: start, bold_open: true, ..InlineLine::default() }
}

/// Tags that only style or anchor what stands between them.
fn is_invisible_tag(name: &str) -> bool {
    const NAMES: [&str; 16] =
        ["a", "b", "i", "u", "s", "em", "strong", "span", "sub", "sup", "kbd", "small", "img", "font", "p", "div"];
    let end = name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len());
    name.get(..end).is_some_and(|tag| NAMES.iter().any(|known| tag.eq_ignore_ascii_case(known)))
}

/// White space becomes a space; what would steer a terminal or turn the reading direction becomes U+FFFD.
pub(super) fn printable(c: char) -> char {
    match c {
        c if c.is_whitespace() => ' ',
        c if misleads(c) => '\u{fffd}',
        c => c,
    }
}

fn printable_or_newline(c: char) -> char {
    if c == '\n' { c } else { printable(c) }
}
