//! Every protocol says the same script.

use orch_tests::model_server::{Answer, Delivery, ModelServer, Script, Turn};
use serde_json::{Value, json};

use crate::agent::{Agent, Said, WIRES, Wire};
use crate::client::{get, post, post_as};

fn said(text: &str, commands: &[&str]) -> Said {
    let commands = commands.iter().map(|&command| command.to_owned()).collect();
    Said { text: text.to_owned(), commands, input: 500, output: 100 }
}

#[tokio::test]
async fn every_protocol_says_the_same_turns_streamed_or_not() {
    for wire in WIRES {
        for streams in [true, false] {
            let server = ModelServer::start(Script::new([
                Turn::run("cat > a <<'E'\nhi \"there\"\nE").and_say("I write.").and_think("Hm, so.").usage(500, 100),
                Turn::run("one").and_run("two").usage(500, 100),
                Turn::say("All is done.").usage(500, 100),
            ]))
            .await
            .unwrap();
            let mut agent = Agent::new(wire, streams, "do it");
            let first = agent.goes_on(&server).await;
            assert_eq!(first, said("I write.", &["cat > a <<'E'\nhi \"there\"\nE"]), "{wire:?} {streams}");
            assert_eq!(agent.goes_on(&server).await, said("", &["one", "two"]), "{wire:?} {streams}");
            assert_eq!(agent.goes_on(&server).await, said("All is done.", &[]), "{wire:?} {streams}");

            let requests = server.stop().await;
            let answers: Vec<_> = requests.iter().map(|request| &request.answer).collect();
            let turns = [0, 1, 2].map(|index| Answer::Turn { index });
            assert_eq!(answers, turns.iter().collect::<Vec<_>>());
            assert!(requests.iter().all(|request| request.delivery == Delivery::Whole));
            assert!(requests.iter().all(|request| request.conversation == requests[0].conversation));
            assert_eq!(requests[0].json(), Agent::new(wire, streams, "do it").request());
        }
    }
}

#[tokio::test]
async fn the_cache_is_counted_as_each_vendor_counts_it() {
    let turn = Turn::say("x").usage(500, 100).cached(300, 50).reasoned(40);
    let server = ModelServer::start(Script::new([turn])).await.unwrap();
    let usage = async |wire| Agent::new(wire, false, "x").asks(&server).await.json()["usage"].clone();
    assert_eq!(
        usage(Wire::Responses).await,
        json!({ "input_tokens": 500, "input_tokens_details": { "cached_tokens": 300 }, "output_tokens": 100,
            "output_tokens_details": { "reasoning_tokens": 40 }, "total_tokens": 600 })
    );
    assert_eq!(
        usage(Wire::Messages).await,
        json!({ "input_tokens": 150, "cache_creation_input_tokens": 50, "cache_read_input_tokens": 300,
            "output_tokens": 100 })
    );
    assert_eq!(usage(Wire::Chat).await["prompt_tokens_details"], json!({ "cached_tokens": 300 }));
}

#[tokio::test]
async fn a_chat_stream_tells_the_usage_only_when_asked() {
    let server = ModelServer::start(Script::new([Turn::say("x")])).await.unwrap();
    let request = json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }], "stream": true });
    let answer = post(&server, "/v1/chat/completions", &request).await;
    assert!(answer.events().iter().all(|chunk| chunk.get("usage").is_none()));
    assert!(answer.body.ends_with(b"data: [DONE]\n\n"));
}

#[tokio::test]
async fn ollama_generates_turn_by_turn_through_its_context() {
    let server = ModelServer::start(Script::new(["one", "two"].map(Turn::say))).await.unwrap();
    let mut context = Value::Null;
    for expected in ["one", "two"] {
        let request = json!({ "model": "m", "prompt": "go", "stream": false, "context": context });
        let answer = post(&server, "/api/generate", &request).await.json();
        assert_eq!(answer["response"], expected);
        context = answer["context"].clone();
    }
    let streamed = post(&server, "/api/generate", &json!({ "model": "m", "prompt": "go" })).await;
    assert_eq!(streamed.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(streamed.events().first().unwrap()["response"], "one");
}

#[tokio::test]
async fn what_is_no_model_is_listed() {
    let server = ModelServer::start(Script::new([]).models(["a", "b"])).await.unwrap();
    let ids = |value: &Value| value.as_array().unwrap().iter().map(|it| it["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&get(&server, "/v1/models", "").await.json()["data"]), ["a", "b"]);
    let anthropic = get(&server, "/v1/models", "anthropic-version: 2023-06-01\r\n").await.json();
    assert_eq!((ids(&anthropic["data"]), &anthropic["last_id"]), (vec!["a".into(), "b".into()], &json!("b")));
    assert_eq!(get(&server, "/api/tags", "").await.json()["models"][1]["name"], "b");
    assert!(get(&server, "/api/version", "").await.json()["version"].is_string());
    let counted = post(&server, "/v1/messages/count_tokens?beta=true", &json!({ "model": "m", "messages": [] })).await;
    assert!(counted.json()["input_tokens"].is_u64());
    let requests = server.stop().await;
    assert!(requests.iter().all(|request| request.answer == Answer::Listing));
    assert_eq!(requests.last().unwrap().query.as_deref(), Some("beta=true"));
}

#[tokio::test]
async fn what_it_does_not_have_is_refused_in_the_vendors_form() {
    let server = ModelServer::start(Script::new([Turn::say("x")])).await.unwrap();
    assert_eq!(post(&server, "/v1/messages/batches", &json!({})).await.json()["error"]["type"], "not_found_error");
    assert_eq!(post(&server, "/responses", &json!({})).await.status, 404);
    assert_eq!(get(&server, "/v1/responses", "upgrade: websocket\r\n").await.status, 426);
    assert_eq!(post(&server, "/v1/responses", &json!([1])).await.json()["error"]["type"], "invalid_request_error");
    let encoded = post_as(&server, "/v1/responses", "content-encoding: zstd\r\n", &json!({})).await;
    assert_eq!(encoded.status, 415);
}

#[tokio::test]
async fn codex_gets_its_tools_from_namespaces_and_additional_tools() {
    let script = Script::new([Turn::call("report", json!({ "n": 1 })), Turn::run("ls")]);
    let server = ModelServer::start(script).await.unwrap();
    let inner = json!([{ "type": "function", "name": "report", "parameters": {} }]);
    let house = json!([{ "type": "namespace", "name": "mcp__house", "tools": inner }]);
    let asked = |extra: &Value| json!({ "model": "m", "input": extra, "tools": house });
    let answer = post(&server, "/v1/responses", &asked(&json!("go"))).await.json();
    let call = &answer["output"][0];
    assert_eq!((&call["name"], &call["namespace"]), (&json!("report"), &json!("mcp__house")));

    let exec = json!([{ "type": "custom", "name": "exec" }]);
    let functions = json!([{ "type": "namespace", "name": "functions", "tools": exec }]);
    let history = json!([{ "type": "additional_tools", "role": "developer", "tools": functions }, call,
        { "type": "function_call_output", "call_id": call["call_id"], "output": "" }]);
    let answer = post(&server, "/v1/responses", &asked(&history)).await.json();
    let call = &answer["output"][0];
    assert_eq!((&call["type"], &call["namespace"]), (&json!("custom_tool_call"), &json!("functions")));
    assert!(call["input"].as_str().unwrap().contains(r#"{"cmd":"ls","#));
}
