//! The driver against a program that speaks as Claude Code 2.1 was seen to: `scripted.py`.

use std::time::Duration;

use super::super::driven::{Drive, PATIENT};
use super::super::job::Protocol;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/agent/claude/scripted.py");

fn agent(how: &str) -> Drive<'_> {
    Drive::of(Protocol::Claude, &["python3", SCRIPT, how])
}

#[tokio::test]
async fn a_turn_is_printed_as_it_came() {
    let driven = agent("tell").run().await;
    assert!(driven.outcome.is_ok(), "{:?}\n{}", driven.outcome, driven.err);
    assert_eq!(driven.texts("/message/content/0/text"), ["Say \"hi\".\n\u{e9}", "done"]);
}

/// The program takes no message of a name twice, and the prompt of the first attempt is in the session.
#[tokio::test]
async fn the_prompt_of_a_session_that_goes_on_has_a_name_of_its_own() {
    let first = agent("number").run().await.texts("/said");
    let again = agent("number").resuming("s").run().await.texts("/said");
    assert_eq!(first, ["0c0dec00-0000-4000-8000-000000000000"]);
    assert_eq!(again, ["0c0dec00-0000-4000-8000-0000fffffffd"]);
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
async fn what_it_wants_to_know_is_asked_a_person() {
    let driven = agent("wonder").answered().run().await;
    assert!(driven.outcome.is_ok(), "{:?}\n{}", driven.outcome, driven.err);
    let content = r#"{"action": "accept", "content": {"name": "in words"}}"#;
    assert_eq!(driven.texts("/said"), ["allow", r#"{"Which?": "SQLite"}"#, content]);
    assert!(driven.err.contains("had an answer to: Which?"), "{}", driven.err);
    let alone = agent("wonder").run().await;
    let words = "there is nobody to ask. Decide it by yourself, and say what you took for granted.";
    assert_eq!(alone.texts("/said"), ["allow", words, r#"{"action": "decline"}"#]);
}

#[tokio::test]
async fn lines_of_any_length_are_printed_and_heard() {
    let driven = agent("drone").run().await;
    assert!(driven.outcome.is_ok(), "{:?}\n{}", driven.outcome, driven.err);
    assert_eq!(driven.texts("/said"), ["deny what is asked for is too long to be looked at"]);
    assert!(driven.out.len() > 36_000_000, "{}", driven.out.len());
}

#[tokio::test]
async fn one_that_takes_up_nothing_is_not_waited_for_without_end() {
    for words in [&["deaf"][..], &["deaf", "again"]] {
        let command: Vec<&str> = ["python3", SCRIPT].into_iter().chain(words.iter().copied()).collect();
        // What it says in its second turn is heard however long that takes.
        let heed = if words.len() > 1 { PATIENT.heed } else { Duration::from_millis(100) };
        let bounds = super::super::Bounds { heed, ..PATIENT };
        let driven = Drive::of(Protocol::Claude, &command).bounds(bounds).says(&["first"]).run().await;
        assert!(driven.outcome.is_ok(), "{:?}\n{}", driven.outcome, driven.err);
        assert!(driven.err.contains("took up no more of what was said to it"), "{}", driven.err);
    }
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
