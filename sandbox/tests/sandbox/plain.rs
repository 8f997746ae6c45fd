//! Runs without isolation: the shim itself starts their steps, and nothing of them outlives it.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd as _;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orch_sandbox::exit_record::{Outcome, StepFailure, StepStatus};
use orch_sandbox::log::Stream;
use orch_sandbox::run_dir::{self, Liveness};
use orch_sandbox::spec::Phase;
use orch_sandbox::{Spawned, Spawner, control};

use crate::bench::{Bench, Run, WAIT, program, sh, step};
use crate::faults::{children_of, family_of, lives, wait_until, without_slots};

/// Leaves processes behind in sessions of their own, one of them without its environment, and stays.
const LEAVING: &str = "exec 3>pipe
(setsid sh -c 'setsid sleep 1000 & sleep 1000' &)
(env -i /bin/sh -c 'exec setsid sleep 1000' &)
(exec 3>&-; trap '' HUP TERM INT; sleep 1000 | sleep 1000 &)
echo ready >&3
read line < go";
/// How many are there then, the shim among them.
const LEFT: usize = 8;
/// What of it keeps its environment.
const LEAVING_MARKED: &str = "exec 3>pipe
(setsid sh -c 'setsid sleep 1000 & sleep 1000' &)
echo ready >&3
read line < go";
const LEFT_MARKED: usize = 5;

/// Kills a shim and waits until that has ended, as whoever begins another attempt does.
fn end(shim: &Spawned) {
    kill(Pid::from_raw(shim.pid), Signal::SIGKILL).unwrap();
    let mut fds = [PollFd::new(shim.pidfd.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::try_from(WAIT).unwrap()), Ok(1));
}

fn left(family: &BTreeSet<i32>) -> Vec<i32> {
    family.iter().copied().filter(|pid| lives(*pid)).collect()
}

/// Starts `run` and waits until `count` processes of it are there, its shim among them: which ones.
fn started(bench: &Bench, run: &Run, count: usize) -> (Spawned, BTreeSet<i32>) {
    let mut pipe = run.pipe();
    let shim = bench.start(run);
    pipe.line();
    let mut family = BTreeSet::new();
    // What was started in the background may be on its way still.
    wait_until("all have started", || {
        family = family_of(shim.pid);
        if family.len() >= count { Ok(()) } else { Err(format!("{family:?}")) }
    });
    (shim, family)
}

/// What steps have of their surroundings, the first as well as the next ones.
#[test]
fn a_step_starts_plainly() {
    let Some(bench) = Bench::started_after("trap '' HUP INT QUIT USR1 TERM CHLD WINCH ALRM; umask 077") else { return };
    let script = "grep -E 'Sig(Ign|Blk):' /proc/self/status; readlink /proc/self/fd/0; ls /proc/self/fd | tr '\\n' ' '
echo; umask; nice; ulimit -n; pwd; echo $HOME; ps -o sid= -p $$ | tr -d ' '; echo $$";
    let mut run = bench.plain("plainly", vec![sh("one", Phase::Main, script), sh("two", Phase::Main, script)]);
    run.spec.limits.open_files = 77;
    assert_eq!(bench.finish(&run).outcome, Outcome::Succeeded, "{}", run.stderr());
    let nice = nix::unistd::getpid();
    let nice = fs::read_to_string(format!("/proc/{nice}/stat")).unwrap();
    let nice: i32 = nice.rsplit(')').next().unwrap().split_whitespace().nth(16).unwrap().parse().unwrap();
    let workspace = run.workspace.display().to_string();
    for index in [0, 1] {
        let seen = String::from_utf8(run.output(Stream::Stdout, index)).unwrap();
        let lines: Vec<&str> = seen.lines().collect();
        let expected = ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000", "/dev/null", "0 1 2 3 ", "0022"];
        assert_eq!(lines[..5], expected, "{seen}");
        assert_eq!(lines[5], (nice + 5).min(19).to_string());
        assert_eq!(lines[6..9], ["77", &workspace, &workspace]);
        assert_eq!(lines[9], lines[10], "it leads a session");
    }
}

#[test]
fn what_cannot_be_executed_is_said_of_any_step() {
    let Some(bench) = Bench::new() else { return };
    let missing = || step("missing", Phase::Main, &["no-such-program"]);
    for (name, steps) in [("first", vec![missing()]), ("second", vec![sh("one", Phase::Main, "true"), missing()])] {
        let run = bench.plain(name, steps);
        let record = bench.finish(&run);
        let message = "failed to execute its program: No such file or directory".to_owned();
        let failure = StepFailure::Exec { message };
        assert_eq!(record.outcome, Outcome::StepFailed { step: "missing".to_owned(), failure });
    }
    let mut run = bench.plain("no-directory", vec![sh("one", Phase::Main, "true")]);
    run.spec.steps[0].cwd = "missing".into();
    match bench.finish(&run).outcome {
        Outcome::StepFailed { failure: StepFailure::Exec { message }, .. } => {
            assert_eq!(message, "failed to enter its working directory: No such file or directory");
        }
        other => panic!("{other:?}"),
    }
}

/// Whatever a step leaves serves the next one, and is dead before the collector runs, whichever session it is in.
#[test]
fn leftovers_die_before_the_always_steps() {
    let Some(bench) = Bench::new() else { return };
    let steps = vec![
        sh("leave", Phase::Setup, "exec 3>pipe; (setsid sh -c 'sleep 1000 & sleep 1000' &); echo $$ >&3"),
        sh("use", Phase::Main, "read line < go; exit 3"),
        sh("collect", Phase::Always, "read line < go; exit 0"),
    ];
    let run = bench.plain("collect", steps);
    let (mut pipe, mut gate) = (run.pipe(), run.gate());
    let shim = bench.start(&run);
    pipe.line();
    gate.open("");
    // Dead while the last step waits.
    pipe.closed();
    wait_until("only the collector is left", || match family_of(shim.pid) {
        family if family.len() == 2 => Ok(()),
        family => Err(format!("{family:?}")),
    });
    gate.open("");
    let record = run.wait();
    let failed = StepStatus::Failed { failure: StepFailure::ExitCode { code: 3 } };
    let statuses: Vec<_> = record.steps.iter().map(|step| step.status.clone()).collect();
    assert_eq!(statuses, [StepStatus::Succeeded, failed, StepStatus::Succeeded]);
}

#[test]
fn time_is_over_for_all_processes() {
    let Some(bench) = Bench::new() else { return };
    let script = "exec 3>pipe; (setsid sh -c 'while :; do sleep 0.01; done' &); echo ready >&3; sleep 1000";
    let mut run = bench.plain("slow", vec![sh("slow", Phase::Main, script), sh("after", Phase::Always, "exit 0")]);
    run.spec.steps[0].timeout_ms = 300;
    let mut pipe = run.pipe();
    bench.start(&run);
    pipe.line();
    pipe.closed();
    let record = run.wait();
    assert_eq!(record.outcome, Outcome::TimedOut { step: Some("slow".to_owned()) });
    assert_eq!(record.steps[1].status, StepStatus::Succeeded);
}

/// A pause holds processes that start others all the time, and a step whose turn comes in it waits for its end.
#[test]
fn a_paused_run_stands_still_and_goes_on() {
    let Some(bench) = Bench::new() else { return };
    let tick = "exec 3>pipe; (setsid sh -c 'while echo tick >&3; do (:); done' &); read line < go";
    let run = bench.plain("pause", vec![sh("tick", Phase::Main, tick), sh("next", Phase::Main, "echo next")]);
    let (mut pipe, mut gate) = (run.pipe(), run.gate());
    bench.start(&run);
    pipe.line();
    run.stand_still();
    pipe.stays_quiet();
    control::resume(&run.dir).unwrap();
    assert!(pipe.wait(WAIT), "it goes on");
    gate.open("");
    assert_eq!(run.wait().outcome, Outcome::Succeeded);
    assert_eq!(run.output(Stream::Stdout, 1), b"next\n");
    let run = bench.plain("cancel", vec![sh("tick", Phase::Main, tick)]);
    let (mut pipe, _gate) = (run.pipe(), run.gate());
    bench.start(&run);
    pipe.line();
    control::pause(&run.dir).unwrap();
    control::cancel(&run.dir).unwrap();
    pipe.closed();
    assert_eq!(run.wait().outcome, Outcome::Cancelled);
}

/// A shim that is killed loses its run. Nothing of that lives when the next attempt begins, whatever session it is in and
/// whatever has become of its environment.
#[test]
fn nothing_of_a_killed_shim_lives_beside_the_next_attempt() {
    next_begins_when_nothing_is_left(20, |bench, name| bench.plain(name, vec![sh("leave", Phase::Main, LEAVING)]));
}

/// A step is of the shim's user, and nothing keeps it from killing what looks after it.
#[test]
fn a_step_that_kills_its_shim_ends_with_all_that_it_has_started() {
    let Some(bench) = Bench::new() else { return };
    let script = "exec 3>pipe; (setsid sleep 1000 &); echo ready >&3; read line < go; kill -9 $PPID; sleep 1000";
    let run = bench.plain("patricide", vec![sh("main", Phase::Main, script)]);
    let (mut pipe, mut gate) = (run.pipe(), run.gate());
    bench.start(&run);
    pipe.line();
    gate.open("");
    // By the spawner, without any further run.
    pipe.closed();
    assert_eq!(run.wait_gone(), Liveness::Lost);
}

/// Runs outlive their spawner. What such a shim leaves goes to nobody who knows it: it is found by its mark.
#[test]
fn what_is_left_without_a_spawner_is_found() {
    let Some(mut bench) = Bench::new() else { return };
    let alive = bench.plain("alive", vec![sh("leave", Phase::Main, LEAVING_MARKED)]);
    let mut alive_gate = alive.gate();
    let (_shim, living) = started(&bench, &alive, LEFT_MARKED);
    let run = bench.plain("left", vec![sh("leave", Phase::Main, LEAVING_MARKED)]);
    let _gate = run.gate();
    let (shim, family) = started(&bench, &run, LEFT_MARKED);
    bench.spawner = Spawner::start(program(), without_slots()).unwrap();
    end(&shim);
    assert_eq!(run.wait_gone(), Liveness::Lost);
    run_dir::end_rest(&run.dir).unwrap();
    wait_until("that of the step has died with its shim, and the others were found", || match left(&family) {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
    assert_eq!(left(&living).len(), living.len(), "another run is left alone");
    alive_gate.open("");
    assert_eq!(alive.wait().outcome, Outcome::Succeeded);
}

/// The same of a sandbox: the next attempt begins when its pid namespace is empty.
#[test]
fn nothing_of_a_killed_sandbox_lives_beside_the_next_attempt() {
    next_begins_when_nothing_is_left(10, |bench, name| bench.run(name, vec![sh("leave", Phase::Main, LEAVING)]));
}

/// Kills the shim of one run after the other, and has another attempt begin at once.
fn next_begins_when_nothing_is_left(rounds: u32, leaving: impl Fn(&Bench, &str) -> Run) {
    let Some(mut bench) = Bench::new() else { return };
    bench.spawner = Spawner::start(program(), without_slots()).unwrap();
    for round in 0..rounds {
        let run = leaving(&bench, &format!("killed-{round}"));
        let _gate = run.gate();
        let (shim, family) = started(&bench, &run, LEFT);
        let mut next = bench.plain(&format!("next-{round}"), vec![step("main", Phase::Main, &["true"])]);
        next.spec.fence = 2;
        run_dir::prepare(&next.dir, &next.spec).unwrap();
        end(&shim);
        // No wait in between.
        let started = bench.spawner.spawn(&next.dir).unwrap();
        assert_eq!(left(&family), [] as [i32; 0], "round {round}");
        drop(started);
        assert_eq!(run.wait_gone(), Liveness::Lost);
        assert_eq!(next.wait().outcome, Outcome::Succeeded);
    }
}

/// A thousand runs one after another leave no process and no descriptor, and each costs the spawner the same.
#[test]
fn a_thousand_runs_leave_nothing() {
    let Some(mut bench) = Bench::new() else { return };
    bench.spawner = Spawner::start(program(), without_slots()).unwrap();
    let spawner = i32::try_from(bench.spawner.pid().unwrap()).unwrap();
    let descriptors = || fs::read_dir(format!("/proc/{spawner}/fd")).map(Iterator::count).ok();
    let round = |index: usize| {
        let run = bench.plain(&format!("short-{index}"), vec![step("main", Phase::Main, &["true"])]);
        assert_eq!(bench.finish(&run).outcome, Outcome::Succeeded);
        fs::remove_dir_all(&run.dir).unwrap();
    };
    round(0);
    let open = descriptors();
    for index in 1..=1_000 {
        round(index);
    }
    wait_until("descriptors are closed", || match descriptors() {
        now if now > open => Err(format!("{open:?} before, {now:?} now")),
        _ => Ok(()),
    });
    // Also none that has ended and nobody has collected.
    wait_until("no child is left", || match children_of(spawner) {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
}
