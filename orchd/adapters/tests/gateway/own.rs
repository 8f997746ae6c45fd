//! Questions of the daemon itself: by the same way as those of runs, and on record to their end.

use std::future::pending;

use orch_adapters::gateway::{Api, End, NotAnswered, Protocol, Question, RESPONSE_BYTES_KEPT_MAX, Refusal};
use serde_json::json;

use super::lab::{HELD, KEY, Lab, answer};

const JSON: &str = "content-type: application/json\r\n";

fn question(protocol: Protocol) -> Question {
    Question {
        model: "m".into(),
        temperature_percent: Some(40),
        output_max: 500,
        system: "Plan.".into(),
        said: vec![(false, format!("my key is {KEY}"))],
        form: ("plan", json!({"type": "object"})),
        protocol,
    }
}

fn chat(text: &str) -> String {
    let usage = json!({"prompt_tokens": 30, "completion_tokens": 9});
    answer(200, JSON, &json!({"choices": [{"message": {"content": text}}], "usage": usage}).to_string())
}

#[tokio::test]
async fn a_question_has_its_text_and_is_counted() {
    let mut lab = Lab::new(Api::OpenAi, &[&chat(&format!("it is {KEY}"))]).await;
    let said = lab.question(question(Protocol::Chat), pending()).await.unwrap();
    assert_eq!(said, "it is [secret model-key]");
    let seen = lab.has_seen(1).await.remove(0);
    let (head, body) = seen.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/chat/completions") && head.contains(&format!("Bearer {KEY}")), "{head}");
    assert!(body.contains("my key is [secret model-key]") && body.contains("\"temperature\":0.4"), "{body}");
    let answered = lab.answered().await;
    assert_eq!((answered.tokens.input, answered.tokens.output, answered.is_estimate), (30, 9, false));
}

#[tokio::test]
async fn what_comes_to_nothing_is_on_record_with_what_it_may_have_cost() {
    let long = "x".repeat(RESPONSE_BYTES_KEPT_MAX);
    for (body, said, end) in [
        (answer(400, JSON, r#"{"error":"no"}"#), "answered 400", End::Complete),
        (chat(&long), "too long", End::Unwanted),
        (answer(200, JSON, "<html>"), "not of the known form", End::Complete),
        (String::new(), "gave no answer", End::Unreachable),
    ] {
        let mut lab = Lab::new(Api::OpenAi, &[&body]).await;
        let Err(NotAnswered::Failed(reason)) = lab.question(question(Protocol::Chat), pending()).await else {
            panic!("it has an answer");
        };
        assert!(reason.contains(said), "{reason}");
        let answered = lab.answered().await;
        assert_eq!(answered.end, end, "{reason}");
        assert_eq!(answered.tokens.input > 0, end != End::Complete || said.contains("form"), "{reason}");
    }
}

#[tokio::test]
async fn nobody_waits_for_what_is_not_wanted_any_more() {
    let mut lab = Lab::new(Api::Ollama, &[HELD]).await;
    let left = async {
        lab.has_seen(1).await;
    };
    assert_eq!(lab.question(question(Protocol::Chat), left).await, Err(NotAnswered::Unwanted));
    let answered = lab.answered().await;
    assert_eq!((answered.end, answered.is_estimate), (End::Unwanted, true));
    assert!(answered.tokens.input > 0, "it may have been paid for");
}

#[tokio::test]
async fn what_may_not_leave_does_not() {
    let refusal = Refusal { code: "no_key", message: "no key; set it".into(), is_passing: true };
    let lab = Lab::new(Api::OpenAi, &[HELD]).await;
    lab.refuse(refusal);
    let refused = lab.question(question(Protocol::Chat), pending()).await;
    assert_eq!(refused, Err(NotAnswered::Failed("no key; set it".into())));
    assert!(lab.asked() == 0 && lab.seen().is_empty());
}
