//! The files of an installed tool: nobody's to write, and known by their content.
//!
//! What lies there was made by commands of a recipe and by a program that was downloaded. **Invariant:** no link is
//! followed, nothing is executed.

use std::fs::{self, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc::O_NOFOLLOW;
use orch_core::digest::Digest;
use sha2::{Digest as _, Sha256};

/// Most files, directories and links of a tool.
const ENTRIES_MAX: usize = 300_000;
/// Most bytes of them, as they say: all are read, and holes take no room on the disk.
const BYTES_MAX: u64 = 16 << 30;
/// How much of a file is read at once, in bytes.
const PIECE_BYTES: usize = 1 << 16;
/// Modes that are left: who may execute a file may do so, and nobody writes.
const FILE: u32 = 0o444;
const PROGRAM: u32 = 0o555;

/// What cannot be kept of what the steps left, and what cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    #[error("`{}` is neither a file nor a directory nor a link", path.display())]
    Kind { path: PathBuf },
    #[error("it has more than {ENTRIES_MAX} files")]
    TooMany,
    #[error("its files have more than {BYTES_MAX} bytes")]
    TooLarge,
    #[error("failed to look at `{}`", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// What a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measured {
    /// All names, kinds, contents and whether each file is a program.
    pub(super) content: Digest,
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// Takes the right to write away from everybody, and all bits of modes but that to execute.
pub(super) fn seal(root: &Path) -> Result<(), TreeError> {
    let mut directories = Vec::new();
    let mut waiting = vec![root.to_owned()];
    let mut bytes = 0_u64;
    let (mut entries, chmod) = (0_usize, |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)));
    while let Some(directory) = waiting.pop() {
        let at = |source| TreeError::Io { path: directory.clone(), source };
        // One that nobody may look into is looked into all the same.
        chmod(&directory, 0o755).map_err(at)?;
        for entry in fs::read_dir(&directory).map_err(at)? {
            let path = entry.map_err(at)?.path();
            let found = fs::symlink_metadata(&path).map_err(at)?;
            entries += 1;
            if entries > ENTRIES_MAX {
                return Err(TreeError::TooMany);
            }
            if found.is_dir() {
                waiting.push(path);
            } else if found.is_file() {
                bytes = bytes.saturating_add(found.len());
                if bytes > BYTES_MAX {
                    return Err(TreeError::TooLarge);
                }
                chmod(&path, if is_program(&found) { PROGRAM } else { FILE }).map_err(at)?;
            } else if !found.is_symlink() {
                return Err(TreeError::Kind { path: path.strip_prefix(root).unwrap_or(&path).to_owned() });
            }
        }
        directories.push(directory);
    }
    for directory in directories {
        chmod(&directory, PROGRAM).map_err(|source| TreeError::Io { path: directory.clone(), source })?;
    }
    Ok(())
}

/// What the tree is, by reading all of it.
pub(super) fn measure(root: &Path) -> Result<Measured, TreeError> {
    let (mut all, mut files, mut bytes) = (Sha256::new(), 0, 0);
    for (path, found) in entries(root)? {
        let name = path.strip_prefix(root).unwrap_or(&path).as_os_str().as_bytes();
        part(&mut all, name);
        let at = |source| TreeError::Io { path: path.clone(), source };
        if found.is_dir() {
            part(&mut all, b"directory");
        } else if found.is_symlink() {
            part(&mut all, b"link");
            part(&mut all, fs::read_link(&path).map_err(at)?.as_os_str().as_bytes());
        } else {
            part(&mut all, if is_program(&found) { b"program" } else { b"file" });
            all.update(digest(&path).map_err(at)?);
            files += 1;
            bytes += found.len();
        }
    }
    Ok(Measured { content: Digest::from_bytes(all.finalize().into()), files, bytes })
}

/// What says without reading any file that all are as they were: sizes, numbers, modes and times of change.
pub(super) fn stamp(root: &Path) -> Result<Digest, TreeError> {
    let mut all = Sha256::new();
    for (path, found) in entries(root)? {
        part(&mut all, path.strip_prefix(root).unwrap_or(&path).as_os_str().as_bytes());
        for number in [found.ino(), found.len(), u64::from(found.mode())] {
            all.update(number.to_be_bytes());
        }
        for number in [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()] {
            all.update(number.to_be_bytes());
        }
    }
    Ok(Digest::from_bytes(all.finalize().into()))
}

/// Everything below a directory, by name.
fn entries(root: &Path) -> Result<Vec<(PathBuf, Metadata)>, TreeError> {
    let mut found = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        let at = |source| TreeError::Io { path: directory.clone(), source };
        for entry in fs::read_dir(&directory).map_err(at)? {
            let path = entry.map_err(at)?.path();
            let about = fs::symlink_metadata(&path).map_err(at)?;
            if about.is_dir() {
                waiting.push(path.clone());
            } else if !about.is_file() && !about.is_symlink() {
                return Err(TreeError::Kind { path });
            }
            found.push((path, about));
            if found.len() > ENTRIES_MAX {
                return Err(TreeError::TooMany);
            }
        }
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(found)
}

/// A part with its length in front, so that no two trees have the same bytes.
fn part(all: &mut Sha256, bytes: &[u8]) {
    all.update((bytes.len() as u64).to_be_bytes());
    all.update(bytes);
}

fn is_program(found: &Metadata) -> bool {
    found.permissions().mode() & 0o111 != 0
}

fn digest(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(path)?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; PIECE_BYTES]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().into()),
            read => hasher.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn what_is_sealed_is_nobodys_to_write_and_known_by_its_content() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::create_dir(root.join("closed")).unwrap();
        fs::write(root.join("bin/tool"), "#!/bin/sh\n").unwrap();
        fs::write(root.join("closed/data"), "1").unwrap();
        symlink("/etc/passwd", root.join("link")).unwrap();
        for (path, mode) in [("bin/tool", 0o4777), ("closed/data", 0o000), ("closed", 0o000)] {
            fs::set_permissions(root.join(path), Permissions::from_mode(mode)).unwrap();
        }
        seal(&root).unwrap();
        let modes = ["", "bin", "bin/tool", "closed", "closed/data"].map(|path| mode(&root.join(path)));
        assert_eq!(modes, [0o555, 0o555, 0o555, 0o555, 0o444]);
        let (before, stamp_before) = (measure(&root).unwrap(), stamp(&root).unwrap());
        assert_eq!((before.files, before.bytes), (2, 11));
        assert_eq!(measure(&root).unwrap(), before);
        assert_eq!(stamp(&root).unwrap(), stamp_before);

        fs::set_permissions(root.join("closed/data"), Permissions::from_mode(0o644)).unwrap();
        fs::write(root.join("closed/data"), "2").unwrap();
        assert_ne!(measure(&root).unwrap().content, before.content);
        assert_ne!(stamp(&root).unwrap(), stamp_before);
        orch_sandbox::remove_tree(&root).unwrap();
    }

    #[test]
    fn two_trees_with_the_same_bytes_in_other_places_are_not_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let digest = |name: &str, place: &dyn Fn(&Path)| {
            let root = directory.path().join(name);
            fs::create_dir(&root).unwrap();
            place(&root);
            measure(&root).unwrap().content
        };
        let all = [
            digest("a", &|_| {}),
            digest("b", &|root| fs::write(root.join("x"), "y").unwrap()),
            digest("c", &|root| fs::write(root.join("y"), "x").unwrap()),
            digest("d", &|root| symlink("y", root.join("x")).unwrap()),
            digest("e", &|root| fs::create_dir(root.join("x")).unwrap()),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn what_is_no_file_is_refused_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let _socket = UnixListener::bind(directory.path().join("socket")).unwrap();
        let error = seal(directory.path()).unwrap_err().to_string();
        assert_eq!(error, "`socket` is neither a file nor a directory nor a link");
    }
}
