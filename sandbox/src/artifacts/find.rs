//! Lists what a pattern names below a hostile directory: a bounded walk by descriptor.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, openat2};

use super::collect::INSIDE_ONLY;
use super::pattern::{Pattern, Progress};
use crate::sys::attributes;

/// How far a walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most files that are returned.
    pub files_max: usize,
    /// Most directory entries that are looked at.
    pub entries_max: usize,
    /// Most directories below each other.
    pub depth_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { files_max: 10_000, entries_max: 1_000_000, depth_max: 64 }
    }
}

/// What a walk has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Everything but directories that the pattern names, relative to the root, in byte order. What is no regular file
    /// is listed, too, so that [`collect`](super::collect) can say why it is skipped.
    pub paths: Vec<PathBuf>,
    /// A bound was reached, or a directory could not be read: there may be more.
    pub incomplete: bool,
}

/// Failure to walk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// The root cannot be read.
    #[error("failed to read `{}`", root.display())]
    Root {
        /// The root.
        root: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// What a walk over layers has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundInLayers {
    /// As [`Found::paths`], each with the number of the layer that has it.
    pub paths: Vec<(PathBuf, usize)>,
    /// As [`Found::incomplete`].
    pub incomplete: bool,
}

/// Lists what `pattern` names below `root`.
///
/// # Errors
/// When the root cannot be read. What the job did to anything below makes the list incomplete.
pub fn find(root: &Path, pattern: &Pattern, bounds: Bounds) -> Result<Found, FindError> {
    let FoundInLayers { paths, incomplete } = find_in_layers(&[root], pattern, bounds)?;
    Ok(Found { paths: paths.into_iter().map(|(path, _)| path).collect(), incomplete })
}

/// Lists what `pattern` names in a workspace that is on a base: `roots` are its `upper` directory and the layers below,
/// the first on top. A job sees of a name what the first layer has that has it, unless it has deleted it.
///
/// # Errors
/// As [`find`].
pub fn find_in_layers(roots: &[&Path], pattern: &Pattern, bounds: Bounds) -> Result<FoundInLayers, FindError> {
    let mut layers = Vec::new();
    for (index, root) in roots.iter().enumerate() {
        let opened = File::open(root).map_err(|source| FindError::Root { root: root.to_path_buf(), source })?;
        layers.push((index, OwnedFd::from(opened)));
    }
    let mut walk = Walk { pattern, bounds, is_layered: roots.len() > 1, entries: 0, found: FoundInLayers::default() };
    walk.directory(layers, Path::new(""), &pattern.start(), 0).map_err(|errno| FindError::Root {
        root: roots.first().map(|root| root.to_path_buf()).unwrap_or_default(),
        source: errno.into(),
    })?;
    walk.found.paths.sort_unstable();
    Ok(walk.found)
}

struct Walk<'a> {
    pattern: &'a Pattern,
    bounds: Bounds,
    is_layered: bool,
    entries: usize,
    found: FoundInLayers,
}

/// What the layers so far say of a name: whether a directory of the same name below is part of it.
type Names = BTreeMap<OsString, (bool, Vec<usize>)>;

impl Walk<'_> {
    fn directory(
        &mut self,
        layers: Vec<(usize, OwnedFd)>,
        at: &Path,
        progress: &Progress,
        depth: usize,
    ) -> Result<(), Errno> {
        let mut names = Names::new();
        let mut open = BTreeMap::new();
        for (index, fd) in layers {
            let is_last = self.is_layered && is_opaque(fd.as_fd());
            let mut dir = Dir::from_fd(fd)?;
            if !self.layer(index, &mut dir, (at, progress), &mut names) {
                return Ok(());
            }
            open.insert(index, dir);
            if is_last {
                break;
            }
        }
        for (name, (_, layers)) in names {
            let Some(next) = self.pattern.enter(progress, &name) else { continue };
            let mut below = Vec::new();
            for index in layers {
                let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
                let how = OpenHow::new().flags(flags).resolve(INSIDE_ONLY);
                match open.get(&index).map(|dir| openat2(dir.as_fd(), name.as_os_str(), how)) {
                    Some(Ok(fd)) => below.push((index, fd)),
                    Some(Err(Errno::ENOTDIR | Errno::ELOOP)) | None => {}
                    Some(Err(_)) => self.found.incomplete = true,
                }
            }
            if below.is_empty() {
                continue;
            }
            if depth >= self.bounds.depth_max {
                self.found.incomplete = true;
                break;
            }
            if self.directory(below, &at.join(&name), &next, depth + 1).is_err() {
                self.found.incomplete = true;
            }
        }
        Ok(())
    }

    /// Takes in the names of one layer of a directory. False when a bound is reached.
    fn layer(&mut self, index: usize, dir: &mut Dir, (at, progress): (&Path, &Progress), names: &mut Names) -> bool {
        for entry in dir.iter() {
            let Ok(entry) = entry else {
                self.found.incomplete = true;
                break;
            };
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            self.entries += 1;
            if self.entries > self.bounds.entries_max || self.found.paths.len() >= self.bounds.files_max {
                self.found.incomplete = true;
                return false;
            }
            // A file system that does not say the type is asked by opening it as a directory.
            let maybe_directory = matches!(entry.file_type(), Some(Type::Directory) | None);
            if let Some((is_open, layers)) = names.get_mut(name) {
                // A file below ends what a directory above is merged with.
                if *is_open && maybe_directory {
                    layers.push(index);
                }
                *is_open &= maybe_directory;
                continue;
            }
            // No job can make a device: it is the mark of a deleted file.
            let is_mark = self.is_layered && entry.file_type() == Some(Type::CharacterDevice);
            if !is_mark && entry.file_type() != Some(Type::Directory) && self.pattern.ends_with(progress, name) {
                self.found.paths.push((at.join(name), index));
            }
            names.insert(name.to_owned(), (maybe_directory, if maybe_directory { vec![index] } else { Vec::new() }));
        }
        true
    }
}

/// Whether a directory hides those of the same name below: the job deleted it and made it again.
fn is_opaque(dir: BorrowedFd<'_>) -> bool {
    let mut value = [0; 1];
    matches!(attributes::get(dir, c"user.overlay.opaque", &mut value), Ok(1)) && value == *b"y"
}
