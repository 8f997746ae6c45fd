//! Has models and agents plan where that was asked for: asks, looks at what is answered, asks to have it mended, and proposes what
//! came of it, or what the rules make in its place.
//!
//! What was asked is on record, so a daemon that comes back goes on where the last one was: an answer that came is not asked
//! for again, an agent that is at work is followed, and a request that was lost is on record as such before another leaves.

mod agent;
mod work;

use std::sync::Arc;

use orch_adapters::gateway::{NotAnswered, Protocol, Question, text_of};
use orch_core::command::{Command, PlanningCommand, PlanningOutcome};
use orch_core::decide::{Standing, standing_of};
use orch_core::digest::Digest;
use orch_core::entity::{ANSWERS_REFUSED_MAX, EXCHANGES_LOST_MAX, Planning, Project, ProjectEvent, RefusedAnswer};
use orch_core::event::Event;
use orch_core::planner::asked::{Prompt, Speaker, repair};
use orch_core::view::{Filter, ReadError, View as _};
use orch_proto::id::ProjectId;
use orch_store::{ExecuteError, ReadView};

use self::work::Work;
use super::tasks::Tasks;
use crate::app::{App, blocking, in_place};
use crate::error_chain::chain;
use crate::gateway::{PlannerBook, PlannerBooks};

/// Part of the daemon that these commands come from.
const PART: &str = "planner";
/// Models that plan at once, and agents. The others wait.
const AT_ONCE: usize = 8;
const AGENTS_AT_ONCE: usize = 2;
/// Largest answer that is read again, in bytes: all that is kept of one.
const ANSWER_BYTES_MAX: u64 = 8 << 20;
/// Most characters of a problem, and of the reason for which the rules plan.
const PROBLEM_CHARS_MAX: usize = 1_000;

/// Looks after plannings until the daemon stops.
pub(super) async fn run(app: Arc<App>) {
    let is_planning = |event: &Event| matches!(event, Event::Project { event: ProjectEvent::Planning { .. }, .. });
    let mut changed = app.store.subscribe_to(is_planning);
    agent::sweep(&app).await;
    let (mut models, mut agents) = (Tasks::default(), Tasks::default());
    loop {
        changed.mark_unchanged();
        models.tidy();
        agents.tidy();
        let wait = match app.read(waiting).await {
            Ok(waiting) => {
                let is_all = waiting.is_empty();
                for (project, is_agent) in waiting {
                    // Who attends to a project is done with it before somebody else is.
                    let (own, other, most) =
                        if is_agent { (&mut agents, &models, AGENTS_AT_ONCE) } else { (&mut models, &agents, AT_ONCE) };
                    if own.len() < most && !other.has(&project) {
                        own.start(project, || attend(Arc::clone(&app), project));
                    }
                }
                if is_all { super::LOOK_AGAIN } else { super::AFTER_FAILURE }
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "failed to look for plannings");
                super::AFTER_FAILURE
            }
        };
        tokio::select! {
            () = app.stopped() => break,
            _ = changed.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    models.finish().await;
    agents.finish().await;
}

/// Projects of which a planning is open, or has something open on record, and whether that is an agent's.
fn waiting(view: &ReadView<'_>) -> Result<Vec<(ProjectId, bool)>, ReadError> {
    let projects = view.list::<Project>(&Filter::default())?;
    let waits =
        |planning: &&Planning| planning.is_open() || !planning.models.open.is_empty() || planning.turn.is_some();
    let open = projects.iter().filter_map(|project| Some((project.id, project.planning.as_ref().filter(waits)?)));
    Ok(open.map(|(id, planning)| (id, planning.planner.agent.is_some())).collect())
}

/// What follows from a look at a planning.
#[derive(Debug)]
enum Next {
    Look,
    Over,
}

/// Brings one planning to its end.
async fn attend(app: Arc<App>, id: ProjectId) {
    let (mut is_first, book) = (true, Arc::new(PlannerBook::default()));
    loop {
        let (project, planning) = match app.read(move |view| view.get::<Project>(id)).await {
            Ok(Some(project)) => match project.planning.clone() {
                Some(planning) => (project, planning),
                None => return,
            },
            Ok(None) => return,
            Err(error) => return tracing::warn!(error = chain(&error), "a planning waits: its project cannot be read"),
        };
        let books = PlannerBooks::of(&app, id, &planning, &book);
        if std::mem::take(&mut is_first) && !planning.models.open.is_empty() {
            for open in &planning.models.open {
                books.give_up(open).await;
            }
            continue;
        }
        if *app.stopping.borrow() {
            return;
        }
        if let Some(turn) = &planning.turn {
            match agent::follow(&app, &books, (id, &planning), turn).await {
                Next::Look => continue,
                Next::Over => return,
            }
        }
        if !planning.is_open() {
            return agent::clear(&app, id, &planning).await;
        }
        match look(&app, &books, &project, &planning).await {
            Next::Look => {}
            Next::Over => return agent::clear(&app, id, &planning).await,
        }
    }
}

/// Does the next thing for a planning that is open.
async fn look(app: &Arc<App>, books: &PlannerBooks, project: &Project, planning: &Planning) -> Next {
    let gathered = {
        let (app, project, planning) = (Arc::clone(app), project.clone(), planning.clone());
        blocking(move || Work::gather(&app, &project, &planning)).await
    };
    let work = match gathered {
        Ok(work) => work,
        Err(reason) => return finish(app, project, planning, PlanningOutcome::Failed { reason }).await,
    };
    if let Some((number, body)) = planning.unread {
        return judge(app, project, planning, (&work, number, body)).await;
    }
    let who = planning.planner.who();
    if let Some(reason) = &planning.given_up {
        let reason = format!("{who} gave no answer: {reason}");
        return by_rules(app, project, planning, (&work, reason)).await;
    }
    if planning.refused.len() >= ANSWERS_REFUSED_MAX {
        let problem = planning.refused.last().and_then(|refused| refused.problems.first());
        let problem = problem.map_or("", String::as_str);
        let reason = format!("none of {ANSWERS_REFUSED_MAX} answers of {who} can be used; of the last: {problem}");
        return by_rules(app, project, planning, (&work, reason)).await;
    }
    if planning.lost > EXCHANGES_LOST_MAX {
        let reason = match planning.planner.agent {
            Some(_) => format!("{who} was lost {} times at its work", planning.lost),
            None => format!("{} requests to {who} were lost with a daemon that ended", planning.lost),
        };
        return by_rules(app, project, planning, (&work, reason)).await;
    }
    match standing(app, project).await {
        Ok((Standing::Free, _)) => {}
        Ok((Standing::Waits, _)) => return wait(app).await,
        Ok((Standing::Held, spent)) => {
            judge_budgets(app, project.id).await;
            let reason = format!("nothing may be spent on {who}: {spent}");
            return by_rules(app, project, planning, (&work, reason)).await;
        }
        Err(error) => {
            tracing::warn!(error = chain(&error), "a planning waits: its budgets cannot be read");
            return wait(app).await;
        }
    }
    let prompt = match in_place(|| work.prompt()) {
        Ok(prompt) => prompt,
        Err(reason) => {
            let reason = format!("{who} was not asked: {reason}");
            return by_rules(app, project, planning, (&work, reason)).await;
        }
    };
    let prompt = mended(app, planning, prompt).await;
    if planning.planner.agent.is_some() {
        return match agent::begin(app, project, planning, &prompt).await {
            Ok(next) => next,
            Err(reason) => {
                let reason = format!("{who} was not asked: {reason}");
                by_rules(app, project, planning, (&work, reason)).await
            }
        };
    }
    ask(app, books, project, (planning, &work, prompt)).await
}

/// Says once that a budget is used up, and has a person asked.
async fn judge_budgets(app: &Arc<App>, project: ProjectId) {
    if let Err(error) = app.execute(PART, Command::JudgeBudgets { project }).await {
        tracing::warn!(error = chain(&error), "a budget was not looked at");
    }
}

/// Asks the model. What it answered is on record, and looked at next.
async fn ask(
    app: &Arc<App>,
    books: &PlannerBooks,
    project: &Project,
    (planning, work, prompt): (&Planning, &Work, Prompt),
) -> Next {
    let client = match app.models() {
        Ok(client) => client,
        Err(error) => return by_rules(app, project, planning, (work, chain(&error))).await,
    };
    let answer = client.question(books, question(planning, prompt), unwanted(app, project.id, planning.number)).await;
    match answer {
        Ok(_) => Next::Look,
        Err(NotAnswered::Unwanted) => Next::Look,
        Err(NotAnswered::NotNow) => wait(app).await,
        Err(NotAnswered::Failed(_)) if *app.stopping.borrow() => Next::Over,
        Err(NotAnswered::Failed(reason)) if planning.planner.fallback.is_some() => {
            let command = PlanningCommand::FallBack { planning: planning.number, reason };
            match app.execute(PART, Command::Planning { project: project.id, command }).await {
                Ok(_) => Next::Look,
                Err(ExecuteError::Rejected(_)) => wait(app).await,
                Err(error) => {
                    tracing::warn!(error = chain(&error), "that another model is asked is not on record yet");
                    wait(app).await
                }
            }
        }
        Err(NotAnswered::Failed(reason)) => {
            let reason = format!("`{}` was asked in vain: {reason}", planning.planner.model);
            by_rules(app, project, planning, (work, reason)).await
        }
    }
}

fn question(planning: &Planning, prompt: Prompt) -> Question {
    let planner = &planning.planner;
    Question {
        model: planner.model.clone(),
        temperature_percent: planner.temperature_percent,
        output_max: planner.output_tokens,
        system: prompt.system,
        said: prompt.replies.into_iter().map(|reply| (reply.by == Speaker::Model, reply.text)).collect(),
        form: (prompt.wish.name(), prompt.wish.schema()),
        protocol: Protocol::of(&planner.protocol).unwrap_or_default(),
    }
}

/// Ends when the planning is over, or the daemon stops.
async fn unwanted(app: &Arc<App>, id: ProjectId, number: u32) {
    // What else happens, and be it in other plannings, is nothing to look at.
    let is_its = move |event: &Event| matches!(event, Event::Project { id: of, event: ProjectEvent::Planning { .. }, .. } if *of == id);
    let mut changed = app.store.subscribe_to(is_its);
    loop {
        changed.mark_unchanged();
        let found = app.read(move |view| view.get::<Project>(id)).await;
        let is_wanted = |planning: &Planning| planning.number == number && planning.is_open();
        if let Ok(found) = found
            && !found.and_then(|project| project.planning).as_ref().is_some_and(is_wanted)
        {
            return;
        }
        tokio::select! {
            () = app.stopped() => return,
            _ = changed.changed() => {}
        }
    }
}

/// The prompt with the last answer that could not be used, and what is wrong with it.
async fn mended(app: &Arc<App>, planning: &Planning, prompt: Prompt) -> Prompt {
    let Some(RefusedAnswer { body, problems, .. }) = planning.refused.last().cloned() else { return prompt };
    let text = match body {
        Some(body) => said(app, planning, body).await.ok(),
        None => None,
    };
    repair(prompt, text.as_deref(), &problems)
}

/// Looks at an answer: it is proposed, or refused.
async fn judge(
    app: &Arc<App>,
    project: &Project,
    planning: &Planning,
    (work, exchange, body): (&Work, u32, Digest),
) -> Next {
    let problems = match said(app, planning, body).await {
        // Takes time with its size.
        Ok(text) => match in_place(|| work.outcome(&text)) {
            Ok(outcome) => return finish(app, project, planning, outcome).await,
            Err(problems) => problems,
        },
        Err(problem) => vec![problem],
    };
    let problems = problems.iter().map(|problem| brief(problem)).collect();
    let command = PlanningCommand::Refuse { planning: planning.number, exchange, problems };
    match app.execute(PART, Command::Planning { project: project.id, command }).await {
        Ok(_) => Next::Look,
        // A person ended it, or what comes next is the same: then it is not done all the time.
        Err(ExecuteError::Rejected(_)) => wait(app).await,
        Err(ExecuteError::Closed) => Next::Over,
        Err(error) => {
            tracing::warn!(error = chain(&error), "what is wrong with an answer of a model is not on record yet");
            wait(app).await
        }
    }
}

/// The first of what is told to people and models of a fault, whatever it quotes.
fn brief(text: &str) -> String {
    text.chars().take(PROBLEM_CHARS_MAX).collect()
}

/// The text of an answer that was kept.
async fn said(app: &Arc<App>, planning: &Planning, body: Digest) -> Result<String, String> {
    let api = orch_adapters::gateway::Api::of(&planning.planner.server.api);
    let protocol = Protocol::of(&planning.planner.protocol).unwrap_or_default();
    let (app, is_text) = (Arc::clone(app), planning.planner.agent.is_some());
    let kept = blocking(move || app.blobs.read_verified(&body, ANSWER_BYTES_MAX)).await;
    let kept = kept.map_err(|error| format!("the answer was not kept: {}", chain(&error)))?;
    if is_text {
        return Ok(String::from_utf8_lossy(&kept).into_owned());
    }
    text_of(api.ok_or("the server is of no known kind")?, protocol, &kept)
}

/// Proposes what the rules make, and says why.
async fn by_rules(app: &Arc<App>, project: &Project, planning: &Planning, (work, reason): (&Work, String)) -> Next {
    tracing::warn!(project = project.slug, reason, "the rules plan in the place of who was asked");
    let outcome =
        in_place(|| work.by_rules(&brief(&reason))).unwrap_or_else(|failed| PlanningOutcome::Failed { reason: failed });
    finish(app, project, planning, outcome).await
}

/// Puts the end on record. What is refused by then ends without a proposal.
async fn finish(app: &Arc<App>, project: &Project, planning: &Planning, outcome: PlanningOutcome) -> Next {
    let mut outcome = outcome;
    loop {
        let is_failure = matches!(outcome, PlanningOutcome::Failed { .. });
        let command = PlanningCommand::Finish { planning: planning.number, outcome: outcome.clone() };
        match app.execute(PART, Command::Planning { project: project.id, command }).await {
            Ok(_) | Err(ExecuteError::Closed) => return Next::Over,
            Err(error @ (ExecuteError::Rejected(_) | ExecuteError::Apply(_))) => {
                if is_failure {
                    // A person ended it.
                    return Next::Over;
                }
                outcome = PlanningOutcome::Failed { reason: chain(&error) };
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "the end of a planning is not on record yet");
                if matches!(wait(app).await, Next::Over) {
                    return Next::Over;
                }
            }
        }
    }
}

async fn standing(app: &Arc<App>, project: &Project) -> Result<(Standing, String), ReadError> {
    let (project, now) = (project.clone(), crate::clock::now());
    app.read(move |view| standing_of(view, &project, now)).await
}

async fn wait(app: &Arc<App>) -> Next {
    tokio::select! {
        () = app.stopped() => Next::Over,
        () = tokio::time::sleep(super::AFTER_FAILURE) => Next::Look,
    }
}
