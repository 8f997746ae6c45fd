//! What of the host's system directories there is to show.
//!
//! Reads names and kinds only. The host's own system directories are trusted; nothing that a run could have written is
//! looked at here.

use std::path::{Path, PathBuf};

/// System directories at the root that programs need, if the host has them.
const TOP: [&str; 7] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// Directories of `/etc` that are public and needed: no `/etc` as a whole, because a run of root could read its secrets.
const ETC_DIRECTORIES: [&str; 6] =
    ["alternatives", "crypto-policies", "fonts", "pki/ca-trust/extracted", "pki/tls/certs", "ssl/certs"];
/// Files of `/etc` that are public and needed. They are copied: a small file costs less than a mount.
const ETC_FILES: [&str; 6] = ["ld.so.cache", "localtime", "mime.types", "protocols", "services", "ssl/openssl.cnf"];
/// Largest file that is copied, in bytes; a larger one is mounted.
const COPIED_BYTES_MAX: u64 = 16 << 10;

/// One system path of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    /// A directory, to be mounted read-only.
    Directory(PathBuf),
    /// A file, to be mounted read-only.
    File(PathBuf),
    /// A file, to be made again with the same content.
    Copied { path: PathBuf, content: Vec<u8> },
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
        let etc = ETC_DIRECTORIES.iter().chain(&ETC_FILES).filter_map(|name| shown(Path::new("/etc").join(name)));
        Self { system: TOP.iter().filter_map(|name| shown(Path::new("/").join(name))).collect(), etc: etc.collect() }
    }
}

fn shown(path: PathBuf) -> Option<Shown> {
    let found = std::fs::symlink_metadata(&path).ok()?;
    if found.is_symlink() {
        return Some(Shown::Symlink { target: std::fs::read_link(&path).ok()?, path });
    }
    if found.is_dir() {
        return Some(Shown::Directory(path));
    }
    if !found.is_file() {
        return None;
    }
    let copied = if found.len() <= COPIED_BYTES_MAX { std::fs::read(&path).ok() } else { None };
    Some(match copied {
        Some(content) => Shown::Copied { path, content },
        None => Shown::File(path),
    })
}
