//! Tools that were installed for runs: where each lies, what is known of it, how it comes and goes.
//!
//! In reading order: `fetch` downloads what a recipe pins, `tree` makes what was built of it nobody's to write. A tool lies in
//! a directory that has its name from all that decides it, so that another recipe is another tool. It is made in a draft and
//! is there from the moment on in which that is renamed. **Invariant:** nothing here executes what was downloaded.

mod fetch;
mod tree;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use orch_core::digest::Digest;
use orch_core::entity::InstalledTool;
use orch_core::recipe::{Checksum, Source, ToolRecipe};
use orch_proto::Timestamp;
use serde::{Deserialize, Serialize};

pub use fetch::{DOWNLOAD_BYTES_MAX, FetchError, Fetcher, Mirror, Mirrors, Order, file_name};
pub use tree::TreeError;

/// How tools are made and kept; part of what decides one.
const FORMAT: u32 = 1;
/// What is known of a tool, beside its files.
const RECORD: &str = "tool.json";
/// The files of a tool.
const TREE: &str = "root";
/// What is being made or removed.
const DRAFTS: &str = "drafts";
/// Largest record, in bytes.
const RECORD_BYTES_MAX: u64 = 64 << 10;

/// Why a tool cannot be kept or used.
#[derive(Debug, thiserror::Error)]
pub enum ToolCacheError {
    #[error("failed to {what} `{}`", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the files of the tool are not what is kept of one")]
    Tree(#[from] TreeError),
    #[error("the steps left no program `bin/{program}`; the recipe's `program` says what it is called")]
    NoProgram { program: String },
    #[error("the record `{}` cannot be read: {reason}", path.display())]
    Record { path: PathBuf, reason: String },
    #[error("its files are not those that were installed: {found} instead of {installed}")]
    Changed { installed: Digest, found: Digest },
    #[error("failed to remove it")]
    Remove(#[from] orch_sandbox::RemoveError),
}

impl ToolCacheError {
    /// Whether it says nothing of the tool: the host could not read or write just then. That a file of the tool is gone, or that its
    /// owner or mode is another, is no such thing.
    #[must_use]
    pub fn is_hosts(&self) -> bool {
        use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
        match self {
            Self::Io { source, .. } => source.kind() != PermissionDenied,
            Self::Tree(TreeError::Io { source, .. }) => {
                !matches!(source.kind(), NotFound | NotADirectory | PermissionDenied)
            }
            Self::Tree(TreeError::Kind { .. } | TreeError::TooMany | TreeError::TooLarge)
            | Self::NoProgram { .. }
            | Self::Record { .. }
            | Self::Changed { .. }
            | Self::Remove(_) => false,
        }
    }
}

/// What is known of an installed tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    format: u32,
    pub name: String,
    pub version: String,
    /// What is executed, as `bin/PROGRAM`.
    pub program: String,
    /// Digest of all that decides it, which is what its directory is called.
    pub recipe: Digest,
    /// Digest of all its files.
    pub content: Digest,
    /// What its files look like without reading them.
    stamp: Digest,
    pub files: u64,
    pub bytes: u64,
    pub url: String,
    pub checksum: Checksum,
    pub installed_at: Timestamp,
    /// On whose word.
    pub by: String,
}

/// A tool that can be mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Its files, on the host.
    pub root: PathBuf,
    pub record: Record,
}

impl Tool {
    /// As it is put on record with a run.
    #[must_use]
    pub fn used(&self) -> InstalledTool {
        let Record { name, version, recipe, content, .. } = &self.record;
        InstalledTool { name: name.clone(), version: version.clone(), recipe: *recipe, content: *content }
    }
}

/// The digest of all that decides a tool: what is downloaded, what is done with it, and what that may reach.
#[must_use]
pub fn key(recipe: &ToolRecipe, source: &Source) -> Digest {
    let made_from = (FORMAT, &recipe.name, &recipe.version, &recipe.program, &source.url, &source.checksum);
    Digest::of_json(&(made_from, &recipe.steps, &recipe.env, &recipe.permissions))
}

/// The directory of installed tools.
#[derive(Clone, Debug)]
pub struct ToolCache {
    root: PathBuf,
}

fn failed<'p>(what: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> ToolCacheError + 'p {
    move |source| ToolCacheError::Io { what, path: path.to_owned(), source }
}

impl ToolCache {
    /// Makes what is missing of it.
    ///
    /// # Errors
    /// When that cannot be.
    pub fn open(root: &Path) -> Result<Self, ToolCacheError> {
        let drafts = root.join(DRAFTS);
        fs::create_dir_all(&drafts).map_err(failed("make", &drafts))?;
        Ok(Self { root: root.to_owned() })
    }

    /// The directory of all drafts. What lies there at a start is nobody's.
    #[must_use]
    pub fn drafts(&self) -> PathBuf {
        self.root.join(DRAFTS)
    }

    /// An empty place in which a tool is made. Nobody else makes it at the same time.
    ///
    /// # Errors
    /// When what lies there cannot be removed.
    pub fn draft(&self, key: Digest) -> Result<PathBuf, ToolCacheError> {
        let place = self.drafts().join(key.to_string());
        orch_sandbox::remove_tree(&place)?;
        fs::create_dir(&place).map_err(failed("make", &place))?;
        Ok(place)
    }

    /// Removes a draft.
    ///
    /// # Errors
    /// When something of it cannot be.
    pub fn discard(&self, draft: &Path) -> Result<(), ToolCacheError> {
        Ok(orch_sandbox::remove_tree(draft)?)
    }

    /// The tool with this key, if it is installed. Its files are looked at, and read only if they look otherwise than before.
    ///
    /// # Errors
    /// When it cannot be read, or its files are others.
    pub fn find(&self, key: Digest) -> Result<Option<Tool>, ToolCacheError> {
        let place = self.place(key);
        let Some(record) = read_record(&place)? else { return Ok(None) };
        match look_at(&place, record) {
            // Somebody has removed it in the meantime.
            Err(_) if matches!(read_record(&place), Ok(None)) => Ok(None),
            looked => looked.map(Some),
        }
    }

    /// Whether there is a tool with this key, without a look at its files.
    #[must_use]
    pub fn has(&self, key: Digest) -> bool {
        self.place(key).join(RECORD).is_file()
    }

    /// Keeps what the steps left in `tree`, which lies in the draft of this key.
    ///
    /// # Errors
    /// When it has no program or something that cannot be kept, or the tool is there. The draft is to be discarded then.
    pub fn keep(&self, (draft, tree): (&Path, &Path), made: &Made<'_>) -> Result<Tool, ToolCacheError> {
        let (done, place) = (draft.join("done"), self.place(made.key));
        fs::create_dir(&done).map_err(failed("make", &done))?;
        let root = done.join(TREE);
        // Before it is sealed: who may not write into a directory may not move it.
        fs::rename(tree, &root).map_err(failed("move", tree))?;
        tree::seal(&root)?;
        if !has_program(&root, &made.recipe.program) {
            return Err(ToolCacheError::NoProgram { program: made.recipe.program.clone() });
        }
        let tree::Measured { content, files, bytes } = tree::measure(&root)?;
        let record = Record {
            format: FORMAT,
            name: made.recipe.name.clone(),
            version: made.recipe.version.clone(),
            program: made.recipe.program.clone(),
            recipe: made.key,
            content,
            stamp: tree::stamp(&root)?,
            files,
            bytes,
            url: made.source.url.clone(),
            checksum: made.source.checksum.clone(),
            installed_at: made.at,
            by: made.by.to_owned(),
        };
        write_record(&done, &record)?;
        // A tool that is there after a power cut is whole.
        let opened = File::open(&done).map_err(failed("open", &done))?;
        nix::unistd::syncfs(&opened).map_err(|errno| failed("write", &done)(errno.into()))?;
        fs::rename(&done, &place).map_err(failed("move", &done))?;
        let parent = File::open(&self.root).and_then(|root| root.sync_all());
        parent.map_err(failed("write", &self.root))?;
        Ok(Tool { root: place.join(TREE), record })
    }

    /// Removes a tool; whether there was one.
    ///
    /// # Errors
    /// When something of it cannot be removed. It is not there any more all the same.
    pub fn remove(&self, key: Digest) -> Result<bool, ToolCacheError> {
        let (place, gone) = (self.place(key), self.drafts().join(format!("gone-{key}")));
        orch_sandbox::remove_tree(&gone)?;
        match fs::rename(&place, &gone) {
            Ok(()) => {
                orch_sandbox::remove_tree(&gone)?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed("remove", &place)(error)),
        }
    }

    /// What is known of all tools, those of recipes that are no more included. What cannot be read is left out.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self) -> Result<Vec<Record>, ToolCacheError> {
        let found = fs::read_dir(&self.root).map_err(failed("read", &self.root))?;
        let mut records = Vec::new();
        for entry in found.flatten() {
            let is_key = entry.file_name().to_str().is_some_and(|name| name.parse::<Digest>().is_ok());
            match read_record(&entry.path()) {
                Ok(record) if is_key => records.extend(record),
                Ok(_) => {}
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "a tool cannot be read"),
            }
        }
        records.sort_by(|one, other| (&one.name, one.installed_at).cmp(&(&other.name, other.installed_at)));
        Ok(records)
    }

    fn place(&self, key: Digest) -> PathBuf {
        self.root.join(key.to_string())
    }
}

/// What a tool was made from.
#[derive(Clone, Copy, Debug)]
pub struct Made<'a> {
    pub key: Digest,
    pub recipe: &'a ToolRecipe,
    pub source: &'a Source,
    pub at: Timestamp,
    /// On whose word.
    pub by: &'a str,
}

/// The tool in its place, whose record is this one.
fn look_at(place: &Path, record: Record) -> Result<Tool, ToolCacheError> {
    let root = place.join(TREE);
    let stamp = tree::stamp(&root)?;
    if stamp == record.stamp {
        return Ok(Tool { root, record });
    }
    // Copied to another disk, files are the same and look otherwise.
    let found = tree::measure(&root)?.content;
    if found != record.content {
        return Err(ToolCacheError::Changed { installed: record.content, found });
    }
    let record = Record { stamp, ..record };
    // Only so that they need not be read again.
    if let Err(error) = write_record(place, &record) {
        tracing::warn!(tool = record.name, error = &error as &dyn std::error::Error, "how its files look is not kept");
    }
    Ok(Tool { root, record })
}

/// Whether the tree has the program, as a file of its own.
fn has_program(root: &Path, program: &str) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(root) = root.canonicalize() else { return false };
    let Ok(real) = root.join("bin").join(program).canonicalize() else { return false };
    let is_program = |found: fs::Metadata| found.is_file() && found.permissions().mode() & 0o111 != 0;
    real.starts_with(&root) && real.metadata().is_ok_and(is_program)
}

fn read_record(place: &Path) -> Result<Option<Record>, ToolCacheError> {
    let path = place.join(RECORD);
    let wrong = |reason: String| ToolCacheError::Record { path: path.clone(), reason };
    match fs::metadata(&path) {
        Ok(found) if found.len() > RECORD_BYTES_MAX => return Err(wrong("it is too large".to_owned())),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", &path)(error)),
    }
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", &path)(error)),
    };
    let record: Record = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    if record.format == FORMAT { Ok(Some(record)) } else { Err(wrong(format!("it has the format {}", record.format))) }
}

fn write_record(place: &Path, record: &Record) -> Result<(), ToolCacheError> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    // Several may write at once.
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let (path, draft) = (place.join(RECORD), place.join(format!("{RECORD}.{number}.tmp")));
    let json = serde_json::to_vec_pretty(record).map_err(io::Error::other).map_err(failed("write", &path))?;
    let written = File::create(&draft).and_then(|mut file| file.write_all(&json).and_then(|()| file.sync_all()));
    written.map_err(failed("write", &draft))?;
    fs::rename(&draft, &path).map_err(failed("write", &path))
}
