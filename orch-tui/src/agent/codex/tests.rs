//! The driver against a program that speaks as the app-server of Codex 0.171 was seen to: `scripted.py`.

use super::super::driven::{Drive, PATIENT};
use super::super::job::Protocol;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/agent/codex/scripted.py");

fn agent(how: &str) -> Drive<'_> {
    Drive::of(Protocol::Codex, &["python3", SCRIPT, how])
}

#[tokio::test]
async fn a_turn_is_printed_as_it_came() {
    let driven = agent("tell").run().await;
    assert!(driven.outcome.is_ok(), "{:?}\n{}", driven.outcome, driven.err);
    assert_eq!(driven.texts("/said"), ["never danger-full-access /", "Say \"hi\".\n\u{e9}"]);
}

/// It says what it is to do, and is held by the same rules, in a thread of an earlier attempt; one that is gone is no thread.
#[tokio::test]
async fn a_thread_is_gone_on_with_or_refused() {
    let driven = agent("resume").resuming("T").run().await;
    assert!(driven.outcome.is_ok(), "{:?}\n{}", driven.outcome, driven.err);
    assert_eq!(driven.texts("/said"), ["never danger-full-access /", "Say \"hi\".\n\u{e9}"]);
    let driven = agent("forgot").resuming("T").run().await;
    assert!(driven.error().contains("`thread/resume` with an error: no rollout found"), "{}", driven.error());
}

#[tokio::test]
async fn what_is_asked_is_decided_and_a_refusal_is_told_with_why() {
    let rules = r#"[{"of":"command","matches":"rm *","then":"deny","because":"nothing is to be lost"},
                    {"of":"tool","then":"deny"}, {"of":"change","matches":"/etc/*","then":"deny"}]"#;
    let driven = agent("ask").rules(rules).run().await;
    assert!(driven.outcome.is_ok(), "{:?}\n{}", driven.outcome, driven.err);
    let said = driven.texts("/said");
    assert_eq!(said[0], "untrusted danger-full-access /");
    assert_eq!(said[2], "accept");
    assert!(said[3].contains("the rules of this agent do not allow it: nothing is to be lost"), "{said:?}");
    assert_eq!((said[4].as_str(), said[5].as_str()), ("decline", "accept"));
    assert!(said[6].contains("not given leave") && said[7] == "decline", "{said:?}");
    assert!(said[8].contains("not given leave") && said[9] == "decline", "{said:?}");
    assert_eq!(said[10..], ["-32601"], "{said:?}");
}

#[tokio::test]
async fn what_it_wants_to_know_is_asked_a_person() {
    let driven = agent("wonder").answered().run().await;
    assert!(driven.outcome.is_ok(), "{:?}\n{}", driven.outcome, driven.err);
    let said = driven.texts("/said");
    assert_eq!(said[2], r#"{"answers": {"db": {"answers": ["SQLite"]}}}"#);
    // A secret would go to the model.
    assert!(said[3].contains("a person cannot be asked this") && said[4] == r#"{"answers": {}}"#, "{said:?}");
    assert_eq!(said[5], r#"{"action": "accept", "content": {"on": false}}"#, "words are no number");
    let alone = agent("wonder").run().await.texts("/said");
    assert!(alone[2].contains("there is nobody to ask") && alone[3] == r#"{"answers": {}}"#, "{alone:?}");
}

#[tokio::test]
async fn lines_of_any_length_are_printed_and_heard() {
    let driven = agent("drone").run().await;
    assert!(driven.outcome.is_ok(), "{:?}\n{}", driven.outcome, driven.err);
    let said = driven.texts("/said");
    assert_eq!(said[2..], ["what is asked for is too long to be looked at", "decline"], "{said:?}");
    assert!(driven.out.len() > 36_000_000, "{}", driven.out.len());
}

/// A request names its change only: one that was too long to be held is not known, so no rule overlooks a part of it.
#[tokio::test]
async fn a_change_that_is_too_long_is_given_no_leave_for() {
    let driven = agent("hide").rules(r#"[{"of":"change","matches":"/etc/*","then":"deny"}]"#).run().await;
    assert!(driven.outcome.is_ok(), "{:?}\n{}", driven.outcome, driven.err);
    let said = driven.texts("/said");
    assert_eq!(said[2..], ["-32601", "-32601", "accept"], "{said:?}");
}

#[tokio::test]
async fn what_people_say_reaches_the_agent_in_its_turn_or_in_another() {
    let driven = agent("listen").says(&["first", "second"]).run().await;
    assert!(driven.outcome.is_ok(), "{:?}\n{}", driven.outcome, driven.err);
    let heard = driven.texts("/heard");
    assert_eq!(
        heard,
        ["first", "second", "again second"],
        "what was not taken up in the turn comes after it: {heard:?}"
    );
}

#[tokio::test]
async fn ends_that_are_none_are_told_apart() {
    for (how, expected) in [
        ("fail", "the agent stopped before it was done: the model is away"),
        ("exit", "the agent ended (exit status: 3) before it answered `turn/start`"),
        ("refuse", "the agent answered `thread/start` with an error: no such model"),
    ] {
        assert_eq!(agent(how).run().await.error(), expected, "{how}");
    }
    let bounds = super::super::Bounds { start: std::time::Duration::from_millis(200), ..PATIENT };
    assert_eq!(agent("mute").bounds(bounds).run().await.error(), "the agent did not answer `initialize` within 0 s");
}

#[tokio::test]
async fn an_agent_that_is_told_to_stop_hears_so() {
    let driven = agent("wait").until("waiting").run().await;
    assert_eq!(driven.error(), "the agent was told to stop");
    assert!(
        driven.texts("/said").ends_with(&["waiting".to_owned(), "turn/interrupt".to_owned()]),
        "{:?}",
        driven.texts("/said")
    );
}
