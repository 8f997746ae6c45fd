//! What the state names and the disk must have: blobs, commits, runs. Read page by page, by id: what is made meanwhile comes at the
//! end, and no more than one page of the state is held.

use std::collections::{BTreeMap, BTreeSet};

use orch_adapters::git::{CommitId, RefName};
use orch_core::digest::Digest;
use orch_core::entity::{
    Change, Entity, PlanningEvent, Project, ProjectEvent, Run, RunEvent, RunPart, TurnEnd, Vision,
};
use orch_core::event::Event;
use orch_core::state::change::ChangeState;
use orch_core::state::project::ProjectState;
use orch_core::view::ReadError;
use orch_proto::id::{ProjectId, RunId};
use orch_store::{DatabaseFile, ReadView};

/// Things, and events, that are read at once.
const PAGE: u32 = 1_000;
const EVENTS_PAGE: u32 = 20_000;

/// Everything that the state names.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Blobs, each with its size and what it is, for people.
    pub(crate) blobs: BTreeMap<Digest, (u64, String)>,
    /// Blobs that may be there and need not, for people: what passed between the planner or agents and models, and what agents were
    /// told. It is kept for some time, and not at all where there was no room for it.
    pub(crate) texts: BTreeMap<Digest, &'static str>,
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
    pub(crate) fn read(file: &DatabaseFile) -> Result<Self, ReadError> {
        let mut names = Self::default();
        file.read(|view| names.add_all(view))?;
        file.read_log(|view| names.add_texts(view))?;
        Ok(names)
    }

    fn add_all(&mut self, view: &ReadView<'_>) -> Result<(), ReadError> {
        each(view, |project: Project| {
            let found = ProjectNames::new(&project);
            self.projects.insert(project.id, found);
        })?;
        each(view, |vision: Vision| self.blobs.extend([blob_of(&vision)]))?;
        let (mut numbers, mut results_removed) = (BTreeMap::new(), BTreeSet::new());
        each(view, |run: Run| {
            numbers.insert(run.id, run.number);
            if run.removed(RunPart::Log).is_some() {
                self.logs_removed.insert(run.id);
            }
            if run.removed(RunPart::Result).is_some() {
                results_removed.insert(run.id);
            }
            self.blobs.extend(blobs_of(&run));
            if run.state.is_final() {
                self.runs_over.insert(run.id);
            } else {
                self.runs_open.insert(run.id, run.fence);
            }
        })?;
        each(view, |change: Change| {
            if let Some(project) = self.projects.get_mut(&change.project) {
                let is_kept = !results_removed.contains(&change.run);
                project.add(&change, numbers.get(&change.run).copied().filter(|_| is_kept));
            }
        })
    }

    /// Reads the log for what is named nowhere else.
    fn add_texts(&mut self, view: &ReadView<'_>) -> Result<(), ReadError> {
        let wants = |kind: &str| {
            let of_runs = ["run.told", "run.model_asked", "run.model_answered"];
            let of_plannings = ["project.planning_model_", "project.planning_agent_"];
            of_plannings.iter().any(|prefix| kind.starts_with(prefix)) || of_runs.contains(&kind)
        };
        let mut after = 0;
        loop {
            let read = view.each_event_since((after, EVENTS_PAGE), wants, |_, _, event| {
                let text = match event {
                    Event::Project { event: ProjectEvent::Planning { event, .. }, .. } => text_of_planning(event),
                    Event::Run { event, .. } => text_of_run(event),
                    _ => None,
                };
                self.texts.extend(text);
            })?;
            let Some(last) = read else { return Ok(()) };
            after = last;
        }
    }

    /// Whether anything names the blob.
    pub(crate) fn has_blob(&self, digest: &Digest) -> bool {
        self.blobs.contains_key(digest) || self.texts.contains_key(digest)
    }

    /// Whether there is such a run.
    pub(crate) fn has_run(&self, run: RunId) -> bool {
        self.runs_over.contains(&run) || self.runs_open.contains_key(&run)
    }
}

/// A blob that an event of a planning names, and what it is.
fn text_of_planning(event: &PlanningEvent) -> Option<(Digest, &'static str)> {
    match event {
        PlanningEvent::ModelAsked { request, .. } => Some((request.body, "what the planner asked a model")),
        PlanningEvent::ModelAnswered { answer, .. } => Some((answer.body?, "what a model answered the planner")),
        PlanningEvent::AgentStarted { told, .. } => Some((told.prompt, "what the planner told an agent")),
        PlanningEvent::AgentEnded { end: TurnEnd::Answered { body, .. }, .. } => {
            Some((*body, "what an agent answered the planner"))
        }
        PlanningEvent::AgentEnded { .. }
        | PlanningEvent::Asked { .. }
        | PlanningEvent::Refused { .. }
        | PlanningEvent::FellBack { .. }
        | PlanningEvent::Ended { .. } => None,
    }
}

/// The same of a run. Of an older version's run its directory has it.
fn text_of_run(event: &RunEvent) -> Option<(Digest, &'static str)> {
    match event {
        RunEvent::Told { prompt, .. } => Some((*prompt, "what an agent was told")),
        RunEvent::ModelAsked { request, .. } => Some((request.body, "what an agent asked a model")),
        RunEvent::ModelAnswered { answer, .. } => Some((answer.body?, "what a model answered an agent")),
        _ => None,
    }
}

/// The blob of a Vision, with its size and what it is, for people.
pub(super) fn blob_of(vision: &Vision) -> (Digest, (u64, String)) {
    (vision.text, (vision.size_bytes, format!("text of Vision version {}", vision.version)))
}

/// The blobs that a run holds.
pub(super) fn blobs_of(run: &Run) -> impl Iterator<Item = (Digest, (u64, String))> {
    let is_held = run.removed(RunPart::Artifacts).is_none();
    run.artifacts.iter().filter(move |_| is_held).map(|kept| {
        let what = format!("artifact {} of R-{}", kept.path, run.number);
        (kept.digest, (kept.size_bytes, what))
    })
}

/// Calls `take` with each thing of a kind.
fn each<E: Entity>(view: &ReadView<'_>, mut take: impl FnMut(E)) -> Result<(), ReadError> {
    let mut after = None;
    loop {
        let page = view.page::<E>(after, PAGE)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id());
        page.into_iter().for_each(&mut take);
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
