//! An answer's body before it is sent: what is written together, where the stream may be slow, where filler stands.
//!
//! Filler is a mark in the text and bytes only when it is sent, so a huge answer takes no memory. Knows nothing of what
//! the pieces say.

use bytes::Bytes;
use serde_json::Value;

/// Stands in a text where filler goes. It is in a range of Unicode that is nobody's.
pub(super) const FILLER: char = '\u{e000}';

/// Bytes, and so much filler after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    pub(super) filler: u64,
    /// Whether it takes a share of the time that the stream takes.
    pub(super) is_step: bool,
}

/// A body in the making.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    filler: u64,
    list: Vec<Piece>,
    /// Where the last event begins.
    last: usize,
}

impl Pieces {
    /// With so much filler for every mark.
    pub(super) fn with_filler(filler: u64) -> Self {
        Self { filler, ..Self::default() }
    }

    /// A server-sent event with a name.
    pub(super) fn event(&mut self, name: &str, data: &Value) -> &mut Self {
        self.push(&format!("event: {name}\ndata: {data}\n\n"))
    }

    /// A server-sent event without a name.
    pub(super) fn data(&mut self, data: &Value) -> &mut Self {
        self.push(&format!("data: {data}\n\n"))
    }

    /// A line of NDJSON.
    pub(super) fn line(&mut self, data: &Value) -> &mut Self {
        self.push(&format!("{data}\n"))
    }

    /// Text as it is, but for the mark.
    pub(super) fn push(&mut self, text: &str) -> &mut Self {
        self.last = self.list.len();
        let mut parts = text.split(FILLER).peekable();
        while let Some(part) = parts.next() {
            let filler = if parts.peek().is_some() { self.filler } else { 0 };
            self.list.push(Piece { bytes: Bytes::copy_from_slice(part.as_bytes()), filler, is_step: false });
        }
        self
    }

    /// The last event takes a share of the stream's time.
    pub(super) fn as_step(&mut self) {
        if let Some(piece) = self.list.get_mut(self.last) {
            piece.is_step = true;
        }
    }

    pub(super) fn into_list(self) -> Vec<Piece> {
        self.list
    }
}

/// A text as a model streams it: word by word.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive([' ', '\n'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filler_stands_where_the_mark_was() {
        let mut pieces = Pieces::with_filler(9);
        pieces.data(&Value::from(format!("a{FILLER}b"))).as_step();
        let list = pieces.into_list();
        let seen: Vec<_> = list.iter().map(|piece| (&piece.bytes[..], piece.filler, piece.is_step)).collect();
        assert_eq!(seen, [(&b"data: \"a"[..], 9, true), (&b"b\"\n\n"[..], 0, false)]);
    }
}
