//! Makes the planned file system and moves this process into it.
//!
//! Runs in new user, mount and pid namespaces with all capabilities of them. Order: open every source in the old view,
//! attach an empty root, fill it through its descriptor, write the kernel settings of the new namespaces, pivot, drop
//! the old view, seal the root. **Invariant:** after `Ok` no mount of the host's view is reachable.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};
use nix::unistd::{chdir, fchdir, pivot_root, symlinkat};

use super::overlay;
use super::plan::{Access, Entry, Node, relative};
use crate::sys::mounts;

/// Where the new root is attached before the pivot; any directory will do, the first that exists is taken.
const STAGING: [&CStr; 3] = [c"/tmp", c"/mnt", c"/usr"];
/// The root holds a few small files and directories.
const ROOT_SIZE: &CStr = c"1m";
/// Files of `/proc` that show the whole machine and that the user id behind a run of root could read.
const PROC_SECRETS: [&str; 8] =
    ["kcore", "keys", "kmsg", "kpagecgroup", "kpagecount", "kpageflags", "slabinfo", "timer_list"];
/// Most pseudo terminals of a run. All runs together have what the host does not keep for itself.
const TERMINALS_MAX: &CStr = c"64";
/// Limits of the new user namespace. What is watched counts for the user on the host as well, so without a bound of its
/// own a run could leave nothing to the daemon and to other runs.
const USER_LIMITS: [(&str, &str); 3] = [
    ("proc/sys/user/max_user_namespaces", "0"),
    ("proc/sys/user/max_inotify_instances", "16"),
    ("proc/sys/user/max_inotify_watches", "8192"),
];
/// Inodes of a tmpfs for each of its bytes: one per 4 KiB, as the kernel itself sizes them, and never below 1024.
const BYTES_PER_INODE: u64 = 4096;

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
    #[error("failed to cut the mounts off from those of the host")]
    Private { errno: Errno },
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
            Self::Private { .. } => "private-mounts",
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
            | Self::Private { errno }
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

/// What the new namespaces are set to.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Bound of the pid namespace, where the kernel has one.
    pub(crate) pids_max: u64,
    /// Who the run's user is on the host.
    pub(crate) host_user: HostUser,
}

/// Builds `entries` and makes them this process's whole world.
pub(crate) fn build(entries: &[Entry], settings: &Settings) -> Result<(), BuildError> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(|errno| BuildError::Private { errno })?;
    let sources = entries.iter().map(open_source).collect::<Result<Vec<_>, _>>()?;
    let root = attach_root().map_err(|errno| BuildError::Root { errno })?;
    for (entry, source) in entries.iter().zip(sources) {
        match source {
            Some(source) => mount_source(&root, entry, &source)?,
            None => make(&root, entry, settings)?,
        }
    }
    enter(&root)
}

/// A host path that is ready to be mounted.
#[derive(Debug)]
struct Source {
    tree: OwnedFd,
    is_dir: bool,
}

fn open_source(entry: &Entry) -> Result<Option<Source>, BuildError> {
    let (source, access) = match &entry.node {
        Node::Bind { source, access } => (source, access),
        Node::Overlay { layers, workspace } => {
            let tree = overlay::mount(layers, workspace).map_err(|failure| BuildError::Overlay {
                step: entry.step.clone(),
                path: failure.path,
                errno: failure.errno,
            })?;
            return Ok(Some(Source { tree, is_dir: true }));
        }
        _ => return Ok(None),
    };
    let (step, path) = (entry.step.clone(), source.clone());
    let fd = match open_plain(source) {
        Ok(fd) => fd,
        Err(errno) => return Err(BuildError::OpenSource { step, path, errno }),
    };
    let is_dir = match fstat(&fd) {
        Ok(stat) => SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR,
        Err(errno) => return Err(BuildError::OpenSource { step, path, errno }),
    };
    if *access == Access::Writable && !is_dir {
        return Err(BuildError::NotADirectory { step, path });
    }
    let attributes = match access {
        Access::ReadOnly => mounts::RDONLY | mounts::NOSUID | mounts::NODEV,
        Access::Writable => mounts::NOSUID | mounts::NODEV,
        // What is written to a device is no write to the file system; its mode and owner are. For a run of root it is
        // the host's own node, which belongs to the run's user.
        Access::Device => mounts::RDONLY | mounts::NOSUID | mounts::NOEXEC,
    };
    let cloned =
        mounts::clone_tree(fd.as_fd()).and_then(|tree| mounts::set_attributes(tree.as_fd(), attributes).map(|()| tree));
    match cloned {
        Ok(tree) => Ok(Some(Source { tree, is_dir })),
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
    let made = make_parents(root, &entry.path).and_then(|()| {
        if source.is_dir { make_directory(root, &entry.path, 0o755) } else { make_file(root, &entry.path, b"") }
    });
    made.map_err(|errno| BuildError::Make { step: entry.step.clone(), path: entry.path.clone(), errno })?;
    attach(root, entry, source.tree.as_fd())
}

fn make(root: &OwnedFd, entry: &Entry, settings: &Settings) -> Result<(), BuildError> {
    let path = &entry.path;
    let failed = |errno| BuildError::Make { step: entry.step.clone(), path: path.clone(), errno };
    make_parents(root, path).map_err(failed)?;
    match &entry.node {
        Node::Directory { mode } => make_directory(root, path, *mode).map_err(failed),
        Node::File { content } => make_file(root, path, content).map_err(failed),
        Node::Symlink { target } => symlinkat(target, root, relative(path)).map_err(failed),
        Node::Tmpfs { mode, size_bytes } => {
            let mode = text(&format!("{mode:o}"));
            let size = text(&size_bytes.to_string());
            let inodes = text(&(size_bytes / BYTES_PER_INODE).max(1024).to_string());
            let options: [(&CStr, &CStr); 3] = [(c"mode", &mode), (c"size", &size), (c"nr_inodes", &inodes)];
            let tmpfs = mounts::new_filesystem(c"tmpfs", &options, mounts::NOSUID | mounts::NODEV);
            mount_new(root, entry, tmpfs)
        }
        Node::Terminals => {
            let options: [(&CStr, &CStr); 3] = [(c"ptmxmode", c"0666"), (c"mode", c"620"), (c"max", TERMINALS_MAX)];
            let terminals = mounts::new_filesystem(c"devpts", &options, mounts::NOSUID | mounts::NOEXEC);
            mount_new(root, entry, terminals)
        }
        Node::Processes => {
            let attributes = mounts::NOSUID | mounts::NODEV | mounts::NOEXEC;
            mount_new(root, entry, mounts::new_filesystem(c"proc", &[], attributes))?;
            settle_proc(root, entry, settings)
        }
        Node::Bind { .. } | Node::Overlay { .. } => unreachable!("what has a source is not made"),
    }
}

fn mount_new(root: &OwnedFd, entry: &Entry, made: Result<OwnedFd, Errno>) -> Result<(), BuildError> {
    match made {
        Ok(mount) => {
            make_directory(root, &entry.path, 0o755).map_err(|errno| BuildError::Make {
                step: entry.step.clone(),
                path: entry.path.clone(),
                errno,
            })?;
            attach(root, entry, mount.as_fd())
        }
        Err(errno) => Err(BuildError::Mount { step: entry.step.clone(), path: entry.path.clone(), errno }),
    }
}

fn attach(root: &OwnedFd, entry: &Entry, mount: BorrowedFd<'_>) -> Result<(), BuildError> {
    mounts::attach(mount, root.as_raw_fd(), &text(relative(&entry.path))).map_err(|errno| BuildError::Mount {
        step: entry.step.clone(),
        path: entry.path.clone(),
        errno,
    })
}

/// Writes the settings that belong to the new namespaces, hides what shows the machine, and makes `/proc` read-only:
/// the user id of a run of root owns `/proc/sys` and `/proc/sysrq-trigger`, whatever namespace it is in.
fn settle_proc(root: &OwnedFd, entry: &Entry, settings: &Settings) -> Result<(), BuildError> {
    for (setting, value) in USER_LIMITS {
        write_setting(root, setting, value).map_err(|errno| BuildError::Setting { setting, errno })?;
    }
    // Only Linux 6.14 and later count per pid namespace; elsewhere this is refused and the limit is per user.
    let pid_max = "proc/sys/kernel/pid_max";
    match write_setting(root, pid_max, &settings.pids_max.to_string()) {
        Ok(()) | Err(Errno::EACCES | Errno::EPERM | Errno::EROFS | Errno::EINVAL | Errno::ENOENT) => {}
        Err(errno) => return Err(BuildError::Setting { setting: pid_max, errno }),
    }
    let failed = |errno| BuildError::Mount { step: entry.step.clone(), path: entry.path.clone(), errno };
    if settings.host_user == HostUser::Root {
        for name in PROC_SECRETS {
            hide(root, name).map_err(failed)?;
        }
    }
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let proc = openat(root, "proc", flags, Mode::empty()).map_err(failed)?;
    mounts::set_attributes(proc.as_fd(), mounts::RDONLY).map_err(failed)
}

/// Covers one file of `/proc` with the null device; a file that this kernel does not have needs no cover.
fn hide(root: &OwnedFd, name: &str) -> Result<(), Errno> {
    let null = openat(root, "dev/null", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    let cover = mounts::clone_tree(null.as_fd())?;
    match mounts::attach(cover.as_fd(), root.as_raw_fd(), &text(&format!("proc/{name}"))) {
        Err(Errno::ENOENT) => Ok(()),
        done => done,
    }
}

fn write_setting(root: &OwnedFd, path: &str, value: &str) -> Result<(), Errno> {
    let file = openat(root, path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    File::from(file).write_all(value.as_bytes()).map_err(|error| errno_of(&error))
}

fn make_parents(root: &OwnedFd, path: &Path) -> Result<(), Errno> {
    let mut parents: Vec<&Path> =
        relative(path).ancestors().skip(1).filter(|parent| *parent != Path::new("")).collect();
    parents.reverse();
    parents.into_iter().try_for_each(|parent| mkdir_if_missing(root, parent, 0o755))
}

fn make_directory(root: &OwnedFd, path: &Path, mode: u32) -> Result<(), Errno> {
    mkdir_if_missing(root, relative(path), mode)
}

fn mkdir_if_missing(root: &OwnedFd, path: &Path, mode: u32) -> Result<(), Errno> {
    match mkdirat(root, path, Mode::from_bits_truncate(mode)) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn make_file(root: &OwnedFd, path: &Path, content: &[u8]) -> Result<(), Errno> {
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let file = openat(root, relative(path), flags, Mode::from_bits_truncate(0o444))?;
    File::from(file).write_all(content).map_err(|error| errno_of(&error))
}

fn enter(root: &OwnedFd) -> Result<(), BuildError> {
    let pivot = |errno| BuildError::Pivot { errno };
    fchdir(root).map_err(pivot)?;
    // The old root is stacked on the new one, where the next call takes it off: no directory is needed for it.
    pivot_root(".", ".").map_err(pivot)?;
    umount2(".", MntFlags::MNT_DETACH).map_err(|errno| BuildError::DropOld { errno })?;
    chdir("/").map_err(pivot)?;
    mounts::set_attributes_at(c"/", mounts::RDONLY).map_err(|errno| BuildError::Seal { errno })
}

fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// A terminated copy of a path that has been checked to contain no NUL.
fn text(path: &(impl AsRef<std::ffi::OsStr> + ?Sized)) -> CString {
    CString::new(path.as_ref().as_bytes()).expect("paths of a checked spec have no NUL")
}
