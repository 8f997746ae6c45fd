//! What the agent of a run is told, from the task, the record and the repository. Blocks.

use orch_adapters::agent::{Brief, NamedFile, named_files};
use orch_adapters::git::{CommitId, ReadError as GitError};
use orch_core::entity::{Change, Message, Project, Requirements, Run, Task};
use orch_core::planner::Requirement;
use orch_core::state::change::ChangeState;
use orch_core::state::document::DocumentState;
use orch_core::view::{Filter, ReadError, View as _};
use orch_proto::EntityKind;
use orch_store::ReadView;

use crate::app::App;
use crate::error_chain::chain;
use crate::reconcile::gates;

/// Most files that are shown, and the largest of which something is.
const FILES_MAX: usize = 6;
const FILE_BYTES_MAX: u64 = 256 << 10;
/// Most bytes of what an attempt before changed.
const DIFF_BYTES_MAX: u64 = 16 << 10;

/// All of it.
///
/// # Errors
/// When the state cannot be read. What the repository does not tell is left out.
pub(crate) fn of_run(app: &App, run: &Run, task: &Task, project: &Project) -> Result<Brief, ReadError> {
    let gates = run.base.as_deref().map(|commit| gates::on(app, project, commit).run).unwrap_or_default();
    let role = run.agent.as_ref().and_then(|agent| app.roles.named(&project.slug, agent.role.as_deref()?));
    let agent = run.agent.as_ref().and_then(|agent| app.config.agents.agents.get(&agent.name));
    let requirements = app.store.read(|view| requirements(view, task, project))?;
    let texts = [&task.title].into_iter().chain(&task.spec.acceptance);
    let texts = texts.map(String::as_str).chain(requirements.iter().map(|(_, _, text)| text.as_str()));
    let files = files(app, run, named_files(texts));
    Ok(Brief {
        role: role.map(|role| (role.name.to_string(), role.instructions.clone())),
        tokens_max: role.and_then(|role| role.prompt_tokens).or_else(|| agent.and_then(|agent| agent.prompt_tokens)),
        task: EntityKind::Task.short(task.number),
        title: task.title.clone(),
        acceptance: task.spec.acceptance.clone(),
        requirements,
        gates: gates.into_iter().map(|gate| (gate.name, gate.run)).collect(),
        has_channel: run.access.channel && app.channel_program.is_some(),
        network: run.access.network.iter().map(ToString::to_string).collect(),
        tools: task.tools.keys().cloned().collect(),
        attempt: run.attempt,
        last_failure: task.last_failure.clone(),
        diff: diff_before(app, run)?,
        files,
        messages: messages(app, task, run)?.into_iter().map(|said| (said.name.clone(), said.text.clone())).collect(),
        resumed: run.session.from.as_ref().map(|from| EntityKind::Run.short(from.number)),
    })
}

/// What people said that it is told with its task: all that its session does not have already.
fn messages<'t>(app: &App, task: &'t Task, run: &Run) -> Result<Vec<&'t Message>, ReadError> {
    let all = task.told_before(run.id);
    let Some(from) = &run.session.from else { return Ok(all.collect()) };
    let Some(before) = app.store.read(|view| view.get::<Run>(from.run))? else { return Ok(all.collect()) };
    // Also what it was told: programs write their sessions when they like.
    let is_new = |said: &&Message| said.run == Some(before.id) || said.at >= before.queued_at;
    Ok(all.filter(is_new).collect())
}

/// One of its project that a task serves: key, title, text.
pub(crate) type TaskRequirement = (String, String, String);

/// Those that the task serves, as its project has approved them last.
///
/// # Errors
/// When the state cannot be read.
pub(crate) fn requirements(
    view: &ReadView<'_>,
    task: &Task,
    project: &Project,
) -> Result<Vec<TaskRequirement>, ReadError> {
    let keys = &task.spec.requirements;
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let of_project = Filter { project: Some(project.id), ..Filter::default() };
    let versions = view.list::<Requirements>(&of_project)?;
    let Some(approved) = versions.iter().rev().find(|version| version.state == DocumentState::Approved) else {
        return Ok(Vec::new());
    };
    let wanted = approved.content.requirements.iter().filter(|requirement| keys.contains(&requirement.id));
    let said =
        |requirement: &Requirement| (requirement.id.to_string(), requirement.title.clone(), requirement.text.clone());
    Ok(wanted.map(said).collect())
}

/// The files among these that the run's base has.
fn files(app: &App, run: &Run, named: Vec<orch_adapters::git::RepoPath>) -> Vec<NamedFile> {
    let unknown = |error: &dyn std::error::Error| {
        tracing::warn!(run = %run.id, error = chain(error), "files that a task names are not shown to its agent");
    };
    let Some(base) = run.base.as_deref().and_then(|base| CommitId::parse(base).ok()) else { return Vec::new() };
    if named.is_empty() {
        return Vec::new();
    }
    let repository = match app.repository(run.project) {
        Ok(repository) => repository,
        Err(error) => {
            unknown(&error);
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for path in named {
        if found.len() == FILES_MAX {
            break;
        }
        let (bytes, text) = match repository.read_blob(&base, &path, FILE_BYTES_MAX) {
            Ok(content) => (content.len() as u64, text_of(content)),
            Err(GitError::TooLarge { size, .. }) => (size, None),
            Err(GitError::Git(error)) => {
                unknown(&error);
                break;
            }
            // Most words with a slash are no files.
            Err(_) => continue,
        };
        found.push(NamedFile { path: path.to_string(), bytes, text });
    }
    found
}

/// What is text to people: without what only programs write.
fn text_of(content: Vec<u8>) -> Option<String> {
    String::from_utf8(content).ok().filter(|text| !text.contains('\0'))
}

/// What the newest change changed that an attempt before this one made and that was not merged.
fn diff_before(app: &App, run: &Run) -> Result<Option<String>, ReadError> {
    if run.attempt < 2 {
        return Ok(None);
    }
    let changes = app.store.read(|view| view.list::<Change>(&Filter::under(run.task)))?;
    let is_refused = |change: &&Change| change.run != run.id && !matches!(change.state, ChangeState::Merged { .. });
    let Some(change) = changes.iter().filter(is_refused).max_by_key(|change| change.number) else { return Ok(None) };
    let head = CommitId::parse(&change.proposal.head).ok();
    let base = change.proposal.base.as_deref().and_then(|base| CommitId::parse(base).ok());
    let (Some(head), Ok(repository)) = (head, app.repository(run.project)) else { return Ok(None) };
    match repository.minimal_diff(base.as_ref(), &head, DIFF_BYTES_MAX) {
        // It may end within a letter, and what is no text is none in it.
        Ok(diff) => {
            Ok(Some(String::from_utf8_lossy(&diff.bytes).replace('\0', "")).filter(|text| !text.trim().is_empty()))
        }
        Err(error) => {
            // Its result may have been removed.
            tracing::debug!(run = %run.id, error = chain(&error), "what an attempt before changed is not shown to the agent");
            Ok(None)
        }
    }
}
