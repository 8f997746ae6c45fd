//! The directories of one run: opened where the host can be seen, attached inside.
//!
//! Between the two they are detached mounts, which no path leads to, so nobody can swap what lies at a path in between.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::build::{BuildError, Source, mount_entries, open_bind, open_plain, text};
use super::overlay::{self, Own};
use super::plan::{Access, Entry, own_mounts, relative};
use crate::spec::{CheckedSpec, OUT_INSIDE, Shape};
use crate::sys::mounts;

const WORKSPACE_STEP: &str = "mount-workspace";
const OUT_STEP: &str = "mount-out";

/// Where the directories of a run are on the host.
#[derive(Debug, Clone)]
pub(crate) struct Directories {
    workspace: PathBuf,
    /// What the workspace starts as, the first on top; without any it is its own files.
    base: Option<Vec<PathBuf>>,
    out: Option<PathBuf>,
}

impl Directories {
    /// Those of `spec`.
    pub(crate) fn of(spec: &CheckedSpec) -> Self {
        Self { workspace: spec.workspace.clone(), base: spec.workspace_base.clone(), out: spec.out.clone() }
    }

    /// Opens them in this process's view.
    pub(crate) fn open(&self) -> Result<Trees, BuildError> {
        match &self.base {
            Some(layers) => {
                let own = overlay::prepare(&self.workspace).map_err(not_merged)?;
                let tree = overlay::mount(layers, &self.workspace, &own).map_err(not_merged)?;
                self.trees(tree, self.roots_of(&own)?)
            }
            None => {
                let Opened { tree, root } = open_directory(WORKSPACE_STEP, &self.workspace)?;
                self.trees(tree, vec![root])
            }
        }
    }

    /// Makes what is missing, and opens what is counted: the one view knows that, and another one takes the mounts by
    /// [`open_prepared`](Self::open_prepared).
    pub(crate) fn prepare(&self) -> Result<Vec<OwnedFd>, BuildError> {
        let mut roots = match &self.base {
            Some(_) => self.roots_of(&overlay::prepare(&self.workspace).map_err(not_merged)?)?,
            None => vec![open_root(WORKSPACE_STEP, &self.workspace)?],
        };
        roots.extend(self.out.as_ref().map(|out| open_root(OUT_STEP, out)).transpose()?);
        Ok(roots)
    }

    /// Opens them in this process's view, when everything is made. What is counted is left to others.
    pub(crate) fn open_prepared(&self) -> Result<Trees, BuildError> {
        let tree = match &self.base {
            Some(layers) => {
                let own = overlay::find(&self.workspace).map_err(not_merged)?;
                overlay::mount(layers, &self.workspace, &own).map_err(not_merged)?
            }
            None => open_directory(WORKSPACE_STEP, &self.workspace)?.tree,
        };
        Ok(Trees { roots: Vec::new(), ..self.trees(tree, Vec::new())? })
    }

    /// With the directory for results, if there is one.
    fn trees(&self, workspace: OwnedFd, mut roots: Vec<OwnedFd>) -> Result<Trees, BuildError> {
        let out = self.out.as_ref().map(|out| open_directory(OUT_STEP, out)).transpose()?;
        let out = out.map(|Opened { tree, root }| {
            roots.push(root);
            tree
        });
        Ok(Trees { workspace, out, roots })
    }

    /// What is counted of a merged workspace, the run's own directory first.
    fn roots_of(&self, own: &Own) -> Result<Vec<OwnedFd>, BuildError> {
        let readable = |dir| readable(dir).map_err(|errno| unreadable(WORKSPACE_STEP, &self.workspace, errno));
        Ok(vec![readable(&own.upper)?, readable(&own.work)?])
    }
}

fn not_merged(failure: overlay::Failure) -> BuildError {
    BuildError::Overlay { step: WORKSPACE_STEP.to_owned(), path: failure.path, errno: failure.errno }
}

/// A directory as a mount, and where what the run adds to it is counted.
struct Opened {
    tree: OwnedFd,
    root: OwnedFd,
}

fn open_directory(step: &str, path: &Path) -> Result<Opened, BuildError> {
    let tree = open_bind(step, path, Access::Writable)?.tree;
    let root = readable(&tree).map_err(|errno| unreadable(step, path, errno))?;
    Ok(Opened { tree, root })
}

/// Opens a directory for whoever counts it, as it will be mounted: not by way of a link.
fn open_root(step: &str, path: &Path) -> Result<OwnedFd, BuildError> {
    match open_plain(path).and_then(|dir| readable(&dir)) {
        Err(Errno::ENOTDIR) => Err(BuildError::NotADirectory { step: step.to_owned(), path: path.to_owned() }),
        opened => opened.map_err(|errno| unreadable(step, path, errno)),
    }
}

fn unreadable(step: &str, path: &Path, errno: Errno) -> BuildError {
    BuildError::OpenSource { step: step.to_owned(), path: path.to_owned(), errno }
}

/// The directories of one run as detached mounts.
#[derive(Debug)]
pub(crate) struct Trees {
    workspace: OwnedFd,
    out: Option<OwnedFd>,
    /// The directories whose space is the run's, for whoever counts it.
    roots: Vec<OwnedFd>,
}

impl Trees {
    /// The descriptors that init needs, for a message.
    pub(crate) fn mounts(&self) -> Vec<std::os::fd::BorrowedFd<'_>> {
        std::iter::once(&self.workspace).chain(&self.out).map(std::os::fd::AsFd::as_fd).collect()
    }

    /// All descriptors, for a message.
    pub(crate) fn descriptors(&self) -> Vec<std::os::fd::BorrowedFd<'_>> {
        let mut all = self.mounts();
        all.extend(self.roots.iter().map(std::os::fd::AsFd::as_fd));
        all
    }

    /// The directories whose space is the run's.
    pub(crate) fn take_roots(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.roots)
    }

    /// From the descriptors of a message for a run of `shape`.
    pub(crate) fn from_descriptors(descriptors: Vec<OwnedFd>, shape: &Shape) -> Result<Self, Errno> {
        let mut descriptors = descriptors.into_iter();
        let workspace = descriptors.next().ok_or(Errno::EPROTO)?;
        let out = shape.has_out.then(|| descriptors.next().ok_or(Errno::EPROTO)).transpose()?;
        Ok(Self { workspace, out, roots: descriptors.collect() })
    }

    /// Attaches them in `root`, which has a directory for each.
    pub(crate) fn attach(&self, root: &OwnedFd, shape: &Shape) -> Result<(), BuildError> {
        attach(root, WORKSPACE_STEP, &shape.workspace_at, &self.workspace)?;
        match &self.out {
            Some(out) => attach(root, OUT_STEP, Path::new(OUT_INSIDE), out),
            None => Ok(()),
        }
    }
}

/// Further read-only mounts that lie in file systems of the run's own, as detached mounts.
#[derive(Debug)]
pub(crate) struct OwnMounts {
    entries: Vec<Entry>,
    sources: Vec<Source>,
}

impl OwnMounts {
    /// Opens those of `shape` in this process's view.
    pub(crate) fn open(shape: &Shape) -> Result<Self, BuildError> {
        let entries = own_mounts(shape);
        let open = |entry: &Entry| super::build::open_source(entry).transpose();
        let sources = entries.iter().filter_map(open).collect::<Result<_, _>>()?;
        Ok(Self { entries, sources })
    }

    /// Attaches them in `root`, whose file systems for the run are mounted.
    pub(crate) fn attach(&self, root: &OwnedFd) -> Result<(), BuildError> {
        mount_entries(root, &self.entries, &self.sources)
    }

    /// The descriptors, so that they can be kept open.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = std::os::fd::BorrowedFd<'_>> {
        self.sources.iter().map(|source| source.tree.as_fd())
    }
}

fn readable(tree: &OwnedFd) -> Result<OwnedFd, Errno> {
    openat(tree, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

fn attach(root: &OwnedFd, step: &str, path: &Path, tree: &OwnedFd) -> Result<(), BuildError> {
    mounts::attach(tree.as_fd(), root.as_raw_fd(), &text(relative(path))).map_err(|errno| BuildError::Mount {
        step: step.to_owned(),
        path: path.to_owned(),
        errno,
    })
}
