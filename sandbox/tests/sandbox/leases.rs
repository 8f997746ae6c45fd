//! Runs that cannot prove any more to be the one: they end by themselves and leave nothing that somebody could take for a
//! result. Nothing here waits for a time: what a run writes meanwhile says that enough of it has passed.

use std::fs::{self, File};
use std::time::{Instant, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orch_sandbox::exit_record::Outcome;
use orch_sandbox::log::ControlEvent;
use orch_sandbox::run_dir::{self, Liveness, inspect};
use orch_sandbox::spec::{LeaseSpec, OwnerSpec};

use crate::bench::{Bench, Pipe, Run, WAIT};

/// How long a proof is worth something here, in milliseconds.
const TTL_MS: u64 = 1_000;
/// Counts for ever, ten times a second.
const COUNTS: &str = "exec 3>pipe; while :; do echo on >&3; sleep 0.1; done";
/// More lines than it can write while a proof is worth something.
const LINES: usize = 25;

fn leased(bench: &Bench, name: &str, owner: Option<OwnerSpec>) -> (Run, Pipe) {
    let mut run = bench.shell(name, COUNTS);
    run.spec.lease = Some(LeaseSpec { ttl_ms: TTL_MS, owner });
    let pipe = run.pipe();
    (run, pipe)
}

fn hear(pipe: &mut Pipe, lines: usize) {
    for _ in 0..lines {
        pipe.line();
    }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// Why the lease was lost, as the log in `dir` says.
fn reason(run: &Run) -> Option<String> {
    run.records().iter().find_map(|record| match record.control()? {
        ControlEvent::LeaseLost { reason } => Some(reason),
        _ => None,
    })
}

#[test]
fn a_run_whose_lease_is_renewed_goes_on() {
    let Some(bench) = Bench::new() else { return };
    let (run, mut pipe) = leased(&bench, "renewed", None);
    bench.start(&run);
    let first = run_dir::renewed_at(&run.dir).unwrap();
    hear(&mut pipe, 2 * LINES);
    assert!(run_dir::renewed_at(&run.dir).unwrap() > first, "it says so");
    assert_eq!(run_dir::lease_of(&run.dir).unwrap(), run.spec.lease);
    assert!(matches!(inspect(&run.dir, 1).unwrap(), Liveness::Running { .. }));
    assert!(run_dir::end_shim(&run.dir, 1).unwrap());
    pipe.closed();
    assert_eq!(run.wait_gone(), Liveness::Lost);
    assert!(!run_dir::end_shim(&run.dir, 1).unwrap(), "there is nobody any more");
}

/// Nobody but the run can say that it ended, since its directory is not where others look.
#[test]
fn a_run_whose_directory_is_taken_away_ends_by_itself() {
    let Some(bench) = Bench::new() else { return };
    let (run, mut pipe) = leased(&bench, "moved", None);
    bench.start(&run);
    hear(&mut pipe, 1);
    let away = bench.path("away");
    fs::rename(&run.dir, &away).unwrap();
    pipe.closed();
    let moved = Run { dir: away, workspace: run.workspace.clone(), spec: run.spec.clone() };
    assert_eq!(moved.wait_gone(), Liveness::Lost);
    assert_eq!(reason(&moved), None, "nothing is written to what may be somebody else's");
    assert!(!run.dir.exists(), "nothing is made anew");
}

/// A copy has a lock that nobody holds: who only looks at that would begin the run again beside itself.
#[test]
fn a_run_whose_directory_is_replaced_is_seen_to_live_and_ends_by_itself() {
    let Some(bench) = Bench::new() else { return };
    let (run, mut pipe) = leased(&bench, "replaced", None);
    bench.start(&run);
    hear(&mut pipe, 1);
    fs::rename(&run.dir, bench.path("away")).unwrap();
    fs::create_dir(&run.dir).unwrap();
    for entry in fs::read_dir(bench.path("away")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), run.dir.join(entry.file_name())).unwrap();
        }
    }
    let seen = inspect(&run.dir, 1).unwrap();
    assert!(matches!(seen, Liveness::Unseen { .. }), "{seen:?}");
    pipe.closed();
    wait_until("it is gone", || inspect(&run.dir, 1).unwrap() == Liveness::Lost);
}

#[test]
fn a_run_whose_lock_is_taken_away_is_seen_to_live_and_ends_by_itself() {
    let Some(bench) = Bench::new() else { return };
    for (name, replaced) in [("unlocked", false), ("relocked", true)] {
        let (run, mut pipe) = leased(&bench, name, None);
        bench.start(&run);
        hear(&mut pipe, 1);
        fs::remove_file(run.dir.join("lock")).unwrap();
        if replaced {
            fs::write(run.dir.join("lock"), "").unwrap();
        }
        let seen = inspect(&run.dir, 1).unwrap();
        assert!(matches!(seen, Liveness::Unseen { .. }), "{seen:?}");
        pipe.closed();
        wait_until("it is gone", || inspect(&run.dir, 1).unwrap() == Liveness::Lost);
    }
}

#[test]
fn a_run_ends_when_a_later_attempt_was_taken() {
    let Some(bench) = Bench::new() else { return };
    let (mut run, mut pipe) = leased(&bench, "outdated", None);
    // So long that only the later attempt can have ended it.
    run.spec.lease = Some(LeaseSpec { ttl_ms: 6_000, owner: None });
    bench.start(&run);
    hear(&mut pipe, 1);
    assert!(run_dir::forestall(&run.dir, 2).unwrap());
    pipe.closed();
    assert_eq!(run.wait_gone(), Liveness::Lost);
}

/// The zombie: it stands still while another attempt may have begun, and then it goes on.
#[test]
fn a_shim_that_stood_still_for_too_long_leaves_no_result() {
    let Some(bench) = Bench::new() else { return };
    let mut run =
        bench.shell("zombie", "exec 3>pipe; i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo on >&3; sleep 0.1; done");
    run.spec.lease = Some(LeaseSpec { ttl_ms: TTL_MS, owner: None });
    let mut pipe = run.pipe();
    let shim = bench.start(&run);
    hear(&mut pipe, 1);
    kill(Pid::from_raw(shim.pid), Signal::SIGSTOP).unwrap();
    // It does its work to the end meanwhile, and its shim could say so.
    pipe.closed();
    assert!(matches!(inspect(&run.dir, 1).unwrap(), Liveness::Running { .. }), "it has its lock");
    kill(Pid::from_raw(shim.pid), Signal::SIGCONT).unwrap();
    assert_eq!(run.wait_gone(), Liveness::Lost);
    let why = reason(&run).unwrap();
    assert_eq!(why, "its lease could not be renewed for 1 s: its shim did not run");
}

#[test]
fn a_shim_that_stands_still_can_be_ended_with_all_that_is_inside() {
    let Some(bench) = Bench::new() else { return };
    let (run, mut pipe) = leased(&bench, "stuck", None);
    let shim = bench.start(&run);
    hear(&mut pipe, 1);
    kill(Pid::from_raw(shim.pid), Signal::SIGSTOP).unwrap();
    assert!(!run_dir::end_shim(&run.dir, 2).unwrap(), "that is another attempt");
    assert!(run_dir::end_shim(&run.dir, 1).unwrap());
    pipe.closed();
    assert_eq!(run.wait_gone(), Liveness::Lost);
}

/// The name of a file beside the directories of runs.
const OWNER: &str = "owner.lock";

fn owner(absent_ms: u64) -> OwnerSpec {
    OwnerSpec { lock: OWNER.to_owned(), absent_ms }
}

#[test]
fn a_run_ends_when_nobody_has_wanted_it_for_too_long() {
    let Some(bench) = Bench::new() else { return };
    let file = File::create(bench.path(OWNER)).unwrap();
    assert!(run_dir::lock(&file).unwrap());
    let (run, mut pipe) = leased(&bench, "orphan", Some(owner(2 * TTL_MS)));
    bench.start(&run);
    hear(&mut pipe, 2 * LINES);
    drop(file);
    pipe.closed();
    // It is the one, so it says what became of it.
    let record = run.wait();
    let said = "nobody was there to take its result for 2 s";
    assert!(matches!(&record.outcome, Outcome::ShimError { message } if message == said), "{record:?}");
}

/// An owner that is away for a moment, as for an upgrade, costs nothing.
#[test]
fn a_run_goes_on_when_its_owner_comes_back() {
    let Some(bench) = Bench::new() else { return };
    let take = || {
        let file = File::create(bench.path(OWNER)).unwrap();
        assert!(run_dir::lock(&file).unwrap());
        file
    };
    let mut held = take();
    let mut run = bench.shell("upgraded", "exec 3>pipe; for i in 1 2 3 4 5 6; do echo on >&3; read line < go; done");
    run.spec.lease = Some(LeaseSpec { ttl_ms: TTL_MS, owner: Some(owner(60_000)) });
    let (mut pipe, mut gate) = (run.pipe(), run.gate());
    bench.start(&run);
    for _ in 0..6 {
        hear(&mut pipe, 1);
        drop(held);
        let renewed = run_dir::renewed_at(&run.dir).unwrap();
        // It has looked without seeing anybody.
        wait_until("another look", || run_dir::renewed_at(&run.dir).unwrap() != renewed);
        held = take();
        gate.open("on");
    }
    assert_eq!(run.wait().outcome, Outcome::Succeeded);
}

/// The clock that files are dated by has nothing to do with it: those of the future and of the past are renewed alike.
#[test]
fn a_lease_does_not_depend_on_what_files_say_the_time_is() {
    let Some(bench) = Bench::new() else { return };
    let (run, mut pipe) = leased(&bench, "dates", None);
    bench.start(&run);
    for at in [SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + 100_000_000 * WAIT] {
        File::open(run.dir.join("lock")).unwrap().set_modified(at).unwrap();
        hear(&mut pipe, LINES);
        assert!(run_dir::renewed_at(&run.dir).unwrap() != Some(at), "it goes on as before");
    }
    assert!(run_dir::end_shim(&run.dir, 1).unwrap());
    pipe.closed();
}
