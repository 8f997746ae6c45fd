//! Gives a run a workspace that starts as its base, as a layer on a prepared checkout wherever that works.
//!
//! Knows when a checkout has to be prepared and that two runs of one project do not prepare the same; the cache knows the
//! rest. What goes wrong here costs time and no run: its first step checks the base out then, as it does where the file
//! system of the workspaces cannot be part of an overlay.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orch_adapters::git::{BareRepo, CommitId, TreeId};
use orch_adapters::job;
use orch_adapters::workspace::{CacheError, CacheLimits, Draft, UPPER, WorkspaceCache, try_spec};
use orch_core::entity::{Project, Run, Task};
use orch_proto::id::ProjectId;
use orch_sandbox::Secrets;
use tokio::sync::{Mutex as AsyncMutex, OnceCell};

use crate::app::{App, blocking};
use crate::error_chain::chain;
use crate::host::level_of;
use crate::jail::{self, JailError};

/// What is configured of workspaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkspacesConfig {
    /// What prepared checkouts may take.
    pub(crate) cache: CacheLimits,
    /// A tree of fewer files is checked out by each run itself.
    pub(crate) prepare_from_files: usize,
    /// How long the workspace of a run stays whose work was not taken in.
    pub(crate) keep: Duration,
}

/// What a run's workspace starts as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// These layers of a prepared checkout, the first on top.
    Layers(Vec<PathBuf>),
    /// Nothing: the first step makes it.
    Empty,
    /// The daemon stops; the next one begins anew.
    Stopped,
}

/// Why a checkout is not prepared.
#[derive(Debug, thiserror::Error)]
enum PrepareError {
    #[error("failed to open the repository")]
    Repository(#[from] orch_adapters::git::OpenError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Jail(#[from] JailError),
    #[error(transparent)]
    Job(#[from] job::JobError),
}

/// The workspaces of all runs.
#[derive(Debug)]
pub(crate) struct Workspaces {
    cache: Arc<WorkspaceCache>,
    /// Whether a workspace can be a layer on something here; tried once.
    has_overlay: OnceCell<bool>,
    /// Held while a checkout of the project is prepared.
    preparing: Mutex<BTreeMap<ProjectId, Arc<AsyncMutex<()>>>>,
    /// Wakes the thread that deletes what was thrown away.
    trash: SyncSender<()>,
}

impl Workspaces {
    /// Opens the cache in the directory of workspaces and begins to delete what was thrown away there.
    ///
    /// # Errors
    /// When its directories cannot be made, or there is no thread to be had.
    pub(crate) fn open(root: &Path, limits: CacheLimits) -> Result<Self, CacheError> {
        let cache = Arc::new(WorkspaceCache::open(root, limits)?);
        let (trash, wanted) = mpsc::sync_channel(1);
        let theirs = Arc::clone(&cache);
        // A thread of its own, which nobody waits for: what it does not come to, the next daemon deletes.
        let emptying = std::thread::Builder::new().name("trash".into()).spawn(move || {
            while wanted.recv().is_ok() {
                if let Err(error) = theirs.empty_trash() {
                    tracing::warn!(error = chain(&error), "failed to delete what was thrown away");
                }
            }
        });
        if let Err(error) = emptying {
            tracing::warn!(%error, "nothing that is thrown away is deleted before the next start");
        }
        let workspaces = Self { cache, has_overlay: OnceCell::new(), preparing: Mutex::default(), trash };
        workspaces.wake();
        Ok(workspaces)
    }

    /// Takes a directory of a run away. It is gone at once and deleted later.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub(crate) fn discard(&self, directory: &Path) -> Result<(), CacheError> {
        self.cache.discard(directory)?;
        self.wake();
        Ok(())
    }

    /// The directories that together hold the files of a run's workspace, the first on top.
    ///
    /// # Errors
    /// When it is not known what the workspace is on.
    pub(crate) fn roots(&self, workspace: &Path) -> Result<Vec<PathBuf>, CacheError> {
        self.cache.roots(workspace)
    }

    fn wake(&self) {
        match self.trash.try_send(()) {
            // It has been told already; without the thread that was said at the start.
            Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
        }
    }

    /// Makes the workspace of a run that was not started yet start as its base.
    pub(crate) async fn start(&self, app: &Arc<App>, run: &Run, task: &Task, project: &Project) -> Start {
        let start = match self.layers(app, run, task, project).await {
            Ok(Some(layers)) => return Start::Layers(layers),
            Ok(None) => Start::Empty,
            Err(PrepareError::Jail(JailError::Stopped)) => return Start::Stopped,
            Err(error) => {
                tracing::warn!(run = %run.id, error = chain(&error), "no prepared checkout; the run makes its own");
                Start::Empty
            }
        };
        // An earlier try may have come further, and what it left is no empty workspace.
        let workspace = app.dirs.workspace(run.id);
        if workspace.join(UPPER).exists()
            && let Err(error) = self.discard(&workspace)
        {
            tracing::warn!(run = %run.id, error = chain(&error), "failed to clear a workspace");
        }
        start
    }

    async fn layers(
        &self,
        app: &Arc<App>,
        run: &Run,
        task: &Task,
        project: &Project,
    ) -> Result<Option<Vec<PathBuf>>, PrepareError> {
        let Some(base) = job::base(run).map_err(job::JobError::from)? else { return Ok(None) };
        if !self.has_overlay(app).await {
            return Ok(None);
        }
        let seed = job::seed(task, run, &base)?;
        let (cache, workspace, id) = (Arc::clone(&self.cache), app.dirs.workspace(run.id), project.id);
        let claim = |tree: TreeId| {
            let (cache, workspace, seed) = (Arc::clone(&cache), workspace.clone(), seed.clone());
            blocking(move || cache.claim(&id.to_string(), &tree, &workspace, &seed))
        };
        let (tree, repository) = {
            let (cache, app, base) = (Arc::clone(&cache), Arc::clone(app), base.clone());
            blocking(move || {
                let repository = app.repository(id)?;
                Ok::<_, PrepareError>((cache.tree_of(&repository, &base)?, repository))
            })
            .await?
        };
        if let Some(layers) = claim(tree.clone()).await? {
            return Ok(Some(layers));
        }
        let is_small = {
            let (cache, repository, base) = (Arc::clone(&cache), repository.clone(), base.clone());
            let files = app.config.workspaces.prepare_from_files;
            blocking(move || cache.is_below(&repository, &base, files)).await
        };
        if is_small {
            return Ok(None);
        }
        let own = {
            let mut preparing = self.preparing.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(preparing.entry(id).or_default())
        };
        let _own = own.lock().await;
        // Who held the lock before may have prepared the very same.
        if let Some(layers) = claim(tree.clone()).await? {
            return Ok(Some(layers));
        }
        self.prepare(app, id, repository, (base, tree.clone())).await?;
        Ok(claim(tree).await?)
    }

    /// Has a checkout made in a sandbox and puts it into the cache.
    async fn prepare(
        &self,
        app: &Arc<App>,
        project: ProjectId,
        repository: BareRepo,
        (commit, tree): (CommitId, TreeId),
    ) -> Result<(), PrepareError> {
        let cache = Arc::clone(&self.cache);
        let draft = {
            let cache = Arc::clone(&cache);
            blocking(move || cache.begin(&project.to_string(), &repository, (&commit, &tree))).await?
        };
        let directory = draft.directory().to_owned();
        let prepared = self.execute(app, &draft).await;
        let done = match prepared {
            Ok(()) => blocking(move || cache.publish(draft)).await.map_err(PrepareError::from),
            Err(error) => blocking(move || cache.discard(&directory)).await.map_err(PrepareError::from).and(Err(error)),
        };
        self.wake();
        done
    }

    async fn execute(&self, app: &Arc<App>, draft: &Draft) -> Result<(), PrepareError> {
        app.jails_hold()?;
        let name = draft.directory().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let place = app.dirs.jail(&format!("prepare-{name}"));
        let spec = draft.spec(level_of(app.config.required_level))?;
        let done = jail::execute(&*app.executor, &place, (&spec, &Secrets::new()), app.stopped()).await;
        self.discard(&place)?;
        done?;
        Ok(())
    }

    /// Whether the file system of the workspaces can be part of an overlay, by trying it.
    async fn has_overlay(&self, app: &Arc<App>) -> bool {
        *self.has_overlay.get_or_init(|| self.try_overlay(app)).await
    }

    async fn try_overlay(&self, app: &Arc<App>) -> bool {
        let tried = async {
            let scratch = self.cache.scratch()?;
            let place = app.dirs.jail("try-overlay");
            let spec = try_spec(&scratch, level_of(app.config.required_level))?;
            let done = jail::execute(&*app.executor, &place, (&spec, &Secrets::new()), std::future::pending()).await;
            self.discard(&place)?;
            self.discard(&scratch)?;
            done?;
            Ok::<_, PrepareError>(())
        };
        match tried.await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "workspaces cannot be layers on prepared checkouts here: each run copies all files of its base"
                );
                false
            }
        }
    }
}
