//! A workspace that starts as directories of the host, however large, without a copy of them: an overlay.
//!
//! Knows descriptors and the mount options, nothing of what the directories hold. **Invariant:** every source is opened
//! without following a symlink and reaches the kernel by descriptor. **Invariant:** the layers are read-only to the
//! mount, whoever uses it: what the run changes is copied to `upper` first.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};

use super::build::open_plain;
use crate::remove::{RemoveError, remove_tree};
use crate::sys::mounts;

/// What differs from the layers.
const UPPER: &str = "upper";
/// Scratch space of the kernel, on the same file system.
const WORK: &str = "work-0";
/// How names of scratch space begin, whichever mount it was for.
const WORK_PREFIX: &[u8] = b"work-";

/// A directory that cannot be part of the overlay; that of the run itself when they cannot be merged.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) path: PathBuf,
    pub(super) errno: Errno,
}

/// The directories of a workspace itself.
#[derive(Debug)]
pub(super) struct Own {
    /// All that differs from the layers.
    pub(super) upper: OwnedFd,
    /// What the kernel has to keep until a change is whole: that is space of the run, too.
    pub(super) work: OwnedFd,
}

/// Makes the directories of `workspace` itself, for one mount.
pub(super) fn prepare(workspace: &Path) -> Result<Own, Failure> {
    let place = directory(open_plain(workspace));
    place
        .and_then(|place| Ok(Own { upper: own(&place, UPPER, 0o755)?, work: scratch(&place)? }))
        .map_err(failed(workspace))
}

/// Finds those that were prepared.
pub(super) fn find(workspace: &Path) -> Result<Own, Failure> {
    let place = directory(open_plain(workspace));
    place
        .and_then(|place| Ok(Own { upper: existing(&place, UPPER)?, work: existing(&place, WORK)? }))
        .map_err(failed(workspace))
}

/// Merges `layers`, the first on top, with what is `own` in `workspace`, as a detached mount.
///
/// Needs capabilities over the mount namespace, and a `/proc` of this or of an outer pid namespace: the options are
/// texts, and a descriptor's name there is the one text that is no second look-up of a path. No separator can be in it.
pub(super) fn mount(layers: &[PathBuf], workspace: &Path, own: &Own) -> Result<OwnedFd, Failure> {
    let open = |path: &PathBuf| directory(open_plain(path)).map_err(failed(path));
    let lower = layers.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let lower = text(&lower.iter().map(name).collect::<Vec<_>>().join(":"));
    let (upper, work) = (text(&name(&own.upper)), text(&name(&own.work)));
    let options: [(&CStr, &CStr); 5] = [
        // What the kernel notes about files is then in `user.overlay.*`, which an ordinary user may write. It also turns
        // redirects and metadata-only copies off, whatever a module parameter says: no note names another file.
        (c"userxattr", c""),
        (c"lowerdir", &lower),
        (c"upperdir", &upper),
        (c"workdir", &work),
        // Of a workspace that a crash of the host interrupts nothing is used again. Without this, the end of each run
        // would write back the whole file system that the workspace is on.
        (c"volatile", c""),
    ];
    mounts::new_filesystem(c"overlay", &options, mounts::NOSUID | mounts::NODEV).map_err(failed(workspace))
}

fn failed(path: &Path) -> impl FnOnce(Errno) -> Failure {
    let path = path.to_owned();
    move |errno| Failure { path, errno }
}

fn directory(opened: Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
    // Opening once more through the descriptor is what checks that it is a directory.
    openat(opened?, ".", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

/// Opens a directory of the workspace's own, making it first if it is missing.
fn own(place: &OwnedFd, name: &str, mode: u32) -> Result<OwnedFd, Errno> {
    match mkdirat(place, name, Mode::from_bits_truncate(mode)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    existing(place, name)
}

fn existing(place: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(place, name, flags, Mode::empty())
}

/// Makes scratch space. The kernel takes none twice that was part of a volatile mount, so what an earlier one has left goes.
fn scratch(place: &OwnedFd) -> Result<OwnedFd, Errno> {
    match mkdirat(place, WORK, Mode::S_IRWXU) {
        Err(Errno::EEXIST) => {
            clear_scratch(place)?;
            mkdirat(place, WORK, Mode::S_IRWXU)?;
        }
        made => made?,
    }
    existing(place, WORK)
}

/// Removes all scratch space. No run has ever seen it, and who mounts anew has given up whatever mount there was: that may
/// still be on its way out, and then changes nothing any more.
fn clear_scratch(place: &OwnedFd) -> Result<(), Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut listing = Dir::openat(place, ".", flags, Mode::empty())?;
    let names = listing.iter().filter_map(|entry| Some(entry.ok()?.file_name().to_owned()));
    let names: Vec<CString> = names.filter(|name| name.to_bytes().starts_with(WORK_PREFIX)).collect();
    for old in names {
        let path = Path::new(&name(place)).join(OsStr::from_bytes(old.to_bytes()));
        remove_tree(&path).map_err(|error| match error {
            RemoveError::Open { source, .. } | RemoveError::Entry { source, .. } => super::build::errno_of(&source),
        })?;
    }
    Ok(())
}

fn name(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

fn text(value: &str) -> CString {
    CString::new(value).expect("the name of a descriptor has no NUL")
}
