//! The merge queue: checks the change whose turn it is on the tree that would be merged, and moves the branch.
//!
//! One change of a project at a time. The branch only ever moves from the very commit that was checked against, by
//! compare-and-set; the intent is on record before, and after a crash the branch itself is asked what happened.

use std::sync::Arc;
use std::time::Duration;

use orch_adapters::git::{
    BareRepo, CommitError, CommitId, CommitSpec, Headline, Identity, MergeError, MergeOutcome, Message, NameError,
    RefError, RefName, TreeId, UpdateRefError, conventional_message,
};
use orch_adapters::job;
use orch_core::command::Command;
use orch_core::decide::LISTED_MAX;
use orch_core::entity::{Approval, Change, GatesOn, Project, Run, Task};
use orch_core::event::Event;
use orch_core::state::change::ChangeState;
use orch_core::view::{ReadError, View as _};
use orch_proto::Timestamp;
use orch_proto::id::ChangeId;
use orch_store::{READ_DEADLINE_MS_MAX, ReadView};

use super::scheduler::{accept, know};
use super::{Again, PassError, gates, projects};
use crate::app::App;
use crate::error_chain::chain;
use crate::site::{Moved, Site};

/// Why a merge did not go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum MergeStepError {
    #[error("failed to open the repository")]
    Open(#[from] orch_adapters::git::OpenError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("failed to read the branch")]
    Ref(#[from] RefError),
    #[error("failed to merge")]
    Merge(#[from] MergeError),
    #[error("failed to make the commit")]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Concern(#[from] gates::ConcernError),
    #[error("failed to move the branch")]
    Move(#[from] UpdateRefError),
}

/// The change at the front of a project's queue, with all that its merge needs.
#[derive(Clone, Debug)]
pub struct Front {
    pub change: Change,
    pub project: Project,
    pub task: Task,
    /// The run whose result it is.
    pub run: Run,
    /// Nobody has to be asked any more.
    pub approved: bool,
}

/// Whether what happened may move a merge queue on. What runs do moves none before it is a change's.
pub(super) const fn heeds(event: &Event) -> bool {
    matches!(event, Event::Change { .. } | Event::Approval { .. } | Event::Project { .. })
}

/// Moves every project's merge queue on.
pub(super) async fn pass<S: Site>(app: Arc<S>) -> Result<Again, PassError> {
    let (fronts, due) = {
        let site = Arc::clone(&app);
        app.blocking(move || fronts(&*site)).await?
    };
    for front in fronts {
        let site = Arc::clone(&app);
        let (change, project) = (front.change.clone(), front.project.clone());
        match app.blocking(move || merge_step(&*site, &front)).await {
            Ok(Some(command)) => {
                app.troubles().over(change.id);
                accept(app.execute("changes", command).await)?;
            }
            Ok(None) => {}
            Err(error) => app.troubles().met(&change, &project, &error, app.instant()),
        }
    }
    let due = due.map(|due| Duration::from_millis(due.ms_since(app.now()) + 1));
    Ok([due, app.troubles().again()].into_iter().flatten().min())
}

/// The fronts of all merge queues, and when a grant is held no more. Changes that just could not go on are left alone for a moment,
/// and hold nobody up.
fn fronts(app: &impl Site) -> Result<(Vec<Front>, Option<Timestamp>), ReadError> {
    if !know(app)? {
        return Ok((Vec::new(), None));
    }
    app.renew_limits();
    app.store().read_within(READ_DEADLINE_MS_MAX, |view| {
        let (changes, due) = {
            let mut kept = app.book().at(view, app.now())?;
            let now = app.now();
            app.troubles().keep(|change| kept.book.has_change(*change));
            (kept.book.fronts(now, &app.troubles().resting(app.instant())), kept.book.next_grant())
        };
        let mut fronts = Vec::new();
        for id in changes {
            fronts.extend(front(view, id)?);
        }
        Ok((fronts, due))
    })
}

fn front(view: &ReadView<'_>, id: ChangeId) -> Result<Option<Front>, ReadError> {
    let Some(change) = view.get::<Change>(id)? else { return Ok(None) };
    let (project, task, run) = (view.get(change.project)?, view.get(change.task)?, view.get(change.run)?);
    let (Some(project), Some(task), Some(run)) = (project, task, run) else { return Ok(None) };
    let approved = match change.approval {
        None => true,
        Some(id) => view.get::<Approval>(id)?.is_some_and(|approval| approval.grants(change.digest())),
    };
    Ok(Some(Front { change, project, task, run, approved }))
}

/// Begins the check of a change that the scheduler chose. When that does not work, the change is left alone for a moment.
pub(super) async fn start_check<S: Site>(app: &Arc<S>, project: &Project, change: &Change) {
    let (site, change_, project_) = (Arc::clone(app), change.clone(), project.clone());
    let begun = match app.blocking(move || site.check(&change_, &project_)).await {
        Ok(command) => accept(app.execute("scheduler", command).await).map_err(|error| chain(&error)),
        Err(error) => Err(error),
    };
    match begun {
        Ok(()) => app.troubles().over(change.id),
        // Nothing is tried again by a daemon that stops.
        Err(_) if app.is_stopping() => {}
        Err(error) => app.troubles().met(change, project, &error, app.instant()),
    }
}

/// One step of the change at the front: begin its merge, finish it, or check it again.
fn merge_step(app: &impl Site, front: &Front) -> Result<Option<Command>, String> {
    let change = front.change.id;
    Ok(match &front.change.state {
        ChangeState::Mergeable { base, tree } if front.approved => {
            if app.head(&front.project)? != *base {
                return Ok(Some(Command::RecheckChange { change }));
            }
            Some(Command::StartMerge { change, commit: app.commit(front, base.as_deref(), tree)? })
        }
        ChangeState::Queued { base, commit } => Some(match app.advance(front, base.as_deref(), commit)? {
            Moved::There { toolchains } => Command::FinishMerge { change, toolchains },
            Moved::Elsewhere => Command::RefuseMerge { change },
        }),
        _ => None,
    })
}

/// Merges the change into the branch as it is now, on trees only, and says how the result is to be checked and what a
/// person has to be asked about it.
pub(super) fn check_command(app: &App, change: &Change, project: &Project) -> Result<Command, MergeStepError> {
    let repository = app.repository(project.id)?;
    let branch = RefName::branch(&project.default_branch)?;
    let base = repository.head(&branch)?;
    let head = CommitId::parse(&change.proposal.head)?;
    let tree = match &base {
        None => TreeId::parse(&change.proposal.tree)?,
        Some(base) => match repository.merge_tree(base, &head)? {
            MergeOutcome::Clean { tree } => tree,
            MergeOutcome::Conflict { paths } => {
                return Ok(Command::ConflictChange { change: change.id, paths: gates::shown(&paths) });
            }
        },
    };
    let commit = candidate(&repository, change, format!("check: C-{}\n", change.number), base.as_ref(), &tree)?;
    let GatesOn { run, lost } = gates::on(app, project, commit.as_str());
    let mut concerns = gates::concerns(&repository, project, change, (base.as_ref(), &commit))?;
    concerns.extend(lost.into_iter().map(|lost| format!("gate: {lost}")));
    let (change, base, tree) = (change.id, base.map(|base| base.to_string()), tree.to_string());
    if run.is_empty() {
        return Ok(Command::SkipCheck { change, base, tree, concerns });
    }
    Ok(Command::StartCheck {
        change,
        base,
        tree,
        commit: commit.to_string(),
        steps: job::gate_steps(&run),
        concerns,
        required_level: app.config.required_level,
        lease_ms: app.config.leases.run_ms(),
    })
}

/// The commit that a project's branch is at.
pub(super) fn head(app: &App, project: &Project) -> Result<Option<String>, MergeStepError> {
    let head = app.repository(project.id)?.head(&RefName::branch(&project.default_branch)?)?;
    Ok(head.map(|head| head.to_string()))
}

/// Makes the commit of a merge.
pub(super) fn commit(app: &App, front: &Front, base: Option<&str>, tree: &str) -> Result<String, MergeStepError> {
    let repository = app.repository(front.project.id)?;
    let base = base.map(CommitId::parse).transpose()?;
    let commit = candidate(&repository, &front.change, squash_message(front), base.as_ref(), &TreeId::parse(tree)?)?;
    Ok(commit.to_string())
}

/// Moves the branch to the commit of a merge, from the one that was checked against.
pub(super) fn advance(app: &App, front: &Front, base: Option<&str>, commit: &str) -> Result<Moved, MergeStepError> {
    let Front { change, project, .. } = front;
    let repository = app.repository(project.id)?;
    let branch = RefName::branch(&project.default_branch)?;
    let (commit, base) = (CommitId::parse(commit)?, base.map(CommitId::parse).transpose()?);
    let why = format!("merge C-{}", change.number);
    match repository.update_ref(&branch, &commit, base.as_ref(), &why) {
        Ok(()) => {}
        // Somebody moved the branch: if on top of our commit, ours is merged all the same.
        Err(UpdateRefError::Lost { found: Some(found), .. }) if repository.is_ancestor(&commit, &found)? => {}
        Err(UpdateRefError::Lost { .. }) => return Ok(Moved::Elsewhere),
        Err(error) => return Err(error.into()),
    }
    // What guards the branch is not forgotten because git failed to show it.
    let found = projects::detect(app, project.id, commit.as_str());
    Ok(Moved::There { toolchains: found.unwrap_or_else(|| project.toolchains.clone()) })
}

/// The commit that would be merged. The same change on the same base always gives the same commit.
fn candidate(
    repository: &BareRepo,
    change: &Change,
    message: String,
    base: Option<&CommitId>,
    tree: &TreeId,
) -> Result<CommitId, MergeStepError> {
    let identity = Identity::new("orchd", "daemon@orch.invalid")?;
    let spec = CommitSpec {
        tree: tree.clone(),
        parents: base.into_iter().cloned().collect(),
        message,
        author: identity.clone(),
        committer: identity,
        at_unix_s: change.opened_at.unix_us().div_euclid(1_000_000),
    };
    Ok(repository.commit_tree(&spec)?)
}

fn squash_message(front: &Front) -> String {
    let Front { change, project, task, run, .. } = front;
    let slug = &project.slug;
    let mut trailers = vec![
        ("Task", format!("{slug}/T-{}", task.number)),
        ("Run", format!("{slug}/R-{}", run.number)),
        ("Change", format!("{slug}/C-{}", change.number)),
    ];
    trailers.extend(task.spec.requirements.iter().map(|key| ("Requirement", key.to_string())));
    let accepted = task.spec.acceptance.iter().map(|line| format!("- {line}")).collect::<Vec<_>>().join("\n");
    // What touches nothing but protected paths (workflows, owners) is no feature.
    let is_chore = change.proposal.protected.len() == change.proposal.stat.files as usize;
    let kind = if is_chore { "chore" } else { "feat" };
    let Some(words) = &change.proposal.words else {
        let (subject, body) = (&change.title, &accepted);
        return conventional_message(&Message { kind, scope: "", subject, body, trailers: &trailers });
    };
    // Before what people wanted stands no more than leaves room for it.
    let said = words.body.lines().take(LISTED_MAX).collect::<Vec<_>>().join("\n");
    let body = format!("{said}\n\n{}\n{accepted}", change.title);
    let Headline { kind, scope, subject } = Headline::of(&words.title, kind);
    conventional_message(&Message { kind, scope, subject, body: &body, trailers: &trailers })
}
