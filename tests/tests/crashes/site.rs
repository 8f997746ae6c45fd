//! A state directory with a daemon that is killed again and again, and a client that does not mind.
//!
//! What the client asks for it asks with the same key until there is an answer, as every client of the product may.
//! **Invariant:** the daemon is only ever down because it was to be killed: one that ends by itself fails the story.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use orch_proto::id::CommandId;
use orch_proto::request::{Accepted, Envelope, Request};
use orch_proto::{ErrorCode, RpcError};
use orch_tests::trace::{self, Moment, Report};
use orch_tests::{Client, Daemon, Story, poll, processes};

use crate::verdict;

/// What dies with the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dies {
    /// Nothing else.
    Alone,
    /// Every process of the installation, a moment later: spawner, shims, what runs, programs that the daemon started.
    WithAll,
}

/// Where it happens.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    story: &'a mut Story,
    state: PathBuf,
    dies: Dies,
    /// At which moments the next daemons are killed, one each.
    moments: VecDeque<Moment>,
    is_watched: bool,
    /// Where they were killed.
    pub(crate) deaths: Vec<Moment>,
    /// The number of the newest event that was answered.
    pub(crate) answered: u64,
}

impl<'a> Site<'a> {
    /// A new state directory. There is no daemon yet, and none of the story's.
    ///
    /// # Errors
    /// When its configuration cannot be written.
    pub(crate) fn new(story: &'a mut Story, dies: Dies, moments: Vec<Moment>) -> anyhow::Result<Self> {
        let (state, file) = (story.env().path("site"), story.env().path("orchd.toml"));
        let text = std::fs::read_to_string(&file)?;
        if !text.contains(NOT_KEPT) {
            std::fs::write(&file, text + NOT_KEPT)?;
        }
        let moments = moments.into();
        Ok(Self { story, state, dies, moments, is_watched: false, deaths: Vec::new(), answered: 0 })
    }

    pub(crate) const fn story(&self) -> &Story {
        &*self.story
    }

    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    pub(crate) const fn dies(&self) -> Dies {
        self.dies
    }

    /// Starts a daemon; where that one is killed before it is ready, the one after it.
    pub(crate) async fn start(&mut self) -> anyhow::Result<()> {
        while let Some(moment) = self.moments.pop_front() {
            let daemon = Daemon::command_on(self.story.env(), &self.state);
            let watched = trace::command(self.story.env(), TRACE, Some(&moment), &daemon);
            self.is_watched = true;
            match self.story.start_with(watched).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    // It may have said that it is ready, and died before a client was connected: what watched it is
                    // about to write then.
                    if self.story.daemon_pid().is_ok() {
                        self.story.ended().await.map_err(|late| late.context(format!("{error:#}")))?;
                    }
                    self.bury(trace::take_report(self.story.env()).context(error)?)?;
                }
            }
        }
        self.story.start_with(Daemon::command_on(self.story.env(), &self.state)).await
    }

    /// Starts a daemon that is watched and not killed.
    pub(crate) async fn start_watched(&mut self) -> anyhow::Result<()> {
        let daemon = Daemon::command_on(self.story.env(), &self.state);
        self.is_watched = true;
        self.story.start_with(trace::command(self.story.env(), TRACE, None, &daemon)).await
    }

    /// Stops the daemon. What it did, if it was watched to its end. One that is killed while it stops is started and
    /// stopped once more, which clears what it left half-made.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<Option<Report>> {
        match self.story.stop().await {
            Err(error) if is_broken(&error) => drop(self.story.ended().await?),
            stopped => stopped?,
        }
        if !std::mem::take(&mut self.is_watched) {
            return Ok(None);
        }
        let report = trace::take_report(self.story.env())?;
        if report.killed_at.is_none() {
            return Ok(Some(report));
        }
        self.bury(report)?;
        self.moments.clear();
        self.start().await?;
        self.story.stop().await?;
        Ok(None)
    }

    /// Lets what stands still go on to its end.
    pub(crate) async fn let_go_on(&self) -> anyhow::Result<()> {
        let root = self.story.env().root();
        let standing: Vec<i32> =
            processes::of(root)?.iter().map(|found| found.pid).filter(|pid| processes::stands_still(*pid)).collect();
        for pid in &standing {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), nix::sys::signal::Signal::SIGCONT)?;
        }
        poll::until("the end of what was late", async || {
            Ok((!standing.iter().any(|pid| processes::lives(*pid))).then_some(()))
        })
        .await
    }

    /// Asks until there is an answer.
    pub(crate) async fn submit(&mut self, request: Request) -> anyhow::Result<Result<Accepted, RpcError>> {
        let envelope = Envelope { key: CommandId::generate(), request };
        loop {
            match self.story.wire().submit(envelope.clone()).await {
                Err(error) if error.code == ErrorCode::Unreachable => self.revive().await?,
                Err(error) => return Ok(Err(error)),
                Ok(accepted) => {
                    self.answered = self.answered.max(accepted.seq);
                    return Ok(Ok(accepted));
                }
            }
        }
    }

    /// Asks for what must be accepted.
    pub(crate) async fn must(&mut self, request: Request) -> anyhow::Result<Accepted> {
        let shown = format!("{request:.200?}");
        self.submit(request).await?.with_context(|| shown)
    }

    /// Waits until `look` finds something, over the death of the daemon.
    pub(crate) async fn wait<T>(
        &mut self,
        what: &str,
        mut look: impl AsyncFnMut(&Client) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        loop {
            match self.story.wait_until(what, &mut look).await {
                Err(error) if is_broken(&error) => self.revive().await?,
                other => return other,
            }
        }
    }

    /// Looks once, over the death of the daemon.
    pub(crate) async fn look<T>(&mut self, look: impl AsyncFn(&Client) -> anyhow::Result<T>) -> anyhow::Result<T> {
        loop {
            match look(self.story).await {
                Err(error) if is_broken(&error) => self.revive().await?,
                other => return other,
            }
        }
    }

    /// Judges what came of it all. A daemon that is killed while it is asked is asked again.
    pub(crate) async fn judge(&mut self) -> anyhow::Result<()> {
        loop {
            match verdict::of(self).await {
                Err(error) if is_broken(&error) => self.revive().await?,
                judged => return judged,
            }
        }
    }

    /// The daemon has gone: it was to, and another one takes its place.
    async fn revive(&mut self) -> anyhow::Result<()> {
        ensure!(std::mem::take(&mut self.is_watched), "the daemon has gone by itself");
        self.story.ended().await?;
        self.bury(trace::take_report(self.story.env())?)?;
        self.start().await
    }

    fn bury(&mut self, report: Report) -> anyhow::Result<()> {
        self.is_watched = false;
        let last = report.effects.last().cloned();
        let moment = report.killed_at.with_context(|| format!("the daemon has gone by itself after {last:?}"))?;
        // Named by its number, it is known now what that is.
        let effect = last.context("it was at an effect")?;
        let at = if moment.effect.starts_with('#') { effect } else { moment.effect };
        self.deaths.push(Moment { effect: at, ..moment });
        if self.dies == Dies::WithAll { kill_all(self.story) } else { Ok(()) }
    }
}

/// Files of runs that are over, but their logs, are removed by whoever asks for it, also where something was merged.
const NOT_KEPT: &str = "[retention]\nruns_days = 0\nevidence_days = 0\n";
/// The program that watches a daemon.
const TRACE: &str = env!("CARGO_BIN_EXE_e2e-trace");

/// Whether it says that the connection broke, which the death of a daemon does.
fn is_broken(error: &anyhow::Error) -> bool {
    error.downcast_ref::<RpcError>().is_some_and(|error| error.code == ErrorCode::Unreachable)
}

/// Kills every process of a story, until none is left.
pub(crate) fn kill_all(story: &Story) -> anyhow::Result<()> {
    const ROUNDS: u32 = 200;
    for _ in 0..ROUNDS {
        let left = processes::of(story.env().root())?;
        if left.is_empty() {
            return Ok(());
        }
        for process in left {
            // One that has gone meanwhile is one less.
            drop(processes::kill9(process.pid));
        }
    }
    anyhow::bail!("they do not die: {:#?}", processes::of(story.env().root())?)
}
