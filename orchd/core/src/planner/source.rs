//! The Vision's bytes, checked once at the edge: size, text, emptiness, and the line of every offset.
//!
//! Knows nothing of Markdown. Invariant: a `Source` is non-blank UTF-8 without NUL of at most `VISION_BYTES_MAX` bytes.

use super::model::{ExtractError, LineRange};

/// Largest Vision that is read, in bytes.
pub const VISION_BYTES_MAX: usize = 1024 * 1024;

/// Checked text with an index from byte offset to line number.
#[derive(Debug)]
pub(super) struct Source<'a> {
    /// The whole text, without a byte order mark.
    pub(super) text: &'a str,
    line_starts: Vec<usize>,
}

impl<'a> Source<'a> {
    /// Checks `bytes`; the limits come before the decoding, so a huge input costs nothing.
    pub(super) fn check(bytes: &'a [u8]) -> Result<Self, ExtractError> {
        if bytes.len() > VISION_BYTES_MAX {
            return Err(ExtractError::TooLarge { size_bytes: bytes.len(), max_bytes: VISION_BYTES_MAX });
        }
        if let Some(offset) = bytes.iter().position(|&byte| byte == 0) {
            return Err(ExtractError::NotText { offset });
        }
        let text = std::str::from_utf8(bytes).map_err(|err| ExtractError::NotText { offset: err.valid_up_to() })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.chars().all(|c| c.is_whitespace() || c.is_control()) {
            return Err(ExtractError::EmptyVision);
        }
        Ok(Self { text, line_starts: line_starts(text) })
    }

    /// The line, counted from one, that holds the byte at `offset`.
    pub(super) fn line(&self, offset: usize) -> u32 {
        let line = self.line_starts.partition_point(|&start| start <= offset);
        u32::try_from(line).expect("a text of VISION_BYTES_MAX bytes has fewer than 2^32 lines")
    }

    /// The lines of a byte range, without the white space at its end.
    pub(super) fn lines(&self, range: std::ops::Range<usize>) -> LineRange {
        let kept = self.text.get(range.clone()).map_or(0, |part| part.trim_end().len());
        let last_offset = range.start + kept.saturating_sub(1);
        LineRange { first: self.line(range.start), last: self.line(last_offset) }
    }

    /// The lines of the whole text.
    pub(super) fn all_lines(&self) -> LineRange {
        LineRange { first: 1, last: self.lines(0..self.text.len()).last }
    }
}

/// Offsets at which lines begin; `\n`, `\r\n` and a lone `\r` end a line, as in CommonMark.
fn line_starts(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let mut starts = vec![0];
    for (at, &byte) in bytes.iter().enumerate() {
        let lone_return = byte == b'\r' && bytes.get(at + 1) != Some(&b'\n');
        if byte == b'\n' || lone_return {
            starts.push(at + 1);
        }
    }
    starts
}
