//! Which runs somebody looks after, and how each is told that something was decided about it.
//!
//! Read from the tables once, and from then on told by the log. Nobody is woken by what happens to others: with many runs
//! under way that would be most of the work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use orch_core::entity::{Entity as _, Run};
use orch_core::event::Event;
use orch_core::view::{Filter, ReadError, View as _};
use orch_proto::id::RunId;
use orch_store::ReadView;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Notify, oneshot};

use super::runner;
use crate::site::Site;

/// Most news that are looked at one by one. With more it is less work to read the table.
const NEWS_MAX: u32 = 10_000;

/// The event with which a run begins.
const BEGUN: &str = "queued";
/// Events that somebody else than its follower makes happen to a run, and that its follower has to heed.
const DECIDED: [&str; 8] =
    ["cancel_requested", "pause_requested", "resume_requested", "parked", "answered", "undone", "over_budget", "ended"];

/// Whether what happened is a run that begins, or something that its follower has to heed.
pub(super) fn heeds(event: &Event) -> bool {
    let Event::Run { event, .. } = event else { return false };
    let label = Run::event_label(event);
    label == BEGUN || DECIDED.contains(&label)
}

/// Runs that somebody here looks after.
#[derive(Debug, Default)]
pub struct Runs {
    followers: BTreeMap<RunId, Follower>,
    /// Number of the last event that was looked at; none: the table is to be read.
    seq: Option<u64>,
}

#[derive(Debug)]
struct Follower {
    /// Answers when it has ended by itself, and fails when it failed.
    ended: oneshot::Receiver<()>,
    /// Rung when something was decided about the run.
    bell: Arc<Notify>,
}

/// What is new of runs.
#[derive(Debug, Default)]
struct News {
    /// Number of the last event.
    seq: u64,
    /// Those that are under way or begin, in any order.
    open: Vec<Run>,
    /// Those about which somebody decided something; none: it is not known about which.
    decided: Option<BTreeSet<RunId>>,
}

impl Runs {
    /// Takes up open runs that nobody looks after and tells the others what was decided about them. What is returned says
    /// when each that was taken up was looked at.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub(super) async fn catch_up<S: Site>(&mut self, app: &Arc<S>) -> Result<Vec<oneshot::Receiver<()>>, ReadError> {
        self.followers.retain(|_, follower| matches!(follower.ended.try_recv(), Err(TryRecvError::Empty)));
        let seq = self.seq;
        let news = app.read(move |view| news(view, seq)).await?;
        self.seq = Some(news.seq);
        match news.decided {
            Some(decided) => {
                decided.iter().filter_map(|run| self.followers.get(run)).for_each(|run| run.bell.notify_one());
            }
            None => self.followers.values().for_each(|run| run.bell.notify_one()),
        }
        let mut looked = Vec::new();
        for run in news.open {
            self.followers.entry(run.id).or_insert_with(|| {
                let (tell, told) = oneshot::channel();
                looked.push(told);
                let bell = Arc::new(Notify::new());
                let (end, ended) = oneshot::channel();
                let work = runner::look_after(Arc::clone(app), run, Arc::clone(&bell), tell);
                app.spawn(async move {
                    work.await;
                    // Nobody waits for it once the daemon goes.
                    let _unheard = end.send(());
                });
                Follower { ended, bell }
            });
        }
        Ok(looked)
    }

    /// Has the next [`Self::catch_up`] read the table: it finds runs whose follower failed.
    pub(super) fn forget(&mut self) {
        self.seq = None;
    }

    /// Waits until each follower has ended by itself.
    pub(super) async fn finish(self) {
        for follower in self.followers.into_values() {
            if follower.ended.await.is_err() {
                tracing::error!("following a run failed");
            }
        }
    }
}

fn news(view: &ReadView<'_>, after: Option<u64>) -> Result<News, ReadError> {
    let happened = match after {
        Some(after) => view.happened_since(after, NEWS_MAX)?,
        None => Vec::new(),
    };
    let seq = view.seq();
    if after.is_none() || happened.len() >= NEWS_MAX as usize {
        return Ok(News { seq, open: view.list(&Filter::default().open())?, decided: None });
    }
    let mut decided = BTreeSet::new();
    let mut begun = BTreeSet::new();
    for event in happened {
        let Some(label) = event.kind.strip_prefix("run.") else { continue };
        let set = match label {
            BEGUN => &mut begun,
            label if DECIDED.contains(&label) => &mut decided,
            _ => continue,
        };
        // A subject that is no id was never written by this version, and is found in the table if it is a run.
        set.extend(event.subject.parse::<RunId>());
    }
    let mut open = Vec::with_capacity(begun.len());
    for run in begun {
        open.extend(view.get::<Run>(run)?.filter(|run| !run.state.is_final()));
    }
    Ok(News { seq, open, decided: Some(decided) })
}

#[cfg(test)]
mod tests {
    use orch_core::entity::{ChannelEvent, Entity as _, RunEvent, RunPause};
    use orch_core::state::run::RunOutcome;

    use super::*;

    #[test]
    fn what_is_decided_about_a_run_is_known_by_its_name() {
        let pause = RunPause::asked("", false, None);
        let decided = [
            RunEvent::CancelRequested { reason: String::new() },
            RunEvent::PauseRequested { pause },
            RunEvent::ResumeRequested,
            RunEvent::Channel { event: ChannelEvent::Parked },
            RunEvent::Channel { event: ChannelEvent::Answered },
            RunEvent::Undone { operation: 1, pause: None },
            RunEvent::OverBudget { reason: String::new() },
            RunEvent::Ended {
                outcome: RunOutcome::Succeeded,
                artifacts: Vec::new(),
                log_dropped_bytes: 0,
                left_out: Box::default(),
            },
        ];
        assert_eq!(decided.map(|event| Run::event_label(&event)), DECIDED);
        // What a follower makes happen itself wakes nobody.
        for own in [RunEvent::Starting, RunEvent::Observed { cursor: 0, observations: Vec::new() }] {
            assert!(!DECIDED.contains(&Run::event_label(&own)), "{own:?}");
        }
    }
}
