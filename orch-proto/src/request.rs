//! What a client can ask to be changed. One request is one command: it happens whole or not at all.
//!
//! Requests name things the way people do ([`Ref`]); the daemon resolves them. A request travels in an [`Envelope`]
//! whose key makes it idempotent: the same key twice gives the first answer again.

use serde::{Deserialize, Serialize};

use crate::id::CommandId;
use crate::reference::{EntityKind, Ref};
use crate::time::Timestamp;
use crate::view::{Choice, Condition, Meter, Period, Terms, Timeout};

/// A request with its idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Drawn once by the client and reused over its retries.
    pub key: CommandId,
    /// What to do.
    pub request: Request,
}

/// Bytes that travel as base64 text.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

/// Where a new project's repository comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RepoSource {
    /// A new, empty repository.
    Empty,
    /// A copy of an existing one on the daemon's machine. The source is only read.
    Import {
        /// Absolute path as the client sees it.
        path: String,
    },
}

/// A person's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    Approve,
    Deny,
}

/// One requirement as edited by a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequirementInput {
    /// `FR-12`, `REQ-7`; none lets the daemon give the next `REQ-n`.
    pub key: Option<String>,
    /// `functional`, `non_functional` or `constraint`.
    pub kind: String,
    pub title: String,
    pub text: String,
    pub acceptance: Vec<String>,
}

/// Who plans.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Planner {
    /// The model or agent that is configured; where there is none, the rules.
    #[default]
    Configured,
    /// The rules, at once.
    Rules,
    /// Another model of the configured server, this once.
    Model { name: String },
    /// An agent that is configured, this once: it looks at the repository.
    Agent { name: String },
}

impl Planner {
    /// Whether nothing is said of it.
    #[must_use]
    pub const fn is_configured(&self) -> bool {
        matches!(self, Self::Configured)
    }
}

/// A task that another waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    pub task: Ref,
    #[serde(default)]
    pub condition: Condition,
}

/// Where a task is put among those of its project that have its priority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum QueuePlace {
    /// Before all others.
    First,
    /// Behind all others.
    Last,
    /// Before that one, and so before all that were equal to it.
    Before { task: Ref },
    /// Behind that one, and so behind all that were equal to it.
    Behind { task: Ref },
}

/// A change to a proposed plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PlanEdit {
    /// `task` (a key of the plan) must wait for `needs`.
    Link { task: String, needs: String },
    /// `task` no longer waits for `needs`.
    Unlink { task: String, needs: String },
    /// The task is taken out of the plan, and out of every task's needs.
    Drop { task: String },
}

/// Everything that a client can ask to be changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Request {
    /// Makes a project. Its repository is prepared by the daemon afterwards; the project is `ready` then.
    ProjectCreate { name: String, repo: RepoSource },
    /// Takes a project out of use. What is queued there is not started any more.
    ProjectArchive { project: Ref },
    /// Says what a project may have of the host. What is absent stays as it is; a bound of 0 is none.
    ProjectSet { project: Ref, weight: Option<u32>, runs_max: Option<u32>, runs_per_day: Option<u32> },
    /// Says how long tasks of a project may wait although they could begin, and its runs be silent. What is absent stays.
    ProjectPatience { project: Ref, queue: Option<Timeout>, silence: Option<Timeout> },
    /// Says how much runs of a project may use in a time.
    ProjectBudget {
        project: Ref,
        meter: Meter,
        period: Period,
        /// In the unit of the meter; 0 takes the bound away.
        limit: u64,
        /// Runs under way are ended when it is used up.
        is_hard: bool,
    },
    /// Budgets of a project begin anew, of one period or of all.
    ProjectBudgetReset { project: Ref, period: Option<Period> },
    /// Nothing of the projects begins until they are resumed: no attempt, no check, no merge. All projects when none is
    /// named, and those that are made in the meantime.
    ProjectPause {
        projects: Vec<Ref>,
        reason: Option<String>,
        /// It is over by itself then.
        until: Option<Timestamp>,
        /// The processes of runs under way stand still, too.
        #[serde(default)]
        with_runs: bool,
    },
    /// Lets projects go on, with the runs that were paused with them; all when none is named.
    ProjectResume { projects: Vec<Ref> },
    /// Ends tasks of projects that are not over, the newest first and at most [`crate::TASKS_CANCELLED_MAX`]; of all projects when
    /// none is named. Their runs are killed. What was merged stays, and what is being merged is let finish.
    ProjectCancel { projects: Vec<Ref>, reason: Option<String> },
    /// Hands in a Vision, or a new version of it.
    VisionSubmit { project: Ref, file_name: String, text: Bytes },
    /// Derives requirements from the newest Vision (or the one named).
    RequirementsPropose {
        project: Ref,
        vision: Option<Ref>,
        #[serde(default, skip_serializing_if = "Planner::is_configured")]
        planner: Planner,
    },
    /// Makes a new version with these requirements added or replaced, and those taken out.
    RequirementsEdit {
        project: Ref,
        base_version: u32,
        upsert: Vec<RequirementInput>,
        remove: Vec<String>,
        reason: String,
    },
    /// Says a word about a requirement (or about the whole document). Kept with the version.
    RequirementsComment { project: Ref, version: u32, key: Option<String>, text: String },
    /// Approves or rejects a version. `digest` is that of what was shown; none decides about what is there now.
    RequirementsDecide {
        project: Ref,
        version: Option<u32>,
        decision: Decision,
        digest: Option<String>,
        reason: Option<String>,
    },
    /// Plans the approved requirements.
    PlanPropose {
        project: Ref,
        #[serde(default, skip_serializing_if = "Planner::is_configured")]
        planner: Planner,
    },
    /// Ends what a model or an agent plans for a project.
    PlanningCancel { project: Ref, reason: Option<String> },
    /// Makes a new version of a proposed plan.
    PlanChange { project: Ref, base_version: u32, edits: Vec<PlanEdit>, reason: String },
    /// Approves or rejects a plan. Approval makes its tasks.
    PlanDecide {
        project: Ref,
        version: Option<u32>,
        decision: Decision,
        digest: Option<String>,
        reason: Option<String>,
    },
    /// Makes a task by hand.
    TaskCreate {
        project: Ref,
        title: String,
        /// YAML of a run recipe: the steps. Without it the task needs an agent of `capability`.
        recipe: Option<String>,
        /// Name of the recipe's file, for messages.
        recipe_name: Option<String>,
        capability: Option<String>,
        depends_on: Vec<Dependency>,
        #[serde(default)]
        terms: Terms,
        acceptance: Vec<String>,
        /// 0 (last) to 9 (first); 5 is usual.
        priority: u8,
        /// The task may not start before a person approves it.
        needs_approval: bool,
        /// Approve the task for the queue at once; otherwise it stays `proposed`.
        queue: bool,
        /// Keys of the requirements that it serves.
        #[serde(default)]
        requirements: Vec<String>,
    },
    /// Changes what a task that is not under way does. What is none stays as it is.
    TaskEdit {
        task: Ref,
        /// YAML of a run recipe: the steps that do the work from now on.
        recipe: Option<String>,
        /// Name of the recipe's file, for messages.
        recipe_name: Option<String>,
        capability: Option<String>,
        requirements: Option<Vec<String>>,
        acceptance: Option<Vec<String>>,
    },
    /// Puts proposed tasks into the queue.
    TaskQueue { tasks: Vec<Ref> },
    /// `task` must wait for `depends_on`, or waits for it in another way from now on.
    TaskLink {
        task: Ref,
        depends_on: Ref,
        #[serde(default)]
        condition: Condition,
    },
    /// Says on which terms a task is scheduled.
    TaskSet { task: Ref, terms: Terms },
    /// `task` no longer waits for `depends_on`.
    TaskUnlink { task: Ref, depends_on: Ref },
    /// 0 (last) to 9 (first).
    TaskPrioritize { task: Ref, priority: u8 },
    /// Puts a task elsewhere among those of its project that have its priority.
    TaskMove { task: Ref, to: QueuePlace },
    /// Takes a task out of the queue until it is released. A run under way goes on.
    TaskHold { task: Ref, reason: Option<String> },
    /// Puts a held task back.
    TaskRelease { task: Ref },
    /// Ends a task; its run is killed. What was merged stays.
    TaskCancel { task: Ref, reason: Option<String> },
    /// Says something to a task: to the agent that works at it, or to the next one.
    TaskSay { task: Ref, text: String },
    /// Queues a failed or cancelled task again.
    TaskRetry {
        task: Ref,
        /// Also one that runs: its run is ended and does not count.
        #[serde(default)]
        anew: bool,
        /// The next attempt does not begin before.
        #[serde(default)]
        not_before: Option<Timestamp>,
        #[serde(default)]
        priority: Option<u8>,
    },
    /// Kills one run; the retry policy of its task decides what follows.
    RunCancel { run: Ref, reason: Option<String> },
    /// Queues the task of a run again, whose newest attempt that is.
    RunRetry {
        run: Ref,
        /// Also one that is under way: it is ended and does not count.
        #[serde(default)]
        anew: bool,
        /// The next attempt does not begin before.
        #[serde(default)]
        not_before: Option<Timestamp>,
        #[serde(default)]
        priority: Option<u8>,
    },
    /// Says something to the agent of a run.
    RunSay { run: Ref, text: String },
    /// Has the processes of a run stand still. Its time-outs stand still, too.
    RunPause { run: Ref, reason: Option<String> },
    /// Lets them go on.
    RunResume { run: Ref },
    /// Answers a pending approval. `digest` is that of what was shown.
    ApprovalDecide { approval: Ref, decision: Decision, digest: Option<String>, reason: Option<String> },
    /// Takes one of the choices of a question. `digest` is that of what was shown.
    QuestionAnswer {
        approval: Ref,
        choice: Choice,
        digest: Option<String>,
        /// With `retry`: the next attempt does not begin before.
        #[serde(default)]
        not_before: Option<Timestamp>,
        /// With `retry`: with another priority.
        #[serde(default)]
        priority: Option<u8>,
    },
    /// Declines to answer a question of a run, which is told so.
    InfoCancel { info: Ref, reason: Option<String> },
    /// Gives up a change that is not merged; its task fails.
    ChangeClose { change: Ref, reason: Option<String> },
    /// Takes a decision back where nothing was built on it: the one that an event belongs to, by the event's number, or the
    /// caller's last that is not taken back. An undo is a decision like others: taken back, what it undid is done again.
    /// The role is that of the decision; what others decided, only an admin takes back.
    Undo { event: Option<u64> },
}

/// What a request touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touched {
    pub kind: EntityKind,
    /// Full id.
    pub id: String,
    /// What people call it: `shop/T-12`, or a slug.
    pub name: String,
}

/// Answer to a request: it is committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Sequence number of the last event that it made. A reader that has reached it sees the effect.
    pub seq: u64,
    pub at: Timestamp,
    /// The key was used before: this is the first answer again and nothing new happened.
    pub duplicate: bool,
    /// What was made or changed, the most important first.
    pub touched: Vec<Touched>,
    /// Things worth knowing that are no errors.
    pub notes: Vec<String>,
}

/// Who may do something. Each role includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Makes and steers work.
    Operator,
    /// Answers approvals.
    Approver,
    /// Makes projects, stops the daemon.
    Admin,
}

impl Role {
    /// Its name in configurations and messages.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Admin => "admin",
        }
    }
}

impl Request {
    /// The role that the request needs.
    #[must_use]
    pub const fn role(&self) -> Role {
        match self {
            Self::ProjectCreate { .. }
            | Self::ProjectArchive { .. }
            | Self::ProjectSet { .. }
            | Self::ProjectBudget { .. }
            | Self::ProjectBudgetReset { .. } => Role::Admin,
            // More of a budget, and a word for what no gate has seen, are given by whoever may allow something.
            Self::RequirementsDecide { .. }
            | Self::PlanDecide { .. }
            | Self::ApprovalDecide { .. }
            | Self::QuestionAnswer { choice: Choice::Raise | Choice::Done, .. } => Role::Approver,
            Self::VisionSubmit { .. }
            | Self::RequirementsPropose { .. }
            | Self::RequirementsEdit { .. }
            | Self::RequirementsComment { .. }
            | Self::PlanPropose { .. }
            | Self::PlanningCancel { .. }
            | Self::PlanChange { .. }
            | Self::TaskCreate { .. }
            | Self::TaskEdit { .. }
            | Self::TaskQueue { .. }
            | Self::TaskLink { .. }
            | Self::TaskUnlink { .. }
            | Self::TaskSet { .. }
            | Self::TaskPrioritize { .. }
            | Self::TaskMove { .. }
            | Self::TaskHold { .. }
            | Self::TaskRelease { .. }
            | Self::TaskCancel { .. }
            | Self::TaskRetry { .. }
            | Self::TaskSay { .. }
            | Self::RunSay { .. }
            | Self::RunRetry { .. }
            | Self::RunCancel { .. }
            | Self::RunPause { .. }
            | Self::RunResume { .. }
            | Self::ProjectPatience { .. }
            | Self::QuestionAnswer { .. }
            | Self::ProjectPause { .. }
            | Self::ProjectResume { .. }
            | Self::ProjectCancel { .. }
            | Self::InfoCancel { .. }
            | Self::ChangeClose { .. }
            | Self::Undo { .. } => Role::Operator,
        }
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({} B)", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use base64::Engine as _;
        serializer.serialize_str(&base64::engine::general_purpose::STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use base64::Engine as _;
        let text = String::deserialize(deserializer)?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes))
    }
}
