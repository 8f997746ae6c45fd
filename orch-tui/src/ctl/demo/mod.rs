//! `orchctl demo`: the main job end to end, on a fresh state directory, with every claim checked.
//!
//! Uses the daemon as any client does. Knows no more of the daemon than where its program is, and believes nothing that
//! it can look at: commits are looked up in the repository, overlap is computed from the times of the runs, tests and
//! service of the result run again, in a sandbox, since a repository wrote them (invariant I12).

mod blueprint;
mod checks;
mod git;
mod narrator;
mod place;
mod stages;
mod summary;
mod verify;
mod watch;

use std::path::PathBuf;

use clap::Args;
use orch_proto::Ref;

use self::checks::Checks;
use self::narrator::Narrator;
use self::place::Place;
use super::failure::Failure;
use super::follow::detachable;
use super::launch;
use super::session::Session;

/// The Vision of the demo, as it ships.
const VISION: &str = include_str!("../../../../recipes/planner/demo-vision.md");

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
}

/// What all stages share.
struct Demo<'a> {
    session: &'a Session,
    place: &'a Place,
    narrator: Narrator<'a>,
    checks: Checks,
    project: Ref,
}

pub(crate) async fn run(session: &mut Session, args: DemoArgs) -> Result<(), Failure> {
    let place = Place::make(args.directory.as_deref(), |name| session.console.env(name))?;
    session.use_socket(place.socket.clone());
    let session = &*session;
    let narrator = Narrator::new(session);
    let mut demo = Demo { session, place: &place, narrator, checks: Checks::default(), project: Ref::from(PROJECT) };
    let outcome =
        detachable(session, "the directory stays, but what the demo did not finish", stages::all(&mut demo)).await;
    let stopped = end(session, &place, args.keep && outcome.is_ok()).await;
    demo.narrator.line(&format!("everything is in {}", place.root.display()));
    outcome?;
    stopped
}

/// Stops the daemon, or says how to use the one that stays.
async fn end(session: &Session, place: &Place, keep: bool) -> Result<(), Failure> {
    let Ok(status) = session.read(async |orch, context| orch.status(context).await).await else {
        // It never came up, or it is gone: nothing to stop.
        return Ok(());
    };
    if keep {
        session.note(&format!(
            "the daemon stays up (pid {}); stop it with: orchctl --socket {} down",
            status.pid,
            place.socket.display()
        ));
        return Ok(());
    }
    launch::stop(session, status.pid).await
}
