//! A hundred answers at a time, as models write them: what the daemon takes of a processor, and how smoothly they arrive.
//!
//! The server writes 50 words a second into each stream. While all of them are open the processor time of the daemon is
//! taken at two moments. Each word says when it was written: a stall is how much longer than the quickest of its stream a piece
//! was under way. What the server writes late, as one process with a hundred streams does on a busy machine, is so no stall of
//! the gateway's; the plain gaps between pieces, in which it is, stand beside it. The floor is the same streams, asked for by as
//! many processes without a gateway. All of this is on one machine, server and askers too.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use orch_tests::asker::Seen;
use orch_tests::model_server::{Delivery, Misbehave as _, ModelServer, Request, Script, Turn};

use crate::area;
use crate::bars::{Bar, Finding, Limit};
use crate::load::{self, ASKERS, Load};
use crate::options::Options;
use crate::samples::{quantile, spread};
use crate::site::Site;
use crate::turns::Gate;

static PROCESSOR: Bar = Bar {
    name: "gateway-streams",
    unit: "%",
    against: "a core; of the daemon, 100 streams of 50 tokens/s",
    limit: Limit::AtMost(25.0),
    stretch: None,
};
static STALLS: Bar = Bar {
    name: "gateway-stalls",
    unit: "ms",
    against: "nothing; longest delay of a piece of those streams",
    limit: Limit::AtMost(100.0),
    stretch: None,
};

pub(crate) static BARS: &[&Bar] = &[&PROCESSOR, &STALLS];

const STREAMS: u32 = 100;
const TOKENS_PER_SECOND: u32 = 50;
/// How much longer than they are looked at streams last, in seconds: until the last has begun.
const LEAD_SECONDS: u32 = 10;
/// Longest wait until all streams are open.
const OPEN_MAX: Duration = Duration::from_secs(60);
const LOAD: Load = Load { askers: ASKERS, at_once: STREAMS / ASKERS, requests: 1 };

pub(crate) fn measure(options: &Options) -> anyhow::Result<Vec<Finding>> {
    area::runtime()?.block_on(async {
        let tokens = TOKENS_PER_SECOND * (options.seconds + LEAD_SECONDS);
        let words = "word ".repeat(tokens as usize);
        let turn = Turn::say(words).usage(100, tokens.into()).pace(TOKENS_PER_SECOND.into()).stamped();
        let server = ModelServer::start(Script::new([turn])).await?;
        let site = load::site(&server).await?;
        let (mut shares, mut through, mut direct) = (Vec::new(), Way::default(), Way::default());
        let mut gate = Gate::default();
        for round in 0..options.rounds {
            for turn in 0..2 {
                gate.wait()?;
                if (round + turn) % 2 == 0 {
                    let window = Duration::from_secs(options.seconds.into());
                    let (seen, share) = tokio::try_join!(load::through(&site, LOAD), share(&site, &server, window))?;
                    through.take(&seen, tokens)?;
                    shares.push(share);
                } else {
                    direct.take(&load::directly(&server, LOAD).await?, tokens)?;
                }
            }
        }
        let memory = site.used()?;
        let processor = Finding::of(&PROCESSOR, quantile(shares.clone(), 0.5)).spread(spread(shares));
        let processor = processor.note(format!(
            "{} rounds of {} s; {} runs with {} streams each; the daemon has {:.0} MB, and had {:.0} at most",
            options.rounds, options.seconds, LOAD.askers, LOAD.at_once, memory.resident_mb, memory.peak_mb
        ));
        let stalls = Finding::of(&STALLS, worst(&through.delays)).spread(spread(through.delays.clone()));
        let stalls = stalls.note(through.text("through the gateway")).note(direct.text("direct"));
        Ok(vec![processor.note(gate.text()), stalls])
    })
}

/// What the daemon takes of a processor while all streams are open, in percent.
async fn share(site: &Site, server: &ModelServer, window: Duration) -> anyhow::Result<f64> {
    let before = server.requests().iter().filter(|request| request.is_turn()).count();
    let open = move |requests: &[Request]| {
        let turns = requests.iter().filter(|request| request.is_turn()).skip(before);
        turns.filter(|request| request.delivery == Delivery::Open).count() == STREAMS as usize
    };
    tokio::time::timeout(OPEN_MAX, server.until(open)).await.context("not all streams were open at a time")?;
    let (begun, at_first) = (Instant::now(), site.used()?);
    // The time passes unless a stream ends before.
    if tokio::time::timeout(window, server.until(|requests| !open(requests))).await.is_ok() {
        bail!("a stream ended before it was looked at for {} s", window.as_secs());
    }
    let used = site.used()?.processor_seconds - at_first.processor_seconds;
    Ok(used / begun.elapsed().as_secs_f64() * 100.0)
}

/// What was seen on one of the two ways.
#[derive(Debug, Default)]
struct Way {
    /// Longest delay of a piece of each stream, in milliseconds.
    delays: Vec<f64>,
    /// Longest gap of each stream.
    gaps: Vec<f64>,
    /// Tokens a second of each stream.
    rates: Vec<f64>,
}

impl Way {
    /// Takes what was seen of streams of so many words, each of which says when it was written: where they do not, no delay is
    /// no finding.
    fn take(&mut self, seen: &[Seen], words: u32) -> anyhow::Result<()> {
        seen.iter().try_for_each(|seen| seen.ensure_measured(words.into()))?;
        self.delays.extend(seen.iter().map(|seen| seen.late_us as f64 / 1e3));
        self.gaps.extend(seen.iter().map(|seen| seen.gap_us as f64 / 1e3));
        self.rates.extend(seen.iter().map(|seen| seen.pieces as f64 / (seen.total_us as f64 / 1e6)));
        Ok(())
    }

    fn text(&self, name: &str) -> String {
        let of = |times: &[f64]| {
            let [p50, p90] = [0.5, 0.9].map(|share| quantile(times.to_vec(), share));
            format!("p50 {p50:.0}  p90 {p90:.0}  worst {:.0} ms", worst(times))
        };
        let rate = quantile(self.rates.clone(), 0.5);
        format!(
            "{name:<24} {} streams, longest delay of each: {}; longest gap: {}; {rate:.0} pieces a second",
            self.gaps.len(),
            of(&self.delays),
            of(&self.gaps)
        )
    }
}

fn worst(times: &[f64]) -> f64 {
    quantile(times.to_vec(), 1.0)
}
