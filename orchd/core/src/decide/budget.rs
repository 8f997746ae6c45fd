//! Budgets of projects: setting them, counting what runs used, and what follows when little or nothing is left.
//!
//! What a run used is counted with its end, in the same transaction. What runs under way use is looked at by the scheduler's
//! book, which asks for a judgement when something may be otherwise than is on record; it is made here, anew.

use orch_proto::id::{ApprovalId, ProjectId};
use orch_proto::{EntityKind, Timestamp};

use super::approval::{self, Question};
use super::{Context, DecideError, conflict, conflict_with_hint, project, spend};
use crate::command::Command;
use crate::digest::Digest;
use crate::entity::{
    Approval, ApprovalSubject, BUDGET_MAX, Budget, BudgetEvent, BudgetKey, BudgetState, Choice, Entity as _, Level,
    Meter, Period, Project, ProjectEvent, Run, RunEvent, RunPurpose,
};
use crate::view::{Filter, View};

/// What a person wants of budgets.
pub(super) fn steer<V: View>(cx: &mut Context<'_, V>, command: &Command) -> Result<(), DecideError> {
    match command {
        Command::SetBudget { project, key, limit, is_hard } => set(cx, *project, *key, (*limit, *is_hard)),
        Command::ResetBudgets { project, period } => reset(cx, *project, *period),
        _ => Err(conflict("not about a budget")),
    }
}

/// Makes a budget, or another of one that there is; 0 takes it away.
fn set<V: View>(
    cx: &mut Context<'_, V>,
    id: ProjectId,
    key: BudgetKey,
    (limit, is_hard): (u64, bool),
) -> Result<(), DecideError> {
    let found: Project = cx.get(id)?;
    project::in_use(&found)?;
    cx.touch(EntityKind::Project, id);
    if limit > BUDGET_MAX {
        let problem = format!("is more than {}", key.meter.amount(BUDGET_MAX));
        return Err(DecideError::TooLarge { field: "budget", problem });
    }
    let known = found.budgets.iter().find(|budget| budget.key == key);
    if limit == 0 {
        match known {
            Some(budget) => {
                withdraw(cx, budget, "there is no such budget any more")?;
                tell(cx, id, key, BudgetEvent::Removed);
                asked_again(cx, id, key)?;
            }
            None => cx.note("there is no such budget"),
        }
        return Ok(());
    }
    if known.is_some_and(|budget| (budget.limit, budget.raised, budget.is_hard) == (limit, 0, is_hard)) {
        cx.note("it is so already");
        return Ok(());
    }
    match known {
        Some(budget) => withdraw(cx, budget, "the budget is another now")?,
        None => cx.note("it counts from now on"),
    }
    let span = key.period.span_of(cx.now);
    tell(cx, id, key, BudgetEvent::Set { limit, is_hard, span });
    asked_again(cx, id, key)
}

/// Begins budgets anew as if nothing had been used of them.
fn reset<V: View>(cx: &mut Context<'_, V>, id: ProjectId, period: Option<Period>) -> Result<(), DecideError> {
    let found: Project = cx.get(id)?;
    project::in_use(&found)?;
    cx.touch(EntityKind::Project, id);
    let meant = |budget: &&Budget| period.is_none_or(|period| period == budget.key.period);
    let budgets: Vec<Budget> = found.budgets.iter().filter(meant).copied().collect();
    if budgets.is_empty() {
        let slug = &found.slug;
        return Err(conflict_with_hint(
            format!("project `{slug}` has no such budget"),
            format!("set one with `orchctl project budget {slug} --run-minutes N --per day`"),
        ));
    }
    for budget in budgets {
        withdraw(cx, &budget, "the budget begins anew")?;
        tell(cx, id, budget.key, BudgetEvent::Reset { span: budget.key.period.span_of(cx.now) });
    }
    spend::ask_again(cx, id)
}

/// Counts what a run that is over used. Its steps are as they are on record: their end is known, or comes with this.
pub(super) fn count<V: View>(cx: &mut Context<'_, V>, run: &Run) -> Result<(), DecideError> {
    let found: Project = cx.get(run.project)?;
    if found.budgets.is_empty() {
        return Ok(());
    }
    let mut uses = Vec::new();
    for budget in &found.budgets {
        let current = renewed(cx, found.id, budget)?;
        if budget.key.meter == Meter::RunTime {
            uses.push(current.share_of(run.worked(cx.now), cx.now));
        }
    }
    uses.retain(|used| used.amount > 0);
    if !uses.is_empty() {
        cx.emit((found.id, ProjectEvent::BudgetUsed { run: run.id, uses }));
    }
    Ok(())
}

/// Puts on record how much there is of each budget of a project, and what follows from that.
pub(super) fn judge<V: View>(cx: &mut Context<'_, V>, id: ProjectId) -> Result<(), DecideError> {
    let found: Project = cx.get(id)?;
    if found.budgets.is_empty() || !found.is_open() {
        return Ok(());
    }
    let open: Vec<Run> = cx.view.list(&Filter::of(id).open())?;
    for budget in &found.budgets {
        let current = renewed(cx, id, budget)?;
        let used = match budget.key.meter {
            Meter::RunTime => current.used_with(open.iter().filter_map(|run| run.started_at), cx.now),
            Meter::Tokens | Meter::Cost => current.used,
        };
        match (current.state.level(), current.level(used)) {
            (Level::Enough, Level::Low) => {
                tell(cx, id, budget.key, BudgetEvent::RanLow { span: current.span, used });
                cx.touch(EntityKind::Project, id);
            }
            (Level::Enough | Level::Low, Level::Spent) => {
                let question = ask(cx, &found, &current, used)?;
                tell(cx, id, budget.key, BudgetEvent::Spent { span: current.span, used, question });
                cx.touch(EntityKind::Project, id);
                if current.is_hard {
                    end_runs(cx, &open, &reason(&found, &current, used));
                }
            }
            (Level::Enough | Level::Low | Level::Spent, _) => {}
        }
    }
    Ok(())
}

/// Refuses what would begin something although nothing is left. What runs under way use is not looked at here.
pub(super) fn may_begin<V: View>(cx: &Context<'_, V>, project: &Project) -> Result<(), DecideError> {
    let spent = project.budgets.iter().map(|budget| budget.at(cx.now)).find(|budget| {
        let level = budget.level(budget.used);
        level == Level::Spent || budget.state.level() == Level::Spent
    });
    match spent {
        Some(budget) => Err(conflict(reason(project, &budget, budget.used))),
        None => Ok(()),
    }
}

/// A person says whether there is to be more.
pub(super) fn answer<V: View>(
    cx: &mut Context<'_, V>,
    id: ProjectId,
    asked: &Approval,
    choice: Choice,
) -> Result<(), DecideError> {
    let found: Project = cx.get(id)?;
    let about = BudgetState::Spent { question: asked.id };
    match found.budgets.iter().find(|budget| budget.at(cx.now).state == about) {
        Some(budget) if choice == Choice::Raise => {
            tell(cx, id, budget.key, BudgetEvent::Raised { by: budget.limit });
            asked_again(cx, id, budget.key)?;
        }
        Some(_) => {}
        None => cx.note("the budget is another now; nothing changes"),
    }
    Ok(())
}

/// The budget as it is now. What was asked about an earlier day or week is withdrawn.
pub(super) fn renewed<V: View>(cx: &mut Context<'_, V>, id: ProjectId, budget: &Budget) -> Result<Budget, DecideError> {
    let current = budget.at(cx.now);
    if current.span != budget.span && budget.state != BudgetState::Enough {
        withdraw(cx, budget, "the budget was renewed")?;
        tell(cx, id, budget.key, BudgetEvent::Renewed { span: current.span });
        asked_again(cx, id, budget.key)?;
    }
    Ok(current)
}

/// Runs that stood still for want of this budget ask again.
fn asked_again<V: View>(cx: &mut Context<'_, V>, id: ProjectId, key: BudgetKey) -> Result<(), DecideError> {
    if key.meter.is_of_models() { spend::ask_again(cx, id) } else { Ok(()) }
}

fn withdraw<V: View>(cx: &mut Context<'_, V>, budget: &Budget, why: &str) -> Result<(), DecideError> {
    match budget.state {
        BudgetState::Spent { question } => approval::void(cx, question, why),
        BudgetState::Enough | BudgetState::Low => Ok(()),
    }
}

fn tell<V: View>(cx: &mut Context<'_, V>, id: ProjectId, key: BudgetKey, event: BudgetEvent) {
    cx.emit((id, ProjectEvent::Budget { key, event }));
}

fn end_runs<V: View>(cx: &mut Context<'_, V>, open: &[Run], reason: &str) {
    // Gates end what was begun.
    for run in open.iter().filter(|run| run.purpose == RunPurpose::Work && run.cancel_requested.is_none()) {
        cx.emit((run.id, RunEvent::OverBudget { reason: reason.to_owned() }));
    }
}

fn reason(project: &Project, budget: &Budget, used: u64) -> String {
    let period = budget.key.period.phrase();
    format!("the budget of `{}` is used up: {} {period}", project.slug, budget.amounts(used))
}

fn ask<V: View>(
    cx: &mut Context<'_, V>,
    project: &Project,
    budget: &Budget,
    used: u64,
) -> Result<ApprovalId, DecideError> {
    let BudgetKey { meter, period } = budget.key;
    let renews_at: Option<Timestamp> = budget.renews_at();
    let until = renews_at.map_or_else(|| "somebody gives more".to_owned(), |at| format!("{at}, when it is renewed"));
    let under_way = match (budget.is_hard, meter.is_of_models()) {
        (true, _) => "are ended, and tried again when there is more",
        (false, true) => "stand still when they ask a model for more",
        (false, false) => "go on",
    };
    let slug = &project.slug;
    let question = Question {
        project: project.id,
        subject: ApprovalSubject::Budget { id: project.id },
        action: format!("{}; is there to be more?", reason(project, budget, used)),
        details: vec![
            format!("no attempt begins before {until}"),
            format!("runs under way {under_way}; gates go on"),
            format!("{}: as much again, {} more", Choice::Raise.label(), of_limit(budget)),
            format!("{}: it stays as it is, and nobody is asked again", Choice::Leave.label()),
            format!("`orchctl project budget {slug} {} --per {}` makes it another", meter.option(), period.label()),
        ],
        rule: "the budget of the project",
        digest: Digest::of_json(&("budget", project.id, budget.key, budget.span, budget.since, budget.allowed())),
        choices: vec![Choice::Raise, Choice::Leave],
    };
    let asked = approval::ask(cx, question)?;
    cx.touch(EntityKind::Approval, asked);
    Ok(asked)
}

/// What a raise gives, in words.
fn of_limit(budget: &Budget) -> String {
    budget.key.meter.amount(budget.limit)
}
