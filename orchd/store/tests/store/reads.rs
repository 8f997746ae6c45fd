//! Reads: one state each, beside the writer, and never for long.

use std::error::Error as _;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use orch_core::command::Command;
use orch_core::entity::{Entity as _, Project, RepositorySource, Task};
use orch_core::event::Event;
use orch_core::view::{Filter, ReadError, View as _};
use orch_proto::EntityKind;
use orch_proto::id::ProjectId;
use orch_store::{EventQuery, FailPoint, Faults, Injected, READ_DEADLINE_MS_MIN, ReadFault};
use rusqlite::Connection;

use crate::support::{Bed, assert_sound, create, envelope, open, person};

/// Every project is one event here, so their number in one state is that state's event number.
#[test]
fn a_read_sees_one_state_while_the_writer_goes_on() {
    let bed = Bed::new();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    let (seq, first, again) = bed
                        .store()
                        .read(|view| {
                            let count = || view.list::<Project>(&Filter::default()).map(|found| found.len() as u64);
                            Ok((view.seq(), count()?, count()?))
                        })
                        .unwrap();
                    assert_eq!((first, again), (seq, seq));
                }
            });
        }
        for id in 0..200 {
            bed.store().execute_blocking(envelope(id, create(&format!("p{id}")))).unwrap();
        }
        is_over.store(true, Ordering::SeqCst);
    });
    assert_sound(bed.store());
}

/// Whoever goes through all there is holds one page, and misses nothing that was there at the beginning.
#[test]
fn entities_are_read_page_by_page_in_the_order_in_which_they_were_made() {
    let bed = Bed::new();
    for id in 0..7 {
        bed.now_us.fetch_add(1_000, Ordering::SeqCst);
        bed.store().execute_blocking(envelope(id, create(&format!("p{id}")))).unwrap();
    }
    let (mut after, mut slugs, mut pages) = (None, Vec::new(), Vec::new());
    loop {
        let page = bed.store().read(|view| view.page::<Project>(after, 3)).unwrap();
        pages.push(page.len());
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        slugs.extend(page.iter().map(|project| project.slug.clone()));
    }
    assert_eq!(pages, [3, 3, 1, 0]);
    assert_eq!(slugs, ["p0", "p1", "p2", "p3", "p4", "p5", "p6"]);
}

#[test]
fn what_is_open_is_read_page_by_page_and_by_its_state() {
    let bed = Bed::new();
    for id in 0..7 {
        bed.store().execute_blocking(envelope(id, create(&format!("p{id}")))).unwrap();
    }
    let all = bed.store().read(|view| view.list::<Project>(&Filter::default())).unwrap();
    for (id, at) in [(10, 2), (11, 5)] {
        let fail = Command::FailProject { project: all[at].id, reason: "no disk".into() };
        bed.store().execute_blocking(envelope(id, fail)).unwrap();
    }
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let mut page: Vec<Project> = Vec::new();
        let take = |project| page.push(project);
        bed.store().read(|view| view.each_open_on_page((after, 2), take)).unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        after = Some((last.project(), last.number()));
        found.extend(page.iter().map(|project| project.id));
    }
    let in_state = bed.store().read(|view| view.list::<Project>(&Filter::default().in_state("failed"))).unwrap();
    assert_eq!(in_state.iter().map(|project| project.slug.as_str()).collect::<Vec<_>>(), ["p2", "p5"]);
    let tasks = bed.store().read(|view| view.list::<Task>(&Filter::of(all[0].id).in_state("failed"))).unwrap();
    assert_eq!(tasks, Vec::new());
    let mut expected: Vec<ProjectId> = bed
        .store()
        .read(|view| view.list::<Project>(&Filter::default().open()))
        .unwrap()
        .iter()
        .map(|p| p.id)
        .collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert!(found.len() >= 5);
}

#[test]
fn events_are_read_by_cursor_project_and_subject() {
    let bed = Bed::new();
    for id in 0..5 {
        bed.store().execute_blocking(envelope(id, create(&format!("p{id}")))).unwrap();
    }
    let seqs = |query: EventQuery| -> Vec<u64> {
        let events = bed.store().read(|view| view.query(&query)).unwrap();
        events.into_iter().map(|event| event.recorded.seq).collect()
    };
    let query = EventQuery { after: 1, limit: 2, ..EventQuery::default() };
    assert_eq!(seqs(query.clone()), [2, 3]);
    let project = bed.store().read(|view| view.list::<Project>(&Filter::default())).unwrap()[3].id;
    assert_eq!(seqs(EventQuery { project: Some(project), ..query.clone() }), [4]);
    assert_eq!(seqs(EventQuery { subject: Some(project.to_string()), ..query }), [4]);
    bed.store()
        .read(|view| {
            assert_eq!(view.by_number::<Project>(project, 4)?.unwrap().slug, "p3");
            assert_eq!(view.project_by_slug("p3")?.unwrap().id, project);
            assert_eq!(view.project_of_subject(EntityKind::Project, &project.to_string())?, Some(project));
            assert_eq!(view.project_of_subject(EntityKind::Task, "task-x")?, None);
            assert_eq!(view.last_number(EntityKind::Project, None)?, 5);
            assert_eq!(view.count_by_state(EntityKind::Project, None)?, [("preparing".into(), 5)].into());
            let event = view.events(3, 1)?.pop().unwrap();
            assert_eq!((event.project, event.recorded.event.subject()), (project, project.to_string()));
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_newest_come_first_in_the_states_that_are_asked_for_and_are_counted() {
    let bed = Bed::new();
    for id in 0..7_u128 {
        bed.store().execute_blocking(envelope(id, create(&format!("p{id}")))).unwrap();
    }
    let all = bed.store().read(|view| view.list::<Project>(&Filter::default())).unwrap();
    for (id, at) in [(10, 1), (11, 4), (12, 5)] {
        let fail = Command::FailProject { project: all[at].id, reason: "no disk".into() };
        bed.store().execute_blocking(envelope(id, fail)).unwrap();
    }
    let newest = |filter: Filter, states: &[&str], most: usize| {
        let mut found = Vec::new();
        let read = bed.store().read(|view| {
            view.each_newest(&filter, states, |project: Project| {
                found.push(project.slug);
                if found.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        });
        read.unwrap();
        found
    };
    assert_eq!(newest(Filter::default(), &[], 3), ["p6", "p5", "p4"]);
    assert_eq!(newest(Filter::default(), &["failed"], 9), ["p5", "p4", "p1"]);
    assert_eq!(newest(Filter::default(), &["failed", "preparing"], 6), ["p6", "p5", "p4", "p3", "p2", "p1"]);
    assert_eq!(newest(Filter::default(), &["ready"], 9), [""; 0]);
    assert_eq!(newest(Filter::of(all[4].id), &["failed", "preparing"], 9), ["p4"]);
    assert_eq!(newest(Filter { parent: Some("p4".into()), ..Filter::default() }, &[], 9), ["p4"]);
    bed.store()
        .read(|view| {
            let counted = view.count_by_state(EntityKind::Project, None)?;
            assert_eq!(counted, [("failed".into(), 3), ("preparing".into(), 4)].into());
            let counted = view.count_by_state(EntityKind::Project, Some(all[4].id))?;
            assert_eq!(counted, [("failed".into(), 1)].into());
            Ok(())
        })
        .unwrap();
    assert_sound(bed.store());
}

/// Only what is wanted is looked into, and the place to go on from is behind what was not.
#[test]
fn events_are_told_in_pages_without_what_nobody_wants() {
    let bed = Bed::new();
    for id in 0..5 {
        bed.store().execute_blocking(envelope(id, create(&format!("p{id}")))).unwrap();
    }
    let page = |from: (u64, u32), wanted: &str| {
        let mut told = Vec::new();
        let last = bed.store().read(|view| {
            view.each_event_since(from, |kind| kind == wanted, |seq, at, event| told.push((seq, at, event.subject())))
        });
        (last.unwrap(), told)
    };
    let (last, told) = page((1, 2), "project.created");
    let events = bed.store().read(|view| view.events(1, 2)).unwrap();
    let same: Vec<_> =
        events.iter().map(|event| &event.recorded).map(|event| (event.seq, event.at, event.event.subject())).collect();
    assert_eq!((last, told), (Some(3), same));
    assert_eq!(page((3, 10), "task.created"), (Some(5), vec![]));
    assert_eq!(page((5, 10), "project.created"), (None, vec![]));
}

/// From the end of the log, as far as is wanted, and no further than is allowed.
#[test]
fn events_are_told_from_the_newest_on() {
    let bed = Bed::new();
    for id in 0..5 {
        bed.store().execute_blocking(envelope(id, create(&format!("p{id}")))).unwrap();
    }
    let back = |before: u64, limit: u32, until: u64| {
        let mut told = Vec::new();
        let is_more = bed.store().read(|view| {
            view.each_event_before(before, limit, |trace| {
                told.push(trace.seq);
                if trace.seq == until { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        });
        (is_more.unwrap(), told)
    };
    assert_eq!(back(6, 10, 0), (false, vec![5, 4, 3, 2, 1]));
    assert_eq!(back(5, 2, 0), (true, vec![4, 3]));
    assert_eq!(back(6, 10, 4), (false, vec![5, 4]));
    let subject = bed.store().read(|view| view.events(2, 1)).unwrap()[0].recorded.event.subject();
    let newest = |after: u64| bed.store().read(|view| view.newest_event_of(&subject, after)).unwrap();
    assert_eq!(
        newest(0).map(|trace| (trace.seq, trace.kind, trace.actor)),
        Some((3, "project.created".into(), person()))
    );
    assert_eq!(newest(3), None);
}

#[test]
fn a_read_that_takes_too_long_is_ended() {
    let bed = Bed::new();
    bed.store().execute_blocking(envelope(1, create("shop"))).unwrap();
    let error: ReadError = bed
        .store()
        .read_within(1, |view| -> Result<(), ReadError> {
            loop {
                view.list::<Project>(&Filter::default())?;
            }
        })
        .unwrap_err();
    let fault = error.source().and_then(|source| source.downcast_ref::<ReadFault>());
    assert_eq!(fault, Some(&ReadFault::Deadline { deadline_ms: READ_DEADLINE_MS_MIN }));
    assert_eq!(bed.store().read(|view| Ok(view.seq())).unwrap(), 1);
}

#[test]
fn a_reader_that_panics_gives_its_connection_back() {
    let bed = Bed::new();
    for _ in 0..10 {
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            bed.store().read(|_| -> Result<(), ReadError> { panic!("on purpose") })
        }));
        assert!(panicked.is_err());
    }
    assert_eq!(bed.store().read(|view| Ok(view.seq())).unwrap(), 0);
}

/// A log that a newer version of the program went on with: what it wrote is named, everything before is readable.
#[test]
fn an_event_of_a_newer_kind_is_named_by_its_number() {
    let mut bed = Bed::new();
    bed.store().execute_blocking(envelope(1, create("shop"))).unwrap();
    bed.store = None;
    let raw = Connection::open(bed.path()).unwrap();
    raw.execute_batch(
        r#"INSERT INTO events SELECT 2, at, actor, command, 'robot', 'robot-1', project, 'robot.built', 7,
           '{"type":"robot","data":{}}', hash FROM events WHERE seq = 1"#,
    )
    .unwrap();
    drop(raw);
    let store = open(&bed.path(), 2);
    assert_eq!(store.read(|view| view.events(0, 1)).unwrap().len(), 1);
    let error = store.read(|view| view.events(0, 10)).unwrap_err();
    let text = error.source().unwrap().to_string();
    assert_eq!(text, "stored event 2 cannot be decoded; a newer version of the program wrote it");
    let differences = store.check_rebuild().unwrap().differences;
    assert!(differences.len() == 1 && differences[0].contains(&text), "{differences:?}");
    assert_eq!(store.verify_chain().unwrap().broken_at.unwrap().0, 2);
}

/// What is read at once is bounded by its size as well: an event can hold a whole plan.
#[test]
fn a_page_of_large_events_is_short_and_the_next_goes_on() {
    let bed = Bed::new();
    for id in 1..=6 {
        let path = "x".repeat(1 << 20);
        let command = Command::CreateProject {
            slug: format!("p{id}"),
            source: RepositorySource::Import { path },
            protected_paths: Vec::new(),
        };
        bed.store().execute_blocking(envelope(id, command)).unwrap();
    }
    let mut pages = Vec::new();
    let mut after = 0;
    loop {
        let page = bed.store().read(|view| view.events(after, 100)).unwrap();
        let Some(last) = page.last() else { break };
        after = last.recorded.seq;
        pages.push(page.len());
    }
    assert_eq!(pages, [4, 2]);
    assert_sound(bed.store());
}

#[test]
fn followers_are_told_the_newest_number_only() {
    let bed = Bed::new();
    let mut follow = bed.store().subscribe();
    assert_eq!(*follow.borrow_and_update(), 0);
    bed.store().execute_blocking(envelope(1, create("shop"))).unwrap();
    assert!(follow.has_changed().unwrap());
    assert_eq!(*follow.borrow_and_update(), 1);
    // A refused command and one that came before change nothing.
    bed.store().execute_blocking(envelope(1, create("shop"))).unwrap();
    drop(bed.store().execute_blocking(envelope(2, create("shop"))));
    assert!(!follow.has_changed().unwrap());
}

#[test]
fn who_wants_to_know_of_some_events_is_told_of_those_only() {
    let is_broken = Arc::new(AtomicBool::new(false));
    let at = {
        let is_broken = Arc::clone(&is_broken);
        move |point| match point {
            FailPoint::Committing if is_broken.load(Ordering::SeqCst) => Err(Injected::Broken),
            _ => Ok(()),
        }
    };
    let bed = Bed::with_faults(Faults { at: Some(Arc::new(at)), ..Faults::default() });
    let mut projects = bed.store().subscribe_to(|event| matches!(event, Event::Project { .. }));
    let mut tasks = bed.store().subscribe_to(|event| matches!(event, Event::Task { .. }));
    assert_eq!((*projects.borrow_and_update(), *tasks.borrow_and_update()), (0, 0));
    let made = bed.store().execute_blocking(envelope(1, create("shop"))).unwrap();
    assert_eq!(*projects.borrow_and_update(), made.last_seq);
    assert!(!tasks.has_changed().unwrap());
    // What a commit that failed has written may be there: whoever it is, the next that succeeds tells them.
    is_broken.store(true, Ordering::SeqCst);
    bed.store().execute_blocking(envelope(2, create("bank"))).unwrap_err();
    assert!(!projects.has_changed().unwrap() && !tasks.has_changed().unwrap());
    is_broken.store(false, Ordering::SeqCst);
    let made = bed.store().execute_blocking(envelope(3, create("bar"))).unwrap();
    assert_eq!((*projects.borrow_and_update(), *tasks.borrow_and_update()), (made.last_seq, made.last_seq));
    // From then on they are told as before.
    bed.store().execute_blocking(envelope(4, create("zoo"))).unwrap();
    assert!(projects.has_changed().unwrap() && !tasks.has_changed().unwrap());
}
