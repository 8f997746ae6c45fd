//! The main way on commands alone: a Vision becomes requirements, a plan, tasks, runs, changes, merges.

use orch_core::command::{Answer, Command, Subject};
use orch_core::entity::{Approval, Change, Plan, Project, Requirements, Run, Task, Vision};
use orch_core::planner::{LineRange, Statement};
use orch_core::rehearsal::{plan_content, requirements, vision};
use orch_core::state::approval::ApprovalState;
use orch_core::state::change::ChangeState;
use orch_core::state::document::DocumentState;
use orch_core::state::run::RunOutcome;
use orch_core::state::task::TaskState;
use orch_core::toolchain::{RepoFile, detect};
use orch_proto::EntityKind;
use orch_proto::id::ProjectId;

use crate::support::{Scene, approve, failed, start};

impl Scene {
    /// Goes from a Vision to approved requirements.
    pub(crate) fn approved_requirements(&mut self, project: ProjectId) -> Requirements {
        self.does(&vision(project, "a shop"));
        let vision = self.view.newest::<Vision>().id;
        let content = Box::new(requirements(&["list", "buy"]));
        self.does(&Command::ProposeRequirements {
            project,
            vision,
            content,
            reason: "derived".into(),
            questions: Vec::new(),
        });
        let proposed: Requirements = self.view.newest();
        self.does(&approve(proposed.approval.unwrap()));
        self.one(proposed.id)
    }

    /// Proposes a plan of the tasks.
    pub(crate) fn propose_plan(&mut self, project: ProjectId, tasks: &[(&str, &[&str])]) -> Plan {
        let requirements = self.view.newest::<Requirements>().id;
        let content = Box::new(plan_content(tasks));
        self.does(&Command::ProposePlan { project, requirements, content, reason: "planned".into() });
        self.view.newest()
    }

    /// Has a plan of the tasks approved.
    pub(crate) fn plan(&mut self, project: ProjectId, tasks: &[(&str, &[&str])]) -> Plan {
        let plan = self.propose_plan(project, tasks);
        self.does(&approve(plan.approval.unwrap()));
        self.one(plan.id)
    }
}

#[test]
fn a_vision_becomes_merged_changes() {
    let (mut scene, project) = Scene::ready("shop");
    let approved = scene.approved_requirements(project);
    assert_eq!(approved.state, DocumentState::Approved);

    let tasks: &[(&str, &[&str])] =
        &[("base", &[]), ("api", &["base"]), ("docs", &["base"]), ("all", &["api", "docs"])];
    let plan = scene.plan(project, tasks);
    assert_eq!(plan.state, DocumentState::Approved);
    let made: Vec<Task> = scene.view.all();
    assert_eq!(made.len(), 4);
    assert!(made.iter().all(|task| task.state == TaskState::Approved { not_before: None }));

    // What waits cannot be started, whoever asks.
    let (base, api, docs, all) =
        (scene.keyed("base").id, scene.keyed("api").id, scene.keyed("docs").id, scene.keyed("all").id);
    assert_eq!(scene.refuses(&start(api)).to_string(), "T-2 waits for T-1");
    scene.finish(base);
    // One fails first and is done by its retry.
    let run = scene.start(api);
    scene.settle(run, failed());
    let TaskState::Approved { not_before: Some(not_before) } = scene.one::<Task>(api).state else { panic!("no retry") };
    assert_eq!(scene.refuses(&start(api)).to_string(), "T-2 waits for its next retry");
    scene.now = not_before;
    // Both branches at once, one of them with a protected path.
    let run = scene.start(api);
    let other = scene.start(docs);
    let change = scene.proposes(run, &[".github/ci.yaml"]);
    let other = scene.proposes(other, &[]);
    scene.check(change, RunOutcome::Succeeded);
    let refused = scene.refuses(&Command::StartMerge { change, commit: "c".into() });
    assert_eq!(refused.to_string(), "C-2 is not approved");
    scene.check(other, RunOutcome::Succeeded);
    scene.merge(other);
    let asked = scene.one::<Change>(change).approval.unwrap();
    scene.does(&approve(asked));
    scene.does(&Command::RecheckChange { change });
    scene.check(change, RunOutcome::Succeeded);
    scene.merge(change);
    scene.finish(all);

    let tasks: Vec<Task> = scene.view.all();
    assert!(tasks.iter().all(|task| matches!(task.state, TaskState::Done { change: Some(_) })), "{tasks:?}");
    let head = scene.one::<Project>(project).head.unwrap();
    let last: Change = scene.view.newest();
    assert_eq!(last.state, ChangeState::Merged { commit: head });
    assert!(scene.view.all::<Run>().iter().all(|run| run.state.is_final()));
}

#[test]
fn a_task_that_changes_nothing_is_done_at_once() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "look");
    let run = scene.start(task);
    scene.does(&Command::MarkRunStarting { run });
    scene.settle(run, RunOutcome::Succeeded);
    assert_eq!(scene.one::<Task>(task).state, TaskState::Done { change: None });
    let second = scene.task(project, "no gates");
    let run = scene.start(second);
    let change = scene.proposes(run, &[]);
    scene.does(&Command::SkipCheck { change, base: None, tree: "t".into(), concerns: Vec::new() });
    scene.merge(change);
    assert_eq!(scene.one::<Task>(second).state, TaskState::Done { change: Some(change) });
}

/// What a merge would do beside the proposal is asked about once, and again when it becomes more.
#[test]
fn a_merge_that_takes_a_gate_away_waits_for_a_person() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "tidy up");
    let run = scene.start(task);
    let change = scene.proposes(run, &[]);
    let skip = |concerns: &[&str]| {
        let concerns = concerns.iter().map(ToString::to_string).collect();
        Command::SkipCheck { change, base: None, tree: "t".into(), concerns }
    };
    let merge = Command::StartMerge { change, commit: "c".into() };
    scene.does(&skip(&["gate: one is gone"]));
    assert_eq!(scene.refuses(&merge).to_string(), "C-1 is not approved");
    let first = scene.one::<Change>(change).approval.unwrap();
    assert_eq!(scene.one::<Approval>(first).details, ["1 files, +1 -0 lines", "gate: one is gone"]);
    scene.does(&approve(first));
    // The branch moves; the same is no new question, more is.
    scene.does(&Command::RecheckChange { change });
    scene.does(&skip(&["gate: one is gone"]));
    assert_eq!(scene.one::<Change>(change).approval, Some(first));
    scene.does(&Command::RecheckChange { change });
    scene.does(&skip(&["gate: one is gone", "gate: two is gone"]));
    assert_eq!(scene.refuses(&merge).to_string(), "C-1 is not approved");
    assert!(matches!(scene.one::<Approval>(first).state, ApprovalState::Void { .. }));
    let second = scene.one::<Change>(change).approval.unwrap();
    scene.does(&approve(second));
    scene.merge(change);
}

/// The gates of a tree: those of the branch as the tree has them, and what is missing in words.
#[test]
fn gates_that_a_tree_takes_away_are_named() {
    let (scene, project) = Scene::ready("shop");
    let found = |files: &[(&str, &str)]| {
        let listing: Vec<_> =
            files.iter().map(|(path, text)| RepoFile { path: (*path).to_owned(), size: text.len() as u64 }).collect();
        let read = |path: &str| files.iter().find(|file| file.0 == path).map(|file| file.1.as_bytes().to_vec());
        detect(&listing, &read)
    };
    let mut project: Project = scene.one(project);
    project.toolchains = found(&[("sub/Makefile", "test:\n\ttrue\n")]);
    let on = |project: &Project, files: &[(&str, &str)]| {
        let on = project.gates_on(&found(files));
        (on.run.into_iter().map(|gate| gate.run).collect::<Vec<_>>(), on.lost)
    };
    let kept = ("sub/Makefile", "test:\n\tfalse\n");
    assert_eq!(on(&project, &[kept]), (vec!["make test".into()], vec![]));
    let gone = vec!["`make test` in `sub` is gone".to_owned()];
    assert_eq!(on(&project, &[]), (vec![], gone.clone()));
    // A Makefile above makes the one below a part of itself.
    assert_eq!(on(&project, &[kept, ("Makefile", "all:\n")]), (vec![], gone));
    let becomes = vec!["`make test` in `sub` becomes `make check` in `sub`".to_owned()];
    assert_eq!(on(&project, &[("sub/Makefile", "check:\n\ttrue\n")]), (vec!["make check".into()], becomes));
    // What a blueprint says holds for every tree.
    project.blueprint_gates = Some(project.gates());
    assert_eq!(on(&project, &[]), (vec!["make test".into()], vec![]));
}

#[test]
fn a_second_approval_of_the_same_thing_is_harmless() {
    let (mut scene, project) = Scene::ready("shop");
    let document = scene.approved_requirements(project);
    let plan = scene.plan(project, &[("a", &[])]);
    for asked in [document.approval.unwrap(), plan.approval.unwrap()] {
        let events = scene.view.events.len();
        let again = scene.does(&approve(asked));
        assert_eq!(again.notes, ["it was approved before; nothing changes"]);
        let digest = scene.one::<Approval>(asked).digest;
        let by_subject =
            Command::Decide { subject: Subject::Approval(asked), answer: Answer::Approve, digest: Some(digest) };
        scene.does(&by_subject);
        assert_eq!(scene.view.events.len(), events);
        // It cannot be taken back by a denial.
        let deny = Command::Decide {
            subject: Subject::Approval(asked),
            answer: Answer::Deny { reason: "after all".into() },
            digest: None,
        };
        assert_eq!(scene.refuses(&deny).to_string(), "the approval is granted and cannot be answered any more");
    }
    assert_eq!(scene.view.all::<Task>().len(), 1);
}

#[test]
fn the_same_proposal_again_changes_nothing() {
    let (mut scene, project) = Scene::ready("shop");
    scene.approved_requirements(project);
    scene.plan(project, &[("a", &[])]);
    let events = scene.view.events.len();
    let again = scene.propose_plan(project, &[("a", &[])]);
    assert_eq!((again.version, scene.view.events.len()), (1, events));
    let vision = scene.view.newest::<Vision>().id;
    let content = Box::new(requirements(&["list", "buy"]));
    let done = scene.does(&Command::ProposeRequirements {
        project,
        vision,
        content,
        reason: "again".into(),
        questions: Vec::new(),
    });
    assert_eq!(done.touched[0].0, EntityKind::Requirements);
    assert_eq!(scene.view.events.len(), events);
}

#[test]
fn a_newer_version_withdraws_the_question_about_the_older() {
    let (mut scene, project) = Scene::ready("shop");
    scene.does(&vision(project, "a shop"));
    let again = scene.does(&vision(project, "a shop"));
    assert_eq!(again.notes, ["vision version 1 has the same text; nothing changes"]);
    let vision = scene.view.newest::<Vision>().id;
    let propose = |titles: &[&str]| Command::ProposeRequirements {
        project,
        vision,
        content: Box::new(requirements(titles)),
        reason: "derived".into(),
        questions: Vec::new(),
    };
    scene.does(&propose(&["list"]));
    let first: Requirements = scene.view.newest();
    scene.does(&propose(&["list", "buy"]));
    let second: Requirements = scene.view.newest();
    assert_eq!(scene.one::<Requirements>(first.id).state, DocumentState::Superseded);
    let asked = first.approval.unwrap();
    assert!(matches!(scene.one::<Approval>(asked).state, ApprovalState::Void { .. }));
    assert_eq!(scene.refuses(&approve(asked)).to_string(), "the approval is void and cannot be answered any more");
    scene.does(&approve(second.approval.unwrap()));
    // The next approved version takes the place of this one.
    scene.does(&propose(&["list", "buy", "pay"]));
    let third: Requirements = scene.view.newest();
    assert_eq!(scene.one::<Requirements>(second.id).state, DocumentState::Approved);
    scene.does(&approve(third.approval.unwrap()));
    assert_eq!(scene.one::<Requirements>(second.id).state, DocumentState::Superseded);
}

/// Goal: nobody has to agree to warnings that are only counted.
#[test]
fn what_is_to_be_approved_says_its_warnings_and_open_questions() {
    let (mut scene, project) = Scene::ready("shop");
    scene.does(&vision(project, "a shop"));
    let vision = scene.view.newest::<Vision>().id;
    let mut content = requirements(&["list"]);
    content.warnings = (1..=12).map(|line| format!("line {line} is no requirement")).collect();
    content.open_questions = vec![Statement { text: "which currency?".into(), lines: LineRange { first: 3, last: 3 } }];
    let content = Box::new(content);
    scene.does(&Command::ProposeRequirements {
        project,
        vision,
        content,
        reason: "derived".into(),
        questions: Vec::new(),
    });
    let details = scene.view.newest::<Approval>().details;
    assert_eq!(details[1..3], ["1 open questions, 12 warnings", "warning: line 1 is no requirement"]);
    assert_eq!(
        details[11..],
        ["warning: line 10 is no requirement", "warnings: and 2 more", "open question: which currency?", "REQ-1 list"]
    );

    scene.does(&approve(scene.view.newest::<Approval>().id));
    let requirements = scene.view.newest::<Requirements>().id;
    let mut content = plan_content(&[("a", &[])]);
    content.warnings = vec!["REQ-1 is served by no task".into()];
    let content = Box::new(content);
    scene.does(&Command::ProposePlan { project, requirements, content, reason: "derived".into() });
    let details = scene.view.newest::<Approval>().details;
    assert_eq!(details[3], "warning: REQ-1 is served by no task");
}
