//! What a person is told who does not know the way yet.

use orch_proto::request::{Accepted, Request};
use orch_proto::view::TaskState;
use orch_proto::{ErrorCode, RpcError};
use ratatui::style::Modifier;

use super::harness::{Harness, World};
use crate::view::samples::NOW;
use crate::view::{Answer, Msg, Query};

fn online() -> Harness {
    Harness::online((80, 24), World::Normal)
}

/// Goal: a task that the filter finds is never said not to be there because its column is out of sight.
#[test]
fn a_filter_says_where_its_matches_are() {
    let mut harness = online();
    harness.press("l h /");
    harness.type_text("service");
    assert!(harness.screen().contains("1 in Done (l l)"), "{}", harness.screen());
    harness.press("enter l l");
    assert!(harness.screen().contains("T-1 scaffold the service"), "{}", harness.screen());
    harness.press("/");
    harness.type_text(" nowhere");
    assert!(harness.screen().contains("no task matches the filter; esc clears it"), "{}", harness.screen());
}

/// Goal: a queue that stands still because there is no agent does not look like one that moves.
#[test]
fn the_queue_says_how_much_of_it_no_agent_can_take() {
    for (columns, said) in
        [(120, "queue 3 (1 waiting for an agent)  !2"), (80, "queue 3 (1 without agent)  !2"), (40, "q3  !2")]
    {
        let harness = Harness::online((columns, 24), World::Normal);
        assert!(harness.screen().contains(said), "{}", harness.screen());
    }
}

/// Goal: the command that does the same outside of this program can be read whole, and the cursor stays in sight.
#[test]
fn the_help_cuts_no_command() {
    let mut harness = online();
    harness.press("?");
    assert!(harness.screen().contains("orchctl task get shop/T-2"), "{}", harness.screen());
    assert!(harness.screen().contains("orchctl run logs shop/R-3"), "{}", harness.screen());
    for _ in 0..60 {
        assert!(!harness.screen().lines().any(|line| line.contains("orchctl") && line.contains("...")));
        assert!(bar(&harness), "{}", harness.screen());
        harness.press("down");
    }
}

/// Whether a whole row stands out as the selected one.
fn bar(harness: &Harness) -> bool {
    let buffer = harness.buffer();
    let is_marked = |y: u16| buffer[(10, y)].modifier.contains(Modifier::REVERSED);
    (1..buffer.area.height).any(is_marked)
}

#[test]
fn a_key_of_another_screen_says_where_it_belongs_and_what_is_pressed_here() {
    let mut harness = online();
    for (keys, said) in [
        ("2 j enter X", "X is for the board (1); here K is to kill the run"),
        ("2 X", "here K is to kill the run"),
        ("1 K", "K is for the runs (2); here X is to cancel the task and kill its run"),
        ("1 A", "A is for the inbox (3): approve what is shown"),
        ("9 T", "T is for the board (1): queue a failed task again"),
    ] {
        harness.press("esc esc");
        harness.press(keys);
        assert!(harness.screen().contains(said), "{keys}: {}", harness.screen());
    }
    assert!(harness.requests.is_empty() && harness.model.overlays.is_empty());
    harness.press("esc Z");
    assert!(!harness.screen().contains("Z is"), "what means nothing anywhere says nothing");
}

/// Goal: room goes to what is there, and does not jump to and fro while tasks go through the columns.
#[test]
fn an_empty_column_takes_the_room_of_its_heading_only() {
    let heading = |harness: &Harness| harness.screen().lines().nth(2).unwrap().to_owned();
    let states = |harness: &mut Harness, states: &[TaskState]| {
        let samples = harness.samples();
        let tasks = (1..).zip(states).map(|(number, state)| samples.task(number, "a task", *state)).collect();
        harness.load(Query::Tasks, Answer::Tasks(tasks));
    };
    let mut harness = Harness::online((110, 20), World::Normal);
    states(&mut harness, &[TaskState::Approved, TaskState::Done]);
    let standing = heading(&harness);
    assert!(standing.starts_with(" Proposed 0\u{2502} Approved 1  "), "{standing}");
    assert!(standing.contains("\u{2502} In Progress 0\u{2502} Review 0\u{2502} Done 1"), "{standing}");
    let divided = |line: &str| line.char_indices().filter(|(_, char)| *char == '\u{2502}').map(|(at, _)| at).collect();
    let moving = [[TaskState::Approved, TaskState::Running], [TaskState::Approved, TaskState::InReview]].map(|of| {
        let mut all = of.to_vec();
        all.push(TaskState::Done);
        states(&mut harness, &all);
        divided(&heading(&harness))
    });
    let [running, in_review]: [Vec<usize>; 2] = moving;
    assert_eq!(running, in_review);
    assert_ne!(running, divided(&standing));
    harness.press("/");
    harness.type_text("nowhere");
    assert_eq!(divided(&heading(&harness)), in_review);
}

/// Goal: a slip of the hand is taken back with a key that the message names, and why it cannot be is said.
#[test]
fn what_was_decided_is_taken_back_with_u() {
    let mut harness = online();
    let accepted = |notes: &[&str]| Accepted {
        seq: 9,
        at: NOW,
        duplicate: false,
        touched: Vec::new(),
        notes: notes.iter().map(ToString::to_string).collect(),
    };
    harness.press("H");
    let held = harness.requests.pop().unwrap();
    assert!(matches!(held.1, Request::TaskHold { .. }), "{held:?}");
    harness.message(Msg::Submitted { ticket: held.0, result: Ok(accepted(&[])) });
    assert!(harness.screen().contains("held; u undoes it"), "{}", harness.screen());
    harness.press("u");
    let (ticket, request) = harness.requests.pop().unwrap();
    assert_eq!(request, Request::Undo { event: None });
    harness.message(Msg::Submitted { ticket, result: Ok(accepted(&["T-2 is \x1b[2Japproved again", "A-1 waits"])) });
    assert!(harness.screen().contains("undone: T-2 is "), "{}", harness.screen());
    assert!(harness.screen().contains("approved again, and 1 more"), "{}", harness.screen());
    harness.press("u");
    let ticket = harness.requests.pop().unwrap().0;
    let error = RpcError::new(ErrorCode::Conflict, "R-3 has begun since then").hint("orchctl run cancel R-3");
    harness.message(Msg::Submitted { ticket, result: Err(error) });
    let screen = harness.screen();
    assert!(
        screen.contains("undo: E_CONFLICT R-3 has begun since then") && screen.contains("run cancel R-3"),
        "{screen}"
    );
}
