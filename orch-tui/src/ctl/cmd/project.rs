//! `orchctl project`: make, look at and retire projects.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use orch_proto::request::{Accepted, RepoSource, Request};
use orch_proto::view::{ProjectState, ProjectView, Timeout};
use orch_proto::{ErrorCode, Ref};

use super::{budget, cancel, patience, planning, task_terms};
use crate::ctl::args::WaitArgs;
use crate::ctl::failure::Failure;
use crate::ctl::follow::until;
use crate::ctl::session::Session;
use crate::text::SafeText;

#[derive(Debug, Subcommand)]
pub(crate) enum ProjectCommand {
    /// Make a project with an empty repository, or with a copy of an existing one
    Create {
        /// Short name: letters, digits and `-`
        name: String,
        /// An existing git repository on the daemon's machine; it is only read
        #[arg(long, value_name = "PATH")]
        repo: Option<PathBuf>,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// All projects
    #[command(visible_alias = "ls")]
    List,
    /// One project with its toolchains, gates and versions
    #[command(visible_alias = "show")]
    Get {
        /// Name of the project
        name: Option<String>,
    },
    /// Say what a project may have of the host beside others
    Set {
        /// Name of the project
        name: String,
        /// Under load projects get the host in proportion to their weights, 1 to 1000
        #[arg(long, value_name = "N")]
        weight: Option<u32>,
        /// Runs at once; gates count and are not held back; 0 for no bound
        #[arg(long, value_name = "N")]
        runs_max: Option<u32>,
        /// Attempts at tasks that are started in a day (UTC); 0 for no bound
        #[arg(long, value_name = "N")]
        runs_per_day: Option<u32>,
    },
    /// Say how long tasks of a project may wait, and its runs be silent
    Patience(patience::PatienceArgs),
    /// Say how much runs of a project may use in a day, in a week or in all
    Budget(budget::BudgetArgs),
    /// Begin nothing of projects until they are resumed; what is under way goes on
    Pause {
        /// Names of projects
        #[arg(required_unless_present = "all")]
        names: Vec<String>,
        /// All projects, and those that are made in the meantime
        #[arg(long, conflicts_with = "names")]
        all: bool,
        /// Why; people who wait read it
        #[arg(long)]
        reason: Option<String>,
        /// Until then: `2026-12-01T08:00:00Z`, or `+2h` from now
        #[arg(long, value_name = "WHEN", value_parser = task_terms::time)]
        until: Option<task_terms::When>,
        /// Have the processes of runs under way stand still, too
        #[arg(long)]
        runs: bool,
    },
    /// Let paused projects go on, with the runs that were paused with them
    Resume {
        /// Names of projects
        #[arg(required_unless_present = "all")]
        names: Vec<String>,
        /// All projects
        #[arg(long, conflicts_with = "names")]
        all: bool,
    },
    /// Cancel all tasks of projects that are not over; their runs are killed, what was merged stays
    Cancel {
        /// Names of projects
        #[arg(required_unless_present = "all")]
        names: Vec<String>,
        /// All projects
        #[arg(long, conflicts_with = "names")]
        all: bool,
        #[command(flatten)]
        how: cancel::HowArgs,
    },
    /// Take a project out of use; nothing is deleted
    Archive {
        /// Name of the project
        name: String,
    },
}

pub(crate) async fn run(session: &Session, command: ProjectCommand) -> Result<(), Failure> {
    match command {
        ProjectCommand::Create { name, repo, wait } => {
            let repo = match repo {
                Some(path) => RepoSource::Import { path: absolute(&path)? },
                None => RepoSource::Empty,
            };
            let accepted = session.submit(Request::ProjectCreate { name: name.clone(), repo }).await?;
            let ready = match wait.wait {
                Some(_) => Some(await_ready(session, &created(&accepted, &name)).await?),
                None => None,
            };
            session.accepted(&accepted, "created")?;
            for note in ready.iter().flat_map(notes) {
                session.note(&note);
            }
            session.next(&format!("orchctl vision submit FILE -p {}", created(&accepted, &name)));
            Ok(())
        }
        ProjectCommand::List => {
            let projects = session.read(async |orch, context| orch.projects(context).await).await?;
            session.list(&projects)
        }
        ProjectCommand::Get { name } => {
            let project = match name {
                Some(name) => Ref(name),
                None => crate::ctl::current_project::current(session).await?,
            };
            let project = get(session, &project).await?;
            session.show(&project, || text(&project))
        }
        ProjectCommand::Set { name, weight, runs_max, runs_per_day } => {
            if (weight, runs_max, runs_per_day) == (None, None, None) {
                let hint = "give `--weight`, `--runs-max` or `--runs-per-day`";
                return Err(Failure::new(ErrorCode::Usage, "nothing is to be set", hint));
            }
            session.change(Request::ProjectSet { project: Ref(name), weight, runs_max, runs_per_day }, "set").await?;
            Ok(())
        }
        ProjectCommand::Patience(args) => patience::set(session, args).await,
        ProjectCommand::Budget(args) => budget::set(session, args).await,
        ProjectCommand::Pause { names, all: _, reason, until, runs } => {
            let until = until.and_then(|until| until.from(crate::clock::now()));
            let projects = names.into_iter().map(Ref).collect();
            session.change(Request::ProjectPause { projects, reason, until, with_runs: runs }, "paused").await?;
            Ok(())
        }
        ProjectCommand::Resume { names, all: _ } => {
            let projects = names.into_iter().map(Ref).collect();
            session.change(Request::ProjectResume { projects }, "resumed").await?;
            Ok(())
        }
        ProjectCommand::Cancel { names, all: _, how } => {
            cancel::all(session, names.into_iter().map(Ref).collect(), how).await
        }
        ProjectCommand::Archive { name } => {
            session.confirm(&format!("take project `{name}` out of use?")).await?;
            session.change(Request::ProjectArchive { project: Ref(name) }, "archived").await?;
            Ok(())
        }
    }
}

/// Reads one project.
pub(crate) async fn get(session: &Session, project: &Ref) -> Result<ProjectView, Failure> {
    let project = project.clone();
    session.read(async |orch, context| orch.project(context, project).await).await
}

/// Waits until the project's repository is there.
pub(crate) async fn await_ready(session: &Session, name: &str) -> Result<ProjectView, Failure> {
    let project = Ref::from(name);
    until(session, &format!("project `{name}`"), async || {
        let view = get(session, &project).await?;
        match &view.state {
            ProjectState::Ready => Ok(Some(view)),
            ProjectState::Preparing => Ok(None),
            ProjectState::Failed { reason } => {
                Err(Failure::new(ErrorCode::Repository, reason.clone(), format!("orchctl project get {name}")))
            }
            ProjectState::Archived => Err(Failure::Negative(format!("project `{name}` is archived"))),
        }
    })
    .await
}

/// What a person should know before the first run.
fn notes(project: &ProjectView) -> Vec<String> {
    let lacking = project.toolchains.iter().filter(|tool| !tool.vendored);
    let places = lacking.map(|tool| match tool.root.as_str() {
        "" => tool.name.clone(),
        root => format!("{} in {root}", tool.name),
    });
    let places = places.collect::<Vec<_>>().join(", ");
    if places.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "{places}: packages that are not in the repository are needed, and runs have no network; commit them, as \
         `cargo vendor` does"
    )]
}

fn created(accepted: &Accepted, name: &str) -> String {
    accepted.touched.first().map_or_else(|| name.to_owned(), |touched| touched.name.clone())
}

/// The path without links and relative parts: the daemon does not know the user's working directory.
fn absolute(path: &Path) -> Result<String, Failure> {
    let cannot = |reason: &str, code| {
        let message = format!("`{}` {reason}", path.display());
        Failure::new(code, message, "name the directory of a git repository on this machine")
    };
    let real = fs::canonicalize(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => cannot("does not exist", ErrorCode::Repository),
        _ => cannot(&format!("cannot be read: {error}"), ErrorCode::Repository),
    })?;
    if !real.is_dir() {
        return Err(cannot("is not a directory", ErrorCode::Repository));
    }
    real.into_os_string().into_string().map_err(|_| cannot("is not UTF-8", ErrorCode::Invalid))
}

fn text(project: &ProjectView) -> String {
    let state = match &project.state {
        ProjectState::Ready => "ready".to_owned(),
        ProjectState::Preparing => "preparing".to_owned(),
        ProjectState::Archived => "archived".to_owned(),
        ProjectState::Failed { reason } => format!("failed: {reason}"),
    };
    let version = |number: Option<u32>| number.map_or_else(|| "none".to_owned(), |number| format!("v{number}"));
    let mut lines = vec![
        format!("project       {}", project.name),
        format!("state         {state}"),
        format!("repository    {}", project.repository),
        format!("branch        {} at {}", project.default_branch, project.head.as_deref().unwrap_or("(empty)")),
        format!(
            "versions      vision {}, requirements {}, plan {}",
            version(project.vision_version),
            version(project.requirements_version),
            version(project.plan_version)
        ),
    ];
    lines.extend(project.pause.as_ref().map(|pause| {
        let until = pause.until.map_or_else(String::new, |until| format!(" until {until}"));
        format!("paused       {until} {}", pause.reason)
    }));
    let bound = |bound: Option<u32>| bound.map_or_else(|| "any number of".to_owned(), |bound| bound.to_string());
    lines.push(format!(
        "share         weight {}, {} runs at once, {} a day",
        project.weight,
        bound(project.runs_max),
        bound(project.runs_per_day)
    ));
    let said = |name: &str, timeout: &Option<Timeout>| {
        timeout.map(|timeout| format!("{name:<13} {}", patience::text(timeout)))
    };
    lines.extend(said("queue timeout", &project.queue_timeout));
    lines.extend(said("silence limit", &project.silence_timeout));
    lines.extend(project.budgets.iter().map(|of| format!("budget        {}", budget::text(of))));
    lines.extend(project.planning.iter().flat_map(planning::lines));
    for tool in &project.toolchains {
        let root = if tool.root.is_empty() { "." } else { &tool.root };
        lines.push(format!("toolchain     {} in {root} ({})", tool.name, tool.evidence.join(", ")));
        for (what, command) in [("build", &tool.build), ("test", &tool.test), ("lint", &tool.lint)] {
            if let Some(command) = command {
                lines.push(format!("  {what:<11} {command}"));
            }
        }
    }
    lines.extend(notes(project).into_iter().map(|note| format!("note          {note}")));
    for gate in &project.gates {
        lines.push(format!("gate          {gate}"));
    }
    if !project.protected_paths.is_empty() {
        lines.push(format!("protected     {}", project.protected_paths.join(", ")));
    }
    lines.push(format!("id            {}", project.id));
    lines.iter().map(|line| format!("{}\n", SafeText::line(line))).collect()
}
