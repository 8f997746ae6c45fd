//! From a command to events: the rules. Pure; reads through [`View`], changes nothing.
//!
//! One file per family of commands. What a state machine refuses is left to it: the store applies every event through
//! `next` in the same transaction, and a refusal rejects the whole command. Here stands what no single machine knows.

mod approval;
pub(crate) mod bounds;
mod budget;
mod change;
mod channel;
mod dependency;
mod document;
mod exchange;
mod info;
mod pause;
mod plan;
mod planning;
mod project;
mod question;
mod replan;
mod retention;
mod run;
mod seat;
mod settle;
mod spend;
mod task;
mod terms;
mod thread;
mod tool;
mod undo;

use std::collections::BTreeMap;

use orch_proto::id::{Id, ProjectId};
use orch_proto::{EntityKind, Timestamp};

use crate::actor::Actor;
use crate::command::Command;
use crate::entity::Entity;
use crate::event::Event;
use crate::graph::Cycle;
use crate::ids::IdSource;
use crate::state::IllegalTransition;
use crate::view::{ReadError, View};

use bounds::{text, title};

pub use approval::LISTED_MAX;
pub use bounds::{
    ACCEPTANCE_MAX, COMMENTS_BYTES_MAX, LINE_BYTES_MAX, NAMED_MAX, REQUIREMENTS_MAX, TEXT_BYTES_MAX, TITLE_CHARS_MAX,
};
pub use channel::{
    ASKED_MAX, ASKED_OPEN_MAX, PROPOSED_BYTES_MAX, SAID_BYTES_MAX, action_digest, asked_action, asked_info, may_hand_in,
};
pub use dependency::BEHIND_MAX;
pub use info::{CHOICES_MAX, EXPIRES_MS_MAX, FIELDS_MAX, answered, may_be_sent, value_problem};
pub use plan::PlanDelta;
pub use project::SLUG_CHARS_MAX;
pub use replan::PRIORITY_DEFAULT;
pub use settle::{ALIKE_MAX, CONFLICTS_MAX, HOST_LOSSES_MAX, LOSSES_MAX};
pub use task::PRIORITY_MAX;
pub use tool::{TOOLS_MAX, stands, tool_digest};
pub use undo::is_irrevocable;

/// What a command makes happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// Empty when what was wanted is so already.
    pub events: Vec<Event>,
    /// Things that it made or changed, the most important first: kind and full id.
    pub touched: Vec<(EntityKind, String)>,
    /// Worth knowing, no errors.
    pub notes: Vec<String>,
}

/// Why a command is refused.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// There is no such thing.
    #[error("there is no {kind} `{id}`")]
    NotFound { kind: EntityKind, id: String },
    /// The name is taken.
    #[error("{kind} `{name}` exists already")]
    Exists { kind: EntityKind, name: String },
    /// A value is not acceptable.
    #[error("{field} {problem}")]
    Invalid { field: &'static str, problem: String },
    /// There is more of something than is accepted.
    #[error("{field} {problem}")]
    TooLarge { field: &'static str, problem: String },
    /// The thing is in a state in which this cannot be done.
    #[error("{message}")]
    Conflict { message: String, hint: Option<String> },
    /// The state machine of the thing refuses it.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// The dependency would make a cycle.
    #[error("the dependencies would make a cycle: {path}")]
    Cycle { path: String },
    /// What the person saw is not what is there.
    #[error("the {kind} changed since it was shown")]
    StaleDigest { kind: EntityKind },
    /// The command comes from the daemon where a person is needed.
    #[error("only a person can answer an approval")]
    NotAPerson,
    /// The state could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl<K: std::fmt::Display> From<Cycle<K>> for DecideError {
    fn from(cycle: Cycle<K>) -> Self {
        Self::Cycle { path: cycle.to_string() }
    }
}

/// What a decision is made with, and what it has come to so far.
struct Context<'a, V> {
    view: &'a V,
    now: Timestamp,
    actor: &'a Actor,
    ids: &'a mut IdSource,
    numbers: BTreeMap<(EntityKind, Option<ProjectId>), u32>,
    decided: Decided,
}

pub use spend::{Standing, spending, standing, standing_of};

/// Decides a command.
///
/// # Errors
/// When the command is refused. Nothing has happened then.
pub fn decide<V: View>(
    view: &V,
    command: &Command,
    actor: &Actor,
    now: Timestamp,
    ids: &mut IdSource,
) -> Result<Decided, DecideError> {
    let mut cx = Context { view, now, actor, ids, numbers: BTreeMap::new(), decided: Decided::default() };
    dispatch(&mut cx, command)?;
    Ok(cx.decided)
}

fn dispatch<V: View>(cx: &mut Context<'_, V>, command: &Command) -> Result<(), DecideError> {
    match command {
        Command::CreateProject { slug, source, protected_paths } => project::create(cx, slug, source, protected_paths),
        Command::PrepareProject { project, default_branch, head, toolchains } => {
            project::prepare(cx, *project, default_branch, head.as_ref(), toolchains)
        }
        Command::FailProject { project, reason } => project::fail(cx, *project, reason),
        Command::ArchiveProject { project } => project::archive(cx, *project),
        Command::SetShare { .. } => project::set_share(cx, command),
        Command::SetPatience { project, change } => question::set_patience(cx, *project, *change),
        Command::SetBudget { .. } | Command::ResetBudgets { .. } => budget::steer(cx, command),
        Command::JudgeBudgets { project } => budget::judge(cx, *project),
        Command::PauseProjects { .. } | Command::ResumeProjects { .. } => pause::steer(cx, command),
        Command::SubmitVision { .. } => project::submit_vision(cx, command),
        Command::ProposeRequirements { .. } => document::read(cx, command),
        Command::EditRequirements { project, base_version, upsert, remove, reason } => {
            document::edit(cx, *project, *base_version, (upsert, remove), reason)
        }
        Command::CommentRequirements { requirements: id, key, text } => document::comment(cx, *id, key.as_ref(), text),
        Command::ProposePlan { project, requirements, content, reason } => {
            plan::propose(cx, *project, *requirements, content, reason)
        }
        Command::EditPlan { project, base_version, edits, reason } => {
            plan::edit(cx, *project, *base_version, edits, reason)
        }
        Command::Planning { project, command } => planning::steer(cx, *project, command),
        Command::Decide { subject, answer, digest } => approval::decide(cx, subject, answer, *digest),
        Command::CreateTask { task } => task::create(cx, task),
        Command::EditTask { task, spec, needs_approval } => task::edit(cx, *task, spec, *needs_approval),
        Command::QueueTasks { tasks } => task::queue(cx, tasks),
        Command::LinkTask { task, depends_on, condition } => dependency::link(cx, *task, *depends_on, *condition),
        Command::UnlinkTask { task, depends_on } => dependency::unlink(cx, *task, *depends_on),
        Command::SkipTask { task } => dependency::skip(cx, *task),
        Command::SetTerms { task, change } => terms::set(cx, *task, change),
        Command::ExpireTask { task } => terms::expire(cx, *task),
        Command::OverdueTask { task, since, timeout } => question::overdue(cx, *task, *since, *timeout),
        Command::PrioritizeTask { task, priority } => task::prioritize(cx, *task, *priority),
        Command::HoldTask { .. } | Command::ReleaseTask { .. } => task::steer(cx, command),
        Command::CancelTask { task, reason } => task::cancel(cx, *task, reason),
        Command::CancelTasks { tasks, reason } => task::cancel_all(cx, tasks, reason),
        Command::MoveTask { task, to } => seat::move_task(cx, *task, *to),
        Command::RetryTask { .. } | Command::RetryRun { .. } => task::again(cx, command),
        Command::SayToTask { .. } | Command::SayToRun { .. } => thread::say(cx, command),
        Command::CancelRun { run, reason } => run::cancel(cx, *run, reason),
        Command::PauseRun { .. } | Command::ResumeRun { .. } | Command::RecallRun { .. } => pause::of_run(cx, command),
        Command::SilentRun { .. } | Command::HeardRun { .. } => question::listen(cx, command),
        Command::RemoveParts { removals } => retention::remove(cx, removals),
        Command::FinishRemoval { runs } => retention::finish(cx, runs),
        Command::StartRun { .. } => run::start(cx, command),
        Command::MarkRunStarting { run } => run::mark_starting(cx, *run),
        Command::RecordRun { .. } => run::record(cx, command),
        Command::TellAgent { .. } | Command::AskModel { .. } | Command::AnswerModel { .. } => {
            exchange::record(cx, command)
        }
        Command::Say { .. } | Command::ParkRun { .. } | Command::ExpireAsked { .. } => channel::hear(cx, command),
        Command::AnswerInfo { .. } | Command::CancelInfo { .. } => info::settle(cx, command),
        Command::EquipRun { run, fence, tools } => run::equip(cx, *run, *fence, tools),
        Command::KeepCheckpoint { run, fence, step, commit } => run::keep(cx, *run, *fence, (*step, commit)),
        Command::KeepSession { .. } => run::keep_session(cx, command),
        Command::SettleRun { .. } => settle::settle(cx, command),
        Command::StartCheck { .. } => change::start_check(cx, command),
        Command::SkipCheck { .. } => change::skip_check(cx, command),
        Command::RecheckChange { change } => change::recheck(cx, *change),
        Command::ConflictChange { change, paths } => change::conflicted(cx, *change, paths),
        Command::StartMerge { change, commit } => change::start_merge(cx, *change, commit),
        Command::FinishMerge { change, toolchains } => change::finish_merge(cx, *change, toolchains),
        Command::RefuseMerge { change } => change::refuse_merge(cx, *change),
        Command::CloseChange { change, reason } => change::close(cx, *change, reason),
        Command::ExpireApprovals => approval::expire(cx),
        Command::Undo { operation } => undo::undo(cx, operation),
    }
}

impl<V: View> Context<'_, V> {
    /// The entity, or the error that there is none.
    fn get<E: Entity>(&self, id: E::Id) -> Result<E, DecideError> {
        self.view.get(id)?.ok_or_else(|| DecideError::NotFound { kind: E::KIND, id: id.to_string() })
    }

    /// Draws an id.
    fn draw<I: Id>(&mut self) -> I {
        self.ids.draw(self.now)
    }

    /// The next number of its kind in the project, also over several in one command.
    fn number(&mut self, kind: EntityKind, project: Option<ProjectId>) -> Result<u32, DecideError> {
        let last = match self.numbers.get(&(kind, project)) {
            Some(last) => *last,
            None => self.view.last_number(kind, project)?,
        };
        self.numbers.insert((kind, project), last + 1);
        Ok(last + 1)
    }

    /// Lets something happen.
    fn emit(&mut self, event: impl Into<Event>) {
        self.decided.events.push(event.into());
    }

    /// Names a thing that the command is about.
    fn touch(&mut self, kind: EntityKind, id: impl ToString) {
        self.decided.touched.push((kind, id.to_string()));
    }

    fn note(&mut self, note: impl Into<String>) {
        self.decided.notes.push(note.into());
    }
}

fn conflict(message: impl Into<String>) -> DecideError {
    DecideError::Conflict { message: message.into(), hint: None }
}

fn conflict_with_hint(message: impl Into<String>, hint: impl Into<String>) -> DecideError {
    DecideError::Conflict { message: message.into(), hint: Some(hint.into()) }
}
