//! A program that asks a model as agents do and tells when the answers came: what benchmarks put in an agent's place.
//!
//! Whatever its arguments are, it reads its standard input - as an agent, its prompt - for an [`Order`], and prints a line
//! of JSON for each answer ([`Seen`]) when all are there. In a run it leaves a note, since it changes nothing. Knows the protocol of OpenAI Responses and nothing of what is
//! between it and the model.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

/// What stands before an order in its line.
const MARK: &str = "asker: ";
/// Most bytes that are read for an order.
const INPUT_BYTES_MAX: u64 = 1 << 20;
/// What is asked. The key is the one that runs have.
const BODY: &str = r#"{"model":"scripted","store":false,"stream":true,"input":"Say something."}"#;
const KEY: &str = "Bearer held-by-the-gateway";

/// What is to be asked, and of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Where the model is, or what leads to it.
    pub address: SocketAddr,
    /// So many ask side by side, each on a connection of its own.
    pub at_once: u32,
    /// So many requests of each, one after the other.
    pub requests: u32,
}

/// How one answer came. Times are in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Its number on its connection, from 0: the first one had to connect.
    pub number: u32,
    /// From the request to the first piece of the answer's body.
    pub first_us: u64,
    /// Longest time between two pieces.
    pub gap_us: u64,
    /// How much longer than the quickest the slowest piece was under way, of those that say when they were written.
    pub late_us: u64,
    /// Pieces that say so: without at least two there is no delay to speak of.
    pub stamps: u64,
    /// Pieces that came.
    pub pieces: u64,
    /// From the request to the end.
    pub total_us: u64,
}

impl Order {
    /// The line that tells it.
    #[must_use]
    pub fn line(&self) -> String {
        // Numbers and an address always have a form in JSON.
        format!("{MARK}{}", serde_json::to_string(self).unwrap_or_default())
    }

    /// The order in a text, whatever else is in it.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(text: &str) -> anyhow::Result<Self> {
        let found = text.lines().find_map(|line| Some(line.split_once(MARK)?.1));
        let found = found.with_context(|| format!("no line with `{MARK}` and an order"))?;
        serde_json::from_str(found.trim()).with_context(|| format!("no order: {found}"))
    }
}

impl Seen {
    /// What the program printed, other lines left out.
    #[must_use]
    pub fn read(output: &[u8]) -> Vec<Self> {
        output.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }

    /// Makes sure that its delay is that of a stream that was written with so many stamps. Some are cut in two on their way:
    /// one in ten may be.
    ///
    /// # Errors
    /// When fewer came.
    pub fn ensure_measured(&self, written: u64) -> anyhow::Result<()> {
        let least = (written.saturating_mul(9) / 10).max(2);
        ensure!(self.stamps >= least, "fewer than {least} of {written} pieces say when they were written: {self:?}");
        Ok(())
    }
}

/// The whole program.
#[must_use]
pub fn main_impl() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error that is gone tells nobody.
            let _is_told = writeln!(std::io::stderr(), "asker: {error:#}").is_ok();
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let mut text = String::new();
    std::io::stdin().take(INPUT_BYTES_MAX).read_to_string(&mut text).context("failed to read the order")?;
    let order = Order::find(&text)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let seen = runtime.block_on(ask_all(order))?;
    let mut stdout = std::io::stdout().lock();
    for seen in seen {
        writeln!(stdout, "{}", serde_json::to_string(&seen)?).context("failed to print")?;
    }
    if std::env::var_os("ORCH_CHANNEL").is_some() {
        let noted = Command::new("orchctl").args(["agent", "note", "nothing was to be changed"]).status()?;
        ensure!(noted.success(), "no note could be left: {noted}");
    }
    Ok(())
}

async fn ask_all(order: Order) -> anyhow::Result<Vec<Seen>> {
    let mut askers = JoinSet::new();
    for _ in 0..order.at_once {
        askers.spawn(async move {
            let mut connector = HttpConnector::new();
            connector.set_nodelay(true);
            let client = Client::builder(TokioExecutor::new()).build(connector);
            let mut seen = Vec::new();
            for number in 0..order.requests {
                seen.push(ask(&client, order.address, number).await?);
            }
            anyhow::Ok(seen)
        });
    }
    let mut all = Vec::new();
    while let Some(ended) = askers.join_next().await {
        all.extend(ended??);
    }
    Ok(all)
}

async fn ask(client: &Client<HttpConnector, Full<Bytes>>, address: SocketAddr, number: u32) -> anyhow::Result<Seen> {
    let request = Request::post(format!("http://{address}/v1/responses"))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::AUTHORIZATION, KEY)
        .body(Full::new(Bytes::from_static(BODY.as_bytes())))?;
    let begun = Instant::now();
    let answer = client.request(request).await.context("no answer")?;
    ensure!(answer.status().is_success(), "answered with {}", answer.status());
    let mut body = answer.into_body();
    let (mut first, mut gap, mut pieces, mut last) = (None, Duration::ZERO, 0, begun);
    let mut ways = Ways::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the answer broke off")?;
        let now = Instant::now();
        if let Some(data) = frame.data_ref() {
            ways.take(data, us(now - begun));
        }
        match first {
            None => first = Some(now - begun),
            Some(_) => gap = gap.max(now - last),
        }
        (pieces, last) = (pieces + 1, now);
    }
    let first = first.context("an empty answer")?;
    let total_us = us(begun.elapsed());
    let (first_us, gap_us, late_us, stamps) = (us(first), us(gap), ways.late_us(), ways.stamps);
    Ok(Seen { number, first_us, gap_us, late_us, stamps, pieces, total_us })
}

/// How long pieces were under way, by the two clocks that they were written and read by.
#[derive(Debug, Default)]
struct Ways {
    /// From the clock of the writer to that of the reader: the shortest and the longest, whatever the clocks begin with.
    range: Option<(i128, i128)>,
    /// Stamps that were found.
    stamps: u64,
}

impl Ways {
    /// Looks for stamps in what came at `now_us`. One that is cut in two is left out.
    fn take(&mut self, data: &[u8], now_us: u64) {
        for line in data.split_inclusive(|byte| *byte == b'\n') {
            let stamp = line.strip_prefix(b": at ").and_then(|rest| rest.strip_suffix(b"\n"));
            let stamp = stamp.and_then(|stamp| std::str::from_utf8(stamp).ok()?.parse::<u64>().ok());
            let Some(stamp) = stamp else { continue };
            self.stamps += 1;
            let way = i128::from(now_us) - i128::from(stamp);
            self.range = Some(self.range.map_or((way, way), |(least, most)| (least.min(way), most.max(way))));
        }
    }

    fn late_us(&self) -> u64 {
        self.range.map_or(0, |(least, most)| u64::try_from(most - least).unwrap_or(u64::MAX))
    }
}

fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_found_in_a_prompt_and_what_was_seen_in_a_log() {
        let order = Order { address: ([127, 0, 0, 1], 4141).into(), at_once: 25, requests: 1 };
        let prompt = format!("# T-1: Ask\n\n## What has to hold\n\n- {}\n\nmore", order.line());
        assert_eq!(Order::find(&prompt).unwrap(), order);
        assert!(Order::find("# T-1: Ask").unwrap_err().to_string().contains("asker: "));
        let seen =
            Seen { number: 3, first_us: 900, gap_us: 21_000, late_us: 90, stamps: 6, pieces: 7, total_us: 140_000 };
        let log = format!("warning: something\n{}\n{{}}\n", serde_json::to_string(&seen).unwrap());
        assert_eq!(Seen::read(log.as_bytes()), [seen]);
    }

    #[test]
    fn what_is_written_late_is_not_what_comes_late() {
        let mut ways = Ways::default();
        // Two pieces 400 ms apart, both 1 ms under way; then one that takes 31.
        ways.take(b": at 5000000\nevent: a\ndata: {}\n\n", 1_000);
        ways.take(b": at 5400000\ndata: {}\n\n", 401_000);
        assert_eq!(ways.late_us(), 0);
        ways.take(b"data: : at 9\n\n: at 5420000\ndata: {}\n\n: at 54", 451_000);
        assert_eq!((ways.late_us(), ways.stamps), (30_000, 3));
        assert_eq!(Ways::default().late_us(), 0);
    }

    #[test]
    fn a_stream_without_its_stamps_was_not_measured() {
        let seen = |stamps| Seen { number: 0, first_us: 1, gap_us: 1, late_us: 0, stamps, pieces: 100, total_us: 9 };
        for (written, came, is_measured) in [(100, 100, true), (100, 90, true), (100, 89, false), (100, 0, false)] {
            assert_eq!(seen(came).ensure_measured(written).is_ok(), is_measured, "{came} of {written}");
        }
        assert!(seen(1).ensure_measured(1).is_err(), "one alone has nothing that it is later than");
    }
}
