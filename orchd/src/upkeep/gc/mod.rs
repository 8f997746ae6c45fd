//! Removes what was kept for long enough: logs, files and artifacts of runs that are over, refs of results that nobody
//! wants, and blobs that nothing holds.
//!
//! In small steps, each of which is an intent on record, the removal, and a word that it is done; a step that was cut off is
//! finished by the next collection, which finds it on record. What something open refers to stays whatever its age, and
//! evidence of merges and of what people decided as long as the configuration says. Nothing goes while a backup or a check
//! looks at it. The record of events is never touched, and says what there was.

mod blobs;
mod due;
mod parts;
mod tally;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use orch_adapters::git::{CommitId, RefName};
use orch_core::command::Command;
use orch_core::digest::Digest;
use orch_core::entity::{Project, Removal, Run, RunPart, Vision};
use orch_core::retention::{Hold, changes_of, hold};
use orch_core::view::ReadError;
use orch_proto::id::{ProjectId, RunId};
use orch_proto::view::GcReport;
use orch_proto::{EntityKind, ErrorCode, RpcError, Timestamp};
use orch_store::{Committed, ExecuteError, READ_DEADLINE_MS_MAX, ReadView};

use super::progress::{Ended, Progress};
use crate::app::{App, blocking};
use crate::config::RetentionConfig;
use crate::error_chain::chain;
use crate::exchanges;
use blobs::{Named, Times};
use due::Due;
use tally::Tally;

/// Things that are read at once.
const PAGE: u32 = 200;
/// Runs of which something is removed in one step.
const STEP: usize = 20;

/// How a collection is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    /// Only says what would go.
    pub(crate) dry_run: bool,
    /// Time that others have between two steps.
    pub(crate) breath: Duration,
}

/// A run of which something may go.
#[derive(Debug)]
struct Found {
    run: Run,
    due: Vec<Due>,
}

/// What goes of a run. Nothing of it is new where an earlier collection was cut off.
#[derive(Debug)]
struct Going {
    run: Run,
    removals: Vec<Removal>,
}

struct Collection<'a> {
    app: &'a Arc<App>,
    progress: &'a Arc<Progress>,
    how: How,
    now: Timestamp,
    tally: Tally,
    named: Named,
}

/// Removes what goes, or says what would.
///
/// # Errors
/// When the state cannot be read or written, or it is asked to end: what was begun is finished the next time.
pub(crate) async fn collect(app: &Arc<App>, progress: &Arc<Progress>, how: How) -> Result<GcReport, Ended> {
    let now = crate::clock::now();
    let mut collection = Collection { app, progress, how, now, tally: Tally::default(), named: Named::default() };
    collection.runs().await?;
    collection.results().await?;
    collection.blobs().await?;
    Ok(collection.tally.report(how.dry_run))
}

/// Says in the daemon's log what a collection came to.
pub(crate) fn told(report: &GcReport) {
    let count = |kind: &str| report.kinds.iter().find(|found| found.kind == kind).map_or(0, |found| found.count);
    tracing::info!(
        dry_run = report.dry_run,
        logs = count("log"),
        files = count("files"),
        artifacts = count("artifacts"),
        results = count("result"),
        blobs = count("blob"),
        texts = count("texts"),
        evidence = report.evidence,
        in_use = report.in_use,
        failed = report.failed.len(),
        "what was kept for long enough was looked at"
    );
}

impl Collection<'_> {
    /// Logs, files and artifacts of runs. Learns on the way which blobs are held.
    async fn runs(&mut self) -> Result<(), Ended> {
        let counts = self.read(|view| view.count_by_state(EntityKind::Run, None)).await?;
        self.progress.phase("looking at runs", counts.values().sum());
        let mut after = None;
        loop {
            let (config, now) = (self.app.config.retention, self.now);
            let page = self.read(move |view| look_at_runs(view, after, (now, &config))).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.0.run.id);
            self.progress.advance(page.len() as u64)?;
            let mut pending = Vec::new();
            for (found, held) in page {
                held.into_iter().for_each(|hold| self.tally.held(hold));
                if found.due.is_empty() && !found.run.is_removing {
                    self.name(&found.run, &BTreeSet::new()).await?;
                } else {
                    pending.push(found);
                }
            }
            while !pending.is_empty() {
                let rest = pending.split_off(pending.len().min(STEP));
                self.step_of_runs(pending).await?;
                pending = rest;
            }
        }
    }

    async fn step_of_runs(&mut self, found: Vec<Found>) -> Result<(), Ended> {
        let (app, progress) = (Arc::clone(self.app), Arc::clone(self.progress));
        let going: Result<Vec<Going>, Ended> =
            blocking(move || found.into_iter().map(|found| measured(&app, found, &progress)).collect()).await;
        let going = going?;
        let gone = self.step(&going).await?;
        for Going { run, removals } in &going {
            let removals = removals.iter().filter(|_| gone.contains(&run.id));
            self.name(run, &removals.map(|removal| removal.part).collect()).await?;
        }
        Ok(())
    }

    /// Takes note of the artifacts and the texts of a run, of which these parts go: whether it holds them.
    async fn name(&mut self, run: &Run, going: &BTreeSet<RunPart>) -> Result<(), Ended> {
        let is_let_go = |part| going.contains(&part) || run.removed(part).is_some();
        for kept in &run.artifacts {
            let named: fn(&mut Named, &Digest) =
                if is_let_go(RunPart::Artifacts) { Named::let_go } else { Named::hold };
            named(&mut self.named, &kept.digest);
        }
        // What went before is read no more: it is like what nothing named, and old enough for that.
        if !run.has_texts() || run.removed(RunPart::Texts).is_some() {
            return Ok(());
        }
        let id = run.id;
        let texts = self.read(move |view| exchanges::texts(view, id)).await?;
        let named: fn(&mut Named, &Digest) = if is_let_go(RunPart::Texts) { Named::let_go } else { Named::hold };
        texts.iter().for_each(|(digest, _)| named(&mut self.named, digest));
        Ok(())
    }

    /// Refs of results of which nothing came.
    async fn results(&mut self) -> Result<(), Ended> {
        let mut after = None;
        loop {
            let page = self.read(move |view| view.page::<Project>(after, PAGE)).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            self.progress.phase("looking at results", page.len() as u64);
            for project in page {
                self.progress.advance(1)?;
                self.results_of(project.id).await?;
            }
        }
    }

    async fn results_of(&mut self, project: ProjectId) -> Result<(), Ended> {
        let app = Arc::clone(self.app);
        let refs = blocking(move || results_in(&app, project)).await;
        let refs: Vec<(u32, CommitId)> = refs.into_iter().collect();
        for some in refs.chunks(PAGE as usize) {
            let (some, config, now) = (some.to_vec(), self.app.config.retention, self.now);
            let mut going = self.read(move |view| look_at_results(view, (project, some), (now, &config))).await?;
            while !going.is_empty() {
                let rest = going.split_off(going.len().min(STEP));
                self.step(&going).await?;
                going = rest;
            }
        }
        Ok(())
    }

    /// Blobs that nothing holds.
    async fn blobs(&mut self) -> Result<(), Ended> {
        let mut after = None;
        loop {
            let page = self.read(move |view| view.page::<Vision>(after, PAGE)).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            page.iter().for_each(|vision| self.named.hold(&vision.text));
        }
        self.named.finish();
        self.progress.phase("looking at blobs", 256);
        let times = Times::new(self.now, self.app.config.retention.blobs);
        for first in 0..=u8::MAX {
            self.progress.advance(1)?;
            let app = Arc::clone(self.app);
            let found = blocking(move || app.blobs.list_in(first)).await;
            let found = found.map_err(|error| super::files::failed("read", &self.app.dirs.blobs(), &error))?;
            let going = self.named.going(found, &times);
            if going.is_empty() {
                continue;
            }
            if self.how.dry_run {
                going.iter().for_each(|going| self.tally.blob(going.size_bytes));
                continue;
            }
            let removing = self.app.upkeep.removing(self.progress).await?;
            let (app, now) = (Arc::clone(self.app), self.now);
            let removed = blocking(move || remove_blobs(&app, &going, (&times, now))).await;
            drop(removing);
            for removed in removed {
                match removed {
                    Ok(size_bytes) => self.tally.blob(size_bytes),
                    Err(line) => self.tally.failed(line),
                }
            }
            self.breathe().await;
        }
        Ok(())
    }

    /// Puts on record that something goes, removes it, and puts on record that it is gone. Of which runs it was.
    async fn step(&mut self, going: &[Going]) -> Result<BTreeSet<RunId>, Ended> {
        if self.how.dry_run {
            going.iter().for_each(|going| self.tally.parts(&going.removals));
            return Ok(going.iter().map(|going| going.run.id).collect());
        }
        let removing = self.app.upkeep.removing(self.progress).await?;
        let new = going.iter().filter(|going| !going.removals.is_empty());
        let removals: BTreeMap<RunId, Vec<Removal>> = new.map(|going| (going.run.id, going.removals.clone())).collect();
        let begun = if removals.is_empty() {
            BTreeSet::new()
        } else {
            runs_in(&self.execute(Command::RemoveParts { removals }).await?)
        };
        let work: Vec<(Run, Vec<Removal>)> = going
            .iter()
            .filter(|going| going.run.is_removing || begun.contains(&going.run.id))
            .map(|going| {
                let new = going.removals.iter().filter(|_| begun.contains(&going.run.id));
                let all = going.run.removed.iter().map(|removed| &removed.removal).chain(new);
                (going.run.clone(), all.cloned().collect())
            })
            .collect();
        for going in going.iter().filter(|going| begun.contains(&going.run.id)) {
            self.tally.parts(&going.removals);
        }
        let app = Arc::clone(self.app);
        let removed = blocking(move || {
            let removed = |(run, removals): &(Run, Vec<Removal>)| parts::remove(&app, run, removals).map(|()| run.id);
            work.iter().map(removed).collect::<Vec<_>>()
        });
        let mut runs = Vec::new();
        for removed in removed.await {
            match removed {
                Ok(run) => runs.push(run),
                Err(line) => self.tally.failed(line),
            }
        }
        if !runs.is_empty() {
            self.execute(Command::FinishRemoval { runs }).await?;
        }
        drop(removing);
        self.breathe().await;
        Ok(begun)
    }

    async fn breathe(&self) {
        if !self.how.breath.is_zero() {
            tokio::time::sleep(self.how.breath).await;
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&ReadView<'_>) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, Ended> {
        let app = Arc::clone(self.app);
        let done = blocking(move || app.store.read_within(READ_DEADLINE_MS_MAX, read)).await;
        done.map_err(|error| Ended::from(RpcError::new(ErrorCode::Storage, chain(&error)).hint("try again later")))
    }

    async fn execute(&self, command: Command) -> Result<Committed, Ended> {
        self.app.execute("retention", command).await.map_err(|error| {
            let code = match error {
                ExecuteError::StorageFull(_) => ErrorCode::StorageFull,
                _ => ErrorCode::Storage,
            };
            RpcError::new(code, chain(&error)).hint("what was begun is finished by the next collection").into()
        })
    }
}

fn runs_in(committed: &Committed) -> BTreeSet<RunId> {
    committed.touched.iter().filter_map(|(_, id)| id.parse().ok()).collect()
}

/// Runs after `after`, each with what goes of it, and why more of it stays that is old enough.
fn look_at_runs(
    view: &ReadView<'_>,
    after: Option<RunId>,
    (now, config): (Timestamp, &RetentionConfig),
) -> Result<Vec<(Found, Option<Hold>)>, ReadError> {
    let mut found = Vec::new();
    for run in view.page::<Run>(after, PAGE)? {
        let old = due::parts(&run, None, now, config);
        // Most runs are young, or were looked at before; what speaks for the others costs some reads.
        let hold = if old.is_empty() { None } else { hold(view, &run)? };
        let due = if hold.is_none() { old.clone() } else { due::parts(&run, hold, now, config) };
        let held = hold.filter(|_| due.len() < old.len());
        found.push((Found { run, due }, held));
    }
    Ok(found)
}

fn measured(app: &App, found: Found, progress: &Progress) -> Result<Going, Ended> {
    let Found { run, due } = found;
    let removals = due.into_iter().map(|due| parts::measure(app, &run, due, progress));
    let removals: Vec<Option<Removal>> = removals.collect::<Result<_, Ended>>()?;
    Ok(Going { removals: removals.into_iter().flatten().collect(), run })
}

/// Numbers and commits of the results that are kept in the repository of a project. None where it cannot be read, which a
/// check says.
fn results_in(app: &App, project: ProjectId) -> BTreeMap<u32, CommitId> {
    let prefix = RefName::run_result("R-").map(|name| name.as_str().to_owned()).unwrap_or_default();
    let refs = app.repository(project).ok().and_then(|repository| repository.refs("refs/orch/runs/").ok());
    let number = |name: &RefName| name.as_str().strip_prefix(&prefix)?.parse().ok();
    refs.into_iter().flatten().filter_map(|(name, commit)| Some((number(&name)?, commit))).collect()
}

fn look_at_results(
    view: &ReadView<'_>,
    (project, refs): (ProjectId, Vec<(u32, CommitId)>),
    (now, config): (Timestamp, &RetentionConfig),
) -> Result<Vec<Going>, ReadError> {
    let mut going = Vec::new();
    for (number, commit) in refs {
        let Some(run) = view.by_number::<Run>(project, number)? else { continue };
        if run.removed(RunPart::Result).is_some() && !run.is_removing {
            continue;
        }
        let since = changes_of(view, &run)?.into_iter().map(|change| change.since).max().or(run.finished_at);
        let Some(since) = since else { continue };
        let policy = due::result(hold(view, &run)?, since, now, config);
        let removal = |policy| Removal { part: RunPart::Result, size_bytes: 0, content: commit.to_string(), policy };
        if let Some(policy) = policy {
            going.push(Going { run, removals: vec![removal(policy)] });
        }
    }
    Ok(going)
}

fn remove_blobs(app: &App, going: &[blobs::Going], (times, now): (&Times, Timestamp)) -> Vec<Result<u64, String>> {
    let policy = app.config.retention.blobs.policy();
    if let Err(error) = blobs::record(app, going, &policy, now) {
        return vec![Err(format!("the record of removed blobs cannot be written: {error}"))];
    }
    let remove = |going: &blobs::Going| match app.blobs.remove_older(&going.hash, times.young) {
        Ok(removed) => removed.map(Ok),
        Err(error) => Some(Err(format!("blob {}: {error}", going.hash))),
    };
    going.iter().filter_map(remove).collect()
}
