//! Makes the repositories of new projects: an empty one, or a copy of an existing one.

use std::ops::ControlFlow;
use std::sync::Arc;

use orch_adapters::git::{
    BareRepo, CommitId, CreateError, Identity, ImportError, ImportPlan, ImportPlanError, ReadError, RefName, RootCommit,
};
use orch_core::command::Command;
use orch_core::entity::{Project, RepositorySource};
use orch_core::event::Event;
use orch_core::state::project::ProjectState;
use orch_core::toolchain::{self, RepoFile, Toolchain};
use orch_core::view::Filter;
use orch_proto::id::ProjectId;
use orch_sandbox::spec::{OUT_INSIDE, ReadOnlyMount};
use orch_store::ReadView;

use super::scheduler::accept;
use super::tasks::Tasks;
use crate::app::{App, blocking};
use crate::error_chain::chain;
use crate::jail::{Jail, JailError, jail};

/// Where the source of an import appears in its jail.
const SOURCE_INSIDE: &str = "/orch/source";
/// Most files of a tree that toolchains are looked for in.
const FILES_MAX: usize = 200_000;
/// Projects that are prepared at once. The first in the queue are taken, so that nobody waits for ever.
const AT_ONCE: usize = 2;

/// Why a project has no repository.
#[derive(Debug, thiserror::Error)]
enum PrepareError {
    #[error("failed to make the repository")]
    Create(#[from] CreateError),
    #[error(transparent)]
    Plan(#[from] ImportPlanError),
    #[error("failed to read the repository")]
    Jail(#[from] JailError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error("failed to clear what an earlier try left")]
    Clear(#[source] std::io::Error),
    #[error("failed to open the repository")]
    Open(#[from] orch_adapters::git::OpenError),
    #[error("failed to look at the repository")]
    Look(#[from] orch_adapters::git::RefError),
    #[error(transparent)]
    Identity(#[from] orch_adapters::git::CommitError),
    #[error(transparent)]
    Name(#[from] orch_adapters::git::NameError),
}

/// Prepares projects that wait for it until the daemon stops, several at once: one may be large.
pub(super) async fn run(app: Arc<App>) {
    let mut changed = app.store.subscribe_to(|event| matches!(event, Event::Project { .. }));
    let mut under_way = Tasks::default();
    loop {
        changed.mark_unchanged();
        under_way.tidy();
        let wait = match app.read(waiting).await {
            Ok(waiting) => {
                for project in waiting.into_iter().take(AT_ONCE) {
                    under_way.start(project.id, || prepared(Arc::clone(&app), project));
                }
                // Who failed to say so is started again.
                if under_way.len() == 0 { super::LOOK_AGAIN } else { super::AFTER_FAILURE }
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "failed to look for projects");
                super::AFTER_FAILURE
            }
        };
        tokio::select! {
            () = app.stopped() => break,
            _ = changed.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    under_way.finish().await;
}

/// Projects that have no repository yet, the oldest first. Looked for at every commit: no other project is read.
fn waiting(view: &ReadView<'_>) -> Result<Vec<Project>, orch_core::view::ReadError> {
    let mut waiting = Vec::new();
    view.each_newest(&Filter::default(), &[ProjectState::Preparing.label()], |project| {
        waiting.push(project);
        ControlFlow::Continue(())
    })?;
    waiting.reverse();
    Ok(waiting)
}

/// Prepares one project and says how that went.
async fn prepared(app: Arc<App>, project: Project) {
    let command = match prepare(&app, &project).await {
        Ok((default_branch, head)) => {
            let toolchains = {
                let (app, id, head) = (Arc::clone(&app), project.id, head.clone());
                blocking(move || head.map_or_else(|| Some(Vec::new()), |head| detect(&app, id, &head))).await
            };
            match toolchains {
                Some(toolchains) => Command::PrepareProject { project: project.id, default_branch, head, toolchains },
                // Taken as it is, nothing would guard its merges.
                None => {
                    clear(&app, project.id).await;
                    let reason = "failed to look at the files of its branch; create it again".to_owned();
                    Command::FailProject { project: project.id, reason }
                }
            }
        }
        // The next daemon begins anew, or this one when the sandbox withstands everything again.
        Err(PrepareError::Jail(JailError::Stopped)) => return,
        Err(PrepareError::Jail(error @ JailError::Escapes { .. })) => {
            tracing::error!(project = project.slug, error = chain(&error), "a project waits for its repository");
            let mut woken = app.woken.subscribe();
            tokio::select! {
                () = app.stopped() => {}
                _ = woken.changed() => {}
                () = tokio::time::sleep(super::LOOK_AGAIN) => {}
            }
            return;
        }
        Err(error) => {
            tracing::warn!(project = project.slug, error = chain(&error), "a project has no repository");
            clear(&app, project.id).await;
            Command::FailProject { project: project.id, reason: reason(&error) }
        }
    };
    if let Err(error) = accept(app.execute("projects", command).await) {
        tracing::warn!(project = project.slug, error = chain(&error), "failed to record a project's repository");
    }
}

/// Removes a repository that cannot be used: asked for again, the project may come from elsewhere.
async fn clear(app: &Arc<App>, project: ProjectId) {
    let path = app.dirs.repository(project);
    let cleared = blocking(move || if path.exists() { orch_sandbox::remove_tree(&path) } else { Ok(()) }).await;
    if let Err(error) = cleared {
        tracing::warn!(%project, error = chain(&error), "failed to remove an unusable repository");
    }
}

/// Toolchains in the tree of a commit. What is too large or no file is not there; nothing is known when git itself fails,
/// which says nothing about the tree.
pub(super) fn detect(app: &App, project: ProjectId, head: &str) -> Option<Vec<Toolchain>> {
    let unknown = |error: &dyn std::error::Error| {
        tracing::warn!(%project, error = chain(error), "toolchains were not looked for");
    };
    let repository = app.repository(project).inspect_err(|error| unknown(error)).ok()?;
    let commit = CommitId::parse(head).inspect_err(|error| unknown(error)).ok()?;
    let listing = match repository.list_tree(&commit, FILES_MAX) {
        Ok(listing) => listing,
        Err(error) => {
            unknown(&error);
            return if matches!(error, ReadError::Git(_)) { None } else { Some(Vec::new()) };
        }
    };
    let files: Vec<RepoFile> = listing
        .iter()
        .filter_map(|entry| Some(RepoFile { path: entry.path.as_utf8()?.to_owned(), size: entry.size }))
        .collect();
    let has_failed = std::cell::Cell::new(false);
    let read = |path: &str| {
        let path = orch_adapters::git::RepoPath::parse(path.as_bytes()).ok()?;
        let blob = repository.read_blob(&commit, &path, toolchain::READ_BYTES_MAX as u64);
        let blob = blob.inspect_err(|error| {
            if matches!(error, ReadError::Git(_)) {
                unknown(error);
                has_failed.set(true);
            }
        });
        blob.ok()
    };
    let found = toolchain::detect(&files, &read);
    (!has_failed.get()).then_some(found)
}

/// Makes the repository. Done twice it does nothing the second time: it appears whole or not at all.
async fn prepare(app: &Arc<App>, project: &Project) -> Result<(String, Option<String>), PrepareError> {
    let path = app.dirs.repository(project.id);
    if !path.exists() {
        match &project.source {
            RepositorySource::Empty => create_empty(app, project).await?,
            RepositorySource::Import { path } => import(app, project, std::path::Path::new(path)).await?,
        }
    }
    let app = Arc::clone(app);
    let id = project.id;
    blocking(move || {
        let repository = app.repository(id)?;
        let branch = repository.default_branch()?;
        let head = repository.head(&branch)?;
        Ok((branch.short().to_owned(), head.map(|head| head.to_string())))
    })
    .await
}

/// A new repository begins with an empty commit, so that everything in it has a base.
async fn create_empty(app: &Arc<App>, project: &Project) -> Result<(), PrepareError> {
    let (app, project) = (Arc::clone(app), project.clone());
    blocking(move || {
        let root = RootCommit {
            author: Identity::new("orchd", "daemon@orch.invalid")?,
            message: format!("chore: begin {}\n", project.slug),
            at_unix_s: project.created_at.unix_us().div_euclid(1_000_000),
        };
        let branch = RefName::branch(&project.default_branch)?;
        BareRepo::create_with_root(&app.git, &app.dirs.repository(project.id), &branch, &root)?;
        Ok(())
    })
    .await
}

/// The source is read by a git inside a sandbox, which leaves a bundle; the bundle is taken in here.
async fn import(app: &Arc<App>, project: &Project, source: &std::path::Path) -> Result<(), PrepareError> {
    app.jails_hold()?;
    let plan = ImportPlan::new(source)?;
    let directory = app.dirs.jail(&format!("import-{}", project.id));
    if directory.exists() {
        std::fs::remove_dir_all(&directory).map_err(PrepareError::Clear)?;
    }
    let work = Jail {
        directory: directory.clone(),
        name: "import",
        argv: plan.argv(std::path::Path::new(SOURCE_INSIDE), std::path::Path::new(OUT_INSIDE)),
        mounts: vec![ReadOnlyMount { source: plan.source().to_owned(), target: SOURCE_INSIDE.into() }],
        with_out: true,
        required_level: crate::host::level_of(app.config.required_level),
    };
    let read = jail(app.executor.as_ref(), work, app.stopped()).await;
    let taken = match read {
        Ok(_) => {
            let (app, id, out) = (Arc::clone(app), project.id, directory.join("out"));
            blocking(move || {
                BareRepo::finish_import(
                    &app.git,
                    &out,
                    &app.dirs.repository(id),
                    &orch_adapters::git::IngestLimits::IMPORT,
                )
            })
            .await
            .map(|_| ())
            .map_err(PrepareError::from)
        }
        Err(error) => Err(error.into()),
    };
    if let Err(error) = orch_sandbox::remove_tree(&directory) {
        tracing::warn!(error = chain(&error), "failed to remove the directory of an import");
    }
    taken
}

/// What a person is told.
fn reason(error: &PrepareError) -> String {
    let hint = match error {
        PrepareError::Plan(plan) => plan.hint(),
        PrepareError::Import(import) => import.hint().map(str::to_owned),
        PrepareError::Jail(JailError::Ended { log, .. }) if !log.is_empty() => Some(log.clone()),
        _ => None,
    };
    match hint {
        Some(hint) => format!("{}; {hint}", chain(error)),
        None => chain(error),
    }
}
