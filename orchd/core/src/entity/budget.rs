//! Budgets: how much of something the runs of a project may use in a time, and what they used of it.
//!
//! What is measured is a [`Meter`]; everything here counts in its unit and does the same for each. A budget counts from when it
//! was set. **Invariant:** its span never goes back, whatever a clock does, so that nothing is given twice.

use orch_proto::Timestamp;
use orch_proto::id::ApprovalId;
use serde::{Deserialize, Serialize};

/// Largest amount of a budget, in the unit of its meter: with several runs at once no sum of them overflows.
pub const BUDGET_MAX: u64 = 1 << 48;
/// Share of a budget from which on it is said that little is left, in hundredths.
pub const LOW_PERCENT: u64 = 80;

const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;
/// Days from the Monday before 1970 to its beginning.
const DAYS_TO_MONDAY: i64 = 3;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meter {
    /// Time in which steps of runs were under way, gates included, in milliseconds.
    RunTime,
    /// Tokens that models were asked for, in and out.
    Tokens,
    /// What those cost, in millionths of the currency that prices are in.
    Cost,
}

/// The time that a budget is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// From midnight to midnight (UTC).
    Day,
    /// From Monday to Sunday (UTC).
    Week,
    /// Until somebody begins it anew.
    Total,
}

impl Period {
    /// The word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Total => "total",
        }
    }

    /// For a sentence: `in a day`.
    #[must_use]
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Day => "in a day",
            Self::Week => "in a week",
            Self::Total => "in all",
        }
    }

    /// Which of such times `at` lies in; they are numbered in their order.
    #[must_use]
    pub const fn span_of(self, at: Timestamp) -> i64 {
        let day = at.unix_us().div_euclid(DAY_US);
        match self {
            Self::Day => day,
            Self::Week => (day + DAYS_TO_MONDAY).div_euclid(7),
            Self::Total => 0,
        }
    }

    /// When one of them begins; none where there is but one.
    #[must_use]
    pub const fn begins(self, span: i64) -> Option<Timestamp> {
        let day = match self {
            Self::Day => span,
            Self::Week => span.saturating_mul(7).saturating_sub(DAYS_TO_MONDAY),
            Self::Total => return None,
        };
        Some(Timestamp::from_unix_us(day.saturating_mul(DAY_US)))
    }

    /// When one of them ends and the next begins.
    #[must_use]
    pub const fn ends(self, span: i64) -> Option<Timestamp> {
        self.begins(span.saturating_add(1))
    }
}

/// Which of the budgets of a project: there is one for each meter and period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BudgetKey {
    pub meter: Meter,
    pub period: Period,
}

/// How much there is of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Enough,
    /// Less than a fifth is left.
    Low,
    /// Nothing is left.
    Spent,
}

/// How much there is of a budget, as far as that is on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum BudgetState {
    Enough,
    Low,
    /// Nothing begins; a person was asked whether there is to be more.
    Spent {
        question: ApprovalId,
    },
}

impl BudgetState {
    /// Without what was asked.
    #[must_use]
    pub const fn level(self) -> Level {
        match self {
            Self::Enough => Level::Enough,
            Self::Low => Level::Low,
            Self::Spent { .. } => Level::Spent,
        }
    }
}

/// A budget and what was used of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    pub key: BudgetKey,
    /// In the unit of its meter.
    pub limit: u64,
    /// Runs under way are ended when nothing is left. Otherwise they go on, and nothing new begins.
    pub is_hard: bool,
    /// What was before does not count.
    pub since: Timestamp,
    /// The time that the rest is about.
    pub span: i64,
    /// By runs that are over.
    pub used: u64,
    /// Added to the limit by a person for this time.
    pub raised: u64,
    pub state: BudgetState,
}

/// What a run used of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetUse {
    pub key: BudgetKey,
    /// The time in which it was used.
    pub span: i64,
    pub amount: u64,
}

/// What can happen to a budget of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum BudgetEvent {
    /// It was made, or is another from now on. What was used of it stays used.
    Set { limit: u64, is_hard: bool, span: i64 },
    /// There is no such bound any more.
    Removed,
    /// A person begins it anew.
    Reset { span: i64 },
    /// Another day or week began.
    Renewed { span: i64 },
    /// A person gives more, until it is renewed.
    Raised { by: u64 },
    /// Little is left.
    RanLow { span: i64, used: u64 },
    /// Nothing is left.
    Spent { span: i64, used: u64, question: ApprovalId },
}

impl BudgetEvent {
    /// The word for it, in the events of projects.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Set { .. } => "budget_set",
            Self::Removed => "budget_removed",
            Self::Reset { .. } => "budget_reset",
            Self::Renewed { .. } => "budget_renewed",
            Self::Raised { .. } => "budget_raised",
            Self::RanLow { .. } => "budget_low",
            Self::Spent { .. } => "budget_spent",
        }
    }
}

impl Budget {
    /// As it is at `now`: of what was used in an earlier day or week nothing counts any more.
    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Self {
        self.turn_to(self.key.period.span_of(now));
        self
    }

    /// How much may be used in its time.
    #[must_use]
    pub const fn allowed(&self) -> u64 {
        self.limit.saturating_add(self.raised)
    }

    /// What runs used before then does not count.
    #[must_use]
    pub fn counts_from(&self) -> Timestamp {
        self.key.period.begins(self.span).map_or(self.since, |begins| begins.max(self.since))
    }

    /// When it is renewed by itself.
    #[must_use]
    pub const fn renews_at(&self) -> Option<Timestamp> {
        self.key.period.ends(self.span)
    }

    /// From how much on little is left.
    #[must_use]
    pub const fn low_mark(&self) -> u64 {
        // Nothing overflows: a limit has a bound, and there is one raise for each that was used up.
        self.allowed().saturating_mul(LOW_PERCENT).div_ceil(100)
    }

    /// How much there is when so much is used.
    #[must_use]
    pub const fn level(&self, used: u64) -> Level {
        if used >= self.allowed() {
            Level::Spent
        } else if used >= self.low_mark() {
            Level::Low
        } else {
            Level::Enough
        }
    }

    /// What was used when runs have been under way since each of `began`.
    #[must_use]
    pub fn used_with(&self, began: impl IntoIterator<Item = Timestamp>, now: Timestamp) -> u64 {
        let from = self.counts_from();
        began.into_iter().map(|began| now.ms_since(began.max(from))).fold(self.used, u64::saturating_add)
    }

    /// What a run used of it that was found to be over at `now` and was under way in these times. That of an earlier day or week is
    /// that one's, however late it is counted.
    #[must_use]
    pub fn share_of(&self, worked: impl IntoIterator<Item = (Timestamp, Timestamp)>, now: Timestamp) -> BudgetUse {
        let current = self.at(now);
        let from = current.counts_from();
        // A clock that was put back says nothing of when that was: all of it counts, since nobody is to work for nothing.
        let counts = |began: Timestamp| if now < from { began } else { began.max(from) };
        let amounts = worked.into_iter().map(|(began, ended)| ended.ms_since(counts(began)));
        BudgetUse { key: self.key, span: current.span, amount: amounts.fold(0, u64::saturating_add) }
    }

    /// `118 of 120 minutes`.
    #[must_use]
    pub fn amounts(&self, used: u64) -> String {
        self.key.meter.amounts(used, self.allowed())
    }

    fn turn_to(&mut self, span: i64) {
        if span > self.span {
            (self.span, self.used, self.raised, self.state) = (span, 0, 0, BudgetState::Enough);
        }
    }
}

impl Meter {
    /// Whether it is about models. What is used of it is counted with each answer, and not with the end of a run.
    #[must_use]
    pub const fn is_of_models(self) -> bool {
        matches!(self, Self::Tokens | Self::Cost)
    }

    /// How `orchctl` is told of it: `--tokens N`.
    #[must_use]
    pub const fn option(self) -> &'static str {
        match self {
            Self::RunTime => "--run-minutes N",
            Self::Tokens => "--tokens N",
            Self::Cost => "--cost N",
        }
    }

    /// `120 minutes`.
    #[must_use]
    pub fn amount(self, amount: u64) -> String {
        let both = self.amounts(0, amount);
        both.split_once(" of ").map_or_else(|| both.clone(), |(_, amount)| amount.to_owned())
    }

    /// `118 of 120 minutes`, in a unit that fits what is allowed.
    #[must_use]
    pub fn amounts(self, used: u64, allowed: u64) -> String {
        match self {
            Self::RunTime => {
                let (unit, name) = if allowed < 120_000 { (1_000, "seconds") } else { (60_000, "minutes") };
                format!("{} of {} {name}", tenths(used, unit), tenths(allowed, unit))
            }
            Self::Tokens => format!("{} of {} tokens", grouped(used), grouped(allowed)),
            Self::Cost => format!("{} of {}", money(used), money(allowed)),
        }
    }
}

/// `1,250,000`.
fn grouped(amount: u64) -> String {
    let digits = amount.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect::<Vec<_>>();
    groups.join(",")
}

/// Money from millionths: to a hundredth, more where that says nothing. Prices are in dollars, as those of the vendors are.
fn money(micros: u64) -> String {
    let (whole, part) = (micros / 1_000_000, micros % 1_000_000);
    match part {
        part if micros > 0 && (whole, part / 10_000) == (0, 0) => format!("${whole}.{part:06}"),
        part => format!("${}.{:02}", grouped(whole), part / 10_000),
    }
}

/// So many units, to a tenth where that says more.
fn tenths(amount: u64, unit: u64) -> String {
    match (amount / unit, amount % unit * 10 / unit) {
        (whole, 0) => whole.to_string(),
        (whole, tenth) => format!("{whole}.{tenth}"),
    }
}

/// Has what happened to one of the budgets of a project take effect.
pub(super) fn apply(budgets: &mut Vec<Budget>, key: BudgetKey, event: &BudgetEvent, at: Timestamp) {
    let known = budgets.iter_mut().find(|budget| budget.key == key);
    let fresh = |limit, is_hard, span| Budget {
        key,
        limit,
        is_hard,
        since: at,
        span,
        used: 0,
        raised: 0,
        state: BudgetState::Enough,
    };
    match (event, known) {
        (BudgetEvent::Set { limit, is_hard, span }, None) => {
            budgets.push(fresh(*limit, *is_hard, *span));
            budgets.sort_by_key(|budget| budget.key);
        }
        (BudgetEvent::Set { limit, is_hard, span }, Some(budget)) => {
            budget.turn_to(*span);
            // What a person says now counts for all; what was added before is part of what it took the place of.
            (budget.limit, budget.is_hard, budget.raised) = (*limit, *is_hard, 0);
            budget.state = BudgetState::Enough;
        }
        (BudgetEvent::Removed, _) => budgets.retain(|budget| budget.key != key),
        (BudgetEvent::Reset { span }, Some(budget)) => {
            *budget = fresh(budget.limit, budget.is_hard, budget.span.max(*span));
        }
        (BudgetEvent::Renewed { span }, Some(budget)) => budget.turn_to(*span),
        (BudgetEvent::Raised { by }, Some(budget)) => {
            budget.raised = budget.raised.saturating_add(*by);
            budget.state = BudgetState::Enough;
        }
        (BudgetEvent::RanLow { span, .. }, Some(budget)) => {
            budget.turn_to(*span);
            budget.state = BudgetState::Low;
        }
        (BudgetEvent::Spent { span, question, .. }, Some(budget)) => {
            budget.turn_to(*span);
            budget.state = BudgetState::Spent { question: *question };
        }
        // It was taken away in the meantime.
        (_, None) => {}
    }
}

/// Counts what a run used.
pub(super) fn count(budgets: &mut [Budget], uses: &[BudgetUse]) {
    for budget in budgets {
        let key = budget.key;
        for used in uses.iter().filter(|used| used.key == key) {
            budget.turn_to(used.span);
            budget.used = budget.used.saturating_add(used.amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::sample_id;

    /// 2026-11-20, a Friday, at 08:25 (UTC).
    const FRIDAY: Timestamp = Timestamp::from_unix_us(1_795_163_100_000_000);
    const HOUR_MS: u64 = 60 * 60 * 1_000;

    fn hour_until(ended: Timestamp) -> (Timestamp, Timestamp) {
        (ended.minus_ms(HOUR_MS), ended)
    }

    fn budget(period: Period) -> Budget {
        let mut budgets = Vec::new();
        let (key, span) = (BudgetKey { meter: Meter::RunTime, period }, period.span_of(FRIDAY));
        apply(&mut budgets, key, &BudgetEvent::Set { limit: HOUR_MS, is_hard: false, span }, FRIDAY);
        budgets[0]
    }

    #[test]
    fn days_and_weeks_begin_where_people_think_they_do() {
        let day = Period::Day.span_of(FRIDAY);
        assert_eq!(Period::Day.begins(day).unwrap().to_string(), "2026-11-20T00:00:00.000000Z");
        let week = Period::Week.span_of(FRIDAY);
        assert_eq!(Period::Week.begins(week).unwrap().to_string(), "2026-11-16T00:00:00.000000Z");
        assert_eq!(Period::Week.ends(week).unwrap().to_string(), "2026-11-23T00:00:00.000000Z");
        let monday = Period::Week.ends(week).unwrap();
        assert_eq!((Period::Week.span_of(monday), Period::Week.span_of(monday.minus_ms(1))), (week + 1, week));
        assert_eq!((Period::Total.span_of(FRIDAY), Period::Total.ends(0)), (0, None));
    }

    #[test]
    fn what_was_used_is_forgotten_with_its_day_and_with_no_clock_that_goes_back() {
        let mut budgets = [budget(Period::Day)];
        let used = budgets[0].share_of([hour_until(FRIDAY.plus_ms(HOUR_MS))], FRIDAY.plus_ms(HOUR_MS));
        count(&mut budgets, &[used]);
        assert_eq!((budgets[0].used, budgets[0].level(budgets[0].used)), (HOUR_MS, Level::Spent));
        let tomorrow = FRIDAY.plus_ms(24 * HOUR_MS);
        assert_eq!(budgets[0].at(tomorrow).used, 0);
        // A clock that ran ahead for a moment: what was used then is used on that day, and the day before does not come back.
        let ahead = budgets[0].share_of([hour_until(tomorrow)], tomorrow);
        count(&mut budgets, &[ahead]);
        assert_eq!(budgets[0].at(FRIDAY).used, HOUR_MS);
        assert_eq!(budgets[0].at(tomorrow).used, HOUR_MS);
        // What is used while the clock is behind is used on the later day, too.
        let behind = budgets[0].share_of([hour_until(FRIDAY)], FRIDAY);
        count(&mut budgets, &[behind]);
        assert_eq!(budgets[0].at(tomorrow).used, 2 * HOUR_MS);
        assert_eq!(budgets[0].at(tomorrow.plus_ms(24 * HOUR_MS)).used, 0);
    }

    #[test]
    fn a_run_over_midnight_counts_for_each_day_with_its_part() {
        let budget = budget(Period::Day);
        let midnight = budget.renews_at().unwrap();
        let half_past = midnight.plus_ms(HOUR_MS / 2);
        let used = budget.share_of([hour_until(half_past)], half_past);
        assert_eq!((used.span, used.amount), (budget.span + 1, HOUR_MS / 2));
        // Counted late, as by a daemon that was away: it used nothing of the next day, whatever time has passed of that.
        let late = budget
            .share_of([hour_until(midnight.minus_ms(HOUR_MS)), hour_until(half_past)], midnight.plus_ms(9 * HOUR_MS));
        assert_eq!((late.span, late.amount), (budget.span + 1, HOUR_MS / 2));
        let began = midnight.minus_ms(HOUR_MS / 4);
        assert_eq!(budget.used_with([began], midnight.minus_ms(1)), HOUR_MS / 4 - 1);
        assert_eq!(budget.at(midnight).used_with([began], midnight.plus_ms(5)), 5);
        // What was before it was set does not count.
        assert_eq!(budget.share_of([hour_until(FRIDAY.plus_ms(9))], FRIDAY.plus_ms(9)).amount, 9);
    }

    #[test]
    fn a_raise_is_for_its_time_and_a_reset_for_now() {
        let mut budgets = vec![budget(Period::Week)];
        let key = budgets[0].key;
        let span = budgets[0].span;
        let used = budgets[0].share_of([hour_until(FRIDAY.plus_ms(HOUR_MS))], FRIDAY.plus_ms(HOUR_MS));
        count(&mut budgets, &[used]);
        let spent = BudgetEvent::Spent { span, used: HOUR_MS, question: sample_id(1) };
        apply(&mut budgets, key, &spent, FRIDAY);
        assert_eq!(budgets[0].state.level(), Level::Spent);
        apply(&mut budgets, key, &BudgetEvent::Raised { by: HOUR_MS }, FRIDAY);
        assert_eq!((budgets[0].state, budgets[0].allowed()), (BudgetState::Enough, 2 * HOUR_MS));
        assert_eq!(budgets[0].at(FRIDAY.plus_ms(7 * 24 * HOUR_MS)).allowed(), HOUR_MS);
        let later = FRIDAY.plus_ms(2 * HOUR_MS);
        apply(&mut budgets, key, &BudgetEvent::Reset { span }, later);
        assert_eq!((budgets[0].used, budgets[0].raised, budgets[0].since), (0, 0, later));
        apply(&mut budgets, key, &BudgetEvent::Removed, later);
        assert!(budgets.is_empty());
    }

    #[test]
    fn amounts_are_told_in_a_unit_that_fits() {
        let budget = budget(Period::Day);
        assert_eq!(budget.amounts(59 * 60_000 + 30_000), "59.5 of 60 minutes");
        assert_eq!(Meter::RunTime.amounts(2_400, 3_000), "2.4 of 3 seconds");
        assert_eq!((budget.level(47 * 60_000), budget.level(48 * 60_000)), (Level::Enough, Level::Low));
        assert_eq!((budget.level(HOUR_MS - 1), budget.level(HOUR_MS)), (Level::Low, Level::Spent));
    }
}
