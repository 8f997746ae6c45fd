//! What runs say about their changes, and what their agents answer to people: words, bounded, and nothing follows from them.

use orch_core::command::{Command, Word};
use orch_core::decide::{PROPOSED_BYTES_MAX, SAID_BYTES_MAX};
use orch_core::entity::{Approval, Change, PROPOSED_TIMES_MAX, Proposed, Run, Task, Work};
use orch_core::rehearsal::proposal;
use orch_core::state::run::RunOutcome;
use orch_proto::id::{ChangeId, RunId};

use crate::support::{Scene, settle};
use crate::thread::coder;

fn propose(title: &str, body: &str) -> Word {
    Word::Propose { title: title.into(), body: body.into() }
}

impl Scene {
    /// A run with a channel succeeds with something to merge.
    fn hands_over(&mut self, run: RunId, protected: &[&str]) -> ChangeId {
        let fence = self.one::<Run>(run).fence;
        let mut end = settle(run, fence, RunOutcome::Succeeded);
        if let Command::SettleRun { proposal: found, .. } = &mut end {
            *found = Some(Box::new(proposal(&format!("r{fence}"), protected)));
        }
        self.does(&end);
        self.view.newest::<Change>().id
    }
}

#[test]
fn the_last_words_of_a_run_go_with_its_change() {
    let (mut scene, project) = Scene::ready("shop");
    let run = scene.speaks_by(project, "add login", None);
    let first = scene.say(run, propose("first", ""));
    scene.does(&first);
    let last = scene.say(run, propose(" fix(web): log in ", "\nBecause.\nRun: shop/R-9\n"));
    scene.does(&last);
    assert!(scene.does(&last).events.is_empty(), "the same again");
    for (title, body, why) in [
        ("", "", "is empty"),
        ("a\nb", "", "control characters"),
        ("a\u{1b}[2Jb", "", "control characters"),
        ("a\u{202e}b", "", "direction of text"),
        ("a", &*"b".repeat(PROPOSED_BYTES_MAX + 1), "bytes"),
    ] {
        let word = scene.say(run, propose(title, body));
        let said = scene.refuses(&word).to_string();
        assert!(said.contains(why), "{title:?}: {said}");
    }
    let change = scene.hands_over(run, &["ci.yml"]);
    let found: Change = scene.one(change);
    let words = Proposed { title: "fix(web): log in".into(), body: "Because.\nRun: shop/R-9".into() };
    assert_eq!((found.title.as_str(), found.proposal.words.as_ref()), ("add login", Some(&words)));
    // Who is asked sees them, and has answered for these words.
    let asked: Approval = scene.one(found.approval.unwrap());
    assert_eq!(asked.details[2..], ["the run calls it: fix(web): log in", "  Because.", "  Run: shop/R-9"]);
    assert_eq!(asked.digest, found.digest());
    let mut other = found;
    other.proposal.words = None;
    assert_ne!(asked.digest, other.digest());
}

#[test]
fn a_run_that_proposes_nothing_has_nothing_to_call() {
    let (mut scene, project) = Scene::ready("shop");
    let looks = scene.task_with(project, "looks", |task| {
        if let Work::Steps { access, keeps_changes, .. } = &mut task.spec.work {
            (access.channel, *keeps_changes) = (true, false);
        }
    });
    let run = scene.start(looks);
    let word = scene.say(run, propose("a change", ""));
    assert!(scene.refuses(&word).to_string().contains("its recipe keeps none"));
    let without = scene.task(project, "without");
    let without = scene.start(without);
    let word = scene.say(without, propose("a change", ""));
    assert!(scene.refuses(&word).to_string().contains("was given no channel"));
}

#[test]
fn a_run_changes_its_words_a_few_times_and_no_more() {
    let (mut scene, project) = Scene::ready("shop");
    let run = scene.speaks_by(project, "add login", None);
    for time in 0..PROPOSED_TIMES_MAX {
        let word = scene.say(run, propose(&format!("title {time}"), ""));
        scene.does(&word);
    }
    let word = scene.say(run, propose("one more", ""));
    assert!(scene.refuses(&word).to_string().contains("all that a run may"));
    let change = scene.hands_over(run, &[]);
    assert_eq!(scene.one::<Change>(change).proposal.words.unwrap().title, "title 19");
}

#[test]
fn an_agent_answers_what_it_was_told_once() {
    let (mut scene, project) = Scene::ready("shop");
    let run = scene.speaks_by(project, "asks", Some(coder(true)));
    let task = scene.one::<Run>(run).task;
    scene.does(&Command::SayToRun { run, text: "the other way".into() });
    let replied = |text: &str, number| Word::Replied { number, text: text.to_owned() };
    let early = scene.say(run, replied("yes", 1));
    assert!(scene.refuses(&early).to_string().contains("was not told message 1"));
    let told = scene.say(run, Word::Told { number: 1 });
    scene.does(&told);
    for (text, number, why) in
        [(" \n", 1, "is empty"), (&*"x".repeat(SAID_BYTES_MAX + 1), 1, "bytes"), ("yes", 2, "nobody said a message 2")]
    {
        let word = scene.say(run, replied(text, number));
        assert!(scene.refuses(&word).to_string().contains(why));
    }
    let word = scene.say(run, replied(" as you say\n", 1));
    scene.does(&word);
    let again = scene.say(run, replied("something else", 1));
    assert_eq!(scene.does(&again).notes, ["it was answered before"]);
    let reply = scene.one::<Task>(task).thread[0].reply.clone().unwrap();
    assert_eq!((reply.text.as_str(), reply.at), ("as you say", scene.now));
}
