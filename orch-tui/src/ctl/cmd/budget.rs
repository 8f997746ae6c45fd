//! `orchctl project budget`: how much runs of a project may use.

use clap::{Args, ValueEnum};
use orch_proto::request::Request;
use orch_proto::view::{BudgetView, Meter, Period};
use orch_proto::{ErrorCode, Ref};

use crate::ctl::failure::Failure;
use crate::ctl::session::Session;

/// How much runs of a project may use in a time.
#[derive(Debug, Args)]
pub(crate) struct BudgetArgs {
    /// Name of the project
    pub(crate) name: String,
    /// Minutes of runs, as `120` or `0.5`; 0 takes the bound away
    #[arg(long, value_name = "N", value_parser = minutes, group = "amount", requires = "per")]
    pub(crate) run_minutes: Option<u64>,
    /// Tokens that runs ask models for, in and out; 0 takes the bound away
    #[arg(long, value_name = "N", group = "amount", requires = "per")]
    pub(crate) tokens: Option<u64>,
    /// Dollars that those cost, as `25` or `0.50`; 0 takes the bound away
    #[arg(long, value_name = "N", value_parser = dollars, group = "amount", requires = "per")]
    pub(crate) cost: Option<u64>,
    /// In which time: days and weeks (from Monday) are those of UTC
    #[arg(long)]
    pub(crate) per: Option<Per>,
    /// End runs under way when it is used up; otherwise nothing new begins, and they go on, or stand still when they ask a
    /// model for more
    #[arg(long, requires = "amount")]
    pub(crate) hard: bool,
    /// Begin anew as if nothing had been used; with `--per` those of that time alone
    #[arg(long, conflicts_with = "amount", required_unless_present = "amount")]
    pub(crate) reset: bool,
}

/// The time that a budget is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Per {
    Day,
    Week,
    Total,
}

impl From<Per> for Period {
    fn from(per: Per) -> Self {
        match per {
            Per::Day => Self::Day,
            Per::Week => Self::Week,
            Per::Total => Self::Total,
        }
    }
}

/// Sets it, or begins it anew.
pub(crate) async fn set(session: &Session, args: BudgetArgs) -> Result<(), Failure> {
    let (project, period) = (Ref(args.name), args.per.map(Period::from));
    let amounts = [(Meter::RunTime, args.run_minutes), (Meter::Tokens, args.tokens), (Meter::Cost, args.cost)];
    let amount = amounts.into_iter().find_map(|(meter, amount)| Some((meter, amount?)));
    let (request, done) = match (amount, period) {
        (Some((meter, limit)), Some(period)) => {
            (Request::ProjectBudget { project, meter, period, limit, is_hard: args.hard }, "set")
        }
        (None, period) if args.reset => (Request::ProjectBudgetReset { project, period }, "begun anew"),
        _ => {
            let hint = "give `--run-minutes N`, `--tokens N` or `--cost N` with `--per day`, or `--reset`";
            return Err(Failure::new(ErrorCode::Usage, "nothing is to be set", hint));
        }
    };
    session.change(request, done).await.map(drop)
}

/// A budget as it is shown.
pub(crate) fn text(budget: &BudgetView) -> String {
    let renewed = budget.renews_at.map_or_else(String::new, |at| format!(", renewed at {at}"));
    let hard = if budget.is_hard { ", ends runs" } else { "" };
    let spent = match (&budget.question, budget.is_spent) {
        (Some(question), true) => format!(", used up: asked in {question}"),
        (None, true) => ", used up".to_owned(),
        (_, false) => String::new(),
    };
    format!("{}{spent}{hard}{renewed}", budget.text)
}

/// Reads minutes, in milliseconds: `120`, `0.5`.
fn minutes(text: &str) -> Result<u64, String> {
    let ten_thousandths =
        decimal(text, 4).ok_or_else(|| format!("`{text}` is no number of minutes; write `120` or `0.5`"));
    ten_thousandths.map(|amount| amount.saturating_mul(6))
}

/// Reads dollars, in millionths: `25`, `0.50`.
fn dollars(text: &str) -> Result<u64, String> {
    let plain = text.strip_prefix('$').unwrap_or(text);
    decimal(plain, 6).ok_or_else(|| format!("`{text}` is no amount of dollars; write `25` or `0.50`"))
}

/// A number with at most so many decimals, in units of the last of them.
fn decimal(text: &str, places: usize) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(part) || part.len() > places || text.ends_with('.') {
        return None;
    }
    let units = 10_u64.checked_pow(u32::try_from(places).ok()?)?;
    let part: u64 = format!("{part:0<places$}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(units)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_read() {
        assert_eq!((minutes("120"), minutes("0.5"), minutes("0.0500")), (Ok(7_200_000), Ok(30_000), Ok(3_000)));
        assert_eq!(minutes("0"), Ok(0));
        for bad in ["", ".5", "1.", "-1", "1e3", "1.00000", "99999999999999999999"] {
            assert!(minutes(bad).unwrap_err().contains("minutes"), "{bad}");
        }
    }

    #[test]
    fn dollars_are_read() {
        assert_eq!(
            (dollars("25"), dollars("0.50"), dollars("$1.000001")),
            (Ok(25_000_000), Ok(500_000), Ok(1_000_001))
        );
        for bad in ["", "$", "1,5", "-1", "1.0000001"] {
            assert!(dollars(bad).unwrap_err().contains("dollars"), "{bad}");
        }
    }
}
