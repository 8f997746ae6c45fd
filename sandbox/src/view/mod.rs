//! The file system that a run sees, built from nothing.
//!
//! [`plan`] decides, as a pure function of the spec and of what the host has; [`build`] does. **Invariant:** what the
//! plan does not name does not exist inside. **Invariant:** sources are opened without following a symlink and mounted
//! by descriptor.

mod build;
mod host;
mod overlay;
mod plan;

pub(crate) use build::{HostUser, Settings, build};
pub(crate) use host::HostLayout;
pub(crate) use plan::plan;

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
