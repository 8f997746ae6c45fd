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
    #[arg(long, value_name = "N", value_parser = minutes, required_unless_present = "reset", requires = "per")]
    pub(crate) run_minutes: Option<u64>,
    /// In which time: days and weeks (from Monday) are those of UTC
    #[arg(long)]
    pub(crate) per: Option<Per>,
    /// End runs under way when it is used up; otherwise they go on, and nothing new begins
    #[arg(long, requires = "run_minutes")]
    pub(crate) hard: bool,
    /// Begin anew as if nothing had been used; with `--per` that one alone
    #[arg(long, conflicts_with = "run_minutes")]
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
    let (request, done) = match (args.run_minutes, period) {
        (Some(limit), Some(period)) => {
            (Request::ProjectBudget { project, meter: Meter::RunTime, period, limit, is_hard: args.hard }, "set")
        }
        (None, period) if args.reset => (Request::ProjectBudgetReset { project, period }, "begun anew"),
        _ => {
            let hint = "give `--run-minutes N --per day`, or `--reset`";
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
    let refuse = || format!("`{text}` is no number of minutes; write `120` or `0.5`");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(part) || part.len() > 4 || text.ends_with('.') {
        return Err(refuse());
    }
    let whole: u64 = whole.parse().map_err(|_| refuse())?;
    let part: u64 = format!("{part:0<4}").parse().map_err(|_| refuse())?;
    let ms = whole.checked_mul(60_000).and_then(|ms| ms.checked_add(part * 6)).ok_or_else(refuse)?;
    Ok(ms)
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
}
