//! Tools that runs ask for: a person gives one to the task, whose next attempt has it.

use orch_proto::EntityKind;
use orch_proto::id::RunId;

use super::approval::{self, Question};
use super::channel::{self, SAID_BYTES_MAX};
use super::{Context, DecideError, bounds, conflict, info};
use crate::command::Word;
use crate::digest::Digest;
use crate::entity::{Approval, ApprovalSubject, Asked, ChannelEvent, Entity as _, Run, Task};
use crate::state::approval::ApprovalState;
use crate::view::View;

/// Most tools that a task is given beside those that it names.
pub const TOOLS_MAX: usize = 16;
/// Longest name of a tool, in bytes.
const TOOL_BYTES_MAX: usize = 63;

/// Asks a person to give the task of a run a tool. What the run has stays as it is: its next attempt has the tool.
pub(super) fn ask<V: View>(cx: &mut Context<'_, V>, run: &Run, word: &Word) -> Result<(), DecideError> {
    let Word::AskTool { name, reason, source, expires } = word else { return Err(conflict("nothing to be given")) };
    let digest = tool_digest(run.id, name, source);
    if let Some(asked) = channel::asked_action(cx.view, run, digest)?.filter(stands) {
        cx.touch(EntityKind::Approval, asked.id);
        cx.note("it was asked before");
        return Ok(());
    }
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "._+-".contains(char);
    if name.is_empty() || name.len() > TOOL_BYTES_MAX || !name.chars().all(is_plain) {
        let problem = format!("has not 1 to {TOOL_BYTES_MAX} of `a-zA-Z0-9._+-`");
        return Err(DecideError::Invalid { field: "tool", problem });
    }
    bounds::bytes("reason", reason.len(), SAID_BYTES_MAX)?;
    bounds::bytes("source", source.len(), SAID_BYTES_MAX)?;
    if reason.trim().is_empty() {
        return Err(DecideError::Invalid { field: "reason", problem: "is empty; say what the tool is for".into() });
    }
    let task: Task = cx.get(run.task)?;
    bounds::count("tools of the task", task.tools.len() + 1, TOOLS_MAX)?;
    let known = channel::may_ask(cx, run)?;
    info::expiry(cx.now, *expires)?;
    let mut details = vec![format!("mounted read-only in attempts after this one: {source}")];
    details.push("what for, in the run's words:".to_owned());
    let lines: Vec<String> = reason.lines().map(|line| format!("  {line}")).collect();
    approval::list(&mut details, lines.into_iter());
    let asked = Question {
        project: run.project,
        subject: ApprovalSubject::Action { id: run.id },
        action: format!("R-{} wants the tool `{name}` for T-{} {}", run.number, task.number, task.title),
        details,
        rule: "a run has the tools that its recipe and its project name; a person gives it others",
        digest,
        choices: Vec::new(),
    };
    let id = approval::ask_until(cx, asked, Some(*expires))?;
    cx.touch(EntityKind::Approval, id);
    let asked = Asked::Tool { digest, id, name: name.clone(), source: source.clone() };
    channel::waits(cx, run, (known, asked), ChannelEvent::ApprovalRequested { action: format!("the tool {name}") });
    Ok(())
}

/// What an approval of a tool is bound to: that of this program, from there, for the task of this run.
#[must_use]
pub fn tool_digest(run: RunId, name: &str, source: &str) -> Digest {
    Digest::of_json(&("tool", run, name, source))
}

/// Whether a question for a tool waits or was answered: one whose time was over, or that was taken back, is asked anew.
#[must_use]
pub const fn stands(asked: &Approval) -> bool {
    !matches!(asked.state, ApprovalState::Expired | ApprovalState::Void { .. })
}

/// Whether a run was told that its task has a tool now, which it has not itself.
pub(super) fn lacks(run: &Run, task: &Task) -> bool {
    run.channel.asked.iter().any(|asked| match asked {
        Asked::Tool { name, source, .. } => task.tools.get(name) == Some(source),
        Asked::Info { .. } | Asked::Action { .. } => false,
    })
}

/// Takes back that a run wants a tool.
pub(super) fn take_back<V: View>(cx: &mut Context<'_, V>, run: &Run, tool: &str) -> Result<(), DecideError> {
    let of_tool = |asked: &Asked| match asked {
        Asked::Tool { name, id, .. } if name == tool => Some(*id),
        Asked::Info { .. } | Asked::Action { .. } | Asked::Tool { .. } => None,
    };
    let id = run.channel.asked.iter().rev().find_map(of_tool);
    let asked: Approval = cx.get(id.ok_or_else(|| channel::never_asked(EntityKind::Approval, tool))?)?;
    cx.touch(EntityKind::Approval, asked.id);
    approval::void(cx, asked.id, channel::UNWANTED)?;
    channel::taken_back(cx, run.id, asked.is_open())
}
