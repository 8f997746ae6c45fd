//! The prepared checkouts of all projects: who uses them, which go when they are too many, and what is thrown away.
//!
//! Everything that must outlive the daemon is on the disk: an entry is its directory, and whoever is on top of one names
//! it in a file of its own before it counts on it. What is thrown away is renamed first and deleted later.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::draft::Draft;
use super::seed::Seed;
use super::store::{self, About, Key, Places, UPPER};
use crate::git::{BareRepo, CommitError, CommitId, TreeId};

/// Trees of commits that are remembered. Together they take less than a megabyte.
const TREES_MAX: usize = 4_096;
/// Whole checkouts that a tree is compared with before one more is made.
const COMPARED_MAX: usize = 3;
/// A checkout of fewer files is made as quickly as a layer on another one.
const SMALL_FILES: u64 = 1_000;

/// Why the cache cannot do what it was asked to. Nothing is lost: a workspace can be made without it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// A file operation failed.
    #[error("failed to {what} `{}`", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    /// The commit has no tree.
    #[error("failed to look up the tree of a commit")]
    Tree(#[from] CommitError),
    /// Something of an earlier tree cannot be deleted.
    #[error("failed to empty the trash")]
    Remove(#[from] orch_sandbox::RemoveError),
}

pub(super) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CacheError {
    let path = path.to_owned();
    move |source| CacheError::Io { what, path, source }
}

/// How much the cache may hold. What is in use stays whatever they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// Bytes on the disk.
    pub bytes_max: u64,
    /// Number of checkouts.
    pub entries_max: usize,
}

/// Prepared checkouts below one directory, which is used by one process.
#[derive(Debug)]
pub struct WorkspaceCache {
    pub(super) places: Places,
    limits: CacheLimits,
    boot: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Grows with each name that has to be new.
    serial: u64,
    trees: BTreeMap<String, TreeId>,
    below: BTreeMap<(String, usize), bool>,
}

impl WorkspaceCache {
    /// Opens the cache in the directory of workspaces. What a daemon that was killed left half-made is thrown away, and so
    /// is what was made in an earlier boot of the host and nobody needs.
    ///
    /// Call it when nothing that an earlier daemon started is at work in a draft any more.
    ///
    /// # Errors
    /// When its directories cannot be made or read.
    pub fn open(root: &Path, limits: CacheLimits) -> Result<Self, CacheError> {
        let places = Places::create(root).map_err(failed("make", root))?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        let cache = Self { places, limits, boot, state: Mutex::default() };
        {
            let mut state = cache.lock();
            let drafts = cache.places.drafts();
            for entry in fs::read_dir(&drafts).map_err(failed("read", &drafts))?.flatten() {
                cache.throw_away(&mut state, &entry.path())?;
            }
            let used = cache.used()?;
            for key in cache.places.entries().map_err(failed("read", root))? {
                let entry = cache.places.entry(&key);
                let is_whole = key.is_of_boot(&cache.boot) && matches!(store::about(&entry), Ok(Some(_)));
                if !is_whole && !used.contains_key(&key) {
                    cache.throw_away(&mut state, &entry)?;
                }
            }
        }
        Ok(cache)
    }

    /// The tree of a commit; asked of git once.
    ///
    /// # Errors
    /// When the commit cannot be read.
    pub fn tree_of(&self, repository: &BareRepo, commit: &CommitId) -> Result<TreeId, CacheError> {
        if let Some(tree) = self.lock().trees.get(commit.as_str()) {
            return Ok(tree.clone());
        }
        let tree = repository.tree_of(commit)?;
        let mut state = self.lock();
        if state.trees.len() >= TREES_MAX {
            state.trees.clear();
        }
        state.trees.insert(commit.to_string(), tree.clone());
        Ok(tree)
    }

    /// Whether the tree of `commit` has fewer than `files` files; asked of git once.
    ///
    /// A run checks out a small tree itself as quickly as a sandbox starts to prepare it.
    pub fn is_below(&self, repository: &BareRepo, commit: &CommitId, files: usize) -> bool {
        if files == 0 {
            return false;
        }
        let key = (commit.to_string(), files);
        if let Some(is_below) = self.lock().below.get(&key) {
            return *is_below;
        }
        // What cannot be listed is too large to be.
        let is_below = repository.list_tree(commit, files.saturating_sub(1)).is_ok();
        let mut state = self.lock();
        if state.below.len() >= TREES_MAX {
            state.below.clear();
        }
        state.below.insert(key, is_below);
        is_below
    }

    /// Makes `workspace` one that starts as `tree`, and gives the layers that it is on top of, the first on top; `None`
    /// when the tree is not prepared. From here on the layers stay until the workspace is discarded.
    ///
    /// Done twice it changes nothing the second time: a run may be at work in the workspace by then.
    ///
    /// # Errors
    /// When the workspace cannot be written.
    pub fn claim(
        &self,
        project: &str,
        tree: &TreeId,
        workspace: &Path,
        seed: &Seed,
    ) -> Result<Option<Vec<PathBuf>>, CacheError> {
        let key = Key::new(project, tree, &self.boot);
        let entry = self.places.entry(&key);
        let _state = self.lock();
        if !matches!(store::about(&entry), Ok(Some(_))) {
            return Ok(None);
        }
        let below = self.places.base_of(&entry).map_err(failed("read the base of", &entry))?.unwrap_or_default().layers;
        let layers: Vec<Key> = std::iter::once(key).chain(below).collect();
        for layer in &layers {
            let entry = self.places.entry(layer);
            store::touch(&entry).map_err(failed("use", &entry))?;
        }
        let write = failed("write the start of", workspace);
        let trees = layers.iter().map(|layer| self.places.tree(layer)).collect();
        self.start(workspace, layers, seed).map_err(write)?;
        Ok(Some(trees))
    }

    /// The directories that together hold the files of a workspace, the first on top: one, or what the run wrote and the
    /// layers below.
    ///
    /// # Errors
    /// When it is not known what the workspace is on.
    pub fn roots(&self, workspace: &Path) -> Result<Vec<PathBuf>, CacheError> {
        let upper = workspace.join(UPPER);
        let base = self.places.base_of(workspace).map_err(failed("read the base of", workspace))?;
        Ok(match base {
            Some(base) if upper.symlink_metadata().is_ok_and(|meta| meta.is_dir()) => {
                std::iter::once(upper).chain(base.layers.iter().map(|layer| self.places.tree(layer))).collect()
            }
            _ => vec![workspace.to_owned()],
        })
    }

    /// Begins to prepare `tree`, that of `commit`: as a layer on a whole checkout of the same project when little
    /// differs, otherwise whole.
    ///
    /// # Errors
    /// When the draft cannot be written.
    pub fn begin(
        &self,
        project: &str,
        repository: &BareRepo,
        (commit, tree): (&CommitId, &TreeId),
    ) -> Result<Draft, CacheError> {
        let over = self.nearest(project, repository, commit)?;
        let mut state = self.lock();
        let directory = self.new_draft(&mut state)?;
        // Under the lock, and looked at once more: between the two it may have gone.
        let over = over.filter(|(key, _)| matches!(store::about(&self.places.entry(key)), Ok(Some(_))));
        if let Some((key, _)) = &over {
            self.places.write_base(&directory, vec![key.clone()]).map_err(failed("write the base of", &directory))?;
        }
        let over = over.map(|(key, commit)| (self.places.tree(&key), commit));
        Ok(Draft::new(Key::new(project, tree, &self.boot), directory, over, (repository.objects_dir(), commit.clone())))
    }

    /// Makes an empty directory for one try, which is thrown away with the next start at the latest.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn scratch(&self) -> Result<PathBuf, CacheError> {
        self.new_draft(&mut self.lock())
    }

    fn new_draft(&self, state: &mut State) -> Result<PathBuf, CacheError> {
        state.serial += 1;
        let directory = self.places.drafts().join(format!("{}-{}", std::process::id(), state.serial));
        store::make_directory(&directory).map_err(failed("make", &directory))?;
        Ok(directory)
    }

    /// The whole checkout of the project that differs least from `commit`, if that is little.
    fn nearest(
        &self,
        project: &str,
        repository: &BareRepo,
        commit: &CommitId,
    ) -> Result<Option<(Key, CommitId)>, CacheError> {
        let mut whole = Vec::new();
        for key in self.places.entries().map_err(failed("read", self.places.root()))? {
            let entry = self.places.entry(&key);
            if key.project != project || !key.is_of_boot(&self.boot) || !matches!(self.places.base_of(&entry), Ok(None))
            {
                continue;
            }
            if let (Ok(Some(about)), Ok(used)) = (store::about(&entry), store::used_at(&entry))
                && about.files > SMALL_FILES
                && let Ok(of) = CommitId::parse(&about.commit)
            {
                whole.push((used, key, of, about.files));
            }
        }
        whole.sort_unstable_by_key(|(used, ..)| std::cmp::Reverse(*used));
        let mut best: Option<(usize, Key, CommitId)> = None;
        for (_, key, of, files) in whole.into_iter().take(COMPARED_MAX) {
            // What cannot be compared is no base; that says nothing about the commit.
            let Ok(changed) = repository.changed_paths(Some(&of), commit) else { continue };
            let differs = changed.len();
            if (differs as u64) < files / 8 && best.as_ref().is_none_or(|(least, ..)| differs < *least) {
                best = Some((differs, key, of));
            }
        }
        Ok(best.map(|(_, key, of)| (key, of)))
    }

    /// Makes a draft that was prepared an entry, and throws away what is too much then.
    ///
    /// # Errors
    /// When it cannot be moved into its place. The draft is thrown away then.
    pub fn publish(&self, draft: Draft) -> Result<(), CacheError> {
        let finished = draft.finish();
        let mut state = self.lock();
        let directory = draft.directory().to_owned();
        let (files, bytes) = match finished {
            Ok(size) => size,
            Err(error) => {
                self.throw_away(&mut state, &directory)?;
                return Err(error);
            }
        };
        let key = draft.key().clone();
        let entry = self.places.entry(&key);
        let about = About { version: store::VERSION, commit: draft.commit().to_string(), files, bytes };
        let place = || {
            store::write_about(&directory, &about)?;
            store::make_directory(entry.parent().unwrap_or(&entry))?;
            fs::rename(&directory, &entry)
        };
        // Somebody was faster: theirs is the same.
        if !entry.exists()
            && let Err(error) = place()
        {
            self.throw_away(&mut state, &directory)?;
            return Err(failed("publish", &entry)(error));
        }
        self.throw_away(&mut state, &directory)?;
        self.evict(&mut state, &key)
    }

    /// Throws away a directory below that of workspaces, or beside it on the same file system: a workspace that is not
    /// needed any more, a draft that came to nothing. It is gone from its place at once and deleted later.
    ///
    /// # Errors
    /// When it cannot be moved. Nothing there is no error.
    pub fn discard(&self, directory: &Path) -> Result<(), CacheError> {
        self.throw_away(&mut self.lock(), directory)
    }

    fn throw_away(&self, state: &mut State, directory: &Path) -> Result<(), CacheError> {
        loop {
            state.serial += 1;
            let place = self.places.trash().join(format!("{}-{}", std::process::id(), state.serial));
            // A process of this number may have left something under the name.
            if place.symlink_metadata().is_ok() {
                continue;
            }
            return match fs::rename(directory, &place) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                moved => {
                    moved.and_then(|()| self.places.forget_base(directory)).map_err(failed("throw away", directory))
                }
            };
        }
    }

    /// Deletes what was thrown away. Takes as long as it takes; nobody has to wait for it.
    ///
    /// # Errors
    /// The first thing that cannot be deleted, when the rest is gone.
    pub fn empty_trash(&self) -> Result<(), CacheError> {
        let trash = self.places.trash();
        let mut first = Ok(());
        for entry in fs::read_dir(&trash).map_err(failed("read", &trash))?.flatten() {
            let path = entry.path();
            let removed = if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                orch_sandbox::remove_tree(&path).map_err(CacheError::from)
            } else {
                fs::remove_file(&path).map_err(failed("delete", &path))
            };
            first = first.and(removed);
        }
        first
    }

    /// Throws away the entries that were not used for the longest time until the rest is within the limits. What is in
    /// use stays, and so does everything while it is not known what is in use.
    fn evict(&self, state: &mut State, newest: &Key) -> Result<(), CacheError> {
        let mut used = self.used()?;
        let mut kept: Vec<(SystemTime, Key, u64)> = Vec::new();
        for key in self.places.entries().map_err(failed("read", self.places.root()))? {
            let entry = self.places.entry(&key);
            let at = store::used_at(&entry).unwrap_or(SystemTime::UNIX_EPOCH);
            let bytes = store::about(&entry).ok().flatten().map_or(0, |about| about.bytes);
            kept.push((at, key, bytes));
        }
        kept.sort_unstable();
        let mut bytes: u64 = kept.iter().map(|(_, _, bytes)| bytes).sum();
        let mut count = kept.len();
        // A layer that goes frees what it is on, which may be older: so it is looked at again from the start.
        let mut next = 0;
        while (bytes > self.limits.bytes_max || count > self.limits.entries_max) && next < kept.len() {
            let (_, key, size) = &kept[next];
            if used.contains_key(key) || key == newest {
                next += 1;
                continue;
            }
            let entry = self.places.entry(key);
            for below in self.places.base_of(&entry).ok().flatten().unwrap_or_default().layers {
                if let Some(users) = used.get_mut(&below) {
                    users.remove(&entry);
                    if users.is_empty() {
                        used.remove(&below);
                    }
                }
            }
            self.throw_away(state, &entry)?;
            bytes = bytes.saturating_sub(*size);
            count -= 1;
            kept.remove(next);
            next = 0;
        }
        Ok(())
    }

    /// Entries that something on the disk is on top of, each with the directories that say so.
    fn used(&self) -> Result<BTreeMap<Key, BTreeSet<PathBuf>>, CacheError> {
        let mut used: BTreeMap<Key, BTreeSet<PathBuf>> = BTreeMap::new();
        for user in self.places.users().map_err(failed("read", self.places.root()))? {
            let base = self.places.base_of(&user).map_err(failed("read the base of", &user))?;
            for key in base.unwrap_or_default().layers {
                used.entry(key).or_default().insert(user.clone());
            }
        }
        Ok(used)
    }

    /// Writes what a workspace is on top of, then what it has of its own.
    fn start(&self, workspace: &Path, layers: Vec<Key>, seed: &Seed) -> io::Result<()> {
        store::make_directory(workspace)?;
        let upper = workspace.join(UPPER);
        if upper.exists() {
            return Ok(());
        }
        self.places.write_base(workspace, layers)?;
        let draft = workspace.join("upper.tmp");
        if draft.exists() {
            fs::remove_dir_all(&draft)?;
        }
        seed.write(&draft)?;
        fs::rename(&draft, &upper)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
