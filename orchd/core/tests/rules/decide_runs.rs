//! Runs: retries, losses, fences, late results, cancellation with everything that hangs on a task.

use orch_core::actor::Actor;
use orch_core::command::{Command, NewTask};
use orch_core::decide::{ALIKE_MAX, LOSSES_MAX};
use orch_core::entity::{
    Approval, BACKOFF_MS_MAX, Change, Isolation, NETWORK_USES_MAX, NetworkUse, NetworkVerdict, Observation, Run, Task,
};
use orch_core::rehearsal::{new_task, proposal, step_spec};
use orch_core::state::approval::ApprovalState;
use orch_core::state::change::ChangeState;
use orch_core::state::run::{FailureClass, RunOutcome, RunState};
use orch_core::state::step::{StepEnd, StepEvent, StepState};
use orch_core::state::task::TaskState;

use crate::support::{Scene, approve, deny, failed, lost, retry, settle, start};

/// Longer than any wait between retries here.
pub(crate) const LONG_MS: u64 = 4 * 60 * 60 * 1_000;

#[test]
fn failures_are_retried_as_often_as_the_policy_says() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "flaky");
    let mut waits_ms = Vec::new();
    for attempt in 1..=3 {
        let run = scene.start(task);
        assert_eq!(scene.one::<Run>(run).attempt, attempt);
        scene.settle(run, failed());
        if let TaskState::Approved { not_before: Some(at) } = scene.one::<Task>(task).state {
            waits_ms.push(at.ms_since(scene.now));
        }
        scene.later_ms(LONG_MS);
    }
    assert!((500..=750).contains(&waits_ms[0]) && (1_000..=1_250).contains(&waits_ms[1]), "{waits_ms:?}");
    let found: Task = scene.one(task);
    assert_eq!((found.state, found.failures, found.attempts), (TaskState::Failed { reason: "exit 1".into() }, 2, 3));
    // A person can have it tried again, with all its retries.
    scene.does(&retry(task));
    assert_eq!(scene.one::<Task>(task).failures, 0);
    scene.finish(task);
}

#[test]
fn a_task_that_fails_in_the_same_way_again_and_again_stops_and_asks() {
    let (mut scene, project) = Scene::ready("shop");
    let mut spec = step_spec("true");
    spec.retries.max_retries = 20;
    let made = Command::CreateTask { task: Box::new(NewTask { spec, ..new_task(project, "stuck") }) };
    let task = scene.does(&made).touched[0].1.parse().unwrap();
    let fails = |scene: &mut Scene, reason: &str| {
        let run = scene.start(task);
        scene.settle(run, RunOutcome::Failed { class: FailureClass::Task, reason: reason.into() });
        scene.later_ms(BACKOFF_MS_MAX + LONG_MS);
    };
    for at in 1..ALIKE_MAX {
        fails(&mut scene, &format!("exit 1 after {at} s"));
    }
    fails(&mut scene, "something else");
    let run = scene.start(task);
    scene.settle(run, lost());
    scene.later_ms(LONG_MS);
    for at in 1..ALIKE_MAX {
        fails(&mut scene, &format!("exit 1 after {at}{at} s"));
    }
    assert!(matches!(scene.one::<Task>(task).state, TaskState::Approved { .. }));
    fails(&mut scene, "exit 1 after 7 s");
    let reason = "exit 1 after 7 s; it failed in this way 5 times in a row".to_owned();
    assert_eq!(scene.one::<Task>(task).state, TaskState::Failed { reason });
    scene.does(&retry(task));
    assert_eq!(scene.one::<Task>(task).alike, None);
}

#[test]
fn a_running_task_can_be_tried_anew() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "wrong");
    let first = scene.start(task);
    assert!(scene.refuses(&retry(task)).to_string().starts_with("T-1 is running"));
    let later = scene.now.plus_ms(5_000);
    scene.does(&Command::RetryTask { task, anew: true, not_before: Some(later), priority: Some(9) });
    let found: Task = scene.one(task);
    assert_eq!((found.priority, found.terms.not_before, found.failures), (9, Some(later), 0));
    assert_eq!(scene.refuses(&start(task)).to_string(), "T-1 is not to begin yet");
    scene.now = later;
    assert_eq!(scene.refuses(&start(task)).to_string(), "T-1 still has R-1 under way");
    assert!(scene.one::<Run>(first).cancel_requested.is_some());
    // Whatever becomes of it: it is not taken.
    scene.settle(first, failed());
    assert_eq!(scene.one::<Task>(task).failures, 0);
    scene.finish(task);
}

#[test]
fn a_host_without_the_isolation_is_not_tried_again() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "guarded");
    let run = scene.start(task);
    let reason = "no user namespaces".to_owned();
    scene.settle(run, RunOutcome::Failed { class: FailureClass::Isolation, reason: reason.clone() });
    assert_eq!(scene.one::<Task>(task).state, TaskState::Failed { reason });
}

#[test]
fn a_late_or_foreign_result_is_on_record_and_not_taken() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "slow");
    let first = scene.start(task);
    let first_fence = scene.one::<Run>(first).fence;
    scene.settle(first, lost());
    scene.later_ms(LONG_MS);
    let second = scene.start(task);
    let second_fence = scene.one::<Run>(second).fence;
    assert!(second_fence > first_fence);

    // The first comes back from the dead, with a success and a proposal.
    let mut late = settle(first, first_fence, RunOutcome::Succeeded);
    if let Command::SettleRun { proposal: found, .. } = &mut late {
        *found = Some(Box::new(proposal("late", &[])));
    }
    let done = scene.does(&late);
    assert_eq!(done.notes, ["the run was over before; its result is on record but not taken"]);
    assert_eq!(scene.view.events.last().unwrap().kind(), "run.late_result");
    // A result for the run that is under way, with the fence of the other.
    scene.does(&settle(second, first_fence, RunOutcome::Succeeded));
    assert_eq!(scene.one::<Task>(task).state, TaskState::Running { run: second });
    assert!(matches!(scene.one::<Run>(first).state, RunState::Lost { .. }));
    assert_eq!(scene.view.all::<Change>(), Vec::new());

    scene.proposes(second, &[]);
    let events = scene.view.events.len();
    scene.does(&settle(second, second_fence, RunOutcome::Succeeded));
    assert_eq!(scene.view.events.len(), events + 1);
    assert_eq!(scene.view.all::<Change>().len(), 1);
}

#[test]
fn a_task_has_one_run_at_a_time() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "once");
    let run = scene.start(task);
    assert_eq!(scene.refuses(&start(task)).to_string(), "T-1 is running and cannot start");
    // Cancelled and wanted again at once: the old processes may still be there.
    scene.does(&Command::CancelTask { task, reason: "no".into() });
    scene.does(&retry(task));
    assert_eq!(scene.refuses(&start(task)).to_string(), "T-1 still has R-1 under way");
    scene.settle(run, RunOutcome::Cancelled { reason: "no".into() });
    assert_eq!(scene.one::<Task>(task).state, TaskState::Approved { not_before: None });
    scene.start(task);
}

#[test]
fn no_step_goes_on_in_a_run_that_is_over() {
    let (mut scene, project) = Scene::ready("shop");
    let timed_out = RunOutcome::TimedOut { reason: "too long".into() };
    for (outcome, end) in [(lost(), StepEnd::Cancelled), (timed_out, StepEnd::TimedOut)] {
        let task = scene.task(project, "ends");
        let run = scene.start(task);
        scene.does(&Command::MarkRunStarting { run });
        let started_at = scene.now;
        let observations = vec![
            Observation::Isolated { isolation: Isolation { level: 3, guarantees: Vec::new() } },
            Observation::Step { index: 0, event: StepEvent::Started { at: started_at } },
        ];
        let fence = scene.one::<Run>(run).fence;
        scene.does(&Command::RecordRun { run, fence, from: 0, cursor: 9, observations });
        scene.later_ms(5);
        scene.settle(run, outcome);
        let found = &scene.one::<Run>(run).steps[0].state;
        assert_eq!(*found, StepState::Ended { started_at, finished_at: scene.now, end });
    }
}

#[test]
fn what_is_read_from_a_log_is_taken_once() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "talks");
    let run = scene.start(task);
    scene.does(&Command::MarkRunStarting { run });
    let fence = scene.one::<Run>(run).fence;
    let record = |from, cursor, observations: &[Observation]| Command::RecordRun {
        run,
        fence,
        from,
        cursor,
        observations: observations.to_vec(),
    };
    let started = [
        Observation::Isolated { isolation: Isolation { level: 3, guarantees: Vec::new() } },
        Observation::Step { index: 0, event: StepEvent::Started { at: scene.now } },
    ];
    scene.does(&record(0, 10, &started));
    let events = scene.view.events.len();
    assert_eq!(scene.does(&record(0, 10, &started)).notes, ["the record is old; nothing changes"]);
    assert_eq!(scene.view.events.len(), events);
    let at = scene.now;
    scene.does(&record(
        10,
        20,
        &[Observation::Step { index: 0, event: StepEvent::Ended { at, end: StepEnd::Succeeded } }],
    ));
    let found: Run = scene.one(run);
    assert_eq!((found.state, found.log_cursor), (RunState::Running, 20));
    assert!(matches!(found.steps[0].state, StepState::Ended { .. }));
    // A step that the run does not have is refused whole: the cursor stays.
    let wrong = record(20, 30, &[Observation::Step { index: 7, event: StepEvent::Skipped }]);
    assert_eq!(scene.refuses(&wrong).to_string(), "run has no step 7");
    assert_eq!(scene.one::<Run>(run).log_cursor, 20);
}

#[test]
fn cancelling_a_task_ends_all_that_hangs_on_it() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "unwanted");
    let run = scene.start(task);
    let change = scene.proposes(run, &["ci.yaml"]);
    let steps = crate::support::steps();
    let tree = "merged".to_owned();
    scene.does(&Command::StartCheck {
        change,
        base: None,
        tree,
        commit: "m".into(),
        steps,
        concerns: Vec::new(),
        required_level: 0,
        lease_ms: 1_000,
    });
    let gates = scene.view.newest::<Run>();
    let asked = scene.one::<Change>(change).approval.unwrap();

    scene.does(&Command::CancelTask { task, reason: "no need".into() });
    assert!(matches!(scene.one::<Task>(task).state, TaskState::Cancelled { .. }));
    assert!(matches!(scene.one::<Change>(change).state, ChangeState::Closed { .. }));
    assert!(matches!(scene.one::<Approval>(asked).state, ApprovalState::Void { .. }));
    assert_eq!(scene.one::<Run>(gates.id).cancel_requested.as_deref(), Some("no need"));
    let again = scene.does(&Command::CancelTask { task, reason: "no need".into() });
    assert_eq!(again.notes, ["it is cancelled already"]);
    // The gates end whenever they end; nothing follows.
    scene.settle(gates.id, failed());
    assert!(matches!(scene.one::<Task>(task).state, TaskState::Cancelled { .. }));
    assert!(matches!(scene.one::<Change>(change).state, ChangeState::Closed { .. }));
}

#[test]
fn what_is_being_merged_cannot_be_cancelled() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "merging");
    let run = scene.start(task);
    let change = scene.proposes(run, &[]);
    scene.check(change, RunOutcome::Succeeded);
    scene.does(&Command::StartMerge { change, commit: "c".into() });
    let refused = scene.refuses(&Command::CancelTask { task, reason: "too late".into() });
    assert_eq!(refused.to_string(), "T-1 is being merged at this moment");
    scene.does(&Command::RefuseMerge { change });
    assert_eq!(scene.one::<Change>(change).state, ChangeState::Opened { not_before: None });
    scene.does(&Command::CancelTask { task, reason: "now".into() });
}

#[test]
fn a_conflicting_change_is_done_again_on_what_the_branch_is_now() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "second");
    let run = scene.start(task);
    let change = scene.proposes(run, &["ci.yaml"]);
    let asked = scene.one::<Change>(change).approval.unwrap();
    scene.does(&Command::ConflictChange { change, paths: vec!["src/a".into(), "src/b".into()] });
    let found: Task = scene.one(task);
    assert!(matches!(found.state, TaskState::Approved { not_before: Some(_) }));
    assert_eq!((found.failures, found.losses, found.conflicts), (0, 0, 1));
    assert_eq!(found.last_failure.as_deref(), Some("C-1 conflicts with the branch in src/a, src/b"));
    assert!(matches!(scene.one::<Approval>(asked).state, ApprovalState::Void { .. }));
    scene.later_ms(LONG_MS);
    scene.finish(task);
}

#[test]
fn failed_gates_count_against_the_task_and_lost_gates_do_not() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "unsound");
    let run = scene.start(task);
    let change = scene.proposes(run, &[]);
    let gates = scene.check(change, lost());
    assert!(matches!(scene.one::<Change>(change).state, ChangeState::Opened { not_before: Some(_) }));
    assert_eq!(scene.one::<Change>(change).checks, [gates]);
    scene.later_ms(LONG_MS);
    scene.check(change, failed());
    assert_eq!(scene.one::<Change>(change).state, ChangeState::ChangesRequested { reason: "gates R-3: exit 1".into() });
    let found: Task = scene.one(task);
    assert_eq!((found.failures, found.losses), (1, 0));
}

/// The gates gave no answer for this reason or that; the waits between them grow and they are not endless.
#[test]
fn gates_that_the_host_fails_are_tried_again_with_growing_waits_and_not_for_ever() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "unlucky");
    let run = scene.start(task);
    let change = scene.proposes(run, &[]);
    let full = RunOutcome::Failed { class: FailureClass::Infrastructure, reason: "disk full".into() };
    let mut last_ms = 0;
    for turn in 1..LOSSES_MAX {
        scene.check(change, if turn % 2 == 0 { lost() } else { full.clone() });
        let ChangeState::Opened { not_before: Some(at) } = scene.one::<Change>(change).state else {
            panic!("after {turn}: {:?}", scene.one::<Change>(change).state)
        };
        let wait_ms = at.ms_since(scene.now);
        assert!(wait_ms > last_ms, "{wait_ms} ms after {last_ms} ms");
        last_ms = wait_ms;
        let early = Command::StartCheck {
            change,
            base: None,
            tree: "t".into(),
            commit: "m".into(),
            steps: Vec::new(),
            concerns: Vec::new(),
            required_level: 0,
            lease_ms: 1_000,
        };
        assert_eq!(scene.refuses(&early).to_string(), "C-1 waits for its next check");
        scene.now = at;
    }
    scene.check(change, full);
    assert!(matches!(scene.one::<Change>(change).state, ChangeState::ChangesRequested { .. }));
    let reason = format!("the gates gave no answer {LOSSES_MAX} times; last: disk full");
    assert_eq!(scene.one::<Task>(task).state, TaskState::Failed { reason });
}

#[test]
fn a_denied_or_closed_change_fails_its_task() {
    let (mut scene, project) = Scene::ready("shop");
    for is_denied in [true, false] {
        let task = scene.task(project, "unwelcome");
        let run = scene.start(task);
        let change = scene.proposes(run, &["ci.yaml"]);
        if is_denied {
            let asked = scene.one::<Change>(change).approval.unwrap();
            scene.does(&deny(asked));
        } else {
            scene.does(&Command::CloseChange { change, reason: "no".into() });
        }
        assert!(matches!(scene.one::<Change>(change).state, ChangeState::Closed { .. }));
        assert!(matches!(scene.one::<Task>(task).state, TaskState::Failed { .. }));
    }
}

#[test]
fn a_task_that_needs_approval_waits_for_a_person() {
    let (mut scene, project) = Scene::ready("shop");
    scene.does(&Command::CreateTask {
        task: Box::new(orch_core::command::NewTask { needs_approval: true, ..new_task(project, "risky") }),
    });
    let task: Task = scene.view.newest();
    let asked = task.approval.unwrap();
    assert_eq!(scene.refuses(&start(task.id)).to_string(), "T-1 waits for A-1");
    let refused = scene.execute_as(&approve(asked), &Actor::daemon("scheduler")).unwrap_err();
    assert_eq!(refused.to_string(), "only a person can answer an approval");
    scene.does(&approve(asked));
    let run = scene.start(task.id);
    scene.settle(run, failed());
    // The same work again needs no new question; after a denial a retry asks anew.
    scene.later_ms(LONG_MS);
    scene.start(task.id);
    let denied = orch_core::command::NewTask { needs_approval: true, ..new_task(project, "riskier") };
    scene.does(&Command::CreateTask { task: Box::new(denied) });
    let task: Task = scene.view.newest();
    scene.does(&deny(task.approval.unwrap()));
    assert!(matches!(scene.one::<Task>(task.id).state, TaskState::Cancelled { .. }));
    scene.does(&retry(task.id));
    let again = scene.one::<Task>(task.id).approval.unwrap();
    assert_ne!(Some(again), task.approval);
    assert_eq!(scene.refuses(&start(task.id)).to_string(), "T-2 waits for A-3");
}

#[test]
fn an_edited_task_is_asked_about_anew_but_not_while_it_is_cancelled() {
    let (mut scene, project) = Scene::ready("shop");
    let risky = orch_core::command::NewTask { needs_approval: true, ..new_task(project, "risky") };
    scene.does(&Command::CreateTask { task: Box::new(risky) });
    let task: Task = scene.view.newest();
    let edit =
        |command: &str| Command::EditTask { task: task.id, spec: Box::new(step_spec(command)), needs_approval: false };
    scene.does(&approve(task.approval.unwrap()));
    scene.does(&edit("rm -r build"));
    assert!(matches!(scene.one::<Approval>(task.approval.unwrap()).state, ApprovalState::Void { .. }));
    assert_eq!(scene.refuses(&start(task.id)).to_string(), "T-1 waits for A-2");
    scene.does(&Command::CancelTask { task: task.id, reason: "no".into() });
    scene.does(&edit("rm -r target"));
    let asked = scene.view.all::<Approval>();
    assert!(asked.iter().all(|asked| !matches!(asked.state, ApprovalState::Pending { .. })), "{asked:?}");
    scene.does(&retry(task.id));
    assert_eq!(scene.refuses(&start(task.id)).to_string(), "T-1 waits for A-3");
}

/// A task that is given more by an edit waits for a person, though it did not before.
#[test]
fn an_edit_that_needs_approval_asks() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "modest");
    assert_eq!(scene.one::<Task>(task).approval, None);
    let spec = Box::new(step_spec("curl https://example.org"));
    scene.does(&Command::EditTask { task, spec, needs_approval: true });
    assert_eq!(scene.refuses(&start(task)).to_string(), "T-1 waits for A-1");
    scene.does(&approve(scene.one::<Task>(task).approval.unwrap()));
    scene.start(task);
}

/// What a cancelled task was given by an edit is asked about when it is tried again, and once.
#[test]
fn what_a_cancelled_task_was_given_is_asked_about_when_it_is_tried_again() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "modest");
    let edit = |needs_approval| {
        let spec = Box::new(step_spec("curl https://example.org"));
        Command::EditTask { task, spec, needs_approval }
    };
    scene.does(&Command::CancelTask { task, reason: "no".into() });
    scene.does(&edit(true));
    let is_pending = |asked: &Approval| matches!(asked.state, ApprovalState::Pending { .. });
    assert_eq!(
        scene.view.all::<Approval>().iter().filter(|asked| is_pending(asked)).count(),
        0,
        "nothing to answer yet"
    );
    scene.does(&retry(task));
    assert_eq!(scene.refuses(&start(task)).to_string(), "T-1 waits for A-2");
    let asked = scene.one::<Task>(task).approval.unwrap();
    scene.does(&approve(asked));
    scene.start(task);
}

/// What needs an approval by now and was never asked about is asked by an edit that changes nothing else.
#[test]
fn an_edit_that_changes_nothing_asks_what_was_never_asked() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "modest");
    let edit = |needs_approval| {
        let spec = Box::new(step_spec("curl https://example.org"));
        Command::EditTask { task, spec, needs_approval }
    };
    scene.does(&edit(false));
    assert_eq!(scene.one::<Task>(task).approval, None, "nothing is to be asked");
    scene.does(&edit(true));
    let asked = scene.one::<Task>(task).approval.unwrap();
    assert_eq!(scene.refuses(&start(task)).to_string(), "T-1 waits for A-1");
    scene.does(&edit(true));
    assert_eq!(scene.one::<Task>(task).approval, Some(asked), "it is asked once");
    scene.does(&approve(asked));
    scene.start(task);
}

/// Like things of the network are counted together, and what there is no room for is counted, too.
#[test]
fn a_run_that_asks_without_end_does_not_grow_without_end() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "chatty");
    let run = scene.start(task);
    let used = |host: String, verdict: NetworkVerdict| {
        let used = NetworkUse { way: "connect".into(), host: Some(host), port: Some(443), verdict, count: 2 };
        Observation::Network { used }
    };
    let denied = || NetworkVerdict::Denied { reason: "name-not-allowed".into() };
    let closed = || NetworkVerdict::Closed { sent_bytes: 1, received_bytes: 10 };
    let many = (0..NETWORK_USES_MAX + 5).map(|number| used(format!("h{number}.org"), denied()));
    let alike = [used("a.org".into(), closed()), used("a.org".into(), closed()), used("h0.org".into(), denied())];
    let observations = alike.into_iter().chain(many).collect();
    let (fence, from) = (scene.one::<Run>(run).fence, scene.one::<Run>(run).log_cursor);
    scene.does(&Command::RecordRun { run, fence, from, cursor: from + 1, observations });
    let found: Run = scene.one(run);
    assert_eq!((found.network.len(), found.network_left_out), (NETWORK_USES_MAX, 12));
    let both = NetworkVerdict::Closed { sent_bytes: 2, received_bytes: 20 };
    assert_eq!((&found.network[0].verdict, found.network[0].count), (&both, 4));
    assert_eq!(found.network[1].count, 4, "one alone and one of many");
}
