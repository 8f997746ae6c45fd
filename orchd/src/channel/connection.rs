//! One connection of a run to its channel: calls, one after the other.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use orch_proto::channel::{self, Answer, Answered, CHANNEL_VERSION, Call, Verb};
use orch_proto::{ErrorCode, RpcError};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::line::Line;
use super::{intake, verbs};
use crate::app::blocking;
use crate::gateway;
use crate::rpc::errors;

/// How long a connection may be silent. Whoever has more to say connects again.
const SILENT_MAX: Duration = Duration::from_secs(60);
/// How long the rest of a frame may take, and an answer to be taken.
const FRAME_MAX: Duration = Duration::from_secs(20);

/// The version of a call whose verb may be unknown here.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Takes calls until the other side is gone or speaks no frames.
pub(super) async fn attend(line: Arc<Line>, mut stream: TcpStream) {
    if let Err(error) = speak(&line, &mut stream).await {
        tracing::debug!(run = %line.run, %error, "a connection of a run's channel ended");
    }
}

async fn speak(line: &Line, stream: &mut TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let frame = read(stream, SILENT_MAX).await?;
        tokio::time::sleep_until(line.calls.turn()).await;
        // What it says is put on record for ever, and shown.
        let app = Arc::clone(&line.app);
        let said = match blocking(move || gateway::without_secrets(&app, frame)).await {
            Ok(clear) => parse(&clear),
            Err(error) => Err(errors::internal("failed to look for secrets in what was said", &error)),
        };
        let answer = match said {
            Ok(Verb::Artifact { path, size_bytes }) => intake::take(line, stream, (path, size_bytes)).await?,
            Ok(verb) => verbs::answer(line, verb).await,
            Err(error) => Err(error),
        };
        write(stream, &answer).await?;
    }
}

fn parse(frame: &[u8]) -> Result<Verb, RpcError> {
    let wrong = |error: serde_json::Error| {
        RpcError::new(ErrorCode::Usage, format!("the call cannot be read: {error}"))
            .hint("speak to the channel with `orchctl agent`")
    };
    let Versioned { version } = serde_json::from_slice(frame).map_err(wrong)?;
    if version != CHANNEL_VERSION {
        let message = format!("the call has version {version} of the channel; {CHANNEL_VERSION} is spoken here");
        return Err(RpcError::new(ErrorCode::Protocol, message).hint("use the `orchctl` that the run finds"));
    }
    serde_json::from_slice::<Call>(frame).map(|call| call.verb).map_err(wrong)
}

/// Reads a frame, whose first byte may take so long.
pub(super) async fn read(stream: &mut TcpStream, silent_max: Duration) -> io::Result<Vec<u8>> {
    let first = timeout(silent_max, stream.read_u8()).await?;
    let rest = async {
        let mut head = [first, 0, 0, 0];
        stream.read_exact(&mut head[1..]).await?;
        let mut frame = vec![0; channel::length(head)?];
        stream.read_exact(&mut frame).await?;
        Ok(frame)
    };
    timeout(FRAME_MAX, rest).await
}

/// Writes an answer. What would be too large is an error instead.
pub(super) async fn write(stream: &mut TcpStream, answer: &Answer) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(answer)?;
    if bytes.len() > channel::FRAME_BYTES_MAX {
        let error = RpcError::new(ErrorCode::TooLarge, "the answer is too large for the channel");
        bytes = serde_json::to_vec(&Err::<Answered, _>(error))?;
    }
    timeout(FRAME_MAX, async {
        stream.write_all(&channel::head(&bytes)?).await?;
        stream.write_all(&bytes).await
    })
    .await
}

pub(super) async fn timeout<T>(time: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(time, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_told_so_whatever_it_asks() {
        let code = |call: &str| parse(call.as_bytes()).unwrap_err().code;
        assert_eq!(code(r#"{"version":2,"verb":"fly"}"#), ErrorCode::Protocol);
        assert_eq!(code(r#"{"version":1,"verb":"fly"}"#), ErrorCode::Usage);
        assert_eq!(code("\u{1b}[2J"), ErrorCode::Usage);
        assert!(parse(br#"{"version":1,"verb":"note","text":"n"}"#).is_ok());
    }
}
