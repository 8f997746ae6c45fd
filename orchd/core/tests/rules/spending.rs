//! What runs spend on models: a request leaves while there is something left, one that does not fit waits, and when nothing is
//! left the run stands still until a person gives more.

use orch_core::command::{Answer, Command, Subject};
use orch_core::decide::{Standing, spending, standing};
use orch_core::digest::Digest;
use orch_core::entity::{
    AgentUse, Allowance, Approval, ApprovalSubject, Budget, BudgetKey, BudgetState, Choice, Isolation, Meter,
    ModelAnswer, ModelRequest, Observation, OpenExchange, Period, Project, Run, RunEvent, Spend, Task, TokenUse,
};
use orch_core::event::Event;
use orch_core::recipe::Profile;
use orch_core::state::approval::ApprovalState;
use orch_core::state::run::{FailureClass, RunOutcome, RunState};
use orch_core::state::task::TaskState;
use orch_proto::id::{ApprovalId, ProjectId, RunId, TaskId};

use crate::support::{Scene, start};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

fn tokens(most: u64) -> Allowance {
    Allowance { tokens: Some(most), cost: None }
}

fn agent(of_run: Allowance, of_task: Allowance) -> AgentUse {
    AgentUse {
        name: "coder".into(),
        kind: "codex".into(),
        model: None,
        of_run,
        of_task,
        role: None,
        server: None,
        is_driven: false,
        answer_tokens: None,
        egress: Vec::new(),
        profile: Profile::default(),
    }
}

fn choose(approval: ApprovalId, choice: Choice) -> Command {
    let answer = Answer::Choose { choice, not_before: None, priority: None };
    Command::Decide { subject: Subject::Approval(approval), answer, digest: None }
}

fn set(project: ProjectId, meter: Meter, limit: u64, is_hard: bool) -> Command {
    Command::SetBudget { project, key: BudgetKey { meter, period: Period::Day }, limit, is_hard }
}

impl Scene {
    /// An attempt at the task by an agent, which is under way.
    fn agent_at(&mut self, task: TaskId, doing: AgentUse) -> RunId {
        let mut command = start(task);
        if let Command::StartRun { agent, .. } = &mut command {
            *agent = Some(doing);
        }
        let run: RunId = self.does(&command).touched[0].1.parse().unwrap();
        self.does(&Command::MarkRunStarting { run });
        let (Run { fence, log_cursor, .. }, isolation) =
            (self.one(run), Isolation { level: 3, guarantees: Vec::new() });
        let observations = vec![Observation::Isolated { isolation }];
        self.does(&Command::RecordRun { run, fence, from: log_cursor, cursor: log_cursor + 1, observations });
        run
    }

    /// Asks for something that may come to so many tokens; whether the request may leave.
    fn asks(&mut self, run: RunId, reserved: u64) -> bool {
        let Run { fence, models, .. } = self.one(run);
        let number = models.exchanges + 1;
        let exchange = OpenExchange { number, request_bytes: 400, reserved: Spend { tokens: reserved, cost: 0 } };
        let (path, body) = ("/v1/responses".to_owned(), Digest::of(b"request"));
        let request = Box::new(ModelRequest { path, model: None, body, body_bytes: 400 });
        let done = self.does(&Command::AskModel { run, fence, exchange, request });
        let leaves = self.one::<Run>(run).models.exchanges == number;
        assert_eq!(done.notes.is_empty(), leaves, "what may not leave says so: {:?}", done.notes);
        leaves
    }

    /// The oldest request is answered, which cost so much.
    fn answered(&mut self, run: RunId, (tokens, cost): (u64, u64)) {
        let number = self.one::<Run>(run).models.open[0].number;
        let answer = ModelAnswer {
            status: Some(200),
            model: None,
            tokens: TokenUse { input: tokens, ..TokenUse::default() },
            cost: Some(cost),
            is_estimate: false,
            end: "complete".into(),
            body: None,
            body_bytes: 0,
            tries: 1,
        };
        self.does(&Command::AnswerModel { run, number, answer: Box::new(answer) });
    }

    fn spends(&mut self, run: RunId, tokens: u64) {
        assert!(self.asks(run, 100));
        self.answered(run, (tokens, 0));
    }

    fn stands_still(&self, run: RunId) -> bool {
        self.one::<Run>(run).pause.is_some_and(|pause| pause.is_for_spending)
    }

    fn question_of(&self, run: RunId) -> Approval {
        self.one(self.one::<Run>(run).models.question.unwrap())
    }

    fn day(&self, project: ProjectId) -> Budget {
        self.one::<Project>(project).budgets[0]
    }
}

#[test]
fn a_run_that_has_spent_what_it_may_stands_still_until_a_person_gives_as_much_again() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "first");
    let run = scene.agent_at(task, agent(tokens(1_000), Allowance::default()));
    scene.spends(run, 600);
    scene.spends(run, 600);
    assert!(!scene.asks(run, 100), "1,200 of 1,000 are spent");
    assert!(scene.stands_still(run));
    let asked = scene.question_of(run);
    assert_eq!(asked.subject, ApprovalSubject::Spending { id: run });
    assert!(asked.action.contains("1,200 of 1,000 tokens for this attempt"), "{}", asked.action);
    assert!(!scene.asks(run, 100), "and asks nobody twice");
    assert_eq!(scene.view.all::<Approval>().len(), 1);

    scene.does(&choose(asked.id, Choice::Raise));
    assert!(!scene.stands_still(run));
    scene.spends(run, 900);
    assert!(!scene.asks(run, 100), "2,100 of 2,000 are spent");
    assert_ne!(scene.question_of(run).id, asked.id, "it is another question");
    scene.does(&choose(scene.question_of(run).id, Choice::Cancel));
    assert!(scene.one::<Run>(run).cancel_requested.is_some());
    assert!(matches!(scene.one::<Task>(task).state, TaskState::Cancelled { .. }));
}

#[test]
fn a_person_who_lets_it_go_on_without_more_is_not_asked_twice() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "first");
    let run = scene.agent_at(task, agent(tokens(500), Allowance::default()));
    scene.spends(run, 600);
    assert!(!scene.asks(run, 100));
    let asked = scene.question_of(run).id;
    scene.does(&Command::ResumeRun { run });
    assert!(!scene.asks(run, 100));
    assert!(scene.stands_still(run));
    assert_eq!(scene.question_of(run).id, asked);
    scene.settle(run, RunOutcome::Lost { reason: "gone".into() });
    assert!(matches!(scene.one::<Approval>(asked).state, ApprovalState::Void { .. }), "the run is over");
}

#[test]
fn requests_at_once_do_not_spend_what_is_kept_for_others() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "first");
    let run = scene.agent_at(task, agent(tokens(1_000), Allowance::default()));
    assert!(scene.asks(run, 400), "the first may always leave");
    assert!(scene.asks(run, 700), "there is room for another");
    assert!(!scene.asks(run, 400), "and for no third before one is answered");
    assert!(!scene.stands_still(run), "nothing is used up");
    let now = scene.now;
    assert_eq!(standing(&scene.view, &scene.one(run), now).unwrap(), Standing::Waits);
    scene.answered(run, (300, 0));
    scene.answered(run, (300, 0));
    assert!(scene.asks(run, 9_000), "alone it may be larger than what is left");
    assert_eq!(standing(&scene.view, &scene.one(run), now).unwrap(), Standing::Waits);
}

#[test]
fn attempts_at_a_task_share_what_it_may_spend() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "first");
    let doing = agent(Allowance::default(), tokens(1_000));
    let first = scene.agent_at(task, doing.clone());
    scene.spends(first, 900);
    scene.settle(first, RunOutcome::Failed { class: FailureClass::Infrastructure, reason: "gone".into() });
    scene.later_ms(DAY_MS);
    let second = scene.agent_at(task, doing);
    scene.spends(second, 200);
    assert!(!scene.asks(second, 100));
    let asked = scene.question_of(second);
    assert!(asked.action.contains("1,100 of 1,000 tokens for all attempts at its task"), "{}", asked.action);
    scene.does(&choose(asked.id, Choice::Raise));
    assert_eq!(scene.one::<Task>(task).spending_raises, 1);
    assert_eq!(scene.one::<Run>(second).models.raises, 0);
    scene.spends(second, 100);
}

#[test]
fn what_an_attempt_that_is_over_has_under_way_is_kept_for_it() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "first");
    let doing = agent(Allowance::default(), tokens(1_000));
    let first = scene.agent_at(task, doing.clone());
    assert!(scene.asks(first, 1_000));
    scene.settle(first, RunOutcome::Failed { class: FailureClass::Infrastructure, reason: "gone".into() });
    scene.later_ms(DAY_MS);
    let second = scene.agent_at(task, doing);
    assert!(!scene.asks(second, 200) && !scene.stands_still(second), "it waits, and nobody is asked");
    let told = |scene: &Scene| spending(&scene.view, &scene.one(second), scene.now).unwrap();
    let waits = "a further request waits for those under way: 1,000 of 1,000 tokens that are left for all attempts at its task are kept for them";
    assert_eq!(told(&scene), ["0 of 1,000 tokens for all attempts at its task", waits]);
    scene.answered(first, (100, 0));
    assert_eq!(told(&scene).len(), 1);
    assert!(scene.asks(second, 200));
}

#[test]
fn the_budget_of_a_project_stops_all_its_runs_and_gives_them_more_at_once() {
    let (mut scene, project) = Scene::ready("shop");
    scene.does(&set(project, Meter::Cost, 2_500_000, false));
    let free = agent(Allowance::default(), Allowance::default());
    let runs = ["first", "second"].map(|title| {
        let task = scene.task(project, title);
        scene.agent_at(task, free.clone())
    });
    for run in runs {
        assert!(scene.asks(run, 100));
        scene.answered(run, (100, 1_500_000));
    }
    assert_eq!(scene.day(project).used, 3_000_000);
    assert!(runs.iter().all(|run| !scene.asks(*run, 100)));
    assert!(runs.iter().all(|run| scene.stands_still(*run)));
    let BudgetState::Spent { question } = scene.day(project).state else { panic!("nobody was asked") };
    let asked: Approval = scene.one(question);
    assert!(asked.action.contains("$3.00 of $2.50 in a day"), "{}", asked.action);
    assert!(asked.details.iter().any(|line| line.contains("--cost N")), "{:?}", asked.details);
    assert_eq!(scene.view.all::<Approval>().len(), 1, "it is asked once, of the project");
    scene.does(&choose(question, Choice::Raise));
    assert!(runs.iter().all(|run| !scene.stands_still(*run) && scene.asks(*run, 100)));
}

#[test]
fn another_day_gives_more_to_who_stood_still() {
    let (mut scene, project) = Scene::ready("shop");
    scene.does(&set(project, Meter::Tokens, 100, false));
    let task = scene.task(project, "first");
    let run = scene.agent_at(task, agent(Allowance::default(), Allowance::default()));
    scene.spends(run, 150);
    assert!(!scene.asks(run, 100));
    scene.later_ms(DAY_MS);
    scene.does(&Command::JudgeBudgets { project });
    assert!(!scene.stands_still(run));
    assert!(scene.asks(run, 100));
}

#[test]
fn an_answer_of_the_next_day_gives_more_to_who_stood_still() {
    let (mut scene, project) = Scene::ready("shop");
    scene.does(&set(project, Meter::Tokens, 100, false));
    let free = agent(Allowance::default(), Allowance::default());
    let runs = ["first", "second"].map(|title| {
        let task = scene.task(project, title);
        scene.agent_at(task, free.clone())
    });
    assert!(scene.asks(runs[0], 20), "it is under way over midnight");
    assert!(scene.asks(runs[1], 20));
    scene.answered(runs[1], (150, 0));
    assert!(!scene.asks(runs[1], 20) && scene.stands_still(runs[1]));
    let BudgetState::Spent { question } = scene.day(project).state else { panic!("nobody was asked") };
    scene.later_ms(DAY_MS);
    scene.answered(runs[0], (10, 0));
    assert_eq!(scene.day(project).used, 10);
    assert!(!scene.stands_still(runs[1]), "what was asked about yesterday is over");
    assert!(matches!(scene.one::<Approval>(question).state, ApprovalState::Void { .. }));
}

#[test]
fn a_pause_of_a_person_outlasts_what_the_run_waits_for() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "first");
    let run = scene.agent_at(task, agent(tokens(500), Allowance::default()));
    scene.spends(run, 600);
    assert!(!scene.asks(run, 100) && scene.stands_still(run));
    scene.does(&Command::PauseRun { run, reason: "I look at it".into() });
    scene.does(&choose(scene.question_of(run).id, Choice::Raise));
    let pause = scene.one::<Run>(run).pause.unwrap();
    assert_eq!((pause.reason.as_str(), pause.is_for_spending), ("I look at it", false));
    scene.does(&Command::ResumeRun { run });
    assert!(scene.asks(run, 100), "what was given meanwhile is there");
}

#[test]
fn a_hard_budget_ends_who_asks_for_more() {
    let (mut scene, project) = Scene::ready("shop");
    scene.does(&set(project, Meter::Tokens, 100, true));
    let task = scene.task(project, "first");
    let run = scene.agent_at(task, agent(Allowance::default(), Allowance::default()));
    scene.spends(run, 150);
    assert!(!scene.asks(run, 100));
    let ended: Run = scene.one(run);
    assert!(ended.is_over_budget && ended.pause.is_none());
    let ends = |event: &Event| matches!(event, Event::Run { event: RunEvent::OverBudget { .. }, .. });
    assert_eq!(scene.view.events.iter().filter(|event| ends(event)).count(), 1);
    scene.settle(run, RunOutcome::Cancelled { reason: ended.cancel_requested.unwrap() });
    assert!(matches!(scene.one::<Run>(run).state, RunState::Failed { class: FailureClass::Budget, .. }));
}
