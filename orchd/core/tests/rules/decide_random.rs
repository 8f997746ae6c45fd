//! Random command lists: whatever comes in whatever order, what must hold does, and nothing panics.

use orch_core::actor::Actor;
use orch_core::command::Command;
use orch_core::entity::{Condition, Entity as _, Join, Run, Task};
use orch_core::ids::IdSource;
use orch_core::rehearsal::random_command;
use orch_core::state::task::TaskState;
use proptest::prelude::*;

use crate::support::{Scene, user};

const COMMANDS: usize = 250;

fn check_start(scene: &Scene, command: &Command) {
    let Command::StartRun { task, .. } = command else { return };
    let task: Task = scene.one(*task);
    let needs = task.depends_on.iter().map(|needed| (scene.one::<Task>(*needed).state, task.condition(*needed)));
    let mut held = needs.map(|(state, condition)| match condition {
        Condition::Done => matches!(state, TaskState::Done { .. }),
        Condition::Failed => matches!(state, TaskState::Failed { .. }),
        Condition::Ended => state.is_final(),
    });
    let all = match task.terms.join {
        Join::All => held.all(|held| held),
        Join::Any => task.depends_on.is_empty() || held.any(|held| held),
    };
    assert!(all, "{task:?} began too early");
    assert!(task.terms.deadline.is_none_or(|deadline| scene.now < deadline), "{task:?} began too late");
}

/// Plays a list and answers how many commands were accepted.
fn play(seed: [u8; 32]) -> usize {
    let (mut scene, _) = Scene::ready("p0");
    let mut dice = IdSource::seeded(seed);
    let mut accepted = 0;
    for _ in 0..COMMANDS {
        let command = random_command(&scene.view, &mut dice).unwrap();
        let runs: Vec<Run> = scene.view.all();
        if dice.jitter(3) == 0 {
            scene.later_ms(dice.jitter(5_000));
        }
        let actor = if dice.jitter(20) == 0 { Actor::daemon("test") } else { user(1_000) };
        if scene.execute_as(&command, &actor).is_ok() {
            accepted += 1;
            check_start(&scene, &command);
        }
        // What is over stays as it ended, and a fence never changes.
        for before in runs {
            let after: Run = scene.one(before.id);
            assert_eq!(after.fence, before.fence);
            assert!(before.is_open() || after.state == before.state, "{before:?} became {after:?}");
        }
    }
    accepted
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn any_list_of_commands_keeps_what_must_hold(seed in any::<[u8; 32]>()) {
        play(seed);
    }
}

/// Lists in which nearly everything is refused would prove nothing.
#[test]
fn the_lists_reach_every_kind_of_event() {
    let mut kinds = std::collections::BTreeSet::new();
    // As many as are needed: chance is another whenever there is one more command.
    for seed in 0..250 {
        let (mut scene, _) = Scene::ready("p0");
        let mut dice = IdSource::seeded([seed; 32]);
        for _ in 0..COMMANDS {
            let command = random_command(&scene.view, &mut dice).unwrap();
            scene.later_ms(dice.jitter(2_000));
            drop(scene.view.execute(&command, &user(1_000), scene.now, &mut scene.ids));
        }
        kinds.extend(scene.view.events.iter().map(orch_core::event::Event::kind));
        if EXPECTED.iter().all(|kind| kinds.contains(*kind)) {
            break;
        }
    }
    let missing: Vec<&str> = EXPECTED.iter().filter(|kind| !kinds.contains(**kind)).copied().collect();
    assert_eq!(missing, Vec::<&str>::new(), "of {kinds:?}");
}

const EXPECTED: [&str; 80] = [
    "run.told",
    "task.said",
    "task.told",
    "task.replied",
    "project.planning_fell_back",
    "project.planning_asked",
    "project.planning_model_asked",
    "project.planning_model_answered",
    "project.planning_agent_started",
    "project.planning_agent_ended",
    "project.planning_answer_refused",
    "project.planning_ended",
    "info_request.asked_about",
    "run.model_asked",
    "run.model_answered",
    "info_request.answered",
    "info_request.asked",
    "info_request.cancelled",
    "info_request.expired",
    "info_request.taken",
    "run.answered",
    "run.approval_requested",
    "run.asked",
    "run.handed_in",
    "run.input_requested",
    "run.noted",
    "run.parked",
    "run.progressed",
    "run.proposed",
    "project.budget_set",
    "project.budget_removed",
    "project.budget_reset",
    "project.budget_raised",
    "project.budget_low",
    "project.budget_spent",
    "project.budget_used",
    "run.over_budget",
    "project.patience_set",
    "task.overdue",
    "run.silent",
    "run.heard",
    "approval.answered",
    "project.paused",
    "project.resumed",
    "run.pause_requested",
    "run.resume_requested",
    "task.requeued",
    "project.share_set",
    "project.archived",
    "requirements.approved",
    "requirements.rejected",
    "requirements.superseded",
    "plan.approved",
    "plan.superseded",
    "task.linked",
    "task.unlinked",
    "task.terms_set",
    "task.moved",
    "task.expired",
    "task.started",
    "task.retry_scheduled",
    "task.review_started",
    "task.completed",
    "task.failed",
    "task.cancelled",
    "task.held",
    "task.released",
    "task.reopened",
    "run.observed",
    "run.cancel_requested",
    "run.ended",
    "run.late_result",
    "run.removing",
    "run.removed",
    "approval.denied",
    "approval.voided",
    "change.check_passed",
    "change.conflicted",
    "change.merged",
    "change.closed",
];
