//! Writes a backup while the daemon goes on.
//!
//! The order makes it one state. First the refs are read, then the database is copied, and only then the blobs and objects
//! that it names: those are there before anything names them and never go while a backup is made. Refs move, so the
//! backup has them as they were before the database was copied, or as the database says where it is newer: a merge that
//! the copy does not know of is not in its repositories. Runs that are under way are no part of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orch_adapters::blobs::BlobStore;
use orch_adapters::git::{BareRepo, CommitId, Depth, RefName};
use orch_adapters::sealing::KEY_FILE;
use orch_core::entity::Project;
use orch_core::view::{Filter, View as _};
use orch_proto::id::ProjectId;
use orch_proto::view::BackupReport;
use orch_proto::{ErrorCode, RpcError};
use orch_store::{CopyError, DatabaseFile};

use super::draft::{self, Draft};
use super::manifest::{DATABASE_FILE, FORMAT, Manifest, Repository, Secrets};
use super::names::{Names, ProjectNames};
use super::progress::{Ended, Progress};
use super::verify;
use crate::app::App;
use crate::error_chain::chain;
use crate::state_dir::StateDir;

/// The refs of repositories.
type Refs = BTreeMap<ProjectId, BTreeMap<RefName, CommitId>>;

/// A backup as it is asked for, checked as far as that can be done before.
#[derive(Debug)]
pub(crate) struct Wanted {
    target: PathBuf,
    with_secrets: bool,
    with_logs: bool,
}

impl Wanted {
    /// Checks that a backup can be written to `directory`.
    pub(crate) fn new(dirs: &StateDir, directory: &str, with_secrets: bool, with_logs: bool) -> Result<Self, RpcError> {
        Ok(Self { target: place(dirs, Path::new(directory))?, with_secrets, with_logs })
    }
}

/// The place for a backup without links in it.
fn place(dirs: &StateDir, directory: &Path) -> Result<PathBuf, RpcError> {
    let invalid = |why: &str| {
        RpcError::new(ErrorCode::Invalid, format!("`{}` {why}", directory.display()))
            .hint("name a new directory outside the state directory, best on another disk")
    };
    let (true, Some(name), Some(parent)) = (directory.is_absolute(), directory.file_name(), directory.parent()) else {
        return Err(invalid("is no place for a backup: an absolute path that ends with a name is needed"));
    };
    let parent = parent.canonicalize().map_err(|error| {
        RpcError::new(ErrorCode::NotFound, format!("`{}` cannot be used: {error}", parent.display()))
            .hint("make it first; the daemon's user must be able to write there")
    })?;
    let target = parent.join(name);
    if target.starts_with(dirs.root()) {
        return Err(invalid("lies within the state directory"));
    }
    if target.symlink_metadata().is_ok() {
        return Err(draft::taken(&target));
    }
    if target.to_str().is_none() {
        return Err(invalid("is not UTF-8"));
    }
    Ok(target)
}

/// Removes what a daemon that was killed left of a backup. Before anything is begun.
pub(crate) fn clear_left_over(dirs: &StateDir) {
    draft::clear(dirs);
}

/// Writes the backup. Blocks.
pub(crate) fn make(app: &App, wanted: &Wanted, progress: &Progress) -> Result<BackupReport, Ended> {
    let mut draft = Draft::create(&app.dirs, &wanted.target, progress)?;
    let refs = refs_before(app, progress)?;
    let database = copy_database(app, &mut draft, progress)?;
    let names = Names::read(&database).map_err(|error| unreadable(&error))?;
    let (head_seq, head_hash) = database.head().map_err(|error| unreadable(&error))?;
    let made_at = crate::clock::now();
    let mut manifest = Manifest {
        format: FORMAT,
        product: format!("orchd {}", env!("CARGO_PKG_VERSION")),
        made_at: made_at.to_string(),
        made_at_us: made_at.unix_us(),
        instance: Some(app.store.instance()),
        schema_version: database.schema_version().map_err(|error| unreadable(&error))?,
        head_seq,
        head_hash,
        logs: wanted.with_logs,
        secrets: copy_secrets(app, &mut draft, wanted.with_secrets)?,
        repositories: Vec::new(),
        blobs_missing: BTreeMap::new(),
        logs_missing: Vec::new(),
        files: Vec::new(),
    };
    drop(database);
    copy_blobs(app, (&names, &mut draft, &mut manifest), progress)?;
    progress.phase("copying repositories", 0);
    for (id, project) in &names.projects {
        manifest.repositories.extend(copy_repository(app, (*id, project, &refs), &mut draft, progress)?);
    }
    if wanted.with_logs {
        copy_logs(app, (&names, &mut draft, &mut manifest), progress)?;
    }
    progress.phase("writing to the disk", 0);
    draft.finish(&mut manifest)?;
    let problems = verify::contents(draft.root(), &manifest, progress)?;
    if let Some(problem) = problems.first() {
        let message = format!("the backup is not what was written: {problem}");
        return Err(RpcError::new(ErrorCode::Storage, message).hint("check that disk; nothing is left of it").into());
    }
    progress.go_on()?;
    draft.publish()?;
    Ok(report(&wanted.target, manifest))
}

fn report(target: &Path, manifest: Manifest) -> BackupReport {
    BackupReport {
        directory: target.display().to_string(),
        made_at: manifest.made_at(),
        head_seq: manifest.head_seq,
        head_hash: manifest.head_hash.to_string(),
        files: manifest.files.len() as u64,
        size_bytes: manifest.size_bytes(),
        damage: manifest.damage(),
        secrets: manifest.secrets.included,
        secrets_left_out: manifest.secrets.left_out,
    }
}

fn unreadable(error: &dyn std::error::Error) -> Ended {
    RpcError::new(ErrorCode::Storage, format!("failed to read the copy of the database: {}", chain(error)))
        .hint("`orchctl daemon check` says whether the database is damaged")
        .into()
}

/// Where the refs of every repository are. What cannot be read is found when the repository is copied.
fn refs_before(app: &App, progress: &Progress) -> Result<Refs, Ended> {
    let projects =
        app.store.read(|view| view.list::<Project>(&Filter::default())).map_err(|error| unreadable(&error))?;
    progress.phase("reading branches", projects.len() as u64);
    let mut refs = Refs::new();
    for project in projects {
        if let Ok(found) = app.repository(project.id).map_err(drop).and_then(|repo| repo.all_refs().map_err(drop)) {
            refs.insert(project.id, found);
        }
        progress.advance(1)?;
    }
    Ok(refs)
}

fn copy_database(app: &App, draft: &mut Draft<'_>, progress: &Progress) -> Result<DatabaseFile, Ended> {
    let size = app.store.size_bytes();
    progress.phase("copying the database", size);
    let target = draft.root().join(DATABASE_FILE);
    let watched = std::thread::scope(|scope| {
        // What SQLite asks has to live for ever; the progress does not, so they talk through this.
        let (asked, answers) = std::sync::mpsc::channel::<u64>();
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let watch = move |bytes: u64| {
            let told = asked.send(bytes).is_ok();
            told && !seen.load(std::sync::atomic::Ordering::Relaxed)
        };
        scope.spawn(move || {
            for bytes in answers {
                if !progress.reach(bytes.min(size)) {
                    stop.store(true, std::sync::atomic::Ordering::Relaxed);
                }
            }
        });
        app.store.copy_to(&target, Arc::new(watch))
    });
    watched.map_err(|error| match &error {
        CopyError::Stopped => Ended::Cancelled,
        CopyError::Full { .. } => RpcError::new(ErrorCode::StorageFull, chain(&error))
            .hint("nothing is left of what was begun; make room there, or name a place on another disk")
            .into(),
        _ => RpcError::new(ErrorCode::Storage, chain(&error)).hint("look at the disks, then try again").into(),
    })?;
    draft.adopt(DATABASE_FILE)?;
    DatabaseFile::open(&target).map_err(|error| unreadable(&error))
}

/// Copies what the names of secrets stand for, if that was asked for; their names are known in any case.
fn copy_secrets(app: &App, draft: &mut Draft<'_>, included: bool) -> Result<Secrets, Ended> {
    let names = |folder: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
        let mut names: Vec<String> = files.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        names
    };
    let mut secrets = Secrets::default();
    for (folder, path) in [("secrets", app.dirs.secrets()), ("keys", app.dirs.keys())] {
        for name in names(&path) {
            let shown = if folder == "secrets" { name.clone() } else { format!("{folder}/{name}") };
            if !included {
                // Where no value is restored another key is as good.
                secrets.left_out.extend(Some(shown).filter(|_| name != KEY_FILE || folder != "keys"));
                continue;
            }
            match draft.copy(&path.join(&name), &format!("{folder}/{name}"))? {
                Ok(_) => secrets.included.push(shown),
                // Removed since.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(super::files::failed("read", &path.join(&name), &error).into()),
            }
        }
    }
    Ok(secrets)
}

fn copy_blobs(
    app: &App,
    (names, draft, manifest): (&Names, &mut Draft<'_>, &mut Manifest),
    progress: &Progress,
) -> Result<(), Ended> {
    progress.phase("copying blobs", names.blobs.values().map(|(size, _)| size).sum());
    let blobs = names.blobs.iter().map(|(digest, (_, what))| (digest, what.as_str(), false));
    // These are kept for some time only: what is not there any more is not missing.
    let texts = names.texts.iter().filter(|(digest, _)| !names.blobs.contains_key(*digest));
    for (digest, what, may_be_gone) in blobs.chain(texts.map(|(digest, what)| (digest, *what, true))) {
        let to = format!("blobs/{}", BlobStore::place(digest));
        match draft.copy(&app.blobs.path_of(digest), &to)? {
            Ok(found) if found == *digest => {}
            // What is damaged would be taken for the blob.
            Ok(_) => {
                draft.discard(&to)?;
                manifest.blobs_missing.insert(*digest, format!("{what}; its content is damaged"));
            }
            Err(error) if may_be_gone && error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => drop(manifest.blobs_missing.insert(*digest, format!("{what}; {error}"))),
        }
    }
    Ok(())
}

/// Copies a repository with the refs that belong to the state. None when there is none and need not be.
fn copy_repository(
    app: &App,
    (id, project, before): (ProjectId, &ProjectNames, &Refs),
    draft: &mut Draft<'_>,
    progress: &Progress,
) -> Result<Option<Repository>, Ended> {
    let mut copied = Repository::new(id, &project.slug, project.head.as_ref());
    let failed = |mut copied: Repository, error: &dyn std::error::Error| {
        copied.problems.push(chain(error));
        Ok(Some(copied))
    };
    let original = match app.repository(id) {
        Ok(original) => original,
        Err(_) if !project.is_ready => return Ok(None),
        Err(error) => return failed(copied, &error),
    };
    let refs = match before.get(&id).cloned().map_or_else(|| original.all_refs(), Ok) {
        Ok(refs) => refs_of_the_state(&original, project, refs),
        Err(error) => return failed(copied, &error),
    };
    let folder = copied.folder();
    let place = draft.repository(&folder)?;
    let files = match original.files_to_copy() {
        Ok(files) => files,
        Err(error) => return failed(copied, &error),
    };
    for file in files {
        progress.go_on()?;
        let to = format!("{folder}/{}", file.display());
        if let Err(error) = draft.copy(&original.path().join(&file), &to)? {
            copied.problems.push(format!("{}: {error}", file.display()));
        }
    }
    draft.write(&format!("{folder}/packed-refs"), BareRepo::packed_refs(&refs).as_bytes())?;
    copied.set_refs(&refs);
    let copy = match BareRepo::open(&app.git, &place) {
        Ok(copy) => copy,
        Err(error) => return failed(copied, &error),
    };
    match verify::repository(&copy, &project.commits, Depth::Connected) {
        Ok(problems) => copied.problems.extend(problems),
        Err(error) => return failed(copied, &error),
    }
    Ok(Some(copied))
}

/// The refs that belong to the copy of the database, where `before` are those from before it was copied.
fn refs_of_the_state(
    repository: &BareRepo,
    project: &ProjectNames,
    before: BTreeMap<RefName, CommitId>,
) -> BTreeMap<RefName, CommitId> {
    let mut refs = before;
    if let (Some(branch), Some(head)) = (&project.branch, &project.head) {
        // Further than the record is a branch whose merge is on its way into it, or that somebody else has moved.
        let is_further =
            refs.get(branch).is_some_and(|found| found == head || repository.is_ancestor(head, found).unwrap_or(false));
        if !is_further {
            refs.insert(branch.clone(), head.clone());
        }
    }
    for (name, commit) in &project.results {
        refs.entry(name.clone()).or_insert_with(|| commit.clone());
    }
    refs
}

fn copy_logs(
    app: &App,
    (names, draft, manifest): (&Names, &mut Draft<'_>, &mut Manifest),
    progress: &Progress,
) -> Result<(), Ended> {
    let path = |run| orch_adapters::executor::log_path(&app.dirs.run(run));
    let runs: Vec<_> = names.runs_over.difference(&names.logs_removed).collect();
    let sizes = runs.iter().filter_map(|run| std::fs::metadata(path(**run)).ok()).map(|meta| meta.len());
    progress.phase("copying logs of runs", sizes.sum());
    for run in runs {
        match draft.copy(&path(*run), &format!("runs/{run}/log"))? {
            Ok(_) => {}
            // It never ran, or its log was removed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => manifest.logs_missing.push(format!("of {run}: {error}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use orch_adapters::git::{CommitSpec, Hardened, Identity, RootCommit};

    use super::*;

    fn child(repository: &BareRepo, parent: &CommitId, message: &str) -> CommitId {
        let author = Identity::new("a", "a@example.invalid").unwrap();
        let spec = CommitSpec {
            tree: repository.empty_tree(),
            parents: vec![parent.clone()],
            message: message.to_owned(),
            author: author.clone(),
            committer: author,
            at_unix_s: 1_700_000_000,
        };
        repository.commit_tree(&spec).unwrap()
    }

    /// A merge that the record does not know of would be made a second time.
    #[test]
    fn a_branch_is_where_the_record_has_it_or_where_it_was_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("a.git");
        let branch = RefName::branch("main").unwrap();
        let author = Identity::new("a", "a@example.invalid").unwrap();
        let root = RootCommit { author, message: "root".into(), at_unix_s: 1_700_000_000 };
        let repository = BareRepo::create_with_root(&Hardened::probe().unwrap(), &path, &branch, &root).unwrap();
        let first = repository.head(&branch).unwrap().unwrap();
        let (second, aside) = (child(&repository, &first, "second"), child(&repository, &first, "aside"));
        let kept = RefName::run_result("R-1").unwrap();
        let names = |head: Option<&CommitId>| ProjectNames {
            slug: "shop".into(),
            is_ready: true,
            branch: Some(branch.clone()),
            head: head.cloned(),
            results: BTreeMap::from([(kept.clone(), aside.clone())]),
            commits: BTreeSet::new(),
        };
        let at = |before: &CommitId, head: Option<&CommitId>| {
            let before = BTreeMap::from([(branch.clone(), before.clone())]);
            let refs = refs_of_the_state(&repository, &names(head), before);
            assert_eq!(refs.get(&kept), Some(&aside));
            refs.get(&branch).cloned().unwrap()
        };
        assert_eq!(at(&first, Some(&first)), first);
        assert_eq!(at(&first, Some(&second)), second, "merged after the refs were read");
        assert_eq!(at(&second, Some(&first)), second, "its merge is on its way into the record");
        assert_eq!(at(&aside, Some(&second)), second, "elsewhere");
        assert_eq!(at(&first, None), first);
    }

    #[test]
    fn a_place_within_the_state_taken_or_out_of_nowhere_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let dirs = StateDir::create(&root.join("state")).unwrap();
        std::fs::create_dir(root.join("there")).unwrap();
        std::os::unix::fs::symlink(root.join("state"), root.join("link")).unwrap();
        let code = |path: &str| place(&dirs, &root.join(path)).unwrap_err().code;
        assert_eq!(code("state/backup"), ErrorCode::Invalid);
        assert_eq!(code("there/../state/runs/backup"), ErrorCode::Invalid);
        assert_eq!(code("link/backup"), ErrorCode::Invalid);
        assert_eq!(code("there/.."), ErrorCode::Invalid);
        assert_eq!(code("there"), ErrorCode::Exists);
        assert_eq!(code("link"), ErrorCode::Exists);
        assert_eq!(code("missing/backup"), ErrorCode::NotFound);
        assert_eq!(place(&dirs, Path::new("relative")).unwrap_err().code, ErrorCode::Invalid);
        assert_eq!(place(&dirs, Path::new("/")).unwrap_err().code, ErrorCode::Invalid);
        assert_eq!(place(&dirs, &root.join("there/../there/backup")).unwrap(), root.join("there/backup"));
    }
}
