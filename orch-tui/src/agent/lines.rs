//! Lines of a stream, none longer than is allowed. Giving up in the middle of waiting for one loses nothing of it.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// What is read at once, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// One line, without its line feed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Whole(Vec<u8>),
    /// It was dropped while it came; its length.
    TooLong(u64),
}

/// Cuts a stream into lines.
#[derive(Debug)]
pub(super) struct Lines<R> {
    source: BufReader<R>,
    begun: Begun,
}

/// A line that has no end yet.
#[derive(Debug)]
struct Begun {
    held: Vec<u8>,
    /// Its bytes, also those that were dropped.
    length: u64,
    bytes_max: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(source: R, bytes_max: usize) -> Self {
        let begun = Begun { held: Vec::new(), length: 0, bytes_max };
        Self { source: BufReader::with_capacity(PIECE_BYTES, source), begun }
    }

    /// The next line, also one that the end of the stream cut off; none when no more comes.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let piece = self.source.fill_buf().await?;
            if piece.is_empty() {
                return Ok((self.begun.length > 0).then(|| self.begun.end()));
            }
            let end = piece.iter().position(|&byte| byte == b'\n');
            self.begun.take(&piece[..end.unwrap_or(piece.len())]);
            let used = end.map_or(piece.len(), |end| end + 1);
            self.source.consume(used);
            if end.is_some() {
                return Ok(Some(self.begun.end()));
            }
        }
    }
}

impl Begun {
    fn take(&mut self, piece: &[u8]) {
        self.length += piece.len() as u64;
        if self.length > self.bytes_max as u64 {
            self.held = Vec::new();
        } else {
            self.held.extend_from_slice(piece);
        }
    }

    fn end(&mut self) -> Line {
        let (line, length) = (std::mem::take(&mut self.held), std::mem::take(&mut self.length));
        if length > self.bytes_max as u64 { Line::TooLong(length) } else { Line::Whole(line) }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn a_line_that_is_too_long_is_dropped_and_the_next_one_is_not() {
        let text = [b"one\n\nlonger than ten\n".as_slice(), &[b'x'; 3 * PIECE_BYTES], b"\nlast"].concat();
        let mut lines = Lines::new(text.as_slice(), 10);
        let mut found = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            found.push(match line {
                Line::Whole(line) => String::from_utf8(line).unwrap(),
                Line::TooLong(length) => format!("<{length}>"),
            });
        }
        assert_eq!(found, ["one", "", "<15>", "<196608>", "last"]);
    }

    #[tokio::test]
    async fn giving_up_in_the_middle_of_a_line_loses_nothing() {
        let (reader, mut writer) = tokio::io::duplex(64);
        let mut lines = Lines::new(reader, 100);
        writer.write_all(b"be").await.unwrap();
        let nothing = async {
            tokio::task::yield_now().await;
        };
        tokio::select! {
            biased;
            line = lines.next() => panic!("{line:?}"),
            () = nothing => {}
        }
        writer.write_all(b"gun\n").await.unwrap();
        assert_eq!(lines.next().await.unwrap(), Some(Line::Whole(b"begun".to_vec())));
    }
}
