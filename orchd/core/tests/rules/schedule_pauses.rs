//! Pauses of projects and of everything, freeze windows, and runs that stand still.

use orch_core::command::Command;
use orch_core::entity::{Change, Observation, Project, Run};
use orch_core::schedule::{Freeze, Limits, Wait, Window};
use orch_core::state::run::{RunOutcome, RunState};
use orch_proto::Timestamp;
use orch_proto::id::{ProjectId, RunId};

use crate::schedule_choice::{book, choice, limits, names, next_due};
use crate::schedule_waits::{why, why_within};
use crate::support::{Scene, start};

impl Scene {
    fn pause(&mut self, projects: &[ProjectId], until: Option<Timestamp>, with_runs: bool) {
        let (projects, reason) = (projects.to_vec(), "release".to_owned());
        self.does(&Command::PauseProjects { projects, reason, until, with_runs });
    }

    fn sees(&mut self, run: RunId, observation: Observation) {
        let found: Run = self.one(run);
        let (from, cursor) = (found.log_cursor, found.log_cursor + 1);
        self.does(&Command::RecordRun { run, fence: found.fence, from, cursor, observations: vec![observation] });
    }
}

fn fronts(scene: &Scene) -> usize {
    book(&scene.view, &limits(0)).fronts(scene.now, &std::collections::BTreeSet::new()).len()
}

#[test]
fn nothing_of_a_paused_project_begins() {
    let (mut scene, shop) = Scene::ready("shop");
    let other = scene.project("other");
    let under_way = scene.task(shop, "under way");
    let run = scene.start(under_way);
    let waits = scene.task(shop, "waits");
    scene.task(other, "other");
    let until = scene.now.plus_ms(60_000);
    scene.pause(&[shop], Some(until), false);
    assert_eq!(names(&scene, 9), ["other"]);
    let wait = Wait::ProjectPaused { name: "shop".into(), reason: "release".into(), until: Some(until) };
    assert_eq!(why(&scene, waits), [wait]);
    assert_eq!(scene.refuses(&start(waits)).to_string(), "project `shop` is paused");
    // What is under way goes on, and is not merged.
    let change = scene.proposes(run, &[]);
    assert_eq!((names(&scene, 9), fronts(&scene)), (vec!["other".to_owned()], 0));
    // It is over by itself.
    assert_eq!(next_due(&scene), Some(until));
    scene.now = until;
    assert_eq!((names(&scene, 9).len(), fronts(&scene)), (3, 1));
    scene.check(change, RunOutcome::Succeeded);
    scene.pause(&[shop], None, false);
    assert_eq!(fronts(&scene), 0);
    let merge = Command::StartMerge { change, commit: "c".into() };
    assert_eq!(scene.refuses(&merge).to_string(), "project `shop` is paused");
    scene.does(&Command::ResumeProjects { projects: vec![shop] });
    scene.does(&merge);
    // A merge that has begun ends.
    scene.pause(&[shop], None, false);
    assert_eq!(fronts(&scene), 1);
    scene.does(&Command::FinishMerge { change, toolchains: Vec::new() });
    assert_eq!(scene.one::<Change>(change).number, 1);
}

#[test]
fn while_everything_is_paused_a_new_project_is_too() {
    let mut scene = Scene::new();
    let everything = Command::PauseProjects { projects: Vec::new(), reason: "x".into(), until: None, with_runs: false };
    assert_eq!(scene.refuses(&everything).to_string(), "there is no project in use");
    let shop = scene.project("shop");
    scene.pause(&[], None, false);
    let other = scene.project("other");
    assert!(scene.one::<Project>(other).pause.is_some());
    scene.does(&Command::ResumeProjects { projects: vec![shop] });
    scene.does(&Command::ResumeProjects { projects: Vec::new() });
    let third = scene.project("third");
    assert_eq!([shop, other, third].map(|id| scene.one::<Project>(id).pause), [None, None, None]);
    // What is said of one of them takes nothing from it; when one goes on, not everything is paused any more.
    scene.pause(&[], None, false);
    scene.pause(&[shop, other, third], None, false);
    let fourth = scene.project("fourth");
    assert!(scene.one::<Project>(fourth).pause.is_some());
    scene.does(&Command::ResumeProjects { projects: vec![other] });
    let fifth = scene.project("fifth");
    assert_eq!(scene.one::<Project>(fifth).pause, None);
    let late = Command::PauseProjects {
        projects: Vec::new(),
        reason: String::new(),
        until: Some(scene.now),
        with_runs: false,
    };
    assert!(scene.refuses(&late).to_string().starts_with("end of the pause"));
}

#[test]
fn runs_stand_still_with_their_project_or_by_themselves() {
    let (mut scene, shop) = Scene::ready("shop");
    let runs = ["one", "two"].map(|title| {
        let task = scene.task(shop, title);
        let run = scene.start(task);
        scene.does(&Command::MarkRunStarting { run });
        run
    });
    scene.does(&Command::PauseRun { run: runs[0], reason: "look at it".into() });
    scene.pause(&[shop], None, true);
    assert!(runs.iter().all(|run| scene.one::<Run>(*run).pause.is_some()));
    // It ends with the pause of the project, by itself, too.
    let until = scene.now.plus_ms(60_000);
    scene.pause(&[shop], Some(until), true);
    let lasts = |scene: &Scene, at| runs.map(|run| scene.one::<Run>(run).pause.unwrap().lasts(at));
    assert_eq!((lasts(&scene, scene.now), lasts(&scene, until)), ([true, true], [true, false]));
    // It can stand still before anybody has heard that it runs.
    scene.sees(runs[0], Observation::Paused);
    assert_eq!(scene.one::<Run>(runs[0]).state, RunState::Starting);
    let isolation = orch_core::entity::Isolation { level: 3, guarantees: Vec::new() };
    scene.sees(runs[1], Observation::Isolated { isolation });
    scene.sees(runs[1], Observation::Paused);
    assert_eq!(scene.one::<Run>(runs[1]).state, RunState::Paused);
    scene.does(&Command::ResumeProjects { projects: vec![shop] });
    let paused = runs.map(|run| scene.one::<Run>(run).pause.is_some());
    assert_eq!(paused, [true, false], "what a person paused by itself stays so");
    scene.sees(runs[1], Observation::Resumed);
    assert_eq!(scene.one::<Run>(runs[1]).state, RunState::Running);
    assert_eq!(scene.does(&Command::PauseRun { run: runs[0], reason: String::new() }).notes, ["it is paused already"]);
    scene.settle(runs[0], RunOutcome::Cancelled { reason: "no".into() });
    assert_eq!(scene.refuses(&Command::ResumeRun { run: runs[0] }).to_string(), "R-1 is cancelled already");
}

#[test]
fn nothing_begins_in_a_freeze_window() {
    let (mut scene, shop) = Scene::ready("shop");
    let other = scene.project("other");
    let waits = scene.task(shop, "waits");
    scene.task(other, "other");
    let (from, until) = (scene.now.plus_ms(10_000), scene.now.plus_ms(20_000));
    let window = Window::Once { from, until };
    let freeze = Freeze { projects: ["shop".to_owned()].into(), window, reason: "audit".into() };
    let frozen = Limits { freezes: vec![freeze], ..limits(9) };
    assert_eq!(choice(&scene, &frozen).len(), 2);
    let mut followed = book(&scene.view, &frozen);
    let none = std::collections::BTreeSet::new();
    scene.now = from;
    assert_eq!(choice(&scene, &frozen).len(), 1);
    let wait = Wait::Frozen { name: "shop".into(), reason: "audit".into(), until };
    assert_eq!(why_within(&scene, waits, &frozen), [wait]);
    assert_eq!(followed.choose(scene.now, &none).len(), 1);
    assert_eq!(followed.next_due(scene.now), Some(until));
    followed.give_back();
    assert_eq!(followed.choose(until, &none).len(), 2);
    followed.give_back();
    // A clock that is put back freezes it again; without the window it is free.
    assert_eq!(followed.choose(from, &none).len(), 1);
    followed.give_back();
    followed.set_limits(limits(9));
    assert_eq!(followed.choose(from, &none).len(), 2);
}
