//! What is known of the channel of one run while it is served.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orch_core::command::{Command, Word};
use orch_core::entity::{Observation, Run, RunEvent};
use orch_core::event::Event;
use orch_core::state::run::RunState;
use orch_core::view::{ReadError, View as _};
use orch_proto::RpcError;
use orch_proto::channel::Check;
use orch_proto::id::RunId;
use orch_store::Committed;
use tokio::sync::Notify;

use super::pace::Pace;
use crate::app::App;
use crate::error_chain::chain;
use crate::rpc::errors;

/// Part of the daemon that these commands come from.
pub(super) const PART: &str = "channel";
/// Pace of calls: so many at once, then one in so long.
const CALLS: (u32, Duration) = (50, Duration::from_millis(50));
/// Pace of what is put on record of progress. What comes faster is left out, but the newest is put on record in the end.
const PROGRESS: (u32, Duration) = (20, Duration::from_secs(2));
/// How long a call waits for the record that its run runs: what a program says first can come before its sandbox was heard of.
const BEGIN_MAX: Duration = Duration::from_secs(10);

/// Whether what happened may be that this run runs, or goes on, or is over.
fn may_begin(run: RunId, event: &Event) -> bool {
    match event {
        Event::Run { id, event: RunEvent::Observed { observations, .. } } if *id == run => observations
            .iter()
            .any(|observation| matches!(observation, Observation::Isolated { .. } | Observation::Resumed)),
        Event::Run { id, event: RunEvent::Ended { .. } } => *id == run,
        _ => false,
    }
}

/// The channel of a run.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) app: Arc<App>,
    pub(super) run: RunId,
    fence: u64,
    pub(super) calls: Pace,
    /// Held by who hands in a file: one at a time.
    pub(super) intake: tokio::sync::Mutex<()>,
    /// What is run on the result of the run, once somebody has asked: its commit and its project's gates on that stay the same.
    pub(super) checks: tokio::sync::OnceCell<Vec<Check>>,
    progress: Mutex<Option<(Option<u8>, String)>>,
    has_progress: Notify,
}

impl Line {
    pub(super) fn new(app: &Arc<App>, run: &Run) -> Self {
        Self {
            app: Arc::clone(app),
            run: run.id,
            fence: run.fence,
            calls: Pace::new(CALLS.1, CALLS.0),
            intake: tokio::sync::Mutex::default(),
            checks: tokio::sync::OnceCell::new(),
            progress: Mutex::default(),
            has_progress: Notify::new(),
        }
    }

    /// The run as it is; none when it is not there any more.
    pub(super) async fn look(&self) -> Result<Option<Run>, ReadError> {
        let id = self.run;
        self.app.read(move |view| view.get::<Run>(id)).await
    }

    /// Waits until it is on record that the run runs, for a while.
    pub(super) async fn begun(&self) -> Result<(), RpcError> {
        if !self.is_to_begin().await? {
            return Ok(());
        }
        let until = tokio::time::Instant::now() + BEGIN_MAX;
        let run = self.run;
        let mut changed = self.app.store.subscribe_to(move |event| may_begin(run, event));
        // It may have begun before anybody listened.
        while self.is_to_begin().await? {
            tokio::select! {
                _ = changed.changed() => {}
                () = tokio::time::sleep_until(until) => return Ok(()),
            }
        }
        Ok(())
    }

    async fn is_to_begin(&self) -> Result<bool, RpcError> {
        let run = self.look().await.map_err(|error| errors::read(&error))?;
        Ok(run.is_some_and(|run| {
            matches!(run.state, RunState::Queued | RunState::Leased { .. } | RunState::Starting | RunState::Paused)
        }))
    }

    /// Puts on record what the run says.
    pub(super) async fn say(&self, word: Word) -> Result<Committed, RpcError> {
        let command = Command::Say { run: self.run, fence: self.fence, word: Box::new(word) };
        self.app.execute(PART, command).await.map_err(|error| errors::execute(&error))
    }

    /// Takes note of how far the run is; put on record in its turn.
    pub(super) fn is_at(&self, percent: Option<u8>, text: String) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = Some((percent, text));
        self.has_progress.notify_one();
    }

    /// Puts the newest progress on record, again and again.
    pub(super) async fn tell_progress(&self) {
        let pace = Pace::new(PROGRESS.1, PROGRESS.0);
        loop {
            self.has_progress.notified().await;
            tokio::time::sleep_until(pace.turn()).await;
            let newest = self.progress.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some((percent, text)) = newest else { continue };
            if let Err(error) = self.say(Word::Progress { percent, text }).await {
                tracing::debug!(run = %self.run, error = chain(&error), "the progress of a run is not on record");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use orch_core::ids::sample_id;

    use super::*;

    #[test]
    fn what_programs_do_wakes_nobody_who_waits_for_a_run_to_begin() {
        let observed =
            |observations| Event::Run { id: sample_id(1), event: RunEvent::Observed { cursor: 1, observations } };
        let may_begin = |event: &Event| may_begin(sample_id(1), event);
        assert!(may_begin(&observed(vec![Observation::Resumed])));
        assert!(!may_begin(&observed(vec![Observation::Paused])) && !may_begin(&observed(Vec::new())));
        assert!(!may_begin(&Event::Run { id: sample_id(1), event: RunEvent::Starting }));
        assert!(!super::may_begin(sample_id(2), &observed(vec![Observation::Resumed])), "that is another run");
    }
}
