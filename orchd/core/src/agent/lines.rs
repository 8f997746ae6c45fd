//! Lines of a stream that comes in any pieces, with where each begins. Holds at most one line, and never a longer one
//! than is allowed.

use memchr::memchr;
use orch_proto::abridge::Abridged;

use super::text::TEXT_BYTES_MAX;

/// Longest line that is held, bytes without its end; a longer one is abridged while it comes.
pub const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What is kept for the next line when the last one is done, bytes; more is given back.
const KEPT_BYTES_MAX: usize = 256 * 1024;

/// One line, without its end (a line feed, or one after a carriage return).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Whole(&'a [u8]),
    TooLong(&'a Long),
}

/// What is kept of a line that is too long.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Long {
    /// How it begins.
    pub(super) head: Vec<u8>,
    /// All of it, when it is JSON.
    pub(super) abridged: Vec<u8>,
    pub(super) length: u64,
}

/// Cuts a stream into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// What came of the line that has no end yet; its beginning, when that is too long.
    held: Vec<u8>,
    /// That line, when it is too long.
    long: Option<Abridged>,
    /// Bytes of that line.
    length: u64,
    /// Where that line begins in the stream.
    start: u64,
}

impl Lines {
    /// Takes the next piece and gives each line that ends in it.
    pub(super) fn feed(&mut self, mut piece: &[u8], each: &mut dyn FnMut(u64, Line<'_>)) {
        while let Some((line, rest)) = memchr(b'\n', piece).and_then(|end| piece.split_at_checked(end)) {
            self.end(line, each);
            self.start += 1;
            piece = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        self.hold(piece);
    }

    /// Gives the line that has no end, if there is one.
    pub(super) fn finish(&mut self, each: &mut dyn FnMut(u64, Line<'_>)) {
        if self.length > 0 {
            self.end(b"", each);
        }
    }

    fn end(&mut self, last: &[u8], each: &mut dyn FnMut(u64, Line<'_>)) {
        let start = self.start;
        self.start += self.length + last.len() as u64;
        if self.length == 0 && last.len() <= LINE_BYTES_MAX {
            each(start, Line::Whole(without_return(last)));
        } else {
            self.hold(last);
            match self.long.take() {
                None => each(start, Line::Whole(without_return(&self.held))),
                Some(long) => {
                    let (head, length) = (std::mem::take(&mut self.held), self.length);
                    each(start, Line::TooLong(&Long { head, abridged: long.finish(), length }));
                }
            }
        }
        self.length = 0;
        self.held.clear();
        if self.held.capacity() > KEPT_BYTES_MAX {
            self.held = Vec::new();
        }
    }

    fn hold(&mut self, piece: &[u8]) {
        self.length += piece.len() as u64;
        if let Some(long) = &mut self.long {
            long.push(piece);
            return;
        }
        self.held.extend_from_slice(piece);
        if self.held.len() > LINE_BYTES_MAX {
            let mut long = Abridged::default();
            long.push(&self.held);
            self.long = Some(long);
            self.held.truncate(TEXT_BYTES_MAX);
            self.held.shrink_to_fit();
        }
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines with where they begin; a number stands for the length of a longer text, one behind `-` for that of one that is too long.
    fn cut(pieces: &[&[u8]]) -> Vec<(u64, String)> {
        let mut found = Vec::new();
        let mut each = |at: u64, line: Line<'_>| {
            found.push(match line {
                Line::TooLong(long) => (at, format!("-{}", long.length)),
                Line::Whole(line) if line.len() > 20 => (at, line.len().to_string()),
                Line::Whole(line) => (at, String::from_utf8_lossy(line).into_owned()),
            });
        };
        let mut lines = Lines::default();
        for piece in pieces {
            lines.feed(piece, &mut each);
        }
        lines.finish(&mut each);
        found
    }

    fn list(found: &[(u64, String)]) -> Vec<(u64, &str)> {
        found.iter().map(|(at, line)| (*at, line.as_str())).collect()
    }

    #[test]
    fn lines_are_found_across_pieces() {
        let whole = cut(&[b"one\r\n\ntwo\nthree"]);
        assert_eq!(list(&whole), [(0, "one"), (5, ""), (6, "two"), (10, "three")]);
        assert_eq!(cut(&[b"on", b"e\r", b"\n\nt", b"", b"wo", b"\n", b"three"]), whole);
        assert_eq!(list(&cut(&[b"a\n"])), [(0, "a")]);
        assert_eq!(list(&cut(&[])), []);
    }

    #[test]
    fn a_line_that_is_too_long_is_abridged_and_the_next_one_is_not() {
        let longest = vec![b'a'; LINE_BYTES_MAX];
        assert_eq!(list(&cut(&[&longest, b"\nb"])), [(0, "16777216"), (16_777_217, "b")]);
        for pieces in [[&longest[..], b"a\nb\n"], [b"a", &[&longest[..], b"\nb\n"].concat()]] {
            assert_eq!(list(&cut(&pieces)), [(0, "-16777217"), (16_777_218, "b")]);
        }
        assert_eq!(list(&cut(&[&longest, b"aa"])), [(0, "-16777218")]);
    }

    #[test]
    fn nothing_is_held_that_is_not_needed() {
        let mut lines = Lines::default();
        let piece = vec![b'a'; 1024 * 1024];
        for _ in 0..40 {
            lines.feed(&piece, &mut |_, _| {});
            assert!(lines.held.capacity() <= 2 * LINE_BYTES_MAX + piece.len(), "{}", lines.held.capacity());
        }
        assert!(lines.held.capacity() <= KEPT_BYTES_MAX, "{}", lines.held.capacity());
        lines.feed(b"\n", &mut |_, _| {});
        lines.feed(&piece, &mut |_, _| {});
        lines.feed(b"\n", &mut |_, _| {});
        assert!(lines.held.capacity() <= KEPT_BYTES_MAX);
    }
}
