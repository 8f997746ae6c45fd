//! Looks whether the state is as it should be: the log and its tables, blobs, repositories, and what nothing names.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use orch_adapters::blobs::BlobStore;
use orch_adapters::git::{BareRepo, Depth, Hardened};
use orch_core::digest::Digest;
use orch_proto::id::{ProjectId, RunId};
use orch_proto::view::{AuditReport, CheckReport, Orphan};
use orch_proto::{ErrorCode, RpcError};
use orch_store::{ChainReport, DatabaseFile, RebuildReport};

use super::files::{self, FileFault};
use super::names::Names;
use super::progress::{Ended, Progress};
use super::verify;
use crate::app::App;
use crate::error_chain::chain;
use crate::state_dir::{self, OWNER_LOCK, StateDir};

/// How old a blob is that nothing names before it counts: one is written before what names it is committed.
const BLOB_AGE_MIN: Duration = Duration::from_secs(60 * 60);
/// Most orphans that are named.
const ORPHANS_MAX: usize = 1_000;

/// What is checked, and what is known of it.
pub(crate) struct Ground<'a> {
    pub(crate) dirs: &'a StateDir,
    pub(crate) git: &'a Hardened,
    /// Nobody uses it, so that what is half-made is left over.
    pub(crate) is_still: bool,
}

/// What lies in the state directory, listed before the names are read: what is made since has a name.
pub(crate) struct Lying {
    blobs: Vec<(Digest, Option<SystemTime>)>,
    /// Path within the state directory, and the run, if it is of one.
    runs: Vec<(String, Option<RunId>)>,
    repositories: Vec<(String, Option<ProjectId>)>,
    /// What is half-made while somebody works, and left over when nobody does.
    half_made: Vec<String>,
}

/// Checks the state of a running daemon: every byte of blobs and repositories, and what nothing names. Blocks.
pub(crate) fn online(app: &App, progress: &Progress) -> Result<CheckReport, Ended> {
    let failed = |error: &dyn std::error::Error| Ended::from(unreadable(error));
    let events = *app.store.subscribe().borrow();
    progress.phase("comparing the tables with the record", events);
    let compared = app.store.check_rebuild_while(&mut |done| progress.reach(done.min(events)));
    let rebuilt = compared.map_err(|error| failed(&error))?.ok_or(Ended::Cancelled)?;
    progress.phase("checking the database", 0);
    let integrity = app.store.integrity().map_err(|error| failed(&error))?;
    let audit = app.store.verify_chain().map_err(|error| failed(&error))?;
    let mut report = report(audit, rebuilt, integrity);
    let ground = Ground { dirs: &app.dirs, git: &app.git, is_still: false };
    let lying = Lying::list(&app.dirs, &app.blobs);
    // All of a large state takes longer than a read of the daemon may. What is made between two pages is named by a later one at
    // the most, and was not listed before.
    let file = DatabaseFile::open(&app.dirs.database()).map_err(|error| failed(&error))?;
    let names = Names::read(&file).map_err(|error| failed(&error))?;
    look(&ground, &app.blobs, (&names, &lying), progress, &mut report)?;
    Ok(report)
}

/// Checks a state that no daemon uses. Blocks.
pub(crate) fn still(ground: &Ground<'_>, progress: &Progress) -> Result<(CheckReport, Option<Names>), Ended> {
    let failed = |error: &dyn std::error::Error| Ended::from(unreadable(error));
    progress.phase("checking the database", 0);
    let database = ground.dirs.database();
    // What the log says holds; tables may be what is wrong.
    let (file, by_log) = match DatabaseFile::open_by_log(&database) {
        Ok(file) => (file, true),
        Err(_) => (DatabaseFile::open(&database).map_err(|error| state_dir::unopened(&error))?, false),
    };
    let audit = file.verify_chain().map_err(|error| failed(&error))?;
    let rebuilt = file.check_rebuild().map_err(|error| failed(&error))?;
    let mut report = report(audit, rebuilt, file.integrity().map_err(|error| failed(&error))?);
    if !by_log {
        return Ok((report, None));
    }
    let names = Names::read(&file).map_err(|error| failed(&error))?;
    let blobs = BlobStore::at(&ground.dirs.blobs());
    let lying = Lying::list(ground.dirs, &blobs);
    look(ground, &blobs, (&names, &lying), progress, &mut report)?;
    Ok((report, Some(names)))
}

pub(super) fn unreadable(error: &dyn std::error::Error) -> RpcError {
    RpcError::new(ErrorCode::Storage, format!("failed to check the state: {}", chain(error)))
        .hint("if the database is damaged, restore a backup into an empty directory with `orchd restore`")
}

pub(super) fn report(audit: ChainReport, rebuilt: RebuildReport, integrity: String) -> CheckReport {
    CheckReport {
        audit: AuditReport { events: audit.events, head_hash: audit.head_hash.to_string(), broken_at: audit.broken_at },
        rows_compared: rebuilt.rows,
        differences: rebuilt.differences,
        blobs_missing: Vec::new(),
        integrity,
        blobs_read: 0,
        blobs_damaged: Vec::new(),
        repositories: 0,
        repositories_wrong: Vec::new(),
        orphans: Vec::new(),
        not_looked_at: Vec::new(),
    }
}

fn look(
    ground: &Ground<'_>,
    blobs: &BlobStore,
    (names, lying): (&Names, &Lying),
    progress: &Progress,
    report: &mut CheckReport,
) -> Result<(), Ended> {
    progress.phase("reading blobs", names.blobs.values().map(|(size, _)| size).sum());
    for (digest, (_, what)) in &names.blobs {
        match files::digest(&blobs.path_of(digest), progress) {
            Ok((_, found)) if found == *digest => {}
            Ok(_) => report.blobs_damaged.push(format!("{digest} ({what})")),
            Err(FileFault::Source(error) | FileFault::Target(error)) => {
                report.blobs_missing.push(format!("{digest} ({what}): {error}"));
            }
            Err(FileFault::Ended(ended)) => return Err(ended),
        }
        report.blobs_read += 1;
    }
    for (digest, what) in names.texts.iter().filter(|(digest, _)| blobs.exists(digest)) {
        match files::digest(&blobs.path_of(digest), progress) {
            Ok((_, found)) if found == *digest => report.blobs_read += 1,
            Ok(_) => report.blobs_damaged.push(format!("{digest} ({what})")),
            // It went a moment ago: it is kept for some time only.
            Err(FileFault::Source(error) | FileFault::Target(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(FileFault::Source(error) | FileFault::Target(error)) => {
                report.blobs_damaged.push(format!("{digest} ({what}): {error}"));
            }
            Err(FileFault::Ended(ended)) => return Err(ended),
        }
    }
    progress.phase("checking repositories", names.projects.len() as u64);
    for (id, project) in &names.projects {
        let path = ground.dirs.repository(*id);
        if path.exists() || project.is_ready {
            report.repositories += 1;
            let looked = BareRepo::open(ground.git, &path)
                .map_err(|error| chain(&error))
                .and_then(|found| verify::repository(&found, &project.commits, Depth::Contents).map_err(|e| chain(&e)));
            let problems = looked.unwrap_or_else(|error| vec![error]);
            report
                .repositories_wrong
                .extend(problems.into_iter().map(|problem| format!("{}: {problem}", project.slug)));
        }
        progress.advance(1)?;
    }
    report.orphans = lying.orphans(names, ground.is_still);
    Ok(())
}

impl Lying {
    pub(crate) fn list(dirs: &StateDir, blobs: &BlobStore) -> Self {
        let named = |folder: &str| -> Vec<String> {
            let entries = std::fs::read_dir(dirs.root().join(folder)).into_iter().flatten().flatten();
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
        };
        let of_runs = |folder: &str| {
            let path = move |name: &String| format!("{folder}/{name}");
            named(folder).iter().map(|name| (path(name), name.parse().ok())).collect::<Vec<(String, Option<RunId>)>>()
        };
        let repositories = named("repos").into_iter().map(|name| {
            let project = name.strip_suffix(".git").and_then(|id| id.parse().ok());
            (format!("repos/{name}"), project)
        });
        let mut runs = of_runs("runs");
        runs.retain(|(path, _)| path.strip_prefix("runs/") != Some(OWNER_LOCK));
        // Beside workspaces of runs there are prepared checkouts, which look after themselves.
        runs.extend(of_runs("workspaces").into_iter().filter(|(_, run)| run.is_some()));
        let half_made = ["jail", "blobs/tmp"].iter();
        Self {
            blobs: blobs.list(),
            runs,
            repositories: repositories.collect(),
            half_made: half_made
                .flat_map(|folder| named(folder).into_iter().map(move |n| format!("{folder}/{n}")))
                .collect(),
        }
    }

    /// What of it nothing names.
    pub(crate) fn orphans(&self, names: &Names, is_still: bool) -> Vec<Orphan> {
        let orphan = |path: String, what: &str| Orphan { path, what: what.to_owned() };
        let is_old = |changed: &Option<SystemTime>| {
            is_still || changed.and_then(|at| at.elapsed().ok()).is_some_and(|age| age >= BLOB_AGE_MIN)
        };
        let blobs = self.blobs.iter().filter(|(digest, at)| !names.has_blob(digest) && is_old(at));
        let mut orphans: Vec<Orphan> = blobs
            .map(|(digest, _)| orphan(format!("blobs/{}", BlobStore::place(digest)), "a blob that nothing names"))
            .collect();
        for (path, run) in &self.runs {
            if !run.is_some_and(|run| names.has_run(run)) {
                orphans.push(orphan(path.clone(), "of a run that the state does not know"));
            }
        }
        for (path, project) in &self.repositories {
            let is_known = project.is_some_and(|project| names.projects.contains_key(&project));
            // Whoever makes a repository makes it under a name with a dot first.
            let is_being_made =
                !is_still && Path::new(path).file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if !is_known && !is_being_made {
                orphans.push(orphan(path.clone(), "a repository of no project"));
            }
        }
        if is_still {
            orphans.extend(self.half_made.iter().map(|path| orphan(path.clone(), "left of work that was cut off")));
        }
        orphans.truncate(ORPHANS_MAX);
        orphans
    }
}
