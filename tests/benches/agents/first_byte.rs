//! What the gateway adds to the time until an answer begins, for one agent that asks again and again.
//!
//! Blocks of requests are made by turns through the gateway and directly, so that what disturbs the machine disturbs both.
//! The first request of a block makes the connection and is not counted. Each request is on record, durable, before it
//! leaves: what the disk takes for that stands beside the result.

use std::time::Duration;

use orch_tests::asker::Seen;
use orch_tests::model_server::{ModelServer, Script, Turn};

use crate::bars::{Bar, Finding, Limit};
use crate::load::{self, Load};
use crate::options::Options;
use crate::samples::{self, Samples};
use crate::turns::Gate;
use crate::{area, disk};

static FIRST_BYTE: Bar = Bar {
    name: "gateway-first-byte",
    unit: "ms",
    against: "direct on loopback, p50, added",
    limit: Limit::AtMost(1.5),
    stretch: None,
};

pub(crate) static BARS: &[&Bar] = &[&FIRST_BYTE];

/// Pages whose way to the disk is timed after each round.
const PAGES: usize = 50;

pub(crate) fn measure(options: &Options) -> anyhow::Result<Vec<Finding>> {
    area::runtime()?.block_on(async {
        let server = ModelServer::start(Script::new([Turn::say("Something.")])).await?;
        let site = load::site(&server).await?;
        let load = Load { askers: 1, at_once: 1, requests: options.requests + 1 };
        let (mut through, mut direct, mut disk) = (Samples::default(), Samples::default(), Samples::default());
        let mut gate = Gate::default();
        // The first run of a daemon makes what later ones find.
        load::through(&site, Load { requests: 1, ..load }).await?;
        for block in 0..options.blocks {
            for turn in 0..2 {
                gate.wait()?;
                if (block + turn) % 2 == 0 {
                    through.blocks.push(times(&load::through(&site, load).await?));
                } else {
                    direct.blocks.push(times(&load::directly(&server, load).await?));
                }
            }
            disk.blocks.push(disk::appends(site.env.root(), PAGES)?);
        }
        let (added, (low, high)) = samples::added(&through, &direct);
        let finding = Finding::of(&FIRST_BYTE, added / 1e3).spread((low / 1e3, high / 1e3));
        let finding = finding.note(through.text("through the gateway")).note(direct.text("direct"));
        Ok(vec![finding.note(disk.text("4 KiB and fdatasync")).note(gate.text())])
    })
}

fn times(seen: &[Seen]) -> Vec<Duration> {
    seen.iter().filter(|seen| seen.number > 0).map(|seen| Duration::from_micros(seen.first_us)).collect()
}
