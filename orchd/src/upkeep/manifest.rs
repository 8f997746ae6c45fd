//! What a backup says of itself: `manifest.json`, written last, with the size and the digest of every other file.
//!
//! **Invariant:** no value of a secret is in it. It is not signed: who can write the backup can write a fitting manifest,
//! so that a backup is to be kept as safely as a state directory. The hash of the newest event, noted elsewhere, tells.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use orch_adapters::git::{CommitId, RefName};
use orch_core::digest::Digest;
use orch_proto::id::{InstanceId, ProjectId};
use orch_proto::{ErrorCode, RpcError, Timestamp};
use serde::{Deserialize, Serialize};

/// Its name within a backup.
pub(crate) const MANIFEST_FILE: &str = "manifest.json";
/// The version of what is described here.
pub(crate) const FORMAT: u32 = 1;
/// The database within a backup.
pub(crate) const DATABASE_FILE: &str = "orch.db";
/// What a backup may have at its top beside those. All of it lies in a state directory under the same name.
const FOLDERS: [&str; 5] = ["blobs", "repos", "runs", "secrets", "keys"];
/// Largest manifest, in bytes: some millions of files.
const BYTES_MAX: u64 = 1 << 30;

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    /// Program and version that wrote it.
    pub(crate) product: String,
    pub(crate) made_at: String,
    pub(crate) made_at_us: i64,
    /// The installation that it is of.
    pub(crate) instance: Option<InstanceId>,
    pub(crate) schema_version: u32,
    /// Newest event that is in it, and its link of the chain.
    pub(crate) head_seq: u64,
    pub(crate) head_hash: Digest,
    /// Whether logs of runs that are over are in it. Those of others never are.
    pub(crate) logs: bool,
    pub(crate) secrets: Secrets,
    pub(crate) repositories: Vec<Repository>,
    /// Blobs that the state names and that were missing or damaged when it was made, each with what it is.
    pub(crate) blobs_missing: BTreeMap<Digest, String>,
    /// Logs that could not be read.
    pub(crate) logs_missing: Vec<String>,
    pub(crate) files: Vec<FileEntry>,
}

/// What became of secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Secrets {
    /// Names of those whose values are in it, as they lie in the state directory, and of the keys that are.
    pub(crate) included: Vec<String>,
    /// Names of those that are to be set again after it was restored.
    pub(crate) left_out: Vec<String>,
}

/// A repository and its refs as they belong to the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Repository {
    pub(crate) project: ProjectId,
    pub(crate) slug: String,
    /// Where the default branch was by the database.
    pub(crate) head: Option<String>,
    pub(crate) refs: BTreeMap<String, String>,
    /// What was wrong with it already when the backup was made.
    pub(crate) problems: Vec<String>,
}

/// A file of the backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileEntry {
    /// Within the backup, with `/`.
    pub(crate) path: String,
    pub(crate) size_bytes: u64,
    pub(crate) sha256: Digest,
}

/// The part of a manifest that every version has.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

impl Repository {
    pub(crate) fn new(project: ProjectId, slug: &str, head: Option<&CommitId>) -> Self {
        Self {
            project,
            slug: slug.to_owned(),
            head: head.map(ToString::to_string),
            refs: BTreeMap::new(),
            problems: Vec::new(),
        }
    }

    /// Where it is within a backup and a state directory.
    pub(crate) fn folder(&self) -> String {
        format!("repos/{}.git", self.project)
    }

    pub(crate) fn set_refs(&mut self, refs: &BTreeMap<RefName, CommitId>) {
        self.refs = refs.iter().map(|(name, object)| (name.to_string(), object.to_string())).collect();
    }
}

impl Manifest {
    /// Reads the manifest of the backup in `root`.
    ///
    /// # Errors
    /// `E_NOT_FOUND` when there is none, `E_INVALID` when it cannot be understood, `E_SCHEMA_TOO_NEW` when a newer
    /// version wrote it.
    pub(crate) fn read(root: &Path) -> Result<Self, RpcError> {
        let path = root.join(MANIFEST_FILE);
        let shown = path.display();
        let bytes = std::fs::metadata(&path).and_then(|meta| {
            if meta.len() > BYTES_MAX { Err(std::io::ErrorKind::FileTooLarge.into()) } else { std::fs::read(&path) }
        });
        let bytes = bytes.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                RpcError::new(ErrorCode::NotFound, format!("`{}` is no backup: it has no manifest", root.display()))
                    .hint("name the directory that `orchctl backup` wrote; one without manifest was not finished")
            }
            _ => RpcError::new(ErrorCode::Invalid, format!("`{shown}` cannot be read: {error}"))
                .hint("run this as the user who may read the backup"),
        })?;
        let damaged = |error: serde_json::Error| {
            RpcError::new(ErrorCode::Invalid, format!("`{shown}` is damaged: {error}")).hint("take another backup")
        };
        // The version first: the rest may have another form.
        let Version { format } = serde_json::from_slice(&bytes).map_err(damaged)?;
        if format > FORMAT {
            let message = format!("`{shown}` has format {format}; this program knows {FORMAT}");
            return Err(RpcError::new(ErrorCode::SchemaTooNew, message).hint("use the version that wrote it"));
        }
        let manifest: Self = serde_json::from_slice(&bytes).map_err(damaged)?;
        match manifest.files.iter().find(|file| file.place().is_none()) {
            None => Ok(manifest),
            Some(file) => {
                let message =
                    format!("`{shown}` names `{}`, which is no place in a backup", file.path.escape_default());
                Err(RpcError::new(ErrorCode::Invalid, message).hint("it was changed; take another backup"))
            }
        }
    }

    pub(crate) fn made_at(&self) -> Timestamp {
        Timestamp::from_unix_us(self.made_at_us)
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes).sum()
    }

    /// What was wrong with the state when it was made, one line each.
    pub(crate) fn damage(&self) -> Vec<String> {
        let blobs = self.blobs_missing.iter().map(|(digest, what)| format!("missing blob {digest} ({what})"));
        let logs = self.logs_missing.iter().map(|log| format!("unreadable log {log}"));
        let repositories = self.repositories.iter().flat_map(|repository| {
            repository.problems.iter().map(|problem| format!("repository of {}: {problem}", repository.slug))
        });
        blobs.chain(logs).chain(repositories).collect()
    }
}

impl FileEntry {
    /// Its path, if it lies where files of a backup can lie.
    pub(crate) fn place(&self) -> Option<PathBuf> {
        let path = Path::new(&self.path);
        let mut parts = path.components();
        let Some(Component::Normal(first)) = parts.next() else { return None };
        let is_known = self.path == DATABASE_FILE || FOLDERS.iter().any(|folder| first == *folder);
        let is_plain = parts.all(|part| matches!(part, Component::Normal(_)));
        let is_below = self.path == DATABASE_FILE || path.components().count() > 1;
        (is_known && is_plain && is_below).then(|| path.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_place_only_where_a_backup_has_files() {
        let place = |path: &str| FileEntry { path: path.into(), size_bytes: 0, sha256: Digest::ZERO }.place().is_some();
        for good in ["orch.db", "blobs/sha256/ab/cd", "repos/project-1.git/HEAD", "secrets/token", "runs/run-1/log"] {
            assert!(place(good), "{good}");
        }
        for bad in
            ["", "/etc/passwd", "../x", "blobs/../../x", "blobs", "orch.db/x", "orchd.lock", "config", "./orch.db"]
        {
            assert!(!place(bad), "{bad}");
        }
    }

    #[test]
    fn a_manifest_that_is_missing_cut_or_newer_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let code = || Manifest::read(dir.path()).unwrap_err().code;
        assert_eq!(code(), ErrorCode::NotFound);
        for (text, expected) in [
            ("{\"format\": 1, \"prod", ErrorCode::Invalid),
            ("{\"format\": 2}", ErrorCode::SchemaTooNew),
            ("{\"format\": 1}", ErrorCode::Invalid),
            ("[]", ErrorCode::Invalid),
        ] {
            std::fs::write(dir.path().join(MANIFEST_FILE), text).unwrap();
            assert_eq!(code(), expected, "{text}");
        }
    }
}
