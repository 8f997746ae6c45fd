//! How it misbehaves, and that it does so exactly as the script says.

use std::time::Duration;

use orch_tests::model_server::{Answer, Delivery, Misbehave as _, ModelServer, Script, Turn};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::agent::{Agent, WIRES, Wire};
use crate::client::{self, PATIENCE};

async fn serve(script: Script) -> ModelServer {
    ModelServer::start(script).await.unwrap()
}

#[tokio::test]
async fn an_error_comes_so_often_with_the_vendors_body() {
    let turn = || Turn::say("x").status(429).retry_after(7).times(2);
    for wire in WIRES {
        let server = serve(Script::new([turn()])).await;
        let agent = Agent::new(wire, true, "x");
        for _ in 0..2 {
            let answer = agent.asks(&server).await;
            assert_eq!((answer.status, answer.header("retry-after")), (429, Some("7")));
            let error = answer.json();
            match wire {
                Wire::Responses | Wire::Chat => assert_eq!(error["error"]["code"], "rate_limit_exceeded"),
                Wire::Messages => assert_eq!(error["error"]["type"], "rate_limit_error"),
                Wire::Ollama => assert!(error["error"].is_string()),
            }
        }
        assert_eq!(agent.asks(&server).await.status, 200);
        // Another agent has not seen a failure yet.
        assert_eq!(Agent::new(wire, true, "y").asks(&server).await.status, 429);
        let answers: Vec<_> = server.requests().into_iter().map(|request| request.answer).collect();
        let fault = Answer::Fault { index: Some(0) };
        assert_eq!(answers, [fault.clone(), fault.clone(), Answer::Turn { index: 0 }, fault]);
    }
}

#[tokio::test]
async fn a_server_that_fails_fails_everybody_so_often() {
    let server = serve(Script::new([Turn::say("x")]).status(529).times(2)).await;
    let mut statuses = Vec::new();
    for wire in WIRES {
        statuses.push(Agent::new(wire, true, "x").asks(&server).await.status);
    }
    assert_eq!(statuses, [529, 529, 200, 200]);
    assert_eq!(server.requests()[0].answer, Answer::Fault { index: None });
}

#[tokio::test]
async fn a_server_that_is_slow_or_cut_is_still_at_the_turn() {
    let server = serve(Script::new([Turn::run("a"), Turn::say("b")]).cut_after(10).times(1)).await;
    let mut agent = Agent::new(Wire::Chat, true, "x");
    assert!(!agent.asks(&server).await.is_whole);
    assert_eq!(agent.goes_on(&server).await.commands, ["a"]);
    assert_eq!(agent.goes_on(&server).await.text, "b");
    let answers: Vec<_> = server.requests().into_iter().map(|request| request.answer).collect();
    let expected = [Answer::Fault { index: Some(0) }, Answer::Turn { index: 0 }, Answer::Turn { index: 1 }];
    assert_eq!(answers, expected);
}

#[tokio::test]
async fn an_error_has_the_name_that_the_script_gives_it() {
    let turn = Turn::say("x").status(400).error("context_length_exceeded", "too long");
    let server = serve(Script::new([turn])).await;
    let error = Agent::new(Wire::Responses, true, "x").asks(&server).await.json();
    assert_eq!(
        error["error"],
        json!({ "message": "too long", "type": "invalid_request_error", "param": null,
        "code": "context_length_exceeded" })
    );
}

#[tokio::test]
async fn a_cut_is_after_exactly_so_many_bytes() {
    for wire in WIRES {
        for streams in [true, false] {
            let whole = serve(Script::new([Turn::say("some more words")])).await;
            let whole = Agent::new(wire, streams, "x").asks(&whole).await.body;
            for bytes in [0, 1, 100, whole.len() - 1] {
                let turn = Turn::say("some more words").cut_after(bytes as u64);
                let server = serve(Script::new([turn])).await;
                let answer = Agent::new(wire, streams, "x").asks(&server).await;
                assert_eq!((answer.status, answer.is_whole), (200, false), "{wire:?} {bytes}");
                assert_eq!(answer.body, whole[..bytes], "{wire:?} {bytes}");
                assert_eq!(server.stop().await[0].delivery, Delivery::Cut);
            }
        }
    }
}

#[tokio::test]
async fn hanging_up_sends_nothing() {
    let server = serve(Script::new([Turn::say("x").hang_up()])).await;
    assert_eq!(Agent::new(Wire::Chat, true, "x").asks(&server).await.status, 0);
    assert_eq!(server.requests()[0].delivery, Delivery::Cut);
}

#[tokio::test]
async fn garbage_is_200_and_no_json() {
    for wire in WIRES {
        let server = serve(Script::new([Turn::say("x").garbage()])).await;
        let answer = Agent::new(wire, false, "x").asks(&server).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_err());
        let answer = Agent::new(wire, true, "x").asks(&server).await;
        assert_eq!((answer.status, answer.is_whole), (200, true));
        assert!(std::str::from_utf8(&answer.body).is_err());
    }
}

#[tokio::test]
async fn an_error_in_the_stream_is_its_last_event() {
    for wire in WIRES {
        let server = serve(Script::new([Turn::say("x y z").error_in_stream()])).await;
        let answer = Agent::new(wire, true, "x").asks(&server).await;
        assert_eq!((answer.status, answer.is_whole), (200, true));
        let events = answer.events();
        let last = events.last().unwrap();
        match wire {
            Wire::Responses => assert_eq!(last["type"], "response.failed"),
            Wire::Messages => assert_eq!(last["type"], "error"),
            Wire::Chat | Wire::Ollama => assert!(last.get("error").is_some()),
        }
        assert!(events.len() > 1);
        assert_eq!(Agent::new(wire, false, "x").asks(&server).await.status, 500);
    }
}

#[tokio::test]
async fn an_early_end_looks_like_an_end() {
    for wire in WIRES {
        let server = serve(Script::new([Turn::say("x y z").end_early()])).await;
        let answer = Agent::new(wire, true, "x").asks(&server).await;
        assert_eq!((answer.status, answer.is_whole), (200, true));
        let last = answer.events().pop().unwrap();
        assert!(last["type"] != "response.completed" && last["type"] != "message_stop" && last["done"] != true);
        let answer = Agent::new(wire, false, "x").asks(&server).await;
        assert!(answer.is_whole && serde_json::from_slice::<serde_json::Value>(&answer.body).is_err());
    }
}

#[tokio::test]
async fn a_huge_text_is_one_line_of_so_many_bytes() {
    const BYTES: u64 = 20 << 20;
    let server = serve(Script::new([Turn::say("x").huge(BYTES)])).await;
    for wire in [Wire::Messages, Wire::Chat, Wire::Ollama] {
        let answer = Agent::new(wire, true, "x").asks(&server).await;
        assert!(answer.is_whole);
        let longest = answer.body.split(|byte| *byte == b'\n').map(<[u8]>::len).max().unwrap();
        assert!((BYTES..BYTES + 1000).contains(&(longest as u64)), "{wire:?} {longest}");
    }
    let answer = Agent::new(Wire::Messages, false, "x").asks(&server).await;
    assert_eq!(answer.json()["content"][0]["text"].as_str().map(str::len), usize::try_from(BYTES + 1).ok());
}

#[tokio::test]
async fn what_is_held_goes_on_when_it_is_released() {
    let server = serve(Script::new([Turn::say("some more words").hold_after(50)])).await;
    let agent = Agent::new(Wire::Messages, true, "x");
    let mut stream = asked(&server, &agent).await;
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
        stream.read_buf(&mut bytes).await.unwrap();
    }
    assert_eq!(server.requests()[0].delivery, Delivery::Open);
    server.release();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    assert!(client::parse(&bytes).is_whole);
}

#[tokio::test]
async fn nothing_comes_of_what_is_held_from_the_beginning_until_it_is_released() {
    let server = serve(Script::new([Turn::say("x").hold()])).await;
    let agent = Agent::new(Wire::Chat, true, "x");
    let asks = agent.asks(&server);
    let release = async {
        let requests = server.until(|requests| !requests.is_empty()).await;
        assert_eq!(requests[0].delivery, Delivery::Open);
        server.release();
    };
    let (answer, ()) = timeout(PATIENCE, async { tokio::join!(asks, release) }).await.unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn who_goes_away_has_abandoned_the_answer() {
    for turn in [Turn::say("x").hold_after(50), Turn::say("x").hold()] {
        let server = serve(Script::new([turn])).await;
        let stream = asked(&server, &Agent::new(Wire::Messages, true, "x")).await;
        timeout(PATIENCE, server.until(|requests| !requests.is_empty())).await.unwrap();
        drop(stream);
        let abandoned = server.until(|requests| requests[0].delivery == Delivery::Abandoned);
        timeout(PATIENCE, abandoned).await.unwrap();
    }
}

/// A connection on which an agent has asked.
async fn asked(server: &ModelServer, agent: &Agent) -> TcpStream {
    let body = agent.request().to_string();
    let head = format!("POST {} HTTP/1.1\r\nhost: m\r\nconnection: close\r\n", agent.path());
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
    stream
}

/// Time stands still here but for what is waited for.
#[tokio::test(start_paused = true)]
async fn a_stream_takes_as_long_as_its_tokens() {
    const TOKENS: u32 = 36_000;
    let turns = [Turn::say("some more words").usage(1, u64::from(TOKENS)).pace(10.0)];
    let server = serve(Script::new(turns)).await;
    let before = tokio::time::Instant::now();
    let mut stream = asked(&server, &Agent::new(Wire::Chat, true, "x")).await;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    assert!(client::parse(&bytes).is_whole);
    assert!(before.elapsed() >= Duration::from_secs(u64::from(TOKENS) / 10));
}

#[tokio::test(start_paused = true)]
async fn each_step_of_a_stream_can_say_when_it_was_written() {
    let turn = || Turn::say("some more words").usage(1, 30).pace(1_000.0);
    for (turn, steps) in [(turn(), 0), (turn().stamped(), 3)] {
        let server = serve(Script::new([turn])).await;
        let mut stream = asked(&server, &Agent::new(Wire::Responses, true, "x")).await;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let stamps: Vec<u64> = text.lines().filter_map(|line| line.strip_prefix(": at ")?.parse().ok()).collect();
        assert_eq!((stamps.len(), stamps.is_sorted()), (steps, true), "{text}");
        assert!(client::parse(&bytes).is_whole);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_before_the_first_byte() {
    let server = serve(Script::new([Turn::say("x").delay_first_byte(Duration::from_secs(3600))])).await;
    let before = tokio::time::Instant::now();
    let mut stream = asked(&server, &Agent::new(Wire::Chat, true, "x")).await;
    stream.read_u8().await.unwrap();
    assert!(before.elapsed() >= Duration::from_secs(3600));
}
