//! Repositories that are none, or that try to run something: nothing of a repository is run outside of a sandbox.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use orch_proto::ErrorCode;
use orch_proto::request::{RepoSource, Request};
use orch_proto::view::TaskState;
use orch_tests::command_line::{orchctl, output};
use orch_tests::repository::{commit_all, git};
use orch_tests::{Env, Setup};

use crate::story;

#[test]
fn a_path_that_is_no_repository_is_refused_at_once() -> anyhow::Result<()> {
    story("paths that are no repositories", Setup::NoRuns, async |story| {
        let root = story.env().root();
        std::fs::create_dir_all(root.join("plain/inner"))?;
        std::fs::create_dir_all(root.join("elsewhere"))?;
        std::fs::write(root.join("elsewhere/.git"), "gitdir: /nowhere\n")?;
        std::fs::write(root.join("file"), "no directory\n")?;
        let before = story.status().await?.seq;
        for (name, says) in [
            ("missing", "does not exist"),
            ("plain", "is not a git repository"),
            ("plain/inner", "is not a git repository"),
            ("file", "is not a git repository"),
            ("elsewhere", "is elsewhere"),
        ] {
            let path = root.join(name).display().to_string();
            let create =
                Request::ProjectCreate { name: "shop".to_owned(), repo: RepoSource::Import { path: path.clone() } };
            let refusal = story.refused(ErrorCode::Repository, create).await?;
            ensure!(refusal.message.contains(says) && refusal.message.contains(&path), "{refusal}");
            ensure!(refusal.hint.is_some(), "{refusal:?}");
            let said = orchctl(story.env(), &["project", "create", "shop", "--repo", &path]).await?.failed(2)?;
            ensure!(said.contains("E_REPOSITORY") && said.contains("hint"), "{said}");
        }
        ensure!(story.status().await?.seq == before, "a refusal made events");
        Ok(())
    })
}

#[test]
fn what_a_hostile_repository_names_is_never_run() -> anyhow::Result<()> {
    story("a hostile repository", Setup::Runs, async |story| {
        let (source, marker) = (story.env().path("hostile"), story.env().path("marker"));
        hostile(story.env(), &source, &marker).await?;
        // A submodule that names a command is not taken at all: whoever clones the result would be in danger.
        let danger = story.env().path("danger");
        std::fs::create_dir(&danger)?;
        std::fs::write(danger.join(".gitmodules"), module(&format!("!touch {}", marker.display())))?;
        commit_all(story.env(), &danger).await?;
        let repo = RepoSource::Import { path: danger.display().to_string() };
        let refused = story.project_create("danger", repo).await.err().map(|error| error.to_string());
        let refused = refused.context("a submodule that names a command was taken")?;
        ensure!(refused.contains("gitmodulesUpdate") && refused.contains("see `git fsck`"), "{refused}");
        let before = std::fs::read(source.join(".git/config"))?;
        let repo = RepoSource::Import { path: source.display().to_string() };
        let project = story.project_create("hostile", repo).await?;
        ensure!(project.head.is_some(), "the commits were taken");
        let task =
            story.task_create("hostile", "Work in it", "steps: ['echo more >> file.txt && cat file.txt']").await?;
        story.task_in(&task, TaskState::Done).await?;
        ensure!(!marker.exists(), "something of the repository was run: {}", std::fs::read_to_string(&marker)?);
        ensure!(std::fs::read(source.join(".git/config"))? == before, "the source is only read");
        let bare = Path::new(&project.repository);
        ensure!(!std::fs::read_to_string(bare.join("config"))?.contains("marker"), "its configuration was taken");
        let hooks = std::fs::read_dir(bare.join("hooks")).into_iter().flatten().count();
        ensure!(hooks == 0, "{hooks} hooks");
        let text = git(story.env(), bare, &["show", "main:file.txt"]).await?;
        ensure!(text == "content\nmore", "{text}");
        // The trap is a real one: a git without our care steps into it.
        let mut careless = story.env().command("git");
        careless.args(["status"]).current_dir(&source);
        output(careless).await?;
        ensure!(marker.exists(), "the trap was not armed");
        Ok(())
    })
}

/// Whoever knows where the daemon keeps another project's objects cannot borrow them.
#[test]
fn objects_of_another_project_cannot_be_borrowed() -> anyhow::Result<()> {
    story("borrowed objects", Setup::Runs, async |story| {
        let secret = story.env().path("secret");
        std::fs::create_dir(&secret)?;
        std::fs::write(secret.join("canary.txt"), "canary\n")?;
        commit_all(story.env(), &secret).await?;
        let repo = RepoSource::Import { path: secret.display().to_string() };
        let other = story.project_create("secret", repo).await?;
        let wanted = other.head.context("its commit")?;
        let thief = story.env().path("thief");
        std::fs::create_dir(&thief)?;
        std::fs::write(thief.join("file.txt"), "content\n")?;
        commit_all(story.env(), &thief).await?;
        let objects = Path::new(&other.repository).join("objects");
        std::fs::write(thief.join(".git/objects/info/alternates"), format!("{}\n", objects.display()))?;
        std::fs::write(thief.join(".git/refs/heads/main"), format!("{wanted}\n"))?;
        // It works for whoever is not in a sandbox.
        let seen = git(story.env(), &thief, &["show", "main:canary.txt"]).await?;
        ensure!(seen == "canary", "{seen}");
        let repo = RepoSource::Import { path: thief.display().to_string() };
        let refused = story.project_create("thief", repo).await.err().context("it was imported")?.to_string();
        ensure!(refused.contains("borrows objects") || refused.contains("cannot read the source"), "{refused}");
        Ok(())
    })
}

/// A repository that runs a program wherever git can be made to.
async fn hostile(env: &Env, source: &Path, marker: &Path) -> anyhow::Result<()> {
    std::fs::create_dir(source)?;
    std::fs::write(source.join("file.txt"), "content\n")?;
    std::fs::write(source.join(".gitattributes"), "* filter=evil diff=evil merge=evil\n")?;
    std::fs::write(source.join(".gitmodules"), module("checkout"))?;
    commit_all(env, source).await?;
    // A submodule is a commit of another repository in the tree.
    let head = git(env, source, &["rev-parse", "HEAD"]).await?;
    git(env, source, &["update-index", "--add", "--cacheinfo", &format!("160000,{head},module")]).await?;
    git(env, source, &["commit", "--quiet", "--message", "a submodule"]).await?;
    let run = format!("touch {}", marker.display());
    let mut config = std::fs::read_to_string(source.join(".git/config"))?;
    config.push_str(&format!(
        "[core]\n\tfsmonitor = {run}\n\tsshCommand = {run}\n\tpager = {run}\n\teditor = {run}\n\thooksPath = .git/hooks\n\
         [filter \"evil\"]\n\tclean = {run}; cat\n\tsmudge = {run}; cat\n\trequired = true\n\
         [diff \"evil\"]\n\tcommand = {run}\n\ttextconv = {run}\n[merge \"evil\"]\n\tdriver = {run}\n\
         [uploadpack]\n\tpackObjectsHook = {run}\n[gpg]\n\tprogram = {run}\n[commit]\n\tgpgSign = true\n\
         [include]\n\tpath = {}\n",
        source.join("more").display()
    ));
    std::fs::write(source.join("more"), format!("[alias]\n\tlog = !{run}\n"))?;
    std::fs::write(source.join(".git/config"), config)?;
    for hook in
        ["pre-commit", "post-checkout", "post-commit", "pre-receive", "reference-transaction", "post-index-change"]
    {
        let path = source.join(".git/hooks").join(hook);
        std::fs::create_dir_all(source.join(".git/hooks"))?;
        std::fs::write(&path, format!("#!/bin/sh\n{run}\n"))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn module(update: &str) -> String {
    format!("[submodule \"module\"]\n\tpath = module\n\turl = ./module\n\tupdate = {update}\n")
}
