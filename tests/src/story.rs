//! The frame of every story: a daemon in a directory of its own before it, and after it the checks that must always hold.
//!
//! At the end of each: the tables equal a replay of the log, the audit verifies, the daemon stops when asked, and no
//! process of the story is left. Whatever happens, its processes are killed and its directory is removed.

use std::ops::Deref;
use std::process::ExitStatus;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use orch_proto::view::{RunPurpose, RunView};
use tokio::process::Command;

use crate::client::Client;
use crate::command_line::orchctl;
use crate::daemon::Daemon;
use crate::env::{Env, Programs, tell};
use crate::poll;
use crate::processes;
use crate::requirement::Requirement;

/// What a story needs before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// A daemon, and a host on which runs can start.
    Runs,
    /// A daemon; nothing is run.
    NoRuns,
}

/// A story under way. Calls of the service can be made on it as on its client.
#[derive(Debug)]
pub struct Story {
    client: Client,
    daemon: Option<Daemon>,
    env: Env,
}

impl Story {
    /// Tells a story from its beginning to its end.
    ///
    /// # Errors
    /// Those of the story, or what does not hold after it.
    pub fn tell(
        name: &str,
        programs: Programs,
        setup: Setup,
        story: impl AsyncFnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut told = Self::begin(programs).await?;
            if setup == Setup::Runs && !told.isolation().await?.holds()? {
                return told.end().await;
            }
            let outcome = async {
                story(&mut told).await?;
                told.end_checks().await
            };
            if let Err(error) = outcome.await {
                tell(&format!("the daemon said:\n{}", Daemon::said(&told.env)));
                return Err(error);
            }
            told.end().await
        })?;
        tell(&format!("{name}: {:.1} s", begun.elapsed().as_secs_f64()));
        Ok(())
    }

    async fn begin(programs: Programs) -> anyhow::Result<Self> {
        let env = Env::new(programs)?;
        let daemon = Daemon::start(&env).await?;
        let client = Client::connect(&env.socket()).await?;
        Ok(Self { client, daemon: Some(daemon), env })
    }

    /// Where the story takes place.
    #[must_use]
    pub const fn env(&self) -> &Env {
        &self.env
    }

    /// The daemon's process id.
    ///
    /// # Errors
    /// When there is no daemon at the moment.
    pub fn daemon_pid(&self) -> anyhow::Result<i32> {
        Ok(self.daemon.as_ref().context("there is no daemon")?.pid())
    }

    /// Ends the daemon as a power cut would.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill9(&mut self) -> anyhow::Result<()> {
        self.daemon.take().context("there is no daemon")?.kill9().await
    }

    /// Asks the daemon to stop, and waits until it has.
    ///
    /// # Errors
    /// When it does not stop well.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.client.shutdown().await?;
        let ended = self.daemon.take().context("there is no daemon")?.ended().await?;
        ensure!(ended.success(), "the daemon ended with {ended}");
        Ok(())
    }

    /// Waits until the daemon has ended by itself, however it does.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        self.daemon.take().context("there is no daemon")?.ended().await
    }

    /// Starts the daemon on the same state again.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        self.start_with(Daemon::command(&self.env)).await
    }

    /// Starts the daemon by a command of one's own.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_with(&mut self, command: Command) -> anyhow::Result<()> {
        ensure!(self.daemon.is_none(), "the daemon is up");
        self.daemon = Some(Daemon::start_with(&self.env, command).await?);
        self.client = Client::connect(&self.env.socket()).await?;
        Ok(())
    }

    /// Has a person hand in a task of the project `shop` with a recipe and other options, and queue it; its name.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn hand_in(&self, title: &str, recipe: &str, options: &[&str]) -> anyhow::Result<String> {
        let file = self.env.path(&format!("{title}.yaml"));
        std::fs::write(&file, recipe)?;
        let file = file.to_str().context("a path in UTF-8")?;
        let mut words = vec!["--project", "shop", "task", "create", title, "--recipe", file, "--queue", "-o", "name"];
        words.extend(options);
        Ok(orchctl(&self.env, &words).await?.ok()?.trim().to_owned())
    }

    /// The first run of a task of the project `shop`.
    ///
    /// # Errors
    /// When there is none.
    pub async fn run_of(&self, task: &str) -> anyhow::Result<RunView> {
        let title = self.task(task).await?.title;
        self.runs("shop").await?.into_iter().find(|run| run.task_title == title).context("it ran")
    }

    /// The newest attempt at a task.
    ///
    /// # Errors
    /// When there is none.
    pub async fn last_run_of(&self, task: &str) -> anyhow::Result<RunView> {
        let title = self.task(task).await?.title;
        let is_attempt = |run: &RunView| run.task_title == title && run.purpose == RunPurpose::Work;
        self.runs("shop").await?.into_iter().filter(is_attempt).max_by_key(|run| run.number).context("it ran")
    }

    /// What must hold at any time, and at the end of every story.
    ///
    /// # Errors
    /// What does not hold.
    pub async fn end_checks(&self) -> anyhow::Result<()> {
        let report = self.client.check().await?;
        ensure!(report.is_ok(), "the state is not right: {report:#?}");
        let audit = self.client.audit_verify().await?;
        ensure!(audit.broken_at.is_none(), "the audit is broken: {audit:#?}");
        Ok(())
    }

    /// Whether runs can be started on this host.
    async fn isolation(&self) -> anyhow::Result<Requirement> {
        let status = self.client.status().await?;
        if status.isolation_level >= status.isolation_required {
            return Ok(Requirement::Met);
        }
        Ok(Requirement::Missing(format!(
            "this host gives isolation level {} of {} needed; `orchctl doctor` says why",
            status.isolation_level, status.isolation_required
        )))
    }

    async fn end(mut self) -> anyhow::Result<()> {
        self.stop().await?;
        let root = self.env.root().to_owned();
        let gone = poll::until("the end of all processes of the story", async || {
            Ok(processes::of(&root)?.is_empty().then_some(()))
        });
        gone.await.with_context(|| format!("left: {:#?}", processes::of(&root)))
    }
}

impl Deref for Story {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Story {
    /// Kills what is left; a story that ended well leaves nothing.
    fn drop(&mut self) {
        drop(self.daemon.take());
        processes::end_all(self.env.root());
    }
}
