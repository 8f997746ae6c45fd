//! The daemon's end of a connection: frames of hostile bytes in, frames of bounded size out.
//!
//! What cannot be taken in or sent out is answered to the call that it belongs to, as a [`RpcError`] in the `detail` of
//! tarpc's own error. **Invariant:** no frame makes tarpc panic: a deadline is checked before tarpc calculates with it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{Sink, SinkExt as _, Stream, StreamExt as _};
use serde::Deserialize;
use tarpc::{ClientMessage, Response};
use tokio::net::UnixStream;
use tokio_util::bytes::{Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder, Framed, LengthDelimitedCodec};

use super::{FRAME_BYTES_MAX, codec};
use crate::error::{ErrorCode, RpcError};
use crate::service::{OrchRequest, OrchResponse};

/// Latest deadline that a client may give a call. Far more than a call takes, far less than timers can count.
const DEADLINE_MAX: Duration = Duration::from_secs(3600);
/// Where in a frame that is not read the number of its call is looked for.
const HEAD_BYTES_MAX: usize = 4 << 10;
/// Number of no call: what is answered under it is for whoever reads the connection.
const NO_CALL: u64 = u64::MAX;
/// `InvalidData`, as tarpc writes kinds of errors.
const KIND_INVALID_DATA: u32 = 12;

/// The daemon's end of a connection.
#[derive(Debug)]
pub struct ServerTransport {
    framed: Framed<UnixStream, ServerCodec>,
    /// An answer to what was not taken in, on its way out.
    refusal: Option<Bytes>,
    /// Nothing is read any more.
    ended: bool,
}

impl ServerTransport {
    pub(super) fn new(stream: UnixStream) -> Self {
        let frames = codec().new_codec();
        Self { framed: Framed::new(stream, ServerCodec { frames }), refusal: None, ended: false }
    }
}

impl Stream for ServerTransport {
    type Item = io::Result<ClientMessage<OrchRequest>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.refusal.is_some() {
                ready!(self.framed.poll_ready_unpin(cx))?;
                if let Some(refusal) = self.refusal.take() {
                    self.framed.start_send_unpin(refusal)?;
                }
                ready!(self.framed.poll_flush_unpin(cx))?;
            }
            if self.ended {
                ready!(self.framed.poll_flush_unpin(cx))?;
                return Poll::Ready(None);
            }
            match ready!(self.framed.poll_next_unpin(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(Incoming::Message(message))) => return Poll::Ready(Some(Ok(*message))),
                Some(Ok(Incoming::Refused { call, error, is_last })) => {
                    self.refusal = Some(refusal(call, &error));
                    self.ended = is_last;
                }
            }
        }
    }
}

impl Sink<Response<OrchResponse>> for ServerTransport {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.framed.poll_ready_unpin(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, response: Response<OrchResponse>) -> io::Result<()> {
        let mut frame = serde_json::to_vec(&response).map(Bytes::from)?;
        if frame.len() > FRAME_BYTES_MAX {
            let message = format!("the answer has {} bytes; {FRAME_BYTES_MAX} can be sent", frame.len());
            let error = RpcError::new(ErrorCode::TooLarge, message).hint("ask for less at once");
            frame = refusal(response.request_id, &error);
        }
        self.framed.start_send_unpin(frame)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.framed.poll_flush_unpin(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.framed.poll_close_unpin(cx)
    }
}

/// What a frame of a client is.
#[derive(Debug)]
enum Incoming {
    Message(Box<ClientMessage<OrchRequest>>),
    /// It is answered and not passed on; after the last one nothing can be read.
    Refused {
        call: u64,
        error: RpcError,
        is_last: bool,
    },
}

#[derive(Debug)]
struct ServerCodec {
    frames: LengthDelimitedCodec,
}

impl Decoder for ServerCodec {
    type Item = Incoming;
    type Error = io::Error;

    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<Incoming>> {
        match self.frames.decode(bytes) {
            Ok(None) => Ok(None),
            Ok(Some(frame)) => Ok(Some(parse(&frame))),
            // The length stands there still, for the frames were refused because of it.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let message = format!("the request is larger than {FRAME_BYTES_MAX} bytes");
                let call = number_of(bytes.get(4..).unwrap_or_default());
                Ok(Some(Incoming::Refused {
                    call,
                    error: RpcError::new(ErrorCode::TooLarge, message).hint("send less at once"),
                    is_last: true,
                }))
            }
            Err(error) => Err(error),
        }
    }
}

impl Encoder<Bytes> for ServerCodec {
    type Error = io::Error;

    fn encode(&mut self, frame: Bytes, bytes: &mut BytesMut) -> io::Result<()> {
        self.frames.encode(frame, bytes)
    }
}

/// As much of a message as must be known before it is taken for one.
#[derive(Deserialize)]
enum Head {
    Request { context: HeadContext, id: u64 },
    Cancel {},
}

#[derive(Deserialize)]
struct HeadContext {
    deadline: Duration,
}

fn parse(frame: &[u8]) -> Incoming {
    let refused =
        |call, code, message: String| Incoming::Refused { call, error: RpcError::new(code, message), is_last: false };
    let form = |error: serde_json::Error| format!("the request does not have the form of any call: {error}");
    let head = match serde_json::from_slice(frame) {
        Ok(head) => head,
        Err(error) => return refused(number_of(frame), ErrorCode::Usage, form(error)),
    };
    let call = match head {
        Head::Request { id, context } if context.deadline > DEADLINE_MAX => {
            let message = format!("the deadline is more than {} s away", DEADLINE_MAX.as_secs());
            return refused(id, ErrorCode::Invalid, message);
        }
        Head::Request { id, .. } => id,
        Head::Cancel {} => NO_CALL,
    };
    match serde_json::from_slice(frame) {
        Ok(message) => Incoming::Message(Box::new(message)),
        Err(error) => refused(call, ErrorCode::Usage, form(error)),
    }
}

/// The number of the call in the beginning of a message that cannot be read.
fn number_of(message: &[u8]) -> u64 {
    const KEY: &[u8] = b"\"id\":";
    let head = message.get(..HEAD_BYTES_MAX).unwrap_or(message);
    let digits = head.windows(KEY.len()).position(|window| window == KEY).and_then(|at| head.get(at + KEY.len()..));
    let digits = digits.unwrap_or_default().trim_ascii_start();
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or_default();
    let digits = digits.get(..end).and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(NO_CALL)
}

/// An answer that tells why there is none. tarpc's error cannot be made from outside, so its form is written here.
fn refusal(call: u64, error: &RpcError) -> Bytes {
    let detail = serde_json::to_string(error).unwrap_or_else(|_| error.to_string());
    let error = serde_json::json!({ "kind": KIND_INVALID_DATA, "detail": detail });
    Bytes::from(serde_json::json!({ "request_id": call, "message": { "Err": error } }).to_string())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// What the client reads, as the error that it makes of it.
    async fn told(client: &mut UnixStream, call: u64) -> RpcError {
        let length = client.read_u32().await.unwrap();
        let mut frame = vec![0; length as usize];
        client.read_exact(&mut frame).await.unwrap();
        let answer: Response<OrchResponse> = serde_json::from_slice(&frame).unwrap();
        assert_eq!(answer.request_id, call);
        super::super::transport_error(&tarpc::client::RpcError::Server(answer.message.unwrap_err()))
    }

    async fn write(client: &mut UnixStream, frame: &str) {
        client.write_u32(u32::try_from(frame.len()).unwrap()).await.unwrap();
        client.write_all(frame.as_bytes()).await.unwrap();
    }

    fn status(id: u64, deadline_s: u64) -> String {
        let trace = r#"{"trace_id":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0],"span_id":1,"sampling_decision":"Unsampled"}"#;
        format!(
            r#"{{"Request":{{"context":{{"deadline":{{"secs":{deadline_s},"nanos":0}},"trace_context":{trace}}},"id":{id},"message":{{"Status":{{}}}}}}}}"#
        )
    }

    #[tokio::test]
    async fn frames_that_are_no_calls_are_answered_and_the_next_one_is_served() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let mut transport = ServerTransport::new(server);
        let speak = async {
            for (frame, call, code) in [
                ("{garbage".to_owned(), NO_CALL, ErrorCode::Usage),
                ("[".repeat(100_000), NO_CALL, ErrorCode::Usage),
                (status(3, 1).replace("Status", "Format"), 3, ErrorCode::Usage),
                (format!("{}{}", r#"{"Request":{"id":4,"message":"#, r#"{"a":"#.repeat(100_000)), 4, ErrorCode::Usage),
                (status(5, 10 * 365 * 86_400), 5, ErrorCode::Invalid),
                (status(6, u64::MAX), 6, ErrorCode::Invalid),
            ] {
                write(&mut client, &frame).await;
                assert_eq!(told(&mut client, call).await.code, code, "{call}");
            }
            write(&mut client, &status(7, 1)).await;
        };
        let (next, ()) = tokio::join!(transport.next(), speak);
        assert!(matches!(next, Some(Ok(ClientMessage::Request(request))) if request.id == 7));
    }

    #[tokio::test]
    async fn a_frame_over_the_limit_is_answered_before_the_end() {
        for body in ["", r#"{"Request":{"id":9,"message":"#] {
            let (mut client, server) = UnixStream::pair().unwrap();
            let mut transport = ServerTransport::new(server);
            client.write_u32(50 << 20).await.unwrap();
            client.write_all(body.as_bytes()).await.unwrap();
            assert!(transport.next().await.is_none());
            let call = if body.is_empty() { NO_CALL } else { 9 };
            assert_eq!(told(&mut client, call).await.code, ErrorCode::TooLarge);
        }
    }

    #[tokio::test]
    async fn an_answer_over_the_limit_becomes_an_error_of_its_call() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let mut transport = ServerTransport::new(server);
        let large = RpcError::new(ErrorCode::Internal, "x".repeat(FRAME_BYTES_MAX));
        let answer = |request_id| Response { request_id, message: Ok(OrchResponse::Shutdown(Err(large.clone()))) };
        transport.send(answer(11)).await.unwrap();
        assert_eq!(told(&mut client, 11).await.code, ErrorCode::TooLarge);
    }
}
