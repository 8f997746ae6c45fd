//! How long one client waits until its task is durable in the queue, whatever is queued already.
//!
//! Three daemons with queues of different length take a block of samples each in turns, so that what disturbs the machine
//! disturbs all of them. A run takes the one place that there is. A task that was a sample is cancelled before the next,
//! and that is not timed, so that a queue keeps its length.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use orch_proto::Ref;
use orch_proto::request::Request;

use crate::bars::{Bar, Finding, Limit};
use crate::disk;
use crate::options::Options;
use crate::samples::Samples;
use crate::site::{self, Isolation, Site};
use crate::turns::Gate;

const fn at_most(name: &'static str, unit: &'static str, against: &'static str, limit: f64) -> Bar {
    Bar { name, unit, against, limit: Limit::AtMost(limit), stretch: None }
}

static P50: Bar = at_most("enqueue-p50", "ms", "nothing; the slowest of the three queues", 1.0);
static P99: Bar = at_most("enqueue-p99", "ms", "nothing; the slowest of the three queues", 3.0);
static FLAT: Bar = at_most("enqueue-flat", "ratio", "p50 with an empty queue, that with the longest", 1.2);

pub(crate) static BARS: &[&Bar] = &[&P50, &P99, &FLAT];

const BLOCKS: usize = 20;
const BLOCK: usize = 100;

pub(crate) fn measure(options: &Options) -> anyhow::Result<Vec<Finding>> {
    crate::area::runtime()?.block_on(async {
        let mut queues = Vec::new();
        for queued in [0, options.queued / 10, options.queued] {
            queues.push(Queue::filled(queued).await?);
        }
        let mut floor = Samples::default();
        let mut gate = Gate::default();
        for _ in 0..BLOCKS {
            for queue in &mut queues {
                gate.wait()?;
                queue.block().await?;
            }
            floor.blocks.push(disk::appends(queues[0].site.env.root(), BLOCK)?);
            queues.rotate_left(1);
        }
        queues.sort_by_key(|queue| queue.queued);
        Ok(findings(&queues, &floor, &gate))
    })
}

fn findings(queues: &[Queue], floor: &Samples, gate: &Gate) -> Vec<Finding> {
    let slowest = |share: f64| queues.iter().map(|queue| queue.samples.quantile(share)).fold(0.0, f64::max) / 1e3;
    let p50 = |queue: Option<&Queue>| queue.map_or(f64::NAN, |queue| queue.samples.quantile(0.5));
    let flat = Finding::of(&FLAT, p50(queues.last()) / p50(queues.first()));
    let lines = queues.iter().map(|queue| queue.samples.text(&format!("{} queued", queue.queued)));
    let first = lines.fold(Finding::of(&P50, slowest(0.5)), Finding::note);
    let fills = queues.iter().filter(|queue| queue.queued > 0);
    let first = fills.fold(first, |finding, queue| finding.note(queue.fill_text()));
    let first = first.note(floor.text("4 KiB and fdatasync")).note(gate.text());
    vec![first, Finding::of(&P99, slowest(0.99)), flat]
}

/// A daemon with so many tasks that wait.
struct Queue {
    queued: u32,
    filled: Duration,
    site: Site,
    samples: Samples,
}

impl Queue {
    async fn filled(queued: u32) -> anyhow::Result<Self> {
        let site = Site::start(Isolation::Sandbox, 1).await?;
        site.hand_in(1, site::LASTING).await?;
        site.running(1).await?;
        let begun = Instant::now();
        site.hand_in(queued, site::NOOP).await?;
        Ok(Self { queued, filled: begun.elapsed(), site, samples: Samples::default() })
    }

    async fn block(&mut self) -> anyhow::Result<()> {
        let mut times = Vec::with_capacity(BLOCK);
        for _ in 0..BLOCK {
            let request = site::request(site::NOOP);
            let begun = Instant::now();
            let accepted = self.site.client.submit(request).await?;
            times.push(begun.elapsed());
            let task = Ref(accepted.touched.first().context("a new task has a name")?.name.clone());
            self.site.client.submit(Request::TaskCancel { task, reason: None }).await?;
        }
        self.samples.blocks.push(times);
        Ok(())
    }

    fn fill_text(&self) -> String {
        let (queued, seconds) = (self.queued, self.filled.as_secs_f64());
        format!(
            "{queued} handed in by one client, 32 at once: {seconds:.1} s, {:.0} a second",
            f64::from(queued) / seconds
        )
    }
}
