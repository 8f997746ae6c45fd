//! Attacks that want to use up what others need, and jobs that do not want to end or to stand still.

use std::time::Duration;

use orch_sandbox::control;
use orch_sandbox::exit_record::{Outcome, StepFailure, StepStatus};
use orch_sandbox::level::{GuaranteeKind, Strength};
use orch_sandbox::log::{ControlEvent, Record, Stream};
use orch_sandbox::spec::Phase;

use crate::bench::{
    Bench, PROBE_INSIDE, PROCESSES, Run, TMP_BYTES, WAIT, assert_refused, assert_soon, attack, refused, sh, slowness,
    step,
};
use crate::cases::{Need, skipped};

/// One file ends at the limit, however it grows, and the temporary file systems run out of files as well as of bytes.
#[test]
fn f14_files_end_at_the_limit() {
    let Some(bench) = Bench::new() else { return };
    let bytes = 8_u64 << 20;
    let inodes = (TMP_BYTES / 4096).max(1024);
    let mut run = bench.run("f14", vec![attack("f14", &[&bytes.to_string(), &inodes.to_string()])]);
    run.spec.limits.file_size_bytes = bytes;
    assert_refused(&bench, &run);
}

/// Both bombs are stopped, each at its own limit; the next steps can still start, and another run does not notice.
#[test]
fn r1_fork_bombs_end_at_the_limit() {
    let Some(bench) = Bench::new() else { return };
    let most = (PROCESSES + 400).to_string();
    let bombs = ["r1-one", "r1-two"].map(|name| {
        let bomb = step("bomb", Phase::Main, &[PROBE_INSIDE, "r1", &most]);
        let mut run = bench.run(name, vec![bomb, sh("after", Phase::Always, "echo alive")]);
        run.spec.limits.processes = PROCESSES;
        bench.start(&run);
        run
    });
    let other = bench.shell("r1-other", "echo $(true | cat) fine");
    assert_eq!(bench.finish(&other).outcome, Outcome::Succeeded);
    for run in bombs {
        let record = run.wait();
        let level = record.level.unwrap();
        let limit = level.guarantees.iter().find(|found| found.kind == GuaranteeKind::ProcessLimit).unwrap();
        if limit.strength == Strength::Absent {
            skipped("R1", Need::ProcessBound);
            return;
        }
        let seen = run.stderr();
        assert_eq!(record.outcome, Outcome::Succeeded, "{seen}");
        let children = seen.split_whitespace().find_map(|word| word.parse::<u64>().ok()).unwrap();
        assert!(children > PROCESSES / 2, "the other one took its share: {seen}");
        assert_eq!(run.output(Stream::Stdout, 1), b"alive\n");
    }
}

/// One line that never ends.
#[test]
fn r4_endless_lines_are_cut() {
    let Some(bench) = Bench::new() else { return };
    let mut run = bench.shell("r4", "head -c 200000000 /dev/zero; echo done >&2");
    run.spec.limits.log_bytes_max = 1 << 20;
    let record = bench.finish(&run);
    assert_eq!(record.outcome, Outcome::Succeeded);
    let kept: usize =
        run.records().iter().filter(|record| record.step.is_some()).map(|record| record.payload.len()).sum();
    assert_eq!(kept, 1 << 20);
    assert_eq!(record.dropped_bytes, 200_000_005 - kept as u64);
    let size = std::fs::metadata(orch_sandbox::run_dir::log_path(&run.dir)).unwrap().len();
    assert!(size < 2 << 20, "{size}");
    let events: Vec<_> = run.records().iter().filter_map(Record::control).collect();
    assert!(events.contains(&ControlEvent::Truncated { limit_bytes: 1 << 20 }), "{events:?}");
}

#[test]
fn r5_descriptors_end_at_the_limit() {
    let Some(bench) = Bench::new() else { return };
    refused(&bench, "r5", &["256"]);
}

/// The clock of a step is the shim's, and nothing inside moves it.
#[test]
fn r7_time_runs_out_whatever_a_step_does() {
    let Some(bench) = Bench::new() else { return };
    let stubborn = "trap '' TERM INT HUP; date -s 2001-01-01; kill -STOP 1; exec 3>pipe; echo ready >&3; kill -STOP $$";
    let mut run = bench.run("r7", vec![sh("stubborn", Phase::Main, stubborn)]);
    run.spec.steps[0].timeout_ms = 400;
    let mut pipe = run.pipe();
    let before = slowness();
    bench.start(&run);
    pipe.line();
    pipe.closed();
    let record = run.wait();
    assert_eq!(record.outcome, Outcome::TimedOut { step: Some("stubborn".to_owned()) });
    assert_eq!(record.steps[0].status, StepStatus::TimedOut);
    let took = Duration::from_micros(record.steps[0].finished_at_us.unwrap() - record.steps[0].started_at_us.unwrap());
    let late = Duration::from_secs(1).mul_f64(before.max(slowness()));
    assert!(took >= Duration::from_millis(395) && took < Duration::from_millis(400) + late, "{took:?}");
}

/// Stopped while it stops itself, and borrowed by children that stop it.
#[test]
fn p7_what_stops_itself_still_ends() {
    let Some(bench) = Bench::new() else { return };
    for script in
        ["exec 3>pipe; echo ready >&3; kill -STOP $$", "exec 3>pipe; echo ready >&3; exec /probe/sbx-probe vforks"]
    {
        let name = if script.contains("vforks") { "p7-vforks" } else { "p7-stop" };
        let run = bench.shell(name, script);
        let mut pipe = run.pipe();
        bench.start(&run);
        pipe.line();
        assert_ends_soon(&run, || pipe.closed());
    }
}

/// 500 processes that ignore every polite signal.
#[test]
fn p7_five_hundred_processes_end_at_once() {
    let Some(bench) = Bench::new() else { return };
    let mut run = bench.run("p7", vec![step("crowd", Phase::Main, &[PROBE_INSIDE, "crowd", "pipe", "500"])]);
    run.spec.limits.processes = 700;
    let mut pipe = run.pipe();
    bench.start(&run);
    pipe.line();
    assert_ends_soon(&run, || pipe.closed());
}

/// Cancels `run` and waits until `closed` says that nobody is left, which takes 16 ms where nobody else wants the processors.
fn assert_ends_soon(run: &Run, closed: impl FnOnce()) {
    assert_soon(Duration::from_secs(1), || {
        control::cancel(&run.dir).unwrap();
        closed();
    });
    assert_eq!(run.wait().outcome, Outcome::Cancelled);
}

/// Processes that fork all the time and wake each other.
#[test]
fn r8_forking_processes_stand_still() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.run("r8", vec![step("fork", Phase::Main, &[PROBE_INSIDE, "forkers", "pipe", "8"])]);
    let mut pipe = run.pipe();
    bench.start(&run);
    let _end = EndWhenDropped(&run);
    for _ in 0..3 {
        pipe.line();
        run.stand_still();
        pipe.stays_quiet();
        control::resume(&run.dir).unwrap();
        assert!(pipe.wait(WAIT), "it goes on");
    }
    control::cancel(&run.dir).unwrap();
    pipe.closed();
    assert_eq!(run.wait().outcome, Outcome::Cancelled);
}

/// Ends a run also when the test fails: one that is paused has no clock that would.
struct EndWhenDropped<'a>(&'a Run);

impl Drop for EndWhenDropped<'_> {
    fn drop(&mut self) {
        // It has ended already, unless the test has failed.
        drop(control::cancel(&self.0.dir));
        drop(control::cancel(&self.0.dir));
    }
}

/// What a run says in its pipe when it has taken all that it can: how much that was, and what it was told then.
fn taken(run: &Run, pipe: &mut crate::bench::Pipe) -> (u64, String) {
    let line = pipe.line();
    let (count, errno) = line.trim().split_once(' ').unwrap_or_else(|| panic!("{line}: {}", run.stderr()));
    (count.parse().unwrap(), errno.to_owned())
}

/// Descriptors on their way in local sockets are counted for the user of the host, and compared with the limit of whoever
/// sends the next one. Shims do, with a soft limit that service managers set low.
#[test]
fn r10_descriptors_under_way_do_not_keep_others_from_starting() {
    let Some(bench) = Bench::with_soft_limit(1024) else { return };
    let mut run = bench.run("r10", vec![attack("r10", &["pipe"])]);
    run.spec.limits.open_files = 4096;
    let mut pipe = run.pipe();
    bench.start(&run);
    let (count, errno) = taken(&run, &mut pipe);
    assert_eq!(errno, "ETOOMANYREFS", "after {count}");
    let other = bench.shell("r10-other", "echo fine");
    let outcome = bench.finish(&other).outcome;
    control::cancel(&run.dir).unwrap();
    assert_eq!(run.wait().outcome, Outcome::Cancelled);
    assert_eq!(outcome, Outcome::Succeeded, "{count} descriptors are under way");
}

/// Signals that wait to be taken are counted for the user, too.
#[test]
fn r11_signals_under_way_are_bounded() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.run("r11", vec![attack("r11", &["pipe"])]);
    let mut pipe = run.pipe();
    bench.start(&run);
    let (count, errno) = taken(&run, &mut pipe);
    control::cancel(&run.dir).unwrap();
    assert_eq!(run.wait().outcome, Outcome::Cancelled);
    assert_eq!(errno, "EAGAIN");
    assert!(count <= 4096, "{count} signals are under way");
}

/// So are descriptors that are watched.
#[test]
fn r12_watches_are_bounded_by_descriptors() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.run("r12", vec![attack("r12", &["pipe", "1000000"])]);
    let mut pipe = run.pipe();
    bench.start(&run);
    let (count, _) = taken(&run, &mut pipe);
    control::cancel(&run.dir).unwrap();
    assert_eq!(run.wait().outcome, Outcome::Cancelled);
    // With 256 descriptors, half of which watch the other half.
    assert!((10_000..=128 * 128).contains(&count), "{count} watches");
}

/// A failure that says something else than the step did would be a success that is none.
#[test]
fn p10_exit_codes_are_those_of_the_step() {
    let Some(bench) = Bench::new() else { return };
    let forged = r#"{"reply":"step_ended","index":0,"ended":{"how":"exited","code":0}}"#;
    let script = format!("for fd in 0 1 2 3 4 5 6 7 8 9; do echo '{forged}' >&$fd; done 2>/dev/null; exit 7");
    let run = bench.shell("p10", &script);
    let failure = StepFailure::ExitCode { code: 7 };
    assert_eq!(bench.finish(&run).outcome, Outcome::StepFailed { step: "main".to_owned(), failure });
}
