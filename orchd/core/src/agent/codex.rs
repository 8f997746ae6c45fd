//! `codex exec --json`: a line for each event, most of them about an item of the thread.
//!
//! Its counts of tokens are those of the whole thread, earlier runs of it included, and come at the end of a turn.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::event::{FileOp, PlanItem, PlanStatus, Role, RunEvent, Stop, ToolKind, ToolStatus};
use super::open_tools::{OpenTool, OpenTools};
use super::text::{PATH_BYTES_MAX, Text};
use super::usage::Usage;
use super::wire::{self, Count, List, Maybe, Number, Str, inside, read, shown};
use super::{event::ErrorClass, fault};

#[derive(Debug, Default)]
pub(super) struct Codex {
    tools: OpenTools,
    /// A failed turn tells again what an error before it told.
    last_error: String,
}

/// How far an item is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Started,
    Updated,
    Completed,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ThreadLine<'a> {
    #[serde(borrow)]
    thread_id: Str<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TurnLine<'a> {
    usage: Option<Tokens>,
    #[serde(borrow)]
    error: Maybe<Fault<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tokens {
    input_tokens: Count,
    cached_input_tokens: Count,
    output_tokens: Count,
    reasoning_output_tokens: Count,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fault<'a> {
    #[serde(borrow)]
    message: Str<'a>,
}

#[derive(Deserialize)]
struct ItemLine<'a> {
    #[serde(borrow)]
    item: Item<'a>,
}

/// The fields of all sorts of items.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Item<'a> {
    #[serde(borrow)]
    id: Str<'a>,
    #[serde(rename = "type")]
    kind: Str<'a>,
    text: Str<'a>,
    message: Str<'a>,
    command: Str<'a>,
    aggregated_output: Str<'a>,
    exit_code: Number,
    status: Str<'a>,
    changes: List<Change<'a>>,
    server: Str<'a>,
    tool: Str<'a>,
    arguments: Option<&'a RawValue>,
    result: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
    prompt: Str<'a>,
    query: Str<'a>,
    items: List<Todo<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Change<'a> {
    #[serde(borrow)]
    path: Str<'a>,
    kind: Str<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Todo<'a> {
    #[serde(borrow)]
    text: Str<'a>,
    completed: Option<bool>,
}

/// What a tool of the Model Context Protocol gave back.
#[derive(Default, Deserialize)]
#[serde(default)]
struct McpResult<'a> {
    #[serde(borrow)]
    content: List<McpContent<'a>>,
    structured_content: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct McpContent<'a> {
    #[serde(borrow)]
    text: Str<'a>,
}

impl Codex {
    pub(super) fn line(&mut self, line: &[u8], sink: &mut dyn FnMut(RunEvent)) {
        let kind = wire::text_at(line, "type").unwrap_or_default();
        let is_read = match kind.as_str() {
            "item.started" => self.item(Phase::Started, line, sink),
            "item.updated" => self.item(Phase::Updated, line, sink),
            "item.completed" => self.item(Phase::Completed, line, sink),
            "thread.started" => read(line).map(|ThreadLine { thread_id }| {
                sink(RunEvent::SessionStarted { native_id: thread_id.name(), model: None });
            }),
            "turn.started" => wire::pass(line),
            "turn.completed" => read(line).map(|TurnLine { usage, .. }| {
                usage.iter().for_each(|tokens| sink(RunEvent::Usage(tokens.usage())));
                sink(RunEvent::TurnFinished { stop: Stop::Completed });
            }),
            "turn.failed" => read(line).map(|TurnLine { usage, error }| {
                usage.iter().for_each(|tokens| sink(RunEvent::Usage(tokens.usage())));
                self.failed(error.0.unwrap_or_default().message, sink);
                sink(RunEvent::TurnFinished { stop: Stop::Failed });
            }),
            "error" => read(line).map(|Fault { message }| self.failed(message, sink)),
            _ => None,
        };
        if is_read.is_none() {
            sink(wire::unread(line, kind.as_str()));
        }
    }

    fn failed(&mut self, message: Str<'_>, sink: &mut dyn FnMut(RunEvent)) {
        if message.is_empty() || message.as_str() != self.last_error {
            message.as_str().clone_into(&mut self.last_error);
            let class = fault::class(None, message.as_str());
            sink(RunEvent::Error { class, message: message.into() });
        }
    }

    fn item(&mut self, phase: Phase, line: &[u8], sink: &mut dyn FnMut(RunEvent)) -> Option<()> {
        let ItemLine { item } = read(line)?;
        match item.kind.as_str() {
            "command_execution" | "file_change" | "mcp_tool_call" | "collab_tool_call" | "web_search" => {
                self.tool(phase, item, sink);
            }
            "agent_message" | "plan" if phase == Phase::Completed => {
                sink(RunEvent::Message { role: Role::Agent, text: item.text.into(), is_part: false });
            }
            "reasoning" if phase == Phase::Completed => {
                sink(RunEvent::Thought { text: item.text.into(), is_part: false });
            }
            // What they say is told when they are whole.
            "agent_message" | "plan" | "reasoning" => {}
            "todo_list" => {
                let items = item.items.items.iter().map(|todo| PlanItem {
                    text: todo.text.start(PATH_BYTES_MAX),
                    status: if todo.completed == Some(true) { PlanStatus::Completed } else { PlanStatus::Pending },
                });
                sink(RunEvent::Plan { items: items.collect() });
                item.items.tell_dropped(sink);
            }
            // Such an item never ends a turn.
            "error" => sink(RunEvent::Error { class: ErrorClass::Transient, message: item.message.into() }),
            kind => sink(wire::unknown("item", kind)),
        }
        Some(())
    }

    fn tool(&mut self, phase: Phase, item: Item<'_>, sink: &mut dyn FnMut(RunEvent)) {
        let id = item.id.name();
        let (tool, kind, input) = given(&item);
        let known = self.tools.close(&id);
        let is_new = known.is_none();
        let mut open = known.unwrap_or_else(|| OpenTool::new(id.clone(), tool.clone(), kind, &input));
        if is_new || open.is_given(&input) {
            sink(RunEvent::ToolStarted { id: id.clone(), tool, kind, input });
        }
        if phase != Phase::Completed {
            self.tools.open(open);
            return;
        }
        let status = status(&item);
        if status == ToolStatus::Succeeded {
            for change in &item.changes.items {
                sink(RunEvent::FileChanged { path: change.path.start(PATH_BYTES_MAX), op: change.op() });
            }
        }
        item.changes.tell_dropped(sink);
        let exit_code = item.exit_code.exit_code();
        output(&id, item, sink);
        sink(RunEvent::ToolFinished { id, status, exit_code });
    }
}

impl Tokens {
    fn usage(&self) -> Usage {
        Usage {
            input: self.input_tokens.0,
            cached: self.cached_input_tokens.0,
            output: self.output_tokens.0,
            reasoning: self.reasoning_output_tokens.0,
            cost_usd_micros: None,
            cumulative: true,
        }
    }
}

impl Change<'_> {
    fn op(&self) -> FileOp {
        match self.kind.as_str() {
            "add" => FileOp::Added,
            "delete" => FileOp::Deleted,
            _ => FileOp::Modified,
        }
    }
}

/// Name and sort of a tool, and what it is given.
fn given(item: &Item<'_>) -> (String, ToolKind, Text) {
    match item.kind.as_str() {
        "command_execution" => ("shell".into(), ToolKind::Execute, item.command.clone().into()),
        "file_change" => {
            let files =
                item.changes.items.iter().map(|change| format!("{} {}", change.kind.name(), change.path.as_str()));
            let files = files.collect::<Vec<_>>().join("\n");
            ("apply_patch".into(), ToolKind::Edit, files.as_str().into())
        }
        "web_search" => ("web_search".into(), ToolKind::Search, item.query.clone().into()),
        "collab_tool_call" => (item.tool.name(), ToolKind::Delegate, item.prompt.clone().into()),
        _ => {
            let tool = format!("{}/{}", item.server.as_str(), item.tool.as_str());
            (wire::name(&tool).to_owned(), ToolKind::Other, shown(item.arguments))
        }
    }
}

fn status(item: &Item<'_>) -> ToolStatus {
    match item.status.as_str() {
        "completed" | "" => ToolStatus::Succeeded,
        "declined" => ToolStatus::Declined,
        "in_progress" => ToolStatus::Cancelled,
        _ => ToolStatus::Failed,
    }
}

/// What a tool gave back, in the form of each sort of it.
fn output(id: &str, item: Item<'_>, sink: &mut dyn FnMut(RunEvent)) {
    let mut told = |text: Text| {
        if !text.text.is_empty() {
            sink(RunEvent::ToolOutput { id: id.to_owned(), text });
        }
    };
    told(item.aggregated_output.into());
    if let Some(result) = item.result {
        let McpResult { content, structured_content } = inside(result).unwrap_or_default();
        let has_text = content.items.iter().any(|content| !content.text.is_empty());
        content.items.into_iter().for_each(|content| told(content.text.into()));
        if !has_text {
            told(shown(structured_content));
        }
    }
    if let Some(error) = item.error {
        told(inside::<Fault<'_>>(error).map_or_else(|| shown(Some(error)), |fault| fault.message.into()));
    }
}
