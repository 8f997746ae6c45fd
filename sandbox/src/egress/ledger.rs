//! Turns the proxy's records into events of the log, so that no flood of them can fill it.
//!
//! Pure but for the time that it is told. The first record of its kind in a window is written at once; what is like it
//! is counted and written once when the window ends. **Invariant:** every record is written, counted in one that is, or
//! counted as unrecorded.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::record::{EgressRecord, Verdict};
use crate::log::ControlEvent;

/// Length of a window.
const WINDOW: Duration = Duration::from_secs(10);
/// Most different records of a window.
const KINDS_MAX: usize = 64;
/// Most records of a run before only their number is kept.
const RECORDS_MAX: u32 = 20_000;

/// What has come since the last window ended.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    ends: Option<Instant>,
    kinds: BTreeMap<EgressRecord, Repeats>,
    /// Records that are not to be written.
    unrecorded: u64,
    written: u32,
}

/// Records like the one that was written.
#[derive(Debug, Default)]
struct Repeats {
    count: u64,
    /// The first number of the verdict, added up.
    first: u64,
    /// The second one.
    second: u64,
}

impl Ledger {
    /// When [`Self::flush`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.ends
    }

    /// Takes one record; the event is to be written now.
    pub(super) fn add(&mut self, record: EgressRecord, now: Instant) -> Option<ControlEvent> {
        self.ends.get_or_insert(now + WINDOW);
        let (kind, first, second) = without_numbers(&record);
        if let Some(repeats) = self.kinds.get_mut(&kind) {
            repeats.count += 1;
            repeats.first = repeats.first.saturating_add(first);
            repeats.second = repeats.second.saturating_add(second);
            return None;
        }
        if self.kinds.len() >= KINDS_MAX || self.written >= RECORDS_MAX {
            self.unrecorded += 1;
            return None;
        }
        self.kinds.insert(kind, Repeats::default());
        self.written += 1;
        Some(ControlEvent::Egress { record, count: 1 })
    }

    /// Ends the window if its time has come; the events are to be written now.
    pub(super) fn flush(&mut self, now: Instant) -> Vec<ControlEvent> {
        if self.ends.is_some_and(|ends| now >= ends) { self.end_window() } else { Vec::new() }
    }

    /// Ends the window whatever the time is.
    pub(super) fn end_window(&mut self) -> Vec<ControlEvent> {
        self.ends = None;
        let repeated = std::mem::take(&mut self.kinds).into_iter().filter(|(_, repeats)| repeats.count > 0);
        let mut events: Vec<_> = repeated
            .map(|(kind, repeats)| ControlEvent::Egress {
                record: with_numbers(kind, repeats.first, repeats.second),
                count: repeats.count,
            })
            .collect();
        self.written = self.written.saturating_add(u32::try_from(events.len()).unwrap_or(u32::MAX));
        if self.unrecorded > 0 {
            events.push(ControlEvent::EgressUnrecorded { count: std::mem::take(&mut self.unrecorded) });
        }
        events
    }
}

/// What records have in common that are counted together, and the two numbers in which they may differ.
fn without_numbers(record: &EgressRecord) -> (EgressRecord, u64, u64) {
    let mut kind = record.clone();
    let (verdict, first, second) = match record.verdict {
        Verdict::Closed { sent_bytes, received_bytes } => {
            (Verdict::Closed { sent_bytes: 0, received_bytes: 0 }, sent_bytes, received_bytes)
        }
        Verdict::Missed { count } => (Verdict::Missed { count: 0 }, count, 0),
        ref other @ (Verdict::Allowed { .. } | Verdict::Denied { .. } | Verdict::Failed { .. }) => {
            (other.clone(), 0, 0)
        }
    };
    kind.verdict = verdict;
    (kind, first, second)
}

fn with_numbers(mut record: EgressRecord, first: u64, second: u64) -> EgressRecord {
    record.verdict = match record.verdict {
        Verdict::Closed { .. } => Verdict::Closed { sent_bytes: first, received_bytes: second },
        Verdict::Missed { .. } => Verdict::Missed { count: first },
        other @ (Verdict::Allowed { .. } | Verdict::Denied { .. } | Verdict::Failed { .. }) => other,
    };
    record
}

#[cfg(test)]
mod tests {
    use super::super::record::{Asked, DenyReason, Way};
    use super::*;

    fn record(host: &str, verdict: Verdict) -> EgressRecord {
        EgressRecord { way: Way::Http, host: Some(Asked::new(host.as_bytes())), port: Some(80), verdict }
    }

    fn denied(host: &str) -> EgressRecord {
        record(host, Verdict::Denied { reason: DenyReason::NameNotAllowed })
    }

    fn closed(sent_bytes: u64, received_bytes: u64) -> EgressRecord {
        record("a", Verdict::Closed { sent_bytes, received_bytes })
    }

    #[test]
    fn the_first_is_written_and_the_rest_is_counted() {
        let now = Instant::now();
        let mut ledger = Ledger::default();
        assert_eq!(ledger.deadline(), None);
        assert_eq!(ledger.add(denied("a"), now), Some(ControlEvent::Egress { record: denied("a"), count: 1 }));
        for _ in 0..1000 {
            assert_eq!(ledger.add(denied("a"), now), None);
        }
        assert_eq!(ledger.add(closed(1, 2), now), Some(ControlEvent::Egress { record: closed(1, 2), count: 1 }));
        assert_eq!(ledger.add(closed(3, 4), now), None);
        assert_eq!(ledger.add(closed(5, 6), now), None);
        assert_eq!(ledger.flush(now), []);
        assert_eq!(
            ledger.flush(ledger.deadline().unwrap()),
            [
                ControlEvent::Egress { record: denied("a"), count: 1000 },
                ControlEvent::Egress { record: closed(8, 10), count: 2 }
            ]
        );
        assert_eq!(ledger.deadline(), None);
        assert!(ledger.add(denied("a"), now).is_some(), "a new window begins");
    }

    /// N23: ever different records fill nothing either.
    #[test]
    fn a_flood_of_names_is_only_counted() {
        let now = Instant::now();
        let mut ledger = Ledger::default();
        let written = (0..5000).filter(|n| ledger.add(denied(&format!("n{n}")), now).is_some()).count();
        assert_eq!(written, KINDS_MAX);
        let unrecorded = 5000 - KINDS_MAX as u64;
        assert_eq!(ledger.end_window(), [ControlEvent::EgressUnrecorded { count: unrecorded }]);
        for window in 0..RECORDS_MAX {
            for n in 0..4 {
                ledger.add(denied(&format!("w{window}n{n}")), now);
            }
            ledger.end_window();
        }
        assert_eq!(ledger.written, RECORDS_MAX);
        assert_eq!(ledger.add(denied("last"), now), None);
        assert_eq!(ledger.end_window(), [ControlEvent::EgressUnrecorded { count: 1 }]);
    }
}
