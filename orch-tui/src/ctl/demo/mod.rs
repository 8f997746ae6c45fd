//! `orchctl demo`: the main job end to end, on a fresh state directory, with every claim checked.
//!
//! Uses the daemon as any client does. Knows no more of the daemon than where its program is, and believes nothing that
//! it can look at: commits are looked up in the repository, overlap is computed from the times of the runs, tests and
//! service of the result run again, in a sandbox, since a repository wrote them (invariant I12).

mod agent;
mod blueprint;
mod checks;
mod git;
mod narrator;
mod place;
mod search;
mod stages;
mod summary;
mod verify;
mod watch;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use orch_proto::Ref;
use orch_proto::request::Request;
use orch_proto::view::{RunFilter, TaskFilter};
use tokio::signal::unix::{SignalKind, signal};

use self::agent::{Agent, AgentArgs};
use self::checks::Checks;
use self::narrator::Narrator;
use self::place::Place;
use super::cmd::{run, task};
use super::failure::Failure;
use super::follow::until;
use super::launch;
use super::session::Session;

/// The Vision of the demo, as it ships.
const VISION: &str = include_str!("../../../../recipes/planner/demo-vision.md");

/// Longest time for cancelled runs to be gone.
const RUNS_END_TIMEOUT: Duration = Duration::from_secs(15);

/// Name of the project.
const PROJECT: &str = "shop";

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Leave the daemon up at the end
    #[arg(long)]
    pub(crate) keep: bool,
    /// Directory for everything; must be empty or not there [default: a new one for temporary files]
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    #[command(flatten)]
    agent: AgentArgs,
}

/// What all stages share.
struct Demo<'a> {
    session: &'a Session,
    place: &'a Place,
    narrator: Narrator<'a>,
    checks: Checks,
    project: Ref,
    /// The program that does one task; none: all is done by scripted steps.
    agent: Option<Agent>,
    /// The daemon stays up at the end.
    keep: bool,
}

impl Demo<'_> {
    /// Whether a task is the agent's, and not of the plan.
    fn is_agents(&self, task: &str) -> bool {
        self.agent.as_ref().is_some_and(|agent| agent.has(task))
    }
}

pub(crate) async fn run_all(session: &mut Session, args: DemoArgs) -> Result<(), Failure> {
    let agent = Agent::find(session, &args.agent)?;
    if let Some(agent) = &agent {
        agent.confirm(session).await?;
    }
    let configuration = agent.as_ref().map(Agent::configuration).unwrap_or_default();
    let place = Place::make(args.directory.as_deref(), &configuration, |name| session.console.env(name))?;
    session.use_socket(place.socket.clone());
    let session = &*session;
    let mut demo = Demo {
        session,
        place: &place,
        narrator: Narrator::new(session),
        checks: Checks::default(),
        project: Ref::from(PROJECT),
        agent,
        keep: args.keep,
    };
    let outcome = tokio::select! {
        outcome = stages::all(&mut demo) => outcome,
        signal = asked_to_end() => Err(signal.map_or_else(Failure::from, |()| Failure::Detached)),
    };
    if matches!(outcome, Err(Failure::Detached)) {
        // The terminal shows `^C` in the line.
        session.note("");
    }
    let ended = if args.keep && outcome.is_ok() { Ok(()) } else { end(session, demo.agent.as_ref()).await };
    demo.narrator.line(&format!("everything is in {}", place.root.display()));
    outcome.and(ended)
}

/// Resolves when this process is asked to end: a daemon must not stay behind.
async fn asked_to_end() -> Result<(), io::Error> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt,
        _ = hangup.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// Ends what is under way, since runs outlive the daemon, and then the daemon.
async fn end(session: &Session, agent: Option<&Agent>) -> Result<(), Failure> {
    let Ok(status) = session.read(async |orch, context| orch.status(context).await).await else {
        // It never came up, or it is gone: nothing to stop.
        return Ok(());
    };
    let tasks = task::list(session, TaskFilter::default()).await.unwrap_or_default();
    for task in tasks.iter().filter(|task| !task::is_final(task.state)) {
        let reason = Some("the demo ends".to_owned());
        let request = Request::TaskCancel { task: Ref(task.id.to_string()), reason };
        if let Err(failure) = session.submit(request).await {
            session.debug(&format!("{} is not cancelled: {failure}", task.name));
        }
    }
    let idle = until(session, "the end of the runs", async || {
        let active = RunFilter { active: true, ..RunFilter::default() };
        Ok(run::list(session, active).await?.is_empty().then_some(()))
    });
    if tokio::time::timeout(RUNS_END_TIMEOUT, idle).await.is_err() {
        session.note("some runs do not end; they go on without the daemon");
    }
    if let Some(agent) = agent
        && let Err(failure) = agent.take_back(session).await
    {
        session.note(&format!("the daemon still has the key, in its state directory: {failure}"));
    }
    launch::stop(session, status.pid).await
}
