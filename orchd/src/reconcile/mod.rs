//! Reconcilers: each looks at the state, does what is missing, and reports what it did as commands.
//!
//! They take no input, are idempotent, run when the state changes and when something is due, and do not retry by
//! themselves: what failed is tried again because the state still says so.

mod changes;
mod cramped;
mod gates;
mod history;
mod launch;
mod lease;
mod log;
mod outage;
mod projects;
mod retention;
mod runner;
mod runs;
mod scheduler;
mod settle;
mod stalls;
mod steering;
mod tasks;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::app::App;

/// How long a reconciler that failed waits before it looks again although nothing changed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How long it waits at most in any case.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Takes up everything that was under way when the daemon stopped, before anything new is decided.
pub(crate) async fn recover(app: &Arc<App>) -> runs::Runs {
    if let Err(error) = settle::clean_up_all(app).await {
        tracing::warn!(error = crate::error_chain::chain(&error), "not cleaned up after runs that are over");
    }
    runner::recover(app).await
}

/// Starts all reconcilers. They end when the daemon stops.
pub(crate) fn start(app: &Arc<App>, runs: runs::Runs) -> JoinSet<()> {
    let mut parts = JoinSet::new();
    parts.spawn(watch::follow(Arc::clone(app)));
    parts.spawn(runner::run(Arc::clone(app), runs));
    parts.spawn(projects::run(Arc::clone(app)));
    parts.spawn(settle::tidy(Arc::clone(app)));
    parts.spawn(stalls::watch(Arc::clone(app)));
    parts.spawn(repeat(Arc::clone(app), "changes", changes::pass));
    parts.spawn(repeat(Arc::clone(app), "scheduler", scheduler::pass));
    parts.spawn(outage::follow(Arc::clone(app)));
    parts.spawn(cramped::measure_when_there_is_room(Arc::clone(app)));
    // Last: nothing waits for them.
    parts.spawn(retention::run(Arc::clone(app)));
    parts.spawn(retention::collect(Arc::clone(app)));
    parts.spawn(history::follow(Arc::clone(app)));
    parts
}

/// When a reconciler wants to look again although nothing changed; none: not before [`LOOK_AGAIN`].
type Again = Option<Duration>;

/// Why a pass ended early. What it could not do it does in the next one.
#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error(transparent)]
    Read(#[from] orch_core::view::ReadError),
    #[error(transparent)]
    Execute(#[from] orch_store::ExecuteError),
}

/// Runs a pass whenever the state changed or it is due, until the daemon stops.
async fn repeat<F>(app: Arc<App>, part: &'static str, pass: impl Fn(Arc<App>) -> F)
where
    F: Future<Output = Result<Again, PassError>>,
{
    let mut changed = app.store.subscribe();
    let mut woken = app.woken.subscribe();
    loop {
        changed.mark_unchanged();
        woken.mark_unchanged();
        let wait = match pass(Arc::clone(&app)).await {
            Ok(again) => again.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN),
            Err(error) => {
                tracing::warn!(part, error = crate::error_chain::chain(&error), "a pass ended early");
                AFTER_FAILURE
            }
        };
        tokio::select! {
            () = app.stopped() => return,
            _ = changed.changed() => {}
            _ = woken.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}
