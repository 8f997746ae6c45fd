//! Questions with several answers: what waits or is silent for too long, and what failed although it was tried again.
//!
//! Such a question is about a state of its subject. It is withdrawn when that is over, whoever or whatever ended it.

use orch_proto::id::{RunId, TaskId};
use orch_proto::{EntityKind, Timestamp};

use super::approval::{self, Question};
use super::settle::NOTHING_DONE;
use super::{Context, DecideError, budget, conflict, conflict_with_hint, dependency, pause, run, spend, task};
use crate::actor::Actor;
use crate::command::{Command, PatienceChange};
use crate::digest::Digest;
use crate::entity::{
    Approval, ApprovalEvent, ApprovalSubject, Choice, Overdue, Patience, Project, ProjectEvent, Remedy, Run, RunEvent,
    RunPurpose, Silence, TIMEOUT_MS_MAX, Task, TaskEvent, Timeout, Verdict,
};
use crate::state::approval::ApprovalState;
use crate::state::run::{FailureClass, RunOutcome, RunState};
use crate::state::task::TaskState;
use crate::view::View;

/// What comes with an answer: when the next attempt may begin, and its priority.
pub(super) type HowSoon = (Option<Timestamp>, Option<u8>);

/// Says how long tasks of a project may wait and its runs be silent. What is late already by that is found soon.
pub(super) fn set_patience<V: View>(
    cx: &mut Context<'_, V>,
    id: orch_proto::id::ProjectId,
    change: PatienceChange,
) -> Result<(), DecideError> {
    let project: Project = cx.get(id)?;
    super::project::in_use(&project)?;
    cx.touch(EntityKind::Project, id);
    let patience = change.applied(project.patience);
    if patience == project.patience {
        cx.note("it is so already");
        return Ok(());
    }
    check(patience)?;
    cx.emit((id, ProjectEvent::PatienceSet { patience }));
    Ok(())
}

/// Checks time-outs that somebody gave.
pub(super) fn check(patience: Patience) -> Result<(), DecideError> {
    let both = [("queue time-out", patience.queue), ("silence time-out", patience.silence)];
    match both.into_iter().find(|(_, timeout)| timeout.is_some_and(|timeout| timeout.after_ms > TIMEOUT_MS_MAX)) {
        Some((field, _)) => Err(DecideError::Invalid { field, problem: "is longer than a year".into() }),
        None => Ok(()),
    }
}

/// A task waits for too long. Looked at again here: it may have begun.
pub(super) fn overdue<V: View>(
    cx: &mut Context<'_, V>,
    id: TaskId,
    since: Timestamp,
    timeout: Timeout,
) -> Result<(), DecideError> {
    let found: Task = cx.get(id)?;
    cx.touch(EntityKind::Task, id);
    let name = format!("T-{}", found.number);
    if !matches!(found.state, TaskState::Approved { .. }) || found.overdue.is_some() {
        return Err(conflict(format!("{name} does not wait, or it is known that it does")));
    }
    let waited_ms = cx.now.ms_since(since.max(found.since));
    if timeout.ms().is_none_or(|after_ms| waited_ms < after_ms) {
        return Err(conflict(format!("{name} has not waited for long")));
    }
    if dependency::judge(cx, &found)? != Verdict::Holds {
        return Err(conflict(format!("{name} waits for another task")));
    }
    pause::may_begin(cx, &cx.get::<Project>(found.project)?)?;
    let overdue = Overdue { since, timeout };
    let question = match timeout.then {
        Remedy::Ask => Some(ask_about_wait(cx, &found, overdue)?),
        Remedy::Warn | Remedy::End => None,
    };
    cx.emit((id, TaskEvent::Overdue { overdue, question }));
    match timeout.then {
        Remedy::End => task::end(cx, &found, &format!("it could begin for {} and did not", span(timeout.after_ms))),
        Remedy::Warn | Remedy::Ask => Ok(()),
    }
}

/// Takes note of whether anything is heard of a run.
pub(super) fn listen<V: View>(cx: &mut Context<'_, V>, command: &Command) -> Result<(), DecideError> {
    match command {
        Command::SilentRun { run, since, timeout } => silent(cx, *run, *since, *timeout),
        Command::HeardRun { run } => heard(cx, *run),
        _ => Err(conflict("nothing of what is heard of a run")),
    }
}

/// Nothing was heard of a run for too long. Looked at again here: it may have ended.
fn silent<V: View>(cx: &mut Context<'_, V>, id: RunId, since: Timestamp, timeout: Timeout) -> Result<(), DecideError> {
    let found: Run = cx.get(id)?;
    cx.touch(EntityKind::Run, id);
    let name = format!("R-{}", found.number);
    let is_steered = found.cancel_requested.is_some() || found.pause.as_ref().is_some_and(|pause| pause.lasts(cx.now));
    if found.state != RunState::Running || found.silence.is_some() || is_steered {
        return Err(conflict(format!("{name} does not run by itself, or it is known that it is silent")));
    }
    if timeout.ms().is_none_or(|after_ms| cx.now.ms_since(since) < after_ms) {
        return Err(conflict(format!("{name} is not silent for long")));
    }
    let question = match timeout.then {
        Remedy::Ask => Some(ask_about_silence(cx, &found, since, timeout)?),
        Remedy::Warn | Remedy::End => None,
    };
    cx.emit((id, RunEvent::Silent { silence: Silence { since, timeout, question } }));
    if timeout.then == Remedy::End {
        cx.emit((id, RunEvent::CancelRequested { reason: silent_for(timeout) }));
    }
    Ok(())
}

/// A run that was silent is so no more.
fn heard<V: View>(cx: &mut Context<'_, V>, id: RunId) -> Result<(), DecideError> {
    let found: Run = cx.get(id)?;
    cx.touch(EntityKind::Run, id);
    if found.state.is_final() || found.silence.is_none() {
        cx.note("nobody thought that it was silent");
        return Ok(());
    }
    end_of_silence(cx, &found, "it is silent no more")?;
    cx.emit((id, RunEvent::Heard));
    Ok(())
}

/// Withdraws what was asked about the silence of a run.
pub(super) fn end_of_silence<V: View>(cx: &mut Context<'_, V>, run: &Run, why: &str) -> Result<(), DecideError> {
    match run.silence.and_then(|silence| silence.question) {
        Some(question) => approval::void(cx, question, why),
        None => Ok(()),
    }
}

/// Withdraws what was asked about the state of a task, which is over.
pub(super) fn end_of_state<V: View>(cx: &mut Context<'_, V>, task: &Task, why: &str) -> Result<(), DecideError> {
    task.question.map_or(Ok(()), |question| approval::void(cx, question, why))
}

/// What a run that was ended for its silence or for a budget came to: that, and nobody's wish.
pub(super) fn outcome_of(run: &Run, outcome: &RunOutcome) -> RunOutcome {
    match (outcome, run.silence) {
        (RunOutcome::Cancelled { reason }, Some(Silence { timeout, .. }))
            if timeout.then == Remedy::End && *reason == silent_for(timeout) =>
        {
            RunOutcome::TimedOut { reason: reason.clone() }
        }
        (RunOutcome::Cancelled { reason }, _)
            if run.is_over_budget && run.cancel_requested.as_ref() == Some(reason) =>
        {
            RunOutcome::Failed { class: FailureClass::Budget, reason: reason.clone() }
        }
        (outcome, _) => outcome.clone(),
    }
}

/// Why a task that failed is not simply tried again.
pub(super) enum Trouble {
    /// It failed so many times.
    Repeated(u32),
    /// This step of it may have been done, and is not to be done twice.
    DoneOnce(String),
}

/// Asks what is to become of a task that failed.
pub(super) fn escalate<V: View>(
    cx: &mut Context<'_, V>,
    found: &Task,
    reason: &str,
    trouble: &Trouble,
) -> Result<(), DecideError> {
    let name = format!("T-{} {}", found.number, found.title);
    let (action, rule) = match trouble {
        Trouble::Repeated(times) => (
            format!("{name} failed {times} times; what is to become of it?"),
            "a task that failed although it was tried again needs a person",
        ),
        Trouble::DoneOnce(step) => (
            format!(
                "{name} failed and may have done `{step}`, which is not to be done twice; what is to become of it?"
            ),
            "a step with `idempotent: false` is not begun again without a person",
        ),
    };
    let mut details = vec![
        format!("last: {reason}"),
        format!("{}: it is tried again, with all its retries", Choice::Retry.label()),
        format!("{}: it is given up; what waits for it does so on", Choice::Cancel.label()),
        format!("{}: it stays failed", Choice::Leave.label()),
    ];
    let mut choices = vec![Choice::Retry, Choice::Cancel, Choice::Leave];
    if reason == NOTHING_DONE {
        details.push(format!("{}: nothing had to change; what waits for it goes on", Choice::Done.label()));
        choices.push(Choice::Done);
    }
    details.push(format!("`orchctl task edit T-{}` changes what it does first", found.number));
    let question = Question {
        project: found.project,
        subject: ApprovalSubject::Failure { id: found.id },
        action,
        details,
        rule,
        digest: Digest::of_json(&("failure", found.id, found.attempts, reason)),
        choices,
    };
    let question = approval::ask(cx, question)?;
    cx.emit((found.id, TaskEvent::Escalated { question }));
    Ok(())
}

/// A person's choice.
pub(super) fn answer<V: View>(
    cx: &mut Context<'_, V>,
    asked: &Approval,
    choice: Choice,
    how_soon: HowSoon,
) -> Result<(), DecideError> {
    let Actor::User { uid, name } = cx.actor else { return Err(DecideError::NotAPerson) };
    let (by, name) = (*uid, name.clone());
    cx.touch(EntityKind::Approval, asked.id);
    match &asked.state {
        ApprovalState::Pending { .. } => {}
        ApprovalState::Answered { choice: before, .. } if *before == choice => {
            cx.note("it was answered so before; nothing changes");
            return Ok(());
        }
        state => return Err(conflict(format!("the question is {} and cannot be answered any more", state.label()))),
    }
    if !asked.choices.contains(&choice) {
        let known: Vec<&str> = asked.choices.iter().map(|choice| choice.label()).collect();
        let problem = match known.is_empty() {
            true => "is no answer to a question of yes or no; approve it or deny it".to_owned(),
            false => format!("`{}` is none of {}", choice.label(), known.join(", ")),
        };
        return Err(DecideError::Invalid { field: "answer", problem });
    }
    if choice != Choice::Retry && how_soon != (None, None) {
        let problem = format!("`{}` takes neither a time nor a priority", choice.label());
        return Err(DecideError::Invalid { field: "answer", problem });
    }
    cx.emit((asked.id, ApprovalEvent::Answered { by, name, choice }));
    follow(cx, asked, choice, how_soon)
}

/// Refuses yes and no where they are no answer.
pub(super) fn has_no_choices(asked: &Approval) -> Result<(), DecideError> {
    if asked.choices.is_empty() {
        return Ok(());
    }
    let known: Vec<&str> = asked.choices.iter().map(|choice| choice.label()).collect();
    Err(conflict_with_hint(
        format!("A-{} is not answered by yes or no", asked.number),
        format!("choose with `orchctl approval answer A-{} {}`", asked.number, known.join("|")),
    ))
}

/// Does what was chosen.
fn follow<V: View>(
    cx: &mut Context<'_, V>,
    asked: &Approval,
    choice: Choice,
    how_soon: HowSoon,
) -> Result<(), DecideError> {
    let reason = format!("so answered to A-{}", asked.number);
    let task = match asked.subject {
        ApprovalSubject::Wait { id } | ApprovalSubject::Failure { id } => id,
        ApprovalSubject::Silence { id } if choice == Choice::End => return run::cancel(cx, id, &reason),
        ApprovalSubject::Silence { id } => cx.get::<Run>(id)?.task,
        ApprovalSubject::Budget { id } => return budget::answer(cx, id, asked, choice),
        ApprovalSubject::Spending { id } => return spend::answer(cx, id, asked, choice),
        ApprovalSubject::Requirements { .. }
        | ApprovalSubject::Plan { .. }
        | ApprovalSubject::Task { .. }
        | ApprovalSubject::Change { .. }
        | ApprovalSubject::Action { .. } => return Err(conflict("such an approval has no choices")),
    };
    match choice {
        Choice::GoOn | Choice::Leave | Choice::End | Choice::Raise => Ok(()),
        Choice::Cancel => task::cancel(cx, task, &reason),
        Choice::Retry => task::retry(cx, task, true, how_soon),
        Choice::Done => {
            cx.touch(EntityKind::Task, task);
            cx.emit((task, TaskEvent::Completed { change: None }));
            Ok(())
        }
    }
}

fn ask_about_wait<V: View>(
    cx: &mut Context<'_, V>,
    found: &Task,
    overdue: Overdue,
) -> Result<orch_proto::id::ApprovalId, DecideError> {
    let asked = Question {
        project: found.project,
        subject: ApprovalSubject::Wait { id: found.id },
        action: format!(
            "T-{} {} could begin for {} and has not; what is to become of it?",
            found.number,
            found.title,
            span(overdue.timeout.after_ms)
        ),
        details: vec![
            format!("it could begin since {}", overdue.since),
            format!("`orchctl task why T-{}` says what it waits for", found.number),
            format!("{}: it waits on, and nobody is asked again", Choice::GoOn.label()),
            format!("{}: it is given up", Choice::Cancel.label()),
        ],
        rule: "the queue time-out of the task, its project or the configuration",
        digest: Digest::of_json(&("wait", found.id, overdue)),
        choices: vec![Choice::GoOn, Choice::Cancel],
    };
    approval::ask(cx, asked)
}

fn ask_about_silence<V: View>(
    cx: &mut Context<'_, V>,
    found: &Run,
    since: Timestamp,
    timeout: Timeout,
) -> Result<orch_proto::id::ApprovalId, DecideError> {
    let of: Task = cx.get(found.task)?;
    let is_work = found.purpose == RunPurpose::Work;
    let mut details = vec![
        format!("nothing was heard of it since {since}"),
        format!("`orchctl run logs R-{}` shows what it wrote", found.number),
        format!("{}: it goes on, and nobody is asked again before it was heard of", Choice::GoOn.label()),
        format!("{}: it is ended, and the retry policy of its task decides", Choice::End.label()),
        format!("{}: the task is given up", Choice::Cancel.label()),
    ];
    let mut choices = vec![Choice::GoOn, Choice::End, Choice::Cancel];
    if is_work {
        details.push(format!("{}: it is ended and does not count, and the task is tried anew", Choice::Retry.label()));
        choices.push(Choice::Retry);
    }
    let what = if is_work { "" } else { "gates of " };
    let asked = Question {
        project: found.project,
        subject: ApprovalSubject::Silence { id: found.id },
        action: format!(
            "R-{} ({what}T-{} {}) is silent for {}; what is to become of it?",
            found.number,
            of.number,
            of.title,
            span(timeout.after_ms)
        ),
        details,
        rule: "the silence time-out of the task, its project or the configuration",
        digest: Digest::of_json(&("silence", found.id, since)),
        choices,
    };
    approval::ask(cx, asked)
}

fn silent_for(timeout: Timeout) -> String {
    format!("nothing was heard of it for {}", span(timeout.after_ms))
}

/// A length of time for people: `90 s`, `20 min`, `2 h`.
fn span(ms: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(24 * 60 * 60 * 1_000, "days"), (60 * 60 * 1_000, "h"), (60_000, "min"), (1_000, "s")];
    let fits = |unit: u64| ms >= 2 * unit || (ms == unit && unit < UNITS[0].0);
    match UNITS.into_iter().find(|(unit, _)| fits(*unit) && ms.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{} {name}", ms / unit),
        None => format!("{} s", ms.div_ceil(1_000)),
    }
}
