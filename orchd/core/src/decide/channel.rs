//! What runs say over their channels, and what they wait for: of one run, by that run, and bounded.

use std::borrow::Cow;

use orch_proto::EntityKind;
use orch_proto::id::{ApprovalId, RunId};

use super::approval::{self, Question};
use super::{Context, DecideError, bounds, conflict, conflict_with_hint, info, thread, tool};
use crate::command::{Command, Word};
use crate::digest::Digest;
use crate::entity::{
    Approval, ApprovalSubject, Artifact, Asked, ChannelEvent, Entity as _, HANDED_IN_MAX, HANDED_IN_TIMES_MAX,
    InfoRequest, InfoRequestEvent, NOTES_MAX, OwnWait, PROGRESS_TIMES_MAX, PROPOSED_TIMES_MAX, Proposed, Run, RunEvent,
    RunPause, Task, TaskEvent,
};
use crate::event::Event;
use crate::state::approval::ApprovalState;
use crate::state::info_request::InfoRequestState;
use crate::state::run::RunState;
use crate::view::{Filter, ReadError, View};

/// Most bytes of one thing that a run says.
pub const SAID_BYTES_MAX: usize = 4 << 10;
/// Most bytes of what a run says about its change beside the title.
pub const PROPOSED_BYTES_MAX: usize = 8 << 10;
/// Most questions of one run, of either kind, and most that wait at once.
pub const ASKED_MAX: usize = 64;
/// See [`ASKED_MAX`].
pub const ASKED_OPEN_MAX: usize = 4;
/// Most lines that explain what is to be allowed.
const DETAILS_MAX: usize = 20;
/// Longest path of a file that is handed in, in bytes.
const PATH_BYTES_MAX: usize = 1 << 10;
/// Why a question is taken back by its run.
pub(super) const UNWANTED: &str = "the run does not wait for the answer any more";
/// How much of a question is shown as what its run waits for, in characters.
const SHOWN_CHARS_MAX: usize = 120;

/// Takes note of what happens on a channel.
pub(super) fn hear<V: View>(cx: &mut Context<'_, V>, command: &Command) -> Result<(), DecideError> {
    match command {
        Command::Say { run, fence, word } => say(cx, (*run, *fence), word),
        Command::ParkRun { run } => park(cx, *run),
        Command::ExpireAsked { run } => expire(cx, *run),
        _ => Err(conflict("nothing of a channel")),
    }
}

/// Takes note of what a run says.
fn say<V: View>(cx: &mut Context<'_, V>, (id, fence): (RunId, u64), word: &Word) -> Result<(), DecideError> {
    let run: Run = cx.get(id)?;
    if run.fence != fence || run.state.is_final() {
        return Err(conflict(format!("R-{} is over: nothing more is heard of it", run.number)));
    }
    if !run.access.channel {
        return Err(conflict(format!("R-{} was given no channel", run.number)));
    }
    match word {
        Word::Progress { percent, text } => {
            bounds::bytes("text", text.len(), SAID_BYTES_MAX)?;
            if percent.is_some_and(|percent| percent > 100) {
                return Err(DecideError::Invalid { field: "percent", problem: "is more than 100".into() });
            }
            if run.channel.progress_times >= PROGRESS_TIMES_MAX {
                cx.note("it was said so often that no more of it is put on record");
                return Ok(());
            }
            emit(cx, id, ChannelEvent::Progressed { percent: *percent, text: text.clone() });
            Ok(())
        }
        Word::Note { text } => {
            bounds::bytes("text", text.len(), SAID_BYTES_MAX)?;
            if run.channel.notes.iter().any(|note| note.text == *text) {
                cx.note("it was noted before");
                return Ok(());
            }
            bounds::count("notes", run.channel.notes.len() + 1, NOTES_MAX)?;
            emit(cx, id, ChannelEvent::Noted { text: text.clone() });
            Ok(())
        }
        Word::HandIn { artifact } => hand_in(cx, &run, artifact),
        Word::Ask { key, text, fields, expires } => info::ask(cx, &run, (key, text), fields, *expires),
        Word::Await { .. } => ask_to_allow(cx, &run, word),
        Word::Taken { key } => info::taken(cx, &run, key),
        Word::Withdraw { key, action } => take_back(cx, &run, key, action.as_ref()),
        Word::Told { number } => thread::told(cx, &run, *number),
        Word::Replied { number, text } => thread::replied(cx, &run, *number, text),
        Word::Propose { title, body } => propose(cx, &run, title, body),
        Word::AskTool { .. } => tool::ask(cx, &run, word),
        Word::WithdrawTool { name } => tool::take_back(cx, &run, name),
    }
}

fn emit<V: View>(cx: &mut Context<'_, V>, id: RunId, event: ChannelEvent) {
    cx.emit((id, RunEvent::Channel { event }));
    cx.touch(EntityKind::Run, id);
}

/// Whether a run may hand in a file under this path. Asked before its content is taken, and again with it.
///
/// # Errors
/// What is wrong with the path, or which bound is reached.
pub fn may_hand_in(run: &Run, path: &str) -> Result<(), DecideError> {
    bounds::bytes("path", path.len(), PATH_BYTES_MAX)?;
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    if !path.split('/').all(is_plain) || path.chars().any(char::is_control) {
        let problem = "is no plain path below the workspace".to_owned();
        return Err(DecideError::Invalid { field: "path", problem });
    }
    if run.channel.handed_in_times >= HANDED_IN_TIMES_MAX {
        let problem = format!("were handed in {HANDED_IN_TIMES_MAX} times, which is all that a run may");
        return Err(DecideError::TooLarge { field: "artifacts", problem });
    }
    let others = run.artifacts.iter().filter(|known| known.path != path).count();
    bounds::count("artifacts", others + 1, HANDED_IN_MAX)
}

fn hand_in<V: View>(cx: &mut Context<'_, V>, run: &Run, artifact: &Artifact) -> Result<(), DecideError> {
    may_hand_in(run, &artifact.path)?;
    if run.artifacts.contains(artifact) {
        cx.note("it was handed in before");
        return Ok(());
    }
    emit(cx, run.id, ChannelEvent::HandedIn { artifact: artifact.clone() });
    Ok(())
}

/// Under which words the work of the run is proposed. The last ones count, and nothing else follows from them.
fn propose<V: View>(cx: &mut Context<'_, V>, run: &Run, title: &str, body: &str) -> Result<(), DecideError> {
    let task: Task = cx.get(run.task)?;
    if !task.spec.work.keeps_changes() {
        let hint = "leave a note, or hand in a file";
        return Err(conflict_with_hint(format!("R-{} proposes no change: its recipe keeps none", run.number), hint));
    }
    let title = bounds::title("title", title)?;
    bounds::bytes("body", body.len(), PROPOSED_BYTES_MAX)?;
    let proposed = Proposed { title, body: body.trim().to_owned() };
    if run.channel.proposed.as_ref() == Some(&proposed) {
        cx.note("it was proposed so before");
        return Ok(());
    }
    if run.channel.proposed_times >= PROPOSED_TIMES_MAX {
        let problem = format!("were said {PROPOSED_TIMES_MAX} times, which is all that a run may");
        return Err(DecideError::TooLarge { field: "words of the change", problem });
    }
    emit(cx, run.id, ChannelEvent::Proposed { proposed });
    Ok(())
}

/// Asks a person to allow what a run wants to do.
fn ask_to_allow<V: View>(cx: &mut Context<'_, V>, run: &Run, word: &Word) -> Result<(), DecideError> {
    let Word::Await { key, action, details, expires } = word else { return Err(conflict("nothing to be allowed")) };
    info::key(key)?;
    let digest = action_digest(run.id, key, action, details);
    if let Some(asked) = asked_action(cx.view, run, digest)? {
        cx.touch(EntityKind::Approval, asked.id);
        cx.note("it was asked before");
        return Ok(());
    }
    let title = bounds::title("action", action)?;
    bounds::count("details", details.len(), DETAILS_MAX)?;
    details.iter().try_for_each(|line| bounds::bytes("detail", line.len(), SAID_BYTES_MAX))?;
    let known = may_ask(cx, run)?;
    info::expiry(cx.now, *expires)?;
    let asked = Question {
        project: run.project,
        subject: ApprovalSubject::Action { id: run.id },
        action: format!("R-{} wants to: {title}", run.number),
        details: details.clone(),
        rule: "the run asks by itself before it goes on; the words are its own",
        digest,
        choices: Vec::new(),
    };
    let id = approval::ask_until(cx, asked, Some(*expires))?;
    cx.touch(EntityKind::Approval, id);
    waits(cx, run, (known, Asked::Action { digest, id }), ChannelEvent::ApprovalRequested { action: title });
    Ok(())
}

/// A person has allowed what a run asked for.
pub(super) fn allowed<V: View>(cx: &mut Context<'_, V>, id: RunId, approval: ApprovalId) -> Result<(), DecideError> {
    let run: Run = cx.get(id)?;
    for asked in &run.channel.asked {
        if let Asked::Tool { id: of, name, source, .. } = asked
            && *of == approval
        {
            cx.emit((run.task, TaskEvent::ToolGiven { name: name.clone(), source: source.clone() }));
            cx.touch(EntityKind::Task, run.task);
        }
    }
    decided(cx, id)
}

/// What an approval of an action of a run is bound to.
#[must_use]
pub fn action_digest(run: RunId, key: &str, action: &str, details: &[String]) -> Digest {
    Digest::of_json(&("action", run, key, action, details))
}

/// What a run asked by its own name for it.
///
/// # Errors
/// When the state cannot be read.
pub fn asked_info(view: &impl View, run: &Run, key: &str) -> Result<Option<InfoRequest>, ReadError> {
    let named = |asked: &Asked| match asked {
        Asked::Info { key: known, id } if known == key => Some(*id),
        Asked::Info { .. } | Asked::Action { .. } | Asked::Tool { .. } => None,
    };
    match asked_before(view, run)?.iter().find_map(named) {
        Some(id) => view.get(id),
        None => Ok(None),
    }
}

/// The permission that a run asked for with this digest: of an [action](action_digest) or a [tool](super::tool_digest).
///
/// # Errors
/// When the state cannot be read.
pub fn asked_action(view: &impl View, run: &Run, digest: Digest) -> Result<Option<Approval>, ReadError> {
    let bound = |asked: &Asked| match asked {
        Asked::Action { digest: known, id } | Asked::Tool { digest: known, id, .. } if *known == digest => Some(*id),
        Asked::Info { .. } | Asked::Action { .. } | Asked::Tool { .. } => None,
    };
    match asked_before(view, run)?.iter().rev().find_map(bound) {
        Some(id) => view.get(id),
        None => Ok(None),
    }
}

/// All that a run asked. One that asked under an earlier version has no list of it: then it is made of the questions themselves.
fn asked_before<'r>(view: &impl View, run: &'r Run) -> Result<Cow<'r, [Asked]>, ReadError> {
    if !run.channel.asked.is_empty() {
        return Ok(Cow::Borrowed(&run.channel.asked));
    }
    let infos = view.list::<InfoRequest>(&Filter::under(run.id))?.into_iter();
    let infos = infos.map(|info| Asked::Info { key: info.key, id: info.id });
    let actions = view.list::<Approval>(&Filter::under(run.id))?.into_iter();
    let actions = actions.filter(|asked| matches!(asked.subject, ApprovalSubject::Action { .. }));
    let actions = actions.map(|asked| Asked::Action { digest: asked.digest, id: asked.id });
    Ok(infos.chain(actions).collect())
}

/// Refuses what would be too many questions. What the run asked before that it has no list of.
pub(super) fn may_ask<V: View>(cx: &Context<'_, V>, run: &Run) -> Result<Vec<Asked>, DecideError> {
    // Nobody answers one that is to end, as when its project is archived.
    if let Some(reason) = &run.cancel_requested {
        return Err(conflict(format!("R-{} is to end and cannot ask now: {reason}", run.number)));
    }
    let known = asked_before(cx.view, run)?;
    bounds::count("questions of the run", known.len() + 1, ASKED_MAX)?;
    bounds::count("questions that wait", open(cx, run.id)?.len() + 1, ASKED_OPEN_MAX)?;
    match run.state {
        RunState::Running | RunState::AwaitingInput { .. } | RunState::AwaitingApproval { .. } => Ok(match known {
            Cow::Borrowed(_) => Vec::new(),
            Cow::Owned(unlisted) => unlisted,
        }),
        _ => Err(conflict(format!("R-{} is {} and cannot ask now", run.number, run.state.label()))),
    }
}

/// Has the run wait for what it asks, if it does not wait already. `unlisted` is what it asked before and has no list of.
pub(super) fn waits<V: View>(
    cx: &mut Context<'_, V>,
    run: &Run,
    (unlisted, asked): (Vec<Asked>, Asked),
    event: ChannelEvent,
) {
    for asked in unlisted.into_iter().chain([asked]) {
        cx.emit((run.id, RunEvent::Channel { event: ChannelEvent::Asked { asked } }));
    }
    if run.state == RunState::Running {
        emit(cx, run.id, event);
    } else {
        cx.touch(EntityKind::Run, run.id);
    }
}

/// The first of a text, as what a run waits for.
pub(super) fn shown(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(SHOWN_CHARS_MAX).collect()
}

/// Lets the run go on that waits for nothing any more, now that these are decided. One whose place is for others meanwhile stands
/// still until there is one for it.
pub(super) fn decided<V: View>(cx: &mut Context<'_, V>, id: RunId) -> Result<(), DecideError> {
    let run: Run = cx.get(id)?;
    if run.state.is_waiting() && open(cx, id)?.is_empty() {
        emit(cx, id, ChannelEvent::Answered);
        if let Some(pause) = run.pause.filter(|pause| pause.own_wait() == Some(OwnWait::Answer)) {
            let place = RunPause::for_place(cx.now);
            // What a person paused stands still for both.
            let pause = if pause.for_answer { place } else { pause.over(Some(&place)) };
            cx.emit((id, RunEvent::PauseRequested { pause }));
        }
    }
    Ok(())
}

/// A thing that a run waits for.
enum Open {
    Info(InfoRequest),
    Action(Approval),
}

/// What the run waits for, without what this command has decided.
fn open<V: View>(cx: &Context<'_, V>, run: RunId) -> Result<Vec<Open>, DecideError> {
    let infos = cx.view.list::<InfoRequest>(&Filter::under(run).open())?;
    let actions = cx.view.list::<Approval>(&Filter::under(run).open())?.into_iter();
    let actions = actions.filter(|asked| matches!(asked.subject, ApprovalSubject::Action { .. }));
    let all = infos.into_iter().map(Open::Info).chain(actions.map(Open::Action));
    let is_decided = |asked: &Open| {
        cx.decided.events.iter().any(|event| match (asked, event) {
            (Open::Info(info), Event::InfoRequest { id, .. }) => *id == info.id,
            (Open::Action(approval), Event::Approval { id, .. }) => *id == approval.id,
            _ => false,
        })
    };
    Ok(all.filter(|asked| !is_decided(asked)).collect())
}

/// Withdraws what a run waits for: nobody has a use for the answer any more.
pub(super) fn withdraw<V: View>(cx: &mut Context<'_, V>, run: RunId, why: &str) -> Result<(), DecideError> {
    for asked in open(cx, run)? {
        match asked {
            Open::Info(info) => cx.emit((info.id, InfoRequestEvent::Cancelled { reason: why.to_owned() })),
            Open::Action(approval) => approval::void(cx, approval.id, why)?,
        }
    }
    Ok(())
}

/// Takes back one question of a run, for which nobody in it waits any more.
fn take_back<V: View>(
    cx: &mut Context<'_, V>,
    run: &Run,
    key: &str,
    action: Option<&(String, Vec<String>)>,
) -> Result<(), DecideError> {
    let is_open = if let Some((action, details)) = action {
        let digest = action_digest(run.id, key, action, details);
        let asked = asked_action(cx.view, run, digest)?;
        let asked = asked.ok_or_else(|| never_asked(EntityKind::Approval, key))?;
        cx.touch(EntityKind::Approval, asked.id);
        approval::void(cx, asked.id, UNWANTED)?;
        asked.is_open()
    } else {
        let asked = asked_info(cx.view, run, key)?.ok_or_else(|| never_asked(EntityKind::InfoRequest, key))?;
        cx.touch(EntityKind::InfoRequest, asked.id);
        if asked.is_pending() {
            cx.emit((asked.id, InfoRequestEvent::Cancelled { reason: UNWANTED.to_owned() }));
        }
        asked.is_pending()
    };
    taken_back(cx, run.id, is_open)
}

pub(super) fn taken_back<V: View>(cx: &mut Context<'_, V>, run: RunId, was_open: bool) -> Result<(), DecideError> {
    if was_open {
        return decided(cx, run);
    }
    cx.note("it was decided before");
    Ok(())
}

pub(super) fn never_asked(kind: EntityKind, key: &str) -> DecideError {
    DecideError::NotFound { kind, id: key.to_owned() }
}

/// Ends what nobody answered in time.
fn expire<V: View>(cx: &mut Context<'_, V>, run: RunId) -> Result<(), DecideError> {
    for asked in open(cx, run)? {
        match asked {
            Open::Info(InfoRequest { id, state: InfoRequestState::Pending { expires }, .. }) if expires <= cx.now => {
                cx.emit((id, InfoRequestEvent::Expired));
            }
            Open::Action(approval) => expire_action(cx, &approval),
            Open::Info(_) => {}
        }
    }
    if cx.decided.events.is_empty() {
        cx.note("the time of nothing is over");
        return Ok(());
    }
    decided(cx, run)
}

fn expire_action<V: View>(cx: &mut Context<'_, V>, approval: &Approval) {
    if matches!(approval.state, ApprovalState::Pending { expires: Some(expires), .. } if expires <= cx.now) {
        let id: ApprovalId = approval.id;
        cx.emit((id, crate::entity::ApprovalEvent::Expired));
    }
}

/// Has the processes of a run stand still that waits for a person.
fn park<V: View>(cx: &mut Context<'_, V>, id: RunId) -> Result<(), DecideError> {
    let run: Run = cx.get(id)?;
    cx.touch(EntityKind::Run, id);
    let is_paused = run.pause.as_ref().is_some_and(|pause| pause.lasts(cx.now));
    if !run.state.is_waiting() || is_paused || run.cancel_requested.is_some() {
        cx.note("it does not wait by itself");
        return Ok(());
    }
    emit(cx, id, ChannelEvent::Parked);
    Ok(())
}
