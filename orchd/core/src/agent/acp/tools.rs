//! What an agent tells of its tools. Each update tells only what is new, and output of a tool at work is told again and
//! longer, so it is taken when the tool is done.

use serde_json::value::RawValue;

use super::types::{Answer, Asked, Entry, Metadata, RawInput, RawOutput, Update};
use crate::agent::event::{FileOp, RunEvent, ToolKind, ToolStatus};
use crate::agent::open_tools::{OpenTool, OpenTools};
use crate::agent::text::{PATH_BYTES_MAX, Text};
use crate::agent::wire::{Content, Str, inside, shown};

/// A tool begins, goes on or is done.
pub(super) fn updated(tools: &mut OpenTools, update: Update<'_>, sink: &mut dyn FnMut(RunEvent)) {
    let id = update.tool_call_id.name();
    let known = tools.close(&id);
    let is_new = known.is_none();
    let kind = kind(update.kind.as_str()).or(known.as_ref().map(|tool| tool.kind)).unwrap_or(ToolKind::Other);
    let input = given(kind, update.raw_input);
    let mut tool = known.unwrap_or_else(|| {
        let name = if update.name.is_empty() { update.title.name() } else { update.name.name() };
        OpenTool::new(id.clone(), name, kind, &input)
    });
    tool.kind = kind;
    // While a tool is pending its input may still be coming.
    if is_new || (update.status.as_str() != "pending" && tool.is_given(&input)) {
        sink(RunEvent::ToolStarted { id: id.clone(), tool: tool.tool.clone(), kind, input });
        tell_plan(update.raw_input, sink);
    }
    remember_files(&mut tool, &update);
    let status = match update.status.as_str() {
        "completed" => ToolStatus::Succeeded,
        "failed" => ToolStatus::Failed,
        _ => {
            tools.open(tool);
            return;
        }
    };
    finished(tool, status, update, sink);
}

/// A tool is done: what it gave back and changed.
fn finished(tool: OpenTool, status: ToolStatus, update: Update<'_>, sink: &mut dyn FnMut(RunEvent)) {
    let OpenTool { id, files, .. } = tool;
    let contents = update.content.into_list();
    contents.tell_dropped(sink);
    let raw: RawOutput<'_> = update.raw_output.and_then(inside).unwrap_or_default();
    let Metadata { exit, exists } = raw.metadata.0.unwrap_or_default();
    let texts = contents.items.into_iter().map(|content| content.content.text).filter(|text| !text.is_empty());
    let mut texts: Vec<Text> = texts.map(Text::from).collect();
    if texts.is_empty() {
        texts.push(shown(raw.output.or(raw.error).or(update.raw_output)));
    }
    for text in texts.into_iter().filter(|text| !text.text.is_empty()) {
        sink(RunEvent::ToolOutput { id: id.clone(), text });
    }
    let exit_code = raw.exit_code.exit_code().or_else(|| exit.exit_code());
    // Some agents call a command completed that failed.
    let status = if exit_code.is_none_or(|code| code == 0) { status } else { ToolStatus::Failed };
    if status == ToolStatus::Succeeded {
        let op = |meant| if exists == Some(false) { FileOp::Added } else { meant };
        files.into_iter().for_each(|(path, meant)| sink(RunEvent::FileChanged { path, op: op(meant) }));
    }
    sink(RunEvent::ToolFinished { id, status, exit_code });
}

/// Some agents keep what they mean to do with a tool, and tell no plan.
fn tell_plan(input: Option<&RawValue>, sink: &mut dyn FnMut(RunEvent)) {
    if let Some(todos) = input.and_then(inside).and_then(|input: RawInput<'_>| input.todos.0) {
        sink(RunEvent::Plan { items: todos.items.iter().map(Entry::item).collect() });
        todos.tell_dropped(sink);
    }
}

/// What a tool that changes files names: with what was there and is there now, or only where it works.
fn remember_files(tool: &mut OpenTool, update: &Update<'_>) {
    let op = match tool.kind {
        ToolKind::Edit => Some(FileOp::Modified),
        ToolKind::Delete => Some(FileOp::Deleted),
        _ => None,
    };
    if let Some(op) = op {
        update.locations.items.iter().for_each(|location| tool.add_file(location.path.start(PATH_BYTES_MAX), op));
    }
    for content in update.content.list().iter().filter(|content| content.kind.as_str() == "diff") {
        let op = if content.old_text.is_empty() { FileOp::Added } else { FileOp::Modified };
        tool.add_file(content.path.start(PATH_BYTES_MAX), op);
    }
}

/// The agent asks for leave to use a tool.
pub(super) fn asked(tools: &OpenTools, asked: &Asked<'_>, sink: &mut dyn FnMut(RunEvent)) {
    let call = &asked.params.tool_call;
    let known = tools.get(call.tool_call_id.as_str());
    let known_kind = known.map_or(ToolKind::Other, |tool| tool.kind);
    let input = given(kind(call.kind.as_str()).unwrap_or(known_kind), call.raw_input);
    let action = if input.text.is_empty() { call.title.clone().into() } else { input };
    let named = if call.name.is_empty() { call.title.name() } else { call.name.name() };
    let tool = known.map_or(named, |tool| tool.tool.clone());
    let options = asked.params.options.items.iter().map(Answer::choice).collect();
    sink(RunEvent::ApprovalRequested { id: asked.id(), tool, action, options });
}

/// The command line of a shell, else the arguments as they are; nothing for arguments that are not known yet.
fn given(kind: ToolKind, input: Option<&RawValue>) -> Text {
    let Some(input) = input.filter(|input| input.get() != "{}") else { return Text::default() };
    let command = match kind {
        ToolKind::Execute => inside(input).and_then(|input: RawInput<'_>| input.command.0),
        _ => None,
    };
    match command {
        Some(Content::Text(command)) if !command.is_empty() => command.into(),
        Some(Content::List(words)) if !words.items.is_empty() => {
            let words: Vec<&str> = words.items.iter().map(Str::as_str).collect();
            words.join(" ").as_str().into()
        }
        _ => shown(Some(input)),
    }
}

/// None where it is not said.
fn kind(kind: &str) -> Option<ToolKind> {
    Some(match kind {
        "read" => ToolKind::Read,
        "edit" => ToolKind::Edit,
        "delete" => ToolKind::Delete,
        "move" => ToolKind::Move,
        "search" => ToolKind::Search,
        "execute" => ToolKind::Execute,
        "think" => ToolKind::Think,
        "fetch" => ToolKind::Fetch,
        "" => return None,
        _ => ToolKind::Other,
    })
}
