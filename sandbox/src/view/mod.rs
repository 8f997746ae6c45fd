//! The file system that a run sees, built from nothing.
//!
//! [`plan`] decides, as a pure function of a spec's shape and of what the host has, what all runs of the shape see alike;
//! [`build`] makes it. What each run has of its own comes on top: [`private`] what is empty, [`trees`] its directories.
//! **Invariant:** what the plan does not name does not exist inside. **Invariant:** sources are opened without following
//! a symlink and mounted by descriptor.

mod build;
mod host;
mod overlay;
mod plan;
mod private;
mod trees;

pub(crate) use build::{BuildError, HostUser, build, enter, keep_proc, open_root};
pub(crate) use host::HostLayout;
pub(crate) use plan::{Entry, plan};
pub(crate) use private::{RunFiles, Settings, mount_private, write_run_files};
pub(crate) use trees::{Directories, OwnMounts, Trees};

/// A file that mounts and permissions let everybody read and only landlock refuses: how a probe sees it at work.
pub(crate) const LANDLOCK_CANARY: &str = "/.landlock-canary";
/// Device nodes inside.
pub(crate) const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// What else is in `/dev`.
pub(crate) const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// File systems that each run has of its own.
const OWN_PLACES: [&str; 6] = ["/proc", "/tmp", crate::spec::HOME_INSIDE, "/dev/shm", "/dev/pts", "/run"];
/// Files of `/etc` that differ from run to run; they are links to `/run`.
const RUN_FILES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];
