//! Secrets of real runs: who gets them, and everything that must not hold a value. Named after cases of the threat model.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

use orch_sandbox::exit_record::{Outcome, StepFailure};
use orch_sandbox::log::Stream;
use orch_sandbox::run_dir::{Liveness, inspect};
use orch_sandbox::spec::{Phase, SecretDelivery, SecretSpec};
use orch_sandbox::{Prewarm, Secrets, SpawnError, Spawner, SpawnerOptions};

use crate::bench::{Bench, Run, WAIT, program, step};

/// One value for the environment and one for a file; with what encodings must care for.
const TOKEN: &str = "tok/en+42=\"hunter 22\"";
const KEY: &[u8] = b"-----BEGIN KEY-----\nc2VjcmV0LWxpbmUtb25l\nc2VjcmV0LWxpbmUtdHdv\n-----END KEY-----\n";

fn secrets() -> Secrets {
    let mut secrets = Secrets::new();
    secrets.insert("token", TOKEN.into()).unwrap();
    secrets.insert("key.pem", KEY.into()).unwrap();
    secrets
}

fn with_secrets(mut run: Run) -> Run {
    run.spec.secrets = vec![
        SecretSpec { name: "token".into(), delivery: SecretDelivery::Env("TOKEN".into()) },
        SecretSpec { name: "key.pem".into(), delivery: SecretDelivery::File },
    ];
    run
}

fn has(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Whether one of the values is in `bytes`, or a line of the key.
fn tells(bytes: &[u8]) -> bool {
    let lines = KEY.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"c2V"));
    has(bytes, TOKEN.as_bytes()) || lines.into_iter().any(|line| has(bytes, line))
}

/// Every file below `dir` with its content.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files(&entry.path()));
        } else if kind.is_file() {
            found.push((entry.path().display().to_string(), std::fs::read(entry.path()).unwrap()));
        }
    }
    found
}

fn finish(bench: &Bench, run: &Run) -> orch_sandbox::exit_record::ExitRecord {
    bench.start_with(run, &secrets());
    run.wait()
}

#[test]
fn a_file_is_there_as_it_was_given_and_cannot_be_changed() {
    let Some(bench) = Bench::new() else { return };
    let script = "cd /run/secrets && stat -c '%a %U' key.pem && ls -a && od -An -v -tu1 key.pem >&2
        for change in 'touch x' 'chmod 600 key.pem' 'rm -f key.pem' 'cp /usr/bin/true x' 'mount -o remount,rw .'; do
            $change 2> /dev/null && echo changed
        done; grep -o ' /run tmpfs [a-z,]*' /proc/self/mounts; true";
    let run = with_secrets(bench.shell("file", script));
    assert_eq!(finish(&bench, &run).outcome, Outcome::Succeeded, "{}", run.stderr());
    let [mode, dot, dots, name, mount] =
        run.stdout().lines().map(str::to_owned).collect::<Vec<_>>().try_into().unwrap();
    assert_eq!([mode, dot, dots, name], ["400 run", ".", "..", "key.pem"]);
    assert!(mount.contains("ro,nosuid,nodev,noexec"), "{mount}");
    // Decimal numbers are nothing that is redacted.
    let bytes: Vec<u8> = run.stderr().split_whitespace().map(|number| number.parse().unwrap()).collect();
    assert_eq!(bytes, KEY);
}

#[test]
fn s1_s2_no_process_of_ours_shows_a_value() {
    let Some(bench) = Bench::new() else { return };
    let script = "exec 3>pipe; echo ready >&3; read line < go";
    let run = with_secrets(bench.shell("proc", script));
    let (mut pipe, mut gate) = (run.pipe(), run.gate());
    let shim = bench.start_with(&run, &secrets());
    pipe.line();
    let mut looked = 0;
    for entry in std::fs::read_dir("/proc").unwrap().map(Result::unwrap) {
        if let Ok(cmdline) = std::fs::read(entry.path().join("cmdline")) {
            assert!(!tells(&cmdline), "{:?}", entry.path());
            looked += usize::from(!cmdline.is_empty());
        }
    }
    assert!(looked > 2, "no process is seen");
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", shim.pid)).unwrap();
    let [init] = children.split_whitespace().map(str::to_owned).collect::<Vec<_>>().try_into().unwrap();
    for pid in [bench.spawner.pid().unwrap().to_string(), shim.pid.to_string(), init] {
        // What belongs to root is what cannot be dumped; root itself sees it, and sees nothing.
        assert_eq!(std::fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid(), 0);
        assert!(!std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| tells(&environ)));
    }
    gate.open("");
    assert_eq!(run.wait().outcome, Outcome::Succeeded);
}

#[test]
fn s3_s4_nothing_that_stays_holds_a_value() {
    let Some(bench) = Bench::new() else { return };
    let script = r#"printf 'plain: %s\n' "$TOKEN"; cat /run/secrets/key.pem >&2
        printf 'code: '; printf %s "x$TOKEN" | base64; printf 'key: '; base64 /run/secrets/key.pem
        printf 'hex:'; printf %s "$TOKEN" | od -An -v -tx1
        printf 'json: '; python3 -c 'import json, os; print(json.dumps(os.environ["TOKEN"]))'
        printf 'url: '; python3 -c 'import os, urllib.parse; print(urllib.parse.quote_plus(os.environ["TOKEN"]))'
        cp /run/secrets/key.pem /tmp/; printf 'end: %s' "$TOKEN"; kill -ABRT $$"#;
    let run = with_secrets(bench.shell("stays", script));
    let record = finish(&bench, &run);
    let aborted = Outcome::StepFailed { step: "main".into(), failure: StepFailure::Signal { signal: 6 } };
    assert_eq!(record.outcome, aborted);
    let stdout = run.stdout();
    let masked = |line: &str| line.contains("[secret token]") || line.contains("[secret key.pem]");
    assert!(stdout.lines().count() == 7 && stdout.lines().all(masked), "{stdout}");
    assert_eq!(run.stderr(), "[secret key.pem]\n");
    let kept = [files(&run.dir), files(&run.workspace)].concat();
    assert!(kept.iter().any(|(name, _)| name.ends_with("/spec.json")), "{kept:?}");
    for (name, bytes) in kept {
        assert!(!tells(&bytes), "{name}");
    }
    assert!(std::fs::read_dir(&run.workspace).unwrap().next().is_none(), "a core file was left");
}

/// A line that stays incomplete is shown after a while, but not what may be the beginning of a value.
#[test]
fn s3_an_incomplete_line_tells_no_beginning() {
    let Some(bench) = Bench::new() else { return };
    let script = r#"printf 'password: '; printf %s "$TOKEN" | head -c 12; echo ready > pipe; read line < go
        printf %s "$TOKEN" | tail -c +13; echo"#;
    let run = with_secrets(bench.shell("partial", script));
    let (mut pipe, mut gate) = (run.pipe(), run.gate());
    bench.start_with(&run, &secrets());
    pipe.line();
    let deadline = Instant::now() + WAIT;
    while run.output(Stream::Stdout, 0).is_empty() {
        assert!(Instant::now() < deadline, "the line is never shown");
        std::thread::yield_now();
    }
    assert_eq!(run.stdout(), "password: ");
    gate.open("");
    assert_eq!(run.wait().outcome, Outcome::Succeeded);
    assert_eq!(run.stdout(), "password: [secret token]\n");
}

#[test]
fn s5_the_environment_is_exactly_that_of_the_spec() {
    let Some(bench) = Bench::new() else { return };
    let mut run = with_secrets(bench.run("env", vec![step("env", Phase::Main, &["env"])]));
    run.spec.env.insert("MORE".into(), "1".into());
    assert_eq!(finish(&bench, &run).outcome, Outcome::Succeeded);
    let stdout = run.stdout();
    let mut lines: Vec<&str> = stdout.lines().collect();
    lines.sort_unstable();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(lines, ["HOME=/home/run", "LANG=C.UTF-8", "MORE=1", path, "TMPDIR=/tmp", "TOKEN=[secret token]"]);
}

#[test]
fn s6_another_run_has_no_secrets() {
    let Some(bench) = Bench::new() else { return };
    let first = with_secrets(bench.shell("first", "echo ready > pipe; read line < go"));
    let (mut pipe, mut gate) = (first.pipe(), first.gate());
    bench.start_with(&first, &secrets());
    pipe.line();
    let second =
        bench.shell("second", "ls /run/secrets; ls /run; cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep -c TOKEN");
    assert_ne!(bench.finish(&second).outcome, Outcome::Succeeded);
    assert_eq!(second.stdout(), "hostname\nhosts\nresolv.conf\n0\n");
    assert!(second.stderr().contains("/run/secrets"), "{}", second.stderr());
    gate.open("");
    assert_eq!(first.wait().outcome, Outcome::Succeeded);
}

#[test]
fn values_that_do_not_fit_the_spec_start_nothing() {
    let Some(bench) = Bench::new() else { return };
    let refused = |run: &Run, secrets: &Secrets, wanted: &str| {
        orch_sandbox::run_dir::prepare(&run.dir, &run.spec).unwrap();
        match bench.spawner.spawn_with(&run.dir, secrets) {
            Err(SpawnError::Failed { reason }) => assert!(reason.contains(wanted), "{reason}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(inspect(&run.dir, 1).unwrap(), Liveness::NotStarted);
    };
    let mut run = with_secrets(bench.shell("fit", "true"));
    refused(&run, &Secrets::new(), "secret `token` of the spec has no value");
    let mut more = secrets();
    more.insert("more", b"value".to_vec()).unwrap();
    refused(&run, &more, "secret `more` is not in the spec");
    run.spec.steps[0].argv.push(format!("--token={TOKEN}"));
    refused(&run, &secrets(), "the value of secret `token` is in the spec itself");
    run.spec.steps[0].argv.pop();
    assert_eq!(finish(&bench, &run).outcome, Outcome::Succeeded, "a refusal takes nothing");
}

/// Length of a piece of a value that is looked for in memory.
const PIECE: usize = 16;
/// What such a piece begins with, and nothing else in a value.
const MARK: u8 = 0xf5;

/// A value that occurs by chance nowhere, so long that what is made of it outgrows the memory that it gets more than once.
fn rare_value() -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u8::try_from(state % u64::from(MARK)).unwrap()
    };
    (0..60_000).map(|at| if at % PIECE == 0 { MARK } else { next() }).collect()
}

/// A place in the writable memory of a process where a piece of `value` is: its bytes at equal distances, as they are in a text
/// or in a table. Fails where this process may not look.
fn piece_in(pid: i32, value: &[u8]) -> std::io::Result<Option<String>> {
    let pieces: BTreeSet<&[u8]> = value.chunks_exact(PIECE).collect();
    let mem = File::open(format!("/proc/{pid}/mem"))?;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        mem.read_exact_at(&mut bytes, start)?;
        for at in (0..bytes.len()).filter(|at| bytes[*at] == MARK) {
            let is_piece = |distance: &usize| {
                let piece: Vec<u8> = bytes[at..].iter().step_by(*distance).take(PIECE).copied().collect();
                pieces.contains(piece.as_slice())
            };
            if let Some(distance) = (1..=64).find(is_piece) {
                return Ok(Some(format!("{distance} apart at {at} of {line}")));
            }
        }
    }
    Ok(None)
}

fn children_of(pid: i32) -> Vec<i32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// S2: what init was forked with, and what it has written to files, is nowhere in its memory any more, freed or not.
#[test]
fn s2_the_memory_of_init_holds_no_value() {
    let Some(mut bench) = Bench::new() else { return };
    // One that is prepared ahead never had a value.
    let prewarm = Prewarm { slots: 0, networks: 0 };
    bench.spawner = Spawner::start(program(), SpawnerOptions { prewarm, ..SpawnerOptions::default() }).unwrap();
    let waiting = |name: &str| {
        let mut run = bench.shell(name, "exec 3>pipe; echo ready >&3; read line < go");
        run.spec.secrets = vec![SecretSpec { name: "rare".into(), delivery: SecretDelivery::File }];
        (run.pipe(), run.gate(), run)
    };
    let mut secrets = Secrets::new();
    secrets.insert("rare", rare_value()).unwrap();
    let look = |shim: i32| {
        let [init] = children_of(shim).try_into().unwrap();
        match piece_in(init, &rare_value()) {
            Ok(found) => {
                assert_eq!(found, None);
                let in_shim = piece_in(shim, &rare_value()).unwrap();
                assert_ne!(in_shim, None, "it has the value to take it out of the log, but this test does not see it");
            }
            Err(error) => eprintln!("skipped: only root may look into that: {error}"),
        }
    };
    let (mut pipe, mut gate, run) = waiting("daemon");
    let shim = bench.start_with(&run, &secrets);
    pipe.line();
    look(shim.pid);
    gate.open("");
    assert_eq!(run.wait().outcome, Outcome::Succeeded);

    // The program for people reads the value itself.
    let (mut pipe, mut gate, run) = waiting("person");
    let (spec, value) = (bench.path("spec.json"), bench.path("value"));
    std::fs::write(&spec, serde_json::to_string(&run.spec).unwrap()).unwrap();
    std::fs::write(&value, rare_value()).unwrap();
    let given = format!("rare={}", value.display());
    let mut person = Command::new(program()).arg("run").arg(&spec).args(["--secret", &given]).spawn().unwrap();
    pipe.line();
    look(i32::try_from(person.id()).unwrap());
    gate.open("");
    assert!(person.wait().unwrap().success());
}

/// The program for people, with a value from a pipe.
#[test]
fn a_person_gives_secrets_by_descriptor() {
    let Some(bench) = Bench::new() else { return };
    let mut run = bench.shell("person", "printf 'it is '; cat /run/secrets/pin");
    run.spec.secrets = vec![SecretSpec { name: "pin".into(), delivery: SecretDelivery::File }];
    let spec = bench.path("spec.json");
    std::fs::write(&spec, serde_json::to_string(&run.spec).unwrap()).unwrap();
    let value = bench.path("value");
    std::fs::write(&value, "hunter22\n").unwrap();
    let call = |arguments: &[&str]| -> Output {
        let stdin = OwnedFd::from(File::open(&value).unwrap());
        Command::new(program()).arg("run").arg(&spec).args(arguments).stdin(stdin).output().unwrap()
    };
    let given = call(&["--secret", "pin=/dev/stdin"]);
    assert_eq!(String::from_utf8_lossy(&given.stdout), "it is [secret pin]\n", "{given:?}");
    let complaint = |output: Output| (output.status.code(), String::from_utf8(output.stderr).unwrap());
    let (code, text) = complaint(call(&[]));
    assert!(code == Some(125) && text.contains("secret `pin` of the spec has no value"), "{text}");
    let (code, text) = complaint(call(&["--secret", "pin=/nonexistent"]));
    assert!(code == Some(125) && text.contains("/nonexistent"), "{text}");
    assert_eq!(complaint(call(&["--secret", "pin"])).0, Some(64));
}
