//! The end of a run: what comes with it.

use orch_core::command::{Command, Said};
use orch_core::digest::Digest;
use orch_core::entity::{AgentUse, Allowance, Approval, Artifact, Observation, Run, Task};
use orch_core::recipe::Profile;
use orch_core::state::run::{RunOutcome, RunState};
use orch_core::state::step::{StepEnd, StepEvent};
use orch_proto::id::{RunId, TaskId};

use crate::support::{Scene, settle, start};

/// The end of a run brings the rest of what its log says, once, and what makes no sense of that does not hold it up.
#[test]
fn the_rest_of_a_log_comes_with_the_end() {
    let (mut scene, project) = Scene::ready("shop");
    let at = scene.now;
    let step = |event| vec![Observation::Step { index: 0, event }];
    let said = |from, observations| Some(Box::new(Said { from, cursor: from + 9, observations }));
    let cases = [
        (said(0, step(StepEvent::Started { at })), 9, "ended", 0),
        // Taken before, or not next to what was.
        (said(4, step(StepEvent::Started { at })), 0, "skipped", 0),
        (said(0, step(StepEvent::Ended { at, end: StepEnd::Succeeded })), 0, "skipped", 1),
    ];
    for (rest, cursor, state, notes) in cases {
        let task = scene.task(project, "work");
        let run = scene.start(task);
        scene.does(&Command::MarkRunStarting { run });
        let mut end = settle(run, scene.one::<Run>(run).fence, RunOutcome::Succeeded);
        if let Command::SettleRun { said, .. } = &mut end {
            *said = rest;
        }
        let decided = scene.does(&end);
        let found: Run = scene.one(run);
        assert_eq!((found.log_cursor, found.steps[0].state.label()), (cursor, state));
        assert_eq!(found.state, RunState::Succeeded);
        assert_eq!(decided.notes.len(), notes, "{:?}", decided.notes);
        assert_eq!(scene.one::<Task>(task).state.label(), "done");
    }
}

/// An agent is not believed that it is done: it has a change, or has said why there is none.
#[test]
fn an_agent_that_ends_well_and_has_nothing_to_show_has_not_done_its_task() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "work");
    let end = |scene: &mut Scene, task: TaskId, report: Option<&str>| {
        let mut command = start(task);
        if let Command::StartRun { agent, .. } = &mut command {
            *agent = Some(AgentUse {
                name: "coder".into(),
                kind: "codex".into(),
                model: None,
                of_run: Allowance::default(),
                of_task: Allowance::default(),
                role: None,
                server: None,
                is_driven: false,
                answer_tokens: None,
                egress: Vec::new(),
                profile: Profile::default(),
            });
        }
        let run: RunId = scene.does(&command).touched[0].1.parse().unwrap();
        scene.does(&Command::MarkRunStarting { run });
        let mut end = settle(run, scene.one::<Run>(run).fence, RunOutcome::Succeeded);
        if let Command::SettleRun { artifacts, .. } = &mut end {
            artifacts.extend(report.map(|path: &str| Artifact {
                path: path.into(),
                size_bytes: 0,
                digest: Digest::of(b""),
            }));
        }
        scene.does(&end);
        assert_eq!(scene.one::<Run>(run).state, RunState::Succeeded);
    };
    end(&mut scene, task, None);
    let found: Task = scene.one(task);
    assert!(
        found.last_failure.as_ref().is_some_and(|reason| reason.contains("neither a change nor a note")),
        "{found:#?}"
    );
    while scene.one::<Task>(task).state.label() != "failed" {
        scene.later_ms(60 * 60_000);
        end(&mut scene, task, None);
    }
    assert_eq!(scene.view.all::<Approval>().len(), 1, "a person is asked");
    let task = scene.task(project, "look");
    end(&mut scene, task, Some("report.txt"));
    assert_eq!(scene.one::<Task>(task).state.label(), "done");
}
