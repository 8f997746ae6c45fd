//! What the daemon has in memory: with a long queue and many runs, and with many tasks that are over.

use orch_tests::poll;

use crate::bars::{Bar, Finding, Limit};
use crate::options::Options;
use crate::site::{self, Isolation, Site, Used};
use crate::{grown, turns};

const fn at_most(name: &'static str, against: &'static str, limit: f64) -> Bar {
    Bar { name, unit: "MB", against, limit: Limit::AtMost(limit), stretch: None }
}

static QUEUED: Bar = at_most("memory-queued", "nothing; resident, 10,000 queued and 100 running", 40.0);
static FINISHED: Bar = at_most("memory-finished", "an empty state; resident, 10^6 tasks that are over", 10.0);

pub(crate) static BARS: &[&Bar] = &[&QUEUED, &FINISHED];

const PLACES: u32 = 100;
/// How long a daemon is left alone before its memory is looked at, so often so many milliseconds: what it does by itself is
/// done, also what it does when it has been quiet for a while.
const REST_MS: u8 = 250;
const RESTS: u32 = 8;

pub(crate) fn measure(options: &Options) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    if options.wants(QUEUED.name) {
        findings.push(crate::area::runtime()?.block_on(queued(options.queued / 10))?);
    }
    if options.wants(FINISHED.name) {
        findings.push(finished(options.finished)?);
    }
    Ok(findings)
}

async fn queued(count: u32) -> anyhow::Result<Finding> {
    let site = Site::start(Isolation::Sandbox, PLACES).await?;
    let empty = rested(&site)?;
    site.hand_in(PLACES, site::LASTING).await?;
    site.running(PLACES as usize).await?;
    let running = rested(&site)?;
    site.hand_in(count, site::NOOP).await?;
    let full = rested(&site)?;
    let found = Finding::of(&QUEUED, full.resident_mb).note(text("after its start", empty));
    Ok(found.note(text(&format!("{PLACES} running"), running)).note(text(&format!("and {count} queued"), full)))
}

fn finished(count: u32) -> anyhow::Result<Finding> {
    let runtime = crate::area::runtime()?;
    let mut site = runtime.block_on(Site::start(Isolation::Sandbox, PLACES))?;
    // As the other one is looked at: a daemon that found its state there.
    runtime.block_on(async {
        site.stop().await?;
        site.start_again(PLACES).await
    })?;
    let empty = runtime.block_on(read_up(&site))?;
    runtime.block_on(site.stop())?;
    let begun = std::time::Instant::now();
    grown::grow(&site.state()?, count)?;
    let grown = begun.elapsed().as_secs_f64();
    let bytes = std::fs::metadata(site.env.state().join("orch.db"))?.len();
    runtime.block_on(site.start_again(PLACES))?;
    let full = runtime.block_on(read_up(&site))?;
    let found = Finding::of(&FINISHED, full.resident_mb - empty.resident_mb);
    let found = found.note(text("nothing is over", empty)).note(text(&format!("{count} are over"), full));
    Ok(found.note(format!("the state has {:.1} GB and was made in {grown:.0} s", bytes as f64 / 1e9)))
}

/// What the daemon has when it has read all of its log.
async fn read_up(site: &Site) -> anyhow::Result<Used> {
    poll::until("the history to be read", async || {
        let stats = site.client.wire().call(async |orch, context| orch.stats(context, None).await).await?;
        Ok(stats.reading.is_none().then_some(()))
    })
    .await?;
    rested(site)
}

fn rested(site: &Site) -> anyhow::Result<Used> {
    for _ in 0..RESTS {
        turns::pass(REST_MS)?;
    }
    site.used()
}

fn text(name: &str, used: Used) -> String {
    let Used { resident_mb, own_mb, peak_mb, .. } = used;
    format!("{name:<24} resident {resident_mb:>5.1}, proportional {own_mb:>5.1}, at most so far {peak_mb:>5.1} MB")
}
