//! Prepared views: mount namespaces that have everything that runs of one shape see alike.
//!
//! A run that is born in one inherits its mounts, locked, and adds only its own. It also leaves the mounts of the host
//! behind, however many there are. **Invariant:** a template is used only while the paths that it was made from lead to
//! the same directories as then.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sched::CloneFlags;
use nix::sys::stat::{Mode, fstat};

use crate::spec::{ReadOnlyMount, Shape};
use crate::sys::process::{self, Forked};
use crate::sys::{channel, descriptors};
use crate::view::{self, BuildError, Entry, HostLayout};

/// Most templates at once; the one that was not used for the longest time goes.
const TEMPLATES_MAX: usize = 16;
/// How long a template that no run needs is kept: it holds on to the directories that it shows.
const UNUSED_MAX: Duration = Duration::from_secs(600);
/// How long what the host has is believed to be unchanged. Programs are installed rarely.
const LAYOUT_AGE_MAX: Duration = Duration::from_secs(10);

/// The templates of a spawner.
#[derive(Debug, Default)]
pub(super) struct Templates {
    /// In the order of their last use.
    list: Vec<Template>,
    layout: Option<(HostLayout, Instant)>,
    /// How many have been made.
    made: u64,
}

#[derive(Debug)]
struct Template {
    number: u64,
    entries: Vec<Entry>,
    sources: Vec<Identity>,
    mounts: OwnedFd,
    used: Instant,
}

/// Which directory or file a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Templates {
    /// The mount namespace for runs of `shape`, made if there is none, and its number: another one if what it shows has
    /// become another. `None` when it cannot be made: a run that builds
    /// everything itself then says why.
    pub(super) fn get(&mut self, shape: &Shape) -> Option<(u64, BorrowedFd<'_>)> {
        let entries = view::plan(shape, self.layout());
        let sources = identities(&shape.mounts).ok()?;
        let found = self.list.iter().position(|template| template.entries == entries);
        let mut template = found.map(|place| self.list.remove(place)).filter(|template| template.sources == sources);
        if template.is_none() {
            let mounts = make(&entries).ok()?;
            self.made += 1;
            template = Some(Template { number: self.made, entries, sources, mounts, used: Instant::now() });
        }
        if let Some(template) = &mut template {
            template.used = Instant::now();
        }
        if self.list.len() >= TEMPLATES_MAX {
            self.list.remove(0);
        }
        self.list.extend(template);
        self.list.last().map(|template| (template.number, template.mounts.as_fd()))
    }

    /// Drops what no run has needed for long.
    pub(super) fn tidy(&mut self, now: Instant) {
        self.list.retain(|template| now.duration_since(template.used) < UNUSED_MAX);
    }

    fn layout(&mut self) -> &HostLayout {
        let now = Instant::now();
        let old = self.layout.take().filter(|(_, at)| now.duration_since(*at) < LAYOUT_AGE_MAX);
        &self.layout.insert(old.unwrap_or_else(|| (HostLayout::discover(), now))).0
    }
}

fn identities(mounts: &[ReadOnlyMount]) -> Result<Vec<Identity>, Errno> {
    mounts.iter().map(|mount| identity(&mount.source)).collect()
}

fn identity(path: &Path) -> Result<Identity, Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let stat = fstat(openat2(AT_FDCWD, path, how)?)?;
    Ok(Identity { device: stat.st_dev, inode: stat.st_ino })
}

/// Makes the mount namespace in a process that ends then; the descriptor keeps it.
fn make(entries: &[Entry]) -> Result<OwnedFd, Errno> {
    let (ours, theirs) = channel::pair()?;
    match process::fork(CloneFlags::CLONE_NEWNS)? {
        Forked::Child => {
            let sent = descriptors::close_all_but(&[theirs.as_raw_fd()]).and_then(|()| {
                let mounts = build(entries).map_err(|error| error.errno().unwrap_or(Errno::EINVAL))?;
                channel::send(theirs.as_fd(), b"made", &[mounts.as_fd()])
            });
            process::exit_now(i32::from(sent.is_err()))
        }
        Forked::Parent { .. } => {
            drop(theirs);
            let (_, mut received) = channel::receive(ours.as_fd(), &mut [0; 8])?;
            received.pop().ok_or(Errno::EPIPE)
        }
    }
}

fn build(entries: &[Entry]) -> Result<OwnedFd, BuildError> {
    let root = view::build(entries)?;
    view::keep_proc(&root)?;
    view::enter(&root)?;
    let mounts = PathBuf::from("/proc/self/ns/mnt");
    open(&mounts, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).map_err(|errno| BuildError::OpenSource {
        step: "template".to_owned(),
        path: mounts,
        errno,
    })
}
