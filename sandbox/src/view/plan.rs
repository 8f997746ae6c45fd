//! Decides what a run sees: an ordered list of things to make, parents before children.
//!
//! Pure: knows the spec and the host's layout, makes no call.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::host::{HostLayout, Shown};
use super::{DEVICE_LINKS, DEVICES, LANDLOCK_CANARY, OWN_PLACES, RUN_FILES};
use crate::spec::{HOME_INSIDE, OUT_INSIDE, ReadOnlyMount, Shape};

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
    Directory,
    /// A file with this content, read-only in the end.
    File { content: Vec<u8> },
    /// A symlink.
    Symlink { target: PathBuf },
    /// A host path that somebody named. Whoever could swap what lies there must gain nothing by it.
    Bind { source: PathBuf, access: Access },
    /// A path of the host's own system, which has been looked at.
    System { source: PathBuf, kind: Kind },
}

/// How a host path is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Cannot be changed, with everything below it.
    ReadOnly,
    /// The run's own to change.
    Writable,
}

/// What a path of the host's system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A directory, which cannot be changed, with everything below it.
    Directory,
    /// A file, which cannot be changed.
    File,
    /// A device node that works.
    Device,
}

/// Lists everything that runs of this shape see on a host like `host` and that is the same for all of them. What each
/// run has of its own is mounted on the directories that are listed for it.
pub(crate) fn plan(shape: &Shape, host: &HostLayout) -> Vec<Entry> {
    let mut entries = vec![
        entry("make-root", "/etc", Node::Directory),
        entry("make-root", LANDLOCK_CANARY, Node::File { content: b"landlock is off\n".to_vec() }),
    ];
    entries.extend(host.system.iter().map(|shown| host_entry("mount-system", shown)));
    entries.extend(etc_files(shape));
    entries.extend(host.etc.iter().map(|shown| host_entry("mount-etc", shown)));
    devices(&mut entries);
    let own = OWN_PLACES.iter().map(Path::new).chain([shape.workspace_at.as_path()]);
    let own = own.chain(shape.has_out.then(|| Path::new(OUT_INSIDE)));
    entries.extend(own.map(|path| entry("make-root", path, Node::Directory)));
    for mount in &shape.mounts {
        let step = format!("mount `{}`", mount.target.display());
        let node = Node::Bind { source: mount.source.clone(), access: Access::ReadOnly };
        entries.push(Entry { step, path: mount.target.clone(), node });
    }
    // The targets of a spec may lie in `/tmp` or in the home directory, which are file systems of each run's own.
    entries.retain(|entry| !own_file_system(&entry.path));
    entries
}

/// Lists what the spec mounts below a file system of the run's own.
pub(crate) fn own_mounts(shape: &Shape) -> Vec<Entry> {
    let within = shape.mounts.iter().filter(|mount| own_file_system(&mount.target));
    let mount = |mount: &ReadOnlyMount| Entry {
        step: format!("mount `{}`", mount.target.display()),
        path: mount.target.clone(),
        node: Node::Bind { source: mount.source.clone(), access: Access::ReadOnly },
    };
    within.map(mount).collect()
}

/// Whether `path` lies below a file system that each run has of its own.
fn own_file_system(path: &Path) -> bool {
    OWN_PLACES.iter().any(|place| path != Path::new(place) && path.starts_with(place))
}

fn entry(step: &str, path: impl Into<PathBuf>, node: Node) -> Entry {
    Entry { step: step.to_owned(), path: path.into(), node }
}

fn host_entry(step: &str, shown: &Shown) -> Entry {
    let system = |path: &Path, kind| entry(step, path, Node::System { source: path.to_owned(), kind });
    match shown {
        Shown::Directory(path) => system(path, Kind::Directory),
        Shown::File(path) => system(path, Kind::File),
        Shown::Copied { path, content } => entry(step, path, Node::File { content: content.clone() }),
        Shown::Symlink { path, target } => entry(step, path, Node::Symlink { target: target.clone() }),
    }
}

fn etc_files(shape: &Shape) -> Vec<Entry> {
    let hosts_from = if shape.name_server().is_some() { "files dns" } else { "files" };
    let passwd = format!(
        "root:x:0:0:root:/root:/usr/sbin/nologin\nrun:x:1000:1000:run:{HOME_INSIDE}:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    );
    let files = [
        ("passwd", passwd),
        ("group", "root:x:0:\ntty:x:5:\nrun:x:1000:\nnogroup:x:65534:\n".to_owned()),
        (
            "nsswitch.conf",
            format!("passwd: files\ngroup: files\nhosts: {hosts_from}\nservices: files\nprotocols: files\n"),
        ),
    ];
    let file = |(name, content): (&str, String)| {
        entry("make-etc", Path::new("/etc").join(name), Node::File { content: content.into_bytes() })
    };
    let link = |name: &str| {
        let target = Path::new("../run").join(name);
        entry("make-etc", Path::new("/etc").join(name), Node::Symlink { target })
    };
    files.into_iter().map(file).chain(RUN_FILES.map(link)).collect()
}

fn devices(entries: &mut Vec<Entry>) {
    entries.push(entry("make-dev", "/dev", Node::Directory));
    for name in DEVICES {
        let path = Path::new("/dev").join(name);
        let node = Node::System { source: path.clone(), kind: Kind::Device };
        entries.push(entry("mount-dev", path, node));
    }
    for (name, target) in DEVICE_LINKS {
        let node = Node::Symlink { target: target.into() };
        entries.push(entry("make-dev", Path::new("/dev").join(name), node));
    }
}

/// The path without its leading slash, so that it resolves below a directory descriptor.
pub(super) fn relative(path: &Path) -> &Path {
    debug_assert!(path.is_absolute() && path.as_os_str().as_bytes().len() > 1, "{}", path.display());
    path.strip_prefix("/").unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        let mut spec = crate::spec::tests::spec();
        let mount = |path: &str| ReadOnlyMount { source: path.into(), target: path.into() };
        spec.mounts = vec![mount("/opt/tool"), mount("/tmp/x")];
        spec.out = Some("/srv/out".into());
        Shape::of(&spec.check().unwrap())
    }

    /// Shows every host path that a run can reach, so that a new one shows in review as a changed line.
    #[test]
    fn host_paths_of_a_run() {
        let host = HostLayout {
            system: vec![
                Shown::Directory("/usr".into()),
                Shown::Symlink { path: "/bin".into(), target: "usr/bin".into() },
            ],
            etc: vec![Shown::Directory("/etc/ssl/certs".into())],
        };
        let binds: Vec<_> = plan(&shape(), &host)
            .into_iter()
            .chain(own_mounts(&shape()))
            .filter_map(|entry| match entry.node {
                Node::Bind { source, access } => {
                    Some(format!("{} -> {} {access:?}", source.display(), entry.path.display()))
                }
                Node::System { source, kind } => {
                    Some(format!("{} -> {} {kind:?}", source.display(), entry.path.display()))
                }
                Node::Directory | Node::File { .. } | Node::Symlink { .. } => None,
            })
            .collect();
        assert_eq!(
            binds,
            [
                "/usr -> /usr Directory",
                "/etc/ssl/certs -> /etc/ssl/certs Directory",
                "/dev/null -> /dev/null Device",
                "/dev/zero -> /dev/zero Device",
                "/dev/full -> /dev/full Device",
                "/dev/random -> /dev/random Device",
                "/dev/urandom -> /dev/urandom Device",
                "/dev/tty -> /dev/tty Device",
                "/opt/tool -> /opt/tool ReadOnly",
                "/tmp/x -> /tmp/x ReadOnly",
            ]
        );
    }

    #[test]
    fn parents_come_before_children() {
        let entries = plan(&shape(), &HostLayout::default());
        for (index, entry) in entries.iter().enumerate() {
            let late = entries[index + 1..].iter().find(|later| entry.path.starts_with(&later.path));
            assert!(late.is_none(), "{} after {}", late.unwrap().path.display(), entry.path.display());
        }
    }
}
