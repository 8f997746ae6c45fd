//! Gives every open run a task that launches it, follows its log, and takes in its result.
//!
//! The run itself lives under its shim. What is kept here can be lost at any moment: all of it is found again in the
//! state and in the run's directory.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use orch_adapters::executor::Observed;
use orch_core::command::Command;
use orch_core::entity::Run;
use orch_core::state::run::{RunOutcome, RunState};
use orch_core::view::{ReadError, View as _};
use orch_proto::Timestamp;
use orch_proto::id::RunId;
use orch_store::ExecuteError;
use tokio::sync::{Notify, oneshot};

use super::lease::{self, Sight};
use super::runs::{self, Runs};
use super::settle::{Ended, Hindrance};
use super::steering::{self, Steering};
use super::{PassError, launch, log, settle};
use crate::error_chain::chain;
use crate::site::{Hindered, Lookout as _, NotTaken, Served, Site};

/// How often a run is looked at although nothing was heard of it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long a start waits for runs of the last daemon to be looked at.
const RECOVERY_MAX: Duration = Duration::from_secs(60);
/// How long looking at a run may fail, when nobody looks after it any more, before it is given up.
const UNREADABLE_MAX: Duration = Duration::from_secs(10);

/// Looks after runs until the daemon stops. The runs go on.
pub(super) async fn run<S: Site>(app: Arc<S>, mut runs: Runs) {
    let mut changed = app.store().subscribe_to(runs::heeds);
    let mut read_at = app.instant();
    loop {
        changed.mark_unchanged();
        // However much happens: a run whose follower failed is found only so.
        if app.instant().saturating_duration_since(read_at) >= super::LOOK_AGAIN {
            read_at = app.instant();
            runs.forget();
        }
        let wait = match runs.catch_up(&app).await {
            Ok(_looked) => super::LOOK_AGAIN,
            Err(error) => {
                tracing::warn!(error = chain(&error), "failed to look for runs");
                super::AFTER_FAILURE
            }
        };
        tokio::select! {
            biased;
            () = app.stopped() => break,
            _ = changed.changed() => {}
            () = app.sleep(wait) => {}
        }
    }
    // A piece of work that is under way is brought to its end.
    runs.finish().await;
}

/// Takes up every open run that was under way when the last daemon ended. Returns once each was looked at: who lives is
/// followed, who is over is settled or being settled, and the scheduler knows nothing that is not so any more.
pub(super) async fn recover<S: Site>(app: &Arc<S>) -> Runs {
    let mut runs = Runs::default();
    let all = async {
        let looked = loop {
            match runs.catch_up(app).await {
                Ok(looked) => break looked,
                Err(error) => tracing::warn!(error = chain(&error), "failed to look for runs; trying again"),
            }
            app.sleep(super::AFTER_FAILURE).await;
        };
        for looked in looked {
            // A follower that ends drops its end, which says the same: it has looked.
            let _ended = looked.await.is_err();
        }
    };
    tokio::select! {
        biased;
        () = all => {}
        () = app.sleep(RECOVERY_MAX) => {
            tracing::warn!("not every run was looked at in time; going on with the others");
        }
    }
    runs
}

/// Brings one run to its end, over failures of the state and restarts of itself.
pub(super) async fn look_after<S: Site>(app: Arc<S>, run: Run, bell: Arc<Notify>, looked: oneshot::Sender<()>) {
    let (id, is_agents) = (run.id, run.agent.is_some());
    follow_to_the_end(&app, run, &bell, looked).await;
    if is_agents {
        app.end_models(id);
    }
}

async fn follow_to_the_end<S: Site>(app: &Arc<S>, run: Run, bell: &Notify, looked: oneshot::Sender<()>) {
    let id = run.id;
    let mut pause = Duration::from_millis(100);
    let (mut run, mut looked, mut known) = (Ok(Some(run)), Some(looked), Known::default());
    loop {
        let followed = match run {
            Ok(None) => return,
            Ok(Some(run)) => follow(app, run, bell, (&mut looked, &mut known)).await,
            Err(error) => Err(error),
        };
        match followed {
            Ok(Followed::ToTheEnd) => return,
            // What could not be done now is not done while the daemon stops either.
            Ok(Followed::Overtaken) if app.is_stopping() => return,
            Ok(Followed::Overtaken) => {
                run = load_open(app, id).await;
                continue;
            }
            Err(error) => tracing::warn!(run = %id, error = chain(&error), "following a run was interrupted"),
        }
        tokio::select! {
            biased;
            () = app.stopped() => return,
            () = app.sleep(pause) => {}
        }
        pause = (pause * 2).min(Duration::from_secs(5));
        run = load_open(app, id).await;
    }
}

/// What is known of a run, and what it is served with, however often following it begins anew.
#[derive(Default)]
struct Known {
    sight: Sight,
    /// What passes between it and its model goes on while the state cannot be read or written: cut off, an answer that was
    /// paid for would be counted by its size.
    models: Option<Served>,
    channel: Option<Served>,
}

impl Known {
    /// Serves a run that lives, once.
    fn serve<S: Site>(&mut self, app: &Arc<S>, run: &Run) {
        if self.models.is_none() && run.agent.is_some() {
            self.models = app.serve_models(run);
        }
        if self.channel.is_none() && run.access.channel {
            self.channel = app.serve_channel(run);
        }
    }
}

/// How following a run came to an end.
enum Followed {
    /// The run is over, or the daemon stops.
    ToTheEnd,
    /// It is not any more what it was: it is to be looked at anew.
    Overtaken,
}

/// One go at a run, which is as it was read a moment ago.
async fn follow<S: Site>(
    app: &Arc<S>,
    run: Run,
    bell: &Notify,
    (looked, known): (&mut Option<oneshot::Sender<()>>, &mut Known),
) -> Result<Followed, PassError> {
    let id = run.id;
    let (mut watch, mut steering) = match set_out(app, run, bell, (looked, &mut known.sight)).await? {
        Ok(begun) => begun,
        Err(followed) => return Ok(followed),
    };
    let mut scanned = 0;
    let mut hindrance = Hindrance::default();
    let mut readable_at = app.instant();
    loop {
        if app.is_stopping() {
            return Ok(Followed::ToTheEnd);
        }
        let hindered = hindrance.next(app.instant());
        let Some((run, observed)) = look(app, id, hindered).await? else { return Ok(Followed::ToTheEnd) };
        let look_again = look_again(&run, app.now());
        if observed.is_ok() {
            readable_at = app.instant();
        }
        // Who is over is settled first; for the others it is enough to know that they live.
        if !matches!(observed, Ok(Looked::Ended(_) | Looked::Lost) | Err(_)) {
            drop(looked.take());
        }
        match observed {
            Ok(Looked::Unseen) => known.sight.hidden(app, &run).await,
            Ok(Looked::Absent) if known.sight.has_begun(&run) => {
                if let Some(reason) = known.sight.why_dead(&**app, &run, watch.has_ended()) {
                    launch::end_unseen(app, &run, reason).await?;
                    return Ok(Followed::ToTheEnd);
                }
            }
            // Nothing of it is there, and that it is to start is not on record.
            Ok(Looked::Absent) if is_before_start(&run) => return Ok(Followed::Overtaken),
            Ok(Looked::Absent) if run.cancel_requested.is_none() && !app.holds() => {
                tracing::debug!(run = %run.id, "a run waits until the sandbox withstands everything again");
            }
            Ok(Looked::Absent) => watch.until(known.sight.launched(launch::submit(app, &run).await?)),
            Ok(Looked::Running { renewed }) => {
                known.sight.seen(app, &run, renewed).await;
                known.serve(app, &run);
                steering.steer(app, &run).await;
                log::record(app, &run, &mut scanned).await?;
                watch.ask(app).await;
            }
            Ok(Looked::Ended(ended)) => {
                return settle::ended(app, &run, &mut scanned, *ended).await.map(|()| Followed::ToTheEnd);
            }
            Ok(Looked::Hindered(reason)) => {
                hindrance.rest(&**app, id, &reason).await;
                continue;
            }
            Ok(Looked::Lost) => {
                log::drain(app, &run, &mut scanned).await?;
                let reason = lease::lost_of(app, &run).await;
                settle::without_result(app, id, run.fence, lease::outcome(&run, reason)).await?;
                return Ok(Followed::ToTheEnd);
            }
            Err(error) => {
                let lasts = app.instant().saturating_duration_since(readable_at);
                if is_given_up(app, &run, error, lasts).await? {
                    return Ok(Followed::ToTheEnd);
                }
            }
        }
        watch.wait(app, bell, look_again).await;
    }
}

/// A run could not be looked at, for so long now; whether it is given up for that.
async fn is_given_up<S: Site>(app: &Arc<S>, run: &Run, error: String, lasts: Duration) -> Result<bool, PassError> {
    tracing::warn!(run = %run.id, error, "failed to look at a run; looking again");
    if lasts <= UNREADABLE_MAX || !launch::is_gone(app, run.id).await {
        return Ok(false);
    }
    // Its log tells no more what it did.
    let outcome = RunOutcome::Lost { reason: format!("its directory cannot be read: {error}") };
    settle::without_result(app, run.id, run.fence, outcome).await?;
    Ok(true)
}

/// How soon a run is looked at again although nothing was heard of it: when its pause ends by itself, it goes on at once.
fn look_again(run: &Run, now: Timestamp) -> Duration {
    steering::pause_ends_in(run, now).map_or(LOOK_AGAIN, |ends| ends.min(LOOK_AGAIN))
}

/// Begins a run, or takes up one that was begun; how it is watched and what it was asked for, unless it is not to be followed now.
async fn set_out<S: Site>(
    app: &Arc<S>,
    run: Run,
    bell: &Notify,
    (looked, sight): (&mut Option<oneshot::Sender<()>>, &mut Sight),
) -> Result<Result<(S::Watch, Steering), Followed>, PassError> {
    let id = run.id;
    let is_over = lease::is_over(&run, app.now());
    if is_over && launch::give_back(app, &run).await? {
        return Ok(Err(Followed::Overtaken));
    }
    // One that was to be given back and that somebody has taken is looked at like all that were begun.
    if is_over || !is_before_start(&run) {
        sight.taken_up(&**app, &run);
        // It may be gone with a power loss.
        app.prepare(id);
        return Ok(Ok((app.watch(id), Steering::default())));
    }
    // Nothing starts while an attack on the sandbox works, whoever chose it and when. What was not started may wait.
    if run.cancel_requested.is_none() && !app.holds() {
        drop(looked.take());
        return wait_for_jails(app, id, bell).await.map(Err);
    }
    let Some(run) = begin(app, run).await? else { return Ok(Err(Followed::Overtaken)) };
    drop(looked.take());
    let mut watch = app.watch(id);
    // Nobody has started it, and nobody else does: there is nothing to look at.
    watch.until(sight.launched(launch::submit(app, &run).await?));
    watch.wait(app, bell, LOOK_AGAIN).await;
    Ok(Ok((watch, Steering::of_new())))
}

/// What has become of a run.
enum Looked {
    Absent,
    Running {
        /// When its lease was renewed, by some clock.
        renewed: Option<SystemTime>,
    },
    /// With what is to be put on record of it.
    Ended(Box<Ended>),
    /// It has ended, and the host keeps its result from being taken in.
    Hindered(String),
    Lost,
    /// Somebody has it, but not what is there.
    Unseen,
}

/// The run, unless it is over already, and what has become of it.
async fn look<S: Site>(
    app: &Arc<S>,
    id: RunId,
    hindered: Hindered,
) -> Result<Option<(Run, Result<Looked, String>)>, PassError> {
    let site = Arc::clone(app);
    let looked = app.blocking(move || {
        let Some(run) = open_run(&*site, id)? else { return Ok(None) };
        let looked = match site.observe(&run) {
            Ok(Observed::Absent) => Ok(Looked::Absent),
            Ok(Observed::Running) => Ok(Looked::Running { renewed: site.renewed_at(run.id) }),
            Ok(Observed::Exited(exit)) => match site.result(&run, &exit, hindered) {
                Ok(ended) => Ok(Looked::Ended(Box::new(ended))),
                Err(NotTaken::Host(reason)) => Ok(Looked::Hindered(reason)),
                Err(NotTaken::State(error)) => return Err(error),
            },
            Ok(Observed::Lost) => Ok(Looked::Lost),
            Ok(Observed::Unseen) => Ok(Looked::Unseen),
            Err(error) => Err(error),
        };
        Ok::<_, ReadError>(Some((run, looked)))
    });
    Ok(looked.await?)
}

fn open_run(app: &impl Site, id: RunId) -> Result<Option<Run>, ReadError> {
    Ok(app.store().read(|view| view.get::<Run>(id))?.filter(|run| !run.state.is_final()))
}

const fn is_before_start(run: &Run) -> bool {
    matches!(run.state, RunState::Queued | RunState::Leased { .. })
}

/// Waits until the sandbox withstands everything again, or the run is not to start any more.
async fn wait_for_jails<S: Site>(app: &Arc<S>, id: RunId, bell: &Notify) -> Result<Followed, PassError> {
    let mut woken = app.woken();
    loop {
        let Some(run) = load_open(app, id).await? else { return Ok(Followed::ToTheEnd) };
        if run.cancel_requested.is_some() || app.holds() {
            return Ok(Followed::Overtaken);
        }
        tokio::select! {
            biased;
            () = app.stopped() => return Ok(Followed::ToTheEnd),
            () = bell.notified() => {}
            _ = woken.changed() => {}
            () = app.sleep(LOOK_AGAIN) => {}
        }
    }
}

/// Puts on record that a run that was not started yet is to be. The run as it is then; none when it is not to be any more.
async fn begin<S: Site>(app: &Arc<S>, run: Run) -> Result<Option<Run>, PassError> {
    if let Some(reason) = run.cancel_requested {
        settle::without_result(app, run.id, run.fence, RunOutcome::Cancelled { reason }).await?;
        return Ok(None);
    }
    app.prepare(run.id);
    match app.execute("runner", Command::MarkRunStarting { run: run.id }).await {
        Ok(_) => Ok(Some(Run { state: RunState::Starting, ..run })),
        Err(ExecuteError::Rejected(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn load_open<S: Site>(app: &Arc<S>, id: RunId) -> Result<Option<Run>, PassError> {
    let site = Arc::clone(app);
    Ok(app.blocking(move || open_run(&*site, id)).await?)
}
