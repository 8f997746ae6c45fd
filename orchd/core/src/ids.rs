//! Where ids come from: a seed and the given time, never the operating system.
//!
//! Each kind of id has its own counter, so that one more id of one kind does not change those of another: tests stay
//! stable. Ids are unique as long as seeds are; they are no secrets.

use std::collections::BTreeMap;

use orch_proto::Timestamp;
use orch_proto::id::Id;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// Draws ids. Made once per start of the daemon from 32 random bytes, in tests from fixed ones.
#[derive(Debug)]
pub struct IdSource {
    seed: [u8; 32],
    drawn: BTreeMap<&'static str, u64>,
    /// No id sorts before it.
    floor: Timestamp,
}

impl IdSource {
    /// A source for one run of the program.
    #[must_use]
    pub const fn seeded(seed: [u8; 32]) -> Self {
        Self { seed, drawn: BTreeMap::new(), floor: Timestamp::from_unix_us(0) }
    }

    /// Has no id from here on sort before `at`: a log's time and its ids go on when the clock is put back.
    pub fn sort_from(&mut self, at: Timestamp) {
        self.floor = self.floor.max(at);
    }

    /// The next id of its kind: a `UUIDv7` that sorts by `now`.
    pub fn draw<I: Id>(&mut self, now: Timestamp) -> I {
        let bytes = self.bytes(I::KIND);
        let mut random = [0_u8; 10];
        random.copy_from_slice(&bytes[..10]);
        let ms = now.max(self.floor).unix_us().max(0).cast_unsigned() / 1_000;
        I::from_uuid(uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid())
    }

    /// A number below `bound` for jitter; 0 if `bound` is 0.
    pub fn jitter(&mut self, bound: u64) -> u64 {
        let bytes = self.bytes("jitter");
        let mut word = [0_u8; 8];
        word.copy_from_slice(&bytes[..8]);
        if bound == 0 { 0 } else { u64::from_le_bytes(word) % bound }
    }

    fn bytes(&mut self, kind: &'static str) -> [u8; 32] {
        let counter = self.drawn.entry(kind).or_insert(0);
        *counter += 1;
        Sha256::new()
            .chain_update(self.seed)
            .chain_update(kind.as_bytes())
            .chain_update(counter.to_le_bytes())
            .finalize()
            .into()
    }
}

/// The smallest id of its kind that can be drawn at `at` or later.
#[must_use]
pub fn first_of<I: Id>(at: Timestamp) -> I {
    let ms = at.unix_us().max(0).cast_unsigned() / 1_000;
    I::from_uuid(uuid::Builder::from_unix_timestamp_millis(ms, &[0; 10]).into_uuid())
}

/// A deterministic id for tests and samples.
#[must_use]
pub fn sample_id<I: Id>(number: u128) -> I {
    I::from_uuid(Uuid::from_u128(0x0192_f0c0_0000_7000_8000_0000_0000_0000 + number))
}

#[cfg(test)]
mod tests {
    use orch_proto::id::{RunId, TaskId};

    use super::*;

    #[test]
    fn ids_are_unique_sorted_by_time_and_independent_of_other_kinds() {
        let now = Timestamp::from_unix_us(1_795_165_557_000_000);
        let mut plain = IdSource::seeded([7; 32]);
        let mut mixed = IdSource::seeded([7; 32]);
        let first: Vec<TaskId> = (0..100).map(|_| plain.draw(now)).collect();
        let second: Vec<TaskId> = (0..100)
            .map(|_| {
                mixed.draw::<RunId>(now);
                mixed.draw(now)
            })
            .collect();
        assert_eq!(first, second);
        assert_eq!(first.iter().collect::<std::collections::BTreeSet<_>>().len(), 100);
        assert!(plain.draw::<TaskId>(now.plus_ms(1)) > *first.iter().max().unwrap());
        // A clock that was put back gives no id that sorts before what is there.
        mixed.sort_from(now);
        assert!(mixed.draw::<TaskId>(now.minus_ms(5_000)) > first_of(now));
        let bounds: [TaskId; 2] = [first_of(now), first_of(now.plus_ms(1))];
        assert!(first.iter().all(|id| bounds[0] <= *id && *id < bounds[1]));
    }
}
