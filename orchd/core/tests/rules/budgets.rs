//! Budgets: what runs use is counted once, little left is told, nothing left stops what would begin, and a person says what then.

use std::collections::BTreeSet;

use orch_core::command::{Answer, Command, Subject};
use orch_core::entity::{
    Approval, ApprovalSubject, Budget, BudgetKey, BudgetState, Choice, Entity as _, Isolation, Meter, Observation,
    Period, Project, Run, Task,
};
use orch_core::rehearsal::violations;
use orch_core::schedule::{Action, Wait};
use orch_core::state::approval::ApprovalState;
use orch_core::state::run::{FailureClass, RunOutcome, RunState};
use orch_core::state::step::{StepEnd, StepEvent};
use orch_core::state::task::TaskState;
use orch_proto::Timestamp;
use orch_proto::id::{ApprovalId, ProjectId, RunId, TaskId};
use orch_proto::request::Role;

use crate::schedule_choice::{book, limits, next_due};
use crate::support::{Scene, lost, rule, start};

const MINUTE_MS: u64 = 60_000;

fn key(period: Period) -> BudgetKey {
    BudgetKey { meter: Meter::RunTime, period }
}

fn set(project: ProjectId, period: Period, minutes: u64) -> Command {
    Command::SetBudget { project, key: key(period), limit: minutes * MINUTE_MS, is_hard: false }
}

fn choose(approval: ApprovalId, choice: Choice) -> Command {
    let answer = Answer::Choose { choice, not_before: None, priority: None };
    Command::Decide { subject: Subject::Approval(approval), answer, digest: None }
}

impl Scene {
    fn record(&mut self, run: RunId, observations: Vec<Observation>) {
        let Run { fence, log_cursor, .. } = self.one(run);
        self.does(&Command::RecordRun { run, fence, from: log_cursor, cursor: log_cursor + 1, observations });
    }

    /// A run of the task whose step is under way.
    fn under_way(&mut self, task: TaskId) -> RunId {
        let run = self.start(task);
        self.does(&Command::MarkRunStarting { run });
        let isolation = Isolation { level: 3, guarantees: Vec::new() };
        let step = Observation::Step { index: 0, event: StepEvent::Started { at: self.now } };
        self.record(run, vec![Observation::Isolated { isolation }, step]);
        run
    }

    /// The step of the run ends well after so many minutes, and it with that.
    fn ends_after(&mut self, run: RunId, minutes: u64) {
        self.later_ms(minutes * MINUTE_MS);
        let event = StepEvent::Ended { at: self.now, end: StepEnd::Succeeded };
        self.record(run, vec![Observation::Step { index: 0, event }]);
        self.settle(run, RunOutcome::Succeeded);
    }

    fn budget(&self, project: ProjectId, period: Period) -> Budget {
        *self.one::<Project>(project).budgets.iter().find(|budget| budget.key == key(period)).unwrap()
    }

    /// What the book would have put on record now is put on record; whether there was anything.
    fn judged(&mut self) -> bool {
        let decisions = book(&self.view, &limits(0)).choose(self.now, &BTreeSet::new());
        let judge = decisions.into_iter().find_map(|decision| match decision.action {
            Action::Judge(project) => Some(project),
            _ => None,
        });
        let Some(project) = judge else { return false };
        assert_ne!(self.does(&Command::JudgeBudgets { project }).events, []);
        let again = book(&self.view, &limits(0)).choose(self.now, &BTreeSet::new());
        assert!(again.iter().all(|decision| decision.action != Action::Judge(project)), "{again:?}");
        true
    }

    fn waits_for(&self, task: TaskId) -> Vec<Wait> {
        book(&self.view, &limits(9)).waits(task, self.now)
    }

    fn starts(&self) -> usize {
        let decisions = book(&self.view, &limits(9)).choose(self.now, &BTreeSet::new());
        decisions.iter().filter(|decision| matches!(decision.action, Action::Run(_))).count()
    }

    fn question(&self, project: ProjectId, period: Period) -> Approval {
        match self.budget(project, period).state {
            BudgetState::Spent { question } => self.one(question),
            state => panic!("nothing was asked: {state:?}"),
        }
    }
}

#[test]
fn nothing_begins_on_a_budget_that_is_used_up_until_a_person_gives_more() {
    let (mut scene, project) = Scene::ready("shop");
    scene.does(&set(project, Period::Day, 10));
    let (first, second) = (scene.task(project, "first"), scene.task(project, "second"));
    let run = scene.under_way(first);
    assert!(!scene.judged(), "there is enough");
    scene.later_ms(8 * MINUTE_MS - 1);
    assert!(!scene.judged());
    assert_eq!(next_due(&scene), Some(scene.now.plus_ms(1)), "it looks when little is left, and not before");
    scene.later_ms(1);
    assert!(scene.judged());
    assert_eq!(scene.budget(project, Period::Day).state, BudgetState::Low);
    assert_eq!(scene.starts(), 1, "there is something left");
    assert_eq!(next_due(&scene), Some(scene.now.plus_ms(2 * MINUTE_MS)));
    scene.later_ms(2 * MINUTE_MS);
    assert_eq!(scene.starts(), 0, "before anything is put on record");
    assert!(scene.judged());
    let asked = scene.question(project, Period::Day);
    assert_eq!(
        (asked.subject, &asked.choices[..]),
        (ApprovalSubject::Budget { id: project }, &[Choice::Raise, Choice::Leave][..])
    );
    assert!(asked.action.contains("10 of 10 minutes in a day"), "{}", asked.action);
    assert_eq!(scene.one::<Run>(run).cancel_requested, None, "it goes on");
    assert!(rule(scene.refuses(&start(second))).to_string().contains("the budget of `shop` is used up"));
    let [Wait::Budget { name, period: Period::Day, amounts, renews_ms: Some(renews_ms) }] =
        &scene.waits_for(second)[..]
    else {
        panic!("{:?}", scene.waits_for(second))
    };
    assert_eq!((name.as_str(), amounts.as_str()), ("shop", "10 of 10 minutes"));
    assert_eq!(scene.now.plus_ms(*renews_ms), scene.budget(project, Period::Day).renews_at().unwrap());
    scene.does(&choose(asked.id, Choice::Raise));
    assert_eq!(scene.starts(), 1, "at once");
    scene.ends_after(run, 1);
    let after = scene.budget(project, Period::Day);
    assert_eq!((after.used, after.allowed()), (11 * MINUTE_MS, 20 * MINUTE_MS));
    let run = scene.under_way(second);
    scene.ends_after(run, 9);
    assert!(scene.judged());
    let asked = scene.question(project, Period::Day);
    scene.does(&choose(asked.id, Choice::Leave));
    assert!(!scene.judged(), "nobody is asked again");
    scene.task(project, "third");
    assert_eq!(scene.starts(), 0);
}

#[test]
fn a_day_brings_a_budget_back_and_a_clock_that_is_put_back_does_not() {
    let (mut scene, project) = Scene::ready("shop");
    scene.does(&set(project, Period::Day, 10));
    let (first, _) = (scene.task(project, "first"), scene.task(project, "second"));
    let run = scene.under_way(first);
    scene.ends_after(run, 10);
    assert!(scene.judged());
    let asked = scene.question(project, Period::Day);
    let today = scene.now;
    scene.now = scene.budget(project, Period::Day).renews_at().unwrap();
    assert_eq!(next_due(&scene).map(|due| due > scene.now), Some(true));
    assert_eq!(scene.starts(), 1);
    assert!(scene.judged());
    assert!(matches!(scene.one::<Approval>(asked.id).state, ApprovalState::Void { .. }));
    let tomorrow = scene.now;
    let second = scene.view.newest::<Task>().id;
    let run = scene.under_way(second);
    scene.ends_after(run, 10);
    assert!(scene.judged());
    scene.task(project, "third");
    for now in [today, Timestamp::from_unix_us(0), tomorrow] {
        let mut followed = book(&scene.view, &limits(9));
        followed.choose(tomorrow, &BTreeSet::new());
        scene.now = now;
        assert_eq!(scene.starts(), 0, "at {now}");
        assert_eq!(followed.choose(now, &BTreeSet::new()), [], "at {now}");
    }
}

/// What a run used is known from its steps, so that a clock that jumps while nobody looks neither gives nor takes anything.
#[test]
fn what_a_run_used_is_counted_by_its_steps_and_not_by_when_that_was_heard_of() {
    let (mut scene, project) = Scene::ready("shop");
    scene.does(&set(project, Period::Total, 100));
    let task = scene.task(project, "first");
    let run = scene.under_way(task);
    scene.later_ms(3 * MINUTE_MS);
    let event = StepEvent::Ended { at: scene.now, end: StepEnd::Succeeded };
    scene.record(run, vec![Observation::Step { index: 0, event }]);
    // Nobody was there for hours.
    scene.later_ms(600 * MINUTE_MS);
    scene.settle(run, RunOutcome::Succeeded);
    assert_eq!(scene.budget(project, Period::Total).used, 3 * MINUTE_MS);
    // A result that comes again, or late, counts nothing.
    let fence = scene.one::<Run>(run).fence;
    scene.does(&crate::support::settle(run, fence, RunOutcome::Succeeded));
    assert_eq!(scene.budget(project, Period::Total).used, 3 * MINUTE_MS);
    // Of a run that was lost, all until that was known.
    let task = scene.task(project, "second");
    let run = scene.under_way(task);
    scene.later_ms(7 * MINUTE_MS);
    scene.settle(run, lost());
    assert_eq!(scene.budget(project, Period::Total).used, 10 * MINUTE_MS);
    // One that never began used nothing.
    scene.later_ms(MINUTE_MS);
    let task = scene.task(project, "third");
    let run = scene.start(task);
    scene.later_ms(MINUTE_MS);
    scene.settle(run, RunOutcome::Cancelled { reason: "no".into() });
    assert_eq!(scene.budget(project, Period::Total).used, 10 * MINUTE_MS);
}

#[test]
fn a_hard_budget_ends_runs_which_do_not_count_and_are_not_tried_for_ever() {
    let (mut scene, project) = Scene::ready("shop");
    let hard = |minutes: u64| Command::SetBudget {
        project,
        key: key(Period::Total),
        limit: minutes * MINUTE_MS,
        is_hard: true,
    };
    scene.does(&hard(1));
    let task = scene.task(project, "long");
    for round in 1..=5 {
        let run = scene.under_way(task);
        scene.later_ms(MINUTE_MS);
        assert!(scene.judged());
        let reason = scene.one::<Run>(run).cancel_requested.unwrap();
        assert!(reason.contains("the budget of `shop` is used up"), "{reason}");
        scene.settle(run, RunOutcome::Cancelled { reason });
        assert!(matches!(scene.one::<Run>(run).state, RunState::Failed { class: FailureClass::Budget, .. }), "{round}");
        let after: Task = scene.one(task);
        assert_eq!((after.failures, after.losses), (0, 0));
        if round < 5 {
            assert!(matches!(after.state, TaskState::Approved { .. }), "{after:?}");
            assert!(matches!(scene.waits_for(task)[..], [Wait::Budget { renews_ms: None, .. }]));
            scene.does(&Command::ResetBudgets { project, period: None });
            assert_eq!(scene.starts(), 1);
        } else {
            let TaskState::Failed { reason } = &after.state else { panic!("{after:?}") };
            assert!(reason.contains("5 times in a row"), "{reason}");
            assert!(after.question.is_some(), "a person is asked");
        }
    }
    // Somebody's own wish is what it was.
    scene.does(&hard(100));
    let task = scene.task(project, "other");
    let run = scene.under_way(task);
    let reason = String::from("enough");
    scene.does(&Command::CancelRun { run, reason: reason.clone() });
    scene.settle(run, RunOutcome::Cancelled { reason });
    assert!(matches!(scene.one::<Run>(run).state, RunState::Cancelled { .. }));
}

#[test]
fn a_budget_is_set_changed_taken_away_and_begun_anew() {
    let (mut scene, project) = Scene::ready("shop");
    assert!(
        rule(scene.refuses(&Command::ResetBudgets { project, period: None })).to_string().contains("no such budget")
    );
    let huge = Command::SetBudget { project, key: key(Period::Day), limit: u64::MAX, is_hard: false };
    assert!(rule(scene.refuses(&huge)).to_string().contains("minutes"));
    assert_eq!(scene.does(&set(project, Period::Day, 0)).events, []);
    scene.does(&set(project, Period::Day, 10));
    assert_eq!(scene.does(&set(project, Period::Day, 10)).events, []);
    scene.does(&set(project, Period::Total, 15));
    let task = scene.task(project, "first");
    let run = scene.under_way(task);
    scene.ends_after(run, 10);
    assert!(scene.judged());
    let asked = scene.question(project, Period::Day);
    // Another budget is no answer to what was asked about the one before.
    scene.does(&set(project, Period::Day, 20));
    assert!(matches!(scene.one::<Approval>(asked.id).state, ApprovalState::Void { .. }));
    assert_eq!(scene.budget(project, Period::Day).used, 10 * MINUTE_MS, "what was used stays used");
    scene.does(&set(project, Period::Day, 5));
    assert!(scene.judged());
    scene.does(&set(project, Period::Day, 0));
    assert_eq!(scene.one::<Project>(project).budgets.len(), 1);
    let task = scene.task(project, "second");
    let run = scene.under_way(task);
    scene.ends_after(run, 5);
    assert!(scene.judged());
    let asked = scene.question(project, Period::Total);
    scene.does(&Command::ResetBudgets { project, period: Some(Period::Total) });
    assert!(matches!(scene.one::<Approval>(asked.id).state, ApprovalState::Void { .. }));
    assert_eq!(scene.budget(project, Period::Total).used, 0);
    // An archived project asks nobody, and nobody looks at its budgets.
    let task = scene.task(project, "third");
    let run = scene.under_way(task);
    scene.ends_after(run, 15);
    assert!(scene.judged());
    scene.does(&Command::ArchiveProject { project });
    assert_eq!(violations(&scene.view).unwrap(), Vec::<String>::new());
    assert!(!scene.judged());
}

/// Gates end what was begun: they are not held back, and what they use counts.
#[test]
fn gates_go_on_without_a_budget_and_count() {
    let (mut scene, project) = Scene::ready("shop");
    scene.does(&set(project, Period::Week, 10));
    let task = scene.task(project, "first");
    let run = scene.start(task);
    let change = scene.proposes(run, &[]);
    let other = scene.task(project, "second");
    let run = scene.under_way(other);
    scene.ends_after(run, 10);
    assert!(scene.judged());
    let decisions = book(&scene.view, &limits(9)).choose(scene.now, &BTreeSet::new());
    assert!(decisions.iter().any(|decision| decision.action == Action::Check(change)), "{decisions:?}");
    scene.check(change, RunOutcome::Succeeded);
    scene.merge(change);
    assert_eq!(scene.budget(project, Period::Week).used, 10 * MINUTE_MS);
}

#[test]
fn a_budget_is_what_it_was_unless_it_was_used() {
    let (mut scene, project) = Scene::ready("shop");
    let seq = |scene: &Scene| scene.view.events.len() as u64;
    let undo = |scene: &Scene, seq| Command::Undo { operation: Box::new(scene.view.operation(seq)) };
    scene.does(&set(project, Period::Day, 10));
    let set_at = seq(&scene);
    assert_eq!(scene.view.operation(set_at).role(), Role::Admin);
    let task = scene.task(project, "build");
    let run = scene.under_way(task);
    scene.ends_after(run, 10);
    let used = scene.budget(project, Period::Day);
    let refusal = scene.refuses(&undo(&scene, set_at)).to_string();
    assert!(refusal.starts_with("the budget of `shop`, or what is used of it,"), "{refusal}");
    scene.does(&Command::ResetBudgets { project, period: None });
    scene.does(&undo(&scene, seq(&scene)));
    assert_eq!(scene.budget(project, Period::Day), used, "what was used is used");
    // More is given and taken back, as long as nothing began on it.
    let waiting = scene.task(project, "test");
    assert!(scene.judged());
    let asked = scene.question(project, Period::Day);
    scene.later_ms(1);
    scene.does(&choose(asked.id, Choice::Raise));
    let raised = seq(&scene);
    assert_eq!(scene.view.operation(raised).role(), Role::Approver);
    scene.does(&undo(&scene, raised));
    assert!(scene.one::<Approval>(asked.id).is_open() && scene.starts() == 0, "it waits again");
    scene.does(&undo(&scene, seq(&scene)));
    let raised = seq(&scene);
    scene.later_ms(1);
    scene.start(waiting);
    assert_eq!(scene.refuses(&undo(&scene, raised)).to_string(), "R-2 has begun since then");
}
