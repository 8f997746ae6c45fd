//! Time-outs and what came of them, there and back, and in words.

use orch_core::command::PatienceChange;
use orch_core::entity::{Approval, Choice, Entity as _, Remedy, Run, Task, Timeout};
use orch_core::state::task::TaskState;
use orch_core::view::{ReadError, View};
use orch_proto::EntityKind;
use orch_proto::id::ApprovalId;
use orch_proto::view::{self, SilenceView, WaitView};

/// A time-out as it is shown.
pub(crate) fn timeout(timeout: Timeout) -> view::Timeout {
    view::Timeout { after_ms: Some(timeout.after_ms), then: remedy(timeout.then) }
}

/// What is asked for.
pub(crate) fn change(queue: Option<view::Timeout>, silence: Option<view::Timeout>) -> PatienceChange {
    let asked = |timeout: view::Timeout| {
        let then = match timeout.then {
            view::Remedy::Warn => Remedy::Warn,
            view::Remedy::Ask => Remedy::Ask,
            view::Remedy::End => Remedy::End,
        };
        timeout.after_ms.map(|after_ms| Timeout { after_ms, then })
    };
    PatienceChange { queue: queue.map(asked), silence: silence.map(asked) }
}

const fn remedy(remedy: Remedy) -> view::Remedy {
    match remedy {
        Remedy::Warn => view::Remedy::Warn,
        Remedy::Ask => view::Remedy::Ask,
        Remedy::End => view::Remedy::End,
    }
}

/// An answer as it is shown.
pub(crate) const fn choice(choice: Choice) -> view::Choice {
    match choice {
        Choice::GoOn => view::Choice::GoOn,
        Choice::End => view::Choice::End,
        Choice::Retry => view::Choice::Retry,
        Choice::Cancel => view::Choice::Cancel,
        Choice::Leave => view::Choice::Leave,
        Choice::Raise => view::Choice::Raise,
        Choice::Done => view::Choice::Done,
    }
}

/// An answer as it is given.
pub(crate) const fn chosen(choice: view::Choice) -> Choice {
    match choice {
        view::Choice::GoOn => Choice::GoOn,
        view::Choice::End => Choice::End,
        view::Choice::Retry => Choice::Retry,
        view::Choice::Cancel => Choice::Cancel,
        view::Choice::Leave => Choice::Leave,
        view::Choice::Raise => Choice::Raise,
        view::Choice::Done => Choice::Done,
    }
}

/// That nothing is heard of a run.
pub(super) fn silence(view: &impl View, run: &Run) -> Result<Option<SilenceView>, ReadError> {
    let Some(silence) = run.silence.filter(|_| run.is_open()) else { return Ok(None) };
    let question = open_question(view, silence.question)?.map(|asked| EntityKind::Approval.short(asked.number));
    Ok(Some(SilenceView { since: silence.since, question }))
}

/// What takes too long about a task, or is asked about it.
pub(super) fn waits(view: &impl View, task: &Task, run: Option<&Run>) -> Result<Vec<WaitView>, ReadError> {
    let mut waits = Vec::new();
    if let Some(overdue) = task.overdue {
        let text = format!(
            "could begin since {} and has not, which is longer than {}",
            overdue.since,
            span(overdue.timeout.after_ms)
        );
        waits.push(("overdue", text, open_question(view, task.question)?));
    } else if let Some(asked) = open_question(view, task.question)? {
        waits.push(("question", "a person is asked what is to become of it".to_owned(), Some(asked)));
    }
    let is_worked_on = matches!(task.state, TaskState::Running { .. } | TaskState::InReview { .. });
    if let Some((run, silence)) =
        run.filter(|run| is_worked_on && run.is_open()).and_then(|run| Some((run, run.silence?)))
    {
        let name = EntityKind::Run.short(run.number);
        let text = format!(
            "nothing was heard of {name} since {}, which is longer than {}",
            silence.since,
            span(silence.timeout.after_ms)
        );
        waits.push(("silent", text, open_question(view, silence.question)?));
    }
    let shown = waits.into_iter().map(|(code, text, asked)| WaitView {
        code: code.into(),
        text: match &asked {
            Some(asked) => format!("{text}; asked in {}", EntityKind::Approval.short(asked.number)),
            None => text,
        },
        hint: asked.map(|asked| hint(&asked)),
    });
    Ok(shown.collect())
}

pub(super) fn open_question(view: &impl View, question: Option<ApprovalId>) -> Result<Option<Approval>, ReadError> {
    let asked = question.map(|id| view.get::<Approval>(id)).transpose()?.flatten();
    Ok(asked.filter(Approval::is_open))
}

/// How a question is answered.
fn hint(asked: &Approval) -> String {
    let choices: Vec<&str> = asked.choices.iter().map(|choice| choice.label()).collect();
    format!("orchctl approval answer {} {}", EntityKind::Approval.short(asked.number), choices.join("|"))
}

/// In words, for the audit: `60 s, then warn`.
pub(super) fn words(timeout: Timeout) -> String {
    match timeout.ms() {
        None => "for ever".into(),
        Some(ms) => format!("for {}, then {}", span(ms), remedy(timeout.then).label()),
    }
}

/// A length of time for people.
pub(crate) fn span(ms: u64) -> String {
    let seconds = ms.div_ceil(1_000);
    let (minutes, rest) = (seconds / 60, seconds % 60);
    match (minutes / 60, minutes % 60, rest) {
        (0, 0..=1, _) => format!("{seconds} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, rest) => format!("{minutes} min {rest} s"),
        (hours, 0, _) => format!("{hours} h"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}
