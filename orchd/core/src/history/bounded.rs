//! A map that forgets what was not used for longest, so that it has a bound whatever is put in.

use std::collections::BTreeMap;

/// At most so many values by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bounded<K: Ord, V> {
    max: usize,
    /// Uses so far.
    uses: u64,
    /// Each with the number of its last use.
    values: BTreeMap<K, (u64, V)>,
}

impl<K: Ord + Clone, V: Default> Bounded<K, V> {
    pub(super) const fn new(max: usize) -> Self {
        Self { max, uses: 0, values: BTreeMap::new() }
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key).map(|(_, value)| value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.values.iter().map(|(key, (_, value))| (key, value))
    }

    /// The value of the key, made when there is none.
    pub(super) fn entry(&mut self, key: &K) -> &mut V {
        self.uses += 1;
        if !self.values.contains_key(key) && self.values.len() >= self.max {
            self.forget();
        }
        let (used, value) = self.values.entry(key.clone()).or_default();
        *used = self.uses;
        value
    }

    /// Forgets a tenth at once, so that a flood of keys costs little for each.
    fn forget(&mut self) {
        let mut used: Vec<u64> = self.values.values().map(|(used, _)| *used).collect();
        used.sort_unstable();
        let newest = used.get(self.max / 10).copied().unwrap_or(u64::MAX);
        self.values.retain(|_, (used, _)| *used > newest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays() {
        let mut map: Bounded<u32, u32> = Bounded::new(20);
        for key in 0..10_000 {
            *map.entry(&key) = key;
            *map.entry(&7) += 1;
            assert!(map.iter().count() <= 20);
        }
        assert!(map.get(&9_999).is_some() && map.get(&7).is_some_and(|uses| *uses > 9_000), "{map:?}");
        assert_eq!(map.get(&100), None);
        let mut one: Bounded<u32, u32> = Bounded::new(1);
        for key in 0..3 {
            one.entry(&key);
            assert_eq!(one.iter().count(), 1);
        }
    }
}
