//! What an undo puts back of projects, and of the runs that stood still with them.

use std::collections::BTreeSet;

use super::super::{Context, DecideError, conflict};
use super::{Back, happen, is_to_be, nothing_began};
use crate::entity::{
    Budget, BudgetKey, Entity as _, Level, Project, ProjectEvent, ProjectPart, Run, RunEvent, RunPause,
};
use crate::undo::Was;
use crate::view::View;

pub(super) fn project<V: View>(
    cx: &mut Context<'_, V>,
    back: &mut Back<'_>,
    was: &Was<Project>,
) -> Result<(), DecideError> {
    let (Some(before), Some(after)) = (&was.before, &was.after) else { return Ok(()) };
    let now: Project = cx.get(after.id)?;
    let parts = parts(before, after, &now)?;
    if parts.is_empty() {
        return Ok(());
    }
    let begins = parts.iter().any(|part| match part {
        // What was let go on may have begun.
        ProjectPart::Pause { pause } => pause.is_some() && after.pause.is_none(),
        ProjectPart::Budget { key, budget } => {
            budget.as_ref().is_some_and(|budget| budget.state.level() == Level::Spent)
                && of(after, *key).is_none_or(|budget| budget.state.level() != Level::Spent)
        }
        ProjectPart::Share { .. } | ProjectPart::Patience { .. } | ProjectPart::Blueprint { .. } => false,
    });
    if begins {
        nothing_began(cx, back, &now)?;
        if now.head != after.head {
            return Err(conflict(format!("a change was merged into `{}` since then", now.slug)));
        }
    }
    back.lines.extend(parts.iter().map(|part| line(&now.slug, part)));
    let event = ProjectEvent::Undone { operation: back.operation.seq, parts };
    let then = happen(cx, now, event)?;
    back.projects.insert(then.id, then);
    Ok(())
}

fn of(project: &Project, key: BudgetKey) -> Option<&Budget> {
    project.budgets.iter().find(|budget| budget.key == key)
}

fn parts(before: &Project, after: &Project, now: &Project) -> Result<Vec<ProjectPart>, DecideError> {
    let slug = &now.slug;
    let mut parts = Vec::new();
    if is_to_be(|| format!("the share of `{slug}`"), (&before.share, &after.share), &now.share)? {
        parts.push(ProjectPart::Share { share: before.share });
    }
    if is_to_be(|| format!("the pause of `{slug}`"), (&before.pause, &after.pause), &now.pause)? {
        parts.push(ProjectPart::Pause { pause: before.pause.clone() });
    }
    if is_to_be(|| format!("the patience of `{slug}`"), (&before.patience, &after.patience), &now.patience)? {
        parts.push(ProjectPart::Patience { patience: before.patience });
    }
    let keys: BTreeSet<BudgetKey> = before.budgets.iter().chain(&after.budgets).map(|budget| budget.key).collect();
    for key in keys {
        let what = || format!("the budget of `{slug}`, or what is used of it,");
        if is_to_be(what, (&of(before, key), &of(after, key)), &of(now, key))? {
            parts.push(ProjectPart::Budget { key, budget: of(before, key).copied() });
        }
    }
    let brought = |project: &Project| {
        (project.blueprint.clone(), project.blueprint_gates.clone(), project.protected_paths.clone())
    };
    if is_to_be(|| format!("the blueprint of `{slug}`"), (&brought(before), &brought(after)), &brought(now))? {
        let (blueprint, gates, protected_paths) = brought(before);
        parts.push(ProjectPart::Blueprint { blueprint, gates, protected_paths });
    }
    Ok(parts)
}

fn line(slug: &str, part: &ProjectPart) -> String {
    match part {
        ProjectPart::Share { share } => format!("`{slug}` has weight {} and its former bounds again", share.weight),
        ProjectPart::Pause { pause: Some(_) } => format!("`{slug}` is paused again"),
        ProjectPart::Pause { pause: None } => format!("`{slug}` goes on"),
        ProjectPart::Patience { .. } => format!("`{slug}` has its former time-outs again"),
        ProjectPart::Budget { key, budget: Some(budget) } => {
            let amounts = budget.amounts(budget.used);
            format!("the budget of `{slug}` {} is what it was: {amounts} used", key.period.phrase())
        }
        ProjectPart::Budget { key, budget: None } => format!("`{slug}` has no budget {} again", key.period.phrase()),
        ProjectPart::Blueprint { .. } => format!("`{slug}` has its former gates and protected paths again"),
    }
}

/// A run stands still or goes on. One that is over does neither, and keeps nobody from taking the rest back.
pub(super) fn run<V: View>(cx: &mut Context<'_, V>, back: &mut Back<'_>, was: &Was<Run>) -> Result<(), DecideError> {
    let (Some(before), Some(after)) = (&was.before, &was.after) else { return Ok(()) };
    let now: Run = cx.get(after.id)?;
    let name = format!("R-{}", now.number);
    if !now.is_open() {
        if back.operation.things.len() > 1 {
            return Ok(());
        }
        return Err(conflict(format!("{name} is {} since then", now.state.label())));
    }
    let pause = if now.pause == after.pause {
        (before.pause != after.pause).then(|| before.pause.clone())
    } else {
        // What it waits for by itself is no decision, and may be another since then.
        let [was, is, stands] = [before, after, &now].map(|run| asked_part(run.pause.as_ref()));
        is_to_be(|| format!("the pause of {name}"), (&was, &is), &stands)?.then(|| match was {
            Some(asked) => Some(asked.over(now.pause.as_ref())),
            None => now.pause.as_ref().and_then(RunPause::beneath_it),
        })
    };
    if let Some(pause) = pause {
        let words = if pause.is_some() { "stands still again" } else { "goes on" };
        back.lines.push(format!("{name} {words}"));
        happen(cx, now, RunEvent::Undone { operation: back.operation.seq, pause })?;
    }
    Ok(())
}

/// What a person wanted of the pause of a run.
fn asked_part(pause: Option<&RunPause>) -> Option<RunPause> {
    pause.filter(|pause| !pause.is_the_runs_own()).map(|pause| RunPause { beneath: None, ..pause.clone() })
}
