//! Small valid things to start from.

use std::collections::BTreeMap;

use orch_proto::id::ProjectId;

use crate::command::{Command, NewTask};
use crate::digest::Digest;
use crate::entity::{ChangeProposal, DiffStat, PlanContent, PlanTask, RetryPolicy, TaskSpec, Terms, Work};
use crate::planner::{Extraction, FrontMatter, LineRange, Requirement, RequirementKind};
use crate::recipe::{Access, Isolation, Step};

/// Work of one step that needs no tool; two retries, half a second apart.
#[must_use]
pub fn step_spec(command: &str) -> TaskSpec {
    TaskSpec {
        work: Work::Steps {
            source: "sample".into(),
            steps: vec![Step::new("work", command)],
            env: BTreeMap::new(),
            tools: Vec::new(),
            blueprint: None,
            artifacts: Vec::new(),
            keeps_changes: true,
            access: Access::default(),
            starts_empty: false,
            isolation: Isolation::Sandbox,
        },
        requirements: Vec::new(),
        acceptance: Vec::new(),
        retries: RetryPolicy::default(),
        estimate_minutes: None,
        risk: None,
        timeout_ms: None,
    }
}

/// A task made by hand, in the queue at once.
#[must_use]
pub fn new_task(project: ProjectId, title: &str) -> NewTask {
    NewTask {
        project,
        title: title.into(),
        spec: step_spec("true"),
        depends_on: BTreeMap::new(),
        terms: Terms::default(),
        priority: 5,
        needs_approval: false,
        queue: true,
    }
}

/// A Vision that somebody hands in.
#[must_use]
pub fn vision(project: ProjectId, text: &str) -> Command {
    Command::SubmitVision {
        project,
        title: "A shop".into(),
        file_name: "vision.md".into(),
        text: Digest::of(text.as_bytes()),
        size_bytes: text.len() as u64,
        blueprint: None,
    }
}

/// Requirements with these titles, numbered from `REQ-1`.
///
/// # Panics
/// Never: the keys are valid.
#[must_use]
pub fn requirements(titles: &[&str]) -> Extraction {
    let requirement = |(at, title): (usize, &&str)| Requirement {
        id: format!("REQ-{}", at + 1).parse().expect("a key of the usual form is valid"),
        kind: RequirementKind::Functional,
        title: (*title).into(),
        text: (*title).into(),
        group: None,
        parent: None,
        priority: None,
        acceptance: Vec::new(),
        lines: LineRange { first: 1, last: 1 },
    };
    Extraction {
        title: "A shop".into(),
        summary: String::new(),
        front_matter: FrontMatter::default(),
        goals: Vec::new(),
        non_goals: Vec::new(),
        constraints: Vec::new(),
        acceptance: Vec::new(),
        open_questions: Vec::new(),
        risks: Vec::new(),
        milestones: Vec::new(),
        requirements: titles.iter().enumerate().map(requirement).collect(),
        unclassified: Vec::new(),
        warnings: Vec::new(),
    }
}

/// A plan of tasks by key, each with the keys that it needs.
#[must_use]
pub fn plan_content(tasks: &[(&str, &[&str])]) -> PlanContent {
    let task = |(key, needs): &(&str, &[&str])| PlanTask {
        key: (*key).into(),
        title: format!("do {key}"),
        needs: needs.iter().map(|needed| (*needed).to_owned()).collect(),
        spec: step_spec(&format!("make {key}")),
    };
    PlanContent { tasks: tasks.iter().map(task).collect(), ..PlanContent::default() }
}

/// What a run proposes to merge; `protected` are the protected paths that it touches.
#[must_use]
pub fn proposal(name: &str, protected: &[&str]) -> ChangeProposal {
    ChangeProposal {
        base: None,
        head: format!("head-{name}"),
        tree: format!("tree-{name}"),
        branch: format!("feature/{name}"),
        stat: DiffStat { files: 1, added: 1, removed: 0 },
        protected: protected.iter().map(|path| (*path).to_owned()).collect(),
        words: None,
    }
}
