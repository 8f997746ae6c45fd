//! Work under way by what it is for: at most one task for each key.

use std::collections::BTreeMap;

use tokio::task::JoinHandle;

/// Tasks by key. Dropped, they go on.
#[derive(Debug)]
pub(crate) struct Tasks<K> {
    by_key: BTreeMap<K, JoinHandle<()>>,
}

impl<K> Default for Tasks<K> {
    fn default() -> Self {
        Self { by_key: BTreeMap::new() }
    }
}

impl<K: Ord> Tasks<K> {
    /// Forgets those that are over. One that panicked is over: its work is begun anew.
    pub(super) fn tidy(&mut self) {
        self.by_key.retain(|_, task| !task.is_finished());
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn has(&self, key: &K) -> bool {
        self.by_key.contains_key(key)
    }

    /// Starts the task for the key unless there is one.
    pub(super) fn start<F>(&mut self, key: K, task: impl FnOnce() -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.by_key.entry(key).or_insert_with(|| tokio::spawn(task()));
    }

    /// Waits until each has ended by itself.
    pub(super) async fn finish(self) {
        for task in self.by_key.into_values() {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task failed");
            }
        }
    }
}
