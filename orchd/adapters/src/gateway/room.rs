//! How much of requests is in the daemon's memory at once: of one run, and of all together.
//!
//! A run can send what it likes. It gets no more room than its own, whatever it opens; when all have taken what there is,
//! the next waits until something has left.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Largest request, in bytes: a context of a million tokens with pictures in it is smaller.
pub const REQUEST_BYTES_MAX: usize = 32 << 20;
/// Requests of one run at once, in units.
const OF_RUN: usize = 64;
/// Requests of all runs at once, in units.
const OF_ALL: usize = 256;
/// What room is counted in.
const UNIT_BYTES: usize = 1 << 20;
/// How long the next piece of a request may take, the wait for room included.
const PIECE_MAX: Duration = Duration::from_secs(60);

/// Room for requests of all runs.
#[derive(Clone, Debug)]
pub(super) struct Room(Arc<Semaphore>);

/// Room for those of one run.
#[derive(Debug)]
pub(super) struct RunRoom {
    run: Arc<Semaphore>,
    all: Room,
}

/// A request that was read, and the room that it takes until this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) body: Bytes,
    pub(super) room: Vec<OwnedSemaphorePermit>,
}

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(OF_ALL)))
    }
}

impl Room {
    pub(super) fn of_run(&self) -> RunRoom {
        RunRoom { run: Arc::new(Semaphore::new(OF_RUN)), all: self.clone() }
    }
}

impl RunRoom {
    /// Reads a request.
    ///
    /// # Errors
    /// When it is too large, breaks off, or takes too long; what the run is told.
    pub(super) async fn read(&self, mut body: Incoming) -> Result<Taken, (StatusCode, String)> {
        let late = |_| {
            (StatusCode::REQUEST_TIMEOUT, "the request did not come in time, or there was no room for it".to_owned())
        };
        let (mut read, mut room) = (BytesMut::new(), Vec::new());
        while let Some(frame) = timeout(PIECE_MAX, body.frame()).await.map_err(late)? {
            let frame = frame.map_err(|error| (StatusCode::BAD_REQUEST, format!("the request broke off: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            if read.len() + data.len() > REQUEST_BYTES_MAX {
                let message = format!("a request has at most {REQUEST_BYTES_MAX} bytes");
                return Err((StatusCode::PAYLOAD_TOO_LARGE, message));
            }
            read.extend_from_slice(&data);
            while room.len() / 2 * UNIT_BYTES < read.len() {
                room.extend(timeout(PIECE_MAX, self.unit()).await.map_err(late)?);
            }
        }
        Ok(Taken { body: read.freeze(), room })
    }

    /// One unit of both.
    async fn unit(&self) -> Vec<OwnedSemaphorePermit> {
        let mut unit = Vec::with_capacity(2);
        for semaphore in [&self.run, &self.all.0] {
            // It is closed by nobody.
            unit.extend(Arc::clone(semaphore).acquire_owned().await);
        }
        unit
    }
}
