//! Who may do what: the kernel says who the caller is, the configuration says what that allows.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, ensure};
use nix::unistd::{Gid, Group, Uid, User, geteuid};
use orch_proto::ErrorCode;
use orch_tests::command_line::output;
use orch_tests::{Output, Setup, Story, tell};

use crate::story;

/// The user that every machine has and nobody is.
const NOBODY: u32 = 65_534;

#[test]
fn a_user_without_a_role_is_refused() -> anyhow::Result<()> {
    if !geteuid().is_root() {
        // Nothing is missing on the machine: the story is told where the tests run as root.
        tell("SKIPPED: only root can become somebody else");
        return Ok(());
    }
    story("roles", Setup::NoRuns, async |story| {
        let user = User::from_uid(Uid::from_raw(NOBODY))?.context("the user nobody")?.name;
        let group = Group::from_gid(Gid::from_raw(NOBODY))?.context("the group of nobody")?.name;
        let (root, program) = (story.env().root(), story.env().path("orchctl"));
        std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o711))?;
        std::fs::copy(story.env().programs().orchctl, &program)?;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
        let permission = i32::from(ErrorCode::Permission.exit_code());
        let said = as_nobody(story, &["status"]).await?.failed(permission)?;
        ensure!(said.contains("may not be opened") && said.contains("socket_group"), "{said}");
        for (roles, may_read) in [(String::new(), false), (format!("[roles]\nviewer = [\"{user}\"]\n"), true)] {
            story.stop().await?;
            let config = format!("[daemon]\nsocket_group = \"{group}\"\n{roles}");
            std::fs::write(story.env().path("orchd.toml"), config)?;
            story.start().await?;
            let read = as_nobody(story, &["project", "list"]).await?;
            if may_read {
                read.ok()?;
            } else {
                let said = read.failed(permission)?;
                ensure!(said.contains("E_PERMISSION") && said.contains("viewer") && said.contains("no role"), "{said}");
            }
            let before = story.status().await?.seq;
            let said = as_nobody(story, &["project", "create", "shop"]).await?.failed(permission)?;
            ensure!(said.contains("E_PERMISSION") && said.contains("admin") && said.contains("hint"), "{said}");
            as_nobody(story, &["down"]).await?.failed(permission)?;
            ensure!(story.status().await?.seq == before, "a refusal made events");
        }
        Ok(())
    })
}

async fn as_nobody(story: &Story, arguments: &[&str]) -> anyhow::Result<Output> {
    let program = story.env().path("orchctl");
    let mut command = story.env().command(program.to_str().context("text")?);
    command.args(arguments).uid(NOBODY).gid(NOBODY).current_dir("/");
    output(command).await
}
