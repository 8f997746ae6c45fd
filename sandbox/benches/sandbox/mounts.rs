//! Whether the mounts of the host make a run slower.
//!
//! This program starts itself twice in a mount namespace of its own, once with many mounts more, and there measures when
//! it is told to, so that both are sampled in turns.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use crate::bars::{Bar, Finding, Limit};
use crate::options::Options;
use crate::place::{NO_PEER, Place, peer_command, quiet, time};
use crate::runs::Runs;
use crate::samples::ratio;
use crate::starts::COLD;
use crate::turns::{Subject, take};

static GROWTH: Bar = Bar {
    name: "mounts-growth",
    unit: "%",
    against: "the same without 300 extra mounts, p50",
    limit: Limit::AtMost(5.0),
    stretch: Some(0.0),
};

pub(crate) static BARS: &[&Bar] = &[&GROWTH];

const EXTRA: usize = 300;

/// The other process, in its mount namespace.
struct Server {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Server {
    fn start(place: &Place, extra: usize) -> anyhow::Result<Self> {
        let directory = place.in_memory(&format!("mounts{extra}"))?;
        let mut child = Command::new(&place.own)
            .arg("--serve-mounts")
            .arg(extra.to_string())
            .args([&directory, &place.sandbox])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start this program again")?;
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("no pipe from the other process")?);
        Ok(Self { child, orders, answers })
    }

    fn ask(&mut self, what: &str) -> anyhow::Result<Duration> {
        let orders = self.orders.as_mut().context("no pipe to the other process")?;
        writeln!(orders, "{what}").context("the process in the other mount namespace is gone")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        let nanoseconds = answer.trim().parse().context("the process in the other mount namespace failed")?;
        Ok(Duration::from_nanos(nanoseconds))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.orders.take());
        drop(self.child.wait());
    }
}

/// Something measured by one of the servers.
struct There<'a> {
    name: String,
    what: &'static str,
    server: &'a std::cell::RefCell<Server>,
}

impl Subject for There<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    fn once(&mut self) -> anyhow::Result<Duration> {
        self.server.borrow_mut().ask(self.what)
    }
}

pub(crate) fn measure(place: &Place, options: &Options) -> anyhow::Result<Vec<Finding>> {
    let servers = [0, EXTRA].map(|extra| Server::start(place, extra).map(std::cell::RefCell::new));
    let [plain, crowded] = servers;
    let (plain, crowded) = (plain?, crowded?);
    let kinds = if place.peer.is_some() { &["spawner", "cli", "peer"][..] } else { &["spawner", "cli"] };
    let mut subjects: Vec<Box<dyn Subject + '_>> = Vec::new();
    for what in kinds {
        for (server, extra) in [(&plain, 0), (&crowded, EXTRA)] {
            subjects.push(Box::new(There { name: format!("{what}, {extra} mounts more"), what, server }));
        }
    }
    let names: Vec<String> = subjects.iter().map(|subject| subject.name().to_owned()).collect();
    let (samples, gate) = take(&mut subjects, options.samples())?;
    let growth = |pair: usize| {
        let (value, (low, high)) = ratio(&samples[2 * pair + 1], &samples[2 * pair]);
        let percent = |ratio: f64| (ratio - 1.0) * 100.0;
        (percent(value), (percent(low), percent(high)))
    };
    let (value, spread) = growth(0);
    let mut finding = Finding::of(&GROWTH, value).spread(spread);
    for (name, samples) in names.iter().zip(&samples) {
        finding = finding.note(samples.text(name));
    }
    finding = finding.note(format!("`orch-sandbox run` grows by {:.1} %", growth(1).0));
    finding = finding.note(match kinds.len() {
        3 => format!("bwrap grows by {:.1} %", growth(2).0),
        _ => NO_PEER.to_owned(),
    });
    Ok(vec![finding.note(gate.text())])
}

/// Plays the other process: `extra` mounts more, then a measurement for each line of standard input.
pub(crate) fn serve(extra: &str, directory: &str, sandbox: &str) -> anyhow::Result<ExitCode> {
    let directory = Path::new(directory);
    let extra: usize = extra.parse().context("not a number of mounts")?;
    let before = std::fs::metadata(directory)?.dev();
    enter_namespaces().context("failed to make a mount namespace of its own")?;
    for number in 0..extra {
        let point = directory.join(format!("extra{number}"));
        std::fs::create_dir(&point)?;
        mount(Some("tmpfs"), &point, Some("tmpfs"), MsFlags::empty(), Some("size=64k"))?;
        ensure!(std::fs::metadata(&point)?.dev() != before, "a mount is not there");
    }
    let runs_directory = directory.join("runs");
    std::fs::create_dir(&runs_directory)?;
    let runs = Runs::start(Path::new(sandbox), runs_directory, COLD)?;
    let mut cli = cli_command(sandbox, directory)?;
    let peer = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path).map(|place| place.join("bwrap")).find(|program| program.is_file())
    });
    let workspace = directory.join("peer");
    std::fs::create_dir(&workspace)?;
    let mut peer = peer.map(|peer: PathBuf| peer_command(&peer, &workspace));
    for line in std::io::stdin().lock().lines() {
        let taken = match (line?.as_str(), &mut peer) {
            ("spawner", _) => runs.once()?.0,
            ("cli", _) => time(&mut cli)?,
            ("peer", Some(peer)) => time(peer)?,
            (other, _) => bail!("there is nothing to measure by the name `{other}`"),
        };
        println!("{}", taken.as_nanos());
    }
    Ok(ExitCode::SUCCESS)
}

fn cli_command(sandbox: &str, directory: &Path) -> anyhow::Result<Command> {
    let directory = directory.join("cli");
    std::fs::create_dir(&directory)?;
    let path = directory.join("spec.json");
    let steps = vec![crate::runs::step(&["/bin/true"])];
    std::fs::write(&path, serde_json::to_vec(&crate::runs::spec(&directory, steps)?)?)?;
    let mut command = Command::new(sandbox);
    command.arg("run").arg(path).args(["--", "/bin/true"]);
    quiet(&mut command);
    Ok(command)
}

/// As an ordinary user with the same ids inside; what it executes has no capability again.
fn enter_namespaces() -> anyhow::Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
    let nothing: Option<&str> = None;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    Ok(())
}
