//! `orchctl task set`, and the same options of `create`: on which terms a task is scheduled.

use std::collections::BTreeMap;

use clap::Args;
use orch_proto::Timestamp;
use orch_proto::request::{Dependency, Request};
use orch_proto::view::{Condition, Join, Terms, Timeout};

use super::patience;
use crate::ctl::failure::Failure;
use crate::ctl::session::Session;
use crate::fmt::duration;

/// What a request takes a time away with.
const NO_TIME: Timestamp = Timestamp::from_unix_us(0);

/// On which terms a task is scheduled.
#[derive(Debug, Default, Args)]
pub(crate) struct TermsArgs {
    /// Wait for all dependencies, or for any one of them
    #[arg(long, value_name = "all|any", value_parser = join)]
    pub(crate) wait_for: Option<Join>,
    /// Begin no attempt before: `2026-12-01T08:00:00Z`, `+2h` from now, or `none`
    #[arg(long, value_name = "WHEN", value_parser = time)]
    pub(crate) not_before: Option<When>,
    /// Begin no attempt from then on, and end one that is under way: as for `--not-before`
    #[arg(long, value_name = "WHEN", value_parser = time)]
    pub(crate) deadline: Option<When>,
    /// Memory of a run, as `4G` or `512M`; `0`: what a run has by itself
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) memory: Option<u64>,
    /// Processors that are kept for a run, as `2` or `0.5`; `0`: none
    #[arg(long, value_name = "COUNT", value_parser = cpu)]
    pub(crate) cpu: Option<u64>,
    /// Disk of a run, as `20G`; `0`: what a run has by itself
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) disk: Option<u64>,
    /// A semaphore that a run holds, as `staging` or `gpu=2`; may be repeated; `none` for none
    #[arg(long, value_name = "NAME[=UNITS]", value_delimiter = ',', value_parser = semaphore)]
    pub(crate) uses: Vec<Use>,
    /// How long it may wait although it could begin, and what follows: `2h:ask`; `warn`, `ask` or `end`; `never`; `none`
    #[arg(long, value_name = "TIME[:THEN]", value_parser = patience::timeout)]
    pub(crate) queue_timeout: Option<Timeout>,
    /// How long a run may be silent, and what follows: as for `--queue-timeout`
    #[arg(long, value_name = "TIME[:THEN]", value_parser = patience::timeout)]
    pub(crate) silence_timeout: Option<Timeout>,
    /// How long a run may take, as `30m`; `none`: as its recipe or the configuration says
    #[arg(long, value_name = "TIME", value_parser = run_timeout)]
    pub(crate) run_timeout: Option<u64>,
}

/// The task and its terms.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// The task, as `T-12` or `shop/T-12`
    pub(crate) task: String,
    #[command(flatten)]
    pub(crate) terms: TermsArgs,
}

/// A time as it is written; one from now on is fixed when it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Never,
    At(Timestamp),
    InMs(u64),
}

impl When {
    /// The time that is meant.
    pub(crate) const fn from(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Never => None,
            Self::At(at) => Some(at),
            Self::InMs(ms) => Some(now.plus_ms(ms)),
        }
    }
}

/// A semaphore as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Nothing,
    Units(String, u32),
}

/// Sets the terms of a task.
pub(crate) async fn set(session: &Session, args: SetArgs) -> Result<(), Failure> {
    let terms = args.terms.terms(crate::clock::now());
    if terms == Terms::default() {
        return Err(Failure::usage(
            "nothing to set; use `--not-before`, `--deadline`, `--memory`, `--cpu`, `--disk`, `--uses`, `--wait-for`, \
             `--queue-timeout`, `--silence-timeout` or `--run-timeout`",
        ));
    }
    session.change(Request::TaskSet { task: session.reference(&args.task), terms }, "set").await.map(drop)
}

impl TermsArgs {
    /// The terms, with times from `now` on.
    pub(crate) fn terms(&self, now: Timestamp) -> Terms {
        let at = |when: When| when.from(now).unwrap_or(NO_TIME);
        let units: BTreeMap<String, u32> = self
            .uses
            .iter()
            .filter_map(|used| match used {
                Use::Nothing => None,
                Use::Units(name, units) => Some((name.clone(), *units)),
            })
            .collect();
        Terms {
            join: self.wait_for,
            not_before: self.not_before.map(at),
            deadline: self.deadline.map(at),
            memory_bytes: self.memory,
            cpu_millis: self.cpu,
            disk_bytes: self.disk,
            semaphores: (!self.uses.is_empty()).then_some(units),
            queue_timeout: self.queue_timeout,
            silence_timeout: self.silence_timeout,
            run_timeout_ms: self.run_timeout,
        }
    }
}

/// Reads a dependency: `T-1`, or `T-1:failed` for another condition than that it is done.
pub(crate) fn dependency(session: &Session, text: &str) -> Result<Dependency, Failure> {
    let (task, condition) = match text.split_once(':') {
        None => (text, Condition::Done),
        Some((task, word)) => (task, condition(word).map_err(Failure::usage)?),
    };
    Ok(Dependency { task: session.reference(task), condition })
}

/// Reads the word for a condition.
pub(crate) fn condition(text: &str) -> Result<Condition, String> {
    let all = [Condition::Done, Condition::Ended, Condition::Failed];
    all.into_iter()
        .find(|condition| condition.label() == text)
        .ok_or_else(|| format!("`{text}` is no condition; there are done, ended, failed"))
}

fn join(text: &str) -> Result<Join, String> {
    match text {
        "all" => Ok(Join::All),
        "any" => Ok(Join::Any),
        _ => Err("wait for `all` or for `any`".into()),
    }
}

pub(crate) fn time(text: &str) -> Result<When, String> {
    if text == "none" {
        return Ok(When::Never);
    }
    if let Some(length) = text.strip_prefix('+') {
        let length = duration::parse(length).map_err(|error| error.to_string())?;
        return Ok(When::InMs(u64::try_from(length.as_millis()).unwrap_or(u64::MAX)));
    }
    text.parse().map(When::At).map_err(|_| {
        format!("`{text}` is no time; write `2026-12-01T08:00:00Z`, a length from now on such as `+2h`, or `none`")
    })
}

fn run_timeout(text: &str) -> Result<u64, String> {
    if text == "none" { Ok(0) } else { patience::length(text) }
}

fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no size; write `512M` or `4G`");
    let (number, shift) =
        match text.trim_end_matches(['B', 'b', 'i']).strip_suffix(['k', 'K', 'm', 'M', 'g', 'G', 't', 'T']) {
            None => (text, 0),
            Some(number) => (
                number,
                match text.as_bytes().get(number.len()).map(u8::to_ascii_lowercase) {
                    Some(b'k') => 10,
                    Some(b'm') => 20,
                    Some(b'g') => 30,
                    _ => 40,
                },
            ),
        };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

fn cpu(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no number of processors; write `2` or `0.5`");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(part) || part.len() > 3 || whole.is_empty() {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let part: u64 = format!("{part:0<3}").parse().map_err(|_| wrong())?;
    whole.checked_mul(1_000).and_then(|whole| whole.checked_add(part)).ok_or_else(wrong)
}

fn semaphore(text: &str) -> Result<Use, String> {
    if text == "none" {
        return Ok(Use::Nothing);
    }
    let (name, units) = text.split_once('=').unwrap_or((text, "1"));
    let units = units.parse().map_err(|_| format!("`{units}` is no number of units; write `{name}=2`"))?;
    Ok(Use::Units(name.to_owned(), units))
}

/// Terms in lines of name and value.
pub(crate) fn lines(terms: &Terms) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    let mut line = |name, value: Option<String>| lines.extend(value.map(|value| (name, value)));
    line("not before", terms.not_before.map(|at| at.to_string()));
    line("deadline", terms.deadline.map(|at| at.to_string()));
    line("memory", terms.memory_bytes.map(size_text));
    line("processors", terms.cpu_millis.map(|millis| format!("{}.{:03}", millis / 1_000, millis % 1_000)));
    line("disk", terms.disk_bytes.map(size_text));
    let semaphores = terms.semaphores.as_ref().filter(|semaphores| !semaphores.is_empty());
    let units = semaphores.map(|all| all.iter().map(|(name, units)| format!("{name}={units}")).collect::<Vec<_>>());
    line("uses", units.map(|units| units.join(", ")));
    line("queue timeout", terms.queue_timeout.map(patience::text));
    line("silence limit", terms.silence_timeout.map(patience::text));
    line("run timeout", terms.run_timeout_ms.map(duration::short));
    lines
}

fn size_text(bytes: u64) -> String {
    for (shift, unit) in [(40, 'T'), (30, 'G'), (20, 'M'), (10, 'K')] {
        if bytes >= 1 << shift && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes} B")
}

/// The dependencies of a task in a line, each with its condition if that is not the usual one.
pub(crate) fn dependencies(task: &orch_proto::view::TaskView) -> String {
    let shown = task.depends_on.iter().map(|name| match task.conditions.get(name) {
        None | Some(Condition::Done) => name.clone(),
        Some(condition) => format!("{name}:{}", condition.label()),
    });
    let shown = shown.collect::<Vec<_>>().join(", ");
    if task.terms.join == Some(Join::Any) && task.depends_on.len() > 1 { format!("any of {shown}") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts_are_read() {
        for (text, bytes) in
            [("0", 0), ("512M", 512 << 20), ("4G", 4 << 30), ("4GiB", 4 << 30), ("1k", 1 << 10), ("2T", 2 << 40)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "G", "-1G", "1.5G", "99999999999T", "1X"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert_eq!(["2", "0.5", "1.25", "0"].map(cpu), [Ok(2_000), Ok(500), Ok(1_250), Ok(0)]);
        assert!([".5", "a", "1.2345", "-1", ""].into_iter().all(|text| cpu(text).is_err()));
        assert_eq!([4 << 30, 512 << 20, 1_000].map(size_text), ["4G", "512M", "1000 B"]);
    }

    #[test]
    fn times_are_read() {
        assert_eq!(time("none"), Ok(When::Never));
        assert_eq!(time("+1h30m"), Ok(When::InMs(5_400_000)));
        assert_eq!(time("1970-01-01T00:00:01Z"), Ok(When::At(Timestamp::from_unix_us(1_000_000))));
        assert!(time("tomorrow").unwrap_err().contains("+2h"));
    }

    #[test]
    fn semaphores_are_read() {
        assert_eq!(semaphore("gpu=2"), Ok(Use::Units("gpu".into(), 2)));
        assert_eq!(semaphore("staging"), Ok(Use::Units("staging".into(), 1)));
        assert!(semaphore("gpu=many").is_err());
        let args = TermsArgs { uses: vec![Use::Nothing], deadline: Some(When::Never), ..TermsArgs::default() };
        let terms = args.terms(Timestamp::from_unix_us(5));
        assert_eq!((terms.semaphores, terms.deadline), (Some(BTreeMap::new()), Some(NO_TIME)));
    }
}
