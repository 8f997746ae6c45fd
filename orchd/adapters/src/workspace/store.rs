//! What is where below the directory of workspaces, and the one small file that says who uses what.
//!
//! Knows names and formats, nothing of when an entry is made or goes.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;
use serde::{Deserialize, Serialize};

use crate::git::TreeId;

/// What of a workspace differs from its base, within the directory of the workspace.
pub const UPPER: &str = "upper";
/// Names the entries that a draft or an entry is on top of.
pub(super) const BASE: &str = "base.json";
/// The files of an entry.
pub(super) const TREE: &str = "tree";
/// What is known of an entry.
const ABOUT: &str = "entry.json";
/// Most bytes of the small files here.
const SMALL_BYTES_MAX: u64 = 64 << 10;
/// Format of the small files here.
pub(super) const VERSION: u32 = 1;

/// Names an entry: the project's own word for itself, the tree, and the boot of the host in which it was made. Nothing
/// forces the files of an entry to the disk, so what is left of one after a crash of the host may be anything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    pub(super) project: String,
    pub(super) tree: String,
}

impl Key {
    pub(super) fn new(project: &str, tree: &TreeId, boot: &str) -> Self {
        Self { project: project.to_owned(), tree: format!("{tree}_{boot}") }
    }

    pub(super) fn is_of_boot(&self, boot: &str) -> bool {
        self.tree.rsplit_once('_').is_some_and(|(_, of)| of == boot)
    }

    /// Whether both parts are plain names; a file of ours that was changed by hand is not believed.
    fn is_plain(&self) -> bool {
        let plain = |text: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            !text.is_empty() && text.len() <= 128 && text.bytes().all(allowed)
        };
        plain(&self.project) && plain(&self.tree)
    }
}

/// The entries that something is on top of, the first on top.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Base {
    pub(super) version: u32,
    pub(super) layers: Vec<Key>,
}

/// What is known of an entry. Its time of modification is when it was last used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct About {
    pub(super) version: u32,
    pub(super) commit: String,
    /// Files in it, and what they take on the disk.
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// The directory of workspaces.
#[derive(Debug, Clone)]
pub(super) struct Places {
    root: PathBuf,
}

impl Places {
    /// Makes what is missing.
    pub(super) fn create(root: &Path) -> io::Result<Self> {
        let places = Self { root: root.to_owned() };
        for path in [places.cache(), places.drafts(), places.trash(), places.bases()] {
            make_directory(&path)?;
        }
        // Of a workspace that went while the daemon did.
        for name in names(&places.bases())? {
            let of = name.strip_suffix(".json").map(|name| places.root.join(name));
            if of.is_none_or(|workspace| workspace.symlink_metadata().is_err()) {
                fs::remove_file(places.bases().join(name))?;
            }
        }
        Ok(places)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    pub(super) fn drafts(&self) -> PathBuf {
        self.root.join("drafts")
    }

    pub(super) fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    /// What workspaces are on top of, by their names: a run may write anything into its workspace.
    fn bases(&self) -> PathBuf {
        self.root.join("bases")
    }

    /// Where it is said what `user` is on top of.
    fn base_file(&self, user: &Path) -> PathBuf {
        match user.file_name() {
            Some(name) if user.parent() == Some(self.root.as_path()) => {
                let mut name = name.to_owned();
                name.push(".json");
                self.bases().join(name)
            }
            _ => user.join(BASE),
        }
    }

    /// The base that `user` has; none when it has none.
    ///
    /// # Errors
    /// When there is one that cannot be read or is not ours: then it is not known what it uses.
    pub(super) fn base_of(&self, user: &Path) -> io::Result<Option<Base>> {
        let base: Option<Base> = read(&self.base_file(user))?;
        match base {
            Some(base) if base.version != VERSION || !base.layers.iter().all(Key::is_plain) => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "names its base in a way that is not known"))
            }
            base => Ok(base),
        }
    }

    pub(super) fn write_base(&self, user: &Path, layers: Vec<Key>) -> io::Result<()> {
        write(&self.base_file(user), &Base { version: VERSION, layers })
    }

    /// Forgets what a workspace that has gone was on top of.
    pub(super) fn forget_base(&self, user: &Path) -> io::Result<()> {
        match fs::remove_file(self.base_file(user)) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) fn entry(&self, key: &Key) -> PathBuf {
        self.cache().join(&key.project).join(&key.tree)
    }

    pub(super) fn tree(&self, key: &Key) -> PathBuf {
        self.entry(key).join(TREE)
    }

    /// Every entry that has a name of one.
    pub(super) fn entries(&self) -> io::Result<Vec<Key>> {
        let mut keys = Vec::new();
        for project in names(&self.cache())? {
            for tree in names(&self.cache().join(&project))? {
                let key = Key { project: project.clone(), tree };
                if key.is_plain() {
                    keys.push(key);
                }
            }
        }
        Ok(keys)
    }

    /// Every directory whose base is in use: workspaces, drafts and entries.
    pub(super) fn users(&self) -> io::Result<Vec<PathBuf>> {
        let mut users: Vec<PathBuf> = self.entries()?.iter().map(|key| self.entry(key)).collect();
        users.extend(names(&self.drafts())?.into_iter().map(|name| self.drafts().join(name)));
        let own = ["cache", "drafts", "trash", "bases"];
        let workspaces = names(&self.root)?.into_iter().filter(|name| !own.contains(&name.as_str()));
        users.extend(workspaces.map(|name| self.root.join(name)));
        Ok(users)
    }
}

pub(super) fn about(entry: &Path) -> io::Result<Option<About>> {
    read(&entry.join(ABOUT))
}

pub(super) fn write_about(entry: &Path, about: &About) -> io::Result<()> {
    write(&entry.join(ABOUT), about)
}

/// When the entry was last used.
pub(super) fn used_at(entry: &Path) -> io::Result<std::time::SystemTime> {
    fs::metadata(entry.join(ABOUT))?.modified()
}

/// Notes that the entry is used now.
pub(super) fn touch(entry: &Path) -> io::Result<()> {
    let file = File::open(entry.join(ABOUT))?;
    Ok(futimens(&file, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW)?)
}

/// Files below a directory of our own making, and what they take on the disk. No link is followed.
pub(super) fn measure(directory: &Path) -> io::Result<(u64, u64)> {
    let (mut files, mut blocks) = (0, 0);
    let mut todo = vec![directory.to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            blocks += meta.blocks();
            if meta.is_dir() { todo.push(entry.path()) } else { files += 1 }
        }
    }
    // The unit of `st_blocks` is 512 bytes on every file system.
    Ok((files, blocks * 512))
}

/// Makes a directory that nobody else may read.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Names in a directory; what is not UTF-8 is not ours.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries?,
    };
    let names: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.file_name().into_string())).collect();
    Ok(names?.into_iter().filter_map(Result::ok).collect())
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> io::Result<Option<T>> {
    use std::io::Read as _;
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut json = Vec::new();
    file.take(SMALL_BYTES_MAX).read_to_end(&mut json)?;
    Ok(Some(serde_json::from_slice(&json)?))
}

/// Writes beside and renames, so that a reader finds all of it or the old one.
fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let draft = path.with_extension("tmp");
    fs::write(&draft, serde_json::to_vec(value)?)?;
    fs::rename(&draft, path)
}
