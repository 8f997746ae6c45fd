//! `orchctl stats`: how long things take, how much is done, how often it fails and how fast it recovers.

use clap::Args;
use orch_proto::view::{CountView, SpreadView, StatsView};

use crate::ctl::failure::Failure;
use crate::ctl::session::Session;
use crate::fmt::color::{Paint, Role};
use crate::fmt::duration::{age, fine};
use crate::fmt::table::{Cell, Layout, lay_out};
use crate::text::SafeText;

/// Kinds of work that are shown unless all are asked for.
const KINDS_SHOWN: usize = 10;

#[derive(Debug, Default, Args)]
pub(crate) struct StatsArgs {
    /// Every kind of work, not only the most frequent ones
    #[arg(long)]
    pub(crate) all: bool,
}

pub(crate) async fn run(session: &Session, args: &StatsArgs) -> Result<(), Failure> {
    let project = session.given_project();
    let stats = session.read(async |orch, context| orch.stats(context, project).await).await?;
    session.report("Stats", &stats, || text(&stats, args, layout(session)))
}

fn layout(session: &Session) -> Layout {
    let headers = !session.options.no_headers;
    Layout { width: Some(session.text_width()), headers, paint: session.paint() }
}

fn text(stats: &StatsView, args: &StatsArgs, layout: Layout) -> String {
    let mut out = head(stats, layout.paint);
    if stats.since.is_none() {
        if stats.reading.is_none() {
            out.push_str("no history yet: it begins with the first task, `orchctl task create` or an approved plan\n");
        }
        return out;
    }
    section(&mut out, "Time in state", layout.paint);
    out.push_str(&states(stats, layout));
    section(&mut out, "Waiting and recovery", layout.paint);
    out.push_str(&waits(stats, layout));
    section(&mut out, "Throughput", layout.paint);
    out.push_str(&throughput(stats, layout));
    section(&mut out, "Failures", layout.paint);
    out.push_str(&failures(stats, layout));
    section(&mut out, "Work", layout.paint);
    out.push_str(&kinds(stats, args, layout));
    out
}

fn head(stats: &StatsView, paint: Paint) -> String {
    let of = stats.project.as_ref().map_or_else(|| "all projects".to_owned(), |name| format!("project {name}"));
    let since = stats.since.map_or(String::new(), |since| format!(", history of {}", age(since, stats.now)));
    let mut out = format!("{}\n", paint.apply(Role::Strong, &SafeText::line(&format!("{of}{since}"))));
    if let Some(reading) = stats.reading {
        let line = format!("still reading history: {} of {} events, oldest first", reading.read, reading.of);
        out.push_str(&format!("{}\n", paint.apply(Role::Warn, &SafeText::line(&line))));
    }
    for broken in &stats.recovery.broken {
        let since = age(broken.since, stats.now);
        let line = format!("! the merge queue of {} has taken no change since one failed {since} ago", broken.project);
        out.push_str(&format!("{}\n", paint.apply(Role::Warn, &SafeText::line(&line))));
    }
    out
}

fn section(out: &mut String, title: &str, paint: Paint) {
    out.push_str(&format!("\n{}\n", paint.apply(Role::Strong, &SafeText::line(title))));
}

fn states(stats: &StatsView, layout: Layout) -> String {
    let shown = stats.states.iter().filter(|state| state.now > 0 || state.time.is_some());
    let rows = shown.map(|state| {
        let oldest = state.oldest_since.map_or("-".into(), |since| Cell::from(age(since, stats.now)));
        let mut row = vec![Cell::from(state.state.label()), state.now.to_string().into(), oldest];
        row.extend(spread(state.time.as_ref()));
        row
    });
    table(&["state", "now", "oldest", "left", "p50", "p90", "max"], rows.collect(), layout)
}

fn waits(stats: &StatsView, layout: Layout) -> String {
    let recovery = &stats.recovery;
    let rows = [
        ("ready to started", stats.queued.as_ref()),
        ("question to answer", stats.answered.as_ref()),
        ("failure to success, by retries", recovery.retried.as_ref()),
        ("failure to success, by a person", recovery.mended.as_ref()),
        ("merge queue broken to next merge", recovery.merging.as_ref()),
    ];
    let rows = rows.into_iter().map(|(what, time)| {
        let mut row = vec![Cell::from(what)];
        row.extend(spread(time));
        row
    });
    table(&["from, to", "times", "p50", "p90", "max"], rows.collect(), layout)
}

fn throughput(stats: &StatsView, layout: Layout) -> String {
    let newest = |counts: &[CountView], newest: usize| {
        counts.iter().rev().take(newest).fold(CountView::default(), |sum, count| CountView {
            started: sum.started + count.started,
            done: sum.done + count.done,
            failed: sum.failed + count.failed,
        })
    };
    let rows = [
        ("this hour", newest(&stats.by_hour, 1), 1),
        ("24 hours", newest(&stats.by_hour, 24), 24),
        ("7 days", newest(&stats.by_day, 7), 7 * 24),
        ("30 days", newest(&stats.by_day, 30), 30 * 24),
    ];
    // A history that is shorter than the time says nothing of the rest of it.
    let known_hours = stats.since.map_or(1, |since| stats.now.ms_since(since).div_ceil(3_600_000).max(1));
    let rows = rows.into_iter().map(|(time, count, hours)| {
        let numbers = [count.started, count.done, count.failed].map(|count| Cell::from(count.to_string()));
        let mut row = vec![Cell::from(time)];
        row.extend(numbers);
        row.push(per_hour(count.done, known_hours.min(hours)).into());
        row
    });
    table(&["within", "attempts", "done", "failed", "done per hour"], rows.collect(), layout)
}

/// `0`, `0.25`, `12`: as exactly as it matters.
fn per_hour(done: u32, hours: u64) -> String {
    let hundredths = u64::from(done) * 100 / hours;
    match hundredths {
        0 => if done == 0 { "0" } else { "<0.01" }.to_owned(),
        1..1_000 => format!("{}.{:02}", hundredths / 100, hundredths % 100),
        _ => (hundredths / 100).to_string(),
    }
}

fn failures(stats: &StatsView, layout: Layout) -> String {
    let line = format!("{} of {} attempts succeeded\n", stats.succeeded, stats.attempts);
    if stats.failures.is_empty() {
        return line;
    }
    let rows = stats.failures.iter().map(|failure| {
        let rate = failure.retried.saturating_mul(100).checked_div(failure.failures);
        vec![
            Cell::from(failure.class.as_str()),
            failure.failures.to_string().into(),
            failure.retried.to_string().into(),
            rate.map_or("-".into(), |rate| format!("{rate}%").into()),
            failure.given_up.to_string().into(),
        ]
    });
    line + &table(&["class", "failures", "retried", "rate", "task failed"], rows.collect(), layout)
}

fn kinds(stats: &StatsView, args: &StatsArgs, layout: Layout) -> String {
    if stats.kinds.is_empty() {
        return "no attempt has ended yet\n".to_owned();
    }
    let most = if args.all { usize::MAX } else { KINDS_SHOWN };
    let rows = stats.kinds.iter().take(most).map(|kind| {
        let attempt = kind.attempts.as_ref();
        let mut row = vec![Cell::from(kind.work.as_str())];
        row.extend(spread(kind.tasks.as_ref()));
        row.push(attempt.map_or("-".into(), |attempt| fine(attempt.p50_ms).into()));
        row.push(attempt.map_or("-".into(), |attempt| fine(attempt.p90_ms).into()));
        row.push(kind.failed.to_string().into());
        row
    });
    let titles = ["work", "done", "p50", "p90", "max", "attempt p50", "p90", "failed"];
    let mut out = table(&titles, rows.collect(), layout);
    if stats.kinds.len() > most {
        out.push_str(&format!("and {} more: `orchctl stats --all`\n", stats.kinds.len() - most));
    }
    out
}

/// How often, median, 90th percentile, longest of the newest.
fn spread(time: Option<&SpreadView>) -> [Cell; 4] {
    match time {
        None => ["0", "-", "-", "-"].map(|text| Cell::new(text, Role::Dim)),
        Some(time) => [
            time.count.to_string().into(),
            fine(time.p50_ms).into(),
            fine(time.p90_ms).into(),
            fine(time.max_ms).into(),
        ],
    }
}

/// A table whose first column is cut first.
fn table(titles: &[&str], rows: Vec<Vec<Cell>>, layout: Layout) -> String {
    let titles: Vec<String> = titles.iter().map(|title| title.to_uppercase()).collect();
    let flexible: Vec<bool> = (0..titles.len()).map(|column| column == 0).collect();
    lay_out(&titles, &flexible, rows, layout)
}
