//! A workspace that starts as directories of the host, however large, without a copy of them: an overlay.
//!
//! Knows descriptors and the mount options, nothing of what the directories hold. **Invariant:** every source is opened
//! without following a symlink and reaches the kernel by descriptor. **Invariant:** the layers are read-only to the
//! mount, whoever uses it: what the run changes is copied to `upper` first.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};

use super::build::open_plain;
use crate::sys::mounts;

/// What differs from the layers.
const UPPER: &str = "upper";
/// Scratch space of the kernel, on the same file system; a number follows.
const WORK: &str = "work";
/// Most mounts that a workspace ever sees.
const MOUNTS_MAX: u32 = 1000;

/// A directory that cannot be part of the overlay; that of the run itself when they cannot be merged.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) path: PathBuf,
    pub(super) errno: Errno,
}

/// A workspace that is merged.
pub(super) struct Merged {
    /// Detached.
    pub(super) tree: OwnedFd,
    /// The directory with all that differs from the layers.
    pub(super) upper: OwnedFd,
}

/// Merges `layers`, the first on top, with `upper` in `workspace`, as a detached mount.
///
/// Needs capabilities over the mount namespace, and a `/proc` of this or of an outer pid namespace: the options are
/// texts, and a descriptor's name there is the one text that is no second look-up of a path. No separator can be in it.
pub(super) fn mount(layers: &[PathBuf], workspace: &Path) -> Result<Merged, Failure> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |errno| Failure { path, errno }
    };
    let open = |path: &PathBuf| directory(open_plain(path)).map_err(failed(path));
    let lower = layers.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let place = directory(open_plain(workspace)).map_err(failed(workspace))?;
    let upper = own(&place, UPPER, 0o755).map_err(failed(workspace))?;
    let work = scratch(&place).map_err(failed(workspace))?;
    let lower = text(&lower.iter().map(name).collect::<Vec<_>>().join(":"));
    let (upper_name, work) = (text(&name(&upper)), text(&name(&work)));
    let options: [(&CStr, &CStr); 5] = [
        // What the kernel notes about files is then in `user.overlay.*`, which an ordinary user may write. It also turns
        // redirects and metadata-only copies off, whatever a module parameter says: no note names another file.
        (c"userxattr", c""),
        (c"lowerdir", &lower),
        (c"upperdir", &upper_name),
        (c"workdir", &work),
        // Of a workspace that a crash of the host interrupts nothing is used again. Without this, the end of each run
        // would write back the whole file system that the workspace is on.
        (c"volatile", c""),
    ];
    mounts::new_filesystem(c"overlay", &options, mounts::NOSUID | mounts::NODEV)
        .map(|tree| Merged { tree, upper })
        .map_err(failed(workspace))
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
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(place, name, flags, Mode::empty())
}

/// Makes scratch space. The kernel takes none twice that was part of a volatile mount.
fn scratch(place: &OwnedFd) -> Result<OwnedFd, Errno> {
    for number in 0..MOUNTS_MAX {
        let name = format!("{WORK}-{number}");
        match mkdirat(place, name.as_str(), Mode::S_IRWXU) {
            Ok(()) => return own(place, &name, 0o700),
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::EMLINK)
}

fn name(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

fn text(value: &str) -> CString {
    CString::new(value).expect("the name of a descriptor has no NUL")
}
