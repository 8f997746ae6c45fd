//! What the state names and the disk must have: blobs, commits, runs. Read from one state of the database.

use std::collections::{BTreeMap, BTreeSet};

use orch_adapters::git::{CommitId, RefName};
use orch_core::digest::Digest;
use orch_core::entity::{Change, Project, Run, RunPart, Vision};
use orch_core::state::change::ChangeState;
use orch_core::state::project::ProjectState;
use orch_core::view::{Filter, ReadError};
use orch_proto::id::{ProjectId, RunId};
use orch_store::ReadView;

/// Everything that the state names.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Blobs, each with its size and what it is, for people.
    pub(crate) blobs: BTreeMap<Digest, (u64, String)>,
    pub(crate) projects: BTreeMap<ProjectId, ProjectNames>,
    /// Runs that are over.
    pub(crate) runs_over: BTreeSet<RunId>,
    /// Runs that are over and whose logs were removed.
    pub(crate) logs_removed: BTreeSet<RunId>,
    /// Runs under way, each with its fence.
    pub(crate) runs_open: BTreeMap<RunId, u64>,
}

/// What the state names in the repository of a project.
#[derive(Debug)]
pub(crate) struct ProjectNames {
    pub(crate) slug: String,
    /// Whether there must be a repository. Of a project that is not in use any more, or not yet, there may be one.
    pub(crate) is_ready: bool,
    /// The branch that changes merge into, and where it is.
    pub(crate) branch: Option<RefName>,
    pub(crate) head: Option<CommitId>,
    /// Refs of results of runs that became changes.
    pub(crate) results: BTreeMap<RefName, CommitId>,
    /// Every commit that must be there.
    pub(crate) commits: BTreeSet<CommitId>,
}

impl Names {
    /// Reads them.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub(crate) fn read(view: &ReadView<'_>) -> Result<Self, ReadError> {
        let mut names = Self::default();
        view.each(&Filter::default(), |project: Project| {
            let found = ProjectNames::new(&project);
            names.projects.insert(project.id, found);
        })?;
        view.each(&Filter::default(), |vision: Vision| {
            let what = format!("text of Vision version {}", vision.version);
            names.blobs.insert(vision.text, (vision.size_bytes, what));
        })?;
        let (mut numbers, mut results_removed) = (BTreeMap::new(), BTreeSet::new());
        view.each(&Filter::default(), |run: Run| {
            numbers.insert(run.id, run.number);
            if run.removed(RunPart::Log).is_some() {
                names.logs_removed.insert(run.id);
            }
            if run.removed(RunPart::Result).is_some() {
                results_removed.insert(run.id);
            }
            let is_held = run.removed(RunPart::Artifacts).is_none();
            for kept in run.artifacts.iter().filter(|_| is_held) {
                let what = format!("artifact {} of R-{}", kept.path, run.number);
                names.blobs.insert(kept.digest, (kept.size_bytes, what));
            }
            if run.state.is_final() {
                names.runs_over.insert(run.id);
            } else {
                names.runs_open.insert(run.id, run.fence);
            }
        })?;
        view.each(&Filter::default(), |change: Change| {
            if let Some(project) = names.projects.get_mut(&change.project) {
                let is_kept = !results_removed.contains(&change.run);
                project.add(&change, numbers.get(&change.run).copied().filter(|_| is_kept));
            }
        })?;
        Ok(names)
    }

    /// Whether there is such a run.
    pub(crate) fn has_run(&self, run: RunId) -> bool {
        self.runs_over.contains(&run) || self.runs_open.contains_key(&run)
    }
}

impl ProjectNames {
    fn new(project: &Project) -> Self {
        let head = project.head.as_deref().and_then(|head| CommitId::parse(head).ok());
        Self {
            slug: project.slug.clone(),
            is_ready: project.state == ProjectState::Ready,
            branch: RefName::branch(&project.default_branch).ok(),
            commits: head.iter().cloned().collect(),
            head,
            results: BTreeMap::new(),
        }
    }

    /// `run` is the number of the run whose result it is, unless that was removed.
    fn add(&mut self, change: &Change, run: Option<u32>) {
        let merging = match &change.state {
            ChangeState::Queued { commit, .. } | ChangeState::Merged { commit } => CommitId::parse(commit).ok(),
            _ => None,
        };
        self.commits.extend(merging);
        // Without a ref nothing keeps the commit, which nobody needs any more then.
        let Some(number) = run else { return };
        let Ok(head) = CommitId::parse(&change.proposal.head) else { return };
        if let Ok(name) = RefName::run_result(&format!("R-{number}")) {
            self.results.insert(name, head.clone());
        }
        self.commits.insert(head);
    }
}
