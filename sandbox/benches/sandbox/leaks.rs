//! What thousands of runs leave behind: counted before and after, when the spawner has become quiet.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::sys::uio::pread;
use nix::unistd::geteuid;
use orch_sandbox::Prewarm;

use crate::bars::{Bar, Finding, Limit};
use crate::options::Options;
use crate::place::Place;
use crate::rates::PARALLEL;
use crate::runs::Runs;
use crate::turns::pass;

static LEAKS: Bar = Bar { name: "leaks", unit: "leaked", against: "nothing", limit: Limit::AtMost(0.0), stretch: None };

pub(crate) static BARS: &[&Bar] = &[&LEAKS];

/// Runs before the first count: what is made once is no leak.
const BEFORE: usize = 40;
/// How long the kernel may take to clear away what has ended.
const CLEARING: Duration = Duration::from_secs(20);
/// Counts of the kernel itself, for all users. They are not exact: objects of half-used pages count as used, and others
/// use the machine, too. What is leaked by every twentieth run or more is seen.
const SLABS: [&str; 4] = ["net_namespace", "pid_namespace", "user_namespace", "mnt_cache"];
const OPEN_FILES: &str = "open files of the machine";
const ROUGHLY: usize = 20;
/// Smaller changes of these counts say nothing.
const ROUGHLY_LEAST: usize = 64;

/// How many there are of something; `None` where this user cannot see it.
type Count = (String, Option<usize>);

pub(crate) fn measure(place: &Place, options: &Options) -> anyhow::Result<Vec<Finding>> {
    let runs = Runs::in_memory(place, "leaks", Prewarm::default())?;
    let total = options.leak_runs();
    many(&runs, BEFORE)?;
    let before = count(&runs, options)?;
    let start = Instant::now();
    many(&runs, total)?;
    let took = start.elapsed();
    let deadline = Instant::now() + CLEARING;
    let mut after = count(&runs, options)?;
    while leaked(&before, &after, total).iter().any(|(_, leaked)| *leaked > 0) && Instant::now() < deadline {
        pass(200)?;
        after = count(&runs, options)?;
    }
    let leaked = leaked(&before, &after, total);
    let sum: usize = leaked.iter().map(|(_, leaked)| leaked).sum();
    let rate = total as f64 / took.as_secs_f64();
    let mut finding = Finding::of(&LEAKS, sum as f64);
    finding = finding
        .note(format!("{total} runs, {PARALLEL} in parallel, in {:.1} s: {rate:.0} a second", took.as_secs_f64()));
    let words = before.iter().zip(&after).map(|((what, before), (_, after))| match before.zip(*after) {
        Some((before, after)) => format!("{what} {before} -> {after}"),
        None => format!("{what}: not visible to this user"),
    });
    finding = finding.note(words.collect::<Vec<_>>().join(", "));
    Ok(vec![finding])
}

/// Runs `count` runs, several at once.
fn many(runs: &Runs, count: usize) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let each = |worker: usize| count / PARALLEL + usize::from(worker < count % PARALLEL);
        let work = move |worker| (0..each(worker)).try_for_each(|_| runs.once().map(drop));
        let workers: Vec<_> = (0..PARALLEL).map(|worker| scope.spawn(move || work(worker))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))?)
    })
}

fn leaked(before: &[Count], after: &[Count], runs: usize) -> Vec<(String, usize)> {
    let grown = before.iter().zip(after).map(|((what, before), (_, after))| {
        let more = before.zip(*after).map_or(0, |(before, after)| after.saturating_sub(before));
        let is_rough = what == OPEN_FILES || SLABS.contains(&what.as_str());
        (what.clone(), if is_rough && more < (runs / ROUGHLY).max(ROUGHLY_LEAST) { 0 } else { more })
    });
    grown.collect()
}

fn count(runs: &Runs, options: &Options) -> anyhow::Result<Vec<Count>> {
    runs.settle()?;
    let spawner = runs.spawner_pid()?;
    let lines = |path: String| std::fs::read_to_string(path).ok().map(|text| text.lines().count());
    let entries = |path: String| std::fs::read_dir(path).ok().map(Iterator::count);
    let mut counts = vec![
        ("processes".to_owned(), Some(own_processes()?.len())),
        ("namespaces".to_owned(), Some(namespaces()?)),
        ("mounts".to_owned(), lines("/proc/self/mountinfo".to_owned())),
        ("mounts of the spawner".to_owned(), lines(format!("/proc/{spawner}/mountinfo"))),
        ("descriptors of the spawner".to_owned(), entries(format!("/proc/{spawner}/fd"))),
        ("descriptors here".to_owned(), entries("/proc/self/fd".to_owned())),
        (OPEN_FILES.to_owned(), open_files()),
        ("cgroups".to_owned(), Some(directories(Path::new("/sys/fs/cgroup")))),
        ("temporary files".to_owned(), entries(std::env::temp_dir().display().to_string())),
    ];
    let slabs = if options.slabs { slabs()? } else { String::new() };
    counts.extend(SLABS.map(|name| {
        let line = slabs.lines().find(|line| line.split_whitespace().next() == Some(name));
        (name.to_owned(), line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()))
    }));
    Ok(counts)
}

/// Processes of this user on the whole machine.
fn own_processes() -> anyhow::Result<Vec<String>> {
    let own = geteuid().as_raw();
    let names = std::fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let pids = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    // Those that protect themselves belong to root there, so their status is asked.
    let is_own = |pid: &String| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let uid =
            status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next()?.parse::<u32>().ok());
        uid == Some(own)
    };
    Ok(pids.filter(is_own).collect())
}

/// Different namespaces of all kinds in which processes of this user are, as far as it can see.
fn namespaces() -> anyhow::Result<usize> {
    let mut seen = BTreeSet::new();
    for pid in own_processes()? {
        let Ok(kinds) = std::fs::read_dir(format!("/proc/{pid}/ns")) else { continue };
        seen.extend(kinds.flatten().filter_map(|kind| std::fs::read_link(kind.path()).ok()));
    }
    Ok(seen.len())
}

/// Open files of all processes; the descriptors of a spawner that protects itself are seen in no other way.
fn open_files() -> Option<usize> {
    let numbers = std::fs::read_to_string("/proc/sys/fs/file-nr").ok()?;
    numbers.split_whitespace().next()?.parse().ok()
}

/// Directories below `path`, on the same file systems.
fn directories(path: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    let is_directory = |found: Metadata| found.is_dir();
    let below = entries.flatten().filter(|entry| entry.metadata().is_ok_and(is_directory));
    below.map(|entry| 1 + directories(&entry.path())).sum()
}

/// The kernel's list of slabs, which root has left open.
fn slabs() -> anyhow::Result<String> {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let offset = i64::try_from(text.len())?;
        match pread(std::io::stdin().as_fd(), &mut buffer, offset).context("failed to read the list of slabs")? {
            0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
            count => text.extend_from_slice(&buffer[..count]),
        }
    }
}
