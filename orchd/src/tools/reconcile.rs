//! Has installed what somebody wants, what an agent of the configuration is, and what tasks need and may be had without a
//! question. One at a time: each takes the line and the disk for itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orch_core::digest::Digest;
use orch_core::entity::Project;
use orch_core::recipe::{Source, ToolRecipe, ToolRequest, misfit};
use orch_core::schedule::heeds;
use orch_core::view::{Filter, View as _};

use super::{Answer, PROCESSOR, State, install};
use crate::app::{App, blocking};
use crate::error_chain::chain;

/// How long it waits at most for something that nobody tells of.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Installs tools until the daemon stops.
pub(crate) async fn run(app: Arc<App>) {
    {
        let app = Arc::clone(&app);
        blocking(move || sweep(&app)).await;
    }
    let mut changed = app.store.subscribe_to(heeds);
    let mut woken = app.woken.subscribe();
    let mut asked = app.recipe_tools.subscribe();
    while !*app.stopping.borrow() {
        changed.mark_unchanged();
        woken.mark_unchanged();
        asked.mark_unchanged();
        let looking = Arc::clone(&app);
        blocking(move || want(&looking)).await;
        if let Some((name, looks)) = app.recipe_tools.records.unread(Instant::now()) {
            let looking = Arc::clone(&app);
            blocking(move || looking.recipe_tools.look_again(&name, looks)).await;
            // Tasks may have waited for it.
            app.look_again();
            continue;
        }
        if let Some(job) = app.recipe_tools.records.next(Instant::now()) {
            install::work(&app, &job).await;
            continue;
        }
        let due = app.recipe_tools.records.due().map(|due| due.saturating_duration_since(Instant::now()));
        tokio::select! {
            biased;
            () = app.stopped() => return,
            _ = changed.changed() => {}
            _ = woken.changed() => {}
            _ = asked.changed() => {}
            () = tokio::time::sleep(due.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN)) => {}
        }
    }
}

/// Takes note of what is needed and may be installed by itself.
fn want(app: &App) {
    let tools = &app.recipe_tools;
    // Who names it in the configuration has allowed it.
    for tool in app.config.agents.agents.values().filter_map(|agent| agent.tool.as_deref()) {
        if tools.made_from(tool).is_ok() {
            tools.records.need(tool, "the configuration");
        }
    }
    let mut requests = app.book.wanted().tools;
    requests.extend(gate_tools(app));
    for request in requests {
        let name = ToolRequest::parse(&request).name;
        let Some(recipe) = tools.recipe(&name) else { continue };
        let is_missing = matches!(tools.answer(&request, &app.tools, &app.config.network), Answer::Missing { .. });
        let source = recipe.source_for(PROCESSOR);
        let is_allowed =
            |source| tools.questions(recipe, source, &app.config.network).is_empty() && fits(&request, recipe, source);
        if is_missing && tools.state(&name) == State::Absent && source.is_some_and(is_allowed) {
            tools.records.need(&name, "a task");
        }
    }
}

/// What repositories build with, as far as it is to be installed and may be: no task names it.
fn gate_tools(app: &App) -> Vec<String> {
    let tools = &app.recipe_tools;
    let may_come = |recipe: &&ToolRecipe| {
        recipe.is_installed()
            && tools.state(&recipe.name) == State::Absent
            && tools.offer(recipe, &app.config.network).is_some()
    };
    let coming: BTreeSet<&str> = tools.recipes().filter(may_come).map(|recipe| recipe.name.as_str()).collect();
    if coming.is_empty() {
        return Vec::new();
    }
    match app.store.read(|view| view.list::<Project>(&Filter::default().open())) {
        Ok(projects) => {
            projects.iter().flat_map(Project::gate_tools).filter(|tool| coming.contains(tool.as_str())).collect()
        }
        Err(error) => {
            tracing::warn!(error = chain(&error), "which tools projects build with cannot be read");
            Vec::new()
        }
    }
}

/// Whether the recipe makes what is asked for.
fn fits(request: &str, recipe: &ToolRecipe, source: &Source) -> bool {
    misfit(&ToolRequest::parse(request), &recipe.version, Some(&source.checksum)).is_none()
}

/// Removes what no recipe makes any more and nobody has.
fn sweep(app: &App) {
    let swept = match install::in_use(app) {
        Ok(users) => {
            let tools = users.into_iter().flat_map(|(_, tools)| tools);
            let used: BTreeSet<Digest> = tools.map(|tool| tool.recipe).collect();
            app.recipe_tools.sweep(|key| used.contains(&key)).map_err(|error| chain(&error))
        }
        Err(error) => Err(chain(&error)),
    };
    if let Err(error) = swept {
        tracing::warn!(error, "tools that no recipe makes any more are left");
    }
}
