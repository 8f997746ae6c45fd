//! A state full of what strangers write.

use std::collections::BTreeMap;

use orch_proto::id::{ApprovalId, ChangeId};
use orch_proto::view::*;

use super::State;
use crate::fmt::samples;

/// A state with one of each thing, with hostile text wherever a repository or an agent could put it.
pub(in crate::ctl) fn hostile() -> State {
    let evil = "evil\x1b[2J\x07\u{202e}\u{9b}31m\r\nnext";
    let mut task = samples::task(1);
    task.title = evil.into();
    task.waits = vec![WaitView { code: "agent".into(), text: evil.into(), hint: Some(evil.into()) }];
    task.last_failure = Some(evil.into());
    task.acceptance = vec![evil.into()];
    let mut run = samples::run(1);
    run.task_title = evil.into();
    run.state = RunState::Failed { class: "task".into(), reason: evil.into() };
    run.steps[0].name = evil.into();
    run.steps[0].command = evil.into();
    run.artifacts = vec![ArtifactView { path: "out/a.txt".into(), size_bytes: 10, digest: evil.into() }];
    let mut approval = samples::approval(1);
    approval.id = samples::id::<ApprovalId>(1);
    approval.action = evil.into();
    approval.details = vec![evil.into()];
    let info = samples::info_request(1, evil);
    let mut change = samples::change(1);
    change.id = samples::id::<ChangeId>(1);
    change.title = evil.into();
    change.protected = vec![evil.into()];
    let mut requirements = samples::requirements();
    requirements.requirements[0].title = evil.into();
    requirements.open_questions[0].text = evil.into();
    let mut plan = samples::plan();
    plan.nodes[0].title = evil.into();
    plan.warnings = vec![evil.into()];
    let mut project = samples::project();
    project.gates = vec![evil.into()];
    State {
        projects: vec![project],
        requirements: vec![requirements],
        plans: vec![plan],
        tasks: vec![task],
        runs: vec![run],
        approvals: vec![approval],
        changes: vec![change],
        infos: vec![info],
        diff: format!("+{evil}\n"),
        artifact: b"0123456789".to_vec(),
        exchanges: vec![samples::exchange(1, evil)],
        texts: BTreeMap::from([
            ((0, false), b"Do it.\n".to_vec()),
            ((1, false), evil.as_bytes().to_vec()),
            ((1, true), b"answered\x1b]0;title\x07".to_vec()),
        ]),
        log_end: true,
        doctor: vec![DoctorCheck {
            name: "git".into(),
            result: CheckResult::Failed,
            detail: evil.into(),
            fix: Some("apt-get install git".into()),
        }],
        isolation: IsolationView {
            level: 3,
            required: 3,
            guarantees: vec![GuaranteeView {
                name: evil.into(),
                state: GuaranteeState::Degraded,
                how: evil.into(),
                evidence: evil.into(),
                fix: Some(evil.into()),
            }],
            next: Some(NextLevelView { level: 4, missing: vec![evil.into()] }),
        },
        cases: vec![CaseView { id: evil.into(), what: evil.into(), result: CaseResult::Open, detail: evil.into() }],
        ..State::default()
    }
}
