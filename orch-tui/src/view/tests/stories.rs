//! What happens when a person does something: approvals, requests, moving about.

use orch_proto::id::ApprovalId;
use orch_proto::request::{Accepted, Decision, Request};
use orch_proto::view::{Choice, EventPage, TaskState};
use orch_proto::{EntityKind, ErrorCode, RpcError};

use super::harness::{Harness, World};
use crate::view::samples::{NOW, approval_id, task_id};
use crate::view::{Answer, Cmd, Input, Msg, Query};

fn online() -> Harness {
    Harness::online((80, 24), World::Normal)
}

fn accepted() -> Accepted {
    Accepted { seq: 7, at: NOW, duplicate: false, touched: Vec::new(), notes: Vec::new() }
}

fn decisions(harness: &Harness) -> Vec<(ApprovalId, Decision, Option<String>)> {
    let decided = harness.requests.iter().filter_map(|(_, request)| match request {
        Request::ApprovalDecide { approval, decision, digest, .. } => {
            Some((approval.0.parse().unwrap(), *decision, digest.clone()))
        }
        _ => None,
    });
    decided.collect()
}

/// The approvals change while they are looked at.
fn reload_approvals(harness: &mut Harness, change: impl FnOnce(&mut Vec<orch_proto::view::ApprovalView>)) {
    let mut approvals = harness.samples().approvals();
    change(&mut approvals);
    harness.load(Query::Approvals, Answer::Approvals(approvals));
}

#[test]
fn an_approval_needs_the_question_to_have_been_seen() {
    let mut harness = online();
    harness.press("a A y enter");
    assert_eq!(decisions(&harness), [], "keys that were typed ahead approve nothing");
    harness.press("A");
    assert!(harness.commands.contains(&Cmd::DropInput));
    harness.wait_ms(400);
    harness.press("y");
    assert_eq!(decisions(&harness), []);
    harness.wait_ms(200);
    harness.press("y y");
    let digest = Some("9c1e".repeat(16));
    assert_eq!(decisions(&harness), [(approval_id(3), Decision::Approve, digest)], "and it is sent once");
    let ticket = harness.requests[0].0;
    harness.message(Msg::Submitted { ticket, result: Ok(accepted()) });
    assert!(harness.screen().contains("approved shop/A-3"), "{}", harness.screen());
    assert!(harness.model.overlays.is_empty());
}

/// Goal: neither a machine that draws late nor one that reads late lets a key from before answer.
#[test]
fn what_was_typed_before_a_question_was_seen_for_a_moment_does_not_answer_it() {
    let mut harness = online();
    harness.is_busy = true;
    harness.press("a A");
    harness.wait_ms(60_000);
    harness.press("y");
    assert_eq!(decisions(&harness), [], "it was opened long ago, and nobody has seen it");
    harness.draw_at_last();
    harness.press("y");
    assert_eq!(decisions(&harness), [], "it was seen just now");
    harness.mono_ms += 5_000;
    harness.press("y");
    assert_eq!(decisions(&harness), [], "it was typed before the program came to look at the time");
    harness.commands.clear();
    harness.message(Msg::Timer);
    assert_eq!(harness.commands, [Cmd::DropInput], "and so was what nobody has read so far");
    assert!(harness.screen().contains("y approve"), "{}", harness.screen());
    harness.press("y");
    assert_eq!(decisions(&harness).len(), 1);
}

#[test]
fn enter_cancels_a_question_unless_the_focus_was_moved() {
    let mut harness = online();
    harness.press("a A");
    harness.wait_ms(600);
    harness.press("enter");
    assert!(harness.model.overlays.is_empty() && decisions(&harness).is_empty());
    harness.press("A");
    harness.wait_ms(600);
    harness.press("tab enter");
    assert_eq!(decisions(&harness).len(), 1);
}

#[test]
fn what_changes_while_it_is_asked_about_has_to_be_read_again() {
    let mut harness = online();
    harness.press("a A");
    harness.wait_ms(600);
    reload_approvals(&mut harness, |approvals| approvals[0].digest = "beef".repeat(16));
    harness.press("y");
    assert_eq!(decisions(&harness), []);
    assert!(harness.screen().contains("changed since it was shown"));
    harness.wait_ms(600);
    harness.press("y");
    assert_eq!(decisions(&harness), [(approval_id(3), Decision::Approve, Some("beef".repeat(16)))]);
}

/// Goal: on a small screen nobody agrees to what was never shown.
#[test]
fn a_long_question_is_read_to_its_end_first() {
    let mut harness = Harness::online((30, 8), World::Normal);
    harness.press("a A");
    harness.wait_ms(600);
    harness.press("y");
    assert_eq!(decisions(&harness), []);
    for _ in 0..30 {
        harness.press("j");
    }
    harness.press("y");
    assert_eq!(decisions(&harness).len(), 1);
}

#[test]
fn a_question_goes_when_someone_else_has_answered() {
    let mut harness = online();
    harness.press("a A");
    reload_approvals(&mut harness, |approvals| drop(approvals.remove(0)));
    assert!(harness.model.overlays.is_empty());
    assert!(harness.screen().contains("does not wait any more"));
}

#[test]
fn a_dossier_is_answered_from_where_it_is_read() {
    let mut harness = online();
    harness.press("a enter d");
    assert!(harness.screen().contains("diff of"), "{}", harness.screen());
    assert!(harness.screen().contains("A approve"), "{}", harness.screen());
    harness.press("esc A");
    harness.wait_ms(600);
    harness.press("y");
    assert_eq!(decisions(&harness), [(approval_id(3), Decision::Approve, Some("9c1e".repeat(16)))]);
    let ticket = harness.requests[0].0;
    harness.message(Msg::Submitted { ticket, result: Ok(accepted()) });
    assert!(harness.model.overlays.is_empty(), "what was answered is not shown any more");
}

#[test]
fn a_dossier_that_somebody_else_answered_answers_nothing() {
    let mut harness = online();
    harness.press("a enter");
    reload_approvals(&mut harness, |approvals| drop(approvals.remove(0)));
    harness.press("A D d");
    harness.wait_ms(600);
    harness.press("y");
    assert_eq!(decisions(&harness), []);
    assert!(harness.screen().contains("shop/A-3"), "{}", harness.screen());
}

#[test]
fn a_refused_answer_leaves_the_question_and_says_why() {
    let mut harness = online();
    harness.press("a A");
    harness.wait_ms(600);
    harness.press("y");
    let ticket = harness.requests[0].0;
    let error = RpcError::new(ErrorCode::StaleDigest, "it has changed").hint("look again");
    harness.message(Msg::Submitted { ticket, result: Err(error) });
    let screen = harness.screen();
    assert!(screen.contains("E_STALE_DIGEST") && screen.contains("look again"), "{screen}");
    harness.press("esc");
    harness.press("esc g e");
    assert!(harness.screen().contains("E_STALE_DIGEST"), "the error stays in the list of errors");
}

#[test]
fn a_denial_needs_a_reason_and_keeps_its_draft() {
    let mut harness = online();
    harness.press("a D enter");
    assert_eq!(decisions(&harness), []);
    harness.type_text("not before Monday");
    harness.press("esc D");
    assert!(harness.screen().contains("not before Monday"));
    harness.press("enter");
    let Request::ApprovalDecide { decision, reason, .. } = &harness.requests[0].1 else { panic!("a decision") };
    assert_eq!((*decision, reason.as_deref()), (Decision::Deny, Some("not before Monday")));
}

/// The first approval is a question with several answers.
fn asking() -> Harness {
    let mut harness = online();
    harness.press("a");
    reload_approvals(&mut harness, |approvals| {
        approvals[0].subject_kind = EntityKind::Run;
        approvals[0].action = "R-4 is silent for 10 min; what is to become of it?".into();
        approvals[0].choices = vec![Choice::GoOn, Choice::End, Choice::Retry];
    });
    harness
}

fn answers(harness: &Harness) -> Vec<(Choice, Option<String>)> {
    let answers = harness.requests.iter().filter_map(|(_, request)| match request {
        Request::QuestionAnswer { choice, digest, .. } => Some((*choice, digest.clone())),
        _ => None,
    });
    answers.collect()
}

#[test]
fn a_question_is_answered_by_one_of_its_choices() {
    let mut harness = asking();
    harness.press("A 3 enter");
    assert_eq!(answers(&harness), [], "keys that were typed ahead answer nothing");
    harness.wait_ms(600);
    harness.press("esc A");
    harness.wait_ms(600);
    harness.press("enter y");
    assert_eq!(answers(&harness), [], "nothing is picked at first");
    let screen = harness.screen();
    assert!(screen.contains("Answer shop/A-3") && screen.contains("3 retry   try the task again"), "{screen}");
    harness.press("9 j j enter enter");
    let digest = Some("9c1e".repeat(16));
    assert_eq!(answers(&harness), [(Choice::End, digest)], "and it is sent once");
    let ticket = harness.requests[0].0;
    let error = RpcError::new(ErrorCode::Conflict, "the question is void");
    harness.message(Msg::Submitted { ticket, result: Err(error) });
    assert!(harness.screen().contains("the question is void"), "{}", harness.screen());
    harness.press("1 enter");
    assert_eq!(answers(&harness).len(), 2);
    let ticket = harness.requests[1].0;
    harness.message(Msg::Submitted { ticket, result: Ok(accepted()) });
    assert!(harness.screen().contains("answered shop/A-3: go_on"), "{}", harness.screen());
    assert!(harness.model.overlays.is_empty());
}

#[test]
fn a_question_is_not_denied_and_goes_when_it_is_over() {
    let mut harness = asking();
    harness.press("D");
    assert!(harness.screen().contains("press A"), "{}", harness.screen());
    harness.press("A");
    harness.load(Query::Approvals, Answer::Approvals(Vec::new()));
    assert!(harness.model.overlays.is_empty());
    assert!(harness.screen().contains("the question does not wait any more"), "{}", harness.screen());
}

#[test]
fn letters_are_text_while_text_is_typed_and_pastes_are_never_keys() {
    let mut harness = online();
    harness.press("/");
    harness.type_text("qX1A");
    assert_eq!(harness.model.filter_text(), "qX1A");
    harness.press("esc");
    assert_eq!(harness.model.filter_text(), "");
    harness.message(Msg::Input(Input::Paste("X\ny\nq".into())));
    assert!(harness.requests.is_empty() && harness.commands.is_empty() && harness.model.overlays.is_empty());
}

#[test]
fn the_cursor_goes_with_its_task_into_another_column() {
    let mut harness = online();
    harness.press("j k");
    reload_second_task_done(&mut harness);
    assert_eq!(harness.model.board.selected(), Some(task_id(2)));
    assert!(harness.screen().contains("DONE 3"), "{}", harness.screen());
}

/// Before a person has moved the cursor, and after `f`, it shows what runs.
#[test]
fn a_led_cursor_goes_where_something_runs() {
    let mut harness = online();
    reload_second_task_done(&mut harness);
    assert_eq!(harness.model.board.selected(), Some(task_id(3)));
    harness.press("l l");
    assert_eq!(harness.model.board.selected(), Some(task_id(1)), "a move ends it");
    harness.press("f");
    assert_eq!(harness.model.board.selected(), Some(task_id(3)));
}

fn reload_second_task_done(harness: &mut Harness) {
    let mut tasks = harness.samples().tasks();
    tasks[1].state = TaskState::Done;
    harness.load(Query::Tasks, Answer::Tasks(tasks));
}

#[test]
fn a_task_is_cancelled_after_a_question_only() {
    let mut harness = online();
    harness.press("X y");
    assert_eq!(harness.requests, []);
    harness.wait_ms(600);
    harness.press("y");
    assert!(matches!(&harness.requests[..], [(_, Request::TaskCancel { .. })]));
}

#[test]
fn what_is_not_possible_says_why() {
    let mut harness = online();
    harness.press("T");
    assert!(harness.screen().contains("only a failed or cancelled task can be retried"));
    harness.press("j j T");
    assert!(matches!(&harness.requests[..], [(_, Request::TaskRetry { .. })]));
    harness.disconnect();
    harness.press("T");
    assert_eq!(harness.requests.len(), 1);
    assert!(harness.screen().contains("not connected"));
}

/// Of a state that cannot be written there is no event, and the first line has it on every screen.
#[test]
fn an_outage_is_asked_for_and_shown() {
    let mut harness = online();
    harness.wait_ms(1_000);
    let page = EventPage { events: Vec::new(), next: 6, head: 6, outage: true };
    let now = crate::view::Now { mono_ms: 1_000, wall: NOW };
    let commands = crate::view::update(&mut harness.model, Msg::Events(page), now);
    assert!(commands.iter().any(|command| matches!(command, Cmd::Fetch { query: Query::Status, .. })), "{commands:?}");
    for (is_full, shown) in [(true, "disk full, nothing begins"), (false, "state not writable")] {
        harness.model.data.status.as_mut().unwrap().outage = Some(is_full);
        assert!(harness.screen().contains(shown), "{}", harness.screen());
    }
}

#[test]
fn events_refetch_only_what_is_on_the_screen() {
    let mut harness = online();
    harness.wait_ms(1_000);
    let mut event = harness.samples().events().remove(0);
    event.seq = 7;
    let now = crate::view::Now { mono_ms: 1_000, wall: NOW };
    let page = EventPage { events: vec![event], next: 7, head: 7, outage: false };
    let commands = crate::view::update(&mut harness.model, Msg::Events(page), now);
    let asked: Vec<Query> = commands
        .into_iter()
        .map(|command| match command {
            Cmd::Fetch { query, .. } => query,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(asked, [Query::Status, Query::Projects, Query::Tasks]);
}

#[test]
fn a_lost_connection_keeps_what_is_shown_and_the_log_goes_on_where_it_was() {
    let mut harness = online();
    harness.disconnect();
    assert!(harness.screen().contains("HTTP layer") && harness.screen().contains("reconnecting (3)"));
    let now = crate::view::Now { mono_ms: 10, wall: NOW };
    let status = Box::new(harness.samples().status());
    let up = Msg::Link(crate::view::LinkEvent::Up { status, fresh: false });
    let commands = crate::view::update(&mut harness.model, up, now);
    assert!(commands.iter().any(|command| matches!(command, Cmd::Follow { offset: 7, .. })), "{commands:?}");
}

#[test]
fn leaving_goes_back_before_it_quits() {
    let mut harness = online();
    harness.press("L");
    assert!(harness.screen().contains("[Log]"));
    harness.press("q");
    assert!(harness.screen().contains("IN PROGRESS"));
    harness.press("2 q");
    assert!(harness.screen().contains("IN PROGRESS") && !harness.commands.contains(&Cmd::Quit));
    harness.press("esc esc");
    assert!(!harness.commands.contains(&Cmd::Quit), "esc never quits");
    harness.press("q");
    assert!(harness.commands.contains(&Cmd::Quit));
}

#[test]
fn ctrl_c_quits_when_pressed_twice() {
    let mut harness = online();
    harness.press("ctrl-c");
    harness.wait_ms(3_000);
    harness.press("ctrl-c");
    assert!(!harness.commands.contains(&Cmd::Quit));
    harness.press("ctrl-c");
    assert!(harness.commands.contains(&Cmd::Quit));
}

#[test]
fn the_help_runs_what_is_picked() {
    let mut harness = online();
    harness.press("?");
    harness.type_text("columns and list");
    harness.press("enter");
    assert!(harness.model.board.is_list && harness.model.overlays.is_empty());
}

#[test]
fn an_idle_program_asks_for_no_timer_when_nothing_runs() {
    let mut harness = Harness::online((80, 24), World::Empty);
    harness.wait_ms(1_000);
    let due = harness.model.next_due_ms().unwrap();
    assert!(due >= crate::view::model::SILENT_MS, "only the watch for a silent daemon is left, not {due}");
}

#[test]
fn a_search_in_the_log_marks_and_moves() {
    let mut harness = online();
    harness.press("tab /");
    harness.type_text("wrote");
    harness.press("enter");
    assert!(harness.screen().contains("`wrote` 2 lines"), "{}", harness.screen());
    harness.press("n N w t ] [ esc");
    assert!(!harness.screen().contains("`wrote`"));
}

/// Goal: with all projects shown and a long name of one, no list cuts the number by which its rows are told apart.
#[test]
fn a_long_project_name_leaves_every_number_to_be_read() {
    let named = |local: &str| format!("unit-conversion-and-more/{local}");
    for (size, is_list) in [((80, 24), false), ((80, 24), true), ((110, 20), false), ((40, 12), false)] {
        let mut harness = Harness::online(size, World::Normal);
        harness.press("p enter");
        let mut tasks = harness.samples().tasks();
        tasks.iter_mut().for_each(|task| task.name = named(&format!("T-{}", task.number)));
        harness.press(if is_list { "v" } else { "1" });
        harness.load(Query::Tasks, Answer::Tasks(tasks));
        assert!(harness.screen().contains("/T-2 "), "{}", harness.screen());
        harness.press("2");
        let mut runs = harness.samples().runs();
        runs[0].name = named("R-18");
        harness.load(Query::Runs, Answer::Runs(runs));
        assert!(harness.screen().contains("/R-18 T-1"), "{}", harness.screen());
        harness.press("3");
        reload_approvals(&mut harness, |approvals| approvals[0].name = named("A-31"));
        assert!(harness.screen().contains("/A-31 "), "{}", harness.screen());
        harness.press("8");
        let mut event = harness.samples().events().remove(0);
        (event.seq, event.subject) = (7, named("T-2"));
        harness.message(Msg::Events(EventPage { events: vec![event], next: 7, head: 7, outage: false }));
        if size.0 >= 80 {
            assert!(harness.screen().contains("/T-2 "), "{}", harness.screen());
        }
    }
}
