//! Who lives and dies with whom: daemon, spawner, shim, everything inside; and who may start what.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orch_sandbox::exit_record::{Outcome, StepStatus};
use orch_sandbox::run_dir::{self, Liveness, inspect};
use orch_sandbox::spec::Phase;
use orch_sandbox::{SpawnError, control};

use crate::bench::{Bench, Gate, PROBE_INSIDE, Pipe, Run, sh, step};

/// A run that says `ready` in its pipe and ends when the test opens its gate.
fn waiting(bench: &Bench, name: &str) -> (Run, Pipe, Gate) {
    let run = bench.run(name, vec![sh("wait", Phase::Main, "exec 3>pipe; echo ready >&3; read line < go; echo $line")]);
    let (pipe, gate) = (run.pipe(), run.gate());
    (run, pipe, gate)
}

#[test]
fn a_run_outlives_its_spawner_and_a_new_one_is_started() {
    let Some(bench) = Bench::new() else { return };
    let (run, mut pipe, mut gate) = waiting(&bench, "survivor");
    bench.start(&run);
    pipe.line();
    let first = bench.spawner.pid().unwrap();
    kill(Pid::from_raw(first.cast_signed()), Signal::SIGKILL).unwrap();
    assert!(matches!(inspect(&run.dir, 1).unwrap(), Liveness::Running { shim: Some(_) }));
    // The next start notices, whether the kernel has finished the old process or not.
    let next = bench.shell("next", "true");
    run_dir::prepare(&next.dir, &next.spec).unwrap();
    let started = bench.spawner.spawn(&next.dir).or_else(|error| match error {
        SpawnError::Exchange(_) => bench.spawner.spawn(&next.dir),
        other => Err(other),
    });
    assert!(started.is_ok(), "{started:?}");
    assert_ne!(bench.spawner.pid(), Some(first));
    assert_eq!(next.wait().outcome, Outcome::Succeeded);
    gate.open("went on");
    assert_eq!(run.wait().outcome, Outcome::Succeeded);
    assert_eq!(run.stdout(), "went on\n");
}

#[test]
fn the_record_is_written_with_nobody_left() {
    let Some(bench) = Bench::new() else { return };
    let (run, mut pipe, mut gate) = waiting(&bench, "orphan");
    bench.start(&run);
    pipe.line();
    let Bench { home, spawner } = bench;
    drop(spawner);
    gate.open("went on");
    assert_eq!(run.wait().outcome, Outcome::Succeeded);
    drop(home);
}

#[test]
fn everything_inside_dies_with_the_shim() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.run("lost", vec![step("crowd", Phase::Main, &[PROBE_INSIDE, "crowd", "pipe", "50"])]);
    let mut pipe = run.pipe();
    let shim = bench.start(&run);
    pipe.line();
    match inspect(&run.dir, 1).unwrap() {
        Liveness::Running { shim: Some(identity) } => assert_eq!(identity.pid, shim.pid),
        other => panic!("{other:?}"),
    }
    kill(Pid::from_raw(shim.pid), Signal::SIGKILL).unwrap();
    pipe.closed();
    assert_eq!(run.wait_gone(), Liveness::Lost);
    assert!(matches!(control::status(&run.dir), Err(control::ControlError::NotRunning { .. })));
}

/// A service manager ends a shim with a polite signal; that is a cancel, not a loss.
#[test]
fn a_polite_signal_cancels() {
    let Some(bench) = Bench::new() else { return };
    let (run, mut pipe, _gate) = waiting(&bench, "polite");
    let shim = bench.start(&run);
    pipe.line();
    kill(Pid::from_raw(shim.pid), Signal::SIGTERM).unwrap();
    pipe.closed();
    assert_eq!(run.wait().outcome, Outcome::Cancelled);
}

#[test]
fn an_attempt_is_taken_once() {
    let Some(bench) = Bench::new() else { return };
    let fenced = |run: &Run| match bench.spawner.spawn(&run.dir) {
        Err(SpawnError::Fenced { reason }) => reason,
        other => panic!("{other:?}"),
    };
    let (mut run, mut pipe, mut gate) = waiting(&bench, "fence");
    run.spec.fence = 5;
    assert_eq!(inspect(&run.dir, 5).unwrap(), Liveness::NotStarted);
    bench.start(&run);
    pipe.line();
    assert!(fenced(&run).contains("another shim is alive"));
    gate.open("went on");
    run.wait();
    assert!(fenced(&run).contains("attempt 5 has been taken before"));
    run.spec.fence = 4;
    run_dir::prepare(&run.dir, &run.spec).unwrap();
    assert!(fenced(&run).contains("attempt 4 is older than attempt 5"));
    assert_eq!(inspect(&run.dir, 4).unwrap(), Liveness::NotStarted);
    assert!(matches!(inspect(&run.dir, 5).unwrap(), Liveness::Exited(_)));
}

/// A run that is cancelled while its first step begins: whatever was heard of that, its record says so.
#[test]
fn what_began_is_never_called_not_run() {
    let Some(bench) = Bench::new() else { return };
    let mut begun = 0;
    for round in 0..40 {
        let run = bench.run(&format!("early-{round}"), vec![sh("main", Phase::Main, ": > begun; exec sleep 1000")]);
        let started = bench.start(&run);
        // Each a little later, over the time that a beginning takes.
        let moment = Instant::now() + Duration::from_micros(150 * round);
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        if round % 2 == 0 {
            control::cancel(&run.dir).unwrap();
        } else {
            kill(Pid::from_raw(started.pid), Signal::SIGTERM).unwrap();
        }
        let record = run.wait();
        assert_eq!(record.outcome, Outcome::Cancelled);
        if run.workspace.join("begun").exists() {
            begun += 1;
            assert_eq!(record.steps[0].status, StepStatus::Cancelled, "round {round}");
        }
    }
    eprintln!("{begun} of 40 had begun");
}

/// What is kept of a run is made beside its first step, so a record of a run that could not be followed does not claim that
/// the step never began. Without room for that record nothing begins.
#[test]
fn a_run_that_cannot_be_followed_is_not_called_one_that_did_nothing() {
    let Some(bench) = Bench::new() else { return };
    for (in_the_way, status) in [("log", StepStatus::Lost), ("reserve", StepStatus::NotRun)] {
        let run = bench.run(in_the_way, vec![sh("main", Phase::Main, "echo here > begun; exec sleep 1000")]);
        run_dir::prepare(&run.dir, &run.spec).unwrap();
        std::fs::create_dir(run.dir.join(in_the_way)).unwrap();
        let error = bench.spawner.spawn(&run.dir).unwrap_err();
        assert!(matches!(&error, SpawnError::Failed { reason } if reason.contains(in_the_way)), "{error:?}");
        let record = run.wait();
        assert!(matches!(record.outcome, Outcome::ShimError { .. }), "{}", record.outcome);
        assert_eq!(record.steps[0].status, status);
        if in_the_way == "reserve" {
            assert!(!run.spec.workspace.join("begun").exists(), "it began without room for its record");
        }
    }
}

/// Who gives a run up that may be about to start makes sure that it does not.
#[test]
fn an_attempt_that_was_forestalled_never_starts() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.shell("given-up", "true");
    run_dir::prepare(&run.dir, &run.spec).unwrap();
    assert!(run_dir::forestall(&run.dir, 1).unwrap());
    match bench.spawner.spawn(&run.dir) {
        Err(SpawnError::Fenced { reason }) => assert!(reason.contains("attempt 1 has been taken before"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(inspect(&run.dir, 1).unwrap(), Liveness::Lost);
    let (run, mut pipe, mut gate) = waiting(&bench, "too-late");
    bench.start(&run);
    pipe.line();
    assert!(!run_dir::forestall(&run.dir, 1).unwrap());
    gate.open("went on");
    assert_eq!(run.wait().outcome, Outcome::Succeeded);
}

#[test]
fn many_at_once_have_one_winner() {
    let Some(bench) = Bench::new() else { return };
    let (run, mut pipe, mut gate) = waiting(&bench, "race");
    run_dir::prepare(&run.dir, &run.spec).unwrap();
    let winners = std::thread::scope(|scope| {
        let spawn = || bench.spawner.spawn(&run.dir).is_ok();
        let racers: Vec<_> = (0..8).map(|_| scope.spawn(spawn)).collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).filter(|won| *won).count()
    });
    assert_eq!(winners, 1);
    pipe.line();
    gate.open("went on");
    assert_eq!(run.wait().outcome, Outcome::Succeeded);
}

/// Longer than an address of a socket can be.
#[test]
fn run_directories_can_have_long_paths() {
    let Some(bench) = Bench::new() else { return };
    let (mut run, mut pipe, _gate) = waiting(&bench, "long");
    run.dir = bench.path(&"d".repeat(120)).join("e".repeat(120));
    bench.start(&run);
    pipe.line();
    assert_eq!(control::status(&run.dir).unwrap().fence, 1);
    control::cancel(&run.dir).unwrap();
    assert_eq!(run.wait().outcome, Outcome::Cancelled);
}
