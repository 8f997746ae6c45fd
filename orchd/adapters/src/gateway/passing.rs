//! An answer on its way to the run: without the key, counted, kept as far as there is room, and never whole for somebody
//! who did not get all of it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::{Response, StatusCode};
use orch_sandbox::redact::{Patterns, Redactor};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

use super::api::Route;
use super::headers;
use super::ledger::{Answered, End};
use super::meter::Meter;
use super::room::AnswerRoom;

/// How much of an answer is kept for the audit, in bytes. All of it is passed on.
pub const RESPONSE_BYTES_KEPT_MAX: usize = 4 << 20;

/// How long nothing may come of an answer that has begun.
const SILENCE_MAX: Duration = Duration::from_secs(5 * 60);
/// How long a run may read nothing of an answer that it wanted: one that stands still reads on when it asks again.
const UNREAD_MAX: Duration = Duration::from_secs(5 * 60);
/// Pieces of an answer that wait for a run which does not read.
const PIECES_MAX: usize = 4;

pub(super) type AnswerBody = UnsyncBoxBody<Bytes, io::Error>;

/// How long nothing has come. One timer for many pieces: how long it was is looked at only when that is over.
#[derive(Debug)]
struct Silence {
    heard: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Silence {
    fn begin() -> Self {
        Self { heard: Instant::now(), timer: Box::pin(tokio::time::sleep(SILENCE_MAX)) }
    }

    /// Something has come.
    fn ends(&mut self) {
        self.heard = Instant::now();
    }

    /// Waits until it was too long. May be waited for again and again.
    async fn too_long(&mut self) {
        loop {
            self.timer.as_mut().await;
            let until = self.heard + SILENCE_MAX;
            if Instant::now() >= until {
                return;
            }
            self.timer.as_mut().reset(until);
        }
    }
}

/// An answer as it comes from its server.
#[derive(Debug)]
pub(super) struct Coming {
    body: Incoming,
    silence: Silence,
}

impl Coming {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, silence: Silence::begin() }
    }

    /// The next piece; none at the end. Nothing is lost when it is not waited for to its end.
    ///
    /// # Errors
    /// How it broke off.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, End> {
        loop {
            let frame = tokio::select! {
                biased;
                frame = self.body.frame() => frame,
                () = self.silence.too_long() => return Err(End::Silent),
            };
            self.silence.ends();
            match frame {
                None => return Ok(None),
                // What may follow the last piece, a trailer, is nothing that a run needs.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(_)) => return Err(End::Broken),
            }
        }
    }
}

/// The end of an answer at which somebody writes.
#[derive(Debug)]
pub(super) struct Writing {
    pieces: mpsc::Sender<Bytes>,
    is_whole: Arc<AtomicBool>,
}

impl Writing {
    /// An answer with this head, and where its body is written. Dropped before [`Self::end`], the run sees it break off.
    pub(super) fn begin(status: StatusCode, answered: &HeaderMap) -> (Self, Response<AnswerBody>) {
        let (pieces, mut read) = mpsc::channel(PIECES_MAX);
        let is_whole = Arc::new(AtomicBool::new(false));
        let writing = Self { pieces, is_whole: Arc::clone(&is_whole) };
        let mut has_ended = false;
        let stream = futures::stream::poll_fn(move |context| {
            if has_ended {
                return Poll::Ready(None);
            }
            read.poll_recv(context).map(|piece| match piece {
                Some(piece) => Some(Ok(Frame::data(piece))),
                None => {
                    has_ended = true;
                    let broken = || io::Error::new(io::ErrorKind::UnexpectedEof, "the answer of the model broke off");
                    (!is_whole.load(Ordering::Acquire)).then(|| Err(broken()))
                }
            })
        });
        let mut answer = Response::new(StreamBody::new(stream).boxed_unsync());
        *answer.status_mut() = status;
        *answer.headers_mut() = answered.clone();
        (writing, answer)
    }

    /// Ends when nobody reads any more.
    pub(super) async fn closed(&self) {
        self.pieces.closed().await;
    }

    /// Whether the run takes it in time.
    pub(super) async fn send(&self, piece: Vec<u8>) -> bool {
        piece.is_empty()
            || tokio::time::timeout(UNREAD_MAX, self.pieces.send(piece.into())).await.is_ok_and(|sent| sent.is_ok())
    }

    /// All of it was written.
    pub(super) fn end(self) {
        self.is_whole.store(true, Ordering::Release);
    }
}

/// Takes the key out of a stream.
#[derive(Debug)]
pub(super) struct Cleaning(Option<Redactor>);

impl Cleaning {
    pub(super) fn new(patterns: Option<&Arc<Patterns>>) -> Self {
        Self(patterns.map(Redactor::new))
    }

    /// What can be seen of the stream after these bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let Some(redactor) = &mut self.0 else { return bytes.to_vec() };
        let mut clear = Vec::with_capacity(bytes.len());
        redactor.feed(bytes, &mut clear);
        clear
    }

    /// What was held back, at the end of the stream.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let mut clear = Vec::new();
        if let Some(redactor) = self.0.take() {
            redactor.finish(&mut clear);
        }
        clear
    }
}

/// The headers of an answer that the run gets: those that pass, without any that has the key in it.
pub(super) fn passed_headers(answered: &HeaderMap, patterns: Option<&Arc<Patterns>>) -> HeaderMap {
    let passed = headers::of_answer(answered);
    let is_clean = |value: &[u8]| {
        let mut cleaning = Cleaning::new(patterns);
        let mut clear = cleaning.feed(value);
        clear.extend(cleaning.finish());
        clear == value
    };
    passed
        .into_iter()
        .filter_map(|(name, value)| Some((name?, value)))
        .filter(|(_, value)| is_clean(value.as_bytes()))
        .collect()
}

/// What is known of an answer while it passes.
#[derive(Debug)]
pub(super) struct Passing {
    status: StatusCode,
    meter: Meter,
    kept: Vec<u8>,
    left_out: u64,
    room: AnswerRoom,
    cleaning: Cleaning,
}

impl Passing {
    /// For an answer to `route` with this head.
    pub(super) fn new(
        route: Route,
        (status, headers): (StatusCode, &HeaderMap),
        patterns: Option<&Arc<Patterns>>,
        room: AnswerRoom,
    ) -> Self {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let meter = Meter::new(route, content_type);
        Self { status, meter, kept: Vec::new(), left_out: 0, room, cleaning: Cleaning::new(patterns) }
    }

    /// Follows the next bytes; what the run may see by now.
    pub(super) fn take(&mut self, data: &[u8]) -> Vec<u8> {
        let clear = self.cleaning.feed(data);
        self.follow(&clear);
        clear
    }

    /// The answer is at its end; what was held back of it.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        let clear = self.cleaning.finish();
        self.follow(&clear);
        clear
    }

    /// Whether the server has said all that it has to say.
    pub(super) const fn is_over(&self) -> bool {
        self.meter.is_over()
    }

    /// Whether not all of it is kept any more.
    pub(super) const fn is_cut(&self) -> bool {
        self.left_out > 0
    }

    fn follow(&mut self, clear: &[u8]) {
        let more = clear.len().min(RESPONSE_BYTES_KEPT_MAX - self.kept.len());
        let held = self.meter.held() + clear.len();
        let has_room = self.room.has(self.kept.len() + more + held);
        self.meter.feed(clear, has_room);
        // What is kept is its beginning, without gaps.
        let more = if has_room && self.left_out == 0 { more } else { 0 };
        let (kept, left_out) = clear.split_at(more);
        self.kept.extend_from_slice(kept);
        self.left_out += left_out.len() as u64;
    }

    /// What came of a request of this size, and what of the answer is still to be cleaned.
    pub(super) fn answered(
        mut self,
        end: End,
        request_bytes: u64,
        (tries, took): (u32, Duration),
    ) -> (Answered, Cleaning) {
        if self.left_out == 0 {
            self.meter.finish(&self.kept);
        }
        // An error costs nothing, whatever its text is like.
        let (tokens, is_estimate) = match self.status.is_success() {
            true => self.meter.cost(request_bytes, end == End::Complete),
            false => Default::default(),
        };
        let answered = Answered {
            status: Some(self.status.as_u16()),
            model: self.meter.model().map(str::to_owned),
            tokens,
            is_estimate,
            body: self.kept,
            left_out: self.left_out,
            end,
            tries,
            took,
            hold: self.room.hold(),
        };
        (answered, self.cleaning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counted from the last that came, however long the answer is under way, and not from its beginning.
    #[tokio::test(start_paused = true)]
    async fn a_server_is_silent_when_nothing_has_come_for_so_long() {
        let mut silence = Silence::begin();
        for pause in [SILENCE_MAX / 2, SILENCE_MAX * 9 / 10, Duration::ZERO] {
            tokio::time::timeout(pause, silence.too_long()).await.expect_err("something comes before it is too long");
            silence.ends();
        }
        let heard = Instant::now();
        silence.too_long().await;
        let waited = heard.elapsed();
        assert!((SILENCE_MAX..SILENCE_MAX + Duration::from_secs(1)).contains(&waited), "{waited:?}");
    }
}
