//! Files that a run hands in. Their content comes over the channel, read by the run itself: nothing is opened by its path here.

use std::io::{self, Read};
use std::time::Duration;

use orch_adapters::blobs::{Blob, PutError};
use orch_core::command::Word;
use orch_core::decide::may_hand_in;
use orch_core::entity::Artifact;
use orch_proto::channel::{Answer, Answered, FILE_BYTES_MAX};
use orch_proto::{ErrorCode, RpcError};
use orch_store::ExecuteError;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::connection::{read, timeout, write};
use super::line::Line;
use crate::app::blocking;
use crate::error_chain::chain;

/// Most bytes that one run hands in altogether, what it replaced included.
const BYTES_MAX: u64 = 1 << 30;
/// How long the next piece of a file may take.
const PIECE_MAX: Duration = Duration::from_secs(20);
/// How slow a whole file may be, in bytes a second.
const BYTES_PER_SECOND_MIN: u64 = 128 << 10;
/// Pieces that wait to be written.
const PIECES_MAX: usize = 4;

/// Takes a file in; what is left of its content is read whatever comes of it, so that the next call is understood.
///
/// # Errors
/// When the connection broke.
pub(super) async fn take(line: &Line, stream: &mut TcpStream, (path, size_bytes): (String, u64)) -> io::Result<Answer> {
    let _one = line.intake.lock().await;
    let Ok(_turn) = line.app.intakes.acquire().await else { return Err(io::ErrorKind::Interrupted.into()) };
    if let Err(refused) = may_come(line, &path, size_bytes).await {
        return Ok(Err(refused));
    }
    write(stream, &Ok(Answered::Continue)).await?;
    let (pieces, content) = mpsc::channel(PIECES_MAX);
    let blobs = line.app.blobs.clone();
    let (stored, came) = tokio::join!(
        blocking(move || blobs.put_reader(Content::new(content, size_bytes), size_bytes)),
        timeout(time_for(size_bytes), receive(stream, pieces))
    );
    if came? != size_bytes {
        let message = format!("the file is not of the {size_bytes} bytes that were announced");
        return Ok(Err(RpcError::new(ErrorCode::Invalid, message).hint("hand it in when nothing writes to it")));
    }
    Ok(keep(line, path, stored).await)
}

/// How long a file of this size may take.
fn time_for(size_bytes: u64) -> Duration {
    Duration::from_secs(size_bytes / BYTES_PER_SECOND_MIN) + PIECE_MAX
}

async fn may_come(line: &Line, path: &str, size_bytes: u64) -> Result<(), RpcError> {
    line.begun().await?;
    let run = line.look().await.map_err(|error| crate::rpc::errors::read(&error))?;
    if let Some(run) = &run {
        may_hand_in(run, path).map_err(|refused| crate::rpc::errors::execute(&ExecuteError::Rejected(refused)))?;
    }
    let before = run.map_or(0, |run| run.channel.handed_in_bytes);
    let (what, max) = if size_bytes > FILE_BYTES_MAX {
        ("the file", FILE_BYTES_MAX)
    } else if before.saturating_add(size_bytes) > BYTES_MAX {
        ("all that the run hands in", BYTES_MAX)
    } else {
        return Ok(());
    };
    Err(RpcError::new(ErrorCode::TooLarge, format!("{what} would have more than {max} bytes")))
}

async fn keep(line: &Line, path: String, stored: Result<Blob, PutError>) -> Answer {
    let blob = stored.map_err(|error| {
        tracing::warn!(run = %line.run, error = chain(&error), "a file that a run handed in is not kept");
        let code = match &error {
            PutError::StorageFull(_) => ErrorCode::StorageFull,
            PutError::TooLarge { .. } => ErrorCode::TooLarge,
            _ => ErrorCode::Storage,
        };
        RpcError::new(code, chain(&error))
    })?;
    let artifact = Artifact { path, size_bytes: blob.size_bytes, digest: blob.hash };
    line.say(Word::HandIn { artifact }).await?;
    Ok(Answered::Kept { digest: blob.hash.to_string() })
}

/// Reads pieces until the empty one, and passes them on as long as somebody takes them; how many bytes came.
async fn receive(stream: &mut TcpStream, pieces: mpsc::Sender<Vec<u8>>) -> io::Result<u64> {
    let mut came = 0_u64;
    loop {
        let piece = read(stream, PIECE_MAX).await?;
        if piece.is_empty() {
            return Ok(came);
        }
        came = came.saturating_add(piece.len() as u64);
        if came > FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more of a file than any has"));
        }
        // Without a taker the content was refused, which is answered in the end.
        let _is_refused = pieces.send(piece).await.is_err();
    }
}

/// What comes in pieces, for who reads and blocks. What ends before all of it came is no file.
struct Content {
    pieces: mpsc::Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    /// Bytes that are to come.
    left: u64,
}

impl Content {
    const fn new(pieces: mpsc::Receiver<Vec<u8>>, size_bytes: u64) -> Self {
        Self { pieces, piece: Vec::new(), at: 0, left: size_bytes }
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            match self.pieces.blocking_recv() {
                Some(piece) => (self.piece, self.at) = (piece, 0),
                None if self.left > 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                None => return Ok(0),
            }
        }
        let rest = &self.piece[self.at..];
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        self.at += len;
        self.left = self.left.saturating_sub(len as u64);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_too_early_is_no_file() {
        let read = |pieces: &[&[u8]], size_bytes| {
            let (sender, receiver) = mpsc::channel(9);
            pieces.iter().for_each(|piece| sender.try_send(piece.to_vec()).unwrap());
            drop(sender);
            let mut all = Vec::new();
            Content::new(receiver, size_bytes).read_to_end(&mut all).map(|_| all)
        };
        assert_eq!(read(&[b"ab", b"", b"c"], 3).unwrap(), b"abc");
        assert!(read(&[b"ab"], 3).is_err() && read(&[], 1).is_err());
        assert_eq!(read(&[], 0).unwrap(), b"");
    }
}
