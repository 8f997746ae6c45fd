//! Group commit: what waits together is committed together, and fails alone where it may.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use orch_core::entity::Project;
use orch_core::view::{Filter, View as _};
use orch_store::{BATCH_COMMANDS_MAX, ExecuteError, FailPoint, Faults, Injected, WRITE_QUEUE_MAX};

use crate::support::{Bed, assert_sound, create, envelope};

/// Faults that hold the writer when its first transaction is open, and what lets it go on.
fn held() -> (Faults, std::sync::mpsc::SyncSender<()>, std::sync::mpsc::Receiver<()>) {
    let (go, wait) = sync_channel::<()>(1);
    let (tell, reached) = sync_channel::<()>(1);
    let wait = Mutex::new(Some(wait));
    let at = move |point: FailPoint| {
        if point == FailPoint::Begun
            && let Some(wait) = wait.lock().unwrap().take()
        {
            tell.send(()).unwrap();
            wait.recv().unwrap();
        }
        Ok(())
    };
    (Faults { at: Some(Arc::new(at)), ..Faults::default() }, go, reached)
}

#[test]
fn what_waits_together_is_committed_together() {
    let (faults, go, reached) = held();
    let bed = Bed::with_faults(faults);
    let first = bed.store().execute(envelope(0, create("p0")));
    reached.recv().unwrap();
    let count = BATCH_COMMANDS_MAX as u128 + 200;
    let rest: Vec<_> = (1..count).map(|id| bed.store().execute(envelope(id, create(&format!("p{id}"))))).collect();
    go.send(()).unwrap();
    for answer in std::iter::once(block(first)).chain(rest.into_iter().map(block)) {
        assert!(!answer.unwrap().duplicate);
    }
    let stats = bed.store().stats();
    assert_eq!(stats.commands, count as u64);
    assert!(stats.commits <= 3, "{stats:?}");
    let follow = bed.store().subscribe();
    assert_eq!(*follow.borrow(), count as u64);
    assert_sound(bed.store());
}

#[test]
fn many_threads_share_commits_and_each_gets_its_own_answer() {
    let bed = Bed::new();
    let (threads, each) = (8_u128, 40_u128);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let store = bed.store().clone();
            scope.spawn(move || {
                for at in 0..each {
                    let id = thread * each + at;
                    let done = store.execute_blocking(envelope(id, create(&format!("p{id}")))).unwrap();
                    let project = done.touched[0].1.parse().unwrap();
                    let found = store.read(|view| view.get::<Project>(project)).unwrap().unwrap();
                    assert_eq!(found.slug, format!("p{id}"));
                }
            });
        }
    });
    let stats = bed.store().stats();
    assert_eq!(u128::from(stats.commands), threads * each);
    assert!(stats.commits < stats.commands, "{stats:?}");
    assert_sound(bed.store());
}

#[test]
fn a_full_queue_refuses_at_once_and_takes_again_later() {
    let (faults, go, reached) = held();
    let bed = Bed::with_faults(faults);
    let first = bed.store().execute(envelope(0, create("p0")));
    reached.recv().unwrap();
    let queued: Vec<_> = (0..WRITE_QUEUE_MAX as u128).map(|_| bed.store().execute(envelope(0, create("p0")))).collect();
    let error = block(bed.store().execute(envelope(1, create("p1")))).unwrap_err();
    assert!(matches!(error, ExecuteError::Busy { waiting: WRITE_QUEUE_MAX }), "{error:?}");
    go.send(()).unwrap();
    assert!(!block(first).unwrap().duplicate);
    for answer in queued {
        assert!(block(answer).unwrap().duplicate);
    }
    bed.store().execute_blocking(envelope(1, create("p1"))).unwrap();
    assert_sound(bed.store());
}

#[test]
fn a_panic_in_a_command_fails_that_command_only() {
    let seen = AtomicU64::new(0);
    let at = move |point: FailPoint| {
        // The second command panics with a row written and its event appended.
        assert!(point != FailPoint::Appended || seen.fetch_add(1, Ordering::SeqCst) != 1, "on purpose");
        Ok(())
    };
    let bed = Bed::with_faults(Faults { at: Some(Arc::new(at)), ..Faults::default() });
    bed.store().execute_blocking(envelope(1, create("first"))).unwrap();
    let error = bed.store().execute_blocking(envelope(2, create("second"))).unwrap_err();
    assert!(matches!(error, ExecuteError::Panicked { .. }), "{error:?}");
    assert_sound(bed.store());
    let third = bed.store().execute_blocking(envelope(2, create("second"))).unwrap();
    assert_eq!((third.duplicate, third.last_seq), (false, 2));
    assert_eq!(bed.store().stats().failed_commits, 0);
    assert_sound(bed.store());
}

/// What was executed before a command that fails with something written is executed again, once, without it.
#[test]
fn a_panic_in_the_middle_of_a_batch_fails_that_command_only() {
    let (held, go, reached) = held();
    let appended = AtomicU64::new(0);
    let at = move |point: FailPoint| {
        // The fifth command panics. Then four are executed again, and after them the ninth panics, with a savepoint.
        let panics = point == FailPoint::Appended && matches!(appended.fetch_add(1, Ordering::SeqCst), 4 | 12);
        assert!(!panics, "on purpose");
        held.at.as_ref().map_or(Ok(()), |at| at(point))
    };
    let bed = Bed::with_faults(Faults { at: Some(Arc::new(at)), ..Faults::default() });
    let first = bed.store().execute(envelope(0, create("p0")));
    reached.recv().unwrap();
    // Every second one after the first is refused without anything written, and is no reason to begin anew.
    let rest = (1..20).map(|id| bed.store().execute(envelope(id, create(&format!("p{id}")))));
    let again = (0..20).map(|id| bed.store().execute(envelope(100 + id, create("p0"))));
    let answers: Vec<_> = rest.zip(again).flat_map(|(new, again)| [new, again]).collect();
    go.send(()).unwrap();
    let mut panicked = Vec::new();
    let first = block(first).unwrap();
    assert_eq!((first.first_seq, first.last_seq), (Some(1), 1));
    let mut next = 2;
    for (at, answer) in answers.into_iter().enumerate() {
        match block(answer) {
            Ok(done) => {
                assert_eq!((done.first_seq, done.duplicate, at % 2), (Some(next), false, 0));
                next += 1;
            }
            Err(ExecuteError::Panicked { .. }) => panicked.push(at / 2 + 1),
            Err(error) => assert!(matches!(error, ExecuteError::Rejected(_)) && at % 2 == 1, "{error:?}"),
        }
    }
    assert_eq!(panicked, [4, 8]);
    let stats = bed.store().stats();
    assert_eq!((stats.commits, stats.failed_commits), (1, 0));
    assert_sound(bed.store());
    for id in [4, 8] {
        let done = bed.store().execute_blocking(envelope(id, create(&format!("p{id}")))).unwrap();
        assert!(!done.duplicate);
    }
    assert_eq!(bed.store().read(|view| view.list::<Project>(&Filter::default())).unwrap().len(), 20);
    assert_sound(bed.store());
}

/// All of a batch fail together when it cannot be committed; nothing of it is there, and the same commands work later.
#[test]
fn a_failed_commit_fails_its_whole_batch_and_the_writer_lives_on() {
    for injected in [Injected::Full, Injected::Broken] {
        for fails_at in [FailPoint::Begun, FailPoint::Applied, FailPoint::Finished, FailPoint::Committing] {
            let broken = Arc::new(AtomicBool::new(false));
            let seen = Arc::clone(&broken);
            let at = move |point| {
                if point == fails_at && seen.load(Ordering::SeqCst) { Err(injected) } else { Ok(()) }
            };
            let bed = Bed::with_faults(Faults { at: Some(Arc::new(at)), ..Faults::default() });
            bed.store().execute_blocking(envelope(0, create("before"))).unwrap();
            broken.store(true, Ordering::SeqCst);
            let answers: Vec<_> =
                (1..20).map(|id| bed.store().execute(envelope(id, create(&format!("p{id}"))))).collect();
            for answer in answers {
                match (block(answer).unwrap_err(), injected) {
                    (ExecuteError::StorageFull(_), Injected::Full) | (ExecuteError::Storage(_), Injected::Broken) => {}
                    (error, _) => panic!("{error:?}"),
                }
            }
            assert_sound(bed.store());
            broken.store(false, Ordering::SeqCst);
            for id in 1..20 {
                let done = bed.store().execute_blocking(envelope(id, create(&format!("p{id}")))).unwrap();
                assert!(!done.duplicate);
            }
            let projects = bed.store().read(|view| view.list::<Project>(&Filter::default())).unwrap();
            assert_eq!(projects.len(), 20);
            assert_sound(bed.store());
        }
    }
}

/// Waits without a runtime: the futures of the store need none.
fn block<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
