//! Tells the shim what happens, without ever waiting for it.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::socket::{MsgFlags, send};

use crate::egress::record::{Asked, EgressRecord, Packet, Verdict, Way, encode};
use crate::egress::wire::request::Place;

/// Writes records to the channel.
#[derive(Debug)]
pub(super) struct Recorder {
    channel: OwnedFd,
    /// Records that did not fit into the channel.
    missed: AtomicU64,
}

impl Recorder {
    pub(super) fn new(channel: OwnedFd) -> Self {
        Self { channel, missed: AtomicU64::new(0) }
    }

    /// Records what became of a request for `place`.
    pub(super) fn about(&self, way: Way, place: &Place, verdict: Verdict) {
        self.record(way, place.name.as_str().as_bytes(), Some(place.port), verdict);
    }

    /// Records what became of a request for whatever the run called `named`.
    pub(super) fn record(&self, way: Way, named: &[u8], port: Option<u16>, verdict: Verdict) {
        let host = (!named.is_empty()).then(|| Asked::new(named));
        let count = self.missed.swap(0, Ordering::SeqCst);
        let missed = EgressRecord { way: Way::Unknown, host: None, port: None, verdict: Verdict::Missed { count } };
        if count > 0 && !self.send(missed) {
            self.missed.fetch_add(count, Ordering::SeqCst);
        }
        if !self.send(EgressRecord { way, host, port, verdict }) {
            self.missed.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn send(&self, record: EgressRecord) -> bool {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        send(self.channel.as_raw_fd(), &encode(&Packet::Record(record)), flags).is_ok()
    }
}
