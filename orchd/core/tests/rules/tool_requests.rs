//! Tools that runs ask for: given by a person, to the task, and to no run that is under way.

use orch_core::command::{Command, Word};
use orch_core::decide::TOOLS_MAX;
use orch_core::entity::{Approval, Isolation, Observation, Run, Task, Work};
use orch_core::state::approval::ApprovalState;
use orch_core::state::run::{FailureClass, RunOutcome, RunState};
use orch_core::state::task::TaskState;
use orch_proto::id::{ApprovalId, RunId, TaskId};

use crate::support::{Scene, approve, deny, failed, lost};
use crate::thread::coder;

impl Scene {
    fn wants_tool(&self, run: RunId, name: &str) -> Command {
        let expires = self.now.plus_ms(60_000);
        let (reason, source) = ("to build\nit all".to_owned(), format!("/opt/{name}"));
        self.say(run, Word::AskTool { name: name.into(), reason, source, expires })
    }

    /// The run asks for a tool, and waits; the question.
    fn asks_for_tool(&mut self, run: RunId, name: &str) -> ApprovalId {
        let wanted = self.wants_tool(run, name);
        self.does(&wanted);
        assert!(self.one::<Run>(run).state.is_waiting());
        self.view.newest::<Approval>().id
    }

    fn tools_of(&self, task: TaskId) -> Vec<String> {
        self.one::<Task>(task).tools.iter().map(|(name, source)| format!("{name} {source}")).collect()
    }
}

#[test]
fn a_tool_that_is_given_is_the_tasks_and_its_attempt_does_not_count() {
    let (mut scene, project) = Scene::ready("shop");
    let run = scene.speaks_by(project, "builds", None);
    let task = scene.one::<Run>(run).task;
    let asked = scene.asks_for_tool(run, "go");
    let shown: Approval = scene.one(asked);
    assert_eq!(shown.action, "R-1 wants the tool `go` for T-1 builds");
    assert_eq!(shown.details[0], "mounted read-only in attempts after this one: /opt/go");
    assert_eq!(shown.details[2..], ["  to build", "  it all"]);
    let again = scene.wants_tool(run, "go");
    assert!(scene.does(&again).events.is_empty(), "it is the same question");
    scene.does(&approve(asked));
    assert_eq!((scene.one::<Run>(run).state, scene.tools_of(task)), (RunState::Running, vec!["go /opt/go".to_owned()]));
    scene.settle(run, failed());
    let found: Task = scene.one(task);
    assert_eq!((found.state.label(), found.failures, found.attempts), ("approved", 0, 1));
    // Once it has the tool, what fails is the task's own.
    scene.later_ms(3_600_000);
    let next = scene.start(task);
    scene.does(&Command::MarkRunStarting { run: next });
    scene.settle(next, failed());
    assert_eq!((scene.one::<Task>(task).failures, scene.tools_of(task).len()), (1, 1));
}

#[test]
fn an_agent_that_ended_in_want_is_not_done_and_one_with_a_change_is() {
    let (mut scene, project) = Scene::ready("shop");
    for (outcome, label) in [(RunOutcome::Succeeded, "approved"), (lost(), "approved"), (failed(), "approved")] {
        let counts = matches!(outcome, RunOutcome::Lost { .. });
        let run = scene.speaks_by(project, "builds", Some(coder(true)));
        let note = scene.say(run, Word::Note { text: "it wants go".into() });
        scene.does(&note);
        let asked = scene.asks_for_tool(run, "go");
        scene.does(&approve(asked));
        scene.settle(run, outcome);
        let task: Task = scene.one(scene.one::<Run>(run).task);
        assert_eq!((task.state.label(), task.losses), (label, u32::from(counts)));
    }
    let cancelled = scene.speaks_by(project, "is ended", None);
    let asked = scene.asks_for_tool(cancelled, "go");
    scene.does(&approve(asked));
    let task = scene.one::<Run>(cancelled).task;
    scene.does(&Command::CancelTask { task, reason: "enough".into() });
    scene.settle(cancelled, RunOutcome::Cancelled { reason: "enough".into() });
    assert!(matches!(scene.one::<Task>(task).state, TaskState::Cancelled { .. }));
}

/// Whoever gives a tool is not asked whether something may be done twice.
#[test]
fn a_tool_that_is_given_has_no_step_done_twice_that_is_not_to_be() {
    let (mut scene, project) = Scene::ready("shop");
    for (done, is_tried_again) in [(0, true), (1, false), (2, false)] {
        let task = scene.task_with(project, "orders", |task| {
            if let Work::Steps { access, .. } = &mut task.spec.work {
                access.channel = true;
            }
        });
        let run = scene.attempt_once(task, done);
        let observations = vec![Observation::Isolated { isolation: Isolation { level: 3, guarantees: Vec::new() } }];
        let fence = scene.one::<Run>(run).fence;
        scene.does(&Command::RecordRun { run, fence, from: 1, cursor: 2, observations });
        let asked = scene.asks_for_tool(run, "go");
        scene.does(&approve(asked));
        scene.settle(run, failed());
        let found: Task = scene.one(task);
        assert_eq!(matches!(found.state, TaskState::Approved { .. }), is_tried_again, "{done}: {found:#?}");
    }
}

#[test]
fn what_nobody_gives_is_no_tool_of_the_task() {
    let (mut scene, project) = Scene::ready("shop");
    let run = scene.speaks_by(project, "builds", None);
    let task = scene.one::<Run>(run).task;
    let denied = scene.asks_for_tool(run, "go");
    scene.does(&deny(denied));
    assert_eq!(scene.one::<Run>(run).state, RunState::Running);
    let unwanted = scene.asks_for_tool(run, "node");
    let withdraw = scene.say(run, Word::WithdrawTool { name: "node".into() });
    scene.does(&withdraw);
    assert_eq!(scene.does(&withdraw).notes, ["it was decided before"]);
    assert!(matches!(scene.one::<Approval>(unwanted).state, ApprovalState::Void { .. }));
    let never = scene.say(run, Word::WithdrawTool { name: "mars".into() });
    scene.refuses(&never);
    let late = scene.asks_for_tool(run, "java");
    scene.later_ms(60_001);
    scene.does(&Command::ExpireAsked { run });
    scene.refuses(&approve(late));
    assert_eq!(scene.tools_of(task), Vec::<String>::new());
    for hostile in ["", "../go", "a b", "a\nb", "\u{1b}[2J", &*"x".repeat(64)] {
        let wanted = scene.wants_tool(run, hostile);
        assert!(scene.refuses(&wanted).to_string().starts_with("tool has not 1 to 63"), "{hostile:?}");
    }
    scene.settle(run, RunOutcome::Failed { class: FailureClass::Task, reason: "no go".into() });
    assert_eq!(scene.one::<Task>(task).failures, 1, "it was told so, and failed by itself");
}

#[test]
fn a_task_is_given_so_many_tools() {
    let (mut scene, project) = Scene::ready("shop");
    let run = scene.speaks_by(project, "builds", None);
    for number in 0..TOOLS_MAX {
        let asked = scene.asks_for_tool(run, &format!("tool{number}"));
        scene.does(&approve(asked));
    }
    let more = scene.wants_tool(run, "more");
    assert!(scene.refuses(&more).to_string().contains("tools of the task"));
}
