//! Commands: what an answer says, and what the same command says when it comes again.

use std::sync::atomic::Ordering;

use orch_core::command::Command;
use orch_core::digest::Digest;
use orch_core::entity::Project;
use orch_core::rehearsal::new_task;
use orch_core::view::View as _;
use orch_proto::{EntityKind, Timestamp};
use orch_store::ExecuteError;

use crate::support::{Bed, START_US, assert_sound, create, envelope, wait};

#[test]
fn the_same_command_again_gets_the_first_answer() {
    let mut bed = Bed::new();
    let first = bed.store().execute_blocking(envelope(1, create("shop"))).unwrap();
    assert_eq!((first.first_seq, first.duplicate), (Some(1), false));
    assert_eq!(first.touched[0].0, EntityKind::Project);
    bed.store().execute_blocking(envelope(2, create("other"))).unwrap();

    let again = bed.store().execute_blocking(envelope(1, create("shop"))).unwrap();
    assert!(again.duplicate);
    assert_eq!(orch_store::Committed { duplicate: false, ..again }, first);
    bed.reopen();
    let again = bed.store().execute_blocking(envelope(1, create("shop"))).unwrap();
    assert_eq!(orch_store::Committed { duplicate: false, ..again }, first);

    assert_eq!(bed.store().read(|view| Ok(view.seq())).unwrap(), 2);
    assert_sound(bed.store());
}

#[test]
fn the_same_id_for_another_request_is_refused() {
    let bed = Bed::new();
    bed.store().execute_blocking(envelope(1, create("shop"))).unwrap();
    let other = orch_core::command::Envelope { request: Digest::of(b"other"), ..envelope(1, create("shop")) };
    let error = bed.store().execute_blocking(other).unwrap_err();
    assert!(matches!(error, ExecuteError::KeyReused { .. }), "{error:?}");
    assert_sound(bed.store());
}

/// What it said is known without the command, which may not be possible any more.
#[test]
fn what_a_command_came_to_can_be_looked_up() {
    let bed = Bed::new();
    let sent = envelope(1, create("shop"));
    let (id, request) = (sent.id, sent.request);
    let answered = |request| bed.store().read(|view| view.answered(id, request)).unwrap();
    assert!(answered(request).is_none());
    let first = bed.store().execute_blocking(sent).unwrap();
    let again = answered(request).unwrap().unwrap();
    assert!(again.duplicate);
    assert_eq!(orch_store::Committed { duplicate: false, ..again }, first);
    let other = answered(Digest::of(b"other")).unwrap();
    assert!(matches!(other, Err(ExecuteError::KeyReused { .. })), "{other:?}");
}

#[test]
fn a_refused_command_is_judged_anew() {
    let bed = Bed::new();
    bed.store().execute_blocking(envelope(1, create("shop"))).unwrap();
    for _ in 0..2 {
        let error = bed.store().execute_blocking(envelope(2, create("shop"))).unwrap_err();
        assert!(matches!(error, ExecuteError::Rejected(_)), "{error:?}");
    }
    let projects = bed.store().read(|view| view.list::<Project>(&orch_core::view::Filter::default())).unwrap();
    assert_eq!(projects.iter().map(|project| project.slug.as_str()).collect::<Vec<_>>(), ["shop"]);
    assert_eq!(bed.store().stats().commits, 3);
    assert_sound(bed.store());
}

/// The clock of a host can be set back; what is committed later must not seem to be earlier.
#[test]
fn time_in_the_log_never_runs_backward() {
    let bed = Bed::new();
    let first = bed.store().execute_blocking(envelope(1, create("shop"))).unwrap();
    bed.now_us.store(START_US - 3_600_000_000, Ordering::SeqCst);
    let second = bed.store().execute_blocking(envelope(2, create("other"))).unwrap();
    assert_eq!(second.at, first.at);
    bed.now_us.store(START_US + 5, Ordering::SeqCst);
    let third = bed.store().execute_blocking(envelope(3, create("third"))).unwrap();
    assert_eq!(third.at.unix_us(), START_US + 5);
    let events = bed.store().read(|view| view.events(0, 100)).unwrap();
    assert!(events.is_sorted_by_key(|event| event.recorded.at));
    assert_sound(bed.store());
}

/// The log's time does not go back with the clock. Rules look at the clock, as those do who choose by it: what is to begin later
/// is not begun, and what is to end later is not over, because something happened while the clock was ahead.
#[test]
fn rules_look_at_the_clock_and_not_at_the_end_of_the_log() {
    let bed = Bed::new();
    let made = bed.store().execute_blocking(envelope(1, create("shop"))).unwrap();
    let project = made.touched[0].1.parse().unwrap();
    let (default_branch, head, toolchains) = ("main".into(), None, Vec::new());
    let prepare = Command::PrepareProject { project, default_branch, head, toolchains };
    bed.store().execute_blocking(envelope(2, prepare)).unwrap();
    bed.now_us.store(START_US + 86_400_000_000, Ordering::SeqCst);
    let ahead = bed.store().execute_blocking(envelope(3, create("ahead"))).unwrap();
    bed.now_us.store(START_US, Ordering::SeqCst);

    let now = Timestamp::from_unix_us(START_US);
    let mut task = new_task(project, "later");
    task.terms.not_before = Some(now.plus_ms(3_600_000));
    task.terms.deadline = Some(now.plus_ms(7_200_000));
    let made = bed.store().execute_blocking(envelope(4, Command::CreateTask { task: Box::new(task) })).unwrap();
    assert_eq!(made.at, ahead.at);
    let task = made.touched[0].1.parse().unwrap();
    let start = |id| {
        let (base, steps, reason) = (None, Vec::new(), "test".to_owned());
        envelope(id, Command::StartRun { task, base, steps, agent: None, required_level: 0, lease_ms: 1_000, reason })
    };
    let refused = bed.store().execute_blocking(start(5)).unwrap_err();
    assert!(refused.to_string().contains("not to begin yet"), "{refused}");
    bed.now_us.store(START_US + 3_600_000_000, Ordering::SeqCst);
    bed.store().execute_blocking(start(6)).unwrap();
    assert_sound(bed.store());
}

/// What is old is forgotten, the oldest first and a piece at a time; what is needed to find a log that was cut off is not.
#[test]
fn old_records_are_forgotten_and_the_newest_kept() {
    let bed = Bed::new();
    for id in 0..1_010 {
        bed.store().execute_blocking(envelope(id, create(&format!("p{id}")))).unwrap();
        bed.now_us.fetch_add(1_000_000, Ordering::SeqCst);
    }
    let at = |second: i64| Timestamp::from_unix_us(START_US + second * 1_000_000);
    let forget = |before: Timestamp, most: u32| wait(bed.store().forget_commands(before, most)).unwrap();
    let is_known = |id: u128| {
        let sent = envelope(id, create(&format!("p{id}")));
        bed.store().read(|view| view.answered(sent.id, sent.request)).unwrap().is_some()
    };
    assert_eq!(forget(at(0), 100), 0);
    assert_eq!(forget(at(5), 3), 3);
    assert_eq!((is_known(2), is_known(3), is_known(4)), (false, true, true));
    assert_eq!(forget(at(5), 100), 2);
    assert_eq!((is_known(4), is_known(5)), (false, true));
    assert_eq!(forget(at(2_000), 100), 5, "the last thousand stay");
    assert_eq!((is_known(9), is_known(10), is_known(1_009)), (false, true, true));
    let again = bed.store().execute_blocking(envelope(1, create("p1"))).unwrap_err();
    assert!(matches!(again, ExecuteError::Rejected(_)), "judged anew: {again:?}");
    assert_sound(bed.store());
}
