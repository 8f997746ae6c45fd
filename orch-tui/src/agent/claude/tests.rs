//! The driver against a program that speaks as Claude Code 2.1 was seen to: `scripted.py`.

use std::time::Duration;

use super::super::driven::{Drive, PATIENT, Speaks};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/agent/claude/scripted.py");

fn agent(how: &str) -> Drive<'_> {
    Drive::of(Speaks::Claude, &["python3", SCRIPT, how])
}

#[tokio::test]
async fn a_turn_is_printed_as_it_came() {
    let driven = agent("tell").run().await;
    assert!(driven.outcome.is_ok(), "{:?}\n{}", driven.outcome, driven.err);
    assert_eq!(driven.texts("/message/content/0/text"), ["Say \"hi\".\n\u{e9}", "done"]);
}

#[tokio::test]
async fn each_tool_is_asked_about_and_a_refusal_says_why() {
    let rules = r#"[{"of":"command","matches":"rm *","then":"deny","because":"nothing is to be lost"}]"#;
    let driven = agent("ask").rules(rules).run().await;
    assert!(driven.outcome.is_ok(), "{:?}\n{}", driven.outcome, driven.err);
    let said = driven.texts("/said");
    let denied = "the rules of this agent do not allow it: nothing is to be lost. Go on without it, or in another way.";
    assert_eq!(said, ["allow it may", &format!("deny {denied}"), "allow None", &format!("deny {denied}"), "error"]);
    assert!(driven.err.contains("did not give leave for: Bash: rm x"), "{}", driven.err);
}

#[tokio::test]
async fn what_people_say_reaches_the_agent_while_it_works_or_after_it() {
    let driven = agent("listen").says(&["first", "second"]).run().await;
    assert!(driven.outcome.is_ok(), "{:?}\n{}", driven.outcome, driven.err);
    let heard: Vec<_> = driven.texts("/heard");
    assert_eq!(
        heard,
        ["ada, who looks after this task, says:\n\nfirst", "ada, who looks after this task, says:\n\nsecond"]
    );
}

#[tokio::test]
async fn ends_that_are_none_are_told_apart() {
    for (how, expected) in [
        ("fail", "the agent stopped before it was done: API Error: 400"),
        ("exit", "the agent ended (exit status: 3) before it answered `a turn`"),
    ] {
        assert_eq!(agent(how).run().await.error(), expected, "{how}");
    }
    let bounds = super::super::Bounds { start: Duration::from_millis(200), ..PATIENT };
    assert_eq!(agent("mute").bounds(bounds).run().await.error(), "the agent did not answer `initialize` within 0 s");
}

#[tokio::test]
async fn an_agent_that_is_told_to_stop_hears_so() {
    let driven = agent("wait").until("waiting").run().await;
    assert_eq!(driven.error(), "the agent was told to stop");
    assert_eq!(driven.texts("/said"), ["waiting", "interrupted"]);
}
