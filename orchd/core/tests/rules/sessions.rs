//! Sessions of agents: an attempt after one that was interrupted takes up what that left, once, and only while nothing has changed.

use orch_core::command::Command;
use orch_core::digest::Digest;
use orch_core::entity::{
    AgentUse, Isolation, LeftSession, Observation, OpenExchange, PlannedStep, Run, ServerUse, SessionEvent, Spend, Task,
};
use orch_core::state::run::{FailureClass, RunOutcome};
use orch_core::state::step::{StepEnd, StepEvent};
use orch_core::state::task::TaskState;
use orch_proto::id::{RunId, TaskId};

use crate::support::{Scene, lost, rule};
use crate::thread::coder;

const INPUTS: &str = "as it was";

/// What an attempt is made of.
#[derive(Clone)]
struct Made {
    base: &'static str,
    inputs: Option<&'static str>,
    agent: AgentUse,
}

fn made() -> Made {
    let server = ServerUse { name: "local".into(), api: "openai".into(), url: "http://127.0.0.1:1".into() };
    Made { base: "b", inputs: Some(INPUTS), agent: AgentUse { server: Some(server), ..coder(false) } }
}

fn failed(class: FailureClass) -> RunOutcome {
    RunOutcome::Failed { class, reason: "it ended so".into() }
}

impl Scene {
    fn begun(&mut self, task: TaskId, made: Made) -> RunId {
        self.later_ms(3_600_000);
        let inputs = made.inputs.map(|inputs| Digest::of(inputs.as_bytes()));
        let checkout = PlannedStep { inputs, ..PlannedStep::new("checkout", "check out") };
        let begun = self.does(&Command::StartRun {
            agent: Some(made.agent),
            task,
            base: Some(made.base.into()),
            steps: vec![checkout, PlannedStep::new("agent", "works"), PlannedStep::new("collect", "collect")],
            required_level: 0,
            lease_ms: 1_000,
            reason: "test".into(),
        });
        begun.touched[0].1.parse().unwrap()
    }

    /// Its agent works, and asked its model this often.
    fn works(&mut self, run: RunId, asked: u32) {
        self.does(&Command::MarkRunStarting { run });
        let Run { fence, log_cursor, .. } = self.one(run);
        let at = self.now;
        let observations = vec![
            Observation::Isolated { isolation: Isolation { level: 3, guarantees: Vec::new() } },
            Observation::Step { index: 0, event: StepEvent::Started { at } },
            Observation::Step { index: 0, event: StepEvent::Ended { at, end: StepEnd::Succeeded } },
            Observation::Step { index: 1, event: StepEvent::Started { at } },
        ];
        self.does(&Command::RecordRun { run, fence, from: log_cursor, cursor: log_cursor + 1, observations });
        for number in 1..=asked {
            let exchange = OpenExchange { number, request_bytes: 1, reserved: Spend::default() };
            let request = orch_core::entity::ModelRequest {
                path: "/v1/responses".into(),
                model: None,
                body: Digest::of(b"x"),
                body_bytes: 1,
            };
            self.does(&Command::AskModel { run, fence, exchange, request: Box::new(request) });
        }
    }

    fn left(&self, run: RunId, left: LeftSession) -> Command {
        let fence = self.one::<Run>(run).fence;
        let commit = matches!(left, LeftSession::Kept { .. }).then(|| format!("files of {fence}"));
        Command::KeepSession { run, fence, left, commit }
    }

    fn leaves(&mut self, run: RunId) {
        let kept = self.left(run, LeftSession::Kept { id: format!("session-{run}") });
        self.does(&kept);
    }

    /// An attempt whose agent worked and whose session is kept, and that ended so.
    fn left_by_one_that(&mut self, ends: RunOutcome) -> (TaskId, RunId) {
        self.left_by(made(), ends)
    }

    fn left_by(&mut self, made: Made, ends: RunOutcome) -> (TaskId, RunId) {
        let project = self.project("shop");
        let task = self.task(project, "work");
        let run = self.begun(task, made);
        self.works(run, 1);
        self.leaves(run);
        self.settle(run, ends);
        (task, run)
    }

    /// The session that a run took up, or why not.
    fn taken(&self, run: RunId) -> Result<RunId, Option<String>> {
        let run: Run = self.one(run);
        let files = run.resumed.as_ref().map(|files| (files.run, files.step));
        let session = run.session;
        assert_eq!(files, session.from.as_ref().map(|from| (from.run, 0)), "files and session come together");
        session.from.map(|from| from.run).ok_or(session.anew)
    }
}

#[test]
fn an_attempt_takes_up_the_session_of_one_that_was_interrupted() {
    for ends in [lost(), failed(FailureClass::Infrastructure), failed(FailureClass::Host)] {
        let mut scene = Scene::new();
        let (task, first) = scene.left_by_one_that(ends.clone());
        let second = scene.begun(task, made());
        assert_eq!(scene.taken(second), Ok(first), "{ends:?}");
        let from = scene.one::<Run>(second).session.from.unwrap();
        assert_eq!((from.number, from.id), (1, format!("session-{first}")));
        // That was lost in its turn, and left what it had by then.
        scene.works(second, 1);
        scene.leaves(second);
        scene.settle(second, lost());
        let third = scene.begun(task, made());
        assert_eq!(scene.taken(third), Ok(second), "{ends:?}");
        assert_eq!(scene.one::<Run>(third).resumed.unwrap().commit, "files of 2", "and not those of the first");
    }
}

#[test]
fn an_attempt_that_failed_by_itself_or_was_ended_is_not_gone_on_with() {
    let ends = [
        failed(FailureClass::Task),
        failed(FailureClass::Agent),
        failed(FailureClass::Policy),
        failed(FailureClass::Budget),
        RunOutcome::TimedOut { reason: "long".into() },
        RunOutcome::Cancelled { reason: "no".into() },
    ];
    for ends in ends {
        let mut scene = Scene::new();
        let (task, _) = scene.left_by_one_that(ends.clone());
        let second = scene.begun(task, made());
        assert_eq!(scene.taken(second), Err(None), "{ends:?}");
    }
}

#[test]
fn what_has_changed_since_is_said_and_the_attempt_begins_anew() {
    let agent = |change: fn(&mut AgentUse)| {
        let mut agent = coder(false);
        change(&mut agent);
        Made { agent, inputs: Some("other"), ..made() }
    };
    let cases = [
        (Made { base: "c", inputs: Some("other"), ..made() }, "the branch has moved"),
        (agent(|agent| agent.model = Some("m".into())), "the agent, its model or its role"),
        (agent(|agent| agent.role = Some("qa".into())), "the agent, its model or its role"),
        (agent(|agent| agent.kind = "claude".into()), "the agent, its model or its role"),
        (Made { inputs: Some("other"), ..made() }, "its program"),
    ];
    for (next, said) in cases {
        let mut scene = Scene::new();
        let (task, _) = scene.left_by_one_that(lost());
        let second = scene.begun(task, next);
        let why = scene.taken(second).unwrap_err().unwrap();
        assert!(why.starts_with("since R-1, ") && why.contains(said), "{why}");
    }
    // An agent whose sessions are not kept has no question of that.
    let mut scene = Scene::new();
    let (task, _) = scene.left_by_one_that(lost());
    let second = scene.begun(task, Made { inputs: None, ..made() });
    assert_eq!(scene.taken(second), Err(None));
}

#[test]
fn a_session_that_could_not_be_kept_is_not_taken_up_and_the_reason_stays() {
    let mut scene = Scene::new();
    let project = scene.project("shop");
    let task = scene.task(project, "work");
    let first = scene.begun(task, made());
    scene.works(first, 1);
    let nothing = scene.left(first, LeftSession::NotKept { reason: "its files are too large".into() });
    scene.does(&nothing);
    scene.settle(first, lost());
    let second = scene.begun(task, made());
    let why = scene.taken(second).unwrap_err();
    assert_eq!(why.as_deref(), Some("R-1 left no session: its files are too large"));
    // Nobody looked at what this one left.
    scene.works(second, 1);
    scene.settle(second, lost());
    let third = scene.begun(task, made());
    assert!(scene.taken(third).unwrap_err().unwrap().contains("was not looked at"));
}

/// The session is at fault, and not the work: it costs no retry, and is not tried with that session again.
#[test]
fn one_that_took_up_a_session_in_vain_is_followed_by_one_that_begins_anew() {
    let timed_out = RunOutcome::TimedOut { reason: "it hung".into() };
    let [agent, task, infrastructure] =
        [FailureClass::Agent, FailureClass::Task, FailureClass::Infrastructure].map(failed);
    for ends in [agent, task, infrastructure, lost(), timed_out, RunOutcome::Succeeded] {
        let mut scene = Scene::new();
        let (task, first) = scene.left_by_one_that(lost());
        let second = scene.begun(task, made());
        assert_eq!(scene.taken(second), Ok(first));
        scene.works(second, 0);
        scene.settle(second, ends.clone());
        let waiting: Task = scene.one(task);
        assert_eq!((waiting.failures, waiting.losses), (0, 2), "{ends:?}: {waiting:#?}");
        assert!(matches!(waiting.state, TaskState::Approved { .. }), "{waiting:#?}");
        let third = scene.begun(task, made());
        let why = scene.taken(third).unwrap_err().unwrap();
        assert!(why.contains("R-2 took up the session of R-1 and ended before"), "{ends:?}: {why}");
    }
    // One whose agent has asked its model fails like any other.
    let mut scene = Scene::new();
    let (task, _) = scene.left_by_one_that(lost());
    let second = scene.begun(task, made());
    scene.works(second, 1);
    scene.settle(second, failed(FailureClass::Agent));
    assert_eq!(scene.one::<Task>(task).failures, 1);
    let third = scene.begun(task, made());
    assert_eq!(scene.taken(third), Err(None));
    // Of one that asks its model by itself nobody knows what it has done.
    let by_itself = || Made { agent: coder(false), ..made() };
    let mut scene = Scene::new();
    let (task, first) = scene.left_by(by_itself(), lost());
    let second = scene.begun(task, by_itself());
    assert_eq!(scene.taken(second), Ok(first));
    scene.works(second, 0);
    scene.settle(second, failed(FailureClass::Agent));
    assert_eq!(scene.one::<Task>(task).failures, 1);
}

/// What was to be taken up is as it was when the one that was to take it up never began.
#[test]
fn an_attempt_that_never_began_leaves_the_session_to_the_next() {
    let mut scene = Scene::new();
    let (task, first) = scene.left_by_one_that(lost());
    let second = scene.begun(task, made());
    scene.settle(second, lost());
    // Nor does it say anything of the session that the host could not start it.
    for ends in [failed(FailureClass::Infrastructure), failed(FailureClass::Host)] {
        let next = scene.begun(task, made());
        assert_eq!(scene.taken(next), Ok(first));
        scene.settle(next, ends);
    }
    let fifth = scene.begun(task, made());
    assert_eq!(scene.taken(fifth), Ok(first));
    // One that could not be started with it is another thing.
    scene.settle(fifth, failed(FailureClass::Agent));
    let sixth = scene.begun(task, made());
    assert!(scene.taken(sixth).unwrap_err().unwrap().contains("R-5 took up the session of R-1"));
}

#[test]
fn a_session_is_put_on_record_once_with_a_name_and_its_files() {
    let mut scene = Scene::new();
    let project = scene.project("shop");
    let task = scene.task(project, "work");
    let run = scene.begun(task, made());
    let fence = scene.one::<Run>(run).fence;
    let session = |id: &str, commit: Option<&str>| Command::KeepSession {
        run,
        fence,
        left: LeftSession::Kept { id: id.into() },
        commit: commit.map(ToOwned::to_owned),
    };
    // Its files are those of the base as long as it makes them.
    assert!(rule(scene.refuses(&session("s", Some("c")))).to_string().contains("kept nothing"));
    scene.works(run, 1);
    for (id, commit) in [("--last", Some("c")), ("../x", Some("c")), ("", Some("c")), ("s", None)] {
        let refused = rule(scene.refuses(&session(id, commit))).to_string();
        assert!(refused.contains("no session that has a name"), "{id} {commit:?}: {refused}");
    }
    let stale =
        Command::KeepSession { run, fence: 99, left: LeftSession::Kept { id: "s".into() }, commit: Some("c".into()) };
    assert_eq!(scene.does(&stale).events, []);
    let kept = scene.does(&session("s", Some("c")));
    assert_eq!(kept.events.len(), 2, "{kept:#?}");
    assert_eq!(scene.does(&session("other", Some("d"))).events, [], "the first one stays");
    let left = LeftSession::Kept { id: "s".into() };
    assert_eq!(scene.one::<Run>(run).session.left, Some(left.clone()));
    let label =
        |event| <Run as orch_core::entity::Entity>::event_label(&orch_core::entity::RunEvent::Session { event });
    assert_eq!(label(SessionEvent::Left { left }), "session_left");
}
