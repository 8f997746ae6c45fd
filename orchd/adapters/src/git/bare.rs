//! A project's bare repository: made whole or not at all, opened, and brought in order after a crash.
//!
//! Knows where things are in the repository and nothing of their meaning; the other modules add what is done with it.
//! **Invariants:** the directory belongs to the daemon alone and nothing in it was written by a run; runs see only
//! [`BareRepo::objects_dir`], read-only. **Invariant:** one process uses a repository (the daemon's instance lock).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::call::{Call, CallError};
use super::hardened::Hardened;
use super::merge::{CommitError, CommitSpec, Identity};
use super::name::{CommitId, ObjectFormat, RefName, TreeId};
use super::refs::UpdateRefError;

/// Folder inside the repository for objects that are not yet trusted.
const INCOMING: &str = "orch-incoming";
/// Folder beside repositories for those that are not yet whole.
const DRAFTS: &str = ".orch-drafts";
/// Deepest folder below `refs/` that recovery looks into.
const REF_DEPTH_MAX: u32 = 64;

/// Why a repository was not made. Nothing is left at the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// Something is there already.
    #[error("`{}` exists already", path.display())]
    Exists { path: PathBuf },
    /// The path is relative or has a newline, which git's alternates cannot express.
    #[error("`{}` is not a usable place for a repository", path.display())]
    Place { path: PathBuf },
    /// A file operation failed.
    #[error("failed to make `{}`", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// A git command failed.
    #[error("failed to set the repository up")]
    Git(#[from] CallError),
    /// The first commit could not be made.
    #[error("failed to make the first commit")]
    Commit(#[from] CommitError),
    /// The first branch could not be set.
    #[error("failed to set the first branch")]
    UpdateRef(#[from] UpdateRefError),
}

/// Why a repository cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is none.
    #[error("no repository at `{}`", path.display())]
    Missing { path: PathBuf },
    /// Git does not accept it.
    #[error("repository is damaged")]
    Git(#[from] CallError),
    /// Git answered something unknown.
    #[error("repository has an unknown object format: `{0}`")]
    Format(String),
}

/// Why recovery could not finish.
#[derive(Debug, thiserror::Error)]
#[error("failed to clear `{}`", path.display())]
pub struct RecoverError {
    path: PathBuf,
    source: io::Error,
}

/// A bare repository of the daemon.
#[derive(Debug, Clone)]
pub struct BareRepo {
    pub(super) path: PathBuf,
    pub(super) format: ObjectFormat,
    git: Hardened,
    /// Folder that calls take for the objects instead; it has the repository's own as its alternates.
    quarantine: Option<PathBuf>,
}

impl BareRepo {
    /// Makes an empty repository whose default branch has no commit yet.
    ///
    /// # Errors
    /// [`CreateError`]; nothing is left behind then.
    pub fn create(git: &Hardened, path: &Path, branch: &RefName) -> Result<Self, CreateError> {
        let draft = Draft::create(git, path, branch, ObjectFormat::Sha1)?;
        draft.publish()
    }

    /// Makes a repository whose default branch has one commit without files, so that every change has a base.
    ///
    /// # Errors
    /// [`CreateError`]; nothing is left behind then.
    pub fn create_with_root(
        git: &Hardened,
        path: &Path,
        branch: &RefName,
        root: &RootCommit,
    ) -> Result<Self, CreateError> {
        let draft = Draft::create(git, path, branch, ObjectFormat::Sha1)?;
        let spec = CommitSpec {
            tree: draft.repo.empty_tree(),
            parents: Vec::new(),
            message: root.message.clone(),
            author: root.author.clone(),
            committer: root.author.clone(),
            at_unix_s: root.at_unix_s,
        };
        // The tree has to be stored: a clone's own checks look for it.
        draft.repo.call("mktree").run()?;
        let commit = draft.repo.commit_tree(&spec)?;
        draft.repo.update_ref(branch, &commit, None, "created")?;
        draft.publish()
    }

    /// Opens a repository that one of the constructors or an import made.
    ///
    /// # Errors
    /// [`OpenError`] if there is none or git does not accept it.
    pub fn open(git: &Hardened, path: &Path) -> Result<Self, OpenError> {
        if !looks_like_one(path) {
            return Err(OpenError::Missing { path: path.to_owned() });
        }
        let call = git.call(path, ObjectFormat::Sha1, "rev-parse");
        let answer = call.arg("--show-object-format").line()?;
        let format = ObjectFormat::from_name(&answer)
            .ok_or_else(|| OpenError::Format(answer.chars().take(20).flat_map(char::escape_default).collect()))?;
        Ok(Self { path: path.to_owned(), format, git: git.clone(), quarantine: None })
    }

    /// Whether it is still where it was opened.
    #[must_use]
    pub fn is_there(&self) -> bool {
        looks_like_one(&self.path)
    }

    /// Clears what a crash of daemon or host can leave: locks of git commands that are gone and untrusted objects.
    ///
    /// Call it at start, with the daemon's instance lock held and before any other use. Answers how many were cleared.
    ///
    /// # Errors
    /// [`RecoverError`] naming what cannot be removed.
    pub fn recover(&self) -> Result<usize, RecoverError> {
        let mut cleared = 0;
        for entry in read_dir(&self.path.join(INCOMING))? {
            fs::remove_dir_all(&entry).map_err(|source| RecoverError { path: entry, source })?;
            cleared += 1;
        }
        let top = read_dir(&self.path)?.into_iter().filter(|path| path.is_file());
        let packs = read_dir(&self.path.join("objects/pack"))?;
        let left_over = top.chain(packs).filter(|path| is_left_over(path)).chain(ref_locks(&self.path.join("refs"))?);
        for path in left_over {
            fs::remove_file(&path).map_err(|source| RecoverError { path, source })?;
            cleared += 1;
        }
        Ok(cleared)
    }

    /// Clears repositories that a crash left half-made in the folder where repositories are made.
    ///
    /// Call it at start, with the daemon's instance lock held and before any other use.
    ///
    /// # Errors
    /// [`RecoverError`] naming what cannot be removed.
    pub fn clear_drafts(parent: &Path) -> Result<(), RecoverError> {
        let path = parent.join(DRAFTS);
        match fs::remove_dir_all(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(RecoverError { path, source }),
            _ => Ok(()),
        }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The only part that a sandbox may see, read-only: objects, without refs, logs and configuration.
    #[must_use]
    pub fn objects_dir(&self) -> PathBuf {
        self.path.join("objects")
    }

    /// Hash function of the repository.
    #[must_use]
    pub const fn format(&self) -> ObjectFormat {
        self.format
    }

    /// The tree without entries.
    #[must_use]
    pub fn empty_tree(&self) -> TreeId {
        TreeId::parse(self.format.empty_tree()).expect("the constants are object ids")
    }

    /// A call of `git <subcommand>` on this repository.
    pub(super) fn call(&self, subcommand: &str) -> Call {
        let call = self.git.call(&self.path, self.format, subcommand);
        match &self.quarantine {
            None => call,
            Some(objects) => call.env("GIT_OBJECT_DIRECTORY", objects),
        }
    }

    /// The same repository, seen together with objects that are not yet part of it.
    pub(super) fn through(&self, quarantine: PathBuf) -> Self {
        Self { quarantine: Some(quarantine), ..self.clone() }
    }

    /// An empty folder on the repository's file system, for objects that are not yet trusted.
    pub(super) fn incoming_dir(&self) -> io::Result<PathBuf> {
        private_dir(&self.path.join(INCOMING))
    }
}

/// The first commit of a new repository.
#[derive(Debug, Clone)]
pub struct RootCommit {
    /// Who makes it.
    pub author: Identity,
    /// Its whole message.
    pub message: String,
    /// When, in seconds since 1970.
    pub at_unix_s: i64,
}

/// A repository under another name, until it is whole; removed when it does not get that far.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) repo: BareRepo,
    dest: PathBuf,
}

impl Draft {
    /// Makes an empty repository beside `dest`.
    pub(super) fn create(
        git: &Hardened,
        dest: &Path,
        branch: &RefName,
        format: ObjectFormat,
    ) -> Result<Self, CreateError> {
        let printable = dest.to_str().is_some_and(|text| !text.contains(['\n', '\r', '"']));
        let (true, true, Some(parent)) = (dest.is_absolute(), printable, dest.parent()) else {
            return Err(CreateError::Place { path: dest.to_owned() });
        };
        if dest.symlink_metadata().is_ok() {
            return Err(CreateError::Exists { path: dest.to_owned() });
        }
        let io_error = |path: &Path| {
            let path = path.to_owned();
            move |source| CreateError::Io { path, source }
        };
        let path = private_dir(&parent.join(DRAFTS)).map_err(io_error(parent))?;
        let repo = BareRepo { path, format, git: git.clone(), quarantine: None };
        let draft = Self { repo, dest: dest.to_owned() };
        let init = draft.repo.call("init").args(["--quiet", "--bare", "--template="]);
        init.arg(format!("--object-format={}", format.as_str())).output()?;
        draft.repo.call("symbolic-ref").args(["HEAD", branch.as_str()]).output()?;
        Ok(draft)
    }

    /// Gives the repository its final name, on disk.
    pub(super) fn publish(self) -> Result<BareRepo, CreateError> {
        let io_error = |source| CreateError::Io { path: self.dest.clone(), source };
        if self.dest.symlink_metadata().is_ok() {
            return Err(CreateError::Exists { path: self.dest.clone() });
        }
        sync_tree(&self.repo.path).map_err(io_error)?;
        fs::rename(&self.repo.path, &self.dest).map_err(io_error)?;
        if let Some(parent) = self.dest.parent() {
            sync(parent).map_err(io_error)?;
        }
        Ok(BareRepo { path: self.dest.clone(), ..self.repo.clone() })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After `publish` there is nothing under this name; before it the error that led here is the one to tell.
        drop(fs::remove_dir_all(&self.repo.path));
        if let Some(drafts) = self.repo.path.parent() {
            drop(fs::remove_dir(drafts));
        }
    }
}

/// Whether there is something like a repository at the path.
fn looks_like_one(path: &Path) -> bool {
    path.is_absolute() && path.join("objects").is_dir() && path.join("HEAD").is_file()
}

/// Makes a new folder with a name of its own in `parent`, which is made too if it is missing.
fn private_dir(parent: &Path) -> io::Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        // Another draft's end removes the empty parent; making it again each time is what wins that race.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        let path = parent.join(format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether a file is a lock or a half-written pack of a git command.
fn is_left_over(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.ends_with(b".lock") || name.starts_with(b"tmp_")
}

/// Lock files below a folder of refs.
fn ref_locks(top: &Path) -> Result<Vec<PathBuf>, RecoverError> {
    let mut locks = Vec::new();
    let mut open = vec![(top.to_owned(), 0)];
    while let Some((dir, depth)) = open.pop() {
        for path in read_dir(&dir)? {
            if path.is_dir() && depth < REF_DEPTH_MAX {
                open.push((path, depth + 1));
            } else if is_left_over(&path) {
                locks.push(path);
            }
        }
    }
    Ok(locks)
}

/// Paths in a folder; none if it does not exist.
fn read_dir(dir: &Path) -> Result<Vec<PathBuf>, RecoverError> {
    let error = |source| RecoverError { path: dir.to_owned(), source };
    match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path()).map_err(error)).collect(),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(error(source)),
    }
}

/// Writes a folder's entries, or a file's content, to disk.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Writes a folder and everything in it to disk. The folder is the daemon's own and holds no links.
fn sync_tree(top: &Path) -> io::Result<()> {
    let mut open = vec![top.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() { open.push(entry.path()) } else { sync(&entry.path())? }
        }
        sync(&dir)?;
    }
    Ok(())
}

/// The commit in an answer of git.
pub(super) fn commit_in(answer: &str) -> Option<CommitId> {
    CommitId::parse(answer.trim()).ok()
}
