//! Limits of whole runs where no control group keeps them: silence, memory, disk.

use orch_sandbox::control;
use orch_sandbox::exit_record::{ExitRecord, Outcome, StepStatus};
use orch_sandbox::level::{GuaranteeKind, Strength};
use orch_sandbox::limit::{Excess, LimitKind};
use orch_sandbox::log::{ControlEvent, Stream};
use orch_sandbox::spec::Phase;

use crate::bench::{Bench, PROBE_INSIDE, Run, cancel_a_crowd, sh, step};

const MEGABYTE: u64 = 1 << 20;

fn strength(record: &ExitRecord, kind: GuaranteeKind) -> Strength {
    record.level.as_ref().unwrap().guarantees.iter().find(|found| found.kind == kind).unwrap().strength
}

fn excess(record: &ExitRecord) -> Excess {
    match &record.outcome {
        Outcome::LimitExceeded { excess, step } => {
            assert_eq!(step.as_deref(), Some("main"));
            *excess
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_silent_step_is_killed() {
    let Some(bench) = Bench::new() else { return };
    let mut run = bench.shell("silent", "echo once; read line < go");
    let _gate = run.gate();
    run.spec.limits.idle_ms = Some(300);
    let record = bench.finish(&run);
    assert_eq!(record.outcome, Outcome::NoOutput { step: "main".into(), idle_ms: 300 });
    assert_eq!(record.steps[0].status, StepStatus::TimedOut);
    assert_eq!(run.stdout(), "once\n");
}

/// A run that eats 300 MiB of one kind where it may have 128.
fn glutton(bench: &Bench, kind: &str) -> Run {
    let eat = step("main", Phase::Main, &[PROBE_INSIDE, "eat", kind, "300"]);
    let mut run = bench.run(&format!("eat-{kind}"), vec![eat, sh("after", Phase::Always, "echo alive")]);
    run.spec.limits.run_memory_bytes = Some(128 * MEGABYTE);
    run.spec.limits.tmp_bytes = 512 * MEGABYTE;
    run
}

#[test]
fn r2_memory_of_every_kind_is_watched() {
    let Some(bench) = Bench::new() else { return };
    for kind in ["private", "shared", "memory-file", "temporary-file", "deleted-file"] {
        let run = glutton(&bench, kind);
        let record = bench.finish(&run);
        let excess = excess(&record);
        assert_eq!((excess.limit, excess.allowed), (LimitKind::Memory, 128 * MEGABYTE), "{kind}");
        assert!(excess.found > excess.allowed, "{kind}: {excess:?}");
        assert_eq!(record.steps[0].status, StepStatus::LimitExceeded { limit: LimitKind::Memory }, "{kind}");
        assert_eq!(record.steps[1].status, StepStatus::Succeeded, "{kind}");
        assert_eq!(run.output(Stream::Stdout, 1), b"alive\n", "{kind}");
        assert_eq!(strength(&record, GuaranteeKind::MemoryLimit), Strength::Degraded, "{kind}");
        let said = run.records().iter().filter_map(orch_sandbox::log::Record::control).collect::<Vec<_>>();
        assert!(said.contains(&ControlEvent::LimitExceeded { excess }), "{said:?}");
    }
}

/// Shared pages count once: many children of a large process are no reason to kill it. Silence ends the run, long after
/// it was looked at more than once.
#[test]
fn what_processes_share_counts_once() {
    let Some(bench) = Bench::new() else { return };
    let mut run = bench.run("share", vec![step("main", Phase::Main, &[PROBE_INSIDE, "share", "8", "64"])]);
    run.spec.limits.run_memory_bytes = Some(256 * MEGABYTE);
    run.spec.limits.idle_ms = Some(2_000);
    let record = bench.finish(&run);
    assert_eq!(record.outcome, Outcome::NoOutput { step: "main".into(), idle_ms: 2_000 });
    assert_eq!(run.stdout(), "shared 64\n");
}

#[test]
fn f14_a_run_that_takes_too_much_disk_is_killed() {
    let Some(bench) = Bench::new() else { return };
    let scripts = [
        ("large", "head -c 40000000 /dev/zero > file; read line < go"),
        (
            "many",
            "mkdir d; i=0; while [ $i -lt 500 ]; do head -c 60000 /dev/zero > d/$i; i=$((i+1)); done; read line < go",
        ),
        ("hidden", "mkdir d; head -c 40000000 /dev/zero > d/f; chmod 0 d; read line < go"),
        (
            "deep",
            "i=0; while [ $i -lt 40 ]; do mkdir d; cd d; i=$((i+1)); l=\"$l $i a$i b$i\"; done; mkdir $l; \
             for i in $l; do head -c 200000 /dev/zero > $i/f; done; read line < /work/go",
        ),
        ("deleted", "exec 4>file; rm file; head -c 40000000 /dev/zero >&4; read line < go"),
        ("results", "head -c 40000000 /dev/zero > /out/file; read line < go"),
    ];
    for (name, script) in scripts {
        let mut run = bench.run(name, vec![sh("main", Phase::Main, script), sh("after", Phase::Always, "echo alive")]);
        let _gate = run.gate();
        let out = bench.path(&format!("{name}.out"));
        std::fs::create_dir(&out).unwrap();
        run.spec.out = Some(out);
        run.spec.limits.disk_bytes = Some(16 * MEGABYTE);
        let record = bench.finish(&run);
        let excess = excess(&record);
        assert_eq!((excess.limit, excess.allowed), (LimitKind::Disk, 16 * MEGABYTE), "{name}");
        // A directory without permissions would stay for ever.
        orch_sandbox::remove_tree(&run.workspace).unwrap();
        assert!(excess.found > excess.allowed, "{name}: {excess:?}");
        assert_eq!(record.steps[1].status, StepStatus::Succeeded, "{name}");
        assert_eq!(strength(&record, GuaranteeKind::DiskLimit), Strength::Degraded, "{name}");
    }
}

/// A sparse file has no space, and a hard link no second one.
#[test]
fn what_has_no_blocks_is_no_disk_space() {
    let Some(bench) = Bench::new() else { return };
    let script = "truncate -s 1000000000 hole; head -c 9000000 /dev/zero > a; ln a b; ln a c; read line < go";
    let mut run = bench.shell("hole", script);
    let _gate = run.gate();
    run.spec.limits.disk_bytes = Some(16 * MEGABYTE);
    run.spec.limits.idle_ms = Some(2_500);
    assert_eq!(bench.finish(&run).outcome, Outcome::NoOutput { step: "main".into(), idle_ms: 2_500 });
}

/// Where there is no group it is init that kills: everything at once, however many there are.
#[test]
fn p7_many_processes_die_quickly() {
    let Some(bench) = Bench::new() else { return };
    cancel_a_crowd(&bench, false);
}

/// Stopped processes cannot fork, whatever they were doing.
#[test]
fn r8_nothing_forks_in_a_pause() {
    let Some(bench) = Bench::new() else { return };
    pause_a_race(&bench);
}

pub(crate) fn pause_a_race(bench: &Bench) {
    let run = bench.run("race", vec![step("main", Phase::Main, &[PROBE_INSIDE, "race", "pipe", "8"])]);
    let mut pipe = run.pipe();
    bench.start(&run);
    assert!(pipe.wait(crate::bench::WAIT), "it does not start");
    for _ in 0..5 {
        run.stand_still();
        pipe.stays_quiet();
        control::resume(&run.dir).unwrap();
        assert!(pipe.wait(crate::bench::WAIT), "it does not go on");
    }
    control::pause(&run.dir).unwrap();
    control::cancel(&run.dir).unwrap();
    pipe.closed();
    assert_eq!(run.wait().outcome, Outcome::Cancelled);
}
