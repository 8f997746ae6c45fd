//! Refusals: what is wrong, in words that say what to do. A refused command changes nothing.

use orch_core::command::{Answer, Command, NewTask, PlanEdit, RequirementEdit, Subject};
use orch_core::decide::{
    ACCEPTANCE_MAX, BEHIND_MAX, COMMENTS_BYTES_MAX, DecideError, LINE_BYTES_MAX, NAMED_MAX, SLUG_CHARS_MAX,
    TITLE_CHARS_MAX,
};
use orch_core::digest::Digest;
use orch_core::entity::{Approval, Condition, Project, RepositorySource, Requirements, Task, Vision, Work};
use orch_core::ids::sample_id;
use orch_core::planner::Requirement;
use orch_core::rehearsal::{new_task, requirements, step_spec, vision};
use orch_core::state::document::DocumentState;
use orch_core::state::project::ProjectState;
use orch_core::state::task::TaskState;

use crate::support::{Scene, all_done, approve, deny, link, retry, rule, user};

fn create(slug: &str) -> Command {
    Command::CreateProject { slug: slug.into(), source: RepositorySource::Empty, protected_paths: Vec::new() }
}

#[test]
fn names_of_projects_are_checked_and_unique() {
    let (mut scene, _) = Scene::ready("shop");
    for slug in
        ["", "Shop", "1shop", "-shop", "shop-", "sh op", "shop/..", "sh\u{f6}p", &"a".repeat(SLUG_CHARS_MAX + 1)]
    {
        let error = rule(scene.refuses(&create(slug)));
        assert!(matches!(error, DecideError::Invalid { field: "project name", .. }), "{slug}: {error}");
    }
    assert_eq!(scene.refuses(&create("shop")).to_string(), "project `shop` exists already");
    scene.does(&create(&"a".repeat(SLUG_CHARS_MAX)));
}

#[test]
fn nothing_new_in_an_archived_project() {
    let (mut scene, project) = Scene::ready("shop");
    let document = scene.approved_requirements(project);
    let task = scene.task(project, "left");
    let run = scene.start(task);
    scene.does(&Command::ArchiveProject { project });
    assert_eq!(scene.does(&Command::ArchiveProject { project }).notes, ["the project is archived already"]);
    assert!(scene.one::<orch_core::entity::Run>(run).cancel_requested.is_some());
    let content = Box::new(requirements(&["x"]));
    let reason = String::new();
    let commands = [
        vision(project, "more"),
        Command::CreateTask { task: Box::new(new_task(project, "more")) },
        Command::ProposeRequirements {
            project,
            vision: document.vision,
            content,
            reason: reason.clone(),
            questions: Vec::new(),
        },
        Command::EditPlan { project, base_version: 1, edits: Vec::new(), reason },
        retry(task),
        Command::EditTask { task, spec: Box::new(step_spec("otherwise")), needs_approval: false },
        Command::CommentRequirements { requirements: document.id, key: None, text: "late".into() },
    ];
    for command in commands {
        assert_eq!(scene.refuses(&command).to_string(), "project `shop` is archived", "{command:?}");
    }
    let failed = scene.does(&create("broken")).touched[0].1.parse().unwrap();
    scene.does(&Command::FailProject { project: failed, reason: "no git".into() });
    assert_eq!(scene.refuses(&vision(failed, "x")).to_string(), "project `broken` has no repository: no git");
}

#[test]
fn a_project_without_a_repository_can_be_asked_for_again() {
    let mut scene = Scene::new();
    let project = scene.does(&create("shop")).touched[0].1.parse().unwrap();
    assert_eq!(scene.refuses(&create("shop")).to_string(), "project `shop` exists already");
    scene.does(&Command::FailProject { project, reason: "disk full".into() });
    let source = RepositorySource::Import { path: "/src/shop".into() };
    let again = Command::CreateProject { slug: "shop".into(), source: source.clone(), protected_paths: Vec::new() };
    let done = scene.does(&again);
    assert_eq!(done.notes, ["project `shop` had no repository; it is prepared anew"]);
    assert_eq!(done.touched[0].1, project.to_string());
    let found: Project = scene.one(project);
    assert_eq!((found.state, found.source), (ProjectState::Preparing, source));
    scene.does(&Command::PrepareProject { project, default_branch: "main".into(), head: None, toolchains: Vec::new() });
    assert_eq!(scene.refuses(&again).to_string(), "project `shop` exists already");
    scene.does(&Command::ArchiveProject { project });
    assert_eq!(scene.refuses(&again).to_string(), "project `shop` exists already");
}

#[test]
fn what_was_shown_must_be_what_is_there() {
    let (mut scene, project) = Scene::ready("shop");
    scene.does(&vision(project, "a shop"));
    let vision = scene.view.newest::<Vision>().id;
    let content = Box::new(requirements(&["list"]));
    scene.does(&Command::ProposeRequirements {
        project,
        vision,
        content,
        reason: "derived".into(),
        questions: Vec::new(),
    });
    let proposed: Requirements = scene.view.newest();
    let by = |digest| Command::Decide {
        subject: Subject::Requirements(proposed.id),
        answer: Answer::Approve,
        digest: Some(digest),
    };
    let error = rule(scene.refuses(&by(Digest::of(b"something else"))));
    assert_eq!(error.to_string(), "the requirements changed since it was shown");
    scene.does(&by(proposed.digest()));
    assert_eq!(scene.one::<Requirements>(proposed.id).state, DocumentState::Approved);
}

#[test]
fn a_denial_needs_a_reason_and_is_final() {
    let (mut scene, project) = Scene::ready("shop");
    scene.approved_requirements(project);
    let plan = scene.propose_plan(project, &[("a", &[])]);
    let asked = plan.approval.unwrap();
    let empty = Command::Decide {
        subject: Subject::Approval(asked),
        answer: Answer::Deny { reason: "  ".into() },
        digest: None,
    };
    assert_eq!(scene.refuses(&empty).to_string(), "reason is empty; a denial needs one");
    scene.does(&deny(asked));
    assert_eq!(scene.does(&deny(asked)).notes, ["it was denied before; nothing changes"]);
    let refused = scene.refuses(&approve(asked));
    assert_eq!(refused.to_string(), "the approval is denied and cannot be answered any more");
    assert_eq!(scene.one::<Approval>(asked).granted_by.len(), 0);
}

/// Looking for a circle reads what the other task waits for, as far as that is not done, and not without end.
#[test]
fn a_link_to_a_very_long_chain_is_refused_with_the_way_around_it() {
    let (mut scene, project) = Scene::ready("shop");
    let mut last = scene.task(project, "first");
    // What must always hold is looked at once: after each of so many it would take minutes.
    for number in 0..=BEHIND_MAX {
        let next = NewTask { depends_on: all_done([last]), ..new_task(project, &format!("task {number}")) };
        let command = Command::CreateTask { task: Box::new(next) };
        let made = scene.view.execute(&command, &user(1_000), scene.now, &mut scene.ids).unwrap();
        last = made.touched[0].1.parse().unwrap();
    }
    let by_hand = Command::CreateTask { task: Box::new(new_task(project, "by hand")) };
    let made = scene.view.execute(&by_hand, &user(1_000), scene.now, &mut scene.ids).unwrap();
    let by_hand = made.touched[0].1.parse().unwrap();
    let refused = scene.view.execute(&link(by_hand, last), &user(1_000), scene.now, &mut scene.ids).unwrap_err();
    let DecideError::Conflict { message, hint: Some(hint) } = rule(refused) else { panic!("no next step") };
    assert!(message.contains("too many to look for a circle"), "{message}");
    assert!(hint.contains("task create --depends-on T-"), "{hint}");
}

#[test]
fn behind_what_is_done_nothing_waits() {
    let (mut scene, project) = Scene::ready("shop");
    let (before, needed) = (scene.task(project, "before"), scene.task(project, "needed"));
    let by_hand = scene.task(project, "by hand");
    scene.does(&Command::LinkTask { task: needed, depends_on: by_hand, condition: Condition::Ended });
    scene.does(&link(needed, before));
    scene.does(&Command::CancelTask { task: by_hand, reason: "not now".into() });
    for task in [before, needed] {
        scene.finish(task);
        assert!(matches!(scene.one::<Task>(task).state, TaskState::Done { .. }));
    }
    // It waited for this one, and is done: that is no circle.
    scene.does(&retry(by_hand));
    scene.does(&link(by_hand, needed));
    scene.start(by_hand);
}

#[test]
fn a_link_that_makes_a_cycle_is_named_by_numbers() {
    let (mut scene, project) = Scene::ready("shop");
    let (a, b, c) = (scene.task(project, "a"), scene.task(project, "b"), scene.task(project, "c"));
    scene.does(&link(b, a));
    scene.does(&link(c, b));
    assert_eq!(scene.does(&link(c, b)).notes, ["it depends on it already"]);
    let error = rule(scene.refuses(&link(a, c)));
    assert_eq!(error.to_string(), "the dependencies would make a cycle: T-1 needs T-3 needs T-2 needs T-1");
    assert_eq!(scene.refuses(&link(a, a)).to_string(), "the dependencies would make a cycle: T-1 needs T-1");
    scene.does(&Command::UnlinkTask { task: c, depends_on: b });
    scene.does(&link(a, c));
    let other = scene.project("other");
    let foreign = scene.task(other, "x");
    assert_eq!(
        scene.refuses(&link(a, foreign)).to_string(),
        "dependency T-1 belongs to another project, and tasks wait only for those of their own"
    );
    scene.start(c);
    assert_eq!(scene.refuses(&link(c, b)).to_string(), "T-3 is running and waits for nothing any more");
}

#[test]
fn values_are_checked_before_anything_happens() {
    let (mut scene, project) = Scene::ready("shop");
    let task = |change: &dyn Fn(&mut NewTask)| {
        let mut task = new_task(project, "fine");
        change(&mut task);
        Command::CreateTask { task: Box::new(task) }
    };
    let cases: [(Command, &str); 13] = [
        (task(&|task| task.title = "gpj.\u{202e}nib".into()), "title has characters that change the direction of text"),
        (
            task(&|task| task.spec.acceptance = vec!["x".into(); ACCEPTANCE_MAX + 1]),
            "acceptance has 201 entries; 200 are accepted",
        ),
        (
            task(&|task| task.spec.acceptance = vec!["x".repeat(LINE_BYTES_MAX + 1)]),
            "acceptance line has 4097 bytes; 4096 are accepted",
        ),
        (
            task(&|task| task.spec.requirements = vec!["REQ-1".parse().unwrap(); NAMED_MAX + 1]),
            "requirements has 1001 entries; 1000 are accepted",
        ),
        (
            task(&|task| task.depends_on = all_done((0..=NAMED_MAX as u128).map(sample_id))),
            "dependencies has 1001 entries; 1000 are accepted",
        ),
        (
            task(&|task| task.spec.work = Work::Agent { capability: "a\u{1b}b".into() }),
            "capability has control characters",
        ),
        (Command::QueueTasks { tasks: vec![sample_id(1); 10_001] }, "tasks has 10001 entries; 10000 are accepted"),
        (task(&|task| task.title = " ".into()), "title is empty"),
        (task(&|task| task.title = "a\nb".into()), "title has control characters"),
        (task(&|task| task.title = "x".repeat(TITLE_CHARS_MAX + 1)), "title has more than 200 characters"),
        (task(&|task| task.priority = 10), "priority must be 0 to 9"),
        (
            task(&|task| task.depends_on = all_done([sample_id(9)])),
            "there is no task `task-0192f0c0-0000-7000-8000-000000000009`",
        ),
        (
            task(&|task| task.project = sample_id(8)),
            "there is no project `project-0192f0c0-0000-7000-8000-000000000008`",
        ),
    ];
    for (command, text) in cases {
        assert_eq!(scene.refuses(&command).to_string(), text);
    }
    let fine = scene.task(project, "fine");
    let long = Command::CancelTask { task: fine, reason: "x".repeat((64 << 10) + 1) };
    assert_eq!(scene.refuses(&long).to_string(), "reason has 65537 bytes; 65536 are accepted");
    assert_eq!(
        scene.refuses(&Command::ReleaseTask { task: fine }).to_string(),
        "task is approved and cannot be released"
    );
}

/// A document grows by edits and comments, so each of them is bounded and the whole is as well.
#[test]
fn documents_cannot_grow_without_end() {
    let (mut scene, project) = Scene::ready("shop");
    let document = scene.approved_requirements(project);
    let long =
        |bytes: usize| Command::CommentRequirements { requirements: document.id, key: None, text: "x".repeat(bytes) };
    assert!(matches!(rule(scene.refuses(&long((64 << 10) + 1))), DecideError::TooLarge { field: "comment", .. }));
    for _ in 0..COMMENTS_BYTES_MAX / (64 << 10) {
        scene.does(&long(64 << 10));
    }
    assert!(scene.refuses(&long(1)).to_string().starts_with("text of all comments on this version has"));

    let edit = |upsert| Command::EditRequirements {
        project,
        base_version: 1,
        upsert,
        remove: Vec::new(),
        reason: "more".into(),
    };
    let one = |change: &dyn Fn(&mut Requirement)| {
        let mut content = document.content.requirements[0].clone();
        change(&mut content);
        RequirementEdit { key: None, content }
    };
    let plain = one(&|_| {});
    let many = rule(scene.refuses(&edit(vec![plain; NAMED_MAX + 1])));
    assert_eq!(many.to_string(), "edits has 1001 entries; 1000 are accepted");
    let lines = one(&|content| content.acceptance = vec!["x".into(); ACCEPTANCE_MAX + 1]);
    assert!(matches!(rule(scene.refuses(&edit(vec![lines]))), DecideError::TooLarge { field: "acceptance", .. }));
    let large = one(&|content| content.text = "x".repeat(64 << 10));
    let sum = rule(scene.refuses(&edit(vec![large; 130])));
    assert!(matches!(sum, DecideError::TooLarge { field: "requirements", .. }), "{sum}");
    let turned = one(&|content| content.title = "a\u{2066}b".into());
    assert!(matches!(rule(scene.refuses(&edit(vec![turned]))), DecideError::Invalid { .. }));
    let edits = vec![PlanEdit::Drop { task: "a".into() }; NAMED_MAX + 1];
    scene.propose_plan(project, &[("a", &[])]);
    let plan = Command::EditPlan { project, base_version: 1, edits, reason: "x".into() };
    assert!(matches!(rule(scene.refuses(&plan)), DecideError::TooLarge { field: "edits", .. }));
}

/// One event that does not fit refuses the whole command, also when others before it did.
#[test]
fn a_command_happens_whole_or_not_at_all() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "a");
    let run = scene.start(task);
    // Success before the run was started: the run's machine refuses, so the task must not move either.
    let fence = scene.one::<orch_core::entity::Run>(run).fence;
    let refused = scene.refuses(&crate::support::settle(run, fence, orch_core::state::run::RunOutcome::Succeeded));
    assert_eq!(refused.to_string(), "run is leased and cannot be succeeded");
}
