//! Runs of a daemon that has a control group of its own, as a unit of systemd with `Delegate=yes` has.
//!
//! Needs a cgroup v2 file system in which this user may make groups: as root that is any, for others the group that
//! `SBX_TEST_CGROUP` names. What needs controllers is only shown where there are some; `sandbox/tests/guest/run` makes such
//! a place in an emulated machine. Skipped by name elsewhere.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orch_sandbox::exit_record::{ExitRecord, Outcome, StepStatus};
use orch_sandbox::level::{GuaranteeKind, Strength};
use orch_sandbox::limit::{Ceilings, LimitKind};
use orch_sandbox::log::Stream;
use orch_sandbox::run_dir::Liveness;
use orch_sandbox::spec::Phase;
use orch_sandbox::{Level, Prewarm, Spawner, SpawnerOptions, control};

use crate::bench::{Bench, PROBE_INSIDE, Run, WAIT, cancel_a_crowd, program, sh, step, write_program};

const MEGABYTE: u64 = 1 << 20;

/// A group like that of a unit, for one daemon.
struct Unit {
    path: PathBuf,
}

impl Unit {
    fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let place = std::env::var_os("SBX_TEST_CGROUP").map(PathBuf::from);
        let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(PathBuf::from);
        let place = place.or_else(|| mounts.into_iter().find(|mount| mount.join("cgroup.controllers").exists()));
        let name = format!("orch-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let made = place.map(|place| place.join(name)).filter(|path| std::fs::create_dir(path).is_ok());
        if made.is_none() {
            assert_eq!(std::env::var_os("SBX_TEST_CGROUP"), None, "no group can be made in there");
            eprintln!("skipped: no control group of version 2 can be made here");
        }
        made.map(|path| Self { path })
    }

    /// The program as a unit starts it: within its group, or in the leaf when the group passes controllers on already, which
    /// is what `DelegateSubgroup=` is for.
    fn program(&self, bench: &Bench) -> PathBuf {
        let path = bench.path("in-unit");
        let script = format!(
            "#!/bin/sh\ncd '{}' && {{ echo $$ > cgroup.procs || echo $$ > daemon/cgroup.procs; }} 2> /dev/null || exit 1\n\
             cd / && exec '{}' \"$@\"\n",
            self.path.display(),
            program().display()
        );
        write_program(&path, &script);
        path
    }

    fn has_controllers(&self) -> bool {
        let have = std::fs::read_to_string(self.path.join("cgroup.controllers")).unwrap();
        let all = ["memory", "pids", "cpu"].iter().all(|needed| have.split_whitespace().any(|name| name == *needed));
        if !all {
            assert_eq!(std::env::var_os("SBX_TEST_CGROUP"), None, "no controllers in there: {have}");
            eprintln!("skipped: no controllers for control groups here; sandbox/tests/guest/run has them");
        }
        all
    }

    /// The groups of runs that are there.
    fn runs(&self) -> Vec<PathBuf> {
        groups_in(&self.path.join("runs"))
    }

    /// Waits until a process that has ended is no member any more.
    fn wait_for_runs(&self, count: usize) {
        let deadline = Instant::now() + WAIT;
        while self.runs().len() != count {
            assert!(Instant::now() < deadline, "{:?}", self.runs());
            std::thread::yield_now();
        }
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        drop(std::fs::write(self.path.join("cgroup.kill"), "1"));
        let deadline = Instant::now() + WAIT;
        while Instant::now() < deadline {
            for group in groups_in(&self.path.join("runs")).iter().chain(&groups_in(&self.path)) {
                drop(std::fs::remove_dir(group));
            }
            if std::fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::yield_now();
        }
    }
}

fn groups_in(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// A place for runs whose spawner lives in a unit.
fn bench_in_unit(ceilings: Ceilings) -> Option<(Bench, Unit)> {
    let mut bench = Bench::new()?;
    let unit = Unit::new()?;
    bench.spawner = Spawner::start(&unit.program(&bench), options(ceilings)).unwrap();
    Some((bench, unit))
}

fn guarantee(record: &ExitRecord, kind: GuaranteeKind) -> (Strength, String) {
    let level = record.level.as_ref().unwrap();
    let found = level.guarantees.iter().find(|found| found.kind == kind).unwrap();
    (found.strength, found.evidence.clone())
}

/// A run with every limit that level 4 needs.
fn bounded(mut run: Run) -> Run {
    run.spec.limits.run_memory_bytes = Some(128 * MEGABYTE);
    run.spec.limits.run_cpu_millis = Some(1_000);
    run.spec.limits.tmp_bytes = 512 * MEGABYTE;
    run
}

/// Sandboxes that wait have groups, too, which would be counted here.
fn options(ceilings: Ceilings) -> SpawnerOptions {
    SpawnerOptions { prewarm: Prewarm { slots: 0, networks: 0 }, ceilings, ..SpawnerOptions::default() }
}

#[test]
fn a_run_lives_in_its_group_and_takes_it_along() {
    let Some((bench, unit)) = bench_in_unit(Ceilings::default()) else { return };
    // What a run could learn of its group is one line, which names no other.
    let run = bench.shell(
        "member",
        "exec 3>pipe; ls /sys/fs/cgroup 2>&1; grep ^0 /proc/self/cgroup >&3; echo ready >&3; read line < go",
    );
    let (mut pipe, mut gate) = (run.pipe(), run.gate());
    bench.start(&run);
    assert_eq!(pipe.line(), "0::/\n");
    pipe.line();
    let groups = unit.runs();
    let [group] = groups.as_slice() else { panic!("{groups:?}") };
    let members = std::fs::read_to_string(group.join("cgroup.procs")).unwrap();
    assert_eq!(members.lines().count(), 2, "init and the shell: {members}");
    let daemon = std::fs::read_to_string(unit.path.join("daemon/cgroup.procs")).unwrap();
    assert!(daemon.lines().any(|pid| Some(pid.parse().unwrap()) == bench.spawner.pid()), "{daemon}");
    assert_eq!(std::fs::read_to_string(unit.path.join("cgroup.procs")).unwrap(), "");
    gate.open("end");
    assert_eq!(run.wait().outcome, Outcome::Succeeded);
    assert!(run.stdout().contains("No such file"), "{}", run.stdout());
    assert_eq!(unit.runs(), [] as [PathBuf; 0]);
}

#[test]
fn r8_a_group_is_frozen_in_a_pause() {
    let Some((bench, unit)) = bench_in_unit(Ceilings::default()) else { return };
    crate::limits::pause_a_race(&bench);
    assert_eq!(unit.runs(), [] as [PathBuf; 0]);
}

/// What is frozen cannot see that its shim is gone; it dies all the same.
#[test]
fn p9_a_frozen_run_dies_with_its_shim() {
    let Some((bench, _unit)) = bench_in_unit(Ceilings::default()) else { return };
    let run = bench.run("frozen", vec![step("main", Phase::Main, &[PROBE_INSIDE, "crowd", "pipe", "20"])]);
    let mut pipe = run.pipe();
    let shim = bench.start(&run);
    pipe.line();
    control::pause(&run.dir).unwrap();
    kill(Pid::from_raw(shim.pid), Signal::SIGKILL).unwrap();
    pipe.closed();
    assert_eq!(run.wait_gone(), Liveness::Lost);
}

#[test]
fn p7_a_group_dies_at_once() {
    let Some((bench, unit)) = bench_in_unit(Ceilings::default()) else { return };
    cancel_a_crowd(&bench, true);
    assert_eq!(unit.runs(), [] as [PathBuf; 0]);
}

/// Without a pid namespace nothing but the group knows all processes.
#[test]
fn p6_without_isolation_the_group_still_holds_everybody() {
    let Some((bench, unit)) = bench_in_unit(Ceilings::default()) else { return };
    let script = "exec 3>pipe; (setsid sleep 1000 &); echo ready >&3; read line < go";
    let run = bench.plain("plain", vec![sh("main", Phase::Main, script)]);
    let (mut pipe, _gate) = (run.pipe(), run.gate());
    bench.start(&run);
    pipe.line();
    control::pause(&run.dir).unwrap();
    control::cancel(&run.dir).unwrap();
    pipe.closed();
    assert_eq!(run.wait().outcome, Outcome::Cancelled);
    assert_eq!(unit.runs(), [] as [PathBuf; 0]);
}

/// A shim that is killed cannot tidy up; the next spawner does, and leaves living runs alone.
#[test]
fn groups_of_dead_runs_are_removed_and_living_ones_are_not() {
    let Some((bench, unit)) = bench_in_unit(Ceilings::default()) else { return };
    let script = "exec 3>pipe; echo ready >&3; read line < go";
    let (dead, alive) = (bench.shell("dead", script), bench.shell("alive", script));
    let (mut dead_pipe, mut alive_pipe) = (dead.pipe(), alive.pipe());
    let (_dead_gate, mut alive_gate) = (dead.gate(), alive.gate());
    let shim = bench.start(&dead);
    bench.start(&alive);
    dead_pipe.line();
    alive_pipe.line();
    // It would sweep away what the shim leaves, on a slow machine before anybody has seen that something was left.
    let (program, Bench { home, spawner }) = (unit.program(&bench), bench);
    drop(spawner);
    kill(Pid::from_raw(shim.pid), Signal::SIGKILL).unwrap();
    dead_pipe.closed();
    assert_eq!(dead.wait_gone(), Liveness::Lost);
    unit.wait_for_runs(2);
    let bench = Bench { home, spawner: Spawner::start(&program, options(Ceilings::default())).unwrap() };
    // It is ready when it answers.
    let next = bench.shell("next", "true");
    assert_eq!(bench.finish(&next).outcome, Outcome::Succeeded);
    unit.wait_for_runs(1);
    alive_gate.open("end");
    assert_eq!(alive.wait().outcome, Outcome::Succeeded);
    unit.wait_for_runs(0);
}

/// A spawner with a sandbox that waits for a run, alone in its group.
fn waiting(test: impl FnOnce(Bench, &Unit)) {
    let Some((mut bench, unit)) = bench_in_unit(Ceilings::default()) else { return };
    let options = SpawnerOptions { prewarm: Prewarm { slots: 1, networks: 0 }, ..options(Ceilings::default()) };
    bench.spawner = Spawner::start(&unit.program(&bench), options).unwrap();
    assert_eq!(bench.finish(&bench.shell("before", "true")).outcome, Outcome::Succeeded);
    unit.wait_for_runs(1);
    test(bench, &unit);
}

#[test]
fn the_group_of_a_sandbox_that_nobody_claims_goes_with_it() {
    waiting(|bench, unit| {
        let Bench { home, spawner } = bench;
        drop(spawner);
        unit.wait_for_runs(0);
        drop(home);
    });
}

/// A shim that is killed leaves its group to the spawner.
#[test]
fn the_group_of_a_sandbox_that_is_killed_is_swept() {
    waiting(|_bench, unit| {
        let group = unit.runs().pop().unwrap();
        let deadline = Instant::now() + WAIT;
        let shim = loop {
            assert!(Instant::now() < deadline, "nobody is in {}", group.display());
            let members = std::fs::read_to_string(group.join("cgroup.procs")).unwrap();
            let parents: Vec<i32> = members.lines().filter_map(parent).collect();
            // Init, which was born there, is the one whose parent is not.
            let is_outside = |parent: &&i32| !members.lines().any(|pid| pid.parse() == Ok(**parent));
            if let Some(shim) = parents.iter().find(is_outside) {
                break *shim;
            }
            std::thread::yield_now();
        };
        kill(Pid::from_raw(shim), Signal::SIGKILL).unwrap();
        unit.wait_for_runs(0);
    });
}

/// The parent of a process, while that lives.
fn parent(pid: &str) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn a_group_with_others_in_it_is_left_alone() {
    let Some(mut bench) = Bench::new() else { return };
    let Some(unit) = Unit::new() else { return };
    let mut other = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
    // A child of this test looks like one of the daemon's; this one's parent is the shell in between.
    let script = format!("echo $$ > '{}/cgroup.procs'; exec sleep 1000", unit.path.display());
    let stranger = std::process::Command::new("setsid").args(["-f", "sh", "-c", &script]).status().unwrap();
    assert!(stranger.success());
    let deadline = Instant::now() + WAIT;
    while std::fs::read_to_string(unit.path.join("cgroup.procs")).unwrap().is_empty() {
        assert!(Instant::now() < deadline, "nobody came");
        std::thread::yield_now();
    }
    let options = options(Ceilings::default());
    bench.spawner = Spawner::start(&unit.program(&bench), options).unwrap();
    let mut run = bench.shell("beside", "true");
    run.spec.limits.run_cpu_millis = Some(1_000);
    let record = bench.finish(&run);
    assert_eq!(record.outcome, Outcome::Succeeded);
    let (strength, evidence) = guarantee(&record, GuaranteeKind::CpuLimit);
    assert_eq!(strength, Strength::Degraded);
    assert!(evidence.contains("also holds 1 processes of others"), "{evidence}");
    assert!(!unit.path.join("runs").join("x").exists());
    drop(other.stdin.take());
    other.wait().unwrap();
}

#[test]
fn level_4_is_reached() {
    let Some((bench, unit)) = bench_in_unit(Ceilings::default()) else { return };
    if !unit.has_controllers() {
        return;
    }
    let mut run = bounded(bench.shell("four", "true"));
    run.spec.required_level = Level::FullWithLimits;
    let record = bench.finish(&run);
    assert_eq!(record.outcome, Outcome::Succeeded);
    let level = record.level.as_ref().unwrap();
    eprintln!("{level:#?}");
    assert_eq!(level.level, Level::FullWithLimits);
    assert_eq!(guarantee(&record, GuaranteeKind::MemoryLimit).1, "memory.max: 134217728");
}

#[test]
fn r1_a_fork_bomb_ends_at_the_limit_of_the_group() {
    let Some((bench, unit)) = bench_in_unit(Ceilings::default()) else { return };
    if !unit.has_controllers() {
        return;
    }
    let bomb = step("bomb", Phase::Main, &[PROBE_INSIDE, "r1", "1000"]);
    let mut run = bounded(bench.run("bomb", vec![bomb, sh("after", Phase::Always, "echo alive")]));
    run.spec.limits.processes = 100;
    bench.start(&run);
    let other = bench.shell("other", "echo $(true | cat) fine");
    assert_eq!(bench.finish(&other).outcome, Outcome::Succeeded);
    let record = run.wait();
    assert_eq!(record.outcome, Outcome::Succeeded, "{}", run.stderr());
    assert_eq!(guarantee(&record, GuaranteeKind::ProcessLimit), (Strength::Enforced, "pids.max: 101".to_owned()));
}

/// A run with a step that eats memory of `kind` is over its limit, and the step that runs always still does, whether the one
/// that eats is the first or a later one.
fn eats_too_much(bench: &Bench, kind: &str) {
    for before in 0..2 {
        let eat = step("main", Phase::Main, &[PROBE_INSIDE, "eat", kind, "300"]);
        let mut steps = vec![sh("before", Phase::Setup, "true"); before];
        steps.extend([eat, sh("after", Phase::Always, "echo alive")]);
        let run = bounded(bench.run(&format!("eat-{kind}-{before}"), steps));
        let record = bench.finish(&run);
        match &record.outcome {
            Outcome::LimitExceeded { excess, step } => {
                assert_eq!((excess.limit, excess.allowed), (LimitKind::Memory, 128 * MEGABYTE), "{kind}");
                assert_eq!(step.as_deref(), Some("main"), "{kind}");
            }
            other => panic!("{kind}: {other:?}"),
        }
        let over = StepStatus::LimitExceeded { limit: LimitKind::Memory };
        assert_eq!(record.steps[before].status, over, "{kind}");
        assert_eq!(record.steps[before + 1].status, StepStatus::Succeeded, "{kind}");
        assert_eq!(run.output(Stream::Stdout, u16::try_from(before + 1).unwrap()), b"alive\n", "{kind}");
    }
}

/// Nothing that the kernel compares tells that such memory is that of the step.
#[test]
fn r2_a_bomb_in_a_deleted_file_leaves_init_alone() {
    let Some((bench, unit)) = bench_in_unit(Ceilings::default()) else { return };
    if unit.has_controllers() {
        eats_too_much(&bench, "deleted-file");
    }
}

#[test]
fn r2_a_memory_bomb_is_killed_by_the_kernel_and_says_so() {
    let Some((bench, unit)) = bench_in_unit(Ceilings::default()) else { return };
    if !unit.has_controllers() {
        return;
    }
    for kind in ["private", "shared", "memory-file", "temporary-file"] {
        eats_too_much(&bench, kind);
    }
    assert_eq!(bench.finish(&bench.shell("next", "true")).outcome, Outcome::Succeeded);
}

/// One run with many processes cannot take what another needs.
#[test]
fn r3_another_run_goes_on_beside_one_that_spins() {
    let Some((bench, unit)) = bench_in_unit(Ceilings::default()) else { return };
    if !unit.has_controllers() {
        return;
    }
    let greedy = bench.run("greedy", vec![step("main", Phase::Main, &[PROBE_INSIDE, "spin", "600000", "20"])]);
    bench.start(&greedy);
    let other = bench.run("modest", vec![step("main", Phase::Main, &[PROBE_INSIDE, "spin", "2000", "1"])]);
    assert_eq!(bench.finish(&other).outcome, Outcome::Succeeded);
    let share: u32 = other.stdout().trim().parse().unwrap();
    eprintln!("beside 20 that spin: {share} % of a processor");
    assert!(share >= 40, "{share} %");
    control::cancel(&greedy.dir).unwrap();
    assert_eq!(greedy.wait().outcome, Outcome::Cancelled);
}

/// The kernel is asked whether it held the run back: a share of time says as much of an emulated machine that waits for its own
/// processors as of the run.
#[test]
fn r3_processor_time_is_bounded() {
    let Some((bench, unit)) = bench_in_unit(Ceilings::default()) else { return };
    if !unit.has_controllers() {
        return;
    }
    let script = format!("{PROBE_INSIDE} spin 2000 1; exec 3>pipe; echo spun >&3; read line < go");
    let mut run = bench.shell("bounded", &script);
    run.spec.limits.run_cpu_millis = Some(250);
    let (mut pipe, mut gate) = (run.pipe(), run.gate());
    bench.start(&run);
    assert_eq!(pipe.line(), "spun\n");
    let groups = unit.runs();
    let [group] = groups.as_slice() else { panic!("{groups:?}") };
    assert_eq!(std::fs::read_to_string(group.join("cpu.max")).unwrap(), "25000 100000\n");
    let told = std::fs::read_to_string(group.join("cpu.stat")).unwrap();
    let held_back = told.lines().find_map(|line| line.strip_prefix("nr_throttled ")).unwrap();
    assert!(held_back.parse::<u64>().unwrap() >= 2, "{told}");
    gate.open("end");
    assert_eq!(run.wait().outcome, Outcome::Succeeded);
}

/// All runs together have a ceiling; the largest of them goes first, and it is not blamed for a limit of its own.
#[test]
fn r2_all_runs_together_keep_to_the_ceiling() {
    let ceilings = Ceilings { memory_bytes: Some(192 * MEGABYTE), ..Ceilings::default() };
    let Some((bench, unit)) = bench_in_unit(ceilings) else { return };
    if !unit.has_controllers() {
        return;
    }
    let small = bench.shell("small", "exec 3>pipe; echo ready >&3; read line < go");
    let (mut pipe, mut gate) = (small.pipe(), small.gate());
    bench.start(&small);
    pipe.line();
    let large = bench.run("large", vec![step("main", Phase::Main, &[PROBE_INSIDE, "eat", "private", "400"])]);
    match bench.finish(&large).outcome {
        Outcome::LimitExceeded { excess, .. } => assert_eq!(excess.limit, LimitKind::HostMemory),
        other => panic!("{other:?}"),
    }
    gate.open("end");
    assert_eq!(small.wait().outcome, Outcome::Succeeded);
}
