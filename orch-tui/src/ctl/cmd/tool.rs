//! `orchctl tool`: tools that recipes install for runs, and how far each is.

use clap::Subcommand;
use orch_proto::view::{ToolState, ToolView};
use orch_proto::{ErrorCode, WAIT_MS_MAX};
use tokio::time::Instant;

use crate::ctl::failure::Failure;
use crate::ctl::follow;
use crate::ctl::session::Session;
use crate::fmt::duration::bytes;
use crate::text::SafeText;

/// How long one look at an installation takes that goes on, in milliseconds.
const LOOK_MS: u32 = 2_000;

#[derive(Debug, Subcommand)]
pub(crate) enum ToolCommand {
    /// All tools that have a recipe, and how far each is
    #[command(visible_alias = "ls")]
    List,
    /// One tool: what it is made from, what it is, which runs have it
    #[command(visible_alias = "show")]
    Get {
        /// The name, as its recipe has it
        name: String,
    },
    /// Have a tool installed: downloaded, compared with its checksum, built in a sandbox
    Install {
        /// The name, as its recipe has it
        name: String,
        /// Do not wait until it is there
        #[arg(long)]
        no_wait: bool,
    },
    /// Remove a tool that no run has; what needs it waits
    #[command(visible_alias = "rm")]
    Remove {
        /// The name, as its recipe has it
        name: String,
    },
}

pub(crate) async fn run(session: &Session, command: ToolCommand) -> Result<(), Failure> {
    match command {
        ToolCommand::List => {
            let tools = session.read(async |orch, context| orch.tools(context).await).await?;
            session.list(&tools)
        }
        ToolCommand::Get { name } => {
            let tool = get(session, &name, 0).await?;
            session.show(&tool, || text(&tool))
        }
        ToolCommand::Install { name, no_wait } => install(session, &name, no_wait).await,
        ToolCommand::Remove { name } => {
            session.confirm(&format!("remove the tool {name}? tasks that need it wait")).await?;
            let called = name.clone();
            session.read(async |orch, context| orch.tool_remove(context, called.clone()).await).await?;
            session.line(&format!("tool {name} is removed"))
        }
    }
}

async fn get(session: &Session, name: &str, wait_ms: u32) -> Result<ToolView, Failure> {
    let name = name.to_owned();
    session.read(async |orch, context| orch.tool(context, name.clone(), wait_ms).await).await
}

async fn install(session: &Session, name: &str, no_wait: bool) -> Result<(), Failure> {
    let known = get(session, name, 0).await?;
    if known.state == ToolState::Absent {
        let hosts = known.hosts.join(", ");
        session.confirm(&format!("install the tool {name} {}? {hosts} are asked for it", known.version)).await?;
    }
    let called = name.to_owned();
    let tool = session.read(async |orch, context| orch.tool_install(context, called.clone()).await).await?;
    if no_wait {
        return session.show(&tool, || format!("tool {name} is {}\n", tool.state.label()));
    }
    let tool =
        follow::detachable(session, &format!("the installation of {name}"), until_it_is_there(session, tool)).await?;
    if tool.state == ToolState::Ready {
        return session.show(&tool, || text(&tool));
    }
    let why = tool.detail.unwrap_or_default();
    let hint = format!("`orchctl tool get {name}` has all of it; mend the recipe or the host, then try again");
    Err(Failure::new(ErrorCode::ToolMissing, format!("the tool {name} is not installed: {why}"), hint))
}

/// Waits until nothing more happens by itself, and says how far it is meanwhile.
async fn until_it_is_there(session: &Session, mut tool: ToolView) -> Result<ToolView, Failure> {
    let deadline = session.options.timeout.map(|timeout| Instant::now() + timeout);
    let mut said = String::new();
    while tool.is_under_way {
        let now = format!("{}: {}", tool.state.label(), tool.detail.as_deref().unwrap_or("about to begin"));
        if now != said {
            session.note(&now);
            said = now;
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let hint = format!("it goes on; look with `orchctl tool get {}`", tool.name);
            return Err(Failure::new(ErrorCode::Timeout, "it is not installed yet, and the time given is over", hint));
        }
        tool = get(session, &tool.name, LOOK_MS.min(WAIT_MS_MAX)).await?;
    }
    Ok(tool)
}

/// All of it.
fn text(tool: &ToolView) -> String {
    let mut lines = vec![format!("{} {}", tool.name, tool.version)];
    let detail = tool.detail.as_ref().map(|detail| format!(", {detail}")).unwrap_or_default();
    let state = format!("{}{detail}", tool.state.label());
    let size = (tool.files > 0).then(|| format!("{} files, {}", tool.files, bytes(tool.size_bytes)));
    let installed = tool.installed_at.map(|at| at.to_string());
    let runs = (!tool.runs.is_empty()).then(|| tool.runs.join(", "));
    let hosts = (!tool.hosts.is_empty()).then(|| tool.hosts.join(", "));
    let rows = [
        ("what", tool.description.clone()),
        ("state", Some(state)),
        ("program", Some(tool.program.clone())),
        ("from", tool.url.clone()),
        ("checksum", tool.checksum.clone()),
        ("hosts", hosts),
        ("recipe", tool.recipe.clone()),
        ("content", tool.content.clone()),
        ("size", size),
        ("installed", installed),
        ("by", tool.by.clone()),
        ("runs", runs),
    ];
    lines.extend(rows.into_iter().filter_map(|(name, value)| Some(format!("{name:<10} {}", value?))));
    lines.iter().map(|line| format!("{}\n", SafeText::line(line))).collect()
}
