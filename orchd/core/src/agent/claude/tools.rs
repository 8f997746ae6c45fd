//! Tools of Claude Code: what they are given, what they change, and leave that is asked for.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::types::{Block, ControlLine, Deferred};
use crate::agent::event::{Choice, FileOp, PlanItem, PlanStatus, RunEvent, ToolKind};
use crate::agent::open_tools::OpenTool;
use crate::agent::text::{PATH_BYTES_MAX, Text};
use crate::agent::wire::{self, List, Maybe, Str, inside, shown};

/// Most questions of one request, and answers to choose from of each.
const QUESTIONS_MAX: usize = 16;

/// The arguments of those tools that are looked into.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Input<'a> {
    #[serde(borrow)]
    command: Maybe<Str<'a>>,
    file_path: Maybe<Str<'a>>,
    notebook_path: Maybe<Str<'a>>,
    todos: Maybe<List<Todo<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Todo<'a> {
    #[serde(borrow)]
    content: Str<'a>,
    status: Str<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Questions<'a> {
    #[serde(borrow)]
    questions: List<Question<'a>, QUESTIONS_MAX>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Question<'a> {
    #[serde(borrow)]
    question: Str<'a>,
    options: List<Answer<'a>, QUESTIONS_MAX>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer<'a> {
    #[serde(borrow)]
    label: Str<'a>,
}

/// A tool is used; what is to be remembered of it.
pub(super) fn started(block: &Block<'_>, sink: &mut dyn FnMut(RunEvent)) -> OpenTool {
    let (id, name, kind) = (block.id.name(), block.name.name(), kind(block.name.as_str()));
    let input = given(kind, block.input);
    let mut tool = OpenTool::new(id.clone(), name.clone(), kind, &input);
    sink(RunEvent::ToolStarted { id, tool: name, kind, input });
    if kind == ToolKind::Edit || tool.tool == "TodoWrite" {
        let input: Input<'_> = block.input.and_then(inside).unwrap_or_default();
        if let Some(path) = input.file_path.0.or(input.notebook_path.0).filter(|path| !path.is_empty()) {
            tool.add_file(path.start(PATH_BYTES_MAX), FileOp::Modified);
        }
        if let Some(todos) = input.todos.0 {
            sink(RunEvent::Plan { items: todos.items.iter().map(Todo::item).collect() });
            todos.tell_dropped(sink);
        }
    }
    tool
}

/// The program asks: for leave to use a tool, or what a person wants.
pub(super) fn request(line: &ControlLine<'_>, sink: &mut dyn FnMut(RunEvent)) {
    let id = line.request_id.name();
    let request = &line.request;
    match request.subtype.as_str() {
        "can_use_tool" if request.tool_name.as_str() == "AskUserQuestion" => {
            let asked: Questions<'_> = request.input.and_then(inside).unwrap_or_default();
            if asked.questions.items.is_empty() {
                sink(RunEvent::InfoRequested { id, question: shown(request.input), options: Vec::new() });
                return;
            }
            for Question { question, options } in asked.questions.items {
                let label = |answer: &Answer<'_>| answer.label.start(PATH_BYTES_MAX);
                let choices = options.items.iter().map(|answer| Choice {
                    id: label(answer),
                    label: label(answer),
                    verdict: None,
                });
                let options = choices.collect();
                sink(RunEvent::InfoRequested { id: id.clone(), question: question.into(), options });
            }
        }
        "can_use_tool" => {
            let action = given(kind(request.tool_name.as_str()), request.input);
            sink(RunEvent::ApprovalRequested { id, tool: request.tool_name.name(), action, options: Vec::new() });
        }
        "elicitation" => {
            let question = request.message.0.clone().unwrap_or_default().into();
            sink(RunEvent::InfoRequested { id, question, options: Vec::new() });
        }
        // The tool is told by itself.
        "hook_callback" => {}
        subtype => sink(wire::unknown("control_request", subtype)),
    }
}

/// The program ended instead of waiting for leave.
pub(super) fn deferred(tool: &Deferred<'_>, sink: &mut dyn FnMut(RunEvent)) {
    let action = given(kind(tool.name.as_str()), tool.input);
    sink(RunEvent::ApprovalRequested { id: tool.id.name(), tool: tool.name.name(), action, options: Vec::new() });
}

/// The command line of a shell, else the arguments as they are.
fn given(kind: ToolKind, input: Option<&RawValue>) -> Text {
    let command = match input {
        Some(input) if kind == ToolKind::Execute => inside(input).and_then(|input: Input<'_>| input.command.0),
        _ => None,
    };
    command.filter(|command| !command.is_empty()).map_or_else(|| shown(input), Text::from)
}

fn kind(tool: &str) -> ToolKind {
    match tool {
        "Bash" | "PowerShell" => ToolKind::Execute,
        "Read" | "NotebookRead" => ToolKind::Read,
        "Edit" | "MultiEdit" | "Write" | "NotebookEdit" => ToolKind::Edit,
        "Glob" | "Grep" | "LS" | "ToolSearch" => ToolKind::Search,
        "WebFetch" | "WebSearch" => ToolKind::Fetch,
        "Task" | "Agent" => ToolKind::Delegate,
        "TodoWrite" | "TaskCreate" | "TaskUpdate" | "TaskList" | "TaskGet" | "EnterPlanMode" | "ExitPlanMode" => {
            ToolKind::Think
        }
        _ => ToolKind::Other,
    }
}

/// What a shell says first when its command failed: `Exit code 3`.
pub(super) fn exit_code(output: &str) -> Option<i32> {
    output.strip_prefix("Exit code ")?.lines().next()?.trim().parse().ok()
}

/// Whether a file is new is known when the tool is done: `create` is what it did then.
pub(super) fn op(meant: FileOp, known: Option<&RawValue>) -> FileOp {
    let done = known.and_then(|known| wire::text_at(known.get().as_bytes(), "type"));
    if done.is_some_and(|done| done.as_str() == "create") { FileOp::Added } else { meant }
}

impl Todo<'_> {
    fn item(&self) -> PlanItem {
        PlanItem { text: self.content.start(PATH_BYTES_MAX), status: plan_status(self.status.as_str()) }
    }
}

pub(super) fn plan_status(status: &str) -> PlanStatus {
    match status {
        "completed" => PlanStatus::Completed,
        "in_progress" => PlanStatus::InProgress,
        _ => PlanStatus::Pending,
    }
}
