//! What the proxy adds to a connection: connect and first byte through it, against directly, both on loopback.
//!
//! `sbx-probe world` makes a network in which names lead to loopback and somebody speaks first at one port. The same
//! program connects there from inside a run, through the proxy, and beside it without one.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use orch_sandbox::spec::Egress;
use serde_json::json;

use crate::bars::{Bar, Finding, Limit};
use crate::options::Options;
use crate::place::{Place, quiet};
use crate::runs::{Runs, output, spec, step, visible, wait};
use crate::samples::{self, Samples};
use crate::starts::COLD;
use crate::turns::Gate;

static PROXIED: Bar = Bar {
    name: "proxied-connect",
    unit: "us",
    against: "direct on loopback, p50, added",
    limit: Limit::AtMost(500.0),
    stretch: Some(300.0),
};

pub(crate) static BARS: &[&Bar] = &[&PROXIED];

const NAME: &str = "good.test";
const ADDRESS: &str = "1.2.3.4";
/// There somebody speaks first.
const PORT: u16 = 2222;
/// Where a run finds its proxy.
const PROXY: &str = "127.0.0.1:3128";
/// Connections of a block.
const BLOCK: usize = 20;
const WAIT: Duration = Duration::from_secs(10);
/// Where this program is inside a run.
const INSIDE: &str = "/bench/connect";

pub(crate) fn measure(place: &Place, options: &Options) -> anyhow::Result<Vec<Finding>> {
    let directory = place.in_memory("proxied")?;
    let egress = json!({"allow": {"transparent": false, "entries": [{"host": NAME, "ports": [PORT]}]}});
    let allowed: Egress = match serde_json::from_value(egress) {
        Ok(allowed) => allowed,
        Err(error) => return Ok(unknown(format!("the form of the policy has changed: {error}"))),
    };
    let target = format!("{NAME}:{PORT}");
    let count = BLOCK.to_string();
    let mut asked = spec(&directory, vec![step(&[INSIDE, "--connect", PROXY, &count, &target])])?;
    asked.egress = allowed;
    asked.mounts = vec![visible(&place.own, INSIDE)];
    if let Err(error) = asked.clone().check() {
        return Ok(unknown(format!("egress is not available: {error}")));
    }
    let world = directory.join("world");
    make_world(&world)?;
    let script = directory.join("serve-in-world");
    let words =
        [place.probe.as_path(), Path::new("world"), &world, &place.sandbox].map(|word| word.display().to_string());
    // It must not lie on a file system where nothing is executed.
    std::fs::write(&script, format!("#!/bin/sh\nexec '{}' \"$@\"\n", words.join("' '")))?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700))?;
    let mut runs = Runs::start(&script, directory.join("runs"), COLD)?;
    runs.spec = asked;
    let (mut direct, mut proxied, mut gate) = (Samples::default(), Samples::default(), Gate::default());
    for _ in 0..options.samples().div_ceil(BLOCK) {
        gate.wait()?;
        direct.blocks.push(directly(place, &world, &count)?);
        gate.wait()?;
        proxied.blocks.push(through(&runs)?);
    }
    let (added, spread) = samples::added(&proxied, &direct);
    let finding = Finding::of(&PROXIED, added).spread(spread);
    Ok(vec![finding.note(direct.text("direct")).note(proxied.text("proxied")).note(gate.text())])
}

fn unknown(why: String) -> Vec<Finding> {
    vec![Finding::unknown(&PROXIED, why)]
}

fn make_world(world: &Path) -> anyhow::Result<()> {
    std::fs::create_dir(world)?;
    std::fs::create_dir(world.with_file_name("runs"))?;
    std::fs::write(world.join("hosts"), format!("127.0.0.1 localhost\n{ADDRESS} {NAME}\n"))?;
    std::fs::write(world.join("nsswitch.conf"), "hosts: files\n")?;
    std::fs::write(world.join("resolv.conf"), "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")?;
    Ok(())
}

/// A block of connections without a proxy, in a world of their own.
fn directly(place: &Place, world: &Path, count: &str) -> anyhow::Result<Vec<Duration>> {
    let mut command = Command::new(&place.probe);
    let target = format!("{ADDRESS}:{PORT}");
    quiet(command.arg("world").arg(world).arg(&place.own).args(["--connect", &target, count]));
    let output = command.stdout(std::process::Stdio::piped()).output()?;
    ensure!(output.status.success(), "connecting directly failed: {}", output.status);
    times(&String::from_utf8_lossy(&output.stdout))
}

/// A block of connections from inside a run.
fn through(runs: &Runs) -> anyhow::Result<Vec<Duration>> {
    let run = runs.prepare()?;
    wait(&runs.spawn(&run)?)?;
    let said = output(&run)?;
    runs.finish(&run)?;
    times(&said)
}

fn times(text: &str) -> anyhow::Result<Vec<Duration>> {
    let nanoseconds = text.lines().map(|line| line.trim().parse().map(Duration::from_nanos));
    let times: Vec<Duration> = nanoseconds.collect::<Result<_, _>>().context("a time is no number")?;
    ensure!(times.len() == BLOCK, "there are {} times and not {BLOCK}", times.len());
    Ok(times)
}

/// Plays the program that connects: `count` times to `address`, and through a proxy there when `asked` names a target;
/// prints the nanoseconds from the start of the connection to the first byte of the other end, a line each.
pub(crate) fn connect(address: &str, count: &str, asked: Option<&str>) -> anyhow::Result<ExitCode> {
    let address: SocketAddr = address.parse()?;
    let mut text = String::new();
    for _ in 0..count.parse::<usize>()? {
        let start = Instant::now();
        let mut stream = TcpStream::connect_timeout(&address, WAIT)?;
        stream.set_read_timeout(Some(WAIT))?;
        stream.set_nodelay(true)?;
        if let Some(target) = asked {
            stream.write_all(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").as_bytes())?;
            skip_head(&mut stream)?;
        }
        stream.read_exact(&mut [0])?;
        text.push_str(&format!("{}\n", start.elapsed().as_nanos()));
    }
    print!("{text}");
    Ok(ExitCode::SUCCESS)
}

/// Reads the answer of the proxy to its empty line.
fn skip_head(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
        ensure!(head.len() < 4096, "the proxy does not answer like one");
    }
    ensure!(head.starts_with(b"HTTP/1.1 200"), "the proxy refused: {}", String::from_utf8_lossy(&head));
    Ok(())
}
