//! Crashes: what was acknowledged is there, what was not is there whole or not at all.
//!
//! Two ways. A copy of the files at every fail point is what a crash there leaves; and a child process that writes is
//! killed at any moment.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use orch_core::ids::IdSource;
use orch_core::rehearsal::{random_command, violations};
use orch_store::{FailPoint, Faults, Store};

use crate::support::{Bed, assert_sound, create, envelope, open, open_in_child};

/// Copies a database as it lies on the disk.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for suffix in ["", "-wal"] {
        let name = format!("orch.db{suffix}");
        std::fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

#[test]
fn a_crash_after_any_statement_leaves_whole_commands_only() {
    let copies = Arc::new(tempfile::tempdir().unwrap());
    let taken: Arc<Mutex<Vec<(PathBuf, FailPoint)>>> = Arc::default();
    let source: Arc<Mutex<Option<PathBuf>>> = Arc::default();
    let at = {
        let (copies, taken, source) = (Arc::clone(&copies), Arc::clone(&taken), Arc::clone(&source));
        move |point| {
            if let Some(source) = &*source.lock().unwrap() {
                let mut taken = taken.lock().unwrap();
                let to = copies.path().join(taken.len().to_string());
                copy(source, &to);
                taken.push((to, point));
            }
            Ok(())
        }
    };
    let bed = Bed::with_faults(Faults { at: Some(Arc::new(at)), ..Faults::default() });
    let mut dice = IdSource::seeded([5; 32]);
    // Heads of the log after each acknowledged command: the only states that a crash may leave.
    let mut heads = BTreeSet::from([0]);
    for id in 0..42 {
        if id == 28 {
            *source.lock().unwrap() = Some(bed.dir.path().to_owned());
        }
        let command = bed.store().read(|view| random_command(view, &mut dice)).unwrap();
        if let Ok(done) = bed.store().execute_blocking(envelope(id, command)) {
            heads.insert(done.last_seq);
        }
    }
    let taken = std::mem::take(&mut *taken.lock().unwrap());
    assert!(taken.len() > 30, "{}", taken.len());
    for (dir, point) in taken {
        let store = open(&dir.join("orch.db"), 3);
        let (seq, wrong) = store.read(|view| Ok((view.seq(), violations(view)?))).unwrap();
        assert!(heads.contains(&seq), "a crash at {point:?} left {seq}");
        assert_eq!(wrong, Vec::<String>::new(), "after a crash at {point:?}");
        assert_sound(&store);
    }
}

const CHILD: &str = "ORCH_STORE_TEST_CHILD";

/// Runs a test of this binary as a process of its own, with the path of a database.
pub(crate) fn child(test: &str, path: &Path) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The database of a child.
pub(crate) fn child_path() -> PathBuf {
    PathBuf::from(std::env::var_os(CHILD).expect("only run by another test"))
}

#[test]
#[ignore = "the process that `acknowledged_commands_survive_kill_9` kills"]
fn writes_until_it_is_killed() {
    let store = open_in_child(&child_path());
    let first = u128::from(store.read(|view| Ok(view.seq())).unwrap()) * 1_000;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store: Store = store.clone();
            scope.spawn(move || {
                for at in 0_u128.. {
                    let id = first + at * 4 + thread;
                    store.execute_blocking(envelope(id, create(&format!("p{id}")))).unwrap();
                    // One write, so that no line is torn.
                    std::io::stdout().write_all(format!("acknowledged {id}\n").as_bytes()).unwrap();
                }
            });
        }
    });
}

#[test]
fn acknowledged_commands_survive_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orch.db");
    for round in 0..8_u8 {
        let mut child = child("crashes::writes_until_it_is_killed", &path);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = Vec::new();
        let id_of = |line: String| line.strip_prefix("acknowledged ").and_then(|id| id.parse::<u128>().ok());
        let enough = (1 + usize::from(round) * 37) % 120 + 1;
        while acknowledged.len() < enough {
            acknowledged.extend(id_of(lines.next().unwrap().unwrap()));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had said before the end is still in the pipe.
        acknowledged.extend(lines.map_while(Result::ok).filter_map(id_of));
        let store = open(&path, 100 + round);
        assert_sound(&store);
        for id in acknowledged {
            let again = store.execute_blocking(envelope(id, create(&format!("p{id}")))).unwrap();
            assert!(again.duplicate, "{id} was acknowledged and is lost");
        }
    }
}
