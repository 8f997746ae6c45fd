//! What is known of the channel of one run while it is served.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orch_core::command::{Command, Word};
use orch_core::entity::Run;
use orch_core::state::run::RunState;
use orch_core::view::{ReadError, View as _};
use orch_proto::RpcError;
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
/// How long a call waits for the record that its run runs, and how often that is looked for: what a program says first can come
/// before its sandbox was heard of.
const BEGIN_MAX: Duration = Duration::from_secs(10);
/// See [`BEGIN_MAX`].
const BEGIN_LOOK: Duration = Duration::from_millis(20);

/// The channel of a run.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) app: Arc<App>,
    pub(super) run: RunId,
    fence: u64,
    pub(super) calls: Pace,
    /// Held by who hands in a file: one at a time.
    pub(super) intake: tokio::sync::Mutex<()>,
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
            progress: Mutex::default(),
            has_progress: Notify::new(),
        }
    }

    /// The run as it is; none when it is not there any more.
    pub(super) async fn look(&self) -> Result<Option<Run>, ReadError> {
        let id = self.run;
        self.app.read(move |view| view.get::<Run>(id)).await
    }

    /// Waits until it is on record that the run runs.
    pub(super) async fn begun(&self) -> Result<(), RpcError> {
        let until = tokio::time::Instant::now() + BEGIN_MAX;
        loop {
            let run = self.look().await.map_err(|error| errors::read(&error))?;
            let is_before = |run: &Run| {
                matches!(run.state, RunState::Queued | RunState::Leased { .. } | RunState::Starting | RunState::Paused)
            };
            if !run.as_ref().is_some_and(is_before) || tokio::time::Instant::now() >= until {
                return Ok(());
            }
            tokio::time::sleep(BEGIN_LOOK).await;
        }
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
