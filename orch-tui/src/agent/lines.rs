//! Lines of a stream, of any length: one that is too long to be held is handed on piece by piece, and what it says is read from
//! its abridged form. Giving up in the middle of waiting for one loses nothing of it.

use std::io;

use orch_proto::abridge::Abridged;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// What is read at once, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// What comes of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// One line, without its line feed.
    Whole(Vec<u8>),
    /// More of a line that is too long, as it came.
    Piece(Vec<u8>),
    /// The end of that line: all of it, abridged.
    Abridged(Vec<u8>),
}

/// Cuts a stream into lines.
#[derive(Debug)]
pub(super) struct Lines<R> {
    source: BufReader<R>,
    bytes_max: usize,
    /// What came of the line that has no end yet and is held.
    held: Vec<u8>,
    /// That line, when it is too long to be held.
    long: Option<Abridged>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// No more than `bytes_max` bytes of a line are held.
    pub(super) fn new(source: R, bytes_max: usize) -> Self {
        Self { source: BufReader::with_capacity(PIECE_BYTES, source), bytes_max, held: Vec::new(), long: None }
    }

    /// The next line, also one that the end of the stream cut off, or more of one; none when no more comes.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let piece = self.source.fill_buf().await?;
            let end = piece.iter().position(|&byte| byte == b'\n');
            let is_last = piece.is_empty();
            self.held.extend_from_slice(&piece[..end.unwrap_or(piece.len())]);
            let used = end.map_or(piece.len(), |end| end + 1);
            if self.held.len() > self.bytes_max || self.long.is_some() && !self.held.is_empty() {
                // The end of its line is left for the next look.
                self.source.consume(used - usize::from(end.is_some()));
                let piece = std::mem::take(&mut self.held);
                self.long.get_or_insert_default().push(&piece);
                return Ok(Some(Line::Piece(piece)));
            }
            self.source.consume(used);
            if end.is_none() && !is_last {
                continue;
            }
            if let Some(long) = self.long.take() {
                return Ok(Some(Line::Abridged(long.finish())));
            }
            let line = std::mem::take(&mut self.held);
            return Ok((end.is_some() || !line.is_empty()).then_some(Line::Whole(line)));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    async fn found(text: &[u8]) -> Vec<String> {
        let mut lines = Lines::new(text, 20);
        let (mut found, mut long) = (Vec::new(), 0);
        while let Some(line) = lines.next().await.unwrap() {
            match line {
                Line::Whole(line) => found.push(String::from_utf8(line).unwrap()),
                Line::Piece(piece) => long += piece.len(),
                Line::Abridged(line) => {
                    found.push(format!("<{}> {}", std::mem::take(&mut long), String::from_utf8_lossy(&line)));
                }
            }
        }
        assert_eq!(long, 0, "every line has an end");
        found
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_comes_in_pieces_and_says_what_it_says() {
        let long = format!("{{\"id\": 7, \"x\": \"{}\"}}", "x".repeat(3 * PIECE_BYTES));
        let text = format!("one\n\nlonger than twenty bytes\n{long}\nlast");
        let lines = found(text.as_bytes()).await;
        let expected =
            format!("<{}> {{\"id\":7,\"x\":\"{}\"}}", long.len(), "x".repeat(orch_proto::abridge::TEXT_BYTES_MAX));
        assert_eq!(lines, ["one", "", "<24> longerthantwentybytes", &expected, "last"].map(ToOwned::to_owned));
        assert_eq!(found(long.as_bytes()).await, [expected], "also one that nothing ends");
        assert_eq!(found(b"\n\nb").await, ["", "", "b"]);
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
