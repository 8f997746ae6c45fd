//! Questions of runs in the inbox: answered field by field, or not at all.

use orch_proto::request::{Accepted, Bytes, Request};
use orch_proto::{ErrorCode, RpcError};

use super::harness::{Harness, World};
use crate::view::samples::NOW;
use crate::view::{Answer, Cmd, Input, Msg, Query};

/// What is typed as a secret.
const SECRET: &str = "hunter2-of-the-form";

/// The inbox, with the cursor on the question.
fn at_question() -> Harness {
    let mut harness = Harness::online((100, 30), World::Normal);
    harness.press("a G");
    harness
}

fn accepted() -> Accepted {
    Accepted { seq: 7, at: NOW, duplicate: false, touched: Vec::new(), notes: Vec::new() }
}

/// The answers that were sent, and their ticket.
fn answered(harness: &mut Harness) -> Option<(u32, Vec<(String, String)>)> {
    let sent = harness.commands.iter().rev().find_map(|command| match command {
        Cmd::Answer { ticket, values, .. } => Some((*ticket, values.clone())),
        _ => None,
    })?;
    let text = |(name, Bytes(value)): (String, Bytes)| (name, String::from_utf8(value).unwrap());
    Some((sent.0, sent.1.into_iter().map(text).collect()))
}

fn given(values: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut all: Vec<_> = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    all.sort();
    all
}

#[test]
fn a_question_is_answered_field_by_field_and_its_secret_is_never_shown() {
    let mut harness = at_question();
    harness.press("Q right right enter");
    harness.message(Msg::Input(Input::Paste(SECRET.to_owned())));
    assert!(!harness.screen().contains("hunter2") && !format!("{:?}", harness.model).contains("hunter2"));
    assert!(harness.screen().contains("19 characters, not shown"), "{}", harness.screen());
    harness.press("enter 3 enter t enter");
    let (ticket, values) = answered(&mut harness).unwrap();
    assert_eq!(values, given(&[("region", "us-east-1"), ("token", SECRET), ("replicas", "3"), ("public", "true")]));
    assert!(!format!("{:?}", harness.commands).contains("hunter2"));
    assert!(harness.screen().contains("sent, waiting"), "{}", harness.screen());
    harness.message(Msg::Submitted { ticket, result: Ok(accepted()) });
    assert!(harness.screen().contains("answered shop/I-4"), "{}", harness.screen());
    assert!(harness.model.overlays.is_empty() && harness.model.inbox.form.is_none());
}

#[test]
fn what_is_needed_is_asked_for_and_what_is_refused_can_be_mended() {
    let mut harness = at_question();
    harness.press("Q down down down enter");
    assert!(answered(&mut harness).is_none(), "two fields are needed");
    harness.press("e down");
    harness.type_text("abcd");
    harness.press("down down enter");
    let (ticket, values) = answered(&mut harness).unwrap();
    assert_eq!(values, given(&[("region", "eu-central-1"), ("token", "abcd")]), "what need not be given is left out");
    let refused = RpcError::new(ErrorCode::Invalid, "`token` is too short").hint("give a longer one");
    harness.message(Msg::Submitted { ticket, result: Err(refused) });
    assert!(harness.screen().contains("`token` is too short"), "{}", harness.screen());
    harness.press("up up");
    harness.type_text("efgh");
    harness.press("down down enter");
    assert_eq!(answered(&mut harness).unwrap().1[1].1, "abcdefgh");
}

/// A draft outlives the form, but for what is secret.
#[test]
fn a_form_that_was_left_is_as_it_was_but_for_secrets() {
    let mut harness = at_question();
    harness.press("Q e down");
    harness.type_text(SECRET);
    harness.press("down 7 esc Q");
    let screen = harness.screen();
    assert!(screen.contains("it is not shown") && screen.contains("eu-central-1"), "{screen}");
    harness.press("enter");
    assert!(answered(&mut harness).is_none());
    assert!(!format!("{:?}", harness.model.inbox).contains("hunter2"));
}

#[test]
fn a_question_gets_no_answer_with_a_reason() {
    let mut harness = at_question();
    harness.press("D");
    harness.type_text("not now");
    harness.press("enter");
    let (ticket, request) = harness.requests.pop().unwrap();
    let Request::InfoCancel { reason, .. } = request else { panic!("{request:?}") };
    assert_eq!(reason.as_deref(), Some("not now"));
    harness.message(Msg::Submitted { ticket, result: Ok(accepted()) });
    assert!(harness.screen().contains("shop/I-4 gets no answer"), "{}", harness.screen());
}

#[test]
fn keys_of_approvals_and_questions_say_which_is_which() {
    let mut harness = at_question();
    for (keys, said) in [("A", "press Q"), ("d", "only an approval of a change has a diff"), ("k Q", "press A")] {
        harness.press("esc");
        harness.press(keys);
        assert!(harness.screen().contains(said), "{keys}: {}", harness.screen());
    }
    assert!(harness.model.overlays.is_empty());
}

/// Answered by somebody else, or taken back by the run.
#[test]
fn a_form_closes_when_its_question_does_not_wait_any_more() {
    let mut harness = at_question();
    harness.press("Q");
    harness.load(Query::Questions, Answer::Questions(Vec::new()));
    assert!(harness.model.overlays.is_empty());
    assert!(harness.screen().contains("the question does not wait any more"), "{}", harness.screen());
}
