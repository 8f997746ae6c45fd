//! Whether a backup is what it says: every file, the database in it, its repositories. Changes nothing.

use std::collections::BTreeSet;
use std::path::Path;

use orch_adapters::blobs::BlobStore;
use orch_adapters::git::{BareRepo, CallError, CommitId, Depth, Hardened};
use orch_core::view::ReadError;
use orch_proto::{ErrorCode, RpcError};
use orch_store::{DatabaseFile, OpenError};

use super::files::{self, FileFault};
use super::manifest::{DATABASE_FILE, MANIFEST_FILE, Manifest};
use super::names::Names;
use super::progress::{Ended, Progress};
use crate::error_chain::chain;

/// Most problems that are named of one kind.
const PROBLEMS_MAX: usize = 100;

/// Verifies a backup; what is wrong with it, one line each.
///
/// # Errors
/// When it is none, or of a newer version.
pub(crate) fn backup(git: &Hardened, root: &Path, progress: &Progress) -> Result<(Manifest, Vec<String>), Ended> {
    let manifest = Manifest::read(root)?;
    let mut problems = contents(root, &manifest, progress)?;
    // Git says little that is of use about files which are damaged already.
    if problems.is_empty() {
        problems = repositories(git, root, &manifest, progress)?;
    }
    Ok((manifest, problems))
}

/// Verifies the files and the database.
pub(crate) fn contents(root: &Path, manifest: &Manifest, progress: &Progress) -> Result<Vec<String>, Ended> {
    let mut problems = all_files(root, manifest, progress)?;
    if problems.is_empty() {
        progress.phase("verifying the database", 0);
        problems = database(root, manifest)?;
    }
    problems.truncate(PROBLEMS_MAX);
    Ok(problems)
}

fn all_files(root: &Path, manifest: &Manifest, progress: &Progress) -> Result<Vec<String>, Ended> {
    progress.phase("verifying files", manifest.size_bytes());
    let mut problems = Vec::new();
    for file in &manifest.files {
        match files::digest(&root.join(&file.path), progress) {
            Ok((_, digest)) if digest == file.sha256 => {}
            Ok((size, _)) if size != file.size_bytes => {
                problems.push(format!("`{}` has {size} bytes instead of {}", file.path, file.size_bytes));
            }
            Ok(_) => problems.push(format!("`{}` has another content", file.path)),
            Err(FileFault::Source(error) | FileFault::Target(error)) => {
                problems.push(format!("`{}` cannot be read: {error}", file.path));
            }
            Err(FileFault::Ended(ended)) => return Err(ended),
        }
    }
    let known: BTreeSet<&Path> =
        manifest.files.iter().map(|file| Path::new(&file.path)).chain([Path::new(MANIFEST_FILE)]).collect();
    let found = files::walk(root).map_err(|error| files::failed("read", root, &error))?;
    let unknown = found.iter().filter(|path| !known.contains(path.as_path()));
    problems.extend(unknown.map(|path| format!("`{}` is no part of it", path.display())));
    Ok(problems)
}

fn database(root: &Path, manifest: &Manifest) -> Result<Vec<String>, Ended> {
    let file = match DatabaseFile::open(&root.join(DATABASE_FILE)) {
        Ok(file) => file,
        Err(error @ OpenError::SchemaTooNew { .. }) => {
            let error = RpcError::new(ErrorCode::SchemaTooNew, chain(&error));
            return Err(error.hint("use the version that wrote the backup, or a newer one").into());
        }
        Err(error) => return Ok(vec![chain(&error)]),
    };
    let looked = || -> Result<Vec<String>, ReadError> {
        let mut problems = Vec::new();
        let integrity = file.integrity()?;
        if integrity != "ok" {
            problems.push(format!("the database: {integrity}"));
        }
        let chain = file.verify_chain()?;
        if let Some((seq, what)) = chain.broken_at {
            problems.push(format!("the audit is broken at event {seq}: {what}"));
        } else if file.head()? != (manifest.head_seq, manifest.head_hash) {
            problems.push("its newest event is not that of the manifest".to_owned());
        }
        problems.extend(file.check_rebuild()?.differences);
        let has = |place: &str| manifest.files.binary_search_by(|file| file.path.as_str().cmp(place)).is_ok();
        for (digest, (_, what)) in Names::read(&file)?.blobs {
            if !has(&format!("blobs/{}", BlobStore::place(&digest))) && !manifest.blobs_missing.contains_key(&digest) {
                problems.push(format!("blob {digest} ({what}) is not in it"));
            }
        }
        Ok(problems)
    };
    Ok(looked().unwrap_or_else(|error| vec![format!("the database cannot be read: {}", chain(&error))]))
}

fn repositories(git: &Hardened, root: &Path, manifest: &Manifest, progress: &Progress) -> Result<Vec<String>, Ended> {
    progress.phase("verifying repositories", manifest.repositories.len() as u64);
    let root = root.canonicalize().map_err(|error| files::failed("read", root, &error))?;
    let mut problems = Vec::new();
    // What was broken before it was copied is no fault of the backup.
    for repository in manifest.repositories.iter().filter(|repository| repository.problems.is_empty()) {
        let looked = || -> Result<Vec<String>, String> {
            let copy = BareRepo::open(git, &root.join(repository.folder())).map_err(|error| chain(&error))?;
            let refs = copy.all_refs().map_err(|error| chain(&error))?;
            let refs: Vec<_> = refs.iter().map(|(name, object)| (name.as_str(), object.as_str())).collect();
            if refs != repository.refs.iter().map(|(name, object)| (name.as_str(), object.as_str())).collect::<Vec<_>>()
            {
                return Ok(vec!["its refs are not those of the manifest".to_owned()]);
            }
            self::repository(&copy, &BTreeSet::new(), Depth::Connected).map_err(|error| chain(&error))
        };
        let found = looked().unwrap_or_else(|error| vec![error]);
        problems.extend(found.into_iter().map(|problem| format!("repository of {}: {problem}", repository.slug)));
        progress.advance(1)?;
    }
    Ok(problems)
}

/// What is wrong with a repository that must have these commits.
pub(crate) fn repository(
    repository: &BareRepo,
    commits: &BTreeSet<CommitId>,
    depth: Depth,
) -> Result<Vec<String>, CallError> {
    let missing = repository.missing_commits(commits)?;
    let mut problems: Vec<String> = missing.iter().map(|commit| format!("commit {commit} is missing")).collect();
    problems.extend(repository.problems(depth)?);
    Ok(problems)
}
