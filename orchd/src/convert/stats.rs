//! What the log says of how long things take.

use std::collections::BTreeMap;

use orch_core::entity::Project;
use orch_core::history::{Count, Figures, History, Kind, Samples, Stage};
use orch_core::view::{Filter, ReadError, View};
use orch_proto::Timestamp;
use orch_proto::view::{
    BrokenView, CountView, FailureView, KindView, ReadingView, RecoveryView, SpreadView, StateTimeView, StatsView,
    TaskState,
};

/// Hours and days that are shown.
const HOURS: usize = 24;
const DAYS: usize = 30;
/// Most kinds of work that are shown.
const KINDS_SHOWN_MAX: usize = 200;

/// States of tasks, in the order in which a task goes through them.
const STAGES: [(Stage, TaskState); 8] = [
    (Stage::Proposed, TaskState::Proposed),
    (Stage::Approved, TaskState::Approved),
    (Stage::Running, TaskState::Running),
    (Stage::InReview, TaskState::InReview),
    (Stage::Paused, TaskState::Paused),
    (Stage::Failed, TaskState::Failed),
    (Stage::Cancelled, TaskState::Cancelled),
    (Stage::Done, TaskState::Done),
];

/// What the history says, of a project or of everything. `reading` is how far it was read, if not to the end.
pub(crate) fn stats_view(
    view: &impl View,
    history: &History,
    project: Option<&Project>,
    (now, reading): (Timestamp, Option<ReadingView>),
) -> Result<StatsView, ReadError> {
    let id = project.map(|project| project.id);
    let nothing = Figures::default();
    let figures = history.figures(id).unwrap_or(&nothing);
    let now_in = history.now(id);
    let state = |(stage, state): &(Stage, TaskState)| {
        let now_in = now_in.get(stage);
        StateTimeView {
            state: *state,
            now: now_in.map_or(0, |now_in| now_in.count),
            oldest_since: now_in.map(|now_in| now_in.oldest),
            time: figures.in_state.get(stage).and_then(spread),
        }
    };
    let failures = figures.failures.iter().map(|(class, failures)| FailureView {
        class: (*class).to_owned(),
        failures: failures.ended,
        retried: failures.retried,
        given_up: failures.given_up,
    });
    Ok(StatsView {
        project: project.map(|project| project.slug.clone()),
        now,
        since: if figures.in_state.is_empty() && now_in.is_empty() { None } else { history.since() },
        reading,
        // What is done is not remembered, only counted.
        states: STAGES.iter().filter(|(stage, _)| *stage != Stage::Done).map(state).collect(),
        queued: spread(&figures.queued),
        answered: spread(&figures.answered),
        attempts: figures.attempts,
        succeeded: figures.succeeded,
        failures: failures.collect(),
        recovery: recovery(view, history, figures, project)?,
        by_hour: figures.rates.by_hour(now, HOURS).into_iter().map(count).collect(),
        by_day: figures.rates.by_day(now, DAYS).into_iter().map(count).collect(),
        kinds: kinds(history.kinds(id)),
    })
}

fn recovery(
    view: &impl View,
    history: &History,
    figures: &Figures,
    project: Option<&Project>,
) -> Result<RecoveryView, ReadError> {
    let projects: BTreeMap<_, _> = match project {
        Some(project) => [(project.id, project.slug.clone())].into(),
        None => view.list::<Project>(&Filter::default())?.into_iter().map(|found| (found.id, found.slug)).collect(),
    };
    let broken = projects.into_iter().filter_map(|(id, project)| {
        let since = history.broken_since(id)?;
        Some(BrokenView { project, since })
    });
    Ok(RecoveryView {
        retried: spread(&figures.retried),
        mended: spread(&figures.mended),
        merging: spread(&figures.merging_again),
        broken: broken.collect(),
    })
}

fn kinds(found: Vec<(&str, &Kind)>) -> Vec<KindView> {
    let kind = |(work, kind): (&str, &Kind)| KindView {
        work: work.to_owned(),
        tasks: spread(&kind.tasks),
        attempts: spread(&kind.attempts),
        failed: kind.failed,
    };
    let mut kinds: Vec<KindView> = found.into_iter().map(kind).collect();
    let often = |kind: &KindView| kind.failed + kind.attempts.map_or(0, |attempts| attempts.count);
    kinds.sort_by_key(|kind| std::cmp::Reverse(often(kind)));
    kinds.truncate(KINDS_SHOWN_MAX);
    kinds
}

fn spread(samples: &Samples) -> Option<SpreadView> {
    samples.spread().map(|spread| SpreadView {
        count: spread.count,
        mean_ms: spread.total_ms / spread.count.max(1),
        samples: spread.kept,
        p50_ms: spread.p50_ms,
        p90_ms: spread.p90_ms,
        max_ms: spread.max_ms,
    })
}

const fn count(count: Count) -> CountView {
    CountView { started: count.started, done: count.done, failed: count.failed }
}
