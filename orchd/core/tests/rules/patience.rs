//! What takes too long: tasks that could begin and do not, runs that are silent, failures that repeat; and the questions
//! about them.

use orch_core::command::{Answer, Command, PatienceChange, Subject, TermsChange};
use orch_core::entity::{
    Approval, ApprovalSubject, Choice, Isolation, Observation, Patience, Project, Remedy, Run, Task, Timeout,
};
use orch_core::schedule::{Action, Freeze, Limits, Window};
use orch_core::state::approval::ApprovalState;
use orch_core::state::run::{RunOutcome, RunState};
use orch_core::state::task::TaskState;
use orch_proto::id::{ApprovalId, ProjectId, RunId, TaskId};

use crate::schedule_choice::{book, choice, limits, names};
use crate::support::{Scene, approve, failed, lost, retry, rule, start};
use crate::thread::coder;

const MINUTE: u64 = 60_000;

const fn after(minutes: u64, then: Remedy) -> Timeout {
    Timeout { after_ms: minutes * MINUTE, then }
}

/// Nothing can start, and a task may wait that long.
fn busy(queue: Timeout) -> Limits {
    Limits { patience: Patience { queue: Some(queue), silence: None }, ..limits(0) }
}

impl Scene {
    /// Does what the book wants done about what waits; answers about which tasks that was.
    fn sees_to(&mut self, limits: &Limits) -> Vec<TaskId> {
        let mut found = Vec::new();
        for decision in choice(self, limits) {
            if let Action::Overdue { task, since, timeout } = decision.action {
                self.does(&Command::OverdueTask { task, since, timeout });
                found.push(task);
            }
        }
        found
    }

    fn running(&mut self, project: ProjectId, title: &str) -> (TaskId, RunId) {
        let task = self.task(project, title);
        let run = self.start(task);
        self.runs(run);
        (task, run)
    }

    fn runs(&mut self, run: RunId) {
        self.does(&Command::MarkRunStarting { run });
        let found: Run = self.one(run);
        let isolation = Isolation { level: 3, guarantees: Vec::new() };
        self.does(&Command::RecordRun {
            run,
            fence: found.fence,
            from: found.log_cursor,
            cursor: found.log_cursor + 1,
            observations: vec![Observation::Isolated { isolation }],
        });
    }

    fn silent(&mut self, run: RunId, timeout: Timeout) -> Command {
        let since = self.now;
        self.later_ms(timeout.after_ms);
        Command::SilentRun { run, since, timeout }
    }

    /// The one question that waits.
    fn asked(&self) -> Approval {
        let mut open = self.view.all::<Approval>();
        open.retain(|approval| matches!(approval.state, ApprovalState::Pending { .. }));
        assert_eq!(open.len(), 1, "{open:#?}");
        open.remove(0)
    }

    fn asks_nothing(&self) -> bool {
        let pending = |approval: Approval| matches!(approval.state, ApprovalState::Pending { .. });
        !self.view.all::<Approval>().into_iter().any(pending)
    }
}

fn choose(approval: ApprovalId, choice: Choice) -> Command {
    let answer = Answer::Choose { choice, not_before: None, priority: None };
    Command::Decide { subject: Subject::Approval(approval), answer, digest: None }
}

#[test]
fn who_waits_for_too_long_is_told_of_once() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "waits");
    let limits = busy(after(10, Remedy::Warn));
    scene.later_ms(10 * MINUTE - 1);
    assert_eq!(choice(&scene, &limits), []);
    let mut followed = book(&scene.view, &limits);
    followed.choose(scene.now, &std::collections::BTreeSet::new());
    assert_eq!(followed.next_due(scene.now), Some(scene.now.plus_ms(1)));
    scene.later_ms(1);
    assert_eq!(scene.sees_to(&limits), [task]);
    assert_eq!(scene.one::<Task>(task).overdue.unwrap().timeout, after(10, Remedy::Warn));
    assert_eq!(book(&scene.view, &limits).known_overdue(9), [task]);
    scene.later_ms(60 * MINUTE);
    assert_eq!(choice(&scene, &limits), []);
    // Another attempt waits anew, and what can begin does not wait.
    let run = scene.start(task);
    assert_eq!(scene.one::<Task>(task).overdue, None);
    scene.settle(run, failed());
    scene.later_ms(9 * MINUTE);
    assert_eq!(choice(&scene, &limits), []);
    scene.later_ms(2 * MINUTE);
    assert_eq!(names(&scene, 1), ["waits"]);
    assert_eq!(scene.sees_to(&limits), [task]);
}

#[test]
fn only_time_in_which_it_could_begin_counts() {
    let (mut scene, project) = Scene::ready("shop");
    let first = scene.task(project, "first");
    let second = scene.task_with(project, "second", |task| {
        task.depends_on = crate::support::all_done([first]);
        task.terms.patience.queue = Some(after(5, Remedy::Warn));
    });
    let never = scene.task_with(project, "never", |task| {
        task.terms.patience.queue = Some(Timeout { after_ms: 0, then: Remedy::End });
    });
    let limits = busy(after(10, Remedy::Warn));
    // What depends on another waits for it and not for its turn.
    scene.later_ms(30 * MINUTE);
    assert_eq!(scene.sees_to(&limits), [first]);
    scene.finish(first);
    assert_eq!(choice(&scene, &limits), []);
    // In a pause of its project nothing waits, and the wait begins anew after it.
    let project_pause =
        |until| Command::PauseProjects { projects: vec![project], reason: "lunch".into(), until, with_runs: false };
    scene.does(&project_pause(None));
    scene.later_ms(60 * MINUTE);
    assert_eq!(choice(&scene, &limits), []);
    scene.does(&Command::ResumeProjects { projects: vec![project] });
    scene.later_ms(5 * MINUTE - 1);
    assert_eq!(choice(&scene, &limits), []);
    scene.does(&project_pause(Some(scene.now.plus_ms(MINUTE))));
    let mut followed = book(&scene.view, &limits);
    let none = std::collections::BTreeSet::new();
    for (later, is_late) in [(MINUTE, false), (5 * MINUTE - 1, false), (1, true)] {
        scene.later_ms(later);
        assert_eq!(followed.choose(scene.now, &none), choice(&scene, &limits));
        assert_eq!(!choice(&scene, &limits).is_empty(), is_late, "{later}");
    }
    // The same for a freeze window.
    let window = Window::Once { from: scene.now, until: scene.now.plus_ms(MINUTE) };
    let freeze = Freeze { projects: ["shop".to_owned()].into(), window, reason: "audit".into() };
    let frozen = Limits { freezes: vec![freeze], ..limits };
    assert_eq!(choice(&scene, &frozen), []);
    scene.later_ms(6 * MINUTE - 1);
    assert_eq!(choice(&scene, &frozen), []);
    scene.later_ms(1);
    assert_eq!(scene.sees_to(&frozen), [second]);
    assert!(scene.one::<Task>(never).overdue.is_none());
}

#[test]
fn a_project_has_its_own_time_and_a_task_that_waits_too_long_can_be_cancelled() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "waits");
    let general = busy(after(60, Remedy::Warn));
    let mut followed = book(&scene.view, &general);
    let change = PatienceChange { queue: Some(Some(after(1, Remedy::End))), silence: None };
    scene.does(&Command::SetPatience { project, change });
    assert_eq!(scene.does(&Command::SetPatience { project, change }).notes, ["it is so already"]);
    followed.put_project((&scene.one::<Project>(project)).into());
    scene.later_ms(MINUTE);
    let none = std::collections::BTreeSet::new();
    assert_eq!(followed.choose(scene.now, &none), choice(&scene, &general));
    // Who can begin does so, however long it has waited.
    assert_eq!(names(&scene, 1), ["waits"]);
    assert_eq!(scene.sees_to(&general), [task]);
    let TaskState::Cancelled { reason } = scene.one::<Task>(task).state else { panic!("not cancelled") };
    assert_eq!(reason, "it could begin for 1 min and did not");
    let too_long = PatienceChange { queue: None, silence: Some(Some(after(60 * 24 * 366, Remedy::Warn))) };
    let refused = scene.refuses(&Command::SetPatience { project, change: too_long });
    assert_eq!(rule(refused).to_string(), "silence time-out is longer than a year");
}

#[test]
fn a_person_says_what_becomes_of_a_task_that_waits() {
    let (mut scene, project) = Scene::ready("shop");
    let limits = busy(after(10, Remedy::Ask));
    let tasks = ["goes on", "is cancelled", "begins", "has more time"].map(|title| scene.task(project, title));
    scene.later_ms(10 * MINUTE);
    assert_eq!(scene.sees_to(&limits).len(), 4);
    let questions = tasks.map(|task| scene.one::<Task>(task).question.unwrap());
    let asked: Approval = scene.one(questions[0]);
    assert_eq!(asked.action, "T-1 goes on could begin for 10 min and has not; what is to become of it?");
    assert_eq!(asked.choices, [Choice::GoOn, Choice::Cancel]);
    // Yes is no answer, nor is what was not offered, nor does the daemon choose.
    let refused = rule(scene.refuses(&approve(asked.id))).to_string();
    assert_eq!(refused, "A-1 is not answered by yes or no");
    let refused = rule(scene.refuses(&choose(asked.id, Choice::Leave))).to_string();
    assert_eq!(refused, "answer `leave` is none of go_on, cancel");
    let daemon = orch_core::actor::Actor::daemon("test");
    assert!(scene.execute_as(&choose(asked.id, Choice::GoOn), &daemon).is_err());

    scene.does(&choose(questions[0], Choice::GoOn));
    assert_eq!(scene.does(&choose(questions[0], Choice::GoOn)).notes, ["it was answered so before; nothing changes"]);
    assert!(matches!(scene.one::<Approval>(questions[0]).state, ApprovalState::Answered { by: 1_000, .. }));
    scene.does(&choose(questions[1], Choice::Cancel));
    assert!(matches!(scene.one::<Task>(tasks[1]).state, TaskState::Cancelled { .. }));
    scene.start(tasks[2]);
    let patience = PatienceChange { queue: Some(Some(after(20, Remedy::Ask))), silence: None };
    scene.does(&Command::SetTerms {
        task: tasks[3],
        change: Box::new(TermsChange { patience, ..TermsChange::default() }),
    });
    for question in &questions[2..] {
        let state = scene.one::<Approval>(*question).state;
        assert!(matches!(state, ApprovalState::Void { .. }), "{state:?}");
    }
    assert!(scene.asks_nothing());
    scene.later_ms(10 * MINUTE);
    assert_eq!(scene.sees_to(&limits), [tasks[3]], "of the others it is known, or they do not wait");
}

#[test]
fn a_silent_run_is_told_of_once_and_again_after_it_was_heard_of() {
    let (mut scene, project) = Scene::ready("shop");
    let (_, run) = scene.running(project, "quiet");
    let too_early = Command::SilentRun { run, since: scene.now, timeout: after(10, Remedy::Warn) };
    assert_eq!(rule(scene.refuses(&too_early)).to_string(), "R-1 is not silent for long");
    let silent = scene.silent(run, after(10, Remedy::Ask));
    scene.does(&silent);
    assert!(rule(scene.refuses(&silent)).to_string().contains("it is known that it is silent"));
    let asked = scene.asked();
    assert_eq!(asked.subject, ApprovalSubject::Silence { id: run });
    assert_eq!(asked.action, "R-1 (T-1 quiet) is silent for 10 min; what is to become of it?");
    scene.does(&Command::HeardRun { run });
    assert!(scene.asks_nothing());
    assert_eq!(scene.one::<Run>(run).silence, None);
    assert_eq!(scene.does(&Command::HeardRun { run }).notes, ["nobody thought that it was silent"]);
    let silent = scene.silent(run, after(10, Remedy::Ask));
    scene.does(&silent);
    scene.does(&choose(scene.asked().id, Choice::GoOn));
    assert_eq!(scene.one::<Run>(run).cancel_requested, None);
    scene.settle(run, failed());
    assert!(scene.asks_nothing());
}

#[test]
fn a_person_says_what_becomes_of_a_silent_run() {
    let (mut scene, project) = Scene::ready("shop");
    let ask = |scene: &mut Scene, title: &str| {
        let (task, run) = scene.running(project, title);
        let silent = scene.silent(run, after(10, Remedy::Ask));
        scene.does(&silent);
        (task, run, scene.asked().id)
    };
    let (task, run, question) = ask(&mut scene, "ended");
    scene.does(&choose(question, Choice::End));
    assert_eq!(scene.one::<Run>(run).cancel_requested.as_deref(), Some("so answered to A-1"));
    scene.settle(run, RunOutcome::Cancelled { reason: "so answered to A-1".into() });
    let found: Task = scene.one(task);
    assert!(matches!((found.state, found.failures), (TaskState::Approved { .. }, 1)), "its retry policy decides");

    let (task, run, question) = ask(&mut scene, "retried");
    let soon = scene.now.plus_ms(MINUTE);
    let answer = Answer::Choose { choice: Choice::Retry, not_before: Some(soon), priority: Some(9) };
    scene.does(&Command::Decide { subject: Subject::Approval(question), answer: answer.clone(), digest: None });
    let found: Task = scene.one(task);
    assert_eq!((found.priority, found.terms.not_before, found.failures), (9, Some(soon), 0));
    assert!(scene.one::<Run>(run).cancel_requested.is_some());
    scene.settle(run, lost());

    let (task, run, question) = ask(&mut scene, "cancelled");
    let Answer::Choose { not_before, priority, .. } = answer else { panic!("it is one") };
    let answer = Answer::Choose { choice: Choice::Cancel, not_before, priority };
    let refused = scene.refuses(&Command::Decide { subject: Subject::Approval(question), answer, digest: None });
    assert_eq!(rule(refused).to_string(), "answer `cancel` takes neither a time nor a priority");
    scene.does(&choose(question, Choice::Cancel));
    assert!(matches!(scene.one::<Task>(task).state, TaskState::Cancelled { .. }));
    scene.settle(run, lost());

    // Nobody answers, and the run ends by itself.
    let (_, run, question) = ask(&mut scene, "speaks last");
    scene.settle(run, failed());
    assert!(matches!(scene.one::<Approval>(question).state, ApprovalState::Void { .. }));
}

#[test]
fn a_run_that_is_ended_for_its_silence_took_too_long() {
    let (mut scene, project) = Scene::ready("shop");
    let (task, run) = scene.running(project, "quiet");
    let silent = scene.silent(run, after(10, Remedy::End));
    scene.does(&silent);
    let reason = scene.one::<Run>(run).cancel_requested.unwrap();
    assert_eq!(reason, "nothing was heard of it for 10 min");
    scene.settle(run, RunOutcome::Cancelled { reason: reason.clone() });
    assert_eq!(scene.one::<Run>(run).state, RunState::TimedOut { reason: reason.clone() });
    let found: Task = scene.one(task);
    assert_eq!((found.failures, found.last_failure), (1, Some(reason)));
    // What stands still because a person wants so may be silent.
    scene.later_ms(MINUTE);
    let run = scene.start(task);
    scene.runs(run);
    scene.does(&Command::PauseRun { run, reason: "look".into() });
    let silent = scene.silent(run, after(10, Remedy::End));
    assert!(rule(scene.refuses(&silent)).to_string().starts_with("R-2 does not run by itself"));
}

#[test]
fn a_failure_that_repeats_asks_a_person() {
    let (mut scene, project) = Scene::ready("shop");
    let fails = |scene: &mut Scene, task: TaskId| {
        while !matches!(scene.one::<Task>(task).state, TaskState::Failed { .. }) {
            scene.later_ms(60 * MINUTE);
            let run = scene.start(task);
            scene.settle(run, failed());
        }
    };
    // Who is not to try again has failed at the first go, and everybody sees that.
    let once = scene.task_with(project, "once", |task| task.spec.retries.max_retries = 0);
    fails(&mut scene, once);
    assert!(scene.asks_nothing());

    let task = scene.task(project, "fails");
    fails(&mut scene, task);
    let asked = scene.asked();
    assert_eq!(asked.subject, ApprovalSubject::Failure { id: task });
    assert_eq!(asked.action, "T-2 fails failed 3 times; what is to become of it?");
    assert_eq!(asked.choices, [Choice::Retry, Choice::Cancel, Choice::Leave]);
    // Somebody tries it again without a look at the question.
    scene.does(&retry(task));
    assert!(matches!(scene.one::<Approval>(asked.id).state, ApprovalState::Void { .. }));
    fails(&mut scene, task);
    let soon = scene.now.plus_ms(MINUTE);
    let answer = Answer::Choose { choice: Choice::Retry, not_before: Some(soon), priority: Some(8) };
    scene.does(&Command::Decide { subject: Subject::Approval(scene.asked().id), answer, digest: None });
    let found: Task = scene.one(task);
    assert_eq!((found.priority, found.terms.not_before, found.failures), (8, Some(soon), 0));
    fails(&mut scene, task);
    scene.does(&choose(scene.asked().id, Choice::Leave));
    assert!(matches!(scene.one::<Task>(task).state, TaskState::Failed { .. }));
    assert!(scene.asks_nothing());
    scene.does(&retry(task));
    fails(&mut scene, task);
    scene.does(&Command::ArchiveProject { project });
    assert!(scene.asks_nothing());
}

/// An agent is not believed that nothing had to change; a person is, and what waits for the task goes on.
#[test]
fn a_task_whose_agents_had_nothing_to_show_is_done_when_a_person_says_so() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "look");
    while !matches!(scene.one::<Task>(task).state, TaskState::Failed { .. }) {
        scene.later_ms(60 * MINUTE);
        let mut command = start(task);
        if let Command::StartRun { agent, .. } = &mut command {
            *agent = Some(coder(false));
        }
        let run: RunId = scene.does(&command).touched[0].1.parse().unwrap();
        scene.does(&Command::MarkRunStarting { run });
        scene.settle(run, RunOutcome::Succeeded);
    }
    let asked = scene.asked();
    assert_eq!(asked.choices, [Choice::Retry, Choice::Cancel, Choice::Leave, Choice::Done]);
    scene.does(&choose(asked.id, Choice::Done));
    assert_eq!(scene.one::<Task>(task).state, TaskState::Done { change: None });
    assert!(scene.asks_nothing());
    scene.refuses(&retry(task));
}
