//! The directories of one run: opened where the host can be seen, attached inside.
//!
//! Between the two they are detached mounts, which no path leads to, so nobody can swap what lies at a path in between.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::build::{BuildError, Source, mount_entries, open_bind, text};
use super::overlay::{self, Merged};
use super::plan::{Access, Entry, own_mounts, relative};
use crate::spec::{CheckedSpec, OUT_INSIDE, Shape};
use crate::sys::mounts;

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
        let workspace = self.open_workspace()?;
        let mut roots = vec![workspace.root];
        let out = match &self.out {
            None => None,
            Some(out) => {
                let opened = open_directory("mount-out", out)?;
                roots.push(opened.root);
                Some(opened.tree)
            }
        };
        Ok(Trees { workspace: workspace.tree, out, roots })
    }

    fn open_workspace(&self) -> Result<Opened, BuildError> {
        const STEP: &str = "mount-workspace";
        let Some(layers) = &self.base else {
            return open_directory(STEP, &self.workspace);
        };
        let Merged { tree, upper } = overlay::mount(layers, &self.workspace).map_err(|failure| {
            BuildError::Overlay { step: STEP.to_owned(), path: failure.path, errno: failure.errno }
        })?;
        let root = readable(&upper).map_err(|errno| unreadable(STEP, &self.workspace, errno))?;
        Ok(Opened { tree, root })
    }
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
        attach(root, "mount-workspace", &shape.workspace_at, &self.workspace)?;
        match &self.out {
            Some(out) => attach(root, "mount-out", Path::new(OUT_INSIDE), out),
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
