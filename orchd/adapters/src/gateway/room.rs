//! How much of requests and answers is in the daemon's memory at once: of one run, and of all together.
//!
//! A run can send what it likes. Each has a little room of its own, which nobody can take from it, so that agents at their
//! usual work never wait for others; what is larger comes from what all share, of which a run has a part at most. Room for a
//! request is taken whole, before it is read: who holds some never waits for more. An answer that finds none is passed on
//! all the same, but not kept, and counted by its size. Connections are shared in the same way: each takes descriptors of
//! the daemon, and one whose request waits for a person takes them for as long as that takes.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Largest request, in bytes: a context of a million tokens with pictures in it is smaller.
pub const REQUEST_BYTES_MAX: usize = 32 << 20;

/// What room is counted in.
const UNIT_BYTES: usize = 64 << 10;
/// Requests: what each run has for itself, its part of what all share, and that, in bytes.
const REQUESTS: [usize; 3] = [4 << 20, 48 << 20, 256 << 20];
/// Answers, the same.
const ANSWERS: [usize; 3] = [4 << 20, 32 << 20, 128 << 20];
/// Connections of runs, the same: each can have one to a server, and both are descriptors of the daemon.
const CONNECTIONS: [usize; 3] = [4, 28, 192];
/// How long a request waits for room.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How long a request may take however small it is, and what comes in each further second at least.
const READ_MIN: Duration = Duration::from_secs(30);
const BYTES_OF_SECOND: u64 = 128 << 10;

/// Room of all runs.
#[derive(Clone, Debug)]
pub(super) struct Room {
    requests: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

/// Room of one run.
#[derive(Debug)]
pub(super) struct RunRoom {
    requests: Share,
    answers: Share,
    connections: Share,
}

/// Room for one kind of thing.
#[derive(Clone, Debug)]
struct Share {
    own: Arc<Semaphore>,
    /// All that the run has for itself.
    own_most: u32,
    part: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

/// Room that is taken until this is dropped.
#[derive(Debug, Default)]
pub(super) struct Held(Vec<OwnedSemaphorePermit>);

/// Room that a text takes for as long as anybody has this.
#[derive(Clone, Debug, Default)]
pub struct Hold(Option<Arc<Held>>);

/// A request that was read, and the room that it takes.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) body: Bytes,
    pub(super) room: Held,
}

/// Room for what is held of one answer.
#[derive(Debug)]
pub(super) struct AnswerRoom {
    share: Share,
    held: Held,
    units: usize,
}

impl Default for Room {
    fn default() -> Self {
        let of = |most: usize| Arc::new(Semaphore::new(most));
        let (requests, answers) = (REQUESTS[2] / UNIT_BYTES, ANSWERS[2] / UNIT_BYTES);
        Self { requests: of(requests), answers: of(answers), connections: of(CONNECTIONS[2]) }
    }
}

impl Room {
    pub(super) fn of_run(&self) -> RunRoom {
        let units = |bytes: [usize; 3]| bytes.map(|bytes| bytes / UNIT_BYTES);
        RunRoom {
            requests: Share::new(units(REQUESTS), &self.requests),
            answers: Share::new(units(ANSWERS), &self.answers),
            connections: Share::new(CONNECTIONS, &self.connections),
        }
    }
}

impl Share {
    fn new([own, part, _]: [usize; 3], all: &Arc<Semaphore>) -> Self {
        let of = |most: usize| Arc::new(Semaphore::new(most));
        let own_most = u32::try_from(own).unwrap_or(u32::MAX);
        Self { own: of(own), own_most, part: of(part), all: Arc::clone(all) }
    }

    /// What the run has for itself, if there is enough.
    fn own(&self, units: u32) -> Option<Held> {
        Arc::clone(&self.own).try_acquire_many_owned(units).ok().map(|permit| Held(vec![permit]))
    }

    /// As much at once, from wherever it is there first.
    async fn take(&self, units: u32) -> Option<Held> {
        if let Some(held) = self.own(units) {
            return Some(held);
        }
        let shared = async {
            // Who has its part waits for the whole only, which others give back without waiting for a part.
            let part = Arc::clone(&self.part).acquire_many_owned(units).await.ok()?;
            let all = Arc::clone(&self.all).acquire_many_owned(units).await.ok()?;
            Some(Held(vec![part, all]))
        };
        // Who waits takes what is given back by and by: no more than there can be.
        if units > self.own_most {
            return shared.await;
        }
        tokio::select! {
            biased;
            own = Arc::clone(&self.own).acquire_many_owned(units) => own.ok().map(|own| Held(vec![own])),
            shared = shared => shared,
        }
    }

    /// The same without waiting.
    fn take_now(&self, units: u32) -> Option<Held> {
        self.own(units).or_else(|| {
            let part = Arc::clone(&self.part).try_acquire_many_owned(units).ok()?;
            let all = Arc::clone(&self.all).try_acquire_many_owned(units).ok()?;
            Some(Held(vec![part, all]))
        })
    }
}

impl Hold {
    pub(super) fn of(held: Held) -> Self {
        Self(Some(Arc::new(held)))
    }

    /// Whether others wait for it, too.
    pub(super) fn is_shared(&self) -> bool {
        self.0.as_deref().is_some_and(Held::is_shared)
    }
}

impl Held {
    /// Whether others wait for it, too.
    pub(super) const fn is_shared(&self) -> bool {
        self.0.len() > 1
    }

    /// Gives back all but what so many bytes need.
    fn shrink_to(&mut self, bytes: usize) {
        for permit in &mut self.0 {
            let over = permit.num_permits().saturating_sub(bytes.div_ceil(UNIT_BYTES));
            drop(permit.split(over));
        }
    }
}

impl RunRoom {
    /// A place for a connection, once there is one.
    pub(super) async fn place(&self) -> Option<Held> {
        self.connections.take(1).await
    }

    /// Reads a request of at most so many bytes.
    ///
    /// # Errors
    /// When it is too large, breaks off, or takes too long; what the run is told.
    pub(super) async fn read(&self, body: Incoming, bytes_max: usize) -> Result<Taken, (StatusCode, String)> {
        let too_large = || (StatusCode::PAYLOAD_TOO_LARGE, format!("such a request has at most {bytes_max} bytes"));
        // Without a length it has to have room for the largest.
        let bytes = body.size_hint().exact().map_or(Ok(bytes_max), usize::try_from).unwrap_or(usize::MAX);
        if bytes > bytes_max {
            return Err(too_large());
        }
        let no_room = || {
            let message = "there was no room for the request in time: others of this run or of other runs are not done";
            (StatusCode::SERVICE_UNAVAILABLE, message.to_owned())
        };
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let room = timeout(WAIT_MAX, self.requests.take(units)).await.ok().flatten();
        let mut room = room.ok_or_else(no_room)?;
        let late = |_| (StatusCode::REQUEST_TIMEOUT, "the request did not come in time".to_owned());
        let body = timeout(time_for(bytes), collect(body, bytes)).await.map_err(late)?;
        let body = body.map_err(|reason| reason.map_or_else(too_large, |reason| (StatusCode::BAD_REQUEST, reason)))?;
        room.shrink_to(body.len());
        Ok(Taken { body, room })
    }

    /// Room for an answer, none of which is taken yet.
    pub(super) fn answer(&self) -> AnswerRoom {
        AnswerRoom { share: self.answers.clone(), held: Held::default(), units: 0 }
    }
}

impl AnswerRoom {
    /// Whether there is room for so many bytes of it. Does not wait.
    pub(super) fn has(&mut self, bytes: usize) -> bool {
        let more = bytes.div_ceil(UNIT_BYTES).saturating_sub(self.units);
        if more == 0 {
            return true;
        }
        let Some(held) = u32::try_from(more).ok().and_then(|more| self.share.take_now(more)) else { return false };
        self.held.0.extend(held.0);
        self.units += more;
        true
    }

    /// What it takes, for as long as the answer is kept.
    pub(super) fn hold(self) -> Hold {
        Hold::of(self.held)
    }
}

/// How long a request of so many bytes may take.
fn time_for(bytes: usize) -> Duration {
    READ_MIN + Duration::from_secs(bytes as u64 / BYTES_OF_SECOND)
}

/// All of a body; none as the error when it is too large.
async fn collect(mut body: Incoming, bytes_max: usize) -> Result<Bytes, Option<String>> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Some(format!("the request broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > bytes_max {
            return Err(None);
        }
        read.extend_from_slice(&data);
    }
    Ok(read.freeze())
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const MIB: usize = (1 << 20) / UNIT_BYTES;

    fn units(mib: usize) -> u32 {
        u32::try_from(mib * MIB).unwrap()
    }

    #[test]
    fn large_requests_of_one_run_wait_for_each_other_and_never_for_good() {
        let room = Room::default().of_run();
        let first = room.requests.take(units(32)).now_or_never().flatten().unwrap();
        // They do not take a little each and wait for the rest.
        let (mut second, mut third) =
            (Box::pin(room.requests.take(units(32))), Box::pin(room.requests.take(units(32))));
        assert!((&mut second).now_or_never().is_none() && (&mut third).now_or_never().is_none());
        drop(first);
        drop(second.now_or_never().flatten().unwrap());
        assert!(third.now_or_never().flatten().is_some());
    }

    #[test]
    fn runs_that_take_all_leave_every_other_its_own() {
        let all = Room::default();
        let greedy: Vec<RunRoom> = (0..8).map(|_| all.of_run()).collect();
        let held: Vec<Held> =
            greedy.iter().filter_map(|run| run.requests.take(units(32)).now_or_never().flatten()).collect();
        assert_eq!(held.len(), 8);
        let other = all.of_run();
        assert!(other.requests.take(units(32)).now_or_never().is_none());
        assert!(other.requests.take(units(4)).now_or_never().flatten().is_some());
    }

    #[test]
    fn what_is_given_back_of_its_own_goes_to_a_run_that_waits_for_others() {
        let all = Room::default();
        let mut greedy: Vec<Held> = Vec::new();
        for run in (0..8).map(|_| all.of_run()) {
            greedy.extend((0..32).map_while(|_| run.place().now_or_never().flatten()));
        }
        assert_eq!(greedy.len(), CONNECTIONS[2] + 8 * CONNECTIONS[0], "all that is shared, and what each has");
        let run = all.of_run();
        let mut own: Vec<Held> = (0..4).filter_map(|_| run.place().now_or_never().flatten()).collect();
        assert_eq!(own.len(), CONNECTIONS[0]);
        let mut next = Box::pin(run.place());
        assert!((&mut next).now_or_never().is_none());
        own.pop();
        assert!(next.now_or_never().flatten().is_some_and(|held| !held.is_shared()));
    }

    #[test]
    fn an_answer_without_room_does_not_wait() {
        let all = Room::default();
        let run = all.of_run();
        let mut first = run.answer();
        assert!(first.has(1) && first.has(4 << 20), "it has its own");
        let mut second = run.answer();
        assert!(second.has(32 << 20) && !run.answer().has(1), "and a part of what all share");
        drop(first);
        assert!(run.answer().has(4 << 20));
    }

    #[test]
    fn room_is_taken_until_the_last_who_needs_the_text_is_done() {
        let run = Room::default().of_run();
        let hold = Hold::of(run.requests.take_now(units(32)).unwrap());
        let kept = hold.clone();
        assert!(hold.is_shared());
        drop(hold);
        assert!(run.requests.take_now(units(32)).is_none(), "it is still written somewhere");
        drop(kept);
        assert!(run.requests.take_now(units(32)).is_some());
        let mut answer = run.answer();
        assert!(answer.has(32 << 20) && !Hold::default().is_shared());
        let kept = answer.hold();
        assert!(!run.answer().has(32 << 20));
        drop(kept);
        assert!(run.answer().has(32 << 20));
    }

    #[test]
    fn what_is_not_needed_is_given_back() {
        let run = Room::default().of_run();
        let mut held = run.requests.take_now(units(32)).unwrap();
        held.shrink_to(UNIT_BYTES + 1);
        assert_eq!(run.requests.part.available_permits(), 48 * MIB - 2);
    }

    #[test]
    fn the_larger_a_request_the_longer_it_may_take() {
        assert_eq!((time_for(0), time_for(REQUEST_BYTES_MAX)), (READ_MIN, READ_MIN + Duration::from_secs(256)));
    }
}
