//! What people say to tasks and to agents: read in the dossier of the task, said from there, the board and the runs.

use orch_proto::request::{Accepted, Request};
use orch_proto::view::{MessageView, TaskState};
use orch_proto::{ErrorCode, RpcError};

use super::harness::{Harness, World};
use crate::view::samples::{NOW, task_id};
use crate::view::{Answer, Cmd, Input, Key, LinkEvent, Msg, Query};

fn online() -> Harness {
    Harness::online((100, 30), World::Normal)
}

/// The message that was sent last, with the request's ticket.
fn sent(harness: &mut Harness) -> (u32, Request) {
    harness.requests.pop().expect("something was said")
}

fn accepted(notes: &[&str]) -> Accepted {
    let notes = notes.iter().map(ToString::to_string).collect();
    Accepted { seq: 7, at: NOW, duplicate: false, touched: Vec::new(), notes }
}

/// The daemon has another thread from now on, and says that something has happened.
fn say(harness: &mut Harness, message: MessageView) {
    harness.thread.push(message);
    let mut event = harness.samples().events().remove(0);
    event.seq = 7;
    let page = orch_proto::view::EventPage { events: vec![event], next: 7, head: 7, outage: false };
    harness.message(Msg::Events(page));
    harness.wait_ms(1_000);
}

#[test]
fn the_dossier_shows_what_was_said_and_follows_it() {
    let mut harness = online();
    harness.press("enter");
    let screen = harness.screen();
    for said in [
        "Said",
        "- user:alice at 09:04:57, R-3 was told at 09:05:07",
        "  use the other port\n",
        "  and say so",
        "- R-3 at 09:05:37, in answer",
        "  It is 8081 now.",
        "  The README says so.",
    ] {
        assert!(screen.contains(said), "{said}: {screen}");
    }
    assert!(screen.contains("at 09:05:47, told with each attempt after it"), "{screen}");
    let message =
        MessageView { number: 3, text: "one more thing".into(), run: Some("R-3".into()), ..harness.thread[1].clone() };
    say(&mut harness, message);
    assert!(harness.screen().contains("one more thing"), "{}", harness.screen());
    assert!(harness.screen().contains("R-3 is not told yet"), "{}", harness.screen());
    let mut tasks = harness.samples().tasks();
    tasks[1].state = TaskState::Done;
    harness.load(Query::Tasks, Answer::Tasks(tasks));
    assert!(harness.screen().contains("+ done"), "the rest follows, too: {}", harness.screen());
}

#[test]
fn a_dossier_is_of_its_task_alone_and_says_when_its_thread_cannot_be_read() {
    let mut harness = online();
    harness.press("enter esc l l enter");
    assert!(harness.screen().contains("shop/T-1 ") && !harness.screen().contains("Said"), "{}", harness.screen());
    harness.press("esc h h k k enter");
    let error = RpcError::new(ErrorCode::Storage, "the disk is gone");
    let epoch = harness.model.loader.epoch();
    harness.model.data.thread = None;
    let query = Query::Task(task_id(2));
    harness.message(Msg::Loaded(crate::view::Loaded { query, epoch, result: Err(error) }));
    assert!(harness.screen().contains("the disk is gone"), "{}", harness.screen());
}

#[test]
fn something_is_said_in_several_lines_and_the_answer_says_who_is_told() {
    let mut harness = online();
    harness.press("M");
    assert!(harness.commands.contains(&Cmd::DropInput), "what was typed ahead is no message");
    harness.press("enter");
    assert_eq!(harness.requests, [], "nothing is no message");
    harness.type_text("use port 80");
    harness.press("ctrl-j");
    harness.message(Msg::Input(Input::Paste("X K\r\nq".into())));
    harness.press("enter enter");
    assert_eq!(harness.requests.len(), 1, "it is said once");
    let (ticket, request) = sent(&mut harness);
    let Request::TaskSay { task, text } = request else { panic!("{request:?}") };
    assert_eq!((task.0, text.as_str()), (task_id(2).to_string(), "use port 80\nX K\nq"));
    assert!(harness.screen().contains("sent, waiting"), "{}", harness.screen());
    let notes = ["R-3 goes on without it; the next attempt is told"];
    harness.message(Msg::Submitted { ticket, result: Ok(accepted(&notes)) });
    let screen = harness.screen();
    assert!(screen.contains("+ said to shop/T-2; R-3 goes on without it; the next attempt is told"), "{screen}");
    assert!(harness.model.overlays.is_empty());
}

#[test]
fn a_refused_message_stays_and_says_why() {
    let mut harness = online();
    harness.press("2 M");
    harness.type_text("stop that");
    harness.press("enter");
    let (ticket, request) = sent(&mut harness);
    assert!(matches!(request, Request::RunSay { .. }), "{request:?}");
    let error = RpcError::new(ErrorCode::Conflict, "the agent of R-4 takes no messages while it works")
        .hint("say it to the task: `orchctl task say T-3`");
    harness.message(Msg::Submitted { ticket, result: Err(error) });
    let screen = harness.screen();
    assert!(screen.contains("takes no messages") && screen.contains("orchctl task say T-3"), "{screen}");
    assert!(screen.contains("> stop that"), "{screen}");
    harness.press("! enter");
    assert!(matches!(sent(&mut harness).1, Request::RunSay { text, .. } if text == "stop that!"));
}

#[test]
fn a_message_that_was_begun_is_there_when_its_task_is_spoken_to_again() {
    let mut harness = online();
    harness.press("enter M");
    harness.type_text("not yet");
    harness.press("esc");
    assert!(harness.screen().contains("Is done when"), "the dossier is still there: {}", harness.screen());
    harness.press("esc 2 M");
    assert!(!harness.screen().contains("not yet"), "another is not told that");
    harness.press("esc 1 M");
    assert!(harness.screen().contains("> not yet"), "{}", harness.screen());
    harness.press("enter");
    let ticket = sent(&mut harness).0;
    harness.press("esc");
    harness.message(Msg::Submitted { ticket, result: Ok(accepted(&[])) });
    harness.press("M");
    assert!(harness.screen().contains("nothing to say yet"), "what was said is not begun: {}", harness.screen());
}

/// Left while it is on its way and opened again, it is not said twice; refused, it can be sent again.
#[test]
fn a_message_that_is_sent_waits_for_its_answer_also_when_it_is_left() {
    let mut harness = online();
    harness.press("M");
    harness.type_text("once");
    harness.press("enter esc M");
    let ticket = sent(&mut harness).0;
    let screen = harness.screen();
    assert!(screen.contains("> once") && screen.contains("sent, waiting"), "{screen}");
    harness.press("enter x enter");
    assert_eq!(harness.requests, [], "it is said once");
    harness.message(Msg::Submitted { ticket, result: Ok(accepted(&[])) });
    assert!(harness.model.overlays.is_empty(), "it is said: {}", harness.screen());
    harness.press("M");
    assert!(harness.screen().contains("nothing to say yet"), "{}", harness.screen());
    harness.type_text("again");
    harness.press("enter esc");
    let ticket = sent(&mut harness).0;
    let error = RpcError::new(ErrorCode::Timeout, "the daemon did not answer in time");
    harness.message(Msg::Submitted { ticket, result: Err(error) });
    harness.press("M enter");
    assert!(matches!(sent(&mut harness).1, Request::TaskSay { text, .. } if text == "again"));
}

/// Goal: what is too long is seen before it is sent, and everything typed stays on the screen with its cursor.
#[test]
fn a_message_has_a_bound_and_its_end_is_in_sight() {
    let mut harness = Harness::online((60, 14), World::Normal);
    harness.press("M");
    harness.message(Msg::Input(Input::Paste("line\n".repeat(900))));
    let screen = harness.screen();
    assert!(screen.contains("4096 of 4096 B") && screen.contains("ctrl-j"), "{screen}");
    harness.press("bs bs bs bs bs ctrl-j e n d");
    assert!(harness.screen().contains("  end"), "{}", harness.screen());
    for size in [(20, 6), (21, 7), (40, 9), (1, 1), (140, 50)] {
        harness.resize(size);
        harness.screen();
    }
}

#[test]
fn who_hears_nothing_is_named() {
    let mut harness = online();
    for (keys, said) in [
        ("v g g M", "the task is done: nobody is told any more"),
        ("j j M", "runs known steps: there is no agent"),
        ("2 G M", "the run is over: say it to its task"),
        ("3 M", "M is for the board (1): say something"),
    ] {
        harness.press("esc esc");
        harness.press(keys);
        assert!(harness.screen().contains(said), "{keys}: {}", harness.screen());
    }
    assert!(harness.model.overlays.is_empty());
    harness.press("1 g g j enter");
    harness.message(Msg::Link(LinkEvent::Waiting));
    harness.press("M");
    assert!(harness.screen().contains("- not connected to the daemon"), "also in the dossier: {}", harness.screen());
    harness.connect();
    harness.press("M");
    let mut tasks = harness.samples().tasks();
    tasks[1].state = TaskState::Done;
    harness.load(Query::Tasks, Answer::Tasks(tasks));
    harness.message(Msg::Input(Input::Key(Key::parse("h").unwrap())));
    let screen = harness.screen();
    assert!(screen.contains("> h") && screen.contains("! the task is done"), "what was begun stays: {screen}");
}
