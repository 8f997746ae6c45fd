//! Freeze windows as they are written: `[[freeze]]` with `from` and `until`, both a time or both a minute of the week.

use orch_core::schedule::{Freeze, WEEK_MINUTES, Window};
use orch_proto::Timestamp;
use serde::{Deserialize, Serialize};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_MINUTES: u32 = 24 * 60;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FreezeSection {
    /// Names of projects; all when it is left out.
    #[serde(default)]
    projects: Vec<String>,
    from: String,
    until: String,
    reason: String,
}

/// One end of a window.
#[derive(Clone, Copy)]
enum Edge {
    At(Timestamp),
    Minute(u32),
}

impl FreezeSection {
    /// Checks the texts; the error is what is wrong with which key.
    pub(super) fn checked(&self) -> Result<Freeze, (&'static str, String)> {
        let window = match (edge(&self.from), edge(&self.until)) {
            (None, _) => return Err(("freeze.from", no_edge(&self.from))),
            (_, None) => return Err(("freeze.until", no_edge(&self.until))),
            (Some(Edge::At(from)), Some(Edge::At(until))) if from < until => Window::Once { from, until },
            (Some(Edge::Minute(from)), Some(Edge::Minute(until))) if from != until => Window::Weekly { from, until },
            (Some(Edge::At(_)), Some(Edge::At(_))) | (Some(Edge::Minute(_)), Some(Edge::Minute(_))) => {
                return Err(("freeze.until", format!("has `{}`, which is not after `{}`", self.until, self.from)));
            }
            (Some(_), Some(_)) => {
                return Err((
                    "freeze.until",
                    "has another form than `freeze.from`: write two times or two days".into(),
                ));
            }
        };
        if self.reason.trim().is_empty() {
            return Err(("freeze.reason", "is empty; say what people are to read".into()));
        }
        Ok(Freeze { projects: self.projects.iter().cloned().collect(), window, reason: self.reason.trim().to_owned() })
    }
}

impl From<&Freeze> for FreezeSection {
    fn from(freeze: &Freeze) -> Self {
        let (from, until) = match freeze.window {
            Window::Once { from, until } => (from.to_string(), until.to_string()),
            Window::Weekly { from, until } => (minute_text(from), minute_text(until)),
        };
        Self { projects: freeze.projects.iter().cloned().collect(), from, until, reason: freeze.reason.clone() }
    }
}

fn no_edge(text: &str) -> String {
    format!("has `{text}`; write a time such as `2026-12-24T00:00:00Z`, or a day and a time (UTC) such as `fri 16:00`")
}

fn edge(text: &str) -> Option<Edge> {
    if let Ok(at) = text.parse() {
        return Some(Edge::At(at));
    }
    let (day, time) = text.trim().split_once(' ')?;
    let day = DAYS.iter().position(|known| day.eq_ignore_ascii_case(known))?;
    let (hour, minute) = time.trim().split_once(':')?;
    let number = |text: &str, less_than: u32| text.parse().ok().filter(|number: &u32| *number < less_than);
    let (hour, minute) = (number(hour, 24)?, number(minute, 60)?);
    let minute = u32::try_from(day).ok()? * DAY_MINUTES + hour * 60 + minute;
    (minute < WEEK_MINUTES).then_some(Edge::Minute(minute))
}

fn minute_text(minute: u32) -> String {
    let day = DAYS.get((minute / DAY_MINUTES) as usize).copied().unwrap_or("sun");
    format!("{day} {:02}:{:02}", minute % DAY_MINUTES / 60, minute % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(from: &str, until: &str) -> FreezeSection {
        FreezeSection { projects: Vec::new(), from: from.into(), until: until.into(), reason: "quiet".into() }
    }

    #[test]
    fn windows_are_read_and_written() {
        let weekend = section("fri 16:00", "mon 08:00");
        let freeze = weekend.checked().unwrap();
        assert_eq!(freeze.window, Window::Weekly { from: 4 * DAY_MINUTES + 16 * 60, until: 8 * 60 });
        assert_eq!(FreezeSection::from(&freeze), weekend);
        let once = section("2026-12-24T00:00:00.000000Z", "2027-01-02T00:00:00.000000Z");
        assert_eq!(FreezeSection::from(&once.checked().unwrap()), once);
    }

    #[test]
    fn windows_that_mean_nothing_are_refused() {
        for (from, until, key) in [
            ("friday", "mon 08:00", "freeze.from"),
            ("fri 25:00", "mon 08:00", "freeze.from"),
            ("fri 16:00", "2027-01-02T00:00:00Z", "freeze.until"),
            ("fri 16:00", "fri 16:00", "freeze.until"),
            ("2027-01-02T00:00:00Z", "2026-12-24T00:00:00Z", "freeze.until"),
        ] {
            assert_eq!(section(from, until).checked().unwrap_err().0, key, "{from} {until}");
        }
        let silent = FreezeSection { reason: " ".into(), ..section("fri 16:00", "mon 08:00") };
        assert_eq!(silent.checked().unwrap_err().0, "freeze.reason");
    }
}
