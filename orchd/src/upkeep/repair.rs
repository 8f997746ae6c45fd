//! Mends what follows from something that is whole: tables from the log, refs from the tables; and puts aside what
//! nothing names. What does not follow from anything is left alone and named: that is what backups are for.
//!
//! **Invariant:** nothing is deleted. What is changed lies beside in a folder of its own first.

use std::fs;
use std::path::{Path, PathBuf};

use orch_adapters::git::{BareRepo, CommitId, Hardened, RefName};
use orch_proto::id::ProjectId;
use orch_proto::view::{CheckReport, Orphan};
use orch_proto::{ErrorCode, RpcError};
use orch_store::DatabaseFile;

use super::files;
use super::names::Names;
use super::progress::Ended;
use crate::error_chain::chain;
use crate::state_dir::{self, StateDir};

/// What can be mended.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The tables are made anew from the log.
    pub(crate) tables: bool,
    /// Refs of results that are gone although their commits are there.
    refs: Vec<(ProjectId, String, RefName, CommitId)>,
    /// What is put aside.
    orphans: Vec<Orphan>,
    /// What cannot be mended here, one line each.
    pub(crate) left: Vec<String>,
}

impl Plan {
    /// What follows from a check and what the state names.
    pub(crate) fn new(dirs: &StateDir, git: &Hardened, report: &CheckReport, names: Option<&Names>) -> Self {
        let mut plan = Self::default();
        if let Some((seq, what)) = &report.audit.broken_at {
            plan.left.push(format!("the audit is broken at event {seq}: {what}"));
        }
        if report.integrity != "ok" {
            plan.left.push(format!("the database file: {}", report.integrity));
        }
        let is_log_whole = report.audit.broken_at.is_none() && report.integrity == "ok";
        match names {
            Some(names) if is_log_whole => {
                plan.tables = !report.differences.is_empty();
                plan.orphans.clone_from(&report.orphans);
                plan.refs = lost_refs(dirs, git, names);
            }
            // Without the log nobody knows what is named.
            _ => plan.left.extend(report.differences.iter().cloned()),
        }
        plan.left.extend(report.blobs_missing.iter().map(|blob| format!("missing blob {blob}")));
        plan.left.extend(report.blobs_damaged.iter().map(|blob| format!("damaged blob {blob}")));
        plan.left.extend(report.repositories_wrong.iter().map(|wrong| format!("repository of {wrong}")));
        plan
    }

    pub(crate) const fn is_empty(&self) -> bool {
        !self.tables && self.refs.is_empty() && self.orphans.is_empty()
    }

    /// What is to be done, one line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        let tables = self.tables.then(|| "make all tables anew from the log".to_owned());
        let refs = self.refs.iter().map(|(_, slug, name, commit)| format!("set `{name}` of {slug} to {commit}"));
        let orphans = self.orphans.iter().map(|orphan| format!("put aside `{}`: {}", orphan.path, orphan.what));
        tables.into_iter().chain(refs).chain(orphans).collect()
    }

    /// Does it. Where what was there before lies now.
    pub(crate) fn apply(&self, dirs: &StateDir, git: &Hardened) -> Result<PathBuf, Ended> {
        let aside = dirs.root().join(format!("repair-{}", crate::clock::now().unix_us()));
        files::make_folder(&aside).map_err(|error| files::failed("write", &aside, &error))?;
        if self.tables {
            keep_database(dirs, &aside)?;
            let made = DatabaseFile::rebuild_tables(&dirs.database());
            made.map_err(|error| state_dir::unopened(&error))?;
        }
        for (project, slug, name, commit) in &self.refs {
            let set = BareRepo::open(git, &dirs.repository(*project))
                .map_err(|error| chain(&error))
                .and_then(|repo| repo.update_ref(name, commit, None, "repair").map_err(|error| chain(&error)));
            set.map_err(|error| RpcError::new(ErrorCode::Storage, format!("repository of {slug}: {error}")))?;
        }
        for orphan in &self.orphans {
            let (from, to) = (dirs.root().join(&orphan.path), aside.join(&orphan.path));
            let parent = to.parent().unwrap_or(&aside);
            let moved = files::make_folder(parent).and_then(|()| fs::rename(&from, &to));
            moved.map_err(|error| files::failed("put aside", &from, &error))?;
        }
        files::sync(dirs.root()).map_err(|error| files::failed("write", dirs.root(), &error))?;
        Ok(aside)
    }
}

/// Copies the database as it is, with its write-ahead log: nobody has it open.
fn keep_database(dirs: &StateDir, aside: &Path) -> Result<(), Ended> {
    for name in ["orch.db", "orch.db-wal"] {
        let (from, to) = (dirs.root().join(name), aside.join(name));
        if from.exists() {
            fs::copy(&from, &to).map_err(|error| files::failed("copy", &from, &error))?;
        }
    }
    files::sync(aside).map_err(|error| files::failed("write", aside, &error))?;
    Ok(())
}

fn lost_refs(dirs: &StateDir, git: &Hardened, names: &Names) -> Vec<(ProjectId, String, RefName, CommitId)> {
    let mut lost = Vec::new();
    for (id, project) in &names.projects {
        let Ok(repository) = BareRepo::open(git, &dirs.repository(*id)) else { continue };
        let Ok(refs) = repository.all_refs() else { continue };
        let wanted = project.results.iter().filter(|(name, _)| !refs.contains_key(name));
        let wanted: Vec<_> = wanted.collect();
        let commits = wanted.iter().map(|(_, commit)| (*commit).clone()).collect();
        let Ok(missing) = repository.missing_commits(&commits) else { continue };
        lost.extend(
            wanted
                .into_iter()
                .filter(|(_, commit)| !missing.contains(commit))
                .map(|(name, commit)| (*id, project.slug.clone(), name.clone(), commit.clone())),
        );
    }
    lost
}
