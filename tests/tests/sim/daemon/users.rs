//! People who edit while everything runs: mostly sensible, often too late or about the wrong thing.

use std::collections::BTreeMap;

use orch_core::command::{Answer, Command, NewTask, Subject, TermsChange};
use orch_core::entity::{
    Approval, ApprovalSubject, Asks, Change, Condition, Entity, Join, Patience, Project, Remedy, RepositorySource,
    RetryPolicy, Run, Task, TaskSpec, Terms, Timeout, Work,
};
use orch_core::rehearsal::{new_task, step_spec};
use orch_core::state::approval::ApprovalState;
use orch_core::state::task::TaskState;
use orch_proto::Timestamp;
use orch_proto::id::TaskId;

use super::mirror::Mirror;
use crate::dice::Dice;

const HOUR_MS: u64 = 3_600_000;

/// Draws a command about what there is.
pub(super) fn command(mirror: &Mirror, now: Timestamp, dice: &mut Dice) -> Command {
    let Some(project) = pick(mirror.projects.values(), dice).cloned() else { return create(dice) };
    let drawn = match dice.below(60) {
        0..=1 => Some(create(dice)),
        2..=24 => None,
        25..=43 => about_a_task(mirror, now, dice),
        44..=48 => about_a_run(mirror, dice),
        49..=52 => answer(mirror, dice),
        53..=57 => Some(about_a_project(&project, now, dice)),
        58 => open(mirror.changes.values(), dice)
            .map(|change: &Change| Command::CloseChange { change: change.id, reason: reason() }),
        _ if dice.once_in(12) => Some(Command::ArchiveProject { project: project.id }),
        _ => None,
    };
    drawn.unwrap_or_else(|| Command::CreateTask { task: Box::new(task(mirror, &project, now, dice)) })
}

fn create(dice: &mut Dice) -> Command {
    let slug = format!("p{}", dice.below(5));
    Command::CreateProject { slug, source: RepositorySource::Empty, protected_paths: Vec::new() }
}

/// A task, of any kind.
pub(super) fn task(mirror: &Mirror, project: &Project, now: Timestamp, dice: &mut Dice) -> NewTask {
    let needed = dice.below(4).saturating_sub(1);
    let depends_on: BTreeMap<TaskId, Condition> =
        (0..needed).filter_map(|_| Some((recent(mirror, project, dice)?.id, condition(dice)))).collect();
    NewTask {
        depends_on,
        terms: terms(now, dice),
        priority: u8::try_from(dice.below(10)).unwrap_or(0),
        needs_approval: dice.once_in(10),
        queue: !dice.once_in(8),
        spec: spec(dice),
        ..new_task(project.id, "by hand")
    }
}

fn spec(dice: &mut Dice) -> TaskSpec {
    let mut spec = step_spec(&format!("echo {}", dice.below(1_000)));
    if let Work::Steps { keeps_changes, access, .. } = &mut spec.work {
        *keeps_changes = dice.once_in(3);
        access.channel = *keeps_changes;
    }
    let max_retries = u32::try_from(dice.below(4)).unwrap_or(0);
    spec.retries =
        RetryPolicy { max_retries, backoff_base_ms: 1 + dice.below(60_000), backoff_jitter_ms: dice.below(500) };
    spec.estimate_minutes = dice.once_in(2).then(|| (1, 1 + u32::try_from(dice.below(90)).unwrap_or(0)));
    spec
}

fn terms(now: Timestamp, dice: &mut Dice) -> Terms {
    let not_before = dice.once_in(8).then(|| now.plus_ms(dice.below(2 * HOUR_MS)));
    Terms {
        join: if dice.once_in(4) { Join::Any } else { Join::All },
        not_before,
        deadline: dice.once_in(8).then(|| not_before.unwrap_or(now).plus_ms(1 + dice.below(3 * HOUR_MS))),
        asks: Asks {
            memory_bytes: dice.once_in(3).then(|| (1 + dice.below(6)) << 30),
            cpu_millis: dice.once_in(6).then(|| 500 * (1 + dice.below(6))),
            disk_bytes: None,
            semaphores: semaphores(dice),
        },
        patience: Patience { queue: dice.once_in(6).then(|| timeout(dice)), silence: None },
        run_ms: None,
    }
}

fn timeout(dice: &mut Dice) -> Timeout {
    let then = dice.one_of(&[Remedy::Warn, Remedy::Ask, Remedy::End]);
    Timeout { after_ms: dice.below(2 * HOUR_MS), then }
}

fn semaphores(dice: &mut Dice) -> BTreeMap<String, u32> {
    let mut semaphores = BTreeMap::new();
    if dice.once_in(4) {
        semaphores.insert("database".to_owned(), 1);
    }
    if dice.once_in(6) {
        semaphores.insert("licence".to_owned(), 1 + u32::try_from(dice.below(3)).unwrap_or(0));
    }
    semaphores
}

fn condition(dice: &mut Dice) -> Condition {
    dice.one_of(&[Condition::Done, Condition::Done, Condition::Ended, Condition::Ended, Condition::Failed])
}

fn reason() -> String {
    "somebody wants it".into()
}

fn pick<'a, T>(from: impl ExactSizeIterator<Item = &'a T>, dice: &mut Dice) -> Option<&'a T> {
    let mut from = from;
    let at = usize::try_from(dice.number()).unwrap_or(0).checked_rem(from.len())?;
    from.nth(at)
}

/// Mostly one that is open.
fn open<'a, E: Entity + 'a>(from: impl ExactSizeIterator<Item = &'a E>, dice: &mut Dice) -> Option<&'a E> {
    let all: Vec<&E> = from.collect();
    let open: Vec<&E> = all.iter().copied().filter(|thing| thing.is_open()).collect();
    let from = if open.is_empty() || dice.once_in(8) { all } else { open };
    let at = usize::try_from(dice.number()).unwrap_or(0).checked_rem(from.len())?;
    from.get(at).copied()
}

/// One of the tasks of the project that were made last.
fn recent<'a>(mirror: &'a Mirror, project: &Project, dice: &mut Dice) -> Option<&'a Task> {
    let newest: Vec<&Task> = mirror.tasks.values().rev().filter(|task| task.project == project.id).take(8).collect();
    let at = usize::try_from(dice.number()).unwrap_or(0).checked_rem(newest.len())?;
    newest.get(at).copied()
}

fn about_a_task(mirror: &Mirror, now: Timestamp, dice: &mut Dice) -> Option<Command> {
    let found = open(mirror.tasks.values(), dice)?;
    let (task, reason) = (found.id, reason());
    Some(match dice.below(20) {
        0 => Command::QueueTasks { tasks: vec![task] },
        1..=3 => {
            let project = mirror.projects.get(&found.project)?;
            Command::LinkTask { task, depends_on: recent(mirror, project, dice)?.id, condition: condition(dice) }
        }
        4..=6 => {
            let linked = mirror.tasks.values().filter(|task| task.is_open() && !task.depends_on.is_empty());
            let linked: Vec<&Task> = linked.collect();
            let found = pick(linked.iter(), dice)?;
            Command::UnlinkTask { task: found.id, depends_on: *found.depends_on.first()? }
        }
        7..=8 => Command::PrioritizeTask { task, priority: u8::try_from(dice.below(10)).unwrap_or(0) },
        9 => Command::HoldTask { task, reason },
        10 => Command::ReleaseTask { task },
        11..=12 => Command::CancelTask { task, reason },
        13..=15 => {
            let over: Vec<&Task> = mirror.tasks.values().filter(|task| task.state.is_final()).collect();
            let anew = dice.once_in(2);
            let task = if anew { task } else { pick(over.iter(), dice)?.id };
            let not_before = dice.once_in(4).then(|| now.plus_ms(dice.below(HOUR_MS)));
            Command::RetryTask { task, anew, not_before, priority: dice.once_in(3).then_some(7) }
        }
        16..=18 => {
            let terms = terms(now, dice);
            let change = TermsChange {
                join: Some(terms.join),
                not_before: dice.once_in(3).then_some(terms.not_before),
                deadline: dice.once_in(3).then_some(terms.deadline),
                memory_bytes: dice.once_in(2).then(|| terms.asks.memory_bytes.unwrap_or(0)),
                cpu_millis: dice.once_in(3).then(|| terms.asks.cpu_millis.unwrap_or(0)),
                disk_bytes: None,
                semaphores: dice.once_in(2).then_some(terms.asks.semaphores),
                ..TermsChange::default()
            };
            Command::SetTerms { task, change: Box::new(change) }
        }
        _ => Command::EditTask { task, spec: Box::new(spec(dice)), needs_approval: dice.once_in(8) },
    })
}

fn about_a_run(mirror: &Mirror, dice: &mut Dice) -> Option<Command> {
    let living: Vec<&Run> = mirror.under_way().collect();
    let run = pick(living.iter(), dice)?.id;
    Some(match dice.below(5) {
        0..=1 => Command::CancelRun { run, reason: reason() },
        2..=3 => Command::PauseRun { run, reason: reason() },
        _ => Command::ResumeRun { run },
    })
}

fn about_a_project(project: &Project, now: Timestamp, dice: &mut Dice) -> Command {
    let projects = if dice.once_in(3) { Vec::new() } else { vec![project.id] };
    let bound = |dice: &mut Dice, most| dice.once_in(2).then(|| u32::try_from(dice.below(most)).unwrap_or(0));
    match dice.below(6) {
        0..=1 => Command::PauseProjects {
            projects,
            reason: reason(),
            until: dice.once_in(2).then(|| now.plus_ms(1 + dice.below(HOUR_MS))),
            with_runs: dice.once_in(2),
        },
        2..=3 => Command::ResumeProjects { projects },
        _ => Command::SetShare {
            project: project.id,
            weight: Some(1 + u32::try_from(dice.below(5)).unwrap_or(0)),
            runs_max: bound(dice, 4),
            runs_per_day: bound(dice, 12),
        },
    }
}

fn answer(mirror: &Mirror, dice: &mut Dice) -> Option<Command> {
    let approval = open(mirror.approvals.values(), dice)?;
    let answer = match (approval.choices.as_slice(), dice.once_in(6)) {
        ([], true) => Answer::Deny { reason: reason() },
        ([], false) => Answer::Approve,
        (choices, _) => {
            let (choice, priority) = (dice.one_of(choices), None);
            Answer::Choose { choice, not_before: None, priority }
        }
    };
    Some(Command::Decide { subject: Subject::Approval(approval.id), answer, digest: Some(approval.digest) })
}

/// All that a person can do so that everything goes on. Empty when nothing is left to do.
pub(super) fn let_go(mirror: &Mirror) -> Vec<Command> {
    let mut commands = Vec::new();
    for project in mirror.projects.values().filter(|project| project.is_open()) {
        if project.pause.is_some() {
            commands.push(Command::ResumeProjects { projects: vec![project.id] });
        }
        if project.share.runs_max.is_some() || project.share.runs_per_day.is_some() {
            let (runs_max, runs_per_day) = (Some(0), Some(0));
            commands.push(Command::SetShare { project: project.id, weight: None, runs_max, runs_per_day });
        }
    }
    let paused = mirror.under_way().filter(|run| run.pause.is_some());
    commands.extend(paused.map(|run| Command::ResumeRun { run: run.id }));
    // Questions about what failed or is late hold nobody up.
    let holds_up = |it: &&Approval| matches!(it.subject, ApprovalSubject::Task { .. } | ApprovalSubject::Change { .. });
    let waiting = mirror.approvals.values().filter(|it| matches!(it.state, ApprovalState::Pending { .. }));
    let waiting = waiting.filter(holds_up);
    commands.extend(waiting.map(|it| Command::Decide {
        subject: Subject::Approval(it.id),
        answer: Answer::Approve,
        digest: Some(it.digest),
    }));
    for task in mirror.tasks.values().filter(|task| task.is_open()) {
        match &task.state {
            TaskState::Proposed => {
                commands.push(Command::QueueTasks { tasks: vec![task.id] });
            }
            TaskState::Paused { .. } => commands.push(Command::ReleaseTask { task: task.id }),
            _ => {}
        }
        if task.terms.not_before.is_some() || task.terms.deadline.is_some() {
            let change = TermsChange { not_before: Some(None), deadline: Some(None), ..TermsChange::default() };
            commands.push(Command::SetTerms { task: task.id, change: Box::new(change) });
        }
    }
    commands
}
