//! Tools of recipes: which there are and how far each is, and the word of a person that one is to be installed or to go.

use std::sync::Arc;
use std::time::Duration;

use orch_core::entity::Run;
use orch_core::recipe::ToolRecipe;
use orch_core::view::{Filter, View as _};
use orch_proto::view::{CheckResult, DoctorCheck, ToolState, ToolView};
use orch_proto::{EntityKind, ErrorCode, RpcError, WAIT_MS_MAX};

use super::super::identity::Caller;
use super::with_view;
use crate::app::{App, blocking};
use crate::error_chain::chain;
use crate::tools::{PROCESSOR, State, ToolError, hosts, users};

pub(crate) async fn tools(app: &Arc<App>, _: &Caller) -> Result<Vec<ToolView>, RpcError> {
    let open = with_view(app, |view| super::readable(view.list::<Run>(&Filter::default().open()))).await?;
    Ok(app.recipe_tools.recipes().map(|recipe| view(app, recipe, &open)).collect())
}

pub(crate) async fn tool(app: &Arc<App>, _: &Caller, name: String, wait_ms: u32) -> Result<ToolView, RpcError> {
    let wait = Duration::from_millis(u64::from(wait_ms.min(WAIT_MS_MAX)));
    let mut changed = app.recipe_tools.subscribe();
    tokio::select! {
        _ = changed.wait_for(|_| !app.recipe_tools.state(&name).is_under_way()) => {}
        () = app.stopped() => {}
        () = tokio::time::sleep(wait) => {}
    }
    one(app, &name).await
}

pub(crate) async fn tool_install(app: &Arc<App>, caller: &Caller, name: String) -> Result<ToolView, RpcError> {
    app.recipe_tools.ask(&name, &caller.name).map_err(|error| refused(app, &error))?;
    tracing::info!(user = caller.name, tool = name, "a tool is to be installed");
    one(app, &name).await
}

pub(crate) async fn tool_remove(app: &Arc<App>, caller: &Caller, name: String) -> Result<(), RpcError> {
    tracing::info!(user = caller.name, tool = name, "a tool is to be removed");
    let removing = Arc::clone(app);
    let removed = blocking(move || {
        // Who cannot be read may have it.
        let of = |key| users(&removing, key).unwrap_or_else(|_| vec!["a run that cannot be read".to_owned()]);
        removing.recipe_tools.remove(&name, of)
    });
    removed.await.map_err(|error| refused(app, &error))?;
    app.look_again();
    Ok(())
}

async fn one(app: &Arc<App>, name: &str) -> Result<ToolView, RpcError> {
    let open = with_view(app, |view| super::readable(view.list::<Run>(&Filter::default().open()))).await?;
    let found = app.recipe_tools.recipes().find(|recipe| recipe.name == name);
    found.map(|recipe| view(app, recipe, &open)).ok_or_else(|| unknown(app, name))
}

/// Tools that somebody wanted and that are not there, for `doctor`.
pub(super) fn checks(app: &App) -> Vec<DoctorCheck> {
    let check = |recipe: &ToolRecipe| {
        let name = &recipe.name;
        let (reason, fix) = match app.recipe_tools.state(name) {
            State::Failed { reason, .. } => (reason, format!("orchctl tool install {name}")),
            State::Unread { reason, .. } => {
                (reason, format!("see to the disk; if it stays so, orchctl tool remove {name}"))
            }
            _ => return None,
        };
        let fix = Some(fix);
        Some(DoctorCheck { name: format!("tool {}", recipe.name), result: CheckResult::Failed, detail: reason, fix })
    };
    app.recipe_tools.recipes().filter_map(check).collect()
}

fn unknown(app: &App, name: &str) -> RpcError {
    let known = app.recipe_tools.recipes().map(|recipe| recipe.name.as_str()).collect::<Vec<_>>().join(", ");
    RpcError::new(ErrorCode::NotFound, format!("there is no recipe of a tool `{name}`")).hint(format!(
        "there are: {known}; a file `tools/NAME.yaml` in `[recipes] directory` adds one when the daemon starts"
    ))
}

fn refused(app: &App, error: &ToolError) -> RpcError {
    let (code, hint) = match error {
        ToolError::Unknown { name } if app.recipe_tools.recipes().any(|recipe| recipe.name == *name) => {
            (ErrorCode::Invalid, "it is a program of the host: its recipe has no `source`")
        }
        ToolError::Unknown { name } => return unknown(app, name),
        ToolError::NoSource { .. } => (ErrorCode::ToolMissing, "add a download for these processors to its recipe"),
        ToolError::InUse { .. } => (ErrorCode::Conflict, "wait for them, or end them with `orchctl run cancel`"),
        ToolError::UnderWay { .. } => (ErrorCode::Conflict, "wait until `orchctl tool get` says that it is there"),
        ToolError::Absent { .. } => (ErrorCode::NotFound, "`orchctl tool list` says which are installed"),
        ToolError::Cache(_) => {
            tracing::error!(error = chain(error), "the tools failed");
            (ErrorCode::Storage, "look at `tools` in the state directory and at its disk")
        }
    };
    RpcError::new(code, chain(error)).hint(hint)
}

fn view(app: &App, recipe: &ToolRecipe, open: &[Run]) -> ToolView {
    let source = recipe.source_for(PROCESSOR);
    let state = app.recipe_tools.state(&recipe.name);
    let mut view = ToolView {
        name: recipe.name.clone(),
        version: recipe.version.clone(),
        description: recipe.description.clone(),
        program: recipe.program.clone(),
        state: if recipe.is_installed() { word(&state) } else { ToolState::Host },
        detail: detail(app, recipe, &state),
        is_under_way: state.is_under_way(),
        url: source.map(|source| source.url.clone()),
        checksum: source.map(|source| source.checksum.to_string()),
        hosts: source.map(|source| hosts(recipe, source)).unwrap_or_default().iter().map(ToString::to_string).collect(),
        recipe: None,
        content: None,
        files: 0,
        size_bytes: 0,
        installed_at: None,
        by: by(&state).filter(|by| !by.is_empty()).map(ToOwned::to_owned),
        runs: Vec::new(),
    };
    if let State::Ready(tool) = &state {
        let record = &tool.record;
        let uses = |run: &&Run| run.tools.iter().any(|tool| tool.recipe == record.recipe);
        view.recipe = Some(record.recipe.to_string());
        view.content = Some(record.content.to_string());
        (view.files, view.size_bytes) = (record.files, record.bytes);
        view.installed_at = Some(record.installed_at);
        view.runs = open.iter().filter(uses).map(|run| EntityKind::Run.short(run.number)).collect();
    }
    view
}

const fn word(state: &State) -> ToolState {
    match state {
        State::Absent | State::Removed => ToolState::Absent,
        State::Wanted { .. } => ToolState::Wanted,
        State::Downloading { .. } => ToolState::Downloading,
        State::Building { .. } => ToolState::Building,
        State::Failed { .. } | State::Unread { .. } => ToolState::Failed,
        State::Ready(_) => ToolState::Ready,
    }
}

fn by(state: &State) -> Option<&str> {
    match state {
        State::Absent | State::Removed | State::Unread { .. } => None,
        State::Wanted { by }
        | State::Downloading { by, .. }
        | State::Building { by, .. }
        | State::Failed { by, .. } => Some(by),
        State::Ready(tool) => Some(&tool.record.by),
    }
}

/// How far it is, or what is the matter with it.
fn detail(app: &App, recipe: &ToolRecipe, state: &State) -> Option<String> {
    if !recipe.is_installed() {
        return app.tools.require(&recipe.program).err().map(|fix| format!("the host has none: {fix}"));
    }
    match state {
        State::Downloading { bytes, total: Some(total), .. } => {
            Some(format!("{} % of {total} bytes", bytes.saturating_mul(100) / (*total).max(1)))
        }
        State::Downloading { bytes, total: None, .. } => Some(format!("{bytes} bytes")),
        State::Building { since, .. } => Some(format!("its steps run, since {since}")),
        State::Failed { reason, tries, again, .. } => {
            let again = if again.is_some() { "; it is tried again" } else { "" };
            Some(format!("{reason} (tried {tries} times{again})"))
        }
        State::Unread { reason, looks, .. } => {
            Some(format!("{reason} (looked at {looks} times; it is looked at again)"))
        }
        State::Absent | State::Removed => app.recipe_tools.missing(&recipe.name, &app.config.network),
        State::Wanted { .. } | State::Ready(_) => None,
    }
}
