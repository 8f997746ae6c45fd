//! What a collection came to, while it is made.

use std::collections::BTreeMap;

use orch_core::entity::Removal;
use orch_core::retention::Hold;
use orch_proto::view::{GcKind, GcReport};

/// Most failures that are named.
const FAILED_MAX: usize = 100;
const BLOB: &str = "blob";

/// Counts by kind.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// How many, and their bytes.
    kinds: BTreeMap<&'static str, (u64, u64)>,
    evidence: u64,
    in_use: u64,
    failed: Vec<String>,
}

impl Tally {
    pub(super) fn parts(&mut self, removals: &[Removal]) {
        removals.iter().for_each(|removal| self.add(removal.part.label(), removal.size_bytes));
    }

    pub(super) fn blob(&mut self, size_bytes: u64) {
        self.add(BLOB, size_bytes);
    }

    /// A run of which something is old enough, and that stays.
    pub(super) const fn held(&mut self, hold: Hold) {
        match hold {
            Hold::InUse => self.in_use += 1,
            Hold::Evidence => self.evidence += 1,
        }
    }

    pub(super) fn failed(&mut self, line: String) {
        tracing::warn!(reason = line, "something that was kept for long enough is not removed");
        if self.failed.len() < FAILED_MAX {
            self.failed.push(line);
        }
    }

    pub(super) fn report(self, dry_run: bool) -> GcReport {
        let kinds = self.kinds.into_iter();
        let kinds = kinds.map(|(kind, (count, size_bytes))| GcKind { kind: kind.to_owned(), count, size_bytes });
        let (kinds, failed) = (kinds.collect(), self.failed);
        GcReport { dry_run, kinds, evidence: self.evidence, in_use: self.in_use, failed }
    }

    fn add(&mut self, kind: &'static str, size_bytes: u64) {
        let (count, bytes) = self.kinds.entry(kind).or_default();
        *count += 1;
        *bytes += size_bytes;
    }
}
