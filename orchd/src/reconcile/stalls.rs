//! Finds runs of which nothing is heard for longer than they may be silent, and those that are heard of again.
//!
//! It looks at the time of each log first, which costs little, and asks whoever looks after a run before it believes that
//! it is silent: output that has no place in a full log is output, and a pause is no silence. It asks at most once a second,
//! however much happens. A run that its time-out is to end is ended by its sandbox; this is for what began before it had one.

use std::sync::Arc;
use std::time::Duration;

use orch_core::command::Command;
use orch_core::entity::{Patience, Project, Remedy, Run, Silence, Task, Timeout};
use orch_core::state::run::RunState;
use orch_core::view::{Filter, ReadError, View as _};
use orch_proto::Timestamp;
use orch_store::ReadView;

use super::scheduler::accept;
use super::{AFTER_FAILURE, LOOK_AGAIN, PassError};
use crate::app::{App, blocking};
use crate::error_chain::chain;

/// How long it rests between two looks in any case.
const REST: Duration = Duration::from_secs(1);
/// How soon it looks again at a run that is silent, in milliseconds.
const LISTEN_MS: u64 = 5_000;
/// What a sandbox has to end a run by itself beyond its time, in milliseconds.
const GRACE_MS: u64 = 5_000;
/// By how much two measurements of one silence may differ, in milliseconds.
const SLACK_MS: u64 = 2_000;

/// Looks until the daemon stops.
pub(super) async fn watch(app: Arc<App>) {
    let mut changed = app.store.subscribe();
    loop {
        changed.mark_unchanged();
        let wait = match pass(&app).await {
            Ok(again) => again.map_or(LOOK_AGAIN, Duration::from_millis).clamp(REST, LOOK_AGAIN),
            Err(error) => {
                tracing::warn!(error = chain(&error), "failed to look for silent runs");
                AFTER_FAILURE
            }
        };
        tokio::select! {
            () = app.stopped() => return,
            () = tokio::time::sleep(REST) => {}
        }
        tokio::select! {
            () = app.stopped() => return,
            _ = changed.changed() => {}
            () = tokio::time::sleep(wait.saturating_sub(REST)) => {}
        }
    }
}

/// One look. What is returned is when to look again, in milliseconds; none: not before something happens.
async fn pass(app: &Arc<App>) -> Result<Option<u64>, PassError> {
    let general = app.config.patience;
    let runs = app.read(move |view| running(view, general)).await?;
    if runs.is_empty() {
        return Ok(None);
    }
    let (found, again) = {
        let app = Arc::clone(app);
        blocking(move || look(&app, &runs)).await
    };
    for command in found {
        accept(app.execute("stalls", command).await)?;
    }
    Ok(again)
}

/// Runs that run by themselves, with how long each may be silent.
fn running(view: &ReadView<'_>, general: Patience) -> Result<Vec<(Option<Timeout>, Run)>, ReadError> {
    let mut runs: Vec<Run> = view.list(&Filter::default().open())?;
    let now = crate::clock::now();
    let stands_still = |run: &Run| run.pause.as_ref().is_some_and(|pause| pause.lasts(now));
    runs.retain(|run| run.state == RunState::Running && run.cancel_requested.is_none() && !stands_still(run));
    let with_patience = |run: Run| Ok((patience_of(view, &run, general)?, run));
    runs.into_iter().map(with_patience).collect()
}

fn patience_of(view: &ReadView<'_>, run: &Run, general: Patience) -> Result<Option<Timeout>, ReadError> {
    let of_task = view.get::<Task>(run.task)?.map(|task| task.terms.patience).unwrap_or_default();
    let of_project = view.get::<Project>(run.project)?.map(|project| project.patience).unwrap_or_default();
    Ok(of_task.or(of_project).or(general).silence)
}

fn look(app: &App, runs: &[(Option<Timeout>, Run)]) -> (Vec<Command>, Option<u64>) {
    let mut found = Vec::new();
    let mut again: Option<u64> = None;
    let mut soon = |ms: u64| again = Some(again.map_or(ms, |known| known.min(ms)));
    for (timeout, run) in runs {
        match (run.silence, timeout) {
            (Some(silence), _) => {
                soon(LISTEN_MS);
                found.extend(is_heard(app, run, silence).then_some(Command::HeardRun { run: run.id }));
            }
            (None, Some(timeout)) => match judge(app, run, *timeout) {
                Judged::Silent { since } => {
                    found.push(Command::SilentRun { run: run.id, since, timeout: *timeout });
                }
                Judged::NotBefore { ms } => soon(ms),
                Judged::Never => {}
            },
            (None, None) => {}
        }
    }
    (found, again)
}

#[derive(Debug, PartialEq, Eq)]
enum Judged {
    Silent { since: Timestamp },
    NotBefore { ms: u64 },
    Never,
}

fn judge(app: &App, run: &Run, timeout: Timeout) -> Judged {
    let Some(after_ms) = timeout.ms() else { return Judged::Never };
    let after_ms = if timeout.then == Remedy::End { after_ms + GRACE_MS } else { after_ms };
    let written_ms = written_ms(app, run);
    if written_ms < after_ms {
        return Judged::NotBefore { ms: after_ms - written_ms };
    }
    judged(silent_ms(app, run), after_ms, crate::clock::now())
}

/// What follows from an answer of whoever looks after a run. No answer is no silence: the time of the log is compared with a clock
/// that can be set, and who is dead or stuck is found by the lease.
fn judged(silent_ms: Option<u64>, after_ms: u64, now: Timestamp) -> Judged {
    match silent_ms {
        None => Judged::NotBefore { ms: LISTEN_MS },
        Some(silent_ms) if silent_ms < after_ms => Judged::NotBefore { ms: after_ms - silent_ms },
        Some(silent_ms) => Judged::Silent { since: now.minus_ms(silent_ms) },
    }
}

fn is_heard(app: &App, run: &Run, silence: Silence) -> bool {
    let silent_ms = silent_ms(app, run).unwrap_or_else(|| written_ms(app, run));
    crate::clock::now().minus_ms(silent_ms) > silence.since.plus_ms(SLACK_MS)
}

/// How long nothing was heard of a run, as whoever looks after it says; none when it does not answer.
fn silent_ms(app: &App, run: &Run) -> Option<u64> {
    match app.executor.silent_ms(&app.dirs.run(run.id)) {
        Ok(silent_ms) => silent_ms,
        Err(error) => {
            tracing::warn!(run = %run.id, error = chain(&error), "nobody answers for a run");
            None
        }
    }
}

/// How long ago a run wrote something or began.
fn written_ms(app: &App, run: &Run) -> u64 {
    let now = crate::clock::now();
    let log = orch_adapters::executor::log_path(&app.dirs.run(run.id));
    let written = std::fs::metadata(log).and_then(|found| found.modified()).ok();
    let written = written.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    let written = written.and_then(|at| i64::try_from(at.as_micros()).ok()).map(Timestamp::from_unix_us);
    now.ms_since(written.or(run.started_at).unwrap_or(run.queued_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that jumps ahead makes the log old, and a shim that is busy says nothing: neither ends a run.
    #[test]
    fn who_does_not_answer_is_not_taken_for_silent() {
        let now = Timestamp::from_unix_us(1_795_165_557_000_000);
        assert_eq!(judged(None, 1_000, now), Judged::NotBefore { ms: LISTEN_MS });
        assert_eq!(judged(Some(400), 1_000, now), Judged::NotBefore { ms: 600 });
        assert_eq!(judged(Some(1_000), 1_000, now), Judged::Silent { since: now.minus_ms(1_000) });
    }
}
