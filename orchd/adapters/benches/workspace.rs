//! How long it takes until a run's command begins in a workspace of 100,000 files, against `git worktree add`.
//!
//! Both are timed in turns on the same repository and file system, with everything of the sandbox on, as the user who
//! starts this; root becomes the ordinary user that `--user` names. `--json` prints the bar as one line and nothing else; `--files N` takes another size; without arguments a
//! table follows with what else belongs to it: the first preparation, the next tree, collecting and deleting, and the
//! same for ten files.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a measurement that cannot be made ends with the reason")]
#![expect(clippy::print_stdout, reason = "what was measured is printed")]

#[path = "../tests/workspace/yard.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod yard;

use std::process::Command;
use std::time::{Duration, Instant};

use nix::unistd::{User, geteuid, setgid, setgroups, setuid};
use orch_adapters::git::CommitId;
use orch_sandbox::exit_record::ExitRecord;
use yard::{Place, ROOMY, Yard, output, stream};

/// What the bar allows, as a share of `git worktree add`.
const LIMIT: f64 = 0.05;
/// Turns of `git worktree add`, and of ours in each of them.
const TURNS: usize = 3;
const RUNS: usize = 10;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    let files = arguments.windows(2).find(|pair| pair[0] == "--files").map_or(100_000, |pair| pair[1].parse().unwrap());
    if let Some([_, name]) = arguments.windows(2).find(|pair| pair[0] == "--user") {
        become_user(name);
    }
    let Some(yard) = Yard::new(ROOMY) else { return };
    let base = generate(&yard, files, None);
    let since = Instant::now();
    yard.prepare(&base);
    let first = since.elapsed();
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        theirs.push(worktree(&yard, &base, turn));
        ours.extend((0..RUNS).map(|run| first_byte(&yard, &base, &format!("run-{turn}-{run}"))));
    }
    let (theirs, ours) = (median(theirs), median(ours));
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    if json {
        println!(
            "{{\"bar\":\"workspace of {files} files, first byte of the command\",\"value\":{ratio:.5},\"unit\":\"ratio\",\
             \"against\":\"git worktree add\",\"limit\":{LIMIT},\"holds\":{}}}",
            ratio <= LIMIT
        );
        return;
    }
    println!("as user {}, {files} files", geteuid());
    row("git worktree add", theirs);
    row("ours: to the first byte of the command", ours);
    println!("{:<50} {ratio:>10.5}  (at most {LIMIT})", "ratio");
    row("first preparation, once per project", first);
    let next = generate(&yard, files, Some(&base));
    let since = Instant::now();
    let is_layer = yard.prepare(&next);
    row(if is_layer { "next tree, 10 files differ: as a layer" } else { "next tree: whole" }, since.elapsed());
    rest(&yard, &next);
    small(&yard);
}

/// What root may do is not what is measured.
fn become_user(name: &str) {
    let user = User::from_name(name).unwrap().unwrap_or_else(|| panic!("there is no user `{name}`"));
    if geteuid() != user.uid {
        assert!(geteuid().is_root(), "only root can become `{name}`; start this as that user");
        setgroups(&[user.gid]).unwrap();
        setgid(user.gid).unwrap();
        setuid(user.uid).unwrap();
    }
}

/// Collecting and deleting, of a run that changes a few of the files.
fn rest(yard: &Yard, base: &CommitId) {
    let place = yard.claim("rest", base).unwrap();
    let record = yard.run(&place, "git status --porcelain; echo x >>d1/s0/f1; rm d2/s0/f2; echo n >new");
    row("git status in the run", step(&record, 1));
    row("collecting 3 changes", step(&record, 2));
    let since = Instant::now();
    yard.take(&place, "R-1");
    row("taking them in", since.elapsed());
    let since = Instant::now();
    yard.cache.discard(&place.workspace).unwrap();
    row("discarding the workspace, on the way", since.elapsed());
    let since = Instant::now();
    yard.cache.empty_trash().unwrap();
    row("deleting all of the above, in the background", since.elapsed());
}

/// A repository of ten files: a run that makes its own checkout, one that has it prepared first, one that finds it.
fn small(yard: &Yard) {
    let (mut plain, mut cold, mut warm) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..RUNS {
        let names: Vec<String> = (0..10).map(|file| format!("{turn}-{file}")).collect();
        let files: Vec<_> = names.iter().map(|name| ("100644", name.as_bytes(), name.as_bytes())).collect();
        let commit = yard.import(&stream(None, &files));
        let timed = |name: &str, make: &dyn Fn(&str) -> Place| {
            let since = Instant::now();
            let place = make(&format!("{name}-{turn}"));
            yard.run(&place, "true");
            since.elapsed()
        };
        plain.push(timed("plain", &|run| yard.empty(run, &commit)));
        let cold_start = |run: &str| {
            yard.prepare(&commit);
            yard.claim(run, &commit).unwrap()
        };
        cold.push(timed("cold", &cold_start));
        warm.push(timed("warm", &|run| yard.claim(run, &commit).unwrap()));
    }
    row("10 files, whole run: its own checkout", median(plain));
    row("10 files, whole run: prepared first", median(cold));
    row("10 files, whole run: prepared before", median(warm));
}

/// From nothing to the first byte of the command, by the clock that both see.
fn first_byte(yard: &Yard, base: &CommitId, run: &str) -> Duration {
    let since = now();
    let place = yard.claim(run, base).unwrap();
    let mut spec = yard.spec(&place, "date +%s%N");
    spec.steps.truncate(2);
    yard.execute(&place.directory, &spec);
    let at = output(&place.directory).lines().find_map(|line| line.parse().ok()).map(Duration::from_nanos);
    let took = at.unwrap().checked_sub(since).unwrap();
    yard.cache.discard(&place.workspace).unwrap();
    took
}

#[expect(clippy::disallowed_methods, reason = "compared with what a program inside says, which has the same clock")]
fn now() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap()
}

fn worktree(yard: &Yard, base: &CommitId, turn: usize) -> Duration {
    let path = yard.path(&format!("worktree-{turn}"));
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.arg("--git-dir").arg(yard.repository.path()).args(arguments).env_clear().env("PATH", "/usr/bin:/bin");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let since = Instant::now();
    git(&["worktree", "add", "--quiet", "--detach", path.to_str().unwrap(), base.as_str()]);
    let took = since.elapsed();
    git(&["worktree", "remove", "--force", path.to_str().unwrap()]);
    took
}

/// Files in folders of folders; ten of them are others than in `parent`.
fn generate(yard: &Yard, files: usize, parent: Option<&CommitId>) -> CommitId {
    let mut all = Vec::new();
    for file in 0..files {
        let changed = parent.is_some() && file < 10;
        let name = format!("d{}/s{}/f{file}", file % 40, (file / 40) % 50);
        all.push((name, format!("file {file}{}\n", if changed { " again" } else { "" }).repeat(1 + file % 60)));
    }
    let all: Vec<_> = all.iter().map(|(name, content)| ("100644", name.as_bytes(), content.as_bytes())).collect();
    yard.import(&stream(parent, &all))
}

fn step(record: &ExitRecord, index: usize) -> Duration {
    let step = &record.steps[index];
    Duration::from_micros(step.finished_at_us.unwrap() - step.started_at_us.unwrap())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn row(what: &str, time: Duration) {
    println!("{what:<50} {:>10.2} ms", time.as_secs_f64() * 1e3);
}
