//! The model gateway between a client and a server, both of which send what they like: what passes, and what is on record.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking; only code marked as a test is exempt by itself")]

mod lab;
mod own;

use orch_adapters::gateway::{Api, End, Refusal};

use lab::{HELD, KEY, Lab, answer, heard, posted};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A request for an answer of Responses.
const RESPONSE: &str = r#"{"model":"m","input":"hello","store":false,"stream":true}"#;
const RESPONSES: &str = "/v1/responses";
const STREAM: &str = "content-type: text/event-stream\r\n";

/// The event that ends a stream of Responses.
fn completed(input: u64, output: u64) -> String {
    let usage = format!(r#"{{"input_tokens":{input},"output_tokens":{output}}}"#);
    format!("data: {{\"type\":\"response.completed\",\"response\":{{\"model\":\"m\",\"usage\":{usage}}}}}\n\n")
}

#[tokio::test]
async fn the_server_gets_the_key_and_the_run_gets_neither_that_nor_a_cookie() {
    let said = format!("data: {{\"delta\":\"your key is {KEY}\"}}\n\n{}", completed(7, 3));
    let headers = format!("{STREAM}set-cookie: a=b\r\nrequest-id: {KEY}\r\nx-request-id: r1\r\n");
    let mut lab = Lab::new(Api::OpenAi, &[&answer(200, &headers, &said)]).await;
    let sent = "authorization: Bearer own\r\ncookie: c=d\r\nopenai-project: other\r\nuser-agent: u\r\n";
    let body = RESPONSE.replace("hello", &format!("mine is {KEY}"));
    let got = lab.post(RESPONSES, sent, &body).await;
    assert!(got.contains("your key is [secret model-key]") && !got.contains(KEY), "{got}");
    assert!(got.contains("x-request-id: r1") && !got.contains("cookie") && !got.contains("\r\nrequest-id"), "{got}");
    assert!(got.ends_with("0\r\n\r\n"), "it is whole: {got}");
    let seen = lab.has_seen(1).await.remove(0);
    let (head, body) = seen.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("authorization: Bearer {KEY}")) && head.contains("user-agent: u"), "{head}");
    assert!(!head.contains("own") && !head.contains("cookie") && !head.contains("openai-project"), "{head}");
    assert!(body.contains("mine is [secret model-key]"), "{body}");
    let answered = lab.answered().await;
    assert!(!String::from_utf8(answered.body).unwrap().contains(KEY));
    assert_eq!((answered.tokens.input, answered.tokens.output, answered.is_estimate), (7, 3, false));
}

#[tokio::test]
async fn who_hangs_up_before_it_is_on_record_leaves_nothing_open() {
    let mut lab = Lab::new(Api::OpenAi, &[&answer(200, STREAM, &completed(1, 1))]).await;
    lab.hold();
    let stream = lab.send(&posted(RESPONSES, "", RESPONSE)).await;
    lab.has_come().await;
    drop(stream);
    lab.let_go();
    assert_eq!(lab.answered().await.end, End::Unwanted);
    assert_eq!(lab.asked(), 1);
}

#[tokio::test]
async fn who_hangs_up_as_the_answer_is_whole_has_cost_what_the_server_says() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut lab = Lab::to(Api::OpenAi, &server);
    let mut client = lab.send(&posted(RESPONSES, "", RESPONSE)).await;
    let (mut asked, _) = server.accept().await.unwrap();
    asked.write_all(answer(200, STREAM, "data: {\"delta\":\"first\"}\n\n").as_bytes()).await.unwrap();
    let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
    while !seen.windows(5).any(|window| window == b"first") {
        let count = client.read(&mut piece).await.unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&piece[..count]);
    }
    // Both at once: nothing else has its turn in between.
    let end = completed(7, 3);
    assert_eq!(asked.try_write(end.as_bytes()).unwrap(), end.len());
    drop(client);
    let answered = lab.answered().await;
    assert_eq!((answered.end, answered.is_estimate), (End::Complete, false));
    assert_eq!((answered.tokens.input, answered.tokens.output), (7, 3));
}

#[tokio::test]
async fn what_waited_for_leave_goes_on_with_the_key_of_then() {
    let other = "sk-other-20c7d4b81f";
    let mut lab = Lab::new(Api::OpenAi, &[&answer(200, STREAM, &completed(1, 1))]).await;
    lab.hold();
    let request = posted(RESPONSES, "", RESPONSE);
    let stream = lab.send(&request).await;
    lab.has_come().await;
    lab.set_key(other);
    lab.let_go();
    let got = heard(stream).await;
    assert!(got.starts_with("HTTP/1.1 200"), "{got}");
    let seen = lab.has_seen(1).await.remove(0);
    assert!(seen.contains(&format!("authorization: Bearer {other}")) && !seen.contains(KEY), "{seen}");
    assert_eq!(lab.answered().await.end, End::Complete);
}

#[tokio::test]
async fn what_has_become_a_secret_while_it_waited_does_not_leave() {
    let word = "a-word-that-becomes-a-key";
    let mut lab = Lab::new(Api::OpenAi, &[&answer(200, STREAM, &completed(1, 1))]).await;
    lab.hold();
    let request = posted(RESPONSES, "", &RESPONSE.replace("hello", word));
    let stream = lab.send(&request).await;
    lab.has_come().await;
    lab.set_key(word);
    lab.let_go();
    let got = heard(stream).await;
    assert!(got.starts_with("HTTP/1.1 503") && got.contains("ask again") && !got.contains(word), "{got}");
    let answered = lab.answered().await;
    assert_eq!((answered.end, answered.tries, answered.tokens.total()), (End::Unreachable, 0, 0));
    assert!(lab.seen().is_empty());
    // Asked again, it has none.
    let got = lab.ask(&request).await;
    assert!(got.starts_with("HTTP/1.1 200"), "{got}");
    assert!(lab.has_seen(1).await.remove(0).contains("[secret model-key]"));
}

#[tokio::test]
async fn what_left_and_was_not_answered_has_cost_something() {
    let mut lab = Lab::new(Api::OpenAi, &[""]).await;
    let got = lab.post(RESPONSES, "", RESPONSE).await;
    assert!(got.starts_with("HTTP/1.1 502") && got.contains("model_unreachable"), "{got}");
    let answered = lab.answered().await;
    assert_eq!((answered.end, answered.tries, answered.is_estimate), (End::Unreachable, 1, true));
    assert_eq!(answered.tokens.input, (RESPONSE.len() as u64).div_ceil(4));
}

#[tokio::test]
async fn how_often_it_was_sent_is_known_also_of_what_nobody_waited_for() {
    let again = answer(503, "retry-after: 0\r\n", "");
    let mut lab = Lab::new(Api::OpenAi, &[&again, HELD]).await;
    let stream = lab.send(&posted(RESPONSES, "", RESPONSE)).await;
    lab.has_seen(2).await;
    drop(stream);
    let answered = lab.answered().await;
    assert_eq!((answered.end, answered.tries, answered.is_estimate), (End::Unwanted, 2, true));
}

#[tokio::test]
async fn a_stream_that_breaks_off_does_so_for_the_run_and_is_counted_by_its_size() {
    let start = r#"{"type":"message_start","message":{"model":"c","usage":{"input_tokens":10,"output_tokens":1}}}"#;
    let text = "x".repeat(4_000);
    let cut =
        format!("data: {start}\n\ndata: {{\"type\":\"content_block_delta\",\"delta\":{{\"text\":\"{text}\"}}}}\n\n");
    let headers = format!("{STREAM}content-length: {}\r\n", cut.len() + 100);
    let mut lab = Lab::new(Api::Anthropic, &[&answer(200, &headers, &cut)]).await;
    let body = r#"{"model":"c","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"x"}]}"#;
    let got = lab.post("/v1/messages?beta=true", "", body).await;
    assert!(got.contains("message_start") && !got.ends_with("0\r\n\r\n"), "{}", &got[got.len().saturating_sub(80)..]);
    let answered = lab.answered().await;
    assert_eq!((answered.end, answered.tokens.input, answered.is_estimate), (End::Broken, 10, true));
    assert!(answered.tokens.output >= 1_000, "{answered:?}");
}

#[tokio::test]
async fn what_is_no_question_to_a_model_reaches_nobody() {
    let lab = Lab::new(Api::OpenAi, &[&answer(200, "", "{}")]).await;
    let posts = [
        (RESPONSES, r#"{"store":false,"input":"x","tools":[{"type":"web_search"}]}"#),
        (RESPONSES, r#"{"store":false,"input":"x","background":true}"#),
        (RESPONSES, "[]"),
        ("/v1/responses?include=x", RESPONSE),
        ("/v1/chat/completions", r#"{"stream":true,"stream_options":"x","messages":[]}"#),
        ("/v1/chat/completions", r#"[{"stream":true}]"#),
    ];
    for (path, body) in posts {
        let got = lab.post(path, "", body).await;
        assert!(got.starts_with("HTTP/1.1 400"), "{path} {body}: {got}");
    }
    let got = lab.ask("GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx").await;
    assert!(got.starts_with("HTTP/1.1 400") && got.contains("has no body"), "{got}");
    assert!(lab.seen().is_empty() && lab.asked() == 0, "{:?}", lab.seen());
}

#[tokio::test]
async fn a_run_that_is_over_asks_for_nothing_also_not_for_what_is_free() {
    let refusal = |is_passing| Refusal { code: "not_admitted", message: "R-1 is over".to_owned(), is_passing };
    let get = "GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let lab = Lab::new(Api::OpenAi, &[&answer(200, "", "{}")]).await;
    assert!(lab.ask(get).await.starts_with("HTTP/1.1 200") && lab.seen().len() == 1);
    lab.refuse(refusal(false));
    for got in [lab.ask(get).await, lab.post(RESPONSES, "", RESPONSE).await] {
        assert!(got.starts_with("HTTP/1.1 403") && got.contains("R-1 is over"), "{got}");
    }
    lab.refuse(refusal(true));
    let got = lab.post(RESPONSES, "", RESPONSE).await;
    assert!(got.starts_with("HTTP/1.1 503") && got.contains("retry-after: 5"), "{got}");
    assert_eq!(lab.seen().len(), 1, "none of them reaches the server");
}

#[tokio::test]
async fn what_takes_room_of_others_waits_for_leave_for_a_bounded_time() {
    let mut lab = Lab::new(Api::OpenAi, &[&answer(200, STREAM, &completed(1, 1))]).await;
    for (text, is_bounded) in [("hello".to_owned(), false), ("x".repeat(5 << 20), true)] {
        lab.post(RESPONSES, "", &RESPONSE.replace("hello", &text)).await;
        assert_eq!(lab.last().patience.is_some(), is_bounded, "{} bytes", text.len());
        lab.answered().await;
    }
}

#[tokio::test]
async fn programs_that_look_whether_somebody_is_there_are_told_so() {
    let lab = Lab::new(Api::OpenAi, &[&answer(200, "", "{}")]).await;
    let got = lab.ask("HEAD / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(got.starts_with("HTTP/1.1 200"), "{got}");
    let upgrade = "connection: close, upgrade\r\nupgrade: websocket\r\n";
    let got = lab.ask(&format!("GET {RESPONSES} HTTP/1.1\r\nhost: x\r\n{upgrade}\r\n")).await;
    assert!(got.starts_with("HTTP/1.1 426") && got.contains("no_websocket"), "{got}");
    for request in [format!("GET {RESPONSES}"), "GET /".to_owned()] {
        let got = lab.ask(&format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
        assert!(got.starts_with("HTTP/1.1 404"), "{request}: {got}");
    }
    assert!(lab.seen().is_empty() && lab.asked() == 0, "{:?}", lab.seen());
}

#[tokio::test]
async fn what_is_free_passes_whole_and_without_the_key() {
    let lab = Lab::new(
        Api::Anthropic,
        &[&answer(200, "content-type: application/json\r\n", &format!("{{\"k\":\"{KEY}\"}}"))],
    )
    .await;
    let body = r#"{"model":"c","messages":[{"role":"user","content":"x"}]}"#;
    let got = lab.post("/v1/messages/count_tokens?beta=true", "", body).await;
    assert!(got.starts_with("HTTP/1.1 200") && got.ends_with("{\"k\":\"[secret model-key]\"}"), "{got}");
    assert_eq!(lab.asked(), 0, "it is not on record");
}

#[tokio::test]
async fn a_stream_of_chat_is_asked_what_it_cost() {
    let stream = "data: {\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\ndata: [DONE]\n\n";
    let mut lab = Lab::new(Api::OpenAi, &[&answer(200, STREAM, stream)]).await;
    lab.post("/v1/chat/completions", "", r#"{"model":"m","stream":true,"messages":[]}"#).await;
    assert!(lab.has_seen(1).await[0].ends_with(r#""stream_options":{"include_usage":true}}"#));
    let answered = lab.answered().await;
    assert_eq!((answered.tokens.total(), answered.is_estimate), (10, false));
}

#[tokio::test]
async fn an_answer_that_is_packed_is_not_passed_on() {
    let packed = answer(200, "content-encoding: gzip\r\n", "packed");
    let mut lab = Lab::new(Api::OpenAi, &[&packed]).await;
    let got = lab.post(RESPONSES, "", RESPONSE).await;
    assert!(got.starts_with("HTTP/1.1 502") && got.contains("packed_answer"), "{got}");
    assert!(lab.answered().await.is_estimate);
}
