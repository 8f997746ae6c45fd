//! Bad input: what is refused before anything runs, with its reason, by whichever way it comes.
//!
//! The daemon's way is the spawner, the other one is the program for people; both must say the same.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use orch_sandbox::exit_record::Outcome;
use orch_sandbox::run_dir::{self, Liveness, inspect};
use orch_sandbox::spec::{Phase, ReadOnlyMount};
use orch_sandbox::{Level, SpawnError, Spawner, SpawnerOptions};
use serde_json::{Value, json};

use crate::bench::{Bench, Run, program, sh, write_program};

/// Gives `text` as a spec to both ways and returns what they say.
fn refused(bench: &Bench, run: &Run, text: &str) -> [String; 2] {
    run_dir::prepare(&run.dir, &run.spec).unwrap();
    std::fs::write(run.dir.join("spec.json"), text).unwrap();
    let spawned = match bench.spawner.spawn(&run.dir) {
        Err(SpawnError::Failed { reason }) => reason,
        other => panic!("{other:?}: {text}"),
    };
    assert_eq!(inspect(&run.dir, 1).unwrap(), Liveness::NotStarted);
    let output = Command::new(program()).arg("run").arg(run.dir.join("spec.json")).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(!run.workspace.join("ran").exists(), "{text}");
    [spawned, said]
}

#[test]
fn bad_specs_are_refused_with_the_reason() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.shell("bad", "touch ran");
    let host = |host: &str| json!({"allow": {"transparent": false, "entries": [{"host": host, "ports": [443]}]}});
    let listener = json!({"name": "a", "port": 1, "variable": "A", "backlog": 9});
    for (place, value, reason) in [
        ("/privileged", json!(true), "unknown field `privileged`"),
        ("/limits/swap_bytes", json!(1), "unknown field `swap_bytes`"),
        ("/steps/0/user", json!("root"), "unknown field `user`"),
        ("/mounts/0/writable", json!(true), "unknown field `writable`"),
        ("/listeners", json!([listener]), "unknown field `backlog`"),
        ("/secrets", json!([{"name": "a", "delivery": "file", "value": "x"}]), "unknown field `value`"),
        ("/isolation", json!("chroot"), "unknown variant `chroot`"),
        ("/required_level", json!(9), "isolation level is between 0 and 4"),
        ("/mounts/0/source", json!("usr/share"), "`mounts.source` is not an absolute path"),
        ("/mounts/0/target", json!("probe"), "`mounts.target` is not an absolute path"),
        ("/mounts/0/source", json!("/usr/../root"), "`mounts.source` is not an absolute path"),
        ("/mounts/0/source", json!("/usr\0/x"), "`mounts.source` is not an absolute path"),
        ("/workspace", json!("ws"), "`workspace` is not an absolute path"),
        ("/out", json!("out"), "`out` is not an absolute path"),
        ("/workspace_base", json!(["base"]), "`workspace_base` is not an absolute path"),
        ("/egress", host("*"), "`*` stands only"),
        ("/egress", host("*.com"), "at least two labels"),
        ("/egress", host("a\0.example.com"), "cannot be allowed"),
        ("/egress", host("10.0.0.1"), "is an address"),
        ("/egress", host("com"), "at least two labels"),
        ("/egress", json!({"allow": {"transparent": false, "entries": []}}), "list is empty"),
    ] {
        let mut spec = serde_json::to_value(&run.spec).unwrap();
        let (parent, name) = place.rsplit_once('/').unwrap();
        spec.pointer_mut(parent).and_then(Value::as_object_mut).unwrap().insert(name.to_owned(), value);
        for said in refused(&bench, &run, &spec.to_string()) {
            assert!(said.contains(reason), "{place}: {said}");
        }
    }
    let good = serde_json::to_string(&run.spec).unwrap();
    let twice = good.replacen('{', "{\"name\":\"b\",", 1);
    for (text, reason) in [(twice.as_str(), "duplicate field `name`"), (&good[..good.len() - 1], "EOF"), ("", "EOF")] {
        for said in refused(&bench, &run, text) {
            assert!(said.contains(reason), "{said}");
        }
    }
}

/// Whether the link is the last part of the path or one before it, and whatever the path is for.
#[test]
fn links_in_any_path_are_refused() {
    let Some(bench) = Bench::new() else { return };
    let (real, link) = (bench.path("real"), bench.path("link"));
    std::fs::create_dir_all(real.join("below")).unwrap();
    symlink(&real, &link).unwrap();
    type Change = fn(&mut Run, PathBuf);
    let changes: [(&str, Change); 4] = [
        ("mount-workspace", |run, path| run.spec.workspace = path),
        ("mount-out", |run, path| run.spec.out = Some(path)),
        ("mount `/x`", |run, path| run.spec.mounts.push(ReadOnlyMount { source: path, target: "/x".into() })),
        ("mount-workspace", |run, path| run.spec.workspace_base = Some(vec![path])),
    ];
    for (index, (wanted, change)) in changes.into_iter().enumerate() {
        for (end, path) in [("whole", link.clone()), ("below", link.join("below"))] {
            let mut run = bench.shell(&format!("link-{index}-{end}"), "touch ran");
            change(&mut run, path);
            match bench.finish(&run).outcome {
                Outcome::SetupFailed { step, hint, .. } => {
                    assert_eq!(step, wanted);
                    assert!(hint.contains("symlink"), "{hint}");
                }
                other => panic!("{wanted} {end}: {other:?}"),
            }
            let (code, said) = by_a_person(&bench, &run, &[]);
            assert_eq!(code, Some(71), "{said}");
            assert!(said.contains(wanted) && said.contains("hint: there is a symlink"), "{said}");
            assert_eq!(std::fs::read_dir(real.join("below")).unwrap().count(), 0);
        }
    }
}

/// Runs it by the program for people, itself started by `through`.
fn by_a_person(bench: &Bench, run: &Run, through: &[&str]) -> (Option<i32>, String) {
    let spec = bench.path(&format!("{}.json", run.spec.name));
    std::fs::write(&spec, serde_json::to_string(&run.spec).unwrap()).unwrap();
    let words = [through, &[program().to_str().unwrap(), "run", spec.to_str().unwrap()]].concat();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// A spawner on a kernel that seems to lack `feature`.
fn spawner_without(bench: &Bench, feature: &str) -> Spawner {
    let script = bench.path(&format!("without-{feature}"));
    let (probe, program) = (Path::new(env!("CARGO_BIN_EXE_sbx-probe")), program());
    write_program(
        &script,
        &format!("#!/bin/sh\nexec '{}' lesser {feature} '{}' \"$@\"\n", probe.display(), program.display()),
    );
    Spawner::start(&script, SpawnerOptions::default()).unwrap()
}

/// M4 by the daemon's way: what the kernel lacks is named, and only a spec that asks for less runs with less.
#[test]
fn m4_a_spawner_without_landlock_runs_only_what_asks_for_less() {
    let Some(mut bench) = Bench::new() else { return };
    bench.spawner = spawner_without(&bench, "landlock");
    for (level, index) in [(Level::Full, 0), (Level::Full, 1), (Level::Namespaces, 2), (Level::Namespaces, 3)] {
        let mut run = bench.shell(&format!("less-{index}"), "touch ran");
        run.spec.required_level = level;
        let record = bench.finish(&run);
        assert_eq!(record.level.map(|report| report.level), Some(Level::Namespaces));
        match record.outcome {
            Outcome::Succeeded => assert_eq!(level, Level::Namespaces),
            Outcome::LevelRefused { required, reached, missing, fix } => {
                assert_eq!((level, required, reached), (Level::Full, Level::Full, Level::Namespaces));
                assert_eq!(missing.iter().map(ToString::to_string).collect::<Vec<_>>(), ["landlock"]);
                assert!(fix.contains("CONFIG_SECURITY_LANDLOCK"), "{fix}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(run.workspace.join("ran").exists(), level == Level::Namespaces);
    }
}

#[test]
fn m4_a_spawner_without_user_namespaces_runs_only_what_asks_for_none() {
    let Some(mut bench) = Bench::new() else { return };
    bench.spawner = spawner_without(&bench, "user-namespaces");
    for level in [Level::Landlock, Level::Namespaces, Level::Full, Level::FullWithLimits] {
        let mut run = bench.shell(&format!("none-{}", u8::from(level)), "touch ran");
        run.spec.required_level = level;
        match bench.finish(&run).outcome {
            Outcome::LevelRefused { required, reached, missing, fix } => {
                assert_eq!((required, reached), (level, Level::None));
                assert!(!missing.is_empty() && fix.contains("user namespaces"), "{missing:?}: {fix}");
            }
            other => panic!("{other:?}"),
        }
        assert!(!run.workspace.join("ran").exists());
    }
    // Not a sandbox that is worth nothing, but none, by name.
    let mut run = bench.shell("none-sandboxed", "touch ran");
    run.spec.required_level = Level::None;
    assert!(matches!(bench.finish(&run).outcome, Outcome::SetupFailed { step, .. } if step == "namespaces"));
    assert!(!run.workspace.join("ran").exists());
    let run = bench.plain("none-plain", vec![sh("main", Phase::Main, "touch ran")]);
    assert_eq!(bench.finish(&run).outcome, Outcome::Succeeded);
    assert!(run.workspace.join("ran").exists());
}
