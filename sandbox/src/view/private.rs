//! What is empty at first and belongs to one run: temporary file systems, pseudo terminals, `/proc`, `/run`.
//!
//! Mounted into the new root, whoever made that, in the namespaces of the run. **Invariant:** nothing of it outlives the
//! run, and nothing of it is shared with another.

use std::ffi::CStr;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::poll::poll;
use nix::sys::stat::Mode;

use super::build::{BuildError, HostUser, errno_of, make_file, text};
use crate::spec::HOME_INSIDE;
use crate::sys::mounts;

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
/// Size of `/run`, which holds a few small files.
const RUN_BYTES: u64 = 1 << 20;
/// Tries to make `/proc` read-only, a millisecond apart.
const READ_ONLY_TRIES: u32 = 500;
/// Files of `/proc` that show key rings of the user, whom no namespace separates from the run's.
const PROC_KEYS: [&str; 2] = ["keys", "key-users"];
/// Files of `/proc` that show the whole machine and that the user id behind a run of root could read.
const PROC_SECRETS: [&str; 9] = [
    "kcore",
    "kmsg",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "pagetypeinfo",
    "slabinfo",
    "timer_list",
    "vmallocinfo",
];

/// What the new namespaces are set to.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Size of each temporary file system, in bytes.
    pub(crate) tmp_bytes: u64,
    /// Bound of the pid namespace, where the kernel has one.
    pub(crate) pids_max: u64,
    /// Who the run's user is on the host.
    pub(crate) host_user: HostUser,
}

/// What the files in `/run` say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunFiles<'a> {
    /// Host name of the run.
    pub(crate) name: &'a str,
    /// Address of the name server inside, if there is one.
    pub(crate) name_server: Option<&'a str>,
}

/// Mounts it all into `root`, which has a directory for each part.
pub(crate) fn mount_private(root: &OwnedFd, settings: &Settings) -> Result<(), BuildError> {
    proc(root, settings)?;
    let terminals: [(&CStr, &CStr); 3] = [(c"ptmxmode", c"0666"), (c"mode", c"620"), (c"max", TERMINALS_MAX)];
    let terminals = mounts::new_filesystem(c"devpts", &terminals, mounts::NOSUID | mounts::NOEXEC);
    attach(root, "mount-pts", "/dev/pts", terminals)?;
    tmpfs(root, "mount-shm", "/dev/shm", (0o1777, settings.tmp_bytes))?;
    tmpfs(root, "mount-tmp", "/tmp", (0o1777, settings.tmp_bytes))?;
    tmpfs(root, "mount-home", HOME_INSIDE, (0o700, settings.tmp_bytes))?;
    tmpfs(root, "mount-run", "/run", (0o755, RUN_BYTES))
}

/// Writes the files in `/run` of this process's root and lets nobody change them any more.
pub(crate) fn write_run_files(root: &OwnedFd, files: RunFiles<'_>) -> Result<(), BuildError> {
    let name = files.name;
    let hosts = format!("127.0.0.1 localhost {name}\n::1 localhost {name}\n");
    let resolver = files.name_server.map_or_else(String::new, |server| format!("nameserver {server}\n"));
    for (path, content) in
        [("/run/hosts", hosts), ("/run/hostname", format!("{name}\n")), ("/run/resolv.conf", resolver)]
    {
        make_file(root, path.as_ref(), content.as_bytes()).map_err(|errno| BuildError::Make {
            step: "make-run".to_owned(),
            path: path.into(),
            errno,
        })?;
    }
    mounts::set_attributes_at(c"/run", mounts::RDONLY | mounts::NOEXEC)
        .map_err(|errno| mount_error("mount-run", "/run", errno))
}

fn tmpfs(root: &OwnedFd, step: &str, path: &str, (mode, size_bytes): (u32, u64)) -> Result<(), BuildError> {
    let mode = text(&format!("{mode:o}"));
    let size = text(&size_bytes.to_string());
    let inodes = text(&(size_bytes / BYTES_PER_INODE).max(1024).to_string());
    let options: [(&CStr, &CStr); 3] = [(c"mode", &mode), (c"size", &size), (c"nr_inodes", &inodes)];
    attach(root, step, path, mounts::new_filesystem(c"tmpfs", &options, mounts::NOSUID | mounts::NODEV))
}

/// Mounts the `/proc` of the run's own pid namespace, writes the settings that belong to the new namespaces, hides what
/// shows the machine, and makes it read-only: the user id of a run of root owns `/proc/sys` and `/proc/sysrq-trigger`,
/// whatever namespace it is in.
fn proc(root: &OwnedFd, settings: &Settings) -> Result<(), BuildError> {
    let attributes = mounts::NOSUID | mounts::NODEV | mounts::NOEXEC;
    attach(root, "mount-proc", "/proc", mounts::new_filesystem(c"proc", &[], attributes))?;
    for (setting, value) in USER_LIMITS {
        write_setting(root, setting, value).map_err(|errno| BuildError::Setting { setting, errno })?;
    }
    // Only Linux 6.14 and later count per pid namespace; elsewhere this is refused and the limit is per user.
    let pid_max = "proc/sys/kernel/pid_max";
    match write_setting(root, pid_max, &settings.pids_max.to_string()) {
        Ok(()) | Err(Errno::EACCES | Errno::EPERM | Errno::EROFS | Errno::EINVAL | Errno::ENOENT) => {}
        Err(errno) => return Err(BuildError::Setting { setting: pid_max, errno }),
    }
    let failed = |errno| mount_error("mount-proc", "/proc", errno);
    for name in PROC_KEYS {
        hide(root, name).map_err(failed)?;
    }
    if settings.host_user == HostUser::Root {
        for name in PROC_SECRETS {
            hide(root, name).map_err(failed)?;
        }
    }
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let proc = openat(root, "proc", flags, Mode::empty()).map_err(failed)?;
    make_read_only(&proc).map_err(failed)
}

/// Makes a mount read-only that was just written to. Rarely, on a busy machine, the kernel still counts a writer for a
/// moment after its file was closed.
fn make_read_only(mount: &OwnedFd) -> Result<(), Errno> {
    let mut tries = READ_ONLY_TRIES;
    loop {
        match mounts::set_attributes(mount.as_fd(), mounts::RDONLY) {
            Err(Errno::EBUSY) if tries > 0 => tries -= 1,
            done => return done,
        }
        poll(&mut [], 1_u8)?;
    }
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

fn attach(root: &OwnedFd, step: &str, path: &str, made: Result<OwnedFd, Errno>) -> Result<(), BuildError> {
    made.and_then(|mount| mounts::attach(mount.as_fd(), root.as_raw_fd(), &text(path.trim_start_matches('/'))))
        .map_err(|errno| mount_error(step, path, errno))
}

fn mount_error(step: &str, path: &str, errno: Errno) -> BuildError {
    BuildError::Mount { step: step.to_owned(), path: path.into(), errno }
}
