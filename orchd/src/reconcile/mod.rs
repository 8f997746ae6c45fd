//! Reconcilers: each looks at the state, does what is missing, and reports what it did as commands.
//!
//! They take no input, are idempotent, run when something happened that concerns them and when something is due, and do not retry by
//! themselves: what failed is tried again because the state still says so.

mod artifacts;
mod changes;
mod cramped;
pub(crate) mod gates;
mod history;
pub(crate) mod launch;
mod lease;
mod log;
mod outage;
mod own_site;
mod planner;
mod projects;
mod quiet;
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

use orch_core::event::Event;
use orch_core::schedule::heeds;
use tokio::task::JoinSet;

pub use changes::Front;
pub use runs::Runs;
pub use settle::{Ended, outcome};

use crate::app::App;
use crate::site::Site;
use crate::tools;

/// How long a reconciler that failed waits before it looks again although nothing changed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How long it waits at most in any case.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Takes up everything that was under way when the daemon stopped, before anything new is decided.
pub(crate) async fn recover(app: &Arc<App>) -> Runs {
    if let Err(error) = settle::clean_up_all(app).await {
        tracing::warn!(error = crate::error_chain::chain(&error), "not cleaned up after runs that are over");
    }
    let runs = recover_runs(app).await;
    crate::gateway::recover(app);
    runs
}

/// Takes up every open run. Returns once each was looked at: who lives is followed, who is over is settled or being settled,
/// and the scheduler knows nothing that is not so any more.
pub async fn recover_runs<S: Site>(app: &Arc<S>) -> Runs {
    runner::recover(app).await
}

/// Looks after runs until the daemon stops. The runs go on.
pub async fn follow_runs<S: Site>(app: Arc<S>, runs: Runs) {
    runner::run(app, runs).await;
}

/// Starts what the book chose until the daemon stops.
pub async fn schedule<S: Site>(app: Arc<S>) {
    repeat(app, ("scheduler", heeds), scheduler::pass).await;
}

/// Has everybody look again when the state can or cannot be written, until the daemon stops.
pub async fn watch_outages<S: Site>(app: Arc<S>) {
    outage::follow(app).await;
}

/// Moves merge queues on until the daemon stops.
pub async fn merge<S: Site>(app: Arc<S>) {
    repeat(app, ("changes", changes::heeds), changes::pass).await;
}

/// Starts all reconcilers. They end when the daemon stops.
pub(crate) fn start(app: &Arc<App>, runs: Runs) -> JoinSet<()> {
    let mut parts = JoinSet::new();
    parts.spawn(watch::follow(Arc::clone(app)));
    parts.spawn(follow_runs(Arc::clone(app), runs));
    parts.spawn(projects::run(Arc::clone(app)));
    parts.spawn(planner::run(Arc::clone(app)));
    parts.spawn(settle::tidy(Arc::clone(app)));
    parts.spawn(stalls::watch(Arc::clone(app)));
    parts.spawn(merge(Arc::clone(app)));
    parts.spawn(schedule(Arc::clone(app)));
    parts.spawn(tools::run(Arc::clone(app)));
    parts.spawn(watch_outages(Arc::clone(app)));
    parts.spawn(cramped::measure_when_there_is_room(Arc::clone(app)));
    // Last: nothing waits for them.
    parts.spawn(retention::run(Arc::clone(app)));
    parts.spawn(retention::collect(Arc::clone(app)));
    parts.spawn(history::follow(Arc::clone(app)));
    parts.spawn(quiet::give_memory_back(Arc::clone(app)));
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
    #[error("the daemon stops")]
    Stopping,
}

/// Runs a pass whenever something happened that the part heeds or it is due, until the daemon stops.
async fn repeat<S, F>(app: Arc<S>, (part, heeds): (&'static str, fn(&Event) -> bool), pass: impl Fn(Arc<S>) -> F)
where
    S: Site,
    F: Future<Output = Result<Again, PassError>>,
{
    let mut changed = app.store().subscribe_to(heeds);
    let mut woken = app.woken();
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
            biased;
            () = app.stopped() => return,
            _ = changed.changed() => {}
            _ = woken.changed() => {}
            () = app.sleep(wait) => {}
        }
    }
}
