//! Budgets of projects, there and back, and in words.

use orch_core::entity::{Budget, BudgetEvent, BudgetKey, BudgetState, BudgetUse, Level, Meter, Period, Project, Run};
use orch_core::view::{Filter, ReadError, View};
use orch_proto::view::{self, BudgetView};
use orch_proto::{EntityKind, Timestamp};

use super::patience;

/// Which budget is meant.
pub(crate) const fn key(meter: view::Meter, period: view::Period) -> BudgetKey {
    let meter = match meter {
        view::Meter::RunTime => Meter::RunTime,
        view::Meter::Tokens => Meter::Tokens,
        view::Meter::Cost => Meter::Cost,
    };
    BudgetKey { meter, period: self::period(period) }
}

/// The time that a budget is for, as it is asked for.
pub(crate) const fn period(period: view::Period) -> Period {
    match period {
        view::Period::Day => Period::Day,
        view::Period::Week => Period::Week,
        view::Period::Total => Period::Total,
    }
}

/// The budgets of a project with what its runs used of them until `now`.
pub(super) fn views(view: &impl View, project: &Project, now: Timestamp) -> Result<Vec<BudgetView>, ReadError> {
    if project.budgets.is_empty() {
        return Ok(Vec::new());
    }
    let open: Vec<Run> = view.list(&Filter::of(project.id).open())?;
    let of_budget = |budget: &Budget| {
        let current = budget.at(now);
        let used = used(&current, &open, now);
        let is_spent = current.level(used).max(current.state.level()) == Level::Spent;
        Ok(BudgetView {
            meter: match current.key.meter {
                Meter::RunTime => view::Meter::RunTime,
                Meter::Tokens => view::Meter::Tokens,
                Meter::Cost => view::Meter::Cost,
            },
            period: match current.key.period {
                Period::Day => view::Period::Day,
                Period::Week => view::Period::Week,
                Period::Total => view::Period::Total,
            },
            limit: current.limit,
            raised: current.raised,
            used,
            is_hard: current.is_hard,
            is_spent,
            renews_at: current.renews_at(),
            text: format!("{} {}", current.amounts(used), current.key.period.phrase()),
            question: match current.state {
                BudgetState::Spent { question } => {
                    patience::open_question(view, Some(question))?.map(|asked| EntityKind::Approval.short(asked.number))
                }
                BudgetState::Enough | BudgetState::Low => None,
            },
        })
    };
    project.budgets.iter().map(of_budget).collect()
}

/// Budgets of which little or nothing is left, a line each.
pub(crate) fn warnings(view: &impl View, project: &Project, now: Timestamp) -> Result<Vec<String>, ReadError> {
    let slug = &project.slug;
    let few = views(view, project, now)?.into_iter().filter_map(|budget| {
        let renewed =
            budget.renews_at.map_or_else(String::new, |at| format!(", renewed in {}", patience::span(at.ms_since(now))));
        let text = &budget.text;
        match (&budget.question, budget.is_spent) {
            (Some(question), true) => Some(format!(
                "the budget of {slug} is used up: {text}{renewed}; answer with `orchctl approval answer {slug}/{question} raise|leave`"
            )),
            (None, true) => Some(format!(
                "the budget of {slug} is used up: {text}{renewed}; `orchctl project budget {slug}` makes it another"
            )),
            _ if is_low(&budget) => Some(format!("the budget of {slug} is nearly used up: {text}{renewed}")),
            _ => None,
        }
    });
    Ok(few.collect())
}

/// What happened to a budget, in words.
pub(super) fn event_text(key: BudgetKey, event: &BudgetEvent) -> String {
    let period = key.period.phrase();
    let amount = |amount: u64| key.meter.amount(amount);
    match event {
        BudgetEvent::Set { limit, is_hard: false, .. } => format!("runs may use {} {period}", amount(*limit)),
        BudgetEvent::Set { limit, is_hard: true, .. } => {
            format!("runs may use {} {period}, and are ended then", amount(*limit))
        }
        BudgetEvent::Removed => format!("runs may use as much {period} as they like"),
        BudgetEvent::Reset { .. } => format!("its budget {period} begins anew"),
        BudgetEvent::Renewed { .. } => format!("its budget {period} is renewed"),
        BudgetEvent::Raised { by } => format!("its budget {period} has {} more", amount(*by)),
        BudgetEvent::RanLow { used, .. } => format!("its budget {period} is nearly used up: {} are", amount(*used)),
        BudgetEvent::Spent { used, .. } => {
            format!("its budget {period} is used up with {}; a person is asked", amount(*used))
        }
    }
}

/// What a run used, in words.
pub(super) fn uses_text(uses: &[BudgetUse]) -> String {
    let most = |meter: Meter| uses.iter().filter(|used| used.key.meter == meter).map(|used| used.amount).max();
    let words = [Meter::RunTime, Meter::Tokens, Meter::Cost].into_iter().filter_map(|meter| {
        let used = most(meter)?;
        Some(if meter == Meter::RunTime { patience::span(used) } else { meter.amount(used) })
    });
    format!("a run used {} of its budgets", words.collect::<Vec<_>>().join(", "))
}

fn is_low(budget: &BudgetView) -> bool {
    let allowed = budget.limit.saturating_add(budget.raised);
    budget.used >= allowed.saturating_mul(orch_core::entity::LOW_PERCENT).div_ceil(100)
}

fn used(current: &Budget, open: &[Run], now: Timestamp) -> u64 {
    match current.key.meter {
        Meter::RunTime => current.used_with(open.iter().filter_map(|run| run.started_at), now),
        Meter::Tokens | Meter::Cost => current.used,
    }
}
