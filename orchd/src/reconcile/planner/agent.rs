//! An agent that plans: it gets a checkout that it cannot change, works in a sandbox of its own, and is taken at its last word.
//!
//! Its end is on record before anything follows from it, and its beginning before it starts. It outlives the daemon: the next one
//! serves its model again and takes its answer. What lies in the directory of a planning that is over is removed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use orch_adapters::agent::{AgentJob, Manner, PlanJob, plan_answer, plan_spec};
use orch_adapters::executor::{Observed, SubmitError};
use orch_adapters::git::{
    CheckoutSpec, CommitError, Identity, NameError, OBJECTS_INSIDE, OpenError, RefError, RefName,
};
use orch_adapters::host_tools::ToolSet;
use orch_adapters::job::WORKSPACE_INSIDE;
use orch_adapters::secret_store::SecretStoreError;
use orch_core::command::{Command, PlanningCommand};
use orch_core::decide::Standing;
use orch_core::digest::Digest;
use orch_core::entity::{AgentTurn, AgentUse, InstalledTool, Planning, Project, Told, TurnEnd};
use orch_core::planner::asked::{ANSWER_BYTES_MAX, Prompt};
use orch_core::recipe::ToolRequest;
use orch_core::view::{Filter, View as _};
use orch_proto::id::ProjectId;
use orch_sandbox::Secrets;
use orch_sandbox::spec::{ReadOnlyMount, RunSpec};
use orch_store::ExecuteError;

use super::{Next, PART, brief, judge_budgets, standing, unwanted, wait};
use crate::agents::{self, AgentError};
use crate::app::{App, blocking};
use crate::error_chain::chain;
use crate::gateway::{self, PlannerBooks};
use crate::host::level_of;
use crate::jail::{self, FENCE, Jail, JailError};
use crate::tools::{State, ToolError};

/// Longest time between two looks at an agent that works.
const LOOK_MAX: Duration = Duration::from_millis(500);
/// The checkout of a planning, in its directory.
const TREE: &str = "tree";
/// How the names of the directories of its turns begin.
const TURN: &str = "turn-";
/// How many lines of what an agent printed last are told of one that failed.
const LINES_TOLD: usize = 3;

/// Why an agent is not started.
#[derive(Debug, thiserror::Error)]
enum BeginError {
    #[error("failed to open the repository")]
    Repository(#[from] OpenError),
    #[error("the branch of the project cannot be named")]
    Branch(#[from] NameError),
    #[error("failed to look for the base")]
    Base(#[from] RefError),
    #[error("nobody can be named as the author of a checkout")]
    Author(#[from] CommitError),
    #[error("failed to check out the base")]
    Checkout(#[source] JailError),
    #[error(transparent)]
    Escapes(JailError),
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error("needs `{tool}`, which is not installed; {fix}")]
    Tool { tool: String, fix: String },
    #[error(transparent)]
    Installed(#[from] ToolError),
    #[error("failed to take secrets out of what it is told")]
    Secrets(#[from] SecretStoreError),
    #[error("failed to write what it is given")]
    Files(#[from] std::io::Error),
    #[error("failed to clear what an earlier try left")]
    Clear(#[from] orch_sandbox::RemoveError),
    #[error("that it is to start is not on record")]
    NotOnRecord(#[source] ExecuteError),
    #[error(transparent)]
    Submit(SubmitError),
}

/// Starts the agent. The error is why it is not asked.
pub(super) async fn begin(
    app: &Arc<App>,
    project: &Project,
    planning: &Planning,
    prompt: &Prompt,
) -> Result<Next, String> {
    match try_begin(app, project, planning, prompt).await {
        Ok(()) | Err(BeginError::Checkout(JailError::Stopped)) => Ok(Next::Look),
        // A person ended it, or what is there already says more.
        Err(BeginError::NotOnRecord(error)) => {
            tracing::warn!(error = chain(&error), "an agent is not started to plan yet");
            Ok(wait(app).await)
        }
        Err(error) => Err(brief(&chain(&error))),
    }
}

async fn try_begin(app: &Arc<App>, project: &Project, planning: &Planning, prompt: &Prompt) -> Result<(), BeginError> {
    app.jails_hold().map_err(BeginError::Escapes)?;
    checkout(app, project, planning).await?;
    let schema = prompt.wish.schema().to_string();
    let text: Bytes = {
        let (app, text) = (Arc::clone(app), prompt.text().into_bytes());
        // What a repository or a person wrote may have them.
        blocking(move || gateway::without_secrets(&app, text)).await?.into()
    };
    gateway::keep(app, text.clone()).await;
    let started = {
        let _turn = app.launches.acquire().await;
        let (app, project, planning) = (Arc::clone(app), project.clone(), planning.clone());
        blocking(move || launch(&app, (&project, &planning), (&text, &schema))).await
    };
    match started {
        // It may be under way: the next look at its directory says.
        Err(BeginError::Submit(SubmitError::Unknown(_))) => Ok(()),
        Err(BeginError::Submit(error)) => {
            let end = TurnEnd::Failed { reason: brief(&chain(&error)) };
            put(app, (project.id, planning.number, planning.turns.saturating_add(1)), end).await;
            Ok(())
        }
        started => started,
    }
}

/// Has the base checked out in a sandbox, once for all turns of a planning.
async fn checkout(app: &Arc<App>, project: &Project, planning: &Planning) -> Result<(), BeginError> {
    let place = app.dirs.planning(project.id, planning.number);
    if place.join(TREE).exists() {
        return Ok(());
    }
    let directory = app.dirs.jail(&format!("plan-{}-{}", project.id, planning.number));
    let (argv, objects) = {
        let (app, project, left) = (Arc::clone(app), project.clone(), directory.clone());
        blocking(move || {
            if left.exists() {
                orch_sandbox::remove_tree(&left)?;
            }
            checkout_argv(&app, &project)
        })
        .await?
    };
    let work = Jail {
        directory: directory.clone(),
        name: "checkout",
        argv,
        mounts: vec![ReadOnlyMount { source: objects, target: OBJECTS_INSIDE.into() }],
        with_out: false,
        required_level: level_of(app.config.required_level),
    };
    let done = jail::jail(&*app.executor, work, unwanted(app, project.id, planning.number)).await;
    blocking(move || {
        let kept = match done {
            Ok(_) => std::fs::create_dir_all(&place)
                .and_then(|()| std::fs::rename(directory.join("work"), place.join(TREE)))
                .map_err(BeginError::Files),
            Err(error) => Err(BeginError::Checkout(error)),
        };
        orch_sandbox::remove_tree(&directory)?;
        kept
    })
    .await
}

fn checkout_argv(app: &App, project: &Project) -> Result<(Vec<String>, PathBuf), BeginError> {
    let repository = app.repository(project.id)?;
    let branch = RefName::branch(&project.default_branch)?;
    let spec = CheckoutSpec {
        workspace_at: WORKSPACE_INSIDE.into(),
        objects_at: OBJECTS_INSIDE.into(),
        base: repository.head(&branch)?,
        branch,
        author: Identity::new("orch planner", "planner@orch.invalid")?,
        format: repository.format(),
        kept: None,
    };
    Ok((spec.argv(), repository.objects_dir()))
}

/// Puts on record that it starts, and starts it. Blocks.
fn launch(
    app: &App,
    (project, planning): (&Project, &Planning),
    (text, schema): (&Bytes, &str),
) -> Result<(), BeginError> {
    let Some(agent) = &planning.planner.agent else { return Ok(()) };
    let turn = planning.turns.saturating_add(1);
    let place = place_of(app, project.id, planning.number, turn);
    if place.exists() {
        // A daemon that ended before it was on record: nothing of it was started.
        orch_sandbox::remove_tree(&place)?;
    }
    let (run, prompt, form) = (jail::run_directory(&place), place.join("prompt.md"), place.join("schema.json"));
    for directory in [&run, &scratch(&place), &out(&place)] {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::write(&prompt, text)?;
    std::fs::write(&form, schema)?;
    // Until it is on record that it has them.
    let _stay = app.recipe_tools.stay();
    let (spec, tools) = spec(app, (project, planning, agent), (&place, &prompt, &form))?;
    let told = Told { prompt: Digest::of(text), bytes: text.len() as u64 };
    let command = PlanningCommand::StartAgent { planning: planning.number, turn, told, tools };
    let recorded = app.execute(PART, Command::Planning { project: project.id, command });
    tokio::runtime::Handle::current().block_on(recorded).map_err(BeginError::NotOnRecord)?;
    app.executor.submit(&run, &spec, &Secrets::new()).map_err(BeginError::Submit)?;
    Ok(())
}

/// What is started, and with which installed tools.
fn spec(
    app: &App,
    (project, planning, agent): (&Project, &Planning, &AgentUse),
    (place, prompt, schema): (&Path, &Path, &Path),
) -> Result<(RunSpec, Vec<InstalledTool>), BeginError> {
    let (program, tool) = agents::program_of(app, agent)?;
    let (set, mut tools) = tools(app, program.needs_node)?;
    tools.extend(tool);
    let objects = app.repository(project.id)?.objects_dir();
    let plan = PlanJob {
        name: "planner",
        fence: FENCE,
        agent: AgentJob {
            manner: Manner::Plans { schema },
            program: &program,
            model: agent.model.as_deref(),
            prompt,
            has_channel: false,
            resume: None,
        },
        checkout: &app.dirs.planning(project.id, planning.number).join(TREE),
        objects: &objects,
        scratch: &scratch(place),
        out: &out(place),
        tools: &set,
        limits: &app.config.job_limits,
        required_level: level_of(app.config.required_level),
        lease: &app.config.leases.of_run(),
    };
    Ok((plan_spec(&plan), tools))
}

/// What its program is a script of, if it is one.
fn tools(app: &App, needs_node: bool) -> Result<(ToolSet, Vec<InstalledTool>), BeginError> {
    let needed: Vec<String> = needs_node.then(|| "node".to_owned()).into_iter().collect();
    let set = app.tool_set(&needed);
    if let Some((tool, fix)) = set.missing.first_key_value() {
        return Err(BeginError::Tool { tool: tool.clone(), fix: fix.clone() });
    }
    let mut installed = Vec::new();
    for name in needed.iter().map(|request| ToolRequest::parse(request).name) {
        // A program of the host may have done in its place.
        if matches!(app.recipe_tools.state(&name), State::Ready(_)) {
            installed.push(app.recipe_tools.installed(&name)?.used());
        }
    }
    Ok((set, installed))
}

/// Serves an agent until it has ended or is not wanted any more, and puts on record what came of it. Also one that an earlier
/// daemon has started.
pub(super) async fn follow(
    app: &Arc<App>,
    books: &PlannerBooks,
    (project, planning): (ProjectId, &Planning),
    turn: &AgentTurn,
) -> Next {
    let place = place_of(app, project, planning.number, turn.number);
    let run = jail::run_directory(&place);
    let end = if !has_started(app, &run) {
        Some(TurnEnd::Lost)
    } else if !planning.is_open() {
        jail::end(&*app.executor, &run).await;
        Some(TurnEnd::Stopped)
    } else {
        books.allow();
        let served = gateway::serve_planner(app, run.clone(), books.clone());
        let end = until_end(app, books, (project, planning.number), &place).await;
        drop(served);
        tokio::select! {
            biased;
            () = app.stopped() => return Next::Over,
            () = books.settled() => {}
        }
        end
    };
    let Some(end) = end else { return wait(app).await };
    if !put(app, (project, planning.number, turn.number), end).await {
        return Next::Over;
    }
    remove(place).await;
    Next::Look
}

/// Whether it was started; what was not never is.
fn has_started(app: &App, run: &Path) -> bool {
    if !matches!(app.executor.observe(run, FENCE), Ok(Observed::Absent)) {
        return true;
    }
    match app.executor.forestall(run, FENCE) {
        Ok(is_forestalled) => !is_forestalled,
        Err(error) => {
            tracing::warn!(error = chain(&error), "an agent that was to plan is given up without its claim");
            !app.executor.is_gone(run)
        }
    }
}

/// What came of it; none when that cannot be said yet.
async fn until_end(
    app: &Arc<App>,
    books: &PlannerBooks,
    (project, planning): (ProjectId, u32),
    place: &Path,
) -> Option<TurnEnd> {
    let (executor, run) = (&*app.executor, jail::run_directory(place));
    let ended = tokio::select! {
        biased;
        // It goes on, and the next daemon looks after it.
        () = app.stopped() => return None,
        ended = jail::wait(executor, &run, LOOK_MAX) => ended,
        // That ends when the daemon stops, too.
        () = unwanted(app, project, planning) => {
            if *app.stopping.borrow() {
                return None;
            }
            jail::end(executor, &run).await;
            return Some(TurnEnd::Stopped);
        }
        message = books.refused() => {
            jail::end(executor, &run).await;
            return Some(TurnEnd::Failed { reason: no_more(app, project, message).await });
        }
    };
    let failed = |reason: String| Some(TurnEnd::Failed { reason: brief(&reason) });
    match ended {
        Ok(_) => match answer(app, place).await {
            Ok(end) => Some(end),
            Err(reason) => failed(reason),
        },
        Err(JailError::Lost) => Some(TurnEnd::Lost),
        // It has failed for that.
        Err(JailError::Ended { .. }) if books.refusal().is_some() => {
            failed(no_more(app, project, books.refusal().unwrap_or_default()).await)
        }
        Err(JailError::Ended { outcome, log }) => {
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.get(lines.len().saturating_sub(LINES_TOLD)..).unwrap_or_default();
            failed(format!("{outcome}: {}", last.join(" / ")))
        }
        Err(error) => {
            tracing::warn!(error = chain(&error), "an agent that plans cannot be looked after at the moment");
            None
        }
    }
}

/// Why its model may be asked for nothing more, in the words of what is used up where that is why.
async fn no_more(app: &Arc<App>, id: ProjectId, message: String) -> String {
    let Ok(Some(project)) = app.read(move |view| view.get::<Project>(id)).await else { return message };
    match standing(app, &project).await {
        Ok((Standing::Held, spent)) => {
            judge_budgets(app, id).await;
            format!("nothing more may be spent: {spent}")
        }
        _ => message,
    }
}

/// Its last word, which is kept before it is on record. None at all is an answer of which nothing can be made.
async fn answer(app: &Arc<App>, place: &Path) -> Result<TurnEnd, String> {
    let (app, out) = (Arc::clone(app), out(place));
    blocking(move || {
        let read =
            plan_answer(&out, ANSWER_BYTES_MAX).map_err(|error| format!("its answer cannot be read: {error}"))?;
        let text = gateway::without_secrets(&app, read.unwrap_or_default()).map_err(|error| chain(&error))?;
        let kept = app.blobs.put(&text).map_err(|error| format!("its answer was not kept: {}", chain(&error)))?;
        Ok(TurnEnd::Answered { body: kept.hash, bytes: kept.size_bytes })
    })
    .await
}

/// Puts its end on record; false when this daemon cannot any more.
async fn put(app: &Arc<App>, (project, planning, turn): (ProjectId, u32, u32), end: TurnEnd) -> bool {
    loop {
        let command = PlanningCommand::EndAgent { planning, turn, end: end.clone() };
        match app.execute(PART, Command::Planning { project, command }).await {
            Ok(_) => return true,
            Err(ExecuteError::Closed) => return false,
            Err(error @ (ExecuteError::Rejected(_) | ExecuteError::Apply(_))) => {
                tracing::error!(
                    error = chain(&error),
                    "the end of an agent that planned makes no sense and is not on record"
                );
                return false;
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "the end of an agent that planned is not on record yet");
            }
        }
        if matches!(wait(app).await, Next::Over) {
            return false;
        }
    }
}

/// Removes what a planning that is over has left.
pub(super) async fn clear(app: &Arc<App>, project: ProjectId, planning: &Planning) {
    if planning.planner.agent.is_none() {
        return;
    }
    let number = planning.number;
    match app.read(move |view| view.get::<Project>(project)).await {
        Ok(found) if found.as_ref().and_then(under_way) != Some(number) => {
            remove(app.dirs.planning(project, number)).await;
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(error = chain(&error), "what a planning left stays until the next start"),
    }
}

/// Ends and removes what is left of plannings that are over.
pub(super) async fn sweep(app: &Arc<App>) {
    let projects = match app.read(|view| view.list::<Project>(&Filter::default())).await {
        Ok(projects) => projects,
        Err(error) => {
            return tracing::warn!(error = chain(&error), "what plannings left stays until the next start");
        }
    };
    let kept: Vec<PathBuf> =
        projects.iter().filter_map(|project| Some(app.dirs.planning(project.id, under_way(project)?))).collect();
    for entry in std::fs::read_dir(app.dirs.plannings()).into_iter().flatten().flatten() {
        let place = entry.path();
        if kept.contains(&place) {
            continue;
        }
        // Nothing of the checkout is taken for one.
        for turn in std::fs::read_dir(&place).into_iter().flatten().flatten() {
            if turn.file_name().to_string_lossy().starts_with(TURN) {
                jail::end(&*app.executor, &jail::run_directory(&turn.path())).await;
            }
        }
        remove(place).await;
    }
}

/// Number of the planning of a project that is open, or whose agent has no end on record.
fn under_way(project: &Project) -> Option<u32> {
    let planning = project.planning.as_ref()?;
    (planning.is_open() || planning.turn.is_some()).then_some(planning.number)
}

async fn remove(place: PathBuf) {
    blocking(move || {
        if place.exists()
            && let Err(error) = orch_sandbox::remove_tree(&place)
        {
            tracing::warn!(error = chain(&error), place = %place.display(), "failed to remove what a planning left");
        }
    })
    .await;
}

/// Where one turn of an agent is.
fn place_of(app: &App, project: ProjectId, planning: u32, turn: u32) -> PathBuf {
    app.dirs.planning(project, planning).join(format!("{TURN}{turn}"))
}

fn scratch(place: &Path) -> PathBuf {
    place.join("work")
}

fn out(place: &Path) -> PathBuf {
    place.join("out")
}
