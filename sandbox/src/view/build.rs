//! Makes the planned file system, and moves a process into it.
//!
//! Order: open every source in the old view, attach an empty root, fill it through its descriptor; whoever wants to live
//! there pivots, drops the old view and seals the root. **Invariant:** after [`enter`] no mount of the old view is
//! reachable.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::libc;
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};
use nix::unistd::{chdir, fchdir, pivot_root, symlinkat};

use super::plan::{Access, Entry, Kind, Node, relative};
use crate::sys::mounts;

/// Where the new root is attached before the pivot; any directory will do, the first that exists is taken.
const STAGING: [&CStr; 3] = [c"/tmp", c"/mnt", c"/usr"];
/// The root holds a few small files and directories.
const ROOT_SIZE: &CStr = c"1m";
/// Failure to build the view. Display names what could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error("failed to open `{}`", path.display())]
    OpenSource { step: String, path: PathBuf, errno: Errno },
    #[error("failed to clone the mount of `{}`", path.display())]
    CloneSource { step: String, path: PathBuf, errno: Errno },
    #[error("failed to merge `{}` into the workspace", path.display())]
    Overlay { step: String, path: PathBuf, errno: Errno },
    #[error("`{}` is not a directory", path.display())]
    NotADirectory { step: String, path: PathBuf },
    #[error("failed to make the root")]
    Root { errno: Errno },
    #[error("failed to make `{}`", path.display())]
    Make { step: String, path: PathBuf, errno: Errno },
    #[error("failed to mount `{}`", path.display())]
    Mount { step: String, path: PathBuf, errno: Errno },
    #[error("failed to set `{setting}`")]
    Setting { setting: &'static str, errno: Errno },
    #[error("failed to move into the new root")]
    Pivot { errno: Errno },
    #[error("failed to drop the old root")]
    DropOld { errno: Errno },
    #[error("failed to seal the root")]
    Seal { errno: Errno },
}

impl BuildError {
    /// The part of the construction, for the exit record.
    pub(crate) fn step(&self) -> &str {
        match self {
            Self::OpenSource { step, .. }
            | Self::CloneSource { step, .. }
            | Self::Overlay { step, .. }
            | Self::NotADirectory { step, .. }
            | Self::Make { step, .. }
            | Self::Mount { step, .. } => step,
            Self::Root { .. } => "make-root",
            Self::Setting { .. } => "namespace-settings",
            Self::Pivot { .. } => "pivot",
            Self::DropOld { .. } => "drop-old-root",
            Self::Seal { .. } => "seal-root",
        }
    }

    /// The cause, if it is a refused call.
    pub(crate) fn errno(&self) -> Option<Errno> {
        match self {
            Self::NotADirectory { .. } => None,
            Self::OpenSource { errno, .. }
            | Self::CloneSource { errno, .. }
            | Self::Overlay { errno, .. }
            | Self::Make { errno, .. }
            | Self::Mount { errno, .. }
            | Self::Root { errno }
            | Self::Setting { errno, .. }
            | Self::Pivot { errno }
            | Self::DropOld { errno }
            | Self::Seal { errno } => Some(*errno),
        }
    }
}

/// Who the run's user is on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostUser {
    /// Root, who owns kernel settings in any namespace.
    Root,
    /// Anybody else.
    Ordinary,
}

/// Attaches an empty root in this process's mount namespace and fills it with `entries`.
pub(crate) fn build(entries: &[Entry]) -> Result<OwnedFd, BuildError> {
    let sources = entries.iter().map(open_source).collect::<Result<Vec<_>, _>>()?;
    let root = attach_root().map_err(|errno| BuildError::Root { errno })?;
    let mut made = BTreeSet::new();
    for (entry, source) in entries.iter().zip(sources) {
        make_parents(&root, &entry.path, &mut made).map_err(|errno| BuildError::Make {
            step: entry.step.clone(),
            path: entry.path.clone(),
            errno,
        })?;
        match source {
            Some(source) => mount_source(&root, entry, &source)?,
            None => make(&root, entry)?,
        }
    }
    Ok(root)
}

/// Mounts `entries` below file systems that are there already.
pub(super) fn mount_entries(root: &OwnedFd, entries: &[Entry], sources: &[Source]) -> Result<(), BuildError> {
    let mut made = BTreeSet::new();
    entries.iter().zip(sources).try_for_each(|(entry, source)| {
        make_parents(root, &entry.path, &mut made).map_err(|errno| BuildError::Make {
            step: entry.step.clone(),
            path: entry.path.clone(),
            errno,
        })?;
        mount_source(root, entry, source)
    })
}

/// A host path that is ready to be mounted.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) tree: OwnedFd,
    is_dir: bool,
}

pub(super) fn open_source(entry: &Entry) -> Result<Option<Source>, BuildError> {
    match &entry.node {
        Node::Bind { source, access } => open_bind(&entry.step, source, *access).map(Some),
        Node::System { source, kind } => open_system(&entry.step, source, *kind).map(Some),
        Node::Directory | Node::File { .. } | Node::Symlink { .. } => Ok(None),
    }
}

/// Clones the mount at a path of the host's own system, detached. Nobody but root can have changed what lies there.
fn open_system(step: &str, source: &Path, kind: Kind) -> Result<Source, BuildError> {
    let attributes = match kind {
        Kind::Directory | Kind::File => mounts::RDONLY | mounts::NOSUID | mounts::NODEV,
        // What is written to a device is no write to the file system; its mode and owner are. For a run of root it is
        // the host's own node, which belongs to the run's user.
        Kind::Device => mounts::RDONLY | mounts::NOSUID | mounts::NOEXEC,
    };
    let cloned = mounts::clone_tree_at(&text(source))
        .and_then(|tree| mounts::set_attributes(tree.as_fd(), attributes).map(|()| tree));
    match cloned {
        Ok(tree) => Ok(Source { tree, is_dir: kind == Kind::Directory }),
        Err(errno) => Err(BuildError::CloneSource { step: step.to_owned(), path: source.to_owned(), errno }),
    }
}

/// Clones the mount at `source`, detached, with the attributes that `access` means.
pub(super) fn open_bind(step: &str, source: &Path, access: Access) -> Result<Source, BuildError> {
    let (step, path) = (step.to_owned(), source.to_owned());
    let fd = match open_plain(source) {
        Ok(fd) => fd,
        Err(errno) => return Err(BuildError::OpenSource { step, path, errno }),
    };
    let is_dir = match fstat(&fd) {
        Ok(stat) => SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR,
        Err(errno) => return Err(BuildError::OpenSource { step, path, errno }),
    };
    if access == Access::Writable && !is_dir {
        return Err(BuildError::NotADirectory { step, path });
    }
    let attributes = match access {
        Access::ReadOnly => mounts::RDONLY | mounts::NOSUID | mounts::NODEV,
        Access::Writable => mounts::NOSUID | mounts::NODEV,
    };
    let cloned =
        mounts::clone_tree(fd.as_fd()).and_then(|tree| mounts::set_attributes(tree.as_fd(), attributes).map(|()| tree));
    match cloned {
        Ok(tree) => Ok(Source { tree, is_dir }),
        Err(errno) => Err(BuildError::CloneSource { step, path, errno }),
    }
}

/// Opens a path of the host's view of which no part is a symlink.
pub(super) fn open_plain(path: &Path) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(AT_FDCWD, path, how)
}

/// Attaches an empty root file system over a directory of the old view and returns it by descriptor.
fn attach_root() -> Result<OwnedFd, Errno> {
    let options: [(&CStr, &CStr); 2] = [(c"mode", c"755"), (c"size", ROOT_SIZE)];
    let root = mounts::new_filesystem(c"tmpfs", &options, mounts::NOSUID | mounts::NODEV)?;
    let mut last = Errno::ENOENT;
    for place in STAGING {
        match mounts::attach(root.as_fd(), libc::AT_FDCWD, place) {
            Ok(()) => return Ok(root),
            Err(errno) => last = errno,
        }
    }
    Err(last)
}

fn mount_source(root: &OwnedFd, entry: &Entry, source: &Source) -> Result<(), BuildError> {
    let made = if source.is_dir { make_directory(root, &entry.path) } else { make_file(root, &entry.path, b"") };
    made.map_err(|errno| BuildError::Make { step: entry.step.clone(), path: entry.path.clone(), errno })?;
    attach(root, entry, source.tree.as_fd())
}

fn make(root: &OwnedFd, entry: &Entry) -> Result<(), BuildError> {
    let path = &entry.path;
    let failed = |errno| BuildError::Make { step: entry.step.clone(), path: path.clone(), errno };
    match &entry.node {
        Node::Directory => make_directory(root, path).map_err(failed),
        Node::File { content } => make_file(root, path, content).map_err(failed),
        Node::Symlink { target } => symlinkat(target, root, relative(path)).map_err(failed),
        Node::Bind { .. } | Node::System { .. } => unreachable!("a bind has a source"),
    }
}

fn attach(root: &OwnedFd, entry: &Entry, mount: BorrowedFd<'_>) -> Result<(), BuildError> {
    mounts::attach(mount, root.as_raw_fd(), &text(relative(&entry.path))).map_err(|errno| BuildError::Mount {
        step: entry.step.clone(),
        path: entry.path.clone(),
        errno,
    })
}

/// Makes the directories above `path` that are not in `made`.
fn make_parents<'a>(root: &OwnedFd, path: &'a Path, made: &mut BTreeSet<&'a Path>) -> Result<(), Errno> {
    let parents = relative(path).ancestors().skip(1);
    let mut missing: Vec<&Path> =
        parents.take_while(|parent| *parent != Path::new("") && !made.contains(parent)).collect();
    missing.reverse();
    for parent in missing {
        mkdir_if_missing(root, parent)?;
        made.insert(parent);
    }
    Ok(())
}

fn make_directory(root: &OwnedFd, path: &Path) -> Result<(), Errno> {
    mkdir_if_missing(root, relative(path))
}

fn mkdir_if_missing(root: &OwnedFd, path: &Path) -> Result<(), Errno> {
    match mkdirat(root, path, Mode::from_bits_truncate(0o755)) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

pub(super) fn make_file(root: &OwnedFd, path: &Path, content: &[u8]) -> Result<(), Errno> {
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let file = openat(root, relative(path), flags, Mode::from_bits_truncate(0o444))?;
    File::from(file).write_all(content).map_err(|error| errno_of(&error))
}

/// Opens the root of this process.
pub(crate) fn open_root() -> Result<OwnedFd, BuildError> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open("/", flags, Mode::empty()).map_err(|errno| BuildError::Root { errno })
}

/// Mounts this process's `/proc` in `root`: a kernel lets only those mount a new one who see a whole one already.
pub(crate) fn keep_proc(root: &OwnedFd) -> Result<(), BuildError> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let cloned = open("/proc", flags, Mode::empty()).and_then(|proc| mounts::clone_tree(proc.as_fd()));
    cloned.and_then(|proc| mounts::attach(proc.as_fd(), root.as_raw_fd(), c"proc")).map_err(|errno| BuildError::Mount {
        step: "mount-proc".to_owned(),
        path: "/proc".into(),
        errno,
    })
}

/// Makes `root` the root of this process, drops the old one and lets nobody change the new one.
pub(crate) fn enter(root: &OwnedFd) -> Result<(), BuildError> {
    let pivot = |errno| BuildError::Pivot { errno };
    fchdir(root).map_err(pivot)?;
    // The old root is stacked on the new one, where the next call takes it off: no directory is needed for it.
    pivot_root(".", ".").map_err(pivot)?;
    umount2(".", MntFlags::MNT_DETACH).map_err(|errno| BuildError::DropOld { errno })?;
    chdir("/").map_err(pivot)?;
    mounts::set_attributes_at(c"/", mounts::RDONLY).map_err(|errno| BuildError::Seal { errno })
}

pub(super) fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// A terminated copy of a path that has been checked to contain no NUL.
pub(super) fn text(path: &(impl AsRef<std::ffi::OsStr> + ?Sized)) -> CString {
    CString::new(path.as_ref().as_bytes()).expect("paths of a checked spec have no NUL")
}
