//! The peer of sandboxes: bubblewrap with what a run of ours has.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What to do when it is not there.
pub(crate) const NO_PEER: &str = "bubblewrap is not installed; install it with: apt-get install bubblewrap";

/// A program of the `PATH`.
pub(crate) fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|program| program.is_file())
}

/// Arguments with which `bwrap` runs `/bin/true` as a run of ours: all namespaces, `/usr` and `/etc` read-only, proc, dev,
/// tmp and the workspace. It has no landlock, no filter of system calls and captures no output; ours has all of them on.
pub(crate) fn arguments(workspace: &Path) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    let mut add = |more: &[&str]| words.extend(more.iter().map(OsString::from));
    ["user", "pid", "net", "ipc", "uts", "cgroup"].iter().for_each(|kind| add(&[&format!("--unshare-{kind}")]));
    add(&["--ro-bind", "/usr", "/usr", "--ro-bind", "/etc", "/etc"]);
    for name in ["bin", "lib", "lib64", "sbin"] {
        let link = Path::new("/").join(name);
        match std::fs::read_link(&link) {
            Ok(target) => words.extend(["--symlink".into(), target.into(), link.into()]),
            Err(_) if link.exists() => words.extend(["--ro-bind".into(), link.clone().into(), link.into()]),
            Err(_) => {}
        }
    }
    let mut add = |more: &[&str]| words.extend(more.iter().map(OsString::from));
    add(&["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--bind"]);
    words.extend([workspace.into(), "/work".into()]);
    let mut add = |more: &[&str]| words.extend(more.iter().map(OsString::from));
    add(&["--chdir", "/work", "--die-with-parent", "--new-session", "/bin/true"]);
    words
}
