//! What an agent's role may reach, which tools a run has, and who waits for an agent whose program is not there.

use orch_core::command::{Command, NewTask};
use orch_core::digest::Digest;
use orch_core::entity::{AgentUse, InstalledTool, Run, Work};
use orch_core::recipe::{Profile, Reach};
use orch_core::rehearsal::{new_task, step_spec};
use orch_core::schedule::{Doer, Limits, Staff, Totals, Wait};
use orch_core::state::run::RunState;
use orch_proto::id::{ProjectId, RunId, TaskId};

use crate::schedule_choice::{choice, limits};
use crate::schedule_waits::{why, why_within};
use crate::support::{Scene, failed, start};
use crate::thread::coder;

fn reach(text: &str) -> Reach {
    Reach::parse(text).unwrap()
}

fn tool(version: &str) -> InstalledTool {
    let digest = Digest::of(version.as_bytes());
    InstalledTool { name: "opentofu".into(), version: version.into(), recipe: digest, content: digest }
}

impl Scene {
    fn for_role(&mut self, project: ProjectId) -> TaskId {
        let mut spec = step_spec("");
        spec.work = Work::Agent { capability: "code".into() };
        self.made(NewTask { spec, ..new_task(project, "by an agent") })
    }

    /// A run that is about to be started.
    fn starting(&mut self, task: TaskId) -> RunId {
        let run = self.start(task);
        if self.one::<Run>(run).state != RunState::Starting {
            self.does(&Command::MarkRunStarting { run });
        }
        run
    }
}

#[test]
fn a_role_gives_its_runs_the_hosts_that_it_names() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.for_role(project);
    let mut command = start(task);
    if let Command::StartRun { agent, .. } = &mut command {
        let egress = vec![reach("crates.io"), reach("*.crates.io:443"), reach("static.crates.io:443")];
        *agent = Some(AgentUse { egress, profile: Profile::Strict, ..coder(false) });
    }
    let run: RunId = scene.does(&command).touched[0].1.parse().unwrap();
    let run: Run = scene.one(run);
    assert_eq!(
        run.access.lines(),
        ["network: crates.io:80,443", "network: *.crates.io:443", "network: static.crates.io:443", "channel"]
    );
    assert_eq!(run.agent.unwrap().profile, Profile::Strict);
}

#[test]
fn what_a_run_is_started_with_is_on_record_once() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "plans");
    let run = scene.starting(task);
    let fence = scene.one::<Run>(run).fence;
    let equip = |fence, tools: Vec<InstalledTool>| Command::EquipRun { run, fence, tools };
    let equipped = scene.does(&equip(fence, vec![tool("1.7.0")]));
    assert_eq!(equipped.events.len(), 1);
    assert_eq!(scene.one::<Run>(run).tools, [tool("1.7.0")]);
    // A daemon that was killed before the start says it again; one that finds another says that.
    assert!(scene.does(&equip(fence, vec![tool("1.7.0")])).events.is_empty());
    scene.does(&equip(fence, vec![tool("1.7.1")]));
    assert_eq!(scene.one::<Run>(run).tools, [tool("1.7.1")]);
    scene.refuses(&equip(fence + 1, vec![tool("1.7.0")]));
    scene.refuses(&equip(fence, vec![tool("1.7.0"); 101]));
    scene.settle(run, failed());
    scene.refuses(&equip(fence, vec![tool("1.7.0")]));
    assert_eq!(scene.one::<Run>(run).tools, [tool("1.7.1")]);
}

#[test]
fn a_task_waits_for_the_program_of_the_agent_that_its_project_has() {
    let (mut scene, shop) = Scene::ready("shop");
    let other = scene.project("other");
    let (here, there) = (scene.for_role(shop), scene.for_role(other));
    let doer = |agent: &str| Doer { agent: Some(agent.to_owned()), role: None };
    let staff = Staff {
        common: [("code".to_owned(), doer("coder"))].into(),
        of_projects: [("shop".to_owned(), [("code".to_owned(), doer("own"))].into())].into(),
        ..Staff::default()
    };
    let totals = Totals { staff: staff.into(), ..Totals::default() };
    let enough = Limits { totals, ..limits(5) };
    let fix = "orchctl tool install codex".to_owned();
    let missing = [("own".to_owned(), ("codex".to_owned(), fix.clone()))].into();
    let lacking = Limits { missing_programs: missing, ..enough.clone() };
    assert_eq!(why_within(&scene, here, &lacking), [Wait::Tool { name: "codex".into(), fix }]);
    assert_eq!(why_within(&scene, there, &lacking), []);
    assert_eq!(choice(&scene, &lacking).len(), 1);
    assert_eq!(choice(&scene, &enough).len(), 2, "it goes on when it is there");
    assert_eq!(why(&scene, here), []);
}

/// Records of versions that knew neither are read as they were, and nothing is written where there is nothing.
#[test]
fn a_record_without_tools_and_hosts_is_as_it_was() {
    let (mut scene, project) = Scene::ready("shop");
    let task = scene.task(project, "old");
    let run = scene.start(task);
    let json = serde_json::to_string(&scene.one::<Run>(run)).unwrap();
    assert!(!json.contains("tools") && !json.contains("egress"), "{json}");
    assert_eq!(serde_json::from_str::<Run>(&json).unwrap(), scene.one::<Run>(run));
    let agent = serde_json::to_string(&coder(false)).unwrap();
    assert!(!agent.contains("egress") && !agent.contains("profile"), "{agent}");
}
