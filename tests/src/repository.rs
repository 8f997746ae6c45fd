//! Git repositories of a story: made like a person makes them, and looked at without running anything of theirs.

use std::path::Path;

use crate::command_line::output;
use crate::env::Env;

/// Runs git in a directory and gives what it wrote, without the last newline.
///
/// # Errors
/// When git fails.
pub async fn git(env: &Env, directory: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = env.command("git");
    command
        .args(["-c", "user.name=A Person", "-c", "user.email=person@example.invalid", "-c", "init.defaultBranch=main"])
        .args(["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "protocol.file.allow=always"])
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0");
    Ok(output(command).await?.ok()?.trim_end().to_owned())
}

/// Makes everything in a directory the first commit of a new repository there.
///
/// # Errors
/// When git fails.
pub async fn commit_all(env: &Env, directory: &Path) -> anyhow::Result<()> {
    git(env, directory, &["init", "--quiet"]).await?;
    git(env, directory, &["add", "--all", "--force"]).await?;
    git(env, directory, &["commit", "--quiet", "--message", "as it was"]).await?;
    Ok(())
}
