//! Who lives and dies with whom: daemon, spawner, shim, everything inside; and who may start what.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orch_sandbox::exit_record::Outcome;
use orch_sandbox::run_dir::{self, Liveness, inspect};
use orch_sandbox::spec::Phase;
use orch_sandbox::{SpawnError, control};

use crate::bench::{Bench, PROBE_INSIDE, Run, sh, step};

/// A run that says `ready` in its pipe and ends when the test writes a line to its other pipe, see [`go`].
fn waiting(bench: &Bench, name: &str) -> (Run, crate::bench::Pipe) {
    let run = bench.run(name, vec![sh("wait", Phase::Main, "exec 3>pipe; echo ready >&3; read line < go; echo $line")]);
    nix::unistd::mkfifo(&run.workspace.join("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let pipe = run.pipe();
    (run, pipe)
}

fn go(run: &Run) {
    std::fs::write(run.workspace.join("go"), "went on\n").unwrap();
}

#[test]
fn a_run_outlives_its_spawner_and_a_new_one_is_started() {
    let Some(bench) = Bench::new() else { return };
    let (run, mut pipe) = waiting(&bench, "survivor");
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
    go(&run);
    assert_eq!(run.wait().outcome, Outcome::Succeeded);
    assert_eq!(run.stdout(), "went on\n");
}

#[test]
fn the_record_is_written_with_nobody_left() {
    let Some(bench) = Bench::new() else { return };
    let (run, mut pipe) = waiting(&bench, "orphan");
    bench.start(&run);
    pipe.line();
    let Bench { home, spawner } = bench;
    drop(spawner);
    go(&run);
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
    let (run, mut pipe) = waiting(&bench, "polite");
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
    let (mut run, mut pipe) = waiting(&bench, "fence");
    run.spec.fence = 5;
    assert_eq!(inspect(&run.dir, 5).unwrap(), Liveness::NotStarted);
    bench.start(&run);
    pipe.line();
    assert!(fenced(&run).contains("another shim is alive"));
    go(&run);
    run.wait();
    assert!(fenced(&run).contains("attempt 5 has been taken before"));
    run.spec.fence = 4;
    run_dir::prepare(&run.dir, &run.spec).unwrap();
    assert!(fenced(&run).contains("attempt 4 is older than attempt 5"));
    assert_eq!(inspect(&run.dir, 4).unwrap(), Liveness::NotStarted);
    assert!(matches!(inspect(&run.dir, 5).unwrap(), Liveness::Exited(_)));
}

#[test]
fn many_at_once_have_one_winner() {
    let Some(bench) = Bench::new() else { return };
    let (run, mut pipe) = waiting(&bench, "race");
    run_dir::prepare(&run.dir, &run.spec).unwrap();
    let winners = std::thread::scope(|scope| {
        let spawn = || bench.spawner.spawn(&run.dir).is_ok();
        let racers: Vec<_> = (0..8).map(|_| scope.spawn(spawn)).collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).filter(|won| *won).count()
    });
    assert_eq!(winners, 1);
    pipe.line();
    go(&run);
    assert_eq!(run.wait().outcome, Outcome::Succeeded);
}

/// Longer than an address of a socket can be.
#[test]
fn run_directories_can_have_long_paths() {
    let Some(bench) = Bench::new() else { return };
    let (mut run, mut pipe) = waiting(&bench, "long");
    run.dir = bench.path(&"d".repeat(120)).join("e".repeat(120));
    bench.start(&run);
    pipe.line();
    assert_eq!(control::status(&run.dir).unwrap().fence, 1);
    control::cancel(&run.dir).unwrap();
    assert_eq!(run.wait().outcome, Outcome::Cancelled);
}
