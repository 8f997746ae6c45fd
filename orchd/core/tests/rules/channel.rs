//! Channels of runs: what becomes of questions that nobody waits for, and of runs that stand still until they have an answer.

use std::collections::BTreeMap;

use orch_core::command::{Command, Word};
use orch_core::entity::{
    AgentUse, Approval, FieldKind, FieldValue, InfoField, InfoRequest, Isolation, Observation, Run, Work,
};
use orch_core::schedule::{Limits, Totals};
use orch_core::state::approval::ApprovalState;
use orch_core::state::info_request::InfoRequestState;
use orch_core::state::run::RunState;
use orch_proto::id::{ProjectId, RunId};

use crate::schedule_choice::{book, choice, limits, names, next_due};
use crate::support::{Scene, start};

impl Scene {
    /// A run with a channel whose steps are under way.
    fn speaks(&mut self, project: ProjectId, title: &str) -> RunId {
        self.speaks_by(project, title, None)
    }

    /// The same of an agent.
    pub(crate) fn speaks_by(&mut self, project: ProjectId, title: &str, by: Option<AgentUse>) -> RunId {
        let task = self.task_with(project, title, |task| {
            if let Work::Steps { access, .. } = &mut task.spec.work {
                access.channel = true;
            }
        });
        let mut command = start(task);
        if let Command::StartRun { agent, .. } = &mut command {
            *agent = by;
        }
        let run: RunId = self.does(&command).touched[0].1.parse().unwrap();
        self.does(&Command::MarkRunStarting { run });
        let observations = vec![Observation::Isolated { isolation: Isolation { level: 3, guarantees: Vec::new() } }];
        let fence = self.one::<Run>(run).fence;
        self.does(&Command::RecordRun { run, fence, from: 0, cursor: 1, observations });
        run
    }

    fn says(&mut self, run: RunId, word: Word) {
        let command = self.say(run, word);
        self.does(&command);
    }

    pub(crate) fn say(&self, run: RunId, word: Word) -> Command {
        Command::Say { run, fence: self.one::<Run>(run).fence, word: Box::new(word) }
    }

    pub(crate) fn asks_people(&mut self, run: RunId, key: &str) {
        let fields =
            vec![InfoField { name: "a".into(), label: String::new(), kind: FieldKind::Text, is_required: true }];
        let expires = self.now.plus_ms(60_000);
        self.says(run, Word::Ask { key: key.into(), text: "?".into(), fields, expires });
    }

    pub(crate) fn answers(&mut self, run: RunId) {
        let asked = self.view.all::<InfoRequest>().into_iter().rfind(|asked| asked.run == Some(run)).unwrap();
        let answers = BTreeMap::from([("a".to_owned(), FieldValue::Plain { text: "b".into() })]);
        self.does(&Command::AnswerInfo { info: asked.id, answers });
    }
}

fn withdraw(key: &str, action: Option<&str>) -> Word {
    Word::Withdraw { key: key.into(), action: action.map(|action| (action.to_owned(), vec!["d".to_owned()])) }
}

#[test]
fn what_a_run_does_not_wait_for_any_more_is_not_asked_any_more() {
    let (mut scene, project) = Scene::ready("shop");
    let (run, other) = (scene.speaks(project, "asks"), scene.speaks(project, "asks, too"));
    scene.asks_people(other, "k");
    scene.asks_people(run, "k");
    let expires = scene.now.plus_ms(60_000);
    let allow = Word::Await { key: "k".into(), action: "drop".into(), details: vec!["d".into()], expires };
    scene.says(run, allow);
    let unknown = scene.say(run, withdraw("other", None));
    assert_eq!(scene.refuses(&unknown).to_string(), "there is no info_request `other`");
    let unknown = scene.say(run, withdraw("k", Some("other")));
    scene.refuses(&unknown);
    scene.says(run, withdraw("k", None));
    assert!(scene.one::<Run>(run).state.is_waiting(), "it waits for the other question");
    scene.says(run, withdraw("k", Some("drop")));
    assert_eq!(scene.one::<Run>(run).state, RunState::Running);
    let states: Vec<_> = scene.view.all::<InfoRequest>().into_iter().map(|asked| asked.state).collect();
    assert!(
        matches!(&states[..], [InfoRequestState::Pending { .. }, InfoRequestState::Cancelled { .. }]),
        "{states:?}"
    );
    assert!(matches!(scene.view.newest::<Approval>().state, ApprovalState::Void { .. }));
    // Again, and after the answer, it changes nothing.
    let events = scene.view.events.len();
    scene.says(run, withdraw("k", None));
    scene.answers(other);
    scene.says(other, withdraw("k", None));
    assert_eq!(scene.view.events.len(), events + 2);
}

#[test]
fn a_run_that_stands_still_holds_its_memory_and_not_its_place() {
    let (mut scene, project) = Scene::ready("shop");
    let of = |memory_bytes| {
        let totals = Totals { memory_bytes: Some(memory_bytes), run_memory_bytes: 2, ..Totals::default() };
        Limits { totals, ..limits(1) }
    };
    let run = scene.speaks(project, "asks");
    scene.asks_people(run, "k");
    let other = scene.speaks(project, "asks, too");
    scene.asks_people(other, "k");
    scene.does(&Command::ParkRun { run: other });
    scene.task(project, "work");
    assert_eq!(names(&scene, 1), Vec::<String>::new());
    scene.does(&Command::ParkRun { run });
    assert_eq!(names(&scene, 1), ["work"]);
    assert_eq!(choice(&scene, &of(4)).len(), 1, "the memory of one is lent");
    assert_eq!(choice(&scene, &of(3)), [], "and that of the other is not free, though it asked for none");
    let mut told = book(&scene.view, &of(3));
    told.set_limits(Limits { runs_max: 4, ..of(3) });
    assert_eq!(told.choose(scene.now, &std::collections::BTreeSet::new()).len(), 1, "with more places more is lent");
}

#[test]
fn runs_that_have_their_answers_go_on_one_by_one_as_there_are_places() {
    let (mut scene, project) = Scene::ready("shop");
    let runs: Vec<RunId> = ["first", "second", "third"].map(|title| scene.speaks(project, title)).to_vec();
    for run in &runs {
        scene.asks_people(*run, "k");
        scene.does(&Command::ParkRun { run: *run });
    }
    scene.task(project, "other");
    for run in [runs[1], runs[0], runs[2]] {
        scene.later_ms(10);
        scene.answers(run);
        let found: Run = scene.one(run);
        assert!(found.is_parked() && found.state == RunState::Running, "{found:?}");
    }
    assert_eq!(names(&scene, 0), Vec::<String>::new());
    assert_eq!(
        names(&scene, 2),
        ["recall R-2", "recall R-1"],
        "those that have waited longest, before what has not begun"
    );
    assert_eq!(names(&scene, 4), ["recall R-2", "recall R-1", "recall R-3", "other"]);
    // They have begun: what keeps others from beginning does not keep them, and what bounds their project does.
    let weak = Limits { level: 1, ..limits(1) };
    assert_eq!(choice(&scene, &weak).len(), 1);
    scene.does(&Command::SetShare { project, weight: None, runs_max: Some(1), runs_per_day: None });
    assert_eq!(names(&scene, 4), ["recall R-2"]);
    scene.does(&Command::RecallRun { run: runs[1] });
    assert!(scene.one::<Run>(runs[1]).pause.is_none());
    assert_eq!(names(&scene, 4), Vec::<String>::new());
    scene.refuses(&Command::RecallRun { run: runs[1] });
    // A person can let one go on at once, and take one out of the order.
    scene.does(&Command::ResumeRun { run: runs[2] });
    scene.does(&Command::PauseRun { run: runs[0], reason: "later".into() });
    scene.refuses(&Command::RecallRun { run: runs[0] });
}

/// Places are for those that go on: whoever waited for one before its project was paused waits for one after that, too.
#[test]
fn a_pause_of_the_project_gives_nobody_a_place() {
    let (mut scene, project) = Scene::ready("shop");
    let runs: Vec<RunId> = ["answered", "asks", "until"].map(|title| scene.speaks(project, title)).to_vec();
    for run in &runs {
        scene.asks_people(*run, "k");
        scene.does(&Command::ParkRun { run: *run });
    }
    scene.answers(runs[0]);
    let pause =
        |until| Command::PauseProjects { projects: vec![project], reason: "release".into(), until, with_runs: true };
    scene.does(&pause(None));
    scene.later_ms(10);
    // The answer comes while it is paused.
    scene.answers(runs[1]);
    assert!(runs.iter().all(|run| scene.one::<Run>(*run).is_parked()));
    assert_eq!(names(&scene, 9), Vec::<String>::new(), "nobody goes on while a person wants them to stand still");
    scene.refuses(&Command::RecallRun { run: runs[0] });
    scene.does(&Command::ResumeProjects { projects: vec![project] });
    assert!(runs.iter().all(|run| scene.one::<Run>(*run).is_parked()), "they wait for places as before");
    assert_eq!(names(&scene, 0), Vec::<String>::new());
    assert_eq!(names(&scene, 1), ["recall R-1"]);
    assert_eq!(names(&scene, 9), ["recall R-1", "recall R-2"]);
    // A pause that ends by itself leaves them waiting, too, and somebody looks then.
    scene.answers(runs[2]);
    let until = scene.now.plus_ms(60_000);
    scene.does(&pause(Some(until)));
    assert_eq!((names(&scene, 9), next_due(&scene)), (Vec::new(), Some(until)));
    scene.now = until;
    assert_eq!(names(&scene, 2), ["recall R-1", "recall R-2"]);
    assert!(runs.iter().all(|run| scene.one::<Run>(*run).pause.unwrap().lasts(until)));
    scene.does(&Command::RecallRun { run: runs[0] });
    assert!(scene.one::<Run>(runs[0]).pause.is_none());
    // What a person pauses by itself and lets go on waits again; told once more it goes on at once.
    scene.does(&Command::PauseRun { run: runs[1], reason: "look".into() });
    assert_eq!(names(&scene, 9), ["recall R-3"]);
    scene.does(&Command::ResumeRun { run: runs[1] });
    assert!(scene.one::<Run>(runs[1]).is_parked());
    scene.does(&Command::ResumeRun { run: runs[1] });
    assert!(scene.one::<Run>(runs[1]).pause.is_none());
}
