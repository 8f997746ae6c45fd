//! Decides what a run sees: an ordered list of things to make, parents before children.
//!
//! Pure: knows the spec and the host's layout, makes no call.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::host::{HostLayout, Shown};
use super::{DEVICE_LINKS, DEVICES, LANDLOCK_CANARY};
use crate::spec::{CheckedSpec, HOME_INSIDE, OUT_INSIDE};

/// One thing to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Name for messages, for example `mount-workspace`.
    pub(crate) step: String,
    /// Absolute path inside.
    pub(crate) path: PathBuf,
    /// What it is.
    pub(crate) node: Node,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// A directory of the root file system, read-only in the end.
    Directory { mode: u32 },
    /// A file with this content, read-only in the end.
    File { content: Vec<u8> },
    /// A symlink.
    Symlink { target: PathBuf },
    /// A host path.
    Bind { source: PathBuf, access: Access },
    /// Host directories merged, the first on top; changes go to `upper` in `workspace` and nowhere else.
    Overlay { layers: Vec<PathBuf>, workspace: PathBuf },
    /// An empty file system that vanishes with the run.
    Tmpfs { mode: u32, size_bytes: u64 },
    /// Pseudo terminals of the run's own.
    Terminals,
    /// The process file system of the run's own pid namespace.
    Processes,
}

/// How a host path is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Cannot be changed, with everything below it.
    ReadOnly,
    /// The run's own to change.
    Writable,
    /// A device node that works.
    Device,
}

/// Lists everything that the run in `spec` sees on a host like `host`.
pub(crate) fn plan(spec: &CheckedSpec, host: &HostLayout) -> Vec<Entry> {
    let mut entries = vec![
        entry("make-root", "/etc", Node::Directory { mode: 0o755 }),
        entry("make-root", LANDLOCK_CANARY, Node::File { content: b"landlock is off\n".to_vec() }),
    ];
    entries.extend(host.system.iter().map(|shown| host_entry("mount-system", shown)));
    entries.extend(etc_files(&spec.name));
    entries.extend(host.etc.iter().map(|shown| host_entry("mount-etc", shown)));
    devices(spec, &mut entries);
    entries.push(entry("mount-proc", "/proc", Node::Processes));
    let size_bytes = spec.limits.tmp_bytes;
    entries.push(entry("mount-tmp", "/tmp", Node::Tmpfs { mode: 0o1777, size_bytes }));
    entries.push(entry("mount-home", HOME_INSIDE, Node::Tmpfs { mode: 0o700, size_bytes }));
    let writable = |source: &Path| Node::Bind { source: source.to_owned(), access: Access::Writable };
    let workspace = match &spec.workspace_base {
        None => writable(&spec.workspace),
        Some(layers) => Node::Overlay { layers: layers.clone(), workspace: spec.workspace.clone() },
    };
    entries.push(entry("mount-workspace", &spec.workspace_at, workspace));
    if let Some(out) = &spec.out {
        entries.push(entry("mount-out", OUT_INSIDE, writable(out)));
    }
    for mount in &spec.mounts {
        let step = format!("mount `{}`", mount.target.display());
        let node = Node::Bind { source: mount.source.clone(), access: Access::ReadOnly };
        entries.push(Entry { step, path: mount.target.clone(), node });
    }
    entries
}

fn entry(step: &str, path: impl Into<PathBuf>, node: Node) -> Entry {
    Entry { step: step.to_owned(), path: path.into(), node }
}

fn host_entry(step: &str, shown: &Shown) -> Entry {
    match shown {
        Shown::Mounted(path) => entry(step, path, Node::Bind { source: path.clone(), access: Access::ReadOnly }),
        Shown::Symlink { path, target } => entry(step, path, Node::Symlink { target: target.clone() }),
    }
}

fn etc_files(host_name: &str) -> Vec<Entry> {
    let hosts = format!("127.0.0.1 localhost {host_name}\n::1 localhost {host_name}\n");
    let passwd = format!(
        "root:x:0:0:root:/root:/usr/sbin/nologin\nrun:x:1000:1000:run:{HOME_INSIDE}:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    );
    let files = [
        ("passwd", passwd),
        ("group", "root:x:0:\ntty:x:5:\nrun:x:1000:\nnogroup:x:65534:\n".to_owned()),
        ("hosts", hosts),
        ("hostname", format!("{host_name}\n")),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n".to_owned()),
        ("resolv.conf", String::new()),
    ];
    let file = |(name, content): (&str, String)| {
        entry("make-etc", Path::new("/etc").join(name), Node::File { content: content.into_bytes() })
    };
    files.into_iter().map(file).collect()
}

fn devices(spec: &CheckedSpec, entries: &mut Vec<Entry>) {
    entries.push(entry("make-dev", "/dev", Node::Directory { mode: 0o755 }));
    for name in DEVICES {
        let path = Path::new("/dev").join(name);
        let node = Node::Bind { source: path.clone(), access: Access::Device };
        entries.push(entry("mount-dev", path, node));
    }
    for (name, target) in DEVICE_LINKS {
        let node = Node::Symlink { target: target.into() };
        entries.push(entry("make-dev", Path::new("/dev").join(name), node));
    }
    let size_bytes = spec.limits.tmp_bytes;
    entries.push(entry("mount-shm", "/dev/shm", Node::Tmpfs { mode: 0o1777, size_bytes }));
    entries.push(entry("mount-pts", "/dev/pts", Node::Terminals));
}

/// The path without its leading slash, so that it resolves below a directory descriptor.
pub(super) fn relative(path: &Path) -> &Path {
    debug_assert!(path.is_absolute() && path.as_os_str().as_bytes().len() > 1, "{}", path.display());
    path.strip_prefix("/").unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> CheckedSpec {
        serde_json::from_value::<crate::spec::RunSpec>(serde_json::json!({
            "name": "t", "fence": 1, "workspace": "/srv/ws", "workspace_base": null, "workspace_at": "/work",
            "mounts": [{"source": "/opt/tool", "target": "/opt/tool"}], "out": "/srv/out", "env": {},
            "steps": [{"name": "a", "argv": ["true"], "env": {}, "cwd": "", "timeout_ms": 1, "phase": "main"}],
            "limits": {"wall_ms": 1, "cpu_seconds": 1, "memory_bytes": null, "run_memory_bytes": null, "run_cpu_millis": null, "disk_bytes": null, "idle_ms": null, "processes": 1, "open_files": 16,
                       "file_size_bytes": 1, "log_bytes_max": 1, "tmp_bytes": 65536},
            "required_level": 3, "isolation": "sandboxed", "egress": "none", "listeners": [], "secrets": [],
            "syscalls": "standard"
        }))
        .unwrap()
        .check()
        .unwrap()
    }

    /// Shows every host path that a run can reach, so that a new one shows in review as a changed line.
    #[test]
    fn host_paths_of_a_run() {
        let host = HostLayout {
            system: vec![
                Shown::Mounted("/usr".into()),
                Shown::Symlink { path: "/bin".into(), target: "usr/bin".into() },
            ],
            etc: vec![Shown::Mounted("/etc/ssl/certs".into())],
        };
        let binds: Vec<_> = plan(&spec(), &host)
            .into_iter()
            .filter_map(|entry| match entry.node {
                Node::Bind { source, access } => {
                    Some(format!("{} -> {} {access:?}", source.display(), entry.path.display()))
                }
                _ => None,
            })
            .collect();
        assert_eq!(
            binds,
            [
                "/usr -> /usr ReadOnly",
                "/etc/ssl/certs -> /etc/ssl/certs ReadOnly",
                "/dev/null -> /dev/null Device",
                "/dev/zero -> /dev/zero Device",
                "/dev/full -> /dev/full Device",
                "/dev/random -> /dev/random Device",
                "/dev/urandom -> /dev/urandom Device",
                "/dev/tty -> /dev/tty Device",
                "/srv/ws -> /work Writable",
                "/srv/out -> /out Writable",
                "/opt/tool -> /opt/tool ReadOnly",
            ]
        );
    }

    #[test]
    fn parents_come_before_children() {
        let entries = plan(&spec(), &HostLayout::default());
        for (index, entry) in entries.iter().enumerate() {
            let late = entries[index + 1..].iter().find(|later| entry.path.starts_with(&later.path));
            assert!(late.is_none(), "{} after {}", late.unwrap().path.display(), entry.path.display());
        }
    }
}
