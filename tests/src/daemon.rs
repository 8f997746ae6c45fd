//! The daemon of a story as a process: started, killed, stopped.
//!
//! Readiness is what the daemon tells its service manager, so nothing is guessed. Knows nothing of the service.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::{Context as _, bail};
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::env::Env;
use crate::poll::PATIENCE;

/// A daemon that is up. Killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    pid: i32,
}

impl Daemon {
    /// Starts the daemon of the story and waits until it is ready.
    ///
    /// # Errors
    /// When it ends instead, with what it wrote, or is not ready in time.
    pub async fn start(env: &Env) -> anyhow::Result<Self> {
        Self::start_with(env, Self::command(env)).await
    }

    /// The command that starts the daemon of the story.
    #[must_use]
    pub fn command(env: &Env) -> Command {
        Self::command_on(env, &env.state())
    }

    /// The same on another state directory.
    #[must_use]
    pub fn command_on(env: &Env, state: &Path) -> Command {
        let mut command = env.command(env.programs().orchd);
        command.args(["--log", "info"]);
        command.arg("--config").arg(env.path("orchd.toml"));
        command.arg("--state-dir").arg(state);
        command.arg("--socket").arg(env.socket());
        command
    }

    /// Starts a daemon by a command of one's own.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub async fn start_with(env: &Env, mut command: Command) -> anyhow::Result<Self> {
        let notify = env.path("notify.sock");
        if notify.exists() {
            std::fs::remove_file(&notify)?;
        }
        let ready = UnixDatagram::bind(&notify)?;
        let output = File::options().create(true).append(true).open(Self::output(env))?;
        let mut child = command
            .env("NOTIFY_SOCKET", &notify)
            .stdout(Stdio::from(output.try_clone()?))
            .stderr(Stdio::from(output))
            .spawn()
            .context("failed to start the daemon")?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).context("the daemon has no process id")?;
        let told = timeout(PATIENCE, async {
            let mut message = [0; 512];
            loop {
                let length = tokio::select! {
                    length = ready.recv(&mut message) => length?,
                    ended = child.wait() => bail!("the daemon ended: {}\n{}", ended?, Self::said(env)),
                };
                if String::from_utf8_lossy(&message[..length]).lines().any(|line| line == "READY=1") {
                    return Ok(());
                }
            }
        });
        told.await.with_context(|| format!("the daemon is not ready in time\n{}", Self::said(env)))??;
        Ok(Self { child, pid })
    }

    /// Its process id.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// Ends it the hard way.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill9(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("failed to kill the daemon")
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn ended(mut self) -> anyhow::Result<ExitStatus> {
        Ok(timeout(PATIENCE, self.child.wait()).await.context("the daemon does not end")??)
    }

    /// The end of what all daemons of the story have written to their standard error.
    #[must_use]
    pub fn said(env: &Env) -> String {
        let text = std::fs::read(Self::output(env)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    fn output(env: &Env) -> PathBuf {
        env.path("orchd.out")
    }
}
