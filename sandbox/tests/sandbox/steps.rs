//! How runs go and end: order, failures, limits of time, cancelling, pausing, refusals.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orch_sandbox::exit_record::{Outcome, StepFailure, StepStatus};
use orch_sandbox::level::GuaranteeKind;
use orch_sandbox::log::{ControlEvent, Record, Stream};
use orch_sandbox::spec::{Phase, ReadOnlyMount};
use orch_sandbox::{Level, SpawnError, control, run_dir};

use crate::bench::{Bench, PROBE_INSIDE, Run, sh, step};
use crate::faults::{children_of, family_of, wait_until};

fn statuses(record: &orch_sandbox::exit_record::ExitRecord) -> Vec<StepStatus> {
    record.steps.iter().map(|step| step.status.clone()).collect()
}

fn exit_code(code: i32) -> StepStatus {
    StepStatus::Failed { failure: StepFailure::ExitCode { code } }
}

#[test]
fn steps_run_in_order_in_their_directory() {
    let Some(bench) = Bench::new() else { return };
    let mut run = bench.run(
        "order",
        vec![
            sh("prepare", Phase::Setup, "mkdir sub && echo 1 > sub/n"),
            sh("work", Phase::Main, "pwd; cat n; echo 2 > n"),
            sh("collect", Phase::Always, "cat sub/n > /out/result"),
        ],
    );
    run.spec.steps[1].cwd = "sub".into();
    let out = bench.path("out");
    std::fs::create_dir(&out).unwrap();
    run.spec.out = Some(out.clone());
    let record = bench.finish(&run);
    assert_eq!(record.outcome, Outcome::Succeeded);
    assert_eq!(statuses(&record), [StepStatus::Succeeded, StepStatus::Succeeded, StepStatus::Succeeded]);
    assert_eq!(run.output(Stream::Stdout, 1), b"/work/sub\n1\n");
    assert_eq!(std::fs::read_to_string(out.join("result")).unwrap(), "2\n");
    assert_eq!(record.level.unwrap().level, Level::Full);
    let times: Vec<_> = record.steps.iter().flat_map(|step| [step.started_at_us, step.finished_at_us]).collect();
    assert!(times.iter().all(Option::is_some) && times.is_sorted(), "{times:?}");
}

/// When memory runs out, any step goes before init, without which those that run always would not.
#[test]
fn r2_every_step_is_killed_before_init() {
    let Some(bench) = Bench::new() else { return };
    let script = "cat /proc/self/oom_score_adj /proc/1/oom_score_adj";
    let steps = ["one", "two", "three"].map(|name| sh(name, Phase::Main, script));
    let run = bench.run("scores", steps.to_vec());
    assert_eq!(bench.finish(&run).outcome, Outcome::Succeeded);
    let scores = [0, 1, 2].map(|step| String::from_utf8(run.output(Stream::Stdout, step)).unwrap());
    assert_eq!(scores, ["900\n600\n"; 3]);
}

/// A shell that starts something behind itself lets it ignore signals, which programs inherit. A step knows none of that.
#[test]
fn steps_ignore_no_signal_that_whoever_started_the_spawner_ignores() {
    let Some(bench) = Bench::started_after("trap '' HUP INT QUIT USR1 TERM CHLD WINCH ALRM") else { return };
    let shows = ["grep", "-E", "Sig(Ign|Blk):", "/proc/self/status"];
    let run = bench.run("signals", vec![step("one", Phase::Main, &shows), step("two", Phase::Main, &shows)]);
    assert_eq!(bench.finish(&run).outcome, Outcome::Succeeded);
    for step in [0, 1] {
        let seen = String::from_utf8(run.output(Stream::Stdout, step)).unwrap();
        assert_eq!(seen, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    }
}

#[test]
fn the_log_tells_the_story() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.shell("story", "echo out; echo err >&2; exit 3");
    assert_eq!(
        bench.finish(&run).outcome,
        Outcome::StepFailed { step: "main".to_owned(), failure: StepFailure::ExitCode { code: 3 } }
    );
    let records = run.records();
    let events: Vec<_> = records.iter().filter_map(orch_sandbox::log::Record::control).collect();
    let [ControlEvent::Level { report }, started, finished, over] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(report.level, Level::Full);
    assert_eq!(*started, ControlEvent::StepStarted { index: 0, name: "main".to_owned() });
    let status = exit_code(3);
    assert_eq!(*finished, ControlEvent::StepFinished { index: 0, name: "main".to_owned(), status });
    assert_eq!(*over, ControlEvent::Finished { dropped_bytes: 0 });
    // Output comes before the record that says that its step is over.
    let place = |wanted: &[u8]| records.iter().position(|record| record.payload == wanted).unwrap();
    let end = records.iter().position(|record| record.control().as_ref() == Some(finished)).unwrap();
    assert!(place(b"out") < end && place(b"err") < end);
}

#[test]
fn failures_skip_to_the_always_steps() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.run(
        "fail",
        vec![
            sh("bad", Phase::Main, "kill -SEGV $$"),
            sh("never", Phase::Main, "touch ran"),
            sh("always", Phase::Always, "exit 4"),
            sh("always too", Phase::Always, "exit 0"),
        ],
    );
    let record = bench.finish(&run);
    let failure = StepFailure::Signal { signal: 11 };
    assert_eq!(record.outcome, Outcome::StepFailed { step: "bad".to_owned(), failure: failure.clone() });
    let expected = [StepStatus::Failed { failure }, StepStatus::NotRun, exit_code(4), StepStatus::Succeeded];
    assert_eq!(statuses(&record), expected);
    assert!(!run.workspace.join("ran").exists());
}

#[test]
fn programs_that_do_not_exist_are_named() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.run("missing", vec![step("build", Phase::Main, &["no-such-program"])]);
    match bench.finish(&run).outcome {
        Outcome::StepFailed { step, failure: StepFailure::Exec { message } } => {
            assert_eq!(step, "build");
            assert_eq!(message, "failed to execute its program: No such file or directory");
        }
        other => panic!("{other:?}"),
    }
}

/// What a step leaves running serves the next one, and is dead when the collector runs.
#[test]
fn leftovers_die_before_the_always_steps() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.run(
        "left",
        vec![
            sh("serve", Phase::Setup, &format!("{PROBE_INSIDE} crowd pipe 3 &")),
            sh("use", Phase::Main, "read line < go; ls /proc > /tmp/seen; grep -c '^[0-9]*$' /tmp/seen"),
            sh("collect", Phase::Always, "ls /proc > /tmp/seen; grep -c '^[0-9]*$' /tmp/seen"),
        ],
    );
    let mut gate = run.gate();
    let mut pipe = run.pipe();
    bench.start(&run);
    pipe.line();
    gate.open("");
    pipe.closed();
    assert_eq!(run.wait().outcome, Outcome::Succeeded);
    // Init, the shell and ls; before that the four of the crowd, too.
    assert_eq!(run.output(Stream::Stdout, 1), b"7\n");
    assert_eq!(run.output(Stream::Stdout, 2), b"3\n");
}

#[test]
fn steps_have_their_time() {
    let Some(bench) = Bench::new() else { return };
    let mut run = bench.run(
        "slow",
        vec![step("slow", Phase::Main, &[PROBE_INSIDE, "crowd", "pipe", "20"]), sh("collect", Phase::Always, "exit 0")],
    );
    run.spec.steps[0].timeout_ms = 300;
    let mut pipe = run.pipe();
    let before = Instant::now();
    bench.start(&run);
    pipe.line();
    pipe.closed();
    let record = run.wait();
    assert_eq!(record.outcome, Outcome::TimedOut { step: Some("slow".to_owned()) });
    assert_eq!(statuses(&record), [StepStatus::TimedOut, StepStatus::Succeeded]);
    assert!(before.elapsed() >= Duration::from_millis(300), "{:?}", before.elapsed());
}

#[test]
fn the_run_has_its_time() {
    let Some(bench) = Bench::new() else { return };
    let mut run = bench.run(
        "wall",
        vec![
            step("first", Phase::Main, &["true"]),
            step("second", Phase::Main, &["sleep", "1000"]),
            step("third", Phase::Main, &["true"]),
        ],
    );
    run.spec.limits.wall_ms = 300;
    let record = bench.finish(&run);
    assert_eq!(record.outcome, Outcome::TimedOut { step: Some("second".to_owned()) });
    assert_eq!(statuses(&record), [StepStatus::Succeeded, StepStatus::TimedOut, StepStatus::NotRun]);
}

#[test]
fn cancelling_kills_a_hundred_unwilling_processes() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.run(
        "cancel",
        vec![
            step("crowd", Phase::Main, &[PROBE_INSIDE, "crowd", "pipe", "100"]),
            sh("collect", Phase::Always, "echo collected"),
        ],
    );
    let mut pipe = run.pipe();
    bench.start(&run);
    pipe.line();
    assert_eq!(control::status(&run.dir).unwrap().step, Some(0));
    control::cancel(&run.dir).unwrap();
    pipe.closed();
    let record = run.wait();
    assert_eq!(record.outcome, Outcome::Cancelled);
    assert_eq!(statuses(&record), [StepStatus::Cancelled, StepStatus::Succeeded]);
    assert!(matches!(control::cancel(&run.dir), Err(control::ControlError::NotRunning { .. })));
}

/// What was said of standing still and going on.
fn said(run: &Run) -> Vec<ControlEvent> {
    let events = run.records().iter().filter_map(Record::control).collect::<Vec<_>>();
    events.into_iter().filter(|event| matches!(event, ControlEvent::Paused | ControlEvent::Resumed)).collect()
}

#[test]
fn a_paused_run_stands_still() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.run("pause", vec![sh("tick", Phase::Main, "exec 3>pipe; while echo tick >&3; do :; done")]);
    let mut pipe = run.pipe();
    bench.start(&run);
    pipe.line();
    run.stand_still();
    pipe.stays_quiet();
    control::resume(&run.dir).unwrap();
    assert!(pipe.wait(crate::bench::WAIT), "it goes on");
    let status = control::status(&run.dir).unwrap();
    assert!(!status.paused && !status.at_rest);
    run.stand_still();
    control::cancel(&run.dir).unwrap();
    pipe.closed();
    assert_eq!(run.wait().outcome, Outcome::Cancelled);
    assert_eq!(said(&run), [ControlEvent::Paused, ControlEvent::Resumed, ControlEvent::Paused]);
}

/// It is said that a run stands still when it does. One that goes on before says neither that nor that it goes on, however often
/// it is asked, and what is cancelled on the way ends.
#[test]
fn a_run_that_goes_on_at_once_does_not_say_that_it_stood_still() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.run("moment", vec![step("fork", Phase::Main, &[PROBE_INSIDE, "forkers", "pipe", "8"])]);
    let mut pipe = run.pipe();
    bench.start(&run);
    pipe.line();
    let mut stream = UnixStream::connect(run.dir.join(run_dir::CONTROL_FILE)).unwrap();
    // Taken at once, so that nobody has looked in between.
    let both = "{\"command\":\"pause\"}\n{\"command\":\"resume\"}\n";
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    for _ in 0..20 {
        stream.write_all(both.as_bytes()).unwrap();
        for _ in 0..2 {
            let mut answer = String::new();
            answers.read_line(&mut answer).unwrap();
            assert_eq!(answer, "{\"answer\":\"done\"}\n");
        }
        pipe.drain();
        assert!(pipe.wait(crate::bench::WAIT), "it goes on");
    }
    stream.write_all(b"{\"command\":\"pause\"}\n{\"command\":\"cancel\"}\n").unwrap();
    pipe.closed();
    assert_eq!(run.wait().outcome, Outcome::Cancelled);
    assert_eq!(said(&run), []);
}

/// A parent that waits for its child to execute, and is not stopped by what is sent to it until then, does nothing meanwhile.
#[test]
fn a_process_that_waits_in_the_kernel_stands_still() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.shell("vforks", "exec 3>pipe; echo ready >&3; exec /probe/sbx-probe vforks");
    let mut pipe = run.pipe();
    bench.start(&run);
    pipe.line();
    for _ in 0..3 {
        run.stand_still();
        control::resume(&run.dir).unwrap();
    }
    control::cancel(&run.dir).unwrap();
    pipe.closed();
    assert_eq!(run.wait().outcome, Outcome::Cancelled);
}

/// Somebody wakes the process of a step, which ends well while the run is to stand still: the next one is not begun meanwhile.
#[test]
fn a_step_whose_turn_comes_in_a_pause_waits_for_its_end() {
    let Some(bench) = Bench::new() else { return };
    let first = "exec 3>pipe; echo ready >&3; exec 3>&-; read line < go";
    let run = bench.run("turn", vec![sh("first", Phase::Main, first), sh("second", Phase::Main, "echo second")]);
    let (mut pipe, mut gate) = (run.pipe(), run.gate());
    let shim = bench.start(&run);
    pipe.line();
    pipe.closed();
    run.stand_still();
    gate.open("");
    // The shim and its init are no processes of the run.
    let [init] = children_of(shim.pid).into_iter().collect::<Vec<_>>().try_into().unwrap();
    for pid in family_of(init).into_iter().filter(|pid| *pid != init) {
        kill(Pid::from_raw(pid), Signal::SIGCONT).unwrap();
    }
    wait_until("the first step ends", || match control::status(&run.dir).unwrap().step {
        Some(1) => Ok(()),
        step => Err(format!("{step:?}")),
    });
    assert!(control::status(&run.dir).unwrap().at_rest);
    wait_until("nothing runs inside", || match family_of(init) {
        family if family.len() == 1 => Ok(()),
        family => Err(format!("{family:?}")),
    });
    control::resume(&run.dir).unwrap();
    assert_eq!(run.wait().outcome, Outcome::Succeeded);
    assert_eq!(run.output(Stream::Stdout, 1), b"second\n");
    assert_eq!(said(&run), [ControlEvent::Paused, ControlEvent::Resumed]);
}

/// Each step restricts itself, which must not keep the steps of one run from each other or from their files.
#[test]
fn steps_reach_what_earlier_steps_left() {
    let Some(bench) = Bench::new() else { return };
    let files = "mkdir a b && echo x > a/f && python3 -c \"import os; os.rename('a/f', 'b/f'); os.link('b/f', 'a/f')\"";
    let server = "python3 -c \"import socket
s = socket.socket(socket.AF_UNIX); s.bind('\\0left'); s.listen(); open('up', 'w'); s.accept()\" & echo $! > pid
until [ -e up ]; do :; done";
    let client = "python3 -c \"import socket; socket.socket(socket.AF_UNIX).connect('\\0left')\" && kill -0 1 || true";
    let other = "tail -f /dev/null & echo $! > other";
    let killer = "kill -9 $(cat other)";
    let steps = [("files", files), ("again", "rm -r a b"), ("server", server), ("client", client)];
    let steps = steps.into_iter().chain([("files again", files), ("other", other), ("killer", killer)]);
    let run = bench.run("left", steps.map(|(name, script)| sh(name, Phase::Main, script)).collect());
    assert_eq!(bench.finish(&run).outcome, Outcome::Succeeded, "{}", run.stderr());
}

#[test]
fn a_missing_workspace_is_named() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.shell("no-workspace", "true");
    std::fs::remove_dir(&run.workspace).unwrap();
    let record = bench.finish(&run);
    match record.outcome {
        Outcome::SetupFailed { step, message, hint } => {
            assert_eq!(step, "mount-workspace");
            assert!(message.contains("No such file or directory"), "{message}");
            assert!(!hint.is_empty());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(record.steps[0].status, StepStatus::NotRun);
}

#[test]
fn symlinks_in_sources_are_refused() {
    let Some(bench) = Bench::new() else { return };
    let mut run = bench.shell("link", "true");
    let link = bench.path("link-to-ws");
    std::os::unix::fs::symlink(&run.workspace, &link).unwrap();
    run.spec.workspace = link;
    match bench.finish(&run).outcome {
        Outcome::SetupFailed { step, hint, .. } => {
            assert_eq!(step, "mount-workspace");
            assert!(hint.contains("symlink"), "{hint}");
        }
        other => panic!("{other:?}"),
    }
}

/// No cgroup is used yet, so level 4 cannot be reached anywhere.
#[test]
fn a_level_that_is_not_reached_refuses_the_run() {
    let Some(bench) = Bench::new() else { return };
    let mut run = bench.shell("level", "touch ran");
    run.spec.required_level = Level::FullWithLimits;
    match bench.finish(&run).outcome {
        Outcome::LevelRefused { required, reached, missing, fix } => {
            assert_eq!((required, reached), (Level::FullWithLimits, Level::Full));
            assert!(missing.contains(&GuaranteeKind::MemoryLimit), "{missing:?}");
            assert!(fix.contains("Delegate=yes"), "{fix}");
        }
        other => panic!("{other:?}"),
    }
    assert!(!run.workspace.join("ran").exists());
}

/// The probes know what the spec shows, wherever that is.
#[test]
fn places_of_the_spec_take_nothing_from_the_level() {
    let Some(bench) = Bench::new() else { return };
    let tools = bench.path("tools");
    std::fs::create_dir(&tools).unwrap();
    let mut run = bench.shell("places", "pwd; ls -d /opt/tools/a /home/u/.cache /top");
    run.spec.workspace_at = "/home/u/work/project".into();
    for target in ["/opt/tools/a", "/home/u/.cache", "/top"] {
        run.spec.mounts.push(ReadOnlyMount { source: tools.clone(), target: target.into() });
    }
    assert_eq!(bench.finish(&run).outcome, Outcome::Succeeded);
    assert_eq!(run.stdout(), "/home/u/work/project\n/home/u/.cache\n/opt/tools/a\n/top\n");
}

#[test]
fn wrong_specs_start_nothing() {
    let Some(bench) = Bench::new() else { return };
    let mut run = bench.shell("wrong", "true");
    run.spec.steps[0].cwd = "../..".into();
    run_dir::prepare(&run.dir, &run.spec).unwrap();
    match bench.spawner.spawn(&run.dir) {
        Err(SpawnError::Failed { reason }) => assert!(reason.contains("cwd of step `main`"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(run_dir::inspect(&run.dir, 1).unwrap(), run_dir::Liveness::NotStarted);
}

/// Plain processes, only where the spec says so by name; their leftovers die all the same.
#[test]
fn without_isolation_the_level_is_zero() {
    let Some(bench) = Bench::new() else { return };
    let script = "exec 3>pipe; (setsid sleep 1000 &); echo ready >&3; pwd";
    let run = bench.plain("plain", vec![sh("main", Phase::Main, script)]);
    let mut pipe = run.pipe();
    bench.start(&run);
    pipe.line();
    pipe.closed();
    let record = run.wait();
    assert_eq!(record.outcome, Outcome::Succeeded);
    assert_eq!(record.level.unwrap().level, Level::None);
    assert_eq!(run.stdout().trim(), run.workspace.to_str().unwrap());
}

/// Runs `run` by the program of people on a kernel without `feature`; returns exit code and complaints.
fn on_lesser_kernel(bench: &Bench, feature: &str, run: &crate::bench::Run) -> (Option<i32>, String) {
    let spec = bench.path(&format!("{feature}-{}.json", u8::from(run.spec.required_level)));
    std::fs::write(&spec, serde_json::to_string(&run.spec).unwrap()).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sbx-probe"));
    command.args(["lesser", feature]).arg(crate::bench::program()).arg("run").arg(spec);
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn without_landlock_only_a_lower_level_runs() {
    let Some(bench) = Bench::new() else { return };
    let mut run = bench.shell("no-landlock", "echo ran >> ran");
    let (code, said) = on_lesser_kernel(&bench, "landlock", &run);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("missing: landlock"), "{said}");
    assert!(said.contains("hint: use a kernel with CONFIG_SECURITY_LANDLOCK"), "{said}");
    assert!(!run.workspace.join("ran").exists());
    run.spec.required_level = Level::Namespaces;
    let (code, said) = on_lesser_kernel(&bench, "landlock", &run);
    assert_eq!(code, Some(0), "{said}");
    assert!(run.workspace.join("ran").exists());
}

#[test]
fn without_user_namespaces_nothing_runs() {
    let Some(bench) = Bench::new() else { return };
    let mut run = bench.shell("no-userns", "touch ran");
    for (level, exit_code) in [(Level::Full, 78), (Level::Landlock, 78), (Level::None, 71)] {
        run.spec.required_level = level;
        let (code, said) = on_lesser_kernel(&bench, "user-namespaces", &run);
        assert_eq!(code, Some(exit_code), "{said}");
    }
    assert!(!run.workspace.join("ran").exists());
}
