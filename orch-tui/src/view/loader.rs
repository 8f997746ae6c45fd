//! What has to be fetched: only what is visible, at most one call per query at a time, and not too often.
//!
//! Events make everything stale; what is stale and visible is fetched. Knows no transport.

use std::collections::BTreeMap;

use orch_proto::{ErrorCode, Ref, RpcError};

use super::msg::{Cmd, Query};
use super::toast::Fault;

/// Shortest time between the starts of two fetches of the same thing, in milliseconds.
const SPACING_MS: u64 = 200;

#[derive(Clone, Debug, Default)]
struct Load {
    stale: bool,
    in_flight: bool,
    started_ms: Option<u64>,
    fault: Option<Fault>,
}

/// State of all queries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loader {
    epoch: u32,
    loads: BTreeMap<Query, Load>,
}

impl Loader {
    /// Number of the current subject: answers to questions about an earlier one are not taken.
    pub(crate) const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Begins anew: another project, or another daemon.
    pub(crate) fn restart(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        self.loads.clear();
    }

    /// Something has changed: what is asked for again and again is stale. What a person asks for once is not.
    pub(crate) fn touch(&mut self) {
        for (query, load) in &mut self.loads {
            load.stale |= !matches!(query, Query::Doctor | Query::Verify | Query::Diff(_));
        }
    }

    /// The connection is new: nothing is under way and everything is stale.
    pub(crate) fn reconnect(&mut self) {
        for load in self.loads.values_mut() {
            load.in_flight = false;
            load.stale = true;
            load.started_ms = None;
        }
    }

    /// Asks for one thing again.
    pub(crate) fn refetch(&mut self, query: &Query) {
        let load = self.loads.entry(query.clone()).or_default();
        load.stale = true;
        load.started_ms = None;
    }

    /// Takes the end of a fetch in.
    pub(crate) fn finish(&mut self, query: &Query, error: Option<&RpcError>) {
        let load = self.loads.entry(query.clone()).or_default();
        load.in_flight = false;
        load.fault = error.map(Fault::from);
        // Another try can only help when the daemon was busy; a broken connection announces itself.
        load.stale |= error.is_some_and(|error| error.code == ErrorCode::Busy);
    }

    /// Why the last fetch failed.
    pub(crate) fn fault(&self, query: &Query) -> Option<&Fault> {
        self.loads.get(query)?.fault.as_ref()
    }

    /// Whether an answer is on its way.
    pub(crate) fn is_loading(&self, query: &Query) -> bool {
        self.loads.get(query).is_some_and(|load| load.in_flight)
    }

    /// Starts what is wanted and due. What is not wanted any more is forgotten.
    pub(crate) fn pump(&mut self, wanted: &[Query], now_ms: u64, project: Option<&Ref>) -> Vec<Cmd> {
        self.loads.retain(|query, load| wanted.contains(query) || load.in_flight);
        let mut commands = Vec::new();
        for query in wanted {
            let load = self.loads.entry(query.clone()).or_insert_with(|| Load { stale: true, ..Load::default() });
            let is_due = load.started_ms.is_none_or(|started| now_ms >= started + SPACING_MS);
            if load.stale && !load.in_flight && is_due {
                *load = Load { stale: false, in_flight: true, started_ms: Some(now_ms), fault: load.fault.take() };
                commands.push(Cmd::Fetch { query: query.clone(), project: project.cloned(), epoch: self.epoch });
            }
        }
        commands
    }

    /// When the next fetch is due.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        let waiting = self.loads.values().filter(|load| load.stale && !load.in_flight);
        waiting.map(|load| load.started_ms.map_or(0, |started| started + SPACING_MS)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_changes_make_one_fetch_after_the_one_under_way() {
        let mut loader = Loader::default();
        let wanted = [Query::Tasks];
        assert_eq!(loader.pump(&wanted, 0, None).len(), 1);
        for _ in 0..5 {
            loader.touch();
            assert_eq!(loader.pump(&wanted, 500, None), []);
        }
        loader.finish(&Query::Tasks, None);
        assert_eq!(loader.pump(&wanted, 500, None).len(), 1);
        loader.finish(&Query::Tasks, None);
        loader.touch();
        assert_eq!(loader.pump(&wanted, 600, None), []);
        assert_eq!(loader.due_ms(), Some(700));
        assert_eq!(loader.pump(&wanted, 700, None).len(), 1);
    }

    #[test]
    fn what_is_not_visible_is_not_fetched() {
        let mut loader = Loader::default();
        loader.pump(&[Query::Tasks], 0, None);
        loader.finish(&Query::Tasks, None);
        loader.touch();
        let fetched = loader.pump(&[Query::Runs], 1_000, None);
        assert!(matches!(&fetched[..], [Cmd::Fetch { query: Query::Runs, .. }]));
        assert_eq!(loader.due_ms(), None);
    }

    #[test]
    fn a_failed_fetch_is_not_repeated_before_something_happens() {
        let mut loader = Loader::default();
        loader.pump(&[Query::Plans], 0, None);
        loader.finish(&Query::Plans, Some(&RpcError::new(ErrorCode::NotFound, "no plan")));
        assert_eq!(loader.pump(&[Query::Plans], 10_000, None), []);
        loader.touch();
        assert_eq!(loader.pump(&[Query::Plans], 10_000, None).len(), 1);
    }
}
