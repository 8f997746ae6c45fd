//! What was kept for long enough: what may go, what may not, and what is said of it.

use std::collections::BTreeMap;

use orch_core::command::Command;
use orch_core::entity::{Change, Removal, Run, RunPart, Task};
use orch_core::retention::{Hold, hold};
use orch_core::state::run::RunOutcome;
use orch_core::state::task::TaskState;
use orch_proto::id::{RunId, TaskId};

use crate::support::{Scene, deny, failed};

fn removal(part: RunPart) -> Removal {
    Removal { part, size_bytes: 7, content: "abc".into(), policy: "retention.logs_days = 90".into() }
}

fn remove(run: RunId, parts: &[RunPart]) -> Command {
    Command::RemoveParts { removals: BTreeMap::from([(run, parts.iter().copied().map(removal).collect())]) }
}

fn held(scene: &Scene, run: RunId) -> Option<Hold> {
    hold(&scene.view, &scene.one::<Run>(run)).unwrap()
}

/// Fails the task until it is tried no more; its runs.
fn fails_for_good(scene: &mut Scene, task: TaskId) -> Vec<RunId> {
    let mut runs = Vec::new();
    loop {
        match scene.one::<Task>(task).state {
            TaskState::Approved { not_before } => scene.now = not_before.unwrap_or(scene.now),
            _ => return runs,
        }
        let run = scene.start(task);
        scene.settle(run, failed());
        runs.push(run);
    }
}

#[test]
fn that_something_goes_is_on_record_before_and_after_and_once() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "fail");
    let run = scene.start(task);
    assert_eq!(held(&scene, run), Some(Hold::InUse));
    assert_eq!(scene.does(&remove(run, &[RunPart::Log])).touched, [], "it is under way");
    scene.settle(run, failed());
    assert_eq!(held(&scene, run), Some(Hold::InUse), "its task is tried again");
    scene.does(&Command::CancelTask { task, reason: "enough".into() });
    assert_eq!(held(&scene, run), None);

    let done = scene.does(&remove(run, &[RunPart::Log, RunPart::Log, RunPart::Files]));
    assert_eq!(done.touched.len(), 1);
    let found: Run = scene.one(run);
    assert_eq!(found.removed(RunPart::Log).unwrap().removal, removal(RunPart::Log));
    assert_eq!(found.removed(RunPart::Log).unwrap().at, scene.now);
    assert_eq!((found.removed.len(), found.is_removing, found.removed(RunPart::Artifacts)), (2, true, None));
    assert_eq!(scene.does(&remove(run, &[RunPart::Log])).touched, [], "it went before");
    assert_eq!(scene.does(&remove(run, &[RunPart::Log, RunPart::Artifacts])).touched.len(), 1);
    assert_eq!(scene.one::<Run>(run).removed.len(), 3);

    scene.does(&Command::FinishRemoval { runs: vec![run] });
    assert!(!scene.one::<Run>(run).is_removing);
    assert_eq!(scene.does(&Command::FinishRemoval { runs: vec![run] }).events, [], "that was said");
    let more = BTreeMap::from_iter((0..1_001).map(|n| (orch_core::ids::sample_id(n), Vec::new())));
    assert!(scene.refuses(&Command::RemoveParts { removals: more }).to_string().contains("more than 1000"));
}

/// A merge and a person's answer leave evidence; a question that waits holds what it is about.
#[test]
fn what_was_decided_by_it_is_evidence_and_what_is_open_is_in_use() {
    let (mut scene, project) = Scene::ready("shop");
    let merged = scene.task(project, "merge");
    scene.finish(merged);
    let change: Change = scene.view.newest();
    let idle = scene.task(project, "look");
    let looked = scene.start(idle);
    scene.does(&Command::MarkRunStarting { run: looked });
    scene.settle(looked, RunOutcome::Succeeded);
    assert_eq!(held(&scene, change.run), Some(Hold::Evidence));
    assert_eq!(held(&scene, change.checks[0]), Some(Hold::Evidence));
    assert_eq!(held(&scene, looked), None);

    let asked = scene.task(project, "ask");
    let run = scene.start(asked);
    let change = scene.proposes(run, &["ci.yaml"]);
    assert_eq!(held(&scene, run), Some(Hold::InUse));
    let approval = scene.one::<Change>(change).approval.unwrap();
    scene.does(&deny(approval));
    assert_eq!(held(&scene, run), Some(Hold::Evidence));

    let failing = scene.task(project, "fail");
    let runs = fails_for_good(&mut scene, failing);
    let question = scene.one::<Task>(failing).question;
    assert_eq!(runs.iter().all(|run| held(&scene, *run) == Some(Hold::InUse)), question.is_some());
    scene.does(&Command::CancelTask { task: failing, reason: "enough".into() });
    assert!(runs.iter().all(|run| held(&scene, *run).is_none()), "{:?}", scene.one::<Task>(failing));
}
