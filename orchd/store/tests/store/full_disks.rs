//! Full disks: a clear error, nothing half done, reads go on, and writes work again when there is space.

use std::io::{BufRead as _, BufReader, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use orch_core::entity::Project;
use orch_core::view::{Filter, View as _};
use orch_store::{ExecuteError, FailPoint, Faults, Injected};

use crate::crashes::{child, child_path};
use crate::support::{Bed, assert_sound, create, envelope, open, open_in_child, wait};

#[test]
fn a_database_that_may_not_grow_says_so_and_loses_nothing() {
    let mut bed = Bed::with_faults(Faults { pages_max: Some(64), ..Faults::default() });
    let mut done = 0;
    let error = loop {
        match bed.store().execute_blocking(envelope(done, create(&format!("p{done}")))) {
            Ok(_) => done += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ExecuteError::StorageFull(_)), "{error:?}");
    assert!(done > 10);
    let count = |bed: &Bed| bed.store().read(|view| view.list::<Project>(&Filter::default())).unwrap().len() as u128;
    assert_eq!(count(&bed), done);
    assert_sound(bed.store());
    bed.reopen();
    assert!(!bed.store().execute_blocking(envelope(done, create(&format!("p{done}")))).unwrap().duplicate);
    assert_eq!(count(&bed), done + 1);
    assert_sound(bed.store());
}

/// Who waits for nothing but for space does not have to send commands to find out.
#[test]
fn an_outage_is_told_and_ends_by_itself() {
    let is_full = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_full);
    let at = move |point| {
        let fails = point == FailPoint::Committing && seen.load(Ordering::SeqCst);
        if fails { Err(Injected::Full) } else { Ok(()) }
    };
    let bed = Bed::with_faults(Faults { at: Some(Arc::new(at)), ..Faults::default() });
    let mut outage = bed.store().outage();
    bed.store().execute_blocking(envelope(1, create("p1"))).unwrap();
    assert_eq!(*outage.borrow_and_update(), None);
    is_full.store(true, Ordering::SeqCst);
    for id in 2..4 {
        bed.now_us.fetch_add(1, Ordering::SeqCst);
        let error = bed.store().execute_blocking(envelope(id, create("p2"))).unwrap_err();
        assert!(matches!(error, ExecuteError::StorageFull(_)), "{error:?}");
    }
    is_full.store(false, Ordering::SeqCst);
    let began = wait(outage.wait_for(Option::is_some)).map(|found| found.clone()).unwrap();
    // Where the second failure came before the look, it is the same outage or a new one.
    assert!(began.as_ref().is_some_and(|outage| outage.is_full && outage.reason.contains("fail point")), "{began:?}");
    wait(outage.wait_for(Option::is_none)).map(drop).unwrap();
    assert!(!bed.store().execute_blocking(envelope(2, create("p2"))).unwrap().duplicate);
    assert_sound(bed.store());
}

#[test]
#[ignore = "the process of `a_file_that_cannot_grow_is_no_end`, which limits its files"]
fn writes_beyond_its_limit() {
    // Blocked, the signal leaves the failed write to be reported as an error. The store's thread inherits this.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGXFSZ);
    signals.thread_block().unwrap();
    let store = open_in_child(&child_path());
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, 512 << 10, hard).unwrap();
    let (mut id, mut failures) = (0, 0);
    // Opened anew after a failure, the store brings its write-ahead log home and may get some further.
    while failures < 5 {
        match store.execute_blocking(envelope(id, create(&format!("p{id}")))) {
            Ok(_) => (id, failures) = (id + 1, 0),
            Err(_) => failures += 1,
        }
    }
    let error = store.execute_blocking(envelope(id, create(&format!("p{id}")))).unwrap_err();
    let count = store.read(|view| view.list::<Project>(&Filter::default())).unwrap().len();
    writeln!(std::io::stdout(), "\nfailed {id} {count} {}", matches!(error, ExecuteError::Panicked { .. })).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, hard, hard).unwrap();
    for id in id..id + 50 {
        assert!(!store.execute_blocking(envelope(id, create(&format!("p{id}")))).unwrap().duplicate);
    }
    writeln!(std::io::stdout(), "recovered").unwrap();
}

#[test]
fn a_file_that_cannot_grow_is_no_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orch.db");
    let mut child = child("full_disks::writes_beyond_its_limit", &path);
    let lines: Vec<String> = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok).collect();
    assert!(child.wait().unwrap().success(), "{lines:?}");
    let failed = lines.iter().find_map(|line| line.strip_prefix("failed ")).expect("it reached the limit");
    let words: Vec<&str> = failed.split(' ').collect();
    assert_eq!((words[0], words[2]), (words[1], "false"), "acknowledged, found and whether it panicked: {words:?}");
    assert!(lines.iter().any(|line| line == "recovered"), "{lines:?}");
    assert_sound(&open(&path, 6));
}
