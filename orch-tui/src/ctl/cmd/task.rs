//! `orchctl task`: make, read, order, steer and wait for tasks.

use clap::{Args, Subcommand};
use orch_proto::Ref;
use orch_proto::request::{QueuePlace, Request};
use orch_proto::view::{Condition, MessageView, RunView, TaskFilter, TaskState, TaskView};

use super::task_terms::condition;
use super::{cancel, run, task_form, task_terms, task_tree};
use crate::ctl::args::WaitArgs;
use crate::ctl::current_project::current;
use crate::ctl::failure::Failure;
use crate::ctl::follow::until;
use crate::ctl::input;
use crate::ctl::progress::Progress;
use crate::ctl::session::Session;
use crate::fmt::color::{Paint, Role};
use crate::fmt::duration::{self, age};
use crate::fmt::eta;
use crate::text::SafeText;

#[derive(Debug, Subcommand)]
pub(crate) enum TaskCommand {
    /// Make a task by hand
    #[command(visible_alias = "new")]
    Create(task_form::CreateArgs),
    /// Change what a task does that is not under way, as giving steps to one that waits for an agent
    Edit(task_form::EditArgs),
    /// Tasks
    #[command(visible_alias = "ls")]
    List {
        /// Only those in this state; several with commas
        #[arg(long, value_delimiter = ',', value_parser = state)]
        state: Vec<TaskState>,
        /// Only those with this in their title
        #[arg(long)]
        text: Option<String>,
    },
    /// One task
    #[command(visible_alias = "show")]
    Get {
        /// The task, as `T-12` or `shop/T-12`
        task: String,
        /// Exit with 0 when done, 1 when failed, 8 when neither
        #[arg(long)]
        exit_code: bool,
    },
    /// Why a task waits, and what to do about it; of one that was started, why it was
    Why {
        /// The task, as `T-12` or `shop/T-12`
        task: String,
    },
    /// How long a task will take, and what that is known from
    Eta {
        /// The task, as `T-12` or `shop/T-12`
        task: String,
    },
    /// Put proposed tasks into the queue
    Queue {
        /// Tasks, as `T-12` or `shop/T-12`, or `-` for names on standard input
        #[arg(required = true)]
        tasks: Vec<String>,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Let a task wait for another
    Link {
        /// The task, as `T-12` or `shop/T-12`
        task: String,
        /// The task to wait for
        depends_on: String,
        /// What to wait for in it: that it is done, that it has ended in any way, or that it failed
        #[arg(long = "for", value_name = "done|ended|failed", default_value = "done", value_parser = condition)]
        condition: Condition,
    },
    /// Let a task no longer wait for another
    Unlink {
        /// The task, as `T-12` or `shop/T-12`
        task: String,
        /// The task that it waits for
        depends_on: String,
    },
    /// Say when a task may begin, until when, and what its runs take of the host
    Set(task_terms::SetArgs),
    /// Set the priority of a task: 0 (last) to 9 (first)
    #[command(visible_alias = "priority")]
    Prioritize {
        /// The task, as `T-12` or `shop/T-12`
        task: String,
        /// 0 (last) to 9 (first)
        #[arg(allow_negative_numbers = true, value_parser = clap::value_parser!(u8).range(0..=9))]
        priority: u8,
    },
    /// Say something to a task: to the agent that works at it, or to the next one
    Say {
        /// The task, as `T-12` or `shop/T-12`
        task: String,
        /// What is said, or `-` for standard input
        text: String,
    },
    /// Take tasks that wait out of the queue until they are released
    Hold(BatchArgs),
    /// Put held tasks back into the queue
    Release(BatchArgs),
    /// End tasks; their runs are killed, what was merged stays
    Cancel(CancelArgs),
    /// Put a task elsewhere among those of its project that have its priority
    Move(MoveArgs),
    /// Queue failed or cancelled tasks again
    #[command(visible_alias = "requeue")]
    Retry {
        /// Tasks, as `T-12` or `shop/T-12`, or `-` for names on standard input
        #[arg(required = true)]
        tasks: Vec<String>,
        /// Also tasks that run: their runs are ended and do not count
        #[arg(long)]
        running: bool,
        /// Let the next attempt wait, as `10m`
        #[arg(long, value_name = "TIME", value_parser = duration::parse)]
        delay: Option<std::time::Duration>,
        /// With another priority: 0 (last) to 9 (first)
        #[arg(long, allow_negative_numbers = true, value_parser = clap::value_parser!(u8).range(0..=9))]
        priority: Option<u8>,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// What waits for what
    #[command(visible_alias = "deps")]
    Tree,
    /// Wait until tasks are done; exit code 1 if one is not
    Wait {
        /// Tasks, as `T-12` or `shop/T-12`, or `-` for names on standard input
        tasks: Vec<String>,
        /// All tasks of the project
        #[arg(long, conflicts_with = "tasks")]
        all: bool,
        /// Another state to wait for
        #[arg(long = "for", value_name = "STATE", default_value = "done", value_parser = state)]
        state: TaskState,
    },
}

/// Tasks that are to end, and why.
#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    /// Tasks, or `-` for names on standard input
    #[arg(required_unless_present = "all")]
    tasks: Vec<String>,
    /// All tasks of the project that are not over
    #[arg(long, conflicts_with = "tasks")]
    all: bool,
    /// Why
    #[arg(long)]
    reason: Option<String>,
    /// With `--all`: say which tasks are not over, and cancel none
    #[arg(long, conflicts_with = "tasks")]
    dry_run: bool,
}

/// A task and where it is put.
#[derive(Debug, Args)]
pub(crate) struct MoveArgs {
    /// The task, as `T-12` or `shop/T-12`
    task: String,
    #[command(flatten)]
    place: PlaceArgs,
}

/// One of the places.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct PlaceArgs {
    /// Before all others
    #[arg(long)]
    first: bool,
    /// Behind all others
    #[arg(long)]
    last: bool,
    /// Before that one, and so before all that were equal to it
    #[arg(long, value_name = "TASK")]
    before: Option<String>,
    /// Behind that one, and so behind all that were equal to it
    #[arg(long, value_name = "TASK")]
    behind: Option<String>,
}

/// Several tasks and why.
#[derive(Debug, Args)]
pub(crate) struct BatchArgs {
    /// Tasks, or `-` for names on standard input
    #[arg(required = true)]
    pub(crate) tasks: Vec<String>,
    /// Why
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

pub(crate) async fn run(session: &Session, command: TaskCommand) -> Result<(), Failure> {
    match command {
        TaskCommand::Create(args) => task_form::create(session, args).await,
        TaskCommand::Edit(args) => task_form::edit(session, args).await,
        TaskCommand::List { state, text } => {
            let filter = TaskFilter { project: session.given_project(), states: state, text };
            session.list(&list(session, filter).await?)
        }
        TaskCommand::Get { task, exit_code } => {
            let task = get(session, &session.reference(&task)).await?;
            session.show(&task, || text(&task, session.paint()))?;
            if exit_code { predicate(&task) } else { Ok(()) }
        }
        TaskCommand::Why { task } => tell_why(session, &task).await,
        TaskCommand::Eta { task } => tell(session, &task, eta).await,
        TaskCommand::Queue { tasks, wait } => {
            let tasks = references(session, &tasks)?;
            session.change(Request::TaskQueue { tasks: tasks.clone() }, "queued").await?;
            wait_if(session, &wait, &tasks).await
        }
        TaskCommand::Set(args) => task_terms::set(session, args).await,
        TaskCommand::Link { task, depends_on, condition } => {
            let (task, depends_on) = (session.reference(&task), session.reference(&depends_on));
            let request = Request::TaskLink { task, depends_on, condition };
            session.change(request, "linked").await.map(drop)
        }
        TaskCommand::Unlink { task, depends_on } => {
            let request =
                Request::TaskUnlink { task: session.reference(&task), depends_on: session.reference(&depends_on) };
            session.change(request, "unlinked").await.map(drop)
        }
        TaskCommand::Prioritize { task, priority } => {
            let request = Request::TaskPrioritize { task: session.reference(&task), priority };
            session.change(request, "prioritized").await.map(drop)
        }
        TaskCommand::Say { task, text } => say(session, &task, &text).await,
        TaskCommand::Hold(args) => {
            let reason = args.reason;
            each(session, &args.tasks, "held", |task| Request::TaskHold { task, reason: reason.clone() }).await
        }
        TaskCommand::Release(args) => {
            each(session, &args.tasks, "released", |task| Request::TaskRelease { task }).await
        }
        TaskCommand::Cancel(args) => cancel_tasks(session, args).await,
        TaskCommand::Move(args) => move_task(session, args).await,
        TaskCommand::Retry { tasks, running, delay, priority, wait } => {
            let later = |delay: std::time::Duration| {
                crate::clock::now().plus_ms(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX))
            };
            let not_before = delay.map(later);
            let request = |task| Request::TaskRetry { task, anew: running, not_before, priority };
            each(session, &tasks, "queued again", request).await?;
            wait_if(session, &wait, &references(session, &tasks)?).await
        }
        TaskCommand::Tree => {
            let project = current(session).await?;
            let tasks = list(session, TaskFilter { project: Some(project), ..TaskFilter::default() }).await?;
            if session.options.output != crate::ctl::args::Format::Table {
                return session.list(&tasks);
            }
            Ok(session.console.data(task_tree::text(&tasks, session.text_width(), session.paint()).as_bytes())?)
        }
        TaskCommand::Wait { all: true, .. } => settle_project(session, &current(session).await?).await,
        TaskCommand::Wait { tasks, all: false, state } => settle(session, &references(session, &tasks)?, state).await,
    }
}

async fn cancel_tasks(session: &Session, args: CancelArgs) -> Result<(), Failure> {
    let CancelArgs { tasks, all, reason, dry_run } = args;
    if all {
        let project = current(session).await?;
        return cancel::all(session, vec![project], cancel::HowArgs::new(reason, dry_run)).await;
    }
    session.confirm(&format!("cancel {}?", tasks.join(" "))).await?;
    each(session, &tasks, "cancelled", |task| Request::TaskCancel { task, reason: reason.clone() }).await
}

async fn move_task(session: &Session, args: MoveArgs) -> Result<(), Failure> {
    let beside = |name: &String| session.reference(name);
    let place = args.place;
    let to = match (&place.before, &place.behind) {
        (Some(other), _) => QueuePlace::Before { task: beside(other) },
        (None, Some(other)) => QueuePlace::Behind { task: beside(other) },
        (None, None) if place.first => QueuePlace::First,
        (None, None) => QueuePlace::Last,
    };
    session.change(Request::TaskMove { task: session.reference(&args.task), to }, "moved").await.map(drop)
}

/// Reads a task and says something of it.
async fn tell(session: &Session, task: &str, text: fn(&TaskView) -> String) -> Result<(), Failure> {
    let task = get(session, &session.reference(task)).await?;
    session.show(&task, || text(&task))
}

/// Why a task waits; of one that was started, why it was and no other.
async fn tell_why(session: &Session, task: &str) -> Result<(), Failure> {
    let task = get(session, &session.reference(task)).await?;
    let begun = task.run_name.as_ref().filter(|_| matches!(task.state, TaskState::Running | TaskState::InReview));
    let run = match begun {
        Some(run) => Some(run::get(session, &Ref::from(format!("{}/{run}", task.project))).await?),
        None => None,
    };
    session.show(&task, || why(&task, run.as_ref()))
}

/// Reads a task.
pub(crate) async fn get(session: &Session, task: &Ref) -> Result<TaskView, Failure> {
    let task = task.clone();
    session.read(async |orch, context| orch.task(context, task).await).await
}

/// Reads tasks.
pub(crate) async fn list(session: &Session, filter: TaskFilter) -> Result<Vec<TaskView>, Failure> {
    session.read(async |orch, context| orch.tasks(context, filter).await).await
}

/// Waits until every task of the project has come to its end.
pub(crate) async fn settle_project(session: &Session, project: &Ref) -> Result<(), Failure> {
    let filter = TaskFilter { project: Some(project.clone()), ..TaskFilter::default() };
    let mut progress = Progress::new(session);
    let tasks = until(session, &format!("the work on `{project}`"), async || {
        let tasks = list(session, filter.clone()).await?;
        progress.tasks(&tasks);
        let moving = tasks.iter().any(|task| !is_final(task.state) && task.state != TaskState::Proposed);
        Ok(Some(tasks).filter(|tasks| !moving && !tasks.is_empty()))
    })
    .await?;
    session.list(&tasks)?;
    verdict(&tasks, TaskState::Done)
}

/// Waits until each of the tasks is in the state, or can no longer come to it.
pub(crate) async fn settle(session: &Session, tasks: &[Ref], wanted: TaskState) -> Result<(), Failure> {
    let mut progress = Progress::new(session);
    let what = tasks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let tasks = until(session, &what, async || {
        let mut views = Vec::with_capacity(tasks.len());
        for task in tasks {
            views.push(get(session, task).await?);
        }
        progress.tasks(&views);
        let settled = views.iter().all(|task| task.state == wanted || is_final(task.state));
        Ok(Some(views).filter(|_| settled))
    })
    .await?;
    session.list(&tasks)?;
    verdict(&tasks, wanted)
}

fn verdict(tasks: &[TaskView], wanted: TaskState) -> Result<(), Failure> {
    let missed: Vec<_> = tasks
        .iter()
        .filter(|task| task.state != wanted && task.state != TaskState::Proposed)
        .map(|task| format!("{} is {}", task.name, task.state.label()))
        .collect();
    if missed.is_empty() { Ok(()) } else { Err(Failure::Negative(missed.join(", "))) }
}

/// Whether nothing more happens to the task without a person.
pub(crate) const fn is_final(state: TaskState) -> bool {
    matches!(state, TaskState::Done | TaskState::Failed | TaskState::Cancelled)
}

/// Waits if that was asked for.
pub(crate) async fn wait_if(session: &Session, wait: &WaitArgs, tasks: &[Ref]) -> Result<(), Failure> {
    match &wait.wait {
        Some(wanted) => settle(session, tasks, state(wanted).map_err(Failure::usage)?).await,
        None => Ok(()),
    }
}

/// Sends one request per task. Goes on after a failure and tells of it at the end.
async fn each(
    session: &Session,
    tasks: &[String],
    done: &str,
    request: impl Fn(Ref) -> Request,
) -> Result<(), Failure> {
    let tasks = references(session, tasks)?;
    crate::ctl::batch::each(session, &tasks, async |task| session.change(request(task), done).await.map(drop)).await
}

fn references(session: &Session, names: &[String]) -> Result<Vec<Ref>, Failure> {
    Ok(input::names(session, names)?.iter().map(|name| session.reference(name)).collect())
}

fn predicate(task: &TaskView) -> Result<(), Failure> {
    let message = format!("{} is {}", task.name, task.state.label());
    match task.state {
        TaskState::Done => Ok(()),
        TaskState::Failed | TaskState::Cancelled => Err(Failure::Negative(message)),
        TaskState::Proposed | TaskState::Approved | TaskState::Running | TaskState::InReview | TaskState::Paused => {
            Err(Failure::Pending(message))
        }
    }
}

/// Reads the word for a state.
pub(crate) fn state(text: &str) -> Result<TaskState, String> {
    serde_json::from_value(serde_json::Value::String(text.replace('-', "_"))).map_err(|_| {
        format!(
            "`{text}` is no state; there are proposed, approved, running, in_review, done, failed, cancelled, paused"
        )
    })
}

fn text(task: &TaskView, paint: Paint) -> String {
    let now = crate::clock::now();
    let head = format!("{}  {}", task.name, task.title);
    let mut out = format!("{}\n", paint.apply(Role::Strong, &SafeText::line(&head)));
    let mut field = |name: &str, value: &str| {
        if !value.is_empty() {
            out.push_str(&format!("  {name:<13} {}\n", SafeText::line(value)));
        }
    };
    field("state", &format!("{} for {}", task.state.label(), age(task.since, now)));
    for wait in &task.waits {
        field("waits", &wait.text);
    }
    field("work", &task.work);
    field("depends on", &task_terms::dependencies(task));
    for (name, value) in task_terms::lines(&task.terms) {
        field(name, &value);
    }
    field("requirements", &task.requirements.join(", "));
    for acceptance in &task.acceptance {
        field("accept", acceptance);
    }
    let moved = task.moved.as_ref().map_or_else(String::new, |to| format!(", moved {to} among those of it"));
    field("priority", &format!("{}{moved}", task.priority));
    field("attempts", &format!("{} of {}", task.attempts, task.attempts_max));
    field("cancelled", task.cancelled_because.as_deref().unwrap_or(""));
    field("last failure", task.last_failure.as_deref().unwrap_or(""));
    if let Some((at, of, name)) = &task.step {
        field("step", &format!("{at} of {of}, {name}"));
    }
    field("eta", &task.eta.as_ref().map_or(String::new(), eta::sentence));
    field("run", task.run_name.as_deref().unwrap_or(""));
    field("change", task.change_name.as_deref().unwrap_or(""));
    field("approval", task.approval_name.as_deref().unwrap_or(""));
    field("commit", task.commit.as_deref().unwrap_or(""));
    field("tools", &task.tools.join(", "));
    for message in &task.messages {
        field("said", &said(message));
        if let Some(reply) = &message.reply {
            field("reply", &format!("at {}: {}", reply.at, reply.text));
        }
    }
    field("id", &task.id.to_string());
    out
}

async fn say(session: &Session, task: &str, text: &str) -> Result<(), Failure> {
    let (task, text) = (session.reference(task), input::words(session, text)?);
    session.change(Request::TaskSay { task, text }, "said").await.map(drop)
}

/// A message, and who was told it.
fn said(message: &MessageView) -> String {
    let told = match (&message.run, message.told_at) {
        (Some(run), Some(at)) => format!("{run} was told at {at}"),
        (Some(run), None) => format!("{run} is not told yet"),
        (None, _) => "told with each attempt after it".to_owned(),
    };
    format!("{}, by {}: {} ({told})", message.number, message.from, message.text)
}

fn eta(task: &TaskView) -> String {
    let said = match &task.eta {
        Some(eta) => eta::sentence(eta),
        None if is_final(task.state) => format!("it is {}", task.state.label()),
        None => "nothing is known: no task was done yet, and its plan says nothing".to_owned(),
    };
    let mut out = format!("{}\n", SafeText::line(&format!("{}  {said}", task.name)));
    if task.eta.is_some_and(|eta| eta.elapsed_ms.is_none()) {
        let line = "  how long it waits before that is not known: orchctl task why";
        out.push_str(&format!("{}\n", SafeText::line(&format!("{line} {}", task.name))));
    }
    out
}

fn why(task: &TaskView, run: Option<&RunView>) -> String {
    let line = |text: String| format!("{}\n", SafeText::line(&text));
    let mut out = String::new();
    if task.waits.is_empty() {
        let ready = if task.ready { ", ready to start" } else { "" };
        out.push_str(&line(format!("{} waits for nothing: it is {}{ready}", task.name, task.state.label())));
    } else {
        let waits = if is_final(task.state) || task.state == TaskState::Running { "" } else { " and waits" };
        out.push_str(&line(format!("{} is {}{waits}:", task.name, task.state.label())));
    }
    if let Some(run) = run {
        out.push_str(&line(format!("  {} was started by: {}", run.name, run.reason)));
    }
    for wait in &task.waits {
        out.push_str(&line(format!("  {}: {}", wait.code, wait.text)));
        out.extend(wait.hint.as_ref().map(|hint| line(format!("    hint: {hint}"))));
    }
    if let Some(reason) = &task.cancelled_because {
        out.push_str(&line(format!("  {reason}")));
        out.push_str(&line(format!("    wanted all the same: orchctl task retry {}", task.name)));
    }
    if task.state == TaskState::Failed {
        out.push_str(&line(format!("  {}", task.last_failure.as_deref().unwrap_or("no reason is known"))));
        if let Some(run) = &task.run_name {
            out.push_str(&line(format!("    its output: orchctl run logs {}/{run}", task.project)));
        }
        out.push_str(&line(format!("    once mended: orchctl task retry {}", task.name)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_by_their_words() {
        for wanted in [TaskState::Proposed, TaskState::InReview, TaskState::Done, TaskState::Paused] {
            assert_eq!(state(wanted.label()), Ok(wanted));
        }
        assert_eq!(state("in-review"), Ok(TaskState::InReview));
        assert!(state("finished").unwrap_err().contains("in_review"));
    }
}
