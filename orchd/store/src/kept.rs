//! What was read or written last, as decoded: the writer needs a thing again within a few commands, from its making to its
//! end, and decoding a row costs more than all that is decided about it.
//!
//! Holds what the rows say in the writer's transaction and nothing else: whoever rolls back begins with an empty one.

use std::any::{Any, TypeId};
use std::collections::HashMap;

use orch_core::entity::Entity;
use orch_proto::id::Id as _;

/// Most things in a generation; there are two.
const GENERATION: usize = 256;
/// Things with more bytes of JSON than this are read again: plans and long tasks are rare, and would fill the memory.
const BYTES_MAX: usize = 8 << 10;

type Key = (TypeId, u128);

/// The last decoded things. What was not asked for during a whole generation goes with the older one.
#[derive(Default)]
pub(crate) struct Kept {
    young: HashMap<Key, Box<dyn Any + Send>>,
    old: HashMap<Key, Box<dyn Any + Send>>,
}

impl Kept {
    /// What is kept of a thing; nothing says nothing about whether there is one.
    pub(crate) fn get<E: Entity>(&mut self, id: E::Id) -> Option<E> {
        let key = key::<E>(id);
        if let Some(aged) = self.old.remove(&key) {
            self.insert(key, aged);
        }
        self.young.get(&key)?.downcast_ref::<E>().cloned()
    }

    /// The same, which is not kept any longer: it is about to change.
    pub(crate) fn take<E: Entity>(&mut self, id: E::Id) -> Option<E> {
        let key = key::<E>(id);
        let found = self.young.remove(&key).or_else(|| self.old.remove(&key))?;
        found.downcast::<E>().ok().map(|found| *found)
    }

    /// Keeps what a row with so many bytes of JSON says. When the row was written, what it said before was taken.
    pub(crate) fn put<E: Entity>(&mut self, entity: E, bytes: usize) {
        if bytes <= BYTES_MAX {
            self.insert(key::<E>(entity.id()), Box::new(entity));
        }
    }

    fn insert(&mut self, key: Key, entity: Box<dyn Any + Send>) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, entity);
    }
}

fn key<E: Entity>(id: E::Id) -> Key {
    (TypeId::of::<E>(), id.uuid().as_u128())
}

#[cfg(test)]
mod tests {
    use orch_core::entity::{Project, ProjectEvent, RepositorySource};
    use orch_core::ids::sample_id;

    use super::*;

    fn project(number: u32) -> Project {
        let created = ProjectEvent::Created {
            number,
            slug: format!("p{number}"),
            source: RepositorySource::Empty,
            protected_paths: Vec::new(),
        };
        let actor = orch_core::actor::Actor::daemon("test");
        let meta = orch_core::entity::Meta { at: orch_proto::Timestamp::from_unix_us(1), actor: &actor };
        Project::apply(None, sample_id(u128::from(number)), &created, meta).unwrap()
    }

    #[test]
    fn what_was_used_last_is_kept_until_it_is_taken() {
        let mut kept = Kept::default();
        let last = 3 * u32::try_from(GENERATION).unwrap();
        for number in 1..=last {
            kept.put(project(number), 1);
            // Asked for again and again, it stays.
            assert_eq!(kept.get::<Project>(sample_id(1)), Some(project(1)));
        }
        assert!(kept.young.len() + kept.old.len() <= 2 * GENERATION);
        assert_eq!(kept.get::<Project>(sample_id(2)), None);
        assert_eq!(kept.get::<Project>(sample_id(u128::from(last))), Some(project(last)));
        let taken = kept.take::<Project>(sample_id(1)).unwrap();
        assert_eq!(kept.get::<Project>(sample_id(1)), None);
        kept.put(taken, BYTES_MAX + 1);
        assert_eq!(kept.get::<Project>(sample_id(1)), None);
    }
}
