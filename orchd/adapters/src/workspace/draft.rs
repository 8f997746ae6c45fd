//! A checkout that is being prepared: what the sandbox executes for it, and what is left of that.
//!
//! Nothing is executed here. The one program that works in a draft is `prepare.sh`, a fixed text that gets everything as
//! arguments, in a run without network that sees the project's objects read-only.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use orch_sandbox::level::Level;
use orch_sandbox::spec::{Limits, ReadOnlyMount, RunSpec, StepSpec};

use super::cache::{CacheError, failed};
use super::store::{self, Key, TREE, UPPER};
use crate::git::{CommitId, OBJECTS_INSIDE, script_argv};
use crate::host_tools::SYSTEM_PATH;

const PREPARE: &str = include_str!("prepare.sh");
/// Where the tree is made.
const PLACE_INSIDE: &str = "/work";
/// Time for one preparation, in milliseconds. A million files take minutes on a slow disk.
const PREPARE_MS: u64 = 60 * 60 * 1_000;

/// One entry of the cache that is not there yet.
#[derive(Debug)]
pub struct Draft {
    key: Key,
    directory: PathBuf,
    /// The tree of the whole checkout that this is a layer on, and its commit.
    over: Option<(PathBuf, CommitId)>,
    objects: PathBuf,
    commit: CommitId,
}

impl Draft {
    pub(super) fn new(
        key: Key,
        directory: PathBuf,
        over: Option<(PathBuf, CommitId)>,
        (objects, commit): (PathBuf, CommitId),
    ) -> Self {
        Self { key, directory, over, objects, commit }
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// The commit whose files these are to be.
    #[must_use]
    pub fn commit(&self) -> &CommitId {
        &self.commit
    }

    /// Its directory, to be discarded when the preparation fails.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether it is a layer on another checkout.
    #[must_use]
    pub fn is_layer(&self) -> bool {
        self.over.is_some()
    }

    /// Describes the preparation to the sandbox.
    ///
    /// # Errors
    /// When its directory cannot be made.
    pub fn spec(&self, required_level: Level) -> Result<RunSpec, CacheError> {
        let (workspace, base) = match &self.over {
            Some((tree, _)) => (self.directory.clone(), Some(vec![tree.clone()])),
            None => (self.directory.join(TREE), None),
        };
        fs::create_dir_all(&workspace).map_err(failed("make", &workspace))?;
        let format = self.commit.format();
        let arguments = [
            PLACE_INSIDE.to_owned(),
            OBJECTS_INSIDE.to_owned(),
            self.commit.to_string(),
            self.over.as_ref().map(|(_, commit)| commit.to_string()).unwrap_or_default(),
            format.as_str().to_owned(),
        ];
        let argv = script_argv(PREPARE, "orch-prepare", arguments);
        let objects = ReadOnlyMount { source: self.objects.clone(), target: OBJECTS_INSIDE.into() };
        Ok(own_spec("prepare", (workspace, base), vec![objects], argv, required_level))
    }

    /// Brings what the preparation left into the form of an entry. Gives its number of files and bytes.
    pub(super) fn finish(&self) -> Result<(u64, u64), CacheError> {
        let tree = self.directory.join(TREE);
        if self.is_layer() {
            let upper = self.directory.join(UPPER);
            fs::rename(&upper, &tree).map_err(failed("finish", &upper))?;
            let entries = fs::read_dir(&self.directory).map_err(failed("read", &self.directory))?;
            for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("work-")) {
                orch_sandbox::remove_tree(&entry.path())?;
            }
        }
        store::measure(&tree).map_err(failed("measure", &tree))
    }
}

/// Describes a try of an overlay in `scratch` to the sandbox: it fails where a workspace cannot be on top of another
/// directory, as on a file system that is an overlay itself.
///
/// # Errors
/// When the directories cannot be made.
pub fn try_spec(scratch: &Path, required_level: Level) -> Result<RunSpec, CacheError> {
    let base = scratch.join(TREE);
    fs::create_dir_all(&base).map_err(failed("make", &base))?;
    // A name that is made, changed and deleted again takes all that a run needs of it.
    fs::write(base.join("file"), "below\n").map_err(failed("write", &base))?;
    let script = "set -e; cat file; echo above >file; rm file; test ! -e file; mkdir file; rmdir file";
    let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    Ok(own_spec("try-overlay", (scratch.to_owned(), Some(vec![base])), Vec::new(), argv, required_level))
}

/// A run of the daemon's own with one step and nothing to reach.
fn own_spec(
    name: &str,
    (workspace, workspace_base): (PathBuf, Option<Vec<PathBuf>>),
    mounts: Vec<ReadOnlyMount>,
    argv: Vec<String>,
    required_level: Level,
) -> RunSpec {
    let limits = Limits {
        processes: 256,
        open_files: 4_096,
        file_size_bytes: 64 << 30,
        log_bytes_max: 4 << 20,
        tmp_bytes: 64 << 20,
        ..Limits::small(PREPARE_MS)
    };
    RunSpec {
        workspace_base,
        workspace_at: PLACE_INSIDE.into(),
        mounts,
        env: BTreeMap::from([("PATH".to_owned(), SYSTEM_PATH.to_owned()), ("LANG".to_owned(), "C.UTF-8".to_owned())]),
        required_level,
        ..RunSpec::narrow(name, workspace, vec![StepSpec::main(name, argv, PREPARE_MS)], limits)
    }
}
