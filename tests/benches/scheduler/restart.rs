//! How long a daemon takes that was killed and has much behind it and much under way: until every run is looked after
//! again, and until it has started the next task.

use anyhow::{Context as _, ensure};
use orch_core::entity::Run;
use orch_core::entity::TaskEvent;
use orch_core::event::Event;
use orch_core::view::{Filter, View as _};

use crate::bars::{Bar, Finding, Limit};
use crate::options::Options;
use crate::samples::{quantile, spread};
use crate::site::{self, Isolation, Site};
use crate::{clock, grown, lifecycle};

static RESTART: Bar = Bar {
    name: "restart",
    unit: "s",
    against: "nothing; 10^6 events and 100 live runs",
    limit: Limit::AtMost(1.0),
    stretch: None,
};

pub(crate) static BARS: &[&Bar] = &[&RESTART];

const PLACES: u32 = 100;

pub(crate) fn measure(options: &Options) -> anyhow::Result<Vec<Finding>> {
    let runtime = crate::area::runtime()?;
    let mut site = runtime.block_on(Site::start(Isolation::Sandbox, PLACES))?;
    runtime.block_on(site.stop())?;
    grown::grow(&site.state()?, options.finished.div_ceil(lifecycle::EVENTS))?;
    runtime.block_on(async {
        site.start_again(PLACES).await?;
        // One waits for each round's new place.
        site.hand_in(PLACES + options.rounds, site::LASTING).await?;
        site.running(PLACES as usize).await?;
        let mut ups = Vec::new();
        for round in 1..=options.rounds {
            site.kill9().await?;
            let begun = clock::now();
            site.start_again(PLACES + round).await?;
            let up = clock::seconds(begun, clock::now());
            site.running((PLACES + round) as usize).await?;
            ups.push((begun, up));
        }
        site.stop().await?;
        finding(&site, &ups)
    })
}

/// The slower of both for each start, from the log.
fn finding(site: &Site, ups: &[(orch_proto::Timestamp, f64)]) -> anyhow::Result<Vec<Finding>> {
    let store = site.state()?;
    let mut started = Vec::new();
    site::each_event(
        &store,
        |kind| kind == "task.started",
        |at, event| {
            if matches!(event, Event::Task { event: TaskEvent::Started { .. }, .. }) {
                started.push(at);
            }
        },
    )?;
    let live = store.read(|view| view.list::<Run>(&Filter::default().open()))?;
    let wanted = PLACES as usize + ups.len();
    ensure!(live.len() == wanted && live.iter().all(|run| run.attempt == 1), "not {wanted} first attempts live");
    let mut both = Vec::new();
    let mut lines = Vec::new();
    for (begun, up) in ups {
        let next = started.iter().find(|at| *at > begun).context("every start was followed by a decision")?;
        let decided = clock::seconds(*begun, *next);
        both.push(up.max(decided));
        lines.push(format!("ready after {up:.3} s, the next task started after {decided:.3} s"));
    }
    lines.push(format!("{} events before the first of these starts", *store.subscribe().borrow()));
    let found = Finding::of(&RESTART, quantile(both.clone(), 0.5)).spread(spread(both));
    Ok(vec![lines.into_iter().fold(found, Finding::note)])
}
