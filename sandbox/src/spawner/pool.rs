//! Sandboxes that are prepared ahead for the shapes that runs have had lately.
//!
//! A slot is a shim with its init and its first process, waiting. **Invariant:** a slot is claimed only after it has said
//! that it is ready, and once. **Invariant:** a slot that nobody claims costs nothing but memory, and not for long.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::shim::Slot;
use crate::spec::Shape;
use crate::sys::channel;

/// Most shapes that are remembered; the one that was not used for the longest time goes.
const SHAPES_MAX: usize = 8;
/// How long a shape that no run has is remembered.
const UNUSED_MAX: Duration = Duration::from_secs(600);
/// How long no slot is prepared for a shape after one could not be: what was short may be there again soon. Doubles with
/// each that fails in a row.
const FAILED_PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause.
const FAILED_PAUSE_MAX: Duration = Duration::from_secs(60);

/// The slots of a spawner.
#[derive(Debug)]
pub(super) struct Pool {
    /// How many slots there shall be for a shape.
    wanted: usize,
    shapes: Vec<Known>,
}

/// A shape that runs have had lately, and its slots.
#[derive(Debug)]
struct Known {
    shape: Shape,
    used: Instant,
    /// When a slot could not be prepared, and how many in a row.
    failed: Option<(Instant, u32)>,
    slots: Vec<Waiting>,
}

impl Known {
    fn failed(&mut self, now: Instant) {
        let before = self.failed.map_or(0, |(_, times)| times);
        self.failed = Some((now, before.saturating_add(1)));
    }

    /// When the next slot may be prepared after one could not be.
    fn rested_at(&self) -> Option<Instant> {
        let (at, times) = self.failed?;
        let doubled = FAILED_PAUSE.saturating_mul(1 << times.saturating_sub(1).min(16));
        Some(at + doubled.min(FAILED_PAUSE_MAX))
    }

    fn rests(&self, now: Instant) -> bool {
        self.rested_at().is_some_and(|rested| now < rested)
    }
}

/// A slot as the spawner sees it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) channel: OwnedFd,
    /// The number of the template that it was made from.
    pub(super) template: u64,
    pub(super) ready: bool,
}

impl Pool {
    /// A pool with `wanted` slots for each shape.
    pub(super) fn new(wanted: usize) -> Self {
        Self { wanted, shapes: Vec::new() }
    }

    /// Takes a slot for a run of `shape`, and remembers that there was one. Slots that were not made from `template` show
    /// what was there before, and go.
    pub(super) fn take(&mut self, shape: &Shape, template: u64, now: Instant) -> Option<Waiting> {
        if self.wanted == 0 {
            return None;
        }
        let known = match self.shapes.iter().position(|known| known.shape == *shape) {
            Some(place) => self.shapes.remove(place),
            None => Known { shape: shape.clone(), used: now, failed: None, slots: Vec::new() },
        };
        if self.shapes.len() >= SHAPES_MAX {
            self.shapes.remove(0);
        }
        self.shapes.push(Known { used: now, ..known });
        let slots = &mut self.shapes.last_mut()?.slots;
        slots.retain(|slot| slot.template == template);
        let ready = slots.iter().position(|slot| slot.ready)?;
        Some(slots.swap_remove(ready))
    }

    /// Forgets the slots of `shape`: what they were made from has changed.
    pub(super) fn forget(&mut self, shape: &Shape) {
        self.shapes.iter_mut().filter(|known| known.shape == *shape).for_each(|known| known.slots.clear());
    }

    /// The shape that lacks a slot, the latest first.
    pub(super) fn lacking(&mut self, now: Instant) -> Option<Shape> {
        self.shapes.retain(|known| now.duration_since(known.used) < UNUSED_MAX);
        let lacks = |known: &&Known| known.slots.len() < self.wanted && !known.rests(now);
        self.shapes.iter().rev().find(lacks).map(|known| known.shape.clone())
    }

    /// When a shape that lacks a slot has rested after the last one could not be prepared.
    pub(super) fn rested_at(&self) -> Option<Instant> {
        let lacking = self.shapes.iter().filter(|known| known.slots.len() < self.wanted);
        lacking.filter_map(Known::rested_at).min()
    }

    /// Adds a slot that is being prepared.
    pub(super) fn add(&mut self, shape: &Shape, slot: Waiting) {
        if let Some(known) = self.shapes.iter_mut().find(|known| known.shape == *shape) {
            known.slots.push(slot);
        }
    }

    /// Notes that no slot can be prepared for `shape` now.
    pub(super) fn failed(&mut self, shape: &Shape, now: Instant) {
        self.shapes.iter_mut().filter(|known| known.shape == *shape).for_each(|known| known.failed(now));
    }

    /// Readable when a slot is ready or gone, in the order of [`hear`](Self::hear).
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.shapes.iter().flat_map(|known| &known.slots).map(|slot| slot.channel.as_fd())
    }

    /// Hears the slots for which `spoke` is true, which are asked for in the order of [`fds`](Self::fds); whether one is
    /// gone.
    pub(super) fn hear(&mut self, mut spoke: impl FnMut() -> bool, now: Instant) -> bool {
        let mut is_gone = false;
        for known in &mut self.shapes {
            let before = known.slots.len();
            known.slots.retain_mut(|slot| !spoke() || slot.hear());
            if known.slots.len() < before {
                known.failed(now);
                is_gone = true;
            } else if known.slots.iter().any(|slot| slot.ready) {
                known.failed = None;
            }
        }
        is_gone
    }
}

impl Waiting {
    /// Hears the slot; whether it lives.
    fn hear(&mut self) -> bool {
        let mut word = [0; 8];
        let said = channel::receive(self.channel.as_fd(), &mut word);
        self.ready = matches!(said, Ok((count, _)) if word.get(..count) == Some(Slot::READY));
        self.ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tests::spec;

    fn shape(tmp_bytes: u64) -> Shape {
        let mut spec = spec();
        spec.limits.tmp_bytes = tmp_bytes;
        Shape::of(&spec.check().unwrap())
    }

    /// A slot, and the end that its shim would hold.
    fn slot() -> (Waiting, OwnedFd) {
        let (ours, theirs) = channel::pair().unwrap();
        (Waiting { channel: ours, template: 1, ready: false }, theirs)
    }

    #[test]
    fn slots_are_claimed_once_and_only_when_they_are_ready() {
        let now = Instant::now();
        let (a, mut pool) = (shape(1 << 20), Pool::new(1));
        assert!(pool.take(&a, 1, now).is_none());
        assert_eq!(pool.lacking(now), Some(a.clone()));
        let (waiting, shim) = slot();
        pool.add(&a, waiting);
        assert_eq!(pool.lacking(now), None);
        assert!(pool.take(&a, 1, now).is_none(), "it is not ready");
        channel::send(shim.as_fd(), Slot::READY, &[]).unwrap();
        assert!(!pool.hear(|| true, now));
        assert!(pool.take(&shape(2 << 20), 1, now).is_none(), "it has another shape");
        assert!(pool.take(&a, 1, now).is_some());
        assert!(pool.take(&a, 1, now).is_none());
    }

    #[test]
    fn slots_of_another_template_go() {
        let now = Instant::now();
        let (a, mut pool) = (shape(1 << 20), Pool::new(1));
        drop(pool.take(&a, 1, now));
        let (waiting, shim) = slot();
        pool.add(&a, waiting);
        channel::send(shim.as_fd(), Slot::READY, &[]).unwrap();
        assert!(!pool.hear(|| true, now));
        assert!(pool.take(&a, 2, now).is_none());
        assert_eq!(channel::receive(shim.as_fd(), &mut [0; 8]).unwrap().0, 0, "its shim ends");
        assert_eq!(pool.lacking(now), Some(a));
    }

    #[test]
    fn dead_slots_are_not_prepared_again_at_once() {
        let now = Instant::now();
        let (a, mut pool) = (shape(1 << 20), Pool::new(1));
        drop(pool.take(&a, 1, now));
        let (waiting, shim) = slot();
        pool.add(&a, waiting);
        drop(shim);
        assert!(pool.hear(|| true, now));
        assert_eq!(pool.lacking(now), None);
        assert_eq!(pool.rested_at(), Some(now + FAILED_PAUSE));
        assert_eq!(pool.lacking(now + FAILED_PAUSE), Some(a.clone()));
        for _ in 0..20 {
            pool.failed(&a, now);
        }
        assert_eq!(pool.lacking(now + FAILED_PAUSE_MAX / 2), None);
        assert_eq!(pool.lacking(now + FAILED_PAUSE_MAX), Some(a.clone()));
        // One that succeeds makes it as new.
        let (waiting, shim) = slot();
        pool.add(&a, waiting);
        channel::send(shim.as_fd(), Slot::READY, &[]).unwrap();
        assert!(!pool.hear(|| true, now));
        pool.failed(&a, now);
        assert!(pool.take(&a, 1, now).is_some());
        assert_eq!(pool.lacking(now + FAILED_PAUSE), Some(a.clone()));
        assert_eq!(pool.lacking(now + UNUSED_MAX), None);
    }

    #[test]
    fn what_is_not_used_is_forgotten() {
        let now = Instant::now();
        let mut pool = Pool::new(1);
        for size in 0..=SHAPES_MAX as u64 {
            drop(pool.take(&shape((1 << 20) + size), 1, now));
        }
        assert_eq!(pool.shapes.len(), SHAPES_MAX);
        assert_eq!(pool.lacking(now), Some(shape((1 << 20) + SHAPES_MAX as u64)), "the latest first");
    }
}
