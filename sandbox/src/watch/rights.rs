//! Looking into directories from which a run takes the rights of their owner away, who is also the watcher's user.

use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, fchmod, fchmodat, fstat};
use nix::unistd::geteuid;

/// How often a right is taken back from a run that takes it away again.
const TRIES: usize = 8;

/// Why it cannot be looked at a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// By the run.
    Hindered,
    /// There are no descriptors or no memory now, which is nobody's fault.
    Starved,
}

/// Does `look` in `dir`, giving its owner the rights to it as often as the run takes them away, but not for ever; `mode` is
/// then what it had. `None` when there is nothing, or nothing that is the run's own.
pub(super) fn try_hard<T>(
    dir: &OwnedFd,
    mode: &mut Option<Mode>,
    look: impl Fn(&OwnedFd) -> Result<T, Errno>,
) -> Result<Option<T>, Trouble> {
    let mut is_hindered = false;
    for _ in 0..TRIES {
        match look(dir) {
            Ok(found) => return Ok(Some(found)),
            Err(Errno::EACCES) => match unlock(dir) {
                Ok(Some(before)) => {
                    *mode = Some(before);
                    is_hindered = true;
                }
                Ok(None) => {}
                Err(_) => return Ok(None),
            },
            Err(Errno::EAGAIN) => is_hindered = true,
            Err(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM) => return Err(Trouble::Starved),
            // It is gone, or something else has come to its name, or it is of another user.
            Err(_) => return Ok(None),
        }
    }
    if is_hindered { Err(Trouble::Hindered) } else { Ok(None) }
}

/// Gives the owner the right to read and search a directory, so that nothing is hidden from the count by taking that away.
/// The mode before, if it had to be changed. Fails for one of another user, which the run cannot have locked.
pub(super) fn unlock(dir: &OwnedFd) -> Result<Option<Mode>, Errno> {
    let stat = fstat(dir)?;
    if is_open_to_owner(&stat) {
        return Ok(None);
    }
    if stat.st_uid != geteuid().as_raw() {
        return Err(Errno::EPERM);
    }
    let mode = Mode::from_bits_truncate(stat.st_mode & 0o7777);
    change(dir, unlocked(mode))?;
    Ok(Some(mode))
}

/// Gives a directory the mode back that it had before it was unlocked, unless somebody has changed it since.
pub(super) fn give_back(dir: &OwnedFd, mode: Option<Mode>) {
    let Some(mode) = mode else { return };
    let now = fstat(dir).map(|stat| Mode::from_bits_truncate(stat.st_mode & 0o7777));
    if now == Ok(unlocked(mode)) {
        change(dir, mode).unwrap_or_default();
    }
}

/// By descriptor, so that it is this directory and no other that has come to its name; also by one that only names it.
fn change(dir: &OwnedFd, mode: Mode) -> Result<(), Errno> {
    match fchmod(dir, mode) {
        Err(Errno::EBADF) => {
            let magic = format!("/proc/self/fd/{}", dir.as_raw_fd());
            fchmodat(AT_FDCWD, magic.as_str(), mode, FchmodatFlags::FollowSymlink)
        }
        changed => changed,
    }
}

fn unlocked(mode: Mode) -> Mode {
    mode | Mode::S_IRUSR | Mode::S_IXUSR
}

fn is_open_to_owner(stat: &FileStat) -> bool {
    Mode::from_bits_truncate(stat.st_mode).contains(Mode::S_IRUSR | Mode::S_IXUSR)
}
