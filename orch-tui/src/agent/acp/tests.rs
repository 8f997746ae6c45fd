//! The driver against agents that behave well and badly, each a process that speaks the protocol: `scripted.py`.

use std::time::Duration;

use super::super::driven::{Drive, Driven, PATIENT};
use super::super::job::{Bounds, Protocol, Tools};

/// The scripted agent, which finds out how to behave in its arguments.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/agent/acp/scripted.py");

fn drive<'a>(words: &[&'a str]) -> Drive<'a> {
    let command: Vec<&str> = ["python3", SCRIPT].into_iter().chain(words.iter().copied()).collect();
    Drive::of(Protocol::Acp, &command)
}

async fn agent(words: &[&str]) -> Driven {
    drive(words).run().await
}

#[tokio::test]
async fn a_turn_is_printed_as_it_came_to_its_last_word() {
    let driven = agent(&["tell"]).await;
    assert!(driven.outcome.is_ok(), "{:?}", driven.outcome);
    assert_eq!(driven.said(), ["Say \"hi\".\n\u{e9}", "and a last word"]);
    let first = String::from_utf8(driven.out.split(|&byte| byte == b'\n').next().unwrap().to_vec()).unwrap();
    assert_eq!(
        first,
        r#"{"jsonrpc": "2.0", "id": "initialize", "result": {"protocolVersion": 1, "agentCapabilities": {}}}"#
    );
    assert_eq!(driven.err, "");
}

/// Best in the way that does not tell again what was said; one that can do neither begins no session by itself.
#[tokio::test]
async fn a_session_is_gone_on_with_as_the_agent_can() {
    for (how, said) in
        [("resume", &["Say \"hi\".\n\u{e9}"][..]), ("load", &["what was said before", "Say \"hi\".\n\u{e9}"])]
    {
        let driven = drive(&[how]).resuming("s").run().await;
        assert!(driven.outcome.is_ok(), "{how}: {:?}\n{}", driven.outcome, driven.err);
        assert_eq!(driven.said()[..said.len()], *said, "{how}");
    }
    let driven = drive(&["tell"]).resuming("s").run().await;
    assert!(driven.error().contains("cannot go on with a session"), "{}", driven.error());
}

#[tokio::test]
async fn leave_is_given_as_little_as_is_offered() {
    let driven = agent(&["ask"]).await;
    assert!(driven.outcome.is_ok(), "{:?}", driven.outcome);
    let chosen = |id: &str| format!(r#"{{"optionId": "{id}", "outcome": "selected"}}"#);
    let expected = [chosen("once"), chosen("ever"), r#"{"outcome": "cancelled"}"#.into(), "-32602".into()];
    assert_eq!(driven.said()[..4], expected);
    assert_eq!(driven.err.matches("leave for: rm").count(), 3, "{}", driven.err);
    assert!(
        driven.err.contains("offers no answer that gives it leave") && !driven.err.contains('\u{1b}'),
        "{:?}",
        driven.err
    );
}

#[tokio::test]
async fn what_a_client_need_not_have_is_refused_by_name() {
    let driven = agent(&["want"]).await;
    assert!(driven.outcome.is_ok(), "{:?}", driven.outcome);
    assert_eq!(driven.said(), ["-32601", "-32601", "-32601", "and a last word"]);
}

#[tokio::test]
async fn lines_that_are_no_messages_end_nothing() {
    let driven = agent(&["babble"]).await;
    assert!(driven.outcome.is_ok(), "{:?}\n{}", driven.outcome, driven.err);
    assert!(driven.said()[0].contains("once"), "{:?}", driven.said());
    let broken: &[u8] = b"\n\n{\n[1,2]\nnull\n\"text\"\n{\"id\":[],\"method\":1}\n\xff\xfe\r\n";
    assert!(driven.out.windows(broken.len()).any(|window| window == broken), "they are in the log all the same");
}

/// Also where it is an answer that is waited for; what asks for something in such a line gets nothing.
#[tokio::test]
async fn lines_of_any_length_are_printed_and_heard() {
    let driven = agent(&["drone"]).await;
    assert!(driven.outcome.is_ok(), "{:?}\n{}", driven.outcome, driven.err);
    assert_eq!(driven.said(), ["after it", "-32602", "and a last word"]);
    let lines: Vec<&[u8]> = driven.out.split(|&byte| byte == b'\n').filter(|line| line.len() > 12_000_000).collect();
    assert_eq!(lines.len(), 3, "each is one line of the log");
    assert!(
        lines[0].starts_with(br#"{"method":"session/update","params":"xx"#)
            && lines[2].ends_with(br#""id":"prompt-0"}"#)
    );
    assert_eq!(driven.err, "");
}

#[tokio::test]
async fn what_it_wants_to_know_is_asked_a_person() {
    let driven = drive(&["wonder"]).answered().run().await;
    assert!(driven.outcome.is_ok(), "{:?}\n{}", driven.outcome, driven.err);
    let accepted = r#"{"action": "accept", "content": {"place": "eu"}}"#;
    assert_eq!(driven.said(), [accepted, "-32602", "and a last word"]);
    assert_eq!(driven.err, "had an answer to: Where to?\n");
    let alone = agent(&["wonder"]).await;
    assert_eq!(alone.said()[0], r#"{"action": "decline"}"#);
    assert!(alone.err.contains("there is nobody to ask"), "{}", alone.err);
}

#[tokio::test]
async fn it_finds_the_tools_of_the_channel() {
    let tools = Tools { program: "/orch/orchctl".to_owned(), address: "127.0.0.1:4142".to_owned() };
    let driven = drive(&["tools"]).tools(&tools).run().await;
    assert!(driven.outcome.is_ok(), "{:?}\n{}", driven.outcome, driven.err);
    let expected = r#"[{"args": ["agent", "mcp"], "command": "/orch/orchctl", "env": [{"name": "ORCH_CHANNEL", "value": "127.0.0.1:4142"}], "name": "orch"}]"#;
    assert_eq!(driven.said()[0], expected);
}

#[tokio::test]
async fn ends_that_are_none_are_told_apart() {
    for (words, expected) in [
        (&["exit"][..], "the agent ended (exit status: 3) before it answered `session/prompt`"),
        (&["leave"], "the agent ended (exit status: 4) before it answered `session/prompt`"),
        (&["refuse"], r#"the agent answered `session/prompt` with an error: Internal error: {"status":401}"#),
        (&["login"], "the agent wants somebody to log in: Authentication required"),
        (&["newer"], "the agent speaks version 2 of the Agent Client Protocol, which is not version 1"),
        (&["nowhere"], "the agent's answer to `session/new` is not what the protocol says: {}"),
        (&["tell", "refusal"], "the agent stopped before it was done: its model refuses to do this (refusal)"),
        (&["tell", "max_tokens"], "the agent stopped before it was done: its model may not say more (max_tokens)"),
        (&["tell", "cancelled"], "the agent stopped before it was done: it was cancelled (cancelled)"),
        (
            &["tell", "max_turn_requests"],
            "the agent stopped before it was done: it asked its model as often as it may (max_turn_requests)",
        ),
        (&["tell", "boredom"], "the agent stopped before it was done: it says `boredom`, which nobody here knows"),
    ] {
        assert_eq!(agent(words).await.error(), expected, "{words:?}");
    }
    let absent = Drive::of(Protocol::Acp, &["/nowhere/agent"]).run().await;
    assert_eq!(absent.error(), "failed to start the agent `/nowhere/agent`");
}

#[tokio::test]
async fn an_agent_that_does_not_greet_is_not_waited_for() {
    let bounds = Bounds { start: Duration::from_millis(200), ..PATIENT };
    let driven = drive(&["mute"]).bounds(bounds).run().await;
    assert_eq!(driven.error(), "the agent did not answer `initialize` within 0 s");
    // Nor is one that takes nothing in, prints no line and does not stop.
    let bounds = Bounds { end: Duration::from_millis(100), ..bounds };
    let driven = Drive::of(Protocol::Acp, &["sh", "-c", "while :; do printf x; done"]).bounds(bounds).run().await;
    assert_eq!(driven.error(), "the agent did not answer `initialize` within 0 s");
}

#[tokio::test]
async fn an_agent_that_is_told_to_stop_hears_so_before_it_is_ended() {
    let driven = drive(&["wait"]).until("waiting").run().await;
    assert_eq!(driven.error(), "the agent was told to stop");
    let said = driven.said();
    // What it asked for is answered, too, and nobody gave leave.
    assert!(said[1].contains(r#""id": 1"#) && said[1].contains("cancelled"), "{said:?}");
    assert_eq!((said[0].as_str(), said[2..].join(" ")), ("waiting", "\"session/cancel\" and a last word".to_owned()));
    let stubborn = ["sh", "-c", "trap '' TERM; read x; echo up; while read x; do :; done; cat"];
    let bounds = Bounds { end: Duration::from_millis(100), ..PATIENT };
    let stubborn = Drive::of(Protocol::Acp, &stubborn).bounds(bounds).until("up").run().await;
    assert_eq!(stubborn.error(), "the agent was told to stop");
}

#[tokio::test]
async fn an_agent_that_stays_when_it_is_done_is_killed() {
    let bounds = Bounds { end: Duration::from_millis(300), ..PATIENT };
    let driven = drive(&["stay"]).bounds(bounds).run().await;
    assert!(driven.outcome.is_ok(), "its work is done: {:?}", driven.outcome);
}

#[tokio::test]
async fn what_is_not_allowed_is_told_after_the_turn_with_why() {
    let rules = r#"[{"of":"command","matches":"rm *","then":"deny","because":"nothing is to be lost"}]"#;
    let driven = drive(&["deny"]).rules(rules).run().await;
    assert!(driven.outcome.is_ok(), "{:?}\n{}", driven.outcome, driven.err);
    let said = driven.said();
    assert_eq!(
        said[..2],
        [r#"{"optionId": "yes", "outcome": "selected"}"#, r#"{"optionId": "no", "outcome": "selected"}"#]
    );
    assert!(said[2].contains("You were not given leave") && said[2].contains("nothing is to be lost"), "{said:?}");
    assert!(driven.err.contains("did not give leave for: clean up"), "{}", driven.err);
}

#[tokio::test]
async fn what_people_say_is_told_by_further_prompts() {
    let driven = drive(&["listen"]).says(&["first", "second"]).run().await;
    assert!(driven.outcome.is_ok(), "{:?}\n{}", driven.outcome, driven.err);
    let said = "ada, who looks after this task, says:\n\nfirst\n\nada, who looks after this task, says:\n\nsecond";
    assert_eq!(driven.said(), [said, "and a last word"]);
}
