//! A repository that nobody here wrote: a crate of the registry is imported, built and tested offline in sandboxes, and
//! changed through the same gates.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use orch_proto::Ref;
use orch_proto::request::{RepoSource, Request};
use orch_proto::view::{ChangeState, RunPurpose, RunState, TaskState, TaskView};
use orch_tests::repository::{commit_all, git};
use orch_tests::{Env, Requirement, Setup, Story};

use crate::story;

/// A crate without dependencies that every build of this workspace has at hand.
const CRATE: &str = "itoa";

/// The platform for which this workspace was built.
const HOST: &str = if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };

const VISION: &str =
    "# Faster integers\n\n## Functional requirements\n\n- FR-1: Integers of 256 bits can be printed.\n";

const CHANGE: &str = r#"
steps:
  - name: say so
    run: printf '\n## Notes\n\nChanged by a task.\n' >> README.md
"#;

#[test]
fn a_crate_is_imported_built_tested_changed_and_merged() -> anyhow::Result<()> {
    story("a crate of the registry", Setup::Runs, async |story| {
        if !cargo_in_sandbox(story).await?.holds()? {
            return Ok(());
        }
        let source = story.env().path(CRATE);
        unpack(story.env(), &source).await?;
        let repo = RepoSource::Import { path: source.display().to_string() };
        let project = story.project_create(CRATE, repo).await?;
        ensure!(project.toolchains.len() == 1 && project.toolchains[0].name == "cargo", "{:#?}", project.toolchains);
        let (_, plan) = story.plan_from(CRATE, VISION.as_bytes()).await?;
        story.plan_approve(&plan).await?;
        for title in ["Build as it is (cargo)", "Test as it is (cargo)"] {
            let task = named(story, title).await?;
            let done = story.task_in(&task.name, TaskState::Done).await?;
            ensure!(done.attempts == 1, "{done:#?}");
        }
        let tests = ran(story, "Test as it is (cargo)").await?;
        ensure!(tests.contains("test result: ok."), "{tests}");
        let agent = agent_task(story).await?;
        let reasons: Vec<&str> = agent.waits.iter().map(|wait| wait.code.as_str()).collect();
        ensure!(agent.attempts == 0 && reasons.contains(&"agent"), "{agent:#?}");
        // A person says how it is done; from there on it goes by itself.
        story.submit(steps(&agent.name)).await?;
        let done = story.task_in(&agent.name, TaskState::Done).await?;
        let commit = done.commit.context("it was merged")?;
        let changes = story.changes(CRATE).await?;
        let change = changes.iter().find(|change| Some(change.id) == done.change).context("its change")?;
        ensure!(matches!(change.state, ChangeState::Merged { .. }) && change.files_changed == 1, "{change:#?}");
        let runs = story.runs(CRATE).await?;
        let gate = runs.iter().find(|run| run.purpose == RunPurpose::Gate { change: change.id });
        let gate = gate.context("its gates")?;
        let steps: Vec<&str> = gate.steps.iter().map(|step| step.command.as_str()).collect();
        ensure!(gate.state == RunState::Succeeded, "{gate:#?}");
        ensure!(
            ["cargo build", "cargo test"].iter().all(|tool| steps.iter().any(|step| step.starts_with(tool))),
            "{steps:?}"
        );
        let bare = PathBuf::from(&project.repository);
        let readme = git(story.env(), &bare, &["show", &format!("{commit}:README.md")]).await?;
        ensure!(readme.ends_with("Changed by a task."), "{readme}");
        ensure!(git(story.env(), &bare, &["rev-parse", "main"]).await? == commit, "it is the tip of the branch");
        let trace = story.trace(CRATE, "FR-1").await?;
        ensure!(trace.tasks.iter().any(|task| task.commit.as_ref() == Some(&commit)), "{trace:#?}");
        story.task_in(&named(story, "Verify the whole").await?.name, TaskState::Done).await?;
        Ok(())
    })
}

/// Whether a sandbox can run cargo and compile with it, found out in one.
async fn cargo_in_sandbox(story: &Story) -> anyhow::Result<Requirement> {
    story.project_create("probe", RepoSource::Empty).await?;
    let recipe = "tools: [{name: cargo}, {name: rustc}, {name: cc}]\nsteps: ['echo \"fn main() {}\" > a.rs && rustc -o /tmp/a a.rs && /tmp/a && cargo --version && rm a.rs']\nretries: {max_retries: 0}\n";
    let task = story.task_create("probe", "Probe", recipe).await?;
    let found = story
        .wait_until("cargo in a sandbox", async |client| {
            let task = client.task(&task).await?;
            let waits = task.waits.iter().any(|wait| wait.code == "tool");
            Ok((waits || matches!(task.state, TaskState::Done | TaskState::Failed)).then_some(task))
        })
        .await?;
    if found.state == TaskState::Done {
        return Ok(Requirement::Met);
    }
    let why = found.waits.first().map(|wait| wait.text.clone()).or(found.last_failure).unwrap_or_default();
    Ok(Requirement::Missing(format!("cargo cannot be used in a sandbox here: {why}")))
}

/// The crate as a person would take it over: without what needs other crates.
async fn unpack(env: &Env, target: &Path) -> anyhow::Result<()> {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        // Of crates for other platforms nothing is at hand.
        .other_options(["--offline", "--filter-platform", HOST].map(str::to_owned).to_vec())
        .exec()?;
    let package = metadata.packages.iter().find(|package| package.name.as_str() == CRATE).context("it is at hand")?;
    let source = package.manifest_path.parent().context("a manifest is in a directory")?;
    copy(source.as_std_path(), target)?;
    for gone in ["benches", "Cargo.lock", "Cargo.toml.orig", ".cargo_vcs_info.json", ".cargo-ok"] {
        let path = target.join(gone);
        if path.is_dir() {
            std::fs::remove_dir_all(&path)?;
        } else if path.exists() {
            std::fs::remove_file(&path)?;
        }
    }
    let manifest = target.join("Cargo.toml");
    let kept = without_dependencies(&std::fs::read_to_string(&manifest)?);
    std::fs::write(&manifest, kept)?;
    commit_all(env, target).await
}

/// A manifest without benches and dependencies, section by section.
fn without_dependencies(manifest: &str) -> String {
    let mut kept = String::new();
    let mut keeping = true;
    for line in manifest.lines() {
        if line.starts_with('[') {
            keeping = !line.contains("dependencies") && !line.starts_with("[[bench]]");
        }
        if keeping {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

async fn named(story: &Story, title: &str) -> anyhow::Result<TaskView> {
    let tasks = story.tasks(CRATE).await?;
    let titles: Vec<String> = tasks.iter().map(|task| task.title.clone()).collect();
    tasks.into_iter().find(|task| task.title == title).with_context(|| format!("no {title} in {titles:?}"))
}

/// Gives a task the steps of [`CHANGE`].
fn steps(task: &str) -> Request {
    Request::TaskEdit {
        task: Ref::from(task),
        recipe: Some(CHANGE.to_owned()),
        recipe_name: Some("change.yaml".to_owned()),
        capability: None,
        requirements: None,
        acceptance: None,
    }
}

/// The one task that the requirement has become.
async fn agent_task(story: &Story) -> anyhow::Result<TaskView> {
    let tasks = story.tasks(CRATE).await?;
    tasks.into_iter().find(|task| task.work.starts_with("agent")).context("a task for an agent")
}

/// What the only step of a task's run has written.
async fn ran(story: &Story, title: &str) -> anyhow::Result<String> {
    let run = named(story, title).await?.run_name.context("it has run")?;
    Ok(String::from_utf8_lossy(&story.stdout(&run, 1).await?).into_owned())
}
