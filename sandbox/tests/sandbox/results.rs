//! What a run leaves: its log, byte for byte and bounded, and its artifacts, without following anything out.

use std::path::Path;
use std::process::Command;

use orch_sandbox::artifacts::{Artifact, Bounds, SkipReason, collect, find};
use orch_sandbox::exit_record::Outcome;
use orch_sandbox::log::{ControlEvent, Record, Stream};
use orch_sandbox::remove_tree;
use orch_sandbox::spec::Phase;
use tempfile::TempDir;

use crate::bench::{Bench, program, sh};

#[test]
fn logs_keep_every_byte() {
    let Some(bench) = Bench::new() else { return };
    let script = "head -c 10000000 /dev/zero | tr '\\0' x; echo; printf 'a\\000\\377\\033[2J\\rb'; printf err >&2";
    let run = bench.shell("bytes", script);
    let record = bench.finish(&run);
    assert_eq!(record.outcome, Outcome::Succeeded);
    let stdout = run.output(Stream::Stdout, 0);
    let (long, rest) = stdout.split_at(10_000_000);
    assert!(long.iter().all(|byte| *byte == b'x'));
    assert_eq!(rest, b"\na\x00\xff\x1b[2J\rb");
    assert_eq!(run.output(Stream::Stderr, 0), b"err");
    assert_eq!(record.log_bytes, std::fs::metadata(run.dir.join("log")).unwrap().len());
}

/// A prompt without a newline is shown while the step still runs.
#[test]
fn incomplete_lines_are_shown() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.shell("prompt", "exec 3>pipe; printf 'name? '; echo ready >&3; read line < go; echo $line");
    let mut gate = run.gate();
    let mut pipe = run.pipe();
    bench.start(&run);
    pipe.line();
    let deadline = std::time::Instant::now() + crate::bench::WAIT;
    while run.output(Stream::Stdout, 0).is_empty() {
        assert!(std::time::Instant::now() < deadline, "the prompt is not shown");
        std::thread::yield_now();
    }
    gate.open("me");
    run.wait();
    assert_eq!(run.stdout(), "name? me\n");
}

#[test]
fn r4_floods_are_cut_and_counted() {
    let Some(bench) = Bench::new() else { return };
    let mut run = bench.run(
        "flood",
        vec![sh("flood", Phase::Main, "yes 0123456789 | head -c 22000000"), sh("after", Phase::Always, "true")],
    );
    run.spec.limits.log_bytes_max = 1_100_000;
    let record = bench.finish(&run);
    assert_eq!(record.outcome, Outcome::Succeeded);
    let kept = run.output(Stream::Stdout, 0).len() as u64;
    assert_eq!(kept, 1_100_000);
    assert_eq!(record.dropped_bytes, 22_000_000 - kept);
    assert!(record.log_bytes < 4_000_000, "{}", record.log_bytes);
    let events: Vec<_> = run.records().iter().filter_map(Record::control).collect();
    assert!(events.contains(&ControlEvent::Truncated { limit_bytes: 1_100_000 }), "{events:?}");
    assert_eq!(events.last(), Some(&ControlEvent::Finished { dropped_bytes: record.dropped_bytes }));
}

/// An empty line is one byte for the job and a whole record for the log.
#[test]
fn r4_floods_of_empty_lines_do_not_fill_the_disk() {
    let Some(bench) = Bench::new() else { return };
    let mut run = bench.shell("lines", "yes '' | head -c 2000000");
    run.spec.limits.log_bytes_max = 1_000_000;
    let record = bench.finish(&run);
    assert_eq!(record.outcome, Outcome::Succeeded);
    let size = std::fs::metadata(orch_sandbox::run_dir::log_path(&run.dir)).unwrap().len();
    assert!(size < 4_100_000, "{size}");
    let kept = run.output(Stream::Stdout, 0).len() as u64;
    assert!(kept > 200_000, "{kept}");
    assert_eq!(record.dropped_bytes, 2_000_000 - kept);
}

/// A job that writes what looks like a record writes a payload.
#[test]
fn l2_control_records_cannot_be_forged() {
    let Some(bench) = Bench::new() else { return };
    let forged = r#"{"event":"step_finished","index":0,"name":"main","status":{"kind":"succeeded"}}"#;
    let run = bench.shell("forge", &format!("printf 'ORSBLOG\\n\\003\\000\\n'; echo '{forged}'; exit 1"));
    assert!(matches!(bench.finish(&run).outcome, Outcome::StepFailed { .. }));
    let from_job = |record: &&Record| record.payload == forged.as_bytes();
    let records = run.records();
    let forgery = records.iter().find(from_job).unwrap();
    assert_eq!((forgery.stream, forgery.control()), (Stream::Stdout, None));
}

#[test]
fn people_see_output_and_exit_codes() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.shell("person", "true");
    let spec = bench.path("spec.json");
    std::fs::write(&spec, serde_json::to_string(&run.spec).unwrap()).unwrap();
    let result = |argv: &[&str]| {
        let output = Command::new(program()).arg("run").arg(&spec).arg("--").args(argv).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(result(&["echo", "hello"]), (Some(0), "hello\n".to_owned()));
    assert_eq!(result(&["sh", "-c", "exit 9"]).0, Some(9));
    assert_eq!(result(&["sh", "-c", "kill -9 $$"]).0, Some(137));
    assert_eq!(result(&["no-such-program"]).0, Some(127));
    // Whoever starts it may not want to hear of its children.
    let careless = ["-c", "trap '' CHLD; exec \"$@\"", "sh", program().to_str().unwrap(), "run"];
    let output = Command::new("sh").args(careless).arg(&spec).args(["--", "sh", "-c", "exit 9"]).output().unwrap();
    assert_eq!(output.status.code(), Some(9), "{}", String::from_utf8_lossy(&output.stderr));
    // The spec to begin with says everything that has to be said.
    let example = Command::new(program()).arg("example").arg(&run.workspace).output().unwrap();
    std::fs::write(&spec, example.stdout).unwrap();
    assert_eq!(result(&["pwd"]), (Some(0), "/work\n".to_owned()));
    let unknown = Command::new(program()).arg("run").arg(&spec).arg("pwd").output().unwrap();
    assert_eq!(unknown.status.code(), Some(64));
    assert!(unknown.stderr.starts_with(b"`pwd` after the spec"), "{unknown:?}");
    let help = Command::new(program()).args(["run", "--help"]).output().unwrap();
    assert!(help.status.success() && help.stdout.starts_with(b"usage: "), "{help:?}");
    std::fs::write(&spec, "{\"shell\": true}").unwrap();
    assert_eq!(result(&["true"]).0, Some(125));
}

/// A directory with everything that a collector must not touch, and one good file.
fn hostile_directory() -> TempDir {
    let home = TempDir::new().unwrap();
    let root = home.path().join("ws");
    std::fs::create_dir_all(root.join("deep/er")).unwrap();
    std::fs::write(home.path().join("canary"), "secret").unwrap();
    std::fs::write(root.join("deep/er/good.txt"), "good").unwrap();
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, root.join(name)).unwrap();
    link("../canary", "link.txt");
    link("/proc/self/root/etc/passwd", "magic.txt");
    link("..", "up");
    link("deep", "inner");
    nix::unistd::mkfifo(&root.join("pipe.txt"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    drop(std::os::unix::net::UnixListener::bind(root.join("socket.txt")).unwrap());
    home
}

#[test]
fn a1_a3_artifacts_follow_nothing_and_wait_for_nothing() {
    let home = hostile_directory();
    let root = home.path().join("ws");
    let take = |name: &str| {
        let dest = home.path().join("copy");
        let artifact = collect(&root, Path::new(name), &dest, 1000).unwrap();
        match &artifact {
            Artifact::Collected { .. } => std::fs::remove_file(&dest).unwrap(),
            Artifact::Skipped { .. } => assert!(!dest.exists(), "{name}"),
        }
        artifact
    };
    let skipped = |reason| Artifact::Skipped { reason };
    assert_eq!(
        take("deep/er/good.txt"),
        Artifact::Collected {
            size_bytes: 4,
            sha256: "770e607624d689265ca6c44884d0807d9b054d23c473c106c72be9de08b7376c".to_owned(),
        }
    );
    for name in ["link.txt", "magic.txt", "up/canary", "inner/er/good.txt"] {
        assert_eq!(take(name), skipped(SkipReason::Link), "{name}");
    }
    for name in ["pipe.txt", "socket.txt", "deep"] {
        assert_eq!(take(name), skipped(SkipReason::NotAFile), "{name}");
    }
    for name in ["../canary", "/etc/passwd", ""] {
        assert_eq!(take(name), skipped(SkipReason::BadPath), "{name}");
    }
    assert_eq!(take("none"), skipped(SkipReason::Missing));
    let small = collect(&root, Path::new("deep/er/good.txt"), &home.path().join("copy"), 3).unwrap();
    assert_eq!(small, skipped(SkipReason::TooLarge { max_bytes: 3 }));
}

#[test]
fn patterns_find_what_is_there_within_bounds() {
    let home = hostile_directory();
    let root = home.path().join("ws");
    let found = |pattern: &str, bounds| find(&root, &pattern.parse().unwrap(), bounds).unwrap();
    let names = |pattern: &str| {
        let found = found(pattern, Bounds::default());
        assert!(!found.incomplete);
        found.paths.iter().map(|path| path.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("**/*.txt"), ["deep/er/good.txt", "link.txt", "magic.txt", "pipe.txt", "socket.txt"]);
    assert_eq!(names("up/*"), [""; 0]);
    assert_eq!(names("deep/**"), ["deep/er/good.txt"]);
    assert!(found("**", Bounds { files_max: 2, ..Bounds::default() }).incomplete);
    assert!(found("**", Bounds { depth_max: 1, ..Bounds::default() }).incomplete);
}

/// What a job leaves to be in the way of its own removal.
#[test]
fn f12_workspaces_can_always_be_removed() {
    let Some(bench) = Bench::new() else { return };
    let script = "mkdir -p a/b/c; echo x > a/b/c/f; touch -- -rf 'new\nline'; chmod 000 a/b/c a/b a; ln -s / root";
    let run = bench.shell("remove", script);
    assert_eq!(bench.finish(&run).outcome, Outcome::Succeeded);
    remove_tree(&run.workspace).unwrap();
    assert!(!run.workspace.exists());
}
