//! `cargo bench -p orch-core --bench transcripts`: how fast what agents print becomes events, and in how much memory.
//!
//! Each protocol reads 100 MB of a transcript like those that agents write (`made.rs`), in pieces as a log gives them. Time
//! is what the thread had of a processor, so that other work on the machine takes none of it (it still takes caches and
//! memory). Memory is the peak of this process above what it had before. The bars and how they are printed are shared with
//! the other benchmarks.

#![expect(clippy::disallowed_methods, reason = "a measurement needs a clock and what the kernel says of this process")]

#[path = "../../../../sandbox/benches/sandbox/bars.rs"]
mod bars;
mod made;
#[path = "../../../../sandbox/benches/sandbox/samples.rs"]
#[expect(dead_code, reason = "the benchmark of the sandbox compares samples, too")]
mod samples;

use std::hint::black_box;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use orch_core::agent::{LINE_BYTES_MAX, Parser, Protocol, RunEvent};

use bars::{Bar, Finding, Limit};

const USAGE: &str = "\
arguments: [--json] [--only BAR]... [--rounds N] [--megabytes N]

  --json         one line of JSON for each bar
  --only BAR     only bars whose name begins with BAR
  --rounds N     so many rounds instead of 5
  --megabytes N  so much of a transcript in each instead of 100";

/// Bytes of a transcript that are made; it is read again and again.
const MADE_BYTES: usize = 10_000_000;
/// Bytes of a log that a reader takes at once.
const PIECE_BYTES: usize = 64 * 1024;

const fn speed(name: &'static str) -> Bar {
    Bar {
        name,
        unit: "MB/s",
        against: "nothing; a second of one processor",
        limit: Limit::AtLeast(200.0),
        stretch: Some(400.0),
    }
}

static CODEX: Bar = speed("agents-codex");
static APP_SERVER: Bar = speed("agents-app-server");
static CLAUDE: Bar = speed("agents-claude");
static ACP: Bar = speed("agents-acp");
static PLAIN: Bar = speed("agents-plain");
static MEMORY: Bar = Bar {
    name: "agents-memory",
    unit: "MB",
    against: "nothing; peak above what was there, all transcripts",
    limit: Limit::AtMost(4.0),
    stretch: None,
};
static HOSTILE: Bar = Bar {
    name: "agents-hostile",
    unit: "MB",
    against: "nothing; peak above what was there, the worst lines",
    limit: Limit::AtMost(64.0),
    stretch: None,
};

/// What is asked for.
#[derive(Debug)]
struct Options {
    json: bool,
    only: Vec<String>,
    rounds: usize,
    megabytes: usize,
}

impl Options {
    fn parse(words: &[String]) -> Result<Self, String> {
        let mut options = Self { json: false, only: Vec::new(), rounds: 5, megabytes: 100 };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("`{word}` needs a value\n{USAGE}"));
            match word.as_str() {
                // Cargo says so to every benchmark.
                "--bench" => {}
                "--json" => options.json = true,
                "--only" => options.only.push(value()?.clone()),
                "--rounds" => options.rounds = number(word, value()?)?,
                "--megabytes" => options.megabytes = number(word, value()?)?,
                other => return Err(format!("there is no argument `{other}`\n{USAGE}")),
            }
        }
        Ok(options)
    }

    fn wants(&self, bar: &Bar) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| bar.name.starts_with(only.as_str()))
    }
}

fn number(word: &str, text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| format!("`{word}` needs a number above 0"))
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match Options::parse(&words).and_then(|options| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A bar with its protocol and what makes so many bytes of a transcript of it.
type Speed = (&'static Bar, Protocol, fn(usize) -> Vec<u8>);

/// Whether every bar holds.
fn run(options: &Options) -> Result<bool, String> {
    let transcripts: [Speed; 5] = [
        (&CODEX, Protocol::CodexExec, made::codex),
        (&APP_SERVER, Protocol::CodexAppServer, made::app_server),
        (&CLAUDE, Protocol::ClaudeStream, made::claude),
        (&ACP, Protocol::Acp, made::acp),
        (&PLAIN, Protocol::Plain, made::plain),
    ];
    let mut holds = true;
    let mut show = |finding: Finding| {
        holds &= finding.holds() != Some(false);
        let line = if options.json { finding.json() } else { finding.text() };
        writeln!(std::io::stdout(), "{line}").map_err(|error| format!("failed to print: {error}"))
    };
    // Memory first, and in short transcripts: what was given back before would be used again unseen.
    if options.wants(&MEMORY) {
        let made = transcripts.map(|(_, protocol, make)| (protocol, make(MADE_BYTES / 10)));
        show(measure_memory(&MEMORY, || {
            for (protocol, transcript) in &made {
                black_box(read(*protocol, transcript, options.megabytes * 1_000_000));
            }
        }))?;
    }
    if options.wants(&HOSTILE) {
        show(measure_memory(&HOSTILE, || {
            for (_, protocol, _) in transcripts {
                for (start, piece, end) in made::HOSTILE {
                    // As long as is held, and longer than that.
                    for bytes in [LINE_BYTES_MAX, 4 * LINE_BYTES_MAX] {
                        black_box(read_hostile(protocol, bytes, (start, piece, end)));
                    }
                }
            }
        }))?;
    }
    for (bar, protocol, make) in transcripts {
        if options.wants(bar) {
            show(measure_speed(bar, protocol, &make(MADE_BYTES), options))?;
        }
    }
    Ok(holds)
}

fn measure_speed(bar: &'static Bar, protocol: Protocol, transcript: &[u8], options: &Options) -> Finding {
    let bytes = options.megabytes * 1_000_000;
    let mut events = read(protocol, transcript, transcript.len());
    let (mut speeds, mut walls) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let (begun, used_before) = (Instant::now(), used());
        events = black_box(read(protocol, transcript, bytes));
        let wall = begun.elapsed();
        let used = used().zip(used_before).map(|(after, before)| after.saturating_sub(before));
        walls.push(bytes as f64 / 1e6 / wall.as_secs_f64());
        speeds.push(bytes as f64 / 1e6 / used.unwrap_or(wall).as_secs_f64());
    }
    let lines = transcript.iter().filter(|byte| **byte == b'\n').count();
    Finding::of(bar, samples::quantile(speeds.clone(), 0.5)).spread(samples::spread(speeds)).note(format!(
        "{:.0} MB/s by the clock on the wall; {} bytes a line, {events} events, {} rounds",
        samples::quantile(walls, 0.5),
        transcript.len() / lines.max(1),
        options.rounds
    ))
}

/// What this thread had of a processor so far, if the kernel counts it.
fn used() -> Option<Duration> {
    let counts = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    counts.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// Reads so many bytes of a transcript that begins again at its end; how many events there were.
fn read(protocol: Protocol, transcript: &[u8], bytes: usize) -> usize {
    let mut events = 0;
    let mut sink = |_, event: RunEvent| {
        black_box(&event);
        events += 1;
    };
    let mut parser = Parser::new(protocol);
    let mut left = bytes;
    while left > 0 {
        let part = &transcript[..left.min(transcript.len())];
        part.chunks(PIECE_BYTES).for_each(|piece| parser.feed(piece, &mut sink));
        left -= part.len();
    }
    parser.finish(&mut sink);
    events
}

/// Reads one line of so many bytes: `start`, then `piece` again and again, then `end`.
fn read_hostile(protocol: Protocol, bytes: usize, (start, piece, end): (&str, &str, &str)) -> usize {
    let mut events = 0;
    let mut sink = |_, event: RunEvent| {
        black_box(&event);
        events += 1;
    };
    let mut parser = Parser::new(protocol);
    let many = piece.repeat(PIECE_BYTES / piece.len());
    parser.feed(start.as_bytes(), &mut sink);
    for _ in 0..(bytes - start.len() - end.len()) / many.len() {
        parser.feed(many.as_bytes(), &mut sink);
    }
    parser.feed(end.as_bytes(), &mut sink);
    parser.finish(&mut sink);
    events
}

fn measure_memory(bar: &'static Bar, work: impl FnOnce()) -> Finding {
    if let Err(error) = std::fs::write("/proc/self/clear_refs", "5") {
        return Finding::unknown(bar, format!("the peak of memory cannot be reset: {error}"));
    }
    let Some(before) = status_mb("VmRSS:") else { return Finding::unknown(bar, "the kernel does not tell memory") };
    work();
    match status_mb("VmHWM:") {
        Some(peak) => {
            Finding::of(bar, (peak - before).max(0.0)).note(format!("{before:.1} MB before, {peak:.1} at most"))
        }
        None => Finding::unknown(bar, "the kernel does not tell the peak of memory"),
    }
}

/// A size from the kernel's description of this process.
fn status_mb(name: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024.0 / 1e6)
}
