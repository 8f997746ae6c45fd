//! Follows the body of an HTTP/1 message to its end and writes it anew, so that both sides see the same end.

use super::head::Length;
use crate::egress::record::DenyReason;

/// Most bytes of a line between chunks, and of all lines after the last chunk.
const LINE_BYTES_MAX: usize = 4 << 10;

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// After so many bytes.
    Bytes(u64),
    /// After the last chunk.
    Chunked,
    /// With the connection.
    Connection,
}

impl From<Length> for End {
    /// Where the body of a request ends.
    fn from(length: Length) -> Self {
        match length {
            Length::Unsaid => Self::Bytes(0),
            Length::Bytes(bytes) => Self::Bytes(bytes),
            Length::Chunked => Self::Chunked,
        }
    }
}

/// How chunks are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As chunks, without extensions and trailers.
    Chunks,
    /// As what is in them, to a reader that knows no chunks and reads to the end of the connection.
    Plain,
}

/// A body that is being passed on.
#[derive(Debug)]
pub(crate) struct Body {
    state: State,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many bytes are left.
    Bytes(u64),
    /// A line with the size of a chunk comes.
    Size,
    /// So many bytes of a chunk are left.
    Chunk(u64),
    /// The line end after a chunk comes.
    ChunkEnd,
    /// Lines come until an empty one; so many bytes of them have come.
    Trailer(usize),
    /// Everything comes until the connection ends.
    Everything,
}

impl Body {
    pub(crate) fn new(end: End, form: Form) -> Self {
        let state = match end {
            End::Bytes(bytes) => State::Bytes(bytes),
            End::Chunked => State::Size,
            End::Connection => State::Everything,
        };
        Self { state, form }
    }

    /// Whether nothing more belongs to it.
    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Bytes(0)
    }

    /// Whether the end of the connection is its end.
    pub(crate) fn ends_with_connection(&self) -> bool {
        self.state == State::Everything
    }

    /// Takes bytes of the body off the front of `input`, appends what is passed on to `output`, and returns how many were
    /// taken. When it takes nothing, it is over or needs more.
    ///
    /// # Errors
    /// When the chunks are damaged or a line is too long.
    pub(crate) fn pass(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<usize, DenyReason> {
        let mut used = 0;
        loop {
            let step = self.step(&input[used..], output)?;
            if step == 0 {
                return Ok(used);
            }
            used += step;
        }
    }

    fn step(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<usize, DenyReason> {
        match self.state {
            State::Bytes(left) => {
                let piece = first(input, left);
                output.extend_from_slice(piece);
                self.state = State::Bytes(left - piece.len() as u64);
                Ok(piece.len())
            }
            State::Everything => {
                output.extend_from_slice(input);
                Ok(input.len())
            }
            State::Size => self.with_line(input, |line| {
                Ok(match chunk_size(line).ok_or(DenyReason::AmbiguousBody)? {
                    0 => State::Trailer(0),
                    size => State::Chunk(size),
                })
            }),
            State::Chunk(left) => {
                let piece = first(input, left);
                if !piece.is_empty() {
                    self.write_chunk(piece, output);
                    let left = left - piece.len() as u64;
                    self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                }
                Ok(piece.len())
            }
            State::ChunkEnd => self.with_line(input, |line| match line {
                [] => Ok(State::Size),
                _ => Err(DenyReason::AmbiguousBody),
            }),
            State::Trailer(before) => {
                let used = self.with_line(input, |line| match (line, before + line.len()) {
                    ([], _) => Ok(State::Bytes(0)),
                    (_, bytes) if bytes > LINE_BYTES_MAX => Err(DenyReason::TooLarge),
                    // Counted with its end, so that short lines are bounded, too.
                    (_, bytes) => Ok(State::Trailer(bytes + 2)),
                })?;
                if self.is_over() && self.form == Form::Chunks {
                    output.extend_from_slice(b"0\r\n\r\n");
                }
                Ok(used)
            }
        }
    }

    /// Goes on with what `next` makes of the line at the front of `input`, if that is whole.
    fn with_line(
        &mut self,
        input: &[u8],
        next: impl FnOnce(&[u8]) -> Result<State, DenyReason>,
    ) -> Result<usize, DenyReason> {
        let window = first(input, LINE_BYTES_MAX as u64);
        match window.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                let line = window[..end].strip_suffix(b"\r").ok_or(DenyReason::AmbiguousBody)?;
                if line.contains(&b'\r') {
                    return Err(DenyReason::AmbiguousBody);
                }
                self.state = next(line)?;
                Ok(end + 1)
            }
            None if window.len() == LINE_BYTES_MAX => Err(DenyReason::TooLarge),
            None => Ok(0),
        }
    }

    fn write_chunk(&self, piece: &[u8], output: &mut Vec<u8>) {
        match self.form {
            Form::Plain => output.extend_from_slice(piece),
            Form::Chunks => {
                output.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                output.extend_from_slice(piece);
                output.extend_from_slice(b"\r\n");
            }
        }
    }
}

fn first(input: &[u8], most: u64) -> &[u8] {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    &input[..input.len().min(most)]
}

/// The size in the line before a chunk. Extensions are read over; nobody needs them, and they are not passed on.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    // At most 15 digits, which fit into the type.
    let fits = (1..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    let printable = line.iter().all(|byte| (b' '..=b'~').contains(byte) || *byte == b'\t');
    std::str::from_utf8(digits).ok().filter(|_| fits && printable).and_then(|text| u64::from_str_radix(text, 16).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes `input` in pieces of `piece` bytes; returns what was passed on, what was left, and whether it is over.
    fn pass(end: End, form: Form, input: &[u8], piece: usize) -> Result<(String, String, bool), DenyReason> {
        let mut body = Body::new(end, form);
        let (mut held, mut output) = (Vec::new(), Vec::new());
        for part in input.chunks(piece) {
            held.extend_from_slice(part);
            let used = body.pass(&held, &mut output)?;
            held.drain(..used);
        }
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ok((text(output), text(held), body.is_over()))
    }

    #[test]
    fn bodies_end_where_they_say() {
        let all = |end, form, input: &str| {
            let whole = pass(end, form, input.as_bytes(), usize::MAX).unwrap();
            // In single bytes each is a chunk of its own, so only the plain form compares.
            let single = pass(end, Form::Plain, input.as_bytes(), 1).unwrap();
            assert_eq!(single, pass(end, Form::Plain, input.as_bytes(), usize::MAX).unwrap());
            whole
        };
        let owned = |(output, rest, over): (&str, &str, bool)| (output.to_owned(), rest.to_owned(), over);
        assert_eq!(all(End::Bytes(3), Form::Chunks, "abcdef"), owned(("abc", "def", true)));
        assert_eq!(all(End::Bytes(3), Form::Chunks, "ab"), owned(("ab", "", false)));
        assert_eq!(all(End::Connection, Form::Chunks, "abc"), owned(("abc", "", false)));
        let chunks = "3;x=y\r\nabc\r\n00A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nnext";
        assert_eq!(
            all(End::Chunked, Form::Chunks, chunks),
            owned(("3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n", "next", true))
        );
        assert_eq!(all(End::Chunked, Form::Plain, chunks), owned(("abc0123456789", "next", true)));
    }

    #[test]
    fn damaged_chunks_are_refused() {
        let long = format!("1;{}", "x".repeat(LINE_BYTES_MAX));
        let trailers = format!("0\r\n{}", "a: b\r\n".repeat(1000));
        for (input, wanted) in [
            ("3\nabc\r\n", DenyReason::AmbiguousBody),
            ("\r\n", DenyReason::AmbiguousBody),
            ("-1\r\n", DenyReason::AmbiguousBody),
            ("+1\r\n", DenyReason::AmbiguousBody),
            ("0x1\r\n", DenyReason::AmbiguousBody),
            (" 1\r\n", DenyReason::AmbiguousBody),
            ("1 \r\n", DenyReason::AmbiguousBody),
            ("g\r\n", DenyReason::AmbiguousBody),
            ("1;\0\r\n", DenyReason::AmbiguousBody),
            ("1000000000000000\r\n", DenyReason::AmbiguousBody),
            ("1\r\nab\r\n", DenyReason::AmbiguousBody),
            ("1\r\na\n", DenyReason::AmbiguousBody),
            ("1\r\r\na", DenyReason::AmbiguousBody),
            (&long, DenyReason::TooLarge),
            (&trailers, DenyReason::TooLarge),
        ] {
            for piece in [1, usize::MAX] {
                assert_eq!(pass(End::Chunked, Form::Chunks, input.as_bytes(), piece), Err(wanted), "{input:?}");
            }
        }
    }
}
