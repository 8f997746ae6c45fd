//! `orchctl` and other programs as a person starts them: arguments in; output, messages and exit code out.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use crate::env::Env;
use crate::poll::PATIENCE;

/// What a program did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Exit code; none when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// The standard output of a program that must have succeeded.
    ///
    /// # Errors
    /// When it has not.
    pub fn ok(self) -> anyhow::Result<String> {
        ensure!(self.code == Some(0), "exit code {:?}\n{}\n{}", self.code, self.stdout, self.stderr);
        Ok(self.stdout)
    }

    /// What a program that must have failed with `code` said.
    ///
    /// # Errors
    /// When it succeeded or failed in another way.
    pub fn failed(self, code: i32) -> anyhow::Result<String> {
        ensure!(self.code == Some(code), "exit code {:?}, not {code}\n{}\n{}", self.code, self.stdout, self.stderr);
        Ok(self.stderr)
    }
}

/// Runs `orchctl` against the daemon of the story.
///
/// # Errors
/// When it cannot be started or does not end.
pub async fn orchctl(env: &Env, arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = env.command(env.programs().orchctl);
    command.args(arguments);
    output(command).await
}

/// Answers a question of a run with values, by the names of their fields, on standard input.
///
/// # Errors
/// When `orchctl` cannot be started or does not end.
pub async fn answer(env: &Env, question: &str, values: &[(&str, &str)]) -> anyhow::Result<Output> {
    let lines: String = values.iter().map(|(field, value)| format!("{field}={value}\n")).collect();
    let mut command = env.command(env.programs().orchctl);
    command.args(["question", "answer", question, "--values-file", "-"]);
    with_input(command, lines.as_bytes()).await
}

/// Runs a script against the daemon of the story. It finds `orchctl` in `$ORCHCTL`.
///
/// # Errors
/// When it cannot be started or does not end.
pub async fn script(env: &Env, path: &Path) -> anyhow::Result<Output> {
    let mut command = env.command("sh");
    command.arg(path).env("ORCHCTL", env.programs().orchctl);
    output(command).await
}

/// Runs a command to its end.
///
/// # Errors
/// When it cannot be started or does not end.
pub async fn output(command: Command) -> anyhow::Result<Output> {
    with_input(command, &[]).await
}

/// Runs a command to its end, with `input` as its standard input.
///
/// # Errors
/// When it cannot be started or does not end.
pub async fn with_input(mut command: Command, input: &[u8]) -> anyhow::Result<Output> {
    let shown = format!("{:?}", command.as_std());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("failed to start {shown}"))?;
    let mut stdin = child.stdin.take().context("it has a standard input")?;
    let feed = async move {
        // It may have enough before the end, or want nothing.
        let _written = stdin.write_all(input).await.is_ok();
    };
    let ended = timeout(PATIENCE, async { tokio::join!(feed, child.wait_with_output()).1 });
    let output = ended.await.with_context(|| format!("does not end: {shown}"))??;
    Ok(Output {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
