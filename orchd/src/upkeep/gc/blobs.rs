//! Which blobs are held and which are not any more, and the record of those that nothing ever named.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, SystemTime};

use orch_core::digest::Digest;
use orch_proto::Timestamp;

use crate::app::App;
use crate::config::Kept;

/// How old a blob is at least before it goes: what is stored is named within moments, and by then it was stored again.
const AGE_MIN: Duration = Duration::from_secs(24 * 60 * 60);

/// What the state says of blobs, as half of each name: there can be millions, and the first half of a digest is one.
#[derive(Debug, Default)]
pub(super) struct Named {
    held: Vec<u128>,
    let_go: Vec<u128>,
}

/// A blob that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Going {
    pub(super) hash: Digest,
    pub(super) size_bytes: u64,
    /// Nothing names it, nor did anything: that it goes is on record nowhere else.
    pub(super) is_unnamed: bool,
}

impl Named {
    pub(super) fn hold(&mut self, hash: &Digest) {
        self.held.push(half(hash));
    }

    pub(super) fn let_go(&mut self, hash: &Digest) {
        self.let_go.push(half(hash));
    }

    /// All was said: from now on it is asked.
    pub(super) fn finish(&mut self) {
        for names in [&mut self.held, &mut self.let_go] {
            names.sort_unstable();
            names.dedup();
        }
    }

    /// Which of these go.
    pub(super) fn going(&self, found: Vec<(Digest, u64, SystemTime)>, times: &Times) -> Vec<Going> {
        let is_in = |names: &Vec<u128>, hash: &Digest| names.binary_search(&half(hash)).is_ok();
        let there = found.into_iter().filter(|(hash, _, at)| !is_in(&self.held, hash) && *at < times.young);
        there
            .map(|(hash, size_bytes, at)| (Going { hash, size_bytes, is_unnamed: !is_in(&self.let_go, &hash) }, at))
            .filter(|(going, at)| !going.is_unnamed || *at < times.unnamed)
            .map(|(going, _)| going)
            .collect()
    }
}

/// When blobs were stored last that go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Before this, whatever they are.
    pub(super) young: SystemTime,
    /// Before this, if nothing ever named them.
    unnamed: SystemTime,
}

impl Times {
    pub(super) fn new(now: Timestamp, kept: Kept) -> Self {
        let now = SystemTime::UNIX_EPOCH + Duration::from_micros(now.unix_us().max(0).cast_unsigned());
        let ago = |time: Duration| now.checked_sub(time).unwrap_or(SystemTime::UNIX_EPOCH);
        let young = ago(AGE_MIN);
        Self { young, unnamed: young.min(ago(Duration::from_millis(kept.ms()))) }
    }
}

fn half(hash: &Digest) -> u128 {
    let mut half = [0; 16];
    half.copy_from_slice(&hash.as_bytes()[..16]);
    u128::from_be_bytes(half)
}

/// Puts on record that blobs go which nothing ever named: one line of JSON each, on the disk before they are removed. After a
/// crash a line can be there twice.
pub(super) fn record(app: &App, going: &[Going], policy: &str, now: Timestamp) -> io::Result<()> {
    let unnamed = going.iter().filter(|going| going.is_unnamed);
    let lines: String = unnamed
        .map(|going| {
            let line = serde_json::json!({
                "at": now.to_string(),
                "kind": "blob",
                "sha256": going.hash.to_string(),
                "size_bytes": going.size_bytes,
                "policy": policy,
            });
            format!("{line}\n")
        })
        .collect();
    if lines.is_empty() {
        return Ok(());
    }
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(app.dirs.removed_blobs())?;
    file.write_all(lines.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_goes_when_nobody_holds_it_and_it_is_old_enough_for_what_it_is() {
        let day = 24 * 60 * 60;
        let now = Timestamp::from_unix_us(1_795_165_557_000_000);
        let at = |days: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_165_557 - days * day);
        let [held, shared, let_go, unnamed] = [b"a", b"b", b"c", b"d"].map(|bytes| Digest::of(bytes));
        let mut named = Named::default();
        [held, shared].iter().for_each(|hash| named.hold(hash));
        [shared, let_go].iter().for_each(|hash| named.let_go(hash));
        named.finish();
        let going = |days: u64, kept: u32| {
            let found = [held, shared, let_go, unnamed].map(|hash| (hash, 1, at(days))).to_vec();
            let times = Times::new(now, Kept::new("blobs_days", kept));
            named.going(found, &times).into_iter().map(|going| (going.hash, going.is_unnamed)).collect::<Vec<_>>()
        };
        assert_eq!(going(0, 0), []);
        assert_eq!(going(2, 90), [(let_go, false)]);
        assert_eq!(going(91, 90), [(let_go, false), (unnamed, true)]);
        assert_eq!(going(2, 0), [(let_go, false), (unnamed, true)]);
    }
}
