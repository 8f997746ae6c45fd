//! What people say to tasks and to the agents that work at them.

use orch_core::actor::Actor;
use orch_core::command::{Command, Word};
use orch_core::decide::SAID_BYTES_MAX;
use orch_core::digest::Digest;
use orch_core::entity::{AgentUse, Allowance, Artifact, MESSAGES_MAX, Run, Task, TaskEvent, Work};
use orch_core::event::Event;
use orch_core::recipe::Profile;
use orch_core::rehearsal::new_task;
use orch_core::state::run::RunOutcome;
use orch_proto::id::{ProjectId, RunId, TaskId};

use crate::support::{Scene, settle, start};

pub(crate) fn coder(is_driven: bool) -> AgentUse {
    let (of_run, of_task) = (Allowance::default(), Allowance::default());
    AgentUse {
        name: "coder".into(),
        kind: "codex".into(),
        model: None,
        of_run,
        of_task,
        role: None,
        server: None,
        is_driven,
        answer_tokens: None,
        egress: Vec::new(),
        profile: Profile::default(),
    }
}

impl Scene {
    /// A queued task for an agent.
    fn for_an_agent(&mut self, project: ProjectId) -> TaskId {
        let mut new = new_task(project, "Say hello");
        new.spec.work = Work::Agent { capability: "developer".into() };
        let made = self.does(&Command::CreateTask { task: Box::new(new) });
        made.touched[0].1.parse().unwrap()
    }

    fn attempt_of(&mut self, task: TaskId, by: AgentUse) -> RunId {
        let mut command = start(task);
        if let Command::StartRun { agent, .. } = &mut command {
            *agent = Some(by);
        }
        let run: RunId = self.does(&command).touched[0].1.parse().unwrap();
        self.does(&Command::MarkRunStarting { run });
        run
    }

    fn said(&mut self, task: TaskId, text: &str) -> Vec<String> {
        self.does(&Command::SayToTask { task, text: text.into() }).notes
    }

    fn told(&mut self, run: RunId, number: u32) -> Command {
        let fence = self.one::<Run>(run).fence;
        Command::Say { run, fence, word: Box::new(Word::Told { number }) }
    }
}

fn texts<'m>(messages: impl Iterator<Item = &'m orch_core::entity::Message>) -> Vec<String> {
    messages.map(|message| format!("{} {}", message.number, message.text)).collect()
}

#[test]
fn the_agent_that_works_is_told_and_the_next_one_everything() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.for_an_agent(project);
    assert_eq!(scene.said(task, "first"), ["the next attempt is told"]);
    let run = scene.attempt_of(task, coder(true));
    assert!(scene.said(task, "second").is_empty());
    scene.does(&Command::SayToRun { run, text: " third\n".into() });
    let told = |scene: &Scene, run| {
        let task: Task = scene.one(task);
        (texts(task.told_before(run)), texts(task.told_while(run, 0)), texts(task.told_while(run, 2)))
    };
    let (before, all, rest) = told(&scene, run);
    assert_eq!(
        (before, all, rest),
        (vec!["1 first".into()], vec!["2 second".into(), "3 third".into()], vec!["3 third".into()])
    );
    let word = scene.told(run, 2);
    scene.does(&word);
    let again = scene.does(&word);
    assert_eq!((again.events.len(), again.notes), (0, vec!["it was told before".to_owned()]));
    for number in [1, 9] {
        let word = scene.told(run, number);
        assert!(scene.refuses(&word).to_string().contains("nobody said"), "{number}");
    }
    scene.settle(run, RunOutcome::Lost { reason: "gone".into() });
    scene.later_ms(3_600_000);
    let next = scene.attempt_of(task, coder(true));
    let (before, all, _) = told(&scene, next);
    assert_eq!((before.len(), all.len()), (3, 0), "what an attempt before was told is for this one, too");
    let events =
        scene.view.events.iter().filter(|event| {
            matches!(event, Event::Task { event: TaskEvent::Said { .. } | TaskEvent::Told { .. }, .. })
        });
    assert_eq!(events.count(), 4);
}

#[test]
fn nobody_is_told_who_cannot_be() {
    let (mut scene, project) = Scene::ready("shop");
    let (task, steps) = (scene.for_an_agent(project), scene.task(project, "steps"));
    let say = |run: RunId| Command::SayToRun { run, text: "x".into() };
    let run = scene.attempt_of(task, coder(false));
    assert!(scene.refuses(&say(run)).to_string().contains("takes no messages while it works"));
    assert!(scene.said(task, "later")[0].contains("goes on without it"));
    let known = scene.start(steps);
    assert!(scene.refuses(&say(known)).to_string().contains("runs known steps"));
    let to_steps = Command::SayToTask { task: steps, text: "x".into() };
    assert!(scene.refuses(&to_steps).to_string().contains("runs known steps"));
    let mut end = settle(run, scene.one::<Run>(run).fence, RunOutcome::Succeeded);
    if let Command::SettleRun { artifacts, .. } = &mut end {
        artifacts.push(Artifact { path: "report.txt".into(), size_bytes: 0, digest: Digest::of(b"") });
    }
    scene.does(&end);
    assert!(scene.refuses(&say(run)).to_string().contains("is over"));
    let late = Command::SayToTask { task, text: "x".into() };
    assert!(scene.refuses(&late).to_string().contains("is done"));
}

#[test]
fn what_is_said_has_a_bound_and_a_person_who_says_it() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.for_an_agent(project);
    let say = |text: &str| Command::SayToTask { task, text: text.into() };
    assert!(scene.refuses(&say(" \n")).to_string().contains("is empty"));
    assert!(scene.refuses(&say(&"x".repeat(SAID_BYTES_MAX + 1))).to_string().contains("text"));
    let part = Actor::daemon("scheduler");
    assert!(scene.execute_as(&say("x"), &part).is_err());
    for _ in 0..MESSAGES_MAX {
        scene.does(&say("x"));
    }
    assert!(scene.refuses(&say("x")).to_string().contains("messages"));
}
