//! The body of an answer as it is sent: paced, held, cut.
//!
//! Knows nothing of what it sends. **Invariant:** the record learns how far it came, even when nobody asks for the
//! rest.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::ledger::Ledger;
use super::manner::Manner;
use super::piece::Piece;
use super::record::Delivery;

/// What filler is made of, and the most that is sent of it at once.
static FILLER: [u8; 64 * 1024] = [b'x'; 64 * 1024];

/// Longest pause between two steps of a stream.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// The connection is dropped, as the script says.
#[derive(Debug)]
pub(super) struct Dropped;

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the script drops the connection")
    }
}

impl std::error::Error for Dropped {}

/// An answer that is on its way. Dropped before its end, it was abandoned.
#[derive(Debug)]
pub(super) struct Sending {
    ledger: Arc<Ledger>,
    /// None when the request is not on record, or its end is.
    number: Option<usize>,
}

impl Sending {
    pub(super) fn new(ledger: Arc<Ledger>, number: Option<usize>) -> Self {
        Self { ledger, number }
    }

    pub(super) fn end(&mut self, delivery: Delivery) {
        if let Some(number) = self.number.take() {
            self.ledger.deliver(number, delivery);
        }
    }

    /// Waits until the test lets go what is held.
    pub(super) fn released(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut released = self.ledger.is_released();
        async move {
            // An error is that the ledger is gone, and this holds it.
            let _is_released = released.wait_for(|it| *it).await.is_ok();
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.end(Delivery::Abandoned);
    }
}

/// The body of an answer.
pub(super) struct ReplyBody {
    pieces: VecDeque<Piece>,
    sending: Sending,
    sent: u64,
    /// Where it stops for a while.
    hold_after: Option<u64>,
    /// Where it stops for good.
    cut_after: Option<u64>,
    /// Each step says when it is written.
    stamps: bool,
    /// What is sent next is a step.
    at_step: bool,
    /// Before each step.
    pause: Duration,
    /// When the step before was due: one that comes late makes the next ones no later.
    due: Option<Instant>,
    /// What the rest waits for.
    wait: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    is_flushed: bool,
    /// Its length, where that is told first.
    length: Option<u64>,
}

impl ReplyBody {
    pub(super) fn new(pieces: Vec<Piece>, manner: &Manner, sending: Sending) -> Self {
        let Manner { hold_after, cut_after, stamps, .. } = manner;
        let (hold_after, cut_after, stamps, pause) = (*hold_after, *cut_after, *stamps, Duration::ZERO);
        let pieces = pieces.into();
        let (due, wait, length) = (None, None, None);
        let (at_step, is_flushed) = (false, false);
        Self { pieces, sending, sent: 0, hold_after, cut_after, stamps, at_step, pause, due, wait, is_flushed, length }
    }

    /// Takes so many seconds for all its steps.
    pub(super) fn paced(self, secs: f64) -> Self {
        let steps = self.pieces.iter().filter(|piece| piece.is_step).count();
        let pause = Duration::try_from_secs_f64(secs).unwrap_or(PAUSE_MAX);
        let pause = pause.checked_div(u32::try_from(steps).unwrap_or(u32::MAX)).unwrap_or_default();
        Self { pause: pause.min(PAUSE_MAX), ..self }
    }

    /// Tells its length first.
    pub(super) fn with_length(mut self) -> Self {
        self.length = Some(self.pieces.iter().map(|piece| piece.bytes.len() as u64 + piece.filler).sum());
        if self.length == Some(0) {
            self.sending.end(Delivery::Whole);
        }
        self
    }

    /// How much may be sent before the next stop.
    fn room(&self) -> usize {
        let stops = [self.hold_after, self.cut_after];
        let next = stops.into_iter().flatten().min().map_or(u64::MAX, |at| at.saturating_sub(self.sent));
        usize::try_from(next).unwrap_or(usize::MAX)
    }

    /// What is sent next; none at the end.
    fn next(&mut self, room: usize) -> Option<Bytes> {
        loop {
            let piece = self.pieces.front_mut()?;
            let bytes = if !piece.bytes.is_empty() {
                piece.bytes.split_to(piece.bytes.len().min(room))
            } else if let Some(filler) = FILLER.get(..FILLER.len().min(room)).filter(|_| piece.filler > 0) {
                let filler = filler.get(..usize::try_from(piece.filler).unwrap_or(usize::MAX)).unwrap_or(filler);
                piece.filler -= filler.len() as u64;
                Bytes::from_static(filler)
            } else {
                self.pieces.pop_front();
                continue;
            };
            if piece.bytes.is_empty() && piece.filler == 0 {
                self.pieces.pop_front();
            }
            self.sent += bytes.len() as u64;
            return Some(bytes);
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Dropped;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Dropped>>> {
        loop {
            if let Some(wait) = &mut self.wait {
                ready!(wait.as_mut().poll(context));
                self.wait = None;
            }
            let is_step = self.pieces.front().is_some_and(|piece| piece.is_step);
            let room = self.room();
            if room == 0 && self.hold_after.is_some_and(|at| at <= self.sent) {
                self.hold_after = None;
                self.wait = Some(Box::pin(self.sending.released()));
            } else if room == 0 && !self.is_flushed {
                // The connection is asked for more only after it has written what it has.
                self.is_flushed = true;
                self.wait = Some(Box::pin(tokio::task::yield_now()));
            } else if room == 0 {
                self.sending.end(Delivery::Cut);
                return Poll::Ready(Some(Err(Dropped)));
            } else if is_step && !self.pause.is_zero() {
                let now = Instant::now();
                // What was held back is not caught up with.
                let due = self.due.unwrap_or(now).checked_add(self.pause).map_or(now, |due| due.max(now));
                self.due = Some(due);
                if let Some(piece) = self.pieces.front_mut() {
                    piece.is_step = false;
                }
                self.at_step = self.stamps;
                self.wait = Some(Box::pin(tokio::time::sleep_until(due)));
            } else {
                let mut next = self.next(room);
                if std::mem::take(&mut self.at_step) {
                    let stamp = format!(": at {}\n", self.sending.ledger.age_us());
                    next = next.map(|bytes| [stamp.as_bytes(), &bytes].concat().into());
                }
                // Whoever knows the length does not ask for the end.
                if self.pieces.is_empty() && (self.length.is_some() || self.room() > 0) {
                    self.sending.end(Delivery::Whole);
                }
                return Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))));
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyBody").field("sent", &self.sent).finish_non_exhaustive()
    }
}
