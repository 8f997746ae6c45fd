//! Commands: what is wanted. Each is decided in one transaction and happens whole or not at all.
//!
//! Commands come from clients (through the daemon, which resolved names and read what had to be read) and from the
//! daemon's own parts, which report what their effects did (invariants I5, I6).

mod change;

use std::collections::BTreeMap;

use orch_proto::Timestamp;
use orch_proto::id::{
    ApprovalId, ChangeId, CommandId, InfoRequestId, PlanId, ProjectId, RequirementsId, RunId, TaskId, VisionId,
};
use serde::{Deserialize, Serialize};

pub use self::change::{PatienceChange, TermsChange};
use crate::actor::Actor;
use crate::digest::Digest;
use crate::entity::{
    AgentUse, Artifact, BudgetKey, ChangeProposal, Choice, Condition, FieldValue, InfoField, InstalledTool, LeftOut,
    LeftSession, ModelAnswer, ModelRequest, Observation, OpenExchange, Period, PlanContent, PlannedStep, PlannerUse,
    PlanningSubject, Removal, RepositorySource, TaskSpec, Terms, Timeout, Told, TurnEnd,
};
use crate::planner::asked::Question;
use crate::planner::{Extraction, Requirement, RequirementKey};
use crate::recipe::Glob;
use crate::state::run::RunOutcome;
use crate::toolchain::Toolchain;
use crate::undo::Operation;

/// A command with where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The key of its idempotency: the same id twice gives the first result again.
    pub id: CommandId,
    pub actor: Actor,
    /// Digest of the request as the client sent it: the same id with another request is refused.
    pub request: Digest,
    pub command: Command,
}

/// A change to a proposed plan, by keys of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlanEdit {
    Link { task: String, needs: String },
    Unlink { task: String, needs: String },
    Drop { task: String },
}

/// A requirement as edited by a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequirementEdit {
    /// None: the next free `REQ-n`.
    pub key: Option<RequirementKey>,
    /// Its `id` is ignored; `key` counts.
    pub content: Requirement,
}

/// What the log of a run says between its cursor, which is `from`, and `cursor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub from: u64,
    pub cursor: u64,
    pub observations: Vec<Observation>,
}

/// A person's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Approve,
    Deny {
        reason: String,
    },
    /// One of the choices of the question; what follows a retry, also when and how soon.
    Choose {
        choice: Choice,
        not_before: Option<Timestamp>,
        priority: Option<u8>,
    },
}

/// What a run says over its channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// How far it is; what it said before is replaced.
    Progress { percent: Option<u8>, text: String },
    /// Something for its record.
    Note { text: String },
    /// A file, which is in the blob store already.
    HandIn { artifact: Artifact },
    /// What it wants to know of a person, until then. `key` is its own name for it.
    Ask { key: String, text: String, fields: Vec<InfoField>, expires: Timestamp },
    /// What it wants to do and a person is to allow, until then.
    Await { key: String, action: String, details: Vec<String>, expires: Timestamp },
    /// It has the answer to its question of this name.
    Taken { key: String },
    /// Nobody in it waits for the answer to its question of this name any more; or to that whether it may do this, with these
    /// details.
    Withdraw { key: String, action: Option<(String, Vec<String>)> },
    /// Its agent was told the message of this number.
    Told { number: u32 },
    /// What its agent answered to the message of this number.
    Replied { number: u32, text: String },
    /// Under which words its work is to be proposed.
    Propose { title: String, body: String },
    /// Which tool of the host it wants and does not have, what for, and where it would come from. A person is to decide until then.
    AskTool { name: String, reason: String, source: String, expires: Timestamp },
    /// Nobody in it waits any more for the decision about that tool.
    WithdrawTool { name: String },
}

/// What is wanted of a model, or of an agent, in the place of the planner's rules. `planning` is its number in the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanningCommand {
    /// The model is to be asked.
    Ask { subject: PlanningSubject, planner: PlannerUse },
    /// A request to it is about to leave when that is on record.
    AskModel { planning: u32, exchange: OpenExchange, request: Box<ModelRequest> },
    /// What came of that.
    AnswerModel { planning: u32, exchange: u32, answer: Box<ModelAnswer> },
    /// An agent is about to start when that is on record: what it is told, and the installed tools that it works with.
    StartAgent { planning: u32, turn: u32, told: Told, tools: Vec<InstalledTool> },
    /// What came of that.
    EndAgent { planning: u32, turn: u32, end: TurnEnd },
    /// What was answered cannot be used: in an exchange, or in a turn of an agent.
    Refuse { planning: u32, exchange: u32, problems: Vec<String> },
    /// The model cannot be asked: the other that was named takes its place.
    FallBack { planning: u32, reason: String },
    /// It is over.
    Finish { planning: u32, outcome: PlanningOutcome },
    /// A person wants no more of it.
    Cancel { reason: String },
}

/// What came of a planning. `said` is why the version was made, `ruled` why it is that of the rules, if it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanningOutcome {
    Requirements { content: Box<Extraction>, said: String, ruled: Option<String>, questions: Vec<Question> },
    Plan { content: Box<PlanContent>, said: String, ruled: Option<String> },
    Failed { reason: String },
}

/// Which version a person decides about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    Approval(ApprovalId),
    Requirements(RequirementsId),
    Plan(PlanId),
}

/// A task made by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTask {
    pub project: ProjectId,
    pub title: String,
    pub spec: TaskSpec,
    pub depends_on: BTreeMap<TaskId, Condition>,
    pub terms: Terms,
    pub priority: u8,
    pub needs_approval: bool,
    /// Put it into the queue at once.
    pub queue: bool,
}

/// Where a task is put among those of its project that have its priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    First,
    Last,
    Before(TaskId),
    Behind(TaskId),
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    CreateProject {
        slug: String,
        source: RepositorySource,
        protected_paths: Vec<Glob>,
    },
    /// A model in the place of the planner's rules.
    Planning {
        project: ProjectId,
        command: PlanningCommand,
    },
    /// The repository stands.
    PrepareProject {
        project: ProjectId,
        default_branch: String,
        head: Option<String>,
        toolchains: Vec<Toolchain>,
    },
    FailProject {
        project: ProjectId,
        reason: String,
    },
    ArchiveProject {
        project: ProjectId,
    },
    /// What is `None` stays as it is; a bound of 0 is none.
    SetShare {
        project: ProjectId,
        weight: Option<u32>,
        runs_max: Option<u32>,
        runs_per_day: Option<u32>,
    },
    /// How long tasks of the project may wait, and its runs be silent.
    SetPatience {
        project: ProjectId,
        change: PatienceChange,
    },
    /// How much runs of the project may use; 0 takes the bound away.
    SetBudget {
        project: ProjectId,
        key: BudgetKey,
        limit: u64,
        /// Runs under way are ended when it is used up.
        is_hard: bool,
    },
    /// Budgets of the project begin anew, of one period or of all.
    ResetBudgets {
        project: ProjectId,
        period: Option<Period>,
    },
    /// Something of a budget of the project may be otherwise than is on record.
    JudgeBudgets {
        project: ProjectId,
    },
    /// Nothing of the projects begins until they are resumed; of all there are when none is named.
    PauseProjects {
        projects: Vec<ProjectId>,
        reason: String,
        until: Option<Timestamp>,
        /// The processes of runs under way stand still, too.
        with_runs: bool,
    },
    ResumeProjects {
        projects: Vec<ProjectId>,
    },

    /// The text is in the blob store already.
    SubmitVision {
        project: ProjectId,
        title: String,
        file_name: String,
        text: Digest,
        size_bytes: u64,
        blueprint: Option<String>,
    },

    ProposeRequirements {
        project: ProjectId,
        vision: VisionId,
        content: Box<Extraction>,
        reason: String,
        /// What people are asked about the Vision.
        questions: Vec<Question>,
    },
    EditRequirements {
        project: ProjectId,
        base_version: u32,
        upsert: Vec<RequirementEdit>,
        remove: Vec<RequirementKey>,
        reason: String,
    },
    CommentRequirements {
        requirements: RequirementsId,
        key: Option<RequirementKey>,
        text: String,
    },

    ProposePlan {
        project: ProjectId,
        requirements: RequirementsId,
        content: Box<PlanContent>,
        reason: String,
    },
    EditPlan {
        project: ProjectId,
        base_version: u32,
        edits: Vec<PlanEdit>,
        reason: String,
    },

    /// `digest` is that of what the person saw; none decides about what is there.
    Decide {
        subject: Subject,
        answer: Answer,
        digest: Option<Digest>,
    },

    CreateTask {
        task: Box<NewTask>,
    },
    /// What the task does from now on.
    /// With `needs_approval` it waits for a person even when it did not before.
    EditTask {
        task: TaskId,
        spec: Box<TaskSpec>,
        needs_approval: bool,
    },
    QueueTasks {
        tasks: Vec<TaskId>,
    },
    LinkTask {
        task: TaskId,
        depends_on: TaskId,
        condition: Condition,
    },
    UnlinkTask {
        task: TaskId,
        depends_on: TaskId,
    },
    /// On which terms the task is scheduled from now on. What is `None` stays as it is.
    SetTerms {
        task: TaskId,
        change: Box<TermsChange>,
    },
    /// A person says something to the task: to the agent that works at it, or to the next one.
    SayToTask {
        task: TaskId,
        text: String,
    },
    /// A person says something to the agent of a run.
    SayToRun {
        run: RunId,
        text: String,
    },
    /// Its time is over and it has not begun.
    ExpireTask {
        task: TaskId,
    },
    /// It could begin since then, has not, and that is too long.
    OverdueTask {
        task: TaskId,
        since: Timestamp,
        timeout: Timeout,
    },
    /// What the task waits for cannot happen any more.
    SkipTask {
        task: TaskId,
    },
    PrioritizeTask {
        task: TaskId,
        priority: u8,
    },
    HoldTask {
        task: TaskId,
        reason: String,
    },
    ReleaseTask {
        task: TaskId,
    },
    CancelTask {
        task: TaskId,
        reason: String,
    },
    /// These tasks are to end, but for what is over by then or is being merged.
    CancelTasks {
        tasks: Vec<TaskId>,
        reason: String,
    },
    /// A person puts a task elsewhere among those of its project that have its priority.
    MoveTask {
        task: TaskId,
        to: Seat,
    },
    /// The task is tried again.
    RetryTask {
        task: TaskId,
        /// Also if a run of it is under way, which is ended and does not count.
        anew: bool,
        not_before: Option<Timestamp>,
        priority: Option<u8>,
    },

    CancelRun {
        run: RunId,
        reason: String,
    },
    /// The task of a run is tried again, whose newest attempt it is.
    RetryRun {
        run: RunId,
        /// Also if it is under way: it is ended and does not count.
        anew: bool,
        not_before: Option<Timestamp>,
        priority: Option<u8>,
    },
    /// The processes of a run are to stand still.
    PauseRun {
        run: RunId,
        reason: String,
    },
    ResumeRun {
        run: RunId,
    },
    /// Nothing was heard of the run since then, and that is too long.
    SilentRun {
        run: RunId,
        since: Timestamp,
        timeout: Timeout,
    },
    /// A run that was silent is so no more.
    HeardRun {
        run: RunId,
    },
    /// The scheduler's choice: an attempt at the task, starting from `base`.
    StartRun {
        task: TaskId,
        base: Option<String>,
        steps: Vec<PlannedStep>,
        /// Who does the work; none does known steps.
        agent: Option<AgentUse>,
        required_level: u8,
        lease_ms: u64,
        reason: String,
    },
    /// What was kept for long enough is about to go, by run. What is in use by then stays; the answer names the runs of
    /// which something goes.
    RemoveParts {
        removals: BTreeMap<RunId, Vec<Removal>>,
    },
    /// What was to go of these runs is gone.
    FinishRemoval {
        runs: Vec<RunId>,
    },
    /// The runner is about to start the process tree.
    MarkRunStarting {
        run: RunId,
    },
    /// The agent of the run is about to be started with this.
    TellAgent {
        run: RunId,
        fence: u64,
        prompt: Digest,
        bytes: u64,
    },
    /// The run asks a model for something, which is about to leave when that is on record. Exchanges of a run are numbered in
    /// their order.
    AskModel {
        run: RunId,
        fence: u64,
        exchange: OpenExchange,
        request: Box<ModelRequest>,
    },
    /// What came of that.
    AnswerModel {
        run: RunId,
        number: u32,
        answer: Box<ModelAnswer>,
    },
    /// What a run says over its channel.
    Say {
        run: RunId,
        fence: u64,
        word: Box<Word>,
    },
    /// A run waits for an answer for so long that its processes are to stand still.
    ParkRun {
        run: RunId,
    },
    /// There is a place for a run that has its answer and stands still.
    RecallRun {
        run: RunId,
    },
    /// The time of something that a run waits for may be over.
    ExpireAsked {
        run: RunId,
    },
    /// A person's answer to the question of a run, by the names of its fields. Values of secrets are in their store already.
    AnswerInfo {
        info: InfoRequestId,
        answers: BTreeMap<String, FieldValue>,
    },
    /// A person does not answer the question of a run.
    CancelInfo {
        info: InfoRequestId,
        reason: String,
    },
    /// A run is about to be started with these tools, which were installed for runs.
    EquipRun {
        run: RunId,
        fence: u64,
        tools: Vec<InstalledTool>,
    },
    /// The workspace as it was after a step is in the project's repository, as this commit.
    KeepCheckpoint {
        run: RunId,
        fence: u64,
        step: u32,
        commit: String,
    },
    /// What a run that was interrupted left of its agent's session; its files as they were left are in the project's repository, as
    /// this commit.
    KeepSession {
        run: RunId,
        fence: u64,
        left: LeftSession,
        commit: Option<String>,
    },
    /// Read from the run's log between its cursor and `cursor`.
    RecordRun {
        run: RunId,
        fence: u64,
        from: u64,
        cursor: u64,
        observations: Vec<Observation>,
    },
    /// The run is over; `said` is the rest of what its log says, and `proposal` what it wants to merge.
    SettleRun {
        run: RunId,
        fence: u64,
        said: Option<Box<Said>>,
        outcome: RunOutcome,
        artifacts: Vec<Artifact>,
        log_dropped_bytes: u64,
        /// Files that it left and that were not kept.
        left_out: Box<LeftOut>,
        proposal: Option<Box<ChangeProposal>>,
    },

    /// The gates of `change` are to be run on `tree`, its merge into `base`; `commit` holds that tree.
    StartCheck {
        change: ChangeId,
        base: Option<String>,
        tree: String,
        commit: String,
        steps: Vec<PlannedStep>,
        /// What a person has to know of this merge beside the protected paths of the proposal.
        concerns: Vec<String>,
        required_level: u8,
        lease_ms: u64,
    },
    /// There are no gates for it.
    SkipCheck {
        change: ChangeId,
        base: Option<String>,
        tree: String,
        concerns: Vec<String>,
    },
    /// The branch moved after the check.
    RecheckChange {
        change: ChangeId,
    },
    ConflictChange {
        change: ChangeId,
        paths: Vec<String>,
    },
    /// The merge commit exists; the branch is about to be moved to it.
    StartMerge {
        change: ChangeId,
        commit: String,
    },
    /// The branch was moved.
    FinishMerge {
        change: ChangeId,
        toolchains: Vec<Toolchain>,
    },
    /// Somebody else moved the branch first.
    RefuseMerge {
        change: ChangeId,
    },
    CloseChange {
        change: ChangeId,
        reason: String,
    },

    /// The time of pending approvals is over.
    ExpireApprovals,

    /// What one command of a person made happen is taken back. Read from the log, which says what was before.
    Undo {
        operation: Box<Operation>,
    },
}
