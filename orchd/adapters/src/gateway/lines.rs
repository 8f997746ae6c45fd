//! Lines of a stream that comes in pieces, with a bound for each.

/// Longest line that is looked at, in bytes: a whole answer of a model in one event is far below it.
const LINE_BYTES_MAX: usize = 8 << 20;

/// Cuts a stream into lines. A line that is too long is left out, and costs no memory.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
    /// The line that is coming is too long.
    skips: bool,
}

impl Lines {
    /// Takes the next bytes; `line` is told of every line that ends in them, without its end. Without room for it the line
    /// that is coming is left out.
    pub(super) fn feed(&mut self, bytes: &[u8], has_room: bool, mut line: impl FnMut(&[u8])) {
        let mut pieces = bytes.split(|byte| *byte == b'\n');
        // There is always a last piece, which has not ended.
        let last = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            if self.partial.is_empty() && !self.skips {
                line(without_cr(piece));
            } else {
                self.hold(piece, has_room);
                if !self.skips {
                    line(without_cr(&self.partial));
                }
            }
            self.partial.clear();
            self.skips = false;
        }
        self.hold(last, has_room);
    }

    /// How many bytes of the line that is coming are held.
    pub(super) const fn held(&self) -> usize {
        self.partial.len()
    }

    /// What came after the last end of a line.
    pub(super) fn rest(&self) -> &[u8] {
        without_cr(&self.partial)
    }

    fn hold(&mut self, piece: &[u8], has_room: bool) {
        if self.skips || !has_room && !piece.is_empty() || self.partial.len() + piece.len() > LINE_BYTES_MAX {
            self.skips = true;
            self.partial = Vec::new();
        } else {
            self.partial.extend_from_slice(piece);
        }
    }
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.feed(piece, true, |line| found.push(line.to_vec()));
        }
        found.push(lines.rest().to_vec());
        found
    }

    #[test]
    fn lines_are_the_same_however_they_come() {
        let text = b"one\r\n\ntwo\nthree";
        let whole = lines_of(&[text]);
        assert_eq!(whole, [&b"one"[..], b"", b"two", b"three"]);
        for at in 0..text.len() {
            assert_eq!(lines_of(&[&text[..at], &text[at..]]), whole);
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_left_out_and_the_next_is_not() {
        let long = vec![b'x'; LINE_BYTES_MAX];
        assert_eq!(lines_of(&[b"a\ny", &long, b"z\nb\n"]), [&b"a"[..], b"b", b""]);
    }

    #[test]
    fn without_room_what_is_whole_is_seen_and_the_rest_is_left_out() {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for (piece, has_room) in [(&b"one\ntw"[..], false), (b"o\nthree\n", false), (b"four\n", true)] {
            lines.feed(piece, has_room, |line| found.push(line.to_vec()));
        }
        assert_eq!((found, lines.held()), (vec![b"one".to_vec(), b"three".to_vec(), b"four".to_vec()], 0));
    }
}
