//! The lease of a run: its shim proves to itself again and again that the run still is the one, and ends it when it cannot.
//!
//! Time is counted from the boot of the host, its sleep included: nobody can set that clock, and a shim that was stopped for
//! longer than a proof is worth knows it when it goes on. **Invariant:** a proof that came too late is none, since by then
//! another attempt may be under way. **Invariant:** whoever has no lease any more leaves no record.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::clock::since_boot;
use crate::limit::span_text;
use crate::run_dir::{Claim, RenewError, is_locked_beside, place_of};
use crate::spec::{CheckedSpec, LeaseSpec, OwnerSpec};

/// How often within the time for which a proof is worth something the next one is looked for.
const RENEWALS: u32 = 3;
/// The same when the last one was not found.
const RETRIES: u32 = 10;

/// Why a run is not to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LeaseEnd {
    /// It may not be the one any more: nothing of it counts.
    Lost(String),
    /// Nobody wants its result.
    Orphaned(String),
}

/// The lease of one run.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    spec: &'a LeaseSpec,
    fence: u64,
    claim: &'a Claim,
    dir: &'a File,
    /// Where the directory was when the run began.
    place: PathBuf,
    term: Term,
    /// Why the last proof was not found.
    failure: Option<String>,
    /// When the owner was seen.
    owner_seen: Duration,
}

impl<'a> Lease<'a> {
    /// Begins the lease of the run of `spec`, if it has one, which has just taken `claim` in the directory `dir`.
    pub(super) fn begin(spec: &'a CheckedSpec, dir: &'a File, claim: &'a Claim) -> Option<Self> {
        let lease = spec.lease.as_ref()?;
        let now = since_boot();
        Some(Self {
            spec: lease,
            fence: spec.fence,
            claim,
            dir,
            // Without an answer nothing is ever proven.
            place: place_of(dir).unwrap_or_default(),
            term: Term::begin(now, Duration::from_millis(lease.ttl_ms)),
            failure: None,
            owner_seen: now,
        })
    }

    /// When to look next.
    pub(super) fn next_look(&self, now: Instant) -> Instant {
        now + self.term.next.saturating_sub(since_boot())
    }

    /// Renews the lease when it is time to; why the run is not to go on, if it is not.
    pub(super) fn look(&mut self) -> Option<LeaseEnd> {
        let now = since_boot();
        if self.term.is_over(now) {
            let why = self.failure.take().unwrap_or_else(|| "its shim did not run".to_owned());
            let ttl = span_text(self.spec.ttl_ms);
            return Some(LeaseEnd::Lost(format!("its lease could not be renewed for {ttl}: {why}")));
        }
        if now < self.term.next {
            return None;
        }
        match self.claim.renew(self.dir, self.fence, &self.place) {
            Ok(()) => {
                self.failure = None;
                self.term.renew(now);
            }
            // That does not change any more.
            Err(error @ RenewError::Superseded { .. }) => {
                return Some(LeaseEnd::Lost(format!("its lease has ended: {error}")));
            }
            Err(error) => {
                self.failure = Some(crate::chain(&error));
                self.term.retry(now);
            }
        }
        self.look_for_owner(now)
    }

    /// Whether the directory is nobody else's at this moment. That alone does not mean that the run is still the one.
    pub(super) fn is_own(&self) -> bool {
        self.claim.renew(self.dir, self.fence, &self.place).is_ok()
    }

    /// Whether the last proof is not worth anything any more.
    pub(super) fn is_over(&self) -> bool {
        self.term.is_over(since_boot())
    }

    fn look_for_owner(&mut self, now: Duration) -> Option<LeaseEnd> {
        let OwnerSpec { lock, absent_ms } = self.spec.owner.as_ref()?;
        if is_locked_beside(self.dir, lock) == Ok(true) {
            self.owner_seen = now;
            return None;
        }
        let is_absent = now.saturating_sub(self.owner_seen) >= Duration::from_millis(*absent_ms);
        is_absent
            .then(|| LeaseEnd::Orphaned(format!("nobody was there to take its result for {}", span_text(*absent_ms))))
    }
}

/// When a lease ends, and when it is to be renewed.
#[derive(Debug)]
struct Term {
    ttl: Duration,
    until: Duration,
    next: Duration,
}

impl Term {
    fn begin(now: Duration, ttl: Duration) -> Self {
        Self { ttl, until: now + ttl, next: now + ttl / RENEWALS }
    }

    fn is_over(&self, now: Duration) -> bool {
        now >= self.until
    }

    /// It was proven at `now` or later.
    fn renew(&mut self, now: Duration) {
        *self = Self::begin(now, self.ttl);
    }

    /// It could not be proven at `now`.
    fn retry(&mut self, now: Duration) {
        self.next = (now + self.ttl / RETRIES).min(self.until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_lease_lasts_from_the_last_proof() {
        let mut term = Term::begin(at(100), at(30));
        assert_eq!((term.next, term.until), (at(110), at(130)));
        term.renew(at(110));
        assert_eq!((term.next, term.until), (at(120), at(140)));
        assert!(!term.is_over(at(139)) && term.is_over(at(140)));
    }

    #[test]
    fn what_was_not_proven_is_looked_for_sooner_and_ends_all_the_same() {
        let mut term = Term::begin(at(100), at(30));
        for now in [110, 113, 116, 119, 122, 125, 128] {
            assert_eq!(term.next, at(now));
            term.retry(at(now));
        }
        assert_eq!(term.next, at(130));
        assert!(term.is_over(term.next));
    }
}
