//! Which turn a request gets.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_tests::model_server::{Answer, Misbehave as _, ModelServer, Script, Turn};
use serde_json::json;
use tokio::task::JoinSet;

use crate::agent::{Agent, WIRES, Wire};
use crate::client::{get, post, post_as};

#[tokio::test]
async fn a_retry_gets_the_same_answer() {
    for wire in WIRES {
        let server = ModelServer::start(Script::new([Turn::run("a"), Turn::say("b")])).await.unwrap();
        let mut agent = Agent::new(wire, true, "x");
        let (first, again) = (agent.asks(&server).await, agent.asks(&server).await);
        assert_eq!(first.body, again.body);
        agent.takes(&again);
        assert_eq!(agent.goes_on(&server).await.text, "b");
        assert_eq!(server.requests().iter().map(|request| request.attempt).collect::<Vec<_>>(), [0, 1, 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_at_the_same_time_are_each_at_their_own_turn() {
    let server = ModelServer::start(Script::new([Turn::run("a"), Turn::run("b"), Turn::say("c")])).await.unwrap();
    let server = Arc::new(server);
    let mut agents = JoinSet::new();
    for at in 0..16 {
        let server = Arc::clone(&server);
        agents.spawn(async move {
            let mut agent = Agent::new(WIRES[at % 4], at < 8, &format!("agent {at}"));
            let mut said = Vec::new();
            for _ in 0..3 {
                let reply = agent.goes_on(&server).await;
                said.push(reply.commands.concat() + &reply.text);
            }
            said
        });
    }
    assert!(agents.join_all().await.iter().all(|said| said == &["a", "b", "c"]));

    let requests = Arc::into_inner(server).unwrap().stop().await;
    let mut turns = BTreeMap::<u64, Vec<Answer>>::new();
    for request in requests {
        turns.entry(request.conversation).or_default().push(request.answer);
    }
    let expected = [0, 1, 2].map(|index| Answer::Turn { index });
    assert_eq!(turns.len(), 16);
    assert!(turns.values().all(|turns| *turns == expected));
}

#[tokio::test]
async fn a_session_goes_on_after_a_further_prompt() {
    for wire in WIRES {
        let server = ModelServer::start(Script::new(["a", "b"].map(Turn::say))).await.unwrap();
        let mut agent = Agent::new(wire, true, "x");
        assert_eq!(agent.goes_on(&server).await.text, "a");
        agent.is_told("y");
        assert_eq!(agent.goes_on(&server).await.text, "b");
        agent.is_told("z");
        let over = agent.goes_on(&server).await;
        assert_eq!((over.text.as_str(), over.input, over.output), ("The script is over.", 0, 0));
        assert_eq!(server.requests().last().unwrap().answer, Answer::Over);
    }
}

#[tokio::test]
async fn an_endless_script_begins_again() {
    let server = ModelServer::start(Script::new([Turn::run("a"), Turn::run("b")]).endless()).await.unwrap();
    let mut agent = Agent::new(Wire::Messages, true, "x");
    let mut commands = Vec::new();
    for _ in 0..5 {
        commands.extend(agent.goes_on(&server).await.commands);
    }
    assert_eq!(commands, ["a", "b", "a", "b", "a"]);
}

#[tokio::test]
async fn conversations_have_turns_by_what_was_asked() {
    let script = Script::new([Turn::say("else")])
        .when_asked("plan", [Turn::say("planned"), Turn::say("more")])
        .when_asked("review", [Turn::say("reviewed")]);
    let server = ModelServer::start(script).await.unwrap();
    for wire in WIRES {
        for (prompt, text) in [("review the plan", "planned"), ("review it", "reviewed"), ("do it", "else")] {
            assert_eq!(Agent::new(wire, false, prompt).goes_on(&server).await.text, text);
        }
        let mut agent = Agent::new(wire, false, "plan");
        agent.goes_on(&server).await;
        agent.is_told("review");
        assert_eq!(agent.goes_on(&server).await.text, "more");
    }
}

#[tokio::test]
async fn a_sequential_script_counts_requests_and_stays_for_what_fails_so_often() {
    let turns = [Turn::say("a"), Turn::say("b").status(500), Turn::say("c").status(503).times(2), Turn::say("d")];
    let server = ModelServer::start(Script::new(turns).sequential()).await.unwrap();
    let mut seen = Vec::new();
    for at in 0..7 {
        let answer = Agent::new(WIRES[at % 4], false, &format!("{at}")).asks(&server).await;
        seen.push(answer.status);
    }
    assert_eq!(seen, [200, 500, 503, 503, 200, 200, 200]);
    assert_eq!(server.requests().last().unwrap().answer, Answer::Over);
}

#[tokio::test]
async fn what_agents_ask_beside_their_work_takes_no_turn() {
    let server = ModelServer::start(Script::new([Turn::run("a"), Turn::say("b")])).await.unwrap();
    let messages = json!([{ "role": "user", "content": "quota" }]);
    let probe = json!({ "model": "m", "max_tokens": 1, "messages": messages });
    assert_eq!(post(&server, "/v1/messages", &probe).await.json()["usage"]["output_tokens"], 0);

    let schema = json!({ "type": "object", "properties": { "title": { "type": "string" } } });
    let form = json!({ "format": { "type": "json_schema", "schema": schema } });
    let title = json!({ "model": "m", "max_tokens": 99, "messages": messages, "output_config": form, "tools": [] });
    let answer = post_as(&server, "/v1/messages", "user-agent: claude-cli/2.1\r\n", &title).await.json();
    assert_eq!(answer["content"][0]["text"], r#"{"title":"A title"}"#);

    let plain = json!({ "model": "m", "messages": messages });
    let answer = post_as(&server, "/v1/chat/completions", "user-agent: opencode/1.18\r\n", &plain).await.json();
    assert_eq!(answer["choices"][0]["message"]["content"], "A title");
    // Nobody knows who this is, but a command without a tool for it is nothing that anybody could run.
    post(&server, "/v1/chat/completions", &plain).await;
    assert!(server.requests().iter().all(|request| request.answer == Answer::Aside));

    assert_eq!(Agent::new(Wire::Chat, true, "x").goes_on(&server).await.commands, ["a"]);
}

#[tokio::test]
async fn who_offers_no_tools_and_is_no_agent_gets_its_turn() {
    let server = ModelServer::start(Script::new([Turn::say("b")])).await.unwrap();
    let answer = post(&server, "/v1/responses", &json!({ "model": "m", "input": "x" })).await.json();
    assert_eq!(answer["output"][0]["content"][0]["text"], "b");
    let id = &answer["id"];
    let stored = json!({ "model": "m", "input": "x", "previous_response_id": id });
    post(&server, "/v1/responses", &stored).await;
    assert_eq!(server.requests().last().unwrap().answer, Answer::Over);
}

#[tokio::test]
async fn a_tool_that_is_not_offered_is_an_error() {
    let server = ModelServer::start(Script::new([Turn::call("report", json!({}))])).await.unwrap();
    let answer = Agent::new(Wire::Chat, true, "x").asks(&server).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"]["message"], "Turn 0 needs report, which is not among these: bash");
}

#[tokio::test]
async fn a_required_key_is_required_everywhere_and_kept() {
    let script = Script::new([Turn::say("x")]).require_key("right").require_key("other");
    let server = ModelServer::start(script).await.unwrap();
    let request = json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "x" }] });
    let wrong = post_as(&server, "/v1/messages", "x-api-key: wrong\r\n", &request).await;
    assert_eq!((wrong.status, &wrong.json()["error"]["type"]), (401, &json!("authentication_error")));
    let none = post(&server, "/v1/chat/completions", &request).await;
    assert_eq!((none.status, &none.json()["error"]["code"]), (401, &json!("invalid_api_key")));
    assert_eq!(post_as(&server, "/v1/messages", "x-api-key: right\r\n", &request).await.status, 200);
    let bearer = "authorization: bearer other\r\n";
    assert_eq!(post_as(&server, "/v1/chat/completions", bearer, &request).await.status, 200);
    assert_eq!(get(&server, "/v1/models", "").await.status, 401);
    let keys: Vec<_> = server.requests().into_iter().map(|request| request.key).collect();
    assert_eq!(keys, [Some("wrong".to_owned()), None, Some("right".to_owned()), Some("other".to_owned()), None]);
}
