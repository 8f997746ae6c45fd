//! `undo`: what would be taken back, what is, and what stands against it.

use orch_proto::request::Request;

use super::super::fake::{Fake, State};
use super::plain;

#[tokio::test]
async fn what_would_be_taken_back_is_shown_and_nothing_is_sent() {
    let fake = Fake::start(State::default());
    let shown = plain(&fake, "undo --dry-run").await;
    assert_eq!(shown.code, 0, "{shown:?}");
    // What a stranger wrote reaches no terminal as it is.
    let lines: Vec<&str> = shown.out.lines().collect();
    assert_eq!(lines[0], "event 4, 1970-01-01T00:00:00.000000Z, by user:ann");
    assert!(lines[1].starts_with("  task.held shop/T-4: held: ") && !lines[1].contains('\u{1b}'), "{shown:?}");
    assert_eq!(lines[2..], ["would be taken back:", "  T-4 is approved again"]);
    let json = plain(&fake, "undo 7 --dry-run -o json").await;
    assert!(json.out.contains("\"kind\": \"Undo\"") && json.out.contains("\"event\": 7"), "{json:?}");
    assert_eq!(fake.see(|state| state.submitted.len()), 0);
}

#[tokio::test]
async fn what_stands_against_it_is_said_with_the_next_step() {
    let fake = Fake::start(State::default());
    let refused = plain(&fake, "undo 2 --dry-run").await;
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.out.starts_with("event 2, ") && !refused.out.contains("would be"), "{refused:?}");
    assert!(refused.err.contains("E_CONFLICT") && refused.err.contains("R-1 has begun since then"), "{refused:?}");
    assert!(refused.err.contains("orchctl run cancel R-1"), "{refused:?}");
}

#[tokio::test]
async fn the_last_decision_is_taken_back_unless_an_event_is_named() {
    let fake = Fake::start(State::default());
    let done = plain(&fake, "undo").await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.starts_with("undone: ") && done.err.contains("does it again"), "{done:?}");
    plain(&fake, "undo 41").await;
    let sent = fake.see(|state| state.submitted.iter().map(|sent| sent.request.clone()).collect::<Vec<_>>());
    assert_eq!(sent, [Request::Undo { event: None }, Request::Undo { event: Some(41) }]);
    assert_eq!(plain(&fake, "undo last").await.code, 2);
}
