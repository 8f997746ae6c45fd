//! From the commit that makes a task ready to its process: a daemon that has places free.
//!
//! Half of the tasks are handed in one by one, each when the one before is done: ready is when it is queued. Half stand
//! behind one another and are handed in at once: ready is when the one before is done, and the daemon has work with that
//! one's end as well. Ready is a time of the log; the process is there when its shim says that the first step begins.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use orch_core::entity::{Run, Task, TaskEvent};
use orch_core::event::Event;
use orch_core::state::step::StepState;
use orch_core::view::{Filter, View as _};
use orch_proto::id::TaskId;
use orch_proto::request::{Dependency, Request};
use orch_proto::view::TaskState;
use orch_proto::{Ref, Timestamp};

use crate::bars::{Bar, Finding, Limit};
use crate::clock;
use crate::options::Options;
use crate::samples::quantile;
use crate::site::{self, Isolation, PROJECT, Site};

const fn at_most(name: &'static str, against: &'static str) -> Bar {
    Bar { name, unit: "ms", against, limit: Limit::AtMost(10.0), stretch: None }
}

static PLAIN: Bar = at_most("started-p99", "nothing; without a sandbox");
static SANDBOXED: Bar = at_most("started-sandboxed-p99", "nothing; with a sandbox of level 3 or more");

pub(crate) static BARS: &[&Bar] = &[&PLAIN, &SANDBOXED];

/// Tasks of each half.
const TASKS: u32 = 300;
const PLACES: u32 = 4;

pub(crate) fn measure(options: &Options) -> anyhow::Result<Vec<Finding>> {
    let both = [(Isolation::None, &PLAIN), (Isolation::Sandbox, &SANDBOXED)];
    let wanted = both.into_iter().filter(|(_, bar)| options.wants(bar.name));
    wanted.map(|(isolation, bar)| of(isolation, bar)).collect()
}

fn of(isolation: Isolation, bar: &'static Bar) -> anyhow::Result<Finding> {
    crate::area::runtime()?.block_on(async {
        let mut site = Site::start(isolation, PLACES).await?;
        for _ in 0..TASKS {
            let task = hand_in(&site, isolation, None).await?;
            site.client.task_in(&task, TaskState::Done).await?;
        }
        let mut before = None;
        for _ in 0..TASKS {
            before = Some(hand_in(&site, isolation, before.as_deref()).await?);
        }
        site.all_done().await?;
        site.stop().await?;
        let (alone, chained) = waits(&site)?;
        let all = alone.iter().chain(&chained).copied().collect();
        let text = |name: &str, waits: &[f64]| {
            let [p50, p90, p99, max] = [0.5, 0.9, 0.99, 1.0].map(|share| quantile(waits.to_vec(), share));
            format!("{name:<24} n {:<5} p50 {p50:>6.2}  p90 {p90:>6.2}  p99 {p99:>6.2}  max {max:>6.2} ms", waits.len())
        };
        let found = Finding::of(bar, quantile(all, 0.99));
        Ok(found.note(text("handed in one by one", &alone)).note(text("behind one another", &chained)))
    })
}

async fn hand_in(site: &Site, isolation: Isolation, after: Option<&str>) -> anyhow::Result<String> {
    let mut request = site::request(isolation.noop());
    if let Request::TaskCreate { depends_on, .. } = &mut request {
        depends_on.extend(after.map(|task| Dependency { task: Ref::from(task), condition: Default::default() }));
    }
    let accepted = site.client.submit(request).await?;
    Ok(accepted.touched.first().context("a new task has a name")?.name.clone())
}

/// How long tasks were ready before their process ran, in milliseconds: those that stand alone, and the others.
fn waits(site: &Site) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
    let store = site.state()?;
    let (mut queued, mut done) = (BTreeMap::<TaskId, Timestamp>::new(), BTreeMap::<TaskId, Timestamp>::new());
    site::each_event(
        &store,
        |kind| kind.starts_with("task."),
        |at, event| match event {
            Event::Task { id, event: TaskEvent::Queued } => drop(queued.insert(*id, at)),
            Event::Task { id, event: TaskEvent::Completed { .. } } => drop(done.insert(*id, at)),
            _ => {}
        },
    )?;
    let (tasks, runs) =
        store.read(|view| Ok((view.list::<Task>(&Filter::default())?, view.list::<Run>(&Filter::default())?)))?;
    let began: BTreeMap<TaskId, Timestamp> =
        runs.iter().filter_map(|run| Some((run.task, step_began(&run.steps.first()?.state)?))).collect();
    ensure!(runs.len() == tasks.len() && began.len() == tasks.len(), "not one run each in {PROJECT}");
    let (mut alone, mut chained) = (Vec::new(), Vec::new());
    for task in &tasks {
        let queued = queued.get(&task.id).context("it was queued")?;
        let ready = task.depends_on.iter().filter_map(|needed| done.get(needed)).chain([queued]).max();
        let wait = clock::seconds(*ready.context("it was ready")?, began[&task.id]) * 1e3;
        if task.depends_on.is_empty() { alone.push(wait) } else { chained.push(wait) }
    }
    // The first has what others find ready.
    Ok((alone.split_off(1.min(alone.len())), chained))
}

const fn step_began(state: &StepState) -> Option<Timestamp> {
    match state {
        StepState::Running { started_at } | StepState::Ended { started_at, .. } => Some(*started_at),
        StepState::Pending | StepState::Skipped | StepState::Kept => None,
    }
}
