//! Import of an existing repository of anybody: planned here, read in the sandbox, taken in here.
//!
//! The source is hostile. On the host it is only looked at as files; every git command that reads it is in
//! `import.sh`, which the caller runs in the sandbox with the source mounted read-only. What comes back is a bundle.
//! Branches and tags are taken, other refs, uncommitted work, hooks and configuration are not.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::bare::{BareRepo, CreateError, Draft};
use super::bundle::{Bundle, IngestError, IngestLimits, Strictness, read_small, shown};
use super::call::CallError;
use super::hardened::Hardened;
use super::inspect::ReadError;
use super::name::{CommitId, RefName};
use super::path::{RepoPath, escape};
use super::refs::RefError;
use super::workspace::argv;

const SCRIPT: &str = include_str!("import.sh");
/// Longest file of the import script that is read, in bytes.
const REPORT_BYTES_MAX: u64 = 16 << 10;
/// Most refs that are named one by one as left out.
const DROPPED_SHOWN_MAX: usize = 20;

/// Why a path cannot be imported, found without running git on it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportPlanError {
    /// Nothing is there.
    #[error("`{}` does not exist", path.display())]
    NoSuchPath { path: PathBuf },
    /// It cannot be looked at.
    #[error("failed to look at `{}`", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// It is a file, or a folder that is no repository. `inside` is the repository that it lies in, if any.
    #[error("`{}` is not a git repository", path.display())]
    NotARepository { path: PathBuf, inside: Option<PathBuf> },
    /// Its git directory is elsewhere: a linked worktree, a submodule or a link. What that names is not followed.
    #[error("git directory of `{}` is elsewhere", path.display())]
    GitDirElsewhere { path: PathBuf },
}

impl ImportPlanError {
    /// The next step for a person.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoSuchPath { .. } => Some("give a path on the machine of the daemon".to_owned()),
            Self::Io { .. } => Some("let the daemon's user read the repository".to_owned()),
            Self::NotARepository { inside: Some(top), .. } => {
                Some(format!("import its repository: `{}`", top.display()))
            }
            Self::NotARepository { path, inside: None } => {
                Some(format!("run `git init` and `git commit` in `{}` first", path.display()))
            }
            Self::GitDirElsewhere { path } => {
                Some(format!("import the main repository, or a copy: `git clone --bare {} COPY`", path.display()))
            }
        }
    }
}

/// An import that can be run: what to mount and what to execute in the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportPlan {
    source: PathBuf,
}

impl ImportPlan {
    /// Looks at the path as files.
    ///
    /// # Errors
    /// [`ImportPlanError`] if it is not a repository that can be mounted whole.
    pub fn new(path: &Path) -> Result<Self, ImportPlanError> {
        let io_error = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                ImportPlanError::NoSuchPath { path: path.to_owned() }
            }
            _ => ImportPlanError::Io { path: path.to_owned(), source },
        };
        let source = fs::canonicalize(path).map_err(io_error)?;
        match fs::symlink_metadata(source.join(".git")) {
            Ok(dot_git) if dot_git.is_dir() => return Ok(Self { source }),
            Ok(_) => return Err(ImportPlanError::GitDirElsewhere { path: source }),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(io_error(error)),
            Err(_) => {}
        }
        let bare = ["objects", "refs"].iter().all(|part| source.join(part).is_dir()) && source.join("HEAD").exists();
        if bare {
            return Ok(Self { source });
        }
        let inside = source.ancestors().skip(1).find(|dir| dir.join(".git").exists()).map(Path::to_owned);
        Err(ImportPlanError::NotARepository { path: source, inside })
    }

    /// What to mount read-only: the source, without links on the way.
    #[must_use]
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// What to execute, with the paths inside the sandbox of the source and of the folder for results.
    #[must_use]
    pub fn argv(&self, source_at: &Path, out_at: &Path) -> Vec<String> {
        argv(SCRIPT, "orch-import", [source_at.display().to_string(), out_at.display().to_string()])
    }
}

/// Why an import was refused. Nothing is left at the destination.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The script did not finish: its own log has the reason.
    #[error("import did not finish in the sandbox")]
    Unfinished(#[source] IngestError),
    /// Git cannot read the source; the text is git's, escaped.
    #[error("git cannot read the source: {why}")]
    Unusable { why: String },
    /// History is cut off.
    #[error("source is a shallow clone")]
    Shallow,
    /// Objects are left at a remote.
    #[error("source is a partial clone")]
    Partial,
    /// Objects are in another repository, which is not followed.
    #[error("source borrows objects from another repository")]
    Borrowed,
    /// What the script wrote is not one of its answers.
    #[error("unexpected answer of the import: `{0}`")]
    Answer(String),
    /// The bundle was refused.
    #[error("repository is refused")]
    Ingest(#[from] IngestError),
    /// The new repository could not be made.
    #[error("failed to make the repository")]
    Create(#[from] CreateError),
    /// Branches and tags could not be set.
    #[error("failed to set branches and tags")]
    Refs(#[source] CallError),
    /// The new repository could not be read.
    #[error("failed to read the new repository")]
    Head(#[from] RefError),
}

impl ImportError {
    /// The next step for a person.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Shallow => Some("run `git fetch --unshallow` in the source"),
            Self::Partial => Some("import a full clone: `git clone` without `--filter`"),
            Self::Borrowed => Some("run `git repack -a -d && rm .git/objects/info/alternates` in the source"),
            Self::Unusable { .. } => Some("run `git fsck` in the source"),
            Self::Ingest(IngestError::Objects(_)) => {
                Some("the history holds objects that git calls unsafe; see `git fsck`")
            }
            _ => None,
        }
    }
}

/// A finished import.
#[derive(Debug)]
pub struct Imported {
    /// The new repository.
    pub repo: BareRepo,
    /// Its default branch.
    pub default_branch: RefName,
    /// The commit there; `None` for a source without commits.
    pub head: Option<CommitId>,
    /// Number of branches.
    pub branches: usize,
    /// Number of tags.
    pub tags: usize,
    /// Bytes of the bundle.
    pub size_bytes: u64,
    /// What a person should know.
    pub notes: Vec<ImportNote>,
}

/// Something about an import that a person should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportNote {
    /// Uncommitted work was not taken.
    Uncommitted,
    /// The source has no commit.
    Empty,
    /// The source's HEAD named no branch that exists; this one was chosen.
    DefaultBranchChosen(RefName),
    /// The source's HEAD was a commit on no branch; this branch was made for it.
    BranchForDetachedHead(RefName),
    /// Refs with unacceptable names were left out: some names, escaped, and the number of all.
    RefsLeftOut { names: Vec<String>, count: usize },
    /// Submodules are named, their content was not taken.
    Submodules,
    /// Files kept in large-file storage are pointers here.
    LargeFilePointers,
}

impl std::fmt::Display for ImportNote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uncommitted => f.write_str("uncommitted changes of the source were not taken"),
            Self::Empty => f.write_str("the source has no commit"),
            Self::DefaultBranchChosen(name) => {
                write!(f, "the source names no default branch that exists; `{}` is it now", name.short())
            }
            Self::BranchForDetachedHead(name) => {
                write!(f, "the source's HEAD was detached; branch `{}` was made for it", name.short())
            }
            Self::RefsLeftOut { names, count } => {
                write!(f, "{count} refs were left out because of their names: {}", names.join(", "))
            }
            Self::Submodules => f.write_str("submodules were not taken"),
            Self::LargeFilePointers => f.write_str("files in large-file storage are pointers here"),
        }
    }
}

impl BareRepo {
    /// Makes a repository at `dest` from what the import script left in `out`, all of it or nothing.
    ///
    /// # Errors
    /// [`ImportError`] with what is wrong with the source, or what failed.
    pub fn finish_import(
        git: &Hardened,
        out: &Path,
        dest: &Path,
        limits: &IngestLimits,
    ) -> Result<Imported, ImportError> {
        let source = Source::read(out)?;
        let mut notes = Vec::new();
        if source.dirty {
            notes.push(ImportNote::Uncommitted);
        }
        if source.empty {
            notes.push(ImportNote::Empty);
            let default_branch = source.head.unwrap_or_else(main_branch);
            let repo = Self::create(git, dest, &default_branch)?;
            return Ok(Imported { repo, default_branch, head: None, branches: 0, tags: 0, size_bytes: 0, notes });
        }
        let bundle = Bundle::open(&out.join("import.bundle"), limits)?;
        if let Some(missing) = bundle.prerequisites.first() {
            return Err(IngestError::Prerequisite(missing.clone()).into());
        }
        let refs = Refs::of(&bundle, source.head, &mut notes);
        let (format, size_bytes) = (bundle.format, bundle.size);
        let draft = Draft::create(git, dest, &refs.default_branch, format)?;
        bundle.unpack(&draft.repo, limits, Strictness::History)?.admit().map_err(IngestError::Store)?;
        let commands: String = refs.kept.iter().map(|(name, id)| format!("create {name} {id}\n")).collect();
        draft
            .repo
            .call("update-ref")
            .arg("--stdin")
            .input(commands.into_bytes())
            .output()
            .map_err(ImportError::Refs)?;
        let repo = draft.publish()?;
        let head = repo.head(&refs.default_branch)?;
        if let Some(head) = &head {
            notes.extend(content_notes(&repo, head));
        }
        let branches = refs.kept.iter().filter(|(name, _)| name.is_branch()).count();
        let tags = refs.kept.len() - branches;
        Ok(Imported { repo, default_branch: refs.default_branch, head, branches, tags, size_bytes, notes })
    }
}

/// What the import script says about the source. Written inside the sandbox: good for messages and for a branch name.
struct Source {
    empty: bool,
    dirty: bool,
    head: Option<RefName>,
}

impl Source {
    /// Reads the script's report; the states that are a reason to refuse are errors.
    fn read(out: &Path) -> Result<Self, ImportError> {
        let report = read_small(&out.join("import.txt"), REPORT_BYTES_MAX).map_err(ImportError::Unfinished)?;
        let field = |name: &str| report.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let empty = match field("state").unwrap_or_default() {
            "ok" => false,
            "empty" => true,
            "shallow" => return Err(ImportError::Shallow),
            "partial" => return Err(ImportError::Partial),
            "borrowed" => return Err(ImportError::Borrowed),
            "unusable" => {
                let stderr = read_small(&out.join("import.err"), REPORT_BYTES_MAX).unwrap_or_default();
                let lines: Vec<_> = stderr.lines().take(4).map(|line| escape(line.as_bytes())).collect();
                return Err(ImportError::Unusable { why: lines.join("; ") });
            }
            other => return Err(ImportError::Answer(other.chars().take(40).flat_map(char::escape_default).collect())),
        };
        let head = field("head").and_then(|name| RefName::parse(name).ok()).filter(RefName::is_branch);
        Ok(Self { empty, dirty: field("dirty") == Some("yes"), head })
    }
}

/// The refs that are taken, and which of them is the default branch.
struct Refs {
    kept: Vec<(RefName, CommitId)>,
    default_branch: RefName,
}

impl Refs {
    fn of(bundle: &Bundle, head: Option<RefName>, notes: &mut Vec<ImportNote>) -> Self {
        let (mut kept, mut dropped, mut head_id) = (Vec::new(), Vec::new(), None);
        for (raw, id) in &bundle.refs {
            if raw == b"HEAD" {
                head_id = Some(id.clone());
                continue;
            }
            let name = std::str::from_utf8(raw).ok().and_then(|name| RefName::parse(name).ok());
            match name.filter(|name| name.is_branch() || name.is_tag()) {
                Some(name) => kept.push((name, id.clone())),
                None => dropped.push(shown(raw)),
            }
        }
        if !dropped.is_empty() {
            let count = dropped.len();
            dropped.truncate(DROPPED_SHOWN_MAX);
            notes.push(ImportNote::RefsLeftOut { names: dropped, count });
        }
        let has = |name: &RefName| kept.iter().any(|(kept, _)| kept == name);
        if let Some(default_branch) = head.clone().filter(has) {
            return Self { kept, default_branch };
        }
        let usual =
            ["main", "master"].map(|short| RefName::branch(short).expect("`main` and `master` are branch names"));
        let chosen = usual
            .into_iter()
            .find(has)
            .or_else(|| kept.iter().find(|(name, _)| name.is_branch()).map(|(n, _)| n.clone()));
        match (chosen, head_id) {
            (Some(default_branch), _) => {
                notes.push(ImportNote::DefaultBranchChosen(default_branch.clone()));
                Self { kept, default_branch }
            }
            (None, Some(id)) => {
                let default_branch = main_branch();
                notes.push(ImportNote::BranchForDetachedHead(default_branch.clone()));
                kept.push((default_branch.clone(), id));
                Self { kept, default_branch }
            }
            (None, None) => Self { kept, default_branch: head.unwrap_or_else(main_branch) },
        }
    }
}

fn main_branch() -> RefName {
    RefName::branch("main").expect("`main` is a branch name")
}

/// Notes about what the default branch holds. Unreadable files are no reason to refuse: they say nothing.
fn content_notes(repo: &BareRepo, head: &CommitId) -> Vec<ImportNote> {
    let read = |name: &[u8]| -> Result<Vec<u8>, ReadError> { repo.read_blob(head, &RepoPath::parse(name)?, 1 << 20) };
    let submodules = read(b".gitmodules").is_ok().then_some(ImportNote::Submodules);
    let attributes = read(b".gitattributes").unwrap_or_default();
    let pointers = String::from_utf8_lossy(&attributes).contains("filter=lfs").then_some(ImportNote::LargeFilePointers);
    submodules.into_iter().chain(pointers).collect()
}
