//! Undo: what was built on a decision keeps it from being taken back.

use orch_core::actor::Actor;
use orch_core::command::{Answer, Command, Subject};
use orch_core::entity::{Approval, Condition, Plan, Project, Run, Task};
use orch_core::rehearsal::{new_task, step_spec};
use orch_core::state::document::DocumentState;
use orch_core::state::run::RunOutcome;
use orch_core::state::task::TaskState;
use orch_proto::id::TaskId;
use orch_proto::request::Role;

use crate::support::{Scene, approve, retry, user};

/// Executes a command and answers the number of its first event.
fn did(scene: &mut Scene, command: &Command) -> u64 {
    scene.later_ms(5);
    let seq = scene.view.events.len() as u64 + 1;
    scene.does(command);
    assert!(scene.view.events.len() as u64 >= seq, "{command:?} changed nothing");
    seq
}

fn undo(scene: &Scene, seq: u64) -> Command {
    Command::Undo { operation: Box::new(scene.view.operation(seq)) }
}

fn refused(scene: &mut Scene, seq: u64) -> String {
    scene.later_ms(5);
    let command = undo(scene, seq);
    scene.refuses(&command).to_string()
}

fn undone(scene: &mut Scene, seq: u64) -> Vec<String> {
    scene.later_ms(5);
    let command = undo(scene, seq);
    scene.does(&command).notes
}

fn held(task: TaskId) -> Command {
    Command::HoldTask { task, reason: "wait".into() }
}

fn cancelled(task: TaskId) -> Command {
    Command::CancelTask { task, reason: "no".into() }
}

#[test]
fn what_has_begun_is_not_taken_back() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "build");
    did(&mut scene, &held(task));
    let released = did(&mut scene, &Command::ReleaseTask { task });
    scene.later_ms(5);
    scene.start(task);
    assert_eq!(refused(&mut scene, released), "R-1 has begun since then");
    let cancelled = did(&mut scene, &cancelled(task));
    let refusal = refused(&mut scene, cancelled);
    assert!(refusal.contains("a run was told to end"), "{refusal}");
}

#[test]
fn a_cancelled_task_comes_back_with_its_question() {
    let (mut scene, project) = Scene::ready("shop");
    let (task, _) = scene.needs_approval(project, "deploy");
    let cancelled = did(&mut scene, &cancelled(task));
    assert_eq!(undone(&mut scene, cancelled), ["T-1 is approved again", "A-1 waits for an answer again"]);
    assert_eq!(scene.one::<Task>(task).since, scene.now, "it waits from now on");
}

#[test]
fn what_went_on_because_of_an_end_keeps_the_end() {
    let (mut scene, project) = Scene::ready("shop");
    let needed = scene.task(project, "try");
    let mut new = new_task(project, "clean up");
    new.depends_on.insert(needed, Condition::Ended);
    scene.does(&Command::CreateTask { task: Box::new(new) });
    let after = scene.view.newest::<Task>().id;
    let first = did(&mut scene, &cancelled(needed));
    undone(&mut scene, first);
    let again = did(&mut scene, &cancelled(needed));
    scene.later_ms(5);
    scene.start(after);
    assert_eq!(refused(&mut scene, again), "R-1 has begun since then");
}

#[test]
fn an_edge_comes_back_unless_it_would_close_a_circle() {
    let (mut scene, project) = Scene::ready("shop");
    let (one, two) = (scene.task(project, "one"), scene.task(project, "two"));
    let link = |task, depends_on| Command::LinkTask { task, depends_on, condition: Condition::Done };
    did(&mut scene, &link(one, two));
    let unlinked = did(&mut scene, &Command::UnlinkTask { task: one, depends_on: two });
    did(&mut scene, &link(two, one));
    assert_eq!(refused(&mut scene, unlinked), "the dependencies would make a cycle: T-1 needs T-2 needs T-1");
    did(&mut scene, &Command::UnlinkTask { task: two, depends_on: one });
    undone(&mut scene, unlinked);
    assert!(scene.one::<Task>(one).depends_on.contains(&two));
}

#[test]
fn a_project_is_not_paused_again_behind_a_run() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "build");
    let pause =
        Command::PauseProjects { projects: vec![project], reason: "lunch".into(), until: None, with_runs: false };
    let paused = did(&mut scene, &pause);
    undone(&mut scene, paused);
    assert_eq!(scene.one::<Project>(project).resumed_at, Some(scene.now), "nothing waited while it was paused");
    did(&mut scene, &pause);
    let resumed = did(&mut scene, &Command::ResumeProjects { projects: Vec::new() });
    scene.later_ms(5);
    scene.start(task);
    assert_eq!(refused(&mut scene, resumed), "R-1 has begun since then");
}

#[test]
fn a_grant_is_taken_back_until_the_task_begins() {
    let (mut scene, project) = Scene::ready("shop");
    let mut new = new_task(project, "deploy");
    new.needs_approval = true;
    scene.does(&Command::CreateTask { task: Box::new(new) });
    let (task, asked) = (scene.view.newest::<Task>().id, scene.view.newest::<Approval>().id);
    let answer = |answer| Command::Decide { subject: Subject::Approval(asked), answer, digest: None };
    let granted = did(&mut scene, &answer(Answer::Approve));
    assert_eq!(scene.view.operation(granted).role(), Role::Approver);
    undone(&mut scene, granted);
    let denied = did(&mut scene, &answer(Answer::Deny { reason: "not today".into() }));
    undone(&mut scene, denied);
    let granted = did(&mut scene, &answer(Answer::Approve));
    scene.later_ms(5);
    let run = scene.start(task);
    assert_eq!(refused(&mut scene, granted), "R-1 has begun since then");
    scene.does(&Command::MarkRunStarting { run });
    scene.settle(run, RunOutcome::Cancelled { reason: "by hand".into() });
    assert_eq!(refused(&mut scene, granted), "R-1 has begun since then");
}

#[test]
fn a_plan_that_is_taken_back_can_be_approved_again() {
    let (mut scene, project) = Scene::ready("shop");
    scene.approved_requirements(project);
    scene.later_ms(5);
    let before = scene.view.events.len() as u64;
    scene.plan(project, &[("a", &[]), ("b", &["a"])]);
    let is_approval = |seq: &u64| {
        let at = usize::try_from(*seq).unwrap() - 1;
        scene.view.events[at].kind() == "plan.approved"
    };
    let approved = (before + 1..=scene.view.events.len() as u64).find(is_approval).unwrap();
    assert_eq!(scene.view.operation(approved).role(), Role::Approver);
    let notes = undone(&mut scene, approved);
    assert!(notes.contains(&"plan version 1 is proposed again".to_owned()), "{notes:?}");
    assert!(scene.view.all::<Task>().iter().all(|task| matches!(task.state, TaskState::Cancelled { .. })));
    let plan = scene.view.newest::<Plan>();
    let decide = Command::Decide { subject: Subject::Plan(plan.id), answer: Answer::Approve, digest: None };
    let again = did(&mut scene, &decide);
    assert_eq!(scene.one::<Plan>(plan.id).state, DocumentState::Approved);
    let open = scene.view.all::<Task>().iter().filter(|task| matches!(task.state, TaskState::Approved { .. })).count();
    assert_eq!(open, plan.content.tasks.len(), "each task once");
    scene.later_ms(5);
    let first = scene.keyed("a").id;
    scene.start(first);
    assert_eq!(refused(&mut scene, again), "R-1 has begun since then");
}

#[test]
fn what_the_daemon_did_and_what_is_over_is_not_taken_back() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "build");
    let seq = scene.view.events.len() as u64 + 1;
    scene.execute_as(&held(task), &Actor::daemon("test")).unwrap();
    assert!(refused(&mut scene, seq).contains("of the daemon itself"));
    let released = did(&mut scene, &Command::ReleaseTask { task });
    let archived = did(&mut scene, &Command::ArchiveProject { project });
    assert_eq!(refused(&mut scene, released), "project `shop` is archived");
    assert!(refused(&mut scene, archived).contains("archived"));
}

#[test]
fn one_pause_of_a_run_is_its_own() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "build");
    let run = scene.start(task);
    scene.does(&Command::MarkRunStarting { run });
    let paused = did(&mut scene, &Command::PauseRun { run, reason: "look".into() });
    assert_eq!(undone(&mut scene, paused), ["R-1 goes on"]);
    assert_eq!(scene.one::<Run>(run).pause, None);
    let paused = did(&mut scene, &Command::PauseRun { run, reason: "look".into() });
    let other = user(2_000);
    scene.execute_as(&Command::ResumeRun { run }, &other).unwrap();
    assert_eq!(refused(&mut scene, paused), "the pause of R-1 is another since then");
}

#[test]
fn a_plan_that_was_rejected_is_asked_about_again_until_there_is_a_newer_one() {
    let (mut scene, project) = Scene::ready("shop");
    scene.approved_requirements(project);
    let plan = scene.propose_plan(project, &[("a", &[])]);
    let deny = |plan: &Plan| {
        let answer = Answer::Deny { reason: "no".into() };
        Command::Decide { subject: Subject::Plan(plan.id), answer, digest: None }
    };
    let denied = did(&mut scene, &deny(&plan));
    undone(&mut scene, denied);
    assert_eq!(scene.one::<Plan>(plan.id).state, DocumentState::Proposed);
    let denied = did(&mut scene, &deny(&plan));
    scene.later_ms(5);
    scene.propose_plan(project, &[("a", &[]), ("b", &["a"])]);
    assert_eq!(refused(&mut scene, denied), "version 2 of the plan was proposed since then");
}

#[test]
fn requirements_stay_approved_when_a_plan_was_made_from_them() {
    let (mut scene, project) = Scene::ready("shop");
    let document = scene.approved_requirements(project);
    let is_approval = |seq: &u64| {
        let at = usize::try_from(*seq).unwrap() - 1;
        scene.view.events[at].kind() == "requirements.approved"
    };
    let approved = (1..=scene.view.events.len() as u64).find(is_approval).unwrap();
    assert!(undone(&mut scene, approved).contains(&"requirements version 1 is proposed again".to_owned()));
    let approve =
        Command::Decide { subject: Subject::Requirements(document.id), answer: Answer::Approve, digest: None };
    let approved = did(&mut scene, &approve);
    scene.later_ms(5);
    scene.propose_plan(project, &[("a", &[])]);
    assert_eq!(refused(&mut scene, approved), "plan version 1 was made from requirements version 1 since then");
}

#[test]
fn a_denied_change_is_asked_about_again() {
    let (mut scene, project) = Scene::ready("shop");
    let (change, asked) = scene.asking_to_merge(project);
    let answer = Answer::Deny { reason: "no".into() };
    let denied = did(&mut scene, &Command::Decide { subject: Subject::Approval(asked), answer, digest: None });
    let closed = [
        "T-1 is in_review again",
        "how often T-1 failed counts as before",
        "A-1 waits for an answer again",
        "C-1 is mergeable again",
    ];
    assert_eq!(undone(&mut scene, denied), closed);
    let answer = Answer::Approve;
    let granted = did(&mut scene, &Command::Decide { subject: Subject::Approval(asked), answer, digest: None });
    scene.later_ms(5);
    scene.merge(change);
    assert_eq!(refused(&mut scene, granted), "C-1 is merged since then");
}

#[test]
fn the_plan_before_is_approved_again() {
    let (mut scene, project) = Scene::ready("shop");
    scene.approved_requirements(project);
    let first = scene.plan(project, &[("a", &[]), ("b", &["a"])]);
    let before = scene.view.all::<Task>();
    scene.later_ms(5);
    let second = scene.propose_plan(project, &[("a", &[]), ("c", &["a"])]);
    let decide = Command::Decide { subject: Subject::Plan(second.id), answer: Answer::Approve, digest: None };
    let approved = did(&mut scene, &decide);
    undone(&mut scene, approved);
    let states = [first.id, second.id].map(|plan| scene.one::<Plan>(plan).state);
    assert_eq!(states, [DocumentState::Approved, DocumentState::Proposed]);
    for task in before {
        assert_eq!(scene.one::<Task>(task.id).state, task.state, "T-{}", task.number);
    }
    let released = scene.keyed("b").id;
    did(&mut scene, &held(released));
    let seq = did(&mut scene, &Command::ReleaseTask { task: released });
    assert_eq!(undone(&mut scene, seq), ["T-2 is paused again"]);
}

fn edited(task: TaskId, command: &str) -> Command {
    Command::EditTask { task, spec: Box::new(step_spec(command)), needs_approval: false }
}

/// Nobody could answer so that it begins.
#[test]
fn a_task_does_not_come_back_with_a_question_about_something_else() {
    for is_granted in [false, true] {
        let mut scene = Scene::new();
        let project = scene.project("shop");
        let (task, asked) = scene.needs_approval(project, "deploy");
        if is_granted {
            scene.does(&approve(asked));
        }
        let cancelled = did(&mut scene, &cancelled(task));
        let edited = did(&mut scene, &edited(task, "otherwise"));
        assert_eq!(refused(&mut scene, cancelled), "what A-1 asks about is another since then");
        // In their order they are taken back.
        undone(&mut scene, edited);
        undone(&mut scene, cancelled);
        if !is_granted {
            scene.does(&approve(asked));
        }
        scene.start(task);
    }
}

#[test]
fn what_is_asked_about_keeps_what_it_asks_about() {
    let mut scene = Scene::new();
    let project = scene.project("shop");
    let (task, _) = scene.needs_approval(project, "deploy");
    did(&mut scene, &cancelled(task));
    let edited = did(&mut scene, &edited(task, "otherwise"));
    did(&mut scene, &retry(task));
    assert_eq!(refused(&mut scene, edited), "what A-2 asks about is another since then");
    let asked = scene.one::<Task>(task).approval.unwrap();
    scene.does(&approve(asked));
    scene.start(task);
}
