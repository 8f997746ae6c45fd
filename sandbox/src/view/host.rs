//! What of the host's system directories there is to show.
//!
//! Reads names and kinds only. The host's own system directories are trusted; nothing that a run could have written is
//! looked at here.

use std::path::{Path, PathBuf};

/// System directories at the root that programs need, if the host has them.
const TOP: [&str; 7] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// What of `/etc` is public and needed: no `/etc` as a whole, because a run of root could read its secrets.
const ETC: [&str; 14] = [
    "alternatives",
    "ca-certificates",
    "crypto-policies",
    "fonts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "pki/ca-trust/extracted",
    "pki/tls/certs",
    "protocols",
    "services",
    "ssl/certs",
];
/// Files of `/etc` that are needed, too, but lie in a directory that has secrets beside them.
const ETC_FILES: [&str; 2] = ["ssl/openssl.cnf", "terminfo"];

/// One system path of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    /// To be mounted read-only.
    Mounted(PathBuf),
    /// A symlink, to be made again with the same target.
    Symlink { path: PathBuf, target: PathBuf },
}

/// What the host has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HostLayout {
    pub(crate) system: Vec<Shown>,
    pub(crate) etc: Vec<Shown>,
}

impl HostLayout {
    /// Looks at the host.
    pub(crate) fn discover() -> Self {
        let shown = |path: PathBuf| {
            let kind = std::fs::symlink_metadata(&path).ok()?.file_type();
            if kind.is_symlink() {
                Some(Shown::Symlink { target: std::fs::read_link(&path).ok()?, path })
            } else {
                (kind.is_dir() || kind.is_file()).then_some(Shown::Mounted(path))
            }
        };
        let under = |parent: &'static str| move |name: &&str| shown(Path::new(parent).join(name));
        Self {
            system: TOP.iter().filter_map(under("/")).collect(),
            etc: ETC.iter().chain(&ETC_FILES).filter_map(under("/etc")).collect(),
        }
    }
}
